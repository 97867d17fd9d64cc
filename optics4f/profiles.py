"""Patterns on a plane as pure functions: apertures, test patterns, lenses, gratings, beams."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .grid import Grid
from .units import engineering


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
        height: Opening along y [m]; ``math.inf`` makes a slit.
        width: Opening along x [m]; ``math.inf`` makes a slit.
        device: Where to build it.

    Returns:
        Covered share of each sample's area, in [0, 1], float64, shape ``grid.shape``.

    Raises:
        ValueError: ``height`` or ``width`` is not positive.
    """
    for name, opening in (("height", height), ("width", width)):
        if not opening > 0:
            raise ValueError(f"{name} must be positive, got {opening:g} m.")
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

    Raises:
        ValueError: ``radius`` is not positive.
    """
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius:g} m.")
    return _covered(grid, lambda y, x: y**2 + x**2 <= radius**2, subsamples, device, rims=(radius,))


def annulus(
    grid: Grid, inner_radius: float, outer_radius: float, *, subsamples: int = 16, device: torch.device | None = None
) -> Tensor:
    """Transmission of a centred ring, grey where a rim crosses a sample.

    Args:
        grid: Plane of the ring.
        inner_radius: Radius of the obstruction [m].
        outer_radius: Radius of the opening [m].
        subsamples: Points per sample and axis by which the covered area is counted.
        device: Where to build it.

    Returns:
        Covered share of each sample's area, in [0, 1], float64, shape ``grid.shape``.

    Raises:
        ValueError: ``inner_radius`` is not between 0 and ``outer_radius``.
    """
    if not 0 <= inner_radius < outer_radius:
        raise ValueError(
            f"inner_radius must be from 0 to below outer_radius, got {engineering(inner_radius, 'm')} "
            f"and {engineering(outer_radius, 'm')}."
        )
    inner, outer = inner_radius**2, outer_radius**2

    def inside(y: Tensor, x: Tensor) -> Tensor:
        return (inner < y**2 + x**2) & (y**2 + x**2 <= outer)

    return _covered(grid, inside, subsamples, device, rims=(inner_radius, outer_radius))


def edge(grid: Grid, *, angle: float = 0.0, offset: float = 0.0, device: torch.device | None = None) -> Tensor:
    r"""Transmission of a half-plane, :math:`x \cos\alpha + y \sin\alpha \ge d`, grey where the edge crosses a sample.

    The covered area is exact at any angle: a square seen along a line is the convolution of two boxes, and the
    area beyond the line its integral. Slightly tilted, this is the target of a slanted-edge MTF measurement.

    Args:
        grid: Plane of the edge.
        angle: Direction :math:`\alpha` of the bright side [rad], from +x towards +y.
        offset: Distance :math:`d` of the edge from the axis [m].
        device: Where to build it.

    Returns:
        Covered share of each sample's area, in [0, 1], float64, shape ``grid.shape``.
    """
    y, x = grid.coordinates(device)
    inside = (x * math.cos(angle) + y * math.sin(angle) - offset) / grid.pitch
    narrow, wide = sorted((abs(math.cos(angle)), abs(math.sin(angle))))
    if narrow < 1e-6:  # along an axis; the difference of squares below would leave no digits
        return (inside + 0.5).clamp(0, 1)
    # Beyond its ends the ramp is flat; unclamped, the squares there would grow and their difference lose its digits.
    inside = inside.clamp(-(wide + narrow) / 2, (wide + narrow) / 2)
    ends = ((1, wide + narrow), (-1, wide - narrow), (-1, narrow - wide), (1, -narrow - wide))
    return sum(sign * (inside + end / 2).clamp(min=0) ** 2 for sign, end in ends) / (2 * narrow * wide)


def siemens_star(
    grid: Grid, spokes: int, radius: float, *, subsamples: int = 16, device: torch.device | None = None
) -> Tensor:
    """Transmission of a star of bright spokes, as wide as the gaps between them, grey where an edge crosses a sample.

    At distance ``r`` from its centre it is a grating of period ``2 pi r / spokes``. One spoke lies along +x.

    Args:
        grid: Plane of the star.
        spokes: Number of bright spokes.
        radius: Where they end [m].
        subsamples: Points per sample and axis by which the covered area is counted.
        device: Where to build it.

    Returns:
        Covered share of each sample's area, in [0, 1], float64, shape ``grid.shape``.

    Raises:
        ValueError: Fewer than one spoke, a radius that is not positive.
    """
    if int(spokes) != spokes or spokes < 1:
        raise ValueError(f"spokes must be a whole number of at least 1, got {spokes}.")
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius:g} m.")

    def bright(y: Tensor, x: Tensor) -> Tensor:
        return (torch.cos(spokes * torch.atan2(y, x)) >= 0) & (y**2 + x**2 <= radius**2)

    return _covered(grid, bright, subsamples, device)


def checkerboard(grid: Grid, side: float, *, device: torch.device | None = None) -> Tensor:
    """Transmission of alternating squares, one bright square centred on the axis, grey where an edge crosses a sample.

    With ``side`` equal to the pitch, every other sample is bright.

    Args:
        grid: Plane of the board.
        side: Side of one square [m].
        device: Where to build it.

    Returns:
        Covered share of each sample's area, in [0, 1], float64, shape ``grid.shape``.

    Raises:
        ValueError: ``side`` is not positive.
    """
    if not 0 < side < math.inf:
        raise ValueError(f"side must be positive, got {side:g} m.")

    def integral(position: Tensor) -> Tensor:
        """Integral from the axis of a square wave that is +1 within side / 2 of it and then alternates."""
        turn = torch.remainder(position / side + 0.5, 2)
        return side * ((1 - (turn - 1).abs()) - 0.5)

    # A board is the product of two square waves, so its mean over a sample is the product of theirs.
    y, x = (
        (integral(p + grid.pitch / 2) - integral(p - grid.pitch / 2)) / grid.pitch for p in grid.coordinates(device)
    )
    return (1 + y * x) / 2


def _covered(
    grid: Grid,
    inside: Callable[[Tensor, Tensor], Tensor],
    subsamples: int,
    device: torch.device | None,
    rims: tuple[float, ...] | None = None,
) -> Tensor:
    """Share of each sample's area where ``inside(y, x)`` holds, counted on ``subsamples`` squared points.

    With ``rims``, the radii [m] of the only edges, the samples that none of them crosses are not counted.
    """
    if int(subsamples) != subsamples or subsamples < 1:
        raise ValueError(f"subsamples must be a whole number of at least 1, got {subsamples}.")
    y, x = torch.broadcast_tensors(*grid.coordinates(device))
    covered, crossed = inside(y, x).double(), slice(None)
    if rims is not None:
        distance = torch.hypot(y, x)
        crossed = sum((distance - rim).abs() <= grid.pitch for rim in rims) > 0
    y, x = y[crossed], x[crossed]
    counted = torch.zeros_like(y)
    offsets = ((torch.arange(subsamples, dtype=torch.float64, device=device) + 0.5) / subsamples - 0.5) * grid.pitch
    for dy in offsets:
        for dx in offsets:
            counted += inside(y + dy, x + dx)
    covered[crossed] = counted / subsamples**2
    return covered


def linear_phase(grid: Grid, frequency: tuple[float, float], *, device: torch.device | None = None) -> Tensor:
    r"""Phase of a tilt, or of a blazed grating before it is wrapped: it moves the light and leaves its shape.

    .. math:: \phi = 2 \pi (f_y y + f_x x)

    Period ``p`` along x is the frequency ``(0, 1 / p)``. Where a lens of focal length ``f`` follows, light moves by
    ``(dy, dx)`` in its focal plane for the frequency ``(dy / (wavelength * f), dx / (wavelength * f))``.

    Args:
        grid: Plane of the grating.
        frequency: ``(fy, fx)`` [cycles/m].
        device: Where to build it.

    Returns:
        Phase [rad], 0 on the axis, float64, shape ``grid.shape``.

    Raises:
        ValueError: The phase would turn by more than pi per sample.
    """
    limit = 1 / (2 * grid.pitch)
    if not max(map(abs, frequency)) <= limit * (1 + 1e-12):
        raise ValueError(
            f"frequency must be at most {limit:g} cycles/m, two samples a period, got {tuple(frequency)} cycles/m. "
            "Use a finer pitch or a longer period."
        )
    fy, fx = frequency
    y, x = grid.coordinates(device)
    return 2 * math.pi * (fy * y + fx * x)


def spiral_phase(grid: Grid, charge: int, *, device: torch.device | None = None) -> Tensor:
    r"""Phase of a vortex of topological charge ``charge`` (Allen et al. 1992): :math:`\phi = \ell \theta`.

    Args:
        grid: Plane of the vortex.
        charge: Turns of 2 pi in one round from +x towards +y; negative turns the other way.
        device: Where to build it.

    Returns:
        Phase [rad] in ``charge * [-pi, pi]``, 0 on the axis where it has no value, float64, shape ``grid.shape``.

    Raises:
        ValueError: ``charge`` is not a whole number: the phase would jump.
    """
    if int(charge) != charge:
        raise ValueError(f"charge must be a whole number, got {charge:g}.")
    y, x = grid.coordinates(device)
    return charge * torch.atan2(*torch.broadcast_tensors(y, x))


def gaussian_amplitude(grid: Grid, waist: float, *, order: float = 1.0, device: torch.device | None = None) -> Tensor:
    r"""Amplitude :math:`\exp[-(r / w)^{2 n}]`: a Gaussian, flat-topped (super-Gaussian) for orders above 1.

    Args:
        grid: Plane of the pattern.
        waist: Radius ``w`` at which the amplitude has fallen to 1/e, at any order [m].
        order: ``n``, positive; 1 is the Gaussian.
        device: Where to build it.

    Returns:
        Amplitude, 1 on the axis, float64, shape ``grid.shape``.

    Raises:
        ValueError: ``waist`` or ``order`` is not positive.
    """
    for name, value in (("waist", waist), ("order", order)):
        if not 0 < value < math.inf:
            raise ValueError(f"{name} must be positive, got {value:g}.")
    y, x = grid.coordinates(device)
    return torch.exp(-(((y**2 + x**2) / waist**2) ** order))


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
