"""The order in memory in which processors convolve fastest: the channels of a pixel beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def channels_last(*models: nn.Module | None) -> Iterator[None]:
    """Four-dimensional weights ``(out, in, height, width)`` in memory as if their channels were the last axis.

    Shapes and values stay; sums are taken in another order. A convolution follows the order of its weights, so images
    may come in any. Afterwards the weights are in memory as they were before, also where the block raises.

    Args:
        models: Of any kind; ``None`` is passed over.
    """
    weights = [
        weight
        for model in models
        if model is not None
        for weight in model.parameters()
        if weight.ndim == 4 and weight.is_contiguous()
    ]
    _arrange(weights, torch.channels_last)
    try:
        yield
    finally:
        _arrange(weights, torch.contiguous_format)


def _arrange(weights: list[nn.Parameter], order: torch.memory_format) -> None:
    weight: Tensor
    for weight in weights:
        weight.data = weight.data.contiguous(memory_format=order)
