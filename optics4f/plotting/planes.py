"""Drawing one plane: its samples where the grid says, row 0 at the top, so that y runs downwards as ``Grid`` has it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from torch import Tensor

from ..field import Field
from ..grid import Grid
from .canvas import colour_bar, new_figure, squeezed

LIGHT, PICTURE, PHASE = "inferno", "gray", "twilight"
DECADES = 4  # of a logarithmic intensity; what is darker takes the darkest colour


def new_axes(grid: Grid) -> Axes:
    """Axes for one plane, in a figure of its own."""
    return new_figure(4.9, 0.9 + 3.4 * _aspect(grid), layout="compressed").add_subplot()


def new_panels(count: int, grid: Grid, *, crop: float | None = None, width: float = 2.3) -> tuple[Figure, list[Axes]]:
    """``count`` axes in rows of three to five, whichever leaves the fewest places empty."""
    columns = count if count <= 5 else min((5, 4, 3), key=lambda columns: -count % columns)
    rows = math.ceil(count / columns)
    aspect = 1.0 if crop is not None else _aspect(grid)
    # Compressed: pictures of equal aspect stand close together, whatever the figure's own aspect.
    figure = new_figure(width * columns + 1.4, rows * (width * aspect + 0.55) + 0.3, layout="compressed")
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def _aspect(grid: Grid) -> float:
    return min(max(grid.shape[0] / grid.shape[1], 0.4), 2.5)


def draw(ax: Axes, values: np.ndarray, grid: Grid, unit: tuple[str, float], **style: Any) -> AxesImage:
    """``values (height, width)`` on their plane, row 0 at the top."""
    name, size = unit
    (top, bottom), (left, right) = (
        ((-(n // 2) - 0.5) * grid.pitch / size, (n - n // 2 - 0.5) * grid.pitch / size) for n in grid.shape
    )
    image = ax.imshow(values, extent=(left, right, bottom, top), origin="upper", aspect="equal", **style)
    ax.set(xlabel=f"x [{name}]", ylabel=f"y [{name}]")
    ax.locator_params(axis="x", nbins=4)  # numbers such as -0.25 stay apart in a narrow panel
    return image


def draw_intensity(ax: Axes, intensity: np.ndarray, grid: Grid, unit: tuple[str, float], norm: Normalize) -> AxesImage:
    """Intensity ``(height, width)`` in the colours of light; what ``norm`` cannot show takes its darkest."""
    if isinstance(norm, LogNorm):
        intensity = np.maximum(intensity, norm.vmin)  # a zero has no logarithm
    return draw(ax, intensity, grid, unit, cmap=LIGHT, norm=norm)


def draw_phase(
    ax: Axes, phase: np.ndarray, grid: Grid, unit: tuple[str, float], *, intensity: np.ndarray | None = None
) -> AxesImage:
    """Phase [rad] in [0, 2 pi), ``(height, width)``; grey where ``intensity`` is four decades below its maximum."""
    wrapped = np.mod(phase, 2 * math.pi)
    if intensity is not None:
        wrapped = np.ma.masked_where(intensity <= intensity.max() * 10.0**-DECADES, wrapped)
        ax.set_facecolor("0.75")
    # Where a screen pixel holds many samples their colours are averaged: a mean of 0 and 2 pi as numbers would be pi.
    return draw(ax, wrapped, grid, unit, cmap=PHASE, norm=Normalize(0, 2 * math.pi), interpolation_stage="rgba")


def phase_bar(image: AxesImage, ax: Axes | list[Axes], **style: Any) -> None:
    """A colour bar over one turn of the phase."""
    bar = colour_bar(image, ax, "phase [rad]", **style)
    bar.set_ticks([0, math.pi, 2 * math.pi], labels=["0", "π", "2π"])


def brightness_scale(intensity: np.ndarray, log: bool) -> Normalize:
    """From darkness to the brightest sample of any shape: linear, or over the top four decades."""
    peak = float(intensity.max()) or 1.0
    return LogNorm(peak * 10.0**-DECADES, peak) if log else Normalize(0, peak)


def _crop_to(ax: Axes, grid: Grid, crop: float | None) -> None:
    """Show the middle ``crop`` [m] of a plane that is larger."""
    if crop is None:
        return
    left, right, bottom, top = ax.images[0].get_extent()
    scale = (right - left) / grid.extent[1]
    half = crop / 2 * scale
    ax.set_xlim(max(left, -half), min(right, half))
    ax.set_ylim(min(bottom, half), max(top, -half))


def finish(
    ax: Axes, grid: Grid, unit: tuple[str, float], *, crop: float | None = None, scale_bar: bool = False
) -> None:
    """Crop a plane that is drawn, and give it a scale bar in place of its axes where that is wanted."""
    _crop_to(ax, grid, crop)
    if scale_bar:
        _add_scale_bar(ax, unit)


def _add_scale_bar(ax: Axes, unit: tuple[str, float]) -> None:
    """A bar of a round length, 1, 2 or 5 times a power of ten: the longest within a third of what is shown."""
    left, right = ax.get_xlim()
    longest = (right - left) / 3
    power = 10.0 ** math.floor(math.log10(longest))
    length = max(step * power for step in (1, 2, 5) if step * power <= longest)
    name, size = unit
    text = f"{length:g} {name}" if length >= 1 or name != "mm" else f"{length * size * 1e6:g} µm"
    bar = AnchoredSizeBar(
        ax.transData, length, text, "lower left", pad=0.3, borderpad=0.4, sep=3, color="white", frameon=True
    )
    bar.size_bar.get_children()[0].set_linewidth(2.5)
    bar.patch.set(facecolor="black", edgecolor="none", alpha=0.55)  # white on black is seen on light of any colour
    ax.add_artist(bar)
    ax.set(xticks=[], yticks=[], xlabel="", ylabel="")


def length_unit(*grids: Grid, crop: float | None = None) -> tuple[str, float]:
    """Name and size [m] of the unit for planes that are drawn together."""
    width = max(max(grid.extent) for grid in grids)
    return ("mm", 1e-3) if min(width, crop or width) >= 1e-3 else ("µm", 1e-6)


def intensity_of(light: Field | Tensor, grid: Grid | None) -> tuple[np.ndarray, Grid]:
    """Intensity ``(..., height, width)`` and plane of a field, or of a real tensor with its grid."""
    if isinstance(light, Field):
        return plane_values(light.intensity, light.grid, "field"), light.grid
    if light.is_complex():
        raise TypeError(f"intensity must be real, got {light.dtype}. Give a Field, or its intensity.")
    if grid is None:
        raise ValueError("grid must be given with a tensor of intensities, got None. A Field brings its own.")
    return plane_values(light, grid, "intensity"), grid


def plane_values(values: Tensor, grid: Grid, name: str) -> np.ndarray:
    """Values of one plane as an array; ``name`` is theirs, for the refusal of a shape that is not the grid's."""
    array = squeezed(values)
    if array.shape != grid.shape:
        raise ValueError(
            f"{name} must have the grid's shape {grid.shape}, got {tuple(values.shape)}. Choose one plane."
        )
    return array
