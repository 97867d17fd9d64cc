"""Planes as small pictures: colours where the numbers say, axes where the samples lie."""

import io
import math

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from optics4f.grid import Grid
from optics4f.report import colour_wheel, grey_picture, intensity_picture, phase_picture, signed_picture

GRID = Grid((5, 8), 10e-6)


def colours(png):
    """RGBA of each pixel, shape ``(height, width, 4)``."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)


def wanted(name, share):
    return np.round(255 * np.asarray(matplotlib.colormaps[name](share))[:3])


def test_intensity_is_logarithmic_over_four_decades():
    light = torch.zeros(GRID.shape)
    light[0, 0], light[1, 1], light[2, 2], light[4, 7] = 5.0, 5e-2, 5e-4, 5e-7
    picture = intensity_picture(light, GRID, "light")
    found = colours(picture.png)
    # 255 levels of a map of 256: neighbours differ by up to 3.
    for place, share in (((0, 0), 1.0), ((1, 1), 0.5), ((2, 2), 0.0), ((4, 7), 0.0), ((3, 3), 0.0)):
        assert found[place][:3] == pytest.approx(wanted("inferno", share), abs=3), place
    assert picture.scale == ("0.0005", "5", "intensity, logarithmic")
    assert "peak 5" in picture.note


def test_axes_end_where_the_samples_do_with_the_middle_index_at_zero():
    picture = intensity_picture(torch.ones(GRID.shape), GRID, "light")
    # Rows 0 ... 4 around row 2, columns 0 ... 7 around column 4, half a sample more on each side.
    assert picture.y == ("−25.0", "y [µm]", "25.0")
    assert picture.x == ("−45.0", "x [µm]", "35.0")
    assert colours(picture.png).shape[:2] == GRID.shape


def test_dark_edges_are_left_out_evenly_and_the_axes_know():
    grid = Grid((101, 121), 10e-6)
    light = torch.zeros(grid.shape)
    light[50, 70] = 1.0  # 10 columns to the right of the axis
    picture = intensity_picture(light, grid, "light")
    found = colours(picture.png)[..., 0]
    row, column = np.unravel_index(found.argmax(), found.shape)
    assert found.shape == (25, 25)  # 10.5 samples and one more to each side
    assert (row, column) == (12, 22)
    assert picture.x == ("−125", "x [µm]", "125")
    assert colours(intensity_picture(light, grid, "light", crop=False).png).shape[:2] == grid.shape


def test_blocks_keep_the_mean_and_say_so():
    grid = Grid((7, 10), 1e-3)
    flat = grey_picture(torch.full(grid.shape, 0.5), grid, "flat", peak=1, what="value", side=4)
    assert colours(flat.png).shape[:2] == (3, 4)
    assert np.ptp(colours(flat.png)[..., 0]) == 0  # also in the blocks that reach beyond the edge
    assert flat.note == "mean of 3 x 3 samples a pixel"
    assert flat.x == ("−5.50", "x [mm]", "6.50")  # four blocks of three samples
    light = torch.zeros(grid.shape)
    light[3, 4] = 9.0
    assert "peak 9" in intensity_picture(light, grid, "light", side=4).note  # of the samples, not of the mean


def test_phase_is_cyclic_and_has_no_colour_without_light():
    phase = torch.zeros(GRID.shape)
    phase[0, :4] = torch.tensor([0.0, 2 * math.pi, -2 * math.pi, math.pi])
    light = torch.ones(GRID.shape)
    light[4, 7] = 1e-5
    found = colours(phase_picture(phase, GRID, "phase", intensity=light).png)
    assert (found[0, 0] == found[0, 1]).all()
    assert found[0, 2] == pytest.approx(found[0, 0], abs=2)  # a hair below 0 in float32: the last colour
    assert found[0, 3][:3] == pytest.approx(wanted("twilight", 0.5), abs=3)
    assert found[4, 7][3] == 0
    assert (found[..., 3] == 255).sum() == found[..., 3].size - 1


def test_phases_are_picked_not_averaged():
    grid = Grid((6, 6), 1e-3)
    phase = torch.full(grid.shape, 0.1)
    phase[::2] = 2 * math.pi - 0.1  # whose mean with 0.1 would be pi
    found = colours(phase_picture(phase, grid, "phase", side=3).png)
    known = [wanted("twilight", value / (2 * math.pi)) for value in (0.1, 2 * math.pi - 0.1)]
    for pixel in found.reshape(-1, 4):
        assert min(np.abs(pixel[:3] - colour).max() for colour in known) <= 3


def test_the_wheel_has_the_colours_of_the_phase_with_a_quarter_of_a_turn_at_the_top():
    wheel = colours(colour_wheel(99))
    for place, turn in (((49, 89), 0.0), ((10, 49), 0.25), ((49, 10), 0.5), ((88, 49), 0.75)):
        assert wheel[place][:3] == pytest.approx(wanted("twilight", turn), abs=6), turn
        assert wheel[place][3] == 255
    assert wheel[49, 49, 3] == wheel[0, 0, 3] == 0


def test_signed_values_are_white_at_zero_and_missing_ones_have_no_colour():
    values = torch.zeros(GRID.shape)
    values[0, 0], values[0, 1], values[0, 2] = 9.0, -9.0, math.nan
    found = colours(signed_picture(values, GRID, "left", limit=5, what="deviations").png)
    for column, share in ((0, 1.0), (1, 0.0), (3, 0.5)):
        assert found[0, column][:3] == pytest.approx(wanted("RdBu_r", share), abs=3)
    assert found[0, 2][3] == 0


def test_words_say_what_the_picture_shows():
    alt = intensity_picture(torch.ones(GRID.shape), GRID, "Intensity behind lens 1").alt
    assert alt == (
        "Intensity behind lens 1 (peak 1): intensity, logarithmic from 0.0001 to 1; x from −45.0 to 35.0 µm, "
        "y from −25.0 to 25.0 µm, downwards"
    )


def test_a_plane_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"must have the grid's shape \(5, 8\), got \(2, 5, 8\)"):
        intensity_picture(torch.ones(2, 5, 8), GRID, "light")
