"""Camera noise from an explicit generator, with gradients through the expectation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

BRIGHT = 1000.0
"""Mean electrons from which :func:`poisson` bends a normal draw: below, its distribution is nearer than that asks."""


class _Delivered(torch.autograd.Function):
    """What a detector delivers for a mean; its gradient is ``gain`` where ``passing``, and zero elsewhere."""

    generate_vmap_rule = True

    @staticmethod
    def forward(mean: Tensor, delivered: Tensor, passing: Tensor, gain: float) -> Tensor:
        return delivered.clone()  # a view could not be changed in place

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple, output: Tensor) -> None:
        _, _, passing, ctx.gain = inputs
        ctx.save_for_backward(passing)
        ctx.save_for_forward(passing)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple:
        (passing,) = ctx.saved_tensors
        return gradient * passing * ctx.gain, None, None, None

    @staticmethod
    def jvp(ctx: torch.autograd.function.FunctionCtx, mean: Tensor, *_: None) -> Tensor:
        (passing,) = ctx.saved_tensors
        return mean * passing * ctx.gain


def delivered(mean: Tensor, drawn: Tensor, passing: Tensor, gain: float = 1.0) -> Tensor:
    """``drawn``, with the gradient of ``gain * mean`` where it is ``passing``, and none elsewhere.

    Args:
        mean: Of what was drawn, any shape.
        drawn: Without a gradient, same shape.
        passing: Whether a little more light would be seen, boolean, same shape.
        gain: Units of ``drawn`` in those of ``mean``.
    """
    return _Delivered.apply(mean, drawn, passing, gain)


@torch.no_grad()
def poisson(rate: Tensor, generator: torch.Generator) -> Tensor:
    r"""Poisson draws, several times as fast as :func:`torch.poisson` on a CPU where all means are large.

    .. math:: n = \mathrm{round}\left( \lambda + \sigma z + \frac{z^2 - 1}{6} + \frac{z - z^3}{72 \sigma} \right),
              \qquad \sigma^2 = \lambda - \tfrac{1}{12}

    for a normal :math:`z` from :data:`BRIGHT` on: the expansion of Cornish and Fisher to the fourth cumulant
    (Abramowitz and Stegun, 26.2.49), whose variance is less by that of the rounding (Sheppard). There its distribution
    function is within 3e-7 of Poisson's. Means below that, and all on an accelerator, are drawn by
    :func:`torch.poisson`.

    Args:
        rate: Means, any shape. One below zero draws none, one that is not finite draws NaN.
        generator: Source of randomness, on the device of ``rate``.

    Returns:
        Whole numbers, same shape and dtype, a tensor of their own.
    """
    if rate.device.type != "cpu":
        # A rate that is negative or no number fails an assertion there, which ends the process's use of the device.
        drawn = torch.poisson(rate.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0).clamp(min=0), generator=generator)
        return drawn.masked_fill_(~rate.isfinite(), math.nan)
    rate = rate.contiguous()
    if not rate.numel():
        return rate.clone()
    low, high = (extreme.item() for extreme in torch.aminmax(rate))
    if -math.inf < low and high < BRIGHT:
        return torch.poisson(rate.clamp(min=0), generator=generator)
    normal = torch.empty_like(rate).normal_(generator=generator)
    square = normal.square()
    deviation = (rate - 1 / 12).clamp_(min=1).sqrt_()
    whole = rate.floor()  # apart: single precision has not the digits to round a large number that is none
    drawn = torch.addcmul(rate - whole, deviation, normal).add_(square, alpha=1 / 6).sub_(1 / 6)
    drawn.addcdiv_(normal.mul_(square.neg_().add_(1)), deviation, value=1 / 72).round_().add_(whole)
    if not low >= BRIGHT:  # of means that are no number both extremes are none
        dim = (rate < BRIGHT).flatten().nonzero()[:, 0]
        drawn.view(-1)[dim] = torch.poisson(rate.flatten()[dim].clamp_(min=0), generator=generator)
    if not (-math.inf < low and high < math.inf):
        drawn.masked_fill_(rate.isinf(), math.nan)
    return drawn


def shot_noise(electrons: Tensor, generator: torch.Generator) -> Tensor:
    """Poisson draw with mean ``electrons`` (:func:`poisson`); the gradient is that of the mean.

    Args:
        electrons: Expected electrons [e-], any shape. Left unchanged. A mean below zero draws none, one that is not
            finite draws NaN.
        generator: Source of randomness, on the device of ``electrons``.

    Returns:
        Whole electrons, same shape and dtype.
    """
    drawn = poisson(electrons.detach(), generator)
    return delivered(electrons, drawn, torch.ones_like(drawn, dtype=torch.bool))


def read_noise(electrons: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Add zero-mean Gaussian noise of standard ``deviation`` [e-] to ``electrons`` [e-] of any shape."""
    if deviation == 0:
        return electrons
    return torch.empty_like(electrons, requires_grad=False).normal_(0, deviation, generator=generator).add_(electrons)
