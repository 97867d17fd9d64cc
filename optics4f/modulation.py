"""What one SLM pixel does to the light, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor


def phase_modulation(phase: Tensor) -> Tensor:
    """``exp(i phase)``: more phase is more delay. Real ``phase`` [rad], complex result of the same shape."""
    return torch.complex(torch.cos(phase), torch.sin(phase))  # faster than polar, and than exp of a complex


def with_reflecting_gaps(modulation: Tensor, fill_factor: float) -> Tensor:
    r"""Mean factor of a pixel whose active area is modulated and whose gaps reflect unchanged.

    .. math:: m = F e^{i \phi} + (1 - F)

    It feeds the zero order with :math:`(1 - F)^2` of the power (``F`` is the share of the *area*). One sample a pixel
    shows the zero order and no higher diffraction orders of the gaps.

    Args:
        modulation: Complex factor of the active area, any shape.
        fill_factor: Active share of the pixel area, in ``(0, 1]``.
    """
    return modulation if fill_factor == 1 else fill_factor * modulation + (1 - fill_factor)
