"""Marks by which a bench sees that a mask arrived flipped, turned or transposed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .panel import Mask, as_array

# What may happen to an image between a file and a camera: the eight symmetries of a rectangle and of its transpose.
SYMMETRIES = {
    "as written": lambda image: image,
    "flipped left-right": lambda image: image[..., ::-1],
    "flipped up-down": lambda image: image[..., ::-1, :],
    "turned by 180 degrees": lambda image: image[..., ::-1, ::-1],
    "transposed": lambda image: image.swapaxes(-1, -2),
    "turned by 90 degrees": lambda image: np.rot90(image, 1, (-2, -1)),
    "turned by -90 degrees": lambda image: np.rot90(image, -1, (-2, -1)),
    "transposed and turned by 180 degrees": lambda image: image[..., ::-1, ::-1].swapaxes(-1, -2),
}
"""Their names, and what they do to arrays ``(..., height, width)``."""


def orientation_pattern(shape: tuple[int, int]) -> NDArray:
    """A letter F that fills a panel: 1 on the strokes, 0 beside them, uint8.

    No two of the eight ways to flip and turn it are alike, so one look at the panel tells which happened.

    Args:
        shape: ``(height, width)``, at least 7 x 5.
    """
    height, width = shape
    if height < 7 or width < 5:
        raise ValueError(f"shape must be at least (7, 5) for a letter F, got {tuple(shape)}.")
    font = np.zeros((7, 5), dtype=np.uint8)
    font[1:6, 1] = 1
    font[1, 1:4] = 1
    font[3, 1:3] = 1
    return font[np.arange(height)[:, None] * 7 // height, np.arange(width) * 5 // width]


def with_corner_mark(levels: Mask, level: int, *, size: int) -> NDArray:
    """A mask with a bar of ``size`` rows and ``3 size`` columns of one level at its upper left.

    The corner tells flips and half turns, the bar's direction a transpose. It replaces what the mask shows there: mark
    a part that is not illuminated, or a pattern for alignment.

    Args:
        levels: One mask, shape ``(height, width)``; it is copied.
        level: Level of the bar.
        size: Rows of the bar.

    Raises:
        ValueError: The bar would cover more than a quarter of either side, and no longer mark a corner.
    """
    marked = as_array(levels).copy()
    height, width = marked.shape
    if size < 1 or 4 * size > height or 12 * size > width:
        raise ValueError(
            f"size must be in 1 ... {min(height // 4, width // 12)} for {height} x {width} pixels, got {size}."
        )
    marked[:size, : 3 * size] = level
    return marked


def orientation_of(seen: ArrayLike, written: ArrayLike) -> str:
    """What happened to an image on its way, by correlation with the eight ways to flip and turn it.

    Args:
        seen: What the bench shows, such as a picture of the panel cut and scaled to its pixels.
        written: What was sent, such as :func:`orientation_pattern`.

    Returns:
        ``"as written"``, ``"flipped left-right"``, ``"transposed"`` and so on.

    Raises:
        ValueError: Neither the shape nor its transpose; no orientation stands out.
    """
    seen, written = np.asarray(seen, dtype=float), np.asarray(written, dtype=float)
    if seen.shape not in (written.shape, written.shape[::-1]):
        raise ValueError(f"seen must be {written.shape} or its transpose, got {seen.shape}. Cut and scale it.")
    centred = seen - seen.mean()
    scores = {}
    for name, change in SYMMETRIES.items():
        expected = change(written)
        if expected.shape == seen.shape:
            expected = expected - expected.mean()
            norm = np.sqrt((expected**2).sum() * (centred**2).sum())
            scores[name] = (expected * centred).sum() / norm if norm else 0.0
    best, second = sorted(scores, key=scores.__getitem__, reverse=True)[:2]
    if not scores[best] - scores[second] > 0.1:
        raise ValueError(
            f"seen must show one orientation, got {scores[best]:.2f} for {best} and {scores[second]:.2f} for {second}. "
            "Send orientation_pattern."
        )
    return best
