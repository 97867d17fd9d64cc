"""From the power of the source to the electrons of a camera pixel, one named factor after the other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args, overload

import torch
from torch import Tensor

from .elements.sensor import Sensor, check_snr, photons
from .units import to_si

if TYPE_CHECKING:
    from .units import Quantity

Origin = Literal["measured", "preset", "modelled", "assumed"]


@dataclass(frozen=True)
class Stage:
    """One factor on the light.

    Attributes:
        name: Where the light goes.
        factor: Share that goes on.
        origin: Where the number comes from: ``"measured"``, ``"preset"``, ``"modelled"`` or ``"assumed"``.
        low: Smallest share, where it is a range.
        high: Largest.
    """

    name: str
    factor: float
    origin: Origin
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.origin not in get_args(Origin):
            raise ValueError(
                f"origin of {self.name} must be one of {', '.join(get_args(Origin))}, got {self.origin!r}."
            )
        for name in ("factor", "low", "high"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} of {self.name} must be in [0, 1], got {value:g}. A loss of 20 % is 0.8.")
        if not (self.low or 0.0) <= self.factor <= (1.0 if self.high is None else self.high):
            raise ValueError(
                f"factor of {self.name} must lie in its range {self.low} ... {self.high}, got {self.factor:g}."
            )


@dataclass(frozen=True)
class LightBudget:
    """Power, losses in order, and the pixels that share what is left.

    Attributes:
        power: Of the source [W].
        wavelength: Of the light [m].
        sensor: Of the camera; its quantum efficiency is needed.
        pixels: Sensor pixels over which the light of one image is spread.
        stages: Factors between source and camera.
    """

    power: float
    wavelength: float
    sensor: Sensor
    pixels: float
    stages: tuple[Stage, ...] = ()

    def __init__(
        self, power: Quantity, wavelength: Quantity, sensor: Sensor, pixels: float, stages: tuple[Stage, ...] = ()
    ) -> None:
        for name, value in (
            ("power", to_si(power, "W", "power")),
            ("wavelength", to_si(wavelength, "m", "wavelength")),
        ):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive, got {value:g}.")
            object.__setattr__(self, name, value)
        if not 0 < pixels < math.inf:
            raise ValueError(f"pixels must be positive, got {pixels:g}.")
        if sensor.quantum_efficiency is None:
            raise ValueError("quantum_efficiency of the sensor must be known: Sensor(..., quantum_efficiency=...).")
        object.__setattr__(self, "sensor", sensor)
        object.__setattr__(self, "pixels", float(pixels))
        if not all(isinstance(stage, Stage) for stage in stages):
            raise TypeError(f"stages must be Stage(name, factor, origin), got {stages!r}.")
        object.__setattr__(self, "stages", tuple(stages))

    @property
    def transmission(self) -> float:
        """Share of the source's power that reaches the camera."""
        return math.prod(stage.factor for stage in self.stages)

    @property
    def transmission_range(self) -> tuple[float, float]:
        """The same with every stage at its low end, and at its high end."""
        low = math.prod(s.factor if s.low is None else s.low for s in self.stages)
        return low, math.prod(s.factor if s.high is None else s.high for s in self.stages)

    @overload
    def electrons(self, exposure_time: float, *, share: float = 1.0) -> float: ...

    @overload
    def electrons(self, exposure_time: float, *, share: Tensor) -> Tensor: ...

    def electrons(self, exposure_time: float, *, share: float | Tensor = 1.0) -> float | Tensor:
        """Mean electrons of a sensor pixel in a time [s], before saturation and without dark signal.

        Args:
            exposure_time: Of one exposure [s].
            share: Of a white object's light; one number, or those of several images as :meth:`of_image` tells them.

        Returns:
            A number, or one for each share, float64, of their shape.

        Raises:
            ValueError: A negative time, or a share that is not in [0, 1].
        """
        if isinstance(share, Tensor):
            return _each(lambda one: self.electrons(exposure_time, share=one), share)
        if not 0 <= exposure_time < math.inf:
            raise ValueError(f"exposure_time must not be negative, got {exposure_time:g} s.")
        if not 0 <= share <= 1:
            raise ValueError(f"share must be in [0, 1], got {share:g}. A white object has 1.")
        arriving = photons(self.power * self.transmission * share, self.wavelength, exposure_time)
        return self.sensor.quantum_efficiency * arriving / self.pixels

    @overload
    def exposure_time(self, electrons: float, *, share: float = 1.0) -> float: ...

    @overload
    def exposure_time(self, electrons: float, *, share: Tensor) -> Tensor: ...

    def exposure_time(self, electrons: float, *, share: float | Tensor = 1.0) -> float | Tensor:
        """Time [s] in which a pixel collects a mean signal [e-], saturation aside; ``share`` and shape as above."""
        if isinstance(share, Tensor):
            return _each(lambda one: self.exposure_time(electrons, share=one), share)
        if not 0 <= electrons < math.inf:
            raise ValueError(f"electrons must not be negative, got {electrons:g} e-.")
        return electrons / self._rate(share)

    @overload
    def exposure_time_for(self, snr: float, *, share: float = 1.0) -> float: ...

    @overload
    def exposure_time_for(self, snr: float, *, share: Tensor) -> Tensor: ...

    def exposure_time_for(self, snr: float, *, share: float | Tensor = 1.0) -> float | Tensor:
        r"""Time [s] that a signal to noise ratio needs, dark current included: EMVA's formula solved for the time.

        .. math:: \mathrm{SNR}^2 (\sigma_d^2 + \mu_d + g^2/12 + (I + S) t) = S^2 t^2

        with the signal rate :math:`S` and the dark current :math:`I`.

        Args:
            snr: Signal to noise ratio of a pixel.
            share: As in :meth:`electrons`, of any shape, which is that of the times.

        Raises:
            ValueError: No light arrives, or signal and dark signal reach the full well first.
        """
        if isinstance(share, Tensor):
            return _each(lambda one: self.exposure_time_for(snr, share=one), share)
        check_snr(snr)
        rate, sensor = self._rate(share), self.sensor
        still = sensor.read_noise**2 + sensor.dark_electrons + sensor.electrons_per_count**2 / 12
        b = snr**2 * (rate + sensor.dark_current)
        time = (b + math.sqrt(b**2 + 4 * rate**2 * snr**2 * still)) / (2 * rate**2)
        longest = (sensor.full_well - sensor.dark_electrons) / (rate + sensor.dark_current)
        if time > longest:
            signal = rate * max(longest, 0.0)
            most = signal / math.sqrt(still + (rate + sensor.dark_current) * max(longest, 0.0))
            raise ValueError(
                f"snr must be at most {most:.4g} with a full well of {sensor.full_well:g} e- that the dark signal "
                f"shares, got {snr:g}. Bin pixels, average exposures, cool the sensor, or bring more light."
            )
        return time

    def _rate(self, share: float) -> float:
        """Electrons a second, refused where there are none."""
        rate = self.electrons(1.0, share=share)
        if not rate > 0:
            dark = next((f"stage {stage.name} passes 0" for stage in self.stages if not stage.factor), "share 0")
            raise ValueError(f"some light must reach the camera, got none: {dark}.")
        return rate

    def rows(self) -> list[dict]:
        """The table: power after each stage [W], its factor, range and origin."""
        power, rows = self.power, [{"stage": "source", "factor": 1.0, "range": "", "origin": "", "power_w": self.power}]
        for stage in self.stages:
            power *= stage.factor
            spread = "" if stage.low is None and stage.high is None else f"{stage.low} ... {stage.high}"
            rows.append(
                {"stage": stage.name, "factor": stage.factor, "range": spread, "origin": stage.origin, "power_w": power}
            )
        return rows

    def of_image(self, images: Tensor) -> Tensor:
        """Share of the light of a white object that each image lets through, as :meth:`electrons` takes it.

        Args:
            images: Intensities in [0, 1], shape ``(batch, ..., height, width)``.

        Returns:
            float64, shape ``(batch,)``.

        Raises:
            ValueError: No batch of images, or values that are not in [0, 1].
        """
        if images.dim() < 3 or not images.numel():
            raise ValueError(f"images must have shape (batch, ..., height, width), got {tuple(images.shape)}.")
        images = images.detach().double()
        low, high = images.min().item(), images.max().item()
        if not 0 <= low <= high <= 1:
            raise ValueError(f"images must lie in [0, 1], got {low:g} ... {high:g}. Divide 8-bit values by 255.")
        return images.flatten(1).mean(1)


def _each(of_one: Callable[[float], float], share: Tensor) -> Tensor:
    """``of_one`` of every share, float64, in the shape of ``share``."""
    return torch.tensor([of_one(one) for one in share.double().flatten().tolist()], dtype=torch.float64).view(
        share.shape
    )
