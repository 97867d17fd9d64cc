"""A mask bundle at a glance: a table of what it states, and a picture of its masks and predicted frames."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..bundle import Bundle
from ..files import written_whole
from ..units import engineering
from .far_field import panel_of

_GAP = 4  # pixels between pictures


def summary(bundle: Bundle) -> list[tuple[str, str]]:
    """Name and value, in words, of what a bench needs to know; identity and time only of a bundle from a file."""
    bench, panel = bundle.specification, panel_of(bundle.specification)
    height, width = bench.slm.shape
    frames = " x ".join(map(str, bundle.frames.shape[2:]))
    rows = [
        ("device", f"{panel.name} ({bench.slm.device})"),
        ("wavelength", engineering(bench.wavelength, "m")),
        ("panel", f"{panel.shape[0]} x {panel.shape[1]} pixels of {engineering(panel.pitch, 'm')}"),
        ("used area", f"{height} x {width} pixels in the middle"),
        ("masks", str(len(bundle.levels))),
        ("levels", f"{panel.bit_depth} bits, phase 0 is gray {panel.gray_at_zero}, slope {panel.gray_slope:+d}"),
        ("focal lengths", " and ".join(engineering(lens.focal_length, "m") for lens in (bench.lens1, bench.lens2))),
        ("camera", f"{bench.camera.device}, exposure {bench.camera.exposure:g} of the full well"),
        (
            "predicted frames",
            f"{_counted(bundle.images, 'image')} x {_counted(bundle.levels, 'mask')} of {frames} pixels",
        ),
        ("brightest", f"{int(bundle.frames.max())} DN"),
    ]
    stated = (
        ("LUT", "lut_name"),
        ("flatness accounted for", "flatness_correction_included"),
        ("written", "created_utc"),
        ("by optics4f", "producer_version"),
        ("uuid", "uuid"),
    )
    return rows + [(name, str(bundle.attributes[key])) for name, key in stated if key in bundle.attributes]


def contact_sheet(bundle: Bundle, *, side: int = 128, count: int = 8) -> NDArray:
    """Small pictures, uint8: the gray values of the first masks, and below each its frame of the first image.

    Pixels are picked, not averaged: the mean of phases is no phase. Each frame is scaled to its own brightest pixel.

    Args:
        bundle: Masks.
        side: Longer side of a picture, in pixels.
        count: Masks to show, at most.

    Returns:
        One picture of all, shape ``(height, width)``.
    """
    if side < 1 or count < 1:
        raise ValueError(f"side and count must be at least 1, got {side} and {count}.")
    panel = panel_of(bundle.specification)
    columns = []
    for levels, frame in list(zip(bundle.levels.numpy(), bundle.frames[0].numpy(), strict=True))[:count]:
        gray = ((panel.gray_at_zero + panel.gray_slope * levels) % 2**panel.bit_depth) * 255 // (2**panel.bit_depth - 1)
        light = frame * 255 // max(int(frame.max()), 1)
        columns.append([_picked(picture, side) for picture in (gray, light)])
    rows = []
    for pictures in zip(*columns, strict=True):
        height = max(picture.shape[0] for picture in pictures)
        row = [np.pad(p, ((0, height - p.shape[0] + _GAP), (0, _GAP)), constant_values=255) for p in pictures]
        rows.append(np.concatenate(row, axis=1))
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.pad(r, ((0, 0), (0, width - r.shape[1])), constant_values=255) for r in rows])


def write_contact_sheet(path: str | Path, bundle: Bundle, **options: int) -> None:
    """Write :func:`contact_sheet` as a PNG."""
    with written_whole(path) as part:
        Image.fromarray(contact_sheet(bundle, **options)).save(part, format="PNG")


def _picked(picture: NDArray, side: int) -> NDArray:
    """A picture whose longer side has ``side`` pixels, by its nearest pixels."""
    longest = max(picture.shape)
    rows, columns = (np.arange(max(1, n * side // longest)) * longest // side for n in picture.shape)
    return picture[rows[:, None], columns].astype(np.uint8)


def _counted(things: Sized, name: str) -> str:
    return f"{len(things)} {name}" + "s" * (len(things) != 1)
