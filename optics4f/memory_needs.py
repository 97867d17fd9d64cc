"""What a propagation and a route hold in memory at their peak, counted from shapes.

Bytes of a sample: 8 in float64, 16 in complex128, ``c`` in the type of the field. Transfer functions and matrices are
built in float64, so what building takes does not shrink with the field's type.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from .filtering import WHOLE
from .fourier import matched_length
from .grid import Grid
from .memory import Need, require
from .propagation_method import Method, computation_window

Shape = tuple[int, int]
ROOM = 16 * 2**20  # strips, and what the libraries keep for themselves [bytes]
KEPT = 2**22  # samples of a transfer function that a propagation keeps for its gradient

# Bytes of a sample of the window while autograd builds a function of a distance, and takes its gradient.
_BUILT = {"angular_spectrum": 99, "fresnel": 81, "rayleigh_sommerfeld": 140, "fresnel_transform": 106}


def propagation_need(
    grid: Grid,
    output: Grid | None = None,
    *,
    method: Method = "angular_spectrum",
    batch: int = 1,
    padding: float = 2,
    gradient: bool = False,
    parameters: bool = False,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str | None = None,
) -> Need:
    """Memory of :func:`~optics4f.propagation.propagate`, its result included.

    Args:
        grid: Plane of the field.
        output: Samples at the end; by default those of the field.
        method: As :func:`~optics4f.propagation_method.propagation_method` chooses it.
        batch: Fields.
        padding: Of the computation window.
        gradient: Forward and backward, with the gradient that arrives and that of the field.
        parameters: Also the gradient of distance, wavelength or shift.
        dtype: Complex type of the field.
        device: Where; a GPU transforms whole planes.
    """
    output = grid if output is None else output
    widest = max(*grid.shape, *output.shape)
    on_cpu = device is None or torch.device(device).type == "cpu"

    def scaled(plane: Grid, width: int) -> Grid:
        return Grid(tuple(max(1, math.ceil(n * width / widest)) for n in plane.shape), plane.pitch)

    def bytes_at(width: int, batch: int) -> int:
        planes = scaled(grid, width), scaled(output, width)
        return ROOM + _propagation(*planes, method, batch, padding, gradient, parameters, dtype.itemsize, on_cpu)

    step = "forward and backward" if gradient else "forward"
    plane = " x ".join(map(str, grid.shape))
    return Need(f"propagation of {batch} x {plane} samples by {method}, {step},", widest, batch, bytes_at)


def _propagation(
    grid: Grid,
    output: Grid,
    method: Method,
    batch: int,
    padding: float,
    gradient: bool,
    parameters: bool,
    c: int,
    on_cpu: bool,
) -> int:
    inputs, outputs = (c * batch * math.prod(plane.shape) for plane in (grid, output))
    (height, width), (rows, columns) = grid.shape, output.shape
    ends = outputs + (outputs + 2 * inputs if gradient else 0)  # of a leaf, autograd copies the gradient
    same_pitch = output.pitch == grid.pitch
    if method in ("fresnel_transform", "fraunhofer"):
        elements = [height * rows, width * columns]
        between = c * batch * min(rows * width, height * columns)
        if parameters:
            return _BUILT["fresnel_transform"] * sum(elements) + 5 * (inputs + outputs + between) // 2
        held = 2 * (inputs + outputs + between) if gradient else outputs + 3 * between // 2
        return max(c * elements[0] + 32 * elements[1], c * sum(elements) + held)
    if method == "rayleigh_sommerfeld":
        if not same_pitch:
            return ends + 2**21 * 100  # in chunks of a fixed size
        window = (height + rows) * (width + columns)
        fields = (3 if gradient else 2) * c * batch
        run = window * ((_BUILT[method] if parameters else 16 + c) + fields) + outputs
        return max(64 * window, run)
    wide = computation_window(grid, output, padding).shape
    window = math.prod(wide)
    if parameters:
        return (_BUILT[method] + c + 3 * c * batch) * window + outputs
    building = 41 * window if method == "fresnel" else 0
    if not same_pitch:
        matrices = rows * wide[0] + columns * wide[1]
        return max(building, window * (c + 1) + matrices * (c + 8) + 3 * c * batch * window)
    if not on_cpu:
        return max(building, c * window * (1 + 3 * min(batch, max(1, WHOLE // window))) + ends)
    once = method == "angular_spectrum" and batch == 1 and (not gradient or window > KEPT)
    return max(building, (0 if once else c * window) + c * max(height, rows) * wide[1] + ends)


def require_route(route: Any, images: Tensor) -> None:
    """Refuse a batch that does not fit through a route: see :func:`route_need`.

    Raises:
        TooLargeError: Names the batch that fits, or the width of the planes.
    """
    require(route_need(route, images), images.device)


def route_need(route: Any, images: Tensor, *, gradient: bool | None = None) -> Need:
    """Memory of a route's forward pass, or of a training step, its transfer functions and its result included.

    Counted for coherent light through the gradients by hand. A route that leaves the gradient to autograd (a place or
    a lens that trains, a rotation) keeps every plane instead and needs more: the count is then a lower bound.

    Args:
        route: A :class:`~optics4f.routes.route.Route`.
        images: What it is called with.
        gradient: Whether a backward pass follows; by default where anything of it is asked for a gradient.
    """
    if gradient is None:
        asked = images.requires_grad or any(parameter.requires_grad for parameter in route.parameters())
        gradient = torch.is_grad_enabled() and asked
    bench, kinds = route.bench, [kind.__name__ for kind in type(route).__mro__]
    count = next((count for name, count in _ROUTES.items() if name in kinds), None)
    planes = _Planes.of(route)
    to_images = gradient and images.requires_grad

    def bytes_at(width: int, batch: int) -> int:
        if count is None:  # a route of somebody else
            return 0
        return ROOM + count(planes.scaled(width), batch, len(bench.slm.values), gradient, to_images)

    step = "training step" if gradient else "forward"
    name = f"{kinds[0]}, {step}, B = {len(images)}, K = {len(bench.slm.values)}, {planes.widest} samples wide,"
    return Need(name, planes.widest, len(images), bytes_at)


@dataclass(frozen=True)
class _Planes:
    """Shapes of a bench: object, SLM and image samples, and the window that a route computes in."""

    source: Shape
    slm: Shape
    image: Shape
    window: Shape
    c: int
    gaps: int = 1
    matched: tuple[int, ...] = ()
    beside: bool = False  # image samples beside those of the window: read by interpolation

    @classmethod
    def of(cls, route: Any) -> _Planes:
        bench = route.bench
        shapes = [tuple(grid.shape) for grid in (bench.illumination.grid, bench.slm.samples, bench.image)]
        window = getattr(route, "window", shapes[1])
        lengths = {bench.lens1.focal_length, bench.lens2.focal_length}
        displaced = bench.slm_position is not None or bench.camera_position is not None
        grids = (bench.illumination.grid, bench.slm.samples, bench.image)
        pair = [
            matched_length(before, behind, bench.wavelength * lens.focal_length)
            for lens, before, behind in zip((bench.lens1, bench.lens2), grids[:2], grids[1:], strict=True)
        ]
        matched = () if displaced or None in pair else tuple(pair)
        window = tuple(window.shape) if isinstance(window, Grid) else tuple(window)
        gaps, beside = 4 if displaced else len(lengths), not getattr(route, "_image_is_in_window", True)
        return cls(*shapes, window, bench.illumination.dtype.itemsize, gaps, matched, beside)

    @property
    def widest(self) -> int:
        return max(map(max, (self.source, self.slm, self.image, self.window)))

    def scaled(self, width: int) -> _Planes:
        def like(n: int) -> int:
            return max(1, math.ceil(n * width / self.widest))

        planes = {name: tuple(map(like, getattr(self, name))) for name in ("source", "slm", "image", "window")}
        return replace(self, **planes, matched=tuple(map(like, self.matched)))


def _masks_and_images(planes: _Planes, batch: int, masks: int, gradient: bool, to_images: bool) -> int:
    """What every route with masks in the way holds: light before the masks, behind them, and the way back."""
    slm, image, c = math.prod(planes.slm), math.prod(planes.image), planes.c
    if not gradient:
        return c * slm * (batch + 2 * masks + 2) + 2 * c * batch * masks * image
    # Behind a mask: field, intensity, its gradient, and as much again inside the loss.
    held = c * slm * (batch + 3 * masks + 2) + 3 * c * batch * masks * image
    return held + (c * batch * slm if to_images else 0)


def _angular_spectrum_route(planes: _Planes, batch: int, masks: int, gradient: bool, to_images: bool) -> int:
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
    run = (
        _masks_and_images(planes, batch, masks, gradient, to_images)
        + spectrum
        + (3 if gradient else 2) * together * c * window
    )
    return max(building, kept + run)


def _fourier_lens_route(planes: _Planes, batch: int, masks: int, gradient: bool, to_images: bool) -> int:
    c, (h, w) = planes.c, planes.slm
    run = _masks_and_images(planes, batch, masks, gradient, to_images)
    if planes.matched:
        ends = sum(map(math.prod, (planes.source, planes.slm, planes.slm, planes.image)))
        length = max(planes.matched) ** 2
        kept = c * (math.prod(planes.source) + math.prod(planes.image))
        kept += 2 * c * h * w * batch if gradient else 0
        return max(16 * ends + 48 * h * w, kept + run + 6 * c * length * max(1, 2**17 // length))
    matrices = [n * m for n, m in zip(planes.slm * 2, (*planes.source, *planes.image), strict=True)]
    return max(c * sum(matrices[:-1]) + 40 * matrices[-1], c * sum(matrices) + run)


def _psf_route(planes: _Planes, batch: int, masks: int, gradient: bool, to_images: bool) -> int:
    c, slm, image = planes.c, math.prod(planes.slm), math.prod(planes.image)
    window, length = math.prod(planes.window), math.prod(map(next_fast_len, planes.window))
    matrices = c * sum(n * m for n, m in zip(planes.window, planes.slm, strict=True))
    spreads = c * masks * (3 * window + length) + c * slm
    spectra = c * batch * (2 * length + (3 if gradient else 2) * masks * image)
    if gradient:
        spreads += c * masks * (2 * length + slm // 2)
    return 2 * matrices + spreads + spectra + (c * batch * length if to_images else 0)


# By name: the routes import this module.
_ROUTES = {
    "AngularSpectrumRoute": _angular_spectrum_route,
    "FourierLensRoute": _fourier_lens_route,
    "PSFRoute": _psf_route,
}
