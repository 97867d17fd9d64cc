"""A last stage of training on square pixels: what runs when, what is taken from another table, and who is told."""

from pathlib import Path

import pytest
import torch

from experiments import paper_run
from experiments.paper import CLASSIFICATION, table_text
from experiments.paper_finish import FIRST, finish_words, first_stage, take_students
from experiments.paper_pixels import envelope_left_out
from experiments.paper_rows import PAPER_ROWS
from experiments.paper_run import CLASSES, run_row
from experiments.paper_settings import CONFIGURATIONS, PaperSettings, load_paper
from kd.checkpoints import checkpoint_facts, load_checkpoint, save_checkpoint
from kd.data.catalogue import load
from kd.digest import digest
from kd.training import fit
from optics4f.config import ConfigError

TEXT = (CONFIGURATIONS / "paper_digits.toml").read_text().replace("masks = 4", "masks = 2")
for _epochs in ("epochs = 15", "epochs = 30"):
    TEXT = TEXT.replace(_epochs, "epochs = 1\nbatch_size = 256")
FINISH = TEXT.replace("masks = 2", "masks = 2\nsamples_per_pixel = 2") + (
    "\n[finish]\nepochs = 1\nbatch_size = 256\nlearning_rate = 1e-3\n"
)


@pytest.fixture
def coarse(tmp_path) -> Path:
    path = tmp_path / "coarse.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def finished(tmp_path) -> Path:
    path = tmp_path / "finished.toml"
    path.write_text(FINISH)
    return path


@pytest.fixture
def fits(monkeypatch) -> list:
    """What is trained: samples a pixel, or ``None`` of a digital network; and the learning rate."""
    seen = []

    def spy(model, data, schedule, **options):
        front = getattr(model, "front_end", None)
        slm = front.bench.slm if hasattr(front, "bench") else None
        seen.append((None if slm is None else slm.samples_per_pixel, schedule.learning_rate))
        return fit(model, data, schedule, **options)

    monkeypatch.setattr(paper_run, "fit", spy)
    return seen


def test_the_first_stage_is_the_table_without_the_last(coarse, finished):
    assert first_stage(load_paper(finished).settings) == load_paper(coarse).settings
    assert first_stage(load_paper(coarse).settings) is None


@pytest.mark.parametrize("name", ["cifar10", "cats_dogs"])
def test_the_tables_of_square_pixels_differ_from_those_of_points_in_nothing_else(name):
    points, squares = (load_paper(CONFIGURATIONS / f"paper_{name}_{kind}.toml").settings for kind in ("fine", "pixels"))
    assert first_stage(squares) == points
    assert envelope_left_out(points.bench)[1] and not envelope_left_out(squares.bench)[1]


def test_a_physical_row_is_trained_twice_and_a_digital_one_once(finished, tmp_path, fits):
    settings = load_paper(finished).settings
    result = run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path))
    rates = settings.student.learning_rate, settings.finish.learning_rate
    assert fits == [(1, rates[0]), (2, rates[1])]
    before, after = (checkpoint_facts(tmp_path / f"physical-0{end}.safetensors") for end in (FIRST, ""))
    assert result["first_stage"] == {key: before["metrics"][key] for key in ("validation_accuracy", "epoch")}
    # The time of both is that of the row.
    assert result["training_seconds"] == after["metrics"]["training_seconds"] > before["metrics"]["training_seconds"]
    assert result["duration_seconds"] > result["training_seconds"]
    run_row(CLASSES, str(finished), "readout_only", 0, folder=str(tmp_path))
    assert fits[2:] == [(None, rates[0])]
    assert "finer_pixels" not in result, "it was read on the bench it was trained for"


def test_the_last_stage_goes_on_from_the_weights_of_the_first(finished, tmp_path, monkeypatch):
    seen = []

    def spy(model, data, schedule, **options):
        seen.append(digest(model.state_dict()))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01)
        seen.append(digest(model.state_dict()))
        return [{"restored": True, "epoch": 1, "validation_accuracy": 0.5, "seconds": 1.0}]

    monkeypatch.setattr(paper_run, "fit", spy)
    result = run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path))
    assert seen[2] == seen[1] and len(set(seen)) == 3
    assert result["training_seconds"] == 2.0


def test_a_row_killed_between_the_stages_goes_on_with_the_last(finished, tmp_path, fits, monkeypatch):
    whole = run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path / "whole"))
    kept, stages = paper_run.save_checkpoint, []

    def killed(path, *args, **options):
        if not path.stem.endswith(FIRST):
            raise KeyboardInterrupt
        kept(path, *args, **options)
        stages.append(path)

    monkeypatch.setattr(paper_run, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path / "killed"))
    monkeypatch.setattr(paper_run, "save_checkpoint", kept)
    del fits[:]
    again = run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path / "killed"))
    assert [samples for samples, _ in fits] == [2] and len(stages) == 1
    same = ("test_accuracy", "validation_accuracy", "first_stage", "commits", "epoch")
    assert {key: again[key] for key in same} == {key: whole[key] for key in same}
    del fits[:]
    third = run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path / "killed"))
    assert not fits and {key: third[key] for key in same} == {key: whole[key] for key in same}


# --- students of another table ---


class Tables:
    """Checkpoints of a table of points, and what a table of squares takes of them."""

    def __init__(self, coarse: Path, finished: Path, folder: Path) -> None:
        self.points, self.squares = (load_paper(path).settings for path in (coarse, finished))
        self.data = load("digits", **self.points.data.options)
        self.folder, self.there = folder / "here", folder / "there"
        self.seen = paper_run.data_digest(self.data)

    def build(self, row: str, seed: int, settings: PaperSettings | None = None) -> torch.nn.Module:
        return PAPER_ROWS[row].build(settings or self.points, self.data, seed)

    def keep(self, row: str, seed: int = 0, *, here: bool = False, **metrics: object) -> Path:
        path = (self.folder if here else self.there) / f"{row}-{seed}.safetensors"
        config = metrics.pop("config", self.points.model_dump(mode="json"))
        stands = {"data": self.seen, "validation_accuracy": 0.5, "epoch": 3} | metrics
        save_checkpoint(path, self.build(row, seed), config=config, seed=seed, metrics=stands)
        return path

    def take(self, *rows: str, seeds=(0,)) -> list[tuple[str, int]]:
        wanted = {row: PAPER_ROWS[row].taught for row in rows}
        options = {"rows": wanted, "seeds": seeds, "places": [self.there], "folder": self.folder}
        return take_students(self.squares, self.data, self.build, **options)


@pytest.fixture
def tables(coarse, finished, tmp_path) -> Tables:
    return Tables(coarse, finished, tmp_path)


def test_of_a_physical_row_the_first_stage_is_taken_and_of_a_digital_one_the_whole(tables, finished, fits):
    physical, digital = tables.keep("physical"), tables.keep("readout_only")
    assert tables.take("physical", "readout_only", "linear") == [("physical", 0), ("readout_only", 0)]
    assert (tables.folder / f"physical-0{FIRST}.safetensors").read_bytes() == physical.read_bytes()
    assert (tables.folder / "readout_only-0.safetensors").read_bytes() == digital.read_bytes()
    assert tables.take("physical", "readout_only") == [], "nothing is written over"
    result = run_row(CLASSES, str(finished), "physical", 0, folder=str(tables.folder))
    assert [samples for samples, _ in fits] == [2] and result["first_stage"]["epoch"] == 3
    result = run_row(CLASSES, str(finished), "readout_only", 0, folder=str(tables.folder))
    assert len(fits) == 1 and result["trained_for_another_table"]


def test_a_taught_row_is_taken_where_its_teacher_is_that_of_the_table(tables):
    teacher = tables.build("teacher", 0)
    tables.keep("physical_kd", data=None, taught_by=digest(teacher.state_dict()))
    with pytest.raises(ValueError, match="Take or train its teachers first"):
        tables.take("physical_kd")
    with torch.no_grad():
        next(teacher.parameters()).add_(1)
    save_checkpoint(tables.folder / "teacher-0.safetensors", teacher, config={}, seed=0, metrics={})
    with pytest.raises(ValueError, match="taught by its teachers, got none"):
        tables.take("physical_kd")
    tables.keep("teacher", here=True)
    assert tables.take("physical_kd") == [("physical_kd", 0)]


def test_what_another_table_trained_otherwise_is_left_alone(tables):
    other = tables.points.model_dump(mode="json")
    longer = {**other, "student": other["student"] | {"epochs": 2}}
    wider = {**other, "models": other["models"] | {"pool": 3}}
    more = {**other, "models": other["models"] | {"seeds": [5, 6]}}
    for changed in ({"config": longer}, {"config": wider}, {"data": "another set"}, {"data": None}, {"config": {}}):
        tables.keep("physical", **changed)
        with pytest.raises(ValueError, match="must hold students with the settings of this table"):
            tables.take("physical")
    squares = tables.squares.model_dump(mode="json")
    tables.keep("physical", config=squares)  # a finished one is no first stage
    with pytest.raises(ValueError, match="got none"):
        tables.take("physical")
    tables.keep("readout_only", config=squares)
    tables.keep("physical", config=more)
    assert tables.take("physical", "readout_only") == [("physical", 0), ("readout_only", 0)]
    half = tables.there / "physical-1.safetensors"
    half.write_bytes((tables.there / "physical-0.safetensors").read_bytes()[:200])
    with pytest.raises(ValueError, match="got none"):
        tables.take("physical", seeds=(1,))
    tables.keep("physical").replace(half)  # of seed 0 by its own account
    with pytest.raises(ValueError, match="got none"):
        tables.take("physical", seeds=(1,))
    assert not list(tables.folder.glob("physical-1*"))


# --- who is told ---


def test_a_last_stage_wants_pixels_of_several_samples(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(FINISH.replace("samples_per_pixel = 2", ""))
    with pytest.raises(ConfigError, match=r"finish must be left out where bench\.slm\.samples_per_pixel is 1"):
        load_paper(path)


def test_the_page_tells_both_stages(finished):
    configuration = load_paper(finished)
    words = finish_words(configuration.settings)
    assert "trained for 1 epoch with one sample a pixel of the SLM, then for 1 epoch with 2 along each side" in words
    assert words in table_text(configuration, [], CLASSIFICATION)
    assert finish_words(load_paper(CONFIGURATIONS / "paper_mnist.toml").settings) == ""


def test_the_student_that_is_kept_is_the_last_stage(finished, tmp_path):
    run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path))
    settings = load_paper(finished).settings
    model = PAPER_ROWS["physical"].build(settings, load("digits", **settings.data.options), 0)
    facts = load_checkpoint(tmp_path / "physical-0.safetensors", model)
    assert PaperSettings.model_validate(facts["config"]) == settings
