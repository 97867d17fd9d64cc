"""What a device is: numbers with their pedigree, and the kinds of things that have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Number = float | tuple[float, ...]
Kind = Literal["slm", "camera", "gpu"]

CONFIDENCE = ("vendor", "paper", "reseller", "secondary", "derived", "unverified", "assumption")
"""How far a number can be trusted, as the head of every preset file explains."""


@dataclass(frozen=True)
class Value:
    """A number with its pedigree.

    Attributes:
        value: The number in ``unit``; several where it is a shape, a range or a table.
        unit: SI unit, or what is counted: ``"px"``, ``"bit"``, ``"e-"``; ``"1"`` for a ratio.
        source: Who says so.
        confidence: One of :data:`CONFIDENCE`.
        note: Condition or caveat.
        low: Lower end where the source gives a range.
        high: Upper end where the source gives a range.
        wavelength: Wavelength that the number is for [m].
    """

    value: Number
    unit: str
    source: str
    confidence: str
    note: str = ""
    low: float | None = None
    high: float | None = None
    wavelength: float | None = None


@dataclass(frozen=True, kw_only=True)
class Device:
    """What all devices have."""

    slug: str
    name: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class SLMDevice(Device):
    """A spatial light modulator, on the Fourier plane or as the display of the input.

    ``frame_rate`` [Hz] is how fast patterns are addressed, ``settle_time`` [s] how long a pixel
    takes to follow. ``level_ratios`` is the displacement of each level of a phase light modulator
    over the largest, ``level_order`` the order of the levels in memory.
    """

    UNITS = {
        "shape": "px",
        "pitch": "m",
        "fill_factor": "1",
        "bit_depth": "bit",
        "frame_rate": "Hz",
        "settle_time": "s",
        "light_utilisation": "1",
        "wavelength_range": "m",
        "phase_range": "rad",
        "level_at_2pi": "level",
        "level_ratios": "1",
        "level_order": "1",
        "link_bandwidth": "bit/s",
        "power": "W",
    }

    kind: Literal["phase", "amplitude", "dmd", "plm"]
    shape: Value | None = None
    pitch: Value | None = None
    fill_factor: Value | None = None
    bit_depth: Value | None = None
    frame_rate: Value | None = None
    settle_time: Value | None = None
    light_utilisation: Value | None = None
    wavelength_range: Value | None = None
    phase_range: tuple[Value, ...] | None = None
    level_at_2pi: tuple[Value, ...] | None = None
    level_ratios: Value | None = None
    level_order: Value | None = None
    link_bandwidth: Value | None = None
    power: Value | None = None


@dataclass(frozen=True, kw_only=True)
class CameraDevice(Device):
    """A camera. ``link`` is its interface in words, ``link_bandwidth`` [bit/s] in numbers."""

    UNITS = {
        "shape": "px",
        "pitch": "m",
        "quantum_efficiency": "1",
        "full_well": "e-",
        "read_noise": "e-",
        "bit_depth": "bit",
        "conversion_gain": "e-/DN",
        "frame_rate": "Hz",
        "dark_current": "e-/s",
        "link_bandwidth": "bit/s",
        "power": "W",
    }

    link: str = ""
    shape: Value | None = None
    pitch: Value | None = None
    quantum_efficiency: Value | None = None
    full_well: Value | None = None
    read_noise: Value | None = None
    bit_depth: Value | None = None
    conversion_gain: Value | None = None
    frame_rate: Value | None = None
    dark_current: Value | None = None
    link_bandwidth: Value | None = None
    power: Value | None = None


@dataclass(frozen=True, kw_only=True)
class GPUDevice(Device):
    """A GPU: dense peak rates [flop/s], memory bandwidth [byte/s], thermal design power [W]."""

    UNITS = {
        "peak_fp32": "flop/s",
        "peak_tf32": "flop/s",
        "peak_bf16": "flop/s",
        "peak_fp16": "flop/s",
        "bandwidth": "byte/s",
        "tdp": "W",
    }

    peak_fp32: Value | None = None
    peak_tf32: Value | None = None
    peak_bf16: Value | None = None
    peak_fp16: Value | None = None
    bandwidth: Value | None = None
    tdp: Value | None = None


@dataclass(frozen=True, kw_only=True)
class Component(Value):
    """What one sample, pixel or multiply-accumulate costs."""

    slug: str
    name: str


KINDS: dict[str, type[Device]] = {"slm": SLMDevice, "camera": CameraDevice, "gpu": GPUDevice}
