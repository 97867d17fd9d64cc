"""What a data loader hands to training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images of one shape, each with its class.

    Attributes:
        images: Grey or colour values in [0, 1], float32, shape ``(N, C, height, width)``.
        labels: Class of each image, int64, shape ``(N,)``.

    Raises:
        TypeError: Another dtype.
        ValueError: Another shape, no image at all, values outside [0, 1] or not finite, negative labels.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != torch.float32:
            raise TypeError(f"images must be float32, got {images.dtype}. Scale to [0, 1] and call .float().")
        if labels.dtype != torch.int64:
            raise TypeError(f"labels must be int64, got {labels.dtype}. Call .long().")
        if images.ndim != 4 or 0 in images.shape:
            raise ValueError(f"images must be a filled (N, C, height, width), got {tuple(images.shape)}.")
        if labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be one per image, got {tuple(labels.shape)} for {len(images)} images.")
        if not images.isfinite().all():
            raise ValueError(f"images must be finite, got {int((~images.isfinite()).sum())} values that are not.")
        low, high = images.aminmax()
        if low < 0 or high > 1:
            raise ValueError(f"images must be in [0, 1], got {low:g} to {high:g}. Divide 8-bit values by 255.")
        if labels.min() < 0:
            raise ValueError(f"labels must not be negative, got {int(labels.min())}.")

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> LabelledImages:
        """The images at ``indices``, in that order."""
        return LabelledImages(self.images[indices], self.labels[indices])


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
    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages

    def __post_init__(self) -> None:
        for split in ("train", "validation", "test"):
            part: LabelledImages = getattr(self, split)
            shape, expected = tuple(part.images.shape[1:]), tuple(self.train.images.shape[1:])
            if shape != expected:
                raise ValueError(f"{split} images must be {expected} like the train images, got {shape}.")
            if part.labels.max() >= len(self.classes):
                raise ValueError(f"{split} labels must be below {len(self.classes)}, got {int(part.labels.max())}.")
