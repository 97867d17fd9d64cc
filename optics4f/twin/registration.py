"""Measured frames laid over predicted ones: one shift, one brightness and one offset for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage, optimize
from torch import Tensor

from ..vendors.orientation import SYMMETRIES

_SHARE = 0.1  # of a pixel: what noise shifts frames by is no reason to leave out their edges
_BEYOND = 1.5  # pixels that the fine search may go beyond the coarse one


@dataclass(frozen=True)
class Registration:
    """How measured frames lie over predicted ones.

    Attributes:
        shift: By which the predicted picture has to move ``(y, x)`` [pixels]; positive is down and to the right.
        gain: Measured over predicted brightness.
        offset: Measured less predicted black level [DN].
        at_limit: Whether the search ended where it had to: the frames may lie further apart, or show something else.
    """

    shift: tuple[float, float]
    gain: float
    offset: float
    at_limit: bool = False

    @property
    def margin(self) -> int:
        """Pixels at each edge of which the prediction says nothing once it has moved; a tenth of one still counts."""
        return math.ceil(max(abs(s) for s in self.shift) - _SHARE)

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
        left,
        start,
        bounds=([v - _BEYOND for v in start], [v + _BEYOND for v in start]),
        diff_step=1e-3,
        x_scale=1.0,
    ).x
    gain, offset, _ = _line(seen, _moved(wanted, tuple(found)), reach)
    far = any(
        abs(whole) == max(reach, 1) or abs(s - whole) > 0.99 * _BEYOND for whole, s in zip(start, found, strict=True)
    )
    return Registration((float(found[0]), float(found[1])), gain, offset, far)


def likeness_by_orientation(measured: Tensor, predicted: Tensor) -> dict[str, float]:
    """Mean correlation of measured frames with predicted ones that are flipped, turned or negated, shifted at best.

    Whole pixels are enough to tell them apart.

    Args:
        measured: Shape ``(N, height, width)``.
        predicted: The same.

    Returns:
        Name of :data:`~optics4f.vendors.orientation.SYMMETRIES` or ``"negated"`` -> correlation; those that change the
        shape are left out.
    """
    changes = {**SYMMETRIES, "negated": np.negative}
    reach, found = min(measured.shape[-2:]) // 4, {}
    for name, change in changes.items():
        candidate = torch.from_numpy(np.ascontiguousarray(change(predicted.numpy())))
        if candidate.shape != measured.shape:
            continue
        whole = Registration(_coarse(measured, candidate, reach), 1.0, 0.0)
        found[name] = correlation(whole.inside(measured), whole.inside(whole.applied(candidate))).nanmean().item()
    return found


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
