"""A small fidelity study from end to end: trained here or from checkpoints, taken up again, refused in time."""

import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from experiments import fidelity_command
from experiments.__main__ import app
from experiments.fidelity_command import run_fidelity, study_lines
from experiments.fidelity_runs import evaluate_student, student_file
from experiments.fidelity_settings import load_fidelity
from experiments.sweep import Here
from optics4f.config import ConfigError

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"

EFFECTS = """
[effects.slm_bits]
nominal = 8
strengths = [8, 1]
source = "made up"

[effects.slm_shift]
nominal = "20 um"
strengths = ["20 um", "200 um"]
retrained = []
source = "made up"

[effects.slm_rotation]
nominal = "1 deg"
strengths = ["1 deg", "2 deg"]
retrained = []
source = "made up"
together = false
"""
SCHEDULE = "epochs = 1\nbatch_size = 64\nlearning_rate = 1e-2\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The demo's file with little of everything."""
    text = (CONFIGS / "fidelity_demo.toml").read_text()
    head = (
        text[: text.index("[student]")]
        .replace("seeds = [0, 1, 2, 3]", "seeds = [0, 1]")
        .replace("masks = 4", "masks = 2")
    )
    images = "[images]\ntrain = 128\nvalidation = 64\ntest = 100\n"
    text = f"{head}{images}[student]\n{SCHEDULE}[retraining]\n{SCHEDULE}{EFFECTS}"
    path = tmp_path_factory.mktemp("fidelity") / "small.toml"
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def done(small, tmp_path_factory):
    """The folder of a finished study."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fidelity_command, "LocalPool", lambda workers: Here())
        return out, run_fidelity(load_fidelity(small), out, Console(quiet=True))


def test_a_study_has_every_line_once(small, done):
    out, ledger = done
    places = [(line["part"], line["effect"], line["strength"], line["masks"], line["seed"]) for line in ledger.lines]
    assert len(set(places)) == len(places)
    # A seed: ideal, control, all, all trained with all, two left out (turning is not among all), six strengths alone,
    # one trained with it.
    assert len(places) == 2 * (4 + 2 + 6 + 1)
    kept = [json.loads(line) for line in (out / "fidelity.jsonl").read_text().splitlines()]
    assert [line["key"] for line in kept] == [line["key"] for line in ledger.lines]
    page = (out / "fidelity.md").read_text()
    assert "these effects matter most" in page
    assert "slm_rotation is not among them" in page
    for name in ("curves", "heatmap"):
        assert (out / f"fidelity_{name}.png").read_bytes().startswith(b"\x89PNG")


def test_a_study_that_is_done_does_nothing(small, done, monkeypatch):
    out, first = done

    class Nowhere:
        name = "nowhere"

        def outcomes(self, runs):
            raise AssertionError(f"{len(runs)} runs are done again")

    monkeypatch.setattr(fidelity_command, "LocalPool", lambda workers: Nowhere())
    before = (out / "results.jsonl").read_bytes()
    assert run_fidelity(load_fidelity(small), out, Console(quiet=True)).lines == first.lines
    assert (out / "results.jsonl").read_bytes() == before


def test_checkpoints_are_evaluated_as_they_are(small, done, tmp_path):
    out, ledger = done
    configuration = load_fidelity(small)
    students = out / f"students-{configuration.mark}"
    for seed in (0, 1):  # a student trained with one bit, under the name of a paper's row
        trained = student_file(students, seed, {"slm_bits": 8.0})
        (tmp_path / f"physical-{seed}.safetensors").write_bytes(trained.read_bytes())
    text = small.read_text().replace('row = "physical"', f'row = "physical"\ncheckpoints = "{tmp_path}"')
    (tmp_path / "given.toml").write_text(text)
    given = load_fidelity(tmp_path / "given.toml")
    assert not fidelity_command.beginnings(given, tmp_path)
    found = evaluate_student(
        str(given.path), given.mark, folder=str(tmp_path / "none"), seed=1, effects={"slm_bits": 8.0}
    )
    assert found["accuracy"] == ledger.accuracies("alone", "slm_bits", 8.0, masks="with the effect")[1]


def test_an_absent_checkpoint_is_named(small, tmp_path):
    text = small.read_text().replace('row = "physical"', f'row = "physical"\ncheckpoints = "{tmp_path}"')
    (tmp_path / "given.toml").write_text(text)
    given = load_fidelity(tmp_path / "given.toml")
    with pytest.raises(ValueError, match=r"checkpoints must hold physical-0\.safetensors"):
        evaluate_student(str(given.path), given.mark, folder=str(tmp_path), seed=0, effects={})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("nominal = 8", "nominal = 7", "slm_bits.nominal must be among its strengths, got 7"),
        ("[effects.slm_bits]", "[effects.fog]", "effects must be of slm_bits, .* got fog"),
        ("strengths = [8, 1]", "strengths = [8, 1.5]", "slm_bits.strengths must be whole numbers"),
        ('"20 um", "200 um"', '"20 um", "200 s"', "convertible to m"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "seeds must differ"),
        ('row = "physical"', 'row = "teacher"', "row must be physical or physical_kd, got teacher"),
        ('row = "physical"', 'row = "physical_kd"', "checkpoints must be named for the row physical_kd"),
        ('row = "physical"', 'paper = "paper_digits.toml"', "bench must be left out beside paper"),
        ("dark_electrons = 0", "dark_electrons = 3", "bench.camera.dark_electrons must be left out"),
    ],
)
def test_a_file_that_cannot_be_studied_is_refused_in_one_line(small, tmp_path, old, new, words):
    path = tmp_path / "wrong.toml"
    text = small.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=words):
        load_fidelity(path)


def test_a_strength_that_cannot_be_sampled_is_refused_before_anything_is_trained(small, tmp_path):
    path = tmp_path / "wide.toml"
    path.write_text(small.read_text().replace('"20 um", "200 um"', '"20 um", "50 mm"'))
    result = CliRunner().invoke(app, ["fidelity", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "effects: slm_shift 50 mm: " in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_files_that_come_with_the_project_are_studies():
    for path in sorted(CONFIGS.glob("fidelity_*.toml")):
        configuration = load_fidelity(path)
        assert len(list(study_lines(configuration, Path("out")))) > 100
        assert all(table.source for table in configuration.study.effects.values())
        fidelity_command.check_strengths(configuration)
