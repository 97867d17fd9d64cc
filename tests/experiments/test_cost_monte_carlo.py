"""Draws between bounds: the distribution that was asked for, never outside the interval, all at once as one by one."""

import numpy as np
import pytest
from pydantic import BaseModel
from scipy.stats import triang

from experiments.hardware_cost import OpticalCostSettings, optical_cost
from experiments.monte_carlo import at, drawn, quantile, resolved
from experiments.terms import Term

SETTINGS = OpticalCostSettings.model_validate(
    {
        "masks": 3,
        "path_length": 0.4,
        "slm": {
            "device": "santec-slm-200",  # its settling is a range of the preset: 200 to 300 ms
            "link_bandwidth": "1 Gbit/s",
            "power": {"low": 4, "nominal": 9, "high": 30, "source": "guess of the bench"},
        },
        "camera": {
            "device": "basler-aca2440-75um",
            "exposure_time": {"low": "0 ms", "nominal": "1 ms", "high": "5 ms", "source": "by eye"},
            "power": 3,
        },
        "laser": {"power": 0.1, "wall_plug_efficiency": {"component": "laser-wall-plug"}},
        "host": {"power": 2},
        "conversion": {"dac_energy": 0, "adc_energy": {"component": "adc-8bit-below-1gsps"}},
    }
)


def samples_of(settings: OpticalCostSettings, *, samples: int, seed: int) -> np.ndarray:
    """Latency, throughput and energy, one row a draw."""
    table = optical_cost(drawn(resolved(settings), np.random.default_rng(seed), samples))
    columns = (table.latency.nominal, table.throughput.nominal, table.energy.nominal)
    return np.stack([np.broadcast_to(column, samples) for column in columns], axis=1)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.9, 1.0])
def test_a_quantile_is_that_of_the_triangular_distribution(share):
    plain = triang.ppf(share, c=1 / 5, loc=0, scale=5)
    assert quantile(Term("t", 0, 1, 5, "s", "x"), share) == pytest.approx(plain, rel=1e-12, abs=1e-12)
    low, mode, high = np.log([4, 9, 30])
    factor = np.exp(triang.ppf(share, c=(mode - low) / (high - low), loc=low, scale=high - low))
    assert quantile(Term("p", 4, 9, 30, "W", "x"), share) == pytest.approx(factor, rel=1e-12)


@pytest.mark.parametrize("ends", [(3, 3, 7), (3, 7, 7), (0, 0, 2)])
def test_a_most_likely_value_at_an_end_is_no_special_case(ends):
    term = Term("t", *ends, "s", "x")
    drawn_values = [quantile(term, share) for share in np.linspace(0, 1, 21)]
    assert drawn_values[0] == pytest.approx(term.low)
    assert drawn_values[-1] == pytest.approx(term.high)
    assert np.all(np.diff(drawn_values) > 0)


def test_ranges_of_presets_are_drawn_too():
    settle = resolved(SETTINGS).slm.settle_time
    assert (settle.low, settle.high) == (0.2, 0.3)
    values = drawn(resolved(SETTINGS), np.random.default_rng(0), 50).slm.settle_time
    assert values.low is values.nominal is values.high
    assert len(set(values.nominal)) == 50
    assert np.all((values.nominal >= 0.2) & (values.nominal <= 0.3))


def test_all_draws_at_once_are_those_that_are_made_one_by_one():
    """Arrays through sums, products and maxima, beside plain numbers: masks, pipeline, overlap, a region, tiles."""
    region = {"shape": (512, 100), "row_exponent": Term("e", 0, 0.5, 1, "1", "test")}
    camera = SETTINGS.camera.model_copy(update=region)
    changes = {"camera": camera, "pipelined": True, "tiles": 3}
    for overlapped in (False, True):
        system = SETTINGS.model_copy(update=changes | {"overlapped": overlapped})
        many = drawn(resolved(system), np.random.default_rng(9), 12)
        together = optical_cost(many)
        for i in range(12):
            alone = optical_cost(_one(many, i))
            for name in ("latency", "throughput", "energy"):
                assert getattr(together, name).nominal[i] == pytest.approx(getattr(alone, name).nominal, rel=1e-12)


def _one(settings, i):
    """The settings of a single draw."""
    changed = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Term):
            changed[name] = at(value, float(value.nominal[i]))
        elif isinstance(value, BaseModel):
            changed[name] = _one(value, i)
    return settings.model_copy(update=changed)


def test_every_draw_lies_within_the_interval_and_most_well_within():
    table = optical_cost(SETTINGS)
    samples = samples_of(SETTINGS, samples=300, seed=1)
    for column, interval in zip(samples.T, (table.latency, table.throughput, table.energy), strict=True):
        assert interval.low <= column.min() < column.max() <= interval.high
        low, high = np.quantile(column, (0.05, 0.95))
        assert high - low < 0.8 * (interval.high - interval.low)


def test_settings_that_are_drawn_leave_nothing_open():
    exact = drawn(resolved(SETTINGS), np.random.default_rng(2), 1)
    table = optical_cost(exact)
    assert table.energy.low == table.energy.nominal == table.energy.high


def exact(settings):
    """Every quantity at one plain number."""
    return _one(drawn(resolved(settings), np.random.default_rng(3), 1), 0)


def test_one_unknown_power_spreads_the_energy_as_itself():
    """With all else known the energy is a straight line in the power, and its quantiles are those of the power."""
    power = SETTINGS.slm.power
    known = exact(SETTINGS)
    only = known.model_copy(update={"slm": known.slm.model_copy(update={"power": power})})
    samples = samples_of(only, samples=2000, seed=4)[:, 2]
    base = known.model_copy(update={"slm": known.slm.model_copy(update={"power": at(power, 0.0)})})
    time = optical_cost(base).latency.nominal
    expected = optical_cost(base).energy.nominal + time * np.array([quantile(power, q) for q in (0.05, 0.5, 0.95)])
    # The standard error of a quantile of 2000 draws is at most 2 % of the spread here.
    np.testing.assert_allclose(np.quantile(samples, (0.05, 0.5, 0.95)), expected, atol=0.04 * np.ptp(expected))


def test_the_same_seed_draws_the_same():
    first, again, other = (samples_of(SETTINGS, samples=5, seed=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.any(first == other)


def test_a_range_of_the_preset_alone_spreads_the_latency():
    """Settling of 200 to 300 ms, most likely 200, for each of three masks; all else is known."""
    known = exact(SETTINGS)
    preset = known.model_copy(update={"slm": known.slm.model_copy(update={"settle_time": None})})
    latencies = samples_of(preset, samples=500, seed=5)[:, 0]
    assert 0.25 < np.ptp(latencies) < 3 * 0.1
