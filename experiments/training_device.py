"""On what a table's rows are trained: the command says it, and its processes are told by the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# A finished row is the same row wherever it was trained: this is no part of what tells runs apart.
ENVIRONMENT = "OPTICS4F_DEVICE"


def training_device() -> torch.device:
    """What ``$OPTICS4F_DEVICE`` names; the processor where it names nothing.

    Raises:
        ValueError: torch knows no such device, or has none here.
    """
    name = os.environ.get(ENVIRONMENT) or "cpu"
    advice = f"device must be one that torch can compute on here, such as cpu or cuda, got {name}."
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # of meta, which has no numbers, none come back
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise ValueError(f"{advice} torch says: {' '.join(str(error).split()) or 'no reason'}") from error
    return device


@contextmanager
def on_device(name: str | None) -> Iterator[None]:
    """Let rows be trained there, in processes that are started meanwhile too; ``None`` changes nothing."""
    before = os.environ.get(ENVIRONMENT)
    if name is not None:
        os.environ[ENVIRONMENT] = name
    try:
        yield
    finally:
        os.environ.pop(ENVIRONMENT, None)
        if before is not None:
            os.environ[ENVIRONMENT] = before
