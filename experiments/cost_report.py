"""The tables and figures of a resolution sweep. No physics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from optics4f.devices import component
from optics4f.plotting import plot_scaling, png
from optics4f.units import engineering

from .cost_crossover import Crossover
from .optical_settings import OpticalCostSettings
from .published_cases import CASES
from .resolution_sweep import UNITS, Curve, Quantity, Spread, spreads
from .tables import markdown, term_rows

SAID: Mapping[Quantity, str] = {
    "latency": "Latency: one image alone",
    "time per image": "Time per image: the best batch, or as many images on a frame as fit, one frame after the other",
    "energy per image": "Energy per image, at the same load",
}


def quantity_rows(curves: Sequence[Curve], quantity: Quantity) -> list[dict[str, str]]:
    """One row a system, one column a side: median of the draws between 5 % and 95 %."""
    rows = []
    for curve in curves:
        spreads = curve.spread(quantity)
        if all(spread is None for spread in spreads):
            continue
        cells = {str(side): cell(spread, UNITS[quantity]) for side, spread in zip(curve.sides, spreads, strict=True)}
        rows.append({"system": curve.name, "evidence": ", ".join(dict.fromkeys(curve.kinds))} | cells)
    return rows


def cell(spread: Spread | None, unit: str) -> str:
    """A median between its bounds."""
    if spread is None:
        return "does not fit"
    low, middle, high = (engineering(value, unit, 3) for value in spread)
    return middle if low == high else f"{middle} ({low} ... {high})"


def break_even_rows(prices: Mapping[tuple[str, str], np.ndarray], sides: Sequence[int]) -> list[dict[str, str]]:
    """One row a pair of optics and network, one column a side.

    Args:
        prices: By names of optics and network: prices [J], shape ``(draws, sides)``.
        sides: Sides of the image [pixels].
    """
    rows = []
    for (optics, network), draws in prices.items():
        cells = {}
        for side, spread, column in zip(sides, spreads(draws), draws.T, strict=True):
            cells[str(side)] = "saves no operation" if np.isinf(column).all() else cell(spread, "J")
        rows.append({"optics": optics, "instead of": network} | cells)
    return rows


def system_rows(optics: Mapping[str, OpticalCostSettings], outputs: int) -> list[dict[str, str]]:
    """How each system does the student's kernels, and why its figures are not those of what was trained.

    Args:
        optics: Systems by name.
        outputs: Outputs that the camera has to see.
    """
    return [
        {
            "optics": name,
            "kernels": "tiles on one mask, as far as they fit"
            if system.tiled or system.fixed_mask
            else f"in turn, {outputs * system.bit_planes} exposures",
            "as trained": f"no. {system.note}" if system.note else "yes",
        }
        for name, system in optics.items()
    ]


def price_line(slugs: Sequence[str]) -> str:
    """Published prices of a multiply-accumulate in one line."""
    known = (component(slug) for slug in slugs)
    said = (f"{engineering(one.value, one.unit, 3)} ({one.name}; {one.source}, {one.confidence})" for one in known)
    return "Published prices: " + ", ".join(said) + "."


def crossover_rows(crossovers: Sequence[Crossover]) -> list[dict[str, str]]:
    """From which side the optics win, with its uncertainty, and in how many draws they do at all."""
    return [
        {
            "optics": found.optics,
            "electronics": found.electronics,
            "quantity": found.quantity,
            "optics cost less from": side_range(found),
            "draws that cross": f"{100 * found.share:.0f} %",
            "compared up to": f"{found.last} px",
            "optics / electronics there": f"{found.ratio:.3g}",
        }
        for found in crossovers
    ]


def side_range(found: Crossover) -> str:
    """``620 px (410 ... 1300)``; ``never up to 4096 px`` where fewer than 5 % of the draws cross."""
    if math.isinf(found.low):
        return f"never up to {found.last} px"

    def side(value: float) -> str:
        return (
            f"> {found.last}" if math.isinf(value) else f"{value:.0f}" if value > found.first else f"<= {found.first}"
        )

    if found.high <= found.first:
        return f"{side(found.high)} px"
    return f"{side(found.median)} px ({side(found.low)} ... {side(found.high)})"


def figure(curves: Sequence[Curve], quantity: Quantity) -> bytes:
    """Optics in colour, electronics in grey dashes, with bands from 5 % to 95 %, as a PNG."""
    drawn = [
        {"name": c.name, "x": c.sides, "values": c.spread(quantity), "reference": not c.optical}
        for c in curves
        if quantity in c.draws
    ]
    axes = plot_scaling(drawn, unit=UNITS[quantity], label=quantity, x_label="side of the image [pixels]")
    return png(axes.figure)


def shown(curves: Sequence[Curve]) -> list[Curve]:
    """What a figure has room for: all optics, what was measured, and of what is modelled the twins."""
    return [c for c in curves if c.optical or "measured" in c.kinds or c.name.startswith("twin")]


def report(
    *,
    curves: Sequence[Curve],
    crossovers: Sequence[Crossover],
    prices: Mapping[tuple[str, str], np.ndarray],
    terms: Mapping[str, Sequence[Mapping]],
    accuracy: Sequence[Mapping[str, str]],
    results: str,
    systems: Sequence[Mapping[str, str]],
    price_slugs: Sequence[str],
    listed: int,
    command: str,
    machine: Mapping,
) -> str:
    """The whole result as one Markdown page.

    Args:
        curves: All systems at the sides of the tables.
        crossovers: All comparisons.
        prices: Break-even prices [J] by optics and network, each ``(draws, sides)``.
        terms: Every term of every optical system.
        accuracy: Rows of the table of who does as well.
        results: The file that they are from.
        systems: Rows of :func:`system_rows`.
        price_slugs: Components with a published price of an operation.
        listed: Side whose terms are listed [pixels].
        command: What made the page.
        machine: What it was made on.
    """
    parts = [
        "# Latency and energy against the size of the image\n",
        f"Made by `{command}` on {machine['processor']}, torch {machine['torch']}, commit {machine['commit']}, "
        f"{machine['created_utc']}.\n",
        "Optics are modelled: no bench was measured. Values are medians of draws of every number that no source fixes, "
        "with 5 % and 95 %. A number is measured only where the table says so; data sheets and prices are bounds that "
        "no program reaches, and leave out idle power, launches and the host. Beyond the largest side that was "
        "measured, electronics are extrapolated in proportion to the pixels. Both start from an image in memory; "
        "optics that look at a scene are compared with electronics behind a camera of the same kind, which needs no "
        "laser.\n",
        "## Who does as well\n",
        f"Test accuracies of the networks that are compared, from `{results}`: of simulated optics, and at the one "
        "size that was trained. At other sizes the same networks are costed and none is trained: no accuracy is "
        "claimed there.\n",
        markdown(accuracy),
        "\n## The optical systems\n",
        "Tiles share the light of one exposure, which is so many times as long. The beam fills the frame, so that the "
        "exposure does not depend on the size of the image.\n",
        markdown(systems),
        "\n## From which size the optics cost less\n",
        "Bounds are the sides below which 5 % and 95 % of the draws have crossed for good. Optics are modelled on both "
        "sides of every size where an image takes another mask or part; only electronics are interpolated.\n",
        markdown(crossover_rows(crossovers)),
    ]
    for quantity, title in SAID.items():
        picture = f"cost_{quantity.split()[0]}.png"
        parts += [f"\n## {title}\n", f"![{quantity}]({picture})\n", markdown(quantity_rows(curves, quantity))]
    parts += [
        "\n## Break-even: the price of a digital multiply-accumulate below which the optics lose\n",
        f"{price_line(price_slugs)} Below zero the optics win at any price.\n",
        markdown(break_even_rows(prices, curves[0].sides)),
    ]
    parts += ["\n## The model against published totals\n", markdown([case.to_row() for case in CASES.values()])]
    parts.append(f"\n## Every term at {listed} pixels, one image alone\n")
    for name, rows in terms.items():
        parts += [f"\n### {name}\n", markdown(term_rows(rows))]
    return "\n".join(parts)
