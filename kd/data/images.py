"""What a data loader hands to training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

IGNORED = -100  # label of pixels that count nowhere: the default ``ignore_index`` of PyTorch's losses


@dataclass(frozen=True, eq=False)
class _Pictures:
    """Images and labels of one length."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> Self:
        """The images at ``indices``, in that order."""
        return type(self)(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class LabelledImages(_Pictures):
    """Images of one shape, each with its class.

    Attributes:
        images: Grey or colour values in [0, 1], float32, shape ``(N, C, height, width)``.
        labels: Class of each image, int64, shape ``(N,)``.

    Raises:
        TypeError: Another dtype.
        ValueError: Another shape, no image at all, values outside [0, 1] or not finite, negative labels.
    """

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        _check_kinds(images, labels)
        if labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be one per image, got {tuple(labels.shape)} for {len(images)} images.")
        _check_values(images)
        if labels.min() < 0:
            raise ValueError(f"labels must not be negative, got {int(labels.min())}.")


@dataclass(frozen=True, eq=False)
class SegmentedImages(_Pictures):
    """Images of one shape, each with the class of every pixel.

    Attributes:
        images: Grey or colour values in [0, 1], float32, shape ``(N, C, height, width)``.
        labels: Class of each pixel, int64, shape ``(N, height, width)``; ``IGNORED`` where nobody knows.

    Raises:
        TypeError: Another dtype.
        ValueError: Another shape, no image at all, values outside [0, 1] or not finite, negative labels.
    """

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        _check_kinds(images, labels)
        if labels.shape != (len(images), *images.shape[-2:]):
            raise ValueError(
                f"labels must be one per pixel, got {tuple(labels.shape)} for images of {tuple(images.shape)}."
            )
        _check_values(images)
        if ((labels < 0) & (labels != IGNORED)).any():
            raise ValueError(f"labels must not be negative except {IGNORED} (ignored), got {int(labels.min())}.")


@dataclass(frozen=True, eq=False)
class DataSplits:
    """A data set cut in three: ``train`` fits the weights, ``validation`` picks the epoch, ``test`` is read once.

    Attributes:
        name: Name for tables and messages.
        classes: Name of each class; label ``i`` is ``classes[i]``.
        train: Images to fit.
        validation: Images to choose by.
        test: Images to report on.

    Raises:
        ValueError: Splits of different image shapes, or a label without a class name.
    """

    name: str
    classes: tuple[str, ...]
    train: LabelledImages | SegmentedImages
    validation: LabelledImages | SegmentedImages
    test: LabelledImages | SegmentedImages

    def __post_init__(self) -> None:
        for split in ("train", "validation", "test"):
            part: LabelledImages | SegmentedImages = getattr(self, split)
            if type(part) is not type(self.train):
                raise TypeError(f"{split} must be {type(self.train).__name__} like train, got {type(part).__name__}.")
            shape, expected = tuple(part.images.shape[1:]), tuple(self.train.images.shape[1:])
            if shape != expected:
                raise ValueError(f"{split} images must be {expected} like the train images, got {shape}.")
            if part.labels.max() >= len(self.classes):
                raise ValueError(f"{split} labels must be below {len(self.classes)}, got {int(part.labels.max())}.")


def _check_kinds(images: Tensor, labels: Tensor) -> None:
    """Refuse dtypes and shapes that would train wrongly or fail far away."""
    if images.dtype != torch.float32:
        raise TypeError(f"images must be float32, got {images.dtype}. Scale to [0, 1] and call .float().")
    if labels.dtype != torch.int64:
        raise TypeError(f"labels must be int64, got {labels.dtype}. Call .long().")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"images must be a filled (N, C, height, width), got {tuple(images.shape)}.")


def _check_values(images: Tensor) -> None:
    """Refuse values that are no share of white."""
    if not images.isfinite().all():
        raise ValueError(f"images must be finite, got {int((~images.isfinite()).sum())} values that are not.")
    low, high = images.aminmax()
    if low < 0 or high > 1:
        raise ValueError(f"images must be in [0, 1], got {low:g} to {high:g}. Divide 8-bit values by 255.")
