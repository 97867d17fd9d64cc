r"""Zernike polynomials: the aberrations of a circular pupil.

.. math:: Z_n^m(\rho, \theta) = N_n^m \, R_n^{|m|}(\rho) \, \begin{cases} \cos m \theta & m \ge 0 \\
          \sin |m| \theta & m < 0 \end{cases}, \qquad N_n^m = \sqrt{(2 - \delta_{m0}) (n + 1)}

in the orthonormal form of Noll (1976): over the unit circle the mean of :math:`Z^2` is 1 and of a product of
two different ones 0, so a coefficient in radians *is* the rms phase in radians that its term adds. The angle
counts from +x towards +y, which on a picture with row 0 at the top is clockwise.

They are evaluated as polynomials in (y, x), never through an angle, so that every derivative is finite, at the
centre too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor

from .grid import Grid

Index = Literal["noll", "osa"]


def noll_to_nm(j: int) -> tuple[int, int]:
    """Degree and azimuthal order ``(n, m)`` of Noll's index (1976), which starts at 1; even ``j`` is a cosine."""
    if int(j) != j or j < 1:
        raise ValueError(f"j must be a whole number of at least 1 (Noll), got {j}.")
    n = (math.isqrt(8 * int(j) - 7) - 1) // 2
    place = int(j) - n * (n + 1) // 2 - 1  # 0 ... n within the degree
    m = 2 * (place // 2) + 1 if n % 2 else 2 * ((place + 1) // 2)
    return n, m if j % 2 == 0 else -m


def nm_to_noll(n: int, m: int) -> int:
    """Noll's index of degree ``n`` and azimuthal order ``m``, from 1."""
    _refuse_no_polynomial(n, m)
    cosine_first = n % 4 < 2
    second = m == 0 or (m < 0) == cosine_first
    return n * (n + 1) // 2 + abs(m) + second


def osa_to_nm(j: int) -> tuple[int, int]:
    """Degree and azimuthal order ``(n, m)`` of the OSA/ANSI index (Thibos et al. 2002), which starts at 0."""
    if int(j) != j or j < 0:
        raise ValueError(f"j must be a whole number of at least 0 (OSA), got {j}.")
    n = (math.isqrt(8 * int(j) + 1) - 1) // 2
    return n, 2 * int(j) - n * (n + 2)


def nm_to_osa(n: int, m: int) -> int:
    """OSA/ANSI index of degree ``n`` and azimuthal order ``m``, from 0."""
    _refuse_no_polynomial(n, m)
    return (n * (n + 2) + m) // 2


# First index of each convention, and its reading.
_CONVENTIONS = {"noll": (1, noll_to_nm), "osa": (0, osa_to_nm)}


def zernike(n: int, m: int, y: Tensor, x: Tensor) -> Tensor:
    r"""Orthonormal Zernike polynomial at positions in units of the pupil's radius.

    The radial part is a Jacobi polynomial, :math:`R_n^{|m|}(\rho) = \rho^{|m|} P_k^{(0, |m|)}(2 \rho^2 - 1)` with
    :math:`k = (n - |m|)/2`, by its three-term recurrence (DLMF 18.9), which keeps its digits at any degree where the
    sum over factorials has two of them left at n = 40. Outside the unit circle the polynomial continues, and grows like
    :math:`\rho^n`.

    Args:
        n: Degree, 0 or more.
        m: Azimuthal order, ``-n, -n + 2, ... n``; negative is the sine.
        y: Positions along y.
        x: Positions along x, broadcast against ``y``.

    Returns:
        Broadcast shape of ``y`` and ``x``, and their precision.
    """
    _refuse_no_polynomial(n, m)
    order = abs(m)
    cosine, sine = torch.ones_like(x + y), torch.zeros_like(x + y)
    for _ in range(order):  # (x + iy)^order = rho^order (cos + i sin)(order theta)
        cosine, sine = cosine * x - sine * y, sine * x + cosine * y
    norm = math.sqrt((1 if m == 0 else 2) * (n + 1))
    return norm * _jacobi((n - order) // 2, order, 2 * (x**2 + y**2) - 1) * (sine if m < 0 else cosine)


def _jacobi(degree: int, beta: int, t: Tensor) -> Tensor:
    r"""Jacobi polynomial :math:`P_k^{(0, \beta)}(t)` by its recurrence in k."""
    previous, current = torch.zeros_like(t), torch.ones_like(t)
    for k in range(degree):
        s = 2 * k + beta
        if k == 0:
            # The general coefficients are 0 / 0 here for beta = 0.
            previous, current = current, 1 + (beta + 2) * (t - 1) / 2
            continue
        a = (s + 1) * (s + 2) / (2 * (k + 1) * (k + beta + 1))
        b = -(beta**2) * (s + 1) / (2 * (k + 1) * (k + beta + 1) * s)
        c = k * (k + beta) * (s + 2) / ((k + 1) * (k + beta + 1) * s)
        previous, current = current, (a * t + b) * current - c * previous
    return current


def zernike_modes(
    grid: Grid, radius: float, indices: Iterable[int], *, index: Index = "noll", device: torch.device | None = None
) -> Tensor:
    """Several orthonormal Zernike polynomials on a plane: what a layer with trainable coefficients keeps.

    Args:
        grid: Plane of the pupil, centred on the axis.
        radius: Radius of the circle on which they are orthonormal [m].
        indices: Which, in the numbering of ``index``.
        index: Numbering: ``"noll"`` starts at 1, ``"osa"`` at 0.
        device: Where to build them.

    Returns:
        float64, shape ``(indices, height, width)``; outside the circle the polynomials continue.

    Raises:
        ValueError: A radius that is not positive, an index below the first, an unknown numbering.
    """
    if not 0 < radius < math.inf:
        raise ValueError(f"radius must be positive, got {radius:g} m.")
    _, to_nm = _convention(index)
    y, x = (position / radius for position in grid.coordinates(device))
    modes = [zernike(*to_nm(j), y, x) for j in indices]
    return torch.stack(modes) if modes else torch.zeros(0, *grid.shape, dtype=torch.float64, device=device)


def zernike_phase(
    grid: Grid,
    radius: float,
    coefficients: Mapping[int, float | Tensor] | Tensor,
    *,
    index: Index = "noll",
    device: torch.device | None = None,
) -> Tensor:
    r"""Phase of an aberrated pupil, :math:`\phi = \sum_j c_j Z_j` (Noll 1976).

    Nothing is cut: outside ``radius`` the polynomials continue and grow; the pupil is a transmission of its own,
    see :func:`optics4f.profiles.circle`. Differentiable in the coefficients.

    Args:
        grid: Plane of the pupil, centred on the axis.
        radius: Radius of the pupil [m], where :math:`\rho = 1`.
        coefficients: ``c_j`` [rad rms over the pupil] by index, ``{4: 0.5, 11: -0.1}``, or a tensor
            ``(..., terms)`` whose first term is the first index of the numbering (piston: Noll 1, OSA 0).
        index: Numbering: ``"noll"`` starts at 1, ``"osa"`` at 0.
        device: Where to build it; coefficients that are tensors say so themselves.

    Returns:
        Phase [rad], float64, shape ``(..., height, width)`` after the coefficients' ``(...)``.

    Raises:
        ValueError: A radius that is not positive, an index below the first, an unknown numbering.
    """
    if isinstance(coefficients, Tensor):
        first, _ = _convention(index)
        indices, terms = range(first, first + coefficients.shape[-1]), coefficients.double()
    else:
        device = next((c.device for c in coefficients.values() if isinstance(c, Tensor)), device)
        indices = coefficients.keys()
        each = [torch.as_tensor(c, dtype=torch.float64, device=device) for c in coefficients.values()]
        terms = torch.stack(each) if each else torch.zeros(0, dtype=torch.float64, device=device)
    return torch.tensordot(terms, zernike_modes(grid, radius, indices, index=index, device=terms.device), dims=1)


def _convention(index: str) -> tuple:
    if index not in _CONVENTIONS:
        raise ValueError(f"index must be one of {', '.join(_CONVENTIONS)}, got {index!r}.")
    return _CONVENTIONS[index]


def _refuse_no_polynomial(n: int, m: int) -> None:
    if n < 0 or abs(m) > n or (n - m) % 2:
        raise ValueError(f"n must be at least |m|, and n - m even, got n = {n}, m = {m}.")
