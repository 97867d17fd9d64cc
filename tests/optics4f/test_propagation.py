"""Free-space propagation against closed forms."""

import math

import numpy as np
import pytest
import torch

from optics4f.field import Field
from optics4f.grid import Grid
from optics4f.profiles import circle
from optics4f.propagation import (
    angular_spectrum_transfer_function,
    apply_transfer_function,
    band_limit,
    propagate,
)
from tests.references import circular_aperture_on_axis, gaussian_beam

WAVELENGTH = 532e-9
SMALL = Grid((48, 36), 8e-6)  # at 1 mm nothing of its band is cut: see the first test below


def beam(grid: Grid, waist: float, distance: float, dtype: torch.dtype = torch.complex128) -> Field:
    y, x = (axis.numpy() for axis in grid.coordinates())
    return Field(torch.from_numpy(gaussian_beam(y, x, WAVELENGTH, waist, distance)).to(dtype), grid, WAVELENGTH)


def noise(grid: Grid, *batch: int, seed: int = 0) -> Field:
    generator = torch.Generator().manual_seed(seed)
    return Field(torch.randn(*batch, *grid.shape, dtype=torch.complex128, generator=generator), grid, WAVELENGTH)


def centroid(field: Field) -> tuple[float, float]:
    """Centre of the light (y, x) [m], summed in float64."""
    light = field.intensity.double()
    return tuple(((light * axis).sum() / light.sum()).item() for axis in field.grid.coordinates())


def test_at_a_short_distance_the_whole_band_travels():
    h = angular_spectrum_transfer_function(SMALL, WAVELENGTH, 1e-3, dtype=torch.complex128)
    torch.testing.assert_close(h.abs(), torch.ones_like(h.abs()), rtol=0, atol=1e-15)


@pytest.mark.parametrize("distance", [0.1, 1.0])
def test_a_single_precision_beam_follows_the_closed_form_and_stays_on_the_axis(distance):
    grid = Grid((512, 512), 8e-6)
    out = propagate(beam(grid, 300e-6, 0, torch.complex64), distance)
    wanted = beam(grid, 300e-6, distance).data
    overlap = (wanted.conj() * out.data.to(torch.complex128)).sum()
    actual = out.data.to(torch.complex128) / (overlap / overlap.abs())
    # The closed form is paraxial: 1.7e-7 off at 1 m. A float32 exp(ikz) would be off by 1e-2.
    assert (torch.linalg.vector_norm(actual - wanted) / torch.linalg.vector_norm(wanted)).item() <= 5e-7
    assert max(abs(c) for c in centroid(out)) < 1e-9
    # The one global phase is itself right: there is no carrier in it.
    assert abs(overlap.angle().item()) < 1e-6


@pytest.mark.parametrize("distance", [0.0, 0.05, 0.2, -0.1])
def test_a_beam_spreads_and_curves_as_theory_says(distance):
    grid = Grid((256, 192), 8e-6)
    actual = propagate(beam(grid, 200e-6, 0), distance).data
    torch.testing.assert_close(actual, beam(grid, 200e-6, distance).data, atol=2e-6, rtol=0)  # paraxial, window edge


@pytest.mark.parametrize(("row", "column"), [(2, -3), (-5, 1), (0, 4)])
@pytest.mark.parametrize("distance", [5e-5, -3e-5])
def test_a_tilted_plane_wave_gains_exactly_its_phase(row, column, distance):
    grid = Grid((12, 10), 4e-6)
    y, x = (axis.numpy() for axis in grid.coordinates())
    fy, fx = row / (12 * 4e-6), column / (10 * 4e-6)
    wave = np.exp(2j * np.pi * (fy * y + fx * x))
    # exp(+ikz): light towards +z gains phase, a tilted wave less than the carrier that is left out.
    gained = np.exp(2j * np.pi * distance * (math.sqrt(WAVELENGTH**-2 - fy**2 - fx**2) - 1 / WAVELENGTH))
    actual = propagate(Field(torch.from_numpy(wave), grid, WAVELENGTH), distance, padding=1)
    np.testing.assert_allclose(actual.data.numpy(), wave * gained, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("angle_y", "angle_x"), [(0.0, 4e-3), (-3e-3, 1e-3)])
def test_a_beam_that_points_to_plus_x_arrives_at_plus_x(angle_y, angle_x):
    grid, distance = Grid((300, 340), 8e-6), 0.1
    y, x = grid.coordinates()
    start = beam(grid, 200e-6, 0)
    tilt = torch.exp(2j * math.pi / WAVELENGTH * (math.sin(angle_y) * y + math.sin(angle_x) * x))
    arrived = centroid(propagate(Field(start.data * tilt, grid, WAVELENGTH), distance))
    cosine = math.sqrt(1 - math.sin(angle_y) ** 2 - math.sin(angle_x) ** 2)
    wanted = (distance * math.sin(angle_y) / cosine, distance * math.sin(angle_x) / cosine)
    # The mean direction of a beam of divergence 0.85 mrad differs from its axis by the square of that, relatively.
    assert arrived == pytest.approx(wanted, rel=2e-6, abs=1e-9)


def test_the_light_behind_a_round_hole_is_that_of_rayleigh_and_sommerfeld():
    grid, radius, distance = Grid((512, 480), 4e-6), 0.5e-3, 0.1
    hole = Field(circle(grid, radius).to(torch.complex128), grid, WAVELENGTH)
    wanted = circular_aperture_on_axis(radius, WAVELENGTH, distance)
    assert wanted == pytest.approx(3.1715560726, abs=1e-9)
    # Grey rim pixels 1/125 of the radius wide: measured 0.16 %.
    assert propagate(hole, distance).intensity[256, 240].item() == pytest.approx(wanted, rel=4e-3)


def test_power_is_conserved():
    field = noise(SMALL, 2)
    torch.testing.assert_close(propagate(field, 1e-3, padding=1).power, field.power, rtol=1e-12, atol=0)


def test_going_there_and_back_restores_the_field():
    field = noise(SMALL)
    there = propagate(field, 1e-3, padding=1)
    assert (there.data - field.data).abs().max() > 1  # it did travel
    torch.testing.assert_close(propagate(there, -1e-3, padding=1).data, field.data, rtol=0, atol=1e-12)


def test_two_steps_are_one_step():
    field = noise(SMALL)
    twice = propagate(propagate(field, 0.3e-3, padding=1), 0.7e-3, padding=1)
    torch.testing.assert_close(twice.data, propagate(field, 1e-3, padding=1).data, rtol=0, atol=1e-12)


def test_running_backwards_is_the_adjoint():
    x, y = noise(SMALL, 2), noise(SMALL, 2, seed=1)
    for distance in (1e-3, 0.1):  # padded and cut, and at 0.1 m also band-limited: adjoint all the same
        forth = (propagate(x, distance).data.conj() * y.data).sum()
        back = (x.data.conj() * propagate(y, -distance).data).sum()
        torch.testing.assert_close(forth, back, rtol=1e-11, atol=1e-9)
        _, gradient = torch.autograd.functional.vjp(
            lambda d, z=distance: propagate(Field(d, SMALL, WAVELENGTH), z).data, x.data, y.data
        )
        torch.testing.assert_close(gradient, propagate(y, -distance).data, rtol=0, atol=1e-12)


def test_gradients_reach_the_field_and_the_distance(generator):
    grid = Grid((6, 5), 4e-6)

    def light(data, distance_in_mm):
        return propagate(Field(data, grid, WAVELENGTH), distance_in_mm * 1e-3).intensity

    data = torch.randn(2, 6, 5, dtype=torch.complex128, generator=generator, requires_grad=True)
    distance = torch.tensor(0.05, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(light, (data, distance))


@pytest.mark.parametrize("pitch", [WAVELENGTH / 2, WAVELENGTH / math.sqrt(2), WAVELENGTH / 5])
@pytest.mark.parametrize("way", [1, -1])
def test_at_the_light_circle_nothing_grows_and_every_gradient_is_finite(pitch, way):
    grid = Grid((8, 6), pitch)  # with a bin on the circle itself, where the square root is 0
    field = noise(grid)
    distance = torch.tensor(way * 2e-6, dtype=torch.float64, requires_grad=True)
    data = field.data.clone().requires_grad_()
    out = propagate(Field(data, grid, WAVELENGTH), distance)
    assert out.power <= field.power
    out.intensity.square().sum().backward()
    assert torch.isfinite(distance.grad)
    assert torch.isfinite(torch.view_as_real(data.grad)).all()


def test_the_band_limit_leaves_two_samples_a_fringe():
    extent, distance = 512 * 8e-6, 0.3
    limit = band_limit(extent, WAVELENGTH, distance)
    # From one sample of H to the next, 1 / extent further on, its phase makes half a turn there.
    inner, outer = (distance * math.sqrt(WAVELENGTH**-2 - (limit + side / extent) ** 2) for side in (-0.5, 0.5))
    assert inner - outer == pytest.approx(0.5, rel=1e-4)


def test_a_transfer_function_smaller_than_the_field_is_refused():
    h = angular_spectrum_transfer_function(Grid((64, 64), 8e-6), WAVELENGTH, 0.1)
    with pytest.raises(ValueError, match=r"got \(64, 64\) for a field of \(256, 192\).*grid\.padded\(\)"):
        apply_transfer_function(torch.ones(256, 192, dtype=torch.complex64), h)
