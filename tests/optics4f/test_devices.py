"""Presets: every number names its source, unknown numbers stay unknown."""

import math
import os
import tomllib
from importlib import resources

import pytest
from typer.testing import CliRunner

from optics4f.cli import app
from optics4f.devices import (
    CONFIDENCE,
    Value,
    any_device,
    camera_device,
    component,
    device_names,
    gpu_device,
    load_devices,
    require,
    slm_device,
)

FILES = ("slms.toml", "cameras.toml", "gpus.toml", "components.toml")
LOADERS = {"slm": slm_device, "camera": camera_device, "gpu": gpu_device, "component": component}
SOURCED = 'unit = "{unit}", source = "bench", confidence = "assumption"'


def numbers(entry, where=""):
    """All tables of a file that carry a value, with where they stand."""
    if isinstance(entry, list):
        for one in entry:
            yield from numbers(one, where)
    elif isinstance(entry, dict):
        if "value" in entry:
            yield where, entry
        for key, inner in entry.items():
            yield from numbers(inner, f"{where}.{key}")


def bare_numbers(entry, where=""):
    """Numbers that stand outside a sourced table."""
    if isinstance(entry, dict):
        if "value" not in entry:
            for key, inner in entry.items():
                yield from bare_numbers(inner, f"{where}.{key}")
    elif isinstance(entry, list):
        for one in entry:
            yield from bare_numbers(one, where)
    elif not isinstance(entry, str):
        yield where


@pytest.mark.parametrize("name", FILES)
def test_every_number_of_a_preset_has_a_source_and_a_known_confidence(name):
    tables = tomllib.loads((resources.files("optics4f") / "presets" / name).read_text(encoding="utf-8"))
    found = list(numbers(tables))
    assert len(found) >= 30
    assert not list(bare_numbers(tables))
    for where, number in found:
        assert number.get("source"), where
        assert number.get("confidence") in CONFIDENCE, where


@pytest.mark.parametrize("kind", LOADERS)
def test_every_preset_loads_and_keeps_its_ranges_around_its_value(kind):
    for slug in device_names(kind):
        device = LOADERS[kind](slug)
        assert device.slug == slug
        values = [v for v in (device, *vars(device).values()) if isinstance(v, Value)]
        for value in values:
            if not isinstance(value.value, tuple):
                low = value.value if value.low is None else value.low
                high = value.value if value.high is None else value.high
                assert low <= value.value <= high, f"{slug}: {value}"


def test_lengths_rates_and_counts_arrive_in_si():
    slm = slm_device("meadowlark-1920x1152")
    assert require(slm, "shape") == (1152, 1920)
    assert require(slm, "pitch") == 9.2e-6
    assert require(slm, "fill_factor") == 0.957
    assert require(slm, "wavelength_range") == (4e-7, 8e-7)
    assert require(slm_device("santec-slm-200"), "settle_time") == 0.2
    assert require(slm_device("forthdd-qxga"), "frame_rate") == 4500
    assert require(gpu_device("h100-sxm"), "peak_fp32") == 66.9e12
    assert require(gpu_device("v100-sxm-32gb"), "bandwidth") == 897e9
    assert component("dac-8bit-gsps").value == 10e-12
    assert (component("adc-8bit-below-1gsps").low, component("adc-8bit-below-1gsps").high) == (0.3e-12, 20e-12)
    assert component("usb3-nominal").value == 5e9


def test_camera_numbers_are_those_of_emva_1288_arithmetic():
    camera = camera_device("basler-aca2440-75um")
    full_well = 10 ** (40.3 / 10)  # SNRmax is the root of the full well
    assert require(camera, "full_well") == pytest.approx(full_well, rel=2e-3)  # the preset rounds to 10 700
    read_noise = full_well / 10 ** (71.2 / 20) - 0.5
    assert require(camera, "read_noise") == pytest.approx(read_noise, abs=5e-3)
    assert camera.full_well.confidence == "derived"
    assert require(camera_device("andor-zyla-4.2"), "quantum_efficiency") == 0.82
    assert camera_device("orca-quest").quantum_efficiency.wavelength == 606e-9


def test_phase_ranges_keep_the_wavelength_they_were_measured_at():
    green, red = require(slm_device("holoeye-pluto-2.1"), "phase_range")
    assert (green.wavelength, red.wavelength) == (530e-9, 633e-9)
    assert green.value == pytest.approx(6.9 * math.pi, rel=1e-14)
    assert red.value == pytest.approx(5.2 * math.pi, rel=1e-14)


def test_phase_light_modulators_carry_sixteen_rising_uneven_levels():
    for slug in ("ti-plm-0.47", "ti-plm-0.67"):
        ratios = require(slm_device(slug), "level_ratios")
        assert len(ratios) == 2 ** require(slm_device(slug), "bit_depth") == 16
        assert ratios[0] == 0
        assert ratios[-1] == 1
        assert list(ratios) == sorted(set(ratios))
        assert sorted(require(slm_device(slug), "level_order")) == list(range(16))
    assert slm_device("ti-plm-0.47").level_ratios.value[7] == 0.2153


def test_what_no_source_gives_is_none():
    assert slm_device("holoeye-pluto-2.1").frame_rate is None
    assert camera_device("orca-flash-4.0-v3").frame_rate is None
    assert gpu_device("jetson-agx-orin-64gb").bandwidth is None
    assert all(slm_device(slug).power is None for slug in device_names("slm"))
    fills = [slug for slug in device_names("slm") if slug.startswith("dlp") and slm_device(slug).fill_factor]
    assert fills == ["dlp4500"]
    generic = slm_device("generic-amplitude-display")
    assert require(generic, "bit_depth") == 8
    assert generic.bit_depth.confidence == "assumption"
    assert generic.pitch is None


def test_a_missing_number_is_asked_for_by_name_and_table():
    with pytest.raises(
        ValueError,
        match=r"frame_rate of holoeye-pluto-2\.1 .* = .*\[Hz\] under \[bench\.slm\] .*, or give frame_rate=\.\.\.",
    ):
        require(slm_device("holoeye-pluto-2.1"), "frame_rate")
    with pytest.raises(ValueError, match=r"quantum_efficiency of basler-aca2440-75um .* under \[bench\.camera\]"):
        require(camera_device("basler-aca2440-75um"), "quantum_efficiency")
    with pytest.raises(ValueError, match="colour must be one of shape, pitch"):
        require(camera_device("basler-aca2440-75um"), "colour")


def test_an_unknown_device_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r'got "pluto-2\.1"\. Nearest: "holoeye-pluto-2\.1"\. optics4f devices lists'):
        slm_device("pluto-2.1")
    with pytest.raises(ValueError, match="kind must be one of"):
        device_names("laser")


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [("lab-camra", "lab-camera"), ("prime-bs", "prime-bsi"), ("lab-slmm", "lab-slm"), ("h100", "h1")],
)
def test_a_device_of_any_kind_is_found_or_answered_with_the_nearest(tmp_path, monkeypatch, typed, nearest):
    path = tmp_path / "lab.toml"
    path.write_text(OWN)
    monkeypatch.setenv("OPTICS4F_DEVICES", str(path))
    for slug in ("lab-slm", "lab-camera", "h100-sxm"):
        assert any_device(slug).slug == slug
    with pytest.raises(
        ValueError, match=rf'device must be .* got "{typed}"\. Nearest: "{nearest}.*optics4f devices lists'
    ):
        any_device(typed)
    answer = CliRunner().invoke(app, ["devices", typed])
    assert answer.exit_code == 2
    assert f'Nearest: "{nearest}' in answer.stderr


def test_a_users_own_file_is_read_like_a_preset(tmp_path):
    path = tmp_path / "bench.toml"
    path.write_text(f"""[ours]
name = "Our camera"
pitch = {{ value = 5, {SOURCED.format(unit="um")} }}
frame_rate = {{ value = 0.5, low = 0.25, {SOURCED.format(unit="kHz")} }}
""")
    ours = load_devices(path, "camera")["ours"]
    assert require(ours, "pitch") == 5e-6
    assert ours.frame_rate.low == 250


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pitch = 5e-6", r"pitch of ours must be a table"),
        ('pitch = { value = 5, unit = "um", confidence = "vendor" }', "pitch of ours must have a source"),
        ('pitch = { value = 5, unit = "um", source = "me" }', "pitch of ours must have a confidence"),
        ('pitch = { value = 5, unit = "um", source = "me", confidence = "sure" }', "confidence of pitch of ours"),
        (f"pitch = {{ value = 5, {SOURCED.format(unit='ms')} }}", "pitch of ours must be convertible to m"),
        (f"full_well = {{ value = 5, {SOURCED.format(unit='px')} }}", "full_well of ours must be in e-, got px"),
        (f"pitch = {{ value = 5, typo = 1, {SOURCED.format(unit='um')} }}", "pitch of ours must not have typo"),
        (f"ptich = {{ value = 5, {SOURCED.format(unit='um')} }}", "ours must not have ptich. It may have"),
    ],
)
def test_a_number_that_nobody_vouches_for_is_refused(tmp_path, line, message):
    path = tmp_path / "bench.toml"
    path.write_text(f'[ours]\nname = "Our camera"\n{line}\n')
    with pytest.raises(ValueError, match=message):
        load_devices(path, "camera")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pitch = { value = -8, unit = 'um'", "pitch of ours must be finite and positive, got -8e-06 m"),
        ("pitch = { value = 8, low = -1, unit = 'um'", "pitch of ours must be finite and positive, got -1e-06 m"),
        ("pitch = { value = [], unit = 'um'", r"pitch of ours must be one number, got \(\)"),
        ("pitch = { value = 8, unit = 5", r"unit of pitch of ours must be text, got 5"),
        ("pitch = { value = 8, wavelength = [1, 2], unit = 'um'", "wavelength of pitch of ours must be one length"),
        ("shape = { value = [1080.5, 1920], unit = 'px'", r"shape of ours must be whole, got \(1080\.5, 1920\) px"),
        ("shape = { value = 1080, unit = 'px'", "shape of ours must be two numbers, got 1080"),
        ("shape = { value = [0, 1920], unit = 'px'", "shape of ours must be finite and positive, got 0 px"),
        ("bit_depth = { value = 8.5, unit = 'bit'", "bit_depth of ours must be whole, got 8.5 bit"),
        ("fill_factor = { value = 93, unit = '1'", r"fill_factor of ours must be at most 1, got 93\.0\. 93 % is 0\.93"),
        ("fill_factor = { value = nan, unit = '1'", "fill_factor of ours must be finite and positive, got nan"),
        ("power = { value = -1, unit = 'W'", "power of ours must be finite and not negative"),
        ("wavelength_range = { value = 500, unit = 'nm'", "wavelength_range of ours must be two numbers, got 5e-07"),
        ("wavelength_range = { value = [500], unit = 'nm'", "wavelength_range of ours must be two numbers"),
        ("wavelength_range = { value = [700, 400], unit = 'nm'", "wavelength_range of ours must rise, got 7e-07"),
        ("level_ratios = { value = 0.5, unit = '1'", "level_ratios of ours must be a list of numbers"),
        ("phase_range = { value = 6.2, unit = 'rad'", r"phase_range of ours must be a list \[\{ value, unit"),
    ],
)
def test_a_number_that_no_device_can_have_is_refused(tmp_path, line, message):
    path = tmp_path / "bench.toml"
    path.write_text(f'[ours]\nname = "x"\nkind = "phase"\n{line}, source = "us", confidence = "vendor" }}\n')
    with pytest.raises(ValueError, match=message) as caught:
        load_devices(path, "slm")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("phase_range = 6.2", r"phase_range of ours must be a list .* got 6\.2"),
        ("phase_range = []", r"phase_range of ours must be a list .* got \[\]"),
        ("note = 5", r"note of ours must be text, got 5"),
        (
            'power = { value = 1, unit = "W", source = 5, confidence = "vendor" }',
            "source of power of ours must be text",
        ),
    ],
)
def test_an_entry_of_another_kind_is_refused(tmp_path, line, message):
    path = tmp_path / "bench.toml"
    path.write_text(f'[ours]\nname = "x"\nkind = "phase"\n{line}\n')
    with pytest.raises(ValueError, match=message):
        load_devices(path, "slm")


def test_a_device_without_name_or_of_unknown_kind_is_refused(tmp_path):
    path = tmp_path / "bench.toml"
    path.write_text('[ours]\nkind = "phase"\n')
    with pytest.raises(ValueError, match="ours must have name"):
        load_devices(path, "slm")
    path.write_text("pitch = 8\n")
    with pytest.raises(ValueError, match="pitch must be a table of one device, got 8"):
        load_devices(path, "slm")
    path.write_text('[ours]\nname = "x"\nkind = "magic"\n')
    with pytest.raises(ValueError, match="kind of ours must be"):
        load_devices(path, "slm")


OWN = """
[slm.lab-slm]
name = "our LCOS"
kind = "phase"
bit_depth = { value = 10, unit = "bit", source = "data sheet", confidence = "vendor" }

[camera.lab-camera]
name = "our camera"
full_well = { value = 9000, unit = "e-", source = "our own photon transfer", confidence = "derived" }
"""


def test_devices_of_ones_own_are_devices_like_any_other(tmp_path, monkeypatch):
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(OWN)
    second.write_text(OWN.replace("lab-", "other-"))
    assert "lab-slm" not in device_names("slm")
    monkeypatch.setenv("OPTICS4F_DEVICES", f"{first}{os.pathsep}{second}")
    assert {"lab-slm", "other-slm", "meadowlark-1920x1152"} <= set(device_names("slm"))
    assert slm_device("lab-slm").bit_depth.value == 10
    assert camera_device("other-camera").full_well.source == "our own photon transfer"
    with pytest.raises(ValueError, match=r"fill_factor of lab-slm must be known"):
        require(slm_device("lab-slm"), "fill_factor")
    monkeypatch.delenv("OPTICS4F_DEVICES")
    with pytest.raises(ValueError, match=r'got "lab-slm".*OPTICS4F_DEVICES names TOML files'):
        slm_device("lab-slm")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"cannot be read: No such file"),
        ("[slm", "is not TOML"),
        ("slm = 3", r"tables must be \[slm.NAME\], .* got slm = 3"),
        ("# \udcff", "the file must be UTF-8 text"),
        ("[lens.a]\nname = 'x'", r"tables must be \[slm.NAME\], .* got \[lens\]"),
        (OWN.replace("lab-slm", "meadowlark-1920x1152"), "must be a new name, got that of Meadowlark"),
        (OWN.replace(', source = "data sheet"', ""), "bit_depth of lab-slm must have a source"),
    ],
)
def test_a_file_of_ones_own_that_cannot_be_is_refused_with_its_name(tmp_path, monkeypatch, text, words):
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setenv("OPTICS4F_DEVICES", str(path))
    with pytest.raises(ValueError, match=words) as caught:
        device_names("slm")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
