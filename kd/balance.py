"""Weights of classes that cover unlike areas: in a street the road is most of an image, a sign a few pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from kd.data.images import IGNORED


def median_frequency_weights(labels: Tensor, classes: int, *, power: float = 1.0) -> Tensor:
    r"""Weight of a pixel of each class: median frequency balancing (Eigen and Fergus 2015), as SegNet has for CamVid.

    .. math:: w_c \propto \left( \frac{\mathrm{median}(f)}{f_c} \right)^{p}, \qquad
        f_c = \frac{\text{pixels of class } c}{\text{labelled pixels of the images that show } c}

    scaled so that the mean weight of a labelled pixel is 1. A loss keeps its size, and a batch needs no normalisation
    of its own: parts of a batch add up to the whole.

    Args:
        labels: Class maps, int64, shape ``(N, height, width)``; ``IGNORED`` pixels count nowhere.
        classes: Number of classes.
        power: ``p``, 1 for the whole balance, 0 for none.

    Returns:
        Shape ``(classes,)``, float32; 0 for a class that is nowhere.

    Raises:
        ValueError: Labels of another shape, no labelled pixel, or ``power`` outside [0, 1].
    """
    if labels.ndim != 3:
        raise ValueError(f"labels must be class maps (N, height, width) to be balanced, got {tuple(labels.shape)}.")
    if not 0 <= power <= 1:
        raise ValueError(f"power must be in [0, 1], got {power:g}.")
    counts = torch.stack([torch.bincount(image[image != IGNORED], minlength=classes) for image in labels]).double()
    pixels = counts.sum(0)
    present = pixels > 0
    if not present.any():
        raise ValueError("labels must have a labelled pixel to be balanced, got none.")
    shown = ((counts > 0) * counts.sum(1, keepdim=True)).sum(0)
    frequency = pixels[present] / shown[present]
    weights = torch.zeros(classes, dtype=torch.float64)
    weights[present] = (frequency.quantile(0.5) / frequency) ** power
    return (weights * pixels.sum() / (weights * pixels).sum()).float()
