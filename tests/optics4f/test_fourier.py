"""Fourier transforms between planes."""

import math

import numpy as np
import pytest
import torch

from optics4f.fourier import fourier_matrix, interpolation_matrix, unitary_fft2, unitary_ifft2, zoomed_fourier
from tests.optics4f.benches import relative


def complex_normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def inner(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.conj() * b).sum()


def test_the_unitary_transform_keeps_power_and_its_inverse_is_its_adjoint():
    x, y = complex_normal(2, 6, 5), complex_normal(2, 6, 5, seed=1)
    torch.testing.assert_close(unitary_fft2(x).abs().square().sum(), x.abs().square().sum(), rtol=1e-13, atol=0)
    torch.testing.assert_close(inner(unitary_fft2(x), y), inner(x, unitary_ifft2(y)), rtol=1e-12, atol=0)


def test_on_the_grid_of_an_fft_the_zoomed_transform_is_the_fft():
    data = complex_normal(3, 6, 8)
    rows, columns = (
        fourier_matrix(torch.fft.fftfreq(n, dtype=torch.float64), torch.arange(n, dtype=torch.float64), 1.0)
        for n in data.shape[-2:]
    )
    wanted = torch.from_numpy(np.fft.fft2(data.numpy()))
    torch.testing.assert_close(zoomed_fourier(data, rows, columns), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("outputs", [(3, 40), (41, 2)])  # one for either order of the two products
def test_a_gaussian_transforms_into_a_gaussian_at_any_positions(outputs):
    waist, scale, pitch = 100e-6, 532e-9 * 0.2, 10e-6
    y, x = ((torch.arange(n, dtype=torch.float64) - n // 2) * pitch for n in (90, 110))
    v, u = (torch.linspace(-2.1e-4, 3.3e-4, n, dtype=torch.float64) for n in outputs)
    shift = 55e-6  # off the axis: the transform gains a linear phase, whose sign is that of the exponent
    beam = torch.exp(-(y[:, None] ** 2 + (x[None, :] - shift) ** 2) / waist**2).to(torch.complex128)
    actual = zoomed_fourier(beam, fourier_matrix(v, y, scale), fourier_matrix(u, x, scale)) * pitch**2
    wanted = math.pi * waist**2 * torch.exp(-((math.pi * waist / scale) ** 2) * (v[:, None] ** 2 + u[None, :] ** 2))
    wanted = wanted * torch.exp(-2j * math.pi * u * shift / scale)
    assert relative(actual, wanted) < 1e-7  # the window cuts the beam at exp(-16)


def test_the_zoomed_transform_has_the_adjoint_of_its_conjugate_matrices():
    rows, columns = complex_normal(4, 6), complex_normal(7, 5, seed=1)
    x, y = complex_normal(2, 6, 5, seed=2), complex_normal(2, 4, 7, seed=3)
    forth, back = zoomed_fourier(x, rows, columns), zoomed_fourier(y, rows.mH, columns.mH)
    torch.testing.assert_close(inner(forth, y), inner(x, back), rtol=1e-12, atol=0)
    (gradient,) = torch.autograd.functional.vjp(lambda d: zoomed_fourier(d, rows, columns), x, y)[1:]
    torch.testing.assert_close(gradient, back)


@pytest.mark.parametrize("count", [7, 12])
def test_interpolation_is_exact_for_what_the_samples_can_carry(count):
    pitch = 2e-6

    def wave(x: torch.Tensor) -> torch.Tensor:
        turn = 2 * math.pi * x / (count * pitch)
        return 0.3 + torch.cos(2 * turn + 0.4) - 2 * torch.sin(3 * turn + 1.1)

    samples = (torch.arange(count, dtype=torch.float64) - count // 2) * pitch
    between = torch.linspace(-count * pitch, count * pitch, 33, dtype=torch.float64)
    matrix = interpolation_matrix(between, count, pitch)
    torch.testing.assert_close(matrix @ wave(samples), wave(between), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        interpolation_matrix(samples, count, pitch), torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_the_gradient_of_the_zoomed_transform_is_right():
    data = complex_normal(4, 3).requires_grad_()
    rows, columns = complex_normal(2, 4, seed=1), complex_normal(5, 3, seed=2)
    assert torch.autograd.gradcheck(lambda d: zoomed_fourier(d, rows, columns).abs().square(), data)
