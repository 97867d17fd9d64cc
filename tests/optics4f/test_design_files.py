"""Files that a ``[design]`` names: where they are looked for, when they are read, how they are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from optics4f import design_tiles
from optics4f.config import ConfigError, read_toml, validated
from optics4f.design_config import DesignedBench
from optics4f.design_run import run_design

CONFIGS = Path(__file__).parents[2] / "experiments/configs"


def written(folder, name, target):
    text = (CONFIGS / f"design_{name}.toml").read_text()
    path = folder / "mine.toml"
    path.write_text(text[: text.index("[design.target]")] + f"[design.target]\n{target}")
    return path


def stated(path):
    content, text = read_toml(path)
    tables = {name: content[name] for name in ("bench", "design")}
    return validated(DesignedBench, tables, source=str(path), text=text)


def line(path, word):
    return 1 + [row.startswith(word) for row in path.read_text().splitlines()].index(True)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The shell stands in a folder without the files, which are beside the TOML file."""
    (tmp_path / "shell").mkdir()
    monkeypatch.chdir(tmp_path / "shell")
    return tmp_path


def test_a_relative_file_is_beside_the_toml_file_and_an_absolute_one_where_it_says(elsewhere):
    kernels = np.random.default_rng(2).normal(size=(2, 3, 3))
    np.save(elsewhere / "mine.npy", kernels)
    for named in ("mine.npy", "./shell/../mine.npy", str(elsewhere / "mine.npy")):
        for path in (elsewhere / "mine.toml", Path("../mine.toml")):
            written(elsewhere, "tiles", f'kind = "tiles"\nfile = "{named}"\n')
            np.testing.assert_array_equal(stated(path).design.target.wanted_kernels(), kernels)


def test_a_picture_is_wanted_from_beside_the_toml_file(elsewhere):
    gray = np.linspace(0, 255, 12 * 10).astype(np.uint8).reshape(10, 12)
    Image.fromarray(gray).save(elsewhere / "ramp.png")
    target = stated(
        written(elsewhere, "tiles", 'kind = "tiles"\nweights = [[[1]]]\npicture = "ramp.png"\n')
    ).design.target
    torch.testing.assert_close(target.shown_picture((10, 12)), torch.from_numpy(gray).float() / 255)


class Reached(Exception):
    """The minutes of work."""


@pytest.fixture
def no_work(monkeypatch):
    def work(*arguments, **options):
        raise Reached

    monkeypatch.setattr(design_tiles, "OpticalConv2d", work)


KERNEL = 'kind = "tiles"\nweights = [[[0, 1], [1, 0]]]\n'


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("target", "key", "words"),
    [
        (KERNEL + 'picture = "none.png"\n', "picture", r"image .*none\.png does not exist"),
        (KERNEL + 'picture = "text.png"\n', "picture", r"image .*text\.png is not an image that can be read"),
        (KERNEL + 'picture = "clear.png"\n', "picture", r"image .*clear\.png must have no transparent pixels"),
        ('kind = "tiles"\nfile = "none.npy"\n', "file", r".*none\.npy is not an \.npy file"),
        ('kind = "tiles"\nfile = "wide.npy"\n', "file", r".*wide\.npy must hold square kernels for tiles, got 5 x 9"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_its_line_before_the_work(elsewhere, target, key, words):
    (elsewhere / "text.png").write_text("no picture")
    Image.new("LA", (4, 5)).save(elsewhere / "clear.png")
    np.save(elsewhere / "wide.npy", np.ones((5, 9)))
    path = written(elsewhere, "tiles", target)
    with pytest.raises(ConfigError, match=rf"mine\.toml:{line(path, key)}: design\.target\.{key}: {words}"):
        run_design(path, elsewhere / "out")
    assert not (elsewhere / "out").exists()
    written(elsewhere, "tiles", KERNEL)
    with pytest.raises(Reached):
        run_design(path, elsewhere / "out")


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ('kind = "image"\nsize = [4, 5]\nfile = "none.png"\n', r"image .*none\.png does not exist"),
        ('kind = "psf"\nsize = [4, 5]\nfile = "none.png"\n', r"image .*none\.png does not exist"),
        ('kind = "field"\nfile = "none.npy"\n', r".*none\.npy is not an \.npy file"),
    ],
)
def test_every_kind_names_the_line_of_its_file(elsewhere, target, words):
    path = written(elsewhere, "spots", target)
    with pytest.raises(ConfigError, match=rf"mine\.toml:{line(path, 'file')}: design\.target\.file: {words}"):
        run_design(path, elsewhere / "out")


def test_what_does_not_fit_tiles_names_its_line(elsewhere):
    path = written(elsewhere, "tiles", KERNEL)
    path.write_text(path.read_text().replace('source = "self_luminous"', 'source = "point"'))
    with pytest.raises(ConfigError, match=rf"mine\.toml:{line(path, 'source')}: bench\.light\.source must be "):
        run_design(path, elsewhere / "out")
