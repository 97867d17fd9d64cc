"""inspect, diff and export: exit codes, and what they print."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from optics4f.bundle import Bundle, write_bundle
from optics4f.cli import app
from tests.optics4f.test_bundle import CONFIG, made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commands")
    bundle = made(folder)[0]
    levels = bundle.levels.clone()
    levels[0, 0, 0] = (levels[0, 0, 0] + 3) % 256
    for name, part in (("a.h5", {}), ("same.h5", {}), ("other.h5", {"levels": levels})):
        write_bundle(folder / name, Bundle(**{**vars(bundle), **part}))
    (folder / "broken.h5").write_bytes((folder / "a.h5").read_bytes()[:5000])
    return folder


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})
    assert result.exit_code == code, result.output
    return result


def test_inspect_says_what_the_bundle_states(files):
    printed = run("inspect", files / "a.h5", "--picture", files / "a.png").output
    assert "532 nm" in printed and "used area" in printed
    assert np.asarray(Image.open(files / "a.png")).ndim == 2
    assert json.loads(run("inspect", files / "a.h5", "--json").output)["wavelength"] == "532 nm"


def test_what_is_read_is_not_written_over(files, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes((files / "a.h5").read_bytes())
    config, image = tmp_path / "bench.toml", tmp_path / "image.png"
    config.write_text(CONFIG)
    Image.fromarray(np.eye(6, 5, dtype=np.uint8) * 255).save(image)
    simulate = ("simulate", config, "--image", image, "--masks", path, "--out")
    for arguments in (("inspect", path, "--picture", path), *((*simulate, out) for out in (config, image, path))):
        before = arguments[-1].read_bytes()
        assert "must be another file than the input" in run(*arguments, code=2).output.replace("\n", " ")
        assert arguments[-1].read_bytes() == before
    run(*simulate, tmp_path / "frames.png")


def test_diff_ends_with_1_where_they_differ(files):
    assert "no difference" in run("diff", files / "a.h5", files / "same.h5").output
    assert "1 of 432 levels differ" in run("diff", files / "a.h5", files / "other.h5", code=1).output
    assert json.loads(run("diff", files / "a.h5", files / "other.h5", "--json", code=1).output)


def test_export_writes_the_whole_panel(files):
    run("export", files / "a.h5", "--out", files / "slides")
    assert sorted(path.name for path in (files / "slides").iterdir()) == ["mask_000.png", "mask_001.png"]


@pytest.mark.parametrize("command", ["inspect", "diff", "export"])
def test_a_broken_file_is_one_line(files, command):
    rest = {"inspect": (), "diff": (files / "a.h5",), "export": ("--out", files / "nothing")}[command]
    printed = run(command, files / "broken.h5", *rest, code=1).output
    assert "broken.h5" in printed and "Traceback" not in printed
    assert not (files / "nothing").exists()


def test_another_device_is_refused(files):
    assert (
        "holoeye-luna"
        in run("export", files / "a.h5", "--out", files / "no", "--device", "holoeye-luna", code=1).output
    )
    assert not (files / "no").exists()
