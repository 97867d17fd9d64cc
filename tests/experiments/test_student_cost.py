"""What trained students cost: who does as well, how the optics are laid out, and the price at which both are even."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments.cost_settings import load_cost_configuration
from experiments.cost_task import accuracy_rows
from experiments.hardware_cost import optical_cost
from experiments.resolution_sweep import captures
from experiments.student_cost import (
    is_student_cost,
    laid_out,
    load_student_cost,
    optical_draws,
    run_student_cost,
    shown_task,
)
from optics4f.config import ConfigError

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"
RESULTS = CONFIGS.parent / "results"
LCOS, TILED, PLATE = SYSTEMS = (
    "fast LCOS, 227 fps camera",
    "fast LCOS, 227 fps camera, tiled",
    "fixed plate, laser-lit scene, 75 fps camera",
)
ACCURACY = {"physical_kd": (0.95, 0.96, 0.94), "teacher": (0.97, 0.98, 0.96), "twin": (0.94, 0.97, 0.95)}


@pytest.fixture
def written(tmp_path):
    """A file that compares made-up results of the digits' table, and the results beside it."""

    def write(**changes):
        lines = [
            {"row": row, "seed": seed, "test_accuracy": value, "digital_macs": 1280}
            for row, values in ACCURACY.items()
            for seed, value in enumerate(values)
        ]
        (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        made = {"systems": list(SYSTEMS), "results": "results.jsonl", "digital": ["teacher", "twin"]} | changes
        path = tmp_path / "students.toml"
        path.write_text(
            f'optics_of = "{CONFIGS / "cost_demo.toml"}"\nsystems = {json.dumps(made["systems"])}\n[students]\n'
            f'paper = "{CONFIGS / "paper_digits.toml"}"\nresults = "{made["results"]}"\n'
            f"digital = {json.dumps(made['digital'])}\ndraws = 40\n[electronics]\nthreads = 1\nbatch_sizes = [1, 4]\n"
            'rounds = 1\nseconds = 0.01\nrooflines = ["h100-sxm"]\nprices = ["digital-mac-ntkd-edge"]\n'
        )
        return path

    return write


@pytest.mark.parametrize("name", ["cost_demo", "cost_mnist", "cost_cifar10"])
def test_the_committed_pages_compare_the_committed_accuracies(name):
    """Made once, they stay behind when their students are trained again: then the command is due again."""
    path = CONFIGS / f"{name}.toml"
    table = load_student_cost(path) if is_student_cost(path) else load_cost_configuration(path)
    kept = json.loads((RESULTS / f"{name.removesuffix('_demo')}.json").read_text())["accuracy"]
    expected = accuracy_rows(table.task, {row["network"]: int(row["digital MACs"].replace(",", "")) for row in kept})
    assert kept == expected


def test_the_file_says_what_it_is(written):
    assert is_student_cost(written())
    assert is_student_cost(CONFIGS / "cost_mnist.toml")
    assert not is_student_cost(CONFIGS / "cost_demo.toml")


def test_seeds_say_who_does_as_well(written):
    """Paired differences of (2, 2, 2) and (-1, 1, 1) points; Student's 4.303 for two degrees of freedom."""
    rows = accuracy_rows(load_student_cost(written()).task, {"teacher": 5_000_000, "twin": 1000})
    assert [row["network"] for row in rows] == ["physical_kd", "teacher", "twin"]
    assert rows[1]["beside the optical student"].startswith("does better: +2.00 +- 0.00")
    half = 4.3027 * math.sqrt(4 / 3) / math.sqrt(3)
    assert rows[2]["beside the optical student"].startswith(f"not told apart: +0.33 +- {half:.2f}")
    assert rows[1]["digital MACs"] == "5,000,000"


def test_masks_as_trained_take_an_exposure_each(written):
    asked = load_student_cost(written())
    task, side = shown_task(asked)
    masks = asked.task.paper.bench.slm.masks
    assert (side, asked.task.exposures, task.outputs, task.head_macs) == (32, masks, masks, 1280)
    (in_turn, turn), (tiles, tiled) = (laid_out(asked, asked.optics[name]) for name in (LCOS, TILED))
    assert in_turn == f"{masks} exposures in turn, as trained" and tiles.endswith("not trained so")
    assert (turn.exposures, tiled.exposures) == (masks, 1)
    assert (turn.tiles, tiled.tiles) == (1, masks)  # all on one mask share its light
    # 16 binned pixels of 16 x 3.45 um, on a sensor of 3.45 um; tiles of 32 + 6 pixels in one row
    assert turn.camera.shape == (256, 256)
    assert tiled.camera.shape == (38, 38 * masks)
    assert turn.digital.macs == tiled.digital.macs == 1280 + masks * 32**2  # pooling adds every pixel of a map
    assert optical_cost(turn).energy.nominal > masks / 4 * optical_cost(tiled).energy.nominal


@pytest.mark.parametrize("tiled", [True, False])
def test_a_plate_that_stays_shows_all_kernels_at_once(written, tiled):
    asked = load_student_cost(written())
    how, plate = laid_out(asked, asked.optics[PLATE].model_copy(update={"tiled": tiled}))
    assert how.startswith("all kernels on one mask")
    assert plate.exposures == 1


def test_a_system_without_room_for_the_tiles_is_refused(written):
    asked = load_student_cost(written())
    small = asked.optics[PLATE].slm.model_copy(update={"shape": (60, 60)})
    with pytest.raises(ValueError, match="systems must have room for .* tiles of 32 pixels"):
        laid_out(asked, asked.optics[PLATE].model_copy(update={"slm": small}))


def test_draws_of_a_scene_are_those_of_its_plain_picture_too(written):
    asked = load_student_cost(written())
    _, plate = laid_out(asked, asked.optics[PLATE])
    found, fixed, plain = optical_draws(plate, draws=30, seed=4, capture=32)
    alone = captures(plate, (32,), draws=30, seed=4)
    for quantity in plain:
        np.testing.assert_array_equal(plain[quantity], alone[quantity][:, 0])
    assert np.all(fixed < found["energy per image"])
    assert np.all(plain["energy per image"] < fixed)  # the plate reads more, for longer, and needs a laser
    assert not np.any(optical_draws(plate, draws=30, seed=4, capture=None)[2]["latency"])


@pytest.fixture
def result(written, tmp_path):
    content = run_student_cost(load_student_cost(written()), tmp_path / "out", Console(quiet=True))
    return content, tmp_path / "out"


def test_files_are_whole_and_label_what_is_modelled(result):
    content, out = result
    assert json.loads((out / "students.json").read_text())["ratios"] == json.loads(json.dumps(content["ratios"]))
    text = (out / "students.md").read_text()
    assert "not trained so" in text
    for name in content["electronics"]:
        assert "modelled" in name or name.split(",")[0] in ("teacher", "twin")
    records = [json.loads(line) for line in (out / "students_inference.jsonl").read_text().splitlines()]
    assert {(r["model"], r["batch_size"]) for r in records} == {(m, b) for m in ("teacher", "twin") for b in (1, 4)}
    assert f"{out.parent.name}/results.jsonl" in text
    for found in content["electronics"].values():
        assert set(found["sources"]) == set(found) - {"sources"} and all(found["sources"].values())
    for rows in content["terms"].values():
        assert not [row for row in rows if not row["source"] or "configuration" in row["source"]]


def test_at_the_break_even_price_both_take_the_same_energy(result):
    """The medians of one column, as the draws of a display's optics differ in nothing but the optics."""
    content, _ = result
    (row,) = (
        row
        for row in content["break_even"]
        if row["optics"].startswith(f"{TILED}: all kernels") and row["instead of"] == "teacher"
    )
    terms = {(t["group"], t["name"]): t for t in content["terms"][row["optics"]]}
    fixed = terms["result", "energy"]["nominal"] - terms["energy", "digital readout"]["nominal"]
    macs = 1280 + row["operations saved"]
    low, middle, high = row["price"]
    assert low < middle < high
    # at the nominal values: fixed + 1280 e = macs e
    assert low < fixed / (macs - 1280) < high


def test_optics_over_electronics_is_of_medians_where_only_one_is_drawn(result):
    """A price without a range: the ratio of any quantile of the optics to it."""
    content, _ = result
    (row,) = (
        row
        for row in content["ratios"]
        if row["optics"].startswith(f"{TILED}: all kernels")
        and row["electronics"].startswith("teacher, at the edge")
        and row["quantity"] == "energy per image"
    )
    ours = np.array(content["optics"][row["optics"]]["energy per image"])
    theirs = np.array(content["electronics"][row["electronics"]]["energy per image"])
    assert theirs[0] == theirs[2]
    np.testing.assert_allclose(row["ratio"], ours / theirs[1])


def test_a_network_pays_the_price_for_all_its_operations(result):
    content, _ = result
    for row in content["accuracy"]:
        if row["network"] in ("teacher", "twin"):
            name = f"{row['network']}, at the edge, implied by one published budget (modelled price)"
            energy = content["electronics"][name]["energy per image"][1]
            macs = int(row["digital MACs"].replace(",", ""))
            assert energy == pytest.approx(30.8e-12 * macs, rel=1e-9)
            saved = {r["operations saved"] for r in content["break_even"] if r["instead of"] == row["network"]}
            assert saved == {macs - 1280}  # what the optics leave to electronics


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"systems": ["LCOS 61 Hz"]}, "systems must be of .*cost_demo.toml: LCOS 60 Hz"),
        ({"results": "nothing.jsonl"}, "results must be JSON lines of a table"),
        ({"digital": ["linear"]}, "must hold a result of row linear. Train it"),
        ({"digital": ["lineal"]}, "students.digital"),
    ],
)
def test_what_cannot_be_compared_is_refused(written, changes, refusal):
    with pytest.raises(ConfigError, match=refusal):
        load_student_cost(written(**changes))
