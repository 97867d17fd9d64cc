r"""Complex fields on real devices: encodings, each with its decoding, efficiency and bandwidth.

An encoding turns a complex mask :math:`f`, :math:`|f| \le 1`, into what a device can show. In the spectrum of what it
shows, around a *carrier* frequency, stands :math:`g f`; an aperture there lets it through (the PSF of a 4f: the place
on the camera to look at). The *gain* :math:`g` says how much light there is, the *bandwidth* how much of the spectrum
is clean.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import ClassVar

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.special import jv
from torch import Tensor

from ..field import intensity
from ..modulation import phase_modulation


@dataclass(frozen=True)
class Encoding(ABC):
    """A way to show a complex field on a device that is lit evenly.

    Attributes:
        carrier: Where the field stands in the spectrum, ``(y, x)`` [cycles/pixel].
        bandwidth: Half the side of the square around the carrier in which a field whose largest amplitude is 1 comes
            back with a relative RMS error of at most 0.1, even if it is noise that fills the square [cycles/pixel].
            Errors do not fade as a field does, except those of ``Arrizon``: scale a field to amplitude 1 (see
            docs/explanation/mask_design.md for what dimmer ones lose).
    """

    bandwidth: ClassVar[float]

    @property
    @abstractmethod
    def gain(self) -> float:
        """Decoded amplitude over the amplitude of the field."""

    @abstractmethod
    def encode(self, field: Tensor) -> Tensor:
        """Values for the device, ``Modulator.values``: phase [rad] or amplitude.

        Args:
            field: Complex, ``|field| <= 1``, shape ``(..., height, width)``; index ``n // 2`` is the axis.
        """

    @abstractmethod
    def modulation(self, values: Tensor) -> Tensor:
        """Complex factor of an ideal device that shows ``values``."""

    def efficiency(self, field: Tensor) -> Tensor:
        """Share of the incident light that ends in the field, ``gain**2 * mean |field|**2``, shape ``(...)``."""
        return self.gain**2 * intensity(checked(field)).mean((-2, -1))

    def decode(self, modulation: Tensor) -> Tensor:
        """The field behind an aperture of the encoding's bandwidth, as if the gain were 1.

        Args:
            modulation: Complex factor of the device, one sample a pixel, shape ``(..., height, width)``: of an ideal
                one, or ``Modulator.modulation()`` with its levels and gaps.

        Returns:
            Complex, shape of ``modulation``.
        """
        shape = tuple(modulation.shape[-2:])
        spectrum = torch.fft.fft2(modulation * phase_modulation(carrier_phase(modulation, self.carrier)).conj())
        fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64, device=modulation.device).abs() for n in shape)
        limit = self.bandwidth * (1 + 1e-9)
        passed = (fy[:, None] <= limit) & (fx[None, :] <= limit)
        return torch.fft.ifft2(spectrum * passed) / self.gain


@dataclass(frozen=True)
class _OnPhase(Encoding):
    def modulation(self, values: Tensor) -> Tensor:
        return phase_modulation(values)


@dataclass(frozen=True)
class _OnMirrors(Encoding):
    def modulation(self, values: Tensor) -> Tensor:
        return torch.complex(values, torch.zeros_like(values))


@dataclass(frozen=True)
class Direct(_OnPhase):
    """The phase of the field; its amplitude is thrown away.

    Exact at any bandwidth for a field of amplitude 1; of another field, ``efficiency`` says what share of the light
    still has its shape.
    """

    carrier: tuple[float, float] = (0.0, 0.0)
    bandwidth: ClassVar[float] = 0.5
    gain: ClassVar[float] = 1.0

    def encode(self, field: Tensor) -> Tensor:
        return checked(field).angle() + carrier_phase(field, self.carrier)

    def efficiency(self, field: Tensor) -> Tensor:
        """Share of the light that has the shape of the field, ``mean(|field|)**2 / mean(|field|**2)``."""
        power = intensity(checked(field))
        return power.sqrt().mean((-2, -1)).square() / power.mean((-2, -1))


@dataclass(frozen=True)
class DoublePhase(_OnPhase):
    r"""Two phases side by side whose mean is the field (Hsueh and Sawchuk 1978), on a chequerboard.

    .. math:: a e^{i \varphi} = \tfrac{1}{2} \left( e^{i(\varphi + \delta)} + e^{i(\varphi - \delta)} \right), \qquad
              \delta = \arccos a

    The field stands on the axis with all of its light; the difference of the two stands at the corner of the spectrum.
    """

    carrier: ClassVar[tuple[float, float]] = (0.0, 0.0)
    bandwidth: ClassVar[float] = 1 / 12
    gain: ClassVar[float] = 1.0

    def encode(self, field: Tensor) -> Tensor:
        amplitude = intensity(checked(field)).sqrt().clamp(max=1)
        y, x = pixels(field)
        return field.angle() + torch.arccos(amplitude) * (1 - 2 * ((y[:, None] + x[None, :]) % 2)).to(amplitude)


@dataclass(frozen=True)
class Arrizon(_OnPhase):
    r"""Phase-only hologram of a limited stroke (Arrizon, Ruiz, Carrada and Gonzalez 2007, the one of :math:`J_1`).

    .. math:: \psi = h(a) \sin(\varphi + 2 \pi u \cdot x), \qquad J_1(h(a)) = a \, \max J_1

    The first order holds the field with an amplitude of 0.5819, 33.9 % of the light for ``a = 1``. The phase stays
    within +-1.841 rad, so a device of 1.17 pi is enough.

    Attributes:
        carrier: ``(y, x)`` [cycles/pixel]; the default keeps the other orders, folded back by the pixels, away.
    """

    carrier: tuple[float, float] = (1 / 6, 0.4)
    bandwidth: ClassVar[float] = 1 / 8
    stroke: ClassVar[float] = 1.8411837813406593  # where J_1 is largest, the first zero of its derivative

    @property
    def gain(self) -> float:
        """The largest value of ``J_1``, 0.5819."""
        return float(jv(1, self.stroke))

    def encode(self, field: Tensor) -> Tensor:
        amplitude = intensity(checked(field)).sqrt().clamp(max=1)
        depths = np.linspace(0, self.stroke, 8193)
        curve = torch.from_numpy(jv(1, depths) / self.gain).to(amplitude.device)
        depth = _interpolated(amplitude.double(), curve, torch.from_numpy(depths).to(amplitude.device))
        return depth.to(amplitude.dtype) * torch.sin(field.angle() + carrier_phase(field, self.carrier))


@dataclass(frozen=True)
class Lee(_OnMirrors):
    r"""Binary amplitude hologram of bars whose place and width carry phase and amplitude.

    Lee 1979, Applied Optics 18, 3661.

    .. math:: t = \left[ \cos(2 \pi u \cdot x + \varphi) > \cos(\arcsin a) \right]

    For a micromirror device. The first order has the amplitude :math:`a / \pi`: at most :math:`1 / \pi^2`, 10.13 %, of
    the light.

    Attributes:
        carrier: ``(y, x)`` [cycles/pixel]; irrational, so that bars of one width end at every place within a pixel and
            their rounding averages out. One that repeats after a few pixels knows a few widths only: with (1/6, 1/10)
            a flat field of 0.2 comes back wrong by half.
    """

    carrier: tuple[float, float] = (math.sqrt(2) / 8, math.sqrt(3) / 17)
    bandwidth: ClassVar[float] = 1 / 28
    gain: ClassVar[float] = 1 / math.pi

    def encode(self, field: Tensor) -> Tensor:
        power = intensity(checked(field)).clamp(max=1)
        wave = torch.cos(field.angle() + carrier_phase(field, self.carrier))
        return (wave > (1 - power).sqrt()).to(power.dtype)


@dataclass(frozen=True)
class Superpixel(_OnMirrors):
    r"""Groups of 4 x 4 micromirrors that add up to the field (Goorden et al. 2014, Optics Express).

    Seen along the carrier, the mirrors of a group stand at sixteen phases around the circle. Those that are on add up
    to one of 6561 different fields; the nearest to the wanted one is shown. The largest amplitude in every direction
    is :math:`\cot(\pi / 16)` mirrors, so the gain is :math:`\cot(\pi / 16) / 16 = 0.3142`: 9.87 % of the light.
    """

    side: ClassVar[int] = 4
    carrier: ClassVar[tuple[float, float]] = (-1 / 4, -1 / 16)
    bandwidth: ClassVar[float] = 1 / 36

    @property
    def gain(self) -> float:
        """``cot(pi / 16) / 16``."""
        return 1 / (math.tan(math.pi / self.side**2) * self.side**2)

    def encode(self, field: Tensor) -> Tensor:
        n = self.side
        height, width = checked(field).shape[-2:]
        if height % n or width % n:
            raise ValueError(f"field must have a multiple of {n} rows and columns, got {height} x {width}.")
        # In the middle of the group, as the mirrors see it.
        groups = field.unflatten(-1, (-1, n)).unflatten(-3, (-1, n)).mean((-3, -1))
        y, x = (p[::n].double() for p in pixels(field))
        turns = self.carrier[0] * y[:, None] + self.carrier[1] * x[None, :]
        local = groups.to(torch.complex128) * torch.polar(torch.ones_like(turns), 2 * math.pi * turns)
        sums, patterns = self._table
        nearest = _nearest(sums.to(field.device), local * (self.gain * n**2))
        shown = patterns.to(field.device)[nearest]  # (..., groups down, groups across, n, n)
        return shown.transpose(-3, -2).flatten(-2, -1).flatten(-3, -2).to(intensity(field).dtype)

    @cached_property
    def _table(self) -> tuple[Tensor, Tensor]:
        """Field of every distinct choice of mirrors, and the mirrors."""
        count = self.side**2
        choices = torch.tensor(list(product((-1, 0, 1), repeat=count // 2)))  # two opposite mirrors
        on = torch.cat((choices == 1, choices == -1), -1)
        phases = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
        sums = on.to(torch.complex128) @ torch.polar(torch.ones_like(phases), phases)
        return sums, on.view(-1, self.side, self.side)


ENCODINGS: dict[str, type[Encoding]] = {
    "direct": Direct,
    "double_phase": DoublePhase,
    "arrizon": Arrizon,
    "lee": Lee,
    "superpixel": Superpixel,
}


def pixels(field: Tensor) -> tuple[Tensor, Tensor]:
    """Whole-numbered ``(y, x)`` of the pixels, 0 on the axis."""
    height, width = field.shape[-2:]
    return (
        torch.arange(height, device=field.device) - height // 2,
        torch.arange(width, device=field.device) - width // 2,
    )


def carrier_phase(field: Tensor, carrier: tuple[float, float]) -> Tensor:
    """Phase [rad] of a carrier at the pixels of a complex field, in [0, 2 pi), shape ``(height, width)``."""
    y, x = pixels(field)
    turns = carrier[0] * y.double()[:, None] + carrier[1] * x.double()[None, :]
    return (2 * math.pi * torch.remainder(turns, 1)).to(field.real.dtype)


def checked(field: Tensor) -> Tensor:
    """The field, of any shape, if it can be encoded.

    Raises:
        TypeError: It is real.
        ValueError: NaN, inf, or an amplitude above 1.
    """
    if not field.is_complex():
        raise TypeError(f"field must be complex, got {field.dtype}. Convert an amplitude with torch.complex.")
    if not torch.isfinite(torch.view_as_real(field)).all():
        raise ValueError("field must be finite, got NaN or inf in it.")
    largest = intensity(field).max().sqrt().item()
    if largest > 1 + 1e-6:
        raise ValueError(
            f"field must have an amplitude of at most 1, got {largest:g}. Divide by the largest amplitude."
        )
    return field


def _interpolated(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Linear interpolation on an increasing table."""
    index = torch.searchsorted(xs, x.contiguous()).clamp(1, len(xs) - 1)
    share = (x - xs[index - 1]) / (xs[index] - xs[index - 1])
    return ys[index - 1] + share * (ys[index] - ys[index - 1])


def _nearest(table: Tensor, values: Tensor) -> Tensor:
    """Index of the entry of a complex table nearest to each value."""
    tree = cKDTree(torch.view_as_real(table).cpu().numpy())
    _, index = tree.query(torch.view_as_real(values.resolve_conj()).cpu().numpy())
    return torch.from_numpy(index).to(values.device)
