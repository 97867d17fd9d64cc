"""The shape of a pixel: gaps that reflect or absorb, mirrors that tilt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from ..modulation import with_reflecting_gaps
from ..units import engineering, to_si
from .base import Effect

if TYPE_CHECKING:
    from ..units import Quantity

Gaps = Literal["reflecting", "absorbing"]


def overlap(samples: int, cells: int, linear: float, like: Tensor) -> Tensor:
    """Share of each sample along one side of a pixel that each cell's active part covers, ``(samples, cells)``.

    Args:
        samples: Along the side.
        cells: Along the side.
        linear: Active share of the side, in its middle.
        like: Of the real type and device wanted.
    """
    edge_of_sample, edge_of_cell = (
        torch.arange(n + 1, dtype=torch.float64, device=like.device) / n - 0.5 for n in (samples, cells)
    )
    edge_of_cell = edge_of_cell.clamp(-linear / 2, linear / 2)
    low = torch.maximum(edge_of_sample[:-1, None], edge_of_cell[:-1])
    high = torch.minimum(edge_of_sample[1:, None], edge_of_cell[1:])
    return (samples * (high - low).clamp(min=0)).to(like.dtype)


def averaged(modulation: Tensor, samples: int, cells: int, linear: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Light that is constant over cells, averaged over the samples of a field.

    Args:
        modulation: Complex factor of the cells, ``(K, H cells, W cells)``.
        samples: Along each side of a pixel.
        cells: Along each side of a pixel.
        linear: Shares ``(y, x)`` of a pixel's sides that are active; the rest is left dark.

    Returns:
        Shape ``(K, H samples, W samples)``.
    """
    if linear == (1, 1) and samples % cells == 0:
        n = samples // cells
        return modulation if n == 1 else modulation.repeat_interleave(n, -2).repeat_interleave(n, -1)
    masks, height, width = modulation.shape
    y, x = (overlap(samples, cells, f, modulation.real).to(modulation.dtype) for f in linear)
    of_pixels = modulation.reshape(masks, height // cells, cells, width // cells, cells)
    fine = torch.einsum("khiwj,ai,bj->khawb", of_pixels, y, x)
    return fine.reshape(masks, height // cells * samples, width // cells * samples)


class FillFactor(Effect):
    r"""Gaps between the pixels: the active area is a rectangle in the middle of each pixel.

    With one sample a pixel the mean over its area is shown, :math:`F m + (1 - F) g`, which has the right zero order,
    :math:`(1 - F)^2` for gaps that reflect (:math:`g = 1`); absorbing ones have :math:`g = 0`. With more samples a
    pixel its area is drawn, grey where its edge crosses a sample, and the diffraction orders are there.

    Args:
        fill: Active share of the area, in (0, 1]; or the linear shares ``(y, x)``.
        gaps: What the rest does.
    """

    name = "fill_factor"

    def __init__(self, fill: float | tuple[float, float], *, gaps: Gaps = "reflecting") -> None:
        super().__init__()
        if gaps not in get_args(Gaps):
            raise ValueError(f"gaps must be one of {', '.join(get_args(Gaps))}, got {gaps!r}.")
        linear = (math.sqrt(fill),) * 2 if isinstance(fill, int | float) and fill > 0 else fill
        pair = isinstance(linear, tuple) and len(linear) == 2
        if not pair or not all(isinstance(f, int | float) and 0 < f <= 1 for f in linear):
            shown = f"{fill:g}" if isinstance(fill, int | float) else fill
            raise ValueError(f"fill_factor must be in (0, 1], got {shown}. A 92 % panel is 0.92.")
        self.linear = linear
        self.area = float(fill) if isinstance(fill, int | float) else linear[0] * linear[1]
        self.gaps = gaps

    def applied(self, modulation: Tensor, samples: int, cells: int = 1) -> Tensor:
        """Pixels with their gaps.

        Args:
            modulation: Complex factor of the active area, ``(K, H cells, W cells)``.
            samples: Of the result along each side of a pixel.
            cells: Of ``modulation`` along each side of a pixel.

        Returns:
            Shape ``(K, H samples, W samples)``.
        """
        if self.area == 1:
            return averaged(modulation, samples, cells)
        if samples == cells == 1:
            dark = self.gaps == "absorbing"
            return self.area * modulation if dark else with_reflecting_gaps(modulation, self.area)
        return averaged(modulation, samples, cells, self.linear) + self.light_of_gaps(modulation, samples, cells)

    def light_of_gaps(self, like: Tensor, samples: int, cells: int) -> Tensor:
        """What the gaps give to each sample: ``(H samples, W samples)`` for ``like`` of ``(K, H cells, W cells)``."""
        y, x = (
            overlap(samples, 1, f, like.real).sum(-1).repeat(n // cells)
            for f, n in zip(self.linear, like.shape[-2:], strict=True)
        )
        active = y[:, None] * x[None, :]
        return torch.zeros_like(active) if self.gaps == "absorbing" else 1 - active

    @property
    def strength(self) -> str:
        linear = "" if self.linear[0] == self.linear[1] else f" (linear {self.linear[0]:g} x {self.linear[1]:g})"
        return f"{self.area:g}{linear}, {self.gaps} gaps"


class MirrorTilt(Effect):
    r"""Mirrors of a DMD that tilt about their diagonal: a blaze within each pixel.

    Light is used in the diffraction order nearest to the direction of the mirrors' reflection; what is left of the ramp
    after that order, :math:`2 p \sin\alpha / (\sqrt{2} \lambda)` less the nearest whole number, along either axis,
    lowers it by :math:`\mathrm{sinc}^2` an axis.

    Args:
        angle: Of a mirror that is on [rad] or "12 deg".
    """

    name = "mirror_tilt"

    def __init__(self, angle: Quantity) -> None:
        super().__init__()
        self.angle = to_si(angle, "rad", "angle")
        if not abs(self.angle) < math.pi / 2:
            raise ValueError(f"angle must be below pi/2, got {self.angle:g} rad.")

    def residue(self, pitch: float, wavelength: float) -> float:
        """Cycles that the ramp has over a pixel, less the order that is used; in [-1/2, 1/2]."""
        cycles = 2 * pitch * math.sin(self.angle) / (math.sqrt(2) * wavelength)
        return cycles - round(cycles)

    def applied(
        self, modulation: Tensor, samples: int, pitch: float, wavelength: float, linear: tuple[float, float]
    ) -> Tensor:
        """Light of the mirrors with their ramp, averaged over the samples of a field; the gaps are left dark.

        Args:
            modulation: Complex factor of the pixels, ``(K, H, W)``.
            samples: Of the result along each side of a pixel.
            pitch: Of the pixels [m].
            wavelength: Of the light [m].
            linear: Shares ``(y, x)`` of a pixel's sides that the mirror has.

        Returns:
            Shape ``(K, H samples, W samples)``.
        """
        cycles = self.residue(pitch, wavelength)
        ramps = (
            self._ramp(cycles, samples, f, modulation).repeat(n)
            for f, n in zip(linear, modulation.shape[-2:], strict=True)
        )
        ramp_y, ramp_x = ramps
        fine = modulation.repeat_interleave(samples, -2).repeat_interleave(samples, -1)
        return fine * ramp_y[:, None] * ramp_x[None, :]

    @staticmethod
    def _ramp(cycles: float, samples: int, linear: float, like: Tensor) -> Tensor:
        """Mean over each sample along one side of exp(2 pi i cycles x) where the mirror is."""
        edges = torch.arange(samples + 1, dtype=torch.float64, device=like.device) / samples - 0.5
        edges = edges.clamp(-linear / 2, linear / 2)
        width, middle = edges.diff(), (edges[1:] + edges[:-1]) / 2
        mean = samples * width * torch.sinc(cycles * width)
        return torch.polar(mean, 2 * math.pi * cycles * middle).to(like.dtype)

    @property
    def strength(self) -> str:
        return engineering(self.angle, "rad")
