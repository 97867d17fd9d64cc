"""Costs whose inputs are drawn between their bounds: how likely, where an interval only says what is possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from pydantic import BaseModel

from optics4f.devices import camera_device, slm_device

from .optical_settings import OpticalCostSettings
from .terms import Term, documented

Settings = TypeVar("Settings", bound=BaseModel)


def resolved(settings: OpticalCostSettings) -> OpticalCostSettings:
    """The settings with every number that the presets of their devices know, so that each is drawn once."""
    filled = {}
    for table, find in (("display", slm_device), ("slm", slm_device), ("camera", camera_device)):
        part = getattr(settings, table)
        if part is None:
            continue
        preset = find(part.device)
        known = {
            name: documented(getattr(preset, name), name)
            for name in ("frame_rate", "settle_time", "link_bandwidth", "power")
            if name in type(part).model_fields and getattr(part, name) is None and getattr(preset, name, None)
        }
        filled[table] = part.model_copy(update=known)
    return settings.model_copy(update=filled)


def drawn(settings: Settings, generator: np.random.Generator) -> Settings:
    """The same settings with every quantity at one value between its bounds: :func:`quantile` of a uniform number."""
    changed = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Term):
            changed[name] = at(value, quantile(value, generator.random()))
        elif isinstance(value, BaseModel):
            changed[name] = drawn(value, generator)
    return settings.model_copy(update=changed)


def at(term: Term, value: float) -> Term:
    """The term without its range."""
    return replace(term, low=value, nominal=value, high=value)


def quantile(term: Term, share: float) -> float:
    """The value below which ``share`` of the draws lie: triangular about the nominal value.

    Where the lower bound is positive the logarithm is triangular: a power between 2 and 40 W is known to a factor.

    Args:
        term: The range.
        share: Between 0 and 1.
    """
    if term.low == term.high:
        return term.nominal
    to, back = (math.log, math.exp) if term.low > 0 else (float, float)
    low, mode, high = to(term.low), to(term.nominal), to(term.high)
    turn = (mode - low) / (high - low)
    if share < turn:
        return back(low + math.sqrt(share * (high - low) * (mode - low)))
    return back(high - math.sqrt((1 - share) * (high - low) * (high - mode)))


def samples_of(
    settings: OpticalCostSettings, cost: Callable[[OpticalCostSettings], Sequence[float]], *, samples: int, seed: int
) -> np.ndarray:
    """What ``cost`` makes of so many draws of all quantities, each drawn on its own.

    Args:
        settings: The system; devices' presets are filled in first.
        cost: A function of settings without ranges.
        samples: How many.
        seed: Of the draws.

    Returns:
        One row a draw.
    """
    generator = np.random.default_rng(seed)
    known = resolved(settings)
    return np.array([cost(drawn(known, generator)) for _ in range(samples)])


def spread(name: str, values: np.ndarray, unit: str, source: str) -> Term:
    """Median of draws between their 5th and 95th percentile."""
    low, median, high = (float(value) for value in np.quantile(values, (0.05, 0.5, 0.95)))
    return Term(name, low, median, high, unit, f"{source}; {len(values)} draws, 5 % to 95 %", "modelled")
