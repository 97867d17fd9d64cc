"""Pictures of any shape and kind, as the object of a bench or as what is wanted of a mask."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from optics4f.images import check_image, read_image


@pytest.fixture
def disc(tmp_path):
    """A white disc of diameter 60 on black, 120 x 120."""
    picture = Image.new("L", (120, 120))
    ImageDraw.Draw(picture).ellipse((30, 30, 89, 89), fill=255)
    picture.save(tmp_path / "disc.png")
    return tmp_path / "disc.png"


@pytest.mark.parametrize("shape", [(64, 80), (80, 64), (31, 64), (64, 31)])
def test_a_circle_stays_a_circle_in_the_middle(disc, shape):
    image = read_image(disc, shape)
    assert image.shape == shape
    rows, columns = image.sum(1), image.sum(0)
    side = min(shape)
    # The central row and column cross half of the picture's side; bilinear edges blur by less than a pixel each.
    middle = tuple(n // 2 for n in shape)
    assert image[middle[0]].sum().item() == pytest.approx(side / 2, abs=1)
    assert image[:, middle[1]].sum().item() == pytest.approx(side / 2, abs=1)
    for light, n in ((rows, shape[0]), (columns, shape[1])):
        centre = (light * torch.arange(n)).sum() / light.sum()
        assert centre.item() == pytest.approx(n // 2 - (0.5 if side % 2 == 0 else 0), abs=0.02)


def test_a_picture_of_the_same_proportions_fills_the_image(tmp_path):
    Image.new("L", (50, 40), 255).save(tmp_path / "white.png")
    assert read_image(tmp_path / "white.png", (64, 80)).min() == 1
    beside = read_image(tmp_path / "white.png", (64, 90))
    torch.testing.assert_close(beside.sum(), torch.tensor(64 * 80.0))
    assert beside[:, :5].max() == 0 and beside[:, -5:].max() == 0 and beside[:, 5:-5].min() == 1


@pytest.mark.parametrize("size", [(2, 4000), (4000, 2)])
def test_a_thin_picture_is_at_least_one_pixel_wide(tmp_path, size):
    Image.new("L", size, 255).save(tmp_path / "line.png")
    assert read_image(tmp_path / "line.png", (30, 20)).sum() == (30 if size[1] > size[0] else 20)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_a_picture_with_transparent_pixels_is_refused(tmp_path, mode):
    shape = Image.new("RGBA", (12, 10), (0, 0, 0, 0))  # a black shape, as drawing programs save it
    shape.paste((0, 0, 0, 255), (3, 3, 8, 8))
    shape.convert(mode).save(tmp_path / "shape.png", **({"transparency": 0} if mode == "P" else {}))
    for read in (check_image, lambda path: read_image(path, (10, 12))):
        with pytest.raises(ValueError, match=r"shape\.png must have no transparent pixels.*white or a black ground"):
            read(tmp_path / "shape.png")


def test_an_opaque_alpha_changes_nothing(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    Image.fromarray(rgb).convert("RGBA").save(tmp_path / "rgba.png")
    torch.testing.assert_close(*(read_image(tmp_path / f"{name}.png", (10, 12)) for name in ("rgb", "rgba")))


def test_a_file_is_checked_to_its_last_pixel_without_pytorch(disc):
    code = "import sys; from optics4f.images import check_image as c; c(sys.argv[1]); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, disc], check=True)
    whole = disc.read_bytes()
    disc.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"disc\.png is not an image that can be read"):
        check_image(disc)
    with pytest.raises(ValueError, match=r"none\.png does not exist"):
        check_image(disc.with_name("none.png"))
