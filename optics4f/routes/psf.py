"""Isoplanatic: one point spread function per mask and step, shared by the whole batch."""

from __future__ import annotations

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from ..field import Field, intensity
from ..fourf import FourF
from ..fourier import fourier_matrix, zoomed_fourier
from ..sampling import SamplingError
from .route import Route


class PSFRoute(Route):
    r"""The image as a convolution with the PSF of each mask (SLM in the Fourier plane; Goodman 2005, section 8.2).

    .. math:: h(x) = \frac{-1}{\lambda^2 f_1 f_2} \int M(x_f) \, e^{-2 \pi i \, x_f \cdot x / (\lambda f_2)} \, dx_f,
              \qquad U_1(x_1) = \int U_0(x_0) \, h\left(x_1 + \tfrac{f_2}{f_1} x_0\right) dx_0

    The PSF is evaluated at every difference between an image sample and a logical object pixel, so nothing of it is
    cut off: the result is that of :class:`FourierLensRoute`, at the cost of K small transforms a step and one small
    convolution per image and mask. The square logical pixel enters as a factor in the Fourier plane.

    Arguments are those of :class:`Route`.

    Raises:
        SamplingError: The imaged logical pixels do not lie on the image samples.
    """

    def __init__(self, bench: FourF, *, override: tuple[str, ...] = ()) -> None:
        super().__init__(bench, override=override)
        source, image, slm = bench.illumination, bench.image, bench.slm.samples
        scale1, scale2 = bench.scales
        stretch = scale2 / scale1
        imaged = stretch * source.block * source.grid.pitch  # logical pixel at the camera
        stride = imaged / image.pitch
        self.stride = round(stride)
        if self.stride < 1 or abs(stride - self.stride) > 1e-6 * stride:
            raise SamplingError(
                f"an imaged logical pixel must be a whole number of image samples in the PSF route, got {stride:.6g} "
                f"of {image.pitch * 1e6:.6g} um. Choose the camera's binning or samples per pixel so that it is, or "
                "use the Fourier-lens route."
            )
        self.window = tuple(
            n_image + self.stride * (n_object - 1) for n_image, n_object in zip(image.shape, source.shape, strict=True)
        )
        # Only outputs that see the whole object are kept, so wrap-around may spoil the rest: the PSF window suffices.
        self.length = tuple(next_fast_len(n) for n in self.window)
        for axis, n, positions, samples, out in zip(
            ("y", "x"), self.window, source.logical_positions(), slm.coordinates(), image.coordinates(), strict=True
        ):
            first = out.flatten()[0] + stretch * positions[0]
            differences = first + image.pitch * torch.arange(n, dtype=torch.float64)
            inside = source.grid.pitch * (torch.arange(source.block, dtype=torch.float64) - (source.block - 1) / 2)
            block = fourier_matrix(samples.flatten(), inside, scale1).sum(1)  # the square pixel, sampled
            weight = slm.pitch * source.grid.pitch / math.sqrt(scale1 * scale2)
            self._constant(f"window_{axis}", weight * fourier_matrix(differences, samples.flatten(), scale2) * block)
            self._constant(f"arriving_{axis}", block * source.grid.pitch / math.sqrt(scale1))

    def point_spread_functions(self) -> Tensor:
        """PSF of each mask over all differences of positions, shape ``(masks, *window)``.

        Amplitude at the camera of one logical pixel of amplitude 1; the square of its magnitude is intensity.
        """
        modulation = self.bench.slm.modulation().to(self.window_y.dtype)
        return -zoomed_fourier(modulation, self.window_y, self.window_x)

    def window_efficiency(self) -> Tensor:
        """Share of the light behind each mask that lands in the PSF window, shape ``(masks,)``.

        The light is that of one logical pixel of the object; the rest is diffracted beside the window.
        """
        slm, image = self.bench.slm, self.bench.image
        behind = slm.modulation() * (self.arriving_y[:, None] * self.arriving_x[None, :])
        total = intensity(behind).sum((-2, -1)) * slm.samples.pitch**2
        return intensity(self.point_spread_functions()).sum((-2, -1)) * image.pitch**2 / total

    def image_field(self, source: Field) -> Field:
        raise SamplingError("the PSF route starts from logical pixels, not from a sampled field. Call it on images.")

    def forward(self, images: Tensor) -> Field:
        bench = self.bench
        bench.check_images(images)
        objects = bench.illumination.encode(images).flip((-2, -1))  # U_1 needs h(x_1 + (f2/f1) x_0): a correlation
        if self.stride > 1:
            sparse = objects.new_zeros(*objects.shape[:-2], *(self.stride * (n - 1) + 1 for n in objects.shape[-2:]))
            sparse[..., :: self.stride, :: self.stride] = objects
            objects = sparse
        spectra = torch.fft.fft2(objects, s=self.length)
        kernels = torch.fft.fft2(self.point_spread_functions(), s=self.length)
        corner = (objects.shape[-2] - 1, objects.shape[-1] - 1)
        data = _Filter.apply(spectra, kernels, corner, bench.image.shape)
        return Field(data, bench.image, bench.wavelength)


class _Filter(torch.autograd.Function):
    """``ifft2(spectra * kernels)`` and a window of it, one kernel at a time, with its adjoint.

    Autograd on the batched expression would keep a padded field per image and mask; here only the two factors are kept.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        spectra: Tensor,
        kernels: Tensor,
        corner: tuple[int, int],
        shape: tuple[int, int],
    ) -> Tensor:
        """``spectra (B, 1, h, w)``, ``kernels (K, h, w)`` -> window ``(B, K, *shape)`` that starts at ``corner``."""
        ctx.save_for_backward(spectra, kernels)
        ctx.window = (..., slice(corner[0], corner[0] + shape[0]), slice(corner[1], corner[1] + shape[1]))
        data = spectra.new_empty(len(spectra), len(kernels), *shape)
        product = torch.empty_like(spectra[:, 0])
        for k, kernel in enumerate(kernels):
            torch.mul(spectra[:, 0], kernel, out=product)
            data[:, k] = torch.fft.ifft2(product)[ctx.window]
        return data

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Adjoint: pad, transform forward, correlate."""
        spectra, kernels = ctx.saved_tensors
        to_spectra, to_kernels = ctx.needs_input_grad[:2]
        samples = kernels.shape[-2] * kernels.shape[-1]  # ifft2 carries 1/samples, and so does its adjoint
        grad_spectra = torch.zeros_like(spectra) if to_spectra else None
        grad_kernels = torch.empty_like(kernels) if to_kernels else None
        padded = torch.zeros_like(spectra[:, 0])
        for k, kernel in enumerate(kernels):
            padded[ctx.window] = grad[:, k]
            back = torch.fft.fft2(padded)
            if to_kernels:
                grad_kernels[k] = torch.linalg.vecdot(spectra[:, 0], back, dim=0) / samples
            if to_spectra:
                grad_spectra[:, 0] += kernel.conj() * back / samples
        return grad_spectra, grad_kernels, None, None
