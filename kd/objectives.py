"""What a training step makes small: labels alone, or one of several ways to learn from a teacher.

An objective is called with model, teacher, images and labels, and returns the model's logits and a scalar, the mean
over the images or over the pixels that count. It draws from torch's global generator, which ``fit`` seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from kd.losses import (
    IGNORE_INDEX,
    attention_transfer,
    crossed_kernel_matching,
    decoupled_kd,
    hinton_kd,
    projected_tangents,
    tangent_kernel_matching,
)

Objective = Callable[[nn.Module, nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]


def labels_alone(
    model: nn.Module,
    teacher: nn.Module | None,
    images: Tensor,
    labels: Tensor,
    *,
    class_weights: Sequence[float] | None = None,
) -> tuple[Tensor, Tensor]:
    """Logits and cross entropy with the labels, 0-d; the teacher is not asked. 0 where every pixel is ignored.

    With ``class_weights``, one a class, an image or pixel counts as much as the weight of its class.
    """
    logits = model(images)
    if labels.ndim == 1 and class_weights is None:
        return logits, cross_entropy(logits, labels)
    # The mean over no pixel at all would be 0 / 0, and its gradient NaN. Weights do not change what it is divided by.
    weight = _on(logits, class_weights)
    total = cross_entropy(logits, labels, weight=weight, ignore_index=IGNORE_INDEX, reduction="sum")
    return logits, total / (labels != IGNORE_INDEX).sum().clamp(min=1)


@dataclass(frozen=True)
class WeightedLabels:
    """:func:`labels_alone` with a weight for each class, such as those of :mod:`kd.balance`."""

    class_weights: tuple[float, ...] = field(repr=False)  # unfinished runs know it by the settings and the data

    def __call__(
        self, model: nn.Module, teacher: nn.Module | None, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        return labels_alone(model, teacher, images, labels, class_weights=self.class_weights)


@dataclass(frozen=True)
class SoftTargets:
    """Hinton's distillation, :func:`kd.losses.hinton_kd`."""

    temperature: float = 4.0
    alpha: float = 0.5
    class_weights: tuple[float, ...] | None = field(default=None, repr=False)  # as those of WeightedLabels

    def __call__(self, model: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = model(images)
        options = {"temperature": self.temperature, "alpha": self.alpha}
        options["class_weights"] = _on(logits, self.class_weights)
        return logits, hinton_kd(logits, _answers(teacher, images), labels, **options)


@dataclass(frozen=True)
class Decoupled:
    """Decoupled distillation, :func:`kd.losses.decoupled_kd`, beside the cross entropy with the labels."""

    temperature: float = 4.0
    alpha: float = 1.0
    beta: float = 8.0

    def __call__(self, model: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits, loss = labels_alone(model, teacher, images, labels)
        weights = {"temperature": self.temperature, "alpha": self.alpha, "beta": self.beta}
        return logits, loss + decoupled_kd(logits, _answers(teacher, images), labels, **weights)


@dataclass(frozen=True, repr=False)
class TangentMatching:
    """Cross entropy and the tangent kernels of teacher and student (Xiang et al. 2025, arXiv 2508.08421).

    Both kernels are sketched with :func:`kd.losses.projected_tangents`, in eval mode: dropout and the statistics
    of the batch are no part of them. Costs two more passes of each network per probe.

    One probe is mostly noise, and the square of a noisy difference has a floor that is no distance and that has a
    gradient of its own. Measured with 64 digits on the readout of a physical student (778 weights) and its teacher
    (13 250), whose normalised kernels are 0.50 apart; mean and standard deviation of one estimate over draws,
    "equal" for the student's kernel against itself, whose distance is 0:

    ======  ================  ================  =================  ================
    probes  equal             student, teacher  equal, crossed     both, crossed
    ======  ================  ================  =================  ================
    1       0.211 +- 0.037    0.637 +- 0.158    -0.001 +- 0.025    0.446 +- 0.134
    4       0.055 +- 0.012    0.563 +- 0.098    0.000 +- 0.005     0.515 +- 0.075
    16      0.014 +- 0.002    0.557 +- 0.042    0.000 +- 0.002     0.549 +- 0.028
    ======  ================  ================  =================  ================

    What is left with many probes, 0.55 against 0.50, is the length of the moves: ``step`` of ``projected_tangents``.

    With ``crossed`` each kernel is sketched twice, and the differences are multiplied
    (:func:`kd.losses.crossed_kernel_matching`): twice the passes, and no floor.
    """

    alpha: float = 1.0  # weight of the labels
    beta: float = 1.0  # weight of the kernels
    probes: int = 1
    normalised: bool = True
    crossed: bool = False  # two sets of probes instead of one

    def __post_init__(self) -> None:
        if self.probes < 1:
            raise ValueError(f"probes must be at least 1, got {self.probes}.")

    def __repr__(self) -> str:
        # States of unfinished training know their objective by it, also those from before there was `crossed`.
        told = [f.name for f in fields(self) if f.name != "crossed" or self.crossed]
        return f"TangentMatching({', '.join(f'{name}={getattr(self, name)!r}' for name in told)})"

    def __call__(self, model: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits, loss = labels_alone(model, teacher, images, labels)
        seed = int(torch.randint(2**31, ()))
        generator = torch.Generator(images.device).manual_seed(seed)

        def sketches(network: nn.Module) -> list[Tensor]:
            sets = (
                projected_tangents(network, images, probes=self.probes, generator=generator)
                for _ in range(1 + self.crossed)
            )
            return [tangents @ tangents.T for tangents in sets]

        with _in_eval_mode(model):
            student = sketches(model)
        with torch.no_grad():
            taught = sketches(teacher)
        if hasattr(model, "reseed"):
            model.reseed(seed)  # the passes above started its noise again: it must not repeat in every step
        if self.crossed:
            matching = crossed_kernel_matching(tuple(student), tuple(taught), normalised=self.normalised)
        else:
            matching = tangent_kernel_matching(student[0], taught[0], normalised=self.normalised)
        return logits, self.alpha * loss + self.beta * matching


@dataclass(frozen=True)
class Attention:
    """Soft targets, and where the features of two layers are strong: :func:`kd.losses.attention_transfer`.

    Layers are named as in ``named_modules``; their outputs must be maps ``(B, channels, height, width)``.
    """

    student_layer: str = "front_end"
    teacher_layer: str = "features"
    weight: float = 1.0
    soft_targets: SoftTargets = SoftTargets()

    def __call__(self, model: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with _output_of(model, self.student_layer) as student, _output_of(teacher, self.teacher_layer) as taught:
            logits, loss = self.soft_targets(model, teacher, images, labels)
        return logits, loss + self.weight * attention_transfer(student[0], taught[0])


def _on(logits: Tensor, weights: Sequence[float] | None) -> Tensor | None:
    """Weights of the classes where the logits are."""
    return None if weights is None else torch.tensor(weights, dtype=logits.dtype, device=logits.device)


@torch.no_grad()
def _answers(teacher: nn.Module, images: Tensor) -> Tensor:
    """What the teacher says."""
    return teacher(images)


@contextmanager
def _in_eval_mode(model: nn.Module) -> Iterator[None]:
    """``model`` in eval mode, then each of its modules as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _output_of(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """A list that fills with what ``layer`` returns inside the block."""
    layers = dict(model.named_modules())
    if layer not in layers:
        names = ", ".join(name for name, _ in model.named_children())
        raise ValueError(f"layer must be one of {type(model).__name__}, such as {names}, got {layer!r}.")
    outputs: list[Tensor] = []
    handle = layers[layer].register_forward_hook(lambda module, inputs, output: outputs.append(output))
    try:
        yield outputs
    finally:
        handle.remove()
