"""The spectral counterpart against spatial convolution and analytic resampling."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
from torch.nn.functional import conv2d, pad

from kd.complexity import digital_macs, trainable_parameters
from kd.readout import PooledLinear
from kd.sclc import SCLC, SpectralConv2d, SpectralFrontEnd, SummedConv2d, collapse, kernel_rank, spectral_pool
from kd.seeding import initialised_with


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def front_end() -> SpectralFrontEnd:
    with initialised_with(0):
        return SpectralFrontEnd(2, (4, 5, 3), kernel_size=3)


@pytest.mark.parametrize("shape", [(9, 14), (16, 7), (3, 5)])
@pytest.mark.parametrize("kernel_size", [1, 3, 7])
def test_a_product_of_spectra_is_a_convolution_with_zero_borders(shape, kernel_size):
    images, layer = randn(2, 3, *shape), SpectralConv2d(3, 4, kernel_size).double()
    torch.testing.assert_close(layer(images), conv2d(images, layer.weight, padding=kernel_size // 2))


@pytest.mark.parametrize(("shape", "pool"), [((16, 24), 2), ((18, 10), 2), ((18, 12), 3), ((16, 24), 4)])
def test_spectral_pooling_is_fourier_resampling(shape, pool):
    images = randn(2, *shape)
    expected = images.numpy()
    for axis in (-2, -1):
        expected = scipy.signal.resample(expected, images.shape[axis] // pool, axis=axis)
    torch.testing.assert_close(spectral_pool(images, pool), torch.from_numpy(expected))


def test_spectral_pooling_samples_a_band_limited_image_and_drops_what_is_too_fine():
    y, x = np.mgrid[:24, :32].astype(float)
    coarse = 0.5 + np.cos(2 * math.pi * (5 * y / 24 - 3 * x / 32) + 0.4)
    nyquist = 0.3 * np.cos(2 * math.pi * 8 * x / 32)  # the highest frequency that 16 samples can hold
    fine = np.cos(2 * math.pi * 9 * x / 32 + 1.0)
    pooled = spectral_pool(torch.from_numpy(coarse + nyquist + fine), 2)
    torch.testing.assert_close(pooled, torch.from_numpy((coarse + nyquist)[::2, ::2]), atol=1e-12, rtol=0)


def test_gradients_reach_images_and_kernels_through_the_pooled_spectrum():
    layer = SpectralConv2d(2, 2, 3, pool=2).double()

    def pooled(images, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (images,))

    assert torch.autograd.gradcheck(pooled, (randn(1, 2, 4, 6).requires_grad_(), layer.weight))


def test_the_front_end_is_linear(front_end):
    a, b = randn(2, 2, 12, 17).float(), randn(2, 2, 12, 17, seed=1).float()
    torch.testing.assert_close(front_end(a + b), front_end(a) + front_end(b), atol=1e-5, rtol=0)


def test_the_front_end_is_its_layers_on_one_canvas_borders_included(front_end):
    images = randn(2, 2, 8, 13)
    features = pad(images, (3, 3, 3, 3))  # three kernels of 3 reach three pixels
    for layer in front_end.double().layers:
        features = conv2d(features, layer.weight, padding=1)
    torch.testing.assert_close(front_end(images), features[..., 3:-3, 3:-3])


def test_the_collapsed_kernel_does_what_all_layers_do(front_end):
    images = randn(2, 2, 8, 13).float()
    kernel = collapse(front_end)
    assert kernel.shape == (3, 2, 7, 7)
    features = pad(images, (3, 3, 3, 3))
    for layer in front_end.layers:
        features = layer(features)
    torch.testing.assert_close(conv2d(images, kernel, padding=3), features[..., 3:-3, 3:-3], atol=1e-4, rtol=0)


def test_without_pooling_a_moved_image_gives_a_moved_output(front_end):
    images = pad(randn(1, 2, 6, 7).float(), (6, 6, 6, 6))
    moved = front_end(images.roll((2, -1), dims=(-2, -1)))
    torch.testing.assert_close(moved, front_end(images).roll((2, -1), dims=(-2, -1)), atol=1e-6, rtol=0)


def test_a_pooled_front_end_keeps_the_middle_of_its_canvas():
    front_end = SpectralFrontEnd(1, (1, 1), kernel_size=3, pools=(2, None)).double()
    delta = torch.zeros(3, 3, dtype=torch.float64)
    delta[1, 1] = 1
    front_end.load_state_dict({"layers.0.weight": delta[None, None], "layers.1.weight": delta[None, None]})
    # Two unit kernels leave a smooth spot alone, so pooling only takes every second sample of it. Cropping
    # the spectrum of a Gaussian of sigma 2 px at a quarter cycle per pixel errs by exp(-(pi sigma / 2)^2 / 2) < 1 %.
    y, x = torch.meshgrid(torch.arange(16.0) - 6, torch.arange(20.0) - 11, indexing="ij")
    image = torch.exp(-(y**2 + x**2) / 8).double()
    torch.testing.assert_close(front_end(image[None, None])[0, 0], image[::2, ::2], atol=0.01, rtol=0)


def test_every_layer_of_a_student_learns():
    with initialised_with(0):
        student = SCLC(1, PooledLinear(3, 4), channels=(2, 3), kernel_size=3, pools=(2, None))
    student(randn(5, 1, 8, 12).float()).square().sum().backward()
    assert all(layer.weight.grad.abs().max() > 0 for layer in student.front_end.layers)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SpectralConv2d(1, 1, 4), "kernel_size must be odd .* got 4"),
        (lambda: SpectralConv2d(1, 1, 3, pool=1), "pool must be at least 2, got 1"),
        (lambda: SpectralFrontEnd(1, (2, 2), 3, pools=(2,)), "one per layer, got 1 for 2 layers"),
        (
            lambda: collapse(SpectralFrontEnd(1, (2,), 3, pools=(2,))),
            "collapse must have no spectral pooling, got .* 2",
        ),
        (lambda: spectral_pool(torch.ones(5, 4), 2), r"divisible by pool=2, got \(5, 4\)"),
        (lambda: SpectralFrontEnd(1, (2,), 3, pools=(2,))(torch.ones(1, 1, 6, 7)), r"divisible by 2, got \(6, 7\)"),
    ],
)
def test_what_has_no_exact_meaning_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


# --- linearity --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pools", [None, (2, None, 3), (None, 2, None)])
def test_several_layers_are_linear_pooled_or_not(pools):
    with initialised_with(1):
        front_end = SpectralFrontEnd(2, (4, 5, 3), kernel_size=3, pools=pools).double()
    a, b = randn(2, 2, 12, 18), randn(2, 2, 12, 18, seed=1)
    # Float64: rounding of a few hundred products, far below the smallest nonlinearity worth the name.
    torch.testing.assert_close(front_end(a + b), front_end(a) + front_end(b), atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(front_end(-3.7 * a), -3.7 * front_end(a), atol=1e-12, rtol=1e-10)
    assert not front_end(torch.zeros_like(a)).any()
    assert front_end(a).abs().max() > 1e-3


# --- large kernels ----------------------------------------------------------------------------------------------------


def test_a_chain_of_small_kernels_is_one_large_kernel():
    with initialised_with(2):
        chain = SpectralFrontEnd(1, (5,) * 7, kernel_size=3)
    kernel = collapse(chain)
    assert kernel.shape == (5, 1, 15, 15)
    images = randn(2, 1, 20, 17).float()
    features = pad(images, (7,) * 4)  # the layers' own zero borders stay beyond what can come back
    for layer in chain.layers:
        features = conv2d(features, layer.weight, padding=1)
    features = features[..., 7:-7, 7:-7]
    torch.testing.assert_close(
        conv2d(images, kernel, padding=7), features, atol=1e-4 * features.abs().max().item(), rtol=0
    )
    images.requires_grad_()
    chain(images).square().sum().backward()
    assert all(layer.weight.grad.abs().max() > 0 for layer in chain.layers)


def test_a_sum_of_kernels_is_the_sum_of_their_convolutions():
    with initialised_with(3):
        layer = SummedConv2d(2, 3, (7, 1, 3)).double()
    images = randn(2, 2, 9, 12)
    parts = [conv2d(images, kernel, padding=kernel.shape[-1] // 2) for kernel in layer.kernels]
    torch.testing.assert_close(layer(images), sum(parts))
    torch.testing.assert_close(layer.folded()(images), sum(parts))
    layer(images).square().sum().backward()
    assert all(kernel.grad.abs().max() > 0 for kernel in layer.kernels)


def test_a_sum_of_kernels_pools_and_folds_into_what_it_was():
    layer = SummedConv2d(1, 2, (5, 3), pool=2)
    images = randn(1, 1, 8, 12).float()
    torch.testing.assert_close(layer.folded()(images), layer(images))
    assert layer(images).shape == (1, 2, 4, 6)
    assert set(layer.folded().state_dict()) == {"weight"}


def test_the_parts_of_a_kernel_cost_nothing_when_images_come():
    # 8 x 12 positions, 5 x 5 kernels, 1 channel in and 2 out; the 3 x 3 part lies inside.
    assert digital_macs(SummedConv2d(1, 2, (5, 3)), (1, 8, 12)) == 8 * 12 * 25 * 2
    assert trainable_parameters(SummedConv2d(1, 2, (5, 3))) == 2 * (25 + 9)


# --- rank -------------------------------------------------------------------------------------------------------------


def test_the_rank_counts_different_kernels():
    basis = torch.linalg.qr(randn(18, 3))[0].T  # three orthonormal kernels
    mixed = torch.tensor([[3.0, 0, 0], [0, 2, 0], [3, 2, 0], [0, 0, 0.1], [6, 0, 0]], dtype=torch.float64) @ basis
    kernel = mixed.reshape(5, 2, 3, 3)
    assert kernel_rank(kernel) == 3
    assert kernel_rank(kernel.float()) == 3
    # The third direction has 0.01 of an energy of 9 + 4 + 13 + 0.01 + 36.
    assert kernel_rank(kernel, energy=0.999) == 2
    assert kernel_rank(torch.zeros(2, 1, 3, 3)) == 0
    assert kernel_rank(torch.zeros(2, 1, 3, 3), energy=0.9) == 0


def test_energy_counts_squares_of_singular_values():
    kernel = torch.diag(torch.tensor([4.0, 3.0, 0.0, 0.0])).reshape(4, 1, 2, 2)
    assert kernel_rank(kernel, energy=16 / 25 - 1e-6) == 1  # 16 of 25, not 4 of 7
    assert kernel_rank(kernel, energy=16 / 25 + 1e-6) == 2


def test_a_bottleneck_of_single_pixels_limits_the_rank_of_the_collapsed_kernel():
    with initialised_with(4):
        front_end = SpectralFrontEnd(1, (2, 8), kernel_size=3)
    assert kernel_rank(collapse(front_end)) == 8  # second kernels of 3 x 3 mix shifted copies
    with torch.no_grad():
        front_end.layers[1].weight[:] *= torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert kernel_rank(collapse(front_end)) == 2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SummedConv2d(1, 1, (3, 3)), r"different, at least one, got \(3, 3\)"),
        (lambda: SummedConv2d(1, 1, ()), r"at least one, got \(\)"),
        (lambda: SummedConv2d(1, 1, (5, 2)), "kernel_size must be odd .* got 2"),
        (lambda: kernel_rank(torch.ones(1, 1, 3, 3), energy=1.0), "above 0 and below 1, got 1"),
    ],
)
def test_impossible_sums_and_shares_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
