"""Cutting a part off a data set, the same part for the same seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from kd.extras import extra


def hold_out(
    count: int,
    share: float,
    seed: int,
    *,
    labels: Tensor | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[Tensor, Tensor]:
    """Indices to keep and indices to hold out, each in the original order.

    Args:
        count: Number of images.
        share: Share to hold out, in (0, 1).
        seed: Seed of the cut; another one is another split.
        labels: Class of each image, shape ``(count,)``: every class gives the same share.
        groups: Name of each image's group, instead of ``labels``: a group is never torn apart, and ``share``
            counts groups.

    Returns:
        ``(kept, held_out)``, int64.

    Raises:
        ImportError: scikit-learn is not installed.
        ValueError: ``share`` out of range, or too few images (groups) to cut.
    """
    if not 0 < share < 1:
        raise ValueError(f"the held-out share must be between 0 and 1, got {share:g}.")
    selection = extra("sklearn.model_selection", "scikit-learn")
    everything = np.arange(count)
    try:
        if groups is not None:
            splitter = selection.GroupShuffleSplit(n_splits=1, test_size=share, random_state=seed)
            kept, held = next(splitter.split(everything, groups=groups))
        else:
            strata = None if labels is None else labels.numpy()
            kept, held = selection.train_test_split(everything, test_size=share, stratify=strata, random_state=seed)
    except ValueError as error:
        of_what = "every class in both parts" if labels is not None else "one image (or group) in both parts"
        raise ValueError(
            f"the held-out share must leave {of_what}, got {share:g} of {count} images. "
            "Take more images or another share."
        ) from error
    return torch.from_numpy(np.sort(kept)), torch.from_numpy(np.sort(held))
