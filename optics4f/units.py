"""The unit boundary: pint quantities come in, SI floats go out.

This is the only module that imports pint. Everything behind it computes in plain SI
floats, so no quantity ever reaches the autograd graph.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pint

    Quantity = float | str | pint.Quantity


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


_PREFIXES = ((1e0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"), (1e-12, "p"), (1e-15, "f"))


def engineering(value: float, unit: str, digits: int = 4) -> str:
    """``value`` [SI] as a person writes it: ``engineering(8e-6, "m")`` is ``"8 um"``."""
    magnitude = abs(value)
    if magnitude == 0 or magnitude != magnitude or magnitude == float("inf"):
        return f"{value:g} {unit}"
    if magnitude >= 1000:
        scale, prefix = max((s, p) for s, p in ((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")) if s <= magnitude)
    else:
        scale, prefix = next(((s, p) for s, p in _PREFIXES if magnitude >= s * 0.9995), _PREFIXES[-1])
    return f"{value / scale:.{digits}g} {prefix}{unit}"
