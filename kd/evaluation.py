"""How good a model is on images that it has not seen: of one class each, or of one class per pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kd.data.images import IGNORED, LabelledImages, SegmentedImages


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a model does on a set of images.

    Pixels whose label is ``IGNORED`` count nowhere.

    Attributes:
        accuracy: Share of images, or of pixels, whose largest logit is the true class.
        loss: Mean cross entropy [nat].
        confusion: Counts, int64, shape ``(classes, classes)``: true class by row, predicted by column.
        predictions: Predicted class of each image, int64, shape ``(N,)``, or of each pixel, int16, shape
            ``(N, height, width)``.
    """

    accuracy: float
    loss: float
    confusion: Tensor
    predictions: Tensor

    @property
    def iou(self) -> Tensor:
        """Intersection over union of each class, float64; NaN for a class neither there nor predicted."""
        both = self.confusion.diagonal().double()
        return both / (self.confusion.sum(dim=0) + self.confusion.sum(dim=1) - both)

    @property
    def mean_iou(self) -> float:
        """Mean of :attr:`iou` over the classes that are there or predicted, over all pixels at once (mIoU)."""
        return self.iou.nanmean().item()

    @property
    def score(self) -> tuple[float, float]:
        """What the better of two models has more of: accuracy, or mIoU of class maps; then the lower loss."""
        return (self.mean_iou if self.predictions.ndim > 1 else self.accuracy, -self.loss)


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: LabelledImages | SegmentedImages,
    *,
    batch_size: int = 256,
    seed: int = 0,
    progress: Callable[[int], None] = lambda more: None,
) -> Evaluation:
    """Classify ``images``, or their pixels, in eval mode; the model's mode is given back.

    Args:
        model: Images to logits, ``(B, classes)`` or ``(B, classes, height, width)`` as the labels ask for.
        images: Images with true classes.
        batch_size: Images at a time; the result does not depend on it, except for a model's own noise.
        seed: Seed of the model's own noise, fixed so that two evaluations can be compared.
        progress: Told how many more images are done.

    Raises:
        ValueError: Logits that do not fit the labels.
    """
    device, training = device_of(model), model.training
    model.eval()
    reseed(model, seed)
    predictions, loss, confusion = [], 0.0, torch.zeros((), dtype=torch.int64)
    try:
        for some, labels in zip(images.images.split(batch_size), images.labels.cpu().split(batch_size), strict=True):
            logits = model(some.to(device)).cpu()
            if logits.shape[:1] + logits.shape[2:] != labels.shape:
                raise ValueError(
                    f"logits must be (B, classes) for labels (B,) and (B, classes, height, width) for class maps, "
                    f"got {tuple(logits.shape)} for labels {tuple(labels.shape)}. Choose a readout that fits."
                )
            classes, kept = logits.shape[1], labels != IGNORED
            loss += cross_entropy(logits.double(), labels, ignore_index=IGNORED, reduction="sum").item()
            predicted = logits.argmax(dim=1)
            pairs = labels[kept] * classes + predicted[kept]
            confusion = confusion + torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)
            predictions.append(predicted if labels.ndim == 1 else predicted.to(torch.int16))  # maps take much memory
            progress(len(labels))
    finally:
        model.train(training)
    counted = max(int(confusion.sum()), 1)
    return Evaluation(
        accuracy=int(confusion.diagonal().sum()) / counted,
        loss=loss / counted,
        confusion=confusion,
        predictions=torch.cat(predictions),
    )


def reseed(model: nn.Module, seed: int) -> None:
    """Restart the model's own noise where it has any."""
    if hasattr(model, "reseed"):
        model.reseed(seed)


def device_of(model: nn.Module) -> torch.device:
    """Where the model lives; a model without parameters lives anywhere."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
