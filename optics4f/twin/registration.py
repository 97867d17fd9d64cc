"""Measured frames laid over predicted ones: one shift, one brightness and one offset for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, optimize
from torch import Tensor


@dataclass(frozen=True)
class Registration:
    """How measured frames lie over predicted ones.

    Attributes:
        shift: By which the predicted picture has to move ``(y, x)`` [pixels]; positive is down and to the right.
        gain: Measured over predicted brightness.
        offset: Measured less predicted black level [DN].
    """

    shift: tuple[float, float]
    gain: float
    offset: float

    @property
    def margin(self) -> int:
        """Pixels at each edge of which the prediction says nothing once it has moved."""
        return math.ceil(max(abs(s) for s in self.shift) - 1e-6)

    def applied(self, predicted: Tensor) -> Tensor:
        """The predicted frames as they were measured, shape ``(..., height, width)``; the margins are extrapolated."""
        return self.gain * _moved(predicted, self.shift) + self.offset

    def inside(self, frames: Tensor) -> Tensor:
        """Frames without the margins."""
        height, width = frames.shape[-2:]
        return frames[..., self.margin : height - self.margin, self.margin : width - self.margin]


def register(measured: Tensor, predicted: Tensor, *, reach: int | None = None) -> Registration:
    """The shift, brightness and offset by which predicted frames come nearest to measured ones (least squares).

    All frames share them: the camera does not move between them. The start is the peak of the correlation, summed over
    the frames; parts of a pixel are found with cubic splines.

    Args:
        measured: Shape ``(..., height, width)``.
        predicted: The same.
        reach: Largest shift that is looked for [pixels]; a quarter of the shorter side by default.

    Raises:
        ValueError: Other shapes, NaN, or frames without any structure.
    """
    if measured.shape != predicted.shape or measured.ndim < 2:
        raise ValueError(
            f"measured and predicted frames must have one shape, got {tuple(measured.shape)} and "
            f"{tuple(predicted.shape)}."
        )
    both = [values.reshape(-1, *values.shape[-2:]).double() for values in (measured, predicted)]
    for name, values in zip(("measured", "predicted"), both, strict=True):
        if not torch.isfinite(values).all():
            raise ValueError(f"{name} frames must be finite, got NaN or inf in them.")
        if not (values.amax((-2, -1)) > values.amin((-2, -1))).any():
            raise ValueError(f"{name} frames must show something, got even ones. Look at the exposure.")
    seen, wanted = both
    reach = min(seen.shape[-2:]) // 4 if reach is None else reach
    start = _coarse(seen, wanted, reach)

    def left(shift: NDArray) -> NDArray:
        return _line(seen, _moved(wanted, tuple(shift)), reach)[2]

    found = optimize.least_squares(
        left, start, bounds=([v - 1.5 for v in start], [v + 1.5 for v in start]), diff_step=1e-3, x_scale=1.0
    ).x
    gain, offset, _ = _line(seen, _moved(wanted, tuple(found)), reach)
    return Registration((float(found[0]), float(found[1])), gain, offset)


def correlation(measured: Tensor, predicted: Tensor) -> Tensor:
    """Pearson's correlation of frames ``(..., height, width)``, shape ``(...)``; NaN where one of them is even."""
    a, b = (values.double().flatten(-2) for values in (measured, predicted))
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.square().sum(-1) * b.square().sum(-1)).sqrt()


def _coarse(seen: Tensor, wanted: Tensor, reach: int) -> tuple[float, float]:
    """Whole pixels, from the mean over the frames of the correlation of what overlaps."""
    size = [2 * n for n in seen.shape[-2:]]  # room for the parts that do not overlap
    a, b = (torch.fft.rfft2(v - v.mean((-2, -1), keepdim=True), s=size) for v in (seen, wanted))
    total = torch.fft.irfft2((a * b.conj()).sum(0), s=size).roll((reach, reach), (-2, -1))
    best = int(total[: 2 * reach + 1, : 2 * reach + 1].argmax())
    return float(best // (2 * reach + 1) - reach), float(best % (2 * reach + 1) - reach)


def _moved(frames: Tensor, shift: tuple[float, float]) -> Tensor:
    """Frames moved down and to the right, by cubic splines."""
    if tuple(shift) == (0.0, 0.0):
        return frames
    step = (*(0.0,) * (frames.ndim - 2), *shift)
    return torch.from_numpy(ndimage.shift(frames.double().numpy(), step, order=3, mode="nearest"))


def _line(seen: Tensor, wanted: Tensor, margin: int) -> tuple[float, float, NDArray]:
    """Gain and offset between the frames without their margins, and what they leave."""
    height, width = seen.shape[-2:]
    inner = (..., slice(margin, height - margin), slice(margin, width - margin))
    y, x = seen[inner].flatten().numpy(), wanted[inner].flatten().numpy()
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), float(offset), y - slope * x - offset
