"""What the results of a table's rows say beside one another: means, paired differences, shares of a gap."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scipy.stats import t as student_t

CONFIDENCE = 0.95
SAME = 1e-9  # points: differences of all seeds that are equal but for rounding
SCOPE = "Intervals are over training seeds; the test images are the same for all."


@dataclass(frozen=True)
class Gap:
    """How far one row is on the way from a low one to a high one, over the seeds that all three have.

    Attributes:
        mean: Gap between the high and the low row [points].
        half: Half of its confidence interval [points].
        share: Mean way of the row, divided by the mean gap; None where the gap's interval contains 0 or less.
        low: Lower end of the share's interval.
        high: Its upper end.
        seeds: How many.
    """

    mean: float
    half: float
    share: float | None
    low: float | None
    high: float | None
    seeds: int

    def words(self, between: str) -> str:
        """The share and its interval, or why there is none; ``between`` says of which rows the gap is."""
        gap = f"the gap {between} of {self.mean:.2f} +- {self.half:.2f} points"
        if self.share is None:
            return f"no share, as {gap} may be none"
        return f"{self.share:.0%} (95 %: {self.low:.0%} to {self.high:.0%}) of {gap}"


def by_row(results: Sequence[Mapping]) -> dict[str, dict[int, Mapping]]:
    """Results of each row by seed."""
    found: dict[str, dict[int, Mapping]] = {}
    for result in results:
        found.setdefault(result["row"], {})[result["seed"]] = result
    return found


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    mean = statistics.fmean(values)
    return f"{mean:.2f}" if len(values) == 1 else f"{mean:.2f} +- {statistics.stdev(values):.2f}"


def confidence(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half of its confidence interval (Student's)."""
    return statistics.fmean(values), _quantile(len(values)) * statistics.stdev(values) / math.sqrt(len(values))


def gain(
    results: Sequence[Mapping], better: str, worse: str, *, beside: str | None = None, measure: str = "test_accuracy"
) -> tuple[float, float] | None:
    """Difference of two rows over the seeds that both have, and half of its confidence interval [points].

    Seeds that the row ``beside`` them has not are left out; None with fewer than two.
    """
    found = paired(results, (better, worse, *([beside] if beside else [])), measure)
    return confidence([values[0] - values[1] for values in found]) if len(found) > 1 else None


def gap_closed(
    results: Sequence[Mapping], row: str, *, low: str, high: str = "teacher", measure: str = "test_accuracy"
) -> Gap | None:
    """How much of the gap from ``low`` to ``high`` the row closes, with the interval of a ratio of two means.

    The interval holds every share r for which Student's test cannot tell the mean of ``row - low - r (high - low)``
    from 0 (Fieller 1954). None with fewer than two seeds that all three rows have.
    """
    found = paired(results, (row, low, high), measure)
    if len(found) < 2:
        return None
    ways, gaps = [r - a for r, a, _ in found], [b - a for _, a, b in found]
    mean, half = confidence(gaps)
    if mean <= half:
        return Gap(mean, half, None, None, None, len(found))
    least, most = ratio_interval(ways, gaps)
    return Gap(mean, half, statistics.fmean(ways) / mean, least, most, len(found))


def distilled(
    results: Sequence[Mapping], taught: str, alone: str, *, measure: str = "test_accuracy", of: str = ""
) -> str | None:
    """What the teacher brought, in a sentence; None with fewer than two seeds that both rows have.

    Args:
        results: Of all rows.
        taught: Row with the teacher.
        alone: The same without.
        measure: What is compared.
        of: Of what the points are, such as ``" of mIoU"``.
    """
    gap = gap_closed(results, taught, low=alone, measure=measure)
    found = gain(results, taught, alone, beside=None if gap is None else "teacher", measure=measure)
    if found is None:
        return None
    mean, half = found
    if half < SAME:  # of two seeds on a few hundred images that may be chance
        sentence = f"Distillation, {alone}: {mean:+.2f} points{of} in each seed, from which no interval follows"
        return sentence + ("" if gap is None else f", {gap.words('to the teacher')}") + "."
    verdict = "" if abs(mean) > half else ": no effect that these seeds can tell"
    sentence = f"Distillation, {alone}: {mean:+.2f} +- {half:.2f} points{of} (95 %, paired by seed){verdict}"
    return sentence + ("" if gap is None else f", {gap.words('to the teacher')}") + "."


def rounded_up(value: float) -> float:
    """To one digit, so that it may be called the most."""
    unit = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return math.ceil(round(value / unit, 9)) * unit


def ratio_interval(ways: Sequence[float], gaps: Sequence[float]) -> tuple[float, float]:
    """Fieller's confidence interval of ``mean(ways) / mean(gaps)``, of paired values.

    Raises:
        ValueError: The interval of the mean gap contains 0, so that no share is ruled out.
    """
    count = len(ways)
    way, gap, squared = statistics.fmean(ways), statistics.fmean(gaps), _quantile(count) ** 2 / count
    # (way - r gap)^2 = t^2 var(ways - r gaps) / n is a square in r.
    a = gap**2 - squared * statistics.variance(gaps)
    b = way * gap - squared * statistics.covariance(ways, gaps)
    c = way**2 - squared * statistics.variance(ways)
    if a <= 0:
        raise ValueError(f"gaps must be told from 0, got {gap:.3g} +- {math.sqrt(gap**2 - a):.3g}. Take more seeds.")
    root = math.sqrt(max(b**2 - a * c, 0.0))  # below 0 by rounding alone: way / gap lies between
    return (b - root) / a, (b + root) / a


def paired(results: Sequence[Mapping], names: Sequence[str], measure: str) -> list[tuple[float, ...]]:
    """What the rows measured [points], a tuple for each seed that all have."""
    rows = by_row([result for result in results if measure in result])
    shared = set.intersection(*(set(rows.get(name, ())) for name in names))
    return [tuple(100 * rows[name][seed][measure] for name in names) for seed in sorted(shared)]


def _quantile(count: int) -> float:
    return float(student_t.ppf((1 + CONFIDENCE) / 2, count - 1))
