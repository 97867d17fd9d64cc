"""``optics4f design``: from a TOML file to masks for a bench, a bundle and figures."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import conv2d, cosine_similarity

from .bundle import Bundle, predict_frames, write_bundle
from .config import BenchSpecification, ConfigError, bench_from, read_toml, validated
from .config_effects import Specification, quantity
from .conv import OpticalConv2d
from .design import PhaseOnly, Retrieval, TargetLoss, descend, gerchberg_saxton
from .design.planes import fourier_plane
from .design.targets import Target, image, kernels, make_target, point_spread_function, spot_array
from .design.tiling import Tile
from .elements import SLM
from .files import written_whole
from .fourf import FourF
from .grid import Grid
from .images import read_image
from .metrics import kernel_cosine
from .plotting import (
    plot_convergence,
    plot_convolution,
    plot_frames,
    plot_image,
    plot_intensity,
    plot_kernels,
    plot_masks,
    plot_spots,
    png,
)

Count = Annotated[int, Field(ge=1)]

# What each kind of target needs and what else it takes; "weights" may come from a file instead.
NEEDED = {
    "spots": ("count", "spacing"),
    "image": ("file", "size"),
    "psf": ("file", "size"),
    "field": ("file",),
    "kernels": ("weights",),
    "tiles": ("weights",),
}
TAKEN = {
    "spots": {"centre", "free", "efficiency"},
    "image": {"centre", "free", "efficiency"},
    "psf": {"efficiency"},
    "field": {"centre", "free", "efficiency"},
    "kernels": {"file", "efficiency"},
    "tiles": {"file", "detection", "exposures", "padding", "picture", "rounds", "steps"},
}


DESCENT = {"gradient": "adam", "lbfgs": "lbfgs"}


class TargetSpecification(Specification):
    """``[design.target]``: what the masks should make of light.

    Positions are bins of the SLM's Fourier transform: one bin is wavelength times ``f_2`` over the SLM's used width. A
    PSF has one value for each camera pixel. Tiles are kernels side by side in the PSF, off the zero order.
    """

    kind: Literal["spots", "image", "psf", "field", "kernels", "tiles"]
    count: tuple[Count, Count] | None = None
    spacing: tuple[float, float] | None = None
    file: Path | None = None
    size: tuple[Count, Count] | None = None
    weights: tuple[tuple[tuple[float, ...], ...], ...] | None = None
    centre: tuple[float, float] = (0.0, 0.0)
    free: bool = False
    efficiency: float | None = Field(None, gt=0, le=1)
    detection: Literal["differential", "intensity"] = "differential"
    exposures: Count | None = None
    padding: int = Field(0, ge=0)
    picture: Path | None = None
    rounds: int = Field(4, ge=0)
    steps: int | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _complete(self) -> TargetSpecification:
        given = self.model_fields_set - {"kind"}
        for name in NEEDED[self.kind]:
            if name not in given and not (name == "weights" and "file" in given):
                raise ValueError(f'kind = "{self.kind}" needs {name}')
        if {"weights", "file"} <= given:
            raise ValueError("weights and file are both given: one of them holds the kernels")
        for name in sorted(given - TAKEN[self.kind] - set(NEEDED[self.kind])):
            reason = ": they stand on the axis, and what is beside is free" if name in ("centre", "free") else ""
            raise ValueError(f'{name} is not for kind = "{self.kind}"' + (reason if self.kind == "kernels" else ""))
        if self.kind == "spots" and self.efficiency is not None and not self.free:
            raise ValueError("efficiency is for free = true: spots with darkness around take all of the light")
        return self

    def build(self, bench: FourF, wavelength: float | None = None) -> Target:
        """The target for a bench, in light of a wavelength (that of the bench by default), which a PSF asks for."""
        shape, share = bench.slm.samples.shape, {} if self.efficiency is None else {"efficiency": self.efficiency}
        if self.kind == "spots":
            return spot_array(shape, self.count, self.spacing, centre=self.centre, free=self.free, **share)
        if self.kind == "kernels":
            return kernels(bench, self.wanted_kernels(), **share)
        if self.kind == "psf":
            picture = read_image(self.file, self.size)
            return point_spread_function(bench, picture, bench.camera.grid.pitch, wavelength=wavelength, **share)
        middle = tuple(round(c) for c in self.centre)
        if self.kind == "image":
            return image(shape, read_image(self.file, self.size), centre=middle, free=self.free, **share)
        field = _read_array(self.file, dimensions=(2, 3))
        plane = fourier_plane(shape, window=tuple(field.shape[-2:]), centre=middle)
        return make_target(plane, field.to(torch.complex128), free=self.free, **share)

    def wanted_kernels(self) -> Tensor:
        """The weights, shape ``(kernels, height, width)``, float64."""
        if self.weights is None:
            return _read_array(self.file, dimensions=(3,), real=True).double()
        lengths = {(len(kernel), len(row)) for kernel in self.weights for row in kernel}
        if len(lengths) != 1:
            raise ValueError(f"design.target.weights must be kernels of one size, got {sorted(lengths)}.")
        return torch.tensor(self.weights, dtype=torch.float64)


def _read_array(path: Path, *, dimensions: tuple[int, ...], real: bool = False) -> Tensor:
    """An ``.npy`` file of finite numbers."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not an .npy file that can be read: {str(error).splitlines()[0]}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in ("fiu" if real else "fiuc"):
        raise ValueError(f"{path} must hold one array of {'real ' if real else ''}numbers. Save it with numpy.save.")
    if array.ndim not in dimensions or 0 in array.shape or not np.isfinite(array).all():
        wanted = " or ".join(map(str, dimensions))
        raise ValueError(f"{path} must be finite and have {wanted} dimensions, got shape {array.shape}.")
    return torch.from_numpy(np.ascontiguousarray(array))


class DesignSpecification(Specification):
    """``[design]``: how the masks are found. ``wavelengths`` that all see the same PSF need a gradient method."""

    target: TargetSpecification
    method: Literal["gs", "weighted_gs", "gradient", "lbfgs"] = "weighted_gs"
    iterations: Count = 200
    starts: Count = 1
    seed: int = Field(0, ge=0, lt=2**63)
    wavelengths: tuple[Annotated[float, quantity("m"), Field(gt=0, allow_inf_nan=False)], ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> DesignSpecification:
        if self.target.kind == "tiles" and (self.method != "weighted_gs" or self.starts != 1):
            raise ValueError('kind = "tiles" takes method = "weighted_gs" and starts = 1; descent follows by itself')
        if self.wavelengths and (self.target.kind != "psf" or self.method not in DESCENT):
            raise ValueError('wavelengths are for kind = "psf" with method = "gradient" or "lbfgs"')
        return self


class _WithDesign(Specification):
    bench: BenchSpecification
    design: DesignSpecification


def run_design(config: Path, out: Path) -> dict:
    """Find the masks that a configuration asks for, and write them.

    Args:
        config: TOML with ``[bench]`` and ``[design]``.
        out: Folder for ``masks.h5``, ``metrics.json``, ``masks.png``, ``merits.png`` (wanted against found),
            ``far_field.png``, ``convergence.png`` and ``frames.png``, the camera's view of one white logical pixel; of
            tiles ``convolution.png`` in place of the last three.

    Returns:
        The metrics, as written.

    Raises:
        ConfigError: A defect of the file.
        ValueError: A target or a device that cannot be had.
    """
    content, text = read_toml(config)
    bench_from(content, source=str(config), text=text)
    if not isinstance(content.get("design"), dict):
        raise ConfigError(f"{config} has no table [design]. It describes the target and how masks are found.")
    tables = {name: content[name] for name in ("bench", "design")}
    stated = validated(_WithDesign, tables, source=str(config), text=text)
    bench = stated.bench.build()
    if not isinstance(bench.slm, SLM):
        raise ValueError(
            f"bench.slm must be a phase SLM for a design, got {stated.bench.slm.device}: a bundle holds phase levels. "
            "For mirrors call optics4f.design.gerchberg_saxton with AmplitudeOnly(2), or encode with Lee or Superpixel."
        )
    tiled = stated.design.target.kind == "tiles"
    bundle, metrics, figures = (_tiles if tiled else _pattern)(stated, bench, text)
    out.mkdir(parents=True, exist_ok=True)
    write_bundle(out / "masks.h5", bundle)
    for name, figure in figures.items():
        with written_whole(out / name) as part:
            part.write_bytes(png(figure))
    with written_whole(out / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return metrics


Result = tuple[Bundle, dict, dict]  # with metrics, and figures by name of file


def _pattern(stated: _WithDesign, bench: FourF, text: str) -> Result:
    """Spots, an image, a PSF, a field, or a kernel in front of the axis for each mask."""
    if bench.slm.samples_per_pixel != 1:
        raise ValueError(
            f"bench.slm.samples_per_pixel must be 1 for a design but tiles, got {bench.slm.samples_per_pixel}."
        )
    design = stated.design
    target = design.target.build(bench, (*design.wavelengths, None)[0])
    if len(target.wanted) not in (1, bench.slm.masks):
        raise ValueError(f"bench.slm.masks must be {len(target.wanted)}, one a kernel, got {bench.slm.masks}.")
    found = _retrieved(stated, bench, target)
    masks = found.chosen.expand(bench.slm.masks, -1, -1) if len(found.chosen) == 1 else found.chosen
    bench.slm.set_values(masks)
    levels = bench.slm.levels()
    point = torch.zeros(1, *stated.bench.object.shape)
    point[0, stated.bench.object.shape[0] // 2, stated.bench.object.shape[1] // 2] = 1
    frames, quiet = predict_frames(stated.bench, levels, point, design.seed)
    metrics = {
        "method": design.method,
        "iterations": found.iterations,
        "reason": found.reason,
        "seconds": found.seconds,
        "seed": design.seed,
        "levels": 2**bench.slm.bit_depth,
        **_merits(bench, found, target, design),
    }
    figures = _figures(bench, found, frames, point) | _compared(bench, target, design)
    return Bundle(levels, text, point, frames, quiet, design.seed), metrics, figures


def _retrieved(stated: _WithDesign, bench: FourF, target: Target) -> Retrieval:
    design = stated.design
    options = {"iterations": design.iterations, "starts": design.starts, "seed": design.seed}
    if design.method in DESCENT:  # through every effect of the device
        masks = len(target.wanted)
        panel = stated.bench.slm.model_copy(update={"masks": masks * design.starts})
        modulator = stated.bench.model_copy(update={"slm": panel}).build().slm
        losses = _losses(bench, target, design)
        return descend(
            modulator, lambda slm: sum(loss(slm) for loss in losses), method=DESCENT[design.method], **options
        )
    options["illumination"] = pixel_light(bench)
    constraint = PhaseOnly(2**bench.slm.bit_depth)
    return gerchberg_saxton(target, constraint=constraint, weighted=design.method == "weighted_gs", **options)


def _losses(bench: FourF, target: Target, design: DesignSpecification) -> list[TargetLoss]:
    """One for each wavelength; a path in the liquid crystal is more phase in shorter waves."""
    if not design.wavelengths:
        return [TargetLoss(target, illumination=pixel_light(bench))]
    losses = []
    for wavelength in design.wavelengths:
        bench.slm.check_wavelength(wavelength)
        light, ratio = pixel_light(bench, wavelength), bench.wavelength / wavelength
        losses.append(TargetLoss(design.target.build(bench, wavelength), illumination=light, wavelength_ratio=ratio))
    return losses


def _merits(bench: FourF, found: Retrieval, target: Target, design: DesignSpecification) -> dict[str, list[float]]:
    """Figures of merit of the chosen masks: of each mask, or of each wavelength."""
    if design.method not in DESCENT:
        best = found.best.expand(len(target.wanted))
        every = range(len(best))
        return {name: [float(value[best[k], k]) for k in every] for name, value in found.metrics.items()}
    made = [loss.metrics(bench.slm) for loss in _losses(bench, target, design)]
    rows = slice(len(target.wanted)) if len(target.wanted) > 1 else slice(1)
    return {name: [float(v) for one in made for v in one[name].flatten()[rows]] for name in made[0]}


def pixel_light(bench: FourF, wavelength: float | None = None) -> Tensor:
    """Amplitude with which one white logical pixel lights the SLM, relative, shape of its samples: a sinc."""
    light = bench.illumination
    turns = light.block * light.grid.pitch / bench.scales[0]
    if wavelength is not None:
        turns = turns * bench.wavelength / wavelength
    y, x = (torch.sinc(turns * position).abs() for position in bench.slm.samples.coordinates())
    return (y * x).clamp(min=1e-3)  # beyond a zero there is next to no light to shape


@torch.no_grad()
def _figures(bench: FourF, found: Retrieval, frames: Tensor, point: Tensor) -> dict:
    """Masks, far field of the first mask with all effects, convergence, the camera's view of a point."""
    lit = bench.slm.modulation()[0] * pixel_light(bench).to(bench.slm.values.dtype)
    spectrum = torch.fft.fftshift(torch.fft.fft2(lit, norm="ortho"))
    bins = Grid(tuple(spectrum.shape), bench.scales[1] / max(bench.slm.samples.extent))
    field = plot_intensity(spectrum.abs().square(), bins, log=True, title="far field of mask 0")
    return {
        "masks.png": plot_masks(bench.slm.pixel_modulation().angle(), bench.slm.grid),
        "far_field.png": field.figure,
        "convergence.png": plot_convergence(found.losses[:, found.best[0]]),
        "frames.png": plot_frames(point[0], frames[0], bench.camera.grid),
    }


@torch.no_grad()
def _compared(bench: FourF, target: Target, design: DesignSpecification) -> dict:
    """What was wanted against what the first mask makes, or of kernels every mask, with the effects of the panel."""
    field = _losses(bench, target, design)[0].field(bench.slm)[0]
    if design.target.kind == "kernels":
        return {"merits.png": plot_kernels(field, target.wanted)}
    shares = field[0].abs().square()
    if design.target.kind == "spots":
        return {"merits.png": plot_spots(shares, target.power[0], total=1.0)}
    return {"merits.png": plot_image(shares, target.power[0], title="mask 0")}


def _tiles(stated: _WithDesign, bench: FourF, text: str) -> Result:
    """Signed kernels side by side in the PSFs of few masks."""
    design, target = stated.design, stated.design.target
    incoherent = target.detection == "differential"
    wanted = ("self_luminous", "intensity") if incoherent else ("point", "amplitude")
    got = (stated.bench.light.source, stated.bench.object.encoding)
    if got != wanted:
        raise ValueError(
            f'bench.light.source must be "{wanted[0]}" and bench.object.encoding "{wanted[1]}" for {target.detection} '
            f'detection, got "{got[0]}" and "{got[1]}".'
        )
    if stated.bench.camera_position is not None:
        raise ValueError("bench.camera_position must be left out for tiles: the design puts the camera on the object.")
    weights = target.wanted_kernels()
    count, *size = weights.shape
    layer = OpticalConv2d(
        1,
        count,
        tuple(size),
        bench,
        detection=target.detection,
        exposures=target.exposures,
        padding=target.padding,
    )
    plan = layer.plan
    if bench.slm.masks != plan.exposures:
        raise ValueError(f"bench.slm.masks must be {plan.exposures}, one an exposure, got {bench.slm.masks}.")
    begin = time.perf_counter()
    options = {"iterations": design.iterations, "rounds": target.rounds, "steps": target.steps, "seed": design.seed}
    errors = layer.load_kernels(weights[:, None], **options)
    seconds = time.perf_counter() - begin
    levels = layer.slm.levels()
    picture = _picture(target.picture, stated.bench.object.shape, design.seed)
    shift = ", ".join(f'"{value!r} m"' for value in layer.bench.camera_position.shift.tolist())
    text += f"\n# A logical pixel lies half a block beside the axis.\n[bench.camera_position]\nshift = [{shift}]\n"
    specification = bench_from(tomllib.loads(text), source="the design's configuration")
    frames, quiet = predict_frames(specification, levels, picture[None], design.seed)
    with torch.no_grad():
        measured, made = layer(picture[None, None])[0], layer.effective_kernels()[:, 0]
        signal = torch.zeros(bench.camera.grid.shape)  # between the windows nothing is computed
        for exposure, tile, seen in layer.camera_windows(picture[None, None]):
            if exposure == 0:
                signal[tile.rows, tile.columns] = seen[0]
    digital = conv2d(picture[None, None], weights[:, None].to(picture), padding=target.padding)[0]
    digital = digital if incoherent else digital.square()  # what a detector shows of a coherent field
    top = 2.0**bench.camera.sensor.bit_depth * bench.camera.binning**2 - bench.camera.binning**2
    metrics = {
        "method": design.method,
        "iterations": design.iterations,
        "seconds": seconds,
        "seed": design.seed,
        "levels": 2**bench.slm.bit_depth,
        "kernel_cosine": _aligned_cosine(made, weights.to(made)).tolist(),
        "output_cosine": cosine_similarity(measured.flatten(1), digital.flatten(1)).tolist(),
        "brightest_pixel": quiet.max().item() / top,
        "gains": {str(k): gain for k, gain in enumerate(layer.gains.tolist())},
        "errors_on_the_way": {str(k): error for k, error in enumerate(errors.tolist())},
        "plan": {
            "exposures": plan.exposures,
            "capacity": plan.capacity,
            "spacing": plan.spacing,
            "tiles": [_row(tile) for tile in plan.tiles],
        },
    }
    windows = [(tile.rows, tile.columns) for tile in plan.tiles if tile.exposure == 0]
    figures = {
        "masks.png": plot_masks(layer.slm.pixel_modulation().detach().angle(), layer.slm.grid),
        "merits.png": plot_kernels(made, weights),
        "convolution.png": plot_convolution(signal, windows, measured, digital, pitch=bench.camera.grid.pitch),
    }
    return Bundle(levels, text, picture[None], frames, quiet, design.seed), metrics, figures


def _row(tile: Tile) -> dict:
    rows, columns = ([place.start, place.stop - 1] for place in (tile.rows, tile.columns))
    sign = "-" if tile.sign else "+"
    where = {"centre": list(tile.centre), "camera_rows": rows, "camera_columns": columns}
    return {"kernel": tile.kernel, "sign": sign, "exposure": tile.exposure} | where


def _aligned_cosine(made: Tensor, wanted: Tensor) -> Tensor:
    """Signed cosine of real kernels; of complex ones, whose global phase nobody sees, the best."""
    if not made.is_complex():
        return kernel_cosine(made, wanted)
    overlap = (made.conj() * wanted).sum((-2, -1), keepdim=True)
    return kernel_cosine(made * torch.polar(torch.ones_like(overlap.real), overlap.angle()), wanted)


def _picture(path: Path | None, shape: tuple[int, int], seed: int) -> Tensor:
    """A file, or noise with the spectrum of natural images, 1/f in amplitude (Field 1987), in [0, 1]."""
    if path is not None:
        return read_image(path, shape)
    noise = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in shape)
    frequency = (fy[:, None].square() + fx[None, :].square()).sqrt().clamp(min=1 / max(shape))
    picture = torch.fft.ifft2(torch.fft.fft2(noise) / frequency).real
    return ((picture - picture.min()) / (picture.max() - picture.min())).float()
