"""What becomes of a point, and of each spatial frequency: point spread and optical transfer functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from ..grid import Grid
from ..metrics import optical_transfer_function
from .canvas import COLOURS, as_array, colour_bar, count_masks, new_figure, share_labels, tidy
from .planes import brightness_scale, draw_intensity, finish, intensity_of, length_unit, new_axes, new_panels

CONTRAST = "cividis"
_BEYOND = 1.15  # how far beyond the cut-off of the optics frequencies are shown


def plot_psf(
    psf: Tensor,
    pitch: float,
    *,
    ax: Axes | None = None,
    log: bool = True,
    crop: float | None = None,
    scale_bar: bool = False,
    title: str | None = None,
) -> Axes:
    """A point spread function.

    Args:
        psf: Intensity, shape ``(height, width)``, leading sizes of 1 are dropped; index ``n // 2`` is the axis.
        pitch: Its sample spacing [m].
        ax: Where to draw; a figure of its own by default.
        log: Whether colours are logarithmic, over the top four decades.
        crop: Width and height that is shown, around the axis [m]; all by default.
        scale_bar: Whether a bar of known length stands in place of the axes.
        title: Above the axes.
    """
    grid = Grid(tuple(psf.shape[-2:]), pitch)
    intensity, _ = intensity_of(psf, grid)
    ax, unit = new_axes(grid) if ax is None else ax, length_unit(grid, crop=crop)
    colour_bar(
        draw_intensity(ax, intensity, grid, unit, brightness_scale(intensity, log)), ax, "intensity [arb. units]"
    )
    finish(ax, grid, unit, crop=crop, scale_bar=scale_bar)
    ax.set_title(title or "")
    return ax


def plot_psfs(
    psfs: Tensor, pitch: float, *, log: bool = True, crop: float | None = None, scale_bar: bool = False
) -> Figure:
    """Point spread function of each mask on one scale of colours.

    Args:
        psfs: Intensity, shape ``(masks, height, width)``; index ``n // 2`` is drawn on the axis.
        pitch: Their sample spacing [m].
        log: Whether colours are logarithmic, over the top four decades.
        crop: Width and height that is shown, around the axis [m]; all by default.
        scale_bar: Whether bars of known length stand in place of the axes.
    """
    grid = Grid(tuple(psfs.shape[-2:]), pitch)
    unit = length_unit(grid, crop=crop)
    figure, axes = new_panels(count_masks(psfs, "psfs"), grid, crop=crop)
    norm = brightness_scale(as_array(psfs), log)
    for k, ax in enumerate(axes):
        intensity, _ = intensity_of(psfs[k], grid)
        image = draw_intensity(ax, intensity, grid, unit, norm)
        finish(ax, grid, unit, crop=crop, scale_bar=scale_bar)
        ax.set_title(f"PSF of mask {k}", fontsize="medium")
    share_labels(axes)
    colour_bar(image, axes, "intensity [arb. units]")
    return figure


def plot_otf(
    psf: Tensor, pitch: float, *, ax: Axes | None = None, cutoff: float | None = None, title: str | None = None
) -> Axes:
    """Modulus of the optical transfer function: the contrast that each spatial frequency keeps.

    Args:
        psf: Intensity, shape ``(height, width)``, leading sizes of 1 are dropped.
        pitch: Its sample spacing [m].
        ax: Where to draw; a figure of its own by default.
        cutoff: Highest frequency that the optics passes [cycles/m]; little beyond it is shown.
        title: Above the axes.
    """
    grid = Grid(tuple(psf.shape[-2:]), pitch)
    intensity, _ = intensity_of(psf, grid)
    contrast = optical_transfer_function(torch.from_numpy(intensity)).abs()
    ax = new_axes(grid) if ax is None else ax
    (top, bottom), (left, right) = (
        ((-(n // 2) - 0.5) / (n * pitch) / 1e3, (n - n // 2 - 0.5) / (n * pitch) / 1e3) for n in grid.shape
    )
    image = ax.imshow(
        as_array(contrast), extent=(left, right, bottom, top), origin="upper", cmap=CONTRAST, norm=Normalize(0, 1)
    )
    ax.set(xlabel="$f_x$ [cycles/mm]", ylabel="$f_y$ [cycles/mm]", title=title or "")
    if cutoff is not None:
        end = _BEYOND * cutoff / 1e3
        ax.set(xlim=(max(left, -end), min(right, end)), ylim=(min(bottom, end), max(top, -end)))
    ax.locator_params(axis="x", nbins=4)
    colour_bar(image, ax, "contrast")
    return ax


def plot_mtf(
    psfs: Tensor,
    pitch: float,
    *,
    ax: Axes | None = None,
    cutoff: float | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
) -> Axes:
    """Sections of the contrast along x (lines) and y (dashes), of one PSF or of several.

    Args:
        psfs: Intensity, shape ``(height, width)`` or ``(masks, height, width)``; at most seven are drawn.
        pitch: Their sample spacing [m].
        ax: Where to draw; a figure of its own by default.
        cutoff: Highest frequency that the optics passes [cycles/m]; marked, and little beyond it is shown.
        names: Of the PSFs; their numbers by default.
        title: Above the axes.
    """
    stack = torch.from_numpy(as_array(psfs))
    stack = stack[None] if stack.dim() == 2 else stack
    count = min(count_masks(stack, "psfs"), len(COLOURS))
    ax = new_figure(5.2, 3.4).add_subplot() if ax is None else ax
    contrast = optical_transfer_function(stack[:count]).abs()
    height, width = stack.shape[-2:]
    alone = count == 1 and not names
    for k, one in enumerate(contrast):
        name = names[k] if names else f"mask {k}"
        for way, (section, n) in enumerate(((one[height // 2], width), (one[:, width // 2], height))):
            frequency = np.arange(n - n // 2) / (n * pitch) / 1e3
            label = f"along {'xy'[way]}" if alone else f"{name}, {'xy'[way]}"
            style = {"color": COLOURS[way if alone else k], "linestyle": ("-", "--")[way], "linewidth": 1.6}
            ax.plot(frequency, as_array(section[n // 2 :]), label=label, **style)
    if cutoff is not None:
        ax.axvline(cutoff / 1e3, color="0.3", linestyle=":", linewidth=1.2, label="cut-off of the optics")
        ax.set_xlim(right=min(ax.get_xlim()[1], _BEYOND * cutoff / 1e3))
    ax.set(xlabel="spatial frequency [cycles/mm]", ylabel="contrast", title=title or "")
    ax.set_xlim(left=0)
    ax.set_ylim(0, 1.03)
    tidy(ax)
    ax.legend(framealpha=0.9, edgecolor="none", fontsize="small")  # on white: the cut-off may run through it
    return ax
