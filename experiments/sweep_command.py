"""``python -m experiments sweep``: all combinations of a TOML file, here or on a cluster."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from rich.console import Console

from optics4f.config import read_toml, validated

from .cluster import DaskWorkers
from .local_pool import LocalPool
from .sweep import Run, Summary, Workers, grid, named, sweep


class RunsFailed(RuntimeError):
    """Some runs of a sweep raised; the others are done."""


class SweepFile(BaseModel):
    """A function, what all its calls share, and the values of each axis.

    ``paths`` names the arguments that are paths: they are meant relative to where the command is run, and given whole
    to workers, which may have been started elsewhere.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    function: str
    fixed: dict[str, Any] = {}
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(min_length=1)
    paths: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _paths_are_arguments(self) -> SweepFile:
        for name in self.paths:
            values = self.axes.get(name, [self.fixed.get(name)])
            if not all(isinstance(value, str) for value in values):
                raise ValueError(f"paths must name arguments of fixed or axes that are strings, got {name}")
        return self

    def runs(self) -> list[Run]:
        """All combinations."""
        fixed = {name: self._whole(name, value) for name, value in self.fixed.items()}
        axes = {name: [self._whole(name, value) for value in values] for name, values in self.axes.items()}
        return grid(self.function, axes, fixed)

    def _whole(self, name: str, value: Any) -> Any:
        return str(Path(value).absolute()) if name in self.paths else value


def load_sweep(path: str | Path) -> SweepFile:
    """Read and check a file for ``python -m experiments sweep``.

    Raises:
        ConfigError: Any defect of the file, in one line.
        ValueError: No such function.
    """
    content, text = read_toml(path)
    found = validated(SweepFile, content, source=str(path), text=text)
    named(found.function)
    return found


def run_sweep(
    path: Path, out: Path, console: Console, *, cluster: str | None = None, workers: int | None = None
) -> Summary:
    """Do the runs of a file that ``out / "results.jsonl"`` does not hold yet.

    Args:
        path: TOML file.
        out: Folder of the results.
        console: For progress and the summary.
        cluster: Address of a Dask scheduler, or its scheduler file; by default the cores of this machine.
        workers: Processes on this machine.

    Raises:
        RunsFailed: Some runs raised, after all others are done.
        ValueError: Both ``cluster`` and ``workers``.
    """
    if cluster is not None and workers is not None:
        raise ValueError("workers must be left out with cluster: a cluster has its own.")
    runs = load_sweep(path).runs()
    place: Workers = LocalPool(workers) if cluster is None else DaskWorkers(cluster)
    summary = sweep(runs, out, place, console)
    console.print(
        f"{summary.done} runs done on {place.name} in {summary.seconds:.1f} s, {summary.skipped} were done before, "
        f"{len(summary.failed)} failed: {out / 'results.jsonl'}"
    )
    if summary.failed:
        error, times = Counter(summary.failed.values()).most_common(1)[0]
        raise RunsFailed(f"{len(summary.failed)} of {len(runs)} runs failed, {times} of them with: {error}")
    return summary
