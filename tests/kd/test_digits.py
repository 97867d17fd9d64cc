"""The built-in digits: their counts, their split, their pixels."""

import sys

import pytest
import torch
from sklearn.datasets import load_digits as sklearn_digits
from torch.nn.functional import avg_pool2d

from kd.data.digits import load_digits


def test_the_default_split_is_1200_197_400_with_equal_shares_of_every_class():
    data = load_digits()
    splits = (data.train, data.validation, data.test)
    assert [len(split) for split in splits] == [1200, 197, 400]
    whole = torch.from_numpy(sklearn_digits().target).bincount() / 1797
    for split in splits:  # a stratified count is off by less than one image
        assert (split.labels.bincount() - whole * len(split)).abs().max() < 1


def test_every_image_is_in_exactly_one_split():
    data = load_digits(size=8)
    pieces = torch.cat([split.images for split in (data.train, data.validation, data.test)])
    native = torch.from_numpy(sklearn_digits().images).float()
    torch.testing.assert_close(pieces.flatten(1).mul(16).unique(dim=0), native.flatten(1).unique(dim=0), atol=0, rtol=0)
    assert len(pieces) == len(native)


def test_enlarging_keeps_the_ink_where_it_was():
    small, large = load_digits(size=8).train.images, load_digits(size=32).train.images
    # Pixel centres are kept when corners are not aligned: the middle of a ramp between two
    # pixels is their mean, so a 4 x 4 block differs from its pixel only by second differences.
    blocks = avg_pool2d(large, 4)
    for wrong in (small.flip(-1), small.roll(1, -1), small.transpose(-1, -2)):
        assert (blocks - small).square().mean() < 0.2 * (blocks - wrong).square().mean()


def test_another_seed_is_another_split():
    assert not torch.equal(load_digits(split_seed=0).test.images, load_digits(split_seed=1).test.images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"size": 7}, "size must be at least 8, got 7"), ({"test": 1595}, "at least 10 images, .*test=1595 of 1797")],
)
def test_impossible_splits_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_digits(**arguments)


def test_a_missing_library_names_the_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"scikit-learn .* pip install '.\[kd\]'"):
        load_digits()
