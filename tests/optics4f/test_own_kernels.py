"""A newcomer's own kernels, from a file to a configuration; what the commands say on the way."""

import json
import tomllib
import warnings

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from optics4f.cli import app
from optics4f.console import errors_in_one_line
from optics4f.elements import Camera
from optics4f.elements.sensor import Sensor
from optics4f.field import Intensity
from optics4f.grid import Grid
from optics4f.new_config import new_configuration
from optics4f.number_files import kernels_from_text, read_kernels
from optics4f.sampling import SamplingWarning

SLM = "meadowlark-1920x1152"
TEXT = """\
# two kernels, two rows of three
0, -1.5,0   # a row
1 2e-1 3
\t
4 5 6

# of the same kernel still
7 8 9
"""


def test_kernels_are_read_from_text_as_they_are_written():
    with pytest.raises(ValueError, match=r"mine\.txt must hold kernels of one size, got heights \[1, 2\]"):
        kernels_from_text(TEXT, source="mine.txt")
    joined = TEXT.replace("6\n\n", "6\n")  # a comment alone does not part kernels
    np.testing.assert_array_equal(
        kernels_from_text(joined, source=""), [[[0, -1.5, 0], [1, 0.2, 3]], [[4, 5, 6], [7, 8, 9]]]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n3 x\n", r"mine\.txt:2: a kernel must be rows of numbers, got '3 x'"),
        ("1 2\n\n3 4 5\n", r"mine\.txt:3: a row must have 2 numbers as the first, got 3"),
        ("# nothing\n\n", "got heights of none"),
        ("1 nan\n", "finite"),
    ],
)
def test_what_is_no_kernel_is_refused_with_its_line(text, message):
    with pytest.raises(ValueError, match=message):
        kernels_from_text(text, source="mine.txt")


def test_one_kernel_may_be_a_plain_array(tmp_path):
    np.save(tmp_path / "one.npy", np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(read_kernels(tmp_path / "one.npy"), [[[0, 1, 2], [3, 4, 5]]])
    np.save(tmp_path / "complex.npy", np.ones((1, 3, 3), complex))
    with pytest.raises(ValueError, match="real numbers"):
        read_kernels(tmp_path / "complex.npy")
    for name in ("none.txt", "none.npy"):
        with pytest.raises(ValueError, match=name):
            read_kernels(tmp_path / name)
    (tmp_path / "picture.csv").write_bytes(b"\xff\xd8\x00")
    with pytest.raises(ValueError, match=r"picture\.csv is not a text file"):
        read_kernels(tmp_path / "picture.csv")


@pytest.mark.parametrize("purpose", ["kernels", "tiles"])
def test_a_new_file_holds_the_kernels_and_room_for_them(purpose, tmp_path):
    kernels = np.random.default_rng(3).normal(size=(3, 5, 5))
    np.save(tmp_path / "three.npy", kernels)
    content = tomllib.loads(new_configuration(SLM, purpose, kernels=tmp_path / "three.npy"))
    np.testing.assert_array_equal(content["design"]["target"]["weights"], kernels)  # to the last bit
    assert content["bench"]["slm"]["masks"] == (3 if purpose == "kernels" else 1)
    assert content["design"]["target"].get("padding", 2) == 2  # the output is as large as the picture
    assert "picture" not in content["design"]["target"]


def test_kernels_and_a_picture_are_for_those_who_take_them(tmp_path):
    path = tmp_path / 'a "quoted" name.png'
    Image.new("L", (4, 4)).save(path)
    content = tomllib.loads(new_configuration(SLM, "tiles", picture=path))
    assert content["design"]["target"]["picture"] == str(path)
    with pytest.raises(ValueError, match="picture must be left out for kernels"):
        new_configuration(SLM, "kernels", picture=path)
    with pytest.raises(ValueError, match=r"kernels must be left out for bench.*Ask for kernels or tiles"):
        new_configuration(SLM, kernels=path)
    with pytest.raises(ValueError, match="no such file"):
        new_configuration(SLM, "tiles", picture=tmp_path / "none.png")


def test_the_command_takes_kernels(tmp_path):
    (tmp_path / "laplace.txt").write_text("0 -1 0\n-1 4 -1\n0 -1 0\n")
    run = CliRunner().invoke
    printed = run(app, ["new", SLM, "--for", "tiles", "--kernels", str(tmp_path / "laplace.txt")])
    weights = tomllib.loads(printed.output)["design"]["target"]["weights"]
    assert weights == [[[0, -1, 0], [-1, 4, -1], [0, -1, 0]]]
    missing = run(app, ["new", SLM, "--for", "tiles", "--kernels", "none.txt", "--out", str(tmp_path / "out.toml")])
    assert missing.exit_code == 2 and "none.txt" in missing.stderr and not (tmp_path / "out.toml").exists()


def test_the_largest_count_is_that_of_the_wells_or_of_the_converter():
    light = Intensity(torch.full((1, 1, 12, 16), 1e6, dtype=torch.float64), Grid((12, 16), "2 um"))
    for gain, offset, largest in ((None, 0, 4 * 255), (None, 9, 4 * 255), (20.0, 0, 4 * 50), (20.0, 3, 4 * 53)):
        camera = Camera((3, 4), "2 um", binning=2, sensor=Sensor(1000, 2, 8, gain=gain, offset=offset))
        assert camera.counts(light).unique().tolist() == [camera.saturation] == [largest]
    assert Camera((3, 4), "2 um").saturation == float("inf")


def test_simulate_says_when_pixels_are_saturated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("L", (10, 10), 255).save("white.png")
    text = new_configuration(SLM).replace("[512, 512]", "[128, 128]").replace("[64, 80]", "[16, 20]")
    words = ["simulate", "bench.toml", "--image", "white.png"]
    for exposure, saturated in (("0.1", False), ("100", True)):
        (tmp_path / "bench.toml").write_text(text.replace("exposure = 0.5", f"exposure = {exposure}"))
        printed = CliRunner().invoke(app, words)
        assert printed.exit_code == 0, printed.output
        assert "1 frame of" in printed.stdout and ("saturated: lower bench.camera" in printed.stdout) == saturated
        share = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)["saturated_share"]
        assert (share > 0.01) == saturated


def test_a_warning_is_one_line_and_told_once(capsys):
    with pytest.warns(RuntimeWarning, match="of another library") as others:
        before = warnings.showwarning
        with errors_in_one_line():
            for _ in range(2):
                warnings.warn("pitch must be\nat most 1 um.", SamplingWarning, stacklevel=1)
            warnings.warn("of another library", RuntimeWarning, stacklevel=1)
        with pytest.raises(typer.Exit), errors_in_one_line():
            raise ValueError("no light")
        assert warnings.showwarning is before
    assert len(others) == 1
    assert capsys.readouterr().err.splitlines() == ["warning: pitch must be at most 1 um.", "error: no light"]
