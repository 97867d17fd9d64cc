"""The page of all tables: that of the committed records, goals judged as by hand, chosen on validation images."""

import shutil

from typer.testing import CliRunner

from experiments.__main__ import app
from experiments.paper import CLASSIFICATION
from experiments.paper_overview import Goal, Recorded, best_taught, judged, overview, read_tables
from experiments.paper_settings import CONFIGURATIONS, configuration_of, load_paper

RESULTS = CONFIGURATIONS.parent / "results"


def run(row, seed, test, *, validation=0.5):
    return {"row": row, "seed": seed, "test_accuracy": test, "validation_accuracy": validation}


def recorded(name, *results):
    return Recorded(load_paper(configuration_of(name)), CLASSIFICATION, results)


def test_the_committed_page_is_what_the_records_give():
    committed = (RESULTS / "papers.md").read_text()
    assert committed == overview(read_tables(RESULTS)), "`python -m experiments overview experiments/results` writes it"


def test_every_record_of_a_table_is_on_the_page():
    shown = {one.name for one in read_tables(RESULTS)}
    files = {path.stem.removeprefix("paper_") for path in CONFIGURATIONS.glob("paper_*.toml")}
    assert shown == {name for name in files if (RESULTS / f"{name}.jsonl").is_file()} and len(shown) > 10


def test_validation_chooses_and_only_among_taught_masks():
    small = recorded(
        "cifar10",
        run("physical_kd", 0, 0.9, validation=0.6),
        run("physical", 0, 0.9, validation=0.9),
        run("linear_kd", 0, 0.9, validation=0.9),
    )
    fine = recorded(
        "cifar10_fine",
        run("physical_kd", 0, 0.5, validation=0.6),
        run("physical_kd", 1, 0.5, validation=0.8),
        run("physical_linear_kd", 0, 0.5, validation=0.65),
    )
    assert best_taught([small, fine]) == (fine, "physical_kd")
    assert best_taught([recorded("cifar10", run("physical", 0, 0.9))]) is None


def test_goals_are_judged_by_the_mean_of_the_seeds():
    accuracy = Goal("mnist", "accuracy", 90)
    assert judged(accuracy, [run("physical_kd", 0, 0.88), run("physical_kd", 1, 0.92)], "physical_kd")[0] == "yes"
    assert judged(accuracy, [run("physical_kd", 0, 0.87), run("physical_kd", 1, 0.92)], "physical_kd")[0] == "no"

    below = Goal("cats_dogs", "below teacher", 3)
    results = [run("teacher", 0, 0.80), run("physical_kd", 0, 0.78), run("physical_kd", 1, 0.10)]
    assert judged(below, results, "physical_kd") == ("yes", "2.00 points")  # the seed that has no teacher is left out
    results += [run("teacher", 1, 0.15)]
    assert judged(below, results, "physical_kd")[0] == "no"  # 2 and 5 points

    gap = Goal("camvid", "gap closed", 50)
    results = [run("linear", 0, 0.2), run("teacher", 0, 0.6), run("physical_kd", 0, 0.41)]
    assert judged(gap, results, "physical_kd") == ("yes", "52%")
    assert judged(gap, [*results[:2], run("physical_kd", 0, 0.38)], "physical_kd") == ("no", "45%")
    assert judged(gap, results[1:], "physical_kd")[0] == "not known"
    results += [run("linear", 1, 0.2), run("teacher", 1, 0.61), run("physical_kd", 1, 0.39)]
    verdict, told = judged(gap, results, "physical_kd")
    assert verdict == "no" and told.startswith("49% (")  # 0.20 of 0.405, the ratio of the means
    results += [run("linear", 2, 0.9), run("teacher", 2, 0.2), run("physical_kd", 2, 0.4)]
    assert judged(gap, results, "physical_kd")[0] == "not known"  # no gap that these seeds can tell


def test_the_command_writes_the_page_beside_the_records(tmp_path):
    shutil.copy(RESULTS / "orl_faces.jsonl", tmp_path)
    result = CliRunner().invoke(app, ["overview", str(tmp_path)], env={"COLUMNS": "200"})
    assert result.exit_code == 0 and "at least 95 %" in result.stdout
    page = (tmp_path / "papers.md").read_text()
    assert "[orl_faces](orl_faces.md)" in page and "camvid" not in page
    assert "| 5 of 5 | orl_faces | physical_kd |" in page


def test_a_folder_without_records_is_refused(tmp_path):
    result = CliRunner().invoke(app, ["overview", str(tmp_path)])
    assert result.exit_code == 2 and "must hold records of tables, got none" in result.stderr
    assert list(tmp_path.iterdir()) == []
