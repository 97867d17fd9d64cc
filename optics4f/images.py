"""Image files as tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:  # a command that only looks whether a file is a picture does not wait for it
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
    """A file as a gray image of ``shape``, in [0, 1], float32, in its own proportions.

    Where ``shape`` has others, black stands beside the picture, so that a circle stays a circle; the middle of the
    picture is that of the image.

    Args:
        path: Anything that Pillow reads.
        shape: ``(height, width)`` to fit into, bilinearly.

    Raises:
        ValueError: The file is missing, is not an image, or is transparent somewhere.
    """
    import torch

    gray, top = _gray(path)
    share = min(shape[0] / gray.height, shape[1] / gray.width)
    height, width = (max(1, round(share * n)) for n in (gray.height, gray.width))
    image = np.zeros(shape, dtype=np.float32)
    row, column = shape[0] // 2 - height // 2, shape[1] // 2 - width // 2  # the axis is at index n // 2 of both
    fitted = gray.resize((width, height), Image.Resampling.BILINEAR)
    image[row : row + height, column : column + width] = np.asarray(fitted, dtype=np.float32) / top
    return torch.from_numpy(image)


def check_image(path: str | Path) -> None:
    """Refuse what :func:`read_image` refuses, all pixels read, without making a tensor of them."""
    _gray(path)


def _gray(path: str | Path) -> tuple[Image.Image, float]:
    """All pixels of a file in gray, and what is white."""
    with opened_image(path, "image") as image:
        image.load()
        clear = image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info
        if clear and image.convert("RGBA").getextrema()[3][0] < 255:
            raise ValueError(
                f"image {path} must have no transparent pixels: they may be meant bright or dark. Save it on a white "
                "or a black ground."
            )
        if image.mode.startswith("I;16"):
            return image.convert("F"), 65535.0  # Pillow's own way to 8 bits would clip all above 255
        if image.mode in ("I", "F"):
            raise ValueError(f"image {path} has pixels without a known white level. Save it as 8- or 16-bit gray.")
        return image.convert("L"), 255.0
