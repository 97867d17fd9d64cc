"""Optics against electronics: ratios, break-even, and the published numbers they reproduce."""

import json

import pytest

from experiments.compare_cost import (
    SystemCost,
    Workload,
    compare,
    frame_limited_latency,
    ntkd_workload,
    price_rows,
    resolution_sweep,
    workload,
)
from experiments.hardware_cost import OpticalCostSettings, optical_cost
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


def test_published_ntkd_break_even():
    task = ntkd_workload()
    assert task.break_even().nominal == pytest.approx((3.82e-3 - 2.36e-3) / (239e6 - 65e6))
    assert task.break_even().nominal == pytest.approx(8.4e-12, rel=0.01)


def test_published_ntkd_energies():
    edge = exact(30.8e-12, "J")
    hybrid, digital = ntkd_workload().energies(edge)
    assert hybrid.nominal == pytest.approx(5.83e-3, rel=0.01)
    assert digital.nominal == pytest.approx(9.73e-3, rel=0.01)
    hybrid, digital = ntkd_workload().energies(exact(2e-12, "J"))  # a data-centre GPU turns the verdict
    assert hybrid.nominal == pytest.approx(3.95e-3, rel=0.01)
    assert digital.nominal == pytest.approx(2.84e-3, rel=0.01)


@pytest.mark.parametrize(
    ("convolutions", "batch_size", "published"),
    [
        (1_220_800, 64, 3.815e-2),
        (1_220_800, 3136, 7.786e-4),
        (148_637, 64, 4.645e-3),
        (148_637, 3136, 9.479e-5),
    ],
)
def test_published_fatnet_latency(convolutions, batch_size, published):
    latency = frame_limited_latency(convolutions, frames=4, frame_rate=2e6, batch_size=batch_size)
    assert latency == pytest.approx(published, rel=0.01)


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


def test_optics_gain_on_electronics_as_the_resolution_grows():
    rows = resolution_sweep(SETTINGS, (100, 400, 1600), digital_fixed=exact(1e-3, "J"), digital_macs_per_pixel=10_000)
    prices = [row["break_even"]["nominal"] for row in rows]
    assert prices[0] > prices[1] > prices[2] > 0  # frame time is paid once, operations for every pixel
    assert rows[0]["energy"]["nominal"] == pytest.approx(optical_cost(SETTINGS).energy.nominal, rel=1e-12)
    json.dumps(rows)


def test_a_sweep_refuses_a_readout_that_cannot_grow():
    camera = SETTINGS.camera.model_copy(update={"shape": None})
    with pytest.raises(ValueError, match=r"camera\.shape must be stated"):
        resolution_sweep(
            SETTINGS.model_copy(update={"camera": camera}),
            (8,),
            digital_fixed=exact(0, "J"),
            digital_macs_per_pixel=1,
        )
    digital = SETTINGS.digital.model_copy(update={"time": exact(1, "s")})
    with pytest.raises(ValueError, match=r"digital\.time must not be stated"):
        resolution_sweep(
            SETTINGS.model_copy(update={"digital": digital}),
            (8,),
            digital_fixed=exact(0, "J"),
            digital_macs_per_pixel=1,
        )
