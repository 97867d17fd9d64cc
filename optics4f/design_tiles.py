"""``optics4f design`` for kernels side by side: masks of an optical convolution, and how well they convolve."""

from __future__ import annotations

import time
import tomllib

import torch
from torch import Tensor
from torch.nn.functional import conv2d, cosine_similarity

from .bundle import Bundle, predict_frames
from .config import bench_from, errors_located
from .conv import OpticalConv2d
from .design.tiling import Tile
from .design_config import DesignedBench
from .fourf import FourF
from .metrics import kernel_cosine
from .plotting import plot_convolution, plot_kernels, plot_masks

Result = tuple[Bundle, dict, dict]  # with metrics, and figures by name of file


def design_tiles(stated: DesignedBench, bench: FourF, text: str) -> Result:
    """Signed kernels side by side in the PSFs of few masks; all files are read before the minutes that it takes."""
    with errors_located(stated):
        return _designed(stated, bench, text)


def _designed(stated: DesignedBench, bench: FourF, text: str) -> Result:
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
    weights, picture = target.wanted_kernels(), target.shown_picture(stated.bench.object.shape)
    if picture is None:
        picture = _natural(stated.bench.object.shape, design.seed)
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


def _natural(shape: tuple[int, int], seed: int) -> Tensor:
    """Noise with the spectrum of natural images, 1/f in amplitude (Field 1987), in [0, 1]."""
    noise = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in shape)
    frequency = (fy[:, None].square() + fx[None, :].square()).sqrt().clamp(min=1 / max(shape))
    picture = torch.fft.ifft2(torch.fft.fft2(noise) / frequency).real
    return ((picture - picture.min()) / (picture.max() - picture.min())).float()
