"""Patterns on a plane."""

import math

import numpy as np
import pytest
import torch

from optics4f.grid import Grid
from optics4f.profiles import circle, gaussian_beam, lens_phase, rectangle
from tests import references

GRID = Grid((40, 54), 8e-6)


@pytest.mark.parametrize(("height", "width"), [(100e-6, 61e-6), (64e-6, 8e-6), (3e-6, 200e-6), (1.0, 121e-6)])
def test_a_rectangle_has_its_area_to_rounding(height, width):
    area = rectangle(GRID, height, width).sum().item() * GRID.pitch**2
    window = GRID.shape[0] * GRID.pitch
    assert area == pytest.approx(min(height, window) * width, rel=1e-12)


def test_height_runs_along_the_rows():
    opening = rectangle(GRID, 100e-6, 60e-6)
    assert ((opening.sum(1) > 0).sum() * 8, (opening.sum(0) > 0).sum() * 8) == (104, 72)  # grey at both ends


def test_a_circle_has_its_area():
    radius = 100.3e-6
    area = circle(GRID, radius).sum().item() * GRID.pitch**2
    assert area == pytest.approx(math.pi * radius**2, rel=1e-3)  # 256 points in each rim pixel
    assert torch.equal(circle(GRID, radius)[1:].flip(0), circle(GRID, radius)[1:])


@pytest.mark.parametrize("distance", [0.0, 0.03, -0.2])
def test_the_beam_by_complex_radius_is_the_beam_by_width_and_wavefront(distance):
    y, x = (axis.numpy() for axis in GRID.coordinates())
    actual = gaussian_beam(GRID, 532e-9, 60e-6, distance)
    wanted = references.gaussian_beam(y, x, 532e-9, 60e-6, distance)
    np.testing.assert_allclose(actual.numpy(), wanted, rtol=0, atol=1e-12)


def test_a_lens_delays_like_the_sphere_that_it_is_near_the_axis():
    y, x = GRID.coordinates()
    focal_length = 0.1
    path = focal_length - torch.sqrt(focal_length**2 + x**2 + y**2)
    sphere = 2 * math.pi / 532e-9 * path  # negative off the axis: the rim is ahead, the light converges
    torch.testing.assert_close(lens_phase(GRID, 532e-9, focal_length), sphere, rtol=2e-6, atol=1e-9)
