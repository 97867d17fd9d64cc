"""The Spectral CNN Linear Counterpart (SCLC) of Xiang et al. (2022, Applied Optics 61, 2173).

A CNN without its nonlinearities: convolutions are products of spectra and pooling crops the
spectrum, so the whole front end is linear in the image and light can do it. Kernels are real:
a spectrum of free complex weights would have an imaginary half that a real image never sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from kd.students import Student


def spectral_convolution(images: Tensor, weight: Tensor) -> Tensor:
    r"""Linear convolution with zero borders and output of the input's size, as a product of spectra.

    .. math:: y_o = \mathcal{F}^{-1} \sum_c \mathcal{F}[x_c] \, \overline{\mathcal{F}[w_{oc}]}

    The conjugate makes it the correlation that ``nn.Conv2d`` computes. Image and kernel are zero-padded to
    ``size + kernel_size - 1``, so nothing wraps around.

    Args:
        images: Real, shape ``(B, C_in, height, width)``.
        weight: Real, shape ``(C_out, C_in, k, k)`` with ``k`` odd.

    Returns:
        Shape ``(B, C_out, height, width)``.
    """
    height, width = images.shape[-2:]
    kernel_size = weight.shape[-1]
    size = (height + kernel_size - 1, width + kernel_size - 1)
    centred = pad(weight, (0, size[1] - kernel_size, 0, size[0] - kernel_size))
    centred = centred.roll((-(kernel_size // 2),) * 2, dims=(-2, -1))  # middle of the kernel at the origin
    spectrum = torch.einsum("bchw,ochw->bohw", torch.fft.rfft2(images, size), torch.fft.rfft2(centred).conj())
    return torch.fft.irfft2(spectrum, size)[..., :height, :width]


def spectral_pool(images: Tensor, pool: int) -> Tensor:
    """Shrink by cropping the spectrum to its centre (Rippel, Snoek and Adams 2015); values keep their scale.

    A spectrum of even size has one bin for its two Nyquist frequencies. It gets the sum of both,
    which keeps it Hermitian, so the output is real and is the sampled low-pass image: one bin alone
    would leave an imaginary part to throw away.

    Args:
        images: Real, shape ``(..., height, width)``, both divisible by ``pool``. Taken as periodic.
        pool: Factor to shrink by; 2 keeps the central half of the spectrum in each direction.

    Returns:
        Shape ``(..., height // pool, width // pool)``; sample ``n`` sits on the old sample ``n * pool``.
    """
    if images.shape[-2] % pool or images.shape[-1] % pool:
        raise ValueError(f"image size must be divisible by pool={pool}, got {tuple(images.shape[-2:])}.")
    height, width = images.shape[-2] // pool, images.shape[-1] // pool
    spectrum = torch.fft.rfft2(images, norm="forward")
    half = height // 2
    low, high = spectrum[..., : height - half, :], spectrum[..., -half:, :][..., :half, :]
    if height % 2 == 0:
        nyquist = spectrum[..., half, None, :] + spectrum[..., -half, None, :]
        high = torch.cat([nyquist, high[..., 1:, :]], dim=-2)
    columns = torch.cat([low, high], dim=-2)[..., : width // 2 + 1]
    if width % 2 == 0:
        # irfft2 takes the real part of this column once; the missing conjugate makes it twice.
        columns = torch.cat([columns[..., :-1], 2 * columns[..., -1:]], dim=-1)
    return torch.fft.irfft2(columns, (height, width), norm="forward")


class SpectralConv2d(nn.Module):
    """A convolution layer in the Fourier domain: real kernels, no bias, no nonlinearity.

    Equal to ``nn.Conv2d(..., padding=kernel_size // 2, bias=False)``, optionally followed by spectral pooling.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: Height and width of the kernels [pixels], odd.
        pool: Factor of the spectral pooling, or ``None``.

    Shape:
        - Input ``(B, in_channels, height, width)``, output ``(B, out_channels, height // pool, width // pool)``.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, pool: int | None = None) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd to keep the image centred, got {kernel_size}.")
        if pool is not None and pool < 2:
            raise ValueError(f"pool must be at least 2, got {pool}. No pooling is None.")
        self.pool = pool
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, kernel_size, kernel_size))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as nn.Conv2d does

    def forward(self, images: Tensor) -> Tensor:
        convolved = spectral_convolution(images, self.weight)
        return convolved if self.pool is None else spectral_pool(convolved, self.pool)

    def extra_repr(self) -> str:
        out_channels, in_channels, kernel_size, _ = self.weight.shape
        return f"{in_channels}, {out_channels}, kernel_size={kernel_size}, pool={self.pool}"


class SummedConv2d(SpectralConv2d):
    r"""One large kernel that is learnt as a sum of kernels of several sizes, all about one centre.

    .. math:: w = \sum_k \mathrm{pad}(w_k)

    The small ones give the middle of a large kernel its own, larger steps: alone it learns slowly there (Ding et
    al. 2022; Wei et al. 2024 train kernels of 15 x 15 with auxiliary ones of 3 and 7). Nothing of it is left after
    training: :attr:`weight` is the one kernel, and :meth:`folded` the plain layer. The other way to a large kernel
    is a chain of small ones: :class:`SpectralFrontEnd` with seven layers of 3 x 3 is one of 15 x 15.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_sizes: Height and width of the kernels to sum [pixels], odd; the largest is the layer's.
        pool: Factor of the spectral pooling, or ``None``.

    Shape:
        - As :class:`SpectralConv2d`.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_sizes: Sequence[int], *, pool: int | None = None
    ) -> None:
        nn.Module.__init__(self)  # the kernel of SpectralConv2d would be a parameter: here it is a sum
        if len(set(kernel_sizes)) != len(kernel_sizes) or not kernel_sizes:
            raise ValueError(f"kernel_sizes must be different, at least one, got {tuple(kernel_sizes)}.")
        self.pool = pool
        parts = [SpectralConv2d(in_channels, out_channels, size, pool=pool) for size in kernel_sizes]
        self.kernels = _Kernels([part.weight for part in parts])

    @property
    def weight(self) -> Tensor:
        """The sum, shape ``(out_channels, in_channels, k, k)``; differentiable in its parts."""
        size = max(kernel.shape[-1] for kernel in self.kernels)
        return torch.stack([pad(kernel, ((size - kernel.shape[-1]) // 2,) * 4) for kernel in self.kernels]).sum(dim=0)

    def folded(self) -> SpectralConv2d:
        """The plain layer that does the same."""
        weight = self.weight.detach()
        layer = SpectralConv2d(weight.shape[1], weight.shape[0], weight.shape[-1], pool=self.pool)
        layer.weight = nn.Parameter(weight.clone())
        return layer


class _Kernels(nn.ParameterList):
    """Parts of a kernel: multiplied out before any image comes, so they cost nothing then."""

    digital = False


class SpectralFrontEnd(nn.Module):
    """Spectral layers in a row, padded once for all of them and cropped once at the end.

    Zero borders in every layer would cut off what spreads past the edge and could come back, and the row
    would not be one convolution there. Here the canvas has a margin as wide as the reach of
    all kernels together, so without pooling the row is exactly the convolution that :func:`collapse` returns.
    That is also how it runs then: the kernels are multiplied out first, many times faster than
    transforming every feature map, with the same gradients.

    Args:
        in_channels: Channels of the images.
        channels: Output channels of each layer.
        kernel_size: Height and width of every kernel [pixels], odd.
        pools: Factor of the spectral pooling after each layer, or ``None`` for no pooling at all.

    Shape:
        - Input ``(B, in_channels, height, width)``, both divisible by the product of ``pools``;
          output ``(B, channels[-1], height // product, width // product)``.
    """

    def __init__(
        self, in_channels: int, channels: Sequence[int], kernel_size: int, pools: Sequence[int | None] | None = None
    ) -> None:
        super().__init__()
        pools = [None] * len(channels) if pools is None else list(pools)
        if len(pools) != len(channels) or not channels:
            raise ValueError(f"pools must be one per layer, got {len(pools)} for {len(channels)} layers.")
        inputs = [in_channels, *channels[:-1]]
        self.layers = nn.Sequential(
            *(
                SpectralConv2d(before, after, kernel_size, pool=pool)
                for before, after, pool in zip(inputs, channels, pools, strict=True)
            )
        )
        self.pool, reach = 1, 0
        for pool in pools:
            reach += self.pool * (kernel_size // 2)  # a kernel behind pooling covers more of the image
            self.pool *= pool or 1
        self.margin = math.ceil(reach / self.pool) * self.pool

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if height % self.pool or width % self.pool:
            raise ValueError(f"image size must be divisible by {self.pool}, got {(height, width)}.")
        if self.pool == 1:
            return spectral_convolution(images, collapse(self))
        features = self.layers(pad(images, (self.margin,) * 4))
        edge = self.margin // self.pool
        return features[..., edge : edge + height // self.pool, edge : edge + width // self.pool]


def collapse(front_end: SpectralFrontEnd) -> Tensor:
    """The one convolution kernel that does what all layers of ``front_end`` do, ready for a mask.

    Args:
        front_end: Layers without pooling.

    Returns:
        Kernel of shape ``(C_out, C_in, k, k)`` with ``k = 1 + sum(kernel_size - 1)``, odd, for
        ``conv2d(images, kernel, padding=k // 2)``; differentiable in the layers' weights.

    Raises:
        ValueError: A layer pools: what follows is then no convolution on the image's own samples.
    """
    first, *others = front_end.layers
    if front_end.pool > 1:
        raise ValueError(f"collapse must have no spectral pooling, got a factor of {front_end.pool}. Set pools=None.")
    kernel = first.weight
    for layer in others:
        # Correlations chain by the full convolution of their kernels; conv2d correlates, hence the flip.
        kernel = conv2d(kernel.transpose(0, 1), layer.weight.flip(-2, -1), padding=layer.weight.shape[-1] - 1)
        kernel = kernel.transpose(0, 1)
    return kernel


def kernel_rank(kernel: Tensor, *, energy: float | None = None) -> int:
    r"""How many different kernels a stack really holds: the rank of its matrix, one row per output channel.

    A rank below the number of output channels says how many masks would do: the other maps are sums of theirs.

    Args:
        kernel: Shape ``(C_out, C_in, k, k)``, such as :func:`collapse` returns.
        energy: Share of :math:`\sum \sigma_i^2` to be kept, in (0, 1); ``None`` counts each singular value that
            stands above rounding, :math:`\sigma_i > \sigma_1 \epsilon \max(\text{rows}, \text{columns})`.

    Returns:
        At most ``min(C_out, C_in * k * k)``; 0 for a kernel of zeros.

    Raises:
        ValueError: ``energy`` out of range.
    """
    if energy is not None and not 0 < energy < 1:
        raise ValueError(f"energy must be above 0 and below 1, got {energy:g}. None counts all that is not rounding.")
    matrix = kernel.detach().flatten(1)
    singular = torch.linalg.svdvals(matrix.double())
    if energy is None:
        rounding = torch.finfo(kernel.dtype).eps * max(matrix.shape)
        return int((singular > singular[0] * rounding).sum())
    kept = singular.square().cumsum(dim=0)
    return int((kept < energy * kept[-1]).sum()) + 1 if kept[-1] > 0 else 0


class SCLC(Student):
    """Spectral CNN Linear Counterpart: a linear spectral front end and the readout.

    Args:
        in_channels: Channels of the images.
        readout: Takes ``channels[-1]`` feature maps.
        channels: Output channels of each spectral layer.
        kernel_size: Height and width of every kernel [pixels], odd.
        pools: Spectral pooling after each layer, or ``None`` for none; see :class:`SpectralFrontEnd`.
    """

    def __init__(
        self,
        in_channels: int,
        readout: nn.Module,
        *,
        channels: Sequence[int] = (8, 16, 8),
        kernel_size: int = 5,
        pools: Sequence[int | None] | None = None,
    ) -> None:
        super().__init__(SpectralFrontEnd(in_channels, channels, kernel_size, pools), readout)
