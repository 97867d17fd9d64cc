"""Training of any network: one loop to read from top to bottom. Knows no optics.

A model may say more about itself, and need not:

- ``parameter_groups(learning_rate, mask_learning_rate)`` returns the optimiser's parameter groups, each with its
  ``lr``;
- ``reseed(seed)`` restarts the noise that the model draws (a camera's), before each epoch and each evaluation. It
  keeps its generator in an attribute, so that a resumed run can go on in it;
- ``penalty()`` returns a scalar that is added to the loss of every batch, or ``None``;
- ``harden(share)`` lets so much of the hardware act, from 0 (ideal) to 1: the ``curriculum`` of the settings.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict

import torch
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Console
from rich.progress import Progress
from torch import autocast, nn

from kd.balance import median_frequency_weights
from kd.batches import AugmentationSettings, epoch_of_batches, number_of_batches
from kd.data.images import IGNORED, DataSplits
from kd.digest import digest
from kd.distributed import agreed, average_gradients, gathered, one_model, rank, summed, world_size
from kd.evaluation import Evaluation, device_of, evaluate, reseed
from kd.layout import channels_last
from kd.objectives import Objective, SoftTargets, WeightedLabels, labels_alone
from kd.resume import load_run, random_states, save_run, set_random_states
from kd.seeding import initialised_with

__all__ = ["AugmentationSettings", "EpochRecord", "Evaluation", "History", "TrainingSettings", "evaluate", "fit"]


class TrainingSettings(BaseModel):
    """How long, how fast, and what of the teacher."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(default=30, ge=1)
    batch_size: int = Field(default=64, ge=2)  # images that a process computes at a time
    accumulate: int = Field(default=1, ge=1)  # so many of these make a step
    optimizer: Literal["adamw", "sgd"] = "adamw"  # sgd: Nesterov momentum 0.9
    schedule: Literal["one_cycle", "cosine"] = "one_cycle"
    learning_rate: float = Field(default=0.01, gt=0)  # peak of the one-cycle schedule, start of the cosine
    mask_learning_rate_factor: float = Field(default=1.0, gt=0)  # for the parameters a model lists as its masks
    weight_decay: float = Field(default=1e-4, ge=0)
    gradient_norm: float | None = Field(default=None, gt=0)  # longer gradients are shortened to it
    temperature: float = Field(default=4.0, gt=0)
    alpha: float = Field(default=0.5, ge=0, le=1)  # weight of the teacher; without a teacher neither is used
    class_balance: float = Field(default=0.0, ge=0, le=1)  # of class maps: 1 weighs rare classes up to the median one
    validate_every: int = Field(default=2, ge=1)  # epochs; the last one is always validated
    patience: int | None = Field(default=None, ge=1)  # validations without a new best before training stops
    augmentation: AugmentationSettings = AugmentationSettings()
    precision: Literal["float32", "bfloat16"] = "float32"  # of digital layers in training; light is float32
    curriculum: float = Field(default=0.0, ge=0, lt=1)  # part of the epochs in which hardware grows from ideal to full


class EpochRecord(TypedDict):
    """One epoch, ready for JSON; ``restored`` marks the epoch whose weights the model has after ``fit``.

    Accuracies are shares of images, or of the pixels that count; ``validation_mean_iou`` is of class maps alone.
    ``seconds`` [s] are those of the epoch, validation included.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_accuracy: float | None
    validation_loss: float | None
    validation_mean_iou: float | None
    seconds: float
    restored: bool


History = list[EpochRecord]


def fit(
    model: nn.Module,
    data: DataSplits,
    settings: TrainingSettings,
    *,
    seed: int,
    teacher: nn.Module | None = None,
    objective: Objective | None = None,
    progress: bool | None = None,
    label: str = "training",
    on_epoch: Callable[[EpochRecord], None] | None = None,
    state_file: str | Path | None = None,
    save_every: int = 500,
) -> History:
    """Train ``model`` in place; with a teacher, by distillation.

    The teacher is in eval mode and sees the same augmented batch as the student. The weights of the epoch with
    the best validation accuracy (mIoU of class maps; ties: lower validation loss) are restored at the end. Test
    images are not touched. The same seed, machine and number of threads give the same weights bit for bit, with or
    without an interruption. Under ``torchrun`` (:func:`kd.distributed.torchrun`) each process computes its part of
    batches that are larger by the number of processes.

    Args:
        model: Images to logits, ``(B, classes)`` or ``(B, classes, height, width)``; trained where it lives.
        data: ``train`` and ``validation`` are used.
        settings: Schedule, augmentation and distillation.
        seed: Seed of order, augmentation, dropout and the model's own noise. Initial weights are the caller's.
        teacher: Images to logits, on the model's device, left as it is except for eval mode; ``None`` trains on
            labels alone.
        objective: How to learn from the teacher; by default :class:`kd.objectives.SoftTargets` with the settings'
            temperature, alpha and balance of classes.
        progress: Whether to draw a progress bar; by default when stderr is a terminal.
        label: Name on the progress bar.
        on_epoch: Called with the record of each epoch, in process 0.
        state_file: Where the state of the run is kept, written after each epoch. If it is there already, the run goes
            on from it; a finished run is only restored.
        save_every: Steps between two writings within an epoch.

    Returns:
        One record per epoch.

    Raises:
        FloatingPointError: The loss is no longer finite.
        ValueError: An objective without a teacher, a balance of classes that are not in maps, a state file of another
            run or of another teacher's, or too few images for a batch.
    """
    if teacher is not None:
        teacher.eval()
    elif objective is not None:
        raise ValueError(f"objective must have a teacher to learn from, got {objective} and none. Pass teacher.")
    device, parts = device_of(model), world_size() * settings.accumulate
    if objective is None:
        objective = _objective(data, settings, taught=teacher is not None)
    elif settings.class_balance:
        raise ValueError("settings.class_balance must be 0 with an objective, which weighs classes itself.")
    steps = number_of_batches(len(data.train), settings.batch_size, parts)
    generator = torch.Generator().manual_seed(seed)
    optimizer, schedule = _optimizer(model, settings, settings.epochs * steps)
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    identity = _identity(model, data, settings, seed, objective)
    taught_by = None if teacher is None or state_file is None else digest(teacher.state_dict())
    # All that a run has besides the weights: finished epochs and steps in the next, its sums, the best model so far.
    run: dict[str, Any] = {"epoch": 0, "step": 0, "waited": 0, "history": []}
    run |= {"best": {}, "best_epoch": 0, "best_score": (0.0, -math.inf), "order": generator.get_state()}
    sums = torch.zeros(3, dtype=torch.float64, device=device)  # loss, right ones, all that count

    def save() -> None:
        if state_file is None:
            return
        everywhere = gathered({"sums": sums.cpu(), "random": random_states(model, device)})
        weights = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}
        if rank() == 0:
            save_run(state_file, identity, {"run": run, "processes": everywhere, "taught_by": taught_by, **weights})

    visible = (sys.stderr.isatty() if progress is None else progress) and rank() == 0
    bar = Progress(console=Console(stderr=True), disable=not visible, transient=True)
    with initialised_with(seed + rank(), device), one_model(model), channels_last(model, teacher), bar:
        if state_file is not None and (saved := load_run(state_file, identity)) is not None:
            if saved.get("taught_by", taught_by) != taught_by:  # older states do not say
                raise ValueError(
                    f"{state_file} must be of a run with this teacher, got one with other weights. Give the run's own "
                    "file, or delete it to start anew."
                )
            run, local = saved["run"], saved["processes"][rank()]
            sums.copy_(local["sums"])
            reseed(model, 0)  # so that the generators to set are there
            set_random_states(model, device, local["random"])
            for part, name in ((model, "model"), (optimizer, "optimizer"), (schedule, "schedule")):
                part.load_state_dict(saved[name])
        task = bar.add_task(label, total=settings.epochs * steps, completed=run["epoch"] * steps + run["step"])
        while run["epoch"] < settings.epochs and not _is_over(run, settings):
            start, epoch = time.perf_counter(), run["epoch"] + 1
            model.train()
            _harden(model, settings, run["epoch"])
            generator.set_state(run["order"])
            noise_seed = int(torch.randint(2**31, (), generator=generator)) + rank()
            if run["step"] == 0:  # not in the middle of an epoch that is resumed
                reseed(model, noise_seed)  # evaluation seeds it too
                sums.zero_()
            batches = epoch_of_batches(
                data.train,
                settings.augmentation,
                size=settings.batch_size,
                turns=settings.accumulate,
                processes=world_size(),
                process=rank(),
                generator=generator,
                device=device,
                skip=run["step"],
            )
            for batch in batches:
                optimizer.zero_grad()
                counted = torch.zeros((), device=device)
                for images, labels in batch:
                    with autocast(device.type, torch.bfloat16, enabled=settings.precision == "bfloat16"):
                        logits, loss = objective(model, teacher, images, labels)
                    penalty = model.penalty() if hasattr(model, "penalty") else None
                    if penalty is not None:
                        loss = loss + penalty
                    count = (labels != IGNORED).sum()
                    (loss if parts == 1 else loss * count).backward()
                    counted += count
                    right = (logits.detach().argmax(dim=1) == labels).sum()
                    sums += torch.stack([loss.detach() * count, right, count])
                if parts > 1:
                    average_gradients(trained, counted)
                if settings.gradient_norm is not None:
                    nn.utils.clip_grad_norm_(trained, settings.gradient_norm)
                optimizer.step()
                schedule.step()
                run["step"] += 1
                bar.advance(task)
                if run["step"] % save_every == 0 and run["step"] < steps:
                    save()
            record = _record(epoch, *(summed(sums).tolist()))
            if not math.isfinite(record["loss"]):
                raise FloatingPointError(
                    f"loss must stay finite, got {record['loss']} in epoch {epoch} of {label}. Lower learning_rate."
                )
            if epoch % settings.validate_every == 0 or epoch == settings.epochs:
                _harden(model, settings, settings.epochs)  # what counts is the whole hardware
                _validate(model, data, record, run)
            record["seconds"] = time.perf_counter() - start
            run["history"].append(record)
            run |= {"epoch": epoch, "step": 0, "order": generator.get_state()}
            if on_epoch is not None and rank() == 0:
                on_epoch(record)
            save()
            bar.update(task, description=_describe(label, record, run["best_score"][0]))
    model.load_state_dict(run["best"])
    _harden(model, settings, settings.epochs)
    run["history"][run["best_epoch"] - 1]["restored"] = True
    return run["history"]


def _objective(data: DataSplits, settings: TrainingSettings, *, taught: bool) -> Objective:
    """Labels alone or soft targets, with the classes as they are or balanced."""
    weights = None
    if settings.class_balance:
        weights = median_frequency_weights(data.train.labels, len(data.classes), power=settings.class_balance)
        weights = tuple(weights.tolist())
    if taught:
        return SoftTargets(settings.temperature, settings.alpha, weights)
    return labels_alone if weights is None else WeightedLabels(weights)


def _optimizer(
    model: nn.Module, settings: TrainingSettings, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Optimiser and schedule, with the model's own parameter groups where it has them."""
    groups = [{"params": list(model.parameters()), "lr": settings.learning_rate}]
    if hasattr(model, "parameter_groups"):
        mask_learning_rate = settings.learning_rate * settings.mask_learning_rate_factor
        groups = model.parameter_groups(settings.learning_rate, mask_learning_rate)
    if settings.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, momentum=0.9, nesterov=True, weight_decay=settings.weight_decay)
    else:
        optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    if settings.schedule == "cosine":
        return optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rates = [group["lr"] for group in optimizer.param_groups]
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rates, total_steps=steps)


def _identity(
    model: nn.Module, data: DataSplits, settings: TrainingSettings, seed: int, objective: Objective
) -> dict[str, Any]:
    """What two runs must share for one to go on with the other's state."""
    plain, later = TrainingSettings(), ("class_balance", "curriculum", "precision")
    unused = {name for name in later if getattr(settings, name) == getattr(plain, name)}
    return {
        **settings.model_dump(mode="json", exclude=unused),  # states written before these settings existed go on
        "seed": seed,
        **({} if device_of(model).type == "cpu" else {"device": device_of(model).type}),  # generators differ
        "processes": world_size(),
        "objective": getattr(objective, "__name__", repr(objective)),
        "data": [data.name, len(data.train), len(data.validation), *data.train.images.shape[1:]],
        **{f"shape of {name}": list(tensor.shape) for name, tensor in model.state_dict().items()},
    }


def _harden(model: nn.Module, settings: TrainingSettings, epoch: int) -> None:
    """The share of the hardware that acts in this epoch, which grows evenly; all of it acts from the second part on."""
    if settings.curriculum and hasattr(model, "harden"):
        model.harden(min(1.0, epoch / (settings.curriculum * settings.epochs)))


def _is_over(run: dict[str, Any], settings: TrainingSettings) -> bool:
    """Whether validation has not become better for too long."""
    return settings.patience is not None and run["waited"] >= settings.patience


def _record(epoch: int, loss: float, right: float, counted: float) -> EpochRecord:
    """An epoch from its sums, not yet validated."""
    return EpochRecord(
        epoch=epoch,
        loss=loss / max(counted, 1),
        train_accuracy=right / max(counted, 1),
        validation_accuracy=None,
        validation_loss=None,
        validation_mean_iou=None,
        seconds=0.0,
        restored=False,
    )


def _validate(model: nn.Module, data: DataSplits, record: EpochRecord, run: dict[str, Any]) -> None:
    """Fill ``record``, and keep the weights in ``run`` if they are the best so far."""
    measured = None
    if rank() == 0:
        result = evaluate(model, data.validation)
        maps = result.predictions.ndim > 1
        measured = (result.accuracy, result.loss, result.mean_iou if maps else None, result.score)
    accuracy, loss, mean_iou, score = agreed(measured)
    record |= {"validation_accuracy": accuracy, "validation_loss": loss, "validation_mean_iou": mean_iou}
    run["waited"] += 1
    if not run["best"] or score > tuple(run["best_score"]):
        run |= {"best_score": score, "best_epoch": record["epoch"], "waited": 0}
        run["best"] = {name: tensor.clone() for name, tensor in model.state_dict().items()}


def _describe(label: str, record: EpochRecord, best: float) -> str:
    """One line for the progress bar."""
    return f"{label}  loss {record['loss']:.3f}  train {record['train_accuracy']:.1%}  best validation {best:.1%}"
