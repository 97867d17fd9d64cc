"""Patterns on a plane as pure functions: apertures, lenses, beams."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .grid import Grid


def lens_phase(grid: Grid, wavelength: float, focal_length: float, device: torch.device | None = None) -> Tensor:
    r"""Phase of a thin lens, paraxial (Goodman 2005, section 5.1).

    .. math:: \phi(x, y) = -\frac{\pi}{\lambda f} (x^2 + y^2)

    Aliased where the phase turns by more than pi per sample: see ``sampling.lens_check``.

    Args:
        grid: Plane of the lens.
        wavelength: Wavelength [m].
        focal_length: Focal length [m]; negative diverges.
        device: Where to build it.

    Returns:
        Phase [rad], float64, shape ``grid.shape``.
    """
    y, x = grid.coordinates(device)
    return -math.pi / (wavelength * focal_length) * (x**2 + y**2)


def rectangle(grid: Grid, height: float, width: float, device: torch.device | None = None) -> Tensor:
    """Transmission of a centred rectangular opening, grey where an edge crosses a sample.

    Args:
        grid: Plane of the opening.
        height: Opening along y [m].
        width: Opening along x [m].
        device: Where to build it.

    Returns:
        Covered share of each sample's area, in [0, 1], float64, shape ``grid.shape``.
    """
    y, x = grid.coordinates(device)
    covered_y, covered_x = (
        ((opening / 2 - position.abs()) / grid.pitch + 0.5).clamp(0, min(1.0, opening / grid.pitch))
        for opening, position in ((height, y), (width, x))
    )
    return covered_y * covered_x


def circle(grid: Grid, radius: float, *, subsamples: int = 16, device: torch.device | None = None) -> Tensor:
    """Transmission of a centred circular opening, grey where the rim crosses a sample.

    Args:
        grid: Plane of the opening.
        radius: Radius [m].
        subsamples: Points per sample and axis by which the covered area is counted.
        device: Where to build it.

    Returns:
        Covered share of each sample's area, in [0, 1], float64, shape ``grid.shape``.
    """
    y, x = grid.coordinates(device)
    offsets = ((torch.arange(subsamples, dtype=torch.float64, device=device) + 0.5) / subsamples - 0.5) * grid.pitch
    covered = torch.zeros(grid.shape, dtype=torch.float64, device=device)
    for dy in offsets:
        for dx in offsets:
            covered += ((y + dy) ** 2 + (x + dx) ** 2 <= radius**2).double()
    return covered / subsamples**2


def gaussian_beam(
    grid: Grid, wavelength: float, waist: float, distance: float = 0.0, device: torch.device | None = None
) -> Tensor:
    r"""Paraxial Gaussian beam, ``distance`` past its waist, carrier removed (Saleh and Teich 2019, section 3.1).

    .. math:: U = \frac{1}{q} \exp\left( -\frac{x^2 + y^2}{w_0^2 q} \right), \quad q = 1 + i z / z_R,
              \quad z_R = \pi w_0^2 / \lambda

    Args:
        grid: Plane of observation.
        wavelength: Wavelength [m].
        waist: Radius ``w_0`` at which the amplitude has fallen to 1/e [m].
        distance: Distance ``z`` from the waist [m].
        device: Where to build it.

    Returns:
        Amplitude, 1 at the centre of the waist, complex128, shape ``grid.shape``.
    """
    y, x = grid.coordinates(device)
    q = 1 + 1j * distance * wavelength / (math.pi * waist**2)
    return torch.exp(-(x**2 + y**2) / (waist**2 * q)) / q
