"""Planes as small pictures for a page: one sample, one pixel, axes and colour scale beside it as text.

The colours are those of :mod:`optics4f.plotting`. Text stays text, so that it is sharp at any width and fits dark and
light pages; a picture of 160 x 160 samples takes some ten kilobytes.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..grid import Grid
from ..plotting import plot_intensity, plot_phase, plot_residuals

Colours = Literal["light", "phase", "grey", "signed"]
DECADES = 4
"""Of a logarithmic intensity; what is darker takes the darkest colour."""
SIDE = 160
"""Pixels on the longer side of a picture, at most, unless said otherwise."""
_LEVELS = 255  # of a palette; the last entry is for what is not there


@dataclass(frozen=True)
class Picture:
    """One plane, ready for :meth:`~optics4f.report.layout.Report.pictures`.

    Attributes:
        png: Its samples as colours.
        title: Above it.
        note: Below the title, smaller.
        x: Ends of the horizontal axis, left and right, with the name and unit of the axis between them.
        y: The same of the vertical axis, top and bottom.
        scale: Lowest and highest value, and what they are of.
        bar: PNG of the colour scale, the highest value at its top.
        alt: All of it in words.
    """

    png: bytes
    title: str
    note: str
    x: tuple[str, str, str]
    y: tuple[str, str, str]
    scale: tuple[str, str, str]
    bar: bytes
    alt: str


def intensity_picture(
    intensity: Tensor, grid: Grid, title: str, *, peak: float | None = None, crop: bool = True, side: int = SIDE
) -> Picture:
    """Intensity in logarithmic colours, four decades.

    Args:
        intensity: Real, shape ``grid.shape``.
        grid: Its plane.
        title: What it is.
        peak: Value of the brightest colour; by default its own maximum.
        crop: Whether to leave out edges that are darker than all colours.
        side: Pixels on its longer side, at most; above, a pixel is the mean of several samples.
    """
    values = _plane(intensity, grid)
    top = values.max() if peak is None else peak
    low = (top or 1.0) * 10.0**-DECADES
    rows, columns = lit_window(values, low) if crop else (slice(None), slice(None))
    step = _step(values[rows, columns].shape, side)
    shares = np.log10(np.maximum(_means(values[rows, columns], step), low) / low) / DECADES
    note = _joined(f"peak {values.max():.3g}", _averaged(step))
    scale = (f"{low:.2g}", f"{top:.2g}", "intensity, logarithmic")
    return _picture(_indices(shares), "light", grid, (rows, columns), step, title, note, scale)


def phase_picture(
    phase: Tensor, grid: Grid, title: str, *, intensity: Tensor | None = None, crop: bool = True, side: int = SIDE
) -> Picture:
    """Phase [rad] in cyclic colours; samples are picked, for the mean of phases is no phase.

    Args:
        phase: [rad], shape ``grid.shape``.
        grid: Its plane.
        title: What it is.
        intensity: Where it is four decades below its maximum there is no colour; by default every sample has one.
        crop: Whether to leave out edges without a colour.
        side: Pixels on its longer side, at most.
    """
    values = _plane(phase, grid)
    bright = np.ones(values.shape) if intensity is None else _plane(intensity, grid)
    low = bright.max() * 10.0**-DECADES
    rows, columns = lit_window(bright, low) if crop else (slice(None), slice(None))
    values, lit = values[rows, columns], (bright > low)[rows, columns]
    step = _step(values.shape, side)
    start = step // 2 if min(values.shape) > step // 2 else 0
    values, lit = values[start::step, start::step], lit[start::step, start::step]
    turns = np.floor(np.mod(values / (2 * math.pi), 1.0) * _LEVELS).astype(np.uint8) % _LEVELS
    indices = np.where(lit, turns, _LEVELS).astype(np.uint8)
    scale = ("0", "2π", "phase [rad]")
    return _picture(indices, "phase", grid, (rows, columns), step, title, _picked(step), scale)


def grey_picture(
    values: Tensor, grid: Grid, title: str, *, peak: float, what: str, note: str = "", side: int = SIDE
) -> Picture:
    """A linear picture from 0 to ``peak``: an object, a camera frame.

    Args:
        values: Shape ``grid.shape``.
        grid: Its plane.
        title: What it is.
        peak: Value of white.
        what: The quantity and its unit.
        note: Below the title.
        side: Pixels on its longer side, at most; above, a pixel is the mean of several samples.
    """
    array = _plane(values, grid)
    step = _step(array.shape, side)
    shares = np.clip(_means(array, step) / (peak or 1.0), 0, 1)
    whole = (slice(None), slice(None))
    scale = ("0", f"{peak:.4g}" if peak < 1e4 else f"{peak:,.0f}", what)
    return _picture(_indices(shares), "grey", grid, whole, step, title, _joined(note, _averaged(step)), scale)


def signed_picture(
    values: Tensor, grid: Grid, title: str, *, limit: float, what: str, note: str = "", side: int = SIDE
) -> Picture:
    """Values ``(height, width)`` around zero from ``-limit`` to ``limit``; no colour where they are NaN.

    Arguments are those of :func:`grey_picture`.
    """
    array = _plane(values, grid)
    step = _step(array.shape, side)
    start = step // 2 if min(array.shape) > step // 2 else 0
    array = array[start::step, start::step]
    shares = np.clip(np.nan_to_num(array) / limit, -1, 1) / 2 + 0.5
    indices = np.where(np.isnan(array), _LEVELS, _indices(shares)).astype(np.uint8)
    whole, scale = (slice(None), slice(None)), (f"-{limit:g}", f"{limit:g}", what)
    return _picture(indices, "signed", grid, whole, step, title, _joined(note, _picked(step)), scale)


def colour_wheel(side: int = 192) -> bytes:
    """The cyclic colours of the phase as a ring, PNG with a clear middle: 0 at the right, pi/2 at the top."""
    fine = 3 * side  # drawn larger and averaged, so that its edges are smooth
    y, x = np.mgrid[:fine, :fine] - (fine - 1) / 2
    radius, turn = np.hypot(x, y) / (fine / 2), np.mod(np.arctan2(-y, x) / (2 * math.pi), 1.0)
    colours = _table("phase")[np.floor(turn * _LEVELS).astype(int) % _LEVELS]
    inside = ((radius < 0.99) & (radius > 0.55)).astype(np.uint8) * 255
    ring = Image.fromarray(np.dstack((colours, inside)), mode="RGBA")
    return _png(ring.resize((side, side), Image.Resampling.BOX))


def lit_window(values: NDArray, low: float) -> tuple[slice, slice]:
    """Rows and columns of a plane ``(height, width)`` around its axis, as far each way as anything is above ``low``."""
    places = [np.flatnonzero((values > low).any(axis=1 - axis)) for axis in (0, 1)]
    reach = [np.abs(lit - n // 2).max(initial=0) for lit, n in zip(places, values.shape, strict=True)]
    half = math.ceil(1.05 * max(reach)) + 1 if len(places[0]) else max(values.shape)
    rows, columns = (slice(max(0, n // 2 - half), min(n, n // 2 + half + 1)) for n in values.shape)
    return rows, columns


def _picture(
    indices: NDArray,
    colours: Colours,
    grid: Grid,
    window: tuple[slice, slice],
    step: int,
    title: str,
    note: str,
    scale: tuple[str, str, str],
) -> Picture:
    size, unit = (1e-3, "mm") if max(indices.shape) * step * grid.pitch >= 1e-3 else (1e-6, "µm")
    axes = []
    for name, taken, n, count in zip("yx", window, grid.shape, indices.shape, strict=True):
        start = ((taken.start or 0) - n // 2 - 0.5) * grid.pitch / size
        end = start + count * step * grid.pitch / size
        axes.append((_number(start, end), f"{name} [{unit}]", _number(end, start)))
    (top, _, bottom), (left, _, right) = axes
    extent = f"x from {left} to {right} {unit}, y from {top} to {bottom} {unit}, downwards"
    alt = f"{title}{f' ({note})' if note else ''}: {scale[2]} from {scale[0]} to {scale[1]}; {extent}"
    palette = np.vstack((_table(colours), np.zeros((1, 3), np.uint8)))
    painted = _paletted(indices, palette)
    ramp = np.arange(_LEVELS - 1, -1, -2, dtype=np.uint8)[:, None]
    return Picture(painted, title, note, axes[1], axes[0], scale, _paletted(ramp, palette), alt)


def _number(value: float, other: float) -> str:
    """An end of an axis, with as many digits as the longer end needs."""
    digits = max(0, 2 - math.floor(math.log10(max(abs(value), abs(other)))))
    return f"{value:.{digits}f}".replace("-", "−")


@cache
def _table(colours: Colours) -> NDArray:
    """The colours of the figures, RGB of each level."""
    if colours == "grey":
        return np.repeat(np.linspace(0, 255, _LEVELS).round().astype(np.uint8)[:, None], 3, axis=1)
    grid, values = Grid((2, 2), 1e-3), torch.ones(2, 2)
    drawn = {
        "light": lambda: plot_intensity(values, grid),
        "phase": lambda: plot_phase(values, grid),
        "signed": lambda: plot_residuals(values[None], grid).axes[0],
    }
    colour_map = drawn[colours]().images[0].get_cmap()
    places = (np.arange(_LEVELS) + 0.5) / _LEVELS if colours == "phase" else np.linspace(0, 1, _LEVELS)
    return (colour_map(places)[:, :3] * 255).round().astype(np.uint8)


def _plane(values: Tensor, grid: Grid) -> NDArray:
    array = torch.as_tensor(values).detach().cpu().double().numpy()
    if array.shape != grid.shape:
        raise ValueError(f"a picture must have the grid's shape {grid.shape}, got {array.shape}. Choose one plane.")
    return array


def _step(shape: tuple[int, ...], side: int) -> int:
    return math.ceil(max(shape) / side)


def _means(values: NDArray, step: int) -> NDArray:
    """Mean over blocks of ``step x step`` samples, of those that are there at the edges."""
    if step == 1:
        return values
    starts = [np.arange(0, n, step) for n in values.shape]
    counts = [np.diff([*start, n]) for start, n in zip(starts, values.shape, strict=True)]
    sums = np.add.reduceat(np.add.reduceat(values, starts[0], axis=0), starts[1], axis=1)
    return sums / (counts[0][:, None] * counts[1][None, :])


def _averaged(step: int) -> str:
    return "" if step == 1 else f"mean of {step} x {step} samples a pixel"


def _picked(step: int) -> str:
    return "" if step == 1 else f"one of {step} x {step} samples shown"


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


def _indices(shares: NDArray) -> NDArray:
    return np.rint(np.clip(shares, 0, 1) * (_LEVELS - 1)).astype(np.uint8)


def _paletted(indices: NDArray, palette: NDArray) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(indices), mode="L")
    image.putpalette(palette.tobytes())
    return _png(image, transparency=_LEVELS if (indices == _LEVELS).any() else None)


def _png(image: Image.Image, *, transparency: int | None = None) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, **({} if transparency is None else {"transparency": transparency}))
    return buffer.getvalue()
