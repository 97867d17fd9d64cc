"""Scores of class maps, against scikit-learn and by hand."""

import math

import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import nn
from torch.nn.functional import cross_entropy

from kd.data.images import IGNORED, LabelledImages, SegmentedImages
from kd.evaluation import Evaluation, evaluate


class Scaled(nn.Module):
    """Logits of each pixel from its grey value."""

    def __init__(self, classes: int):
        super().__init__()
        self.levels = nn.Parameter(torch.linspace(0, 1, classes))

    def forward(self, images):
        return -8 * (images - self.levels[:, None, None]).square()


@pytest.fixture
def scenes() -> SegmentedImages:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, 1, 6, 9, generator=generator)
    labels = torch.randint(4, (5, 6, 9), generator=generator)
    labels[torch.rand(5, 6, 9, generator=generator) < 0.2] = IGNORED
    return SegmentedImages(images, labels)


@pytest.mark.parametrize("batch_size", [5, 2])
def test_intersection_over_union_is_scikit_learns_jaccard_score(scenes, batch_size):
    result = evaluate(Scaled(4), scenes, batch_size=batch_size)
    kept = scenes.labels != IGNORED
    true, said = scenes.labels[kept].numpy(), result.predictions[kept].numpy()
    assert result.iou.numpy() == pytest.approx(jaccard_score(true, said, average=None), abs=1e-12)
    assert result.mean_iou == pytest.approx(jaccard_score(true, said, average="macro"), abs=1e-12)
    assert result.accuracy == pytest.approx((true == said).mean(), abs=1e-12)
    assert result.predictions.shape == scenes.labels.shape
    assert result.score == (result.mean_iou, -result.loss)


def test_what_is_ignored_does_not_count(scenes):
    model = Scaled(4)
    before = evaluate(model, scenes)
    images = torch.where((scenes.labels == IGNORED)[:, None], 1 - scenes.images, scenes.images)
    after = evaluate(model, SegmentedImages(images, scenes.labels))
    assert torch.equal(before.confusion, after.confusion)
    assert after.confusion.sum() == (scenes.labels != IGNORED).sum()
    expected = cross_entropy(model(scenes.images).double(), scenes.labels)
    assert (before.loss, after.loss) == pytest.approx((expected.item(),) * 2, rel=1e-12)


def test_a_class_that_is_nowhere_is_in_no_mean():
    confusion = torch.tensor([[3, 1, 0, 0], [0, 4, 0, 0], [0, 0, 0, 0], [0, 2, 0, 0]])
    result = Evaluation(0.7, 1.0, confusion, torch.zeros(1, 2, 5))
    assert result.iou[:2].tolist() == pytest.approx([3 / 4, 4 / 7])
    assert math.isnan(result.iou[2])  # neither there nor predicted
    assert result.iou[3] == 0  # there, and never found
    assert result.mean_iou == pytest.approx((3 / 4 + 4 / 7 + 0) / 3)


def test_classes_of_images_are_judged_by_accuracy():
    assert Evaluation(0.7, 1.5, torch.eye(2), torch.zeros(3)).score == (0.7, -1.5)


def test_a_readout_for_classes_cannot_answer_for_pixels(scenes):
    with pytest.raises(ValueError, match=r"got \(5, 4, 6, 9\) for labels \(5,\). Choose a readout"):
        evaluate(Scaled(4), LabelledImages(scenes.images, torch.zeros(5, dtype=torch.int64)))
    with pytest.raises(ValueError, match=r"got \(5, 6\) for labels \(5, 6, 9\)"):
        evaluate(nn.Sequential(nn.Flatten(), nn.Linear(54, 6)), scenes)


def test_progress_is_told_of_every_image_once(scenes):
    told = []
    evaluate(Scaled(4), scenes, batch_size=2, progress=told.append)
    assert told == [2, 2, 1]
