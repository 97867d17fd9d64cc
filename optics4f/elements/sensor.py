"""The numbers of a camera's pixel, after EMVA 1288 (release 4.0)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from scipy.constants import c, h

from ..devices import CameraDevice, camera_device, require

_NOT_NEGATIVE = ("read_noise", "dark_electrons", "dark_current", "offset", "prnu", "dsnu")

LARGEST_PRNU = 0.2
"""Above it, normally distributed responses are negative nearer than five standard deviations: no share of light."""


@dataclass(frozen=True)
class Sensor:
    """The numbers of one pixel.

    Attributes:
        full_well: Electrons at saturation [e-].
        read_noise: Standard deviation of the dark signal of a zero exposure [e-].
        bit_depth: Bits of the converter; its top level is the full well, unless a gain is stated.
        dark_electrons: Mean dark signal of one exposure [e-], besides that of the dark current.
        quantum_efficiency: Electrons a photon at the design wavelength; needed only where photons are counted.
        dark_current: Mean dark signal per time [e-/s].
        exposure_time: Of one exposure [s]; with a dark current, needed wherever an exposure is taken.
        gain: Electrons a count [e-/DN] (1 / K of EMVA 1288); the full well over the top level without it.
        offset: Black level [DN].
        prnu: Standard deviation of the pixels' responses, relative: 1 % is 0.01. At most :data:`LARGEST_PRNU`.
        dsnu: Standard deviation of the pixels' dark signals [e-].
        pattern_seed: Which sensor of its kind: seed of the two fixed patterns.
    """

    full_well: float
    read_noise: float
    bit_depth: int
    dark_electrons: float = 0.0
    quantum_efficiency: float | None = None
    dark_current: float = 0.0
    exposure_time: float | None = None
    gain: float | None = None
    offset: float = 0.0
    prnu: float = 0.0
    dsnu: float = 0.0
    pattern_seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.full_well < math.inf:
            raise ValueError(f"full_well must be positive, got {self.full_well:g} e-.")
        for name in _NOT_NEGATIVE:
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name):g}{_unit(name)}.")
        if isinstance(self.bit_depth, bool) or self.bit_depth not in range(1, 17):
            raise ValueError(f"bit_depth must be in 1 ... 16, got {self.bit_depth}.")
        if self.quantum_efficiency is not None and not 0 < self.quantum_efficiency <= 1:
            raise ValueError(f"quantum_efficiency must be in (0, 1], got {self.quantum_efficiency:g}. 82 % is 0.82.")
        for name in ("exposure_time", "gain"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive, got {value:g}{_unit(name)}.")
        if self.prnu > LARGEST_PRNU:
            raise ValueError(f"prnu must be at most {LARGEST_PRNU:g}, got {self.prnu:g}. It is a ratio: 1 % is 0.01.")
        if self.offset >= 2**self.bit_depth - 1:
            raise ValueError(f"offset must be below the top level {2**self.bit_depth - 1} DN, got {self.offset:g} DN.")

    @classmethod
    def from_device(cls, device: CameraDevice | str, **stated: float) -> Sensor:
        """The sensor of a preset; numbers stated here win.

        Args:
            device: Preset or its name.
            stated: Attributes of the sensor that the preset does not know, or that shall differ. A dark current that
                the preset knows comes along, and with it the need to state ``exposure_time`` for an exposure;
                ``dark_current=0`` leaves it out.

        Raises:
            ValueError: A number that a simulation needs is neither known nor stated; the message names it.
        """
        device = camera_device(device) if isinstance(device, str) else device
        names = {field.name for field in fields(cls)}
        if unknown := set(stated) - names:
            raise ValueError(f"a sensor has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(names))}.")
        numbers = {
            name: require(device, name) for name in ("full_well", "read_noise", "bit_depth") if name not in stated
        }
        for name in ("quantum_efficiency", "conversion_gain", "dark_current"):
            value = getattr(device, name)
            if value is not None:
                numbers["gain" if name == "conversion_gain" else name] = value.value
        numbers = {**numbers, **stated}
        return cls(**{**numbers, "bit_depth": int(numbers["bit_depth"])})

    @property
    def electrons_per_count(self) -> float:
        """Gain ``g`` [e-/DN]."""
        return self.full_well / (2**self.bit_depth - 1) if self.gain is None else self.gain

    @property
    def mean_dark(self) -> float:
        """Mean dark signal of one exposure [e-].

        Raises:
            ValueError: There is a dark current, and nobody has said for how long.
        """
        if self.dark_current and self.exposure_time is None:
            raise ValueError(
                f"a dark current of {self.dark_current:g} e-/s needs the exposure_time [s], got none. "
                "State exposure_time=..., or dark_current=0 to leave it out."
            )
        return self.dark_electrons + self.dark_current * (self.exposure_time or 0.0)

    def snr(self, electrons: float) -> float:
        r"""Signal to noise ratio of a mean signal [e-] below saturation (EMVA 1288, eq. 21).

        .. math:: \frac{\mu_e}{\sqrt{\sigma_d^2 + \mu_d + g^2 / 12 + \mu_e}}

        Raises:
            ValueError: A negative signal, or one that does not fit into the full well above the dark signal.
        """
        room = self.room()
        if not 0 <= electrons <= room * (1 + 1e-12):
            raise ValueError(
                f"electrons must be in 0 ... {room:g} e-, what the dark signal leaves of the full well, "
                f"got {electrons:g} e-. Expose for a shorter time."
            )
        return self._snr(electrons)

    def electrons_for(self, snr: float) -> float:
        """Mean signal [e-] that a signal to noise ratio needs: the inverse of :meth:`snr`.

        Raises:
            ValueError: The full well does not hold it beside the dark signal.
        """
        check_snr(snr)
        dark = self.read_noise**2 + self.mean_dark + self.electrons_per_count**2 / 12
        electrons, room = (snr**2 + math.sqrt(snr**4 + 4 * snr**2 * dark)) / 2, self.room()
        if electrons > room:
            raise ValueError(
                f"snr must be at most {self._snr(room):.4g} with a full well of {self.full_well:g} e- and "
                f"{self.mean_dark:g} e- of dark signal, got {snr:g}. Bin pixels or average exposures."
            )
        return electrons

    def room(self) -> float:
        """Electrons that the mean dark signal leaves of the full well [e-].

        Raises:
            ValueError: It leaves none.
        """
        room = self.full_well - self.mean_dark
        if room <= 0:
            raise ValueError(
                f"the dark signal must leave room, got {self.mean_dark:g} e- of {self.full_well:g} e-. "
                "Expose for a shorter time."
            )
        return room

    def _snr(self, electrons: float) -> float:
        noise = self.read_noise**2 + self.mean_dark + self.electrons_per_count**2 / 12 + electrons
        return electrons / math.sqrt(noise) if electrons else 0.0

    def noise_sources(self) -> str:
        """What is on, with its strength."""
        parts = [
            f"full well {self.full_well:g} e-",
            f"shot noise, read noise {self.read_noise:g} e-",
            f"{self.bit_depth} bits of {self.electrons_per_count:.4g} e-/DN",
        ]
        timed = not self.dark_current or self.exposure_time is not None
        dark = self.mean_dark if timed else self.dark_electrons
        named = (("dark signal", dark, "e-"), ("offset", self.offset, "DN"), ("DSNU", self.dsnu, "e-"))
        parts += [f"{name} {value:g} {unit}" for name, value, unit in named if value]
        if not timed:
            parts.append(f"dark current {self.dark_current:g} e-/s")
        if self.prnu:
            parts.append(f"PRNU {100 * self.prnu:g} %")
        if self.quantum_efficiency is not None:
            parts.append(f"QE {self.quantum_efficiency:g}")
        return ", ".join(parts)


def photons(power: float, wavelength: float, time: float) -> float:
    r"""Photons of a power [W] of light of a wavelength [m] in a time [s]: :math:`P t \lambda / (h c)`."""
    return power * time * wavelength / (h * c)


def check_snr(snr: float) -> None:
    """Refuse a signal to noise ratio that is no positive number."""
    if not 0 < snr < 1e9:  # whose fourth power is a number, too
        raise ValueError(f"snr must be positive and below 1e9, got {snr:g}. 20 is a deviation of 5 % of the signal.")


def _unit(name: str) -> str:
    units = {"offset": " DN", "prnu": "", "dark_current": " e-/s", "exposure_time": " s", "gain": " e-/DN"}
    return units.get(name, " e-")
