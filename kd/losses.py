"""Distillation losses: pure functions of logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax


def hinton_kd(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float, alpha: float
) -> Tensor:
    r"""Soft targets of the teacher and hard labels together (Hinton, Vinyals and Dean 2015, section 2).

    .. math:: L = \alpha T^2 \, \mathrm{KL}(p_t^T \,\|\, p_s^T) + (1 - \alpha) \, \mathrm{CE}(p_s, y)

    with :math:`p^T = \mathrm{softmax}(z / T)`. :math:`T^2` keeps the gradient of the soft part,
    :math:`\alpha T (p_s^T - p_t^T)`, of one size as the temperature changes.

    Args:
        student_logits: Shape ``(B, classes)``.
        teacher_logits: Shape ``(B, classes)``; no gradient goes into them.
        labels: True classes, int64, shape ``(B,)``.
        temperature: Softening of both distributions, above 0.
        alpha: Weight of the teacher, in [0, 1]; at 0 the labels alone count.

    Returns:
        Mean over the batch, a scalar.

    Raises:
        ValueError: ``temperature`` or ``alpha`` out of range, or logits of two shapes.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha:g}.")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature:g}.")
    if student_logits.shape != teacher_logits.shape:
        raise ValueError(
            f"teacher_logits must have the student's shape {tuple(student_logits.shape)}, "
            f"got {tuple(teacher_logits.shape)}. Teacher and student must know the same classes."
        )
    soft = kl_div(
        log_softmax(student_logits / temperature, dim=-1),
        log_softmax(teacher_logits.detach() / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return alpha * temperature**2 * soft + (1 - alpha) * cross_entropy(student_logits, labels)
