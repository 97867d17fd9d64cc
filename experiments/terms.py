"""Quantities that know their bounds, their source and how far to trust them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np

from optics4f.devices import Value, component
from optics4f.units import to_si

Evidence = Literal["measured", "modelled", "assumed"]
_TRUST: tuple[Evidence, ...] = ("assumed", "modelled", "measured")
UNSOURCED = "configuration"  # the source of a number that is written without one


@dataclass(frozen=True)
class Term:
    """A quantity between two bounds, who says so, and how it was found.

    Arithmetic is that of intervals: bounds, source and the weakest evidence go with the result.
    Products and quotients are those of non-negative quantities. Bounds may be arrays, one number a draw, all three
    the same: arithmetic is then that of the draws.

    Attributes:
        name: What it is.
        low: Lower bound.
        nominal: Best estimate.
        high: Upper bound.
        unit: SI unit; ``"1"`` for a count.
        source: Who says so.
        kind: ``"measured"`` here, ``"modelled"`` from documented numbers, or ``"assumed"`` by the configuration.
    """

    name: str
    low: float
    nominal: float
    high: float
    unit: str
    source: str
    kind: Evidence = "assumed"

    def __post_init__(self) -> None:
        ends = (self.nominal,) if isinstance(self.nominal, np.ndarray) else (self.low, self.nominal, self.high)
        if not all(np.isfinite(end).all() for end in ends):
            raise ValueError(f"{self.name} must be finite, got {', '.join(f'{_least(end):g}' for end in ends)}.")
        if len(ends) == 3 and not self.low <= self.nominal <= self.high:
            raise ValueError(
                f"{self.name} must have low <= nominal <= high, got {self.low:g}, {self.nominal:g}, {self.high:g}."
            )
        if self.kind not in _TRUST:
            raise ValueError(f"kind of {self.name} must be one of {', '.join(_TRUST)}, got {self.kind!r}.")

    def __add__(self, other: Term) -> Term:
        _refuse_other_unit(self, other)
        ends = (self.low + other.low, self.nominal + other.nominal, self.high + other.high)
        return Term(self.name, *ends, self.unit, _sources(self, other), weakest(self, other))

    def __sub__(self, other: Term) -> Term:
        _refuse_other_unit(self, other)
        ends = (self.low - other.high, self.nominal - other.nominal, self.high - other.low)
        return Term(self.name, *ends, self.unit, _sources(self, other), weakest(self, other))

    def __mul__(self, other: Term | float) -> Term:
        other = _as_term(other)
        _refuse_negative(self, other)
        ends = (self.low * other.low, self.nominal * other.nominal, self.high * other.high)
        return Term(self.name, *ends, f"{self.unit} {other.unit}", _sources(self, other), weakest(self, other))

    __rmul__ = __mul__

    def __truediv__(self, other: Term | float) -> Term:
        other = _as_term(other)
        _refuse_negative(self, other)
        if (low := _least(other.low)) == 0:
            raise ValueError(f"{other.name} must be positive, got {low:g} {other.unit}.")
        ends = (self.low / other.high, self.nominal / other.nominal, self.high / other.low)
        return Term(self.name, *ends, f"{self.unit}/({other.unit})", _sources(self, other), weakest(self, other))

    def __rtruediv__(self, other: float) -> Term:
        return _as_term(other) / self

    def named(self, name: str, unit: str, *, source: str | None = None) -> Term:
        """The same bounds under another name and unit."""
        return replace(self, name=name, unit=unit, source=self.source if source is None else source)


def _least(value: float | np.ndarray) -> float:
    """A bound, or the least of all draws."""
    return value.min() if isinstance(value, np.ndarray) else value


def _as_term(value: Term | float) -> Term:
    """A bare number is exact: it has no source of its own and weakens no evidence."""
    return value if isinstance(value, Term) else Term("number", value, value, value, "1", "", "measured")


def _sources(*terms: Term) -> str:
    parts = dict.fromkeys(part for term in terms for part in term.source.split("; ") if part)
    return "; ".join(parts)


def weakest(*terms: Term) -> Evidence:
    """The least trustworthy evidence among the terms: a result is no better."""
    return min((term.kind for term in terms), key=_TRUST.index)


def _refuse_other_unit(term: Term, other: Term) -> None:
    if other.unit != term.unit:
        raise ValueError(f"{other.name} must be in {term.unit} to be combined with {term.name}, got {other.unit}.")


def _refuse_negative(*terms: Term) -> None:
    for term in terms:
        if (low := _least(term.low)) < 0:
            raise ValueError(f"{term.name} must not be negative, got {low:g} {term.unit}.")


def total(name: str, terms: Iterable[Term], unit: str) -> Term:
    """The sum of all terms."""
    terms = tuple(terms)
    result = Term(name, 0.0, 0.0, 0.0, unit, "", "measured")
    for term in terms:
        result = result + term
    return replace(result, source=f"sum of {len(terms)} terms")


def amount(raw: Any, unit: str, name: str) -> Term | None:
    """What a configuration writes for a number, as a term in ``unit``.

    Args:
        raw: A number, ``"8 ms"``, ``{low, nominal, high, source}``, ``{component = "dac-8bit-gsps"}``,
            ``{components = [...]}``, which is the first of them with the bounds of all, or nothing.
        unit: SI unit.
        name: Key, for messages.
    """
    if raw is None:
        return None
    if isinstance(raw, Mapping) and set(raw) == {field.name for field in fields(Term)}:
        raw = Term(**raw)  # as a settings dump spells it
    if isinstance(raw, Term):
        if raw.unit != unit:
            raise ValueError(f"{name} must be in {unit}, got {raw.unit}.")
        term = replace(raw, name=name)
    elif not isinstance(raw, Mapping):
        value = to_si(raw, unit, name)
        term = Term(name, value, value, value, unit, UNSOURCED)
    elif set(raw) == {"component"}:
        term = _component(raw["component"], unit, name)
    elif set(raw) == {"components"}:
        if not isinstance(raw["components"], list) or not raw["components"]:
            raise ValueError(f"components of {name} must be a list of components, got {raw['components']!r}.")
        known = [_component(slug, unit, name) for slug in raw["components"]]
        low, high = min(term.low for term in known), max(term.high for term in known)
        sources = "; ".join(f"{slug}: {term.source}" for slug, term in zip(raw["components"], known, strict=True))
        term = Term(name, low, known[0].nominal, high, unit, sources, weakest(*known))
    else:
        term = _range(raw, unit, name)
    _refuse_negative(term)
    return term


def _component(slug: str, unit: str, name: str) -> Term:
    term = documented(component(slug), name)
    if term.unit != unit:
        raise ValueError(f"{name} must be in {unit}, got component {slug} in {term.unit}.")
    return term


def _range(raw: Mapping[str, Any], unit: str, name: str) -> Term:
    if unknown := sorted(set(raw) - {"low", "nominal", "high", "source", "kind"}):
        raise ValueError(f"{name} must not have {', '.join(unknown)}. It may have low, nominal, high, source, kind.")
    if not raw.get("source") or "nominal" not in raw:
        raise ValueError(f'{name} must have a nominal value and a source, got {dict(raw)}. Write source = "...".')
    nominal = raw["nominal"]
    ends = (to_si(raw.get(end, nominal), unit, name) for end in ("low", "nominal", "high"))
    return Term(name, *ends, unit, raw["source"], raw.get("kind", "assumed"))


def documented(value: Value, name: str) -> Term:
    """A preset's number as a term, between its documented bounds."""
    low = value.value if value.low is None else min(value.low, value.value)
    high = value.value if value.high is None else max(value.high, value.value)
    return Term(name, low, value.value, high, value.unit, f"{value.source} ({value.confidence})", "modelled")
