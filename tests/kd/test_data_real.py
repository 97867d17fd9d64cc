"""The real sets, where OPTICS4F_DATA names a folder that has them: counts and known numbers."""

import os

import pytest
import torch

from kd.data.catalogue import load
from kd.data.images import DataSplits
from kd.data.segmentation import CAMVID

pytestmark = pytest.mark.skipif("OPTICS4F_DATA" not in os.environ, reason="OPTICS4F_DATA names no data folder")


def real(name: str, **options) -> DataSplits:
    try:
        return load(name, **options)
    except FileNotFoundError as error:
        pytest.skip(str(error))


def sizes(data: DataSplits) -> list[int]:
    return [len(part) for part in (data.train, data.validation, data.test)]


@pytest.mark.parametrize(("name", "first"), [("mnist", [7, 2, 1, 0, 4]), ("fashion_mnist", [9, 2, 1, 1, 6])])
def test_idx_sets_have_60_000_and_10_000_images(name, first):
    data = real(name)
    assert sizes(data) == [54000, 6000, 10000]
    assert data.train.images.shape[1:] == (1, 28, 28)
    assert data.test.labels[:5].tolist() == first  # the official order
    if name == "mnist":  # mean and deviation that every MNIST recipe names: 0.1307 and 0.3081
        pixels = torch.cat([data.train.images, data.validation.images])
        assert pixels.mean().item() == pytest.approx(0.1307, abs=5e-5)
        assert pixels.std().item() == pytest.approx(0.3081, abs=5e-5)


def test_cifar10_has_50_000_and_10_000_images():
    data = real("cifar10")
    assert sizes(data) == [45000, 5000, 10000]
    assert data.test.labels[:8].tolist() == [3, 8, 8, 0, 6, 6, 1, 6]  # the official order
    # The channel means that every CIFAR-10 recipe names are of all 50 000; a cut of 5000 moves them by a few 1e-4.
    means = data.train.images.mean((0, 2, 3))
    torch.testing.assert_close(means, torch.tensor([0.4914, 0.4822, 0.4465]), atol=2e-3, rtol=0)


def test_cats_and_dogs_are_balanced_by_the_cut():
    data = real("cats_dogs", size=32, limit=200)
    assert sizes(data)[:2] in ([360, 40], [288, 32])  # with labelled test pictures, or with a test set cut from train
    assert data.train.images.shape[1:] == (3, 32, 32)
    for part in (data.train, data.validation, data.test):
        assert part.labels.bincount().tolist() == [len(part) // 2] * 2


def test_orl_has_40_people_with_10_pictures():
    data = real("orl_faces")
    assert data.train.images.shape[1:] == (1, 112, 92)
    for part, count in ((data.train, 7), (data.validation, 1), (data.test, 2)):
        assert part.labels.bincount().tolist() == [count] * 40


def test_camvid_has_367_101_and_233_scenes():
    data = real("camvid", size=(120, 160))
    assert sizes(data) == [367, 101, 233]
    # Car pixels in percent, counted in the annotations at a third of their size by nearest neighbour.
    shares = [100 * (part.labels == CAMVID.index("car")).float().mean().item() for part in (data.train, data.test)]
    assert shares == pytest.approx([5.9, 4.0], abs=0.3)


def test_voc_2012_has_1464_pictures_to_train_on_and_1449_to_test_on():
    data = real("voc2012", size=32)
    assert sizes(data) == [1317, 147, 1449]


def test_carvana_has_318_cars_in_16_views():
    data = real("carvana", size=32)
    assert sum(sizes(data)) == 318 * 16
