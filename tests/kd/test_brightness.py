"""Brightness of training images: factors between two limits, the same however a batch is divided."""

import pytest
import torch
from pydantic import ValidationError
from scipy import stats

from kd.batches import AugmentationSettings, epoch_of_batches
from kd.data.images import LabelledImages

DIM = AugmentationSettings(rotation_degrees=0, shift=0, scale=0, brightness=0.6)


def grey(count: int) -> LabelledImages:
    """Images, 6 x 8, of one grey value, 0.5, except for a white corner; labels are their numbers."""
    images = torch.full((count, 1, 6, 8), 0.5)
    images[..., :2, :2] = 1
    return LabelledImages(images, torch.arange(count))


def epoch(data, augmentation, *, size=32, turns=1, processes=1, process=0, generator=None):
    batches = epoch_of_batches(
        data,
        augmentation,
        size=size,
        turns=turns,
        processes=processes,
        process=process,
        generator=generator or torch.Generator().manual_seed(4),
        device=torch.device("cpu"),
    )
    return [part for batch in batches for part in batch]


def test_factors_are_even_on_a_logarithmic_scale_and_white_stays_white():
    images = torch.cat([images for images, _ in epoch(grey(512), DIM)]).double()
    factors = images[:, 0, 4, 5] / 0.5
    exponents = (factors.log() / torch.tensor(1.6).log() + 1) / 2
    assert stats.kstest(exponents.numpy(), "uniform").pvalue > 0.01  # one seed, so it passes always or never
    corner = images[:, 0, 0, 0]
    # 1e-5: rounding of the points at which an image that does not move is sampled.
    torch.testing.assert_close(corner, factors.clamp(max=1), atol=1e-5, rtol=0)
    assert images.max() <= 1 + 1e-6


def test_the_parts_of_a_batch_have_the_factors_of_the_batch():
    data = grey(24)
    ((whole, labels),) = epoch(data, DIM)
    shares = [epoch(data, DIM, size=6, turns=2, processes=2, process=process) for process in (0, 1)]
    seen = {
        int(n): image for share in shares for images, names in share for n, image in zip(names, images, strict=True)
    }
    for number, image in zip(labels.tolist(), whole, strict=True):
        torch.testing.assert_close(seen[number], image)


def test_other_draws_stay_as_they_were():
    """Runs without brightness give what they gave before there was any."""
    moved = {"rotation_degrees": 20, "shift": 0.1, "scale": 0.2, "flip": True}
    data = LabelledImages(torch.rand(9, 1, 6, 8, generator=torch.Generator().manual_seed(0)) / 2, torch.arange(9))
    ((still, _),) = epoch(data, AugmentationSettings(**moved))
    ((dimmed, _),) = epoch(data, AugmentationSettings(**moved, brightness=1e-9))
    torch.testing.assert_close(still, dimmed)
    # Order, displacement and flips of a batch of nine are all that is drawn.
    drawn, expected = (torch.Generator().manual_seed(4) for _ in range(2))
    epoch(data, AugmentationSettings(**moved), generator=drawn)
    torch.randperm(9, generator=expected)
    torch.rand(4 * 9, generator=expected)
    torch.rand(9, generator=expected)
    assert torch.equal(drawn.get_state(), expected.get_state())


def test_a_negative_change_is_refused():
    with pytest.raises(ValidationError, match="brightness"):
        AugmentationSettings(brightness=-0.1)
