"""Runs that the tests of sweeps do in other processes."""

import os
import signal
import sys
import time
from pathlib import Path

import torch


def noise(seed: int, size: int, pause: float = 0.0) -> dict:
    """Something that depends on its arguments only, and on every digit of them."""
    time.sleep(pause)
    values = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return {"mean": values.mean().item(), "largest": values.max().item()}


def noted(seed: int, folder: str, pause: float = 0.0) -> int:
    """Leaves a file each time that it is done."""
    (Path(folder) / f"{seed}-{time.monotonic_ns()}").touch()
    time.sleep(pause)
    return seed**2


def dies(seed: int, folder: str, times: int) -> int:
    """Kills its process, so many times; then it is done."""
    tombstones = Path(folder)
    if len(list(tombstones.glob(f"{seed}-*"))) < times:
        (tombstones / f"{seed}-{time.monotonic_ns()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return seed


def fails(seed: int) -> int:
    """Raises for odd seeds."""
    if seed % 2:
        raise ValueError(f"seed must be even,\ngot {seed}.")
    return seed


def threads(seed: int) -> int:
    """How many threads torch has."""
    return torch.get_num_threads()


def not_a_number(seed: int) -> float:
    """What JSON has no word for."""
    return float("nan")


def leaves(seed: int) -> None:
    """Ends Python."""
    sys.exit(seed)


def interrupted(seed: int) -> None:
    """Raises what Ctrl-C does."""
    raise KeyboardInterrupt


def pair(seed: int) -> tuple:
    """A kind that JSON does not know, and that only its own process could read."""

    class Own(tuple):
        pass

    return Own((seed, 2 * seed))


def reads(config: str, seed: int) -> list:
    """What a file says."""
    return [Path(config).read_text(), seed]
