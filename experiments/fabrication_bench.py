"""A hidden bench: a copy of a front end whose parts are not what the configuration believes."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from kd.fabrication import modulators
from optics4f.config import ROUTES, RouteName, Specification
from optics4f.config_effects import Angle, quantity
from optics4f.effects import LUT, ORDER, Crosstalk, Effect, Flatness
from optics4f.elements import Camera
from optics4f.elements.sensor import Sensor
from optics4f.elements.slm import Modulator
from optics4f.field import Field as LightField
from optics4f.field import Intensity
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.misalignment import Misalignment
from optics4f.routes.route import Route
from optics4f.twin.parameters import bent, level_table

NOLL = range(4, 12)
"""Aberrations that are drawn: defocus to spherical."""

Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class HiddenSettings(Specification):
    """``[hidden]``: how far a hidden bench is off. Sizes are fixed; directions, signs and patterns are random."""

    slm_shift: Size = 0.0  # SLM pixels, in a random direction
    slm_rotation: Angle = 0.0
    camera_shift: Size = 0.0  # camera pixels after binning, in a random direction
    camera_rotation: Angle = 0.0
    camera_axial: Annotated[float, quantity("m"), Field(ge=0, allow_inf_nan=False)] = 0.0
    aberration: Size = 0.0  # rad rms over the circle around the mask, shared by all masks
    mask_error: Size = 0.0  # rad rms, smooth, each mask its own
    correlation: float = Field(6.0, gt=0, allow_inf_nan=False)  # of it, SLM pixels
    gamma: float = Field(1.0, ge=1, lt=5)  # of the panel's levels, or its inverse
    crosstalk: Size = 0.0  # width over that of the published kernel
    brightness: float = Field(0.0, ge=0, lt=1)  # share of light that is too much or missing
    read_noise: float = Field(1.0, ge=0, allow_inf_nan=False)  # times that of the sensor
    prnu: float = Field(0.0, ge=0, le=0.2)
    dsnu: Size = 0.0  # e-
    route: RouteName | None = None  # by which its light is computed; by default as the twin's


class MaskErrors(Flatness):
    """A phase [rad] that the panel, or whoever made the masks, adds to each mask.

    Args:
        values: Shape ``(masks, height, width)``.
        before: What the panel was known to add.
    """

    def __init__(self, values: Tensor, before: Flatness | None) -> None:
        super().__init__(values)
        self.before = before

    def map(self, grid: Grid, like: Tensor) -> Tensor:
        known = 0.0 if self.before is None else self.before.map(grid, like)
        return known + self.values.to(like)


class MisjudgedCamera(Camera):
    """A camera whose counts are turned into signal by the numbers of another: the one that is believed to be there.

    Args:
        believed: By whose exposure, gain and black level counts are read.
        brightness: Light over what is believed.
        sensor: What the sensor really is.

    Shapes are those of :class:`~optics4f.elements.Camera`.
    """

    def __init__(self, believed: Camera, brightness: float, sensor: Sensor) -> None:
        super().__init__(
            believed.grid.shape,
            believed.pitch,
            binning=believed.binning,
            exposure=believed.exposure * brightness,
            sensor=sensor,
        )
        self._believed = [believed]  # in a list: no part of this one

    def forward(self, field: LightField | Intensity, generator: torch.Generator | None = None) -> Tensor:
        believed = self._believed[0]
        counts = self.counts(field, generator) - believed.sensor.offset * self.binning**2
        return counts * (believed.sensor.electrons_per_count / believed.white)


def hidden_front_end(
    front_end: nn.Module, settings: HiddenSettings, *, seed: int
) -> tuple[nn.Module, dict[str, float]]:
    """A copy of a front end on a hidden bench that ``seed`` draws, and the numbers drawn for it.

    All benches in the front end are displaced alike, for they are one apparatus; each SLM has its own pattern.

    Args:
        front_end: Holds one :class:`~optics4f.fourf.FourF` or several; stays as it is.
        settings: How far the bench is off.
        seed: Of directions, signs and patterns.

    Raises:
        ValueError: No bench in the front end, or one that has been displaced before.
    """
    hidden = copy.deepcopy(front_end)
    benches = [module for module in hidden.modules() if isinstance(module, FourF)]
    if not benches:
        raise ValueError(f"front_end must hold a 4f bench, got {type(front_end).__name__}.")
    generator = torch.Generator().manual_seed(seed)
    drawn = _drawn(settings, benches[0], generator)
    for bench in benches:
        if bench.slm_position is not None or bench.camera_position is not None:
            raise ValueError("a bench must stand where it is drawn to be hidden, got one that is displaced already.")
        bench.slm_position = Misalignment(
            shift=(drawn["slm_shift_y"], drawn["slm_shift_x"]), rotation=drawn["slm_rotation"]
        )
        bench.camera_position = Misalignment(
            shift=(drawn["camera_shift_y"], drawn["camera_shift_x"]),
            rotation=drawn["camera_rotation"],
            axial=drawn["camera_axial"],
        )
        bench.camera = _camera(bench.camera, settings, drawn["brightness"], seed)
    for slm in modulators(hidden):
        bench = next(bench for bench in benches if bench.slm is slm)
        give_effects(slm, _effects(bench, settings, drawn, generator))
    if settings.route is not None:
        for module in list(hidden.modules()):
            for name, child in module.named_children():
                if isinstance(child, Route):
                    setattr(module, name, ROUTES[settings.route](child.bench))
    return hidden, drawn


def give_effects(slm: Modulator, effects: Mapping[str, Effect]) -> None:
    """Put effects, by name, on an SLM beside or in place of those it has; a table replaces the range of the phase."""
    found = dict(slm.effects.items()) | dict(effects)
    if "lut" in found:
        found.pop("phase_range", None)
    slm.effects = nn.ModuleDict({kind.name: found[kind.name] for kind in ORDER if kind.name in found})


def _drawn(settings: HiddenSettings, bench: FourF, generator: torch.Generator) -> dict[str, float]:
    """Numbers of the hidden bench in SI; aberrations [rad rms] by their Noll index."""

    def sign() -> float:
        return 2.0 * torch.randint(0, 2, (), generator=generator).item() - 1

    drawn: dict[str, float] = {}
    for name, length in (
        ("slm_shift", settings.slm_shift * bench.slm.grid.pitch),
        ("camera_shift", settings.camera_shift * bench.camera.grid.pitch),
    ):
        angle = 2 * math.pi * torch.rand((), generator=generator, dtype=torch.float64).item()
        drawn |= {f"{name}_y": length * math.sin(angle), f"{name}_x": length * math.cos(angle)}
    for name in ("slm_rotation", "camera_rotation", "camera_axial"):
        drawn[name] = sign() * getattr(settings, name)
    drawn["gamma"] = settings.gamma ** sign()
    drawn["brightness"] = 1 + sign() * settings.brightness
    direction = torch.randn(len(NOLL), generator=generator, dtype=torch.float64)
    direction *= settings.aberration / direction.norm()
    return drawn | {f"aberration_{j}": value for j, value in zip(NOLL, direction.tolist(), strict=True)}


def _camera(believed: Camera, settings: HiddenSettings, brightness: float, seed: int) -> MisjudgedCamera:
    sensor = believed.sensor
    if sensor is None:
        raise ValueError("a hidden bench needs a camera with a sensor, got an ideal one. Give the camera a Sensor.")
    patterns = {"prnu": math.hypot(sensor.prnu, settings.prnu), "dsnu": math.hypot(sensor.dsnu, settings.dsnu)}
    noisy = replace(sensor, read_noise=settings.read_noise * sensor.read_noise, pattern_seed=seed, **patterns)
    return MisjudgedCamera(believed, brightness, noisy)


def _effects(
    bench: FourF, settings: HiddenSettings, drawn: dict[str, float], generator: torch.Generator
) -> dict[str, Effect]:
    """What the panel does, by name of the effect."""
    slm = bench.slm
    shared = Flatness({j: drawn[f"aberration_{j}"] for j in NOLL}).map(slm.grid, torch.zeros(1, dtype=torch.float64))
    own = settings.mask_error * smooth_noise((slm.masks, *slm.grid.shape), settings.correlation, generator)
    found: dict[str, Effect] = {"flatness": MaskErrors(shared + own, slm.effect(Flatness))}
    if drawn["gamma"] != 1:
        table, amplitude = level_table(bench)
        # The levels of the masks are known and stay: the driver must not choose by the table.
        found["lut"] = LUT(bent(table, {"lut_gamma": drawn["gamma"]}), amplitude, calibrated=False)
    if settings.crosstalk:
        found["crosstalk"] = Crosstalk(settings.crosstalk)
    return found


def smooth_noise(shape: tuple[int, int, int], correlation: float, generator: torch.Generator) -> Tensor:
    r"""Random maps of mean 0 and rms 1, whose correlation falls as :math:`e^{-r^2 / 4 c^2}`, float64.

    Args:
        shape: Maps, height, width.
        correlation: ``c`` [pixels].
        generator: Source of the draws.
    """
    white = torch.randn(shape, generator=generator, dtype=torch.float64)
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64) for n in shape[1:])
    low = torch.exp(-2 * (math.pi * correlation) ** 2 * (fy[:, None] ** 2 + fx**2))
    smooth = torch.fft.ifft2(torch.fft.fft2(white) * low).real
    smooth = smooth - smooth.mean((-2, -1), keepdim=True)
    return smooth / smooth.square().mean((-2, -1), keepdim=True).sqrt()
