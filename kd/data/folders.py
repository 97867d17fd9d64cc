"""Picture files sorted into classes: by folder, or by file name as in Kaggle's "Dogs vs. Cats"."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from kd.data.images import DataSplits, LabelledImages
from kd.data.pixels import Size, pictures_in, read_pictures, to_images
from kd.data.splits import hold_out

TRAIN, VALIDATION, TEST = ("train", "training"), ("validation", "valid", "val"), ("test", "testing")
CATS_DOGS = ("cat", "dog")

_Files = list[tuple[Path, int]]  # picture and class


def load_folders(
    folder: str | Path,
    *,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    size: Size | None = None,
    grey: bool = False,
    validation: float = 0.1,
    test: float = 0.2,
    limit: int | None = None,
    split_seed: int = 0,
) -> DataSplits:
    """Any set with one folder of pictures per class, such as HIGH-10 or a subset of ImageNet.

    ``folder`` holds the class folders, or splits that hold them: ``train`` with ``test`` or ``val`` or both. A lone
    ``val`` beside ``train`` is the part with public labels (ImageNet's habit) and becomes the test set, in the
    order of its file names. What is missing is cut from the rest with equal shares of every class.

    Args:
        folder: The set.
        name: Name for tables and messages, by default that of the folder.
        classes: Names of the class folders to take, in the order of their labels; by default all, by name.
        size: Height and width; needed where pictures differ. Scaled to cover it, then cropped about the centre.
        grey: One channel (BT.601 luma) instead of three.
        validation: Share of the training pictures to validate on where the set has no such split.
        test: Share of all pictures to test on where the set has no such split.
        limit: At most so many pictures per class and split, evenly spaced by name; ``None`` for all.
        split_seed: Seed of the cuts.

    Raises:
        FileNotFoundError: No class folders with pictures.
        ValueError: A broken picture, sizes that differ and no ``size``, or too few pictures to cut.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} must be a folder with one folder of pictures per class, got none there.")
    train_folder = _first(folder, TRAIN)
    classes = _class_names(train_folder or folder) if classes is None else tuple(classes)
    train = _by_folder(train_folder or folder, classes, limit)
    validation_files, test_files = None, None
    if train_folder is not None:
        validation_folder, test_folder = _first(folder, VALIDATION), _first(folder, TEST)
        if test_folder is None or not any(child.is_dir() for child in test_folder.iterdir()):
            validation_folder, test_folder = None, validation_folder  # test pictures without classes are no test set
        validation_files = validation_folder and _by_folder(validation_folder, classes, limit)
        test_files = test_folder and _by_folder(test_folder, classes, limit)
    return _splits(
        name or folder.name,
        classes,
        (train, validation_files, test_files),
        shares=(validation, test),
        seed=split_seed,
        size=size,
        grey=grey,
    )


def load_cats_dogs(
    folder: str | Path,
    *,
    size: Size | None = 64,
    grey: bool = False,
    validation: float = 0.1,
    test: float = 0.2,
    limit: int | None = None,
    split_seed: int = 0,
) -> DataSplits:
    """Kaggle's "Dogs vs. Cats" (Elson et al. 2007, Asirra): ``train/cat.N.jpg``, ``train/dog.N.jpg``.

    Kaggle's own test pictures have no public labels: ``test`` is used where its files are named by class, otherwise
    a test set is cut from ``train``. Pictures are ordered by class, then by N. All 25 000 at 64 x 64 in colour are
    1.2 GB, and four times that at 128 x 128.

    Args:
        folder: Holds ``train`` and perhaps ``test``.
        size: Height and width; pictures are scaled to cover it, then cropped about the centre. ``None`` needs
            pictures of one size.
        grey: One channel (BT.601 luma) instead of three.
        validation: Share of the training pictures to validate on.
        test: Share of all pictures to test on where ``test`` has no labels.
        limit: At most so many pictures per class and split, evenly spaced by N; ``None`` for all.
        split_seed: Seed of the cuts.

    Raises:
        FileNotFoundError: No such pictures.
        ValueError: A broken picture, sizes that differ and no ``size``, or too few pictures to cut.
    """
    folder = Path(folder)
    train, tested = _by_name(folder / "train", limit), _by_name(folder / "test", limit)
    if {label for _, label in train} != {0, 1}:
        raise FileNotFoundError(
            f"{folder / 'train'} must contain cat.N.jpg and dog.N.jpg, got {len(train)} of them. "
            "Unpack train.zip of kaggle.com/c/dogs-vs-cats there."
        )
    return _splits(
        "Cats vs Dogs",
        CATS_DOGS,
        (train, None, tested or None),
        shares=(validation, test),
        seed=split_seed,
        size=size,
        grey=grey,
    )


def _first(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of ``names`` that is a folder below ``folder``."""
    return next((folder / name for name in names if (folder / name).is_dir()), None)


def _class_names(folder: Path) -> tuple[str, ...]:
    """Folders that hold pictures, by name."""
    names = sorted(child.name for child in folder.iterdir() if child.is_dir() and pictures_in(child))
    if len(names) < 2:
        raise FileNotFoundError(
            f"{folder} must contain at least two folders of pictures, one per class, got {len(names)}. "
            "Put CLASS/PICTURE.jpg there."
        )
    return tuple(names)


def _by_folder(folder: Path, classes: Sequence[str], limit: int | None) -> _Files:
    """Pictures and labels, class by class."""
    files: _Files = []
    for label, name in enumerate(classes):
        pictures = pictures_in(folder / name) if (folder / name).is_dir() else []
        if not pictures:
            raise FileNotFoundError(f"{folder / name} must contain pictures of the class {name!r}, got none.")
        files += [(path, label) for path in _thinned(pictures, limit)]
    return files


def _by_name(folder: Path, limit: int | None) -> _Files:
    """Pictures named ``CLASS.NUMBER.SUFFIX``, class by class, by number."""
    pictures = pictures_in(folder) if folder.is_dir() else []
    files: _Files = []
    for label, name in enumerate(CATS_DOGS):
        named = [path for path in pictures if path.name.split(".")[0] == name and path.stem.split(".")[-1].isdigit()]
        named.sort(key=lambda path: int(path.stem.split(".")[-1]))
        files += [(path, label) for path in _thinned(named, limit)]
    return files


def _thinned(paths: list[Path], limit: int | None) -> list[Path]:
    """At most ``limit`` of ``paths``, evenly spaced: neighbours by name are often alike."""
    if limit is None or len(paths) <= limit:
        return paths
    if limit < 1:
        raise ValueError(f"limit must be at least 1 picture per class, got {limit}.")
    return [paths[index * len(paths) // limit] for index in range(limit)]


def _splits(
    name: str,
    classes: Sequence[str],
    files: tuple[_Files, _Files | None, _Files | None],
    *,
    shares: tuple[float, float],
    seed: int,
    size: Size | None,
    grey: bool,
) -> DataSplits:
    """Read what was found and cut what is missing, the test set first."""
    train, validation, test = files
    if test is None:
        train, test = _cut(train, shares[1], seed)
    if validation is None:
        train, validation = _cut(train, shares[0], seed)
    parts = [
        LabelledImages(
            to_images(read_pictures([path for path, _ in part], size=size, grey=grey)),
            torch.tensor([label for _, label in part]),
        )
        for part in (train, validation, test)
    ]
    return DataSplits(name, tuple(classes), *parts)


def _cut(files: _Files, share: float, seed: int) -> tuple[_Files, _Files]:
    """Hold out a share of every class."""
    labels: Tensor = torch.tensor([label for _, label in files])
    kept, held = hold_out(len(files), share, seed, labels=labels)
    return [files[index] for index in kept.tolist()], [files[index] for index in held.tolist()]
