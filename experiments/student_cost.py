"""What trained students cost beside digital networks that do as well, at the size of their images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from torch import nn

from kd.complexity import digital_macs
from optics4f.config import ConfigError, read_toml, validated
from optics4f.devices import camera_device, gpu_device

from .cost_layout import OpticalTask, fitted
from .cost_settings import ElectronicsSettings, load_cost_settings
from .cost_task import TaskTable, TrainedTask, accuracy_rows, load_task
from .electronics_sweep import inference_terms, price_curves, threads
from .hardware_cost import optical_cost
from .measured_inference import Inference, machine, measure_models, modelled
from .monte_carlo import drawn, resolved
from .optical_settings import OpticalCostSettings
from .paper_rows import PAPER_ROWS
from .paper_run import load_data
from .resolution_sweep import QUANTITIES, Curve, Quantity, captures, electronic_curve, fixed_energy
from .runs import write_json, write_jsonl, write_text
from .student_cost_report import cost_rows, report
from .tables import print_table


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StudentTable(TaskTable):
    """``[students]``: a paper's table that was trained, which of its rows are compared, and the draws."""

    draws: int = Field(300, ge=20)
    seed: int = Field(0, ge=0)


class StudentCostSettings(_Table):
    """The whole file; the optical systems are those of another one, ``optics_of``."""

    optics_of: str
    systems: tuple[str, ...] = Field(min_length=1)
    students: StudentTable
    electronics: ElectronicsSettings = ElectronicsSettings()


@dataclass(frozen=True)
class StudentCost:
    """A file for ``python -m experiments cost`` with everything that it names.

    Attributes:
        settings: The file.
        path: Where it is.
        task: What was trained.
        optics: Optical systems by name.
    """

    settings: StudentCostSettings
    path: Path
    task: TrainedTask
    optics: Mapping[str, OpticalCostSettings]


def is_student_cost(path: str | Path) -> bool:
    """Whether a file asks for trained students."""
    return "students" in read_toml(path)[0]


def load_student_cost(path: str | Path) -> StudentCost:
    """Read and check a file with a table ``[students]``, and the files that it names.

    Raises:
        ConfigError: Any defect of any of them, in one line.
    """
    path = Path(path)
    content, text = read_toml(path)
    settings = validated(StudentCostSettings, content, source=str(path), text=text)
    folder = path.resolve().parent
    known = load_cost_settings(folder / settings.optics_of)
    for name in settings.systems:
        if name not in known.optics:
            raise ConfigError(
                f"{path}: systems must be of {settings.optics_of}: {', '.join(known.optics)}, got {name!r}."
            )
    return StudentCost(
        settings, path, load_task(settings.students, path), {n: known.optics[n] for n in settings.systems}
    )


def shown_task(asked: StudentCost) -> tuple[OpticalTask, int]:
    """The optics' part of the student, and the longer side of its images [pixels]."""
    return asked.task.optical, max(asked.task.paper.bench.object.shape)


def laid_out(asked: StudentCost, system: OpticalCostSettings) -> tuple[str, OpticalCostSettings]:
    """How the system does the student's kernels, in words, and its settings so.

    Masks go by in turn as they were trained, and the camera reads what the trained one saw. Tiles are a question to the
    model alone: no student was trained so.

    Raises:
        ValueError: Tiles that do not fit, or a camera whose pitch nobody knows.
    """
    task, side = shown_task(asked)
    found = fitted(system, side, task, alone=True)
    tiled = system.tiled or system.fixed_mask  # a mask that stays cannot go by in turn
    if found is None or (tiled and found.masks > 1):
        raise ValueError(f"systems must have room for {task.outputs} tiles of {side} pixels. Choose another system.")
    if tiled:
        return "all kernels on one mask, one exposure, not trained so", found
    camera = asked.task.paper.bench.build().camera
    pitch = camera_device(system.camera.device).pitch
    if pitch is None:
        raise ValueError(f"pitch of {system.camera.device} must be known. Choose another system.")
    region = tuple(math.ceil(count * camera.grid.pitch / pitch.value) for count in camera.grid.shape)
    seen = {"masks": asked.task.exposures, "camera": found.camera.model_copy(update={"shape": region})}
    return f"{asked.task.exposures} exposures in turn, as trained", found.model_copy(update=seen)


def optical_draws(
    settings: OpticalCostSettings, *, draws: int, seed: int, capture: int | None
) -> tuple[dict[Quantity, np.ndarray], np.ndarray, dict[Quantity, np.ndarray]]:
    """What draws of all quantities make of a system.

    Args:
        settings: The system.
        draws: How many.
        seed: Of the draws.
        capture: Side of the plain picture that electronics need first [pixels]; ``None`` where the image is in memory.

    Returns:
        Each quantity in the units of ``UNITS``, ``(draws,)``; the energy without the digital operations [J],
        ``(draws,)``; each quantity of a plain picture by the same camera, ``(draws,)``, 0 where none is needed.
    """
    table = optical_cost(drawn(resolved(settings), np.random.default_rng(seed), draws))
    of_table = (table.latency.nominal, 1 / table.throughput.nominal, table.energy.nominal)
    found = {quantity: np.broadcast_to(value, draws) for quantity, value in zip(QUANTITIES, of_table, strict=True)}
    plain = {quantity: np.zeros(draws) for quantity in QUANTITIES}
    if capture is not None:
        plain = {q: v[:, 0] for q, v in captures(settings, (capture,), draws=draws, seed=seed).items()}
    return found, np.broadcast_to(fixed_energy(table), draws), plain


def networks(asked: StudentCost) -> tuple[dict[str, nn.Module], torch.Tensor]:
    """The digital rows of the table, and one image of its test set ``(1, C, height, width)``."""
    paper = asked.task.paper
    data = load_data(paper)
    image = data.test.images[:1]
    image = image.float() / 255 if image.dtype == torch.uint8 else image
    return {row: PAPER_ROWS[row].build(paper, data, 0).eval() for row in asked.settings.students.digital}, image


def run_student_cost(asked: StudentCost, out: Path, console: Console) -> dict[str, Any]:
    """Measure the digital rows, model the optics, compare; write ``NAME.md``, ``NAME.json``, ``NAME_inference.jsonl``.

    ``NAME`` is that of the file.

    Args:
        asked: The file and what it names.
        out: Folder, made if need be.
        console: For the tables.

    Returns:
        What ``NAME.json`` holds.
    """
    chosen, electronics = asked.settings.students, asked.settings.electronics
    task, side = shown_task(asked)
    laid = {name: laid_out(asked, system) for name, system in asked.optics.items()}
    systems = {f"{name}: {how}": one for name, (how, one) in laid.items()}
    drawing = {"draws": chosen.draws, "seed": chosen.seed}
    optics = {
        name: optical_draws(one, **drawing, capture=None if one.display else side) for name, one in systems.items()
    }
    models, image = networks(asked)
    made_on = machine(electronics.device)
    with threads(electronics.threads):
        found, records = measure_models(
            *(models, image),
            device=electronics.device,
            batch_sizes=electronics.batch_sizes,
            rounds=electronics.rounds,
            warmup=1,
            seconds=electronics.seconds,
            energy_time=electronics.seconds,
        )
    macs = {name: digital_macs(model, tuple(image.shape[1:])) for name, model in models.items()}
    curves = [_measured(result, **drawing) for result in found]
    for name, model in models.items():
        curves += [_measured(modelled(name, model, image, gpu_device(s)), **drawing) for s in electronics.rooflines]
    curves += price_curves(electronics.prices, {name: [count] for name, count in macs.items()}, (side,), **drawing)
    content = {
        "machine": made_on,
        "settings": asked.settings.model_dump(mode="json"),
        "results": "/".join(asked.task.path.parts[-3:]),  # the same on every machine
        "accuracy": accuracy_rows(asked.task, macs),
        "optics": {name: {q: _spread(values) for q, values in found.items()} for name, (found, *_) in optics.items()},
        "electronics": {
            c.name: {q: _spread(values[:, 0]) for q, values in c.draws.items()}
            | {"sources": {q: row[0] for q, row in c.sources.items()}}
            for c in curves
        },
        "notes": {name: one.note for name, one in systems.items() if one.note},
        "ratios": [
            row for name, (ours, _, first) in optics.items() for c in curves for row in _ratios(name, ours, first, c)
        ],
        "break_even": _break_even(optics, macs, task.head_macs),
        "terms": {name: optical_cost(one).to_rows() for name, one in systems.items()},
    }
    text, name = report(content, command=f"python -m experiments cost {asked.path}"), asked.path.stem
    write_jsonl(out / f"{name}_inference.jsonl", (record.to_row() | {"machine": made_on} for record in records))
    write_json(out / f"{name}.json", content)
    write_text(out / f"{name}.md", text)
    print_table(content["accuracy"], "who does as well", console)
    print_table(cost_rows(content, all_modelled=False), "what one image costs", console)
    console.print(f"tables: {out / f'{name}.md'}")
    return content


def _measured(result: Inference, *, draws: int, seed: int) -> Curve:
    terms = {quantity: [term] for quantity, term in inference_terms(result).items()}
    name = f"{result.model}, {result.device}{'' if result.kind == 'measured' else ' (modelled roofline)'}"
    return electronic_curve(name, (1,), terms, draws=draws, seed=seed)


def _spread(values: np.ndarray) -> list[float]:
    return [float(v) for v in np.quantile(values, (0.05, 0.5, 0.95))]


def _ratios(
    name: str, ours: Mapping[Quantity, np.ndarray], captured: Mapping[Quantity, np.ndarray], other: Curve
) -> list[dict[str, Any]]:
    """Optics over electronics, draw by draw; the electronics of a scene wait for a plain picture, and pay for it."""
    rows = []
    for quantity in other.draws:
        theirs, plain = other.draws[quantity][:, 0], captured[quantity]
        rival = np.maximum(theirs, plain) if quantity == "time per image" else theirs + plain
        ratio = _spread(ours[quantity] / rival)
        rows.append({"optics": name, "electronics": other.name, "quantity": quantity, "ratio": ratio})
    return rows


def _break_even(optics: Mapping[str, tuple], macs: Mapping[str, int], readout: int) -> list[dict[str, Any]]:
    """The price of a multiply-accumulate at which optics and network take the same energy [J]; below it optics lose."""
    rows = []
    for name, (_, fixed, captured) in optics.items():
        for network, count in macs.items():
            saved = count - readout
            price = None if saved <= 0 else _spread((fixed - captured["energy per image"]) / saved)
            rows.append({"optics": name, "instead of": network, "operations saved": saved, "price": price})
    return rows
