"""Handwritten digits that come with scikit-learn: nothing to download."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate

from kd.data.images import DataSplits, LabelledImages
from kd.extras import extra

NATIVE_SIZE = 8  # pixels, each a count of 0 to 16 ink dots in a 4 x 4 block
FULL_INK = 16


def load_digits(*, size: int = 32, validation: int = 197, test: int = 400, split_seed: int = 0) -> DataSplits:
    """UCI "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak 1998), its test part.

    1797 images of 8 x 8 pixels, enlarged bilinearly; by default 1200 to train on, 197 to validate and
    400 to test, with equal shares of every class. The file names no writers, so the split mixes
    them: one hand may be in train and in test, and accuracies are those of known hands.

    Args:
        size: Height and width to enlarge to [pixels], at least 8.
        validation: Number of validation images.
        test: Number of test images.
        split_seed: Seed of the split; another one is another data set.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: ``size`` is below the native 8, or a split would have fewer than 10 images.
    """
    if size < NATIVE_SIZE:
        raise ValueError(f"size must be at least {NATIVE_SIZE}, got {size}. Smaller images would drop pixels.")
    bunch = extra("sklearn.datasets", "scikit-learn").load_digits()
    if min(validation, test, len(bunch.target) - validation - test) < len(bunch.target_names):
        raise ValueError(
            f"each split must have at least {len(bunch.target_names)} images, "
            f"got validation={validation} and test={test} of {len(bunch.target)}."
        )
    native = torch.from_numpy(bunch.images).float()[:, None] / FULL_INK
    everything = LabelledImages(
        interpolate(native, size=(size, size), mode="bilinear", align_corners=False),
        torch.from_numpy(bunch.target).long(),
    )
    split = extra("sklearn.model_selection", "scikit-learn").train_test_split
    rest, tested = split(np.arange(len(everything)), test_size=test, stratify=bunch.target, random_state=split_seed)
    fitted, validated = split(rest, test_size=validation, stratify=bunch.target[rest], random_state=split_seed)
    return DataSplits(
        name=f"digits {size} x {size}",
        classes=tuple(str(name) for name in bunch.target_names),
        train=everything.subset(torch.from_numpy(fitted)),
        validation=everything.subset(torch.from_numpy(validated)),
        test=everything.subset(torch.from_numpy(tested)),
    )
