"""Each f-f stage collapsed to one zoomed Fourier transform, on the SLM's own samples."""

from __future__ import annotations

import math

import torch

from ..field import Field
from ..fourf import FourF
from ..fourier import fourier_matrix, zoomed_fourier
from ..grid import Grid
from .route import Route


class FourierLensRoute(Route):
    r"""Thin lenses without vignetting, every distance a focal length (Goodman 2005, section 5.2).

    .. math:: U_f(x_f) = \frac{1}{i \lambda f} \int U_0(x) \, e^{-2 \pi i \, x \cdot x_f / (\lambda f)} \, dx

    Arguments and shapes are those of :class:`Route`. Memory grows as batch times masks times SLM samples.
    """

    def __init__(self, bench: FourF, *, override: tuple[str, ...] = ()) -> None:
        super().__init__(bench, override=override)
        scale1, scale2 = bench.scales
        for name, outputs, inputs, scale in (
            ("stage1", bench.slm.samples, bench.illumination.grid, scale1),
            ("stage2", bench.image, bench.slm.samples, scale2),
        ):
            for axis, matrix in zip(("y", "x"), lens_matrices(outputs, inputs, scale), strict=True):
                self._constant(f"{name}_{axis}", matrix)

    def fourier_field(self, source: Field) -> Field:
        """Field that reaches the SLM, shape ``(batch, 1, height, width)``."""
        return Field(
            zoomed_fourier(source.data, self.stage1_y, self.stage1_x), self.bench.slm.samples, source.wavelength
        )

    def image_field(self, source: Field) -> Field:
        modulated = self.bench.slm(self.fourier_field(source))
        return Field(zoomed_fourier(modulated.data, self.stage2_y, self.stage2_x), self.bench.image, source.wavelength)


def lens_matrices(outputs: Grid, inputs: Grid, scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column matrices of one f-f stage, factor ``dx^2 / (i scale)`` included; complex128.

    Args:
        outputs: Plane behind the lens.
        inputs: Plane before it.
        scale: Wavelength times focal length [m^2].
    """
    weight = inputs.pitch / math.sqrt(scale)
    (y_out, x_out), (y_in, x_in) = outputs.coordinates(), inputs.coordinates()
    return -1j * weight * fourier_matrix(y_out, y_in, scale), weight * fourier_matrix(x_out, x_in, scale)
