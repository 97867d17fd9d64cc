"""Where light is sampled, and what a sampled field means."""

import math

import numpy as np
import pytest
import torch

from optics4f.field import Field, intensity
from optics4f.fourier import unitary_fft2
from optics4f.grid import Grid


@pytest.mark.parametrize("shape", [(6, 5), (7, 12), (1, 4)])
def test_the_axis_is_the_sample_of_index_half_the_width(shape):
    grid = Grid(shape, "8 um")
    y, x = grid.coordinates()
    assert y.shape == (shape[0], 1)
    assert x.shape == (1, shape[1])
    assert y[shape[0] // 2, 0] == x[0, shape[1] // 2] == 0
    np.testing.assert_allclose(np.diff(x[0]), 8e-6, rtol=1e-12)
    assert (y[-1, 0] - y[0, 0]).item() == pytest.approx((shape[0] - 1) * 8e-6)


def test_a_wave_of_one_grid_frequency_fills_one_bin():
    grid = Grid((6, 9), 4e-6)
    (y, x), (fy, fx) = grid.coordinates(), grid.frequencies()
    for row, column in ((1, 2), (5, 7), (0, 8), (3, 0)):
        wave = torch.exp(2j * math.pi * (fy[row, 0] * y + fx[0, column] * x))
        spectrum = intensity(unitary_fft2(wave))
        assert spectrum[row, column].item() == pytest.approx(54, rel=1e-12)
        assert spectrum.sum().item() == pytest.approx(54, rel=1e-12)  # and nothing anywhere else


def test_padding_keeps_pitch_and_axis():
    grid = Grid((6, 5), 4e-6)
    assert grid.padded(3) == Grid((18, 15), 4e-6)
    assert grid.extent == pytest.approx((24e-6, 20e-6))


def test_equal_lengths_make_equal_grids():
    assert Grid((2, 3), "12.5 um") == Grid([2, 3], 12.5e-6)
    assert str(Grid((2, 3), "12.5 um")) == "2 x 3 samples of 12.5 um"


@pytest.mark.parametrize("shape", [(0, 4), (4,), (4, 4, 4), (4.5, 3), (-1, 2)])
def test_a_shape_that_counts_nothing_is_refused(shape):
    with pytest.raises(ValueError, match="shape must be two positive whole numbers"):
        Grid(shape, 1e-6)


@pytest.mark.parametrize("pitch", [0, -8e-6, math.inf, math.nan, "-8 um"])
def test_a_pitch_that_is_no_length_is_refused(pitch):
    with pytest.raises(ValueError, match="pitch must be positive"):
        Grid((4, 3), pitch)


def test_power_is_the_integral_of_the_intensity():
    grid, waist = Grid((96, 80), 20e-6), 200e-6
    y, x = grid.coordinates()
    field = Field(torch.exp(-(y**2 + x**2) / waist**2).to(torch.complex128), grid, 532e-9)
    # The trapezoidal rule converges faster than any power on a Gaussian; the window cuts exp(-2 (4 waists)^2).
    assert field.power.item() == pytest.approx(math.pi * waist**2 / 2, rel=1e-10)


def test_a_dark_sample_has_a_finite_gradient():
    data = torch.zeros(2, 3, dtype=torch.complex128, requires_grad=True)
    intensity(data).sum().backward()
    assert torch.equal(data.grad, torch.zeros_like(data))


def test_the_gradient_of_power_is_right(generator):
    data = torch.randn(2, 4, 3, dtype=torch.complex128, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: Field(d, Grid((4, 3), 2.0), 532e-9).power, data)


def test_a_field_must_be_complex_and_fit_its_grid():
    with pytest.raises(TypeError, match=r"data must be complex, got torch\.float32"):
        Field(torch.ones(4, 3), Grid((4, 3), 1e-6), 532e-9)
    with pytest.raises(ValueError, match=r"grid's shape \(4, 3\), got \(2, 3, 4\)"):
        Field(torch.ones(2, 3, 4, dtype=torch.complex64), Grid((4, 3), 1e-6), 532e-9)
