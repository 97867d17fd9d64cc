"""From masks to the kernels that they make, tap by tap: what a camera pixel integrates of a PSF."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .design.tiling import TilePlan
from .elements.camera import overlap
from .elements.slm import Modulator
from .fourf import FourF
from .light import Mode
from .routes import PSFRoute


class TiledKernels(Protocol):
    """What :class:`~optics4f.conv.OpticalConv2d` is to the search for its masks; shapes are those of its members.

    Attributes:
        wavelengths: Of each channel [m].
    """

    in_channels: int
    out_channels: int
    kernel_size: int
    signs: int
    padding: int
    detection: str
    homodyne: bool
    reference: Tensor
    wavelengths: tuple[float, ...]
    plan: TilePlan
    bench: FourF
    slm: Modulator
    gains: Tensor

    def mask_of(self) -> Tensor:
        """Number of the mask that shows each tile to each channel, ``(out_channels, signs, in_channels)``."""

    def tile_kernels(self, margin: int = 0) -> Tensor:
        """What each tile makes, ``(out_channels, signs, in_channels, k + 2 margin, k + 2 margin)``, without gains."""

    def pixel_positions(self) -> tuple[Tensor, Tensor]:
        """Laboratory positions of the SLM's pixels, ``y (height,)`` and ``x (width,)`` [m], float64."""

    def illumination(self) -> Tensor:
        """Relative amplitude of one logical pixel's light on the SLM's pixels, ``(height, width)``, float64."""


def tile_kernels(layer: TiledKernels, routes: list[PSFRoute], tiles_of: list[list[int]], margin: int) -> Tensor:
    """See :meth:`optics4f.conv.OpticalConv2d.tile_kernels`, also for the shape.

    Args:
        layer: The convolution.
        routes: One for each place in front of the camera.
        tiles_of: Numbers of the tiles that stand there.
        margin: Taps beside the kernel on each side that are shown as well.
    """
    made: list[list[Tensor]] = [[] for _ in layer.plan.tiles]
    masks_of = layer.mask_of().flatten(0, 1)
    for channel, wavelength in enumerate(layer.wavelengths):
        mode, masks = Mode(wavelength), routes[0].masks(wavelength)
        for route, tiles in zip(routes, tiles_of, strict=True):
            own = masks[masks_of[tiles, channel].tolist()]
            if layer.signs == 2:
                psf = route.intensity_point_spread_functions(mode, own)
            else:
                psf = route.point_spread_functions(mode, own)
            rows, columns = (_tap_weights(layer, route, axis, margin).to(psf.dtype) for axis in (0, 1))
            for n, taps in zip(tiles, rows @ psf @ columns.mT, strict=True):
                made[n].append(taps)
    kernels = torch.stack([torch.stack(channels) for channels in made])
    return kernels.unflatten(0, (layer.out_channels, layer.signs))


def with_gains(layer: TiledKernels, parts: Tensor, gains: Tensor) -> Tensor:
    """Kernels of their parts, ``(out_channels, signs, in_channels, ...)``: times the gains, and what is negative less.

    Of ``intensity`` detection a kernel is that of the field, and the gains are those of its square.
    """
    gains = gains.sqrt() if layer.detection == "intensity" else gains
    parts = parts * gains[layer.mask_of()][..., None, None]
    return parts[:, 0] - parts[:, 1] if layer.signs == 2 else parts[:, 0]


def _tap_weights(layer: TiledKernels, route: PSFRoute, axis: int, margin: int) -> Tensor:
    """Weights of the PSF's samples in each tap, as one camera pixel integrates them: ``(taps, window)``."""
    bench, size = route.bench, layer.kernel_size
    n, outputs = bench.illumination.shape[axis], bench.camera.grid.shape[axis]
    real = torch.empty(0, dtype=bench.illumination.dtype).real.to(route._device)
    pixels = overlap(outputs, bench.camera.grid.pitch, bench.image.shape[axis], bench.image.pitch).to(real)
    taps = range(-(size // 2) - margin, size - size // 2 + margin)
    weights = pixels.new_zeros(len(taps), route.window[axis])
    for row, tap in enumerate(taps):
        # A tap is the light that object pixel j sends to camera pixel p: only j + p matters.
        both = tap + outputs - 1 + size // 2 - layer.padding
        j = min(max(both, 0), n - 1)
        p = both - j
        if not 0 <= p < outputs:
            raise ValueError(
                f"the camera window must show all taps, got {outputs} pixels for {n} object pixels. Use an image "
                f"of at least {size + margin} logical pixels."
            )
        start = route.stride * j
        weights[row, start : start + pixels.shape[1]] = pixels[p]
    return weights
