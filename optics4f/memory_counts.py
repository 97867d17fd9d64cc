"""What a call of a route holds in memory at its peak, counted from the shapes of its planes and the modes of its light.

The numbers of copies are those of the routes as they are written, held against measured peaks by tests. Bytes of a
sample: 8 in float64, 16 in complex128, ``c`` in the type of the field.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from scipy.fft import next_fast_len

from .fourier import matched_length
from .grid import Grid

Shape = tuple[int, int]
CHECKPOINTS = 2**25  # what computing a mode again takes beside its tensors [bytes]
SOURCES = 16  # samples of a self-luminous object that a route propagates together


@dataclass(frozen=True)
class Call:
    """What a route is called with.

    Attributes:
        batch: Images.
        masks: Masks.
        gradient: Whether a backward pass follows.
        to_images: Whether it goes on to the images.
        factors: Whether masks are complex factors, which autograd makes of the phases.
    """

    batch: int
    masks: int
    gradient: bool
    to_images: bool
    factors: bool


@dataclass(frozen=True)
class Light:
    """What makes the light of a bench take more memory than one coherent wave.

    Attributes:
        modes: Of which it is the sum.
        lines: Wavelengths among them: each has masks and constants of its own.
        frames: States of the panel during the exposure.
        again: Whether a mode is computed after the other, and again for the gradient.
        self_luminous: Whether each sample of the object radiates by itself.
        block: Samples along each side of a logical pixel.
        factors: As of a :class:`Call`, where it goes through all masks.
    """

    modes: int
    lines: int
    frames: int
    again: bool
    self_luminous: bool
    block: int
    factors: bool

    @classmethod
    def of(cls, bench: Any) -> Light:
        """What the light of a bench is made of, from its illumination and its SLM."""
        light, slm = bench.illumination, bench.slm
        modes, lines = light.modes(), len(light.spectrum.wavelengths)
        plain = "phase" in slm.kinds and slm.samples_per_pixel == 1 and set(slm.active) <= {"quantization"}
        again = not light.coherent or slm.frames > 1
        return cls(len(modes), lines, slm.frames, again, light.self_luminous, light.block, again or not plain)


@dataclass(frozen=True)
class Count:
    """Bytes of a call.

    Attributes:
        kept: Transfer functions or matrices, for the calls to come.
        building: Most while these are made.
        run: Of the call itself, forward and backward.
        mode: The part of ``run`` that one mode of the light leaves for the gradient.
    """

    kept: int
    building: int
    run: int
    mode: int


def in_light(count: Callable[[Planes, Call], Count], planes: Planes, call: Call, light: Light) -> Count:
    """A call in light of many modes: that of one mode, and what is summed over them."""
    if not light.again:
        return count(planes, call)
    source, slm = math.prod(planes.source), math.prod(planes.slm)
    one, images = count(planes, call), 3 * planes.seen(call)
    if light.self_luminous and count is _psf_route:
        one, images = _self_luminous_psf(planes, call, light), 0
    elif light.self_luminous:
        one = count(planes, replace(call, batch=min(SOURCES, source), to_images=False))
    run, shown = one.run + images, light.lines * light.frames
    if call.gradient:
        run += CHECKPOINTS + 3 * planes.c * slm * call.masks * (shown - 1)
        run += one.mode if light.modes * light.frames > 1 else 0  # that of the mode before this one
    return Count(one.kept * light.lines, one.building, run, 0)


@dataclass(frozen=True)
class Planes:
    """Shapes of a bench: object, SLM and image samples, and the window that a route computes in."""

    source: Shape
    slm: Shape
    image: Shape
    window: Shape
    c: int
    gaps: int = 1
    matched: tuple[int, ...] = ()
    beside: bool = False  # image samples beside those of the window: read by interpolation
    shifted: bool = True  # samples of a self-luminous logical pixel see the same PSF, some image samples apart
    padded: int = 0  # samples of a mask whose autocorrelation gives the PSF of such a pixel

    @classmethod
    def of(cls, route: Any) -> Planes:
        """Shapes of a route's bench and of the window that the route computes in."""
        bench = route.bench
        shapes = [tuple(grid.shape) for grid in (bench.illumination.grid, bench.slm.samples, bench.image)]
        window = getattr(route, "window", shapes[1])
        lengths = {bench.lens1.focal_length, bench.lens2.focal_length}
        displaced = bench.slm_position is not None or bench.camera_position is not None or any(bench.slm.off_axis)
        grids = (bench.illumination.grid, bench.slm.samples, bench.image)
        pair = [
            matched_length(before, behind, bench.wavelength * lens.focal_length)
            for lens, before, behind in zip((bench.lens1, bench.lens2), grids[:2], grids[1:], strict=True)
        ]
        matched = () if displaced or None in pair else tuple(pair)
        window = tuple(window.shape) if isinstance(window, Grid) else tuple(window)
        gaps, beside = 4 if displaced else len(lengths), not getattr(route, "_image_is_in_window", True)
        whole = getattr(route, "stride", 1) % bench.illumination.block == 0
        padded = getattr(route, "padded_mask", 0)
        return cls(*shapes, window, bench.illumination.dtype.itemsize, gaps, matched, beside, whole, padded)

    @property
    def widest(self) -> int:
        """Samples along the longest side of any plane."""
        return max(map(max, (self.source, self.slm, self.image, self.window)))

    def scaled(self, width: int) -> Planes:
        """The same planes with ``width`` samples along the longest side."""

        def like(n: int) -> int:
            return max(1, math.ceil(n * width / self.widest))

        planes = {name: tuple(map(like, getattr(self, name))) for name in ("source", "slm", "image", "window")}
        padded = math.ceil(self.padded * (width / self.widest) ** 2)
        return replace(self, **planes, matched=tuple(map(like, self.matched)), padded=padded)

    def seen(self, call: Call) -> int:
        """Bytes of the intensity at the image plane."""
        return self.c // 2 * call.batch * call.masks * math.prod(self.image)


def _masks_and_images(planes: Planes, call: Call) -> int:
    """What every route with masks in the way holds: light before the masks, behind them, and the way back."""
    slm, c = math.prod(planes.slm), planes.c
    images = 2 * planes.seen(call)  # a complex number each
    if not call.gradient:
        together = slm * (call.batch + call.masks)  # what fields can be made of again, where they are larger
        kept = images if images <= c * together else 0
        return c * (together + slm * (call.masks + 2)) + images // 2 + kept
    # Behind a mask: field, intensity, its gradient, and as much again inside the loss.
    held = c * slm * (call.batch + (6 if call.factors else 3) * call.masks + 2) + 3 * images
    # Back at the object: pieces and the whole, its double, and before the masks the light that returns.
    return held + (c * call.batch * (slm + 3 * math.prod(planes.source)) if call.to_images else 0)


def _kept_by_a_mode(planes: Planes, call: Call) -> int:
    """Light before the masks and behind them."""
    return planes.c * call.batch * math.prod(planes.slm) + 2 * planes.seen(call)


def _angular_spectrum_route(planes: Planes, call: Call) -> Count:
    c, window = planes.c, math.prod(planes.window)
    padded = math.prod(next_fast_len(2 * n) for n in planes.window)
    kept = c * (planes.gaps * padded + 2 * window)
    building = c * (planes.gaps - 1) * padded + (16 + c) * padded
    if planes.beside:
        elements = [n * m for n, m in zip(planes.image, planes.window, strict=True)]
        kept += c * sum(elements)
        building = max(building, kept + 64 * max(elements))
    together = max(1, 2**17 // padded) * (2 if planes.beside else 1)
    spectrum = c * padded // 2
    run = _masks_and_images(planes, call) + spectrum + (3 if call.gradient else 2) * together * c * window
    return Count(kept, building, run, _kept_by_a_mode(planes, call))


def _fourier_lens_route(planes: Planes, call: Call) -> Count:
    c, (h, w), mode = planes.c, planes.slm, _kept_by_a_mode(planes, call)
    run = _masks_and_images(planes, call)
    if planes.matched:
        ends = sum(map(math.prod, (planes.source, planes.slm, planes.slm, planes.image)))
        length = max(planes.matched) ** 2
        kept = c * (math.prod(planes.source) + math.prod(planes.image))
        run += 2 * c * h * w * call.batch if call.gradient else 0
        return Count(kept, 16 * ends + 48 * h * w, run + 6 * c * length * max(1, 2**17 // length), mode)
    matrices = [n * m for n, m in zip(planes.slm * 2, (*planes.source, *planes.image), strict=True)]
    # Between rows and columns, of a few samples: what is freed there the heap keeps.
    between = 3 * c * max(h * planes.source[1], planes.image[0] * w) * min(call.batch, 4)
    return Count(c * sum(matrices), c * sum(matrices[:-1]) + 40 * matrices[-1], run + between, mode)


def _psf_route(planes: Planes, call: Call) -> Count:
    c, slm, image, masks = planes.c, math.prod(planes.slm), math.prod(planes.image), call.masks
    window, length = math.prod(planes.window), math.prod(map(next_fast_len, planes.window))
    matrices = 2 * c * sum(n * m for n, m in zip(planes.window, planes.slm, strict=True))
    spreads = c * masks * (3 * window + length) + c * slm
    if not call.gradient:
        fields = call.batch * masks * image
        kept = fields if fields <= length * (call.batch + masks) else 0
        spectra = c * (2 * call.batch * length + fields // 2 + kept)
        return Count(matrices, _compressing(planes), spreads + 2 * c * slm * masks * call.factors + spectra, 0)
    spectra = c * call.batch * (2 * length + 3 * masks * image)
    spreads += c * masks * (2 * length + (6 * slm if call.factors else slm // 2))
    mode = c * (call.batch * (length + masks * image) + masks * length)
    return Count(matrices, _compressing(planes), spreads + spectra + c * call.batch * length * call.to_images, mode)


def _compressing(planes: Planes) -> int:
    """While the bases of the window's transforms are found: both ends of a logical pixel, in complex128."""
    return 8 * 16 * max(n * m for n, m in zip(planes.window, planes.slm, strict=True))


def _self_luminous_psf(planes: Planes, call: Call, light: Light) -> Count:
    """Intensities are filtered, whose spectra are half as wide; the PSF is a sum over the samples of a pixel."""
    one = _psf_route(planes, call)
    c, masks, places = planes.c, call.masks, 1 if planes.shifted else light.block**2
    window, length = math.prod(planes.window), math.prod(map(next_fast_len, planes.window))
    spectra = c // 2 * call.batch * length * (12 + 13 * masks) // 4
    spreads = (2 if call.factors else call.gradient / 2) * c * math.prod(planes.slm) * masks
    if call.gradient:
        spreads *= (3 if call.factors else 1) + (places > 1)
        spreads += 2 * places * c * masks * window
    elif places > 1:
        spreads += 2 * light.block * c * masks * window  # the samples of a row stand beside each other
    if places > 1:
        spreads = max(spreads, (5.5 if call.gradient else 2.5) * c * masks * planes.padded)
    return replace(one, run=int(spreads) + spectra + one.building)


# By name: the routes import this module.
ROUTES = {
    "AngularSpectrumRoute": _angular_spectrum_route,
    "FourierLensRoute": _fourier_lens_route,
    "PSFRoute": _psf_route,
}
