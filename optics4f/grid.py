"""Where the light is sampled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .units import engineering, to_si

if TYPE_CHECKING:
    from .units import Quantity


@dataclass(frozen=True)
class Grid:
    """A plane of square samples centred on the optical axis.

    Attributes:
        shape: Number of samples ``(height, width)``.
        pitch: Centre-to-centre sample spacing [m]. Accepts a pint quantity or ``"8 um"``.

    Raises:
        ValueError: A shape that is not two positive whole numbers, a pitch that is not a positive length.
    """

    shape: tuple[int, int]
    pitch: float

    def __init__(self, shape: tuple[int, int], pitch: Quantity) -> None:
        shape = tuple(shape)
        if len(shape) != 2 or any(int(n) != n or n < 1 for n in shape):
            raise ValueError(f"shape must be two positive whole numbers (height, width), got {shape}.")
        pitch = to_si(pitch, "m", "pitch")
        if not 0 < pitch < float("inf"):
            raise ValueError(f"pitch must be positive, got {pitch:g} m.")
        object.__setattr__(self, "shape", (int(shape[0]), int(shape[1])))
        object.__setattr__(self, "pitch", pitch)

    @property
    def extent(self) -> tuple[float, float]:
        """Physical ``(height, width)`` of the plane [m], outer edges of the outer samples."""
        return self.shape[0] * self.pitch, self.shape[1] * self.pitch

    def coordinates(self, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Sample positions ``y (height, 1)`` and ``x (1, width)`` [m], float64; index ``n // 2`` is the axis."""
        y, x = ((torch.arange(n, dtype=torch.float64, device=device) - n // 2) * self.pitch for n in self.shape)
        return y[:, None], x[None, :]

    def frequencies(self, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Spatial frequencies ``fy (height, 1)`` and ``fx (1, width)`` [cycles/m], float64, in FFT order."""
        fy, fx = (torch.fft.fftfreq(n, self.pitch, dtype=torch.float64, device=device) for n in self.shape)
        return fy[:, None], fx[None, :]

    def padded(self, factor: int = 2) -> Grid:
        """The same pitch over a window ``factor`` times as wide."""
        return replace(self, shape=(factor * self.shape[0], factor * self.shape[1]))

    def __str__(self) -> str:
        return f"{self.shape[0]} x {self.shape[1]} samples of {engineering(self.pitch, 'm')}"
