"""Distillation losses: pure functions of logits, features and tangent kernels.

Logits have shape ``(B, classes)``, or ``(B, classes, height, width)`` with one class per pixel; labels then have shape
``(B,)`` or ``(B, height, width)``. Where a label is ``ignore_index``, that pixel counts in no term, and the mean is
over the others.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy, kl_div, log_softmax, normalize

IGNORE_INDEX = -100  # PyTorch's own, and that of ``kd.data``


def hinton_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    alpha: float,
    ignore_index: int = IGNORE_INDEX,
    class_weights: Tensor | None = None,
) -> Tensor:
    r"""Soft targets of the teacher and hard labels together (Hinton, Vinyals and Dean 2015, section 2).

    .. math:: L = \alpha T^2 \, \mathrm{KL}(p_t^T \,\|\, p_s^T) + (1 - \alpha) \, \mathrm{CE}(p_s, y)

    with :math:`p^T = \mathrm{softmax}(z / T)`. :math:`T^2` keeps the gradient of the soft part,
    :math:`\alpha T (p_s^T - p_t^T)`, of one size as the temperature changes.

    Args:
        student_logits: Shape ``(B, classes)`` or ``(B, classes, height, width)``.
        teacher_logits: The same shape; no gradient goes into them.
        labels: True classes, int64, shape ``(B,)`` or ``(B, height, width)``.
        temperature: Softening of both distributions, above 0.
        alpha: Weight of the teacher, in [0, 1]; at 0 the labels alone count.
        ignore_index: Label of what counts nowhere.
        class_weights: How much an image or pixel of each true class counts in both parts, shape ``(classes,)``; it
            does not change the number that the mean is divided by.

    Returns:
        Mean over the batch (and its pixels), a scalar; 0 where every label is ignored.

    Raises:
        ValueError: ``temperature`` or ``alpha`` out of range, or logits of two shapes.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha:g}.")
    student, teacher, labels = _rows(student_logits, teacher_logits, labels, temperature)
    soft = kl_div(
        log_softmax(student / temperature, dim=-1),
        log_softmax(teacher / temperature, dim=-1),
        reduction="none",
        log_target=True,
    ).sum(dim=-1)
    hard = cross_entropy(student, labels, ignore_index=ignore_index, reduction="none")
    losses, kept = alpha * temperature**2 * soft + (1 - alpha) * hard, labels != ignore_index
    if class_weights is not None:
        losses = losses * class_weights[torch.where(kept, labels, 0)]
    return _mean(losses, kept)


def decoupled_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    alpha: float = 1.0,
    beta: float = 8.0,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    r"""Decoupled distillation: target against the rest, and the rest among themselves (Zhao et al. 2022).

    .. math:: L = T^2 \left[ \alpha \, \mathrm{KL}(b_t \,\|\, b_s) + \beta \, \mathrm{KL}(\hat p_t \,\|\, \hat p_s)
        \right]

    with :math:`b = (p_y, 1 - p_y)`, the share of the true class against all others, and :math:`\hat p` the softmax
    over the others alone. With :math:`\alpha = 1` and :math:`\beta = 1 - p_{t, y}` it is Hinton's soft term; a
    fixed ``beta`` keeps what the teacher knows about wrong classes when it is sure of the right one. The labels'
    own cross entropy is not in it: add it.

    Args:
        student_logits: Shape ``(B, classes)`` or ``(B, classes, height, width)``.
        teacher_logits: The same shape; no gradient goes into them.
        labels: True classes, int64, shape ``(B,)`` or ``(B, height, width)``.
        temperature: Softening of both distributions, above 0.
        alpha: Weight of the target's share.
        beta: Weight of the distribution over the others; with two classes there is nothing to distribute.
        ignore_index: Label of what counts nowhere.

    Returns:
        Mean over the batch (and its pixels), a scalar; 0 where every label is ignored.

    Raises:
        ValueError: A weight below 0, ``temperature`` out of range, logits of two shapes, or a single class.
    """
    if not (alpha >= 0 and beta >= 0):
        raise ValueError(f"alpha and beta must not be negative, got {alpha:g} and {beta:g}.")
    student, teacher, labels = _rows(student_logits, teacher_logits, labels, temperature)
    classes = student.shape[-1]
    if classes < 2:
        raise ValueError(f"logits must have at least two classes, got {classes}.")
    kept = labels != ignore_index
    target = torch.where(kept, labels, 0)[:, None]
    others = torch.arange(classes - 1, device=labels.device)
    others = others + (others >= target)  # every class but the target: no masked infinities, no lost digits
    binary, rest = [], []
    for logits in (student / temperature, teacher / temperature):
        wrong = logits.gather(-1, others)
        shares = torch.cat([logits.gather(-1, target), wrong.logsumexp(dim=-1, keepdim=True)], dim=-1)
        binary.append(log_softmax(shares, dim=-1))
        rest.append(log_softmax(wrong, dim=-1))
    divergence = [kl_div(*pair, reduction="none", log_target=True).sum(dim=-1) for pair in (binary, rest)]
    return _mean(temperature**2 * (alpha * divergence[0] + beta * divergence[1]), kept)


def feature_hint(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Hint of FitNets (Romero et al. 2015), as a mean over all values.

    .. math:: L = \tfrac{1}{2} \, \langle (f_t - r(f_s))^2 \rangle

    Features of unlike shape need the regressor :math:`r` first, such as a 1 x 1 convolution trained along; it is
    the caller's.

    Args:
        student_features: Features behind the regressor, any shape ``(B, ...)``.
        teacher_features: The same shape; no gradient goes into them.

    Returns:
        A scalar.

    Raises:
        ValueError: Features of two shapes.
    """
    if student_features.shape != teacher_features.shape:
        raise ValueError(
            f"teacher_features must have the student's shape {tuple(student_features.shape)}, "
            f"got {tuple(teacher_features.shape)}. Put a 1 x 1 convolution behind the student's."
        )
    return 0.5 * (student_features - teacher_features.detach()).square().mean()


def attention_transfer(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Where the features are strong, whatever they are (Zagoruyko and Komodakis 2017).

    .. math:: L = \left\| \frac{q_s}{\|q_s\|} - \frac{q_t}{\|q_t\|} \right\|^2 = 2 - 2 \cos(q_s, q_t), \qquad
        q = \sum_c f_c^2

    Summed over the pixels of a map. The paper writes the norm itself, not its square; the authors' code
    (``at_loss`` of github.com/szagoruyko/attention-transfer) has the square, but its mean over the :math:`H W`
    pixels: this loss is :math:`H W` times theirs, so that their weight :math:`\beta` is :math:`\beta / (H W)` here.
    Their mean over channels instead of the sum cancels in the division by the norm.

    Channels may differ, and so may sizes: the larger map, :math:`q`, is averaged over the pixels of the smaller.

    Args:
        student_features: Shape ``(B, channels, height, width)``.
        teacher_features: Shape ``(B, channels', height', width')``; no gradient goes into them.

    Returns:
        Mean over the batch, a scalar in [0, 2].

    Raises:
        ValueError: Not both of four dimensions, or of two batch sizes.
    """
    shapes = student_features.shape, teacher_features.shape
    if any(len(shape) != 4 for shape in shapes) or shapes[0][0] != shapes[1][0]:
        raise ValueError(f"features must be (B, C, height, width) of one batch, got {tuple(map(tuple, shapes))}.")
    size = tuple(min(pair) for pair in zip(shapes[0][-2:], shapes[1][-2:], strict=True))
    student, teacher = (
        normalize(adaptive_avg_pool2d(features.square().sum(dim=1, keepdim=True), size).flatten(1), dim=1)
        for features in (student_features, teacher_features.detach())
    )
    return (student - teacher).square().sum(dim=1).mean()


def tangent_kernel(model: nn.Module, images: Tensor) -> Tensor:
    r"""The empirical neural tangent kernel of a batch (Jacot, Gabriel and Hongler 2018), mean over the outputs.

    .. math:: \Theta_{ij} = \frac{1}{K} \sum_k \langle \partial_\theta f_k(x_i), \partial_\theta f_k(x_j) \rangle

    Exact: one backward pass per image and output, so for small models and for tests; it can be differentiated
    again. Modules that mix the images of a batch (batch normalisation) belong in eval mode.

    Args:
        model: Images to outputs ``(B, ...)``; parameters that require a gradient count.
        images: Shape ``(B, C, height, width)``, or whatever the model takes.

    Returns:
        Symmetric, positive semi-definite, shape ``(B, B)``.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    outputs = model(images).flatten(1)
    rows = []
    for output in outputs.flatten():
        gradients = torch.autograd.grad(output, parameters, create_graph=True, materialize_grads=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    jacobian = torch.stack(rows).reshape(*outputs.shape, -1)
    return torch.einsum("ikp,jkp->ij", jacobian, jacobian) / outputs.shape[1]


def projected_tangents(
    model: nn.Module, images: Tensor, *, probes: int, generator: torch.Generator, step: float = 1e-2
) -> Tensor:
    r"""How the outputs move when all weights move at random: a sketch of the tangent kernel that large models bear.

    .. math:: D_r = \frac{f(\theta + h z_r) - f(\theta - h z_r)}{2 h} \approx J z_r, \qquad z_r \sim N(0, 1)

    so that :math:`\mathrm{E}\,[D_r D_r^\mathsf{T}]` is the kernel, with a relative error of about
    :math:`\sqrt{2 / \mathrm{probes}}`. Moving the weights instead of forming gradients is how Wang et al. (2023,
    NTK-SAP) approximate it and, after them, Xiang et al. (2025, arXiv 2508.08421). Two forward passes per probe,
    differentiable in the weights; exact for a model linear in its weights. ``step`` is absolute, for weights of
    order 0.01 to 1 and float32. Many weights that move by 0.01 each are not a small move: the normalised kernels of
    a convolutional teacher (13 250 weights) and a student's readout, exactly 0.50 apart, were 0.55 apart by 200
    probes of that step, and 0.50 by probes of 0.003, within 0.01. A model with noise of its own is reseeded
    (``model.reseed``), so that both passes draw the same noise.

    Args:
        model: Images to outputs ``(B, ...)``; parameters that require a gradient move, buffers stay as they are.
        images: Shape ``(B, C, height, width)``, or whatever the model takes.
        probes: Random directions.
        generator: Source of the directions, on the device of the weights.
        step: Length :math:`h` of the move, times a standard normal number for each weight.

    Returns:
        Shape ``(B, probes * outputs)``, scaled so that ``tangents @ tangents.T`` estimates :func:`tangent_kernel`.

    Raises:
        ValueError: ``probes`` below 1 or ``step`` not positive.
    """
    if probes < 1 or not step > 0:
        raise ValueError(f"probes must be at least 1 and step positive, got {probes} and {step:g}.")
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    tangents = []
    for _ in range(probes):
        directions = {
            name: torch.randn(p.shape, generator=generator, dtype=p.dtype, device=p.device)
            for name, p in parameters.items()
        }
        ends = []
        for sign in (step, -step):
            if hasattr(model, "reseed"):
                model.reseed(0)
            moved = {name: p + sign * directions[name] for name, p in parameters.items()}
            buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}  # running statistics stay
            ends.append(torch.func.functional_call(model, moved | buffers, (images,)).flatten(1))
        tangents.append((ends[0] - ends[1]) / (2 * step))
    return torch.cat(tangents, dim=1) / (probes * ends[0].shape[1]) ** 0.5


def tangent_kernel_matching(student_kernel: Tensor, teacher_kernel: Tensor, *, normalised: bool = True) -> Tensor:
    r"""Mean squared difference of two tangent kernels on the same images (Xiang et al. 2025, arXiv 2508.08421).

    .. math:: L = \frac{1}{B^2} \left\| \frac{\Theta_s}{\tau_s} - \frac{\Theta_t}{\tau_t} \right\|_F^2, \qquad
        \tau = \frac{1}{B} \, \mathrm{tr} \, \Theta

    The mean of the diagonal grows with the number of weights, so without the division (``normalised=False``, the
    paper's plain mean squared error) a large teacher asks a small student for a response that it cannot have.

    Args:
        student_kernel: From :func:`tangent_kernel`, or ``d @ d.T`` of :func:`projected_tangents`; shape ``(B, B)``.
        teacher_kernel: The same shape; no gradient goes into it.
        normalised: Whether each kernel is divided by the mean of its diagonal.

    Returns:
        A scalar.

    Raises:
        ValueError: Kernels of two shapes, or not square.
    """
    return _apart(student_kernel, teacher_kernel, normalised).square().mean()


def crossed_kernel_matching(
    student_kernels: tuple[Tensor, Tensor], teacher_kernels: tuple[Tensor, Tensor], *, normalised: bool = True
) -> Tensor:
    r"""The distance of :func:`tangent_kernel_matching` from sketches, without the noise of their probes in it.

    .. math:: L = \frac{1}{B^2} \sum_{ij} \left( \frac{S^1}{\tau(S^1)} - \frac{T^1}{\tau(T^1)} \right)_{ij}
        \left( \frac{S^2}{\tau(S^2)} - \frac{T^2}{\tau(T^2)} \right)_{ij}

    The square of one noisy difference has the variance of the noise as its floor, which has a gradient of its own.
    Here two differences of independent probes are multiplied, so that the mean is the product of their means. With
    ``normalised=False`` it is exactly the distance of the two kernels. The ratio of a sketch to its own trace is
    biased, by some 1 / probes: with ``normalised`` the mean is the squared distance of the two mean ratios, which is
    0 where the kernels are equal. A single value may be negative.

    Args:
        student_kernels: ``d @ d.T`` of :func:`projected_tangents`, of two independent sets of probes; ``(B, B)`` each.
        teacher_kernels: The same shapes, of probes of its own; no gradient goes into them.
        normalised: Whether each kernel is divided by the mean of its diagonal.

    Returns:
        A scalar.

    Raises:
        ValueError: Kernels of two shapes, or not square.
    """
    first, second = (
        _apart(student, teacher, normalised) for student, teacher in zip(student_kernels, teacher_kernels, strict=True)
    )
    return (first * second).mean()


def _apart(student: Tensor, teacher: Tensor, normalised: bool) -> Tensor:
    """Difference of two tangent kernels, ``(B, B)``."""
    shape = tuple(student.shape)
    if len(shape) != 2 or shape[0] != shape[1] or tuple(teacher.shape) != shape:
        raise ValueError(f"kernels must be (B, B) of the same images, got {shape} and {tuple(teacher.shape)}.")
    teacher = teacher.detach()
    if normalised:
        tiny = torch.finfo(student.dtype).tiny  # a model that answers to no weight has no kernel to compare
        student, teacher = (kernel / kernel.diagonal().mean().clamp(min=tiny) for kernel in (student, teacher))
    return student - teacher


def _rows(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """One row per image or pixel: ``(N, classes)`` twice, the teacher's without gradient, and ``(N,)``."""
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature:g}.")
    if student.shape != teacher.shape:
        raise ValueError(
            f"teacher_logits must have the student's shape {tuple(student.shape)}, "
            f"got {tuple(teacher.shape)}. Teacher and student must know the same classes."
        )
    expected = (student.shape[0], *student.shape[2:])
    if labels.shape != expected:
        raise ValueError(f"labels must be one per image or pixel, {tuple(expected)}, got {tuple(labels.shape)}.")
    rows = [logits.movedim(1, -1).flatten(0, -2) for logits in (student, teacher.detach())]
    return rows[0], rows[1], labels.flatten()


def _mean(losses: Tensor, kept: Tensor) -> Tensor:
    """Mean over what is kept; a product, not a selection, which would have the host wait for the GPU."""
    return (losses * kept).sum() / kept.sum().clamp(min=1)
