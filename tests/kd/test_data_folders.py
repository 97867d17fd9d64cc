"""Pictures sorted by folder or by name, drawn by the test."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kd.data.folders import load_cats_dogs, load_folders
from kd.data.pixels import read_picture, to_images


def save(path: Path, value: int, *, shape: tuple[int, int] = (6, 9)) -> None:
    """A flat picture: red ``value``, green 100, blue 0; lossless."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((*shape, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = value, 100
    Image.fromarray(pixels).save(path)


def reds(images: torch.Tensor) -> list[int]:
    return images[:, 0, 0, 0].mul(255).round().int().tolist()


def folders(root: Path, split: str = "", *, start: int = 0, count: int = 10) -> None:
    for index, name in enumerate(("ant", "bee")):
        for number in range(count):
            save(root / split / name / f"{number:03d}.png", start + 20 * index + number)


def test_a_picture_has_the_label_of_its_folder(tmp_path):
    folders(tmp_path)
    data = load_folders(tmp_path, validation=0.25, test=0.2)
    assert data.classes == ("ant", "bee")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [12, 4, 4]
    seen = []
    for part in (data.train, data.validation, data.test):
        assert [value >= 20 for value in reds(part.images)] == part.labels.bool().tolist()
        assert part.labels.bincount().tolist() == [len(part) // 2] * 2
        seen += reds(part.images)
    assert sorted(seen) == [*range(10), *range(20, 30)]
    assert data.test.images[0, :, 3, 4].mul(255).tolist()[1:] == [100, 0]


@pytest.mark.parametrize(
    ("splits", "sizes"),
    [
        (("train", "test"), [18, 2, 20]),
        (("train", "val"), [18, 2, 20]),
        (("train", "validation", "test"), [20, 20, 20]),
    ],
)
def test_official_splits_are_kept_and_a_missing_one_is_cut_from_train(tmp_path, splits, sizes):
    for start, split in enumerate(splits):
        folders(tmp_path, split, start=60 * start)
    data = load_folders(tmp_path, validation=0.1)
    assert [len(part) for part in (data.train, data.validation, data.test)] == sizes
    last = 60 * (len(splits) - 1)
    assert reds(data.test.images) == [last + value for value in (*range(10), *range(20, 30))]


def test_test_pictures_without_classes_are_no_test_set(tmp_path):
    folders(tmp_path, "train")
    folders(tmp_path, "val", start=60)
    save(tmp_path / "test" / "1.png", 250)
    assert min(reds(load_folders(tmp_path).test.images)) >= 60


def test_classes_can_be_chosen_and_ordered_and_pictures_thinned_evenly(tmp_path):
    folders(tmp_path)
    save(tmp_path / "cow" / "0.png", 200)
    data = load_folders(tmp_path, classes=("bee", "ant"), limit=5, validation=0.5, test=0.4)
    assert data.classes == ("bee", "ant")
    seen = sorted(value for part in (data.train, data.validation, data.test) for value in reds(part.images))
    assert seen == [0, 2, 4, 6, 8, 20, 22, 24, 26, 28]


def test_pictures_of_several_sizes_ask_for_a_size(tmp_path):
    folders(tmp_path)
    save(tmp_path / "bee" / "003.png", 23, shape=(7, 9))
    with pytest.raises(ValueError, match=r"one size, got 6 x 9 and 7 x 9 .*Pass size=\(height, width\)"):
        load_folders(tmp_path)
    assert load_folders(tmp_path, size=(4, 5)).train.images.shape[1:] == (3, 4, 5)


def test_fitting_keeps_the_aspect_and_cuts_the_sides(tmp_path):
    pixels = np.zeros((4, 8), np.uint8)
    pixels[:, 2:6] = np.arange(4)[:, None] * 10 + np.arange(4)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    fitted = read_picture(tmp_path / "wide.png", size=(4, 4), grey=True)
    np.testing.assert_array_equal(fitted, pixels[:, 2:6])


def test_shrinking_averages_what_it_covers():
    # A pixel checkerboard shrunk four times is grey; without antialiasing it would be black or white.
    board = (np.indices((16, 24)).sum(0) % 2 * 255).astype(np.uint8)[None, None]
    inner = to_images(board, size=(4, 6))[..., 1:-1, 1:-1]
    torch.testing.assert_close(inner, torch.full_like(inner, 0.5), atol=0.02, rtol=0)


def cats_and_dogs(root: Path, split: str, numbers: range) -> None:
    for index, name in enumerate(("cat", "dog")):
        for number in numbers:
            save(root / split / f"{name}.{number}.png", 100 * index + number)


def test_cats_and_dogs_are_told_by_their_file_names(tmp_path):
    cats_and_dogs(tmp_path, "train", range(10))
    cats_and_dogs(tmp_path, "test", range(10, 13))
    data = load_cats_dogs(tmp_path, size=None)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [18, 2, 6]
    assert reds(data.test.images) == [10, 11, 12, 110, 111, 112]  # cat.9 before cat.10: by number, not by letter
    assert data.test.labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_kaggles_own_test_pictures_have_no_labels_so_a_test_set_is_cut(tmp_path):
    cats_and_dogs(tmp_path, "train", range(10))
    save(tmp_path / "test" / "1.png", 250)
    data = load_cats_dogs(tmp_path, size=None, test=0.2, validation=0.25)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [12, 4, 4]
    assert max(reds(data.test.images)) < 250


def test_a_truncated_picture_is_refused_by_name(tmp_path):
    cats_and_dogs(tmp_path, "train", range(10))
    path = tmp_path / "train" / "dog.2.png"
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(ValueError, match=r"dog\.2\.png must be a whole picture file, got: .*delete it"):
        load_cats_dogs(tmp_path)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (load_cats_dogs, r"train must contain cat\.N\.jpg and dog\.N\.jpg, got 0 of them. Unpack train\.zip"),
        (load_folders, "must contain at least two folders of pictures, one per class, got 0"),
    ],
)
def test_an_empty_folder_says_what_belongs_there(tmp_path, loader, message):
    with pytest.raises(FileNotFoundError, match=message):
        loader(tmp_path)


def test_a_class_without_pictures_in_one_split_is_named(tmp_path):
    folders(tmp_path, "train")
    save(tmp_path / "test" / "ant" / "0.png", 1)
    with pytest.raises(FileNotFoundError, match="test/bee must contain pictures of the class 'bee', got none"):
        load_folders(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0}, "limit must be at least 1 picture per class, got 0"),
        ({"test": 1.0}, "share must be between 0 and 1, got 1"),
        ({"test": 0.01}, "every class in both parts, got 0.01 of 20 images"),
        ({"size": 0}, "size must be at least 1 pixel, got 0"),
    ],
)
def test_impossible_requests_are_refused(tmp_path, options, message):
    folders(tmp_path)
    with pytest.raises(ValueError, match=message):
        load_folders(tmp_path, **options)
