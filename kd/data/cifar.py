"""CIFAR-10 as its owner distributes it for Python: batches in pickles."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd.data.images import DataSplits, LabelledImages
from kd.data.pixels import Size, to_images
from kd.data.places import inside
from kd.data.splits import hold_out

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE = "test_batch"

_SHAPE = (3, 32, 32)


def load_cifar10(
    folder: str | Path,
    *,
    size: Size | None = None,
    grey: bool = False,
    validation: float = 0.1,
    split_seed: int = 0,
) -> DataSplits:
    """CIFAR-10 (Krizhevsky 2009), "Python version".

    The official test set, in its order; validation is cut from the five training batches with equal shares of every
    class. All of it is 0.74 GB in colour at 32 x 32.

    Args:
        folder: ``cifar-10-batches-py``, with ``data_batch_1`` to ``data_batch_5`` and ``test_batch``.
        size: Height and width to resize to, or ``None`` for 32 x 32.
        grey: One channel (BT.601 luma) instead of three.
        validation: Share of the training set to validate on.
        split_seed: Seed of that cut.

    Raises:
        FileNotFoundError: A batch is missing.
        ValueError: A file that is no such batch.
    """
    folder = Path(folder)
    batches = [read_batch(inside(folder, [name], f"the batch {name}")) for name in TRAIN_FILES]
    tested = read_batch(inside(folder, [TEST_FILE], f"the batch {TEST_FILE}"))
    pixels, labels = torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])
    fitted, validated = hold_out(len(labels), validation, split_seed, labels=labels)

    def images(some: Tensor) -> Tensor:
        return to_images(some, size=size, grey=grey)

    return DataSplits(
        name="CIFAR-10, grey" if grey else "CIFAR-10",
        classes=CLASSES,
        train=LabelledImages(images(pixels[fitted]), labels[fitted]),
        validation=LabelledImages(images(pixels[validated]), labels[validated]),
        test=LabelledImages(images(tested[0]), tested[1]),
    )


def read_batch(path: str | Path) -> tuple[Tensor, Tensor]:
    """Pixels (uint8, ``(N, 3, 32, 32)``) and labels (int64, ``(N,)``) of one batch.

    A pickle can run any program. This one is read by an unpickler that knows arrays, numbers, strings, lists and
    dictionaries, and nothing else.

    Raises:
        ValueError: A truncated file, a pickle of something else, or arrays of another shape.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="bytes").load()
    except FileNotFoundError:
        raise
    except Exception as error:  # a broken pickle raises almost anything
        raise ValueError(f"{path} must be a CIFAR-10 batch, got: {error}. Fetch it again.") from error
    if not isinstance(batch, dict):
        raise ValueError(f"{path} must hold a dictionary, got {type(batch).__name__}. Fetch it again.")
    batch = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
    pixels, labels = batch.get("data"), batch.get("labels")
    count = len(labels) if isinstance(labels, list) else 0
    if not count or not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8:
        raise ValueError(f"{path} must hold uint8 'data' and a list 'labels', got {sorted(batch)}. Fetch it again.")
    if pixels.shape != (count, 3072):
        raise ValueError(f"{path} must hold 3072 values for each of {count} labels, got {pixels.shape}.")
    if not all(isinstance(label, int) and 0 <= label < len(CLASSES) for label in labels):
        raise ValueError(f"{path} must hold labels from 0 to 9, got others. Fetch it again.")
    return torch.from_numpy(pixels.copy()).reshape(count, *_SHAPE), torch.tensor(labels)


class _ArraysOnly(pickle.Unpickler):
    """Refuses every name except those that a pickled numpy array needs."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        # NumPy 2 moved the private module; the official files name the old one.
        if (module.replace("numpy._core", "numpy.core"), name) == ("numpy.core.multiarray", "_reconstruct"):
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes into a protocol 2 pickle
            return _latin1_bytes
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")


def _latin1_bytes(text: str, encoding: str) -> bytes:
    """``codecs.encode`` for the one encoding that pickle uses: other codecs unpack or import."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {encoding}")
    return text.encode("latin1")
