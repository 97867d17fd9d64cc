"""Picture files and 8-bit arrays to images in [0, 1]."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn.functional import interpolate

Size = int | tuple[int, int]  # height and width [pixels]; one number is both

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's "L" has it
_CHUNK = 2048  # images that are floats twice over at one time


def height_and_width(size: Size) -> tuple[int, int]:
    """``size`` as a pair, both at least 1."""
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}.")
    return height, width


def to_images(pixels: np.ndarray | Tensor, *, size: Size | None = None, grey: bool = False) -> Tensor:
    """8-bit pixels as shares of white, resized with an antialiasing bilinear filter.

    Args:
        pixels: uint8, shape ``(N, C, height, width)``.
        size: New height and width, or ``None`` to keep them. The aspect ratio is the caller's.
        grey: Whether three channels become their BT.601 luma.

    Returns:
        float32 in [0, 1], shape ``(N, C or 1, height, width)``.
    """
    pixels = torch.as_tensor(pixels)
    channels = 1 if grey else pixels.shape[1]
    height, width = pixels.shape[-2:] if size is None else height_and_width(size)
    images = torch.empty(len(pixels), channels, height, width)
    for start in range(0, len(pixels), _CHUNK):
        chunk = pixels[start : start + _CHUNK].float().div_(255)
        if grey and chunk.shape[1] == 3:
            chunk = torch.einsum("nchw,c->nhw", chunk, chunk.new_tensor(LUMA))[:, None]
        if (height, width) != tuple(chunk.shape[-2:]):
            chunk = interpolate(chunk, (height, width), mode="bilinear", antialias=True, align_corners=False)
        images[start : start + _CHUNK] = chunk
    return images.clamp_(0, 1)  # rounding of the filter's weights: 1 + 1e-7


def pictures_in(folder: Path) -> list[Path]:
    """Picture files directly in ``folder``, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != ".")


def read_picture(path: Path, *, size: Size | None = None, grey: bool = False, mask: bool = False) -> np.ndarray:
    """One picture file as 8-bit pixels.

    With a size, the picture is scaled to cover it, aspect ratio kept, and what stands out on two sides is cut
    off equally.

    Args:
        path: The file.
        size: Height and width to bring it to, or ``None`` for the file's own.
        grey: One channel instead of three.
        mask: Whether pixels are class indices: no conversion of colours, nearest neighbour.

    Returns:
        uint8, shape ``(height, width)`` of a mask or a grey picture, else ``(height, width, 3)``.

    Raises:
        ValueError: Not a picture, or a truncated one.
    """
    try:
        with Image.open(path) as picture:
            picture.load()
            image = picture if mask else picture.convert("L" if grey else "RGB")
            if size is not None:
                height, width = height_and_width(size)
                method = Image.Resampling.NEAREST if mask else Image.Resampling.BILINEAR
                image = ImageOps.fit(image, (width, height), method)
            return np.array(image)
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for some broken PNG files
        raise ValueError(f"{path} must be a whole picture file, got: {error}. Fetch it again or delete it.") from error


def read_pictures(paths: Sequence[Path], *, size: Size | None = None, grey: bool = False) -> Tensor:
    """Picture files as one array; with ``size=None`` they must all have one size.

    Returns:
        uint8, shape ``(N, 1 or 3, height, width)``.

    Raises:
        ValueError: Pictures of several sizes and no ``size``, or a broken file.
    """
    stack: np.ndarray | None = None
    for index, path in enumerate(with_progress(paths, "reading pictures")):
        pixels = read_picture(path, size=size, grey=grey)
        if stack is None:
            stack = np.empty((len(paths), *pixels.shape), np.uint8)
        elif pixels.shape != stack.shape[1:]:
            (height, width), (other_height, other_width) = stack.shape[1:3], pixels.shape[:2]
            raise ValueError(
                f"pictures must have one size, got {height} x {width} and {other_height} x {other_width} "
                f"({path}). Pass size=(height, width)."
            )
        stack[index] = pixels
    if stack is None:
        raise ValueError("pictures must be at least one, got none.")
    tensor = torch.from_numpy(stack)
    return tensor[:, None] if grey else tensor.permute(0, 3, 1, 2).contiguous()


def with_progress(paths: Sequence[Path], label: str) -> Iterable[Path]:
    """``paths`` with a progress bar on a terminal where there are many."""
    silent = len(paths) < 500 or not sys.stderr.isatty()
    return track(paths, label, console=Console(stderr=True), transient=True, disable=silent)
