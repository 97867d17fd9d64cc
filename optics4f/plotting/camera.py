"""What a camera delivers: frames behind masks, windows of kernels side by side, noise, and what a fit leaves over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from ..grid import Grid
from ..photon_transfer import ROUNDING, PhotonTransfer
from .canvas import COLOURS, SIGNED, as_array, colour_bar, count_masks, new_figure, share_labels, squeezed, tidy
from .planes import PICTURE, brightness_scale, draw, length_unit, new_panels, plane_values


def plot_frames(image: Tensor, frames: Tensor, grid: Grid, *, object_grid: Grid | None = None) -> Figure:
    """The object, and what the camera delivers for each mask [DN], on one grey scale.

    Args:
        image: Object in [0, 1], shape ``(height, width)``.
        frames: Shape ``(masks, height, width)`` [DN].
        grid: The camera's pixels.
        object_grid: Logical pixels of the object; without it they are counted.
    """
    figure, axes = new_panels(count_masks(frames, "frames") + 1, grid)
    first, rest = axes[0], axes[1:]
    if object_grid is None:
        first.imshow(squeezed(image), cmap=PICTURE, vmin=0, vmax=1, interpolation="nearest")
        first.set(xlabel="x [pixel]", ylabel="y [pixel]")
    else:
        picture = plane_values(image, object_grid, "image")
        draw(first, picture, object_grid, length_unit(object_grid), cmap=PICTURE, norm=Normalize(0, 1))
    first.set_title("object", fontsize="medium")
    norm = brightness_scale(as_array(frames), log=False)
    for k, ax in enumerate(rest):
        counts = plane_values(frames[k], grid, "frames")
        bright = draw(ax, counts, grid, length_unit(grid), cmap=PICTURE, norm=norm)
        ax.set_title(f"camera, mask {k}", fontsize="medium")
    share_labels(axes)
    colour_bar(bright, axes, "camera signal [DN]")
    return figure


def plot_convolution(
    frame: Tensor,
    windows: Sequence[tuple[slice, slice]],
    measured: Tensor,
    wanted: Tensor,
    *,
    pitch: float,
    names: Sequence[str] | None = None,
) -> Figure:
    """Kernels tiled in front of a camera: the whole frame with their windows; what they measured, should have, and err.

    Args:
        frame: Signal of the camera, ``(height, width)``.
        windows: Camera rows and columns of each tile.
        measured: Output of each kernel, ``(kernels, h, w)``; at most eight are drawn.
        wanted: The digital convolution, same shape.
        pitch: Of the camera's pixels [m].
        names: Of the kernels.
    """
    shown = min(len(measured), 8)
    figure = new_figure(4.2 + 1.35 * shown, 4.4)
    left, right = figure.subfigures(1, 2, width_ratios=(4.2, 1.35 * shown))
    ax = left.add_subplot()
    grid = Grid(tuple(frame.shape), pitch)
    values, unit = plane_values(frame, grid, "frame"), length_unit(grid)
    image = draw(ax, values, grid, unit, cmap="magma", norm=Normalize(values.min(), np.quantile(values, 0.999)))
    height, width = (n // 2 + 0.5 for n in grid.shape)  # from the upper left edge to the axis
    step = pitch / unit[1]
    for rows, columns in windows:
        corner = ((columns.start - width) * step, (rows.start - height) * step)
        size = ((columns.stop - columns.start) * step, (rows.stop - rows.start) * step)
        ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=0.6))
    ax.set_title("Camera frame and windows")
    # Inside the axes' own coordinates: as high as the frame, whatever room is above and below it.
    image.figure.colorbar(image, cax=ax.inset_axes((1.04, 0, 0.05, 1)), label="signal [white object pixel]")
    for column, axes in enumerate(np.atleast_2d(right.subplots(3, shown, squeeze=False).T)[:shown]):
        limit = float(wanted[column].abs().max())
        panels = (measured[column], wanted[column], measured[column] - wanted[column])
        for ax, panel in zip(axes, panels, strict=True):
            ax.imshow(as_array(panel), cmap=SIGNED, vmin=-limit, vmax=limit)
            ax.set(xticks=[], yticks=[])
        axes[0].set_title(names[column] if names else f"kernel {column}", fontsize="small")
        if column == 0:
            for ax, label in zip(axes, ("measured", "conv2d", "difference"), strict=True):
                ax.set_ylabel(label)
    return figure


def plot_residuals(residuals: Tensor, grid: Grid, *, names: Sequence[str] | None = None, limit: float = 5.0) -> Figure:
    """Maps of what a fit leaves, in standard deviations of the noise; grey where nothing was compared.

    Args:
        residuals: Shape ``(frames, height, width)``, NaN where nothing was compared; at most twenty are drawn.
        grid: The camera's pixels.
        names: Of the frames; their numbers by default.
        limit: Deviations of the strongest colours.
    """
    count = min(count_masks(residuals, "residuals"), 20)
    figure, axes = new_panels(count, grid, width=1.7)
    for k, ax in enumerate(axes):
        values = np.ma.masked_invalid(plane_values(residuals[k], grid, "residuals"))
        ax.set_facecolor("0.6")
        image = draw(ax, values, grid, length_unit(grid), cmap=SIGNED, norm=Normalize(-limit, limit))
        ax.set_title(names[k] if names else f"frame {k}", fontsize="medium")
    share_labels(axes)
    colour_bar(image, axes, "measured less predicted [standard deviations]")
    return figure


def plot_photon_transfer(result: PhotonTransfer, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Noise of a camera against its signal: the measured variances, and the line that its gain and read noise give.

    Args:
        result: Of :func:`~optics4f.photon_transfer.photon_transfer`.
        ax: Where to draw; a figure of its own by default.
        title: Above the axes; gain, read noise and full well by default.
    """
    ax = new_figure(5.6, 3.8).add_subplot() if ax is None else ax
    mean, variance = as_array(result.mean), as_array(result.variance)
    lit = (mean > 0) & (variance > 0)  # a logarithm has no place for darkness
    ax.plot(mean[lit], variance[lit], "o", color=COLOURS[0], markersize=4.5, label="measured")
    signal = np.geomspace(mean[lit].min(), mean[lit].max(), 100)
    dark = (result.read_noise / result.gain) ** 2 + ROUNDING
    ax.plot(signal, dark + signal / result.gain, color=COLOURS[1], linewidth=1.5, label="read noise and shot noise")
    ax.axhline(dark, color="0.45", linestyle="--", linewidth=1.1, label="read noise alone", zorder=1)
    if result.saturation is not None:
        ax.axvline(result.saturation / result.gain, color="0.3", linestyle=":", linewidth=1.3, label="saturation")
    ax.set(xscale="log", yscale="log", xlabel="mean signal [DN]", ylabel="variance [DN²]")
    electrons = ax.secondary_xaxis("top", functions=(lambda x: x * result.gain, lambda x: x / result.gain))
    electrons.set_xlabel("mean signal [e-]")
    tidy(ax)
    ax.spines["top"].set_visible(True)
    ax.legend(frameon=False, fontsize="small")
    least = "at most " if result.rounding_hides_noise else ""
    merits = [f"gain {result.gain:.3g} e-/DN", f"read noise {least}{result.read_noise:.3g} e-"]
    if result.full_well is not None:
        merits.append(f"full well {result.full_well:.0f} e-")
    ax.set_title(", ".join(merits) if title is None else title, fontsize="medium")
    return ax
