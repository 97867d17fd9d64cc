"""From the runs of a fidelity study to its results: costs with intervals, tolerances, a ranking. No optics."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.stats import t as student_t

from .fidelity_effects import BENCH_EFFECTS, BenchEffect
from .fidelity_settings import FidelityStudy

CONFIDENCE = 0.95
Part = Literal["ideal", "alone", "all", "all but one"]
Masks = Literal["base", "control", "with the effect", "with all"]


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its confidence interval (Student's t); without one where there is one seed."""

    mean: float
    half: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval:
        """Of one value a seed."""
        mean, n = statistics.fmean(values), len(values)
        if n < 2:
            return cls(mean, None)
        quantile = float(student_t.ppf((1 + CONFIDENCE) / 2, n - 1))
        return cls(mean, quantile * statistics.stdev(values) / math.sqrt(n))

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - (self.half or 0.0)

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + (self.half or 0.0)

    def written(self, scale: float = 100.0, digits: int = 2) -> str:
        """In percentage points, or times another scale."""
        half = "" if self.half is None else f" +- {scale * self.half:.{digits}f}"
        return f"{scale * self.mean:.{digits}f}{half}"


class Ledger:
    """Accuracies of a study, by part, effect, strength and masks.

    Args:
        lines: One for each run: ``part``, ``effect``, ``strength``, ``masks``, ``seed``, ``accuracy``, ``loss``.
        study: What was asked for.
    """

    def __init__(self, lines: Iterable[Mapping], study: FidelityStudy) -> None:
        self.study = study
        self.lines = list(lines)
        self._found: dict[tuple, dict[int, Mapping]] = {}
        for line in self.lines:
            key = (line["part"], line["effect"], line["strength"], line["masks"])
            self._found.setdefault(key, {})[line["seed"]] = line

    def accuracies(
        self, part: Part, effect: str | None = None, strength: float | None = None, *, masks: Masks = "base"
    ) -> dict[int, float]:
        """Accuracy by seed; empty where nothing was run."""
        return {seed: line["accuracy"] for seed, line in self._found.get((part, effect, strength, masks), {}).items()}

    def cost(self, effect: str, strength: float) -> Interval | None:
        """Accuracy that an effect alone takes from the masks that do not know it."""
        return _difference(self.accuracies("ideal"), self.accuracies("alone", effect, strength))

    def surprise(self, effect: str, strength: float) -> Interval | None:
        """Cross entropy [nat] that an effect alone adds: it moves before a class changes."""
        with_it, without = (
            {seed: line["loss"] for seed, line in self._found.get(key, {}).items()}
            for key in (("alone", effect, strength, "base"), ("ideal", None, None, "base"))
        )
        return _difference(with_it, without)

    def cost_when_trained(self, effect: str, strength: float) -> Interval | None:
        """The same for masks trained with the effect, against masks trained as long without."""
        return _difference(self.control(), self.accuracies("alone", effect, strength, masks="with the effect"))

    def control(self) -> dict[int, float]:
        """Accuracies on the ideal bench of masks that were trained as long as those with an effect."""
        return self.accuracies("ideal", masks="control") or self.accuracies("ideal")

    def cost_of_all(self) -> Interval | None:
        """Accuracy that all effects together take from the masks that know none."""
        return _difference(self.accuracies("ideal"), self.accuracies("all"))

    def cost_of_all_when_trained(self) -> Interval | None:
        """The same for masks trained with all of them."""
        return _difference(self.control(), self.accuracies("all", masks="with all"))

    def regained(self, effect: str) -> Interval | None:
        """Accuracy that comes back when an effect is taken out of the full bench."""
        return _difference(self.accuracies("all but one", effect), self.accuracies("all"))

    def ranking(self) -> list[str]:
        """Effects by what they cost alone at their nominal strength, the worst first; where equal, by cross entropy."""
        known = {
            name: (cost.mean, self.surprise(name, table.nominal).mean)
            for name, table in self.study.effects.items()
            if (cost := self.cost(name, table.nominal)) is not None
        }
        return sorted(known, key=lambda name: known[name], reverse=True)

    def told_apart(self, worse: str, better: str) -> bool:
        """Whether the difference of two effects' costs, paired by seed, is beyond its interval."""
        tables = self.study.effects
        first, second = (self.accuracies("alone", name, tables[name].nominal) for name in (worse, better))
        found = _difference(second, first)
        return found is not None and found.half is not None and found.low > 0

    def tolerance(self, effect: str) -> Tolerance:
        """Strength at which the effect alone costs ``study.loss``."""
        curve = [(s, self.cost(effect, s)) for s in self.study.effects[effect].strengths]
        return tolerance(BENCH_EFFECTS[effect], [(s, c) for s, c in curve if c is not None], self.study.loss)

    def margin(self, effect: str) -> float | None:
        """How many times worse than at its nominal strength an effect may become until it costs ``study.loss`` alone.

        Below 1 where the nominal strength costs more; ``None`` where none of the strengths tried costs as much.
        """
        found, entry = self.tolerance(effect), BENCH_EFFECTS[effect]
        strength = found.weakest if found.below else found.strength
        if strength is None:
            return None
        return entry.defect(strength) / entry.defect(self.study.effects[effect].nominal)

    def nearest(self) -> list[str]:
        """Effects by their margin, the smallest first; those whose tolerance was not reached are left out."""
        known = {name: self.margin(name) for name in self.ranking()}
        return sorted((name for name in known if known[name] is not None), key=lambda name: known[name])


@dataclass(frozen=True)
class Tolerance:
    """A strength that costs as much as may be lost, interpolated.

    Attributes:
        strength: Where the mean cost crosses it; ``None`` where it does not.
        strict: Where the upper end of the interval does: the cautious answer.
        lax: Where the lower end does.
        weakest: Weakest strength that was tried.
        strongest: Strongest one.
        below: Whether the weakest strength already costs more, and none is known that costs less.
    """

    strength: float | None
    strict: float | None
    lax: float | None
    weakest: float
    strongest: float
    below: bool

    def written(self, effect: BenchEffect) -> str:
        """``6.2 um (4.1 um ... 8.8 um)``, or not reached; without an interval ``6.2 um``."""
        if self.below:
            return f"stricter than {effect.written(self.weakest)}"
        if self.strength is None:
            return f"not reached up to {effect.written(self.strongest)}"
        if self.strict == self.lax == self.strength:
            return effect.written(self.strength)
        first = f"stricter than {effect.written(self.weakest)}" if self.strict is None else effect.written(self.strict)
        last = "not reached" if self.lax is None else effect.written(self.lax)
        return f"{effect.written(self.strength)} ({first} ... {last})"


def tolerance(effect: BenchEffect, curve: Sequence[tuple[float, Interval]], loss: float) -> Tolerance:
    """First strength, from the weakest on, at which a cost reaches ``loss``; linear between the strengths tried.

    Between no effect at all and the weakest strength the cost grows from 0, where no effect has a strength.

    Args:
        effect: Which; knows the axis of its strengths.
        curve: Strengths and costs, in any order.
        loss: Cost to be reached.
    """
    ordered = sorted(curve, key=lambda point: effect.severity(point[0]))
    start = [] if effect.none is None else [(effect.none, Interval(0.0, 0.0))]
    points = [(effect.severity(s), c) for s, c in start + ordered]
    mean, strict, lax = (
        _crossing([(x, getattr(cost, end)) for x, cost in points], loss) for end in ("mean", "high", "low")
    )
    weakest, strongest = ordered[0][0], ordered[-1][0]
    below = effect.none is None and ordered[0][1].mean >= loss

    def back(x: float | None) -> float | None:
        return None if x is None else effect.strength(x)

    return Tolerance(back(mean), back(strict), back(lax), weakest, strongest, below)


def _crossing(points: Sequence[tuple[float, float]], level: float) -> float | None:
    """Where a broken line first reaches a level from below; ``None`` where it does not, or begins above."""
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if y0 < level <= y1:
            return x0 + (level - y0) / (y1 - y0) * (x1 - x0)
        if y0 >= level:
            return None
    return None


def _difference(more: Mapping[int, float], less: Mapping[int, float]) -> Interval | None:
    """Mean difference over the seeds that both have."""
    shared = sorted(set(more) & set(less))
    return Interval.of([more[seed] - less[seed] for seed in shared]) if shared else None
