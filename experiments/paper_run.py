"""One row of a paper's table with one seed, as a run of a sweep: it goes on where it was killed."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from kd.checkpoints import load_checkpoint, save_checkpoint
from kd.complexity import digital_macs, trainable_parameters
from kd.data.catalogue import load
from kd.data.images import DataSplits
from kd.digest import digest
from kd.students import OpticalFrontEnd, OpticalStudent, Student
from kd.training import EpochRecord, TrainingSettings, evaluate, fit
from optics4f.field import intensity

from .paper_finish import FIRST, first_stage
from .paper_pixels import read_again
from .paper_rows import PAPER_ROWS, PaperRow
from .paper_settings import PaperSettings, fingerprint, load_paper
from .paper_teachers import data_digest, taken_from_elsewhere
from .runs import provenance, write_json
from .training_device import training_device

EVALUATION_SEED = 0  # of the camera noise that test images see, the same for all rows
LINEAR_TO = 1e-4


@dataclass(frozen=True)
class RowTask:
    """What the rows of one kind of labels have of their own.

    Attributes:
        rows: What there is to train.
        data: Settings to images, refused where their labels are of another kind.
        chosen_by: By what an epoch is chosen: its name in the results, and in the record of the training.
        measured: Model and data to what is read from the test images.
        behind: What stands behind the front end, for messages.
    """

    rows: Mapping[str, PaperRow]
    data: Callable[[PaperSettings], DataSplits]
    chosen_by: tuple[str, str]
    measured: Callable[[nn.Module, DataSplits], dict[str, Any]]
    behind: str


def paper_row(config: str, row: str, seed: int, *, folder: str, settings: str | None = None) -> dict[str, Any]:
    """Train one row with one seed, keep its checkpoint, read the test set once.

    Args:
        config: TOML file of the table, on a path that every worker sees.
        row: A key of ``PAPER_ROWS``.
        seed: Of weights, masks, batches and noise.
        folder: Where checkpoints and the state of unfinished runs are; holds the teacher's checkpoint for a row that
            is taught.
        settings: Fingerprint that the file must have.

    Returns:
        One line of the results. A teacher tells the digest of its ``weights``, a taught row whose it was ``taught_by``.
        ``commits`` are those of the processes that made it, in order and without repetitions,
        ``commit`` is the last of them; ``duration_seconds`` is the training of all of them and what the last one did
        besides.
    """
    return run_row(CLASSES, config, row, seed, folder=folder, settings=settings)


def run_row(
    task: RowTask, config: str, row: str, seed: int, *, folder: str, settings: str | None = None
) -> dict[str, Any]:
    """:func:`paper_row` for any kind of labels.

    Raises:
        ValueError: An unknown row, a file that has changed, labels of another kind.
        RuntimeError: A row that should be linear is not.
    """
    if row not in task.rows:
        raise ValueError(f"row must be one of {', '.join(task.rows)}, got {row!r}.")
    configuration, made, start = load_paper(config), task.rows[row], time.perf_counter()
    mark = fingerprint(configuration.text)
    if settings not in (None, mark):
        raise ValueError(f"{config} must stay as it was when the runs were started. Start again.")
    settings = configuration.settings
    data = task.data(settings)
    model = made.build(settings, data, seed)
    teacher = None
    if made.taught:
        teacher = task.rows["teacher"].build(settings, data, seed)
        load_checkpoint(checkpoint(folder, "teacher", seed), teacher)
    options = {"row": row, "seed": seed, "teacher": teacher, "folder": Path(folder)}
    metrics, here = _in_stages(task, model, data, settings, **options)
    found = {
        "dataset": settings.data.name,
        "row": row,
        "seed": seed,
        **task.measured(model, data),
        task.chosen_by[0]: metrics[task.chosen_by[0]],
        "epoch": metrics.get("epoch"),
        **({"weights": digest(model.state_dict())} if row == "teacher" else {}),
        **{key: metrics[key] for key in ("taught_by", "trained_for_another_table", "first_stage") if key in metrics},
        "images": {name: len(getattr(data, name)) for name in ("train", "validation", "test")},
        **described(model, data),
        "settings": mark,
        "commits": metrics["commits"],
        "commit": metrics["commits"][-1],
        "training_seconds": metrics.get("training_seconds"),
        "device": metrics.get("device", "cpu"),
    }
    if isinstance(model, OpticalStudent):
        found |= read_again(model, settings, lambda s: made.build(s, data, seed), lambda m: task.measured(m, data))
    if made.linear:
        found["front_end_nonlinearity"] = nonlinearity(model, data)
        if not found["front_end_nonlinearity"] <= LINEAR_TO:  # nor is nan linear
            raise RuntimeError(
                f"{row} must be linear before its {task.behind}, got {found['front_end_nonlinearity']:.2g}."
            )
    # An early checkpoint does not tell how long its training took: then this is the time of the process alone.
    found["duration_seconds"] = time.perf_counter() - start - here + (metrics.get("training_seconds") or 0.0)
    return found


def _in_stages(
    task: RowTask,
    model: nn.Module,
    data: DataSplits,
    settings: PaperSettings,
    *,
    row: str,
    seed: int,
    teacher: nn.Module | None,
    folder: Path,
) -> tuple[dict[str, Any], float]:
    """Train ``model``, or load it; a physical one in two stages where the settings have a last one."""
    name = f"{row}-{seed}"
    options = {"seed": seed, "teacher": teacher, "folder": folder}
    coarse = first_stage(settings) if isinstance(model, OpticalStudent) else None
    if coarse is None:
        schedule = settings.teacher if row == "teacher" else settings.student
        return _trained(task, model, data, settings, schedule, name=name, **options)
    earlier = 0.0
    if (folder / f"{name}.state").exists() or not checkpoint(folder, row, seed).exists():
        start = task.rows[row].build(coarse, data, seed)
        before, earlier = _trained(task, start, data, settings, settings.student, name=name + FIRST, **options)
        by = None if teacher is None else digest(teacher.state_dict())
        if before.get("taught_by") != by:
            raise ValueError(
                f"{folder / (name + FIRST)}.safetensors must be taught by the teacher beside it, got another's. Remove "
                "it, and it is trained again."
            )
        model.load_state_dict(start.state_dict())
        options["before"] = before
    metrics, here = _trained(task, model, data, settings, settings.finish, name=name, **options)
    return metrics, earlier + here


def _trained(
    task: RowTask,
    model: nn.Module,
    data: DataSplits,
    settings: PaperSettings,
    schedule: TrainingSettings,
    *,
    name: str,
    seed: int,
    teacher: nn.Module | None,
    folder: Path,
    before: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], float]:
    """Train ``model``, or load what was trained: what stands beside its weights, and the seconds of it of this process.

    Commits of unfinished runs are kept in a file of their own, from the start of each process: the state is that of the
    training alone, and is written later. What stands beside the weights of a stage ``before`` goes into its own.
    """
    state, kept = folder / f"{name}.state", folder / f"{name}.safetensors"
    pieces, now, seconds = folder / f"{name}.commits.json", provenance()["commit"], 0.0
    if kept.exists() and not state.exists():  # trained, but whoever waited for it was killed
        facts = load_checkpoint(kept, model)
        pieces.unlink(missing_ok=True)
        commits = _then(facts["metrics"].get("commits", [facts["commit"]]), now)
        elsewhere = {"trained_for_another_table": True} if taken_from_elsewhere(facts["config"], settings) else {}
        return facts["metrics"] | {"commits": commits} | elsewhere, 0.0
    commits = [] if before is None else before["commits"]
    if state.exists():  # a process that left none is no part of what goes on
        commits = json.loads(pieces.read_text()) if pieces.exists() else [*commits, "unknown"]
    write_json(pieces, commits := _then(commits, now))

    def count(record: EpochRecord) -> None:
        nonlocal seconds
        seconds += record["seconds"]

    options = {"progress": False, "label": name.split("-")[0], "on_epoch": count, "state_file": state}
    device = training_device()
    teacher = None if teacher is None else teacher.to(device)
    history = fit(model.to(device), data, schedule, seed=seed, teacher=teacher, **options)
    model.cpu()  # what is kept, and all that is read from it, does not depend on the device's rounding
    best = next(record for record in history if record["restored"])
    trained = sum(record["seconds"] for record in history)
    told = (task.chosen_by[0], "epoch", "device", "trained_for_another_table")  # of the stage before
    metrics = {
        task.chosen_by[0]: best[task.chosen_by[1]],
        "epoch": best["epoch"],
        "training_seconds": trained + ((before or {}).get("training_seconds") or 0.0),
        "commits": commits,
        "device": device.type,
        "data": data_digest(data),
        **({} if teacher is None else {"taught_by": digest(teacher.state_dict())}),
        **({} if before is None else {"first_stage": {key: before[key] for key in told if key in before}}),
    }
    save_checkpoint(kept, model, config=settings.model_dump(mode="json"), seed=seed, metrics=metrics)
    state.unlink(missing_ok=True)
    pieces.unlink(missing_ok=True)
    return metrics, seconds


def _then(commits: Sequence[str], last: str) -> list[str]:
    """The commits in order, each once in a row."""
    return [*commits] if commits and commits[-1] == last else [*commits, last]


def load_data(settings: PaperSettings) -> DataSplits:
    """The images that the settings name.

    Raises:
        ValueError: The bench cannot show them: said before the teacher, whom no bench concerns, has learnt for hours.
    """
    data = load(settings.data.name, **settings.data.options)
    channels, *size = data.train.images.shape[1:]
    shown = [size[0], channels * size[1]]  # colours stand side by side
    if list(settings.bench.object.shape) != shown:
        raise ValueError(
            f"bench.object.shape must be {shown} for images of {settings.data.name} with {channels} x {size[0]} x "
            f"{size[1]} values, got {list(settings.bench.object.shape)}."
        )
    return data


def _accuracy(model: nn.Module, data: DataSplits) -> dict[str, Any]:
    return {"test_accuracy": evaluate(model, data.test, seed=EVALUATION_SEED).accuracy}


CLASSES = RowTask(PAPER_ROWS, load_data, ("validation_accuracy", "validation_accuracy"), _accuracy, "readout")


def checkpoint(folder: str | Path, row: str, seed: int) -> Path:
    """File of the trained weights."""
    return Path(folder) / f"{row}-{seed}.safetensors"


def described(model: nn.Module, data: DataSplits) -> dict[str, Any]:
    """Electronics and light that one image takes."""
    counted = copy.deepcopy(model)
    if isinstance(counted, OpticalStudent):
        counted.reseed(EVALUATION_SEED)
    found: dict[str, Any] = {
        "parameters": trainable_parameters(model),
        "readout_parameters": trainable_parameters(model.readout) if isinstance(model, Student) else None,
        "digital_macs": digital_macs(counted, tuple(data.test.images.shape[1:])),
    }
    if isinstance(model, OpticalStudent):
        found |= light_of(model, data)
    return found


@torch.no_grad()
def light_of(model: OpticalStudent, data: DataSplits) -> dict[str, float]:
    """Exposures of an image, where its light goes, and what the camera collects.

    ``light_in_window`` is the share of the light behind the masks that lands in the PSF window, ``light_on_camera``
    the share of the shown images' light that lands on the camera. Photons need a quantum efficiency: where nobody
    states one there are electrons alone.
    """
    front, images = model.front_end, data.test.images[:64]
    bench, route = front.bench, front.route
    share = route.window_efficiency() if hasattr(route, "window_efficiency") else None
    frames = bench.camera.integrated(front.light(images))
    electrons = frames.sum((1, 2, 3)).mean().item() * bench.camera.white
    shown = intensity(bench.illumination.encode(front.shown(images))).sum((1, 2, 3)).mean().item()
    pixel, logical = bench.camera.grid.pitch, bench.illumination.pixels_per_logical * bench.illumination.pixels.pitch
    arriving = frames.sum((2, 3)).mean().item() * pixel**2 / (shown * logical**2)
    sensor = bench.camera.sensor
    found = {"exposures": front.exposures, "exposure": bench.camera.exposure}
    found |= {"electrons_per_image": electrons, "light_on_camera": arriving}
    if sensor is not None and sensor.quantum_efficiency is not None:
        found["photons_per_image"] = electrons / sensor.quantum_efficiency
    if share is not None:
        found |= {"light_in_window": share.mean().item(), "light_in_window_least": share.min().item()}
    return found


@torch.no_grad()
def nonlinearity(model: Student, data: DataSplits) -> float:
    """Relative deviation of the front end from f(a + 2 b) = f(a) + 2 f(b) on test images; 0 for a linear one.

    Of an optical front end what its camera gives on average, below saturation and before it is rounded.
    """
    a, b = data.test.images[:16], data.test.images[16:32]
    front = model.front_end.eval()
    if isinstance(front, OpticalFrontEnd):
        front = front.expected
    whole = front(a + 2 * b)
    return ((whole - front(a) - 2 * front(b)).norm() / whole.norm()).item()
