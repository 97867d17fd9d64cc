"""Is every plane sampled finely and widely enough? Checks with a value, a limit and what would do."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .grid import Grid
from .units import engineering


class SamplingError(ValueError):
    """A bench that its sampling cannot represent."""


@dataclass(frozen=True)
class Check:
    """One sampling condition ``value <= limit``.

    Attributes:
        quantity: What is compared, in words.
        value: Its value [``unit``].
        limit: The largest that is valid.
        unit: SI unit of both.
        advice: What to change, with the number that would do.
    """

    quantity: str
    value: float
    limit: float
    unit: str
    advice: str

    @property
    def valid(self) -> bool:
        """Whether the condition holds, to rounding."""
        return self.value <= self.limit * (1 + 1e-9)

    @property
    def margin(self) -> float:
        """``limit / value``: above 1 is valid."""
        return self.limit / self.value if self.value else float("inf")

    def __str__(self) -> str:
        limit = engineering(self.limit, self.unit, rounding="down")
        return f"{self.quantity} must be at most {limit}, got {engineering(self.value, self.unit)}. {self.advice}"


@dataclass(frozen=True)
class SamplingReport:
    """The sampling conditions of one bench in one route."""

    checks: tuple[Check, ...]

    @property
    def valid(self) -> bool:
        """Whether every condition holds."""
        return all(check.valid for check in self.checks)

    def refuse_if_invalid(self, override: tuple[str, ...] = ()) -> None:
        """Raise ``SamplingError`` with the first condition that fails, in one line.

        Args:
            override: Quantities whose conditions may fail.
        """
        known = {check.quantity for check in self.checks}
        if unknown := set(override) - known:
            raise ValueError(f"override must name conditions of {sorted(known)}, got {sorted(unknown)}.")
        for check in self.checks:
            if not check.valid and check.quantity not in override:
                raise SamplingError(str(check))

    def rows(self) -> list[dict]:
        """The table: quantity, value, limit, unit, margin, valid, advice (of what fails)."""
        return [
            {**asdict(c), "margin": c.margin, "valid": c.valid, "advice": "" if c.valid else c.advice}
            for c in self.checks
        ]


def at_most(length: float) -> str:
    """A largest length [m] as text that, read back, does not exceed it."""
    return engineering(length, "m", rounding="down")


def lens_check(name: str, grid: Grid, wavelength: float, focal_length: float) -> Check:
    r"""A thin lens turns its phase by at most pi per sample: :math:`N p^2 \le \lambda f`.

    The steepest phase lies at the edge of the window, :math:`r_{max} = N p / 2` (Voelz 2011, on the sampling of
    quadratic phase factors).

    Args:
        name: Which lens, for the message.
        grid: Window that the lens is sampled on, without padding.
        wavelength: Wavelength [m].
        focal_length: Focal length [m].
    """
    n, limit = max(grid.shape), wavelength * abs(focal_length) / grid.pitch
    return Check(
        f"width of the window at {name}",
        n * grid.pitch,
        limit,
        "m",
        f"Its phase turns by more than pi per sample of {engineering(grid.pitch, 'm')}: use at most "
        f"{int(limit / grid.pitch)} samples, a pitch of at most "
        f"{at_most(wavelength * abs(focal_length) / (n * grid.pitch))}, a focal length of at least "
        f"{engineering(n * grid.pitch**2 / wavelength, 'm', rounding='up')}, or the Fourier-lens route.",
    )


def replica_check(plane: str, extent: float, pitch: float, scale: float, source: str) -> Check:
    r"""A window must fit into one period of the spectrum of its sampled source: :math:`W \le \lambda f / p`.

    Args:
        plane: What the window is, for the message.
        extent: Width ``W`` of the window [m].
        pitch: Sample spacing ``p`` of the plane that is transformed [m].
        scale: Wavelength times focal length [m^2].
        source: What is sampled at ``pitch``, for the message.
    """
    return Check(
        f"width of {plane}",
        extent,
        scale / pitch,
        "m",
        f"It reaches into the first replica that {source} of {engineering(pitch, 'm')} makes: use a pitch of at most "
        f"{at_most(scale / extent)} there, or a smaller window.",
    )


def intensity_check(pitch: float, aperture: float, scale: float) -> Check:
    r"""The image's intensity has twice the bandwidth of its field: :math:`p \le \lambda f_2 / (2 D)`.

    Args:
        pitch: Spacing of the image samples [m].
        aperture: Width ``D`` of the SLM's used area [m].
        scale: Wavelength times ``f_2`` [m^2].
    """
    limit = scale / (2 * aperture)
    return Check(
        "pitch of the image samples",
        pitch,
        limit,
        "m",
        f"Coarser samples alias the intensity behind an SLM area of {engineering(aperture, 'm')}: use "
        f"{at_most(limit)} or finer (more samples a camera pixel), or a longer focal length.",
    )


def stop_check(name: str, light: float, diameter: float) -> Check:
    """A lens that a route collapses to a Fourier transform must not cut the light.

    Args:
        name: Which lens.
        light: Width of the light there: SLM and object (or camera), corner to corner [m].
        diameter: Of the lens [m].
    """
    return Check(
        f"light at {name}",
        light,
        diameter,
        "m",
        f"The lens cuts it, differently for each object point: use a diameter of at least "
        f"{engineering(light, 'm', rounding='up')}, or the angular-spectrum route.",
    )
