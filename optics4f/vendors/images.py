"""Gray images for a panel: 8-bit PNG and BMP (HOLOEYE, Hamamatsu, HDMI panels), more bits in a 16-bit PNG (Santec)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..files import written_whole
from ..images import opened_image
from .panel import Mask, Panel

_FORMATS = {".png": "PNG", ".bmp": "BMP"}


def write_image(path: str | Path, panel: Panel, levels: Mask) -> None:
    """Write one mask as the gray image that the panel is sent.

    Above 8 bits the gray values stand as they are in the low bits of 16: 1023 is 1023, not 65535.

    Args:
        path: ``.png``, or ``.bmp`` up to 8 bits.
        panel: Where it is shown; its slope and flips are applied.
        levels: One mask, shape ``panel.shape``.

    Raises:
        ValueError: Another file type, or what :meth:`Panel.gray` refuses.
    """
    write_gray(path, panel, panel.gray(levels))


def write_gray(path: str | Path, panel: Panel, gray: NDArray) -> None:
    """Write gray values of the panel's shape as they are, such as an orientation pattern."""
    kind = _format(path)
    if kind == "BMP" and panel.bit_depth > 8:
        raise ValueError(
            f"{path} must be a .png for {panel.bit_depth} bits of {panel.name}: a BMP holds 8 bits of gray."
        )
    gray = panel.checked(gray, "the image").astype(panel.dtype)
    with written_whole(path) as part:
        Image.fromarray(gray).save(part, format=kind)


def read_image_levels(path: str | Path, panel: Panel) -> NDArray:
    """Levels, int64, of an image that was written for a panel.

    Raises:
        ValueError: No image, colours in it, another bit depth or shape, a gray value beyond the bits.
    """
    return panel.levels(read_gray(path, panel))


def read_gray(path: str | Path, panel: Panel) -> NDArray:
    """Gray values of an image file, as they are, shape ``panel.shape``."""
    gray = gray_image(path)
    wide = gray.dtype.itemsize > 1
    if wide != (panel.bit_depth > 8):
        raise ValueError(
            f"{path} must have {panel.bit_depth} bits for {panel.name}, got an image of {16 if wide else 8} bits. "
            "Rescaling would make other levels: export it again."
        )
    return panel.checked(gray, str(path))


def gray_image(path: str | Path) -> NDArray:
    """Pixels of a PNG or BMP file, ``(height, width)``, uint8 or uint16; no colour whose channels differ."""
    with opened_image(path) as image:
        refuse_lossy(path, image)
        mode, pixels = image.mode, np.asarray(image)
    if mode == "RGB" and (pixels == pixels[..., :1]).all():
        return pixels[..., 0].copy()
    if mode not in ("L", "I;16", "I;16B"):
        raise ValueError(f"{path} must be an image of 8 or 16 bits of gray, got Pillow's mode {mode}. Save it as gray.")
    return pixels.astype(np.uint8 if mode == "L" else np.uint16)


def refuse_lossy(path: str | Path, image: Image.Image) -> None:
    """Refuse a file that may hold other levels than were saved in it, whatever its name ends with."""
    if image.format not in _FORMATS.values():
        raise ValueError(
            f"{path} must be a {' or '.join(_FORMATS.values())} file, got {image.format}, which may hold other levels "
            "than were saved. Export it again."
        )


def _format(path: str | Path) -> str:
    kind = _FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        raise ValueError(f"{path} must end with {' or '.join(_FORMATS)}: others may lose levels.")
    return kind
