"""Pictures with masks in the layouts of CamVid, Pascal VOC 2012 and Carvana, drawn by the test."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kd.data.images import IGNORED, DataSplits, LabelledImages, SegmentedImages
from kd.data.segmentation import CAMVID, VOC, carvana_car, load_camvid, load_masks, load_voc

HEIGHT, WIDTH = 6, 8


def save(path: Path, pixels: np.ndarray, palette: bytes = b"") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels.astype(np.uint8))
    if palette:
        image = image.convert("P") if image.mode != "L" else image
        image.putpalette(palette)
    image.save(path)


def colour(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def write_camvid(folder: Path) -> dict[str, list[np.ndarray]]:
    """Class maps as written; every list begins its paths with the folders of another machine."""
    maps: dict[str, list[np.ndarray]] = {}
    for index, (split, count) in enumerate((("train", 3), ("val", 2), ("test", 2))):
        maps[split] = []
        lines = []
        for number in reversed(range(count)):  # the list's order is not that of the names
            seed = 10 * index + number
            mask = np.random.default_rng(100 + seed).integers(0, 12, (HEIGHT, WIDTH))
            save(folder / split / f"{number}.png", colour(seed))
            save(folder / f"{split}annot" / f"{number}.png", mask)
            lines.append(f"/SegNet/CamVid/{split}/{number}.png /SegNet/CamVid/{split}annot/{number}.png")
            maps[split].append(mask)
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return maps


def test_camvid_keeps_its_lists_and_ignores_what_is_unlabelled(tmp_path):
    maps = write_camvid(tmp_path)
    data = load_camvid(tmp_path)
    assert data.classes == CAMVID
    assert len(CAMVID) == 11
    for part, split in ((data.train, "train"), (data.validation, "val"), (data.test, "test")):
        expected = torch.from_numpy(np.stack(maps[split]))
        assert torch.equal(part.labels, torch.where(expected == 11, IGNORED, expected))
    first = torch.from_numpy(colour(21)).permute(2, 0, 1) / 255
    torch.testing.assert_close(data.test.images[0], first, atol=0, rtol=0)


def test_picture_and_mask_are_cropped_alike(tmp_path):
    write_camvid(tmp_path)
    for split in ("train", "val", "test"):
        for path in (tmp_path / split).iterdir():
            y, x = np.indices((24, 40))
            inside = (np.hypot(y - 8, x - 22) < 5).astype(np.uint8)  # a disc off the centre
            save(path, np.stack([inside * 255] * 3, axis=-1))
            save(tmp_path / f"{split}annot" / path.name, inside)
    data = load_camvid(tmp_path, size=(12, 12))  # twice smaller, 8 columns off on each side
    light, car = data.test.images[:, 0] > 0.5, data.test.labels == 1
    assert light.float().mean() > 0.1
    # Averaging and nearest neighbour may differ on the rim: of 19.6 pixels of a disc of radius 2.5, 16 are rim.
    assert (light != car).float().sum(dim=(-2, -1)).max() <= 8
    moments = [(m.nonzero()[:, 1:].double().mean(0)) for m in (light, car)]
    # Nearest neighbour takes the sample half an old pixel off the middle: a quarter of a new one.
    torch.testing.assert_close(moments[0], moments[1], atol=0.5, rtol=0)


def write_voc(folder: Path, train: int = 10, val: int = 3) -> list[np.ndarray]:
    palette = bytes(np.random.default_rng(5).integers(0, 256, 768, dtype=np.uint8))
    listing = folder / "ImageSets" / "Segmentation"
    listing.mkdir(parents=True)
    masks = []
    for split, numbers in (("train", range(train)), ("val", range(train, train + val))):
        for number in numbers:
            mask = np.random.default_rng(number).integers(0, 22, (HEIGHT, WIDTH))
            mask[mask == 21] = 255
            name = f"2007_{number:06d}"
            (folder / "JPEGImages").mkdir(exist_ok=True)
            Image.fromarray(np.full((HEIGHT, WIDTH, 3), 10 * number, np.uint8)).save(
                folder / "JPEGImages" / f"{name}.jpg", quality=100
            )
            save(folder / "SegmentationClass" / f"{name}.png", mask, palette)
            masks.append(mask)
        (listing / f"{split}.txt").write_text("".join(f"2007_{n:06d}\n" for n in numbers))
    return masks


def test_voc_reads_the_indices_under_the_palette_and_tests_on_the_official_val(tmp_path):
    masks = write_voc(tmp_path)
    data = load_voc(tmp_path, size=(HEIGHT, WIDTH), validation=0.2)
    assert data.classes == VOC
    assert len(VOC) == 21
    assert [len(part) for part in (data.train, data.validation, data.test)] == [8, 2, 3]
    expected = torch.from_numpy(np.stack(masks[10:]))
    assert torch.equal(data.test.labels, torch.where(expected == 255, IGNORED, expected))
    assert data.test.images[:, 0, 0, 0].mul(255).round().int().tolist() == [100, 110, 120]
    for part in (data.train, data.validation):
        for image, label in zip(part.images, part.labels, strict=True):
            number = round(image[0, 0, 0].item() * 25.5)
            assert torch.equal(label, torch.from_numpy(np.where(masks[number] == 255, IGNORED, masks[number])))


def write_carvana(folder: Path, cars: int = 6, views: int = 4) -> None:
    for car in range(cars):
        for view in range(1, views + 1):
            name = f"{car:012x}_{view:02d}"
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[: view + 1, : car + 1] = 1
            save(folder / "train" / f"{name}.png", np.full((HEIGHT, WIDTH, 3), 40 * car + view))
            save(folder / "train_masks" / f"{name}_mask.gif", mask, b"\0\0\0\xff\xff\xff")


def test_carvana_never_splits_the_views_of_a_car(tmp_path):
    write_carvana(tmp_path)
    data = load_masks(tmp_path, group=carvana_car, test=1 / 3, validation=0.25)
    cars = []
    for part in (data.train, data.validation, data.test):
        values = part.images[:, 0, 0, 0].mul(255).round().int()
        car, view = values // 40, values % 40
        assert part.labels.sum(dim=(-2, -1)).tolist() == ((view + 1) * (car + 1)).tolist()
        assert part.labels[:, 0, 0].tolist() == [1] * len(part)
        cars.append(set(car.tolist()))
    assert [len(some) for some in cars] == [3, 1, 2]
    assert set.union(*cars) == set(range(6))


def test_masks_of_several_classes_are_indices(tmp_path):
    for number in range(10):
        save(tmp_path / "images" / f"{number:03d}.png", colour(number))
        save(tmp_path / "masks" / f"{number:03d}.png", np.full((HEIGHT, WIDTH), 255 if number == 0 else number % 5))
    data = load_masks(tmp_path, classes=("background", "car", "wheel", "light", "window"), test=0.2, validation=0.25)
    labels = torch.cat([part.labels[:, 2, 3] for part in (data.train, data.validation, data.test)])
    assert sorted(labels.tolist()) == [IGNORED, 0, 1, 1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: (f / "trainannot" / "1.png").unlink(), FileNotFoundError, r"trainannot/1\.png must exist, got none"),
        (lambda f: (f / "val.txt").unlink(), FileNotFoundError, r"the list val\.txt, got none"),
        (lambda f: (f / "val.txt").write_text("one\n"), ValueError, "a picture and a mask a line, got 'one'"),
        (lambda f: save(f / "trainannot" / "1.png", np.full((6, 8), 12)), ValueError, "below 11 or 11, got 12"),
        (lambda f: save(f / "trainannot" / "1.png", np.zeros((6, 7))), ValueError, "6 x 8, its mask of 6 x 7"),
        (lambda f: save(f / "trainannot" / "1.png", np.zeros((6, 8, 3))), ValueError, "one class index .* 3 channels"),
        (lambda f: (f / "test" / "0.png").write_bytes(b"\x89PNG"), ValueError, r"test/0\.png must be a whole picture"),
    ],
)
def test_a_damaged_camvid_is_refused_by_name(tmp_path, change, error, message):
    write_camvid(tmp_path)
    change(tmp_path)
    with pytest.raises(error, match=message):
        load_camvid(tmp_path)


def test_a_damaged_carvana_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match="a folder of pictures, got none. Put train or images"):
        load_masks(tmp_path)
    write_carvana(tmp_path)
    mask = tmp_path / "train_masks" / "000000000000_01_mask.gif"
    Image.new("L", (WIDTH, HEIGHT), 1).save(mask)
    with pytest.raises(ValueError, match="must be black and white, got grey values up to 1"):
        load_masks(tmp_path)
    mask.unlink()
    with pytest.raises(FileNotFoundError, match=r"a mask for 000000000000_01\.png, got 23 masks and 24 pictures"):
        load_masks(tmp_path)


def test_a_voc_without_its_lists_names_the_archive(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train\.txt must exist, got none. Unpack VOCtrainval_11-May-2012"):
        load_voc(tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(2, 4, 5).long(), r"one per pixel, got \(2, 4, 5\) for images of \(2, 3, 4, 6\)"),
        (torch.full((2, 4, 6), -1), r"not be negative except -100"),
    ],
)
def test_class_maps_that_would_train_wrongly_are_refused(labels, message):
    with pytest.raises(ValueError, match=message):
        SegmentedImages(torch.zeros(2, 3, 4, 6), labels)


def test_splits_are_all_of_one_kind():
    maps = SegmentedImages(torch.zeros(2, 1, 4, 6), torch.zeros(2, 4, 6).long())
    labelled = LabelledImages(torch.zeros(2, 1, 4, 6), torch.zeros(2).long())
    with pytest.raises(TypeError, match="test must be SegmentedImages like train, got LabelledImages"):
        DataSplits("mixed", ("a",), maps, maps, labelled)
    assert torch.equal(maps.subset(torch.tensor([1])).labels, maps.labels[1:])
