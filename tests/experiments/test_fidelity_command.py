"""A small fidelity study from end to end: trained here or from checkpoints, taken up again, refused in time."""

import json
import math
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from typer.testing import CliRunner

from experiments import fidelity_command
from experiments.__main__ import app
from experiments.fidelity_command import StudyFailed, run_fidelity, study_lines
from experiments.fidelity_effects import direction
from experiments.fidelity_runs import (
    base_student,
    check_checkpoints,
    evaluate_student,
    images_of,
    on_bench,
    student_file,
    train_student,
)
from experiments.fidelity_settings import load_fidelity
from experiments.paper_rows import PAPER_ROWS
from experiments.sweep import Here, Outcome
from kd.data.images import DataSplits, LabelledImages
from kd.training import evaluate
from optics4f.config import ConfigError

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"

EFFECTS = """
[effects.slm_bits]
nominal = 8
strengths = [8, 1]
retrained = [1]
source = "made up"

[effects.fill_factor]
nominal = 0.9
strengths = [0.9, 0.8]
retrained = []
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
ANGLES = " ".join(f"{math.degrees(direction('slm_shift', seed)):.0f} deg" for seed in (0, 1))
STUDENTS = "[teacher]\nepochs = 1\n[student]\nepochs = 1\n"
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
    # A seed: ideal, control, all, all trained with all, three left out (turning is not among all), eight strengths
    # alone, one trained with it.
    assert len(places) == 2 * (4 + 3 + 8 + 1)
    kept = [json.loads(line) for line in (out / "fidelity.jsonl").read_text().splitlines()]
    assert [line["key"] for line in kept] == [line["key"] for line in ledger.lines]
    page = (out / "fidelity.md").read_text()
    assert "these effects matter most" in page
    assert "slm_rotation is not among them" in page
    assert "evaluated with it, against a control that went on as long without any; for slm_bits at 1 bit." in page
    assert f"| slm_shift | SLM beside the axis | static | {ANGLES} |" in page
    for name in ("curves", "heatmap"):
        assert (out / f"fidelity_{name}.png").read_bytes().startswith(b"\x89PNG")


def test_each_line_is_a_run_with_the_effects_that_its_place_names(small):
    full = {"slm_bits": 8.0, "fill_factor": 0.9, "slm_shift": pytest.approx(20e-6)}
    seen = set()
    for line in study_lines(load_fidelity(small), Path("out")):
        effects = line.run.arguments["effects"]
        wanted = {
            "ideal": {},
            "all": full,
            "all but one": {name: strength for name, strength in full.items() if name != line.effect},
            "alone": {line.effect: line.strength},
        }[line.part]
        assert effects == wanted, (line.part, line.effect)
        assert line.run.arguments["seed"] == line.seed
        assert line.run.function.endswith("evaluate_student" if line.masks == "base" else "train_student")
        seen.add((line.part, line.effect, line.masks))
    assert {effect for part, effect, _ in seen if part == "all but one"} == set(full)
    assert {masks for part, _, masks in seen if part == "all"} == {"base", "with all"}


def test_images_that_the_bench_does_not_show_are_refused(small, tmp_path):
    (tmp_path / "wide.toml").write_text(small.read_text().replace("shape = [16, 16]", "shape = [16, 18]", 1))
    with pytest.raises(ValueError, match=r"object.shape must be \[16, 16\] for images of digits.*got \[16, 18\]"):
        images_of(load_fidelity(tmp_path / "wide.toml"))


def test_a_student_is_evaluated_with_the_direction_of_its_own_seed(small, done):
    out, ledger = done
    study = load_fidelity(small)
    data, folder, effects = images_of(study), out / f"students-{study.mark}", {"slm_shift": 200e-6}
    losses = {}
    for seed in (0, 1):  # of the direction, on the student of seed 1
        student = on_bench(base_student(study, data, folder, 1), study, effects, seed)
        losses[seed] = evaluate(student, data.test, batch_size=study.study.batch, seed=0).loss
    (line,) = (
        line for line in ledger.lines if (line["effect"], line["strength"], line["seed"]) == ("slm_shift", 200e-6, 1)
    )
    assert losses[0] != losses[1]
    assert line["loss"] == losses[1]


@pytest.mark.parametrize("start", ["student", "scratch"])
def test_masks_go_on_from_the_student_or_begin_anew(small, done, tmp_path, start):
    out, ledger = done
    # No step moves anything: what is trained is what it started from.
    still = f'[retraining]\nstart = "{start}"\nepochs = 1\nbatch_size = 64\nlearning_rate = 1e-30\n'
    text = small.read_text()
    (tmp_path / "still.toml").write_text(text.replace(f"[retraining]\n{SCHEDULE}", still))
    study = load_fidelity(tmp_path / "still.toml")
    folder, ideal = tmp_path / "students", out / f"students-{load_fidelity(small).mark}" / "ideal-1.safetensors"
    folder.mkdir()
    (folder / ideal.name).write_bytes(ideal.read_bytes())
    found = train_student(str(study.path), study.mark, folder=str(folder), seed=1, effects={})
    kept, begun = load_file(student_file(folder, 1, {})), load_file(ideal)
    trained = [name for name in begun if "running" not in name and "num_batches" not in name]  # statistics move
    assert any("slm" in name for name in trained)
    assert all(torch.equal(kept[name], begun[name]) for name in trained) == (start == "student")
    assert found["start"] == start


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
        trained = student_file(students, seed, {"slm_bits": 1.0})
        (tmp_path / f"physical-{seed}.safetensors").write_bytes(trained.read_bytes())
    text = small.read_text().replace('row = "physical"', f'row = "physical"\ncheckpoints = "{tmp_path}"')
    (tmp_path / "given.toml").write_text(text)
    given = load_fidelity(tmp_path / "given.toml")
    assert not fidelity_command.beginnings(given, tmp_path)
    assert fidelity_command.beginnings(load_fidelity(small), tmp_path)
    found = evaluate_student(
        str(given.path), given.mark, folder=str(tmp_path / "none"), seed=1, effects={"slm_bits": 1.0}
    )
    (line,) = (line for line in ledger.lines if line["masks"] == "with the effect" and line["seed"] == 1)
    assert (line["effect"], line["strength"]) == ("slm_bits", 1.0)
    assert (found["accuracy"], found["loss"]) == (line["accuracy"], line["loss"])  # trained with it, and read with it


def of_a_paper(text, ideal, folder):
    """The study with its bench, data and models in a file for ``paper``, and the schedule ``[ideal]``."""
    (folder / "paper.toml").write_text(text[text.index("[bench]") : text.index("[images]")] + STUDENTS)
    text = text.replace("[retraining]", f"{ideal}[retraining]")
    for start, end in (("[bench]", "[images]"), ("[student]", "[ideal]")):
        text = text[: text.index(start)] + text[text.index(end) :]
    return 'paper = "paper.toml"\n' + text


def test_masks_of_a_paper_are_trained_on_the_ideal_bench_on_their_own_schedule(small, tmp_path):
    text = small.read_text().replace('row = "physical"', f'row = "physical"\ncheckpoints = "{tmp_path}"')
    (tmp_path / "given.toml").write_text(of_a_paper(text, "[ideal]\nepochs = 2\nbatch_size = 64\n", tmp_path))
    study = load_fidelity(tmp_path / "given.toml")
    check_checkpoints(study)  # of a row that nobody teaches none is needed
    (first, _) = fidelity_command.beginnings(study, tmp_path)
    found = train_student(**first.arguments)
    assert (found["epochs"], found["start"]) == (2, "scratch")
    again = evaluate_student(**first.arguments | {"effects": {}})
    assert (again["loss"], again["images"]) == (found["loss"], 100)
    student = base_student(study, images_of(study), first.arguments["folder"], 0)
    assert student.front_end.bench.slm.active == () and student.front_end.bench.camera.sensor is None


@pytest.mark.parametrize(
    ("row", "more", "missing"),
    [
        ("physical", "", "physical-0"),
        ("physical_kd", "", "teacher-0"),  # who teaches the masks that are trained on
        ("physical_kd", "[ideal]\nepochs = 1\n", "teacher-0"),
    ],
)
def test_an_absent_checkpoint_is_named_before_anything_is_run(small, tmp_path, monkeypatch, row, more, missing):
    monkeypatch.chdir(tmp_path)
    for seed in (0, 1):
        (tmp_path / "ck").mkdir(exist_ok=True)
        if row == "physical_kd" and not more:
            (tmp_path / "ck" / f"physical_kd-{seed}.safetensors").touch()
    text = small.read_text().replace('row = "physical"', f'row = "{row}"\ncheckpoints = "ck"')
    (tmp_path / "given.toml").write_text(of_a_paper(text, more, tmp_path) if more else text)
    result = CliRunner().invoke(app, ["fidelity", "given.toml", "--out", "out"])
    assert result.exit_code == 2
    assert f"checkpoints must hold {missing}.safetensors, got none in ck" in result.output
    assert not Path("out").exists()


def test_absent_images_are_told_of_once_before_anything_is_run(small, tmp_path, monkeypatch):
    monkeypatch.setenv("OPTICS4F_DATA", str(tmp_path))
    (tmp_path / "given.toml").write_text(
        small.read_text().replace('name = "digits"\noptions = { size = 16, split_seed = 2022 }', 'name = "mnist"')
    )
    result = CliRunner().invoke(app, ["fidelity", str(tmp_path / "given.toml"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.output.count("MNIST must be in") == 1
    assert not (tmp_path / "out").exists()


def test_a_study_whose_runs_all_fail_says_why(small, tmp_path, monkeypatch):
    class Failing:
        name = "a bad place"

        def outcomes(self, runs):
            return (Outcome(run.key, error="OSError: no space left") for run in runs)

    monkeypatch.setattr(fidelity_command, "LocalPool", lambda workers: Failing())
    with pytest.raises(StudyFailed, match="2 runs failed, 2 of them with: OSError: no space left"):
        run_fidelity(load_fidelity(small), tmp_path, Console(quiet=True))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("nominal = 8", "nominal = 7", "slm_bits.nominal must be among its strengths, got 7"),
        ("[effects.slm_bits]", "[effects.fog]", "effects must be of slm_bits, .* got fog"),
        ("strengths = [8, 1]", "strengths = [8, 1, 1.5]", "slm_bits.strengths must be whole numbers"),
        ('"20 um", "200 um"', '"20 um", "200 s"', "convertible to m"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "seeds must differ"),
        ("seeds = [0, 1]", "seeds = [1, 3]", "seeds must be even and odd, .* the sign of slm_shift alternates"),
        ("[student]", "[ideal]\nepochs = 1\n[student]", "ideal must be left out beside student"),
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
        assert len(list(study_lines(configuration, Path("out")))) > 80
        assert all(table.source for table in configuration.study.effects.values())
        fidelity_command.check_strengths(configuration)


def test_a_student_of_colours_stands_on_the_bench_with_its_channels_side_by_side():
    study = load_fidelity(CONFIGS / "fidelity_cifar10.toml")
    generator = torch.Generator().manual_seed(0)
    images = LabelledImages(torch.rand(2, 3, 32, 32, generator=generator), torch.tensor([0, 1]))
    data = DataSplits("colours", tuple("abcdefghij"), images, images, images)
    student = PAPER_ROWS["physical"].build(study.student, data, 0)
    front = on_bench(student, study, {"slm_bits": 8, "defocus": 1e-3}, 0).front_end
    beside = torch.cat(images.images.unbind(1), -1)[:, None]
    wanted = front.bench.camera.integrated(front.route(beside))
    assert front.expected(images.images).shape == (2, 16, 15, 15)
    torch.testing.assert_close(front.expected(images.images), wanted, rtol=1e-4, atol=1e-5 * wanted.max().item())
