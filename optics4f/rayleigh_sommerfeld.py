r"""The Rayleigh-Sommerfeld diffraction integral, summed in space: exact for scalar light, and without a spectrum.

Shares nothing with the angular spectrum but the physics, so that each is a test of the other. The sum needs an
impulse response with two samples a fringe, which is so at long distances: where the angular spectrum is strained.
"""

from __future__ import annotations

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .grid import Grid

CHUNK = 2**21  # kernel elements held at a time: 32 MiB in complex128, and a few times that while they are made


def impulse_response(
    y: Tensor, x: Tensor, wavelength: float | Tensor, distance: float | Tensor, *, dtype: torch.dtype = torch.complex128
) -> Tensor:
    r"""Rayleigh-Sommerfeld impulse response of the first kind (Goodman 2005, section 3.5), carrier removed.

    .. math:: h = \frac{d}{2 \pi R^2} \left( \frac{1}{R} - \frac{2 \pi i}{\lambda} \right)
              \exp\left[ \frac{2 \pi i}{\lambda} (R - d) \right], \quad R = \sqrt{x^2 + y^2 + d^2}

    Backwards, :math:`d < 0`, it is the complex conjugate: propagating waves are undone, evanescent ones decay again.

    Args:
        y: Offsets along y [m], float64, broadcast with ``x``.
        x: Offsets along x [m], float64.
        wavelength: Wavelength in the medium [m].
        distance: Distance to travel [m]; not 0.
        dtype: Complex type of the result; it is built in float64 whatever this is.

    Returns:
        Complex [1/m^2], broadcast shape of ``y`` and ``x``.
    """
    distance = torch.as_tensor(distance, dtype=torch.float64, device=x.device)
    sign, length = torch.sign(distance), distance.abs()
    rho_squared = x**2 + y**2
    r = torch.sqrt(rho_squared + length**2)
    wavenumber = 2 * math.pi / wavelength
    # R - d as rho^2 / (R + d): the difference of two nearly equal numbers would lose the digits that diffract.
    wave = torch.polar(length / (2 * math.pi * r**2), sign * wavenumber * rho_squared / (r + length))
    return (torch.complex(1 / r, (-sign * wavenumber).expand_as(r)) * wave).to(dtype)


def rayleigh_sommerfeld_sum(
    data: Tensor,
    grid: Grid,
    output: Grid,
    wavelength: float | Tensor,
    distance: float | Tensor,
    *,
    shift: tuple[float | Tensor, float | Tensor] = (0.0, 0.0),
) -> Tensor:
    """Field on ``output``, every sample of ``data`` summed for every sample of the output: the slow, plain reference.

    Any pitch on either side. The kernel is made in chunks of output samples and made again for the gradient, so
    memory stays bounded; time grows as the product of both sample counts.

    Args:
        data: Complex field samples on ``grid``, shape ``(..., height, width)``.
        grid: Plane of ``data``.
        output: Samples at the end, centred on ``shift``.
        wavelength: Wavelength in the medium [m].
        distance: Distance to travel [m]; not 0.
        shift: Centre ``(y, x)`` of the output [m].

    Returns:
        Shape ``(..., *output.shape)``.
    """
    (y, x), (v, u) = grid.coordinates(data.device), output.coordinates(data.device)
    y, x = (a.expand(grid.shape).flatten() for a in (y, x))
    v, u = (a.expand(output.shape).flatten() for a in (v + shift[0], u + shift[1]))
    distance, wavelength = (torch.as_tensor(a, dtype=torch.float64, device=data.device) for a in (distance, wavelength))
    samples = data.flatten(-2)

    def part(samples: Tensor, v: Tensor, u: Tensor, wavelength: Tensor, distance: Tensor) -> Tensor:
        kernel = impulse_response(v[:, None] - y, u[:, None] - x, wavelength, distance, dtype=samples.dtype)
        return samples @ kernel.mT

    size = max(1, CHUNK // y.numel())
    parts = [
        checkpoint(part, samples, v_part, u_part, wavelength, distance, use_reentrant=False)
        for v_part, u_part in zip(v.split(size), u.split(size), strict=True)
    ]
    return torch.cat(parts, dim=-1).unflatten(-1, output.shape) * grid.pitch**2


def rayleigh_sommerfeld_convolution(
    data: Tensor,
    grid: Grid,
    shape: tuple[int, int],
    wavelength: float | Tensor,
    distance: float | Tensor,
    *,
    shift: tuple[float | Tensor, float | Tensor] = (0.0, 0.0),
) -> Tensor:
    """The same numbers as :func:`rayleigh_sommerfeld_sum` for an output of the same pitch, by FFT.

    Args:
        data: Complex field samples on ``grid``, shape ``(..., height, width)``.
        grid: Plane of ``data``.
        shape: Samples ``(height, width)`` at the end.
        wavelength: Wavelength in the medium [m].
        distance: Distance to travel [m]; not 0.
        shift: Centre ``(y, x)`` of the output [m].

    Returns:
        Shape ``(..., *shape)``.
    """
    offsets, lengths = [], []
    for n, m, centre in zip(grid.shape, shape, shift, strict=True):
        length = next_fast_len(n + m - 1)  # long enough that nothing wraps around
        lag = torch.arange(length, dtype=torch.float64, device=data.device)
        lag = torch.where(lag < m, lag, lag - length)  # output index minus input index
        offsets.append((lag + n // 2 - m // 2) * grid.pitch + centre)
        lengths.append(length)
    y, x = offsets
    kernel = torch.fft.fft2(impulse_response(y[:, None], x[None, :], wavelength, distance)) * grid.pitch**2
    spectrum = torch.fft.fft2(data, s=lengths) * kernel.to(data.dtype)
    return torch.fft.ifft2(spectrum)[..., : shape[0], : shape[1]]
