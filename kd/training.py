"""Training and evaluation of any classifier: one loop to read from top to bottom. Knows no optics.

A model may say more about itself, and need not:

- ``parameter_groups(learning_rate, mask_learning_rate)`` returns AdamW's parameter groups, each with its ``lr``;
- ``reseed(seed)`` restarts the noise that the model draws (a camera's), before each epoch and each evaluation.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypedDict

import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kd.augment import random_affine
from kd.data.images import DataSplits, LabelledImages
from kd.losses import hinton_kd
from kd.seeding import initialised_with


class AugmentationSettings(BaseModel):
    """Largest random displacement of a training image; all zero is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation_degrees: float = Field(default=12.0, ge=0, le=180)
    shift: float = Field(default=0.06, ge=0, lt=1)  # share of height and width
    scale: float = Field(default=0.1, ge=0, lt=1)  # change of magnification


class TrainingSettings(BaseModel):
    """How long, how fast, and what of the teacher."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=64, ge=2)
    learning_rate: float = Field(default=0.01, gt=0)  # peak of the one-cycle schedule
    mask_learning_rate_factor: float = Field(default=1.0, gt=0)  # for the parameters a model lists as its masks
    weight_decay: float = Field(default=1e-4, ge=0)
    temperature: float = Field(default=4.0, gt=0)
    alpha: float = Field(default=0.5, ge=0, le=1)  # weight of the teacher; without a teacher neither is used
    validate_every: int = Field(default=2, ge=1)  # epochs; the last one is always validated
    augmentation: AugmentationSettings = AugmentationSettings()


class EpochRecord(TypedDict):
    """One epoch, ready for JSON; ``restored`` marks the epoch whose weights the model has after ``fit``."""

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    validation_loss: float | None
    seconds: float
    restored: bool


History = list[EpochRecord]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a model does on a set of images.

    Attributes:
        accuracy: Share of images whose largest logit is the true class.
        loss: Mean cross entropy [nat].
        confusion: Counts, int64, shape ``(classes, classes)``: true class by row, predicted by column.
        predictions: Predicted class of each image, shape ``(N,)``.
    """

    accuracy: float
    loss: float
    confusion: Tensor
    predictions: Tensor


def fit(
    model: nn.Module,
    data: DataSplits,
    settings: TrainingSettings,
    *,
    seed: int,
    teacher: nn.Module | None = None,
    progress: bool | None = None,
    label: str = "training",
    on_epoch: Callable[[EpochRecord], None] | None = None,
) -> History:
    """Train ``model`` in place with AdamW and a one-cycle schedule; with a teacher, by distillation.

    The teacher is in eval mode and sees the same augmented batch as the student. The weights of the epoch with
    the best validation accuracy (ties: lower validation loss) are restored at the end. Test images are not
    touched. The same seed, machine and number of threads give the same weights bit for bit.

    Args:
        model: Images to logits; trained on the device where it lives.
        data: ``train`` and ``validation`` are used.
        settings: Schedule, augmentation and distillation.
        seed: Seed of order, augmentation, dropout and the model's own noise. Initial weights are the caller's.
        teacher: Images to logits, on the model's device, left as it is except for eval mode; ``None`` trains on
            labels alone.
        progress: Whether to draw a progress bar; by default when stderr is a terminal.
        label: Name on the progress bar.
        on_epoch: Called with the record of each epoch.

    Returns:
        One record per epoch.

    Raises:
        FloatingPointError: The loss is no longer finite.
    """
    device = _device(model)
    generator = torch.Generator().manual_seed(seed)
    augmentation = settings.augmentation
    optimizer = torch.optim.AdamW(_parameter_groups(model, settings), weight_decay=settings.weight_decay)
    batches_per_epoch = math.ceil(len(data.train) / settings.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=settings.epochs * batches_per_epoch,
    )
    if teacher is not None:
        teacher.eval()
    history: History = []
    best_score, best_state, best_epoch = (0.0, -math.inf), {}, 0
    visible = sys.stderr.isatty() if progress is None else progress
    bar = Progress(console=Console(stderr=True), disable=not visible, transient=True)
    with initialised_with(seed, device), bar:
        task = bar.add_task(label, total=settings.epochs)
        for epoch in range(1, settings.epochs + 1):
            start = time.perf_counter()
            model.train()
            _reseed(model, int(torch.randint(2**31, (), generator=generator)))  # evaluation below seeds it too
            total_loss = torch.zeros((), device=device)
            correct = torch.zeros((), device=device)
            # Equal shares, not a short last batch: batch normalisation cannot use a batch of one.
            for batch in torch.randperm(len(data.train), generator=generator).tensor_split(batches_per_epoch):
                images, labels = data.train.images[batch].to(device), data.train.labels[batch].to(device)
                images = random_affine(
                    images,
                    rotation=math.radians(augmentation.rotation_degrees),
                    shift=augmentation.shift,
                    scale=augmentation.scale,
                    generator=generator,
                )
                logits = model(images)
                if teacher is None:
                    loss = cross_entropy(logits, labels)
                else:
                    with torch.no_grad():
                        soft_targets = teacher(images)
                    loss = hinton_kd(
                        logits, soft_targets, labels, temperature=settings.temperature, alpha=settings.alpha
                    )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total_loss += loss.detach() * len(batch)
                correct += (logits.detach().argmax(dim=-1) == labels).sum()
            record = EpochRecord(
                epoch=epoch,
                loss=total_loss.item() / len(data.train),
                train_accuracy=correct.item() / len(data.train),
                validation_accuracy=None,
                validation_loss=None,
                seconds=0.0,
                restored=False,
            )
            if not math.isfinite(record["loss"]):
                raise FloatingPointError(
                    f"loss must stay finite, got {record['loss']} in epoch {epoch} of {label}. Lower learning_rate."
                )
            if epoch % settings.validate_every == 0 or epoch == settings.epochs:
                validation = evaluate(model, data.validation)
                record["validation_accuracy"], record["validation_loss"] = validation.accuracy, validation.loss
                score = (validation.accuracy, -validation.loss)
                if not best_state or score > best_score:
                    best_score, best_epoch = score, epoch
                    best_state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            record["seconds"] = time.perf_counter() - start
            history.append(record)
            if on_epoch is not None:
                on_epoch(record)
            bar.update(task, advance=1, description=_describe(label, record, best_score[0]))
    model.load_state_dict(best_state)
    history[best_epoch - 1]["restored"] = True
    return history


@torch.no_grad()
def evaluate(model: nn.Module, images: LabelledImages, *, batch_size: int = 256, seed: int = 0) -> Evaluation:
    """Classify ``images`` in eval mode; the model's mode is given back.

    Args:
        model: Images to logits.
        images: Images with true classes.
        batch_size: Images at a time; the result does not depend on it, except for a model's own noise.
        seed: Seed of the model's own noise, fixed so that two evaluations can be compared.
    """
    device, training = _device(model), model.training
    model.eval()
    _reseed(model, seed)
    try:
        logits = torch.cat([model(batch.to(device)).cpu() for batch in images.images.split(batch_size)])
    finally:
        model.train(training)
    labels, classes = images.labels.cpu(), logits.shape[-1]
    predictions = logits.argmax(dim=-1)
    confusion = torch.bincount(labels * classes + predictions, minlength=classes**2).reshape(classes, classes)
    return Evaluation(
        accuracy=(predictions == labels).double().mean().item(),
        loss=cross_entropy(logits.double(), labels).item(),
        confusion=confusion,
        predictions=predictions,
    )


def _parameter_groups(model: nn.Module, settings: TrainingSettings) -> list[dict]:
    """The model's own groups where it has them."""
    if hasattr(model, "parameter_groups"):
        mask_learning_rate = settings.learning_rate * settings.mask_learning_rate_factor
        return model.parameter_groups(settings.learning_rate, mask_learning_rate)
    return [{"params": list(model.parameters()), "lr": settings.learning_rate}]


def _reseed(model: nn.Module, seed: int) -> None:
    """Restart the model's own noise where it has any."""
    if hasattr(model, "reseed"):
        model.reseed(seed)


def _device(model: nn.Module) -> torch.device:
    """Where the model lives; a model without parameters lives anywhere."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _describe(label: str, record: EpochRecord, best: float) -> str:
    """One line for the progress bar."""
    return f"{label}  loss {record['loss']:.3f}  train {record['train_accuracy']:.1%}  best validation {best:.1%}"
