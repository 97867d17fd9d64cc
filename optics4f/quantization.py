"""Rounding to the levels a device can show, with a straight-through gradient."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BLOCK = 2**16  # pixels that are rounded together: they stay in the processor's cache


def quantize_phase(phase: Tensor, bit_depth: int) -> Tensor:
    r"""Round ``phase`` [rad] to the nearest of :math:`2^b` levels :math:`2 \pi k / 2^b`, wrapped to ``[0, 2 pi)``.

    The circle is divided, not the interval: level :math:`2^b` is level 0, so every code
    is a different phase. The gradient is that of the identity (Bengio et al. 2013). The result is, bit for bit, what
    :func:`levels_to_phase` makes of the levels: training and a file of levels see the same light. The shape is kept.
    """
    if phase.is_cpu and phase.numel() > _BLOCK:
        return _QuantizedPhase.apply(phase, bit_depth)
    return _straight_through(levels_to_phase(phase_to_levels(phase.detach(), bit_depth), bit_depth, phase.dtype), phase)


class _QuantizedPhase(torch.autograd.Function):
    """The same numbers for many pixels, a block at a time: doubles of a whole mask would fill the memory."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, phase: Tensor, bit_depth: int) -> Tensor:
        """Rounded phase, shape of ``phase``."""
        result = torch.empty_like(phase, memory_format=torch.contiguous_format)
        step = 2 * math.pi / 2**bit_depth
        for block, out in zip(phase.contiguous().view(-1).split(_BLOCK), result.view(-1).split(_BLOCK), strict=True):
            level = torch.div(block, step).round_().remainder_(2**bit_depth)
            out.copy_(level.double().mul_(step))
        return result

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        """That of the identity."""
        return grad, None


def phase_to_levels(phase: Tensor, bit_depth: int) -> Tensor:
    """Levels ``0 ... 2**bit_depth - 1`` that display ``phase`` [rad] of any shape, as integers."""
    step = 2 * math.pi / 2**bit_depth
    return torch.round(phase / step).long() % 2**bit_depth


def levels_to_phase(levels: Tensor, bit_depth: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Phase [rad] in ``[0, 2 pi)`` that integer ``levels`` of any shape display."""
    return (levels.double() * (2 * math.pi / 2**bit_depth)).to(dtype)


def quantize_amplitude(amplitude: Tensor, bit_depth: int) -> Tensor:
    r"""Round ``amplitude`` to the nearest of :math:`k / (2^b - 1)`, both ends included.

    Values outside ``[0, 1]`` show the nearer end, as a passive device must; the gradient is that
    of the identity everywhere, so a pixel that left the interval can come back. The shape is kept.
    """
    levels = amplitude_to_levels(amplitude.detach(), bit_depth)
    return _straight_through(levels_to_amplitude(levels, bit_depth, amplitude.dtype), amplitude)


def amplitude_to_levels(amplitude: Tensor, bit_depth: int) -> Tensor:
    """Levels ``0 ... 2**bit_depth - 1`` that display ``amplitude`` of any shape, as integers."""
    return torch.round(amplitude.clamp(0, 1) * (2**bit_depth - 1)).long()


def levels_to_amplitude(levels: Tensor, bit_depth: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Amplitude in ``[0, 1]`` that integer ``levels`` of any shape display."""
    return (levels.double() / (2**bit_depth - 1)).to(dtype)


def _straight_through(rounded: Tensor, exact: Tensor) -> Tensor:
    """The values of ``rounded``, to the last bit, with the gradient of ``exact``."""
    return rounded + (exact - exact.detach())


def neighbours(phase: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The two levels between which a phase lies on the circle, and how far it is from the first to the second.

    Args:
        phase: Wanted [rad], any shape.
        table: Phase of each level [rad], shape ``(levels,)``, in any order.

    Returns:
        Levels ``lower`` and ``upper``, integers of the shape of ``phase``, and the fraction in [0, 1], differentiable
        in ``phase``. The nearest level is ``upper`` where the fraction is at least 1/2.
    """
    circle = 2 * math.pi
    on_circle, order = torch.sort(torch.remainder(table.to(phase), circle))
    wanted = torch.remainder(phase, circle)
    count = len(table)
    above = torch.searchsorted(on_circle, wanted.detach().contiguous(), right=True)  # 0 ... count
    below = (above - 1) % count
    above = above % count
    start = on_circle[below]
    gap = torch.remainder(on_circle[above] - start, circle)
    gap = torch.where(gap > 0, gap, circle)  # a single level, or all of them alike
    # The remainder's own gradient is 1; a phase below the first level comes from beyond the last.
    fraction = torch.remainder(wanted - start, circle) / gap
    return order[below], order[above], fraction.clamp(0, 1)


def nearest_levels(phase: Tensor, table: Tensor) -> Tensor:
    """Level whose phase in ``table`` is nearest to ``phase`` [rad] on the circle, as integers of its shape."""
    lower, upper, fraction = neighbours(phase.detach(), table)
    return torch.where(fraction >= 0.5, upper, lower)
