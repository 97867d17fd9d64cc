"""What is known of real devices: presets in which every number names its source.

A number that no source gives is ``None``; :func:`require` asks for it by name instead of
inventing it.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from .units import to_si

Number = float | tuple[float, ...]
Kind = Literal["slm", "camera", "gpu"]

CONFIDENCE = ("vendor", "paper", "reseller", "secondary", "derived", "unverified", "assumption")
"""How far a number can be trusted, as the head of every preset file explains."""

OWN_DEVICES = "OPTICS4F_DEVICES"
"""Environment variable that names TOML files of a user's own devices, separated as in PATH."""

# What pint has no word for: unit in the file -> (unit here, factor).
_COUNTED = {
    "px": ("px", 1.0),
    "bit": ("bit", 1.0),
    "level": ("level", 1.0),
    "e-": ("e-", 1.0),
    "e-/s": ("e-/s", 1.0),
    "e-/DN": ("e-/DN", 1.0),
    "1": ("1", 1.0),
    "TFLOP/s": ("flop/s", 1e12),
}
_WHOLE = {"px", "bit", "level"}
_COMPONENT_UNITS = {
    **{f"{prefix}J": "J" for prefix in ("", "m", "u", "n", "p", "f")},
    **{"W": "W", "s": "s", "ms": "s", "Hz": "Hz", "1": "1", "Gbit/s": "bit/s"},
}


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


_KINDS: dict[str, type[Device]] = {"slm": SLMDevice, "camera": CameraDevice, "gpu": GPUDevice}
_SEVERAL = {"phase_range", "level_at_2pi"}  # one entry per wavelength
_PAIRS = {"shape", "wavelength_range"}
_ROWS = {"level_ratios", "level_order"}  # one number per level
_FRACTIONS = {"fill_factor", "light_utilisation", "quantum_efficiency"}
_MAY_BE_ZERO = {"read_noise", "dark_current", "power", "settle_time", *_ROWS}
_TABLES = {"slm": "bench.slm", "camera": "bench.camera"}


def slm_device(name: str) -> SLMDevice:
    """The spatial light modulator with this slug, such as ``"meadowlark-1920x1152"``."""
    return _find(name, _presets("slm"), "slm")


def camera_device(name: str) -> CameraDevice:
    """The camera with this slug, such as ``"andor-zyla-4.2"``."""
    return _find(name, _presets("camera"), "camera")


def gpu_device(name: str) -> GPUDevice:
    """The GPU with this slug, such as ``"h100-sxm"``."""
    return _find(name, _presets("gpu"), "gpu")


def component(name: str) -> Component:
    """The component with this slug, such as ``"dac-8bit-gsps"``."""
    return _find(name, _components(), "component")


def any_device(name: str) -> Device:
    """The SLM, camera or GPU with this slug."""
    known = [_presets(kind) for kind in _KINDS]
    return _find(name, {slug: found for devices in reversed(known) for slug, found in devices.items()}, "device")


def device_names(kind: Literal["slm", "camera", "gpu", "component"]) -> list[str]:
    """Slugs of all presets of one kind."""
    return sorted(_components() if kind == "component" else _presets(kind))


def require(device: Device, name: str, *, table: str | None = None) -> Number | tuple[Value, ...]:
    """The SI number ``name`` of a device, such as ``require(camera, "quantum_efficiency")``.

    Args:
        device: A preset.
        name: Which number.
        table: Table of the configuration in which a missing number can be stated, for the message.

    Raises:
        ValueError: Nobody has said what it is, or a device of this kind has no such number.
    """
    units = type(device).UNITS
    if name not in units:
        raise ValueError(f"{name} must be one of {', '.join(units)} for {device.slug}.")
    found = getattr(device, name)
    if found is None:
        kind = next(kind for kind, cls in _KINDS.items() if isinstance(device, cls))
        table = table or _TABLES.get(kind, kind)
        raise ValueError(
            f"{name} of {device.slug} must be known, but no source gives it. Write {name} = ... [{units[name]}] under "
            f"[{table}] in the configuration, or give {name}=... in Python."
        )
    return found.value if isinstance(found, Value) else found


def load_devices(path: str | Path, kind: Kind) -> dict[str, Device]:
    """The devices of a TOML file laid out as the presets are: slug -> device.

    Raises:
        ValueError: No such file, no TOML, a number without source or confidence, one that no device can have, an
            unknown key or unit.
    """
    with _naming(path):
        return _devices(_read(path), kind)


def _presets(kind: Kind) -> Mapping[str, Device]:
    if kind not in _KINDS:
        raise ValueError(f'kind must be one of "slm", "camera", "gpu", "component", got {kind!r}.')
    return _with_own(kind, os.environ.get(OWN_DEVICES, ""))


@cache
def _with_own(kind: Kind, paths: str) -> Mapping[str, Device]:
    """The presets, and the devices of the user's own files."""
    found = _devices(_preset_file(f"{kind}s.toml"), kind)
    for path in filter(None, paths.split(os.pathsep)):
        for slug, device in own_devices(path)[kind].items():
            if slug in found:
                raise ValueError(f"{path}: {slug} must be a new name, got that of {found[slug].name}.")
            found[slug] = device
    return found


def own_devices(path: str | Path) -> dict[Kind, dict[str, Device]]:
    """Devices of a user's TOML file, whose tables are ``[slm.NAME]``, ``[camera.NAME]`` or ``[gpu.NAME]``.

    Raises:
        ValueError: No such file, no TOML, another kind, or what :func:`load_devices` refuses.
    """
    with _naming(f"{path}, named in {OWN_DEVICES}"):
        tables = _read(path)
        for kind, table in tables.items():
            if kind not in _KINDS or not isinstance(table, Mapping):
                got = f"[{kind}]" if isinstance(table, Mapping) else f"{kind} = {table!r}"
                raise ValueError(f"tables must be [slm.NAME], [camera.NAME] or [gpu.NAME], got {got}. See docs/how-to.")
        return {kind: _devices(tables.get(kind, {}), kind) for kind in _KINDS}


def _read(path: str | Path) -> dict[str, Any]:
    """What a TOML file of devices holds."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"the file must be UTF-8 text, got {error}. Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the file is not TOML: {error}.") from error


@contextmanager
def _naming(file: str | Path) -> Iterator[None]:
    """Errors that say which file they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from error


@cache
def _components() -> Mapping[str, Component]:
    components = {}
    for slug, table in _preset_file("components.toml").items():
        unit = table.get("unit", "")
        if unit not in _COMPONENT_UNITS:
            raise ValueError(f"unit of {slug} must be one of {', '.join(_COMPONENT_UNITS)}, got {unit!r}.")
        table = dict(table)
        name = table.pop("name")
        components[slug] = Component(slug=slug, name=name, **vars(_value(table, _COMPONENT_UNITS[unit], slug)))
    return components


def _preset_file(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("optics4f") / "presets" / name).read_text(encoding="utf-8"))


def _devices(tables: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    return {slug: _device(slug, table, _KINDS[kind]) for slug, table in tables.items()}


def _device(slug: str, table: Mapping[str, Any], cls: type[Device]) -> Device:
    if not isinstance(table, Mapping):
        raise ValueError(f"{slug} must be a table of one device, got {table!r}. Write [slug] above its numbers.")
    allowed = {field.name for field in fields(cls)} - {"slug"}
    needed = {field.name for field in fields(cls) if field.default is MISSING} - {"slug"}
    if unknown := sorted(table.keys() - allowed):
        raise ValueError(f"{slug} must not have {', '.join(unknown)}. It may have {', '.join(sorted(allowed))}.")
    if missing := sorted(needed - table.keys()):
        raise ValueError(f"{slug} must have {', '.join(missing)}.")
    for name in ("name", "note", "link"):
        if not isinstance(table.get(name, ""), str):
            raise ValueError(f'{name} of {slug} must be text, got {table[name]!r}. Write {name} = "...".')
    if table.get("kind", "phase") not in ("phase", "amplitude", "dmd", "plm"):
        raise ValueError(f'kind of {slug} must be "phase", "amplitude", "dmd" or "plm", got {table["kind"]!r}.')
    read: dict[str, Any] = {"slug": slug}
    for name, entry in table.items():
        where = f"{name} of {slug}"
        unit = cls.UNITS.get(name)
        if unit is None:
            read[name] = entry
        elif name in _SEVERAL:
            if not isinstance(entry, list) or not entry:
                raise ValueError(
                    f"{where} must be a list [{{ value, unit, ... }}, ...], one a wavelength, got {entry!r}."
                )
            read[name] = tuple(_possible(_value(one, unit, where), name, where) for one in entry)
        else:
            read[name] = _possible(_value(entry, unit, where), name, where)
    return cls(**read)


def _possible(value: Value, name: str, where: str) -> Value:
    """``value``, refused where no device can have it."""
    numbers = value.value if isinstance(value.value, tuple) else (value.value,)
    if name in _PAIRS and len(numbers) != 2:
        raise ValueError(f"{where} must be two numbers, got {value.value!r}. Write value = [a, b].")
    if name in _ROWS and (not isinstance(value.value, tuple) or not numbers):
        raise ValueError(f"{where} must be a list of numbers, one a level, got {value.value!r}.")
    if name not in _PAIRS | _ROWS and isinstance(value.value, tuple):
        raise ValueError(f"{where} must be one number, got {value.value!r}.")
    wanted = "not negative" if name in _MAY_BE_ZERO else "positive"
    for number in (*numbers, *(n for n in (value.low, value.high, value.wavelength) if n is not None)):
        if isinstance(number, tuple) or not 0 <= number < math.inf or (number == 0 and name not in _MAY_BE_ZERO):
            raise ValueError(f"{where} must be finite and {wanted}, got {number!r} {value.unit}.")
        if name in _FRACTIONS and number > 1:
            raise ValueError(f"{where} must be at most 1, got {number!r}. 93 % is 0.93.")
    if value.unit in _WHOLE and not all(isinstance(number, int) for number in numbers):
        raise ValueError(f"{where} must be whole, got {value.value!r} {value.unit}.")
    if name == "wavelength_range" and not numbers[0] < numbers[1]:
        raise ValueError(f"{where} must rise, got {numbers[0]!r} ... {numbers[1]!r} m. Write the shorter one first.")
    return value


def _value(entry: Any, unit: str, where: str) -> Value:
    """One number of a file, in ``unit``; refused without a source and a confidence."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where} must be a table {{ value, unit, source, confidence }}, got {entry!r}.")
    for key in ("value", "unit", "source", "confidence"):
        if entry.get(key, "") == "":
            raise ValueError(f"{where} must have a {key}. A number that nobody vouches for is left out.")
    for key in ("unit", "source", "note"):
        if not isinstance(entry.get(key, ""), str):
            raise ValueError(f'{key} of {where} must be text, got {entry[key]!r}. Write {key} = "...".')
    if entry["confidence"] not in CONFIDENCE:
        raise ValueError(f"confidence of {where} must be one of {', '.join(CONFIDENCE)}, got {entry['confidence']!r}.")
    if unknown := sorted(entry.keys() - {field.name for field in fields(Value)}):
        raise ValueError(f"{where} must not have {', '.join(unknown)}.")
    converted = {key: _convert(entry[key], entry["unit"], unit, where) for key in ("low", "high") if key in entry}
    if "wavelength" in entry:
        if not isinstance(entry["wavelength"], str | int | float):
            raise ValueError(f'wavelength of {where} must be one length such as "532 nm", got {entry["wavelength"]!r}.')
        converted["wavelength"] = to_si(entry["wavelength"], "m", f"wavelength of {where}")
    return Value(
        value=_convert(entry["value"], entry["unit"], unit, where),
        unit=unit,
        source=entry["source"],
        confidence=entry["confidence"],
        note=entry.get("note", ""),
        **converted,
    )


def _convert(number: Any, written: str, unit: str, where: str) -> Any:
    if isinstance(number, list):
        return tuple(_convert(one, written, unit, where) for one in number)
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise TypeError(f"value of {where} must be a number, got {number!r}.")
    if written in _COUNTED:
        counted, factor = _COUNTED[written]
        if counted != unit:
            raise ValueError(f"{where} must be in {unit}, got {written}.")
        return int(number) if unit in _WHOLE and number == int(number) else float(f"{number * factor:.15g}")
    if unit in {counted for counted, _ in _COUNTED.values()}:
        raise ValueError(f"{where} must be in {unit}, got {written}.")
    return to_si(f"{number!r} {written}", unit, where)


def _find(name: str, known: Mapping[str, Any], kind: str) -> Any:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.4)
    nearest = f' Nearest: "{near[0]}".' if near else ""
    lists = "optics4f devices" if kind == "device" else f'device_names("{kind}")'
    raise ValueError(
        f'{kind} must be a known device, got "{name}".{nearest} {lists} lists all {len(known)}; '
        f"{OWN_DEVICES} names TOML files of your own."
    )
