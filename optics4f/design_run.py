"""``optics4f design``: from a TOML file to masks for a bench, a bundle and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from .bundle import Bundle, predict_frames, write_bundle
from .config import BenchSpecification, ConfigError, bench_from, read_toml, validated
from .config_effects import Specification
from .design import PhaseOnly, Retrieval, TargetLoss, descend, gerchberg_saxton
from .design.targets import Target, image, kernels, spot_array
from .elements import SLM
from .files import written_whole
from .fourf import FourF
from .grid import Grid
from .images import read_image
from .plotting import plot_convergence, plot_frames, plot_intensity, plot_masks, png

Count = Annotated[int, Field(ge=1)]


class TargetSpecification(Specification):
    """``[design.target]``: what the masks should make of light.

    Positions are bins of the SLM's Fourier transform: one bin is wavelength times ``f_2`` over the SLM's used width.
    """

    kind: Literal["spots", "image", "kernels"]
    count: tuple[Count, Count] | None = None
    spacing: tuple[float, float] | None = None
    file: Path | None = None
    size: tuple[Count, Count] | None = None
    weights: tuple[tuple[tuple[float, ...], ...], ...] | None = None
    centre: tuple[float, float] = (0.0, 0.0)
    free: bool = False
    efficiency: float | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _complete(self) -> TargetSpecification:
        needed = {"spots": ("count", "spacing"), "image": ("file", "size"), "kernels": ("weights",)}
        for name in needed[self.kind]:
            if getattr(self, name) is None:
                raise ValueError(f'kind = "{self.kind}" needs {name}')
        for name in {n for names in needed.values() for n in names} - set(needed[self.kind]):
            if getattr(self, name) is not None:
                raise ValueError(f'{name} is not for kind = "{self.kind}"')
        if self.kind == "kernels" and (given := sorted({"centre", "free"} & self.model_fields_set)):
            raise ValueError(
                f'{given[0]} is not for kind = "kernels": they stand on the axis, and what is beside is free'
            )
        if self.kind == "spots" and self.efficiency is not None and not self.free:
            raise ValueError("efficiency is for free = true: spots with darkness around take all of the light")
        return self

    def build(self, bench: FourF) -> Target:
        """The target for a bench."""
        shape, share = bench.slm.samples.shape, {} if self.efficiency is None else {"efficiency": self.efficiency}
        if self.kind == "spots":
            return spot_array(shape, self.count, self.spacing, centre=self.centre, free=self.free, **share)
        if self.kind == "image":
            picture = read_image(self.file, self.size)
            middle = tuple(round(c) for c in self.centre)
            return image(shape, picture, centre=middle, free=self.free, **share)
        lengths = {(len(kernel), len(row)) for kernel in self.weights for row in kernel}
        if len(lengths) != 1:
            raise ValueError(f"design.target.weights must be kernels of one size, got {sorted(lengths)}.")
        return kernels(bench, torch.tensor(self.weights, dtype=torch.float64), **share)


class DesignSpecification(Specification):
    """``[design]``: how the masks are found."""

    target: TargetSpecification
    method: Literal["gs", "weighted_gs", "gradient"] = "weighted_gs"
    iterations: Count = 200
    starts: Count = 1
    seed: int = Field(0, ge=0, lt=2**63)


class _WithDesign(Specification):
    bench: BenchSpecification
    design: DesignSpecification


def run_design(config: Path, out: Path) -> dict:
    """Find the masks that a configuration asks for, and write them.

    Args:
        config: TOML with ``[bench]`` and ``[design]``.
        out: Folder for ``masks.h5``, ``metrics.json``, ``masks.png``, ``far_field.png``, ``convergence.png`` and
            ``frames.png``, the camera's view of one white logical pixel.

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
    bench, design = stated.bench.build(), stated.design
    if not isinstance(bench.slm, SLM) or bench.slm.samples_per_pixel != 1:
        raise ValueError("bench.slm must be a phase SLM with samples_per_pixel = 1 for a design.")
    target = design.target.build(bench)
    if len(target.wanted) not in (1, bench.slm.masks):
        raise ValueError(f"bench.slm.masks must be {len(target.wanted)}, one a kernel, got {bench.slm.masks}.")
    found = _retrieved(bench, design, target)
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
        **{name: [float(v) for v in value[found.best[0]].flatten()] for name, value in found.metrics.items()},
    }
    out.mkdir(parents=True, exist_ok=True)
    write_bundle(out / "masks.h5", Bundle(levels, text, point, frames, quiet, design.seed))
    for name, figure in _figures(bench, found, frames, point).items():
        with written_whole(out / name) as part:
            part.write_bytes(png(figure))
    with written_whole(out / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return metrics


def _retrieved(bench: FourF, design: DesignSpecification, target: Target) -> Retrieval:
    options = {"iterations": design.iterations, "starts": design.starts, "seed": design.seed}
    light = pixel_light(bench)
    if design.method == "gradient":  # through every effect of the device
        return descend(bench.slm, TargetLoss(target, illumination=light), **options)
    options["illumination"] = light
    constraint = PhaseOnly(2**bench.slm.bit_depth)
    return gerchberg_saxton(target, constraint=constraint, weighted=design.method == "weighted_gs", **options)


def pixel_light(bench: FourF) -> Tensor:
    """Amplitude with which one white logical pixel lights the SLM, relative, shape of its samples: a sinc."""
    light = bench.illumination
    turns = light.block * light.grid.pitch / bench.scales[0]
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
