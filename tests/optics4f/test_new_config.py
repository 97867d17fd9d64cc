"""What ``optics4f new`` writes runs, on every device that the presets know well enough; the schema says the same."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from optics4f.cli import app
from optics4f.config import ROUTES, bench_from
from optics4f.config_schema import configuration_schema
from optics4f.devices import camera_device, device_names, slm_device
from optics4f.new_config import PURPOSES, new_configuration

ROOT = Path(__file__).resolve().parents[2]
FILLED = {"bit_depth": 8, "fill_factor": 0.9, "full_well": 1e4, "read_noise": 5}
SLMS = [n for n in device_names("slm") if slm_device(n).pitch is not None and slm_device(n).kind != "plm"]
CAMERAS = [n for n in device_names("camera") if camera_device(n).pitch is not None]


def filled(text):
    """The file with the numbers that it asks for."""
    return re.sub(r"^# (\w+) = +# unknown", lambda m: f"{m[1]} = {FILLED[m[1]]} # unknown", text, flags=re.MULTILINE)


def refused(text):
    specification = bench_from(tomllib.loads(text), source="new", text=text)
    report = ROUTES[specification.route].sampling(specification.build())
    return [check.quantity for check in report.checks if check.verdict == "refused"]


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("slm", SLMS)
def test_a_new_file_is_sampled_well_enough(slm, purpose):
    if slm_device(slm).kind != "phase" and purpose != "bench":
        with pytest.raises(ValueError, match="phase SLM"):
            new_configuration(slm, purpose)
        return
    assert refused(filled(new_configuration(slm, purpose))) == []


@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize("camera", CAMERAS)
def test_a_new_file_is_sampled_well_enough_for_every_camera(camera, purpose):
    assert refused(filled(new_configuration("meadowlark-1920x1152", purpose, camera=camera))) == []


def test_numbers_that_no_source_gives_are_asked_for_not_invented():
    text = new_configuration("holoeye-leto-3", camera="orca-fusion")
    assert "bench.slm.fill_factor" in text and "bench.camera.full_well" in text
    with pytest.raises(ValueError, match="fill_factor of holoeye-leto-3 must be known"):
        bench_from(tomllib.loads(text), source="new").build()


@pytest.mark.parametrize(
    ("slm", "purpose", "message"),
    [
        ("holoeye-eris-1.1", "bench", "pitch of holoeye-eris-1.1 must be known"),
        ("ti-plm-0.47", "bench", "phase per level"),
        ("meadowlark-1920x1152", "soup", "purpose must be one of bench"),
        ("nobody", "bench", "known device"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(slm, purpose, message):
    with pytest.raises(ValueError, match=message):
        new_configuration(slm, purpose)


def test_the_command_writes_a_file_once_and_design_takes_it(tmp_path):
    path, run = tmp_path / "spots.toml", CliRunner().invoke
    arguments = ["new", "meadowlark-1920x1152", "--for", "spots", "--out", str(path)]
    assert run(app, arguments).exit_code == 0
    path.write_text(path.read_text().replace("iterations = 200", "iterations = 2").replace("512", "128"))
    again = run(app, arguments)
    assert again.exit_code == 2 and "iterations = 2\n" in path.read_text()
    made = run(app, ["design", str(path), "--out", str(tmp_path / "out")])
    assert made.exit_code == 0, made.output
    assert (tmp_path / "out" / "masks.h5").is_file()


def test_the_published_schema_is_that_of_the_code():
    published = json.loads((ROOT / "docs/reference/configuration.schema.json").read_text())
    assert published == configuration_schema()
    printed = CliRunner().invoke(app, ["schema"])
    assert json.loads(printed.output) == published


def test_the_schema_takes_the_example_files_and_finds_a_wrong_key():
    jsonschema = pytest.importorskip("jsonschema", reason="needs the extra [dev]")
    validator = jsonschema.Draft202012Validator(configuration_schema())
    for name in ("demo", "design_spots", "design_kernels", "design_tiles"):
        content = tomllib.loads((ROOT / f"experiments/configs/{name}.toml").read_text())
        if name == "demo":
            content.pop("design", None)
        validator.validate(content)
        content["bench"]["slm"]["pich"] = "8 um"
        with pytest.raises(jsonschema.ValidationError, match="pich"):
            validator.validate(content)
