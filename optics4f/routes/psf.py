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
        spectrum = torch.fft.fft2(objects, s=self.length)
        filtered = torch.fft.ifft2(spectrum * torch.fft.fft2(self.point_spread_functions(), s=self.length))
        height, width = bench.image.shape
        top, left = objects.shape[-2] - 1, objects.shape[-1] - 1
        return Field(filtered[..., top : top + height, left : left + width], bench.image, bench.wavelength)
