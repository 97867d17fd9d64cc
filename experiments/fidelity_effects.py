"""The effects of a fidelity study: what each is, and the bench that has some of them and no others."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from optics4f.config import BenchSpecification, LightSpecification, PositionSpecification
from optics4f.devices import slm_device
from optics4f.effects import LUT, Crosstalk, Effect, Flicker, Quantization
from optics4f.elements import Camera
from optics4f.elements.slm import slm_from_device
from optics4f.fourf import FourF
from optics4f.units import engineering

FINEST = 16
"""Bits of a device whose levels are no effect: level tables and converters of a simulation need some."""

BRIGHT = 1e6
"""Where photon noise is no effect, the same signal is made of so many times the electrons: its noise is 1/1000."""

Varies = Literal["static", "per frame"]


@dataclass(frozen=True)
class BenchEffect:
    """One way in which a bench is not ideal.

    Attributes:
        name: Its term in tables and configurations.
        about: What its strength means.
        unit: Unit of the strength; "1" for a ratio.
        varies: Static errors are the same in all frames; the others are drawn for each frame.
        none: Strength without any effect; ``None`` where that is a limit (continuous levels, unlimited light).
        worse: 1 where a larger strength is worse, -1 where a smaller one is.
        logarithmic: Whether strengths are compared by their ratio.
        directed: What differs from seed to seed: its sign, or its angle; ``None`` where it has neither.
        degrees: Whether a person reads it in degrees; its strength is in rad all the same.
    """

    name: str
    about: str
    unit: str
    varies: Varies
    none: float | None = 0.0
    worse: Literal[-1, 1] = 1
    logarithmic: bool = False
    directed: Literal["sign", "angle"] | None = None
    degrees: bool = False

    def severity(self, strength: float) -> float:
        """A coordinate that grows as the effect becomes worse."""
        return self.worse * (math.log10(strength) if self.logarithmic else strength)

    def strength(self, severity: float) -> float:
        """Inverse of :meth:`severity`."""
        return 10 ** (self.worse * severity) if self.logarithmic else self.worse * severity

    def defect(self, strength: float) -> float:
        """How far a strength is from none, to be compared by ratios: levels by their step, light by its lack."""
        if self.none is not None:
            return abs(strength - self.none)
        return 1 / strength if self.logarithmic else 2.0**-strength

    def written(self, strength: float) -> str:
        """A strength as a person writes it."""
        if self.degrees:
            return f"{math.degrees(strength):.3g} deg"
        if self.unit in ("m", "rad"):
            return engineering(strength, self.unit, 3)
        number = f"{strength:.0f}" if strength >= 1000 else f"{strength:.3g}"
        return number + ("" if self.unit == "1" else f" {self.unit}")


BENCH_EFFECTS: dict[str, BenchEffect] = {
    effect.name: effect
    for effect in (
        BenchEffect("slm_bits", "levels of the SLM", "bit", "static", None, -1),
        BenchEffect("fill_factor", "active share of a pixel's area, gaps that reflect", "1", "static", 1.0, -1),
        BenchEffect("crosstalk", "fringing fields, width over that of the published kernel", "1", "static"),
        BenchEffect("flicker", "phase noise of each pixel, rms", "rad", "per frame"),
        BenchEffect(
            "lut_gamma",
            "level table that the driver does not know: phase ~ level^(1 + g)",
            "1",
            "static",
            directed="sign",
        ),
        BenchEffect("slm_shift", "SLM beside the axis", "m", "static", directed="angle"),
        BenchEffect("slm_rotation", "SLM turned about the axis", "rad", "static", directed="sign", degrees=True),
        BenchEffect("defocus", "camera before or behind the image plane", "m", "static", directed="sign"),
        BenchEffect("wavelength", "light beside the wavelength of the design", "m", "static", directed="sign"),
        BenchEffect("slm_pitch", "SLM pitch over that of the design, relative error", "1", "static", directed="sign"),
        BenchEffect(
            "photons", "share of the full well that white fills: shot noise", "full well", "per frame", None, -1, True
        ),
        BenchEffect("read_noise", "camera noise of a pixel in darkness, rms", "e-", "per frame"),
        BenchEffect("adc_bits", "levels of the camera, one conversion a binned pixel", "bit", "static", None, -1),
    )
}
"""In the order of the light; the name is the key."""


def direction(name: str, seed: int) -> float:
    """Angle [rad] of a directed effect, the same at all strengths: seeds share out the circle between them.

    Each effect has a first angle of its own, drawn by its name. Seeds 0 and 1 look in opposite directions, 2 and 3 too,
    across the first two, and each later pair into the middle of what is left (van der Corput's sequence).
    """
    first = float(np.random.default_rng(zlib.crc32(name.encode())).uniform(0, 2 * math.pi))
    pair, turn, share = seed // 2, 0.0, math.pi / 2
    while pair:
        turn, pair, share = turn + share * (pair % 2), pair // 2, share / 2
    return (first + math.pi * (seed % 2) + turn) % (2 * math.pi)


def sign(name: str, seed: int) -> Literal[-1, 1]:
    """Sign of a directed effect, the same at all strengths: it alternates with the seed, from one drawn by its name."""
    return 1 if (math.cos(direction(name, 0)) > 0) == (seed % 2 == 0) else -1


def signed(name: str, strength: float, seed: int) -> float:
    """A strength with its sign."""
    return strength * sign(name, seed)


def check_bench(bench: BenchSpecification) -> None:
    """Refuse a bench that has what a study neither varies nor could call ideal.

    Raises:
        ValueError: The message names it.
    """
    if slm_device(bench.slm.device).kind != "phase":
        raise ValueError(f"bench.slm.device must be a phase SLM for a fidelity study, got {bench.slm.device}.")
    plain = {
        "bench.slm.effects": bench.slm.effects == type(bench.slm.effects)(),
        "bench.slm_position": bench.slm_position is None,
        "bench.camera_position": bench.camera_position is None,
        "bench.light": bench.light == LightSpecification(),
        **{
            f"bench.camera.{name}": not getattr(bench.camera, name)
            for name in ("dark_electrons", "dark_current", "offset", "prnu", "dsnu", "gain")
        },
    }
    if found := [name for name, absent in plain.items() if not absent]:
        raise ValueError(f"{found[0]} must be left out (or 0) in a fidelity study, which starts from an ideal bench.")


def bench_with(
    specification: BenchSpecification, strengths: Mapping[str, float], *, seed: int, flicker_frames: int
) -> FourF:
    """The bench with these effects; all others are ideal: continuous phase, no gaps, no displacement, no noise.

    Gaps of one sample a pixel are the mean over its area: the zero order is there, higher orders are not. A LUT error
    comes without levels: its table has 2^16, unless ``slm_bits`` says otherwise. Of the camera's shot noise, read noise
    and levels only those that are named act; with any of them it saturates at its full well.

    Args:
        specification: The hardware.
        strengths: By names of :data:`BENCH_EFFECTS`, without sign.
        seed: Of the directions and of the states of a flickering panel.
        flicker_frames: States of a flickering panel during one exposure.

    Raises:
        ValueError: An unknown effect, or a strength that the bench refuses.
    """
    if unknown := sorted(set(strengths) - set(BENCH_EFFECTS)):
        raise ValueError(f"effects must be of {', '.join(BENCH_EFFECTS)}, got {', '.join(unknown)}.")
    bench = _displaced(specification, strengths, seed).build()
    effects = _panel_effects(strengths, seed, flicker_frames)
    continuous = {} if any(isinstance(effect, Quantization) for effect in effects) else {"bit_depth": None}
    bench.slm = slm_from_device(
        slm_device(specification.slm.device),
        bench.slm.grid,
        effects,
        masks=bench.slm.masks,
        fill_factor=strengths.get("fill_factor", 1.0),
        samples_per_pixel=bench.slm.samples_per_pixel,
        wavelength=specification.wavelength,
        dtype=bench.slm.values.dtype,
        **continuous,
    )
    _set_camera(bench, strengths)
    return bench


def _displaced(specification: BenchSpecification, strengths: Mapping[str, float], seed: int) -> BenchSpecification:
    """Where the parts stand, the pitch of the SLM and the wavelength of the light."""
    changes: dict[str, object] = {}
    position: dict[str, object] = {}
    if "slm_shift" in strengths:
        angle = direction("slm_shift", seed)
        position["shift"] = tuple(strengths["slm_shift"] * part for part in (math.sin(angle), math.cos(angle)))
    if "slm_rotation" in strengths:
        position["rotation"] = signed("slm_rotation", strengths["slm_rotation"], seed)
    if position:
        changes["slm_position"] = PositionSpecification(**position)
    if "defocus" in strengths:
        changes["camera_position"] = PositionSpecification(axial=signed("defocus", strengths["defocus"], seed))
    if "wavelength" in strengths:
        light = specification.wavelength + signed("wavelength", strengths["wavelength"], seed)
        changes["light"] = LightSpecification(wavelengths=(light,), weights=(1.0,))
    if "slm_pitch" in strengths:
        slm = specification.slm
        pitch = slm_device(slm.device).pitch.value if slm.pitch is None else slm.pitch
        displayed = pitch * (1 + signed("slm_pitch", strengths["slm_pitch"], seed))
        changes["slm"] = slm.model_copy(update={"pitch": round(displayed, 15)})
    return specification.model_copy(update=changes)


def _panel_effects(strengths: Mapping[str, float], seed: int, flicker_frames: int) -> list[Effect]:
    """Defects of the panel, fill factor aside."""
    found: list[Effect] = []
    bits = strengths.get("slm_bits")
    if bits is None and "lut_gamma" in strengths:
        bits = FINEST
    if bits is not None:
        found.append(Quantization(int(bits)))
    if "lut_gamma" in strengths:
        exponent = (1 + strengths["lut_gamma"]) ** sign("lut_gamma", seed)
        levels = np.arange(2 ** int(bits)) / 2 ** int(bits)
        found.append(LUT(2 * math.pi * levels**exponent, calibrated=False))
    if "crosstalk" in strengths:
        found.append(Crosstalk(strengths["crosstalk"]))
    if strengths.get("flicker"):
        found.append(Flicker(strengths["flicker"], frames=flicker_frames, seed=seed))
    return found


def _set_camera(bench: FourF, strengths: Mapping[str, float]) -> None:
    """Only those of the camera's defects that are named; without any it is ideal.

    With ``adc_bits``, binned pixels are one pixel of their size, full well and noise with one conversion: the worst.
    Rounding errors of pixels that are converted one by one average out, if there is noise to make them differ.
    """
    camera, sensor = bench.camera, bench.camera.sensor
    if not {"photons", "read_noise", "adc_bits"} & set(strengths):
        camera.sensor = None
        return
    electrons = 1.0 if "photons" in strengths else BRIGHT
    n = camera.binning if "adc_bits" in strengths else 1
    bench.camera = Camera(
        camera.grid.shape,
        camera.pitch * n,
        binning=camera.binning // n,
        exposure=strengths.get("photons", camera.exposure),
        sensor=replace(
            sensor,
            full_well=electrons * sensor.full_well * n**2,
            read_noise=electrons * strengths.get("read_noise", 0.0) * n,
            bit_depth=int(strengths.get("adc_bits", FINEST)),
        ),
    )
