"""``python -m experiments cost`` and ``sweep``: files in, complete files out, defects in one line."""

import json
import re
import sys
from math import inf
from pathlib import Path

import pytest
from rich.console import Console

from experiments.cost_command import listed_terms, run_cost
from experiments.cost_report import side_range
from experiments.cost_settings import TaskSettings, load_cost_configuration
from experiments.electronics_sweep import measured_curves, networks, operations
from experiments.measured_inference import Inference
from experiments.resolution_sweep import Crossover
from experiments.row_runs import train_row
from experiments.sweep_command import RunsFailed, load_sweep, run_sweep
from experiments.terms import Term
from kd.complexity import digital_macs
from optics4f.config import ConfigError

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"
sys.path.insert(0, str(Path(__file__).parent))  # processes that are spawned find sweep_runs by this path
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The file of the demo, cut to seconds."""
    text = (CONFIGS / "cost_demo.toml").read_text()
    for key, value in {
        "sides": "[32, 512]",
        "draws": "20",
        "listed": "32",
        "measured_to": "32",
        "batch_sizes": "[1, 4]",
        "rounds": "1",
        "seconds": "0.01",
        "rooflines": '["h100-sxm"]',
        "prices": '["digital-mac-ntkd-edge"]',
    }.items():
        text, times = re.subn(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        assert times == 1, key
    path = tmp_path_factory.mktemp("cost") / "small.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def result(small, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return run_cost(load_cost_configuration(small), out, QUIET), out


def test_all_files_are_there_and_whole(result):
    content, out = result
    assert json.loads((out / "cost.json").read_text())["crossovers"] == json.loads(json.dumps(content["crossovers"]))
    for quantity in ("latency", "time", "energy"):
        assert (out / f"cost_{quantity}.png").read_bytes().startswith(b"\x89PNG")
    records = [json.loads(line) for line in (out / "inference.jsonl").read_text().splitlines()]
    assert {record["batch_size"] for record in records} == {1, 4}
    assert len(records) == 3 * 2
    assert all({"commit", "processor", "cpu_clock_mhz"} <= record["machine"].keys() for record in records)


def test_every_number_has_a_term_a_source_and_a_kind(result):
    content, out = result
    assert len(content["terms"]) == 5
    for rows in content["terms"].values():
        for row in rows:
            assert row["name"], row
            assert row["source"], row
            assert row["kind"] in ("measured", "modelled", "assumed"), row
    for curve in content["curves"]:
        assert all(curve[q]["source"] for q in ("latency", "time per image", "energy per image") if q in curve)


def test_measured_modelled_and_extrapolated_are_told_apart(result):
    evidence = {curve["name"]: curve["evidence"] for curve in result[0]["curves"]}
    teachers = {name: kinds for name, kinds in evidence.items() if name.startswith("teacher")}
    measured = [name for name, kinds in teachers.items() if "measured" in kinds]
    assert len(measured) == 1
    assert tuple(teachers.pop(measured[0])) == ("measured", "modelled")  # 32 pixels here, 512 extrapolated
    assert all(set(kinds) == {"modelled"} and "modelled" in name for name, kinds in teachers.items())
    assert all(set(evidence[name]) == {"modelled"} for name in result[0]["settings"]["optics"])


def test_the_page_has_its_tables_with_a_row_a_system(result):
    content, out = result
    page = (out / "cost.md").read_text()
    for curve in content["curves"]:
        assert f"| {curve['name']} |" in page
    assert "does not fit" in page  # the fixed plate at 512 pixels
    assert "never up to 512 px" in page
    assert page.count("\n### ") == 5
    assert "energy, NTK-KD hybrid" in page
    assert "nan" not in page
    assert "inf " not in page


def test_scenes_are_compared_with_electronics_that_have_a_camera(result):
    for found in result[0]["crossovers"]:
        assert found["electronics"].startswith("camera + ") == found["optics"].startswith("fixed plate")


def test_the_break_even_is_printed_for_every_system_and_network(result):
    rows = result[0]["break_even_energy_per_mac"]
    assert {(row["optics"].split(",")[0], row["instead of"]) for row in rows} >= {
        ("LCOS 60 Hz", "teacher"),
        ("LCOS 60 Hz", "digital twin"),
    }
    lcos = next(row for row in rows if row["optics"].startswith("LCOS") and row["instead of"] == "digital twin")
    low, median, high = lcos["low_median_high"][0]
    assert 0 < low < median < high


def test_a_number_that_nobody_states_is_asked_for_before_anything_is_measured(small, monkeypatch):
    settings = load_cost_configuration(small).settings
    slm = settings.optics["LCOS 60 Hz, 75 fps camera"].slm.model_copy(update={"power": None})
    broken = settings.optics["LCOS 60 Hz, 75 fps camera"].model_copy(update={"slm": slm})
    monkeypatch.setattr("experiments.cost_command.measured", lambda *args: pytest.fail("measured first"))
    with pytest.raises(ValueError, match=r'optics\."LCOS 60 Hz, 75 fps camera": power of thorlabs-exulus-hd2 must be'):
        listed_terms(settings.model_copy(update={"optics": {"LCOS 60 Hz, 75 fps camera": broken}}))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sides = [32, 512]", "sides = [512, 32]", "sides must grow"),
        ("listed = 32", "listed = 48", "listed must be one of sides, got 48"),
        ("kernels = 8", "kernel = 8", "kernel"),
        ('rooflines = ["h100-sxm"]', 'rooflines = ["h200"]', 'gpu must be a known device, got "h200"'),
        ("[shared]", "[shared]\nmasks = 3", "must not state masks"),
        ("overlapped = true", "images_per_frame = 3", "must not state images_per_frame"),
        ("[shared.host]\npower = {", "[shared.host]\npover = {", "pover"),
    ],
)
def test_a_defect_of_the_file_is_one_line(small, tmp_path, old, new, message):
    text = small.read_text()
    assert old in text
    path = tmp_path / "broken.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message) as caught:
        load_cost_configuration(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("low", "median", "high", "text"),
    [
        (410.2, 620.4, 1300.0, "620 px (410 ... 1300)"),
        (410.2, 620.4, inf, "620 px (410 ... > 4096)"),
        (32.0, 60.0, 80.0, "60 px (<= 32 ... 80)"),
        (32.0, 32.0, 32.0, "<= 32 px"),
        (inf, inf, inf, "never up to 4096 px"),
    ],
)
def test_a_crossover_is_written_with_its_uncertainty(low, median, high, text):
    assert side_range(Crossover("o", "e", "latency", 1.0, 0.5, low, median, high, 32, 4096)) == text


@pytest.mark.parametrize(("name", "side"), [("teacher", 32), ("digital twin", 64), ("readout alone", 32)])
def test_operations_are_two_for_each_multiply_accumulate(name, side):
    task = TaskSettings()
    assert operations(name, task, side) == 2 * digital_macs(networks(task, side)[name], (1, side, side))


def test_the_twin_has_the_kernels_of_the_optics():
    macs = digital_macs(
        networks(TaskSettings(kernels=3, kernel_size=5, pool=2, classes=4), 16)["digital twin"], (1, 16, 16)
    )
    assert macs == 3 * 25 * 16**2 + 3 * 4 * 4


def test_beyond_the_largest_measured_side_costs_grow_with_the_pixels():
    def term(value, unit="s"):
        return Term("t", value, value, value, unit, "clock", "measured")

    result = Inference("net", "cpu", term(2.0), term(4.0, "1/s"), 8, None, None, None, "none", 100, "measured")
    (found,) = measured_curves({"net": [result, result]}, (16, 32, 128), draws=3, seed=0)
    times = found.draws["latency"].tolist()
    assert times == [[2.0, 2.0, 32.0]] * 3
    assert found.draws["time per image"][0].tolist() == [0.25, 0.25, 4.0]
    assert found.kinds == ("measured", "measured", "modelled")
    assert "energy per image" not in found.draws


def test_a_sweep_file_is_all_combinations_and_is_done_once(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text('function = "sweep_runs:noise"\n[fixed]\nsize = 9\n[axes]\nseed = [1, 2, 3]\n')
    assert [run.arguments["seed"] for run in load_sweep(path).runs()] == [1, 2, 3]
    first = run_sweep(path, tmp_path / "out", QUIET, workers=1)
    again = run_sweep(path, tmp_path / "out", QUIET, workers=1)
    assert (first.done, again.done, again.skipped) == (3, 0, 3)


def test_failed_runs_end_a_sweep_with_a_count_and_the_commonest_reason(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text('function = "sweep_runs:fails"\n[axes]\nseed = [0, 1, 2]\n')
    with pytest.raises(RunsFailed, match=r"1 of 3 runs failed, 1 of them with: ValueError: seed must be even, got 1\."):
        run_sweep(path, tmp_path / "out", QUIET, workers=1)
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('function = "sweep_runs:nothing"\n[axes]\nseed = [1]\n', "no attribute 'nothing'"),
        ('function = "sweep_runs:noise"\n[axes]\nseed = []\n', "axes"),
        ('function = "sweep_runs:noise"\n', "axes"),
        ('function = "sweep_runs:noise"\n[axes]\nseed = [1]\n[fixd]\nx = 1\n', "fixd"),
    ],
)
def test_a_sweep_file_with_a_defect_is_refused(tmp_path, text, message):
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_sweep(path)


def test_a_cluster_and_a_number_of_processes_exclude_each_other(tmp_path):
    with pytest.raises(ValueError, match="workers must be left out with cluster"):
        run_sweep(CONFIGS / "sweep_demo.toml", tmp_path, QUIET, cluster="tcp://a:1", workers=2)


def test_a_row_is_trained_with_what_the_sweep_changes():
    config = str(CONFIGS / "demo.toml")
    first, again = (train_row(config, "readout_only", 3, epochs=1) for _ in range(2))
    assert first == again
    assert train_row(config, "readout_only", 4, epochs=1) != first
    coarse = train_row(config, "random_mask", 3, epochs=1, bit_depth=1)
    assert train_row(config, "random_mask", 3, epochs=1, bit_depth=8) != coarse
    with pytest.raises(ValueError, match="row must be one of teacher, linear"):
        train_row(config, "physicl", 0)
