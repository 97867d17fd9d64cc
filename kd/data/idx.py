"""The IDX format of MNIST and of its many drop-in replacements."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch

from kd.data.images import DataSplits, LabelledImages
from kd.data.pixels import Size, to_images
from kd.data.places import inside
from kd.data.splits import hold_out

DIGITS = tuple("0123456789")
# README of github.com/zalandoresearch/fashion-mnist, "Labels".
FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")

_UNSIGNED_BYTE = 0x08
_GZIP = b"\x1f\x8b"


def read_idx(path: str | Path) -> np.ndarray:
    """One IDX file of unsigned bytes, gzip-compressed or not (LeCun, Cortes and Burges, "The MNIST database").

    Two zero bytes, the code 8 of unsigned bytes, the number of dimensions, each dimension as a big-endian
    32-bit integer, then the values, last index fastest.

    Returns:
        uint8, of the shape that the file states.

    Raises:
        ValueError: Another magic number, or another length than the header states.
    """
    path = Path(path)
    content = path.read_bytes()
    if content[:2] == _GZIP:
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} must be a whole gzip file, got: {error}. Fetch it again.") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise ValueError(
            f"{path} must begin with the IDX magic 00 00 08, got {content[:3].hex(' ') or 'nothing'}. Fetch it again."
        )
    header = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:header].ljust(4 * content[3], b"\0"), ">u4").tolist())
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise ValueError(
            f"{path} must have {expected} bytes for {' x '.join(map(str, shape))} values, got {len(content)}. "
            "Fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def load_idx(
    folder: str | Path,
    *,
    name: str = "MNIST",
    classes: tuple[str, ...] = DIGITS,
    size: Size | None = None,
    validation: float = 0.1,
    split_seed: int = 0,
) -> DataSplits:
    """MNIST, Fashion-MNIST or another set in their four files.

    The official test set, in its order; validation is cut from the official training set with equal shares of
    every class. Grey: ``(N, 1, 28, 28)`` for MNIST.

    Args:
        folder: Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
            ``t10k-labels-idx1-ubyte``, each with or without ``.gz``.
        name: Name for tables and messages.
        classes: Name of each class.
        size: Height and width to resize to, or ``None``.
        validation: Share of the training set to validate on.
        split_seed: Seed of that cut.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A broken file, or images and labels that do not match.
    """
    folder = Path(folder)
    pixels, labels = _pair(folder, "train")
    fitted, validated = hold_out(len(labels), validation, split_seed, labels=labels)
    tested = _pair(folder, "t10k")
    return DataSplits(
        name=name,
        classes=classes,
        train=LabelledImages(to_images(pixels[fitted], size=size), labels[fitted]),
        validation=LabelledImages(to_images(pixels[validated], size=size), labels[validated]),
        test=LabelledImages(to_images(tested[0], size=size), tested[1]),
    )


def _pair(folder: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels ``(N, 1, height, width)`` and labels of ``train`` or ``t10k``."""
    pixels, labels = (read_idx(_find(folder, f"{part}-{kind}")) for kind in ("images-idx3", "labels-idx1"))
    if pixels.ndim != 3 or labels.shape != pixels.shape[:1]:
        raise ValueError(
            f"{part} images must be (N, height, width) with N labels, got {pixels.shape} and {labels.shape} "
            f"in {folder}. Fetch both files again."
        )
    return torch.from_numpy(pixels.copy())[:, None], torch.from_numpy(labels.astype(np.int64))


def _find(folder: Path, stem: str) -> Path:
    """The file as it is distributed, unpacked, or unpacked by a tool that wrote a dot."""
    dotted = stem.replace("-idx", ".idx")
    return inside(folder, [f"{stem}-ubyte.gz", f"{stem}-ubyte", f"{dotted}-ubyte"], f"{stem}-ubyte")
