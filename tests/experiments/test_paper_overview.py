"""The page of all tables: that of the committed records, goals judged as by hand, chosen on validation images."""

import re
import shutil

import pytest
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
        run("physical_kd", 0, 0.9, validation=0.5),
        run("physical_kd", 1, 0.9, validation=0.8),
        run("physical_linear_kd", 0, 0.5, validation=0.7),  # above the mean of the other, below its best
    )
    assert best_taught([small, fine]) == (fine, "physical_linear_kd")
    assert best_taught([recorded("cifar10", run("physical", 0, 0.9))]) is None


def test_an_accuracy_is_judged_by_the_mean_of_the_seeds():
    goal = Goal("mnist", "accuracy", 75)
    verdict, told, seeds = judged(goal, [run("physical_kd", 0, 0.5), run("physical_kd", 1, 1.0)], "physical_kd")
    assert (verdict, seeds) == ("yes", 2) and told == "75.00 +- 35.36 %"
    assert judged(goal, [run("physical_kd", 0, 0.74), run("physical_kd", 1, 0.75)], "physical_kd")[0] == "no"


def test_points_below_the_teacher_are_those_of_seeds_that_both_have():
    goal = Goal("cats_dogs", "below teacher", 25)
    results = [run("teacher", 0, 0.75), run("physical_kd", 0, 0.5), run("physical_kd", 1, 0.0)]
    assert judged(goal, results, "physical_kd") == ("yes", "25.00 points", 1)
    results += [run("teacher", 1, 0.5)]
    verdict, told, seeds = judged(goal, results, "physical_kd")  # 25 and 50 points
    assert (verdict, seeds) == ("no", 2) and told.startswith("37.50 +- 158.8")  # Student: 12.706 x 12.5


def test_a_share_of_a_gap_is_that_of_the_means():
    goal = Goal("camvid", "gap closed", 50)
    low, high = run("linear", 0, 0.25), run("teacher", 0, 0.75)
    assert judged(goal, [low, high, run("physical_kd", 0, 0.5)], "physical_kd") == ("yes", "50%", 1)
    assert judged(goal, [low, high, run("physical_kd", 0, 0.45)], "physical_kd") == ("no", "40%", 1)
    assert judged(goal, [high, run("physical_kd", 0, 0.5)], "physical_kd")[0] == "not known"
    for teacher in (0.25, 0.2):
        found = judged(goal, [low, run("teacher", 0, teacher), run("physical_kd", 0, 0.05)], "physical_kd")
        assert found[0] == "not known" and "may be none" in found[1]
    # Two seeds leave the share anything: the mean judges, and the interval is told.
    results = [low, high, run("physical_kd", 0, 0.4), run("linear", 1, 0.25), run("teacher", 1, 0.76)]
    verdict, told, seeds = judged(goal, [*results, run("physical_kd", 1, 0.62)], "physical_kd")
    assert (verdict, seeds) == ("yes", 2) and re.fullmatch(r"51% \(-\d+% to \d+%\)", told)
    results += [run("physical_kd", 1, 0.4), run("linear", 2, 0.9), run("teacher", 2, 0.2), run("physical_kd", 2, 0.4)]
    assert judged(goal, results, "physical_kd")[0] == "not known"  # linear is above the teacher
    results[-2] = run("teacher", 2, 0.95)
    assert judged(goal, results, "physical_kd") == ("not known", "-19% of a gap of 35.33 points, which may be none", 3)


def test_each_measure_is_judged_by_itself():
    """Seeds that agree leave no width: intervals of the accuracies, which do not, would be wide."""
    results = [
        {**run(row, seed, test), "car_iou": car}
        for row, car, *tests in (("linear", 0.2, 0.1, 0.3), ("teacher", 0.6, 0.8, 0.7), ("physical_kd", 0.3, 0.9, 0.2))
        for seed, test in enumerate(tests)
    ]
    assert judged(Goal("camvid", "gap closed", 50, "car_iou"), results, "physical_kd") == ("no", "25% (25% to 25%)", 2)
    below = Goal("camvid", "below teacher", 50, "car_iou")
    assert judged(below, results, "physical_kd") == ("yes", "30.00 +- 0.00 points", 2)
    without = [*results[:4], run("physical_kd", 0, 0.9)]
    assert judged(below, without, "physical_kd")[0] == "not known"


@pytest.fixture
def orl(tmp_path):
    """A folder with one record."""
    shutil.copy(RESULTS / "orl_faces.jsonl", tmp_path)
    return tmp_path / "orl_faces.jsonl"


def called(folder):
    return CliRunner().invoke(app, ["overview", str(folder)], env={"COLUMNS": "200"})


def test_the_command_writes_the_page_beside_the_records(orl):
    lines = orl.read_text().splitlines()
    orl.write_text("\n".join(reversed(lines)) + "\n")  # rows stand in the order of the table, not of the record
    result = called(orl.parent)
    assert result.exit_code == 0 and "at least 95 %" in result.stdout and "papers.md" in result.stdout
    page = (orl.parent / "papers.md").read_text()
    assert "[orl_faces](orl_faces.md)" in page and "camvid" not in page
    assert "| 5 of 5 | orl_faces | physical_kd |" in page
    assert page.index("| teacher |") < page.index("| linear |") < page.index("| readout_full |")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda text: "", "must hold records of tables, got none"),
        (lambda text: text.replace('"settings": "', '"settings": "0'), "must hold runs with the settings of .* alone"),
        (lambda text: text + text.splitlines()[0], r"orl_faces.jsonl:76 must be another run .*, got teacher-0"),
        (lambda text: text.replace("test_accuracy", "test_acuracy"), "orl_faces.jsonl:1 must be a run of this table"),
        (lambda text: text.replace("validation_acc", "valid_acc"), "orl_faces.jsonl:1 must be a run of this table"),
        (lambda text: text[:-20], "orl_faces.jsonl:75 must be a run of this table"),
    ],
)
def test_a_record_that_is_none_is_named_and_no_page_is_written(orl, damage, told):
    orl.write_text(damage(orl.read_text()))
    result = called(orl.parent)
    assert result.exit_code == 2 and re.search(told, result.stderr), result.stderr
    assert result.stderr.count("\n") == 1 and list(orl.parent.iterdir()) == [orl]


def test_bytes_that_are_no_text_are_named(orl):
    orl.write_bytes(b"\xff\xfe" + orl.read_bytes())
    result = called(orl.parent)
    assert result.exit_code == 2 and re.search("orl_faces.jsonl must be a record of runs, got no text", result.stderr)


def test_a_folder_that_is_none_is_refused(orl):
    for folder in (orl, orl.parent / "nowhere"):
        result = called(folder)
        assert result.exit_code == 2 and "must be a folder with records of tables" in result.stderr
