"""The cost of the optical path: sums, bottlenecks, bounds, and numbers that must be asked for."""

import json
import math

import pytest
from pydantic import ValidationError

from experiments.hardware_cost import OpticalCostSettings, optical_cost
from experiments.terms import Term, amount, total

# Round numbers, so that every stage can be checked by hand.
SETTINGS = {
    "masks": 2,
    "signed_pairs": True,
    "path_length": "0.299792458 m",
    "display": {
        "device": "generic-amplitude-display",
        "shape": [100, 50],
        "frame_rate": "100 Hz",
        "settle_time": "2 ms",
        "link_bandwidth": "40 Mbit/s",
        "power": 3,
    },
    "slm": {
        "device": "holoeye-pluto-2.1",
        "shape": [100, 100],
        "frame_rate": "50 Hz",
        "settle_time": "10 ms",
        "link_bandwidth": "80 Mbit/s",
        "power": {"low": 5, "nominal": "10 W", "high": 20, "source": "guess of the bench"},
    },
    "camera": {
        "device": "basler-aca2440-75um",
        "shape": [50, 20],
        "exposure_time": "5 ms",
        "frame_rate": "200 Hz",
        "link_bandwidth": "12 Mbit/s",
        "power": 2,
    },
    "laser": {"power": "100 mW", "wall_plug_efficiency": 0.1},
    "host": {"power": 4},
    "digital": {"macs": 1000, "energy_per_mac": "2 pJ", "mac_rate": "1 MHz"},
    "conversion": {"dac_energy": "10 pJ", "adc_energy": "5 pJ"},
}
STAGES = {
    "link host to display": 100 * 50 * 8 / 40e6,
    "display frame wait": 1 / 100,
    "display settling": 2e-3,
    "link host to slm": 4 * 100 * 100 * 8 / 80e6,
    "slm frame wait": 4 / 50,
    "slm settling": 4 * 10e-3,
    "exposure": 4 * 5e-3,
    "camera readout": 4 / 200,
    "link camera to host": 4 * 50 * 20 * 12 / 12e6,
    "digital readout": 1000 / 1e6,
    "flight of the light": 1e-9,
}


def settings(**changes) -> OpticalCostSettings:
    """The settings above; ``slm__power=1`` replaces one entry of a table, ``None`` leaves it out."""
    raw = json.loads(json.dumps(SETTINGS))
    for key, value in changes.items():
        table, _, entry = key.rpartition("__")
        target = raw.setdefault(table, {}) if table else raw
        if value is None:
            target.pop(entry, None)
        else:
            target[entry] = value
    return OpticalCostSettings.model_validate(raw)


def test_latency_is_the_sum_of_its_stages():
    table = optical_cost(settings())
    assert {s.term.name: s.term.nominal for s in table.stages} == pytest.approx(STAGES, rel=1e-12)
    assert table.latency.nominal == pytest.approx(sum(STAGES.values()), rel=1e-12)
    assert table.throughput.nominal == pytest.approx(1 / sum(STAGES.values()), rel=1e-12)


def test_a_pipeline_is_as_fast_as_its_busiest_device():
    table = optical_cost(settings(pipelined=True))
    # The input stands while all masks go by: its own frame and settling, then every mask and exposure.
    names = ("display frame wait", "display settling", "slm frame wait", "slm settling", "exposure")
    busiest = sum(STAGES[name] for name in names)
    assert table.bottleneck == "display"
    assert table.throughput.nominal == pytest.approx(1 / busiest, rel=1e-12)
    assert table.busy["camera"].nominal == pytest.approx(STAGES["exposure"] + STAGES["camera readout"], rel=1e-12)
    assert table.latency.nominal == pytest.approx(sum(STAGES.values()), rel=1e-12)


def test_energy_is_power_over_time_plus_conversions_plus_operations():
    table = optical_cost(settings())
    time = sum(STAGES.values())
    expected = {
        "laser power": 0.1 / 0.1 * time,
        "display power": 3 * time,
        "slm power": 10 * time,
        "camera power": 2 * time,
        "host power": 4 * time,
        "DAC": (100 * 50 + 4 * 100 * 100) * 10e-12,
        "ADC": 4 * 50 * 20 * 5e-12,
        "digital readout": 1000 * 2e-12,
    }
    assert {term.name: term.nominal for term in table.energies} == pytest.approx(expected, rel=1e-12)
    assert table.energy.nominal == pytest.approx(sum(expected.values()), rel=1e-12)
    assert table.energy.high - table.energy.low == pytest.approx(15 * time, rel=1e-12)  # 5 to 20 W of the SLM alone


def test_a_pipeline_is_charged_for_the_time_between_images():
    table = optical_cost(settings(pipelined=True))
    host = next(term for term in table.energies if term.name == "host power")
    assert host.nominal == pytest.approx(4 / table.throughput.nominal, rel=1e-12)


@pytest.mark.parametrize(
    ("masks", "signed", "colours", "exposures"), [(1, False, 1, 1), (3, False, 1, 3), (3, True, 1, 6), (2, True, 3, 12)]
)
def test_exposures_are_masks_times_signs_times_colours(masks, signed, colours, exposures):
    counts = optical_cost(settings(masks=masks, signed_pairs=signed, colours=colours)).counts
    assert counts["exposures"] == exposures
    assert counts["mask changes"] == (0 if exposures == 1 else exposures)
    assert counts["samples read"] == exposures * 50 * 20


def test_a_fixed_mask_costs_no_slm_time_and_needs_no_slm_timing():
    fixed = optical_cost(
        settings(masks=1, signed_pairs=False, fixed_mask=True, colours=3, slm__frame_rate=None, slm__settle_time=None)
    )
    terms = {s.term.name: s.term.nominal for s in fixed.stages}
    assert terms["slm frame wait"] == terms["slm settling"] == terms["link host to slm"] == 0
    assert terms["exposure"] == pytest.approx(3 * 5e-3)
    assert fixed.counts["samples written"] == 3 * 100 * 50


def test_a_scene_in_front_of_the_lens_needs_no_display():
    terms = {s.term.name for s in optical_cost(settings(display=None)).stages}
    assert terms == set(STAGES) - {"link host to display", "display frame wait", "display settling"}


def test_stored_patterns_are_not_sent():
    terms = {s.term.name: s.term.nominal for s in optical_cost(settings(slm__stored=True)).stages}
    assert terms["link host to slm"] == 0
    assert terms["slm frame wait"] == pytest.approx(4 / 50)


def test_presets_fill_what_the_configuration_leaves_open():
    changes = {"camera__frame_rate": None, "camera__link_bandwidth": None, "camera__shape": None}
    table = optical_cost(settings(**changes))
    stages = {s.term.name: s.term for s in table.stages}
    assert stages["camera readout"].nominal == pytest.approx(4 / 75)
    assert stages["camera readout"].kind == "modelled"
    assert "public code constant" in stages["camera readout"].source
    assert stages["link camera to host"].nominal == pytest.approx(4 * 2448 * 2048 * 12 / 5e9)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("slm__power", r"power of holoeye-pluto-2\.1 must be known.* under \[slm\]"),
        ("slm__frame_rate", r"frame_rate of holoeye-pluto-2\.1 must be known.* under \[slm\]"),
        ("slm__settle_time", r"settle_time of holoeye-pluto-2\.1"),
        ("camera__power", r"power of basler-aca2440-75um must be known.* under \[camera\]"),
        ("camera__exposure_time", r"exposure_time must be known.* under \[camera\]"),
        ("display__shape", r"shape of generic-amplitude-display must be known"),
        ("laser__power", r"power must be known.*\[W\] under \[laser\]"),
        ("host__power", r"power must be known.* under \[host\]"),
        ("digital__mac_rate", r"mac_rate must be known.* under \[digital\]"),
        ("conversion__dac_energy", r"dac_energy must be known.*\[J\] under \[conversion\]"),
        ("path_length", r"path_length must be known"),
    ],
)
def test_an_unknown_number_is_asked_for_and_never_zero(missing, message):
    with pytest.raises(ValueError, match=message):
        optical_cost(settings(**{missing: None}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixed_mask": True}, "Tile kernels and signs on the one mask"),
        ({"slm__power": "3 s"}, "power must be convertible to W"),
        ({"slm__power": {"nominal": 3}}, "power must have a nominal value and a source"),
        ({"slm__power": {"low": 4, "nominal": 3, "source": "x"}}, "low <= nominal <= high"),
        ({"slm__power": -3}, "power must not be negative"),
        ({"slm__power": {"component": "dac-4bit"}}, "power must be in W, got component dac-4bit in J"),
        ({"slm__device": "pluto"}, "Nearest"),
        ({"slm__pover": 3}, r"slm\.pover"),
        ({"masks": 0}, "masks"),
    ],
)
def test_bad_settings_are_refused_by_name(changes, message):
    with pytest.raises(ValidationError, match=message):
        settings(**changes)


def test_more_than_all_of_the_power_cannot_become_light():
    with pytest.raises(ValueError, match=r"wall_plug_efficiency must be at most 1, got 30\. 30 % is 0\.3"):
        optical_cost(settings(laser__wall_plug_efficiency=30))


def test_a_wider_input_range_never_narrows_the_result():
    narrow = optical_cost(settings(camera__frame_rate={"low": 190, "nominal": 200, "high": 210, "source": "x"}))
    wide = optical_cost(settings(camera__frame_rate={"low": 100, "nominal": 200, "high": 400, "source": "x"}))
    for quantity in ("latency", "throughput", "energy"):
        inner, outer = getattr(narrow, quantity), getattr(wide, quantity)
        assert outer.low < inner.low < inner.nominal == outer.nominal < inner.high < outer.high


def test_bounds_are_reached_at_the_corners_of_the_input():
    ends = {"low": 2, "nominal": 3, "high": 5}
    product = Term("a", 2, 3, 5, "W", "a") * Term("b", 1, 4, 6, "s", "b")
    quotient = Term("a", 2, 3, 5, "W", "a") / Term("b", 1, 4, 8, "s", "b")
    difference = Term("a", 2, 3, 5, "W", "a") - Term("b", 1, 4, 6, "W", "b")
    assert (product.low, product.nominal, product.high) == (2, 12, 30)
    assert (quotient.low, quotient.nominal, quotient.high) == (0.25, 0.75, 5)
    assert (difference.low, difference.nominal, difference.high) == (-4, -1, 4)
    assert amount(ends | {"source": "x"}, "W", "power").high == 5


def test_several_components_are_the_first_with_the_bounds_of_all():
    """The whole sensor, 3.3 nJ a pixel, down to the least converter, 0.3 pJ; each with its source."""
    found = amount({"components": ["image-sensor-pixel", "adc-8bit-below-1gsps"]}, "J", "adc_energy")
    assert (found.low, found.nominal, found.high) == pytest.approx((0.3e-12, 3.3e-9, 3.3e-9))
    assert found.kind == "modelled"
    assert "s41467-024-48099-2" in found.source and "Murmann" in found.source
    with pytest.raises(ValueError, match="adc_energy must be in J, got component laser-wall-plug in 1"):
        amount({"components": ["image-sensor-pixel", "laser-wall-plug"]}, "J", "adc_energy")
    with pytest.raises(ValueError, match=r"components of adc_energy must be a list of components, got \[\]"):
        amount({"components": []}, "J", "adc_energy")


def test_evidence_is_as_weak_as_its_weakest_part():
    measured = Term("a", 1, 1, 1, "s", "clock", "measured")
    assumed = Term("b", 1, 1, 1, "s", "configuration", "assumed")
    assert (measured + measured).kind == "measured"
    assert (2 * measured).kind == "measured"
    assert (measured + assumed).kind == total("t", [measured, assumed], "s").kind == "assumed"
    assert (measured + assumed).source == "clock; configuration"


def test_terms_refuse_what_has_no_meaning():
    second, watt = Term("t", 0, 1, 2, "s", "x"), Term("p", 1, 1, 1, "W", "x")
    with pytest.raises(ValueError, match="p must be in s"):
        second + watt
    with pytest.raises(ValueError, match="t must be positive"):
        watt / second
    with pytest.raises(ValueError, match="must be finite"):
        Term("t", 0, 1, math.inf, "s", "x")


def test_every_row_is_json_and_names_its_source():
    rows = json.loads(json.dumps(optical_cost(settings()).to_rows()))
    assert {row["group"] for row in rows} == {"result", "latency", "busy", "energy", "count"}
    assert all(row["source"] and row["kind"] in ("measured", "modelled", "assumed") for row in rows)


def test_settings_survive_the_way_through_a_file():
    again = OpticalCostSettings.model_validate_json(settings().model_dump_json())
    assert again == settings()
