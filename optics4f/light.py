"""What the light is made of: coherent modes that add up in intensity.

Any stationary light is a sum of mutually incoherent modes: wavelengths of a spectrum, points of an extended source,
points of a self-luminous object. Each mode is computed as coherent light, and the intensities are added.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from .units import to_si


@dataclass(frozen=True)
class Mode:
    """One coherent mode.

    Attributes:
        wavelength: Vacuum wavelength [m].
        weight: Share of the power; those of all modes sum to 1.
        frequency: Spatial frequency ``(fy, fx)`` [cycles/m] of the plane wave that falls on the object.
    """

    wavelength: float
    weight: float = 1.0
    frequency: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class PointSource:
    """A point on the axis, far away: spatially coherent light, one plane wave."""

    def frequencies(self, wavelength: float) -> Iterator[tuple[float, float]]:
        """Plane waves that fall on the object, of equal power: ``(fy, fx)`` [cycles/m]."""
        yield 0.0, 0.0


@dataclass(frozen=True)
class DiscSource:
    """A uniform disc far away, incoherent in itself: partially coherent light (Abbe's sum over its points).

    The points lie on a sunflower spiral of equal areas (Vogel 1979), so few of them already fill the disc evenly.

    Attributes:
        angular_radius: Half the angle under which the object sees the disc [rad].
        points: How many; their number bounds the distance over which the coherence function is right.
    """

    angular_radius: float
    points: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "angular_radius", to_si(self.angular_radius, "rad", "angular_radius"))
        if not 0 <= self.angular_radius < math.pi / 2:
            raise ValueError(f"angular_radius must be in [0, pi/2), got {self.angular_radius:g} rad.")
        if self.points < 1:
            raise ValueError(f"points must be at least 1, got {self.points}.")

    def frequencies(self, wavelength: float) -> Iterator[tuple[float, float]]:
        """Plane waves that fall on the object, of equal power: ``(fy, fx)`` [cycles/m]."""
        golden = math.pi * (3 - math.sqrt(5))
        for k in range(self.points):
            radius = math.sin(self.angular_radius) / wavelength * math.sqrt((k + 0.5) / self.points)
            yield radius * math.sin(k * golden), radius * math.cos(k * golden)


@dataclass(frozen=True)
class SelfLuminous:
    """Every sample of the object radiates by itself: spatially incoherent light."""

    def frequencies(self, wavelength: float) -> Iterator[tuple[float, float]]:
        """One wave of ``wavelength`` [m]: its direction is of no account to light without spatial coherence."""
        yield 0.0, 0.0


Source = PointSource | DiscSource | SelfLuminous


@dataclass(frozen=True)
class Spectrum:
    """Wavelengths and their shares of the power.

    Attributes:
        wavelengths: Vacuum wavelengths [m].
        weights: Shares; normalised to sum 1.
    """

    wavelengths: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        wavelengths = tuple(to_si(w, "m", "wavelengths") for w in self.wavelengths)
        if len(wavelengths) != len(self.weights) or not wavelengths:
            raise ValueError(
                f"a spectrum needs one weight a wavelength, got {len(self.weights)} for {len(wavelengths)} wavelengths."
            )
        if any(not 0 < w < math.inf for w in wavelengths):
            raise ValueError(f"wavelengths must be positive, got {wavelengths} m.")
        total = sum(self.weights)
        if any(w < 0 for w in self.weights) or not 0 < total < math.inf:
            raise ValueError(f"weights must not be negative, nor all 0, got {self.weights}.")
        object.__setattr__(self, "wavelengths", wavelengths)
        object.__setattr__(self, "weights", tuple(w / total for w in self.weights))

    @classmethod
    def line(cls, wavelength: float) -> Spectrum:
        """Monochromatic light of ``wavelength`` [m]."""
        return cls((wavelength,), (1.0,))

    @classmethod
    def gaussian(cls, centre: float, width: float, lines: int = 7) -> Spectrum:
        """A Gaussian line of full width ``width`` [m] at half maximum, by Gauss-Hermite lines of its frequency."""
        from numpy.polynomial.hermite_e import hermegauss

        nodes, weights = hermegauss(lines)
        centre, width = to_si(centre, "m", "centre"), to_si(width, "m", "width")
        deviation = width / centre / math.sqrt(8 * math.log(2))
        return cls(tuple(centre / (1 + deviation * node) for node in nodes), tuple(weights))


def modes(spectrum: Spectrum, source: Source) -> list[Mode]:
    """All modes of the light, their weights summing to 1."""
    found = []
    for wavelength, share in zip(spectrum.wavelengths, spectrum.weights, strict=True):
        waves = list(source.frequencies(wavelength))
        found += [Mode(wavelength, share / len(waves), wave) for wave in waves]
    return found
