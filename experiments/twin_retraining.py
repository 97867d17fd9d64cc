"""What a twin is for: digits that a hidden bench loses, won back by masks that are trained again on its twin.

Masks and readout are trained on the bench as it is believed to be, and shown on the hidden one. Twenty frames of other
masks give the twin; training goes on there; the new masks are shown on the hidden bench, the old images are classified.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from kd.data.digits import load_digits
from kd.data.images import DataSplits
from kd.students import OpticalFrontEnd, OpticalStudent
from kd.training import TrainingSettings, fit
from optics4f.config import BenchSpecification, bench_from, read_toml
from optics4f.fourf import FourF
from optics4f.twin import USUAL, TwinModel, twin_content
from optics4f.twin import fit as fit_twin
from optics4f.twin.fitting import quantile

from .local_pool import LocalPool
from .rows import physical_student
from .runs import provenance, write_json, write_text
from .sweep import Run, sweep
from .tables import markdown, percent
from .twin_study import CONFIDENCE, CONFIG, IMAGES, hidden_values, measured_frames, random_masks

SCHEDULE = TrainingSettings(epochs=15, learning_rate=1e-2, mask_learning_rate_factor=5)
AGAIN = TrainingSettings(epochs=8, learning_rate=1e-2, mask_learning_rate_factor=5)
WANTED = 0.9
"""Share of the lost accuracy that the twin should win back."""


def shown_on(
    hidden: Mapping[str, float], believed: BenchSpecification, student: OpticalStudent, images: Tensor, seed: int
) -> Tensor:
    """Logits for frames of the hidden bench with the student's levels on its SLM.

    Args:
        hidden: What the bench really is.
        believed: The configuration that it differs from.
        student: Masks, the camera by which frames are turned into signal, and the readout.
        images: Shape ``(B, 1, height, width)``.
        seed: Of the hidden camera's noise.
    """
    bench: FourF = student.front_end.bench
    frames = measured_frames(believed, hidden, bench.slm.levels(), images[:, 0], seed)
    sensor, pixels = bench.camera.sensor, bench.camera.binning**2
    signal = (frames - sensor.offset * pixels) * (sensor.electrons_per_count / bench.camera.white)
    with torch.no_grad():
        return student.readout(signal.float())


def accuracy_on_hidden(
    hidden: Mapping[str, float], believed: BenchSpecification, student: OpticalStudent, data: DataSplits, seed: int
) -> float:
    """Share of the test images that are classified rightly from frames of the hidden bench."""
    student.eval()
    right = 0
    for start in range(0, len(data.test), 50):
        images, labels = (part[start : start + 50] for part in (data.test.images, data.test.labels))
        right += int((shown_on(hidden, believed, student, images, seed + start).argmax(1) == labels).sum())
    return right / len(data.test)


def accuracy_on(student: OpticalStudent, data: DataSplits, seed: int) -> float:
    """Share of the test images that are classified rightly on the student's own bench."""
    student.eval()
    student.reseed(seed)
    with torch.no_grad():
        right = [
            student(images).argmax(1) == labels
            for images, labels in zip(data.test.images.split(50), data.test.labels.split(50), strict=True)
        ]
    return torch.cat(right).double().mean().item()


def one_bench(seed: int) -> dict:
    """Train, hide, measure, fit, train again, show."""
    start = time.perf_counter()
    content, _ = read_toml(CONFIG)
    believed = bench_from(content, source=str(CONFIG))
    data = load_digits(size=believed.object.shape[0], split_seed=seed)
    student = physical_student(believed, len(data.classes), pool=4, initial_kernel=3, seed=seed)
    fit(student, data, SCHEDULE, seed=seed, progress=False)
    generator = torch.Generator().manual_seed(seed)
    hidden = hidden_values(believed, generator)
    longer = copy.deepcopy(student)  # as long as the one that goes on with the twin
    fit(longer, data, AGAIN, seed=seed, progress=False)
    believed_accuracy = accuracy_on(longer, data, seed)
    lost_accuracy = accuracy_on_hidden(hidden, believed, longer, data, seed)
    twin = fitted_twin(content, believed, hidden, generator, seed)
    again = moved_to(twin, student)
    fit(again, data, AGAIN, seed=seed, progress=False)
    won = accuracy_on_hidden(hidden, believed, again, data, seed)
    return {
        "seed": seed,
        "believed": believed_accuracy,
        "hidden": lost_accuracy,
        "twin_predicts": accuracy_on(again, data, seed),
        "hidden_after": won,
        "seconds": time.perf_counter() - start,
    }


def fitted_twin(
    content: dict, believed: BenchSpecification, hidden: Mapping[str, float], generator: torch.Generator, seed: int
) -> BenchSpecification:
    """The twin, from twenty frames of random masks and images."""
    shape, bits = (believed.slm.masks, *believed.slm.shape), believed.build().slm.bit_depth
    levels = random_masks(shape, bits, generator)
    images = torch.rand(IMAGES, *believed.object.shape, generator=generator, dtype=torch.float64)
    model = TwinModel(believed, levels, images, USUAL)
    found = fit_twin(model, measured_frames(believed, hidden, levels, images, 1_000_003 * seed))
    return bench_from(twin_content(content, model, found.values), source="the twin")


def moved_to(specification: BenchSpecification, student: OpticalStudent) -> OpticalStudent:
    """The student on another bench: the same levels, the same readout."""
    bench = specification.build()
    bench.slm.load_levels(student.front_end.bench.slm.levels())
    return OpticalStudent(OpticalFrontEnd(specification.build_route(bench)), copy.deepcopy(student.readout))


def run_retraining(out: Path, console: Console, *, benches: int = 10, workers: int | None = 1) -> dict:
    """Lose and win back digits on hidden benches; write ``twin_retraining.md`` and ``twin_retraining.json``.

    Args:
        out: Folder; its ``results.jsonl`` keeps the benches that are done, so that a study goes on where it stopped.
        console: For progress.
        benches: How many.
        workers: Processes.

    Raises:
        RuntimeError: A bench could not be done.
    """
    runs = [Run(f"{__name__}:one_bench", {"seed": seed}) for seed in range(benches)]
    done = sweep(runs, out, LocalPool(workers), console)
    if done.failed:
        error = next(iter(done.failed.values()))
        raise RuntimeError(f"{len(done.failed)} of {benches} benches failed, one with: {error}")
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    rows = [line["result"] for line in lines if line["function"].endswith("twin_retraining:one_bench")]
    return write_retraining(out, sorted(rows, key=lambda row: row["seed"])[:benches])


def write_retraining(out: Path, rows: Sequence[Mapping]) -> dict:
    """Write the table and its record."""
    record = {"benches": list(rows), **shares(rows), "wanted": WANTED}
    write_json(out / "twin_retraining.json", {**record, "provenance": provenance()})
    write_text(out / "twin_retraining.md", page(record))
    return record


def recovered(row: Mapping) -> float | None:
    """Share of the lost accuracy that came back; ``None`` where nothing was lost."""
    lost = row["believed"] - row["hidden"]
    return (row["hidden_after"] - row["hidden"]) / lost if lost > 0 else None


def shares(rows: Sequence[Mapping]) -> dict[str, float]:
    """Share of all that was lost, over the benches, and half of its interval of 95 %.

    The share of the sums weighs a bench by what it lost; its deviation is that of a ratio of means (delta method), with
    Student's t over the benches.
    """
    lost = [row["believed"] - row["hidden"] for row in rows]
    gained = [row["hidden_after"] - row["hidden"] for row in rows]
    pooled, count = sum(gained) / sum(lost), len(rows)
    found = {"pooled": pooled, "worst": min(r for row in rows if (r := recovered(row)) is not None)}
    if count > 1:
        rest = [g - pooled * d for g, d in zip(gained, lost, strict=True)]
        deviation = math.sqrt(sum(r**2 for r in rest) / (count - 1) / count) / (sum(lost) / count)
        found["half_interval"] = quantile(CONFIDENCE, count - 1) * deviation
    return found


def page(record: Mapping) -> str:
    """The result in words and a table."""
    titles = {
        "believed": "as believed",
        "hidden": "hidden bench",
        "twin_predicts": "trained again, as the twin predicts",
        "hidden_after": "trained again, hidden bench",
    }
    rows = [
        {
            "bench": str(row["seed"]),
            **{title: percent(row[name]) for name, title in titles.items()},
            "won back of what was lost": "" if (share := recovered(row)) is None else percent(share),
        }
        for row in record["benches"]
    ]
    half = f" +- {100 * record['half_interval']:.1f}" if "half_interval" in record else ""
    return f"""\
# Digits that a hidden bench loses, and a twin wins back

Masks and readout are trained on `experiments/configs/twin_study.toml` (8 x 8 digits, 400 test images) and shown on a
hidden bench as `results/twin.md` has them. After {SCHEDULE.epochs} epochs, training goes on for {AGAIN.epochs} more: on
the configuration as believed, or on the twin, from twenty frames of other masks. The bench is a small one, 64 x 64
pixels of the SLM a mask, so that a study takes minutes, not days.

{markdown(rows)}
Won back of all that was lost: {100 * record["pooled"]:.1f}{half} % (95 %, {len(rows)} benches), wanted:
{percent(record["wanted"])}. One image more or less is 0.25 points, which is some per cent of what one bench loses.

Made by `python -m experiments twin --retraining --benches {len(rows)}`.
"""
