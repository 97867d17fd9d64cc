"""What commands print is what was asked for: the seed of a simulation, the numbers of a device, a file that is none."""

import json
import math
import tomllib
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import optics4f
from experiments.__main__ import app as experiments
from optics4f.bundle import Bundle, predict_frames, write_bundle
from optics4f.cli import app
from optics4f.twin import toml_text
from tests.optics4f.twin_benches import CONTENT, shown, specified

PRESETS = {
    kind: tomllib.loads((Path(optics4f.__file__).parent / f"presets/{kind}.toml").read_text())
    for kind in ("slms", "cameras", "gpus")
}


def called(*words, program=app):
    return CliRunner().invoke(program, [str(word) for word in words])


def test_the_seed_of_simulate_is_that_of_the_noise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bench.toml").write_text(toml_text(CONTENT))
    Image.new("L", (6, 5), 255).save("image.png")
    levels, images = shown(20, images=1)
    white = images.float() * 0 + 1
    write_bundle(
        "masks.h5", Bundle(levels, toml_text(CONTENT), white, *predict_frames(specified(), levels, white, 0), 0)
    )

    def simulated(*seed):
        words = ("simulate", "bench.toml", "--image", "image.png", "--masks", "masks.h5", "--json", *seed)
        facts = json.loads(called(*words).stdout)
        return facts["brightest_dn"], Path("frames.png").read_bytes()

    seen = {seed: simulated("--seed", seed) for seed in (0, 7)}
    brightest = {seed: predict_frames(specified(), levels, white, seed)[0].max().item() for seed in seen}
    assert {seed: dn for seed, (dn, _) in seen.items()} == brightest
    assert brightest[0] != brightest[7] and seen[0] != seen[7]  # they can be told apart
    assert simulated() == seen[0]


def stated(entry, number):
    """The tables of a preset for one number: none, one, or one for each wavelength."""
    found = entry.get(number, [])
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("slug", [slug for entries in PRESETS.values() for slug in entries])
def test_devices_prints_every_number_of_a_preset_with_its_source(slug):
    entry = next(entries[slug] for entries in PRESETS.values() if slug in entries)
    printed = json.loads(called("devices", slug, "--json").stdout)
    assert printed["name"] == entry["name"]
    rows: dict[str, list] = {}
    for row in printed["numbers"]:
        rows.setdefault(row["number"], []).append(row)
    assert {number for number in entry if stated(entry, number) and isinstance(stated(entry, number)[0], dict)} <= {
        *rows
    }
    for number, shown_rows in rows.items():
        tables = stated(entry, number)
        if not tables:
            nothing = {"number": number, "value": None, "unit": "", "confidence": "unknown", "source": ""}
            assert shown_rows == [nothing]
            continue
        for table, row in zip(tables, shown_rows, strict=True):
            assert (row["confidence"], row["source"]) == (table["confidence"], table["source"])
            if table["unit"] in ("px", "1", "bit", "Hz", "e-", "W", "e-/DN"):  # SI already
                assert (row["value"], row["unit"]) == (table["value"], table["unit"])


def test_devices_prints_numbers_in_si():
    printed = json.loads(called("devices", "holoeye-pluto-2.1", "--json").stdout)["numbers"]
    found = [(row["number"], row["value"], row["unit"]) for row in printed if row["value"] is not None]
    assert found[:2] == [("shape", [1080, 1920], "px"), ("pitch", pytest.approx(8e-6, rel=1e-12), "m")]
    assert found[-2:] == [
        ("phase_range", pytest.approx(6.9 * math.pi, rel=1e-12), "rad"),
        ("phase_range", pytest.approx(5.2 * math.pi, rel=1e-12), "rad"),
    ]


def test_devices_lists_the_presets_by_kind():
    listed = json.loads(called("devices", "--json").stdout)
    assert {kind: set(slugs) for kind, slugs in listed.items()} == {
        **{"slm": PRESETS["slms"].keys(), "camera": PRESETS["cameras"].keys(), "gpu": PRESETS["gpus"].keys()}
    }


def test_a_file_of_bytes_is_refused_without_showing_them(tmp_path):
    (tmp_path / "file.bin").write_bytes(bytes(range(256)) * 3)
    result = called("twin", "--record", tmp_path / "file.bin", "--out", tmp_path / "out", program=experiments)
    assert result.exit_code == 2 and "\\x" not in result.stderr
    assert "file.bin must be a twin.json of this command: 'utf-8' codec can't decode" in result.stderr
    assert not (tmp_path / "out").exists()
