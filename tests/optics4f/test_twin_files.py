"""optics4f fit: from a configuration and frames in files to a twin that can be simulated and trained on."""

import copy
import json
import math
import tomllib

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from optics4f.bundle import Bundle, predict_frames, write_arrays, write_bundle
from optics4f.cli import app
from optics4f.config import bench_from
from optics4f.twin import run_fit, toml_text
from tests.optics4f.twin_benches import CONTENT, TRUTH, frames_of, hidden_content, shown, specified

FREE = "slm_shift,slm_rotation,camera_shift,camera_axial,f2,lut_gamma,crosstalk,brightness,offset"


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    believed = {**CONTENT, "run": {"seeds": [0, 1], "note": 'a "quoted" table'}}
    (folder / "believed.toml").write_text(toml_text(believed))
    levels, images = shown(20, images=4)
    images = images.float().double()
    measured = frames_of(hidden_content(), levels, images, seed=8)
    arrays = {"frames": measured.numpy(), "images": images.numpy()}
    write_arrays(folder / "bare.h5", arrays, wavelength_m=532e-9)
    write_arrays(folder / "measured.h5", {**arrays, "levels": levels.numpy()}, wavelength_m=532e-9)
    radians = levels.numpy() * (2 * math.pi / 256)
    spoilt = {"radians": radians, "nan": np.where(levels == 3, np.nan, levels), "negative": levels.numpy() - 1}
    for name, other in {**spoilt, "bool": levels.numpy() > 100}.items():
        write_arrays(folder / f"{name}.h5", {**arrays, "levels": other}, wavelength_m=532e-9)
    frames = predict_frames(specified(), levels, images.float(), 0)
    write_bundle(folder / "masks.h5", Bundle(levels, toml_text(CONTENT), images.float(), *frames, 0))
    printed = run(
        "fit", folder / "believed.toml", folder / "measured.h5", "--out", folder / "twin.toml", "--held-out", 1
    )
    return folder, levels, printed.output


def test_the_twin_predicts_the_hidden_bench(files):
    folder, _, printed = files
    levels, images = shown(30)
    twin = tomllib.loads((folder / "twin.toml").read_text())
    exact, predicted = (frames_of(c, levels, images, None, exact=True) for c in (hidden_content(), twin))
    believed = frames_of(CONTENT, levels, images, None, exact=True)

    def alike(frames):
        return torch.corrcoef(torch.stack([frames.flatten(), exact.flatten()]))[0, 1].item()

    assert alike(believed) < 0.95
    assert alike(predicted) > 0.999
    assert (predicted.mean() / exact.mean()).item() == pytest.approx(1, abs=0.01)  # believed light is 10 % off
    assert twin["run"] == {"seeds": [0, 1], "note": 'a "quoted" table'}  # other tables stay
    assert twin["bench"]["slm"]["effects"]["lut"]["calibrated"] is True
    assert "f2" in printed and "held out after" in printed


def test_the_record_holds_values_and_intervals(files):
    folder, _, _ = files
    record = json.loads((folder / "twin.json").read_text())
    found = {p["name"]: p for p in record["parameters"]}
    assert set(found) == set(TRUTH)
    for name, truth in TRUTH.items():
        low, high = found[name]["interval"]
        assert low < found[name]["value"] < high
        assert abs(found[name]["value"] - truth) < 4 * found[name]["deviation"]
    likeness = record["correlation_of_frames"]
    assert likeness["held_out_after"] > 0.995 > likeness["held_out_before"]  # noise keeps it from 1
    assert record["sampling"] == "ok"
    assert (folder / "twin.png").read_bytes().startswith(b"\x89PNG")


def test_the_masks_may_come_from_a_bundle(files):
    folder, _, _ = files
    arguments = (
        "--masks",
        folder / "masks.h5",
        "--out",
        folder / "other.toml",
        "--free",
        "brightness,offset",
        "--json",
    )
    record = json.loads(run("fit", folder / "believed.toml", folder / "bare.h5", *arguments).output)
    assert [p["name"] for p in record["parameters"]] == ["brightness", "offset"]
    assert record["reduced_chi2"] > 10  # the rest of the hidden bench is not fitted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("measured.h5", "bare.h5"), "must have /levels"),
        (("brightness", "bright"), "free must name some of"),
        (("1", "4"), "held_out must leave at least one of 4 images"),
        (("believed.toml", "none.toml"), "does not exist"),
        (("measured.h5", "radians.h5"), "must be gray levels, whole numbers"),
        (("measured.h5", "nan.h5"), "must be gray levels, whole numbers from 0 on, got nan"),
        (("measured.h5", "negative.h5"), "must be gray levels, whole numbers from 0 on, got -1"),
        (("measured.h5", "bool.h5"), "got values of type"),
    ],
)
def test_what_cannot_be_fitted_ends_in_one_line(change, message, files):
    folder, _, _ = files
    words = ["believed.toml", "measured.h5", "brightness", "1"]
    config, measured, free, held_out = (change[1] if word == change[0] else word for word in words)
    out = folder / "refused.toml"
    arguments = ("--out", out, "--free", free, "--held-out", held_out)
    result = run("fit", folder / config, folder / measured, *arguments, code=2)
    assert message in result.output
    assert result.output.count("\n") == 1 and not out.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("wavelength", "633 nm"), "bench.wavelength"),
        (("lens2", {"focal_length": "60 mm"}), "bench.lens2"),
        (("slm", "device", "holoeye-pluto-2.1"), "bench.slm"),
    ],
)
def test_a_bundle_for_another_bench_is_refused(change, message, files):
    folder, levels, _ = files
    content = copy.deepcopy(CONTENT)
    *tables, key, value = "bench", *change
    place = content
    for table in tables:
        place = place[table]
    place[key] = value
    _, images = shown(20, images=4)
    other = bench_from(content, source="other")
    frames = predict_frames(other, levels, images.float(), 0)
    write_bundle(folder / "other.h5", Bundle(levels, toml_text(content), images.float(), *frames, 0))
    arguments = ("--masks", folder / "other.h5", "--out", folder / "refused.toml")
    result = run("fit", folder / "believed.toml", folder / "bare.h5", *arguments, code=2)
    assert f"must be for this bench, but its {message} is" in result.output
    assert result.output.count("\n") == 1 and not (folder / "refused.toml").exists()


def test_frames_of_another_bundle_are_refused(files, tmp_path):
    folder, _, _ = files
    _, images = shown(20, images=4)
    arrays = {"frames": torch.ones(4, 3, 14, 16).numpy(), "images": images.float().double().numpy()}
    write_arrays(tmp_path / "of_another.h5", arrays, wavelength_m=532e-9, bundle_uuid="another")
    with pytest.raises(ValueError, match="must be the bundle that was shown, another in"):
        run_fit(folder / "believed.toml", tmp_path / "of_another.h5", tmp_path / "t.toml", masks=folder / "masks.h5")


@pytest.mark.parametrize("name", ["believed.toml", "measured.h5", "twin.json", "twin.png"])
def test_nothing_that_is_read_or_written_beside_it_is_overwritten(name, files):
    folder, _, _ = files
    before = (folder / name).read_bytes()
    result = run("fit", folder / "believed.toml", folder / "measured.h5", "--out", folder / name, code=2)
    assert result.output.count("\n") == 1 and ("another file" in result.output or "must be the TOML" in result.output)
    assert (folder / name).read_bytes() == before


def test_frames_without_images_or_of_another_wavelength_are_refused(files, tmp_path):
    folder, levels, _ = files
    frames = torch.ones(4, 3, 14, 16).numpy()
    write_arrays(tmp_path / "a.h5", {"frames": frames, "levels": levels.numpy()})
    with pytest.raises(ValueError, match="must have /images"):
        run_fit(folder / "believed.toml", tmp_path / "a.h5", tmp_path / "twin.toml")
    write_arrays(tmp_path / "b.h5", {"frames": frames}, wavelength_m=633e-9)
    with pytest.raises(ValueError, match="wavelength must be 532 nm"):
        run_fit(folder / "believed.toml", tmp_path / "b.h5", tmp_path / "twin.toml")


def test_toml_comes_back_as_it_was():
    content = {
        "bench": {
            **copy.deepcopy(CONTENT["bench"]),
            "override": ["a", 'b"c\n'],
            "pupil": {"aberrations": {"5": -1e-9}},
        },
        "data": {"on": True, "rows": [{"low": 1, "high": 2.5}], "empty": {}, "a key": "ü"},
    }
    assert tomllib.loads(toml_text(content)) == content
    with pytest.raises(ValueError, match="must hold tables"):
        toml_text({"a": (1, 2)})  # would come back as a list
