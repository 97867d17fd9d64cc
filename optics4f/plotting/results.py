"""What a training and its tests say: curves, confusion, and the price of each effect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from .canvas import COLOURS, as_array, new_figure, tidy

SHARE = "Blues"


def plot_confusion(confusion: Tensor, classes: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Confusion matrix: counts as numbers, shares of the true class as colours.

    Args:
        confusion: Counts, shape ``(classes, classes)``: true class by row, predicted by column.
        classes: Their names.
        ax: Where to draw; a figure of its own by default.
    """
    counts = as_array(confusion)
    n = len(classes)
    if counts.shape != (n, n):
        raise ValueError(f"confusion must have shape {(n, n)} for {n} classes, got {counts.shape}.")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if ax is None:
        side = min(9.0, 2.2 + 0.42 * n)
        ax = new_figure(side + 0.8, side).add_subplot()
    image = ax.imshow(share, cmap=SHARE, vmin=0, vmax=1, interpolation="nearest")
    rotation = 90 if max(map(len, map(str, classes))) > 3 else 0
    ax.set_xticks(range(n), classes, rotation=rotation)
    ax.set_yticks(range(n), classes)
    ax.set(xlabel="predicted class", ylabel="true class")
    if n <= 25:  # beyond, the numbers no longer fit their cells
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if share[row, column] > 0.65 else "black" if count else "0.6"
            ax.text(column, row, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=8)
    ax.figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8)
    return ax


def plot_curves(history: Sequence[Mapping[str, Any]], *, title: str | None = None) -> Figure:
    """Loss and accuracy against epoch.

    Args:
        history: Records with ``epoch``, ``loss``, ``train_accuracy``, ``validation_loss`` and ``validation_accuracy``
            (``None`` where there was no validation); ``restored`` marks the epoch that was kept.
        title: Above both panels.
    """
    if not history:
        raise ValueError("history must have at least one record, got none.")
    figure = new_figure(8.6, 3.3)
    if title:
        figure.suptitle(title)
    panels = (
        ("loss [nat]", 1, ("loss", "validation_loss")),
        ("accuracy [%]", 100, ("train_accuracy", "validation_accuracy")),
    )
    for column, (label, scale, keys) in enumerate(panels, 1):
        ax = figure.add_subplot(1, 2, column)
        for key, name, colour, marker in zip(keys, ("training", "validation"), COLOURS, "os", strict=False):
            known = [(record["epoch"], scale * record[key]) for record in history if record.get(key) is not None]
            if known:
                ax.plot(*zip(*known, strict=True), color=colour, marker=marker, markersize=3, linewidth=1.4, label=name)
        for record in history:
            if record.get("restored"):
                ax.axvline(record["epoch"], color="0.4", linestyle=":", linewidth=1.2, label="kept")
        ax.set(xlabel="epoch", ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        tidy(ax)
        ax.legend(frameon=False)
    return figure


def plot_ablation(
    rows: Sequence[Mapping[str, Any]],
    *,
    reference: float | None = None,
    label: str = "accuracy",
    ax: Axes | None = None,
) -> Axes:
    """What each effect does to a share such as the accuracy: mean, spread, and each seed where it is known.

    Args:
        rows: From top to bottom: ``effect`` (its name), ``mean``, and as far as known ``low`` and ``high`` (the
            spread) and ``seeds`` (one value a seed); all in [0, 1]. Without ``low`` and ``high`` the spread is that
            of the seeds.
        reference: Value without any effect; drawn as a line.
        label: The quantity; shown in percent.
        ax: Where to draw; a figure of its own by default.
    """
    ax = new_figure(8.0, 1.1 + 0.36 * len(rows)).add_subplot() if ax is None else ax
    blue, red, *_ = COLOURS
    for y, row in enumerate(rows):
        seeds = [100 * value for value in row.get("seeds") or ()]
        low, high = (
            100 * row[key] if row.get(key) is not None else pick(seeds, default=100 * row["mean"])
            for key, pick in (("low", min), ("high", max))
        )
        ax.plot([low, high], [y, y], color=blue, linewidth=2.2, alpha=0.45, solid_capstyle="round")
        ax.plot(seeds, [y] * len(seeds), "|", color=blue, markersize=9)
        ax.plot(100 * row["mean"], y, "o", color=blue, markersize=6.5)
    handles = [Line2D([], [], color=blue, marker="o", linewidth=2.2, label="mean and spread")]
    if any(row.get("seeds") for row in rows):
        handles.append(Line2D([], [], color=blue, marker="|", linestyle="", markersize=9, label="one seed"))
    if reference is not None:
        line = ax.axvline(100 * reference, color=red, linestyle="--", linewidth=1.4, zorder=0)
        line.set_label(f"without any effect, {100 * reference:.1f} %")
        handles.append(line)
    ax.set_yticks(range(len(rows)), [str(row["effect"]) for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(f"{label} [%]")
    tidy(ax, axis="x")
    ax.legend(handles=handles, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return ax
