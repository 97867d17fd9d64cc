"""What electronics takes for the same task at every size: measured here, from data sheets, from published prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from rich.console import Console
from torch import nn

from kd.readout import PooledLinear
from kd.seeding import initialised_with
from kd.students import LinearCNN, Student
from kd.teachers import ConvTeacher
from optics4f.devices import component, gpu_device
from optics4f.units import engineering

from .cost_settings import ElectronicsSettings, TaskSettings
from .gpu_cost import InferenceRecord, count_flops
from .measured_inference import Inference, measure_models, modelled
from .resolution_sweep import QUANTITIES, Curve, Quantity, electronic_curve
from .terms import Term, documented

# Values that one layer of a batch may hold: a CPU gains nothing from batches beyond its caches, a GPU fills up later.
LARGEST_LAYER = {"cpu": 2**24, "cuda": 2**30}


def networks(task: TaskSettings, side: int) -> dict[str, nn.Module]:
    """The teacher, the digital twin of the optics, and the readout alone, for images of ``side`` pixels.

    The twin does the optics' convolution in electronics: as many kernels of the same size, the same readout. What
    accuracy it reaches once trained stands in the demo's table (row ``linear``).
    """
    with initialised_with(0):
        return {
            "teacher": ConvTeacher(1, task.classes, size=side, width=task.teacher_width),
            "digital twin": LinearCNN(
                1,
                PooledLinear(task.kernels, task.classes, pool=task.pool),
                channels=task.kernels,
                kernel_size=task.kernel_size,
            ),
            "readout alone": Student(nn.Identity(), PooledLinear(1, task.classes, pool=task.pool)),
        }


def measured(
    settings: ElectronicsSettings, task: TaskSettings, sides: Sequence[int], console: Console
) -> tuple[dict[str, list[Inference]], list[InferenceRecord]]:
    """Every network at every side that is not too large to run here.

    Returns:
        By network, one result a side; and all records.
    """
    found: dict[str, list[Inference]] = {}
    records = []
    with threads(settings.threads):
        for side in (side for side in sides if side <= settings.measured_to):
            image_size = max(task.kernels, task.teacher_width) * side**2
            room = LARGEST_LAYER.get(torch.device(settings.device).type, LARGEST_LAYER["cpu"]) // image_size
            results, new = measure_models(
                networks(task, side),
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
            for quantity, term in _terms(result).items():
                rows[quantity].append(term and (term if factor == 1.0 else _extrapolated(term, factor, sides, results)))
        curves.append(electronic_curve(f"{name}, {results[0].device}", sides, rows, draws=draws, seed=seed + i))
    return curves


def _terms(result: Inference) -> dict[Quantity, Term | None]:
    per_image = (1.0 / result.throughput).named("time per image", "s")
    return {"latency": result.latency, "time per image": per_image, "energy per image": result.energy}


def _extrapolated(term: Term, factor: float, sides: Sequence[int], results: Sequence[Inference]) -> Term:
    last = sides[len(results) - 1]
    more = term * Term("pixels", factor, factor, factor, "1", f"in proportion from {last} pixels", "modelled")
    return more.named(term.name, term.unit)


def operations(name: str, task: TaskSettings, side: int) -> int:
    """Floating-point operations of one image on one of the networks, from shapes alone."""
    with torch.device("meta"):
        return count_flops(networks(task, side)[name].eval(), _image(side))


def roofline_curves(
    settings: ElectronicsSettings, task: TaskSettings, sides: Sequence[int], *, draws: int, seed: int
) -> list[Curve]:
    """Data sheets as curves: what no launch, no idle and no cache miss would leave."""
    curves = []
    for slug in settings.rooflines:
        gpu = gpu_device(slug)
        for name in ("teacher", "digital twin"):
            with torch.device("meta"):
                results = [modelled(name, networks(task, side)[name], _image(side), gpu) for side in sides]
            rows = {quantity: [_terms(result)[quantity] for result in results] for quantity in QUANTITIES}
            curves.append(
                electronic_curve(f"{name}, {gpu.name} (modelled roofline)", sides, rows, draws=draws, seed=seed)
            )
    return curves


def _image(side: int) -> torch.Tensor:
    return torch.empty(1, 1, side, side, device="meta")


def price_curves(
    settings: ElectronicsSettings, task: TaskSettings, sides: Sequence[int], *, draws: int, seed: int
) -> list[Curve]:
    """Energy alone: two floating-point operations are one multiply-accumulate at its published price."""
    curves = []
    for slug in settings.prices:
        price = documented(component(slug), component(slug).name)
        for name in ("teacher", "digital twin"):
            macs = [operations(name, task, side) / 2 for side in sides]
            terms = [(count * price).named("energy", "J") for count in macs]
            rows: dict[Quantity, list[Term | None]] = {"energy per image": terms}
            label = f"{name}, {price.name.removeprefix('Digital MAC').strip(', ')} (modelled price)"
            curves.append(electronic_curve(label, sides, rows, draws=draws, seed=seed))
    return curves
