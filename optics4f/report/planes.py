"""What a page shows of a bench: the field on every plane, and what becomes of a point. No pictures here."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..field import Field, intensity
from ..fourf import FourF
from ..grid import Grid
from ..light import Mode
from ..routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from ..routes.route import Route
from ..sampling import SamplingError, SamplingWarning

LARGEST_WINDOW = 2**22
"""Samples of all shown masks in one plane; beyond, the planes between the focal planes are left out."""


@dataclass(frozen=True)
class Walk:
    """The light of one image from plane to plane.

    Attributes:
        planes: Fields by name, in the order of the light; ``data`` of shape ``(1, masks, height, width)``, with 1 in
            place of ``masks`` where all masks share the light. Empty where no route can say.
        method: How they were computed, in words.
        left_out: Why planes are missing; empty where none is.
    """

    planes: dict[str, Field]
    method: str
    left_out: str = ""


@dataclass(frozen=True)
class Spread:
    """What the camera sees of one white object pixel.

    Attributes:
        intensity: Shape ``(masks, height, width)``.
        grid: Its samples, of the pitch of the image samples.
        method: How it was computed, in words.
        inside: Share of the light behind each mask that lands on these samples; ``None`` where it is not known.
    """

    intensity: Tensor
    grid: Grid
    method: str
    inside: list[float] | None = None


@torch.no_grad()
def walk(
    bench: FourF, image: Tensor, wavelength: float, *, masks: int | None = None, override: tuple[str, ...] = ()
) -> Walk:
    """One image through a bench, by the angular spectrum over every gap where that can be sampled.

    Light of several modes is followed in one: the plane wave along the axis, at this wavelength.

    Args:
        bench: Masks on it.
        image: Object in [0, 1], shape ``(height, width)``.
        wavelength: Of the light [m].
        masks: How many of the masks, from the first; all by default.
        override: Conditions of the sampling to ignore, as the bench's configuration has them.
    """
    light = bench.illumination(image[None, None], Mode(wavelength))
    count = bench.slm.masks if masks is None else min(masks, bench.slm.masks)
    reasons = []
    try:
        with _route(AngularSpectrumRoute, bench, override) as route:
            size = math.prod(route.window.shape) * count
            if size > LARGEST_WINDOW:
                raise SamplingError(f"{size} samples a plane are more than a page is worth ({LARGEST_WINDOW})")
            factors = route.mask_factors(wavelength)[:count]
            return Walk(route.planes(light, factors), "band-limited angular spectrum over every gap")
    except SamplingError as error:
        reasons.append(f"the angular spectrum over every gap: {error}")
    try:
        with _route(FourierLensRoute, bench, override) as route:
            factors = route.mask_factors(wavelength)[:count]
            before = route.fourier_field(light)
            planes = {
                "object": light,
                "before SLM": before,
                "behind SLM": Field(before.data * factors, before.grid, wavelength),
                "image": route.image_field(light, factors),
            }
            return Walk(planes, "a Fourier transform by each lens", "; ".join(reasons))
    except SamplingError as error:
        reasons.append(f"a Fourier transform by each lens: {error}")
    return Walk({}, "", "; ".join(reasons))


@torch.no_grad()
def spread(bench: FourF, wavelength: float, *, override: tuple[str, ...] = ()) -> Spread:
    """Point spread functions of the masks, in intensity; of a self-luminous object those of its light.

    Args:
        bench: Masks on it.
        wavelength: Of the light [m].
        override: As for :func:`walk`.

    Raises:
        SamplingError: Neither the PSF route nor the Fourier-lens route can say.
    """
    mode = Mode(wavelength)
    try:
        with _route(PSFRoute, bench, override) as route:
            method = "a logical pixel over all differences of positions, a corner of it on the axis"
            if bench.illumination.self_luminous:
                psfs = route.intensity_point_spread_functions(mode)
            else:
                psfs = intensity(route.point_spread_functions(mode))
            inside = route.window_efficiency().tolist() if bench.illumination.coherent else None
            return Spread(psfs, Grid(tuple(psfs.shape[-2:]), bench.image.pitch), method, inside)
    except SamplingError:
        pass
    point = torch.zeros(1, 1, *bench.illumination.shape)
    point[..., bench.illumination.shape[0] // 2, bench.illumination.shape[1] // 2] = 1
    with _route(FourierLensRoute, bench, override) as route:
        seen = route.image_field(bench.illumination(point, mode), route.mask_factors(wavelength))
    return Spread(seen.intensity[0], bench.image, "the logical pixel nearest to the axis, on the image samples")


@contextmanager
def _route(kind: type[Route], bench: FourF, override: tuple[str, ...]) -> Iterator[Route]:
    """A route of a bench; its warnings are for who simulates, the page has the table of conditions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        known = {check.quantity for check in kind.sampling(bench).checks}
        yield kind(bench, override=tuple(name for name in override if name in known))
