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
from optics4f.new_config import PURPOSES, new_configuration, to_be_filled_in, to_be_stated

ROOT = Path(__file__).resolve().parents[2]
FILLED = {
    **{"bit_depth": 8, "fill_factor": 0.9, "full_well": 1e4, "read_noise": 5},
    "phase_of_last_level": '"300 deg"',
}
SLMS = device_names("slm")
CAMERAS = [n for n in device_names("camera") if camera_device(n).pitch is not None]


def filled(text):
    """The file with the numbers that it asks for."""
    return re.sub(r"^# (\w+) = .*", lambda m: f"{m[1]} = {FILLED[m[1]]}" if m[1] in FILLED else m[0], text, flags=re.M)


def pitch_of(slm):
    """What has to be told of presets that do not know it."""
    return "8 um" if slm_device(slm).pitch is None else None


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
    assert refused(filled(new_configuration(slm, purpose, pitch=pitch_of(slm)))) == []


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
        ("holoeye-eris-1.1", "bench", "pitch of holoeye-eris-1.1 must be known .* State it with --pitch"),
        ("ti-plm-0.47", "spots", "phase SLM, got ti-plm-0.47 of kind plm. Ask for a bench"),
        ("meadowlark-1920x1152", "soup", "purpose must be one of bench"),
        ("nobody", "bench", "known device"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(slm, purpose, message):
    with pytest.raises(ValueError, match=message):
        new_configuration(slm, purpose)


@pytest.mark.parametrize("slm", SLMS)
def test_what_is_to_be_filled_in_is_said_and_is_all_that_a_bench_lacks(slm):
    text = new_configuration(slm, pitch=pitch_of(slm))
    build = bench_from(tomllib.loads(text), source="").build
    lacking = {name.rsplit(".", 1)[-1] for name in to_be_filled_in(text)}
    assert lacking == set(to_be_stated(slm_device(slm))) - {"pitch"}
    if lacking:
        with pytest.raises(ValueError, match="must be known|must have either|is not known"):
            build()
    else:
        build()


@pytest.mark.parametrize("pitch", ["0 um", "-8 um", "nan m", "8 kg", "eight"])
def test_a_pitch_that_cannot_be_is_refused(pitch):
    with pytest.raises(ValueError, match="^pitch must be"):
        new_configuration("holoeye-eris-1.1", pitch=pitch)


def test_a_stated_pitch_arrives_and_lays_the_bench_out():
    stated = tomllib.loads(new_configuration("holoeye-eris-1.1", pitch="4.6 um"))["bench"]
    assert stated["slm"]["pitch"] == "4.6 um"
    wide = tomllib.loads(new_configuration("holoeye-eris-1.1", pitch="9.2 um"))["bench"]  # half the diffraction angle
    ratio = [float(bench["object"]["pitch"].split()[0]) for bench in (stated, wide)]
    assert ratio[0] == pytest.approx(2 * ratio[1])


def test_the_next_step_is_to_fill_in_what_is_open(tmp_path):
    run, path = CliRunner().invoke, str(tmp_path / "h.toml")
    printed = run(app, ["new", "holoeye-eris-1.1", "--pitch", "8 um", "--out", path]).stdout
    assert f"Fill in bench.slm.fill_factor; then optics4f sampling {path}" in printed and "Next:" not in printed
    printed = run(app, ["new", "meadowlark-1920x1152", "--out", str(tmp_path / "m.toml")]).stdout
    assert f"Next: optics4f sampling {tmp_path / 'm.toml'}" in printed


def test_the_list_of_devices_says_what_is_to_be_stated():
    lines = CliRunner().invoke(app, ["devices"]).stdout.splitlines()
    assert "  ti-plm-0.47  (to be stated: fill_factor, phase_of_last_level)" in lines
    assert "  orca-fusion  (to be stated: full_well)" in lines
    assert "  meadowlark-1920x1152" in lines


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
