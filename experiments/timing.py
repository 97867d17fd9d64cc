"""How long and how much memory: cases that take turns in one process, and each case's peak in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from optics4f.console import spared_from_ctrl_c

Step = Callable[[], None]
SLOW = 20.0  # s: slower cases are run three times


@dataclass(frozen=True)
class Timing:
    """Repeated runs of one case.

    Attributes:
        median: Processor time where one thread computes (it leaves out what other programs take), else wall time [s].
        low: Fastest [s].
        high: Slowest [s].
        repetitions: How many.
    """

    median: float
    low: float
    high: float
    repetitions: int


def interleaved(steps: dict[str, Step], repetitions: int, *, device: str = "cpu") -> dict[str, Timing]:
    """Run the cases in turn, in alternating order, so that a slow minute of the machine is shared by all.

    Args:
        steps: What to run, by name; each is run once before, unmeasured.
        repetitions: Measured runs of each; 3 at most of one that takes ``SLOW`` seconds or more.
        device: ``"cuda"`` waits for the device before and after each run.
    """
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    runs = {}
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        runs[name] = repetitions if time.perf_counter() - start < SLOW else min(repetitions, 3)
    taken: dict[str, list[float]] = {name: [] for name in steps}
    for repetition in range(repetitions):
        names = list(steps) if repetition % 2 == 0 else list(reversed(steps))
        for name in names:
            if repetition >= runs[name]:
                continue
            _wait(device)
            start = clock()
            steps[name]()
            _wait(device)
            taken[name].append(clock() - start)
    return {n: Timing(statistics.median(t), min(t), max(t), len(t)) for n, t in taken.items()}


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def peak_memory(build: Callable[..., Step], *arguments: object, device: str = "cpu", steps: int = 2) -> int:
    """Most memory that two steps need beyond what was there before [bytes], transfer functions and such included.

    On a CPU it is the high-water mark of a fresh process; on a GPU that of the allocator.

    Args:
        build: A function of a module, which returns the step.
        arguments: For it.
        device: Where the case runs.
        steps: How many to run.
    """
    if device != "cpu":
        step = build(*arguments)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for _ in range(steps):
            step()
        return torch.cuda.max_memory_allocated() - before
    context = multiprocessing.get_context("spawn")
    with spared_from_ctrl_c():
        pool = context.Pool(1)
    with pool:
        return pool.apply(_peak_here, (build, arguments, steps, torch.get_num_threads()))


def _peak_here(build: Callable[..., Step], arguments: tuple, steps: int, threads: int) -> int:
    torch.set_num_threads(threads)
    step = build(*arguments)
    torch.fft.fft2(torch.zeros(8, 8, dtype=torch.complex64))  # the library's own tables
    before = _resident()
    _forget_high_water()
    for _ in range(steps):
        step()
    return max(0, _high_water() - before)


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _forget_high_water() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _high_water() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
