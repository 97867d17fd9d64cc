"""What electronics takes for the same task at every size: measured here, from data sheets, from published prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from rich.console import Console
from torch import nn

from kd.complexity import digital_macs
from optics4f.devices import component, gpu_device
from optics4f.units import engineering

from .cost_settings import CostConfiguration
from .gpu_cost import InferenceRecord
from .measured_inference import Inference, measure_models, modelled
from .resolution_sweep import QUANTITIES, Curve, Quantity, electronic_curve
from .terms import Term, documented

# Values that one layer of a batch may hold: a CPU gains nothing from batches beyond its caches, a GPU fills up later.
LARGEST_LAYER = {"cpu": 2**24, "cuda": 2**30}


def networks(asked: CostConfiguration, side: int) -> dict[str, nn.Module]:
    """The rows of the task and the readout alone, untrained, for grey images of ``side`` pixels."""
    return asked.task.networks(side, channels=1, classes=asked.settings.task.classes)


def measured(asked: CostConfiguration, console: Console) -> tuple[dict[str, list[Inference]], list[InferenceRecord]]:
    """Every network at every side that is not too large to run here.

    Returns:
        By network, one result a side; and all records.
    """
    settings, widest = (
        asked.settings.electronics,
        max(asked.task.optical.kernels, asked.task.paper.models.teacher_width),
    )
    found: dict[str, list[Inference]] = {}
    records = []
    with threads(settings.threads):
        for side in (side for side in asked.settings.sweep.sides if side <= settings.measured_to):
            room = LARGEST_LAYER.get(torch.device(settings.device).type, LARGEST_LAYER["cpu"]) // (widest * side**2)
            results, new = measure_models(
                networks(asked, side),
                torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(side)),
                device=settings.device,
                batch_sizes=[size for size in settings.batch_sizes if size <= room] or [1],
                rounds=settings.rounds,
                warmup=1,
                seconds=settings.seconds,
                energy_time=settings.seconds,
            )
            records += new
            for result in results:
                found.setdefault(result.model, []).append(result)
            took = ", ".join(f"{r.model} {engineering(r.latency.nominal, 's', 3)}" for r in results)
            console.print(f"{side:5d} pixels on {results[0].device}: {took}")
    return found, records


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """So many threads of torch for a while; as many as before where none are stated."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measured_curves(
    found: Mapping[str, Sequence[Inference]], sides: Sequence[int], *, draws: int, seed: int
) -> list[Curve]:
    """Measured networks as curves; beyond the largest side measured, in proportion to the pixels."""
    curves = []
    for i, (name, results) in enumerate(found.items()):
        rows: dict[Quantity, list[Term | None]] = {quantity: [] for quantity in QUANTITIES}
        for j, side in enumerate(sides):
            result = results[min(j, len(results) - 1)]
            factor = 1.0 if j < len(results) else (side / sides[len(results) - 1]) ** 2
            for quantity, term in inference_terms(result).items():
                rows[quantity].append(term and (term if factor == 1.0 else _extrapolated(term, factor, sides, results)))
        curves.append(electronic_curve(f"{name}, {results[0].device}", sides, rows, draws=draws, seed=seed + i))
    return curves


def inference_terms(result: Inference) -> dict[Quantity, Term | None]:
    """The quantities of a sweep from those of a measurement or a roofline."""
    per_image = (1.0 / result.throughput).named("time per image", "s")
    return {"latency": result.latency, "time per image": per_image, "energy per image": result.energy}


def _extrapolated(term: Term, factor: float, sides: Sequence[int], results: Sequence[Inference]) -> Term:
    last = sides[len(results) - 1]
    more = term * Term("pixels", factor, factor, factor, "1", f"in proportion from {last} pixels", "modelled")
    return more.named(term.name, term.unit)


def operations(asked: CostConfiguration) -> dict[str, list[int]]:
    """Multiply-accumulates of one image on each digital row, from shapes alone, by side."""
    found: dict[str, list[int]] = {name: [] for name in asked.task.table.digital}
    for side in asked.settings.sweep.sides:
        with torch.device("meta"):
            models = networks(asked, side)
            for name, counts in found.items():
                counts.append(digital_macs(models[name], (1, side, side)))
    return found


def roofline_curves(asked: CostConfiguration, *, draws: int, seed: int) -> list[Curve]:
    """Data sheets as curves: what no launch, no idle and no cache miss would leave."""
    curves, sides = [], asked.settings.sweep.sides
    with torch.device("meta"):
        models = [networks(asked, side) for side in sides]
    for slug in asked.settings.electronics.rooflines:
        gpu = gpu_device(slug)
        for name in asked.task.table.digital:
            with torch.device("meta"):
                results = [
                    modelled(name, at_side[name], torch.empty(1, 1, side, side), gpu)
                    for side, at_side in zip(sides, models, strict=True)
                ]
            rows = {quantity: [inference_terms(result)[quantity] for result in results] for quantity in QUANTITIES}
            curves.append(
                electronic_curve(f"{name}, {gpu.name} (modelled roofline)", sides, rows, draws=draws, seed=seed)
            )
    return curves


def price_curves(
    prices: Sequence[str], macs: Mapping[str, Sequence[int]], sides: Sequence[int], *, draws: int, seed: int
) -> list[Curve]:
    """Energy alone: multiply-accumulates at their published price.

    Args:
        prices: Slugs of components with an energy per multiply-accumulate.
        macs: Operations of one image by network, one a side.
        sides: Sides of the image [pixels].
        draws: How many.
        seed: Of the draws.
    """
    curves = []
    for slug in prices:
        price = documented(component(slug), component(slug).name)
        for name, counts in macs.items():
            terms = [(count * price).named("energy", "J") for count in counts]
            rows: dict[Quantity, list[Term | None]] = {"energy per image": terms}
            label = f"{name}, {price_name(slug)} (modelled price)"
            curves.append(electronic_curve(label, sides, rows, draws=draws, seed=seed))
    return curves


def price_name(slug: str) -> str:
    """Whose price of an operation it is."""
    return component(slug).name.removeprefix("Digital MAC").strip(", ")
