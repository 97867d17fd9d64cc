"""One number of a device file: in SI units, possible, and refused where nobody vouches for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..units import to_si
from .kinds import CONFIDENCE, Value

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
_PAIRS = {"shape", "wavelength_range"}
_ROWS = {"level_ratios", "level_order"}  # one number per level
_FRACTIONS = {"fill_factor", "light_utilisation", "quantum_efficiency"}
_MAY_BE_ZERO = {"read_noise", "dark_current", "power", "settle_time", *_ROWS}


def read_value(entry: Any, unit: str, where: str) -> Value:
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


def possible(value: Value, name: str, where: str) -> Value:
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
