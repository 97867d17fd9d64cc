"""What a twin is for: digits that a hidden bench loses, won back by masks that are trained again on its twin.

Masks and readout are trained on the bench as it is believed to be, and shown on the hidden one. Twenty frames of other
masks give the twin; training goes on there; the new masks are shown on the hidden bench, the old images are classified.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from kd.data.digits import load_digits
from kd.data.images import DataSplits
from kd.students import OpticalFrontEnd, OpticalStudent
from kd.training import TrainingSettings, fit
from optics4f.config import BenchSpecification, bench_from, read_toml
from optics4f.fourf import FourF
from optics4f.twin import USUAL, TwinModel, twin_content
from optics4f.twin import fit as fit_twin

from .rows import physical_student
from .runs import provenance, write_json, write_text
from .tables import markdown, percent
from .twin_study import CONFIG, IMAGES, hidden_values, measured_frames, random_masks

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
        "recovered": (won - lost_accuracy) / (believed_accuracy - lost_accuracy),
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


def run_retraining(out: Path, *, seeds: tuple[int, ...] = (0, 1, 2)) -> dict:
    """Lose and win back digits on hidden benches; write ``twin_retraining.md`` and ``twin_retraining.json``."""
    rows = [one_bench(seed) for seed in seeds]
    record = {"benches": rows, "recovered": sum(row["recovered"] for row in rows) / len(rows), "wanted": WANTED}
    write_json(out / "twin_retraining.json", {**record, "provenance": provenance()})
    write_text(out / "twin_retraining.md", page(record))
    return record


def page(record: Mapping) -> str:
    """The result in words and a table."""
    titles = {
        "believed": "as believed",
        "hidden": "hidden bench",
        "twin_predicts": "trained again, as the twin predicts",
        "hidden_after": "trained again, hidden bench",
        "recovered": "won back of what was lost",
    }
    rows = [
        {"bench": str(row["seed"]), **{title: percent(row[name]) for name, title in titles.items()}}
        for row in record["benches"]
    ]
    return f"""\
# Digits that a hidden bench loses, and a twin wins back

Masks and readout are trained on `experiments/configs/twin_study.toml` (8 x 8 digits, 400 test images) and shown on a
hidden bench as `results/twin.md` has them. After {SCHEDULE.epochs} epochs, training goes on for {AGAIN.epochs} more: on
the configuration as believed, or on the twin, from twenty frames of other masks.

{markdown(rows)}
Mean share won back: {percent(record["recovered"])}, wanted: {percent(record["wanted"])}.
"""
