"""Randomness that torch only takes from its global generator: initial weights and dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def initialised_with(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Torch's global generator, initialised with ``seed`` inside the block and given back untouched.

    ``nn.Linear(...)`` and ``nn.Dropout`` take no generator; everything that does should get one instead.

    Args:
        seed: Seed of the CPU generator and of the one on ``device``.
        device: An accelerator whose generator is set aside as well.

    Example:
        >>> with initialised_with(0):
        ...     layer = torch.nn.Linear(3, 2)
    """
    accelerators = [] if device is None or device.type == "cpu" else [device]
    device_type = accelerators[0].type if accelerators else "cuda"
    with torch.random.fork_rng(devices=accelerators, device_type=device_type):
        torch.manual_seed(seed)  # inside the fork: the caller's stream is not disturbed
        yield
