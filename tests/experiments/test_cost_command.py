"""``python -m experiments cost`` and ``sweep``: files in, complete files out, defects in one line."""

import json
import re
import sys
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments.cost_command import break_evens, compared, listed_terms, run_cost
from experiments.cost_crossover import Crossover
from experiments.cost_layout import OpticalTask
from experiments.cost_report import price_line, side_range
from experiments.cost_settings import load_cost_configuration, load_cost_settings
from experiments.electronics_sweep import measured_curves, networks, operations, price_curves
from experiments.measured_inference import Inference
from experiments.paper_statistics import by_row
from experiments.resolution_sweep import Curve, optical_curve
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
        "sides": "[32, 900]",
        "draws": "20",
        "listed": "32",
        "measured_to": "32",
        "batch_sizes": "[1, 4]",
        "rounds": "1",
        "seconds": "0.01",
        "rooflines": '["h100-sxm"]',
        "prices": '["digital-mac-ntkd-edge"]',
        "paper": f'"{CONFIGS}/paper_mnist.toml"',
        "results": f'"{CONFIGS.parent}/results/mnist.jsonl"',
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
    records = [json.loads(line) for line in (out / "cost_inference.jsonl").read_text().splitlines()]
    assert {record["batch_size"] for record in records} == {1, 4}
    assert len(records) == 3 * 2
    assert {(r["model"], r["batch_size"], tuple(r["input_shape"][-2:])) for r in records} == {
        (model, size, (32, 32)) for model in ("teacher", "twin", "readout_only") for size in (1, 4)
    }
    assert all({"commit", "processor", "cpu_clock_mhz"} <= record["machine"].keys() for record in records)


def test_every_number_has_a_term_a_source_and_a_kind(result):
    content, out = result
    assert len(content["terms"]) == 6
    for rows in content["terms"].values():
        for row in rows:
            assert row["name"], row
            assert row["source"], row
            assert "configuration" not in row["source"], row
            assert row["kind"] in ("measured", "modelled", "assumed"), row
    for curve in content["curves"]:
        for q in ("latency", "time per image", "energy per image"):
            if q in curve:
                assert len(curve[q]["source"]) == len(curve["sides"]) and all(curve[q]["source"])


def test_a_measured_figure_says_which_batch_it_is_from(result):
    """Each side its own: what was measured at 32 pixels, and what follows from it at 900."""
    (teacher,) = (c for c in result[0]["curves"] if c["name"].startswith("teacher") and "measured" in c["evidence"])
    here, beyond = teacher["latency"]["source"]
    assert "batch 1," in here and "in proportion" not in here
    assert "batch 1," in beyond and "in proportion from 32 pixels" in beyond


def test_measured_modelled_and_extrapolated_are_told_apart(result):
    evidence = {curve["name"]: curve["evidence"] for curve in result[0]["curves"]}
    teachers = {name: kinds for name, kinds in evidence.items() if name.startswith("teacher")}
    measured = [name for name, kinds in teachers.items() if "measured" in kinds]
    assert len(measured) == 1
    assert tuple(teachers.pop(measured[0])) == ("measured", "modelled")  # 32 pixels here, 900 extrapolated
    assert all(set(kinds) == {"modelled"} and "modelled" in name for name, kinds in teachers.items())
    assert all(set(evidence[name]) == {"modelled"} for name in result[0]["settings"]["optics"])


def test_the_page_has_its_tables_with_a_row_a_system(result):
    content, out = result
    page = (out / "cost.md").read_text()
    for curve in content["curves"]:
        assert f"| {curve['name']} |" in page
    assert "does not fit" in page  # the fixed plate at 900 pixels
    assert "never up to 900 px" in page
    assert page.count("\n### ") == 6
    assert "| twin | 99." in page and "from `experiments/results/mnist.jsonl`" in page
    assert "no accuracy is claimed" in page
    assert "| LCOS 60 Hz, 75 fps camera | in turn, 8 exposures | yes |" in page
    assert "camera (not this student) | in turn, 64 exposures | no. What such devices take" in page
    assert "sum of 2^k |h * b_k|^2, which is not |h * x|^2" in page.replace("\\|", "|")
    assert (
        "Published prices: 30.8 pJ (Digital MAC at the edge, implied by one published budget; arXiv 2508.08421" in page
    )
    assert "energy, NTK-KD hybrid" in page
    assert not re.search(r"\bnan\b", page)
    assert "inf " not in page


def test_scenes_are_compared_with_electronics_that_have_a_camera(result):
    for found in result[0]["crossovers"]:
        assert found["electronics"].startswith("camera + ") == found["optics"].startswith("fixed plate")


def test_the_break_even_is_printed_for_every_system_and_network(result):
    rows = result[0]["break_even_energy_per_mac"]
    assert {(row["optics"].split(",")[0], row["instead of"]) for row in rows} >= {
        ("LCOS 60 Hz", "teacher"),
        ("LCOS 60 Hz", "twin"),
    }
    lcos = next(row for row in rows if row["optics"].startswith("LCOS") and row["instead of"] == "twin")
    low, median, high = lcos["low_median_high"][0]
    assert 0 < low < median < high


def test_a_number_that_nobody_states_is_asked_for_before_anything_is_measured(small, tmp_path, monkeypatch):
    asked = load_cost_configuration(small)
    slm = asked.settings.optics["LCOS 60 Hz, 75 fps camera"].slm.model_copy(update={"power": None})
    broken = asked.settings.optics["LCOS 60 Hz, 75 fps camera"].model_copy(update={"slm": slm})
    monkeypatch.setattr("experiments.cost_command.measured", lambda *args: pytest.fail("measured first"))
    settings = asked.settings.model_copy(update={"optics": {"LCOS 60 Hz, 75 fps camera": broken}})
    message = r'optics\."LCOS 60 Hz, 75 fps camera": power of thorlabs-exulus-hd2 must be'
    with pytest.raises(ValueError, match=message):
        run_cost(replace(asked, settings=settings), tmp_path, QUIET)
    with pytest.raises(ValueError, match=message):
        listed_terms(settings.optics, (32, 900), asked.task.optical, listed=32)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sides = [32, 900]", "sides = [900, 32]", "sides must grow"),
        ("listed = 32", "listed = 48", "listed must be one of sides, got 48"),
        ("classes = 10", "clases = 10", "clases"),
        ('optical = "physical_kd"', 'optical = "physicl"', r"task\.optical"),
        ("mnist.jsonl", "nothing.jsonl", "results must be JSON lines of a table"),
        ("[shared]", "[shared]\ncolours = 3", "must not state colours"),
        ("overlapped = true", "tiles = 2", "must not state tiles"),
        (
            'like = "fast LCOS, 227 fps camera"',
            'like = "fast"',
            "like must name a system that is written out, got 'fast'",
        ),
        (
            '{ low = 2, nominal = 5, high = 15, source = "assumed: the share of a small computer that grabs frames", '
            'kind = "assumed" }',
            "5",
            r"optics\.LCOS 60 Hz, 75 fps camera\.host\.power must have a source, got 5 W\. Write",
        ),
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


def test_the_networks_are_those_of_the_trained_table(small):
    """At the size that was trained, operations of the rows are those that the table of results counts."""
    asked, lines = load_cost_configuration(small), by_row(load_cost_configuration(small).task.results)
    for name in ("teacher", "twin"):
        (counted,) = {line["digital_macs"] for line in lines[name].values()}
        assert digital_macs(networks(asked, 28)[name], (1, 28, 28)) == counted
    task = asked.task.optical
    assert (task.kernels, task.signed, asked.task.exposures) == (8, False, 8)
    assert {line["digital_macs"] for line in lines["physical_kd"].values()} == {task.head_macs}
    assert task.head_macs == 8 * 8**2 * 64 + 64 * 10


def test_operations_are_those_of_the_layers(small):
    """Eight complex kernels of 7 x 7 are sixteen; hidden layers behind 8 x 8 regions do not grow with the image."""
    counts = operations(load_cost_configuration(small))
    assert counts["twin"] == [16 * 49 * side**2 + 8 * 8**2 * 64 + 64 * 10 for side in (32, 900)]


def test_a_price_is_paid_for_every_multiply_accumulate():
    (teacher, twin) = price_curves(
        ["digital-mac-ntkd-edge"], {"teacher": [10, 1000], "twin": [7, 8]}, (8, 16), draws=3, seed=0
    )
    np.testing.assert_allclose(teacher.draws["energy per image"], [[308e-12, 30.8e-9]] * 3, rtol=1e-12)
    np.testing.assert_allclose(twin.draws["energy per image"], [[7 * 30.8e-12, 8 * 30.8e-12]] * 3, rtol=1e-12)
    assert twin.name == "twin, at the edge, implied by one published budget (modelled price)"


def test_the_break_even_saves_the_operations_of_the_network(small):
    """A published price that is the break-even makes both energies equal."""
    asked = load_cost_configuration(small)
    name = "LCOS 60 Hz, 75 fps camera"
    systems, task, sides = {name: asked.settings.optics[name]}, OpticalTask(8, 7, 1000), (32, 64)
    optics = optical_curve(name, systems[name], sides, task, draws=4, seed=1)
    macs = {"twin": [50_000, 900_000]}
    prices = break_evens(systems, [optics], task, macs, seed=1)[name, "twin"]
    np.testing.assert_allclose(optics.fixed + 1000 * prices, np.array(macs["twin"]) * prices, rtol=1e-12)


def test_optics_are_compared_at_their_own_sides(small):
    """Only electronics are interpolated: optics that jump between two sides of a measurement cross where they jump."""
    system = load_cost_settings(small).optics["LCOS 60 Hz, 75 fps camera"]
    sides = (10, 20, 21, 40)
    step = np.array([[1.0, 1.0, 14.0, 14.0]])
    optics = Curve("o", True, sides, {"latency": step}, ("modelled",) * 4, {"latency": ("",) * 4}, fixed=step)
    grows = Curve("d", False, (10, 40), {"latency": np.array([[5.0, 20.0]])}, ("measured",) * 2, {"latency": ("",) * 2})
    (found,) = compared({"o": system}, [optics], [grows], seed=0)
    assert found.median == pytest.approx(28)  # electronics are half the side; at 10 and 40 alone the optics always win


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


def test_the_line_of_prices_is_that_of_the_presets():
    line = price_line(["digital-mac-h100-int8", "digital-mac-tpu-v4"])
    assert line.startswith("Published prices: 710 fJ (Digital MAC, H100 INT8, peak; compiled: nvidia.com H100 page, ")
    assert "1.24 pJ (Digital MAC, TPU v4; compiled: arXiv 2304.01433, secondary)." in line


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
