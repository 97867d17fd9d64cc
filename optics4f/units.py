"""The unit boundary: pint quantities come in, SI floats go out.

This is the only module that imports pint. Everything behind it computes in plain SI
floats, so no quantity ever reaches the autograd graph.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pint

    Quantity = float | str | pint.Quantity


_QUANTITY = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*([^\W\d_][\w*/^ ()-]{0,60})?\s*")


@cache
def _registry() -> pint.UnitRegistry:
    """The application's registry; pint loads its unit definitions here, once, and not at import."""
    import pint

    return pint.get_application_registry()


def to_si(value: Quantity, unit: str, name: str = "value") -> float:
    """Convert a length, time, power... to a float in ``unit``.

    Args:
        value: A quantity (``532 * ureg.nm``), its text (``"532 nm"``, as configuration
            files spell it), or a bare number that is already in ``unit``.
        unit: SI unit to return, such as ``"m"``.
        name: Argument name to show when the dimension is wrong.

    Returns:
        The number in ``unit``, rounded to 15 digits: pint alone turns 12.5 um into
        1.2499999999999999e-05 m, and two equal grids into unequal ones.

    Raises:
        ValueError: The text is no quantity, or its dimension is not that of ``unit``.

    Example:
        >>> to_si("12.5 um", "m")
        1.25e-05
    """
    if isinstance(value, bool):
        raise TypeError(f"{name} must be a number or a quantity in {unit}, got {value}.")
    if isinstance(value, int | float):
        return float(value)
    import pint

    if isinstance(value, str):
        text = value
        if not _QUANTITY.fullmatch(text) or len(re.findall(r"\*\*|\^", text)) > 1:
            # Pint would evaluate arithmetic, and 9**9**9 for ever.
            raise ValueError(f'{name} must be a number and a unit in {unit}, got "{text[:60]}". Write it as "8 um".')
        try:
            value = _registry().Quantity(text)
        except Exception as error:  # pint raises a dozen kinds, tokenizer errors among them
            raise ValueError(f'{name} must be a quantity in {unit}, got "{text}". Write it as "8 um".') from error
    if not isinstance(value, pint.Quantity):
        return float(value)
    try:
        return float(f"{value.to(unit).magnitude:.15g}")
    except pint.DimensionalityError as error:
        raise ValueError(f"{name} must be convertible to {unit}, got {value:~P}.") from error


_PREFIXES = tuple(
    (10.0**power, prefix)
    for power, prefix in zip(range(12, -16, -3), ["T", "G", "M", "k", "", "m", "u", "n", "p", "f"], strict=True)
)
_ROUNDINGS = {"nearest": round, "down": math.floor, "up": math.ceil}


def engineering(
    value: float, unit: str, digits: int = 4, *, rounding: Literal["nearest", "down", "up"] = "nearest"
) -> str:
    """``value`` [SI] as a person writes it: ``engineering(8e-6, "m")`` is ``"8 um"``.

    Args:
        value: The number.
        unit: Its SI unit; gets a prefix.
        digits: Significant digits.
        rounding: ``"down"`` for a limit that must not be exceeded, ``"up"`` for one that must be reached: a limit
            rounded to the wrong side is no longer one.
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {unit}"
    last = 10.0 ** (math.floor(math.log10(abs(value))) - digits + 1)
    # A ten-thousandth of the last digit is rounding noise of the value, not a reason to move to the next one.
    noise = {"nearest": 0.0, "down": 1e-4, "up": -1e-4}[rounding]
    value = _ROUNDINGS[rounding](value / last + noise) * last
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s * (1 - 1e-9)), _PREFIXES[-1])
    return f"{value / scale:.{digits}g} {prefix}{unit}"
