"""CIFAR-10 batches as Python 2 pickled them, opcode by opcode, and pickles that must not be run."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from kd.data.cifar import load_cifar10, read_batch

FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


def text(value: bytes) -> bytes:
    """A Python 2 ``str``: SHORT_BINSTRING or BINSTRING."""
    return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<i", len(value)) + value


def integer(value: int) -> bytes:
    return b"M" + struct.pack("<H", value)


def python2_batch(pixels: np.ndarray, labels: list[int]) -> bytes:
    """Protocol 2: ``{'data': uint8 array, 'labels': list, 'batch_label': str, 'filenames': list}``."""
    dtype = b"cnumpy\ndtype\n" + b"(" + text(b"u1") + b"K\0K\1tR" + b"(K\3" + text(b"|") + b"NNNJ\xff\xff\xff\xff"
    dtype += b"J\xff\xff\xff\xffK\0tb"
    shape = b"(" + b"".join(integer(n) for n in pixels.shape) + b"t"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0t" + text(b"b") + b"tR"
    array += b"(K\1" + shape + dtype + b"\x89" + text(pixels.tobytes()) + b"tb"
    label_list = b"](" + b"".join(integer(n) for n in labels) + b"e"
    names = b"](" + b"".join(text(b"leptodactylus_%d.png" % n) for n in range(len(labels))) + b"e"
    items = text(b"batch_label") + text(b"training batch") + text(b"labels") + label_list
    items += text(b"data") + array + text(b"filenames") + names
    return b"\x80\x02}(" + items + b"u."


def write_set(folder: Path, count: int = 10) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {name: rng.integers(0, 256, (count, 3072), dtype=np.uint8) for name in FILES}
    for name, pixels in arrays.items():
        (folder / name).write_bytes(python2_batch(pixels, [n % 10 for n in range(count)]))
    return arrays


def test_a_row_of_3072_is_a_red_a_green_and_a_blue_plane_row_by_row(tmp_path):
    pixels = np.zeros((1, 3072), np.uint8)
    pixels[0, 1024 + 32 * 5 + 7] = 200  # green, row 5, column 7
    (tmp_path / "batch").write_bytes(python2_batch(pixels, [9]))
    images, labels = read_batch(tmp_path / "batch")
    assert images.nonzero().tolist() == [[0, 1, 5, 7]]
    assert labels.tolist() == [9]


def test_every_image_comes_back_with_the_test_set_in_order(tmp_path):
    arrays = write_set(tmp_path)
    data = load_cifar10(tmp_path, validation=0.2)
    tested = torch.from_numpy(arrays["test_batch"]).reshape(-1, 3, 32, 32)
    torch.testing.assert_close(data.test.images, tested / 255, atol=0, rtol=0)
    assert data.test.labels.tolist() == list(range(10))
    assert data.validation.labels.bincount().tolist() == [1] * 10
    rows = torch.cat([data.train.images, data.validation.images]).mul(255).round().to(torch.uint8).flatten(1)
    wanted = {row.tobytes() for name in FILES[:5] for row in arrays[name]}
    assert {row.numpy().tobytes() for row in rows} == wanted


def test_grey_is_the_luma_of_bt_601(tmp_path):
    write_set(tmp_path)
    colour, grey = (load_cifar10(tmp_path, validation=0.2, grey=grey).test.images for grey in (False, True))
    expected = 0.299 * colour[:, 0] + 0.587 * colour[:, 1] + 0.114 * colour[:, 2]
    torch.testing.assert_close(grey[:, 0], expected)


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_python_3_writes_is_read_too(tmp_path, protocol):
    pixels = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)
    (tmp_path / "batch").write_bytes(pickle.dumps({b"data": pixels, b"labels": [3, 4]}, protocol=protocol))
    images, labels = read_batch(tmp_path / "batch")
    assert torch.equal(images.flatten(1), torch.from_numpy(pixels))
    assert labels.tolist() == [3, 4]


class Calls:
    """Unpickled, it calls ``function``."""

    def __init__(self, function, *arguments):
        self.state = (function, arguments)

    def __reduce__(self):
        return self.state


@pytest.mark.parametrize("function", [os.system, eval, np.load, np.fromfile, getattr])
def test_a_pickle_that_would_run_something_is_refused_unrun(tmp_path, function):
    mark = tmp_path / "it_ran"
    mark.write_bytes(pickle.dumps(1))
    argument = f"echo > {tmp_path / 'it_ran_too'}" if function is os.system else str(mark)
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": Calls(function, argument), "labels": [0]}, protocol=2))
    with pytest.raises(ValueError, match=r"must be a CIFAR-10 batch, got: it asks for .* which no array needs"):
        read_batch(tmp_path / "batch")
    assert not (tmp_path / "it_ran_too").exists()


def test_other_codecs_are_refused(tmp_path):
    (tmp_path / "batch").write_bytes(b"\x80\x02c_codecs\nencode\n(X\x01\0\0\0aX\x05\0\0\0rot13tR.")
    with pytest.raises(ValueError, match="codec rot13"):
        read_batch(tmp_path / "batch")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (python2_batch(np.zeros((2, 3072), np.uint8), [0, 1])[:-3000], "must be a CIFAR-10 batch, got"),
        (b"", "must be a CIFAR-10 batch, got"),
        (b"<html>", "must be a CIFAR-10 batch, got"),
        (pickle.dumps([1, 2]), "must hold a dictionary, got list"),
        (pickle.dumps({"data": 1}), r"uint8 'data' and a list 'labels', got \['data'\]"),
        (python2_batch(np.zeros((2, 3071), np.uint8), [0, 1]), r"3072 values for each of 2 labels, got \(2, 3071\)"),
        (python2_batch(np.zeros((1, 3072), np.uint8), [10]), "labels from 0 to 9"),
    ],
)
def test_a_damaged_batch_is_refused_by_name(tmp_path, content, message):
    write_set(tmp_path, count=2)
    (tmp_path / "data_batch_3").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_cifar10(tmp_path)
    assert str(tmp_path / "data_batch_3") in str(caught.value)


def test_a_missing_batch_is_named(tmp_path):
    write_set(tmp_path, count=2)
    (tmp_path / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match="must contain the batch data_batch_4"):
        load_cifar10(tmp_path)
