"""What a system costs: its terms end to end, and quantities against a size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from ..units import engineering
from .canvas import COLOURS, micro, new_figure, tidy

HATCHES = ("", "////", "....", "xxxx")
PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def plot_costs(
    rows: Sequence[Mapping[str, Any]], *, unit: str = "J", label: str = "energy per image", ax: Axes | None = None
) -> Axes:
    """What a cost is made of: one bar a system, one piece a term, the total at its end.

    The axis is linear: pieces that lie end to end have no length on a logarithmic one.

    Args:
        rows: From top to bottom: ``system`` (its name) and ``terms`` (name to value [``unit``]).
        unit: SI unit of the values.
        label: The quantity.
        ax: Where to draw; a figure of its own by default.

    Raises:
        ValueError: A negative term.
    """
    names = list(dict.fromkeys(name for row in rows for name in row["terms"]))
    totals = [sum(row["terms"].values()) for row in rows]
    ax = new_figure(8.6, 1.3 + 0.5 * len(rows) + 0.22 * math.ceil(len(names) / 3)).add_subplot() if ax is None else ax
    largest = max(totals, default=0.0) or 1.0
    scaled_unit = engineering(largest, unit).split(" ")[1]
    scale = PREFIXES[scaled_unit.removesuffix(unit)]
    starts = [0.0] * len(rows)
    for i, name in enumerate(names):
        lengths = [row["terms"].get(name, 0.0) / scale for row in rows]
        if min(lengths) < 0:
            raise ValueError(f"{name} must not be negative, got {min(lengths) * scale:g} {unit}.")
        cycle, colour = divmod(i, len(COLOURS))
        style = {"color": COLOURS[colour], "hatch": HATCHES[cycle % len(HATCHES)], "edgecolor": "white", "linewidth": 0}
        ax.barh(range(len(rows)), lengths, left=starts, height=0.62, label=name, **style)
        starts = [start + length for start, length in zip(starts, lengths, strict=True)]
    for y, (end, total) in enumerate(zip(starts, totals, strict=True)):
        ax.annotate(
            micro(engineering(total, unit, 3)), (end, y), xytext=(5, 0), textcoords="offset points", va="center"
        )
    ax.set_yticks(range(len(rows)), [str(row["system"]) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 1.14 * largest / scale)  # room for the totals
    ax.set_xlabel(f"{label} [{micro(scaled_unit)}]")
    tidy(ax, axis="x")
    ax.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return ax


def plot_scaling(
    curves: Sequence[Mapping[str, Any]], *, unit: str, label: str, x_label: str, ax: Axes | None = None
) -> Axes:
    """Quantities against a size, both logarithmic: a line through the middle values in a band between the ends.

    Args:
        curves: ``name``, ``x`` (sizes) and ``values``: ``(low, middle, high)`` [``unit``] at each size, or ``None``
            where there is no figure. ``reference`` draws a curve in grey dashes, behind the others.
        unit: SI unit of the values.
        label: The quantity.
        x_label: The size, with its unit.
        ax: Where to draw; a figure of its own by default.
    """
    ax = new_figure(10.5, 5.2).add_subplot() if ax is None else ax
    greys = itertools.cycle(itertools.product(("0.3", "0.65"), ((4, 2), (1, 1.5), (7, 2, 1, 2), (2, 3), (9, 3))))
    colours = itertools.cycle(COLOURS[:-1])
    for curve in curves:
        known = [(x, *ends) for x, ends in zip(curve["x"], curve["values"], strict=True) if ends is not None]
        if not known:
            continue
        x, low, middle, high = zip(*known, strict=True)
        behind = bool(curve.get("reference"))
        grey, dashes = next(greys) if behind else ("", None)
        style = {"color": grey, "dashes": dashes, "zorder": 1} if behind else {"color": next(colours)}
        ax.plot(x, middle, linewidth=1.8, label=curve["name"], **style)
        ax.fill_between(x, low, high, color=style["color"], alpha=0.07 if behind else 0.15, linewidth=0)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_major_formatter(lambda value, _: micro(engineering(value, unit, 3)))
    ax.set(xlabel=x_label, ylabel=label)
    tidy(ax)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize="small")
    return ax
