"""Rare classes count as much as common ones: weights by hand, in the losses, and in what a model learns."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from experiments.paper_settings import CONFIGURATIONS, load_paper
from kd.balance import median_frequency_weights
from kd.batches import AugmentationSettings
from kd.data.images import IGNORED, DataSplits, LabelledImages, SegmentedImages
from kd.losses import hinton_kd
from kd.objectives import SoftTargets, WeightedLabels, labels_alone
from kd.recipe import load_plan
from kd.training import TrainingSettings, _identity, fit
from optics4f.config import ConfigError

# 12 pixels an image: 8 road, 3 sky, 1 sign; then 6 road and 6 that nobody knows.
MAPS = torch.tensor([[0] * 8 + [1] * 3 + [2], [0] * 6 + [IGNORED] * 6]).reshape(2, 3, 4)


def logits(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, 3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_weights_by_hand():
    # f = 14/18, 3/12, 1/12, for the second image shows neither sky nor sign; their median is 1/4.
    raw = torch.tensor([0.25 * 18 / 14, 1.0, 3.0], dtype=torch.float64)
    mean = (raw * torch.tensor([14, 3, 1])).sum() / 18
    torch.testing.assert_close(median_frequency_weights(MAPS, 3), (raw / mean).float())
    roots = raw.sqrt() / ((raw.sqrt() * torch.tensor([14, 3, 1])).sum() / 18)
    torch.testing.assert_close(median_frequency_weights(MAPS, 3, power=0.5), roots.float())
    assert median_frequency_weights(MAPS, 3, power=0.0).tolist() == [1, 1, 1]


def test_a_class_that_is_nowhere_has_no_weight_and_changes_none():
    weights = median_frequency_weights(MAPS, 5)
    torch.testing.assert_close(weights, torch.cat([median_frequency_weights(MAPS, 3), torch.zeros(2)]))


@pytest.mark.parametrize(
    ("labels", "power", "words"),
    [
        (torch.tensor([0, 1]), 1.0, "class maps"),
        (MAPS, 1.5, "power must be in"),
        (MAPS, -0.1, "power must be in"),
        (torch.full_like(MAPS, IGNORED), 1.0, "a labelled pixel"),
    ],
)
def test_refusals(labels, power, words):
    with pytest.raises(ValueError, match=words):
        median_frequency_weights(labels, 3, power=power)


def test_pixels_count_by_the_weight_of_their_class():
    weights, student, teacher = torch.tensor([0.5, 2.0, 4.0], dtype=torch.float64), logits(0), logits(1)
    told = tuple(weights.tolist())
    known = MAPS != IGNORED
    each = weights[MAPS[known]]
    hard = cross_entropy(student.movedim(1, -1)[known], MAPS[known], reduction="none")
    p = teacher.div(3).softmax(1)
    soft = (p * (p.log() - student.div(3).log_softmax(1))).sum(1)[known]
    _, loss = labels_alone(nn.Identity(), None, student, MAPS, class_weights=told)
    torch.testing.assert_close(loss, (each * hard).sum() / 18)
    loss = hinton_kd(student, teacher, MAPS, temperature=3.0, alpha=0.25, class_weights=weights)
    torch.testing.assert_close(loss, (each * (0.25 * 9 * soft + 0.75 * hard)).sum() / 18)
    images, classes = student[:, :, 0, 0], torch.tensor([2, 0])
    _, loss = labels_alone(nn.Identity(), None, images, classes, class_weights=told)
    torch.testing.assert_close(loss, (weights[classes] * cross_entropy(images, classes, reduction="none")).mean())


def test_objectives_hand_their_weights_on():
    weights, student = (0.5, 2.0, 4.0), logits(0)
    _, loss = WeightedLabels(weights)(nn.Identity(), None, student, MAPS)
    torch.testing.assert_close(loss, labels_alone(nn.Identity(), None, student, MAPS, class_weights=weights)[1])
    teacher = nn.LeakyReLU(0.3)
    _, loss = SoftTargets(3.0, 0.25, weights)(nn.Identity(), teacher, student, MAPS)
    tensor = torch.tensor(weights, dtype=torch.float64)
    expected = hinton_kd(student, teacher(student), MAPS, temperature=3.0, alpha=0.25, class_weights=tensor)
    torch.testing.assert_close(loss, expected)


def test_a_run_without_balance_is_known_as_it_was_before_there_was_one():
    pictures = SegmentedImages(torch.zeros(2, 1, 3, 4), MAPS)
    data = DataSplits("some", ("a", "b", "c"), pictures, pictures, pictures)
    told = [_identity(Guess(3), data, TrainingSettings(class_balance=p), 0, SoftTargets()) for p in (0.0, 1.0)]
    assert "class_balance" not in told[0] and told[1]["class_balance"] == 1
    assert told[0]["objective"] == "SoftTargets(temperature=4.0, alpha=0.5)"


class Guess(nn.Module):
    """The same logits everywhere: what it learns is how often each class counts."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(classes))

    def forward(self, images):
        return self.logits[None, :, None, None].expand(len(images), -1, *images.shape[-2:])


STILL = AugmentationSettings(rotation_degrees=0, shift=0, scale=0)


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize(("balance", "odds"), [(0.0, 7.0), (0.5, math.sqrt(7.0)), (1.0, 1.0)])
def test_a_guess_learns_the_balance(taught, balance, odds):
    labels = torch.zeros(8, 4, 4, dtype=torch.int64)
    labels[:, 0, :2] = 1  # 2 pixels of 16 in each image: 7 to 1
    pictures = SegmentedImages(torch.zeros(8, 1, 4, 4), labels)
    others = SegmentedImages(pictures.images, 1 - labels)
    data = DataSplits("guesses", ("common", "rare"), pictures, others, others)
    settings = TrainingSettings(
        epochs=200,
        batch_size=8,
        learning_rate=0.1,
        weight_decay=0,
        augmentation=STILL,
        alpha=0.0,
        class_balance=balance,
        validate_every=200,
    )
    model, teacher = Guess(2), Guess(2)
    fit(model, data, settings, seed=0, teacher=teacher if taught else None, progress=False)
    common, rare = model.logits.tolist()
    assert math.exp(common - rare) == pytest.approx(odds, rel=1e-3)


def test_only_class_maps_are_balanced_and_not_under_another_objective():
    pictures = LabelledImages(torch.zeros(8, 1, 4, 4), torch.arange(8) % 2)
    data = DataSplits("guesses", ("a", "b"), pictures, pictures, pictures)
    settings = TrainingSettings(epochs=1, batch_size=8, class_balance=1.0)
    with pytest.raises(ValueError, match="class maps"):
        fit(Guess(2), data, settings, seed=0, progress=False)
    with pytest.raises(ValueError, match="class_balance must be 0"):
        fit(Guess(2), data, settings, seed=0, teacher=Guess(2), objective=SoftTargets(), progress=False)


@pytest.mark.parametrize(
    ("load", "name", "table"),
    [
        (load_paper, "paper_digits", "student"),
        (load_paper, "paper_digits", "teacher"),
        (load_plan, "train_digits", "training"),
    ],
)
def test_a_balance_of_images_of_one_class_is_refused_before_anything_is_read(load, name, table, tmp_path):
    path = tmp_path / "balanced.toml"
    text = (CONFIGURATIONS / f"{name}.toml").read_text()
    assert f"[{table}]" in text
    path.write_text(text.replace(f"[{table}]", f"[{table}]\nclass_balance = 1"))
    with pytest.raises(ConfigError, match=rf"{table}\.class_balance must be 0") as caught:
        load(path)
    assert "\n" not in str(caught.value)
