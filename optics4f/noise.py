"""Camera noise from an explicit generator, with gradients through the expectation."""

from __future__ import annotations

import torch
from torch import Tensor


def shot_noise(electrons: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson draw with mean ``electrons``; the gradient is that of the mean.

    Args:
        electrons: Expected electrons [e-], any shape. Left unchanged. A mean below zero draws none, one that is not
            finite draws NaN: on CUDA torch asserts that rates are not negative, and a failed assertion ends the
            process's use of the device.
        generator: Source of randomness, on the device of ``electrons``.

    Returns:
        Whole electrons, same shape and dtype.
    """
    rate = electrons.detach().nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).clamp(min=0)
    return electrons + (torch.poisson(rate, generator=generator) - electrons).detach()


def read_noise(electrons: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Add zero-mean Gaussian noise of standard ``deviation`` [e-] to ``electrons`` [e-] of any shape."""
    if deviation == 0:
        return electrons
    draw = torch.empty_like(electrons, requires_grad=False).normal_(0, deviation, generator=generator)
    return electrons + draw
