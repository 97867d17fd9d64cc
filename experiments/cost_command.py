"""``python -m experiments cost``: a resolution sweep from a TOML file to tables, figures and records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import inf
from pathlib import Path

import numpy as np
from rich.console import Console

from optics4f.files import written_whole

from .cost_crossover import Crossover, crossover
from .cost_layout import OpticalTask, fitted, telling_sides
from .cost_report import crossover_rows, figure, report, shown, system_rows
from .cost_settings import CostConfiguration
from .cost_task import accuracy_rows
from .electronics_sweep import measured, measured_curves, operations, price_curves, roofline_curves
from .gpu_cost import InferenceRecord
from .hardware_cost import OpticalCostSettings, optical_cost
from .measured_inference import machine
from .resolution_sweep import (
    QUANTITIES,
    UNITS,
    Curve,
    behind_a_camera,
    break_even_prices,
    captures,
    interpolated,
    optical_curve,
    spreads,
)
from .runs import write_json, write_jsonl, write_text
from .tables import print_table


def run_cost(configuration: CostConfiguration, out: Path, console: Console) -> dict:
    """Measure, model, compare; write ``cost.md``, ``cost.json``, ``cost_*.png``, ``cost_inference.jsonl`` to ``out``.

    Args:
        configuration: Settings, where they are from, and what was trained.
        out: Folder, made if need be.
        console: For progress and the table of crossovers.

    Returns:
        What ``cost.json`` holds.
    """
    settings, task = configuration.settings, configuration.task.optical
    sweep, sides = settings.sweep, settings.sweep.sides
    # First: a number that is missing must not be asked for after minutes.
    terms = listed_terms(settings.optics, sides, task, listed=sweep.listed)
    made_on = machine(settings.electronics.device)
    found, records = measured(configuration, console)
    drawing = {"draws": sweep.draws, "seed": sweep.seed}
    macs = operations(configuration)
    electronics = [
        *measured_curves(found, sides, **drawing),
        *roofline_curves(configuration, **drawing),
        *price_curves(settings.electronics.prices, macs, sides, **drawing),
    ]
    optics = []
    for name, system in settings.optics.items():
        console.print(f"modelled: {name}")
        optics.append(optical_curve(name, system, telling_sides(system, sides, task), task, **drawing))
    crossovers = compared(settings.optics, optics, electronics, seed=sweep.seed)
    at_sides = [curve.only(sides) for curve in optics]
    prices = break_evens(settings.optics, at_sides, task, macs, seed=sweep.seed)
    curves = [*at_sides, *electronics]
    accuracy = accuracy_rows(configuration.task, {})
    systems = system_rows(settings.optics, task.outputs)
    content = {
        "machine": made_on,
        "settings": settings.model_dump(mode="json"),
        "accuracy": accuracy,
        "systems": systems,
        "curves": [_curve(curve) for curve in curves],
        "crossovers": [_finite(found) for found in crossovers],
        "break_even_energy_per_mac": [
            {"optics": optics, "instead of": network, "low_median_high": spreads(_known(found))}
            for (optics, network), found in prices.items()
        ],
        "terms": terms,
    }
    text = report(
        curves=curves,
        crossovers=crossovers,
        prices=prices,
        terms=terms,
        accuracy=accuracy,
        results="/".join(configuration.task.path.parts[-3:]),  # the same on every machine
        systems=systems,
        price_slugs=settings.electronics.prices,
        listed=sweep.listed,
        command=f"python -m experiments cost {configuration.path}",
        machine=made_on,
    )
    write_all(out, content, text, [*optics, *electronics], records)
    title = "where optics begin to cost less than what was measured here"
    print_table(crossover_rows(_summary(crossovers)), title, console)
    console.print(f"tables and figures: {out / 'cost.md'}")
    return content


def listed_terms(
    optics: Mapping[str, OpticalCostSettings], sides: Sequence[int], task: OpticalTask, *, listed: int
) -> dict[str, list[dict]]:
    """Every term of every optical system at one of the sides, one image alone; those that it fits.

    Args:
        optics: Systems by name.
        sides: All sides [pixels].
        task: The optics' part of the student.
        listed: The side whose terms are wanted [pixels].

    Raises:
        ValueError: A number that neither preset nor configuration gives, for any system at any side.
    """
    terms = {}
    for name, system in optics.items():
        for side in sides:
            alone = fitted(system, side, task, alone=True)
            if alone is None:
                continue
            try:
                table = optical_cost(alone)
            except ValueError as error:
                raise ValueError(f'optics."{name}": {error}') from error
            if side == listed:
                terms[name] = table.to_rows()
    return terms


def compared(
    systems: Mapping[str, OpticalCostSettings], optics: Sequence[Curve], electronics: Sequence[Curve], *, seed: int
) -> list[Crossover]:
    """All optics against all electronics; those that look at a scene against electronics with a camera of their own.

    Args:
        systems: Settings of the optics by name.
        optics: At the sides that tell where they jump.
        electronics: At fewer; they are interpolated between those.
        seed: That of the optics.
    """
    found = []
    for curve in optics:
        system = systems[curve.name]
        draws = len(curve.fixed)
        plain = None if system.display else captures(system, curve.sides, draws=draws, seed=seed)
        for other in electronics:
            rival = _at(other, curve.sides)
            rival = rival if plain is None else behind_a_camera(rival, plain)
            found += [c for quantity in QUANTITIES if (c := crossover(curve, rival, quantity)) is not None]
    return found


def _at(curve: Curve, sides: Sequence[int]) -> Curve:
    """Electronics between the sides where they are known."""
    values = {quantity: interpolated(rows, curve.sides, sides) for quantity, rows in curve.draws.items()}
    sources = {quantity: ("interpolated",) * len(sides) for quantity in values}
    return replace(curve, sides=tuple(sides), draws=values, kinds=("modelled",) * len(sides), sources=sources)


def break_evens(
    systems: Mapping[str, OpticalCostSettings],
    optics: Sequence[Curve],
    task: OpticalTask,
    macs: Mapping[str, Sequence[int]],
    *,
    seed: int,
) -> dict[tuple[str, str], np.ndarray]:
    """Price of a digital operation at which each optical system and each network take the same energy.

    Args:
        systems: Settings of the optics by name.
        optics: At the sides of the tables.
        task: The optics' part of the student.
        macs: Operations of each network, at the same sides.
        seed: That of the optics.

    Returns:
        By names of optics and network; shapes and units are those of :func:`break_even_prices`.
    """
    return {
        (curve.name, name): break_even_prices(curve, systems[curve.name], task, counted, seed=seed)
        for curve in optics
        for name, counted in macs.items()
    }


def _known(prices: np.ndarray) -> np.ndarray:
    """JSON knows no infinity: where no operation is saved there is no price."""
    return np.where(np.isinf(prices), np.nan, prices)


def _summary(crossovers: Sequence[Crossover]) -> list[Crossover]:
    """For a terminal: against what was measured here."""
    return [found for found in crossovers if "modelled" not in found.electronics]


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
    rows = (record.to_row() | {"machine": content["machine"]} for record in records)
    write_jsonl(out / "cost_inference.jsonl", rows)
    write_json(out / "cost.json", content)
    write_text(out / "cost.md", text)
