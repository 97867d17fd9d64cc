"""How good a pattern of light is: figures of merit, each a differentiable function of tensors.

Intensities are real and not negative, of shape ``(..., height, width)``; every figure is taken over the last two axes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import conv2d


def diffraction_efficiency(intensity: Tensor, region: Tensor, total: Tensor | float | None = None) -> Tensor:
    """Share of the light that lands in a region.

    Args:
        intensity: Intensity or power at the nodes, shape ``(..., height, width)``.
        region: True where the light is wanted, shape ``(height, width)``.
        total: Light that fell on the device, in the same units, shape ``(...)``; by default that in all of
            ``intensity``, which does not know what missed the plane.

    Returns:
        Shape ``(...)``.
    """
    _same_shape(intensity, region, "region")
    total = intensity.sum((-2, -1)) if total is None else total
    return (intensity * region).sum((-2, -1)) / total


def uniformity(intensity: Tensor, wanted: Tensor) -> Tensor:
    r"""Uniformity of spots against what is wanted of them, 1 if they have it exactly (Di Leonardo et al. 2007).

    .. math:: u = 1 - \frac{\max r - \min r}{\max r + \min r}, \qquad r = I / I_{wanted}

    Args:
        intensity: Shape ``(..., height, width)``.
        wanted: Relative intensity, shape ``(height, width)`` or ``(..., height, width)``; nodes of 0 do not count.

    Returns:
        Shape ``(...)``, between 0 and 1, 0 in darkness; the unit of neither argument matters.
    """
    _same_shape(intensity, wanted, "wanted")
    bright = (wanted > 0).expand_as(intensity)
    _some(bright)
    ratio = intensity / torch.where(bright, wanted, 1)
    high = torch.where(bright, ratio, -math.inf).amax((-2, -1))
    low = torch.where(bright, ratio, math.inf).amin((-2, -1))
    total = high + low
    return 1 - torch.where(total > 0, (high - low) / torch.where(total > 0, total, 1), 1)


def rms_error(actual: Tensor, wanted: Tensor, *, scaled: bool = True) -> Tensor:
    r"""Relative RMS error, real or complex.

    .. math:: \epsilon = \frac{\lVert s \, a - w \rVert}{\lVert w \rVert}

    Args:
        actual: Shape ``(..., height, width)``.
        wanted: The same, not zero everywhere.
        scaled: Whether ``s`` is the best factor in the least-squares sense (complex where the data are, so that
            brightness and a global phase do not count) or 1.

    Returns:
        Shape ``(...)``, real.
    """
    _same_shape(actual, wanted, "wanted")
    if scaled:
        overlap = (actual.conj() * wanted).sum((-2, -1), keepdim=True)
        actual = actual * (overlap / _square(actual).sum((-2, -1), keepdim=True))
    error = _square(actual - wanted).sum((-2, -1)) / _square(wanted).sum((-2, -1))
    return _safe_root(error)


def psnr(actual: Tensor, wanted: Tensor, *, peak: float) -> Tensor:
    r"""Peak signal-to-noise ratio [dB], :math:`10 \log_{10}(\mathrm{peak}^2 / \mathrm{MSE})`; inf for equal images.

    Args:
        actual: Shape ``(..., height, width)``.
        wanted: The same.
        peak: Largest value that an image can have (255 for 8 bits).
    """
    _same_shape(actual, wanted, "wanted")
    return 10 * torch.log10(_positive(peak, "peak") ** 2 / (actual - wanted).square().mean((-2, -1)))


def ssim(actual: Tensor, wanted: Tensor, *, peak: float, width: float = 1.5) -> Tensor:
    """Structural similarity, mean over the image without its margins (Wang et al. 2004).

    A Gaussian window of 3.5 standard deviations on each side, constants 0.01 and 0.03, as in the paper.

    Args:
        actual: Shape ``(..., height, width)``.
        wanted: The same.
        peak: Largest value that an image can have.
        width: Standard deviation of the window [samples].

    Raises:
        ValueError: An image smaller than the window.
    """
    _same_shape(actual, wanted, "wanted")
    c1, c2 = (0.01 * _positive(peak, "peak")) ** 2, (0.03 * peak) ** 2
    reach = int(3.5 * _positive(width, "width") + 0.5)
    if min(actual.shape[-2:]) <= 2 * reach:
        size = 2 * reach + 1
        raise ValueError(f"an image must be at least {size} x {size} for SSIM, got {tuple(actual.shape[-2:])}.")
    offsets = torch.arange(-reach, reach + 1, dtype=actual.dtype, device=actual.device)
    window = torch.exp(-offsets.square() / (2 * width**2))
    window = window / window.sum()
    wanted = wanted.expand_as(actual)
    stack = torch.stack((actual, wanted, actual * actual, wanted * wanted, actual * wanted))
    flat = stack.reshape(-1, 1, *actual.shape[-2:])
    smooth = conv2d(conv2d(flat, window[None, None, :, None]), window[None, None, None, :])
    a, w, aa, ww, aw = smooth.reshape(*stack.shape[:-2], *smooth.shape[-2:])
    similarity = (2 * a * w + c1) * (2 * (aw - a * w) + c2)
    similarity = similarity / ((a * a + w * w + c1) * (aa - a * a + ww - w * w + c2))
    return similarity.mean((-2, -1))


def speckle_contrast(intensity: Tensor, region: Tensor | None = None) -> Tensor:
    """Standard deviation over mean of the intensity: 1 for fully developed speckle (Goodman 2007).

    Args:
        intensity: Shape ``(..., height, width)``.
        region: True where a uniform intensity is wanted, shape ``(height, width)``; everywhere by default.
    """
    region = torch.ones(intensity.shape[-2:], dtype=torch.bool, device=intensity.device) if region is None else region
    _same_shape(intensity, region, "region")
    _some(region)
    inside = intensity[..., region]
    mean = inside.mean(-1)
    return _safe_root((inside - mean[..., None]).square().mean(-1)) / mean


def kernel_cosine(actual: Tensor, wanted: Tensor) -> Tensor:
    r"""Signed likeness of kernels: :math:`\mathrm{Re} \langle w, a \rangle / (\lVert w \rVert \lVert a \rVert)`.

    1 for the wanted kernel at any brightness, -1 for its negative, 0 for nothing in common.

    Args:
        actual: Kernels, real (of a differential detection) or complex, shape ``(..., height, width)``.
        wanted: The same. The sign, and with complex kernels the global phase, counts.
    """
    _same_shape(actual, wanted, "wanted")
    overlap = (wanted.conj() * actual).sum((-2, -1)).real
    return overlap / (_square(actual).sum((-2, -1)) * _square(wanted).sum((-2, -1))).sqrt()


def kernel_error(actual: Tensor, wanted: Tensor) -> Tensor:
    r"""Relative error of kernels after the best brightness.

    .. math:: \min_{s \ge 0} \lVert s \, a - w \rVert / \lVert w \rVert

    No negative factor is allowed: the negative of the wanted kernel has error 1, as darkness has.

    Args:
        actual: Kernels, real or complex, shape ``(..., height, width)``.
        wanted: The same.
    """
    return _safe_root(1 - kernel_cosine(actual, wanted).clamp(min=0).square())


def optical_transfer_function(psf: Tensor) -> Tensor:
    r"""Contrast and shift that each spatial frequency of an incoherent image keeps (Goodman 2005, chapter 6).

    .. math:: \mathcal{H}(f) = \mathcal{F}\{|h|^2\}(f) \, / \int |h|^2

    Args:
        psf: Intensity of a point's image, shape ``(..., height, width)``; index ``n // 2`` is the axis.

    Returns:
        Complex, same shape, 1 at frequency zero, which is at ``n // 2``; its modulus is the MTF.
    """
    psf = psf / psf.sum((-2, -1), keepdim=True)
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(psf, dim=(-2, -1))), dim=(-2, -1))


def _square(values: Tensor) -> Tensor:
    return values.real.square() + values.imag.square() if values.is_complex() else values.square()


def _safe_root(values: Tensor) -> Tensor:
    """Square root whose gradient at 0 is 0 and not NaN."""
    positive = values > 0
    return torch.where(positive, torch.where(positive, values, 1).sqrt(), 0)


def _same_shape(values: Tensor, other: Tensor, name: str) -> None:
    if values.shape[-2:] != other.shape[-2:]:
        raise ValueError(
            f"{name} must have the same height and width {tuple(values.shape[-2:])}, got {tuple(other.shape[-2:])}."
        )


def _some(region: Tensor) -> None:
    if not region.any():
        raise ValueError("a region must hold at least one node, got none. Mark where the light is wanted.")


def _positive(value: float, name: str) -> float:
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value:g}.")
    return value
