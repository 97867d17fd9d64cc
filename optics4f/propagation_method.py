"""Which propagation method the sampling allows: the conditions with value, limit and what would do, and the choice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

from scipy.fft import next_fast_len

from .grid import Grid
from .sampling import Check, SamplingReport, at_most
from .units import engineering

Method = Literal["angular_spectrum", "fresnel", "fresnel_transform", "fraunhofer", "rayleigh_sommerfeld"]

# Frequencies that the band limit must leave in the window. Behind a rectangular opening the field is then within 1 %
# of the Rayleigh-Sommerfeld integral, and the error grows as the number falls (a test measures it).
BAND_SAMPLES = 64


@dataclass(frozen=True)
class MethodChoice:
    """A propagation method and why.

    Attributes:
        method: Name of the method, as ``propagate`` takes it.
        checks: Its sampling conditions, each with value and limit.
        reason: Why this one, in a sentence.
    """

    method: Method
    checks: tuple[Check, ...]
    reason: str

    @property
    def valid(self) -> bool:
        """Whether every condition holds."""
        return SamplingReport(self.checks).valid

    def __str__(self) -> str:
        return f"{self.method}: {self.reason}"


def at_least(length: float) -> str:
    """A smallest length [m] as text that, read back, is not below it."""
    return engineering(length, "m", rounding="up")


def computation_window(grid: Grid, output: Grid, padding: float = 2) -> Grid:
    """Window of the transfer-function methods: ``padding`` times the mean width of both planes, a fast FFT length.

    At 2 every sample of the field reaches every sample of the output and nothing wraps around; at 1 the window is the
    wider of the two planes, exactly, and periodic.

    Args:
        grid: Plane of the field.
        output: Plane at the end.
        padding: Width in units of the planes' mean width, at least 1.
    """
    if not 1 <= padding < math.inf:
        raise ValueError(f"padding must be at least 1, got {padding:g}. 2 leaves room for diffraction, 1 wraps around.")
    lengths = []
    for n, extent in zip(grid.shape, output.extent, strict=True):
        m = math.ceil(round(extent / grid.pitch, 6))
        length = math.ceil(padding * (n + m) / 2)
        lengths.append(max(n, m) if padding == 1 else next_fast_len(max(n, m, length)))
    return Grid(tuple(lengths), grid.pitch)


def propagation_method(
    grid: Grid,
    wavelength: float,
    distance: float,
    *,
    method: Method | None = None,
    output: Grid | None = None,
    shift: tuple[float, float] = (0.0, 0.0),
    tilt: tuple[float, float] = (0.0, 0.0),
    refractive_index: float = 1.0,
    padding: float = 2,
) -> MethodChoice:
    """The method that ``propagate`` takes for these arguments, with its sampling conditions.

    Without a name, the first of these that holds: the angular spectrum where its transfer function is sampled over the
    whole band (up to the critical distance ``N p**2 / wavelength`` of the padded window); the Rayleigh-Sommerfeld
    convolution, exact and sampled beyond that distance, where the pitch stays the same; the Fresnel integral in one
    transform where it does not; and the band-limited angular spectrum between them.

    Args:
        grid: Plane of the field.
        wavelength: Vacuum wavelength [m].
        distance: Distance to travel [m].
        method: A method by name, to read its conditions.
        output: Samples at the end; by default those of ``grid``.
        shift: Centre ``(y, x)`` of the output [m].
        tilt: Mean spatial frequency ``(fy, fx)`` of the light [cycles/m].
        refractive_index: Of the medium.
        padding: Width of the computation window in units of the planes' mean width.

    Raises:
        ValueError: A method of another name, a distance that is not finite, a wavelength or refractive index that is
            not positive.
    """
    if method is not None and method not in get_args(Method):
        raise ValueError(f"method must be one of {', '.join(get_args(Method))} or None, got {method!r}.")
    if not math.isfinite(distance):
        raise ValueError(f"distance must be finite, got {distance:g} m.")
    if not 0 < wavelength < math.inf:
        raise ValueError(f"wavelength must be positive, got {wavelength:g} m. Green light is 532e-9.")
    if not 0 < refractive_index < math.inf:
        raise ValueError(f"refractive_index must be positive, got {refractive_index:g}. Vacuum is 1.")
    path = _Path(grid, output or grid, wavelength / refractive_index, distance, shift, tilt, padding)
    if method is not None:
        if distance == 0 and method not in ("angular_spectrum", "fresnel"):
            raise ValueError(f"distance must not be 0 m with {method}, got 0 m. Use angular_spectrum.")
        return MethodChoice(method, path.checks(method), "asked for by name")
    if path.whole_band:
        reason = "the light stays inside the window, so its transfer function is sampled over the whole band"
        return MethodChoice("angular_spectrum", path.checks("angular_spectrum"), reason)
    spread = f"within {engineering(abs(distance), 'm')} the light spreads beyond the window"
    reasons: dict[Method, str] = {
        "rayleigh_sommerfeld": f"{spread}, and the impulse response is sampled",
        "fresnel_transform": f"{spread}, the path is paraxial, and the pitch changes",
    }
    for name, reason in reasons.items():
        if name == "rayleigh_sommerfeld" and path.output.pitch != grid.pitch:
            continue  # the plain sum over samples of another pitch is exact as well, but a reference and not a tool
        checks = path.checks(name)
        if all(check.valid for check in checks):
            return MethodChoice(name, checks, reason)
    reason = f"{spread}, and no impulse response is sampled everywhere: the band limit keeps what arrives"
    return MethodChoice("angular_spectrum", path.checks("angular_spectrum"), reason)


@dataclass(frozen=True)
class _Path:
    """From one window to another: what the conditions are made of. The wavelength is that in the medium."""

    grid: Grid
    output: Grid
    wavelength: float
    distance: float
    shift: tuple[float, float]
    tilt: tuple[float, float]
    padding: float

    @property
    def window(self) -> Grid:
        return computation_window(self.grid, self.output, self.padding)

    @property
    def whole_band(self) -> bool:
        """Whether every frequency of the grid lands inside the window."""
        nyquist = 0.5 / self.grid.pitch
        corners = product(*((t - nyquist, t + nyquist) for t in self.tilt))
        for fy, fx in corners:
            fz_squared = self.wavelength**-2 - fy**2 - fx**2
            if fz_squared <= 0 and self.distance:
                return False
            for f, extent, centre in zip((fy, fx), self.window.extent, self.shift, strict=True):
                landing = self.distance * f / math.sqrt(fz_squared) if self.distance else 0.0
                if abs(landing - centre) > extent / 2:
                    return False
        return True

    def directions(self, extents: tuple[float, float], paraxial: bool) -> list[tuple[float, float]]:
        """Lowest and highest frequency of a ray to within ``extents`` around the shift, along y and along x."""
        (y0, y1), (x0, x1) = ((c - e / 2, c + e / 2) for c, e in zip(self.shift, extents, strict=True))
        # Along one axis the steepest ray is the one that goes least far along the other.
        low_y, low_x = (max(a, min(0.0, b)) for a, b in ((y0, y1), (x0, x1)))
        far_y, far_x = max(abs(y0), abs(y1)), max(abs(x0), abs(x1))

        def frequency(along: float, across: float) -> float:
            reach = abs(self.distance) if paraxial else math.hypot(along, across, self.distance)
            if reach == 0:
                return math.copysign(math.inf, along) if along else 0.0
            return math.copysign(1.0, self.distance) * along / (self.wavelength * reach)

        along_y = [frequency(a, b) for a, b in product((y0, y1), (low_x, far_x))]
        along_x = [frequency(a, b) for a, b in product((x0, x1), (low_y, far_y))]
        return [(min(along_y), max(along_y)), (min(along_x), max(along_x))]

    def checks(self, method: Method) -> tuple[Check, ...]:
        """Conditions of one method."""
        paraxial = method in ("fresnel", "fresnel_transform", "fraunhofer")
        if method in ("angular_spectrum", "fresnel"):
            checks = [self._band_check(paraxial)]
        else:
            checks = [self._replica_check(method)]
        if paraxial:
            checks.append(self._paraxial_check(method))
        if method == "fraunhofer":
            checks.append(self._far_field_check())
        return (*checks, self._output_check())

    def _band(self, paraxial: bool) -> list[tuple[float, float]]:
        """Frequencies of the grid that land in the computation window, along y and along x."""
        nyquist = 0.5 / self.grid.pitch
        reached = self.directions(self.window.extent, paraxial)
        return [(max(lo, t - nyquist), min(hi, t + nyquist)) for (lo, hi), t in zip(reached, self.tilt, strict=True)]

    def _band_check(self, paraxial: bool) -> Check:
        bands, window = self._band(paraxial), self.window
        kept = [max(0.0, hi - lo) * extent for (lo, hi), extent in zip(bands, window.extent, strict=True)]
        needed = [min(BAND_SAMPLES, n) for n in window.shape]
        axis = min((0, 1), key=lambda a: kept[a] / needed[a])
        centre = sum(self.directions((0.0, 0.0), paraxial)[axis]) / 2
        if abs(centre - self.tilt[axis]) > 0.5 / self.grid.pitch:
            edges = self.directions(window.extent, paraxial)[axis]
            finer = 0.5 / max(abs(f - self.tilt[axis]) for f in edges)
            advice = (
                f"The window lies {abs(centre - self.tilt[axis]):.4g} cycles/m from the light, more than samples of "
                f"{engineering(self.grid.pitch, 'm')} carry: use a pitch of at most {at_most(finer)}, give the tilt of "
                f"the light (about {centre:.4g} cycles/m), or shift the window less."
            )
        else:
            wider = self.padding * math.sqrt(needed[axis] / kept[axis]) if kept[axis] else math.inf
            advice = (
                "The band limit cuts the light that is meant to arrive: use a padding of at least "
                f"{math.ceil(10 * wider) / 10:g}, or rayleigh_sommerfeld or fresnel_transform."
            )
        return Check("resolution needed in the band", needed[axis], kept[axis], "frequencies", advice)

    def _replica_check(self, method: Method) -> Check:
        r"""Two samples a fringe of the integrand, every pair of samples: :math:`|X / (\lambda R) - f_c| \le 1 / (2 p)`.

        In the far field the light of one direction meets in one point, so the width of the source does not count.
        """
        far = method == "fraunhofer"
        spans = [b if far else a + b for a, b in zip(self.grid.extent, self.output.extent, strict=True)]
        reached = self.directions(tuple(spans), paraxial=method != "rayleigh_sommerfeld")
        steepest = max(max(abs(lo - t), abs(hi - t)) for (lo, hi), t in zip(reached, self.tilt, strict=True))
        limit = 0.5 / steepest if steepest else math.inf
        reach = max(2 * abs(c) + s for c, s in zip(self.shift, spans, strict=True))
        if method == "rayleigh_sommerfeld":
            limit = min(limit, abs(self.distance))  # closer than a sample the peak of the kernel falls between two
        farther = f"a distance of at least {at_least(reach * self.grid.pitch / self.wavelength)}, "
        advice = (
            f"Replicas of the samples overlap the output: use a pitch of at most {at_most(limit)}, "
            f"{'' if any(self.tilt) else farther}a smaller or nearer output, or angular_spectrum."
        )
        return Check("pitch of the field", self.grid.pitch, limit, "m", advice)

    def _paraxial_check(self, method: Method) -> Check:
        """Rayleigh's quarter wave between the paraxial and the exact phase, at the steepest frequency in use."""
        if method == "fresnel":
            used = self._band(paraxial=True)
        else:
            spans = (a + b for a, b in zip(self.grid.extent, self.output.extent, strict=True))
            used = self.directions(tuple(spans), paraxial=True)
        f_squared = sum(max(abs(lo), abs(hi)) ** 2 for lo, hi in used)
        error = math.inf
        if f_squared < self.wavelength**-2:
            fz = math.sqrt(self.wavelength**-2 - f_squared)
            exact = f_squared / (fz + 1 / self.wavelength)
            error = 2 * math.pi * abs(self.distance) * (exact - self.wavelength * f_squared / 2)
        angle = math.asin(min(1.0, self.wavelength * math.sqrt(f_squared)))
        # To lowest order the error is pi wavelength^3 d f^4 / 4.
        if method == "fresnel":
            corner = math.sqrt(2 / (self.wavelength**3 * abs(self.distance))) if self.distance else math.inf
            remedy = f"a pitch of at least {at_least(math.sqrt(0.5 / corner))}"
        else:
            reach = self.wavelength * abs(self.distance) * math.sqrt(f_squared)
            remedy = f"a distance of at least {at_least((reach**4 / (2 * self.wavelength)) ** (1 / 3))}"
        advice = (
            f"Frequencies reach {math.degrees(angle):.3g} degrees: use angular_spectrum or rayleigh_sommerfeld, or "
            f"{remedy}."
        )
        return Check("phase error of the paraxial approximation", error, math.pi / 2, "rad", advice)

    def _far_field_check(self) -> Check:
        r"""Phase across the source of at most :math:`\pi / 8`: :math:`d \ge 2 W^2 / \lambda`, as for antennas."""
        width = max(self.grid.extent)
        return Check(
            "width of the field",
            width,
            math.sqrt(self.wavelength * abs(self.distance) / 2),
            "m",
            "It is not in the far field: use a distance of at least "
            f"{at_least(2 * width**2 / self.wavelength)}, or fresnel_transform.",
        )

    def _output_check(self) -> Check:
        r"""Output no coarser than the light needs once its spherical curvature is known: :math:`\lambda d / W`."""
        width = max(self.grid.extent)
        limit = max(self.grid.pitch, self.wavelength * abs(self.distance) / width)
        return Check(
            "pitch of the output",
            self.output.pitch,
            limit,
            "m",
            f"Coarser samples alias the light of a field {engineering(width, 'm')} wide: use "
            f"{at_most(limit)} or finer.",
        )
