"""The size of an image from which optics cost less than electronics, with its uncertainty."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .resolution_sweep import Curve, Quantity


@dataclass(frozen=True)
class Crossover:
    """The side from which the optics cost less, for as long as the sweep goes.

    Attributes:
        optics: Name of the optical system.
        electronics: Name of the electronics.
        quantity: What is compared.
        ratio: Optics over electronics at the largest side that both can take, median of the draws.
        share: Draws in which the optics cost less there, between 0 and 1.
        low: 5 % of the draws cross below this side; ``inf`` where they do not cross.
        median: Half of them cross below it.
        high: 95 % of them cross below it.
        first: Smallest side of the comparison; a crossover here means from the start.
        last: Largest side that both can take.
    """

    optics: str
    electronics: str
    quantity: Quantity
    ratio: float
    share: float
    low: float
    median: float
    high: float
    first: int
    last: int


def crossover(optics: Curve, electronics: Curve, quantity: Quantity) -> Crossover | None:
    """Where the optics begin to win, draw by draw; ``None`` where one of the two has no figure.

    Between two sides the ratio is taken as a power of the side. Optics jump where an image takes another mask or part,
    so the sides have to hold those before and after each jump (:func:`~experiments.cost_layout.telling_sides`).

    Args:
        optics: At such sides.
        electronics: At the same.
        quantity: What is compared.

    Raises:
        ValueError: Curves with different sides.
    """
    if optics.sides != electronics.sides:
        raise ValueError(
            f"sides of {electronics.name} must be those of {optics.name}, got {len(electronics.sides)} instead of "
            f"{len(optics.sides)}. Interpolate the electronics."
        )
    if quantity not in optics.draws or quantity not in electronics.draws:
        return None
    ratios = np.log(optics.draws[quantity] / electronics.draws[quantity])
    fits = ~np.isnan(ratios).any(axis=0)
    if not fits.any():
        return None
    sides = np.asarray(optics.sides, dtype=float)[fits]
    crossings = np.array([_crossing(np.log(sides), row) for row in ratios[:, fits]])
    low, median, high = (float(np.quantile(crossings, q, method="higher")) for q in (0.05, 0.5, 0.95))
    return Crossover(
        *(optics.name, electronics.name, quantity),
        float(np.exp(np.median(ratios[:, fits][:, -1]))),
        float(np.mean(np.isfinite(crossings))),
        *(low, median, high, int(sides[0]), int(sides[-1])),
    )


def _crossing(log_sides: np.ndarray, log_ratio: np.ndarray) -> float:
    """Side after which the ratio stays below one: the first where it always does, infinity where it ends above."""
    above = np.flatnonzero(log_ratio >= 0)
    if len(above) == 0:
        return math.exp(log_sides[0])
    last = above[-1]
    if last == len(log_ratio) - 1:
        return math.inf
    before, after = log_ratio[last], log_ratio[last + 1]
    return math.exp(log_sides[last] + (log_sides[last + 1] - log_sides[last]) * before / (before - after))
