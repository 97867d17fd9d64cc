"""A last stage of training on square pixels: what runs when, what is taken from another table, and who is told."""

from pathlib import Path

import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from experiments import paper_finish, paper_run
from experiments.__main__ import app
from experiments.fidelity_settings import load_fidelity
from experiments.paper import CLASSIFICATION, table_text
from experiments.paper_finish import FIRST, finish_words, first_stage, take_students
from experiments.paper_pixels import envelope_left_out
from experiments.paper_rows import PAPER_ROWS
from experiments.paper_run import CLASSES, run_row
from experiments.paper_segmentation import segmentation_method
from experiments.paper_settings import CONFIGURATIONS, PaperSettings, load_paper
from experiments.sweep import Here
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


def test_the_table_of_square_pixels_differs_from_that_of_points_in_nothing_else():
    points, squares = (load_paper(CONFIGURATIONS / f"paper_cifar10_{k}.toml").settings for k in ("fine", "pixels"))
    assert first_stage(squares) == points
    assert envelope_left_out(points.bench)[1] and not envelope_left_out(squares.bench)[1]


def test_a_physical_row_is_trained_twice_and_a_digital_one_once(finished, tmp_path, fits):
    settings = load_paper(finished).settings
    result = run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path))
    rates = settings.student.learning_rate, settings.finish.learning_rate
    assert fits == [(1, rates[0]), (2, rates[1])]
    before, after = (checkpoint_facts(tmp_path / f"physical-0{end}.safetensors") for end in (FIRST, ""))
    assert result["first_stage"] == {key: before["metrics"][key] for key in ("validation_accuracy", "epoch", "device")}
    # The time of both is that of the row.
    assert result["training_seconds"] == after["metrics"]["training_seconds"] > before["metrics"]["training_seconds"]
    assert result["duration_seconds"] > result["training_seconds"]
    run_row(CLASSES, str(finished), "readout_only", 0, folder=str(tmp_path))
    assert fits[2:] == [(None, rates[0])]
    assert "finer_pixels" not in result, "it was read on the bench it was trained for"


def test_both_stages_of_a_taught_row_have_the_teacher_and_one_of_another_is_refused(finished, tmp_path, monkeypatch):
    settings = load_paper(finished).settings
    data, seen = load("digits", **settings.data.options), []

    def teacher(seed: int) -> torch.nn.Module:
        model = PAPER_ROWS["teacher"].build(settings, data, seed)
        save_checkpoint(tmp_path / "teacher-0.safetensors", model, config={}, seed=0, metrics={})
        return model

    def spy(model, data, schedule, *, teacher, **options):
        seen.append(digest(teacher.state_dict()))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return [{"restored": True, "epoch": 1, "validation_accuracy": 0.5, "seconds": 1.0}]

    monkeypatch.setattr(paper_run, "fit", spy)
    wanted = digest(teacher(3).state_dict())
    with pytest.raises(KeyboardInterrupt):
        run_row(CLASSES, str(finished), "physical_kd", 0, folder=str(tmp_path))
    assert seen == [wanted, wanted]
    teacher(4)
    with pytest.raises(ValueError, match=r"physical_kd-0\.first\.safetensors must be taught by the teacher beside it"):
        run_row(CLASSES, str(finished), "physical_kd", 0, folder=str(tmp_path))


def test_commits_and_time_of_both_stages_count_once(finished, tmp_path, monkeypatch):
    commits = iter(["first", "last"])

    def spy(model, data, schedule, *, on_epoch, **options):
        on_epoch(record := {"restored": True, "epoch": 1, "validation_accuracy": 0.5, "seconds": 1000.0})
        return [record]

    monkeypatch.setattr(paper_run, "fit", spy)
    monkeypatch.setattr(paper_run, "provenance", lambda: {"commit": next(commits)})
    result = run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path))
    assert result["commits"] == ["first", "last"] and result["training_seconds"] == 2000
    assert abs(result["duration_seconds"]) < 500, "of 2000 s that nobody waited for, and which this process is told of"


def test_a_row_killed_behind_its_last_checkpoint_keeps_what_the_first_stage_told(finished, tmp_path, monkeypatch):
    whole = run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path / "whole"))
    kept = paper_run.save_checkpoint

    def killed(path, *args, **options):
        kept(path, *args, **options)
        if not path.stem.endswith(FIRST):
            raise KeyboardInterrupt  # its state is still there

    monkeypatch.setattr(paper_run, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path / "killed"))
    monkeypatch.setattr(paper_run, "save_checkpoint", kept)
    again = run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path / "killed"))
    assert again["first_stage"] == whole["first_stage"]
    weights = [(tmp_path / name / "physical-0.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0][-1000:] == weights[1][-1000:]


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


def test_a_first_stage_is_found_by_its_name_and_a_table_of_one_stage_takes_the_whole(tables, tmp_path):
    squares = tables.squares.model_dump(mode="json")
    first = tables.keep("physical", config=squares)
    first.rename(first.with_name(f"physical-0{FIRST}.safetensors"))
    assert tables.take("physical") == [("physical", 0)]
    assert (tables.folder / f"physical-0{FIRST}.safetensors").exists()
    tables.squares, tables.folder = tables.points, tmp_path / "points"
    assert tables.take("physical") == [("physical", 0)]
    assert [path.name for path in tables.folder.iterdir()] == ["physical-0.safetensors"]


def test_a_taught_row_is_taken_where_its_teacher_is_that_of_the_table(tables):
    teacher = tables.build("teacher", 0)
    tables.keep("physical_kd", data=None, taught_by=digest(teacher.state_dict()))
    with pytest.raises(ValueError, match="the same settings, images and teachers"):
        tables.take("physical_kd")
    tables.keep("physical_kd")  # which does not tell
    with pytest.raises(ValueError, match="the same settings, images and teachers"):
        tables.take("physical_kd")
    tables.keep("physical_kd", data=None, taught_by=digest(teacher.state_dict()))
    with torch.no_grad():
        next(teacher.parameters()).add_(1)
    save_checkpoint(tables.folder / "teacher-0.safetensors", teacher, config={}, seed=0, metrics={})
    with pytest.raises(ValueError, match="the same settings, images and teachers"):
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
        with pytest.raises(ValueError, match="must hold students of this table but for"):
            tables.take("physical")
    squares = tables.squares.model_dump(mode="json")
    tables.keep("physical", config=squares)  # a finished one is no first stage
    with pytest.raises(ValueError, match="got none that has the same settings"):
        tables.take("physical")
    linear = tables.build("linear", 0)
    path = tables.keep("physical")
    stands = {"data": tables.seen, "validation_accuracy": 0.5, "epoch": 3}
    save_checkpoint(path, linear, config=other, seed=0, metrics=stands)  # weights of something else
    with pytest.raises(ValueError, match="got none that has the same settings"):
        tables.take("physical")
    tables.keep("readout_only", config=squares)
    tables.keep("physical", config=more)
    assert tables.take("physical", "readout_only") == [("physical", 0), ("readout_only", 0)]
    half = tables.there / "physical-1.safetensors"
    for content in ((tables.there / "physical-0.safetensors").read_bytes()[:200], path.read_bytes()):  # of seed 0
        half.write_bytes(content)
        with pytest.raises(ValueError, match="got none that has the same settings"):
            tables.take("physical", seeds=(1,))
    assert not list(tables.folder.glob("physical-1*"))


def test_begun_rows_are_left_alone_and_other_seeds_are_not_begun(tables):
    tables.keep("physical", 1)
    tables.keep("readout_only", 0)
    tables.folder.mkdir()
    (tables.folder / "readout_only-0.state").touch()
    (tables.folder / "physical-10.state").touch()
    assert tables.take("physical", "readout_only", seeds=(0, 1)) == [("physical", 1)]


def test_where_one_folder_is_wrong_nothing_is_copied_and_a_copy_is_whole_or_none(tables, monkeypatch):
    tables.keep("physical")
    wanted = {"rows": {"physical": False}, "seeds": (0,), "folder": tables.folder}
    empty = tables.there.with_name("empty")
    empty.mkdir()
    with pytest.raises(ValueError, match=r"empty must hold students .* of physical and seed 0, got none\."):
        take_students(tables.squares, tables.data, tables.build, places=[tables.there, empty], **wanted)
    assert not tables.folder.exists()

    def half(source, target):
        Path(target).write_bytes(Path(source).read_bytes()[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(paper_finish.shutil, "copyfile", half)
    with pytest.raises(KeyboardInterrupt):
        tables.take("physical")
    assert not list(tables.folder.glob("*.safetensors"))


def test_a_table_takes_students_whose_teachers_it_has_just_trained(coarse, finished, tmp_path, fits, monkeypatch):
    def command(*arguments: str) -> Result:
        monkeypatch.setattr("experiments.paper.LocalPool", lambda workers: Here())
        return CliRunner().invoke(app, ["paper", *arguments, "--seed", "0"], env={"COLUMNS": "300"})

    rows = ["--row", "physical_kd", "--row", "readout_only"]
    points, squares = tmp_path / "points", tmp_path / "squares"
    assert command(str(coarse), "--out", str(points), *rows).exit_code == 0
    del fits[:]
    done = command(str(finished), "--out", str(squares), *rows, "--students", str(points))
    assert done.exit_code == 0, done.output
    assert "Students that were trained before: physical_kd of seed 0, readout_only of seed 0." in done.output
    assert [samples for samples, _ in fits] == [None, 2], "the teacher, which is the same again, and the last stage"
    page = " ".join((squares / "finished.md").read_text().split())
    assert "trained for another table with the same settings: physical_kd (0). " in page.replace(FIRST, "")
    assert "Trained for another table, with the settings that count for them: readout_only (0)." in page
    again = command(str(finished), "--out", str(squares), *rows, "--students", str(points))
    assert "none that is not here already" in again.output
    for wrong, told in ((["--students", str(tmp_path / "nowhere")], "nowhere must be a folder with students"),):
        refused = command(str(finished), "--out", str(tmp_path / "new"), *rows, *wrong)
        assert refused.exit_code == 2 and told in " ".join(refused.output.split())
    assert not (tmp_path / "new").exists()
    record = CliRunner().invoke(app, ["paper", str(finished), "--record", str(points), "--students", str(points)])
    assert record.exit_code == 2 and "--students" in record.output


# --- who is told ---


def test_a_last_stage_wants_pixels_of_several_samples(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(FINISH.replace("samples_per_pixel = 2", ""))
    with pytest.raises(ConfigError, match=r"finish must be left out where bench\.slm\.samples_per_pixel is 1"):
        load_paper(path)


RESULT = {"row": "physical", "seed": 0, "electrons_per_image": 1.0, "test_accuracy": 0.5, "digital_macs": 1}
RESULT |= {"images": {"train": 1, "validation": 1, "test": 1}, "readout_parameters": 1, "parameters": 2}


def test_the_page_tells_both_stages(tmp_path):
    path = tmp_path / "finished.toml"
    path.write_text(FINISH.replace("[finish]\nepochs = 1", "[finish]\nepochs = 3"))
    configuration = load_paper(path)
    words = finish_words(configuration.settings, [RESULT])
    assert "trained for 1 epoch with one sample a pixel of the SLM, then for 3 epochs with 2 along each side" in words
    left_out = envelope_left_out(configuration.settings.bench)[0]
    assert f"of which 2 samples leave out {left_out:.0%}. " in words and "another table" not in words
    assert words in table_text(configuration, [RESULT], CLASSIFICATION)
    taken = RESULT | {"first_stage": {"epoch": 1, "trained_for_another_table": True}}
    assert "trained for another table with the same settings: physical (0). " in finish_words(
        configuration.settings, [taken]
    )
    assert finish_words(configuration.settings, [{"row": "linear", "seed": 0}]) == "", "there is no physical row"
    assert finish_words(load_paper(CONFIGURATIONS / "paper_mnist.toml").settings, [RESULT]) == ""


def test_a_page_of_class_maps_tells_both_stages(tmp_path):
    text = (CONFIGURATIONS / "paper_camvid.toml").read_text().replace("masks = 16", "masks = 16\nsamples_per_pixel = 2")
    path = tmp_path / "finished.toml"
    path.write_text(text + "\n[finish]\nepochs = 2\n")
    configuration = load_paper(path)
    result = RESULT | {"test_miou": 0.5, "size": [1, 72, 96]}
    assert finish_words(configuration.settings, [result]) in segmentation_method(configuration, [result])


def test_a_fidelity_study_of_students_of_two_stages_wants_them_trained(finished, tmp_path):
    study = (CONFIGURATIONS / "fidelity_demo.toml").read_text()
    start, end = study.index("[bench]"), study.index("[effects")
    path = tmp_path / "fidelity.toml"
    path.write_text(f'paper = "{finished.name}"\n' + study[:start] + study[end:])
    with pytest.raises(
        ConfigError, match=r"checkpoints must be named for finished\.toml, whose students are trained in"
    ):
        load_fidelity(path)


def test_weights_of_classes_are_for_class_maps_in_the_last_stage_too(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text(FINISH + "class_balance = 0.5\n")
    with pytest.raises(ConfigError, match=r"finish\.class_balance must be 0 for digits"):
        load_paper(path)


def test_the_student_that_is_kept_is_the_last_stage(finished, tmp_path):
    run_row(CLASSES, str(finished), "physical", 0, folder=str(tmp_path))
    settings = load_paper(finished).settings
    model = PAPER_ROWS["physical"].build(settings, load("digits", **settings.data.options), 0)
    facts = load_checkpoint(tmp_path / "physical-0.safetensors", model)
    assert PaperSettings.model_validate(facts["config"]) == settings
