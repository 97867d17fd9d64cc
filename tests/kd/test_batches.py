"""Batches: every image once, the same however they are divided, class maps with their images."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from kd.augment import random_affine
from kd.batches import AugmentationSettings, epoch_of_batches, number_of_batches
from kd.data.images import IGNORED, LabelledImages, SegmentedImages

STILL = AugmentationSettings(rotation_degrees=0, shift=0, scale=0)
LIVELY = AugmentationSettings(rotation_degrees=30, shift=0.2, scale=0.3, flip=True)
CPU = torch.device("cpu")


def numbered(count: int) -> LabelledImages:
    """Images, 6 x 8, that carry their number."""
    images = torch.rand(count, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    return LabelledImages(images, torch.arange(count))


def scenes(count: int, *, height: int = 40, width: int = 56) -> SegmentedImages:
    """Smooth images whose class is their grey value in ten steps."""
    y = torch.arange(height)[:, None] / height
    x = torch.arange(width) / width
    angles = torch.arange(count)[:, None, None] / 3
    images = 0.5 + 0.45 * torch.sin(3 * (y * angles.cos() + x * angles.sin()))
    return SegmentedImages(images[:, None].float(), (10 * images).long())


def epoch(data, augmentation, *, turns=1, processes=1, process=0, skip=0, seed=0, size=4):
    batches = epoch_of_batches(
        data,
        augmentation,
        size=size,
        turns=turns,
        processes=processes,
        process=process,
        generator=torch.Generator().manual_seed(seed),
        device=CPU,
        skip=skip,
    )
    return [list(batch) for batch in batches]


def test_every_image_comes_once_in_batches_of_one_size():
    batches = epoch(numbered(17), STILL)
    assert sorted(torch.cat([labels for ((_, labels),) in batches]).tolist()) == list(range(17))
    assert sorted(len(labels) for ((_, labels),) in batches) == [3, 3, 3, 4, 4]
    data = numbered(17)
    for ((images, labels),) in batches:
        torch.testing.assert_close(images, data.images[labels], atol=1e-5, rtol=0)  # rounding of the sample points


@pytest.mark.parametrize("count", [48, 46, 27])
def test_the_parts_of_a_batch_are_the_batch_displacement_and_all(count):
    data = numbered(count)
    whole, turns = epoch(data, LIVELY, size=16), epoch(data, LIVELY, size=8, turns=2)
    halves = [epoch(data, LIVELY, size=4, turns=2, processes=2, process=process) for process in (0, 1)]
    for ((images, labels),), parts, one, other in zip(whole, turns, *halves, strict=True):
        assert torch.equal(torch.cat([part for _, part in parts]), labels)
        torch.testing.assert_close(torch.cat([part for part, _ in parts]), images)
        for part, *shares in zip(parts, one, other, strict=True):  # what two processes do in a turn is that turn's
            assert torch.equal(torch.cat([labels for _, labels in shares]), part[1])
            torch.testing.assert_close(torch.cat([images for images, _ in shares]), part[0])
            assert min(len(images) for images, _ in shares) >= 2


def test_skipped_batches_take_their_draws_with_them():
    data = numbered(20)
    for batch, later in zip(epoch(data, LIVELY)[3:], epoch(data, LIVELY, skip=3), strict=True):
        assert torch.equal(batch[0][0], later[0][0])


def test_images_are_displaced_as_the_augmentation_says():
    data = numbered(5)
    settings = AugmentationSettings(rotation_degrees=90, shift=0.1, scale=0.2)
    ((images, labels),) = epoch(data, settings, size=5)[0]
    generator = torch.Generator().manual_seed(0)
    torch.randperm(5, generator=generator)
    expected = random_affine(data.images[labels], rotation=torch.pi / 2, shift=0.1, scale=0.2, generator=generator)
    torch.testing.assert_close(images, expected)


def test_every_second_image_is_flipped_and_no_label_with_it():
    data = numbered(400)
    flipped = 0
    for ((images, labels),) in epoch(data, STILL.model_copy(update={"flip": True}), size=100):
        originals = data.images[labels]
        turned = (images - originals.flip(-1)).abs().amax(dim=(1, 2, 3)) < 1e-4
        kept = (images - originals).abs().amax(dim=(1, 2, 3)) < 1e-4
        assert (turned ^ kept).all()
        flipped += int(turned.sum())
    assert abs(flipped - 200) < 4 * 10  # four standard deviations of 400 coins


def test_class_maps_follow_their_images():
    data = scenes(12)
    for ((images, labels),) in epoch(data, LIVELY, size=6):
        known = labels != IGNORED
        assert 0.3 < known.double().mean() < 0.999
        # The grey value at the edge is mixed with the dark outside: judge what has known neighbours.
        inner = avg_pool2d(known[:, None].double(), 3, stride=1, padding=1)[:, 0] > 0.999
        assert inner.double().mean() > 0.3
        # A class is the grey value, in steps of 0.1, of a point 0.71 pixels away at most, of a scene that is shrunk to
        # 0.7 at most: 10 * 0.45 * 3 / 40 * 0.71 / 0.7 = 0.34 steps beside half a step of its own.
        assert (10 * images[:, 0] - labels - 0.5)[inner].abs().max() < 0.5 + 0.35


def test_class_maps_that_stay_are_kept_exactly():
    data = scenes(4)
    ((_, labels),) = epoch(data, STILL)[0]
    order = torch.randperm(4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(labels, data.labels[order])


def test_a_map_moves_by_whole_pixels_and_what_enters_is_unknown():
    labels = torch.randint(5, (64, 8, 10), generator=torch.Generator().manual_seed(1))
    data = SegmentedImages((labels / 4)[:, None].float(), labels)
    ((_, moved),) = epoch(data, STILL.model_copy(update={"shift": 0.49}), size=64)[0]
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(64, generator=generator)
    steps = (2 * torch.rand(4, 64, generator=generator) - 1)[2:].T * 0.49 * torch.tensor([8, 10])
    clear = ((steps - steps.round()).abs() < 0.25).all(dim=1)  # near half a pixel either neighbour would do
    assert clear.sum() > 10
    for label, original, (dy, dx) in zip(
        moved[clear], labels[order][clear], steps[clear].round().int().tolist(), strict=True
    ):
        expected = torch.full((8, 10), IGNORED)
        new, old = (
            [slice(max(s * dy, 0), 8 + min(s * dy, 0)), slice(max(s * dx, 0), 10 + min(s * dx, 0))] for s in (1, -1)
        )
        expected[tuple(new)] = original[tuple(old)]
        assert torch.equal(label, expected)


def test_too_few_images_for_the_parts_are_refused():
    assert number_of_batches(17, 4, 2) == 3
    with pytest.raises(ValueError, match="each of 4 parts .* 2 images or more, got 7 images in 1 batches. Use fewer"):
        number_of_batches(7, 4, 4)
