r"""Free-space propagation by the angular spectrum method.

Fields follow the :math:`e^{-i \omega t}` convention, so light travelling towards +z gains
phase and a diverging wave has positive curvature. The plane-wave carrier
:math:`e^{2 \pi i d / \lambda}` is left out: no camera sees it, and at 0.2 m it would cost
single precision about a third of a radian.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .field import Field
from .grid import Grid


def angular_spectrum_transfer_function(
    grid: Grid,
    wavelength: float,
    distance: float | Tensor,
    *,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | None = None,
) -> Tensor:
    r"""Angular-spectrum transfer function of free space (Goodman 2005, section 3.10).

    .. math:: H = \exp\left[ 2 \pi i d \left( \sqrt{\lambda^{-2} - f^2} - \lambda^{-1} \right) \right]

    Evanescent frequencies, and those beyond the band limit of Matsushima and Shimobaba
    (2009, eq. 13) where :math:`H` would alias, are set to zero.

    Args:
        grid: Plane to propagate on, already padded if linear convolution is wanted.
        wavelength: Wavelength in the medium [m].
        distance: Distance to travel [m]; negative runs the light backwards. A tensor is
            differentiated through.
        dtype: Complex type of the result; it is built in float64 whatever this is.
        device: Where to build it.

    Returns:
        Complex tensor of shape ``grid.shape``, in FFT order.
    """
    fy, fx = grid.frequencies(device)
    f_squared = fy**2 + fx**2
    propagating = f_squared < wavelength**-2
    fz = torch.sqrt(torch.where(propagating, wavelength**-2 - f_squared, 1.0))  # 1.0 keeps the gradient finite
    # fz - 1/wavelength as a difference of squares over a sum: the two are nearly equal and
    # subtracting them loses the digits that carry the diffraction.
    phase = -2 * math.pi * distance * f_squared / (fz + 1 / wavelength)
    limit_y, limit_x = (band_limit(extent, wavelength, distance) for extent in grid.extent)
    unaliased = (fy.abs() <= limit_y) & (fx.abs() <= limit_x)
    return torch.where(propagating & unaliased, torch.polar(torch.ones_like(phase), phase), 0).to(dtype)


def apply_transfer_function(data: Tensor, transfer_function: Tensor) -> Tensor:
    """Filter ``data (..., height, width)`` by a transfer function at least as large.

    The difference in size is zero padding: a transfer function on ``grid.padded()``
    gives linear convolution, one on ``grid`` itself wraps around.

    Args:
        data: Complex field samples.
        transfer_function: Shape ``(rows, columns)``, FFT order.

    Returns:
        Shape of ``data``.

    Raises:
        ValueError: The transfer function is smaller than the field.
    """
    height, width = data.shape[-2:]
    rows, columns = transfer_function.shape
    if rows < height or columns < width:
        raise ValueError(
            f"transfer_function must cover the field, got {(rows, columns)} for a field of {(height, width)}. "
            "Build it on grid.padded() to leave room for diffraction."
        )
    top, left = rows // 2 - height // 2, columns // 2 - width // 2
    padded = F.pad(data, (left, columns - width - left, top, rows - height - top))
    spread = torch.fft.ifft2(torch.fft.fft2(padded) * transfer_function)
    return spread[..., top : top + height, left : left + width]


def propagate(field: Field, distance: float | Tensor, *, padding: int = 2) -> Field:
    """The field after ``distance`` of free space, on the same grid.

    Args:
        field: Light at the start.
        distance: Distance to travel [m]; negative runs the light backwards.
        padding: Width of the computation window in units of the field's; 1 wraps around.

    Returns:
        Field on ``field.grid``. Light that leaves the window is lost.
    """
    transfer_function = angular_spectrum_transfer_function(
        field.grid.padded(padding), field.wavelength, distance, dtype=field.data.dtype, device=field.data.device
    )
    return replace(field, data=apply_transfer_function(field.data, transfer_function))


def band_limit(extent: float, wavelength: float, distance: float | Tensor) -> float | Tensor:
    """Highest frequency [cycles/m] at which the transfer function has two samples a fringe.

    Matsushima and Shimobaba (2009), eq. 13.

    Args:
        extent: Width of the padded window [m].
        wavelength: Wavelength in the medium [m].
        distance: Distance to travel [m].
    """
    return 1 / (wavelength * (1 + (2 * distance / extent) ** 2) ** 0.5)
