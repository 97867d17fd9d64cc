"""Masks from targets."""

import math

import numpy as np
import torch

from optics4f.design import kinoform
from optics4f.routes import FourierLensRoute, PSFRoute
from tests.optics4f.benches import small_bench


def focused(bench) -> tuple[np.ndarray, torch.Tensor]:
    """Brightest place (y, x) [m] of each PSF, for a point in the middle of the object."""
    point = torch.zeros(1, 1, *bench.illumination.shape, dtype=torch.float64)
    point[..., bench.illumination.shape[0] // 2, bench.illumination.shape[1] // 2] = 1
    light = FourierLensRoute(bench)(point).intensity[0].detach()
    y, x = (axis.flatten() for axis in bench.image.coordinates())
    peaks = [np.unravel_index(plane.argmax().item(), plane.shape) for plane in light]
    return np.array([(y[row].item(), x[column].item()) for row, column in peaks]), light


def test_a_single_tap_is_a_blaze_that_puts_the_light_on_it():
    bench = small_bench(masks=3, fill_factor=1.0, pixels_per_logical=1, camera_pitch=24e-6, camera_shape=(15, 17))
    kernels = torch.zeros(3, 3, 5, dtype=torch.complex128)
    kernels[0, 1, 2] = kernels[1, 0, 2] = kernels[2, 1, 4] = 1  # on the axis; one tap up; two taps to the right
    phase = kinoform(bench, kernels)
    y, x = bench.slm.grid.coordinates()
    for number, (dy, dx) in enumerate(((0, 0), (-1, 0), (0, 2))):
        ramp = 2 * math.pi * 24e-6 * (dy * y + dx * x) / (532e-9 * 0.15)  # +phase sends the light to +
        torch.testing.assert_close(torch.exp(1j * phase[number]), torch.exp(1j * ramp), rtol=0, atol=1e-9)
    bench.slm.set_values(phase)
    places, _ = focused(bench)
    np.testing.assert_allclose(places - places[0], [(0, 0), (-24e-6, 0), (0, 48e-6)], atol=1e-12)


def test_equal_taps_share_the_light_equally_and_keep_most_of_it():
    bench = small_bench(masks=1, fill_factor=1.0, slm_shape=(96, 80), camera_pitch=24e-6, camera_shape=(15, 17))
    kernel = torch.zeros(1, 1, 7, dtype=torch.complex128)
    kernel[0, 0, 1] = kernel[0, 0, 5] = 1  # a cosine grating, made binary: 8 / pi^2 of the light in two orders
    bench.slm.set_values(kinoform(bench, kernel))
    psf = PSFRoute(bench).point_spread_functions()[0].abs().square().detach()
    flat = small_bench(masks=1, fill_factor=1.0, slm_shape=(96, 80), camera_pitch=24e-6, camera_shape=(15, 17))
    peak = PSFRoute(flat).point_spread_functions()[0].abs().square().max().detach()
    strongest = psf.flatten().topk(2).values / peak
    # Each order of a binary phase grating holds 4 / pi^2 of the light; the used area is no whole number of periods.
    np.testing.assert_allclose(strongest.numpy(), 4 / math.pi**2, rtol=0.15)
