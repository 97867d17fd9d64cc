"""Image files as tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor


@contextmanager
def opened_image(path: str | Path, what: str = "") -> Iterator[Image.Image]:
    """An image file to read; what is wrong with it is a ``ValueError`` of one line, ``what`` in front of its name."""
    name = f"{what} {path}".lstrip()
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError as error:
        raise ValueError(f"{name} does not exist.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} is not an image that can be read: {str(error).splitlines()[0]}") from error


def read_image(path: str | Path, shape: tuple[int, int]) -> Tensor:
    """A file as a gray image of ``shape``, in [0, 1], float32.

    Args:
        path: Anything that Pillow reads.
        shape: ``(height, width)`` to resize to, bilinearly.

    Raises:
        ValueError: The file is missing or is not an image.
    """
    with opened_image(path, "image") as image:
        top = 255.0
        if image.mode.startswith("I;16"):
            gray, top = image.convert("F"), 65535.0  # Pillow's own way to 8 bits would clip all above 255
        elif image.mode in ("I", "F"):
            raise ValueError(f"image {path} has pixels without a known white level. Save it as 8- or 16-bit gray.")
        else:
            gray = image.convert("L")
        gray = gray.resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.asarray(gray, dtype=np.float32) / top)
