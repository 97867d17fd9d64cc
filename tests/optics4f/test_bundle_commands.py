"""inspect, diff and export: exit codes, and what they print."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from optics4f.bundle import Bundle, write_arrays, write_bundle
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


# What each command that takes a bundle is called with besides it.
TAKING = {
    "verify": (),
    "inspect": (),
    "diff": ("{folder}/a.h5",),
    "export": ("--out", "{folder}/nothing"),
    "report": ("--out", "{folder}/nothing.html"),
    "compare": ("{folder}/measured.h5", "--out", "{folder}/nothing.html"),
}
NO_BUNDLE = ("missing.h5", "empty.h5", "picture.png", "page.md", "measured.h5", "", "measured_truncated.h5")
NOT_HOLDING = ("broken.h5", "tampered.h5", "header.h5", "shorter_than_its_header.h5")


@pytest.fixture(scope="module")
def strangers(files):
    """Files that are no bundle, and bundles that do not hold."""
    whole = (files / "a.h5").read_bytes()
    (files / "empty.h5").touch()
    Image.new("L", (64, 48)).save(files / "picture.png")
    (files / "page.md").write_text("An optics4f-mask-bundle is an HDF5 file.\n" * 50)
    write_arrays(files / "measured.h5", {"frames": np.ones((3, 2, 4, 7))})
    (files / "measured_truncated.h5").write_bytes((files / "measured.h5").read_bytes()[:900])
    (files / "shorter_than_its_header.h5").write_bytes(whole[:300])
    (files / "header.h5").write_bytes(b"X" + whole[1:])
    changed = bytearray(whole)
    changed[-1] ^= 1
    (files / "tampered.h5").write_bytes(changed)
    return files


def refused(command, name, folder, code):
    """One line that names the file, and the exit code."""
    rest = [word.format(folder=folder) for word in TAKING[command]]
    result = run(command, folder / name, *rest, code=code)
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"error: {folder / name}"), result.stderr
    assert not result.stdout and not [path for path in folder.iterdir() if "nothing" in path.name]


@pytest.mark.parametrize("name", NO_BUNDLE)
@pytest.mark.parametrize("command", TAKING)
def test_what_is_no_bundle_is_bad_input(command, name, strangers):
    refused(command, name, strangers, 2)


@pytest.mark.parametrize("name", NOT_HOLDING)
def test_a_bundle_that_does_not_hold_fails_its_proof(name, strangers):
    refused("verify", name, strangers, 1)


@pytest.mark.parametrize("command", TAKING)
def test_every_command_says_which_of_the_two_it_is(command, strangers):
    refused(command, "broken.h5", strangers, 1)


def test_either_file_of_two_may_be_at_fault(strangers):
    for name, code in (("missing.h5", 2), ("picture.png", 2), ("broken.h5", 1)):
        assert name in run("diff", strangers / "a.h5", strangers / name, code=code).stderr


@pytest.mark.parametrize("name", ["missing.h5", "picture.png", "empty.h5", "measured_truncated.h5"])
def test_measurements_that_are_none_are_bad_input(name, strangers):
    page = strangers / "nothing.html"
    for words in (
        ("compare", strangers / "a.h5", strangers / name),
        ("report", strangers / "a.h5", "--measured", strangers / name),
    ):
        assert name in run(*words, "--out", page, code=2).stderr
        assert not page.exists()


def test_another_device_is_refused(files):
    assert (
        "holoeye-luna"
        in run("export", files / "a.h5", "--out", files / "no", "--device", "holoeye-luna", code=1).output
    )
    assert not (files / "no").exists()
