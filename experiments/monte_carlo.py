"""Costs whose inputs are drawn between their bounds: how likely, where an interval only says what is possible."""

from __future__ import annotations

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


def drawn(settings: Settings, generator: np.random.Generator, draws: int) -> Settings:
    """The same settings with every quantity drawn between its bounds: :func:`quantile` of uniform numbers.

    Args:
        settings: With ranges.
        generator: Of the draws.
        draws: How many; each quantity becomes an array ``(draws,)``.
    """
    changed = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Term):
            changed[name] = at(value, quantile(value, generator.random(draws)))
        elif isinstance(value, BaseModel):
            changed[name] = drawn(value, generator, draws)
    return settings.model_copy(update=changed)


def at(term: Term, value: float | np.ndarray) -> Term:
    """The term without its range: at one value, or at one a draw, shape ``(draws,)``."""
    return replace(term, low=value, nominal=value, high=value)


def quantile(term: Term, share: np.ndarray) -> np.ndarray:
    """The value below which ``share`` of the draws lie: triangular about the nominal value.

    Where the lower bound is positive the logarithm is triangular: a power between 2 and 40 W is known to a factor.

    Args:
        term: The range.
        share: Between 0 and 1, of any shape, which the result has as well.
    """
    share = np.asarray(share, dtype=float)
    if term.low == term.high:
        return np.full(share.shape, float(term.nominal))
    low, mode, high = (
        np.log([term.low, term.nominal, term.high]) if term.low > 0 else (term.low, term.nominal, term.high)
    )
    width = high - low
    rising = low + np.sqrt(share * width * (mode - low))
    falling = high - np.sqrt((1 - share) * width * (high - mode))
    value = np.where(share * width < mode - low, rising, falling)
    return np.exp(value) if term.low > 0 else value
