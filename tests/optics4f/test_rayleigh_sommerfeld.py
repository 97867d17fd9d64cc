"""The Rayleigh-Sommerfeld integral: an oracle for the spectrum, so it is tested without one."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from optics4f import rayleigh_sommerfeld
from optics4f.band import walk_off
from optics4f.field import Field
from optics4f.grid import Grid
from optics4f.profiles import gaussian_beam
from optics4f.propagation import propagate
from optics4f.rayleigh_sommerfeld import (
    impulse_response,
    rayleigh_sommerfeld_convolution,
    rayleigh_sommerfeld_sum,
)
from tests.optics4f.benches import relative
from tests.references import circular_aperture_on_axis

WAVELENGTH = 532e-9
GRID = Grid((9, 7), 5e-6)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def test_the_impulse_response_is_the_slope_of_a_spherical_wave():
    # h = -1/(2 pi) d/dz exp(ikR)/R by central differences, carrier taken off by hand: nothing of the code's algebra.
    z, y, x, step = 40e-6, 11e-6, -23e-6, 1e-10
    k = 2 * math.pi / WAVELENGTH

    def spherical(z: float) -> complex:
        r = math.sqrt(x**2 + y**2 + z**2)
        return np.exp(1j * k * r) / r

    wanted = -(spherical(z + step) - spherical(z - step)) / (2 * step) / (2 * math.pi) * np.exp(-1j * k * z)
    y, x = (torch.tensor(v, dtype=torch.float64) for v in (y, x))
    actual = impulse_response(y, x, WAVELENGTH, z).item()
    assert actual == pytest.approx(wanted, rel=1e-6)  # the third derivative: (k step)^2 / 6 = 2e-7
    assert impulse_response(y, x, WAVELENGTH, -z).item() == pytest.approx(wanted.conjugate(), rel=1e-6)


@pytest.mark.parametrize(("radius", "distance"), [(30e-6, 50e-6), (200e-6, 3e-3)])
def test_over_a_round_hole_the_impulse_response_integrates_to_the_exact_field_on_the_axis(radius, distance):
    # In rings instead of samples, so what is tested is the kernel alone, up to 31 degrees off the axis.
    def ring(r: float, part: str) -> float:
        h = impulse_response(*(torch.tensor(v, dtype=torch.float64) for v in (0.0, r)), WAVELENGTH, distance).item()
        return 2 * math.pi * r * getattr(h, part)

    field = complex(*(quad(ring, 0, radius, args=(part,), limit=500)[0] for part in ("real", "imag")))
    assert abs(field) ** 2 == pytest.approx(circular_aperture_on_axis(radius, WAVELENGTH, distance), rel=1e-8)


@pytest.mark.parametrize("distance", [3e-4, -3e-4])
@pytest.mark.parametrize("grid", [GRID, Grid((8, 6), 5e-6)])
@pytest.mark.parametrize("shape", [(9, 7), (4, 11), (1, 3)])
def test_the_convolution_is_the_sum(distance, grid, shape):
    # The same sum of the same numbers, by FFT: equal to rounding, shifted or not, from and to odd and even windows.
    data, shift = noise(2, *grid.shape), (7e-6, -31e-6)
    output = Grid(shape, grid.pitch)
    summed = rayleigh_sommerfeld_sum(data, grid, output, WAVELENGTH, distance, shift=shift)
    fast = rayleigh_sommerfeld_convolution(data, grid, shape, WAVELENGTH, distance, shift=shift)
    torch.testing.assert_close(fast, summed, rtol=0, atol=1e-13 * summed.abs().max().item())


# A lopsided beam on samples fine enough for both. What they differ by is the light that the windows cut: the beam at
# exp(-15) at the start, its band at the edge of the computation window.
@pytest.mark.parametrize("shift", [(0.0, 0.0), (21e-6, -13.5e-6), (-40e-6, 30e-6)])
@pytest.mark.parametrize("window", [Grid((40, 36), 1.25e-6), Grid((25, 38), 1.25e-6), Grid((32, 27), 1.7e-6)])
def test_the_angular_spectrum_is_the_integral_in_any_window(window, shift):
    grid, distance = Grid((96, 88), 1.25e-6), 6e-4
    y, x = grid.coordinates()
    data = (1 + y / 16e-6 - 2j * x / 16e-6) * torch.exp(-(y**2 + x**2) / (14e-6) ** 2)  # without any symmetry
    direct = rayleigh_sommerfeld_sum(data, grid, window, WAVELENGTH, distance, shift=shift)
    spectral = propagate(
        Field(data, grid, WAVELENGTH), distance, method="angular_spectrum", output=window, shift=shift, padding=3
    ).data
    assert direct.abs().max() > 0.02  # they do look where the light is
    assert relative(spectral, direct) < 1e-7  # measured 7e-9 to 3e-8


def test_off_axis_at_thirty_degrees_they_agree_as_well():
    # A sum over samples needs no tilt: it needs samples of the fringes. The spectrum has the envelope's only.
    tilt, distance, waist = (5e5, -8e5), 1e-3, 20e-6
    fine, coarse, window = Grid((300, 280), 0.5e-6), Grid((75, 70), 2e-6), Grid((6, 5), 3.5e-6)

    def beam(grid: Grid) -> Field:
        y, x = grid.coordinates()
        carrier = torch.exp(2j * math.pi * (tilt[0] * y + tilt[1] * x))
        return Field(gaussian_beam(grid, WAVELENGTH, waist) * carrier, grid, WAVELENGTH)

    shift = walk_off(tilt, WAVELENGTH, distance)
    direct = propagate(beam(fine), distance, method="rayleigh_sommerfeld", output=window, shift=shift, tilt=tilt)
    spectral = propagate(beam(coarse), distance, output=window, shift=shift, tilt=tilt, padding=4)
    assert direct.intensity.max() > 0.1  # they do look where the light is
    # The window at the start cuts the beam at exp(-12) = 6e-6 of its amplitude, far from where the output is.
    assert relative(spectral.data, direct.data) < 1e-6  # measured 1.9e-7


def test_memory_is_bounded_and_the_chunks_do_not_show(monkeypatch):
    data, output = noise(3, *GRID.shape), Grid((5, 8), 3e-6)
    sizes = []
    plain = impulse_response

    def watched(y, x, *args, **kwargs):
        sizes.append(torch.broadcast_shapes(y.shape, x.shape).numel())
        return plain(y, x, *args, **kwargs)

    monkeypatch.setattr(rayleigh_sommerfeld, "impulse_response", watched)
    results, gradients = [], []
    for chunk in (10**6, 200, 1):
        monkeypatch.setattr(rayleigh_sommerfeld, "CHUNK", chunk)
        sizes.clear()
        start = data.clone().requires_grad_()
        distance = torch.tensor(2e-4, dtype=torch.float64, requires_grad=True)
        out = rayleigh_sommerfeld_sum(start, GRID, output, WAVELENGTH, distance)
        assert max(sizes) <= max(chunk, 63)  # at least one output sample at a time
        forward = len(sizes)
        (out.abs() ** 4).sum().backward()
        assert len(sizes) == 2 * forward  # made again, not kept, for the gradient
        results.append(out.detach())
        gradients.append((start.grad, distance.grad))
    for result, (field, number) in zip(results[1:], gradients[1:], strict=True):
        torch.testing.assert_close(result, results[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(field, gradients[0][0], rtol=1e-10, atol=0)
        torch.testing.assert_close(number, gradients[0][1], rtol=1e-10, atol=0)


def test_single_precision_light_meets_a_kernel_made_in_double():
    data, output = noise(*GRID.shape), Grid((5, 8), 3e-6)
    for distance in (3e-4, 0.5):  # at 0.5 m a float32 kR would be off by a third of a radian
        double = rayleigh_sommerfeld_sum(data, GRID, output, WAVELENGTH, distance)
        single = rayleigh_sommerfeld_sum(data.to(torch.complex64), GRID, output, WAVELENGTH, distance)
        assert single.dtype == torch.complex64
        assert relative(single.to(torch.complex128), double) < 1e-6  # 63 terms of 6e-8 each, at worst 4e-6
