"""Every propagation method against the closed forms of diffraction theory."""

import math

import numpy as np
import pytest
import torch
from scipy.special import fresnel

from optics4f.elements import Lens
from optics4f.field import Field
from optics4f.grid import Grid
from optics4f.profiles import circle, edge, gaussian_beam, rectangle
from optics4f.propagation import propagate, propagation_method
from optics4f.propagation_method import computation_window
from tests.optics4f.benches import relative
from tests.references import blaze_efficiency, circular_aperture_on_axis, gaussian_behind_lens

WAVELENGTH = 532e-9


def light(transmission: torch.Tensor, grid: Grid) -> Field:
    return Field(transmission.expand(grid.shape).to(torch.complex128), grid, WAVELENGTH)


def slit(position: np.ndarray, width: float, scale: float) -> np.ndarray:
    """One axis of the Fresnel diffraction of an opening (Goodman 2005, section 4.5), 1 without the opening."""
    (s1, c1), (s2, c2) = (fresnel(math.sqrt(2 / scale) * (e * width / 2 - position)) for e in (-1, 1))
    return ((c2 - c1) + 1j * (s2 - s1)) / np.sqrt(2j)


def seen_by_samples(position: np.ndarray, width: float, scale: float, pitch: float) -> np.ndarray:
    """The mean of ``slit`` over a sample: an opening with grey edge samples is one averaged over a sample."""
    offsets = ((np.arange(32) + 0.5) / 32 - 0.5) * pitch
    return np.mean([slit(position + offset, width, scale) for offset in offsets], axis=0)


# The aperture of radius 0.5 mm at 0.1 m. A grey edge averages the phase over a sample, which at the rim turns by
# 2 pi a p / (wavelength z) = 0.12 rad: squared and over 24, 6e-4 of the amplitude that comes from the rim.
@pytest.mark.parametrize(
    ("method", "padding"), [(None, 2), ("rayleigh_sommerfeld", 2), ("fresnel_transform", 2), ("angular_spectrum", 4)]
)
def test_the_intensity_on_the_axis_of_a_round_hole_is_exact(method, padding):
    grid = Grid((560, 528), 2e-6)
    hole = light(circle(grid, 0.5e-3), grid)
    actual = propagate(hole, 0.1, method=method, padding=padding).intensity[280, 264].item()
    assert circular_aperture_on_axis(0.5e-3, WAVELENGTH, 0.1) == pytest.approx(3.1715560726, abs=1e-9)
    assert actual == pytest.approx(3.1715560726, rel=1e-3)  # measured 6.0e-4, 6.0e-4, 5.4e-4, 2.2e-4


def test_behind_an_opaque_disc_there_is_a_spot_almost_as_bright_as_without_it():
    # Babinet: disc + hole = plane wave, 1 in every plane. So this also tests the phase of the hole's light.
    # The error of the grey rim falls as the pitch squared, and two pitches take it out: 9e-6 of the hole is left.
    on_axis = {}
    for pitch, shape in ((2e-6, (520, 504)), (1e-6, (1040, 1008))):
        grid = Grid(shape, pitch)
        hole = light(circle(grid, 0.5e-3), grid)
        on_axis[pitch] = propagate(hole, 0.1, output=Grid((3, 5), pitch)).data[1, 2]
    without_rim = (4 * on_axis[1e-6] - on_axis[2e-6]) / 3
    spot = (1 - without_rim).abs().item() ** 2
    assert spot == pytest.approx(0.1**2 / (0.1**2 + 0.5e-3**2), abs=1e-5)  # 0.9999750; measured 3e-6
    assert without_rim.abs().item() ** 2 == pytest.approx(3.1715560726, rel=3e-5)


def test_a_straight_edge_has_a_quarter_of_the_light_on_it_and_a_maximum_beside_it():
    # Periodic along y; along x the bright side ends softly, wider than a fringe, so that only one edge diffracts.
    grid, distance = Grid((3, 4096), 2e-6), 0.05
    x = grid.coordinates()[1]
    half_plane = light(edge(grid) * torch.exp(-((x / 2e-3) ** 16)), grid)
    # One row cannot have 64 frequencies; it needs one.
    out = propagate(half_plane, distance, method="angular_spectrum", padding=1, override=True)
    intensity = out.intensity[1].numpy()
    w = x.flatten().numpy() * math.sqrt(2 / (WAVELENGTH * distance))
    s, c = fresnel(w)
    wanted = ((c + 0.5) ** 2 + (s + 0.5) ** 2) / 2
    assert intensity[2048] == pytest.approx(0.25, abs=1e-9)  # half a grey sample on either side: exact by symmetry
    assert intensity.max() == pytest.approx(1.37044, abs=5e-4)  # samples 0.017 apart in w, edge averaged: 2e-4
    assert w[intensity.argmax()] == pytest.approx(1.21708, abs=0.018)  # to a sample
    near = abs(w) < 8
    assert abs(intensity - wanted)[near].max() < 2e-3  # finest fringe, 8 wide in w, averaged over a sample: 1e-3


@pytest.mark.parametrize(("fresnel_number", "atol"), [(5, 5e-3), (1, 2e-3), (0.2, 2e-3)])
def test_a_slit_makes_the_pattern_of_the_fresnel_integrals(fresnel_number, atol):
    # Near: the grey edge, 2.7e-3. Far: what has spread beyond the periodic window of 8 mm comes back, 1e-3.
    width, grid = 0.4e-3, Grid((3, 4096), 2e-6)
    distance = (width / 2) ** 2 / (WAVELENGTH * fresnel_number)
    opening = light(rectangle(grid, 1.0, width), grid)
    actual = propagate(opening, distance, method="angular_spectrum", padding=1, override=True).data[1].numpy()
    x = grid.coordinates()[1].flatten().numpy()
    near = abs(x) < width
    np.testing.assert_allclose(actual[near], slit(x, width, WAVELENGTH * distance)[near], rtol=0, atol=atol)


# Beyond the critical distance the closed form is met closely; before it, fringes finer than a sample are missing,
# which no method can give back. Measured: 3.5e-2, 4.9e-3, 4.0e-4.
@pytest.mark.parametrize(
    ("factor", "method", "limit"),
    [(0.2, "angular_spectrum", 5e-2), (1.01, "rayleigh_sommerfeld", 1e-2), (5, "rayleigh_sommerfeld", 1e-3)],
)
def test_a_rectangular_hole_is_right_on_either_side_of_the_critical_distance(factor, method, limit):
    grid, height, width = Grid((256, 192), 8e-6), 0.5e-3, 0.4e-3
    critical = max(computation_window(grid, grid).extent) * grid.pitch / WAVELENGTH
    assert critical == pytest.approx(2 * 256 * (8e-6) ** 2 / WAVELENGTH)
    distance = factor * critical
    assert propagation_method(grid, WAVELENGTH, distance).method == method
    actual = propagate(light(rectangle(grid, height, width), grid), distance).data
    y, x = (axis.numpy() for axis in grid.coordinates())
    scale = WAVELENGTH * distance
    wanted = seen_by_samples(y, height, scale, grid.pitch) * seen_by_samples(x, width, scale, grid.pitch)
    assert relative(actual, torch.from_numpy(wanted)) < limit


def test_a_grating_images_itself_at_the_talbot_distance():
    grid, period = Grid((50, 60), 4e-6), 40e-6  # wide enough that the orders, 80 um away, stay in the band
    talbot = WAVELENGTH / (1 - math.sqrt(1 - (WAVELENGTH / period) ** 2))
    assert talbot == pytest.approx(6.014771582e-3, rel=1e-9)
    y, x = grid.coordinates()
    for axis in (y, x):  # orders 0 and +-1 only: for those the distance is exact, not the paraxial 2 p^2 / wavelength
        grating = light(1 + 0.8 * torch.cos(2 * math.pi * axis / period), grid)
        image = propagate(grating, talbot, method="angular_spectrum", padding=1, override=True)
        torch.testing.assert_close(image.data, grating.data, rtol=0, atol=1e-10)
        half = propagate(grating, talbot / 2, method="angular_spectrum", padding=1, override=True)
        shifted = light(1 - 0.8 * torch.cos(2 * math.pi * axis / period), grid)
        torch.testing.assert_close(half.data, shifted.data, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("method", "limit"), [(None, 1e-6), ("fresnel", 1e-6), ("angular_spectrum", 1e-4)])
def test_behind_a_lens_a_beam_has_the_waist_of_theory_where_theory_puts_it(method, limit):
    # Lens and closed form are paraxial, as is the method chosen: measured 2e-8. The angular spectrum is not: 1.4e-5.
    distance, waist = gaussian_behind_lens(300e-6, WAVELENGTH, 0.1)
    grid, window = Grid((300, 320), 8e-6), Grid((120, 100), 2.5e-6)
    behind = Lens(0.1)(Field(gaussian_beam(grid, WAVELENGTH, 300e-6), grid, WAVELENGTH))
    actual = propagate(behind, distance, method=method, output=window).data
    rayleigh, thrown = math.pi * 300e-6**2 / WAVELENGTH, 300e-6 / waist
    # Flat wavefront, amplitude w0/w, and the Gouy phase of a waist of this Rayleigh range, which lags behind it.
    gouy = math.atan(distance / (rayleigh / thrown**2))
    wanted = thrown * np.exp(-1j * gouy) * gaussian_beam(window, WAVELENGTH, waist)
    assert relative(actual, wanted) < limit


@pytest.mark.parametrize(
    ("method", "padding", "window"),
    [
        (None, 2, Grid((1, 121), 1e-6)),
        ("fresnel_transform", 2, Grid((121, 1), 1e-6)),
        ("angular_spectrum", 4, Grid((121, 1), 1e-6)),
        ("rayleigh_sommerfeld", 2, Grid((1, 121), 1e-6)),
    ],
)
def test_the_focus_of_a_round_lens_is_an_airy_disc(method, padding, window):
    diameter, focal_length = 1.6e-3, 0.1
    grid = Grid((416, 424), 4e-6)
    behind = Lens(focal_length)(light(circle(grid, diameter / 2), grid))
    actual = propagate(behind, focal_length, method=method, padding=padding, output=window).data.flatten()
    position = sum(axis.flatten() for axis in window.coordinates())
    scale = WAVELENGTH * focal_length
    # Without its spherical phase the field is real and changes sign at the dark ring.
    amplitude = (1j * actual * torch.exp(-1j * math.pi * position**2 / scale)).real
    amplitude = amplitude * scale / (math.pi * diameter**2 / 4)
    assert amplitude[60].item() == pytest.approx(1, abs=1e-4)  # grey samples 5e-6, a lens that is paraxial 3e-5
    outside = next(i for i in range(60, 121) if amplitude[i] < 0)
    before, after = amplitude[outside - 1].item(), amplitude[outside].item()
    ring = (position[outside - 1] + window.pitch * before / (before - after)).item()
    assert ring == pytest.approx(1.2196698913 * scale / diameter, rel=1e-3)  # linear between samples: 2.7e-4


@pytest.mark.parametrize("levels", [2, 4, 8])
def test_a_blazed_grating_sends_its_light_into_the_order_of_theory(levels):
    # 64 samples a period: sinc(1/64)^2 of the light is where the closed form, of a continuous step, has all: 8e-4.
    samples, focal_length = 64, 0.1
    grid = Grid((24, 8 * samples), 4e-6)
    index = torch.arange(grid.shape[1])
    phase = 2 * math.pi / levels * torch.floor(index % samples * levels / samples)
    order = WAVELENGTH * focal_length / (samples * grid.pitch)
    window = Grid((1, 57), order / 8)  # from order -3.5 to +3.5
    behind, flat = (
        propagate(Lens(focal_length)(light(torch.exp(1j * p), grid)), focal_length, output=window).intensity[0]
        for p in (phase, torch.zeros(1))
    )
    efficiency = (behind / flat[28])[4::8]  # orders -3 to 3, which 8 whole periods put on every eighth sample
    assert efficiency[4].item() == pytest.approx(blaze_efficiency(levels), rel=1e-3)  # to +x: the phase grows there
    # Sign: what a ramp of L steps sends into order 1 - L is 1/(1 - L)^2 of it.
    for m in range(-3, 4):
        wanted = blaze_efficiency(levels) / m**2 if (m - 1) % levels == 0 else 0.0
        assert efficiency[m + 3].item() == pytest.approx(wanted, rel=1e-2, abs=1e-10)
