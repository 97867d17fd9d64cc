"""The tables of what trained students cost. No physics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .cost_report import cell, price_line
from .resolution_sweep import QUANTITIES, UNITS
from .tables import markdown, term_rows


def cost_rows(content: Mapping[str, Any], *, all_modelled: bool = True) -> list[dict[str, str]]:
    """Latency, time and energy of one image on the optics and on electronics, or on those that were measured."""
    rows = []
    for group in ("optics", "electronics"):
        for name, found in content[group].items():
            if not all_modelled and "(modelled" in name:
                continue
            cells = {q: cell(found[q], UNITS[q]) if q in found else "unknown" for q in QUANTITIES}
            rows.append({"system": name} | cells)
    return rows


def report(content: Mapping[str, Any], *, command: str) -> str:
    """The result as a Markdown page."""
    made_on = content["machine"]
    ratios = [
        {
            "optics": row["optics"],
            "electronics": row["electronics"],
            "quantity": row["quantity"],
            "optics / electronics": " ... ".join(f"{value:.3g}" for value in row["ratio"]),
        }
        for row in content["ratios"]
    ]
    prices = [
        {
            "optics": row["optics"],
            "instead of": row["instead of"],
            "operations saved": f"{row['operations saved']:,}",
            "break-even price": "saves no operation" if row["price"] is None else cell(row["price"], "J"),
        }
        for row in content["break_even"]
    ]
    parts = [
        "# What the trained students cost\n",
        f"Made by `{command}` on {made_on['processor']}, torch {made_on['torch']}, commit {made_on['commit']}, "
        f"{made_on['created_utc']}.\n",
        "Accuracies are of simulated optics and of trained networks. Optics are modelled: no bench was measured; "
        "values are medians of draws of every number that no source fixes, with 5 % and 95 %. Electronics are measured "
        "where a table does not say modelled; data sheets and prices are bounds that no program reaches. The networks "
        "start from an image in memory, and so do optics with a display; optics that look at a scene are compared "
        "with electronics behind a camera of the same kind, which needs no laser. Tiles share the light of one "
        "exposure, which is so many times as long.\n",
        "## Who does as well\n",
        f"From `{content['results']}`.\n",
        markdown(content["accuracy"]),
        *(f"\n{name}. {note}\n" for name, note in content["notes"].items()),
        "\n## What one image costs\n",
        markdown(cost_rows(content)),
        "\n## Optics over electronics: 5 % ... median ... 95 %\n",
        markdown(ratios),
        "\n## Break-even: the price of a digital multiply-accumulate below which the optics lose\n",
        f"{price_line(content['settings']['electronics']['prices'])} Below zero the optics win at any price.\n",
        markdown(prices),
        "\n## Every term\n",
    ]
    for name, rows in content["terms"].items():
        parts += [f"\n### {name}\n", markdown(term_rows(rows))]
    return "\n".join(parts)
