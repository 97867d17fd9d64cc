"""Tiles of kernels: by brute force, no light lands where it must not."""

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optics4f.design.tiling import plan_tiles


def light_of(image, size, centre):
    """Camera pixels that one tile lights, ``{(y, x)}``: object pixel j by tap a lands at centre + a - j."""
    axes = []
    for n, c in zip(image, centre, strict=True):
        pixels = np.arange(n) - n // 2
        taps = np.arange(size) - size // 2
        axes.append({int(c + a - j) for a in taps for j in pixels})
    return set(itertools.product(*axes))


def output_of(tile, camera):
    rows, columns = (
        range(place.start - n // 2, place.stop - n // 2)
        for place, n in zip((tile.rows, tile.columns), camera, strict=True)
    )
    return set(itertools.product(rows, columns))


@settings(max_examples=25, deadline=None)
@given(
    image=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    size=st.integers(1, 4),
    padding=st.integers(0, 3),
    kernels=st.integers(1, 4),
    guard=st.integers(0, 2),
    twins=st.booleans(),
)
def test_nothing_else_lands_on_the_output_of_a_tile(image, size, padding, kernels, guard, twins):
    padding = min(padding, size - 1)
    camera, replica = (64, 71), (66.5, 80.0)
    plan = plan_tiles(
        kernels, image, size, camera=camera, replica=replica, signs=2, padding=padding, guard=guard, avoid_twins=twins
    )
    assert len(plan.tiles) == 2 * kernels
    zero_order = light_of(image, 1, (0, 0))
    for tile in plan.tiles:
        output, light = output_of(tile, camera), light_of(image, size, tile.centre)
        outputs = [n + 2 * padding - size + 1 for n in image]
        assert len(output) == outputs[0] * outputs[1]
        assert tile.rows.start >= 0 and tile.rows.stop <= camera[0]
        assert tile.columns.start >= 0 and tile.columns.stop <= camera[1]
        assert output <= light, "the output shows the tile's own light"
        assert not output & zero_order
        assert all(abs(y) <= replica[0] / 2 and abs(x) <= replica[1] / 2 for y, x in light)
        for other in plan.tiles:
            if other.exposure != tile.exposure:
                continue
            reached = light_of(image, size, other.centre)
            if other is not tile:
                assert not output & reached
            if twins:
                assert not output & {(-y, -x) for y, x in reached}


def test_the_output_stands_where_the_turned_image_puts_it():
    """Object 8, kernel 3: output o = 0 ... 5 has its middle tap on pixel o + 1, at 4 - (o + 1) of the tile."""
    plan = plan_tiles(1, (8, 8), 3, camera=(101, 101), replica=(101, 101), avoid_zero_order=False)
    tile = plan.tiles[0]
    assert tile.centre == (0, 0)
    assert (tile.rows.start - 50, tile.rows.stop - 1 - 50) == (4 - 6, 4 - 1)


def test_the_tiles_nearest_to_the_axis_come_first():
    plan = plan_tiles(8, (9, 9), 3, camera=(101, 101), replica=(120, 120))
    distances = [y**2 + x**2 for y, x in (tile.centre for tile in plan.tiles)]
    assert distances == sorted(distances)


def test_a_pair_shares_an_exposure_unless_each_tile_has_its_own():
    options = {"camera": (101, 101), "replica": (120, 120), "signs": 2}
    pairs = plan_tiles(6, (9, 9), 3, exposures=3, **options)
    assert pairs.exposures == 3
    for plus, minus in zip(pairs.tiles[::2], pairs.tiles[1::2], strict=True):
        assert plus.exposure == minus.exposure and (plus.kernel, plus.sign, minus.sign) == (minus.kernel, 0, 1)
    alone = plan_tiles(3, (9, 9), 3, exposures=6, **options)
    assert [tile.exposure for tile in alone.tiles] == list(range(6))


def test_what_does_not_fit_is_refused_with_numbers_that_do():
    options = {"camera": (101, 101), "replica": (120, 120), "signs": 2, "exposures": 1}
    with pytest.raises(ValueError, match=r"room for \d+ in one exposure") as refusal:
        plan_tiles(16, (20, 20), 5, **options)
    side, exposures, kernels = (
        int(re.search(pattern, str(refusal.value)).group(1))
        for pattern in (r"at most (\d+) x", r"(\d+) exposures", r"at most (\d+) kernels")
    )
    assert plan_tiles(16, (side, side), 5, **options).exposures == 1
    assert plan_tiles(16, (20, 20), 5, **{**options, "exposures": exposures}).exposures == exposures
    assert len(plan_tiles(kernels, (20, 20), 5, **options).tiles) == 2 * kernels
    with pytest.raises(ValueError, match="room for"):
        plan_tiles(16, (side + 1, side + 1), 5, **options)
    with pytest.raises(ValueError, match="room for"):
        plan_tiles(kernels + 1, (20, 20), 5, **options)


@pytest.mark.parametrize("sign", [1, -1])
def test_colours_stay_off_each_other(sign):
    """A tile at c for one wavelength is seen at c times the ratio in the light of another, and its twin opposite."""
    colours = (450e-9, 635e-9)  # far apart: the taps of one are clearly stretched in the light of the other
    options = {"colours": colours, "avoid_twins": sign < 0, "guard": 0}
    plan = plan_tiles(2, (8, 8), 7, camera=(161, 161), replica=(160, 160), exposures=1, **options)
    for one, other in itertools.product(plan.tiles, repeat=2):
        for ratio in (sign * 450 / 635, sign * 635 / 450):
            ghost = {
                (y, x)
                for y, x in itertools.product(
                    *({round(ratio * (c + a) - j) for a in range(-3, 4) for j in range(-4, 4)} for c in one.centre)
                )
            }
            assert not ghost & output_of(other, (161, 161))


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"kernels": 0}, "kernels"),
        ({"kernel_size": 0}, "kernel_size"),
        ({"padding": 3}, "padding"),
        ({"guard": -1}, "guard"),
        ({"exposures": 0}, "exposures"),
        ({"kernel_size": 12}, "fit into the padded image"),
    ],
)
def test_senseless_arguments_are_refused(changed, word):
    arguments = {"kernels": 1, "image": (9, 9), "kernel_size": 3, "camera": (90, 90), "replica": (90, 90)}
    with pytest.raises(ValueError, match=word):
        plan_tiles(**{**arguments, **changed})


@settings(max_examples=60, deadline=None)
@given(
    image=st.tuples(st.integers(5, 40), st.integers(5, 40)),
    camera=st.tuples(st.integers(20, 200), st.integers(20, 200)),
    kernels=st.integers(1, 20),
)
def test_advised_images_do_fit(image, camera, kernels):
    options = {"camera": camera, "replica": camera, "signs": 2, "exposures": 1}
    try:
        plan_tiles(kernels, image, 5, **options)
    except ValueError as refusal:
        if found := re.search(r"images of at most (\d+) x (\d+)", str(refusal)):
            plan_tiles(kernels, tuple(map(int, found.groups())), 5, **options)


def test_the_table_names_windows():
    table = str(plan_tiles(1, (9, 9), 3, camera=(101, 101), replica=(120, 120), signs=2))
    assert table.count("\n") == 3 and "camera rows" in table
