"""Optics against electronics: ratios, break-even, and who wins where."""

import json

import pytest

from experiments.compare_cost import (
    SystemCost,
    Workload,
    compare,
    price_rows,
    workload,
)
from experiments.hardware_cost import OpticalCostSettings, optical_cost
from experiments.published_cases import ntkd_workload
from experiments.terms import Term

SETTINGS = OpticalCostSettings.model_validate(
    {
        "fixed_mask": True,
        "path_length": 0.4,
        "slm": {"device": "meadowlark-1920x1152", "power": 1},
        "camera": {
            "device": "basler-aca2440-75um",
            "shape": [100, 100],
            "exposure_time": "1 ms",
            "power": {"low": 2, "nominal": 3, "high": 4, "source": "its sisters"},
        },
        "laser": {"power": "10 mW", "wall_plug_efficiency": {"component": "laser-wall-plug"}},
        "host": {"power": 0},
        "digital": {"macs": 10_000, "energy_per_mac": {"component": "digital-mac-tpu-v4"}, "mac_rate": "1 GHz"},
        "conversion": {"adc_energy": {"component": "adc-8bit-below-1gsps"}},
    }
)


def exact(value: float, unit: str) -> Term:
    return Term("x", value, value, value, unit, "test")


def between(low: float, nominal: float, high: float, unit: str) -> Term:
    return Term("x", low, nominal, high, unit, "test")


def test_both_systems_cost_the_same_at_the_break_even():
    task = Workload(exact(7e-3, "J"), exact(2e-3, "J"), 10_000, 60_000)
    price = task.break_even()
    assert price.nominal == pytest.approx(1e-7)
    hybrid, digital = task.energies(price)
    assert hybrid.nominal == pytest.approx(digital.nominal)
    dearer = task.energies(exact(1.01e-7, "J"))
    assert dearer[0].nominal < dearer[1].nominal


def test_optics_that_save_no_operation_never_break_even():
    assert Workload(exact(7, "J"), exact(2, "J"), 100, 100).break_even() is None


def test_optics_that_cost_less_win_at_any_price():
    assert Workload(exact(1, "J"), exact(2, "J"), 10, 100).break_even().high < 0


def test_the_verdict_turns_between_the_prices_of_a_data_centre_and_of_the_edge():
    winners = [row["winner"] for row in price_rows(ntkd_workload())]
    assert winners == ["electronics", "electronics", "electronics", "optics"]


@pytest.mark.parametrize(
    ("ours", "theirs", "winner"),
    [
        (between(1, 2, 3, "s"), between(4, 5, 6, "s"), "optics"),
        (between(4, 5, 6, "s"), between(1, 2, 3, "s"), "electronics"),
        (between(1, 2, 5, "s"), between(4, 5, 6, "s"), "undecided"),
    ],
)
def test_a_winner_is_named_only_where_the_bounds_agree(ours, theirs, winner):
    latency, throughput, energy = compare(
        SystemCost("a", ours, (1 / ours).named("throughput", "1/s"), None),
        SystemCost("b", theirs, (1 / theirs).named("throughput", "1/s"), exact(1, "J")),
    )
    assert latency.winner == throughput.winner == winner
    assert (latency.ratio.low, latency.ratio.high) == (ours.low / theirs.high, ours.high / theirs.low)
    assert energy.winner == "unknown"
    assert energy.ratio is None
    json.dumps([row.to_row() for row in (latency, throughput, energy)])


def test_the_fixed_cost_of_a_system_is_all_but_its_digital_operations():
    table = optical_cost(SETTINGS)
    task = workload(table, digital_fixed=exact(1e-3, "J"), digital_macs=10**9)
    assert task.hybrid_macs == 10_000
    assert task.hybrid_fixed.nominal == pytest.approx(table.energy.nominal - 10_000 * 1.24e-12, rel=1e-12)
    assert task.energies(exact(1.24e-12, "J"))[0].nominal == pytest.approx(table.energy.nominal, rel=1e-12)
