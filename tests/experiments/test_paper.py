"""Tables of a data set: every row trains, results go on where they stopped, and statistics are those of scipy."""

import json
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from experiments.__main__ import app
from experiments.paper import RowsFailed, gains, light_words, run_paper, table_rows
from experiments.paper_rows import PAPER_ROWS
from experiments.paper_run import nonlinearity, paper_row
from experiments.paper_settings import CONFIGURATIONS, load_paper
from experiments.paper_statistics import SCOPE, gain, gap_closed, ratio_interval
from experiments.sweep import Summary
from kd.data.catalogue import load

SMALL = CONFIGURATIONS / "paper_digits.toml"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The file for digits with one epoch of large batches and two masks."""
    text = SMALL.read_text().replace("masks = 4", "masks = 2").replace("shape = [128, 128]", "shape = [64, 64]")
    for epochs in ("epochs = 15", "epochs = 30"):
        text = text.replace(epochs, "epochs = 1\nbatch_size = 256")
    path = tmp_path_factory.mktemp("paper") / "small.toml"
    path.write_text(text)
    return path


def test_every_row_builds_and_only_the_linear_ones_are_linear(small):
    settings = load_paper(small).settings
    data = load("digits", **settings.data.options)
    for name, row in PAPER_ROWS.items():
        model = row.build(settings, data, 0)
        if hasattr(model, "reseed"):
            model.reseed(0)
        with torch.no_grad():
            assert model.eval()(data.test.images[:3]).shape == (3, 10), name
        if name.startswith("physical_linear"):
            front = model.front_end
            with torch.no_grad():
                frames = front.bench.detect(front.light(data.train.images[:64]))
            filled = frames.max().item() * front.bench.camera.exposure  # of the full well
            assert filled == pytest.approx(0.25, abs=2**-11), name
        if name != "teacher":
            assert (nonlinearity(model, data) < 1e-4) == row.linear, name


def test_the_table_goes_on_where_it_stopped(small, tmp_path):
    configuration, console = load_paper(small), Console(quiet=True)
    first = run_paper(configuration, tmp_path, console, rows=["readout_only", "physical_kd"], seeds=[0], workers=2)
    assert [r["row"] for r in first] == ["teacher", "physical_kd", "readout_only"], "who is taught brings the teacher"
    kept = (tmp_path / "results.jsonl").read_text()
    again = run_paper(configuration, tmp_path, console, rows=["linear", "physical_kd"], seeds=[0], workers=1)
    assert [r["row"] for r in again] == ["teacher", "linear", "physical_kd", "readout_only"]
    assert set(kept.splitlines()) < set((tmp_path / "results.jsonl").read_text().splitlines())
    lines = [json.loads(line) for line in (tmp_path / "small.jsonl").read_text().splitlines()]
    assert {"dataset", "row", "seed", "test_accuracy", "config", "commit", "duration_seconds"} <= set(lines[0])
    physical = next(line for line in lines if line["row"] == "physical_kd")
    assert 0 < physical["light_in_window"] <= 1.001 and physical["electrons_per_image"] > 0
    assert "physical_kd" in (tmp_path / "small.md").read_text()
    assert list(tmp_path.glob("checkpoints-*/*.safetensors")) and not list(tmp_path.glob("checkpoints-*/*.state"))


def test_changed_settings_are_other_runs(small, tmp_path):
    changed = tmp_path / "changed.toml"
    changed.write_text(small.read_text().replace("learning_rate = 1e-2", "learning_rate = 2e-2"))
    out, console = tmp_path / "out", Console(quiet=True)
    for path in (small, changed):
        assert len(run_paper(load_paper(path), out, console, rows=["readout_only"], seeds=[0], workers=1)) == 1
    assert len((out / "results.jsonl").read_text().splitlines()) == 2
    with pytest.raises(ValueError, match="must stay as it was"):
        paper_row(str(changed), "readout_only", 0, folder=str(out), settings="000000000000")


def test_the_same_run_twice_gives_the_same(small, tmp_path):
    one, other = (paper_row(str(small), "physical", 3, folder=str(tmp_path / name)) for name in "ab")
    assert one["test_accuracy"] == other["test_accuracy"]
    assert (tmp_path / "a" / "physical-3.safetensors").exists()


def test_a_model_that_is_trained_is_not_trained_again(small, tmp_path, monkeypatch):
    """Who waited for the result was killed: the checkpoint is there, the line of the table is not."""
    first = paper_row(str(small), "physical", 0, folder=str(tmp_path))
    monkeypatch.setattr("experiments.paper_run.fit", None)
    again = paper_row(str(small), "physical", 0, folder=str(tmp_path))
    assert {**again, "duration_seconds": 0} == {**first, "duration_seconds": 0}


def result(row, seed, accuracy):
    return {"row": row, "seed": seed, "test_accuracy": accuracy, "readout_parameters": 1, "digital_macs": 2}


def test_gains_are_paired_by_seed_with_students_interval():
    taught, alone = [0.95, 0.97, 0.96], [0.93, 0.96, 0.93]
    results = [result("sclc_kd", s, a) for s, a in enumerate(taught)]
    results += [result("sclc", s, a) for s, a in enumerate(alone)] + [result("sclc", 7, 0.1)]
    mean, half = gain(results, "sclc_kd", "sclc")
    interval = stats.ttest_rel(taught, alone).confidence_interval(0.95)
    assert mean == pytest.approx(2.0)
    assert (mean - half, mean + half) == pytest.approx((100 * interval.low, 100 * interval.high))
    assert gain(results, "physical_kd", "physical") is None
    told = gains(results)
    assert "no effect that these seeds can tell" in told, "2 points over three seeds that scatter"
    assert told.endswith(SCOPE) and "gap" not in told, "there is no teacher"
    results += [result("teacher", s, 0.99) for s in range(3)]
    assert "40% (95 %: " in gains(results) and "of the gap to the teacher of 5.00 +- " in gains(results)


def three(taught, alone, teacher):
    """Results of three rows, a seed each place; None is no run."""
    rows = {"physical_kd": taught, "physical": alone, "teacher": teacher}
    return [result(row, s, a) for row, values in rows.items() for s, a in enumerate(values) if a is not None]


def test_the_ends_of_a_share_are_where_students_test_begins_to_refuse_it():
    taught, alone, teacher = (0.941, 0.952, 0.949, 0.955), (0.93, 0.93, 0.94, 0.93), (0.97, 0.96, 0.975, 0.965)
    gap = gap_closed(three(taught, alone, teacher), "physical_kd", low="physical")
    ways, gaps = ([100 * (x - a) for x, a in zip(high, alone, strict=True)] for high in (taught, teacher))
    assert gap.share == pytest.approx(sum(ways) / sum(gaps)) and gap.seeds == 4
    for end in (gap.low, gap.high):
        refused = stats.ttest_1samp([w - end * g for w, g in zip(ways, gaps, strict=True)], 0)
        assert refused.pvalue == pytest.approx(0.05, abs=1e-9)
    assert gap.low < gap.share < gap.high
    interval = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert (gap.mean - gap.half, gap.mean + gap.half) == pytest.approx((interval.low, interval.high))


def test_a_share_is_over_the_seeds_that_all_three_rows_have():
    taught, alone, teacher = (0.94, 0.95, 0.94, 0.99), (0.93, 0.93, 0.92, 0.1), (0.97, 0.96, 0.97, None)
    more = three((*taught, 0.9), (*alone, None), (*teacher, 0.2))
    fewer = three(taught[:3], alone[:3], teacher[:3])
    assert gap_closed(more, "physical_kd", low="physical") == gap_closed(fewer, "physical_kd", low="physical")
    assert gains(more) == gains(fewer), "the gain beside the share is over the same seeds"
    assert gap_closed(three(taught[:1], alone[:1], teacher[:1]), "physical_kd", low="physical") is None


@pytest.mark.parametrize(
    "teacher",
    [(0.95, 0.99, 0.945), (0.91, 0.92, 0.91)],
    ids=["an interval around 0", "below the student"],
)
def test_a_gap_that_may_be_none_has_no_share(teacher):
    results = three((0.96, 0.95, 0.95), (0.95, 0.94, 0.96), teacher)
    gap = gap_closed(results, "physical_kd", low="physical")
    assert gap.share is None and gap.low is None
    words = gains(results)
    assert "no share, as the gap to the teacher of" in words and words.count("%") == 1, "that of the interval alone"
    if gap.mean > 0:
        gaps = [100 * (b - r["test_accuracy"]) for b, r in zip(teacher, results[3:6], strict=True)]
        with pytest.raises(ValueError, match="gaps must be told from 0"):
            ratio_interval([1.0, -1.0, 0.0], gaps)


def light(seed, **more):
    return {**result("physical", seed, 0.9), "parameters": 999, "electrons_per_image": 1e6, **more}


def test_light_is_the_mean_over_the_seeds_that_tell_of_it():
    """The oldest results do not know of the camera's share, of the exposures, or of photons."""
    later = {"exposures": 8, "light_in_window": 0.8}
    results = [light(0, light_in_window=0.4), light(1, **later, light_on_camera=0.1)]
    row = table_rows([*results, light(2, **later, light_on_camera=0.3, electrons_per_image=4e6)])[0]
    assert row["exposures"] == "8" and row["light an image"] == "2e+06 electrons"
    assert row["light in the window"] == "67%" and row["light on the camera"] == "20%"
    row = table_rows([light(0), light(1, photons_per_image=2e6), light(2, photons_per_image=4e6)])[0]
    assert row["light an image"] == "3e+06 photons"
    assert row["light on the camera"] == row["light in the window"] == row["exposures"] == ""
    assert "not what the camera sees" in light_words(results) and light_words([result("linear", 0, 0.9)]) == ""


def test_masks_are_no_electronic_parameters():
    digital = {**result("linear", 0, 0.9), "parameters": 7}
    teacher = {**result("teacher", 0, 0.9), "parameters": 5, "readout_parameters": None}
    rows = table_rows([teacher, digital, light(0)])
    assert [row["electronic parameters"] for row in rows] == ["5", "7", "1"]


def test_mean_and_standard_deviation_are_in_the_table():
    row = table_rows([result("linear", s, a) for s, a in enumerate((0.9, 0.92))])[0]
    assert row["test accuracy [%]"] == f"91.00 +- {math.sqrt(2):.2f}"


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.glob("paper_*.toml")), ids=lambda p: p.stem)
def test_the_benches_of_all_tables_can_be_sampled(path):
    settings = load_paper(path).settings
    settings.bench.build_route(settings.bench.build())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("mnst",), "mnist"),
        (("digits", "--row", "phisical"), "physical"),
        (("nothing.toml",), "nothing.toml"),
        (("digits", "--cluster", "tcp://x:1", "--workers", "2"), "workers"),
        (("digits", "--row", "readout_only", "--seed", "-3"), "seed must be from 0 to 4294967295, got -3"),
        (
            ("digits", "--row", "readout_only", "--seed", str(2**32)),
            "seed must be from 0 to 4294967295, got 4294967296",
        ),
        (("digits", "--row", "teacher", "--students", "."), "students must be left out where the teacher alone is"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, word, tmp_path):
    printed = CliRunner().invoke(app, ["paper", *arguments, "--out", str(tmp_path / "out")], env={"COLUMNS": "200"})
    assert printed.exit_code == 2
    assert word in printed.output and "Traceback" not in printed.output


def test_a_file_in_place_of_the_folder_is_told_of_and_stays(tmp_path):
    (tmp_path / "out").write_text("mine")
    for where in ("out", "out/below"):
        arguments = ["paper", "digits", "--row", "readout_only", "--seed", "0", "--out", str(tmp_path / where)]
        printed = CliRunner().invoke(app, arguments)
        assert printed.exit_code == 2
        assert f"{tmp_path / where} must be a folder, got a file there" in " ".join(printed.output.split())
    assert (tmp_path / "out").read_text() == "mine"


def test_images_that_are_not_there_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("OPTICS4F_DATA", str(tmp_path))
    asked = ["--row", "readout_only", "--row", "linear", "--seed", "0", "--workers", "1", "--out", str(tmp_path / "o")]
    printed = CliRunner().invoke(app, ["paper", "mnist", *asked])
    assert printed.exit_code == 2 and not printed.stdout
    assert printed.stderr.count("\n") == 1 and "OPTICS4F_DATA" in printed.stderr, "said once, not by every run"
    assert not (tmp_path / "o").exists()


def test_no_table_is_made_of_runs_that_all_failed(small, tmp_path, monkeypatch):
    full = "OSError: no space left"
    monkeypatch.setattr("experiments.paper.sweep", lambda runs, *_: Summary(failed={run.key: full for run in runs}))
    with pytest.raises(RowsFailed, match=f"2 of 2 runs failed. Started again, they are tried again. One with: {full}"):
        run_paper(load_paper(small), tmp_path, Console(quiet=True), rows=["linear_kd"], seeds=[0], workers=1)
    assert not list(tmp_path.rglob("*.md"))


def test_images_that_the_bench_cannot_show_are_told_before_any_run(small, tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(small.read_text().replace("size = 32, ", "").replace("shape = [32, 32]", "shape = [32, 96]", 1))
    printed = CliRunner().invoke(app, ["paper", str(wrong), "--out", str(tmp_path / "o")])
    assert printed.exit_code == 2 and "bench.object.shape must be [32, 32]" in printed.stderr
    assert printed.stderr.count("\n") == 1 and not (tmp_path / "o").exists()
