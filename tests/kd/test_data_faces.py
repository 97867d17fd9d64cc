"""Faces: PGM files and scikit-learn's own layouts, written by the test."""

from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from PIL import Image

from kd.data.faces import load_lfw, load_olivetti, load_orl


def write_pgm(path: Path, pixels: np.ndarray) -> None:
    """Binary PGM, as ORL has it: P5, width, height, largest value, bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = pixels.shape
    path.write_bytes(b"P5\n%d %d\n255\n" % (width, height) + pixels.tobytes())


def write_orl(folder: Path, people: int = 11, pictures: int = 10) -> None:
    for person in range(1, people + 1):
        for number in range(1, pictures + 1):
            pixels = np.zeros((7, 5), np.uint8)
            pixels[0, :2] = person, number
            write_pgm(folder / f"s{person}" / f"{number}.pgm", pixels)


def test_person_and_picture_come_back_by_number_and_the_last_two_test(tmp_path):
    write_orl(tmp_path)
    data = load_orl(tmp_path)
    assert data.classes == tuple(f"s{n}" for n in range(1, 12))  # s2 before s10
    person, number = data.test.images[:, 0, 0, :2].mul(255).round().int().T
    assert (person - 1).tolist() == data.test.labels.tolist()
    assert number.tolist() == [9, 10] * 11
    assert data.validation.labels.bincount().tolist() == [1] * 11
    numbers = torch.cat([data.train.images, data.validation.images])[:, 0, 0, 1].mul(255).round().int()
    assert numbers.bincount().tolist() == [0, *([11] * 8)]
    assert data.train.images.shape == (77, 1, 7, 5)


@pytest.mark.parametrize(
    ("people", "pictures", "error", "message"),
    [
        (1, 10, FileNotFoundError, r"folders s1, s2, \.\.\. .*, got 1. Unpack att_faces.zip"),
        (3, 3, ValueError, "test_pictures must leave two pictures .*, got 2 of 3"),
    ],
)
def test_too_few_faces_are_refused(tmp_path, people, pictures, error, message):
    write_orl(tmp_path, people, pictures)
    with pytest.raises(error, match=message):
        load_orl(tmp_path)


def test_a_truncated_pgm_is_refused_by_name(tmp_path):
    write_orl(tmp_path)
    path = tmp_path / "s3" / "4.pgm"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"s3/4\.pgm must be a whole picture file"):
        load_orl(tmp_path)


def test_olivetti_comes_from_scikit_learns_own_file(tmp_path):
    faces = np.random.default_rng(0).random((400, 4096)).astype(np.float32)
    faces[0, 0], faces[0, 1] = 0, 1  # scikit-learn stretches the values to [0, 1]
    joblib.dump(faces, tmp_path / "olivetti_py3.pkz")
    data = load_olivetti(tmp_path)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [280, 40, 80]
    parts = (data.train, data.validation, data.test)
    images, labels = torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])
    order = images[:, 0, 5, 7].argsort()
    expected = torch.from_numpy(faces.reshape(400, 64, 64)[:, 7, 5])  # the file holds each face column by column
    torch.testing.assert_close(images[order, 0, 5, 7], expected.sort().values)
    assert labels[order].tolist() == (expected.argsort() // 10).tolist()  # ten pictures a person
    assert data.test.labels.bincount().tolist() == [2] * 40
    assert load_olivetti(tmp_path, size=32).test.images.shape[1:] == (1, 32, 32)


def write_lfw(folder: Path) -> None:
    home = folder / "lfw_home"
    for index, name in enumerate(("Ada_Lovelace", "Grace_Hopper", "Rare_Person")):
        for number in range(1, (3 if name == "Rare_Person" else 8) + 1):
            path = home / "lfw_funneled" / name / f"{name}_{number:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (250, 250), (100 * index + 50, 30, 0)).save(path, quality=95)
    for listing in ("pairsDevTrain.txt", "pairsDevTest.txt", "pairs.txt"):
        (home / listing).write_text("")


@pytest.mark.parametrize(("grey", "channels"), [(True, 1), (False, 3)])
def test_lfw_names_people_with_enough_pictures(tmp_path, grey, channels):
    write_lfw(tmp_path)
    data = load_lfw(tmp_path, least_pictures=5, validation=0.25, test=0.25, grey=grey)
    assert data.classes == ("Ada Lovelace", "Grace Hopper")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [9, 3, 4]
    assert data.test.images.shape[1:] == (channels, 125, 94)
    # Flat pictures: red 50 of Ada, 150 of Grace; grey is the mean of three channels. JPEG is good to 2 in 255.
    for value, label in zip(data.test.images[:, 0, 60, 40], data.test.labels, strict=True):
        red = 50 + 100 * int(label)
        assert value.item() == pytest.approx(((red + 30) / 3 if grey else red) / 255, abs=2 / 255)


@pytest.mark.parametrize(("loader", "what"), [(load_olivetti, "olivetti_py3.pkz"), (load_lfw, "lfw_home")])
def test_what_may_not_be_fetched_says_where_it_belongs(tmp_path, loader, what):
    with pytest.raises(FileNotFoundError, match=rf"{tmp_path} must contain {what} .*download=True"):
        loader(tmp_path)
    assert not list(tmp_path.iterdir())
