"""A thin lens."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..field import Field
from ..modulation import phase_modulation
from ..profiles import lens_phase
from ..units import engineering, to_si

if TYPE_CHECKING:
    from ..units import Quantity


class Lens(nn.Module):
    """A thin paraxial lens without losses or edges.

    Args:
        focal_length: Focal length [m]; negative diverges.

    Shape:
        - Input and output: field with ``data`` of shape ``(..., height, width)``.
    """

    def __init__(self, focal_length: Quantity) -> None:
        super().__init__()
        self.focal_length = to_si(focal_length, "m", "focal_length")
        if self.focal_length == 0 or not math.isfinite(self.focal_length):
            raise ValueError(f"focal_length must be finite and not 0, got {self.focal_length:g} m.")

    def forward(self, field: Field) -> Field:
        phase = lens_phase(field.grid, field.wavelength, self.focal_length, field.data.device)
        return replace(field, data=field.data * phase_modulation(phase.to(torch.float64)).to(field.data.dtype))

    def extra_repr(self) -> str:
        return f"focal_length={engineering(self.focal_length, 'm')}"
