"""Many runs, each once: on the cores of this machine, or on a Dask cluster; what is finished is not run again."""

from __future__ import annotations

import hashlib
import importlib
import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console

from optics4f.files import made_folder

from .processes import terminated_like_ctrl_c
from .progress import progress
from .runs import write_jsonl


@dataclass(frozen=True)
class Run:
    """One call of a function with JSON arguments.

    Attributes:
        function: ``"package.module:name"``, imported where it runs; returns what JSON can hold.
        arguments: Keyword arguments, a seed among them: a run may depend on nothing else.
    """

    function: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Name of the run: the same function with the same arguments is the same run."""
        text = json.dumps([self.function, self.arguments], sort_keys=True, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Outcome:
    """What became of a run in so many ``seconds`` [s]: ``result``, or ``error`` in one line."""

    key: str
    result: Any = None
    error: str | None = None
    seconds: float = 0.0
    worker: str = ""


class Workers(Protocol):
    """Where runs are done: yields the outcome of every run once, in the order in which they finish."""

    name: str

    def outcomes(self, runs: Sequence[Run]) -> Iterator[Outcome]:
        """Do all runs."""


@dataclass
class Summary:
    """How a sweep went, and how long it took: ``seconds`` [s]."""

    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def grid(function: str, axes: Mapping[str, Sequence[Any]], fixed: Mapping[str, Any] | None = None) -> list[Run]:
    """All combinations of the values on the axes, the last axis fastest."""
    return [
        Run(function, dict(fixed or {}) | dict(zip(axes, values, strict=True))) for values in product(*axes.values())
    ]


def sweep(runs: Iterable[Run], out: Path, workers: Workers, console: Console) -> Summary:
    """Do every run whose result ``out / "results.jsonl"`` does not hold yet.

    The file has one line a run, in the order of ``runs`` whatever the order in which they finish, and holds nothing
    but function, arguments and result: it is the same wherever the runs were done. ``timing.jsonl`` says where and
    how long. Both are replaced whole, so that a reader and a power cut find complete lines only. A run that raises
    is told of and left out; started again, it is tried again. Errors that are the same are told of once. Ctrl-C and
    SIGTERM end a sweep in order: what is finished is written.

    Args:
        runs: What to do.
        out: Folder, made if need be. Results of other runs that are there stay.
        workers: Where to do it.
        console: For progress.

    Raises:
        ValueError: Two runs that are the same, or a folder in which another sweep is at work.
    """
    runs = list(runs)
    if len({run.key for run in runs}) < len(runs):
        raise ValueError(f"runs must differ, got {len(runs)} of which {len({r.key for r in runs})} do. Vary the seed.")
    made_folder(out)
    with alone_in(out), terminated_like_ctrl_c():
        store = _Store(out, runs)
        waiting = [run for run in runs if run.key not in store.results]
        summary = Summary(skipped=len(runs) - len(waiting))
        started = time.perf_counter()
        try:
            with progress(console) as bar:
                task = bar.add_task(f"runs on {workers.name}", total=len(runs), completed=summary.skipped)
                for outcome in workers.outcomes(waiting) if waiting else ():
                    if outcome.error is None:
                        store.add(outcome)
                        summary.done += 1
                    else:
                        if outcome.error not in summary.failed.values():
                            bar.console.print(f"run {outcome.key} failed: {outcome.error}", markup=False)
                        summary.failed[outcome.key] = outcome.error
                    bar.advance(task)
        finally:
            store.close()  # what is finished stays finished, whatever ended the sweep
        summary.seconds = time.perf_counter() - started
    return summary


class _Store:
    """Results in memory and, a moment later, in the file: also where the next run takes hours."""

    def __init__(self, out: Path, runs: Sequence[Run]) -> None:
        self.paths = out / "results.jsonl", out / "timing.jsonl"
        self.order = {run.key: run for run in runs}
        old, timing = read_runs(self.paths[0]), _read(self.paths[1], ())
        self.others = {key: row for key, row in old.items() if key not in self.order}
        self.results = {key: row for key, row in old.items() if key in self.order}
        self.timing = timing
        self.changed = False
        self.next_write = 0.0
        self.lock = threading.Lock()
        self.later: threading.Timer | None = None

    def add(self, outcome: Outcome) -> None:
        run = self.order[outcome.key]
        row = {"key": run.key, "function": run.function, "arguments": dict(run.arguments), "result": outcome.result}
        with self.lock:
            self.results[run.key] = row
            self.timing[run.key] = {"key": run.key, "seconds": outcome.seconds, "worker": outcome.worker}
            self.changed = True
        wait = self.next_write - time.perf_counter()
        if wait <= 0:
            self.write()
        elif self.later is None or not self.later.is_alive():
            self.later = threading.Timer(wait, self.write)
            self.later.daemon = True
            self.later.start()

    def write(self) -> None:
        """Replace both files; a long file is written less often, for at most a twentieth of the time."""
        with self.lock:
            if not self.changed:
                return
            started = time.perf_counter()
            keys = [*self.others, *(key for key in self.order if key in self.results)]
            write_jsonl(self.paths[1], (self.timing[key] for key in keys if key in self.timing))
            write_jsonl(self.paths[0], (self.others.get(key) or self.results[key] for key in keys))
            finished = time.perf_counter()
            self.next_write = finished + 20 * (finished - started)
            self.changed = False

    def close(self) -> None:
        """Write what is left; nothing is written after it."""
        if self.later is not None:
            self.later.cancel()
        self.write()


def read_runs(path: Path) -> dict[str, dict]:
    """The finished runs in a sweep's ``results.jsonl`` by their keys; none where there is no file.

    Raises:
        ValueError: A line that is none of a sweep.
    """
    return _read(path, ("function", "arguments", "result"))


def _read(path: Path, needed: Sequence[str]) -> dict[str, dict]:
    if not path.exists():
        return {}
    rows = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            if missing := [name for name in needed if name not in row]:
                raise KeyError(missing[0])
            if needed and not isinstance(row["arguments"], dict):
                raise TypeError("arguments")
            rows[row["key"]] = row
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}:{number} must be a line of a sweep, got {line[:60]!r}. Remove the line, or the file."
            ) from error
    return rows


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """A lock that ends with the process that holds it, even where that is killed."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with (folder / "sweep.lock").open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(f"{folder} must be free, got a sweep at work in it. Wait, or write elsewhere.") from error
        yield


def perform(run: Run, worker: str) -> Outcome:
    """Do one run here. Whatever it raises is an outcome too, in one line: a run that ends Python ends itself only.

    Raises:
        KeyboardInterrupt: Somebody pressed Ctrl-C, or the run raised it: here nobody can tell.
    """
    started = time.perf_counter()
    try:
        result = json.loads(json.dumps(named(run.function)(**run.arguments), allow_nan=False))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return _failure(run, worker, error)
    return Outcome(run.key, result, seconds=time.perf_counter() - started, worker=worker)


def perform_on_one_thread(run: Run, worker: str) -> Outcome:
    """Do one run in a process that nobody's Ctrl-C reaches: an interrupt is the run's own, and an outcome.

    On one thread: a run's result does not depend on the cores of its machine.
    """
    torch.set_num_threads(1)
    try:
        return perform(run, worker)
    except KeyboardInterrupt as error:
        return _failure(run, worker, error)


def _failure(run: Run, worker: str, error: BaseException) -> Outcome:
    words = " ".join(str(error).split()) or "no reason given"
    if isinstance(error, SystemExit):
        words = f"the run ended Python with {words}"
    return Outcome(run.key, error=f"{type(error).__name__}: {words[:300]}", worker=worker)


def named(function: str) -> Any:
    """The function that ``"package.module:name"`` names.

    Raises:
        ValueError: No such module, or no such name in it.
    """
    module, _, name = function.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f'function must be "package.module:name", got "{function}": {error}.') from error


class Here:
    """One run after the other in this process, on one thread each."""

    name = "this process"

    def outcomes(self, runs: Sequence[Run]) -> Iterator[Outcome]:
        """Do all runs; see :class:`Workers`."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for run in runs:
                yield perform(run, self.name)
        finally:
            torch.set_num_threads(threads)
