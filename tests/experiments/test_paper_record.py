"""Pages of tables are made of settings and results alone: those that are committed are what the command writes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from experiments.__main__ import app
from experiments.paper import CLASSIFICATION, FUNCTION, table_text
from experiments.paper_made_with import coverage, made_with, other_teachers
from experiments.paper_segmentation import SEGMENTATION, segments
from experiments.paper_settings import CONFIGURATIONS, fingerprint, load_paper
from optics4f.config import ConfigError

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
    found = {
        "dataset": "digits",
        "row": row,
        "seed": seed,
        "test_accuracy": 0.9 + seed / 100,
        "validation_accuracy": 0.9,
        "digital_macs": 2,
    }
    found |= {"images": {"train": 3, "validation": 2, "test": 1}, "parameters": 4, "readout_parameters": 1}
    return {**found, "commit": f"c{seed}", **more}


def finished(folder: Path, results: list[dict], mark: str | None = None) -> Path:
    """A folder as the command leaves it."""
    mark = fingerprint((CONFIGURATIONS / "paper_digits.toml").read_text()) if mark is None else mark
    folder.mkdir()
    runs = ({"function": FUNCTION, "arguments": {"settings": mark}, "result": result} for result in results)
    lines = ({"key": str(number), **run} for number, run in enumerate(runs))
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
    also = ("--also", other, "--also", tmp_path / "former")
    assert command("--out", one, *also, "--record", tmp_path / "record")[0] == 0
    lines = [json.loads(text) for text in (tmp_path / "record" / "digits.jsonl").read_text().splitlines()]
    assert [r["commit"] for r in lines] == ["first", "c1"], "a run in two folders is the first one's"


def test_a_record_goes_on_when_the_folder_of_its_runs_is_gone(tmp_path, untrained):
    """Rows of other settings do not come along, and a run that was made again is the first folder's."""
    record = tmp_path / "record"
    gone = finished(tmp_path / "gone", [line("teacher", 0, commit="old"), line("linear", 1, commit="old")])
    assert command("--out", gone, "--record", record)[0] == 0
    former = json.dumps(line("sclc", 0, settings="000000000000"))
    new = finished(tmp_path / "new", [line("teacher", 0, commit="new"), line("twin", 0, commit="new")])
    for first, also, teacher in ((new, (), "new"), (record, ("--also", new), "old"), (new, ("--also", record), "new")):
        target = tmp_path / f"{first.name}{len(also)}"
        target.mkdir()
        kept = (record / "digits.jsonl").read_text()
        (target / "digits.jsonl").write_text(kept + former + "\n")
        assert command("--out", first, *also, "--record", target)[0] == 0
        lines = [json.loads(text) for text in (target / "digits.jsonl").read_text().splitlines()]
        assert [(r["row"], r["commit"]) for r in lines] == [("teacher", teacher), ("linear", "old"), ("twin", "new")]
        agrees("digits", target)


@pytest.mark.parametrize(
    "text", ["{", "[1]", '{"row": "foo", "seed": 0, "images": {}}', '{"row": "linear", "seed": 0}']
)
def test_what_is_no_record_is_one_line_and_stays(text, tmp_path, untrained):
    runs, record = finished(tmp_path / "runs", [line("teacher", 0)]), tmp_path / "record"
    record.mkdir()
    (record / "digits.jsonl").write_text(text + "\n")
    code, said = command("--out", runs, "--record", record)
    assert code == 2 and "digits.jsonl:1 must be a run of this table" in said and "Traceback" not in said
    assert (record / "digits.jsonl").read_text() == text + "\n" and len(list(record.iterdir())) == 1


NO_ARGUMENTS = '{"key": "a", "function": "f", "arguments": 3, "result": 3}'


@pytest.mark.parametrize("text", ['{"key": "a", "function', '{"key": "a"}', "[1]", "3", NO_ARGUMENTS])
def test_runs_that_are_none_are_one_line(text, tmp_path, untrained):
    runs = finished(tmp_path / "runs", [line("teacher", 0)])
    with (runs / "results.jsonl").open("a") as file:
        file.write(text)
    code, said = command("--out", runs, "--record", tmp_path / "record")
    assert code == 2 and "results.jsonl:2 must be a line of a sweep" in said and "Traceback" not in said
    assert not (tmp_path / "record").exists()


def test_nothing_is_written_where_the_page_cannot_be(tmp_path, untrained):
    broken = line("teacher", 0)
    del broken["test_accuracy"]
    code, _ = command("--out", finished(tmp_path / "runs", [broken]), "--record", tmp_path / "record")
    assert code != 0 and not (tmp_path / "record").exists()


def test_another_file_is_another_table_with_another_title(tmp_path, untrained):
    """Two tables of one data set: neither takes the other's runs, its folder or its page."""
    other = tmp_path / "paper_other.toml"
    other.write_text((CONFIGURATIONS / "paper_digits.toml").read_text() + "\n# another\n")
    mark, record = fingerprint(other.read_text()), tmp_path / "record"
    assert command("--out", finished(tmp_path / "runs", [line("teacher", 0)]), "--record", record)[0] == 0
    runs = finished(tmp_path / "others", [line("twin", 1, images={"train": 5})], mark)
    printed = CliRunner().invoke(app, ["paper", str(other), "--out", str(runs), "--record", str(record)])
    assert printed.exit_code == 0, printed.output
    assert (record / "other.md").read_text().startswith("# other\n") and "# digits" in (
        record / "digits.md"
    ).read_text()
    (only,) = map(json.loads, (record / "other.jsonl").read_text().splitlines())
    assert (only["row"], only["config"]) == ("twin", "paper_other.toml")


@pytest.mark.parametrize("name", ["results", "paper_timing", "paper_"])
def test_a_table_does_not_take_the_name_of_the_sweeps_own_files(name, tmp_path):
    path = tmp_path / f"{name}.toml"
    path.write_text((CONFIGURATIONS / "paper_digits.toml").read_text())
    with pytest.raises(ConfigError, match="must have a name of its own"):
        load_paper(path)


def test_the_folder_is_the_files(tmp_path, monkeypatch):
    given = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("experiments.paper.run_paper", lambda configuration, folder, *_, **__: given.append(folder))
    other = tmp_path / "paper_other.toml"
    other.write_text((CONFIGURATIONS / "paper_digits.toml").read_text())
    for name in ("digits", str(other)):
        assert CliRunner().invoke(app, ["paper", name]).exit_code == 0
    assert given == [Path("runs") / "paper_digits", Path("runs") / "paper_other"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--record", "record"), "out must hold finished runs or a record of digits, got neither"),
        (("--record", "record", "--seed", "0"), "--record must stand without"),
        (("--also", "other"), "--also must stand beside --record"),
        (("--record", "record", "--also", "other"), "must hold finished runs or a record of digits, got neither"),
        (("--record", "record", "--out", "typo"), "typo must hold finished runs or a record of digits, got neither"),
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
    said = coverage(configuration, whole, CLASSIFICATION.rows)
    assert said == "The configuration asks for 5 seeds: every row that is here has them. No row is missing."
    short = [r for r in whole if r["row"] != "twin" and not (r["row"] == "sclc" and r["seed"] > 1)]
    said = coverage(configuration, [*short, line("sclc", 77)], CLASSIFICATION.rows)
    assert said == "The configuration asks for 5 seeds: fewer have sclc (2). Rows that are missing: twin."
    assert said in table_text(configuration, short, CLASSIFICATION)


def test_the_page_says_which_rows_another_teacher_taught():
    teachers = [line("teacher", 0, weights="aa"), line("teacher", 1, weights="bb"), line("teacher", 2)]
    own = [line("sclc_kd", 0, taught_by="aa"), line("linear_kd", 1, taught_by="bb"), line("physical_kd", 0)]
    before = [line("teacher", 4), line("sclc_kd", 4), line("linear", 0)]
    assert other_teachers([*teachers, *own[:2], *before]) == "", "rows of before the digests are of one machine"
    said = other_teachers([*teachers, *own, line("sclc_kd", 2, taught_by="aa")])
    assert (
        said
        == "Not known to be taught by this teacher, for one of the two has no digest: physical_kd (0), sclc_kd (2)."
    )
    others = [line("sclc_kd", 2, taught_by="cc"), line("sclc_kd", 1, taught_by="aa")]
    teachers = [*teachers[:2], line("teacher", 2, weights="ff"), line("teacher", 3, weights="e")]
    results = [*teachers, *own[:2], *others, line("linear_kd", 3, taught_by="d")]
    said = other_teachers(results)
    assert said.startswith("Taught by another training") and said.endswith("the table: sclc_kd (1, 2), linear_kd (3).")
    assert said in table_text(load_paper(CONFIGURATIONS / "paper_digits.toml"), results, CLASSIFICATION)


def test_the_page_says_whose_duration_leaves_out_what_came_before():
    results = [
        line("teacher", 0, duration_seconds=8.9, training_seconds=1812.5),
        line("linear", 1, duration_seconds=12.0, training_seconds=11.0),
        line("linear", 2, duration_seconds=1.0),
        line("linear", 3, duration_seconds=1.0, training_seconds=None),
    ]
    assert "\n\nOf the last of several processes alone is `duration_seconds` of teacher (0).\n\n" in made_with(results)
    assert "processes alone" not in made_with(results[1:])


def test_the_commits_of_the_rows_stand_apart_from_that_of_the_page(monkeypatch):
    told = ("commit", "optics4f", "torch", "python", "created_utc")
    monkeypatch.setattr("experiments.paper_made_with.provenance", lambda: dict.fromkeys(told, "today"))
    results = [line("linear", 0, commit="b"), line("sclc", 0, commits=["a", "b", "a"], commit="a")]
    old = line("twin", 0)
    del old["commit"]
    ran, wrote = made_with([*results, old]).split("This page was written with:")
    assert ran.split("\n\n")[-2].splitlines() == ["- b: 2", "- a: 1", "- unknown: 1"]
    assert "- commit: today" in wrote and "today" not in ran
