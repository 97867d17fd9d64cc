"""What a page shows of kernels side by side: wanted and made, what the frames make of a picture, where they stand."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, cosine_similarity

from ..bundle import Bundle
from ..config import validated
from ..conv import OpticalConv2d
from ..design_config import DesignedBench
from ..grid import Grid
from ..metrics import kernel_cosine
from ..sampling import SamplingWarning
from .layout import Report
from .pictures import Picture, signed_picture

SHOWN, SIDE = 24, 120  # kernels, and pixels on a side of an output, at most


@dataclass(frozen=True)
class Tiles:
    """Kernels of a bundle whose configuration asks for ``kind = "tiles"``.

    Attributes:
        layer: The convolution, with the masks of the bundle.
        made: Kernels that its masks make, ``(kernels, k, k)``, at the brightness that fits best: real, or of
            ``intensity`` detection the real part after the global phase that fits best.
        cosines: Of made and wanted, ``(kernels,)``; ``None`` where the wanted ones are not known.
        wanted: Kernels as asked for, real, shape of ``made``; ``None`` where they are not known.
        source: Where those were read, or why they were not; empty where the bundle holds them.
        seen: What the windows of the predicted frames make of the pictures, ``(images, kernels, h, w)``: turned by
            half a turn, times the gains, what is negative subtracted [DN].
        quiet: The same of the frames without noise.
        digital: What ``conv2d`` makes of them with the wanted kernels, same shape; of ``intensity`` detection its
            square.
    """

    layer: OpticalConv2d
    made: Tensor
    cosines: Tensor | None
    wanted: Tensor | None
    source: str
    seen: Tensor
    quiet: Tensor
    digital: Tensor | None

    @classmethod
    @torch.no_grad()
    def of(cls, bundle: Bundle, metrics: Mapping[str, Any]) -> Tiles | None:
        """Kernels of a bundle; ``None`` where its configuration asks for none side by side.

        Args:
            bundle: Of ``optics4f design``.
            metrics: Content of its ``metrics.json``, whose plan says how many kernels there are where the
                configuration names a file that is not here; may be empty.

        Raises:
            ValueError: Neither says it, or a configuration that cannot have made these masks.
        """
        content = tomllib.loads(bundle.config)
        design = content.get("design")
        if not isinstance(design, dict) or (design.get("target") or {}).get("kind") != "tiles":
            return None
        tables = {"bench": content["bench"], "design": design}
        stated = validated(DesignedBench, tables, source="the bundle", text=bundle.config)
        wanted, source = _wanted(stated)
        shape = _planned(stated, metrics, source) if wanted is None else tuple(wanted.shape)
        layer = _layer(stated, shape, bundle.levels)
        if wanted is not None:
            _fit_gains(layer, wanted)
        made, cosines, digital = layer.effective_kernels()[:, 0].cpu(), None, None
        if wanted is None:
            made = made.real
        else:
            made, cosines = _compared(made, wanted)
            digital = conv2d(bundle.images[:, None].double(), wanted[:, None], padding=layer.padding)
            digital = digital if layer.signs == 2 else digital.square()
        seen, quiet = (_outputs(layer, frames) for frames in (bundle.frames, bundle.frames_noise_free))
        return cls(layer, made, cosines, wanted, source, seen, quiet, digital)


def tiles_section(page: Report, bundle: Bundle, metrics: Mapping[str, Any], *, image: int = 0) -> None:
    """Kernels wanted and made, their output beside ``conv2d``, the plan; nothing of a bundle without tiles.

    Args:
        page: Where to.
        bundle: Masks and predicted frames.
        metrics: Content of ``metrics.json``; may be empty.
        image: Which of the bundle's images is convolved.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)  # for who designs; the page has the table of conditions
            found = Tiles.of(bundle, metrics)
    except ValueError as error:
        page.section("Kernels", f"The masks hold kernels side by side, which cannot be shown: {error}")
        return
    if found is None:
        return
    kernels, shown = len(found.made), min(len(found.made), SHOWN)
    count = f"{kernels} kernel{'' if kernels == 1 else 's'}"
    page.section(
        "Kernels",
        f"{count} in {len(found.layer.plan.tiles)} tiles side by side in the PSF of {_masks(found.layer)}. What they "
        "make is computed from the levels in the bundle, with all effects of the panel. One number a mask is fitted: "
        "its gain.",
    )
    if found.source:
        page.paragraph(found.source)
    _table(page, found)
    if found.digital is not None:
        square = "" if found.layer.signs == 2 else ", squared, for a detector shows the square of coherent light"
        page.paragraph(
            f"Output: the windows of the predicted frame of image {image}, turned by half a turn"
            + (", those of negative weights subtracted" if found.layer.signs == 2 else "")
            + f"; beside it torch.nn.functional.conv2d of the wanted kernel{square}. One brightness fits them all."
        )
    with page.tabs("Kernel", group="kernel"):
        for k in range(shown):
            with page.tab(f"kernel {k}"):
                page.pictures(_kernel_pictures(found, k), large=True)
                page.pictures(_output_pictures(found, k, image), large=True)
    rows = [
        {
            "kernel": f"{tile.kernel} {'−' if tile.sign else '+'}",
            "mask": tile.exposure,
            "centre (y, x)": f"({tile.centre[0]}, {tile.centre[1]})",
            "camera rows": f"{tile.rows.start} ... {tile.rows.stop - 1}",
            "camera columns": f"{tile.columns.start} ... {tile.columns.stop - 1}",
        }
        for tile in found.layer.plan.tiles
    ]
    headings = {name: name for name in rows[0] if name != "mask" or found.layer.plan.exposures > 1}
    page.table(
        rows, headings, caption="Plan of the tiles: centres in camera pixels from the axis, windows in camera pixels."
    )


def _masks(layer: OpticalConv2d) -> str:
    return "one mask" if layer.plan.exposures == 1 else f"{layer.plan.exposures} masks"


def _table(page: Report, found: Tiles) -> None:
    rows: list[dict[str, Any]] = []
    for k in range(len(found.made)):
        row = {"kernel": k, "cosine": None, "quiet": None, "noisy": None}
        if found.digital is not None:
            digital = found.digital[:, k].flatten()
            row["cosine"] = found.cosines[k].item()
            row["quiet"], row["noisy"] = (
                cosine_similarity(values[:, k].flatten(), digital, dim=0).item() for values in (found.quiet, found.seen)
            )
        rows.append(row)
    headings = {
        "kernel": "kernel",
        "cosine": "made, wanted",
        "quiet": "output, no noise",
        "noisy": "output, with noise",
    }
    page.table(
        rows,
        headings,
        formatters=dict.fromkeys(("cosine", "quiet", "noisy"), "{:.4f}".format),
        caption="Cosine of each kernel as made with the one wanted, and of its output with conv2d; 1 is the same but "
        "for brightness.",
    )


def _kernel_pictures(found: Tiles, k: int) -> list[Picture]:
    light = found.layer.bench.illumination
    made = found.made[k]
    grid = Grid(tuple(made.shape), light.block * light.grid.pitch)
    what = "weight" if found.layer.signs == 2 else "weight, real part"
    if found.wanted is None:
        return _signed(grid, f"Kernel {k}", {"made": (made, "")}, made, what)
    off = made - found.wanted[k]
    parts = {
        "wanted": (found.wanted[k], ""),
        "made": (made, f"cosine {found.cosines[k].item():.4f}"),
        "made less wanted": (off, f"at most {off.abs().max().item():.2g}"),
    }
    return _signed(grid, f"Kernel {k}", parts, found.wanted[k], what)


def _output_pictures(found: Tiles, k: int, image: int) -> list[Picture]:
    seen = found.seen[image, k]
    grid = Grid(tuple(seen.shape), found.layer.bench.camera.grid.pitch)
    if found.digital is None:
        return _signed(grid, f"Output {k}", {"from the frame": (seen, "")}, seen, "output")
    digital, every = found.digital[image, k], found.seen[image]
    seen = seen * (every * found.digital[image]).sum() / every.square().sum().clamp(min=1e-300)
    off = seen - digital
    parts = {
        "from the frame": (seen, f"cosine {cosine_similarity(seen.flatten(), digital.flatten(), dim=0).item():.4f}"),
        "by conv2d": (digital, ""),
        "from the frame less conv2d": (off, f"at most {off.abs().max().item():.2g}"),
    }
    return _signed(grid, f"Output {k}", parts, digital, "output")


def _signed(grid: Grid, name: str, parts: Mapping[str, tuple[Tensor, str]], of: Tensor, what: str) -> list[Picture]:
    """Values and a note on each, in colours up to the largest ``of`` one of them."""
    limit = float(f"{of.abs().max().item() or 1.0:.3g}")
    return [
        signed_picture(values, grid, f"{name}, {part}", limit=limit, what=what, note=note, side=SIDE)
        for part, (values, note) in parts.items()
    ]


def _wanted(stated: DesignedBench) -> tuple[Tensor | None, str]:
    """The kernels that were asked for, ``(kernels, k, k)`` float64, and what is to be said of where they come from."""
    target = stated.design.target
    if target.file is None:
        return target.wanted_kernels(), ""
    # A file of that name beside whoever reads the bundle need not be the one that the masks were found for.
    return None, f"The wanted kernels are not in the bundle, but in {target.file}, wherever the design was made."


def _planned(stated: DesignedBench, metrics: Mapping[str, Any], reason: str) -> tuple[int, int, int]:
    """Number and size of the kernels, from the plan in the metrics of their design."""
    try:
        tiles = metrics["plan"]["tiles"]
        top, bottom = tiles[0]["camera_rows"]
        count = 1 + max(int(tile["kernel"]) for tile in tiles)
        size = stated.bench.object.shape[0] + 2 * stated.design.target.padding - (bottom - top)
    except (KeyError, TypeError, IndexError, ValueError):
        raise ValueError(f"{reason} With --metrics of the design the made ones can be shown.") from None
    return count, size, size


def _layer(stated: DesignedBench, shape: tuple[int, ...], levels: Tensor) -> OpticalConv2d:
    """The convolution as the design had it: the camera was put on the object's image by the layer, and is again."""
    target, count, size = stated.design.target, shape[0], tuple(shape[1:])
    bench = stated.bench.model_copy(update={"camera_position": None}).build()
    options = {"detection": target.detection, "exposures": target.exposures, "padding": target.padding}
    with torch.random.fork_rng(devices=[]):  # its first masks are random, and not ours to show
        layer = OpticalConv2d(1, count, size, bench, **options)
    layer.slm.load_levels(levels)
    return layer


def _fit_gains(layer: OpticalConv2d, wanted: Tensor) -> None:
    """Factor of each mask that brings its kernels to the size of the wanted ones, by least squares."""
    parts, mask_of = layer.tile_kernels()[:, :, 0].cpu(), layer.mask_of()[..., 0]
    if layer.signs == 2:
        system = wanted.new_zeros(*wanted.shape, layer.slm.masks)
        for k, (plus, minus) in enumerate(mask_of.tolist()):
            system[k, ..., plus] += parts[k, 0].double()
            system[k, ..., minus] -= parts[k, 1].double()
        gains = torch.linalg.lstsq(system.flatten(0, 2), wanted.flatten()[:, None]).solution[:, 0].clamp(min=0)
    else:
        made = parts[:, 0].to(torch.complex128)
        overlap = (made.conj() * wanted).sum((-2, -1)).abs()
        top, bottom = (wanted.new_zeros(layer.slm.masks) for _ in range(2))
        top.index_add_(0, mask_of[:, 0], overlap)
        bottom.index_add_(0, mask_of[:, 0], made.abs().square().sum((-2, -1)))
        gains = (top / bottom).square()  # of the frames, which are the field's square
    layer.gains.copy_(gains)


def _compared(made: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Real kernels to show, and their cosines; the global phase of complex ones, which nobody sees, is the best one."""
    if not made.is_complex():
        return made.double(), kernel_cosine(made.double(), wanted)
    made = made.to(torch.complex128)
    overlap = (made.conj() * wanted).sum((-2, -1), keepdim=True)
    made = made * torch.polar(torch.ones_like(overlap.real), overlap.angle())
    return made.real, kernel_cosine(made, wanted.to(made))


def _outputs(layer: OpticalConv2d, frames: Tensor) -> Tensor:
    """Signed outputs of frames ``(images, masks, height, width)``."""
    found = []
    for tile in layer.plan.tiles:
        window = frames[:, tile.exposure, tile.rows, tile.columns].double()
        found.append(window.flip((-2, -1)) * layer.gains[tile.exposure].double().cpu())
    signed = torch.stack(found, 1).unflatten(1, (layer.out_channels, layer.signs))
    return signed[:, :, 0] - signed[:, :, 1] if layer.signs == 2 else signed[:, :, 0]
