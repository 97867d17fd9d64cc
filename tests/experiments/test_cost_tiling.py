"""Tiles, parts, bit planes and overlap: how many frames an image takes, and how long a frame is."""

import pytest
from pydantic import ValidationError

from experiments.hardware_cost import OpticalCostSettings, optical_cost
from experiments.optical_settings import images_on_a_frame, masks_for

# A DMD shows 8 bit planes, an SLM two signed masks; every time is a round number of microseconds.
SETTINGS = {
    "masks": 2,
    "signed_pairs": True,
    "bit_planes": 8,
    "overlapped": True,
    "path_length": 0.4,
    "display": {
        "device": "dlp9500",
        "shape": [40, 50],
        "frame_rate": "20 kHz",
        "settle_time": "10 us",
        "link_bandwidth": "200 Mbit/s",
        "power": 4,
    },
    "slm": {
        "device": "meadowlark-1920x1152",
        "shape": [20, 50],
        "frame_rate": "1 kHz",
        "settle_time": "3 ms",
        "link_bandwidth": "1 Gbit/s",
        "power": 10,
    },
    "camera": {
        "device": "basler-aca2440-75um",
        "shape": [30, 50],
        "exposure_time": "500 us",
        "frame_rate": "400 Hz",
        "link_bandwidth": "18 Mbit/s",
        "power": 3,
    },
    "laser": {"power": 1, "wall_plug_efficiency": 0.5},
    "host": {"power": 1},
    "digital": {"macs": 1000, "energy_per_mac": "1 nJ", "mac_rate": "1 MHz"},
    "conversion": {"dac_energy": 0, "adc_energy": "1 nJ"},
}
DISPLAY_LINK, CAMERA_LINK, SLM_LINK = 2000 / 200e6, 1500 * 12 / 18e6, 8000 / 1e9


def settings(**changes) -> OpticalCostSettings:
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in SETTINGS.items()}
    for key, value in changes.items():
        table, _, entry = key.rpartition("__")
        (merged[table] if table else merged)[entry] = value
    return OpticalCostSettings.model_validate(merged)


@pytest.mark.parametrize(
    ("changes", "beat", "limit"),
    [
        ({}, 3.5e-3, "settling and exposure"),
        ({"slm__settle_time": 0}, 2.5e-3, "camera frame"),
        ({"slm__settle_time": 0, "camera__frame_rate": "10 kHz"}, CAMERA_LINK, "camera link"),
        ({"slm__settle_time": 0, "camera__frame_rate": "1 MHz", "camera__link_bandwidth": 1e9}, 1e-3, "slm frame"),
        ({"slm__link_bandwidth": "1 Mbit/s"}, 8e-3, "slm link"),
    ],
)
def test_where_devices_overlap_the_slowest_sets_the_beat(changes, beat, limit):
    table = optical_cost(settings(**changes))
    exposures = 2 * 2 * 8
    stages = {stage.term.name: stage.term for stage in table.stages}
    assert stages["exposure"].nominal == pytest.approx(exposures * beat, rel=1e-12)
    assert limit in stages["exposure"].source
    # Eight planes are sent and settle before their masks; the SLM's first pattern and the last readout add theirs.
    slm_link = 8000 / 1e6 if "slm__link_bandwidth" in changes else SLM_LINK
    frame_rate = {"10 kHz": 1e4, "1 MHz": 1e6}.get(changes.get("camera__frame_rate"), 400)
    camera_link = 1500 * 12 / 1e9 if "camera__link_bandwidth" in changes else CAMERA_LINK
    ends = (
        8 * (DISPLAY_LINK + 1 / 20e3 + 10e-6) + slm_link + 1 / frame_rate + camera_link + 1000 / 1e6 + 0.4 / 299792458
    )
    assert table.latency.nominal == pytest.approx(exposures * beat + ends, rel=1e-12)


def test_behind_a_fixed_mask_the_display_sets_the_beat():
    fast = {"camera__frame_rate": "1 MHz", "camera__link_bandwidth": 1e12, "camera__exposure_time": "30 us"}
    table = optical_cost(settings(masks=1, signed_pairs=False, fixed_mask=True, **fast))
    stages = {stage.term.name: stage.term.nominal for stage in table.stages}
    assert stages["exposure"] == pytest.approx(8 / 20e3, rel=1e-12)  # 50 us a plane: longer than 10 + 30 us
    assert "slm frame wait" not in stages
    assert table.counts["mask changes"] == 0


def test_overlap_never_takes_longer_than_one_after_the_other():
    together, in_turn = (optical_cost(settings(overlapped=overlapped)) for overlapped in (True, False))
    assert together.latency.nominal < in_turn.latency.nominal
    assert together.energy.nominal < in_turn.energy.nominal


def test_frames_are_bit_planes_times_parts_times_colours_and_exposures_those_times_masks():
    counts = optical_cost(settings(parts=3, colours=2)).counts
    assert counts["exposures"] == counts["mask changes"] == 2 * 2 * 8 * 3 * 2
    assert counts["samples written"] == 8 * 3 * 2 * 2000 + counts["mask changes"] * 1000
    alone = optical_cost(settings(masks=1, signed_pairs=False)).counts
    assert (alone["exposures"], alone["mask changes"]) == (8, 0)  # a lone mask stays while bit planes go by


def test_images_that_share_a_frame_share_its_energy_but_each_waits_for_all():
    one, nine = (optical_cost(settings(images_per_frame=n)) for n in (1, 9))
    assert nine.latency.nominal - one.latency.nominal == pytest.approx(
        8 * 1000 / 1e6, rel=1e-9
    )  # nine readouts, not one
    time = nine.latency.nominal
    assert nine.throughput.nominal == pytest.approx(9 / time, rel=1e-12)
    expected = (2 + 4 + 10 + 3 + 1) * time / 9 + 32 * 1500 * 1e-9 / 9 + 1000 * 1e-9
    assert nine.energy.nominal == pytest.approx(expected, rel=1e-12)
    assert "shared by 9 images" in next(term for term in nine.energies if term.name == "slm power").source


@pytest.mark.parametrize(
    ("kernels", "tiles", "signed", "masks"), [(16, 4, False, 4), (16, 5, False, 4), (16, 5, True, 7)]
)
def test_kernels_are_tiled_on_masks(kernels, tiles, signed, masks):
    assert masks_for(kernels, tiles, signed=signed) == masks


@pytest.mark.parametrize(
    ("frame", "images"), [((67, 67), 1), ((68, 68), 4), ((102, 101), 6), ((101, 102), 6), ((33, 500), 0)]
)
def test_images_beside_each_other_need_room_for_their_kernels(frame, images):
    assert images_on_a_frame(frame, 32, 3) == images  # 34 pixels each


def test_an_image_in_parts_leaves_no_room_for_another():
    with pytest.raises(ValidationError, match="images_per_frame must be 1 where an image takes 2 parts, got 3"):
        settings(parts=2, images_per_frame=3)
