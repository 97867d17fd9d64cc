"""``python -m experiments cost``: a resolution sweep from a TOML file to tables, figures and records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from math import inf
from pathlib import Path

import numpy as np
from rich.console import Console

from optics4f.files import written_whole

from .cost_report import crossover_rows, figure, report, shown
from .cost_settings import CostConfiguration, CostSettings
from .electronics_sweep import measured, measured_curves, operations, price_curves, roofline_curves
from .gpu_cost import InferenceRecord
from .hardware_cost import optical_cost
from .measured_inference import machine
from .resolution_sweep import (
    QUANTITIES,
    UNITS,
    Crossover,
    Curve,
    behind_a_camera,
    break_even_prices,
    crossover,
    fitted,
    optical_curve,
    spreads,
)
from .runs import write_json, write_jsonl, write_text
from .tables import terminal


def run_cost(configuration: CostConfiguration, out: Path, console: Console) -> dict:
    """Measure, model, compare; write ``cost.md``, ``cost.json``, ``cost_*.png`` and ``inference.jsonl`` to ``out``.

    Args:
        configuration: Settings and where they are from.
        out: Folder, made if need be.
        console: For progress and the table of crossovers.

    Returns:
        What ``cost.json`` holds.
    """
    settings = configuration.settings
    sweep, task = settings.sweep, settings.task
    terms = listed_terms(settings)  # first: a number that is missing must not be asked for after minutes
    made_on = machine(settings.electronics.device)
    found, records = measured(settings.electronics, task, sweep.sides, console)
    drawing = {"draws": sweep.draws, "seed": sweep.seed}
    electronics = [
        *measured_curves(found, sweep.sides, **drawing),
        *roofline_curves(settings.electronics, task, sweep.sides, **drawing),
        *price_curves(settings.electronics, task, sweep.sides, **drawing),
    ]
    optics = [optical_curve(name, system, sweep.sides, task, **drawing) for name, system in settings.optics.items()]
    crossovers = compared(settings, optics, electronics)
    prices = break_evens(settings, optics)
    curves = [*optics, *electronics]
    content = {
        "machine": made_on,
        "settings": settings.model_dump(mode="json"),
        "curves": [_curve(curve) for curve in curves],
        "crossovers": [_finite(found) for found in crossovers],
        "break_even_energy_per_mac": [
            {"optics": optics, "instead of": network, "low_median_high": spreads(_known(found))}
            for (optics, network), found in prices.items()
        ],
        "terms": terms,
    }
    command = f"python -m experiments cost {configuration.path}"
    text = report(
        curves=curves,
        crossovers=crossovers,
        prices=prices,
        terms=terms,
        listed=sweep.listed,
        command=command,
        machine=made_on,
    )
    write_all(out, content, text, curves, records)
    console.print(terminal(crossover_rows(_summary(crossovers)), "where optics begin to cost less than a digital twin"))
    console.print(f"tables and figures: {out / 'cost.md'}")
    return content


def listed_terms(settings: CostSettings) -> dict[str, list[dict]]:
    """Every term of every optical system at ``sweep.listed`` pixels, one image alone; those that it fits.

    Raises:
        ValueError: A number that neither preset nor configuration gives, for any system at any side.
    """
    terms = {}
    for name, system in settings.optics.items():
        for side in settings.sweep.sides:
            alone = fitted(system, side, settings.task, alone=True)
            if alone is None:
                continue
            try:
                table = optical_cost(alone)
            except ValueError as error:
                raise ValueError(f'optics."{name}": {error}') from error
            if side == settings.sweep.listed:
                terms[name] = table.to_rows()
    return terms


def compared(settings: CostSettings, optics: Sequence[Curve], electronics: Sequence[Curve]) -> list[Crossover]:
    """All optics against all electronics; those that look at a scene against electronics with a camera of their own."""
    found = []
    for curve in optics:
        system = settings.optics[curve.name]
        for other in electronics:
            rival = other if system.display else behind_a_camera(other, system, seed=settings.sweep.seed)
            found += [c for quantity in QUANTITIES if (c := crossover(curve, rival, quantity)) is not None]
    return found


def break_evens(settings: CostSettings, optics: Sequence[Curve]) -> dict[tuple[str, str], np.ndarray]:
    """Price of a digital operation at which each optical system and each network take the same energy."""
    sides, task = settings.sweep.sides, settings.task
    macs = {name: [operations(name, task, side) / 2 for side in sides] for name in ("teacher", "digital twin")}
    return {
        (curve.name, name): break_even_prices(
            curve, settings.optics[curve.name], task, counted, seed=settings.sweep.seed
        )
        for curve in optics
        for name, counted in macs.items()
    }


def _known(prices: np.ndarray) -> np.ndarray:
    """JSON knows no infinity: where no operation is saved there is no price."""
    return np.where(np.isinf(prices), np.nan, prices)


def _summary(crossovers: Sequence[Crossover]) -> list[Crossover]:
    """For a terminal: against the digital twin, which does the same for less than the teacher, rooflines left out."""
    return [c for c in crossovers if "digital twin" in c.electronics and "roofline" not in c.electronics]


def _curve(curve: Curve) -> dict:
    figures = {
        quantity: {
            "unit": UNITS[quantity],
            "low_median_high": curve.spread(quantity),
            "source": curve.sources[quantity],
        }
        for quantity in curve.draws
    }
    return {"name": curve.name, "optical": curve.optical, "sides": curve.sides, "evidence": curve.kinds} | figures


def _finite(found: Crossover) -> dict:
    """A crossover for JSON, which knows no infinity: ``null`` says that so many draws do not cross."""
    return {key: None if value == inf else value for key, value in asdict(found).items()}


def write_all(out: Path, content: dict, text: str, curves: Sequence[Curve], records: Sequence[InferenceRecord]) -> None:
    """The files of a run, each whole or not at all."""
    for quantity in QUANTITIES:
        with written_whole(out / f"cost_{quantity.split()[0]}.png") as part:
            part.write_bytes(figure(shown(curves), quantity))
    write_jsonl(out / "inference.jsonl", (record.to_row() | {"machine": content["machine"]} for record in records))
    write_json(out / "cost.json", content)
    write_text(out / "cost.md", text)
