"""Losses against numbers worked out by hand."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from kd.losses import (
    attention_transfer,
    crossed_kernel_matching,
    decoupled_kd,
    feature_hint,
    hinton_kd,
    projected_tangents,
    tangent_kernel,
    tangent_kernel_matching,
)
from kd.seeding import initialised_with

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


# --- class maps -------------------------------------------------------------------------------------------------------


def maps(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


MAP_LABELS = torch.tensor([[[0, 3, -100], [2, 1, 1]], [[-100, -100, 2], [3, 0, 0]]])


@pytest.mark.parametrize(
    "loss",
    [
        lambda s, t, y, **k: hinton_kd(s, t, y, temperature=3.0, alpha=0.7, **k),
        lambda s, t, y, **k: decoupled_kd(s, t, y, temperature=3.0, alpha=0.7, beta=2.0, **k),
    ],
)
def test_a_class_map_is_its_counted_pixels_as_a_batch(loss):
    student, teacher = maps(0, 2, 4, 2, 3), maps(1, 2, 4, 2, 3)
    kept = MAP_LABELS != -100
    rows = [z.permute(0, 2, 3, 1)[kept] for z in (student, teacher)]
    torch.testing.assert_close(loss(student, teacher, MAP_LABELS), loss(*rows, MAP_LABELS[kept]))
    void = torch.where(kept, MAP_LABELS, 255)
    torch.testing.assert_close(loss(student, teacher, void, ignore_index=255), loss(student, teacher, MAP_LABELS))
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(student, teacher, MAP_LABELS), student)
    assert not gradient.permute(0, 2, 3, 1)[~kept].any()
    assert gradient.permute(0, 2, 3, 1)[kept].abs().min() > 0
    nothing = loss(student, teacher, torch.full_like(MAP_LABELS, -100))
    assert nothing == 0
    assert not torch.autograd.grad(nothing, student)[0].any()
    assert torch.autograd.gradcheck(lambda z: loss(z, teacher, MAP_LABELS), student)


# --- decoupled distillation -------------------------------------------------------------------------------------------


def test_three_classes_decoupled_by_hand():
    # T = 1: teacher (1/2, 3/8, 1/8), student (1/4, 3/8, 3/8), target 0. b = (1/2, 1/2) against (1/4, 3/4);
    # the others (3/4, 1/4) against (1/2, 1/2).
    teacher = torch.tensor([[1 / 2, 3 / 8, 1 / 8]], dtype=torch.float64).log()
    student = torch.tensor([[1 / 4, 3 / 8, 3 / 8]], dtype=torch.float64).log()
    target = 0.5 * math.log(2) + 0.5 * math.log(2 / 3)
    others = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    loss = decoupled_kd(student, teacher, torch.tensor([0]), temperature=1.0, alpha=2.0, beta=5.0)
    assert loss.item() == pytest.approx(2 * target + 5 * others, rel=1e-12)


@pytest.mark.parametrize("label", [0, 1, 3])
def test_with_the_teachers_own_weight_it_is_hintons(label):
    student, teacher, labels = logits(0)[:1], logits(1)[:1], torch.tensor([label])
    doubt = 1 - (teacher / 3).softmax(-1)[0, label].item()
    decoupled = decoupled_kd(student, teacher, labels, temperature=3.0, alpha=1.0, beta=doubt)
    torch.testing.assert_close(decoupled, hinton_kd(student, teacher, labels, temperature=3.0, alpha=1.0))


def test_the_wrong_classes_learn_even_when_the_teacher_is_sure():
    # p_y of the teacher is 1 within float32; Hinton's soft gradient on the others vanishes, the decoupled one does not.
    teacher = torch.tensor([[60.0, 1.0, 0.0]])
    student = torch.tensor([[60.0, 0.0, 1.0]], requires_grad=True)
    kwargs = {"labels": torch.tensor([0]), "temperature": 1.0}
    (hinton,) = torch.autograd.grad(hinton_kd(student, teacher, alpha=1.0, **kwargs), student)
    (decoupled,) = torch.autograd.grad(decoupled_kd(student, teacher, alpha=1.0, beta=1.0, **kwargs), student)
    assert hinton.abs().max() < 1e-12
    # Softmax of (0, 1) less softmax of (1, 0): tanh(1/2).
    torch.testing.assert_close(decoupled[0], torch.tensor([0.0, -1, 1]) * math.tanh(0.5), atol=1e-6, rtol=0)


def test_two_classes_have_no_others_to_distribute():
    losses = [
        decoupled_kd(logits(0)[:, :2], logits(1)[:, :2], LABELS % 2, temperature=2.0, alpha=1.0, beta=beta)
        for beta in (0.0, 100.0)
    ]
    assert losses[0] == losses[1] > 0


# --- features ---------------------------------------------------------------------------------------------------------


def test_a_hint_is_half_the_mean_square():
    student, teacher = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert feature_hint(student, teacher).item() == pytest.approx((4 + 9) / 8)
    x = maps(0, 2, 3, 2, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: feature_hint(f, maps(1, 2, 3, 2, 4)), x)


def test_attention_looks_at_where_not_at_what_nor_at_how_much():
    features = maps(0, 2, 3, 4, 6)
    assert attention_transfer(features, -7 * features[:, [2, 0, 1]]).item() == pytest.approx(0, abs=1e-12)


def test_attention_is_two_minus_twice_the_cosine():
    # q_s = (1, 0), q_t = (9, 16) -> cos = 9 / sqrt(337); two teacher channels of one student's.
    student = torch.tensor([[[[1.0, 0.0]]]])
    teacher = torch.tensor([[[[3.0, 0.0]], [[0.0, 4.0]]]])
    assert attention_transfer(student, teacher).item() == pytest.approx(2 - 18 / math.sqrt(337), rel=1e-6)


def test_attention_is_the_authors_loss_times_the_pixels():
    # at_loss of szagoruyko/attention-transfer: mean over channels, l2 norm, mean of the squares over batch and pixels.
    student, teacher = maps(0, 2, 3, 4, 6), maps(1, 2, 5, 4, 6)
    unit = [q / q.norm(dim=1, keepdim=True) for q in (f.pow(2).mean(1).reshape(2, -1) for f in (student, teacher))]
    theirs = (unit[0] - unit[1]).pow(2).mean()
    torch.testing.assert_close(attention_transfer(student, teacher), 4 * 6 * theirs)


def test_a_larger_map_is_averaged_over_the_pixels_of_the_smaller():
    small = maps(0, 2, 3, 2, 3)
    large = small.repeat_interleave(4, dim=-2).repeat_interleave(2, dim=-1)
    assert attention_transfer(small, large).item() == pytest.approx(0, abs=1e-12)
    other = maps(1, 2, 5, 2, 3)
    torch.testing.assert_close(attention_transfer(large, other), attention_transfer(small, other))


def test_attention_gradcheck_and_a_dark_map():
    assert torch.autograd.gradcheck(
        lambda f: attention_transfer(f, maps(1, 2, 2, 2, 3)), maps(0, 2, 3, 4, 6).requires_grad_()
    )
    dark = torch.zeros(1, 2, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(attention_transfer(dark, torch.ones(1, 2, 3, 3)), dark)
    assert gradient.isfinite().all()


# --- tangent kernels --------------------------------------------------------------------------------------------------


class Linear(torch.nn.Module):
    """Flattened images times a matrix; linear in its weights."""

    def __init__(self, features: int, outputs: int, *, bias: bool = False) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(features, outputs, bias=bias, dtype=torch.float64)

    def forward(self, images):
        return self.layer(images.flatten(1))


@pytest.mark.parametrize("bias", [False, True])
def test_the_tangent_kernel_of_a_linear_model_is_the_gram_matrix_of_its_images(bias):
    images = maps(0, 5, 2, 2, 3)
    kernel = tangent_kernel(Linear(12, 3, bias=bias), images)
    torch.testing.assert_close(kernel, images.flatten(1) @ images.flatten(1).T + bias)


def test_the_tangent_kernel_of_two_layers_by_hand():
    # f = a . tanh(W x): d/da = tanh(W x), d/dW = a (1 - tanh^2) x^T.
    first, second, x = maps(0, 4, 3), maps(1, 1, 4), maps(2, 5, 3)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4, bias=False), torch.nn.Tanh(), torch.nn.Linear(4, 1, bias=False))
    model.double().load_state_dict({"0.weight": first, "2.weight": second})
    hidden = torch.tanh(x @ first.T)
    slope = second * (1 - hidden**2)
    torch.testing.assert_close(tangent_kernel(model, x), hidden @ hidden.T + (slope @ slope.T) * (x @ x.T))


def test_random_moves_of_the_weights_estimate_the_tangent_kernel():
    images, model = maps(0, 4, 1, 2, 3), Linear(6, 2)
    exact = tangent_kernel(model, images)
    probes = 4000
    tangents = projected_tangents(model, images, probes=probes, generator=torch.Generator().manual_seed(0))
    error = (tangents @ tangents.T - exact) / torch.outer(exact.diagonal(), exact.diagonal()).sqrt()
    # 8000 independent directions (two outputs); the variance of a product of normals is at most 2 of them.
    assert error.abs().max() < 4 * math.sqrt(2 / (2 * probes))


def test_moves_of_a_nonlinear_model_are_its_directional_derivatives():
    with initialised_with(0):
        model = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2)).double()
    images = maps(2, 4, 3)
    generator = torch.Generator().manual_seed(5)
    parameters = dict(model.named_parameters())
    directions = {n: torch.randn(p.shape, generator=generator, dtype=p.dtype) for n, p in parameters.items()}
    _, exact = torch.func.jvp(lambda p: torch.func.functional_call(model, p, (images,)), (parameters,), (directions,))
    errors = []
    for step in (1e-3, 5e-4):
        moves = torch.Generator().manual_seed(5)
        tangents = projected_tangents(model, images, probes=1, generator=moves, step=step)
        errors.append((tangents - exact / math.sqrt(2)).abs().max().item())
    assert errors[0] < 1e-4
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)  # a central difference errs by the square of its step


def test_moves_leave_the_model_as_it_was_and_reseed_its_noise():
    class Noisy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
            self.seeds = []

        def reseed(self, seed):
            self.seeds.append(seed)
            self.generator = torch.Generator().manual_seed(seed)

        def forward(self, x):
            return self.body(x) + 100 * torch.randn(len(x), 4, generator=self.generator)

    with initialised_with(0):
        model = Noisy()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    tangents = projected_tangents(model, maps(0, 6, 3).float(), probes=2, generator=torch.Generator().manual_seed(0))
    assert tangents.abs().max() < 10  # noise of 100 over two steps of 0.01 would be thousands
    assert model.seeds == [0] * 4
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_matching_is_the_mean_squared_difference_of_kernels():
    student, teacher = torch.tensor([[1.0, 0.5], [0.5, 3.0]]), torch.tensor([[20.0, 10.0], [10.0, 60.0]])
    assert tangent_kernel_matching(student, teacher).item() == pytest.approx(0)  # twenty times as many weights
    plain = tangent_kernel_matching(student, teacher, normalised=False)
    assert plain.item() == pytest.approx((19**2 + 2 * 9.5**2 + 57**2) / 4)
    other = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    assert tangent_kernel_matching(student, other).item() == pytest.approx((2 * 0.25**2 + 2 * 0.5**2) / 4)


def one_probe_sketches(model: torch.nn.Module, images: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    """Kernels ``(count, B, B)`` of one probe each, all independent."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        tangents = projected_tangents(model, images, probes=count, generator=generator)
    each = tangents.reshape(len(images), count, -1).movedim(1, 0) * math.sqrt(count)
    return each @ each.mT


def small_networks(*widths: int) -> list[torch.nn.Module]:
    with initialised_with(0):
        return [
            torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.Tanh(), torch.nn.Linear(width, 2)).double()
            for width in widths
        ]


def test_crossed_sketches_have_the_distance_of_the_exact_kernels_as_their_mean():
    # Of the directions sqrt(n) e_1 ... sqrt(n) e_n, each as likely, the mean of z z^T is 1, as of normal numbers:
    # the mean over all ways to draw is a finite sum, and nothing is left to chance.
    student, teacher = maps(0, 5, 4), maps(1, 5, 3)  # Jacobians
    sketches = [[j.shape[1] * torch.outer(column, column) for column in j.T] for j in (student, teacher)]
    found = [
        crossed_kernel_matching((a, b), (c, d), normalised=False)
        for a, b in itertools.product(sketches[0], repeat=2)
        for c, d in itertools.product(sketches[1], repeat=2)
    ]
    exact = (student @ student.T - teacher @ teacher.T).square().mean()
    torch.testing.assert_close(torch.stack(found).mean(), exact)
    squared = [tangent_kernel_matching(a, c, normalised=False) for a, c in itertools.product(*sketches)]
    assert torch.stack(squared).mean() > 2 * exact  # the noise of one probe, which is not a distance


def test_crossed_random_moves_have_the_distance_of_the_exact_kernels_as_their_mean():
    images, draws, (student, teacher) = maps(0, 5, 3), 600, small_networks(4, 5)
    with torch.no_grad():
        teacher[2].weight *= 4  # kernels that differ much
    exact = tangent_kernel_matching(tangent_kernel(student, images), tangent_kernel(teacher, images), normalised=False)
    (s1, s2), (t1, t2) = (
        one_probe_sketches(model, images, 2 * draws, seed).chunk(2) for seed, model in enumerate((student, teacher))
    )
    found = torch.stack(
        [crossed_kernel_matching(pair[:2], pair[2:], normalised=False) for pair in zip(s1, s2, t1, t2, strict=True)]
    )
    error = found.std() / math.sqrt(draws)
    assert (found.mean() - exact).abs() < 3 * error < 0.6 * exact


def test_equal_kernels_are_no_distance_apart_however_few_the_probes():
    images, draws, (model,) = maps(0, 5, 3), 400, small_networks(4)
    sets = one_probe_sketches(model, images, 4 * draws, 0).chunk(4)
    found = torch.stack([crossed_kernel_matching((a, b), (c, d)) for a, b, c, d in zip(*sets, strict=True)])
    floor = torch.stack([tangent_kernel_matching(a, c) for a, c in zip(sets[0], sets[2], strict=True)]).mean()
    error = found.std() / math.sqrt(draws)
    assert found.mean().abs() < 4 * error < 0.2 * floor
    # With as many probes as one likes both are the same distance, zero or not.
    exact, other = tangent_kernel(model, images), maps(1, 5, 4) @ maps(1, 5, 4).T
    same = crossed_kernel_matching((exact, exact), (other, other))
    torch.testing.assert_close(same, tangent_kernel_matching(exact, other))


def test_a_student_can_learn_the_kernel_of_its_teacher():
    images = maps(0, 5, 3)
    with initialised_with(0):
        teacher, student = (
            torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.Tanh(), torch.nn.Linear(width, 2)).double()
            for width in (8, 4)
        )
    wanted = tangent_kernel(teacher, images)
    optimizer = torch.optim.Adam(student.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        loss = tangent_kernel_matching(tangent_kernel(student, images), wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
    assert all(p.grad is None for p in teacher.parameters())


def test_kernel_matching_gradcheck():
    factor, wanted = maps(0, 3, 4).requires_grad_(), maps(1, 3, 4) @ maps(1, 3, 4).T
    for normalised in (True, False):
        assert torch.autograd.gradcheck(
            lambda f, n=normalised: tangent_kernel_matching(f @ f.T, wanted, normalised=n), factor
        )
        other, wanted_too = maps(2, 3, 4), maps(3, 3, 4) @ maps(3, 3, 4).T
        assert torch.autograd.gradcheck(
            lambda f, n=normalised, o=other, w=wanted_too: crossed_kernel_matching(
                (f @ f.T, (f + o) @ (f + o).T), (wanted, w), normalised=n
            ),
            factor,
        )


def test_gradients_reach_the_weights_through_random_moves():
    images = maps(0, 4, 3)
    with initialised_with(0):
        model = torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False), torch.nn.Tanh()).double()

    def sketch() -> torch.Tensor:
        return projected_tangents(model, images, probes=2, generator=torch.Generator().manual_seed(0)).square().sum()

    (gradient,) = torch.autograd.grad(sketch(), model[0].weight)
    for index in ((0, 1), (1, 2)):
        values = []
        for move in (1e-5, -1e-5):
            with torch.no_grad():
                model[0].weight[index] += move
                values.append(sketch().item())
                model[0].weight[index] -= move
        assert gradient[index].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: decoupled_kd(logits(0), logits(1), LABELS, beta=-1.0), "must not be negative, got 1 and -1"),
        (lambda: decoupled_kd(logits(0), logits(1), LABELS, temperature=0.0), "temperature must be positive"),
        (lambda: decoupled_kd(logits(0)[:, :1], logits(1)[:, :1], LABELS * 0), "at least two classes, got 1"),
        (
            lambda: hinton_kd(maps(0, 2, 4, 2, 3), maps(1, 2, 4, 2, 3), LABELS, temperature=1, alpha=1),
            r"\(2, 2, 3\), got \(3,\)",
        ),
        (lambda: feature_hint(maps(0, 2, 3), maps(0, 2, 4)), r"shape \(2, 3\), got \(2, 4\). Put a 1 x 1"),
        (lambda: attention_transfer(maps(0, 2, 3), maps(0, 2, 3)), r"\(B, C, height, width\) of one batch"),
        (lambda: tangent_kernel_matching(maps(0, 2, 2), maps(0, 3, 3)), r"\(B, B\) .*, got \(2, 2\) and \(3, 3\)"),
        (
            lambda: crossed_kernel_matching((maps(0, 2, 2), maps(0, 3, 3)), (maps(0, 2, 2), maps(0, 2, 2))),
            r"\(B, B\) .*, got \(3, 3\) and \(2, 2\)",
        ),
        (
            lambda: projected_tangents(Linear(3, 1), maps(0, 2, 3), probes=0, generator=torch.Generator()),
            "probes must be at least 1 and step positive, got 0 and 0.01",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
