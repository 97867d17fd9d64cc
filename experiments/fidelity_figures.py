"""Figures of a fidelity study: cost against strength, and a map of all effects and strengths."""

from __future__ import annotations

import math

from optics4f.plotting import png
from optics4f.plotting.canvas import COLOURS, colour_bar, new_figure, tidy

from .fidelity_effects import BENCH_EFFECTS
from .fidelity_ledger import Ledger

COLUMNS = 4
LARGEST = 10.0  # points; what costs more has the darkest colour


def curves(ledger: Ledger) -> bytes:
    """One panel an effect: cost with its interval for masks that do not know it, and for masks trained with it; PNG."""
    names = list(ledger.study.effects)
    rows = math.ceil(len(names) / COLUMNS)
    figure = new_figure(3.1 * COLUMNS, 2.3 * rows + 0.5)
    for place, name in enumerate(names, 1):
        effect, table = BENCH_EFFECTS[name], ledger.study.effects[name]
        ax = figure.add_subplot(rows, COLUMNS, place)
        strengths = sorted(table.strengths, key=effect.severity)
        for colour, label, cost, style in (
            (COLOURS[0], "masks that do not know the effect", ledger.cost, "o-"),
            (COLOURS[1], "masks trained with it", ledger.cost_when_trained, "s"),
        ):
            known = [(k, found) for k, s in enumerate(strengths) if (found := cost(name, s)) is not None]
            if not known:
                continue
            x, values = [k for k, _ in known], [100 * found.mean for _, found in known]
            halves = [100 * (found.half or 0.0) for _, found in known]
            ax.errorbar(x, values, halves, fmt=style, color=colour, markersize=4, capsize=2, linewidth=1.3, label=label)
        ax.axhline(100 * ledger.study.loss, color="0.4", linestyle="--", linewidth=1)
        ax.set_yscale("symlog", linthresh=2)
        ax.set_ylim(-2, 100)
        ax.set_yticks([-1, 0, 1, 2, 10, 100], ["-1", "0", "1", "2", "10", "100"])
        ax.set_xticks(range(len(strengths)), [_short(name, s) for s in strengths], fontsize=6.5)
        ax.set_title(f"{name}, {effect.varies}", fontsize="small")
        if (place - 1) % COLUMNS == 0:
            ax.set_ylabel("cost [points]", fontsize="small")
        tidy(ax, axis="y")
        if place == 1:
            handles = ax.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=2, frameon=False)
    return png(figure)


def heat_map(ledger: Ledger) -> bytes:
    """Costs of all effects, the worst first, from their weakest to their strongest strength; the nominal one framed."""
    ranked = ledger.ranking()
    widest = max(len(ledger.study.effects[name].strengths) for name in ranked)
    figure = new_figure(2.4 + 0.86 * widest, 1.2 + 0.46 * len(ranked))
    ax = figure.add_subplot()
    cells = [[math.nan] * widest for _ in ranked]
    for row, name in enumerate(ranked):
        table = ledger.study.effects[name]
        for column, strength in enumerate(sorted(table.strengths, key=BENCH_EFFECTS[name].severity)):
            cost = ledger.cost(name, strength)
            if cost is None:
                continue
            value = cells[row][column] = 100 * cost.mean
            words = f"{_short(name, strength)}\n{value:.2f}"
            weight = "bold" if strength == table.nominal else "normal"
            dark = value > 0.6 * LARGEST
            ax.text(column, row, words, ha="center", va="center", fontsize=7, weight=weight, color="w" if dark else "k")
    image = ax.imshow(cells, cmap="Blues", vmin=0, vmax=LARGEST, aspect="auto", interpolation="nearest")
    ax.set_yticks(range(len(ranked)), ranked)
    ax.set_xticks([])
    ax.set_xlabel("weak to strong; nominal strength in bold")
    ax.spines[:].set_visible(False)
    colour_bar(image, ax, "cost [points]", extend="max")
    return png(figure)


def _short(name: str, strength: float) -> str:
    """A strength without the name of its unit, where it is clear from the effect's."""
    effect = BENCH_EFFECTS[name]
    return effect.written(strength) if effect.unit in ("m", "rad") else f"{strength:g}"
