"""Objectives: the losses that they name, of the passes that they mean."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from kd.data.images import IGNORED, DataSplits, LabelledImages
from kd.losses import attention_transfer, decoupled_kd, hinton_kd, tangent_kernel, tangent_kernel_matching
from kd.objectives import Attention, Decoupled, SoftTargets, TangentMatching, labels_alone
from kd.seeding import initialised_with
from kd.training import TrainingSettings, fit


def images(count: int = 6, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 1, 5, 7, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, 2, 1, 1, 0, 2])


class Network(nn.Module):
    """A front end and a readout, by the names that students and teachers have."""

    def __init__(self, seed: int, *, channels: int = 3, stride: int = 1) -> None:
        super().__init__()
        with initialised_with(seed):
            self.front_end = nn.Conv2d(1, channels, 3, stride=stride)
            self.features = nn.Sequential(self.front_end, nn.ReLU())
            self.readout = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * channels, 3))

    def forward(self, pictures):
        return self.readout(self.features(pictures))


def test_labels_alone_ask_no_teacher():
    model = Network(0)
    logits, loss = labels_alone(model, None, images(), LABELS)
    torch.testing.assert_close(loss, cross_entropy(model(images()), LABELS))
    torch.testing.assert_close(logits, model(images()))


def test_labels_alone_of_a_map_are_the_mean_over_what_is_known():
    model, labels = nn.Conv2d(1, 3, 1), torch.randint(3, (6, 5, 7), generator=torch.Generator().manual_seed(1))
    labels[:3] = IGNORED
    _, loss = labels_alone(model, None, images(), labels)
    torch.testing.assert_close(loss, cross_entropy(model(images()[3:]), labels[3:]))
    _, nothing = labels_alone(model, None, images(), torch.full_like(labels, IGNORED))
    nothing.backward()
    assert nothing == 0
    assert not model.weight.grad.any()


def test_soft_and_decoupled_targets_are_their_losses():
    model, teacher = Network(0), Network(1)
    student, taught = model(images()), teacher(images())
    _, loss = SoftTargets(3.0, 0.7)(model, teacher, images(), LABELS)
    torch.testing.assert_close(loss, hinton_kd(student, taught, LABELS, temperature=3.0, alpha=0.7))
    logits, loss = Decoupled(3.0, 0.7, 2.0)(model, teacher, images(), LABELS)
    expected = decoupled_kd(student, taught, LABELS, temperature=3.0, alpha=0.7, beta=2.0)
    torch.testing.assert_close(loss, cross_entropy(student, LABELS) + expected)
    torch.testing.assert_close(logits, student)


def test_attention_looks_at_the_layers_that_it_names():
    model, teacher = Network(0), Network(1, channels=5, stride=2)
    _, loss = Attention(weight=3.0, soft_targets=SoftTargets(2.0, 0.4))(model, teacher, images(), LABELS)
    soft = hinton_kd(model(images()), teacher(images()), LABELS, temperature=2.0, alpha=0.4)
    maps = attention_transfer(model.front_end(images()), teacher.features(images()))
    torch.testing.assert_close(loss, soft + 3 * maps)
    assert not model.front_end._forward_hooks
    with pytest.raises(
        ValueError, match="layer must be one of Network, such as front_end, features, readout, got 'top'"
    ):
        Attention(teacher_layer="top")(model, teacher, images(), LABELS)


def test_tangent_matching_estimates_the_difference_of_the_exact_kernels():
    model, teacher = (
        nn.Sequential(nn.Flatten(), nn.Linear(35, 3, bias=False)),
        nn.Sequential(nn.Flatten(), nn.Linear(35, 3, bias=False), nn.Tanh()),
    )
    nn.init.normal_(teacher[1].weight, generator=torch.Generator().manual_seed(0))
    exact = tangent_kernel_matching(tangent_kernel(model, images()), tangent_kernel(teacher, images()))
    objective = TangentMatching(alpha=0.0, beta=2.0, probes=1500)
    with initialised_with(0):
        _, loss = objective(model, teacher, images(), LABELS)
    assert exact > 0.03
    # The kernels err by sqrt(2 / 1500) = 4 % of their diagonal, and the loss is a square of about 20 %.
    assert loss.item() == pytest.approx(2 * exact.item(), rel=0.25)


def test_crossed_tangents_have_no_floor_and_probes_lower_it():
    model = nn.Sequential(nn.Flatten(), nn.Linear(35, 3))
    nn.init.normal_(model[1].weight, generator=torch.Generator().manual_seed(0))
    means, errors = {}, {}
    with initialised_with(0), torch.no_grad():
        for probes, crossed in ((1, False), (8, False), (1, True)):
            objective = TangentMatching(alpha=0.0, probes=probes, crossed=crossed)
            losses = torch.stack([objective(model, model, images(), LABELS)[1] for _ in range(120)])
            means[probes, crossed], errors[probes, crossed] = losses.mean(), losses.std() / 120**0.5
    assert means[1, True].abs() < 4 * errors[1, True] < 0.3 * means[1, False]
    # The floor is the variance of the sketches: one over the probes, and less for one by the noise of the trace.
    assert means[1, False] / means[8, False] > 4


def test_tangent_matching_is_told_as_before_where_nothing_is_crossed():
    # Unfinished training finds its state by it.
    assert repr(TangentMatching()) == "TangentMatching(alpha=1.0, beta=1.0, probes=1, normalised=True)"
    assert repr(TangentMatching(probes=4, crossed=True)).endswith("probes=4, normalised=True, crossed=True)")
    with pytest.raises(ValueError, match="probes must be at least 1, got 0"):
        TangentMatching(probes=0)


def test_tangents_are_of_the_network_in_use_and_disturb_nothing():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            with initialised_with(0):
                layers = [nn.Flatten(), nn.Linear(35, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)]
                self.body = nn.Sequential(*layers)
            self.body[3].eval()  # a layer with a mode of its own
            self.modes, self.noise = [], []
            self.reseed(0)

        def reseed(self, seed):
            self.generator = torch.Generator().manual_seed(seed)

        def forward(self, pictures):
            self.modes.append(self.body[2].training)
            noise = torch.randn(pictures.shape, generator=self.generator)
            self.noise.append(noise)
            return self.body(pictures + noise)

    model, teacher = Noisy(), Network(1)
    with initialised_with(0):
        for _ in range(3):
            _, loss = TangentMatching(probes=1)(model, teacher, images(), LABELS)
    assert loss.requires_grad
    assert model.modes == [True, False, False] * 3
    assert (model.training, model.body[2].training, model.body[3].training) == (True, True, False)
    assert model.body[2].num_batches_tracked == 3
    assert torch.equal(model.noise[1], model.noise[2])  # both ends of a move see one noise
    assert not torch.equal(model.noise[3], model.noise[6])  # no step repeats another's
    assert all(parameter.grad is None for parameter in teacher.parameters())


@pytest.mark.parametrize(
    "objective",
    [
        SoftTargets(),
        Decoupled(2.0, 1.0, 1.0),
        TangentMatching(),
        TangentMatching(crossed=True),
        Attention(),
        labels_alone,
    ],
)
def test_every_objective_trains_and_repeats_bit_for_bit(objective):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(36, 1, 5, 7, generator=generator)
    labels = pictures.flatten(1)[:, :3].argmax(dim=1)
    part = LabelledImages(pictures, labels)
    data = DataSplits("corners", ("a", "b", "c"), part, part, part)
    settings = TrainingSettings(epochs=3, batch_size=12, learning_rate=0.02)
    results = []
    for _ in range(2):
        model = Network(0)
        history = fit(model, data, settings, seed=1, teacher=Network(1), objective=objective, progress=False)
        results.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
        assert history[-1]["loss"] < history[0]["loss"]
    assert torch.equal(*results)
