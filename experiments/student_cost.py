"""What trained students cost beside digital networks that do as well, at the size of their images."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from torch import nn

from kd.complexity import digital_macs
from kd.data.catalogue import load
from optics4f.config import ConfigError, read_toml, validated
from optics4f.devices import camera_device, component, gpu_device

from .cost_settings import CostSettings, ElectronicsSettings, TaskSettings, load_cost_configuration
from .electronics_sweep import threads
from .hardware_cost import CostTable, optical_cost
from .measured_inference import Inference, machine, measure_models, modelled
from .monte_carlo import drawn, resolved
from .optical_settings import OpticalCostSettings
from .paper import by_row, gain, spread
from .paper_rows import PAPER_ROWS
from .paper_settings import PaperSettings, load_paper
from .resolution_sweep import QUANTITIES, Curve, Quantity, electronic_curve, fitted, plain_capture
from .runs import write_json, write_jsonl, write_text
from .student_cost_report import cost_rows, report
from .tables import terminal
from .terms import Term, documented

Row = Annotated[str, Field(pattern="|".join(f"^{name}$" for name in PAPER_ROWS))]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StudentTable(_Table):
    """``[students]``: a paper's table that was trained, and which of its rows are compared.

    ``paper`` and ``results`` are paths beside the file that names them.
    """

    paper: str
    results: str
    optical: Row = "physical_kd"
    digital: tuple[Row, ...] = Field(("teacher", "twin", "readout_only"), min_length=1)
    draws: int = Field(300, ge=20)
    seed: int = Field(0, ge=0)


class StudentCostSettings(_Table):
    """The whole file; the optical systems are those of another one, ``optics_of``."""

    optics_of: str
    systems: tuple[str, ...] = Field(min_length=1)
    students: StudentTable
    electronics: ElectronicsSettings = ElectronicsSettings()


class StudentTask(TaskSettings):
    """The convolutions of a trained student, whose electronics are counted and not derived."""

    macs: int

    def readout_macs(self, side: int) -> int:
        """Digital operations behind the camera, as counted in the trained student."""
        return self.macs


@dataclass(frozen=True)
class StudentCost:
    """A file for ``python -m experiments cost`` with everything that it names.

    Attributes:
        settings: The file.
        path: Where it is.
        paper: The table's settings.
        results: Lines of the table.
        optics: Optical systems by name.
    """

    settings: StudentCostSettings
    path: Path
    paper: PaperSettings
    results: tuple[Mapping[str, Any], ...]
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
    known: CostSettings = load_cost_configuration(path.parent / settings.optics_of).settings
    for name in settings.systems:
        if name not in known.optics:
            raise ConfigError(
                f"{path}: systems must be of {settings.optics_of}: {', '.join(known.optics)}, got {name!r}."
            )
    found = path.parent / settings.students.results
    try:
        results = tuple(json.loads(line) for line in found.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: students.results must be JSON lines of a table, got {found}: {error}.") from error
    for row in (settings.students.optical, *settings.students.digital):
        if row not in by_row(results):
            raise ConfigError(
                f"{path}: {found} must hold a result of row {row}. Train it: python -m experiments paper."
            )
    paper = load_paper(path.parent / settings.students.paper).settings
    return StudentCost(settings, path, paper, results, {name: known.optics[name] for name in settings.systems})


def student_task(asked: StudentCost) -> tuple[StudentTask, int, int]:
    """The optics' part of the student, the longer side of what the display shows [pixels], exposures of an image."""
    line = next(iter(by_row(asked.results)[asked.settings.students.optical].values()))
    bench = asked.paper.bench
    exposures = line.get("exposures", bench.slm.masks)
    task = StudentTask(
        kernels=bench.slm.masks,
        kernel_size=asked.paper.models.kernel_size,
        signed=exposures > bench.slm.masks,
        macs=line["digital_macs"],
    )
    return task, max(bench.object.shape), exposures


def layouts(asked: StudentCost, system: OpticalCostSettings) -> dict[str, OpticalCostSettings]:
    """The system with the masks one after the other as they were trained, and with all kernels on one mask.

    The second is a question to the model alone: no student was trained so. A layout that the system cannot do is left
    out: one mask that stays cannot be several.
    """
    task, side, exposures = student_task(asked)
    found = {}
    if not system.fixed_mask:
        camera = asked.paper.bench.build().camera
        seen = [count * camera.grid.pitch for count in camera.grid.shape]
        pitch = camera_device(system.camera.device).pitch
        if pitch is None:
            raise ValueError(f"pitch of {system.camera.device} must be known. Choose another system.")
        region = tuple(math.ceil(extent / pitch.value) for extent in seen)
        found[f"{exposures} exposures in turn, as trained"] = system.model_copy(
            update={
                "masks": exposures,
                "camera": system.camera.model_copy(update={"shape": region}),
                "digital": system.digital.model_copy(update={"macs": task.macs}),
            }
        )
    tiled = fitted(system, side, task, alone=True)
    if tiled is not None and tiled.masks == 1:
        found["all kernels on one mask, one exposure, not trained so"] = tiled
    return found


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
    generator, known = np.random.default_rng(seed), resolved(settings)
    rows, fixed, plain = [], [], []
    for _ in range(draws):
        system = drawn(known, generator)
        table = optical_cost(system)
        rows.append(_quantities(table))
        fixed.append(table.energy.nominal - next(t for t in table.energies if t.name == "digital readout").nominal)
        plain.append((0.0, 0.0, 0.0) if capture is None else _quantities(optical_cost(plain_capture(system, capture))))
    by_quantity = (dict(zip(QUANTITIES, np.array(values).T, strict=True)) for values in (rows, plain))
    found, captures = by_quantity
    return found, np.array(fixed), captures


def _quantities(table: CostTable) -> tuple[float, float, float]:
    return table.latency.nominal, 1 / table.throughput.nominal, table.energy.nominal


def networks(asked: StudentCost) -> tuple[dict[str, nn.Module], torch.Tensor]:
    """The digital rows of the table, and one image of its test set ``(1, C, height, width)``."""
    data = load(asked.paper.data.name, **asked.paper.data.options)
    image = data.test.images[:1]
    image = image.float() / 255 if image.dtype == torch.uint8 else image
    return {row: PAPER_ROWS[row].build(asked.paper, data, 0).eval() for row in asked.settings.students.digital}, image


def run_student_cost(asked: StudentCost, out: Path, console: Console) -> dict[str, Any]:
    """Measure the digital rows, model the optics, compare; write ``cost.md``, ``cost.json`` and ``inference.jsonl``.

    Args:
        asked: The file and what it names.
        out: Folder, made if need be.
        console: For the tables.

    Returns:
        What ``cost.json`` holds.
    """
    chosen, electronics = asked.settings.students, asked.settings.electronics
    _, side, _ = student_task(asked)
    systems = {f"{name}: {how}": one for name, s in asked.optics.items() for how, one in layouts(asked, s).items()}
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
        curves += [_priced(name, macs[name], price, **drawing) for price in electronics.prices]
    content = {
        "machine": made_on,
        "settings": asked.settings.model_dump(mode="json"),
        "accuracy": accuracy_rows(asked, macs),
        "optics": {name: {q: _spread(values) for q, values in found.items()} for name, (found, *_) in optics.items()},
        "electronics": {c.name: {q: _spread(values[:, 0]) for q, values in c.draws.items()} for c in curves},
        "ratios": [
            row for name, (ours, _, first) in optics.items() for c in curves for row in _ratios(name, ours, first, c)
        ],
        "break_even": _break_even(optics, macs, student_task(asked)[0].macs),
        "terms": {name: optical_cost(one).to_rows() for name, one in systems.items()},
    }
    text = report(content, command=f"python -m experiments cost {asked.path}")
    write_jsonl(out / "inference.jsonl", (record.to_row() | {"machine": made_on} for record in records))
    write_json(out / "cost.json", content)
    write_text(out / "cost.md", text)
    console.print(terminal(content["accuracy"], "who does as well"))
    console.print(terminal(cost_rows(content, all_modelled=False), "what one image costs"))
    console.print(f"tables: {out / 'cost.md'}")
    return content


def accuracy_rows(asked: StudentCost, macs: Mapping[str, int]) -> list[dict[str, str]]:
    """Accuracy and operations of the optical student and the digital rows, and whether seeds tell them apart."""
    chosen, lines = asked.settings.students, by_row(asked.results)
    rows = []
    for name in (chosen.optical, *chosen.digital):
        seeds = lines[name]
        difference = gain(asked.results, name, chosen.optical) if name != chosen.optical else None
        verdict = "" if name == chosen.optical else "too few seeds to tell"
        if difference is not None:
            mean, half = difference
            told = "not told apart" if abs(mean) <= half else "does better" if mean > 0 else "does worse"
            verdict = f"{told}: {mean:+.2f} +- {half:.2f} points (95 %, paired by seed)"
        rows.append(
            {
                "network": name,
                "test accuracy [%]": spread([100 * result["test_accuracy"] for result in seeds.values()]),
                "seeds": str(len(seeds)),
                "digital MACs": f"{macs.get(name, next(iter(seeds.values()))['digital_macs']):,}",
                "beside the optical student": verdict,
            }
        )
    return rows


def _measured(result: Inference, *, draws: int, seed: int) -> Curve:
    per_image = (1.0 / result.throughput).named("time per image", "s")
    terms: dict[Quantity, list[Term | None]] = {
        "latency": [result.latency],
        "time per image": [per_image],
        "energy per image": [result.energy],
    }
    name = f"{result.model}, {result.device}{'' if result.kind == 'measured' else ' (modelled roofline)'}"
    return electronic_curve(name, (1,), terms, draws=draws, seed=seed)


def _priced(name: str, macs: int, slug: str, *, draws: int, seed: int) -> Curve:
    price = documented(component(slug), component(slug).name)
    label = f"{name}, {price.name.removeprefix('Digital MAC').strip(', ')} (modelled price)"
    terms: dict[Quantity, list[Term | None]] = {"energy per image": [(macs * price).named("energy", "J")]}
    return electronic_curve(label, (1,), terms, draws=draws, seed=seed)


def _spread(values: np.ndarray) -> list[float]:
    return [float(v) for v in np.quantile(values, (0.05, 0.5, 0.95))]


def _ratios(
    name: str, ours: Mapping[Quantity, np.ndarray], captures: Mapping[Quantity, np.ndarray], other: Curve
) -> list[dict[str, Any]]:
    """Optics over electronics, draw by draw; the electronics of a scene wait for a plain picture, and pay for it."""
    rows = []
    for quantity in other.draws:
        theirs, plain = other.draws[quantity][:, 0], captures[quantity]
        rival = np.maximum(theirs, plain) if quantity == "time per image" else theirs + plain
        ratio = _spread(ours[quantity] / rival)
        rows.append({"optics": name, "electronics": other.name, "quantity": quantity, "ratio": ratio})
    return rows


def _break_even(optics: Mapping[str, tuple], macs: Mapping[str, int], readout: int) -> list[dict[str, Any]]:
    """The price of a multiply-accumulate at which optics and network take the same energy [J]; below it optics lose."""
    rows = []
    for name, (_, fixed, captures) in optics.items():
        for network, count in macs.items():
            saved = count - readout
            price = None if saved <= 0 else _spread((fixed - captures["energy per image"]) / saved)
            rows.append({"optics": name, "instead of": network, "operations saved": saved, "price": price})
    return rows
