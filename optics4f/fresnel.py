r"""Paraxial propagation: the Fresnel transfer function, and the Fresnel and Fraunhofer integrals in one transform.

The carrier :math:`e^{2 \pi i d / \lambda}` is left out, as everywhere; the factor :math:`1 / (i \lambda d)` is not,
so that the complex field is that of the angular spectrum in their common domain.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .band import in_band, tilted_frequencies
from .grid import Grid


def fresnel_transfer_function(
    grid: Grid,
    wavelength: float | Tensor,
    distance: float | Tensor,
    *,
    shift: tuple[float | Tensor, float | Tensor] = (0.0, 0.0),
    tilt: tuple[float, float] = (0.0, 0.0),
    dtype: torch.dtype = torch.complex64,
    device: torch.device | None = None,
) -> Tensor:
    r"""Paraxial transfer function of free space (Goodman 2005, section 4.2).

    .. math:: H = \exp\left[ -i \pi \lambda d f^2 + 2 \pi i f \cdot x_0 \right]

    Zero where it would alias: see :func:`~optics4f.band.in_band`.

    Args:
        grid: Plane to propagate on, already padded if linear convolution is wanted.
        wavelength: Wavelength in the medium [m].
        distance: Distance to travel [m]; negative runs the light backwards.
        shift: Centre ``(y, x)`` of the window at the end [m].
        tilt: Mean spatial frequency ``(fy, fx)`` of the light [cycles/m].
        dtype: Complex type of the result; it is built in float64 whatever this is.
        device: Where to build it.

    Returns:
        Complex tensor of shape ``grid.shape``, in FFT order. Differentiable in wavelength, distance and shift.
    """
    frequencies = tilted_frequencies(grid, tilt, device)
    kept, phase = True, 0.0
    for f, extent, centre in zip(frequencies, grid.extent, shift, strict=True):
        kept = kept & in_band(f, 1 / wavelength, extent, distance, centre)
        phase = phase + math.pi * f * (2 * centre - wavelength * distance * f)
    return torch.where(kept, torch.polar(torch.ones_like(phase), phase), 0).to(dtype)


def fresnel_matrix(outputs: Tensor, inputs: Tensor, scale: float | Tensor, *, far_field: bool = False) -> Tensor:
    r"""One axis of the Fresnel integral between two sets of positions (Goodman 2005, section 4.2).

    .. math:: K_{jn} = \frac{1}{\sqrt{i s}} \exp\left[ \frac{i \pi}{s} (u_j - x_n)^2 \right]

    The integral is separable: with :math:`s = \lambda d` a matrix for either axis and the area of a sample give the
    field. This is the single-transform method, a Fourier transform between two chirps, with the chirps inside the
    matrix and any pitch, shift and number of samples on either side.

    Args:
        outputs: Positions ``u`` [m], shape ``(j,)``, float64.
        inputs: Positions ``x`` [m], shape ``(n,)``, float64.
        scale: Wavelength in the medium times distance [m^2]; not 0, negative runs the light backwards.
        far_field: Leave out :math:`x_n^2`, which makes it the Fraunhofer integral.

    Returns:
        complex128 [1/m], shape ``(j, n)``.
    """
    scale = torch.as_tensor(scale, dtype=torch.float64, device=inputs.device)
    u, x = outputs.flatten()[:, None], inputs.flatten()[None, :]
    path = u * (u - 2 * x) if far_field else (u - x) ** 2
    return torch.polar(scale.abs() ** -0.5, math.pi / scale * path - math.pi / 4 * torch.sign(scale))
