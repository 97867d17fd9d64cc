"""Light on planes: intensity, phase, fields, masks, and a 4f from plane to plane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from ..field import Field
from ..grid import Grid
from .canvas import colour_bar, count_masks, share_labels
from .planes import (
    DECADES,
    brightness_scale,
    draw_intensity,
    draw_phase,
    finish,
    intensity_of,
    length_unit,
    new_axes,
    new_panels,
    phase_bar,
    plane_values,
)


def plot_intensity(
    light: Field | Tensor,
    grid: Grid | None = None,
    *,
    ax: Axes | None = None,
    log: bool = False,
    scale_bar: bool = False,
    title: str | None = None,
    label: str = "intensity [arb. units]",
) -> Axes:
    """Intensity on a plane.

    Args:
        light: A field, or a real tensor of intensities ``(height, width)``; leading sizes of 1 are dropped.
        grid: Plane of a tensor; a field brings its own.
        ax: Where to draw; a figure of its own by default.
        log: Whether colours are logarithmic, over the top four decades.
        scale_bar: Whether a bar of known length stands in place of the axes.
        title: Above the axes.
        label: Beside the colour bar.

    Raises:
        TypeError: A complex tensor: its intensity needs a field.
        ValueError: No grid, or a shape that is not the grid's.
    """
    intensity, grid = intensity_of(light, grid)
    ax, unit = new_axes(grid) if ax is None else ax, length_unit(grid)
    colour_bar(draw_intensity(ax, intensity, grid, unit, brightness_scale(intensity, log)), ax, label)
    finish(ax, grid, unit, scale_bar=scale_bar)
    ax.set_title(title or "")
    return ax


def plot_amplitude(
    field: Field,
    *,
    ax: Axes | None = None,
    scale_bar: bool = False,
    title: str | None = None,
    label: str = "amplitude [arb. units]",
) -> Axes:
    """Amplitude of a field, the root of its intensity: what is dim is seen better than in :func:`plot_intensity`.

    Args:
        field: ``data`` of one plane, shape ``(height, width)``; leading sizes of 1 are dropped.
        ax: Where to draw; a figure of its own by default.
        scale_bar: Whether a bar of known length stands in place of the axes.
        title: Above the axes.
        label: Beside the colour bar.
    """
    amplitude = field.intensity.detach().sqrt()
    return plot_intensity(amplitude, field.grid, ax=ax, scale_bar=scale_bar, title=title, label=label)


def plot_phase(
    phase: Field | Tensor,
    grid: Grid | None = None,
    *,
    ax: Axes | None = None,
    scale_bar: bool = False,
    title: str | None = None,
) -> Axes:
    """A phase [rad], wrapped into ``[0, 2 pi)``, in cyclic colours: of a field, of a mask.

    Args:
        phase: [rad], shape ``(height, width)``, leading sizes of 1 are dropped; or a field, whose phase is left grey
            where there is next to no light.
        grid: Plane of a tensor; a field brings its own.
        ax: Where to draw; a figure of its own by default.
        scale_bar: Whether a bar of known length stands in place of the axes.
        title: Above the axes.

    Raises:
        ValueError: No grid, or a shape that is not the grid's.
    """
    intensity = None
    if isinstance(phase, Field):
        intensity, grid = intensity_of(phase, None)
        phase = phase.data.angle()
    elif grid is None:
        raise ValueError("grid must be given with a tensor of phases, got None. A Field brings its own.")
    values = plane_values(phase, grid, "phase")
    ax, unit = new_axes(grid) if ax is None else ax, length_unit(grid)
    phase_bar(draw_phase(ax, values, grid, unit, intensity=intensity), ax)
    finish(ax, grid, unit, scale_bar=scale_bar)
    ax.set_title(title or "")
    return ax


def plot_field(
    field: Field,
    *,
    quantity: Literal["intensity", "amplitude"] = "intensity",
    log: bool = False,
    scale_bar: bool = False,
    title: str | None = None,
) -> Figure:
    """Intensity (or amplitude) and phase of a field side by side; no phase is drawn where there is next to no light.

    Args:
        field: ``data`` of one plane, shape ``(height, width)``; leading sizes of 1 are dropped.
        quantity: What is on the left.
        log: Whether the intensity's colours are logarithmic.
        scale_bar: Whether bars of known length stand in place of the axes.
        title: Above both.

    Raises:
        ValueError: A quantity of another name, or an amplitude in logarithmic colours.
    """
    if quantity not in ("intensity", "amplitude"):
        raise ValueError(f'quantity must be "intensity" or "amplitude", got {quantity!r}.')
    if log and quantity == "amplitude":
        raise ValueError("log must be False for the amplitude, got True. The intensity has logarithmic colours.")
    figure, (left, right) = new_panels(2, field.grid, width=3.4)
    if quantity == "intensity":
        plot_intensity(field, ax=left, log=log, scale_bar=scale_bar, title="intensity")
    else:
        plot_amplitude(field, ax=left, scale_bar=scale_bar, title="amplitude")
    plot_phase(field, ax=right, scale_bar=scale_bar, title="phase")
    share_labels([left, right])
    if title:
        figure.suptitle(title)
    return figure


def plot_masks(phase: Tensor, grid: Grid, *, scale_bar: bool = False) -> Figure:
    """The phase [rad] of each mask, shape ``(masks, height, width)``, under one colour bar."""
    figure, axes = new_panels(count_masks(phase, "phase"), grid)
    for k, ax in enumerate(axes):
        image = draw_phase(ax, plane_values(phase[k], grid, "phase"), grid, length_unit(grid))
        finish(ax, grid, length_unit(grid), scale_bar=scale_bar)
        ax.set_title(f"mask {k}", fontsize="medium")
    share_labels(axes)
    phase_bar(image, axes)
    return figure


def plot_planes(
    planes: Mapping[str, Field],
    *,
    image: int = 0,
    mask: int = 0,
    crop: float | None = None,
    phase_of: Sequence[str] = ("behind SLM",),
    scale_bar: bool = False,
) -> Figure:
    """The planes of a 4f in the order of the light: each one's intensity over its own maximum, four decades.

    Args:
        planes: Fields by name, as ``AngularSpectrumRoute.planes`` gives them; ``data`` of shape
            ``(batch, masks, height, width)`` with 1 where all masks share the light.
        image: Which of the batch.
        mask: Which of the masks.
        crop: Width and height that is shown, around the axis [m]; all by default.
        phase_of: Planes whose phase is shown as well.
        scale_bar: Whether bars of known length stand in place of the axes.

    Raises:
        ValueError: ``phase_of`` names a plane that is not there.
    """
    if missing := set(phase_of) - set(planes):
        raise ValueError(f"phase_of must name planes of {list(planes)}, got {sorted(missing)}.")
    shown = [(name, _one(field, image, mask)) for name, field in planes.items()]
    grids = [field.grid for _, field in shown]
    unit = length_unit(*grids, crop=crop)
    figure, axes = new_panels(len(shown) + len(phase_of), max(grids, key=lambda grid: max(grid.extent)), crop=crop)
    remaining = iter(axes)
    for name, field in shown:
        intensity, grid = intensity_of(field, None)
        peak = intensity.max()
        ax = next(remaining)
        bright = draw_intensity(ax, intensity / (peak or 1), grid, unit, LogNorm(10.0**-DECADES, 1))
        ax.set_title(f"{name}\npeak {peak:.3g}", fontsize="medium")
        finish(ax, grid, unit, crop=crop, scale_bar=scale_bar)
        if name in phase_of:
            ax = next(remaining)
            turned = draw_phase(ax, plane_values(field.data.angle(), grid, "phase"), grid, unit, intensity=intensity)
            ax.set_title(f"{name}\nphase", fontsize="medium")
            finish(ax, grid, unit, crop=crop, scale_bar=scale_bar)
    share_labels(axes)
    colour_bar(bright, axes, "intensity / maximum of the plane")
    if phase_of:
        phase_bar(turned, axes, location="bottom", shrink=0.5)
    return figure


def _one(field: Field, image: int, mask: int) -> Field:
    """One image behind one mask; where masks share the light, that light."""
    data = field.data.reshape((1,) * (4 - field.data.dim()) + tuple(field.data.shape))
    batch, masks = data.shape[:2]
    return Field(data[image if batch > 1 else 0, mask if masks > 1 else 0], field.grid, field.wavelength)
