"""``python -m experiments sweep``: all combinations of a TOML file, here or on a cluster."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console

from optics4f.config import read_toml, validated

from .cluster import DaskWorkers
from .local_pool import LocalPool
from .sweep import Run, Summary, Workers, grid, named, sweep


class RunsFailed(RuntimeError):
    """Some runs of a sweep raised; the others are done."""


class SweepFile(BaseModel):
    """A function, what all its calls share, and the values of each axis."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    function: str
    fixed: dict[str, Any] = {}
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(min_length=1)

    def runs(self) -> list[Run]:
        """All combinations."""
        return grid(self.function, self.axes, self.fixed)


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
