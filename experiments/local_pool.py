"""Runs on the cores of this machine, in processes of their own; one that dies takes no result with it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from optics4f.console import spared_from_ctrl_c

from .processes import end_with_parent
from .sweep import Outcome, Run, perform_on_one_thread

ATTEMPTS = 3  # of a run alone, before it is given up


class LocalPool:
    """Processes on this machine.

    Python's pool ends as a whole where one of its processes dies, and does not say whose fault it was. The runs that
    were under way are then taken up by a new pool; one that was under way twice is done alone, after all others, and
    given up where that kills three processes more.

    Args:
        workers: Processes at a time; as many as this process may use cores by default.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}.")
        self.workers = workers or _cores()

    @property
    def name(self) -> str:
        """For a progress bar."""
        return f"{self.workers} processes"

    def outcomes(self, runs: Sequence[Run]) -> Iterator[Outcome]:
        """Do all runs; see :class:`experiments.sweep.Workers`."""
        waiting = list(runs)
        alone: list[Run] = []
        interrupted: set[str] = set()
        while waiting:
            waiting = yield from self._with_one_pool(waiting, self.workers)
            under_way, later = waiting[: self.workers], waiting[self.workers :]
            alone += [run for run in under_way if run.key in interrupted]
            waiting = [run for run in under_way if run.key not in interrupted] + later
            interrupted |= {run.key for run in under_way}
        for run in alone:
            for _ in range(ATTEMPTS):
                if not (yield from self._with_one_pool([run], 1)):
                    break
            else:
                yield Outcome(run.key, error=f"{ATTEMPTS} processes died of it alone, as they do for want of memory")

    def _with_one_pool(self, runs: Sequence[Run], workers: int) -> Generator[Outcome, None, list[Run]]:
        """Outcomes until all is done or the pool breaks; returns what has none, the first of it under way."""
        context = multiprocessing.get_context("spawn")  # a fork of a process with torch's threads may hang
        others = {child.pid for child in multiprocessing.active_children()}
        pool = ProcessPoolExecutor(min(workers, len(runs)), mp_context=context, initializer=end_with_parent)
        lost = set()
        complete = False
        try:
            pending: dict[Future, Run] = {}
            with spared_from_ctrl_c():
                for run in runs:
                    try:
                        pending[pool.submit(_perform, run)] = run
                    except BrokenProcessPool:  # a process died before all was handed over
                        lost.add(run.key)
            while pending:
                finished, _ = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    run = pending.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        lost.add(run.key)
                    else:
                        yield future.result()
            complete = True
        finally:
            pool.shutdown(wait=complete, cancel_futures=True)
            if not complete:  # Ctrl-C or SIGTERM: the pool would wait for runs that take hours
                for child in multiprocessing.active_children():
                    if child.pid not in others:
                        child.terminate()
        return [run for run in runs if run.key in lost]


def _perform(run: Run) -> Outcome:
    return perform_on_one_thread(run, f"process {os.getpid()}")


def _cores() -> int:
    """Cores that this process may use, as far as the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
