"""IDX files written byte by byte by the test, and the real sets where OPTICS4F_DATA names them."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.data.idx import load_idx, read_idx

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx_bytes(values: np.ndarray) -> bytes:
    header = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + bytes(values.ravel().tolist())


def write_set(folder: Path, *, zipped: bool, train: int = 20, test: int = 6) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", train), ("t10k", test)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 5, 7), dtype=np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = (np.arange(count) * 3 % 10).astype(np.uint8)
    folder.mkdir(exist_ok=True)
    for name, values in arrays.items():
        content = idx_bytes(values)
        (folder / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(content) if zipped else content)
    return arrays


@pytest.mark.parametrize("zipped", [True, False])
def test_every_pixel_and_label_comes_back(tmp_path, zipped):
    arrays = write_set(tmp_path, zipped=zipped)
    data = load_idx(tmp_path, validation=0.5)
    expected = torch.from_numpy(arrays[NAMES[2]])[:, None] / 255
    torch.testing.assert_close(data.test.images, expected, atol=0, rtol=0)
    assert data.test.labels.tolist() == arrays[NAMES[3]].tolist()
    images = torch.cat([data.train.images, data.validation.images]).mul(255).round().to(torch.uint8)
    labels = torch.cat([data.train.labels, data.validation.labels])
    wanted = {(image.tobytes(), int(label)) for image, label in zip(arrays[NAMES[0]], arrays[NAMES[1]], strict=True)}
    assert {(i.numpy().tobytes(), int(y)) for i, y in zip(images, labels, strict=True)} == wanted
    assert data.validation.labels.bincount().tolist() == [1] * 10


def test_the_validation_cut_follows_its_seed_and_keeps_the_order(tmp_path):
    arrays = write_set(tmp_path, zipped=False)
    first, again, other = (load_idx(tmp_path, validation=0.5, split_seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.images, again.train.images)
    assert not torch.equal(first.train.images, other.train.images)
    order = [image.tobytes() for image in arrays[NAMES[0]]]
    places = [order.index(i.numpy().tobytes()) for i in first.train.images.mul(255).round().to(torch.uint8)]
    assert places == sorted(places)


def test_resizing_keeps_the_mean_light(tmp_path):
    write_set(tmp_path, zipped=True)
    data = load_idx(tmp_path, validation=0.5, size=(10, 14))
    assert data.test.images.shape == (6, 1, 10, 14)
    # An antialiased triangle filter of integer zoom sums to one everywhere but at the border, where it is renormalised.
    native = load_idx(tmp_path, validation=0.5).test.images
    assert (data.test.images.mean((-2, -1)) - native.mean((-2, -1))).abs().max() < 0.05


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], r"must have 226 bytes for 6 x 5 x 7 values, got 225"),
        (lambda content: content + b"\0", r"must have 226 bytes .* got 227"),
        (lambda content: content[:9], r"must have .* bytes .* got 9"),
        (lambda content: b"\0\0\x0d" + content[3:], r"IDX magic 00 00 08, got 00 00 0d"),
        (lambda content: b"", r"IDX magic 00 00 08, got nothing"),
        (lambda content: gzip.compress(content)[:-20], r"whole gzip file, got: .*Fetch it again"),
        (lambda content: b"<html>not here</html>", r"IDX magic 00 00 08, got 3c 68 74"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, damage, message):
    write_set(tmp_path, zipped=False)
    path = tmp_path / NAMES[2]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        load_idx(tmp_path, validation=0.5)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_labels_of_another_length_are_refused(tmp_path):
    write_set(tmp_path, zipped=False)
    (tmp_path / NAMES[3]).write_bytes(idx_bytes(np.zeros(5, np.uint8)))
    with pytest.raises(ValueError, match=r"t10k images .* got \(6, 5, 7\) and \(5,\)"):
        load_idx(tmp_path, validation=0.5)


def test_a_missing_file_is_named(tmp_path):
    write_set(tmp_path, zipped=True)
    (tmp_path / f"{NAMES[1]}.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"must contain train-labels-idx1-ubyte, got none. Put .*\.gz or"):
        load_idx(tmp_path)


def test_a_file_unpacked_with_a_dot_in_its_name_is_found(tmp_path):
    arrays = write_set(tmp_path, zipped=False)
    (tmp_path / NAMES[0]).rename(tmp_path / "train-images.idx3-ubyte")
    assert len(load_idx(tmp_path, validation=0.5).train) == len(arrays[NAMES[0]]) // 2


def test_a_file_of_four_dimensions_keeps_its_shape(tmp_path):
    values = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    (tmp_path / "cube").write_bytes(idx_bytes(values))
    np.testing.assert_array_equal(read_idx(tmp_path / "cube"), values)
