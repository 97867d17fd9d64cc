"""From the taps of convolution kernels to a mask: spots of the wanted strength at the wanted places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..fourier import fourier_matrix
from .constraints import PhaseOnly
from .gerchberg_saxton import gerchberg_saxton
from .planes import MatrixAxis, Plane
from .targets import make_target


def spot_mask(
    positions: tuple[Tensor, Tensor],
    places: tuple[Tensor, Tensor],
    strength: Tensor,
    *,
    scale: float | Sequence[float],
    illumination: Tensor | None = None,
    levels: int | None = None,
    efficiency: float = 0.5,
    iterations: int = 60,
    start: Tensor | None = None,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    r"""Phase mask whose far field has spots of a wanted strength, by weighted Gerchberg-Saxton.

    A spot at :math:`u` is the field :math:`\sum M(x_f) e^{-2 \pi i u \cdot x_f / s}`, as of a lens (``s = lambda f``).

    Args:
        positions: Of the SLM's pixels, ``y (height,)`` and ``x (width,)`` [m].
        places: ``y`` and ``x`` of each spot [m], shape ``(spots,)`` each.
        strength: Relative power (real, not negative; the phase is free) or complex amplitude of each spot, shape
            ``(spots,)``.
        scale: ``s`` [m^2], one for all spots, or one for each.
        illumination: Real amplitude of the light on the pixels; even by default.
        levels: Phase levels of the device, which the result is rounded to; ``None`` for continuous phase.
        efficiency: Share of the light in the spots, of complex strengths; of real ones it is as much as can be.
        iterations: Of the retrieval.
        start: Phase [rad] to start from, shape ``(height, width)``.
        seed: Of the random start.
        dtype: Real type of the computation.

    Returns:
        Phase [rad], shape ``(height, width)``.
    """
    scale = torch.as_tensor(scale, dtype=torch.float64)
    axes, index = [], []
    for position, place in zip(positions, places, strict=True):
        # Cycles per metre of SLM, rounded to a ten-thousandth of the SLM's own resolution: equal ones are one row.
        position = position.detach().cpu()
        extent = (position[-1] - position[0]).item() * len(position) / (len(position) - 1)
        steps, where = (place / scale * extent * 1e4).round().unique(return_inverse=True)
        matrix = fourier_matrix(steps / (extent * 1e4), position, 1.0) / math.sqrt(len(position))
        axes.append(MatrixAxis(matrix))
        index.append(where)
    plane = Plane(*axes)
    judged = torch.zeros(plane.shape, dtype=torch.bool)
    judged[index[0], index[1]] = True
    if int(judged.sum()) != len(strength):
        raise ValueError(f"spots must stand at different places, got {len(strength)} at {int(judged.sum())} places.")
    strength = strength.detach().cpu()
    signed = strength.is_complex()
    field = torch.zeros(plane.shape, dtype=torch.complex128 if signed else torch.float64)
    field[index[0], index[1]] = strength.to(field.dtype) if signed else strength.double().sqrt()
    target = make_target(plane, field, judged=judged, free=signed, efficiency=efficiency if signed else 1.0)
    found = gerchberg_saxton(
        target,
        constraint=PhaseOnly(levels),
        iterations=iterations,
        seed=seed,
        start=None if start is None else start[None].cpu(),
        illumination=None if illumination is None else illumination.cpu(),
        dtype=dtype,
    )
    return found.values[0, 0]
