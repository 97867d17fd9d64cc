"""How much may go wrong: a metric under random errors of alignment and device, its yield, and what matters most."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Protocol

import numpy as np
from scipy import stats


class Distribution(Protocol):
    """Anything that draws: the distributions of ``scipy.stats`` do."""

    def rvs(self, size: int, random_state: np.random.Generator) -> np.ndarray:
        """``size`` draws, shape ``(size,)``."""


@dataclass(frozen=True)
class ToleranceReport:
    """The result of a Monte-Carlo.

    Attributes:
        values: Metric of each trial, shape ``(trials,)``.
        draws: Error of each trial, by name.
        mean: Mean of the metric.
        interval: Confidence interval of the mean (bootstrap, BCa).
        yield_: Share of trials at or above the threshold; ``None`` without one.
        yield_interval: Its confidence interval (Clopper and Pearson 1934, exact).
        confidence: Of both intervals.
        ranking: Names of the errors, the one that matters most first, with the share of the metric's variance (in
            ranks) that each explains and the p-value of its rank correlation.
    """

    values: np.ndarray
    draws: dict[str, np.ndarray]
    mean: float
    interval: tuple[float, float]
    yield_: float | None
    yield_interval: tuple[float, float] | None
    confidence: float
    ranking: tuple[tuple[str, float, float], ...]

    def rows(self) -> list[dict]:
        """The ranking as a table."""
        return [{"error": name, "share of variance": share, "p": p} for name, share, p in self.ranking]


def tolerance(
    metric: Callable[[dict[str, float]], float],
    errors: Mapping[str, Distribution],
    *,
    trials: int,
    seed: int,
    threshold: float | None = None,
    confidence: float = 0.95,
) -> ToleranceReport:
    r"""Draw all errors together, ``trials`` times, and evaluate the metric for each draw.

    An error without effect and one whose best value lies in the middle of its distribution look alike to a rank
    correlation, so each error is ranked by the larger of :math:`\rho^2` of its value and of its distance from the
    median (Spearman).

    Args:
        metric: Accuracy or any number, of a dictionary of drawn errors.
        errors: Distribution of each error.
        trials: How many.
        seed: Of the draws.
        threshold: Smallest metric that passes.
        confidence: Of the intervals.

    Raises:
        ValueError: No errors, fewer than 3 trials, a threshold, a draw or a metric that is not a finite number.
        TypeError: Trials that are no whole number, an error that is no distribution.
    """
    if not errors:
        raise ValueError("errors must name at least one distribution, got none.")
    if isinstance(trials, bool) or not isinstance(trials, Integral):
        raise TypeError(f"trials must be a whole number, got {trials!r}.")
    if trials < 3:
        raise ValueError(f"trials must be at least 3, got {trials}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be in (0, 1), got {confidence:g}.")
    if threshold is not None and not math.isfinite(threshold):
        raise ValueError(f"threshold must be finite, got {threshold:g}. None asks for no yield.")
    generator = np.random.default_rng(seed)
    draws = {name: _drawn(name, distribution, trials, generator) for name, distribution in errors.items()}
    values = np.empty(trials)
    for n in range(trials):
        values[n] = float(metric({name: float(drawn[n]) for name, drawn in draws.items()}))
        if not math.isfinite(values[n]):
            raise ValueError(
                f"metric must be finite, got {values[n]:g} in trial {n}: { ({k: v[n] for k, v in draws.items()}) }."
            )
    mean, interval = values.mean().item(), _interval_of_mean(values, confidence, generator)
    passed, yield_interval = None, None
    if threshold is not None:
        count = int((values >= threshold).sum())
        passed = count / trials
        exact = stats.binomtest(count, trials).proportion_ci(confidence, method="exact")
        yield_interval = (float(exact.low), float(exact.high))
    ranking = sorted(((name, *_effect(drawn, values)) for name, drawn in draws.items()), key=lambda row: -row[1])
    return ToleranceReport(values, draws, mean, interval, passed, yield_interval, confidence, tuple(ranking))


def _drawn(name: str, distribution: Distribution, trials: int, generator: np.random.Generator) -> np.ndarray:
    if not callable(getattr(distribution, "rvs", None)):
        raise TypeError(f"error {name} must be a distribution such as scipy.stats.norm(0, 1e-6), got {distribution!r}.")
    drawn = np.asarray(distribution.rvs(size=trials, random_state=generator), dtype=float)
    if drawn.shape != (trials,) or not np.isfinite(drawn).all():
        raise ValueError(f"draws of {name} must be {trials} finite numbers, got {drawn.tolist()[:5]}.")
    return drawn


def _interval_of_mean(values: np.ndarray, confidence: float, generator: np.random.Generator) -> tuple[float, float]:
    if np.ptp(values) == 0:
        return values[0].item(), values[0].item()
    found = stats.bootstrap((values,), np.mean, confidence_level=confidence, n_resamples=2000, random_state=generator)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _effect(drawn: np.ndarray, values: np.ndarray) -> tuple[float, float]:
    """Share of the variance of ranks that an error explains, and the p-value for two looks at it."""
    if np.ptp(drawn) == 0 or np.ptp(values) == 0:
        return 0.0, 1.0
    looks = [stats.spearmanr(x, values) for x in (drawn, np.abs(drawn - np.median(drawn)))]
    best = max(looks, key=lambda look: abs(look.statistic))
    return float(best.statistic**2), min(1.0, 2 * float(best.pvalue))
