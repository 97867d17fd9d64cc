"""What counts as a data set."""

import pytest
import torch

from kd.data.images import DataSplits, LabelledImages


def some_images(count: int = 3, *, channels: int = 1, highest_label: int = 1) -> LabelledImages:
    images = torch.rand(count, channels, 4, 6, generator=torch.Generator().manual_seed(0))
    return LabelledImages(images, torch.arange(count) % (highest_label + 1))


def test_a_subset_keeps_each_image_with_its_label_in_the_order_asked():
    whole = LabelledImages(torch.arange(5.0).reshape(5, 1, 1, 1) / 5, torch.arange(5))
    part = whole.subset(torch.tensor([3, 0]))
    assert len(part) == 2
    assert part.labels.tolist() == [3, 0]
    torch.testing.assert_close(part.images.flatten(), torch.tensor([0.6, 0.0]))


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2).long(), TypeError, "float32, got torch.uint8"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(2), TypeError, "int64, got torch.float32"),
        (torch.zeros(2, 4, 4), torch.zeros(2).long(), ValueError, r"\(N, C, height, width\), got \(2, 4, 4\)"),
        (torch.zeros(0, 1, 4, 4), torch.zeros(0).long(), ValueError, r"filled .* got \(0, 1, 4, 4\)"),
        (torch.zeros(2, 1, 4, 4), torch.zeros(3).long(), ValueError, r"one per image, got \(3,\) for 2 images"),
        (torch.full((2, 1, 4, 4), torch.nan), torch.zeros(2).long(), ValueError, "finite, got 32 values"),
        (torch.full((2, 1, 4, 4), 255.0), torch.zeros(2).long(), ValueError, "got 255 to 255. Divide 8-bit"),
        (torch.zeros(2, 1, 4, 4), -torch.ones(2).long(), ValueError, "not be negative, got -1"),
    ],
)
def test_images_that_would_train_wrongly_are_refused(images, labels, error, message):
    with pytest.raises(error, match=message):
        LabelledImages(images, labels)


def test_a_label_without_a_class_is_refused():
    with pytest.raises(ValueError, match="test labels must be below 2, got 2"):
        DataSplits("pairs", ("a", "b"), some_images(), some_images(), some_images(highest_label=2))


def test_splits_of_different_image_shapes_are_refused():
    with pytest.raises(ValueError, match=r"validation images must be \(1, 4, 6\) like the train images"):
        DataSplits("pairs", ("a", "b"), some_images(), some_images(channels=3), some_images())
