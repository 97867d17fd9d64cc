"""From images to light."""

import math

import numpy as np
import pytest
import torch

from optics4f.elements import Illumination
from tests.optics4f.benches import random_images

IMAGES = random_images(2, (3, 4))


def illumination(encoding: str = "amplitude", **options) -> Illumination:
    return Illumination((3, 4), "9.2 um", "532 nm", encoding=encoding, dtype=torch.complex128, **options)


def test_the_light_follows_the_square_of_an_amplitude_image():
    torch.testing.assert_close(illumination()(IMAGES).intensity, IMAGES**2)


def test_the_light_follows_an_intensity_image():
    torch.testing.assert_close(illumination("intensity")(IMAGES).intensity, IMAGES)


def test_a_phase_image_is_even_light_with_one_turn_for_white():
    field = illumination("phase")(IMAGES)
    torch.testing.assert_close(field.intensity, torch.ones_like(IMAGES))
    np.testing.assert_allclose(field.data.numpy(), np.exp(2j * np.pi * IMAGES.numpy()), atol=1e-14)


@pytest.mark.parametrize("encoding", ["amplitude", "intensity", "phase"])
def test_a_logical_pixel_is_a_block_and_power_is_its_area(encoding):
    source = illumination(encoding, pixels_per_logical=3, samples_per_pixel=2)
    light = source(IMAGES).intensity
    assert source.grid.shape == (18, 24)
    small = illumination(encoding)(IMAGES).intensity
    for row in range(18):
        for column in range(24):
            assert torch.equal(light[..., row, column], small[..., row // 6, column // 6])
    torch.testing.assert_close(source(IMAGES).power, small.sum((-2, -1)) * (3 * 9.2e-6) ** 2)


@pytest.mark.parametrize(("pixels", "samples"), [(1, 1), (2, 1), (3, 1), (1, 4), (3, 2)])
def test_the_centre_of_a_logical_pixel_is_the_mean_of_its_samples(pixels, samples):
    source = illumination(pixels_per_logical=pixels, samples_per_pixel=samples)
    for centres, positions in zip(source.logical_positions(), source.grid.coordinates(), strict=True):
        wanted = positions.flatten().reshape(-1, pixels * samples).mean(1)
        torch.testing.assert_close(centres, wanted, rtol=0, atol=1e-18)


@pytest.mark.parametrize("encoding", ["amplitude", "intensity", "phase"])
def test_the_gradient_reaches_the_image(encoding):
    source = illumination(encoding, pixels_per_logical=2)
    images = (0.1 + 0.8 * IMAGES).requires_grad_()  # off the edge of the square root
    assert torch.autograd.gradcheck(lambda v: source(v).data, images)


def test_a_black_pixel_has_a_finite_gradient():
    images = torch.zeros(1, 3, 4, dtype=torch.float64, requires_grad=True)
    illumination("intensity")(images).data.real.sum().backward()
    assert torch.equal(images.grad, torch.zeros_like(images))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoding": "colour"}, r"encoding must be one of amplitude, intensity, phase, got 'colour'"),
        ({"pixels_per_logical": 0}, "pixels_per_logical must be at least 1, got 0"),
        ({"samples_per_pixel": 0}, "samples_per_pixel must be at least 1, got 0"),
    ],
)
def test_an_object_that_shows_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Illumination((3, 4), 9.2e-6, 532e-9, **arguments)


@pytest.mark.parametrize("wavelength", [0, -532e-9, math.nan, math.inf])
def test_a_wavelength_that_is_no_length_is_refused(wavelength):
    with pytest.raises(ValueError, match="wavelength must be positive"):
        Illumination((3, 4), 9.2e-6, wavelength)


def test_an_image_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"images must have \(3, 4\) pixels, got \(4, 3\)"):
        illumination()(torch.zeros(2, 1, 4, 3))
