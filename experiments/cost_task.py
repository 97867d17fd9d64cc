"""The trained student whose cost is asked for: a table of a paper, the rows that are compared, their accuracies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from optics4f.config import ConfigError

from .cost_layout import OpticalTask
from .paper_rows import PAPER_ROWS
from .paper_settings import PaperSettings, load_paper
from .paper_statistics import by_row, gain, spread

Row = Annotated[str, Field(pattern="|".join(f"^{name}$" for name in PAPER_ROWS))]
READOUT = "readout_only"


class TaskTable(BaseModel):
    """A table that was trained, and which of its rows are compared.

    ``paper`` and ``results`` are paths beside the file that names them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    paper: str
    results: str
    optical: Row = "physical_kd"
    digital: tuple[Row, ...] = Field(("teacher", "twin"), min_length=1)


@dataclass(frozen=True)
class TrainedTask:
    """What was trained.

    Attributes:
        table: Which rows of which table.
        paper: The table's settings.
        results: Its lines.
        path: The file of the lines.
    """

    table: TaskTable
    paper: PaperSettings
    results: tuple[Mapping[str, Any], ...]
    path: Path

    @property
    def optical(self) -> OpticalTask:
        """The optics' part of the student."""
        masks = self.paper.bench.slm.masks
        return OpticalTask(
            kernels=masks,
            kernel_size=self.paper.models.kernel_size,
            head_macs=self._student["digital_macs"],
            signed=self._student.get("exposures", masks) > masks,
        )

    @property
    def exposures(self) -> int:
        """Exposures that the trained student takes of an image."""
        return self._student.get("exposures", self.paper.bench.slm.masks)

    @property
    def _student(self) -> Mapping[str, Any]:
        return next(iter(by_row(self.results)[self.table.optical].values()))

    def networks(self, side: int, *, channels: int, classes: int) -> dict[str, nn.Module]:
        """The digital rows and the readout alone, untrained, for images of ``side`` pixels.

        Args:
            side: Height and width of the image [pixels].
            channels: Of the image.
            classes: Of the task.
        """
        # All that rows ask of the data: no image of this size exists.
        data = SimpleNamespace(
            train=SimpleNamespace(images=torch.empty(1, channels, side, side, device="meta")), classes=range(classes)
        )
        rows = dict.fromkeys((*self.table.digital, READOUT))
        return {row: PAPER_ROWS[row].build(self.paper, data, 0).eval() for row in rows}


def load_task(table: TaskTable, path: Path, *, files: Path | None = None) -> TrainedTask:
    """Read and check what a file's table of rows names.

    Args:
        table: The rows.
        path: The file, for messages.
        files: Folder of the paths in it; that of the file itself, behind links.

    Raises:
        ConfigError: Any defect, in one line.
    """
    folder = path.resolve().parent if files is None else files
    found = (folder / table.results).resolve()
    try:
        results = tuple(json.loads(line) for line in found.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: results must be JSON lines of a table, got {found}: {error}.") from error
    for row in (table.optical, *table.digital):
        if row not in by_row(results):
            raise ConfigError(
                f"{path}: {found} must hold a result of row {row}. Train it: python -m experiments paper."
            )
    return TrainedTask(table, load_paper(folder / table.paper).settings, results, found)


def accuracy_rows(task: TrainedTask, macs: Mapping[str, int]) -> list[dict[str, str]]:
    """Accuracy and operations of the optical student and the digital rows, and whether seeds tell them apart.

    The readout alone is among them where it was trained.

    Args:
        task: What was trained.
        macs: Multiply-accumulates of rows, at the size that was trained; others are those of the table.
    """
    lines, optical = by_row(task.results), task.table.optical
    rows = []
    for name in dict.fromkeys((optical, *task.table.digital, *({READOUT} & set(lines)))):
        seeds = lines[name]
        rows.append(
            {
                "network": name,
                "test accuracy [%]": spread([100 * result["test_accuracy"] for result in seeds.values()]),
                "seeds": str(len(seeds)),
                "digital MACs": f"{macs.get(name, next(iter(seeds.values()))['digital_macs']):,}",
                "beside the optical student": "" if name == optical else beside(task.results, name, optical),
            }
        )
    return rows


def beside(results: Sequence[Mapping[str, Any]], name: str, optical: str) -> str:
    """Whether seeds tell a row from the optical student, in words."""
    difference = gain(results, name, optical)
    if difference is None:
        return "too few seeds to tell"
    mean, half = difference
    told = "not told apart" if abs(mean) <= half else "does better" if mean > 0 else "does worse"
    return f"{told}: {mean:+.2f} +- {half:.2f} points (95 %, paired by seed)"
