"""``optics4f design``: from a TOML file to masks for a bench, a bundle and figures."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .bundle import Bundle, predict_frames, write_bundle
from .config import ConfigError, bench_from, errors_located, read_toml, validated
from .design import PhaseOnly, Retrieval, TargetLoss, descend, gerchberg_saxton
from .design.targets import Target
from .design_config import DESCENT, DesignedBench, DesignSpecification
from .design_tiles import Result, design_tiles
from .elements import SLM
from .field import intensity
from .files import made_folder, refuse_overwriting, written_whole
from .fourf import FourF
from .grid import Grid
from .plotting import (
    plot_convergence,
    plot_frames,
    plot_image,
    plot_intensity,
    plot_kernels,
    plot_masks,
    plot_spots,
    png,
)

_MISSED = 0.1  # relative RMS error of a kernel or field from which on a user is told
_DIM = 0.1  # of the light asked for, below which one is
WRITTEN = (
    *("masks.h5", "metrics.json", "masks.png", "merits.png", "far_field.png", "convergence.png", "frames.png"),
    "convolution.png",
)
"""Names of the files in the folder of a design."""


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
    stated = validated(DesignedBench, tables, source=str(config), text=text)
    bench = stated.bench.build()
    if not isinstance(bench.slm, SLM):
        raise ValueError(
            f"bench.slm must be a phase SLM for a design, got {stated.bench.slm.device}: a bundle holds phase levels. "
            "For mirrors call optics4f.design.gerchberg_saxton with AmplitudeOnly(2), or encode with Lee or Superpixel."
        )
    target = stated.design.target
    for name in WRITTEN:  # before the minutes that a design takes
        refuse_overwriting(out / name, *(path for path in (config, target.file, target.picture) if path is not None))
    tiled = target.kind == "tiles"
    with errors_located(stated.bench):
        bundle, metrics, figures = (design_tiles if tiled else _pattern)(stated, bench, text)
    made_folder(out)
    write_bundle(out / "masks.h5", bundle)
    for name, figure in figures.items():
        with written_whole(out / name) as part:
            part.write_bytes(png(figure))
    with written_whole(out / "metrics.json") as part:
        part.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return metrics


def _pattern(stated: DesignedBench, bench: FourF, text: str) -> Result:
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
    _tell_of_misses(target, design, metrics)
    figures = _figures(bench, found, frames, point) | _compared(bench, target, design)
    return Bundle(levels, text, point, frames, quiet, design.seed), metrics, figures


def _retrieved(stated: DesignedBench, bench: FourF, target: Target) -> Retrieval:
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


def _tell_of_misses(target: Target, design: DesignSpecification, metrics: dict) -> None:
    """Warn of kernels and fields that do not come out, or with hardly any light."""
    if not target.wanted.is_complex():
        return
    kind, wrong = design.target.kind, max(metrics["rms_error"], default=0.0)
    if wrong > _MISSED:
        ideal = max(metrics.get("without_effects", metrics)["rms_error"], default=0.0)
        advice = "More iterations, less efficiency, or more SLM pixels help."
        if ideal < wrong / 2:
            advice = f'Without the effects of the panel it would be {ideal:.1%}: method = "gradient" learns with them.'
        warnings.warn(f"the masks miss the wanted {kind} by {wrong:.0%} (relative RMS error). {advice}", stacklevel=2)
    asked = target.power.sum((-2, -1)).min().item() / target.plane.overlap
    light = min(metrics["efficiency"], default=asked)
    if light < _DIM * asked:
        warnings.warn(
            f"only {light:.2g} of the light is in the wanted {kind}, {asked:.2g} was asked for: neighbouring taps that "
            "cancel where they are not told apart cost light. More SLM pixels tell them apart.",
            stacklevel=2,
        )


def _merits(bench: FourF, found: Retrieval, target: Target, design: DesignSpecification) -> dict[str, Any]:
    """Figures of merit of each mask, or of each wavelength, by the panel with all its effects.

    Gerchberg-Saxton knows levels alone: what its masks come to without the other effects is ``without_effects``.
    """
    made = [loss.metrics(bench.slm) for loss in _losses(bench, target, design)]
    rows = slice(len(target.wanted)) if len(target.wanted) > 1 else slice(1)
    merits: dict[str, Any] = {name: [float(v) for one in made for v in one[name].flatten()[rows]] for name in made[0]}
    if design.method not in DESCENT:
        best = found.best.expand(len(target.wanted))
        every = range(len(best))
        merits["without_effects"] = {
            name: [float(value[best[k], k]) for k in every] for name, value in found.metrics.items()
        }
    return merits


def pixel_light(bench: FourF, wavelength: float | None = None) -> Tensor:
    """Amplitude with which one white logical pixel lights the SLM, relative, shape of its samples: a sinc.

    Args:
        bench: The bench.
        wavelength: Of the light [m]; by default that of the bench.
    """
    light = bench.illumination
    turns = light.block * light.grid.pitch / bench.scales[0]
    if wavelength is not None:
        turns = turns * bench.wavelength / wavelength
    y, x = (torch.sinc(turns * position).abs() for position in bench.slm.samples.coordinates())
    return (y * x).clamp(min=1e-3)  # beyond a zero there is next to no light to shape


@torch.no_grad()
def far_field(bench: FourF) -> tuple[Tensor, Grid]:
    """Intensity that the first mask makes of a point on the axis, with all effects of the panel, and its plane.

    The SLM is filled up to a square with darkness, so that a sample is as wide as it is high: lambda f2 over the longer
    side of the SLM.

    Args:
        bench: A mask on it.

    Returns:
        Intensity, shape ``(side, side)``, whose sum is that of the light behind the mask; and its grid.
    """
    lit = bench.slm.modulation()[0] * pixel_light(bench).to(bench.slm.values.dtype)
    side = max(lit.shape)
    spectrum = torch.fft.fftshift(torch.fft.fft2(lit, s=(side, side)) / side)
    return intensity(spectrum), Grid((side, side), bench.scales[1] / max(bench.slm.samples.extent))


@torch.no_grad()
def _figures(bench: FourF, found: Retrieval, frames: Tensor, point: Tensor) -> dict:
    """Masks, far field of the first mask with all effects, convergence, the camera's view of a point."""
    field = plot_intensity(*far_field(bench), log=True, title="far field of mask 0")
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
