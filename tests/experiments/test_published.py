"""What others published of cost, from the inputs that they state, to 1 %."""

import pytest

from experiments.compare_cost import price_rows
from experiments.hardware_cost import OpticalCostSettings, optical_cost
from experiments.published_cases import (
    CASES,
    FATNET_FITTED,
    FATNET_FRAMES,
    display_limited_interval,
    frame_limited,
    frames_alone,
    ntkd_price,
    ntkd_workload,
)
from experiments.terms import Term
from optics4f.devices import component

# The numbers stand here a second time, as they are printed: a slip in the table of cases must not prove itself.
PRINTED = {
    "energy, NTK-KD hybrid": 5.83e-3,
    "energy, NTK-KD digital twin": 9.73e-3,
    "break-even, NTK-KD": 8.4e-12,
    "time per image, ResNet-18 on optics, batch 64": 3.815e-2,
    "time per image, ResNet-18 on optics, batch 3136": 7.786e-4,
    "time per image, FatNet on optics, batch 64": 4.645e-3,
    "time per image, FatNet on optics, batch 3136": 9.479e-5,
    "interval between images, DMD 4f": 100e-6,
}


@pytest.mark.parametrize("name", PRINTED)
def test_published_costs_follow_from_their_stated_inputs(name):
    case = CASES[name]
    assert case.published == PRINTED[name]
    assert case.model() == pytest.approx(PRINTED[name], rel=0.01)


def test_published_cases_are_all_tested():
    assert set(CASES) == set(PRINTED)


def test_published_ntkd_break_even_in_closed_form():
    assert ntkd_workload().break_even().nominal == pytest.approx((3.82e-3 - 2.36e-3) / (239e6 - 65e6), rel=1e-12)


def test_published_ntkd_energies_flip_at_the_price_of_a_data_centre():
    price = Term("MAC", 2e-12, 2e-12, 2e-12, "J", "test")
    hybrid, digital = ntkd_workload().energies(price)
    assert hybrid.nominal == pytest.approx(3.95e-3, rel=0.01)
    assert digital.nominal == pytest.approx(2.84e-3, rel=0.01)
    assert [row["winner"] for row in price_rows(ntkd_workload())] == [*["electronics"] * 3, "optics"]


def test_published_ntkd_prices_agree_between_unet_and_digital_twin():
    """30.8 pJ twice: 2.03 J / 65.9 G and 7.37 mJ / 239 M."""
    assert ntkd_price().nominal == pytest.approx(component("digital-mac-ntkd-edge").value, rel=0.01)


def test_published_fatnet_frames_are_two_thousand_times_too_fast_for_a_slm():
    """The same network at the 845 Hz of a fast liquid-crystal panel: 2 MHz is what makes it competitive."""
    convolutions, published_gpu = 148_637, 4.565e-4
    slow = frame_limited(convolutions, frames=4, frame_rate=845, images_per_frame=64)
    assert slow == pytest.approx(4.645e-3 * 2e6 / 845, rel=0.01)
    assert slow / published_gpu > 2e4


def test_published_fatnet_frames_are_fitted_to_one_entry_and_the_others_follow():
    assert pytest.approx(FATNET_FRAMES, rel=1e-3) == 3.815e-2 * 64 * 2e6 / 1_220_800
    rows = [case.to_row() for case in CASES.values() if "2210.16914" in case.source]
    assert ["fitted to this entry" in row["stated inputs"] for row in rows] == [True, False, False, False]
    assert all("the first of these entries alone" in row["stated inputs"] for row in rows[1:])
    assert rows[0]["published"] == f"time per image, {FATNET_FITTED[0]}, batch {FATNET_FITTED[1]}"


def test_published_dmd_interval_is_no_latency():
    """10 kHz are 100 us from image to image; one image alone waits for the camera too, here as fast as the mirrors."""
    assert 1 / display_limited_interval((1080, 1920), 10e3) == pytest.approx(10e3, rel=1e-12)
    raw = frames_alone(10e3)
    raw |= {"fixed_mask": True, "pipelined": True, "display": raw["slm"] | {"shape": [1080, 1920]}}
    table = optical_cost(OpticalCostSettings.model_validate(raw))
    assert table.latency.nominal == pytest.approx(3 * 100e-6, rel=1e-9)  # display frame, camera frame, link
    assert not [case for case in CASES.values() if "DMD" in case.name and "interval" not in case.name]


def test_published_flight_through_a_4f():
    """1.33 ns for four times 100 mm."""
    settings = OpticalCostSettings.model_validate(frames_alone(1.0) | {"path_length": "400 mm"})
    flight = next(s.term for s in optical_cost(settings).stages if s.term.name == "flight of the light")
    assert flight.nominal == pytest.approx(1.33e-9, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "bits", "rate", "published"),
    [
        ((1080, 1920), 8, 60, 1.0e9),
        ((1152, 1920), 8, 1 / 1.18e-3, 15e9),
        ((768, 1024), 1, 32552, 25.6e9),
        ((1080, 1920), 1, 23148, 48e9),
    ],
)
def test_published_link_loads_fill_one_frame(shape, bits, rate, published):
    """A link of that bandwidth is busy for just one frame; the loads are printed with two or three digits."""
    raw = frames_alone(rate)
    raw["slm"] |= {"shape": shape, "bit_depth": bits, "stored": False, "link_bandwidth": published}
    table = optical_cost(OpticalCostSettings.model_validate(raw | {"masks": 2}))
    link = next(s.term for s in table.stages if s.term.name == "link host to slm")
    assert link.nominal == pytest.approx(1 / rate, rel=0.01)


def test_a_case_says_what_it_does_not_know():
    for case in CASES.values():
        row = case.to_row()
        assert row["source"]
        assert row["not published"]
        assert abs(float(row["deviation"].removesuffix(" %"))) < 1
