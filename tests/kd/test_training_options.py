"""What a step is made of: parts, optimiser, schedule, stopping; and class maps instead of classes."""

import math

import pytest
import torch
from torch import nn

from kd.batches import AugmentationSettings
from kd.data.images import IGNORED, DataSplits, LabelledImages, SegmentedImages
from kd.objectives import SoftTargets
from kd.seeding import initialised_with
from kd.training import TrainingSettings, evaluate, fit

STILL = AugmentationSettings(rotation_degrees=0, shift=0, scale=0)


def points(count: int, seed: int) -> LabelledImages:
    """Two grey values, and a class for each side of a line between them."""
    images = torch.rand(count, 1, 1, 2, generator=torch.Generator().manual_seed(seed))
    return LabelledImages(images, (images[:, 0, 0, 0] > images[:, 0, 0, 1]).long())


POINTS = DataSplits("points", ("left", "right"), points(48, 0), points(24, 1), points(24, 2))


def scenes(count: int, seed: int) -> SegmentedImages:
    """A light rectangle on dark noise, 12 x 16; a tenth of the pixels is unknown."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(count, 12, 16, dtype=torch.int64)
    for label, y, x in zip(labels, *torch.randint(2, 6, (2, count), generator=generator).tolist(), strict=True):
        label[y : y + 5, x : x + 7] = 1
    images = 0.4 * torch.rand(count, 1, 12, 16, generator=generator) + 0.6 * labels[:, None]
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = IGNORED
    return SegmentedImages(images, labels)


SCENES = DataSplits("scenes", ("ground", "thing"), scenes(22, 0), scenes(10, 1), scenes(10, 2))


def linear(seed: int = 0) -> nn.Module:
    with initialised_with(seed):
        return nn.Sequential(nn.Flatten(), nn.Linear(2, 2))


def per_pixel(seed: int = 0) -> nn.Module:
    with initialised_with(seed):
        return nn.Conv2d(1, 2, 3, padding=1)


def settings(**changes) -> TrainingSettings:
    common = {"epochs": 3, "batch_size": 8, "validate_every": 1, "augmentation": STILL}
    return TrainingSettings(**(common | changes))


def fitted(model: nn.Module, data: DataSplits = POINTS, teacher: nn.Module | None = None, **changes):
    history = fit(model, data, settings(**changes), seed=0, teacher=teacher, progress=False)
    return model, history


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "data", "sizes", "taught", "options"),
    [
        (linear, POINTS, (24, 8), False, {}),
        (per_pixel, SCENES, (21, 7), False, {}),
        (per_pixel, SCENES, (21, 7), True, {}),
        (per_pixel, SCENES, (21, 7), True, {"class_balance": 1.0}),
    ],
)
def test_accumulated_parts_are_one_large_batch(build, data, sizes, taught, options):
    teacher = build(5) if taught else None
    common = {"augmentation": AugmentationSettings(), "optimizer": "sgd", "learning_rate": 0.3, **options}
    whole, first = fitted(build(), data, teacher, batch_size=sizes[0], **common)
    parts, second = fitted(build(), data, teacher, batch_size=sizes[1], accumulate=3, **common)
    start = build().state_dict()
    for name, tensor in whole.state_dict().items():
        assert (tensor - start[name]).abs().max() > 1e-2
        torch.testing.assert_close(parts.state_dict()[name], tensor, atol=1e-5, rtol=0)
    assert [r["loss"] for r in second] == pytest.approx([r["loss"] for r in first], abs=1e-5)
    assert [r["train_accuracy"] for r in second] == [r["train_accuracy"] for r in first]


def test_sgd_steps_as_its_formula_says():
    # One step, cosine schedule at its start: theta - lr (1 + 0.9) (g + wd theta), Nesterov with momentum 0.9.
    model = linear()
    theta = model[1].weight.detach().clone()
    torch.nn.functional.cross_entropy(model(POINTS.train.images), POINTS.train.labels).backward()
    expected = theta - 0.2 * 1.9 * (model[1].weight.grad + 0.1 * theta)
    changes = {"epochs": 1, "optimizer": "sgd", "schedule": "cosine", "learning_rate": 0.2, "weight_decay": 0.1}
    trained, _ = fitted(linear(), batch_size=48, **changes)
    torch.testing.assert_close(trained[1].weight, expected, atol=2e-6, rtol=0)  # 1e-5 px of resampling


def test_gradients_are_shortened_to_the_norm():
    common = {"epochs": 1, "optimizer": "sgd", "schedule": "cosine", "learning_rate": 1.0, "weight_decay": 0.0}
    start = torch.cat([p.flatten() for p in linear().parameters()])
    for norm, expected in ((1e-3, 1.9e-3), (None, None), (1e3, None)):
        model, _ = fitted(linear(), batch_size=48, gradient_norm=norm, **common)
        moved = (torch.cat([p.flatten() for p in model.parameters()]) - start).norm().item()
        assert moved == pytest.approx(expected, rel=1e-3) if expected else moved > 0.05


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("cosine", lambda t: 0.5 * (1 + math.cos(math.pi * t))), ("one_cycle", None)],
)
def test_the_rate_follows_its_schedule(schedule, expected):
    class Watched(nn.Module):
        """Lists the rate at each pass."""

        def __init__(self):
            super().__init__()
            self.inner, self.group, self.rates = linear(), None, []

        def parameter_groups(self, learning_rate, mask_learning_rate):
            self.group = {"params": list(self.parameters()), "lr": learning_rate}
            return [self.group]

        def forward(self, images):
            if self.training:
                self.rates.append(self.group["lr"])
            return self.inner(images)

    model = Watched()
    fitted(model, schedule=schedule, learning_rate=0.4)
    assert len(model.rates) == 18  # 3 epochs of 48 images in batches of 8
    if expected:
        assert model.rates == pytest.approx([0.4 * expected(step / 18) for step in range(18)])
    else:
        assert max(model.rates) == pytest.approx(0.4, rel=0.02)
        assert model.rates[0] == pytest.approx(0.4 / 25)
        assert 0 < model.rates.index(max(model.rates)) < 9


def test_training_stops_when_validation_has_not_become_better_for_long_enough():
    common = {"epochs": 40, "learning_rate": 0.3, "weight_decay": 0.0, "schedule": "cosine"}
    _, all_of_it = fitted(linear(), **common)
    for patience, every in ((2, 1), (3, 1), (2, 3)):
        _, history = fitted(linear(), patience=patience, validate_every=every, **common)
        best, waited, expected = None, 0, 40
        for record in all_of_it:
            if record["epoch"] % every:
                continue
            score = (record["validation_accuracy"], -record["validation_loss"])
            best, waited = (score, 0) if best is None or score > best else (best, waited + 1)
            if waited == patience:
                expected = record["epoch"]
                break
        assert len(history) == expected < 40
        assert sum(record["restored"] for record in history) == 1


def test_an_objective_needs_a_teacher():
    with pytest.raises(ValueError, match=r"objective must have a teacher .* SoftTargets\(.* and none. Pass teacher"):
        fit(linear(), POINTS, settings(), seed=0, objective=SoftTargets())


# --- class maps -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taught", [False, True])
def test_class_maps_are_learnt_and_judged_by_their_overlap(taught):
    teacher = fitted(per_pixel(1), SCENES, epochs=20, learning_rate=0.3)[0] if taught else None
    model, history = fitted(per_pixel(), SCENES, teacher, epochs=20, learning_rate=0.3)
    assert evaluate(per_pixel(), SCENES.test).mean_iou < 0.6
    assert evaluate(model, SCENES.test).mean_iou > 0.9
    ranks = [(r["validation_mean_iou"], -r["validation_loss"]) for r in history]
    (restored,) = [r for r in history if r["restored"]]
    assert restored["epoch"] == 1 + ranks.index(max(ranks))
    assert evaluate(model, SCENES.validation).mean_iou == restored["validation_mean_iou"]


def test_unknown_pixels_teach_nothing():
    hidden = SCENES.train.labels == IGNORED
    results = []
    for change in (False, True):  # what is unknown may look as it likes to a model of single pixels
        images = torch.where(hidden[:, None] & change, 1 - SCENES.train.images, SCENES.train.images)
        train = SegmentedImages(images, SCENES.train.labels)
        model = nn.Conv2d(1, 2, 1)
        nn.init.constant_(model.weight, 0.1), nn.init.zeros_(model.bias)
        fitted(model, DataSplits("s", ("a", "b"), train, SCENES.validation, SCENES.test), learning_rate=0.1)
        results.append(model.weight.detach())
    # Without displacement, resampling still mixes 1e-5 of the neighbours in.
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=0)


def test_a_batch_of_unknown_pixels_does_no_harm():
    train = SegmentedImages(SCENES.train.images, torch.full_like(SCENES.train.labels, IGNORED))
    for teacher in (None, per_pixel(1)):
        model, history = fitted(
            per_pixel(), DataSplits("s", ("a", "b"), train, SCENES.validation, SCENES.test), teacher, weight_decay=0.0
        )
        assert history[0]["loss"] == 0
        for name, tensor in per_pixel().state_dict().items():
            assert torch.equal(model.state_dict()[name], tensor)
