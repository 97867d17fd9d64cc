"""All rows and seeds of a table, trained in parallel: one process and one thread a model.

With one thread each, the result of a run does not depend on how many cores the machine has.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.pool import Pool
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress
from torch import nn

from kd.checkpoints import load_checkpoint, save_checkpoint
from kd.data.digits import load_digits
from kd.data.images import DataSplits
from kd.training import EpochRecord, evaluate, fit
from optics4f.console import spared_from_ctrl_c

from .processes import end_with_parent, terminated_like_ctrl_c
from .progress import progress
from .rows import ROWS
from .settings import DemoSettings

EVALUATION_SEED = 0  # of the camera noise that test images see, the same for all rows

_updates: multiprocessing.Queue | None = None  # set in each worker


@dataclass(frozen=True)
class Task:
    """One model to train."""

    settings: DemoSettings
    row: str
    seed: int
    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Where its weights go."""
        return self.folder / f"{self.row}-{self.seed}.safetensors"


def load_data(settings: DemoSettings) -> DataSplits:
    """The images that the settings name, at the size of the object."""
    return load_digits(size=settings.bench.object.shape[0], split_seed=settings.data.split_seed)


def trained(settings: DemoSettings, data: DataSplits, row: str, seed: int, folder: Path) -> nn.Module:
    """A model with the weights of its checkpoint."""
    task = Task(settings, row, seed, folder)
    model = ROWS[row].build(settings, data, seed)
    load_checkpoint(task.checkpoint, model)
    return model


def train(task: Task, on_epoch: Callable[[EpochRecord], None] | None = None) -> float:
    """Train one model, keep its checkpoint, read the test set once.

    Returns:
        Test accuracy.
    """
    settings, row = task.settings, ROWS[task.row]
    data = load_data(settings)
    model = row.build(settings, data, task.seed)
    teacher = trained(settings, data, "teacher", task.seed, task.folder) if row.taught else None
    schedule = settings.teacher if task.row == "teacher" else settings.student
    history = fit(
        model, data, schedule, seed=task.seed, teacher=teacher, progress=False, label=task.row, on_epoch=on_epoch
    )
    accuracy = evaluate(model, data.test, seed=EVALUATION_SEED).accuracy
    kept = next(record for record in history if record["restored"])
    save_checkpoint(
        task.checkpoint,
        model,
        config=settings.model_dump(mode="json", exclude={"cost"}),
        seed=task.seed,
        metrics={"test_accuracy": accuracy, "validation_accuracy": kept["validation_accuracy"]},
    )
    return accuracy


def train_all(settings: DemoSettings, folder: Path, console: Console) -> dict[str, list[float]]:
    """Train every row with every seed; teachers first, for they teach.

    Args:
        settings: What to train.
        folder: Where checkpoints go.
        console: Where progress is shown; one line per finished model where it is no terminal, and a line a minute on
            stderr.

    Returns:
        Test accuracies by row, in the order of the seeds.
    """
    tasks = [Task(settings, row, seed, folder) for row in ROWS for seed in settings.run.seeds]
    waves = ([t for t in tasks if t.row == "teacher"], [t for t in tasks if t.row != "teacher"])
    # The longest first: the last to finish should be short.
    waves[1].sort(key=lambda task: ("physical" not in task.row, not ROWS[task.row].taught))
    workers = min(_cores(), max(map(len, waves)))
    context = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads may hang
    updates = context.Queue()
    accuracies: dict[tuple[str, int], float] = {}
    with (
        terminated_like_ctrl_c(),
        progress(console) as bar,
        _started(context, workers, updates) as pool,  # ended, whatever happens
    ):
        overall = bar.add_task(f"{len(tasks)} models, {workers} at a time", total=len(tasks))
        bars: dict[tuple[str, int], int] = {}
        for wave in waves:
            pending = {(task.row, task.seed): pool.apply_async(_train_in_worker, (task,)) for task in wave}
            while pending:
                _show(bar, bars, updates)
                for key in [key for key, result in pending.items() if result.ready()]:
                    accuracies[key] = pending.pop(key).get()
                    bar.advance(overall)
                    if key in bars:
                        bar.remove_task(bars.pop(key))
                    bar.console.print(f"{key[0]:<13} seed {key[1]}  test accuracy {accuracies[key]:.2%}")
    return {row: [accuracies[row, seed] for seed in settings.run.seeds] for row in ROWS}


def _cores() -> int:
    """Cores that this process may use, as far as the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _show(bar: Progress, bars: dict[tuple[str, int], int], updates: multiprocessing.Queue) -> None:
    """Draw what workers report for a moment: epoch, loss, accuracy of each model in training."""
    try:
        row, seed, epochs, record = updates.get(timeout=0.2)
    except queue.Empty:
        return
    if bar.disable:
        return
    key = (row, seed)
    if key not in bars:
        bars[key] = bar.add_task("", total=epochs)
    text = f"  {row} {seed}: loss {record['loss']:.3f}, train {record['train_accuracy']:.1%}"
    if record["validation_accuracy"] is not None:
        text += f", validation {record['validation_accuracy']:.1%}"
    bar.update(bars[key], completed=record["epoch"], description=text)


def _started(context: multiprocessing.context.SpawnContext, workers: int, updates: multiprocessing.Queue) -> Pool:
    with spared_from_ctrl_c():
        return context.Pool(workers, initializer=_start_worker, initargs=(updates,))


def _start_worker(updates: multiprocessing.Queue) -> None:
    global _updates
    _updates = updates
    end_with_parent()
    torch.set_num_threads(1)


def _train_in_worker(task: Task) -> float:
    epochs = (task.settings.teacher if task.row == "teacher" else task.settings.student).epochs
    return train(task, lambda record: _updates.put((task.row, task.seed, epochs, dict(record))))
