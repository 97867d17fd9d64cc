"""Tiles, parts, bit planes and overlap: how many frames an image takes, and how long a frame is."""

import numpy as np
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
    first = (0 if "slm__settle_time" in changes else 3e-3) + 500e-6
    assert stages["exposure"].nominal == pytest.approx(first + (exposures - 1) * beat, rel=1e-12)
    assert limit in stages["exposure"].source
    # Eight planes are sent and settle before their masks; the SLM's first pattern and the last readout add theirs.
    slm_link = 8000 / 1e6 if "slm__link_bandwidth" in changes else SLM_LINK
    frame_rate = {"10 kHz": 1e4, "1 MHz": 1e6}.get(changes.get("camera__frame_rate"), 400)
    camera_link = 1500 * 12 / 1e9 if "camera__link_bandwidth" in changes else CAMERA_LINK
    shown = 8 * (DISPLAY_LINK + 1 / 20e3 + 10e-6)
    ends = slm_link + 1e-3 + 1 / frame_rate + camera_link + 1000 / 1e6 + 0.4 / 299792458
    assert table.latency.nominal == pytest.approx(shown + first + (exposures - 1) * beat + ends, rel=1e-12)
    # While a pipeline runs, every exposure takes a beat, and display, SLM and camera are held for all of them.
    assert table.busy["slm"].nominal == table.busy["camera"].nominal == pytest.approx(exposures * beat, rel=1e-12)
    assert table.busy["display"].nominal == pytest.approx(8 * (1 / 20e3 + 10e-6) + exposures * beat, rel=1e-12)


def test_behind_a_fixed_mask_the_display_sets_the_beat():
    fast = {"camera__frame_rate": "1 MHz", "camera__link_bandwidth": 1e12, "camera__exposure_time": "30 us"}
    table = optical_cost(settings(masks=1, signed_pairs=False, fixed_mask=True, **fast))
    stages = {stage.term.name: stage.term.nominal for stage in table.stages}
    assert stages["exposure"] == pytest.approx(40e-6 + 7 / 20e3, rel=1e-12)  # a plane: 50 us, longer than 10 + 30 us
    assert table.busy["display"].nominal == pytest.approx(8 / 20e3, rel=1e-12)
    assert "slm frame wait" not in stages
    assert table.counts["mask changes"] == 0


@pytest.mark.parametrize("display", [True, False])
@pytest.mark.parametrize("planes", [1, 2, 8])
@pytest.mark.parametrize("masks", [1, 2])
def test_overlap_never_takes_longer_than_one_after_the_other(display, planes, masks):
    """Times drawn over three decades each; one exposure has nothing to overlap with."""
    rng = np.random.default_rng(planes + 10 * masks)
    for _ in range(40):
        factor = iter(10 ** rng.uniform(-1.5, 1.5, 9))
        raw = {
            "masks": masks,
            "signed_pairs": False,
            "bit_planes": planes,
            "slm__settle_time": 3e-3 * next(factor),
            "slm__frame_rate": 1e3 * next(factor),
            "slm__link_bandwidth": 1e9 * next(factor),
            "camera__exposure_time": 5e-4 * next(factor),
            "camera__frame_rate": 400 * next(factor),
            "camera__link_bandwidth": 18e6 * next(factor),
            "display__settle_time": 1e-3 * next(factor),
            "display__frame_rate": 2e3 * next(factor),
            "display__link_bandwidth": 2e6 * next(factor),
        }
        if not display:
            raw = {key: value for key, value in raw.items() if not key.startswith("display")} | {"display": None}
        together, in_turn = (optical_cost(settings(overlapped=overlapped, **raw)) for overlapped in (True, False))
        assert together.latency.nominal <= in_turn.latency.nominal * (1 + 1e-12)
        if planes * masks == 1:
            assert together.latency.nominal == pytest.approx(in_turn.latency.nominal, rel=1e-12)
        piped = optical_cost(settings(overlapped=True, pipelined=True, **raw))
        assert 1 / piped.throughput.nominal <= together.latency.nominal * (1 + 1e-12)


def test_tiles_share_the_light():
    alone, eight = (optical_cost(settings(tiles=n, overlapped=False)) for n in (1, 8))
    times = [{s.term.name: s.term for s in table.stages} for table in (alone, eight)]
    assert times[1]["exposure"].nominal == pytest.approx(8 * times[0]["exposure"].nominal, rel=1e-12)
    assert "8 tiles share the light" in times[1]["exposure"].source
    assert eight.latency.nominal - alone.latency.nominal == pytest.approx(7 * 32 * 500e-6, rel=1e-9)


@pytest.mark.parametrize(("exponent", "rows", "faster"), [(0, 1024, 1), (1, 1024, 2), (0.5, 512, 2), (1, 4000, 1)])
def test_fewer_rows_are_read_faster_by_the_exponent(exponent, rows, faster):
    """Of the 2048 rows of the preset; a region that is no smaller gains nothing."""
    region = {"camera__shape": [rows, 50], "camera__row_exponent": exponent, "overlapped": False}
    table = optical_cost(settings(**region))
    readout = next(s.term for s in table.stages if s.term.name == "camera readout")
    assert readout.nominal == pytest.approx(32 / 400 / faster, rel=1e-12)


def test_a_range_of_the_exponent_is_a_range_of_the_readout():
    between = {"low": 0, "nominal": 0.5, "high": 1, "source": "nobody knows"}
    table = optical_cost(settings(camera__shape=[512, 50], camera__row_exponent=between, overlapped=False))
    readout = next(s.term for s in table.stages if s.term.name == "camera readout")
    assert (readout.low, readout.nominal, readout.high) == pytest.approx((0.08 / 4, 0.08 / 2, 0.08))
    assert "512 of 2048 rows: nobody knows" in readout.source
    with pytest.raises(ValueError, match="row_exponent must be at most 1, got 2"):
        optical_cost(settings(camera__shape=[512, 50], camera__row_exponent=2))


def test_the_interval_of_a_pipeline_is_that_of_the_slowest_device_at_each_bound():
    """The camera is nominally slower; in the worst case the SLM is."""
    wide = {"low": "1 ms", "nominal": "2 ms", "high": "90 ms", "source": "test"}
    slow = {"overlapped": False, "pipelined": True, "display": None, "masks": 2, "signed_pairs": False, "bit_planes": 1}
    table = optical_cost(settings(slm__settle_time=wide, camera__frame_rate=100, **slow))
    slm, camera = table.busy["slm"], table.busy["camera"]
    assert table.bottleneck == "camera"
    assert slm.nominal < camera.nominal and slm.high > camera.high
    assert 1 / table.throughput.low == pytest.approx(slm.high, rel=1e-12)
    assert 1 / table.throughput.nominal == pytest.approx(camera.nominal, rel=1e-12)


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
