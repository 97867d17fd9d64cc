"""What a propagation and a route hold in memory at their peak, counted from shapes.

Bytes of a sample: 8 in float64, 16 in complex128, ``c`` in the type of the field. Transfer functions and matrices are
built in float64, so what building takes does not shrink with the field's type.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .filtering import WHOLE
from .grid import Grid
from .memory import Need, require
from .memory_counts import ROUTES, Call, Light, Planes, in_light
from .propagation_method import Method, computation_window

ROOM = 16 * 2**20  # strips, and what the libraries keep for themselves [bytes]
KEPT = 2**22  # samples of a transfer function that a propagation keeps, for its gradient and the next call

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

    def result_at(width: int, batch: int) -> int:
        return dtype.itemsize * batch * math.prod(scaled(output, width).shape) * (4 if gradient else 1)

    step = "forward and backward" if gradient else "forward"
    plane = " x ".join(map(str, grid.shape))
    name = f"propagation of {batch} x {plane} samples by {method}, {step},"
    return Need(name, widest, batch, bytes_at, result_at)


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
    once = method == "angular_spectrum" and batch == 1 and window > KEPT
    return max(building, (0 if once else c * window) + c * max(height, rows) * wide[1] + ends)


def require_route(route: Any, images: Tensor, masks: Tensor | None = None) -> None:
    """Refuse a batch ``(batch, 1, height, width)`` that does not fit through a route: see :func:`route_need`.

    Raises:
        TooLargeError: Names the batch that fits, or the width of the planes.
    """
    require(route_need(route, images, masks=masks), images.device)


def route_need(route: Any, images: Tensor, *, gradient: bool | None = None, masks: Tensor | None = None) -> Need:
    """Memory of a route's forward pass, or of a training step, beyond the constants that the route has kept already.

    Counted for gradients by hand. A route that leaves the gradient to autograd (a place or a lens that trains, a
    rotation) keeps every plane instead and needs more: the count is then a lower bound.

    Args:
        route: A :class:`~optics4f.routes.route.Route`.
        images: What it is called with, ``(batch, 1, height, width)``.
        gradient: Whether a backward pass follows; by default where anything of it is asked for a gradient.
        masks: What it goes through, as its ``masks`` gives them; by default all that the SLM has.
    """
    if gradient is None:
        asked = images.requires_grad or any(parameter.requires_grad for parameter in route.parameters())
        gradient = torch.is_grad_enabled() and asked
    bench, kinds = route.bench, [kind.__name__ for kind in type(route).__mro__]
    count = next((count for name, count in ROUTES.items() if name in kinds), None)
    planes, light, held = Planes.of(route), Light.of(bench), route._kept.bytes
    k, factors = (len(bench.slm.values), light.factors) if masks is None else (len(masks), masks.is_complex())
    call = Call(len(images), k, gradient, gradient and images.requires_grad, factors)

    def bytes_at(width: int, batch: int) -> int:
        if count is None:  # a route of somebody else
            return 0
        found = in_light(count, planes.scaled(width), replace(call, batch=batch), light)
        missing = found.kept - (min(held, found.kept) if width == planes.widest else 0)
        return ROOM + max(found.building if missing else 0, missing + found.run)

    def result_at(width: int, batch: int) -> int:
        return planes.scaled(width).seen(replace(call, batch=batch)) * (4 if gradient else 1)

    step = "training step" if gradient else "forward"
    name = f"{kinds[0]}, {step}, B = {len(images)}, K = {k}, {planes.widest} samples wide,"
    return Need(name, planes.widest, len(images), bytes_at, result_at)
