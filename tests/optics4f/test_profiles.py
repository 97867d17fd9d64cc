"""Patterns on a plane: areas, symmetries and closed forms."""

import math

import numpy as np
import pytest
import torch

from optics4f.grid import Grid
from optics4f.profiles import (
    annulus,
    checkerboard,
    circle,
    edge,
    gaussian_amplitude,
    gaussian_beam,
    lens_phase,
    linear_phase,
    rectangle,
    siemens_star,
    spiral_phase,
)
from tests import references

GRID = Grid((40, 54), 8e-6)


def area(transmission: torch.Tensor, grid: Grid = GRID) -> float:
    return transmission.sum().item() * grid.pitch**2


@pytest.mark.parametrize(("height", "width"), [(100e-6, 61e-6), (64e-6, 8e-6), (3e-6, 200e-6), (1.0, 121e-6)])
def test_a_rectangle_has_its_area_to_rounding(height, width):
    window = GRID.shape[0] * GRID.pitch
    assert area(rectangle(GRID, height, width)) == pytest.approx(min(height, window) * width, rel=1e-12)


def test_height_runs_along_the_rows():
    opening = rectangle(GRID, 100e-6, 60e-6)
    assert ((opening.sum(1) > 0).sum() * 8, (opening.sum(0) > 0).sum() * 8) == (104, 72)  # grey at both ends


def test_an_infinite_height_is_a_slit():
    slit = rectangle(GRID, math.inf, 20e-6)
    torch.testing.assert_close(slit.sum(1) * GRID.pitch, torch.full((40,), 20e-6, dtype=torch.float64))


def test_a_circle_has_its_area():
    radius = 100.3e-6
    assert area(circle(GRID, radius)) == pytest.approx(math.pi * radius**2, rel=1e-3)  # 256 points in each rim pixel
    assert torch.equal(circle(GRID, radius)[1:].flip(0), circle(GRID, radius)[1:])


def test_a_ring_is_a_circle_without_the_circle_inside():
    ring = annulus(GRID, 40.7e-6, 120.2e-6)
    assert torch.equal(ring, circle(GRID, 120.2e-6) - circle(GRID, 40.7e-6))
    assert torch.equal(annulus(GRID, 0.0, 120.2e-6), circle(GRID, 120.2e-6))


@pytest.mark.parametrize("radius", [2e-6, 5e-6, 8e-6, 61.3e-6, 170e-6])
def test_only_the_rim_of_a_circle_is_grey_and_by_the_area_that_it_covers(radius):
    opening, points = circle(GRID, radius), 16
    inside = ((torch.arange(points, dtype=torch.float64) + 0.5) / points - 0.5) * GRID.pitch
    y, x = (position.flatten()[:, None] + inside for position in GRID.coordinates())
    counted = (y[:, :, None, None] ** 2 + x[None, None, :, :] ** 2 <= radius**2).double().mean(dim=(1, 3))
    torch.testing.assert_close(opening, counted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, math.pi / 2, 2.0, -2.9])
def test_an_edge_is_grey_by_the_area_that_it_covers(angle):
    grid, points = Grid((14, 11), 8e-6), 64
    inside = ((torch.arange(points, dtype=torch.float64) + 0.5) / points - 0.5) * grid.pitch
    y, x = (position.flatten()[:, None] + inside for position in grid.coordinates())
    y, x = y[:, :, None, None], x[None, None, :, :]
    counted = ((x * math.cos(angle) + y * math.sin(angle) >= 5.2e-6).double()).mean(dim=(1, 3))
    # Along a line that crosses a sample, at most one point of each row is on the wrong side, half of one on average.
    torch.testing.assert_close(edge(grid, angle=angle, offset=5.2e-6), counted, rtol=0, atol=1 / points)


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1.1e-6, 1e-5, 0.01, 0.7, math.pi / 2 - 1e-5])
def test_an_edge_and_its_other_side_are_the_whole_plane(angle):
    grid = Grid((30, 2000), 8e-6)
    bright = edge(grid, angle=angle, offset=37e-6)
    # At the smallest angles the areas are differences of squares of about 1 over twice the angle: 2e-16 / 2e-6.
    torch.testing.assert_close(
        bright + edge(grid, angle=angle + math.pi, offset=-37e-6), torch.ones_like(bright), rtol=0, atol=1e-9
    )
    assert bright.min() >= -1e-9
    assert bright.max() <= 1 + 1e-9
    assert bright[0, -1] == pytest.approx(1 if math.cos(angle) > 0.1 else 0, abs=1e-9)


def test_a_slanted_edge_covers_in_each_row_what_lies_beyond_it():
    grid, angle, offset = Grid((40, 400), 8e-6), math.radians(5), 20e-6
    y, _ = grid.coordinates()
    crossing = (offset - y.flatten() * math.sin(angle)) / math.cos(angle)  # mean over the row's height: at its centre
    right = (399.5 - 200) * grid.pitch
    bright = edge(grid, angle=angle, offset=offset).sum(1) * grid.pitch
    torch.testing.assert_close(bright, right - crossing, rtol=1e-12, atol=0)


def test_half_of_a_siemens_star_is_bright():
    grid = Grid((121, 131), 1e-6)
    star = siemens_star(grid, 8, 50e-6)
    # Quadrants repeat, and opposite directions are equal: 8 spokes turn into themselves by 45 degrees.
    assert area(star, grid) == pytest.approx(math.pi * 50e-6**2 / 2, rel=2e-3)
    assert star[60, 65 + 40] == 1  # one spoke along +x
    turned = star[:, 5:126]
    torch.testing.assert_close(torch.rot90(turned), turned, rtol=0, atol=1 / 16)  # edges that pass through points


def test_a_siemens_star_has_its_spokes_at_every_radius():
    grid = Grid((601, 601), 1e-6)
    star = siemens_star(grid, 11, 250e-6, subsamples=2)
    turn = torch.arange(0, 2 * math.pi, 0.001, dtype=torch.float64)
    for radius in (60, 120, 240):
        row, column = (300 + radius * torch.sin(turn)).round().long(), (300 + radius * torch.cos(turn)).round().long()
        harmonics = torch.fft.rfft(star[row, column] - 0.5).abs()
        assert harmonics.argmax() == 11


def test_every_other_sample_of_the_finest_board_is_bright():
    board = checkerboard(GRID, GRID.pitch)
    rows, columns = torch.arange(40)[:, None] - 20, torch.arange(54)[None, :] - 27
    torch.testing.assert_close(board, ((rows + columns) % 2 == 0).double(), rtol=0, atol=1e-12)


def test_a_board_is_grey_by_the_area_that_it_covers():
    grid, side, points = Grid((9, 13), 8e-6), 21.3e-6, 400
    inside = ((torch.arange(points, dtype=torch.float64) + 0.5) / points - 0.5) * grid.pitch
    waves = []
    for position in grid.coordinates():
        place = position.flatten()[:, None] + inside
        waves.append((1 - 2 * (torch.round(place / side) % 2).abs()).mean(1))
    wanted = (1 + waves[0][:, None] * waves[1][None, :]) / 2
    torch.testing.assert_close(checkerboard(grid, side), wanted, rtol=0, atol=2 / points)


def test_a_tilt_moves_the_light_to_its_frequency():
    fy, fx = (axis.flatten() for axis in GRID.frequencies())
    phase = linear_phase(GRID, (fy[3].item(), fx[-5].item()))
    spectrum = torch.fft.fft2(torch.polar(torch.ones_like(phase), phase)).abs()
    wanted = torch.zeros_like(spectrum)
    wanted[3, -5] = phase.numel()
    torch.testing.assert_close(spectrum, wanted, rtol=0, atol=1e-9)
    assert phase[20, 27] == 0


@pytest.mark.parametrize("charge", [1, -3])
def test_a_vortex_turns_its_charge_around_the_axis(charge):
    theta = 2 * math.pi * torch.arange(101, dtype=torch.float64) / 100
    around = spiral_phase(GRID, charge)[(20 + 17 * theta.sin()).round().long(), (27 + 17 * theta.cos()).round().long()]
    steps = torch.remainder(torch.diff(around) + math.pi, 2 * math.pi) - math.pi  # less than half a turn each
    assert steps.sum().item() == pytest.approx(2 * math.pi * charge)
    assert spiral_phase(GRID, charge)[20 + 9, 27].item() == pytest.approx(charge * math.pi / 2)  # from +x towards +y
    assert spiral_phase(GRID, charge)[20, 27] == 0


def test_a_vortex_leaves_no_light_on_the_axis_of_the_far_field():
    grid = Grid((41, 41), 8e-6)  # odd: every sample has its opposite, whose phase differs by pi
    vortex = torch.polar(circle(grid, 150e-6), spiral_phase(grid, 1))
    vortex[20, 20] = 0  # where the phase has no value
    assert vortex.sum().abs() < 1e-10


@pytest.mark.parametrize("order", [1.0, 2.5, 8.0])
def test_a_super_gaussian_falls_to_1_over_e_at_its_waist(order):
    grid = Grid((41, 61), 1e-6)
    profile = gaussian_amplitude(grid, 15e-6, order=order)
    assert profile[20, 30] == 1
    torch.testing.assert_close(profile[[35, 20], [30, 15]], torch.full((2,), math.exp(-1), dtype=torch.float64))
    # Integral over the plane: pi w^2 Gamma(1 + 1 / n) of the amplitude; the samples end at 20 um = 4/3 w along y.
    if order > 2:
        whole = math.pi * 15e-6**2 * math.gamma(1 + 1 / order)
        assert area(profile, grid) == pytest.approx(whole, rel=5e-3)


def test_the_waist_of_a_beam_is_the_gaussian():
    beam = gaussian_beam(GRID, 532e-9, 60e-6)
    torch.testing.assert_close(beam, gaussian_amplitude(GRID, 60e-6).to(torch.complex128), rtol=1e-14, atol=0)


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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rectangle(GRID, -1e-5, 1e-5), "height must be positive, got -1e-05 m"),
        (lambda: rectangle(GRID, 1e-5, math.nan), "width must be positive, got nan m"),
        (lambda: circle(GRID, 1e-5, subsamples=0), "subsamples must be a whole number of at least 1, got 0"),
        (lambda: circle(GRID, -1e-5), "radius must be positive, got -1e-05 m"),
        (lambda: annulus(GRID, 2e-5, 1e-5), "inner_radius must be from 0 to below outer_radius, got 20 um and 10 um"),
        (lambda: siemens_star(GRID, 0, 1e-4), "spokes must be a whole number of at least 1, got 0"),
        (lambda: siemens_star(GRID, 8, 0.0), "radius must be positive, got 0 m"),
        (lambda: checkerboard(GRID, 0.0), "side must be positive, got 0 m"),
        (lambda: linear_phase(GRID, (0.0, 7e4)), "frequency must be at most 62500 cycles/m"),
        (lambda: spiral_phase(GRID, 0.5), "charge must be a whole number, got 0.5"),
        (lambda: gaussian_amplitude(GRID, -1e-5), "waist must be positive, got -1e-05"),
        (lambda: gaussian_amplitude(GRID, 1e-5, order=0), "order must be positive, got 0"),
    ],
)
def test_what_is_no_pattern_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
