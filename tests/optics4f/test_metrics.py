"""Figures of merit against closed forms and against torchmetrics."""

import math

import numpy as np
import pytest
import torch

from optics4f.metrics import (
    diffraction_efficiency,
    kernel_cosine,
    kernel_error,
    optical_transfer_function,
    psnr,
    rms_error,
    speckle_contrast,
    ssim,
    uniformity,
)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_efficiency_is_the_share_in_the_region():
    intensity = torch.tensor([[1.0, 2.0, 3.0], [4.0, 0.0, 0.0]])
    region = torch.tensor([[True, False, True], [False, False, True]])
    assert diffraction_efficiency(intensity, region).item() == pytest.approx(0.4)
    assert diffraction_efficiency(intensity, region, total=20.0).item() == pytest.approx(0.2)


@pytest.mark.parametrize(("powers", "u"), [((1, 1, 1), 1.0), ((1, 1, 3), 0.5), ((0, 1, 1), 0.0), ((0, 0, 0), 0.0)])
def test_uniformity_of_spots(powers, u):
    intensity = torch.zeros(2, 3, dtype=torch.float64)
    intensity[0] = torch.tensor(powers)
    intensity[1, 0] = 7  # background does not count
    wanted = torch.tensor([[1.0, 1, 1], [0, 0, 0]], dtype=torch.float64)
    assert uniformity(intensity, wanted).item() == pytest.approx(u)


def test_uniformity_is_measured_against_what_is_wanted():
    wanted = torch.tensor([[1.0, 4.0, 0.0]])
    assert uniformity(0.1 * wanted, wanted).item() == pytest.approx(1.0)
    assert uniformity(torch.tensor([[1.0, 1.0, 0.0]]), wanted).item() == pytest.approx(0.4)  # ratios 1 and 1/4


def test_rms_error_after_the_best_factor_is_the_sine_of_the_angle():
    a = torch.complex(noise(4, 5, seed=1), noise(4, 5, seed=2))
    w = torch.complex(noise(4, 5, seed=3), noise(4, 5, seed=4))
    x, y = a.flatten().numpy(), w.flatten().numpy()
    cosine = abs(np.vdot(x, y)) / (np.linalg.norm(x) * np.linalg.norm(y))
    assert rms_error(a, w).item() == pytest.approx(math.sqrt(1 - cosine**2), rel=1e-12)
    assert rms_error(a * (0.3 - 2j), w).item() == pytest.approx(rms_error(a, w).item(), rel=1e-12)
    plain = np.linalg.norm(x - y) / np.linalg.norm(y)
    assert rms_error(a, w, scaled=False).item() == pytest.approx(plain, rel=1e-12)


def test_psnr_and_ssim_are_those_of_torchmetrics():
    torchmetrics = pytest.importorskip("torchmetrics.functional.image")
    wanted = noise(2, 33, 28).abs()
    actual = wanted + 0.3 * noise(2, 33, 28, seed=5)
    peak = 4.0
    for one, other, value in zip(actual, wanted, psnr(actual, wanted, peak=peak), strict=True):
        oracle = torchmetrics.peak_signal_noise_ratio(one, other, data_range=peak)
        assert value.item() == pytest.approx(oracle.item(), rel=1e-6)  # its peak is float32
    # Its mean takes in margins that it made up by reflection; inside, window and formula are the same.
    _, whole = torchmetrics.structural_similarity_index_measure(
        actual[:, None], wanted[:, None], data_range=peak, return_full_image=True
    )
    inner = whole[:, 0, 5:-5, 5:-5].mean((-2, -1))
    torch.testing.assert_close(ssim(actual, wanted, peak=peak), inner, rtol=1e-9, atol=0)


def test_ssim_of_equal_images_is_1_and_of_two_flat_ones_follows_from_their_means():
    image = noise(24, 20)
    assert ssim(image, image, peak=1.0).item() == pytest.approx(1)
    a, b, c = 0.3, 0.6, 0.01**2
    flat = ssim(torch.full((24, 20), a), torch.full((24, 20), b), peak=1.0)
    assert flat.item() == pytest.approx((2 * a * b + c) / (a * a + b * b + c), rel=1e-4)  # float32 variances


def test_contrast_of_developed_speckle_is_1_and_of_half_polarised_0_7():
    a = torch.complex(noise(400, 300, seed=1), noise(400, 300, seed=2)).abs().square()
    b = torch.complex(noise(400, 300, seed=3), noise(400, 300, seed=4)).abs().square()
    # 120 000 independent samples: the estimate scatters by about 0.004.
    assert speckle_contrast(a).item() == pytest.approx(1, abs=0.015)
    assert speckle_contrast(a + b).item() == pytest.approx(1 / math.sqrt(2), abs=0.015)


def test_contrast_looks_at_the_region_only():
    intensity = torch.ones(4, 6)
    intensity[0] = 9
    region = torch.ones(4, 6, dtype=torch.bool)
    region[0] = False
    assert speckle_contrast(intensity, region).item() == 0


def test_a_kernel_and_its_negative_are_told_apart():
    kernel = noise(3, 5)
    assert kernel_cosine(2 * kernel, kernel).item() == pytest.approx(1)
    assert kernel_cosine(-2 * kernel, kernel).item() == pytest.approx(-1)
    assert kernel_error(2 * kernel, kernel).item() == pytest.approx(0, abs=1e-7)
    assert kernel_error(-2 * kernel, kernel).item() == 1
    other = noise(3, 5, seed=9)
    x, y = kernel.flatten().numpy(), other.flatten().numpy()
    wanted = x @ y / (np.linalg.norm(x) * np.linalg.norm(y))
    assert kernel_cosine(other, kernel).item() == pytest.approx(wanted)
    best = min(np.linalg.norm(s * y - x) / np.linalg.norm(x) for s in np.linspace(0, 3, 30001))
    assert kernel_error(other, kernel).item() == pytest.approx(best, abs=1e-6)


def test_gradients():
    wanted = noise(13, 15).abs() + 0.1
    image = (wanted + 0.2 * noise(13, 15, seed=7)).abs().requires_grad_()
    field = torch.complex(noise(3, 4), noise(3, 4, seed=8)).requires_grad_()
    goal = torch.complex(noise(3, 4, seed=5), noise(3, 4, seed=6))
    region = wanted > 0.5
    for metric in (
        lambda x: diffraction_efficiency(x, region),
        lambda x: uniformity(x, wanted),
        lambda x: rms_error(x, wanted),
        lambda x: psnr(x, wanted, peak=3.0),
        lambda x: ssim(x, wanted, peak=3.0),
        lambda x: speckle_contrast(x, region),
        lambda x: kernel_cosine(x, wanted),
        lambda x: kernel_error(x, wanted),
        optical_transfer_function,
    ):
        assert torch.autograd.gradcheck(metric, image)
    for metric in (lambda x: rms_error(x, goal), lambda x: kernel_cosine(x, goal)):
        assert torch.autograd.gradcheck(metric, field)


@pytest.mark.parametrize("metric", [rms_error, kernel_error])
def test_no_nan_gradient_where_nothing_is_wrong(metric):
    wanted = torch.ones(3, 4, dtype=torch.float64)
    exact = wanted.clone().requires_grad_()
    metric(exact, wanted).backward()
    assert torch.isfinite(exact.grad).all()


def test_a_rectangular_pupil_passes_less_contrast_line_by_line_to_its_width():
    # The autocorrelation of 5 x 8 of 16 x 21 frequencies: triangles that end at 5 and 8 (Goodman 2005, chapter 6).
    pupil = torch.zeros(16, 21, dtype=torch.complex128)
    pupil[3:8, 9:17] = 1
    psf = torch.fft.fftshift(torch.fft.ifft2(pupil)).abs().square()
    y, x = ((1 - (torch.arange(n, dtype=torch.float64) - n // 2).abs() / w).clamp(min=0) for n, w in ((16, 5), (21, 8)))
    found = optical_transfer_function(7 * psf)  # brightness does not count
    torch.testing.assert_close(found, (y[:, None] * x[None, :]).to(found), rtol=0, atol=1e-14)
    # A PSF beside the axis: the phase of each frequency, e^{-2 pi i f s}, and no other contrast.
    moved = optical_transfer_function(torch.roll(psf, (1, -2), (-2, -1)))
    fy, fx = (torch.fft.fftshift(torch.fft.fftfreq(n, dtype=torch.float64)) for n in psf.shape)
    turns = fy[:, None] - 2 * fx[None, :]
    torch.testing.assert_close(moved, found * torch.exp(-2j * math.pi * turns), rtol=0, atol=1e-14)


def test_refusals():
    image = torch.ones(4, 5)
    with pytest.raises(ValueError, match=r"region must have the same height and width \(4, 5\), got \(5, 4\)"):
        diffraction_efficiency(image, torch.ones(5, 4))
    with pytest.raises(ValueError, match="must hold at least one node"):
        uniformity(image, torch.zeros(4, 5))
    with pytest.raises(ValueError, match="at least 11 x 11"):
        ssim(image, image, peak=1.0)
    with pytest.raises(ValueError, match="peak must be positive, got 0"):
        psnr(image, image, peak=0)
