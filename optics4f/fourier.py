"""Fourier transforms between planes: unitary FFTs, and zoomed transforms between arbitrary sample positions."""

from __future__ import annotations

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from .grid import Grid

LONGEST_TRANSFORM = 4  # times the wider plane; beyond, two thin matrices are cheaper


def unitary_fft2(data: Tensor) -> Tensor:
    """Unitary 2-D DFT of ``data (..., height, width)``, FFT order: keeps ``sum |data|**2``."""
    return torch.fft.fft2(data, norm="ortho")


def unitary_ifft2(data: Tensor) -> Tensor:
    """Inverse and adjoint of :func:`unitary_fft2`, of the same shape."""
    return torch.fft.ifft2(data, norm="ortho")


def matched_length(before: Grid, behind: Grid, area: float) -> int | None:
    r"""Length N of the FFT that takes one focal plane of a lens to the other: :math:`p \, p' N = \lambda f`.

    Args:
        before: Samples of the front focal plane.
        behind: Samples of the back focal plane.
        area: Wavelength times focal length [m^2].

    Returns:
        The length; ``None`` where the pitches give no whole number, or none that an FFT does well.
    """
    exact = area / (before.pitch * behind.pitch)
    n, most = round(exact), max(*before.shape, *behind.shape)
    # A mismatch e turns the phase at the corner by pi n e / 2; and beyond some length two thin matrices are cheaper.
    if not most <= n <= LONGEST_TRANSFORM * most or abs(exact - n) > 1e-9 * n or next_fast_len(n) != n:
        return None
    return n


def fourier_matrix(outputs: Tensor, inputs: Tensor, scale: float) -> Tensor:
    r"""Kernel of a one-dimensional Fourier integral between two sets of positions.

    .. math:: K_{jn} = \exp(-2 \pi i \, u_j x_n / s)

    Any pitch, any offset and any number of samples on either side: with :math:`s = \lambda f` the positions
    are those of the two focal planes of a lens, so the field is computed *on the SLM's own pixels* and never
    resampled (matrix Fourier transform; Soummer et al. 2007, Opt. Express 15, 15935).

    Args:
        outputs: Positions ``u`` [m] (or frequencies, if ``scale`` is 1), shape ``(j,)``, float64.
        inputs: Positions ``x`` [m], shape ``(n,)``, float64.
        scale: Length product ``s`` that makes the exponent dimensionless [m^2].

    Returns:
        complex128, shape ``(j, n)``; cast it once, after building.
    """
    return torch.polar(
        torch.ones(1, dtype=torch.float64, device=inputs.device),
        -2 * math.pi / scale * outputs.flatten()[:, None] * inputs.flatten()[None, :],
    )


def zoomed_fourier(data: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Separable transform ``rows @ data @ columns.T`` of ``data (..., height, width)``.

    Args:
        data: Complex field samples.
        rows: Matrix of the y axis, shape ``(output height, height)``, from :func:`fourier_matrix`.
        columns: Matrix of the x axis, shape ``(output width, width)``.

    Returns:
        Shape ``(..., output height, output width)``.
    """
    # The cheaper order first: the intermediate result should be the smaller of the two.
    if rows.shape[0] * data.shape[-1] <= data.shape[-2] * columns.shape[0]:
        return (rows @ data) @ columns.mT
    return rows @ (data @ columns.mT)


def interpolation_matrix(outputs: Tensor, count: int, pitch: float) -> Tensor:
    r"""Band-limited (periodic sinc) interpolation from a regular axis to arbitrary positions.

    Exact for any function that the samples describe without aliasing; the sample of index ``count // 2`` lies at 0.

    Args:
        outputs: Positions [m], shape ``(j,)``, float64.
        count: Number of samples of the regular axis.
        pitch: Their spacing [m].

    Returns:
        Real float64 matrix, shape ``(j, count)``.
    """
    inputs = (torch.arange(count, dtype=torch.float64, device=outputs.device) - count // 2) * pitch
    turns = (outputs.flatten()[:, None] - inputs[None, :]) / (count * pitch)
    phase = 2 * math.pi * (turns - turns.detach().round())
    # 1 + 2 sum of cos(k phase), k = 1 ... m, as Dirichlet's kernel; where that is 0/0, its parabola.
    m = (count - 1) // 2
    near = (2 * m + 1) * phase.abs() < 1e-4
    half = torch.where(near, 1.0, phase / 2)
    parabola = (2 * m + 1) * (1 - m * (m + 1) / 6 * phase**2)
    kernel = torch.where(near, parabola, torch.sin((2 * m + 1) * half) / torch.sin(half))
    if count % 2 == 0:
        kernel = kernel + torch.cos(phase * (count // 2))  # the Nyquist term, shared by both signs
    return kernel / count


def rotated(data: Tensor, angle: Tensor) -> Tensor:
    r"""A field read on axes that are turned by ``angle``: :math:`V(x') = U(R x')`.

    :math:`R` takes +x towards +y (down the rows) for a positive angle. Three Fourier shears (Unser, Thevenaz and
    Yaroslavsky 1995, IEEE Trans. Image Process. 4, 1371): exact for a band-limited field that vanishes at the borders,
    unitary, differentiable in the angle.

    Args:
        data: Complex field samples ``(..., height, width)`` with room around the light; index ``n // 2`` is the axis.
        angle: 0-d float64 tensor [rad], between -pi/2 and pi/2.
    """
    height, width = data.shape[-2:]
    y, x = (torch.arange(n, dtype=torch.float64, device=data.device) - n // 2 for n in (height, width))
    fy, fx = (torch.fft.fftfreq(n, dtype=torch.float64, device=data.device) for n in (height, width))
    along_x = _phasor(-torch.tan(angle / 2) * y[:, None] * fx[None, :]).to(data.dtype)
    along_y = _phasor(torch.sin(angle) * x[None, :] * fy[:, None]).to(data.dtype)
    for factor, dim in ((along_x, -1), (along_y, -2), (along_x, -1)):
        data = torch.fft.ifft(torch.fft.fft(data, dim=dim) * factor, dim=dim)
    return data


def _phasor(turns: Tensor) -> Tensor:
    angle = 2 * math.pi * turns
    return torch.complex(torch.cos(angle), torch.sin(angle))
