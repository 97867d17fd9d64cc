"""Convolutions of several channels by Fourier transforms, against direct sums and finite differences."""

import pytest
import torch
from torch.nn.functional import conv2d

from kd.channel_filter import filtered

IMAGES, KERNELS = (3, 2, 4, 5), (2, 2, 6, 7)


def random(shape, dtype, seed):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("length", [(9, 11), (10, 12)])
def test_it_is_the_sum_of_the_convolutions_where_nothing_wraps_around(dtype, length):
    images, kernels = random(IMAGES, dtype, 0), random(KERNELS, dtype, 1)
    window = (slice(3, 6), slice(4, 7))
    seen = filtered(images, kernels, length, window)
    for b in range(3):
        for k in range(2):
            # A kernel slides over a turned image: conv2d correlates.
            direct = conv2d(kernels[k : k + 1], images[b : b + 1].flip((-2, -1)))[0, 0]  # 3 x 3 whole overlaps
            torch.testing.assert_close(seen[b, k], direct, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("length", [(9, 11), (10, 12)])
def test_the_gradient_is_that_of_finite_differences(dtype, length):
    images, kernels = random(IMAGES, dtype, 0), random(KERNELS, dtype, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda k: filtered(images, k, length, (slice(2, 6), slice(1, 9))), kernels)


def test_images_that_ask_for_a_gradient_are_refused():
    with pytest.raises(ValueError, match="must not ask for a gradient"):
        filtered(random(IMAGES, torch.float64, 0).requires_grad_(), random(KERNELS, torch.float64, 1), (9, 11), ())


def test_a_second_derivative_is_refused_and_not_left_out():
    images, kernels = random(IMAGES, torch.float64, 0), random(KERNELS, torch.float64, 1).requires_grad_()
    seen = filtered(images, kernels, (9, 11), (slice(3, 6), slice(4, 7)))
    with pytest.raises(ValueError, match="create_graph must be False"):
        torch.autograd.grad(seen.sum(), kernels, create_graph=True)
