"""A row of the demo's table as one run of a sweep."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kd.training import TrainingSettings

from .rows import ROWS
from .settings import DemoSettings, load_configuration
from .training_pool import Task, train


def train_row(
    config: str,
    row: str,
    seed: int,
    *,
    epochs: int | None = None,
    bit_depth: int | None = None,
    fill_factor: float | None = None,
) -> dict[str, Any]:
    """Train one row of ``python -m experiments demo`` with one seed and read the test set once.

    Args:
        config: The demo's TOML file, on a path that every worker sees.
        row: Which row.
        seed: Of weights, masks and batches.
        epochs: In place of the file's, for teacher and student.
        bit_depth: In place of the SLM's.
        fill_factor: In place of the SLM's.

    Returns:
        ``test_accuracy``; and ``teacher_accuracy`` where a teacher is taught first.

    Raises:
        ValueError: No such row.
    """
    if row not in ROWS:
        raise ValueError(f"row must be one of {', '.join(ROWS)}, got {row!r}.")
    settings = _changed(load_configuration(config).settings, epochs, bit_depth, fill_factor)
    found = {}
    with TemporaryDirectory() as folder:
        if ROWS[row].taught:
            found["teacher_accuracy"] = train(Task(settings, "teacher", seed, Path(folder)))
        found["test_accuracy"] = train(Task(settings, row, seed, Path(folder)))
    return found


def _changed(
    settings: DemoSettings, epochs: int | None, bit_depth: int | None, fill_factor: float | None
) -> DemoSettings:
    slm = {name: value for name, value in (("bit_depth", bit_depth), ("fill_factor", fill_factor)) if value is not None}
    bench = settings.bench.model_copy(update={"slm": type(settings.bench.slm)(**dict(settings.bench.slm) | slm)})
    return settings.model_copy(
        update={"bench": bench, "teacher": _for(settings.teacher, epochs), "student": _for(settings.student, epochs)}
    )


def _for(schedule: TrainingSettings, epochs: int | None) -> TrainingSettings:
    return schedule if epochs is None else type(schedule)(**dict(schedule) | {"epochs": epochs})
