"""What fits on a frame, how costs grow with the image, and where two of them cross."""

import numpy as np
import pytest

from experiments.cost_crossover import crossover
from experiments.cost_layout import OpticalTask, fitted, frame_shape, layout, telling_sides
from experiments.hardware_cost import OpticalCostSettings, optical_cost
from experiments.resolution_sweep import (
    Curve,
    behind_a_camera,
    break_even_prices,
    captures,
    costs_of,
    electronic_curve,
    interpolated,
    optical_curve,
    spreads,
)
from experiments.terms import Term

TASK = OpticalTask(kernels=2, kernel_size=5, signed=True, head_macs=24)  # 4 tiles
RAW = {
    "tiled": True,
    "pipelined": True,
    "path_length": 0.4,
    "display": {
        "device": "generic-amplitude-display",
        "shape": [100, 200],
        "frame_rate": 100,
        "settle_time": "1 ms",
        "link_bandwidth": 1e9,
        "power": {"low": 1, "nominal": 2, "high": 4, "source": "test"},
    },
    "slm": {
        "device": "holoeye-pluto-2.1",
        "shape": [90, 220],
        "frame_rate": 60,
        "settle_time": "10 ms",
        "link_bandwidth": 1e9,
        "power": 10,
    },
    "camera": {
        "device": "basler-aca2440-75um",
        "shape": [110, 180],
        "exposure_time": "1 ms",
        "frame_rate": 75,
        "power": {"low": 2, "nominal": 3, "high": 3.5, "source": "test"},
    },
    "laser": {"power": 0.1, "wall_plug_efficiency": 0.5},
    "host": {"power": 5},
    "digital": {"energy_per_mac": "2 pJ", "mac_rate": 1e9},
    "conversion": {"dac_energy": 0, "adc_energy": 0},
}
SYSTEM = OpticalCostSettings.model_validate(RAW)
SCENE = OpticalCostSettings.model_validate(
    {key: value for key, value in RAW.items() if key != "display"} | {"fixed_mask": True, "overlapped": True}
)


def term(low, nominal, high, unit="s"):
    return Term("x", low, nominal, high, unit, "test", "measured")


def curve(name, values, *, optical=True, quantity="latency", sides=(10, 20, 40)):
    draws = {quantity: np.asarray(values, dtype=float)}
    return Curve(name, optical, sides, draws, ("modelled",) * len(sides), {quantity: ("test",) * len(sides)})


def test_a_spread_is_5_50_and_95_percent_of_the_draws():
    draws = np.stack([np.arange(101.0), 2 * np.arange(101.0), np.full(101, np.nan)], axis=1)
    assert spreads(draws) == [(5.0, 50.0, 95.0), (10.0, 100.0, 190.0), None]


def test_a_frame_has_the_pixels_that_all_devices_have():
    assert frame_shape(SYSTEM) == (90, 180)


@pytest.mark.parametrize(
    ("side", "masks", "tiles", "parts", "images", "read"),
    [
        (16, 1, 4, 1, 9, 9 * 4 * 20**2),  # 4 x 9 places of 20 pixels, 4 tiles an image
        (41, 1, 4, 1, 2, 2 * 4 * 45**2),  # 2 x 4 places
        (56, 2, 3, 1, 1, 3 * 60**2),  # 1 x 3 places: not all four tiles at once
        (86, 2, 2, 1, 1, 2 * 90**2),  # 1 x 2 places: two masks of two tiles
        (100, 4, 1, 2, 1, 90 * 104),  # larger than the 90 rows: two parts of 86, one tile at a time
        (180, 4, 1, 6, 1, 90 * 180),  # three times two: parts overlap by a kernel
        (300, 4, 1, 8, 1, 90 * 180),  # four parts of 86 rows, two of 176 columns
    ],
)
def test_tiles_images_and_parts_follow_from_the_room_on_a_frame(side, masks, tiles, parts, images, read):
    found = fitted(SYSTEM, side, TASK, alone=False)
    assert (found.masks, found.tiles, found.parts, found.images_per_frame) == (masks, tiles, parts, images)
    assert np.prod(found.camera.shape) == read
    assert fitted(SYSTEM, side, TASK, alone=True).images_per_frame == 1
    assert found.digital.macs == 4 * side**2 + 24


def test_the_camera_reads_the_rows_that_are_used():
    """One image of four tiles lies in one row of nine places; nine images of four need all four rows."""
    assert layout(SYSTEM, 16, TASK, alone=True).region == (20, 80)
    assert layout(SYSTEM, 16, TASK, alone=False).region == (80, 180)


def test_masks_that_are_not_tiled_go_by_in_turn():
    in_turn = SYSTEM.model_copy(update={"tiled": False})
    alone, shared = (fitted(in_turn, 41, TASK, alone=alone) for alone in (True, False))
    assert (alone.masks, alone.tiles, alone.exposures, alone.camera.shape) == (4, 1, 4, (45, 45))
    assert (shared.masks, shared.images_per_frame) == (4, 8)  # 2 x 4 places, and one output of each image at a time


@pytest.mark.parametrize("side", [56, 100])
def test_a_fixed_mask_on_a_scene_ends_where_its_tiles_do_not_fit(side):
    assert fitted(SCENE, side, TASK, alone=True) is None
    assert costs_of(SCENE, side, TASK) is None
    assert fitted(SCENE, 41, TASK, alone=False).images_per_frame == 1  # a scene is one image


def test_a_curve_is_the_cost_at_every_side_and_has_gaps_where_it_does_not_fit():
    found = optical_curve("scene", SCENE, (16, 41, 56), TASK, draws=20, seed=3)
    assert found.spread("latency")[2] is None
    for j, side in enumerate((16, 41)):
        interval = optical_cost(fitted(SCENE, side, TASK, alone=True)).latency
        low, _, high = found.spread("latency")[j]
        assert interval.low <= low <= high <= interval.high


def test_a_draw_is_the_same_hardware_at_every_side():
    """With power alone unknown, energy over time is that power: the same at all sides of one draw."""
    found = optical_curve("x", SYSTEM, (16, 41, 86), TASK, draws=20, seed=3)
    power = found.fixed / found.draws["time per image"]
    assert np.ptp(power, axis=1).max() < 1e-9
    assert np.ptp(power[:, 0]) > 0.1


def test_measured_draws_stay_within_their_bounds_and_move_together():
    found = electronic_curve(
        "cpu", (8, 16), {"latency": [term(1, 2, 4), term(2, 4, 8)], "energy per image": [None, None]}, draws=50, seed=0
    )
    assert set(found.draws) == {"latency"}
    np.testing.assert_allclose(found.draws["latency"][:, 1], 2 * found.draws["latency"][:, 0], rtol=1e-12)
    assert found.kinds == ("measured", "measured")
    with pytest.raises(ValueError, match="cpu must have at least one quantity"):
        electronic_curve("cpu", (8, 16), {"latency": [None, None]}, draws=2, seed=0)


def test_every_side_keeps_its_own_source_and_the_weakest_evidence():
    clock, sheet = (Term("x", 1, 1, 1, "s", source, kind) for source, kind in (("a", "measured"), ("b", "modelled")))
    guess = Term("x", 1, 1, 1, "s", "c", "assumed")
    rows = {"latency": [clock, clock, sheet], "time per image": [clock, sheet, guess]}
    found = electronic_curve("cpu", (8, 16, 32), rows, draws=3, seed=0)
    assert found.kinds == ("measured", "modelled", "assumed")
    assert found.sources == {"latency": ("a", "a", "b"), "time per image": ("a", "b", "c")}
    assert found.only((8, 32)).sources["time per image"] == ("a", "c")


def test_between_two_sides_electronics_are_a_power_of_the_side():
    found = interpolated(np.array([[3.0 * 10**2, 3.0 * 40**2, 5.0]]), (10, 40, 50), (10, 20, 40, 50))
    np.testing.assert_allclose(found, [[300, 1200, 4800, 5]], rtol=1e-12)


@pytest.mark.parametrize("tiled", [True, False])
def test_between_the_telling_sides_no_count_changes(tiled):
    system = SYSTEM.model_copy(update={"tiled": tiled})
    sides = telling_sides(system, (16, 300), TASK)
    assert (sides[0], sides[-1]) == (16, 300)
    jumps = 0
    for low, high in zip(sides, sides[1:], strict=False):
        for alone in (True, False):
            counts = {layout(system, side, TASK, alone=alone).counts for side in range(low, high + 1)}
            assert len(counts) == 1 or high == low + 1
            jumps += len(counts) - 1
    assert jumps > 10
    assert max(b / a for a, b in zip(sides, sides[1:], strict=False)) < 1.15


@pytest.fixture(scope="module")
def every_side():
    """The model at every single side, and at the telling ones."""
    sides = telling_sides(SYSTEM, (16, 300), TASK)
    return tuple(optical_curve("o", SYSTEM, at, TASK, draws=20, seed=3) for at in (range(16, 301), sides))


@pytest.mark.parametrize("quantity", ["latency", "time per image", "energy per image"])
@pytest.mark.parametrize("scale", [0.25, 0.5, 1, 2])
def test_a_crossing_is_where_the_model_itself_crosses(every_side, quantity, scale):
    """Costs of the optics jump at dozens of sides; those of the electronics grow as a power."""
    whole, optics = every_side
    middle = scale * np.median(whole.draws[quantity][:, 100])

    def electronics(sides):
        values = [middle * (np.array(sides) / 116) ** 1.2] * 20
        return curve("d", values, optical=False, quantity=quantity, sides=sides)

    found = crossover(optics, electronics(optics.sides), quantity)
    wins = whole.draws[quantity] < electronics(whole.sides).draws[quantity]
    # The first side from which on each draw wins for good.
    exact = [16 + 285 - np.argmin(row[::-1]) if not row.all() else 16 for row in wins]
    exact = np.where(wins[:, -1], exact, np.inf)
    expected = [np.quantile(exact, q, method="higher") for q in (0.05, 0.5, 0.95)]
    # It crosses in the pixel before; between neighbours of an eighth of an octave a power is right to another one.
    np.testing.assert_allclose([found.low, found.median, found.high], expected, atol=2)
    assert found.share == np.mean(wins[:, -1])


def test_curves_at_different_sides_are_not_compared():
    with pytest.raises(ValueError, match="sides of d must be those of o, got 2 instead of 3"):
        crossover(curve("o", [[1, 1, 1]]), curve("d", [[1, 1]], optical=False, sides=(10, 40)), "latency")


def test_curves_cross_where_their_powers_are_equal():
    sides = np.array([10.0, 20.0, 40.0])
    optics, digital = curve("o", [25.0 * sides]), curve("d", [sides**2], optical=False)
    found = crossover(optics, digital, "latency")
    assert (found.low, found.median, found.high) == pytest.approx((25, 25, 25))
    assert found.ratio == pytest.approx(25 / 40)
    assert (found.share, found.first, found.last) == (1.0, 10, 40)


def test_a_crossover_is_the_last_one_and_its_bounds_are_those_of_the_draws():
    always, late, never, twice = [1, 1, 1], [9, 9, 1], [9, 9, 9], [1, 9, 1]
    optics = curve("o", [always] * 4 + [late] * 4 + [twice] * 2 + [never] * 10)
    digital = curve("d", [[3.0, 3.0, 3.0]] * 20, optical=False)
    found = crossover(optics, digital, "latency")
    assert found.share == 0.5
    assert found.low == pytest.approx(10)
    assert found.high == np.inf
    only_late = crossover(curve("o", [late] * 3), curve("d", [[3.0] * 3] * 3, optical=False), "latency")
    assert only_late.median == pytest.approx(20 * 2**0.5)
    only_twice = crossover(curve("o", [twice] * 3), curve("d", [[3.0] * 3] * 3, optical=False), "latency")
    assert only_twice.median == only_late.median


def test_a_comparison_ends_where_the_optics_do_not_fit_and_needs_both_figures():
    optics = curve("o", [[5, 1, np.nan]])
    found = crossover(optics, curve("d", [[2, 2, 2]], optical=False), "latency")
    assert found.last == 20
    assert crossover(optics, curve("d", [[2, 2, 2]], optical=False, quantity="time per image"), "latency") is None
    assert crossover(curve("o", [[np.nan] * 3]), curve("d", [[2, 2, 2]], optical=False), "latency") is None


def test_electronics_before_a_scene_pay_for_one_plain_capture():
    sides = (16, 41)
    inputs = {
        "latency": [term(0, 0, 0)] * 2,
        "time per image": [term(1e-6, 1e-6, 1e-6), term(1, 1, 1)],
        "energy per image": [term(0, 0, 0, "J")] * 2,
    }
    alone = electronic_curve("cpu", sides, inputs, draws=20, seed=1)
    found = behind_a_camera(alone, captures(SCENE, sides, draws=20, seed=1))
    link = np.array([16**2, 41**2]) * 12 / 5e9
    exposure, readout, flight = 1e-3, 1 / 75, 0.4 / 299792458
    np.testing.assert_allclose(found.draws["latency"][0], exposure + readout + link + flight, rtol=1e-12)
    np.testing.assert_allclose(found.draws["time per image"], [[1 / 75, 1.0]] * 20)  # the slower of camera and digital
    power = found.draws["energy per image"] * 75 - 5
    assert np.all((power > 2) & (power < 3.5))  # the camera's, no SLM's and no laser's
    assert found.name == "camera + cpu"


def test_a_plate_pays_for_light_pixels_and_time_that_a_plain_picture_does_not_need():
    """Four tiles of 20 pixels: exposed four times as long, and 1600 pixels read instead of 256."""
    priced = SCENE.model_copy(
        update={
            "conversion": SCENE.conversion.model_copy(update={"adc_energy": Term("adc", *[1e-6] * 3, "J", "test")}),
            "camera": SCENE.camera.model_copy(update={"exposure_time": Term("t", *[10e-3] * 3, "s", "test")}),
        }
    )
    plate = optical_curve("x", priced, (16,), TASK, draws=5, seed=3)
    plain = captures(priced, (16,), draws=5, seed=3)
    np.testing.assert_allclose(plate.draws["time per image"], 40e-3)
    np.testing.assert_allclose(plain["time per image"], 1 / 75)
    power = (plain["energy per image"] - 256e-6) * 75  # camera and host; the plate needs 0.2 W for the laser and 10 W
    np.testing.assert_allclose(plate.fixed, (power + 10 + 0.2) * 40e-3 + 1600e-6, rtol=1e-9)


def test_at_the_break_even_price_both_take_the_same_energy():
    sides, digital = (16, 41), [3e6, 4e7]
    optics = optical_curve("x", SYSTEM, sides, TASK, draws=5, seed=3)
    prices = break_even_prices(optics, SYSTEM, TASK, digital, seed=3)
    np.testing.assert_allclose(optics.fixed + TASK.head_macs * prices, np.array(digital) * prices, rtol=1e-12)
    assert np.all(np.isinf(break_even_prices(optics, SYSTEM, TASK, [10, 10], seed=3)))


def test_the_break_even_of_a_scene_counts_the_other_camera_too():
    optics = optical_curve("x", SCENE, (16,), TASK, draws=5, seed=3)
    capture = captures(SCENE, (16,), draws=5, seed=3)["energy per image"]
    prices = break_even_prices(optics, SCENE, TASK, [1e7], seed=3)
    np.testing.assert_allclose(prices, (optics.fixed - capture) / (1e7 - TASK.head_macs), rtol=1e-12)
    assert np.all(prices * 1e7 < 0.8 * optics.fixed)
