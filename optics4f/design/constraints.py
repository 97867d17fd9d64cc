"""What a device can show: the modulation nearest to a wanted field, pixel by pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..modulation import phase_modulation
from ..quantization import quantize_amplitude


@dataclass(frozen=True, eq=False)
class PhaseOnly:
    """A phase-only device.

    Attributes:
        levels: Number of equal steps of the circle (256 for 8 bits, 2 for a binary mask), or the device's own table of
            phases [rad], shape ``(levels,)``, in any order; ``None`` is continuous.
    """

    levels: int | Tensor | None = None

    def __post_init__(self) -> None:
        if isinstance(self.levels, Tensor):
            if self.levels.dim() != 1 or len(self.levels) < 2 or not torch.isfinite(self.levels).all():
                shape = tuple(self.levels.shape)
                raise ValueError(f"levels must be a table of at least 2 finite phases, got shape {shape}.")
        elif self.levels is not None and (isinstance(self.levels, bool) or self.levels < 2):
            raise ValueError(f"levels must be at least 2, got {self.levels}. Use None for a continuous phase.")

    @property
    def count(self) -> float:
        """Number of levels; inf where there are none."""
        if self.levels is None:
            return math.inf
        return self.levels if isinstance(self.levels, int) else len(self.levels)

    def values(self, field: Tensor) -> Tensor:
        """Phase [rad] to show for a wanted field; the nearest level on the circle where there are levels."""
        phase = field.angle()
        return phase if self.levels is None else self._rounded(phase)

    def modulation(self, values: Tensor) -> Tensor:
        """Complex factor of a mask of phases [rad]."""
        return phase_modulation(values)

    def nearest(self, field: Tensor, amplitude: Tensor) -> Tensor:
        """Light nearest to ``field`` behind a continuous device that is lit with a real ``amplitude``."""
        # Faster than sgn, angle or abs of a complex. A pixel of no wanted light stays dark until the next iteration.
        square = torch.addcmul(field.real * field.real, field.imag, field.imag)
        return field * square.clamp_(min=torch.finfo(square.dtype).tiny).rsqrt_().mul_(amplitude)

    def _rounded(self, phase: Tensor) -> Tensor:
        if isinstance(self.levels, int):
            step = 2 * math.pi / self.levels
            return torch.remainder(torch.round(phase / step), self.levels) * step
        table, order = torch.remainder(self.levels.to(phase.device, phase.dtype), 2 * math.pi).sort()
        phase = torch.remainder(phase, 2 * math.pi)
        index = torch.bucketize(phase, (table[1:] + table[:-1]) / 2)
        across = (table[-1] + table[0]) / 2 + math.pi  # between the last level and the first, a turn later
        index = torch.where(phase > across, 0, index)
        index = torch.where(phase < across - 2 * math.pi, len(table) - 1, index)
        return self.levels.to(phase.device, phase.dtype)[order[index]]


@dataclass(frozen=True, eq=False)
class AmplitudeOnly:
    """An amplitude-only device, of real factors in [0, 1]; fields, masks and amplitudes are ``(..., height, width)``.

    Its far field is symmetric: each spot has a twin across the zero order, and most of the light stays in that order.

    Attributes:
        levels: Number of equal steps from 0 to 1, both included, a power of 2 (2 for a micromirror device, 256 for 8
            bits); ``None`` is continuous.
    """

    levels: int | None = None

    def __post_init__(self) -> None:
        if self.levels is not None and (self.levels < 2 or self.levels & (self.levels - 1)):
            raise ValueError(f"levels must be a power of 2, got {self.levels}. Use None for a continuous amplitude.")

    @property
    def count(self) -> float:
        """Number of levels; inf where there are none."""
        return math.inf if self.levels is None else self.levels

    def values(self, field: Tensor) -> Tensor:
        """Amplitude to show for a wanted field in units of the illumination."""
        amplitude = field.real.clamp(0, 1)
        return amplitude if self.levels is None else quantize_amplitude(amplitude, self.levels.bit_length() - 1)

    def modulation(self, values: Tensor) -> Tensor:
        """Complex factor of a mask of amplitudes."""
        return torch.complex(values, torch.zeros_like(values))

    def nearest(self, field: Tensor, amplitude: Tensor) -> Tensor:
        """Light nearest to ``field`` behind a continuous device that is lit with a real ``amplitude``."""
        shown = torch.minimum(field.real.clamp(min=0), amplitude)
        return torch.complex(shown, torch.zeros_like(shown))


Constraint = PhaseOnly | AmplitudeOnly
