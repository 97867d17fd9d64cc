"""A Monte-Carlo of errors: closed forms where there are any, and a bench whose worst error is known."""

import numpy as np
import pytest
import torch
from scipy import stats

from optics4f.misalignment import Misalignment
from optics4f.routes import FourierLensRoute
from optics4f.tolerance import tolerance
from tests.optics4f.benches import random_images, relative, small_bench, smooth_masks

NORMAL = stats.norm(0, 1)


def test_mean_yield_and_shares_of_a_sum_are_those_of_theory():
    # 2 x + y of standard normals: variance 5, of which x explains 0.8; above 0 half of the time.
    found = tolerance(
        lambda e: 2 * e["x"] + e["y"], {"y": NORMAL, "x": NORMAL, "z": NORMAL}, trials=4000, seed=0, threshold=0.0
    )
    assert found.interval[0] < 0 < found.interval[1]
    assert found.interval[1] - found.interval[0] == pytest.approx(2 * 1.96 * np.sqrt(5 / 4000), rel=0.1)
    assert found.yield_interval[0] < 0.5 < found.yield_interval[1]
    assert found.yield_ == pytest.approx(0.5, abs=0.03)
    assert [name for name, _, _ in found.ranking] == ["x", "y", "z"]
    # Spearman's correlation of a bivariate normal is 6/pi asin(rho/2).
    wanted = [(6 / np.pi * np.arcsin(np.sqrt(share) / 2)) ** 2 for share in (0.8, 0.2)]
    assert [share for _, share, _ in found.ranking[:2]] == pytest.approx(wanted, abs=0.04)
    assert found.ranking[2][1] < 0.005
    assert found.ranking[0][2] < 1e-6


def test_an_error_whose_best_value_lies_in_the_middle_is_not_overlooked():
    found = tolerance(
        lambda e: -(e["shift"] ** 2) + 0.1 * e["gain"], {"gain": NORMAL, "shift": NORMAL}, trials=500, seed=1
    )
    assert found.ranking[0][0] == "shift"
    assert found.ranking[0][1] > 0.8


def test_the_interval_covers_the_truth_as_often_as_it_says():
    covered = 0
    for seed in range(60):
        found = tolerance(lambda e: e["x"], {"x": stats.expon()}, trials=60, seed=seed, threshold=1.0, confidence=0.9)
        covered += found.interval[0] <= 1 <= found.interval[1]
    assert 46 <= covered <= 60  # 54 expected of 60; 3 standard deviations


class Fixed:
    """A distribution that draws these numbers."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = numbers

    def rvs(self, size: int, random_state: np.random.Generator) -> np.ndarray:
        return np.array(self.numbers)


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.99])
def test_both_intervals_are_as_wide_as_the_confidence_asks(confidence):
    # The quantiles of a normal: their mean is 0, their deviation that of the distribution, 300 of 400 lie above -0.674.
    numbers = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    found = tolerance(
        lambda e: e["x"], {"x": Fixed(*numbers)}, trials=400, seed=0, threshold=-0.674, confidence=confidence
    )
    width = 2 * stats.norm.ppf(0.5 + confidence / 2) * numbers.std(ddof=1) / 20
    # 2000 resamples know the 0.5 % quantile to 4 % of the deviation, three standard errors are 6 % of the width.
    assert found.interval[1] - found.interval[0] == pytest.approx(width, rel=0.12)
    tail = (1 - confidence) / 2
    exact = (stats.beta.ppf(tail, 300, 101), stats.beta.ppf(1 - tail, 301, 100))  # Clopper and Pearson by beta
    assert found.yield_ == 0.75
    assert found.yield_interval == pytest.approx(exact, rel=1e-9)


def test_a_trial_at_the_threshold_passes():
    found = tolerance(lambda e: e["x"], {"x": Fixed(0.8, 0.9, 0.9, 1.0)}, trials=4, seed=0, threshold=0.9)
    assert found.yield_ == 0.75


def test_two_looks_at_an_error_double_its_p_value():
    # Ranks 1 2 3 4 5 6 against 2 1 4 3 6 5: rho = 1 - 6 * 6 / (6 * 35) = 29/35, and Student's t of 4 degrees.
    metric = dict(zip([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [2.0, 1.0, 4.0, 3.0, 6.0, 5.0], strict=True))
    found = tolerance(lambda e: metric[e["x"]], {"x": Fixed(*metric)}, trials=6, seed=0)
    rho = 29 / 35
    one_look = 2 * stats.t.sf(rho * np.sqrt(4 / (1 - rho**2)), 4)
    assert found.ranking[0][1:] == pytest.approx((rho**2, 2 * one_look), rel=1e-9)


def test_the_same_seed_draws_the_same_errors():
    one, two, other = (tolerance(lambda e: e["x"], {"x": NORMAL}, trials=5, seed=s) for s in (3, 3, 4))
    assert np.array_equal(one.values, two.values)
    assert not np.array_equal(one.values, other.values)
    assert one.yield_ is None
    assert np.array_equal(one.values, one.draws["x"])


def test_on_a_bench_the_large_error_is_found_to_matter_most():
    bench = small_bench(masks=1)
    bench.slm.set_values(smooth_masks(1, bench.slm.grid.shape))
    images = random_images(1, (5, 7))
    with torch.no_grad():
        aligned = FourierLensRoute(bench)(images).intensity

        def metric(error: dict[str, float]) -> float:
            bench.slm_position = Misalignment(shift=(error["shift y"], error["shift x"]), axial=error["axial"])
            return 1 - relative(FourierLensRoute(bench)(images).intensity, aligned)

        errors = {
            "axial": stats.norm(0, 1e-4),
            "shift x": stats.norm(0, 1e-6),
            "shift y": stats.norm(0, 60e-6),
        }
        found = tolerance(metric, errors, trials=60, seed=0, threshold=0.9)
    assert found.ranking[0][0] == "shift y"
    assert found.ranking[0][1] > 0.9
    assert 0 < found.yield_ < 1
    assert found.rows()[0]["error"] == "shift y"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"errors": {}}, "errors must name at least one"),
        ({"trials": 2}, "trials must be at least 3, got 2"),
        ({"confidence": 95}, r"confidence must be in \(0, 1\), got 95"),
        ({"threshold": float("nan")}, "threshold must be finite, got nan"),
        ({"errors": {"x": Fixed(1.0, float("nan"), 2.0, 3.0)}}, "draws of x must be 4 finite numbers, got"),
        ({"errors": {"x": Fixed(1.0, 2.0)}}, "draws of x must be 4 finite numbers, got"),
        ({"metric": lambda e: float("nan")}, "metric must be finite, got nan in trial 0"),
    ],
)
def test_what_makes_no_sense_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        tolerance(**{"metric": lambda e: e["x"], "errors": {"x": NORMAL}, "trials": 4, "seed": 0, **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trials": 3.5}, r"trials must be a whole number, got 3\.5"),
        ({"errors": {"x": 0.5}}, r"error x must be a distribution such as scipy\.stats\.norm\(0, 1e-6\), got 0\.5"),
    ],
)
def test_what_is_of_another_kind_is_refused(options, words):
    with pytest.raises(TypeError, match=words):
        tolerance(**{"metric": lambda e: e["x"], "errors": {"x": NORMAL}, "trials": 4, "seed": 0, **options})
