"""Faces: who is it? ORL (AT&T) from its PGM files; Olivetti and LFW through scikit-learn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd.data.images import DataSplits, LabelledImages
from kd.data.pixels import Size, height_and_width, pictures_in, read_pictures, to_images
from kd.data.splits import hold_out
from kd.extras import extra


def load_orl(
    folder: str | Path,
    *,
    size: Size | None = None,
    test_pictures: int = 2,
    validation: float = 0.125,
    split_seed: int = 0,
) -> DataSplits:
    """The ORL (now AT&T) database of faces (Samaria and Harter 1994): 40 people, 10 pictures each, 112 x 92, grey.

    It has no official split. Here the last ``test_pictures`` of each person (9 and 10) test, and validation is
    cut from the others with equal shares of every person: 280, 40 and 80 pictures by default.

    Args:
        folder: Holds ``s1`` to ``s40``, each with ``1.pgm`` to ``10.pgm``.
        size: Height and width; pictures are scaled to cover it, then cropped about the centre.
        test_pictures: Pictures per person to test on.
        validation: Share of the other pictures to validate on.
        split_seed: Seed of the validation cut.

    Raises:
        FileNotFoundError: No such folders.
        ValueError: A broken picture, or too few pictures per person.
    """
    folder = Path(folder)
    people = [child for child in folder.glob("s*") if child.is_dir() and child.name[1:].isdigit()]
    if len(people) < 2:
        raise FileNotFoundError(
            f"{folder} must contain folders s1, s2, ... with 1.pgm, 2.pgm, ..., got {len(people)}. "
            "Unpack att_faces.zip there."
        )
    people.sort(key=lambda person: int(person.name[1:]))
    train: list[tuple[Path, int]] = []
    test: list[tuple[Path, int]] = []
    for label, person in enumerate(people):
        pictures = [path for path in pictures_in(person) if path.stem.isdigit()]
        pictures.sort(key=lambda path: int(path.stem))
        if not 1 <= test_pictures <= len(pictures) - 2:
            raise ValueError(
                f"test_pictures must leave two pictures to train and validate on, got {test_pictures} of "
                f"{len(pictures)} in {person}."
            )
        train += [(path, label) for path in pictures[:-test_pictures]]
        test += [(path, label) for path in pictures[-test_pictures:]]

    def read(files: list[tuple[Path, int]]) -> LabelledImages:
        images = to_images(read_pictures([path for path, _ in files], size=size, grey=True))
        return LabelledImages(images, torch.tensor([label for _, label in files]))

    rest = read(train)
    fitted, validated = hold_out(len(rest), validation, split_seed, labels=rest.labels)
    return DataSplits(
        "ORL faces", tuple(person.name for person in people), rest.subset(fitted), rest.subset(validated), read(test)
    )


def load_olivetti(
    folder: str | Path,
    *,
    size: Size | None = None,
    validation: float = 0.125,
    test: float = 0.2,
    split_seed: int = 0,
    download: bool = False,
) -> DataSplits:
    """The ORL faces as scikit-learn has them: 400 of 64 x 64, grey, cut with equal shares of every person.

    scikit-learn keeps them in a pickle, which can run any program: take that file from nobody but scikit-learn.

    Args:
        folder: scikit-learn's ``data_home``, with ``olivetti_py3.pkz``.
        size: Height and width to resize to, or ``None``.
        validation: Share of what is not test to validate on.
        test: Share of all to test on.
        split_seed: Seed of the cuts.
        download: Whether scikit-learn may fetch the file (it checks the SHA-256).

    Raises:
        FileNotFoundError: The file is not there and may not be fetched.
        ImportError: scikit-learn is not installed.
    """
    bunch = _fetched("fetch_olivetti_faces", folder, "olivetti_py3.pkz", download)
    images = torch.from_numpy(np.ascontiguousarray(bunch.images, dtype=np.float32))[:, None]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    classes = tuple(f"s{number}" for number in range(1, int(labels.max()) + 2))
    return _in_three("Olivetti faces", classes, _resized(images, size), labels, (validation, test), split_seed)


def load_lfw(
    folder: str | Path,
    *,
    size: Size | None = None,
    grey: bool = True,
    least_pictures: int = 70,
    validation: float = 0.1,
    test: float = 0.2,
    split_seed: int = 0,
    download: bool = False,
) -> DataSplits:
    """Labeled Faces in the Wild (Huang et al. 2007), people with many pictures, scikit-learn's crop of 125 x 94.

    Its official protocol compares pairs; to name people it has no split, so the set is cut with equal shares of
    every person.

    Args:
        folder: scikit-learn's ``data_home``, with ``lfw_home/lfw_funneled``.
        size: Height and width to resize to, or ``None``.
        grey: One channel (scikit-learn's mean of three) instead of three.
        least_pictures: People with fewer pictures are left out.
        validation: Share of what is not test to validate on.
        test: Share of all to test on.
        split_seed: Seed of the cuts.
        download: Whether scikit-learn may fetch the files (it checks the SHA-256).

    Raises:
        FileNotFoundError: The files are not there and may not be fetched.
        ImportError: scikit-learn is not installed.
    """
    options = {"min_faces_per_person": least_pictures, "color": not grey, "resize": None}
    bunch = _fetched("fetch_lfw_people", folder, "lfw_home", download, **options)
    faces = torch.from_numpy(np.ascontiguousarray(bunch.images, dtype=np.float32))
    images = faces[:, None] if grey else faces.permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    names = tuple(str(name) for name in bunch.target_names)
    return _in_three("LFW", names, _resized(images, size), labels, (validation, test), split_seed)


def _fetched(fetcher: str, folder: str | Path, what: str, download: bool, **options: Any) -> Any:  # noqa: ANN401
    """What scikit-learn's fetcher returns, its complaint in our words."""
    fetch = getattr(extra("sklearn.datasets", "scikit-learn"), fetcher)
    missing = FileNotFoundError(
        f"{folder} must contain {what} as scikit-learn's {fetcher} keeps it, got none. "
        "Pass download=True (in a file: options = { download = true } in [data]), or copy scikit-learn's data folder "
        "there."
    )
    if not download and not (Path(folder) / what).exists():
        raise missing  # asked in vain, scikit-learn would leave empty folders behind
    try:
        return fetch(data_home=str(folder), download_if_missing=download, **options)
    except OSError as error:
        if download:
            raise
        raise missing from error


def _resized(images: Tensor, size: Size | None) -> Tensor:
    """Floats in [0, 1] resized with an antialiasing filter."""
    if size is not None:
        shape = height_and_width(size)
        images = torch.nn.functional.interpolate(images, shape, mode="bilinear", antialias=True, align_corners=False)
    return images.clamp(0, 1)


def _in_three(
    name: str, classes: tuple[str, ...], images: Tensor, labels: Tensor, shares: tuple[float, float], seed: int
) -> DataSplits:
    """Cut into train, validation and test, with equal shares of every person."""
    everything = LabelledImages(images, labels)
    rest, tested = hold_out(len(labels), shares[1], seed, labels=labels)
    fitted, validated = hold_out(len(rest), shares[0], seed, labels=labels[rest])
    return DataSplits(
        name,
        classes,
        everything.subset(rest[fitted]),
        everything.subset(rest[validated]),
        everything.subset(tested),
    )
