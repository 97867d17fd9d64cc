"""A newcomer's own kernels, from a file to a configuration; what the commands say on the way."""

import json
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from optics4f.cli import app
from optics4f.config import validated
from optics4f.console import errors_in_one_line
from optics4f.design_config import DesignedBench
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
        ("1 nan\n", r"mine\.txt must hold finite numbers, got NaN at index \(0, 0, 1\)"),
        ("1,,2\n3,,4\n5,,6\n", r"mine\.txt:1: a row must have one number between two commas, got '1,,2'.*Write 0"),
        ("1,2,\n", r"mine\.txt:1: a row must have one number between two commas"),
        ("1 2\n0,5 1,5\n", r"mine\.txt:2: .*decimals with a point"),
        ("1 2\n\n0 0\n", "a number beside 0, got zeros alone in 2"),
    ],
)
def test_what_is_no_kernel_is_refused_with_its_line(text, message):
    with pytest.raises(ValueError, match=message):
        kernels_from_text(text, source="mine.txt")


def test_what_a_spreadsheet_writes_is_read(tmp_path):
    (tmp_path / "sheet.csv").write_bytes(b"\xef\xbb\xbf0,-1\r\n2,3\r\n,\r\n4,5\r\n6,7\r\n")  # a mark, an empty row
    np.testing.assert_array_equal(read_kernels(tmp_path / "sheet.csv"), [[[0, -1], [2, 3]], [[4, 5], [6, 7]]])


def test_an_array_that_is_no_kernel_is_refused_by_what_it_is(tmp_path):
    for name, array, words in (
        ("nan", [[0, 1, 2], [3, 4, np.nan]], r"nan\.npy must hold finite numbers, got NaN at index \(1, 2\)"),
        ("inf", [[0, -np.inf]], r"inf\.npy must hold finite numbers, got inf at index \(0, 1\)"),
        ("line", [0.0, 1], r"line\.npy must have 2 or 3 dimensions and be filled, got shape \(2,\)"),
        ("dark", np.zeros((2, 3)), "a number beside 0, got zeros alone in 1"),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(ValueError, match=words):
            read_kernels(tmp_path / f"{name}.npy")


def test_kernels_that_are_not_square_are_for_kernels_not_for_tiles(tmp_path):
    np.save(tmp_path / "wide.npy", np.arange(45).reshape(5, 9))
    with pytest.raises(ValueError, match=r"wide\.npy must hold square kernels for tiles, got 5 x 9\. Pad .* 9 x 9\."):
        new_configuration(SLM, "tiles", kernels=tmp_path / "wide.npy")
    content = tomllib.loads(new_configuration(SLM, "kernels", kernels=tmp_path / "wide.npy"))
    np.testing.assert_array_equal(content["design"]["target"]["weights"], np.arange(45).reshape(1, 5, 9))


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


def test_what_is_no_picture_is_refused_before_anything_is_written(tmp_path):
    Image.new("L", (40, 30), 200).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    (tmp_path / "text.png").write_text("no picture")
    for name in ("cut.png", "text.png", "."):
        with pytest.raises(ValueError, match="image|picture"):
            new_configuration(SLM, "tiles", picture=tmp_path / name)


def test_a_picture_is_found_from_the_folder_of_the_file(tmp_path, monkeypatch):
    for name in ("shell", "shell/pictures", "elsewhere"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "shell")
    Image.new("L", (4, 4)).save("pictures/ä🔬.png")
    for out, stated in (("here.toml", "pictures/ä🔬.png"), ("../elsewhere/there.toml", "../shell/pictures/ä🔬.png")):
        words = ["new", SLM, "--for", "tiles", "--picture", "pictures/ä🔬.png", "--out", out]
        assert CliRunner().invoke(app, words).exit_code == 0
        path = tmp_path / "shell" / out
        written = tomllib.loads(path.read_text(encoding="utf-8"))
        assert written["design"]["target"]["picture"] == stated
        monkeypatch.chdir(tmp_path)  # the shell stands where it likes
        found = validated(DesignedBench, written, source=str(path)).design.target.picture
        assert found.samefile(tmp_path / "shell/pictures/ä🔬.png")
        monkeypatch.chdir(tmp_path / "shell")
    printed = tomllib.loads(new_configuration(SLM, "tiles", picture=Path("pictures/ä🔬.png")))  # to be saved anywhere
    assert printed["design"]["target"]["picture"] == str(tmp_path / "shell/pictures/ä🔬.png")


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
