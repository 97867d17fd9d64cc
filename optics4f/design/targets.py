"""What light is wanted, and where: spots, images, point spread functions, sets of kernels, complex fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..field import intensity as squared
from ..fourf import FourF
from ..metrics import rms_error, uniformity
from .planes import Plane, camera_plane, fourier_plane, kernel_plane, lattice_plane


@dataclass(frozen=True, eq=False)
class Target:
    """Light that is wanted at the nodes of a plane.

    Attributes:
        plane: Nodes, and the map to them.
        wanted: Amplitude (real, not negative: its phase is free) or complex field, shape ``(masks, *plane.shape)``, one
            for each mask; ``sum |wanted|**2`` is the share of the light that is wanted there.
        judged: True at the nodes that count, shape ``plane.shape``.
        free: Whether the light beside the judged nodes may be anything; else it should be dark there. Freedom buys
            accuracy with light (Pasienski and DeMarco 2008, mixed-region amplitude freedom).
    """

    plane: Plane
    wanted: Tensor
    judged: Tensor
    free: bool = False

    def __post_init__(self) -> None:
        if self.wanted.dim() != 3 or tuple(self.wanted.shape[1:]) != self.plane.shape:
            raise ValueError(
                f"wanted must have shape (masks, {self.plane.shape[0]}, {self.plane.shape[1]}), got "
                f"{tuple(self.wanted.shape)}."
            )
        if tuple(self.judged.shape) != self.plane.shape or self.judged.dtype != torch.bool:
            raise ValueError(f"judged must be True or False at each of {self.plane.shape} nodes.")
        refuse_unusable(self.wanted, "a target")

    @property
    def power(self) -> Tensor:
        """Wanted share of the light at each node, shape ``(masks, *plane.shape)``; 0 where none is wanted."""
        return self.wanted.abs().square() * self.judged


def make_target(
    plane: Plane,
    wanted: Tensor,
    *,
    judged: Tensor | None = None,
    free: bool = False,
    efficiency: float = 1.0,
) -> Target:
    """A target of any amplitude or complex field, scaled to the share of the light that it should hold.

    Args:
        plane: Where.
        wanted: Relative amplitude (real) or field (complex), shape ``plane.shape`` or ``(masks, *plane.shape)``.
        judged: Nodes that count, bool, shape ``plane.shape``; all by default.
        free: Whether light beside them is free.
        efficiency: Share of the light wanted at the judged nodes, in (0, 1]. It matters where the rest is free, and
            for amplitude-only masks, which cannot send all of the light to it.

    Raises:
        ValueError: NaN, inf, a negative amplitude, nothing but zeros, another shape.
    """
    if not 0 < efficiency <= 1:
        raise ValueError(f"efficiency must be in (0, 1], got {efficiency:g}.")
    wanted = wanted.to(torch.complex128 if wanted.is_complex() else torch.float64)
    refuse_unusable(wanted, "a target")
    wanted = wanted[None] if wanted.dim() == 2 else wanted
    judged = torch.ones(plane.shape, dtype=torch.bool) if judged is None else judged
    if tuple(wanted.shape[-2:]) != plane.shape or tuple(judged.shape) != plane.shape:
        raise ValueError(
            f"wanted and judged must have the {plane.shape} nodes of the plane, got {tuple(wanted.shape[-2:])} and "
            f"{tuple(judged.shape)}."
        )
    wanted = wanted * judged
    total = wanted.abs().square().sum((-2, -1), keepdim=True)
    if (total == 0).any():
        raise ValueError("a target must hold some light, got zeros only at the judged nodes.")
    return Target(plane, wanted * (efficiency / total).sqrt(), judged, free)


def spots(
    shape: tuple[int, int],
    places: Tensor,
    power: Tensor | Sequence[float] | None = None,
    *,
    free: bool = False,
    efficiency: float = 1.0,
) -> Target:
    """Spots at any places.

    Args:
        shape: SLM samples ``(height, width)``.
        places: ``(y, x)`` of each spot, in bins of the SLM's FFT (cycles over its height and width) from the zero
            order, not necessarily whole, shape ``(spots, 2)``.
        power: Relative power of each spot; equal by default.
        free: Whether the light beside the spots is free; else all of it should be in them.
        efficiency: Share of the light wanted in the spots.
    """
    places = torch.as_tensor(places, dtype=torch.float64)
    if places.dim() != 2 or places.shape[1:] != (2,) or len(places) == 0:
        raise ValueError(f"places must have shape (spots, 2), got {tuple(places.shape)}.")
    power = torch.ones(len(places)) if power is None else torch.as_tensor(power)
    if power.shape != (len(places),):
        raise ValueError(f"power must have one value for each of {len(places)} spots, got {tuple(power.shape)}.")
    refuse_unusable(power, "power")
    (y, row), (x, column) = (places[:, axis].unique(return_inverse=True) for axis in (0, 1))
    plane = lattice_plane(shape, y, x)
    amplitude = torch.zeros(plane.shape, dtype=torch.float64)
    judged = torch.zeros(plane.shape, dtype=torch.bool)
    amplitude[row, column], judged[row, column] = power.double().sqrt(), True
    if judged.sum() != len(places):
        raise ValueError(f"places must all be different, got {len(places)} of which {int(judged.sum())} are.")
    return make_target(plane, amplitude, judged=judged, free=free, efficiency=efficiency)


def spot_array(
    shape: tuple[int, int],
    count: tuple[int, int],
    spacing: tuple[float, float],
    *,
    centre: tuple[float, float] = (0.0, 0.0),
    free: bool = False,
    efficiency: float = 1.0,
) -> Target:
    """A rectangular array of equal spots.

    Args:
        shape: SLM samples ``(height, width)``.
        count: Spots ``(rows, columns)``.
        spacing: Of rows and of columns [bins of the SLM's FFT].
        centre: Of the array, ``(y, x)`` from the zero order [bins]; half a spacing keeps the spots off that order.
        free: Whether the light beside the spots is free; else all of it should be in them.
        efficiency: Share of the light wanted in the spots.
    """
    y, x = (
        (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * step + middle
        for n, step, middle in zip(count, spacing, centre, strict=True)
    )
    return spots(shape, torch.cartesian_prod(y, x).reshape(-1, 2), free=free, efficiency=efficiency)


def image(
    shape: tuple[int, int],
    intensity: Tensor,
    *,
    centre: tuple[int, int] = (0, 0),
    free: bool = False,
    efficiency: float | None = None,
) -> Target:
    """An image, one pixel for each bin of the SLM's FFT.

    Args:
        shape: SLM samples ``(height, width)``.
        intensity: Relative intensity, not negative, shape ``(height, width)`` or ``(masks, height, width)``, at most
            the SLM's samples.
        centre: Bin ``(y, x)`` at the middle of the image, from the zero order.
        free: Whether the light beside the image is free; else all of it should be in the image.
        efficiency: Share of the light wanted in the image; 1, or 0.8 where the rest is free.
    """
    refuse_unusable(intensity, "an image")
    plane = fourier_plane(shape, window=tuple(intensity.shape[-2:]), centre=centre)
    share = (0.8 if free else 1.0) if efficiency is None else efficiency
    return make_target(plane, intensity.double().sqrt(), free=free, efficiency=share)


def point_spread_function(
    bench: FourF, intensity: Tensor, pitch: float, *, efficiency: float = 0.8, wavelength: float | None = None
) -> Target:
    """A point spread function at the camera of a bench; light beside the window is free.

    Args:
        bench: The 4f system; its illumination fills the SLM evenly, as that of a small object does.
        intensity: Relative intensity, shape ``(height, width)`` or ``(masks, height, width)``; index ``n // 2`` is the
            axis.
        pitch: Its samples' spacing at the camera [m].
        efficiency: Share of the light wanted in the window.
        wavelength: Of the light [m]; that of the bench by default.
    """
    refuse_unusable(intensity, "a point spread function")
    plane = camera_plane(bench, tuple(intensity.shape[-2:]), pitch, wavelength=wavelength)
    return make_target(plane, intensity.double().sqrt(), free=True, efficiency=efficiency)


def kernels(bench: FourF, weights: Tensor, *, efficiency: float = 0.5) -> Target:
    """Convolution kernels, signed or complex, one for each mask; taps as in :func:`optics4f.design.kinoform`.

    A logical pixel lights the SLM unevenly, by its own diffraction pattern: tell the retrieval the ``illumination``.

    Args:
        bench: The 4f system.
        weights: Shape ``(masks, height, width)``, real or complex; only the ratio of the taps of a kernel matters.
        efficiency: Share of the light wanted in the diffraction-limited spots of the taps.
    """
    plane = kernel_plane(bench, tuple(weights.shape[-2:]))
    return make_target(plane, weights.to(torch.complex128), free=True, efficiency=efficiency)


def figures_of_merit(field: Tensor, target: Target) -> dict[str, Tensor]:
    """Share of the light at the nodes where some is wanted, uniformity there, relative RMS error at the judged nodes.

    Where spots stand closer than the diffraction limit they share light, which must not be counted twice: the share is
    then a lower bound, divided by the plane's ``overlap``.

    Args:
        field: At the nodes, in shares of the light, shape ``(..., masks, *target.plane.shape)``.
        target: What was wanted; the error is that of the field if it is complex, else of the amplitude.
    """
    judged, power = target.judged.to(field.device), target.power.to(field.device, field.real.dtype)
    shares = squared(field) * judged
    actual = field * judged if target.wanted.is_complex() else shares.sqrt()
    return {
        "efficiency": (shares * (power > 0)).sum((-2, -1)) / target.plane.overlap,
        "uniformity": uniformity(shares, power),
        "rms_error": rms_error(actual, target.wanted.to(actual.device, actual.dtype)),
    }


def normalised_illumination(shape: tuple[int, int], amplitude: Tensor | None) -> Tensor:
    """Real amplitude on the SLM's samples, of total power 1, float64; even where none is given.

    Raises:
        ValueError: An amplitude that is not positive, or of another shape.
    """
    light = torch.ones(shape, dtype=torch.float64) if amplitude is None else amplitude.double()
    if tuple(light.shape) != tuple(shape) or not torch.isfinite(light).all() or (light <= 0).any():
        raise ValueError(f"illumination must be positive and finite and have shape {tuple(shape)}.")
    return light / light.square().sum().sqrt()


def refuse_unusable(values: Tensor, name: str) -> None:
    """Refuse NaN, inf and, of real values, negative ones, whatever the shape."""
    if not torch.isfinite(values if not values.is_complex() else torch.view_as_real(values)).all():
        raise ValueError(f"{name} must be finite, got NaN or inf in it.")
    if not values.is_complex() and (values < 0).any():
        raise ValueError(
            f"{name} must not be negative, got {values.min().item():g}. Give a complex field, or kernels, for signs."
        )
