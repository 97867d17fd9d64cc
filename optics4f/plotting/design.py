"""What a mask was designed for and what it makes: spots, images, kernels, and the loss on the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from ..grid import Grid
from ..metrics import (
    diffraction_efficiency,
    kernel_cosine,
    kernel_error,
    psnr,
    rms_error,
    speckle_contrast,
    ssim,
    uniformity,
)
from .canvas import COLOURS, SIGNED, as_array, colour_bar, count_masks, new_figure, tidy
from .planes import LIGHT, new_panels


def plot_convergence(losses: Tensor, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Loss of a retrieval against iteration.

    Args:
        losses: Shape ``(iterations + 1,)`` or ``(iterations + 1, masks)``, not negative.
        ax: Where to draw; a figure of its own by default.
        title: Above the axes.
    """
    curves = as_array(losses).reshape(len(losses), -1)
    ax = new_figure(5.0, 3.3).add_subplot() if ax is None else ax
    for k, curve in enumerate(curves.T):
        ax.plot(curve, color=COLOURS[k % len(COLOURS)], linewidth=1.4, label=f"mask {k}")
    ax.set(xlabel="iteration", ylabel="loss", title=title or "")
    if (curves > 0).all():
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(ax)
    if 1 < curves.shape[1] <= len(COLOURS):
        ax.legend(frameon=False)
    return ax


def plot_spots(
    power: Tensor, wanted: Tensor | None = None, *, total: float | None = None, ax: Axes | None = None
) -> Axes:
    """Power of spots over what is wanted of each, 1 on average: bars, or a map of more than 64; efficiency, uniformity.

    Args:
        power: Light in each spot, shape ``(rows, columns)``.
        wanted: Relative power of each, same shape; 0 is no spot. All alike by default.
        total: Light that fell on the SLM, in the units of ``power``; without it no efficiency is written.
        ax: Where to draw; a figure of its own by default.
    """
    wanted = torch.ones_like(power) if wanted is None else wanted.to(power)
    if power.dim() != 2 or power.shape != wanted.shape:
        raise ValueError(
            f"power and wanted must have one shape (rows, columns), got {tuple(power.shape)} and {tuple(wanted.shape)}."
        )
    there = wanted > 0
    ratio = torch.where(there, power / torch.where(there, wanted, 1), torch.nan)
    values = as_array(ratio / ratio.nanmean())
    merits = [f"uniformity {uniformity(power, wanted).item():.4f}"]
    if total is not None:
        merits.insert(0, f"efficiency {diffraction_efficiency(power, there, total).item():.4f}")
    if int(there.sum()) > 64:
        if ax is None:
            ax = new_figure(5.2, 1.2 + 3.8 * min(max(power.shape[0] / power.shape[1], 0.3), 2)).add_subplot()
        spread = max(float(np.nanmax(abs(values - 1))), 1e-6)
        image = ax.imshow(values, cmap=SIGNED, norm=Normalize(1 - spread, 1 + spread), interpolation="nearest")
        ax.set_facecolor("0.8")
        ax.set(xlabel="column of spots", ylabel="row of spots")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        colour_bar(image, ax, "power over wanted, mean 1", shrink=0.8)
    else:
        bars = values[as_array(there) > 0]
        ax = new_figure(max(3.6, 1.2 + 0.14 * len(bars)), 3.2).add_subplot() if ax is None else ax
        ax.bar(range(len(bars)), bars, color=COLOURS[0])
        ax.axhline(1, color="0.3", linestyle="--", linewidth=1)
        ax.set(xlabel="spot, row by row", ylabel="power over wanted, mean 1")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(ax, axis="y")
    ax.set_title(", ".join(merits), fontsize="medium")
    return ax


def plot_image(actual: Tensor, wanted: Tensor, *, title: str | None = None) -> Figure:
    """Wanted and actual intensity at the best brightness, and their difference; RMS error, PSNR, SSIM, speckle.

    Speckle contrast is that of actual over wanted where more than a tenth of the peak is wanted: of a uniform area its
    own contrast. SSIM is left out below 11 samples a side.

    Args:
        actual: Intensity, shape ``(height, width)``.
        wanted: The same; only its shape matters, not its brightness.
        title: Above all.
    """
    actual, wanted = actual.detach().double(), wanted.detach().double()
    if actual.dim() != 2 or actual.shape != wanted.shape:
        raise ValueError(
            f"actual and wanted must have one shape (height, width), got {tuple(actual.shape)} and "
            f"{tuple(wanted.shape)}."
        )
    wanted = wanted / wanted.max()
    actual = actual * (actual * wanted).sum() / actual.square().sum()
    bright = wanted > 0.1
    ratio = actual / torch.where(bright, wanted, 1)
    merits = [f"RMS {rms_error(actual, wanted).item():.3f}", f"PSNR {psnr(actual, wanted, peak=1).item():.1f} dB"]
    if min(wanted.shape) >= 11:
        merits.append(f"SSIM {ssim(actual, wanted, peak=1).item():.3f}")
    merits.append(f"speckle {speckle_contrast(ratio, bright).item():.3f}")
    grid = Grid(tuple(wanted.shape), 1.0)
    figure, axes = new_panels(3, grid, width=2.8)
    spread = max((actual - wanted).abs().max().item(), 1e-12)
    for ax, values, name in zip(axes[:2], (wanted, actual), ("wanted", "actual"), strict=True):
        bright_image = ax.imshow(as_array(values), cmap=LIGHT, norm=Normalize(0, 1), interpolation="nearest")
        ax.set_title(name, fontsize="medium")
    off = axes[2].imshow(
        as_array(actual - wanted), cmap=SIGNED, norm=Normalize(-spread, spread), interpolation="nearest"
    )
    axes[2].set_title("difference", fontsize="medium")
    for ax in axes:
        ax.set(xticks=[], yticks=[])
    colour_bar(bright_image, axes[:2], "intensity [wanted peak]")
    colour_bar(off, axes[2], "actual less wanted")
    figure.suptitle(", ".join(merits) if title is None else f"{title}: {', '.join(merits)}", fontsize="medium")
    return figure


def plot_kernels(made: Tensor, wanted: Tensor, *, names: Sequence[str] | None = None) -> Figure:
    """Wanted kernels, those made at the best brightness, and the difference; cosine and relative error of each.

    Complex ones, whose global phase nobody sees, are turned to the best one, and their real parts drawn. The sign of
    real ones counts.

    Args:
        made: Shape ``(kernels, height, width)``; at most ten are drawn.
        wanted: The same.
        names: Of the kernels; their numbers by default.
    """
    shown = min(count_masks(made, "made"), 10)
    if made.shape != wanted.shape:
        raise ValueError(f"made and wanted must have one shape, got {tuple(made.shape)} and {tuple(wanted.shape)}.")
    kind = torch.complex128 if made.is_complex() or wanted.is_complex() else torch.float64
    made, wanted = made.detach().to("cpu", kind), wanted.detach().to("cpu", kind)
    overlap = (made.conj() * wanted).sum((-2, -1), keepdim=True)
    if kind.is_complex:
        made = made * torch.polar(torch.ones_like(overlap.real), overlap.angle())
        overlap = overlap.abs()
    cosines, errors = kernel_cosine(made, wanted), kernel_error(made, wanted)
    made = made * overlap.clamp(min=0) / made.abs().square().sum((-2, -1), keepdim=True)
    figure = new_figure(1.2 + 1.5 * shown, 4.9, layout="compressed")
    panels = figure.subplots(3, shown, squeeze=False)
    for k, axes in enumerate(panels.T):
        rows = [values.real if kind.is_complex else values for values in (wanted[k], made[k], made[k] - wanted[k])]
        limit = rows[0].abs().max().item() or 1.0
        for ax, values in zip(axes, rows, strict=True):
            image = ax.imshow(as_array(values / limit), cmap=SIGNED, norm=Normalize(-1, 1), interpolation="nearest")
            ax.set(xticks=[], yticks=[])
        axes[0].set_title(names[k] if names else f"kernel {k}", fontsize="small")
        axes[2].set_xlabel(f"cosine {cosines[k].item():.4f}\nerror {errors[k].item():.3f}", fontsize="small")
    for ax, label in zip(panels[:, 0], ("wanted", "made", "difference"), strict=True):
        ax.set_ylabel(label)
    colour_bar(image, list(panels.flat), "weight [largest wanted]")
    return figure
