"""Runs of a fidelity study: a student on a bench with some effects, trained or evaluated. Each is a run of a sweep."""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from kd.checkpoints import load_checkpoint, save_checkpoint
from kd.colour import ColourFrontEnd
from kd.data.images import DataSplits, LabelledImages
from kd.students import OpticalFrontEnd, OpticalStudent
from kd.training import TrainingSettings, evaluate, fit
from optics4f.config import BenchSpecification
from optics4f.effects import Flicker

from .fidelity_effects import bench_with
from .fidelity_settings import FidelityConfiguration, load_fidelity
from .paper_rows import PAPER_ROWS
from .paper_run import load_data

EVALUATION_SEED = 0  # of the noise that test images see, the same for all runs
TURNED = {"slm_rotation"}  # turns the grid of the PSFs, which that route refuses
Strengths = Mapping[str, float]


def train_student(
    config: str, settings: str, *, folder: str, seed: int, effects: Strengths | None, checkpoints: str | None = None
) -> dict[str, Any]:
    """Train the masks and the readout of one seed with these effects, and read the test set.

    Args:
        config: TOML file of the study, on a path that every worker sees.
        settings: Fingerprint that the file must have.
        folder: Where the students are kept.
        seed: Of start, batches and noise.
        effects: Strengths by name, on the schedule ``[retraining]``; without any that is the control. ``None`` is the
            student that all begins with: on the ideal bench, on the schedule ``[ideal]`` or else ``[student]``.
        checkpoints: The study's folder of trained students, on a path that every worker sees.

    Returns:
        What :func:`evaluate_student` does, and how it was trained.
    """
    study, data = _study(config, settings, checkpoints), _images(config, settings)
    kept, began = student_file(folder, seed, effects), time.perf_counter()
    schedule = (study.study.ideal or study.student.student) if effects is None else study.study.retraining
    if schedule is None:
        raise ValueError("retraining must be given to train with an effect. Add a table [retraining].")
    goes_on = effects is not None and schedule.start == "student"
    start = base_student(study, data, folder, seed) if goes_on else _untrained(study, data, seed)
    student = on_bench(start, study, effects or {}, seed)
    if kept.exists():  # trained, but whoever waited for it was killed
        metrics = load_checkpoint(kept, student)["metrics"]
    else:
        teacher = None
        if PAPER_ROWS[study.study.row].taught:
            teacher = PAPER_ROWS["teacher"].build(study.student, data, seed)
            load_checkpoint(_checkpoint(study, "teacher", seed), teacher)
        plain = TrainingSettings(**schedule.model_dump(exclude={"start", "together"}))
        history = fit(student, data, plain, seed=seed, teacher=teacher, progress=False)
        best = next(record for record in history if record["restored"])
        metrics = {"validation_accuracy": best["validation_accuracy"], "epoch": best["epoch"], "epochs": plain.epochs}
        made_from = {"study": study.study.model_dump(mode="json"), "effects": effects}
        save_checkpoint(kept, student, config=made_from, seed=seed, metrics=metrics)
    started = {"start": "student" if goes_on else "scratch", "seconds": time.perf_counter() - began}
    return _measured(student, study, data) | metrics | started


def evaluate_student(
    config: str,
    settings: str,
    *,
    folder: str,
    seed: int,
    effects: Strengths,
    trained: Strengths | None = None,
    checkpoints: str | None = None,
) -> dict[str, Any]:
    """Test accuracy of a student on a bench with these effects.

    Args:
        config: As in :func:`train_student`.
        settings: As in :func:`train_student`.
        folder: As in :func:`train_student`.
        seed: Which student; also of the directions of the effects.
        effects: Strengths by name; none is the ideal bench.
        trained: The effects that the student was trained with; ``None`` is the one of the study's beginning.
        checkpoints: As in :func:`train_student`.

    Returns:
        ``accuracy`` and ``loss`` on so many ``images``; the ``route``; ``brightest``, the largest signal of a camera
        pixel over white, and ``saturated``, the share of pixels beyond the full well.
    """
    study, data = _study(config, settings, checkpoints), _images(config, settings)
    if trained is None:
        student = base_student(study, data, folder, seed)
    else:
        student = on_bench(_untrained(study, data, seed), study, trained, seed)
        load_checkpoint(student_file(folder, seed, trained), student)
    return _measured(on_bench(student, study, effects, seed), study, data)


def base_student(study: FidelityConfiguration, data: DataSplits, folder: str | Path, seed: int) -> OpticalStudent:
    """The student that knows no effect but those of its checkpoint's bench, where it is from one."""
    student = _untrained(study, data, seed)
    if not study.study.trained_here:
        load_checkpoint(_checkpoint(study, study.study.row, seed), student)
        return student
    student = on_bench(student, study, {}, seed)
    load_checkpoint(student_file(folder, seed, None), student)
    return student


def _untrained(study: FidelityConfiguration, data: DataSplits, seed: int) -> OpticalStudent:
    return PAPER_ROWS[study.study.row].build(study.student, data, seed)


def on_bench(student: OpticalStudent, study: FidelityConfiguration, effects: Strengths, seed: int) -> OpticalStudent:
    """The masks and the readout of a student, copied to a bench with these effects."""
    specification = with_route(study.student.bench, effects)
    bench = bench_with(specification, effects, seed=seed, flicker_frames=study.study.flicker_frames)
    bench.slm.set_values(student.front_end.bench.slm.values.detach().to(bench.slm.values))
    route, colours = specification.build_route(bench), getattr(student.front_end, "channels", 1)
    front = ColourFrontEnd(route, channels=colours) if colours > 1 else OpticalFrontEnd(route)
    front.register_forward_pre_hook(_next_frames)
    return OpticalStudent(front, copy.deepcopy(student.readout))


def with_route(bench: BenchSpecification, effects: Strengths) -> BenchSpecification:
    """The bench by its own route, or by the Fourier-lens route where that cannot be the PSF route."""
    turned = bench.route == "psf" and any(effects.get(name) for name in TURNED)
    return bench.model_copy(update={"route": "fourier_lens"}) if turned else bench


def student_file(folder: str | Path, seed: int, effects: Strengths | None) -> Path:
    """Where a student is kept that was trained with these effects; ``None`` is the one that all begins with."""
    if effects is None:
        return Path(folder) / f"ideal-{seed}.safetensors"
    name = "+".join(f"{name}={strength:.6g}" for name, strength in sorted(effects.items())) or "control"
    if len(name) > 60:  # many effects
        name = f"{len(effects)}-effects-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return Path(folder) / f"{name}-{seed}.safetensors"


def check_checkpoints(study: FidelityConfiguration) -> None:
    """Refuse a study whose checkpoints are not all there.

    Raises:
        ValueError: The message names the first that is missing.
    """
    rows = [] if study.study.trained_here else [study.study.row]
    if PAPER_ROWS[study.study.row].taught and (study.study.trained_here or study.study.retraining is not None):
        rows.append("teacher")
    for row in rows:
        for seed in study.study.seeds:
            _checkpoint(study, row, seed)


def _checkpoint(study: FidelityConfiguration, row: str, seed: int) -> Path:
    path = Path(study.study.checkpoints) / f"{row}-{seed}.safetensors"
    if not path.is_file():
        raise ValueError(
            f"checkpoints must hold {path.name}, got none in {path.parent}. Train it, or leave out the seed."
        )
    return path


def _next_frames(front: OpticalFrontEnd, _: object) -> None:
    """Other states of a flickering panel for each batch; they follow the camera's noise, so a seed repeats them."""
    flicker = front.bench.slm.effect(Flicker)
    if flicker is not None:
        flicker.seed = int(torch.randint(2**31, (), generator=front.generator))


@torch.no_grad()
def _measured(student: OpticalStudent, study: FidelityConfiguration, data: DataSplits) -> dict[str, Any]:
    found = evaluate(student, data.test, batch_size=study.study.batch, seed=EVALUATION_SEED)
    front = student.front_end
    signal = front.bench.camera.integrated(front.light(data.test.images[: study.study.batch]))
    return {
        "accuracy": found.accuracy,
        "loss": found.loss,
        "images": len(data.test),
        "route": type(front.route).__name__,
        "brightest": signal.max().item(),
        "saturated": (signal * front.bench.camera.exposure > 1).float().mean().item(),
    }


@lru_cache(maxsize=2)
def _study(config: str, settings: str, checkpoints: str | None = None) -> FidelityConfiguration:
    """The study, with the folder of checkpoints where whoever started the runs found it."""
    study = load_fidelity(config)
    if study.mark != settings:
        raise ValueError(f"{config} must stay as it was when the runs were started. Start again.")
    if checkpoints is not None:
        study = replace(study, study=study.study.model_copy(update={"checkpoints": checkpoints}))
    return study


@lru_cache(maxsize=2)
def _images(config: str, settings: str) -> DataSplits:
    """The images of a study, once a process."""
    return images_of(_study(config, settings))


def images_of(study: FidelityConfiguration) -> DataSplits:
    """As many images of each split as the study takes.

    Raises:
        FileNotFoundError: They are not where images are looked for.
    """
    data, counts = load_data(study.student), study.study.images
    cut = {
        name: _some(getattr(data, name), getattr(counts, name), counts.seed) for name in ("train", "validation", "test")
    }
    return replace(data, **cut)


def _some(images: LabelledImages, count: int | None, seed: int) -> LabelledImages:
    """So many of the images, drawn: the first ones of a set may be easier than the rest."""
    if count is None or count >= len(images):
        return images
    return images.subset(torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count])
