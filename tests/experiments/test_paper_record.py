"""Pages of tables are made of settings and results alone: those that are committed are what the command writes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.__main__ import app
from experiments.paper import CLASSIFICATION, FUNCTION, coverage, made_with, other_teachers, table_text
from experiments.paper_segmentation import SEGMENTATION, segments
from experiments.paper_settings import CONFIGURATIONS, fingerprint, load_paper

RECORDS = CONFIGURATIONS.parent / "results"
SETS = sorted(path.stem.removeprefix("paper_") for path in CONFIGURATIONS.glob("paper_*.toml"))


def agrees(name: str, folder: Path) -> None:
    """Whether the page in the folder is what the results beside it and the settings make."""
    configuration = load_paper(CONFIGURATIONS / f"paper_{name}.toml")
    lines = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
    again = f"Make it again: python -m experiments paper {name} --record {folder.name}"
    assert all("settings" in line for line in lines), again
    if {line["settings"] for line in lines} != {fingerprint(configuration.text)}:
        pytest.skip(f"{name} is a table of other settings than the file has now")
    table = SEGMENTATION if segments(configuration) else CLASSIFICATION
    page = (folder / f"{name}.md").read_text()
    assert page.partition("## Made with")[0] == table_text(configuration, lines, table), again


@pytest.mark.parametrize("name", [name for name in SETS if (RECORDS / f"{name}.jsonl").is_file()])
def test_the_committed_pages_are_what_the_command_writes(name):
    agrees(name, RECORDS)


def line(row: str, seed: int, **more) -> dict:
    found = {"dataset": "digits", "row": row, "seed": seed, "test_accuracy": 0.9 + seed / 100, "digital_macs": 2}
    found |= {"images": {"train": 3, "validation": 2, "test": 1}, "parameters": 4, "readout_parameters": 1}
    return {**found, "commit": f"c{seed}", **more}


def finished(folder: Path, results: list[dict], mark: str | None = None) -> Path:
    """A folder as the command leaves it."""
    mark = fingerprint((CONFIGURATIONS / "paper_digits.toml").read_text()) if mark is None else mark
    folder.mkdir()
    lines = ({"function": FUNCTION, "arguments": {"settings": mark}, "result": result} for result in results)
    (folder / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return folder


def command(*arguments: object) -> tuple[int, str]:
    printed = CliRunner().invoke(app, ["paper", "digits", *map(str, arguments)], env={"COLUMNS": "200"})
    return printed.exit_code, " ".join(printed.output.split())


@pytest.fixture
def untrained(monkeypatch):
    def never(*_, **__):
        raise AssertionError("a record trains nothing")

    monkeypatch.setattr("experiments.paper.sweep", never)


def test_a_record_is_the_table_of_the_runs_that_are_there(tmp_path, untrained):
    light = {"electrons_per_image": 1e6, "light_in_window": 0.96, "light_on_camera": 0.02, "exposures": 4}
    results = [line("physical_kd", 0, **light), line("physical", 1, **light), line("teacher", 0), line("teacher", 1)]
    one = finished(tmp_path / "one", results)
    code, said = command("--out", one, "--record", tmp_path / "record")
    assert code == 0, said
    agrees("digits", tmp_path / "record")
    page = (tmp_path / "record" / "digits.md").read_text()
    assert "| 96% | 2% | 1e+06 electrons |" in page and "| light in the window | light on the camera |" in page
    lines = [json.loads(text) for text in (tmp_path / "record" / "digits.jsonl").read_text().splitlines()]
    order = [("teacher", 0, "c0"), ("teacher", 1, "c1"), ("physical", 1, "c1"), ("physical_kd", 0, "c0")]
    assert [(r["row"], r["seed"], r["commit"]) for r in lines] == order, "each with the commit of its own"
    assert {r["config"] for r in lines} == {"paper_digits.toml"}
    assert [path.name for path in one.iterdir()] == ["results.jsonl"], "the runs stay as they are"


def test_runs_of_several_folders_stand_in_one_table(tmp_path, untrained):
    one = finished(tmp_path / "one", [line("teacher", 0, commit="first")])
    other = finished(tmp_path / "other", [line("teacher", 0, commit="second"), line("teacher", 1)])
    finished(tmp_path / "former", [line("teacher", 2)], mark="000000000000")
    also = ("--also", other, "--also", tmp_path / "former", "--also", tmp_path / "nowhere")
    assert command("--out", one, *also, "--record", tmp_path / "record")[0] == 0
    lines = [json.loads(text) for text in (tmp_path / "record" / "digits.jsonl").read_text().splitlines()]
    assert [r["commit"] for r in lines] == ["first", "c1"], "a run in two folders is the first one's"


def test_a_record_goes_on_when_the_folder_of_its_runs_is_gone(tmp_path, untrained):
    """Rows of other settings do not come along, and a run that was made again is the new one."""
    record = tmp_path / "record"
    gone = finished(tmp_path / "gone", [line("teacher", 0, commit="old"), line("linear", 1, commit="old")])
    assert command("--out", gone, "--record", record)[0] == 0
    former = json.dumps(line("sclc", 0, settings="000000000000"))
    (record / "digits.jsonl").write_text((record / "digits.jsonl").read_text() + former + "\n")
    new = finished(tmp_path / "new", [line("teacher", 0, commit="new")])
    assert command("--out", new, "--also", record, "--record", record)[0] == 0
    lines = [json.loads(text) for text in (record / "digits.jsonl").read_text().splitlines()]
    assert [(r["row"], r["commit"]) for r in lines] == [("teacher", "new"), ("linear", "old")]
    agrees("digits", record)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--record", "record"), "must hold finished runs of"),
        (("--record", "record", "--seed", "0"), "--record must stand without"),
        (("--also", "other"), "--also must stand beside --record"),
    ],
)
def test_what_makes_no_record_is_one_line(arguments, word, tmp_path, untrained, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = command("--out", "out", *arguments)
    assert code == 2 and word in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_the_page_says_which_rows_and_seeds_are_missing():
    configuration = load_paper(CONFIGURATIONS / "paper_digits.toml")
    seeds = configuration.settings.models.seeds
    assert len(seeds) == 5
    whole = [line(row, seed) for row in CLASSIFICATION.rows for seed in seeds]
    said = coverage(configuration, whole, CLASSIFICATION)
    assert said == "The configuration asks for 5 seeds: every row that is here has them. No row is missing."
    short = [r for r in whole if r["row"] != "twin" and not (r["row"] == "sclc" and r["seed"] > 1)]
    said = coverage(configuration, [*short, line("sclc", 77)], CLASSIFICATION)
    assert said == "The configuration asks for 5 seeds: fewer have sclc (2). Rows that are missing: twin."
    assert said in table_text(configuration, short, CLASSIFICATION)


def test_the_page_says_which_rows_another_teacher_taught():
    teachers = [line("teacher", 0, weights="aa"), line("teacher", 1, weights="bb"), line("teacher", 2)]
    own = [line("sclc_kd", 0, taught_by="aa"), line("linear_kd", 1, taught_by="bb"), line("physical_kd", 0)]
    assert other_teachers([*teachers, *own]) == "", "a row of before the digests tells nothing"
    others = [
        line("sclc_kd", 2, taught_by="cc"),
        line("sclc_kd", 1, taught_by="aa"),
        line("linear_kd", 3, taught_by="d"),
    ]
    said = other_teachers([*teachers, *own, *others])
    assert said.endswith(": sclc_kd (1, 2), linear_kd (3).") and "another training of the teacher" in said
    assert said in table_text(
        load_paper(CONFIGURATIONS / "paper_digits.toml"), [*teachers, *own, *others], CLASSIFICATION
    )


def test_the_commits_of_the_rows_stand_apart_from_that_of_the_page(monkeypatch):
    told = ("commit", "optics4f", "torch", "python", "created_utc")
    monkeypatch.setattr("experiments.paper.provenance", lambda: dict.fromkeys(told, "today"))
    results = [line("linear", 0, commit="b"), line("sclc", 0, commits=["a", "b", "a"], commit="a")]
    old = line("twin", 0)
    del old["commit"]
    ran, wrote = made_with([*results, old]).split("This page was written with:")
    assert ran.split("\n\n")[-2].splitlines() == ["- b: 2", "- a: 1", "- unknown: 1"]
    assert "- commit: today" in wrote and "today" not in ran
