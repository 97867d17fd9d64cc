"""Hinton's loss against numbers worked out by hand."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from kd.losses import hinton_kd

LABELS = torch.tensor([2, 0, 1])


def logits(seed: int) -> torch.Tensor:
    return 2 * torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_two_classes_by_hand():
    # T = 2: teacher softmax(ln 9 / 2, 0) = (3/4, 1/4), student even. KL = 3/4 ln(3/2) + 1/4 ln(1/2).
    # CE of an even student is ln 2. alpha = 0.25: 0.25 * 4 * KL + 0.75 * ln 2.
    student, teacher = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[math.log(9), 0.0]], dtype=torch.float64)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    loss = hinton_kd(student, teacher, torch.tensor([1]), temperature=2.0, alpha=0.25)
    assert loss.item() == pytest.approx(divergence + 0.75 * math.log(2), rel=1e-12)


def test_without_weight_the_teacher_does_not_matter():
    loss = hinton_kd(logits(0), logits(1), LABELS, temperature=3.0, alpha=0.0)
    torch.testing.assert_close(loss, cross_entropy(logits(0), LABELS))


def test_with_all_the_weight_the_labels_do_not_matter():
    losses = [hinton_kd(logits(0), logits(1), y, temperature=3.0, alpha=1.0) for y in (LABELS, LABELS.flip(0))]
    assert losses[0] == losses[1]


def test_a_student_that_agrees_has_nothing_to_learn_from_the_teacher():
    student = logits(0).requires_grad_()
    loss = hinton_kd(student, logits(0) + 5.0, LABELS, temperature=4.0, alpha=1.0)  # a constant changes no softmax
    (gradient,) = torch.autograd.grad(loss, student)
    assert abs(loss.item()) < 1e-12
    assert gradient.abs().max() < 1e-12


def test_the_soft_gradient_is_the_difference_of_probabilities():
    student, temperature = logits(0).requires_grad_(), 5.0
    loss = hinton_kd(student, logits(1), LABELS, temperature=temperature, alpha=1.0)
    (gradient,) = torch.autograd.grad(loss, student)
    soft_student, soft_teacher = ((z / temperature).softmax(-1) for z in (logits(0), logits(1)))
    torch.testing.assert_close(gradient, temperature * (soft_student - soft_teacher) / 3)


def test_hot_distillation_matches_logits():
    # T -> infinity: the gradient tends to (z_s - z_t) / classes with centred logits (Hinton et al. 2015, eq. 4).
    student = logits(0).requires_grad_()
    (gradient,) = torch.autograd.grad(hinton_kd(student, logits(1), LABELS, temperature=1e4, alpha=1.0), student)
    difference = logits(0) - logits(1)
    torch.testing.assert_close(gradient, (difference - difference.mean(-1, keepdim=True)) / 4 / 3, atol=1e-4, rtol=1e-3)


def test_gradcheck():
    student = logits(0).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: hinton_kd(z, logits(1), LABELS, temperature=2.0, alpha=0.7), student)


def test_no_gradient_reaches_the_teacher():
    teacher = logits(1).requires_grad_()
    hinton_kd(logits(0).requires_grad_(), teacher, LABELS, temperature=2.0, alpha=0.5).backward()
    assert teacher.grad is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": 1.1}, r"alpha must be in \[0, 1\], got 1.1"),
        ({"alpha": math.nan}, "alpha must be"),
        ({"temperature": 0.0}, "temperature must be positive, got 0"),
        ({"teacher_logits": torch.zeros(3, 10)}, r"student's shape \(3, 4\), got \(3, 10\)"),
    ],
)
def test_meaningless_settings_are_refused(change, message):
    arguments = {"teacher_logits": logits(1), "labels": LABELS, "temperature": 2.0, "alpha": 0.5} | change
    with pytest.raises(ValueError, match=message):
        hinton_kd(logits(0), **arguments)
