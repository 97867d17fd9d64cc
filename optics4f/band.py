r"""Which spatial frequencies a computation window can carry: frequencies around a tilt, and the band limit.

A plane wave of frequency :math:`f` crosses the distance :math:`d` with the lateral walk-off
:math:`d f / \sqrt{\lambda^{-2} - f^2}`. A transfer function is sampled finely enough exactly where that walk-off
ends inside the window, so the band limit is geometry: keep what lands in the window, drop what would wrap around.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .grid import Grid


def band_limit(extent: float, wavelength: float, distance: float | Tensor) -> float | Tensor:
    """Highest frequency [cycles/m] at which the transfer function has two samples a fringe.

    Matsushima and Shimobaba (2009), eq. 13.

    Args:
        extent: Width of the padded window [m].
        wavelength: Wavelength in the medium [m].
        distance: Distance to travel [m], a number or a 0-d tensor, as is what comes back.
    """
    return 1 / (wavelength * (1 + (2 * distance / extent) ** 2) ** 0.5)


def walk_off(
    tilt: tuple[float, float], wavelength: float | Tensor, distance: float | Tensor
) -> tuple[float | Tensor, float | Tensor]:
    r"""Lateral displacement ``(y, x)`` [m] of light of mean frequency ``tilt``: the shift at which a window follows it.

    .. math:: \Delta = \frac{d f}{\sqrt{\lambda^{-2} - f_x^2 - f_y^2}}

    Args:
        tilt: Mean spatial frequency ``(fy, fx)`` of the light [cycles/m].
        wavelength: Wavelength in the medium [m].
        distance: Distance to travel [m].

    Raises:
        ValueError: The tilt is evanescent.
    """
    fz_squared = wavelength**-2 - tilt[0] ** 2 - tilt[1] ** 2
    if fz_squared <= 0:
        raise ValueError(
            f"tilt must be below 1/wavelength = {float(1 / wavelength):g} cycles/m, got {tuple(tilt)}. "
            "A steeper frequency is evanescent."
        )
    return tuple(distance * f / fz_squared**0.5 for f in tilt)


def tilted_frequencies(
    grid: Grid, tilt: tuple[float, float] = (0.0, 0.0), device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Frequencies ``fy (height, 1)`` and ``fx (1, width)`` [cycles/m] in FFT order, within half a period of ``tilt``.

    Samples tell a frequency only up to multiples of ``1/pitch``; the tilt says which of them the light has. So a
    pitch that samples the envelope of an off-axis beam is enough, however steep the beam.

    Args:
        grid: Sampled plane.
        tilt: Mean spatial frequency ``(fy, fx)`` of the light [cycles/m].
        device: Where to build them.
    """
    return tuple(
        f + torch.round((centre - f) * grid.pitch) / grid.pitch if centre else f
        for f, centre in zip(grid.frequencies(device), tilt, strict=True)
    )


@torch.no_grad()
def in_band(
    frequency: Tensor, fz: Tensor | float, extent: float, distance: float | Tensor, shift: float | Tensor = 0.0
) -> Tensor:
    r"""Whether a frequency lands in the window along one axis, as a mask.

    .. math:: \left| x_0 - d \frac{f}{f_z} \right| \le \frac{W}{2}

    The condition of Matsushima (2010) for a window shifted by :math:`x_0`, before the rectangle of his table 1
    replaces its curved edge: for windows shifted along both axes the rectangle misses the light. Without a shift it
    is the band limit of Matsushima and Shimobaba (2009).

    Args:
        frequency: Frequencies along the axis [cycles/m], of a shape that broadcasts with ``fz``, as the mask does.
        fz: Axial frequency [cycles/m], not negative; ``1/wavelength`` everywhere is the paraxial case.
        extent: Width ``W`` of the window [m].
        distance: Distance to travel [m].
        shift: Centre ``x_0`` of the window [m].
    """
    landing = distance * frequency  # times fz on both sides, so that fz = 0 and distance = 0 need no care
    return (landing >= fz * (shift - extent / 2)) & (landing <= fz * (shift + extent / 2))
