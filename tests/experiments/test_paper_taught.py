"""What a row of a paper's table is trained with, and what is kept of the processes that trained it."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import experiments.paper_run as paper_run
import kd.training
from experiments.paper_rows import PAPER_ROWS, PaperRow, readout
from experiments.paper_run import CLASSES, checkpoint, light_of, run_row
from experiments.paper_segmentation_rows import SEGMENTATION_ROWS
from experiments.paper_settings import CONFIGURATIONS, PaperConfiguration, fingerprint, load_paper
from kd.checkpoints import load_checkpoint, save_checkpoint
from kd.complexity import trainable_parameters
from kd.data.catalogue import load
from kd.data.images import DataSplits, LabelledImages
from kd.digest import digest
from kd.students import Student
from kd.training import fit


def changed(path: Path, *changes: tuple[str, str]) -> PaperConfiguration:
    """The file for digits with other text in it."""
    text = (CONFIGURATIONS / "paper_digits.toml").read_text()
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after)
    path.write_text(text)
    return load_paper(path)


@pytest.fixture
def small(tmp_path) -> PaperConfiguration:
    """Digits with two small masks and two epochs of a student."""
    return changed(
        tmp_path / "small.toml",
        ("shape = [128, 128]", "shape = [64, 72]"),
        ("masks = 4", "masks = 2"),
        ("epochs = 15", "epochs = 1"),
        ("epochs = 30", "epochs = 2\nbatch_size = 16"),
    )


def few(settings) -> DataSplits:
    """The first images of each part: as many as a measurement of linearity takes."""
    data = load(settings.data.name, **settings.data.options)
    parts = (part.subset(torch.arange(32)) for part in (data.train, data.validation, data.test))
    return DataSplits(data.name, data.classes, *parts)


FEW = replace(CLASSES, data=few)


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def epoch(seconds: float) -> dict:
    """The record of a training of one epoch that nobody did."""
    return {"epoch": 1, "validation_accuracy": 0.5, "restored": True, "seconds": seconds}


@pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")
def test_a_row_has_a_teacher_exactly_if_it_is_taught_and_that_of_the_checkpoint(small, tmp_path, monkeypatch):
    settings, data = small.settings, few(small.settings)
    # Weights of another seed: none that a row builds for itself.
    taught_by = PAPER_ROWS["teacher"].build(settings, data, 77)
    given, calls, found = weights(taught_by), {}, {}

    def spy(model, data, schedule, *, seed, label, teacher=None, objective=None, **_):
        calls[label] = (schedule, seed, objective, None if teacher is None else weights(teacher))
        with torch.no_grad():
            next(model.readout.parameters() if isinstance(model, Student) else model.parameters()).add_(1)
        worse = epoch(2.0) | {"validation_accuracy": 0.25, "restored": False}
        return [worse, epoch(1.0) | {"epoch": 2}, worse | {"epoch": 3}]

    monkeypatch.setattr(paper_run, "fit", spy)
    task = replace(FEW, measured=lambda model, data: {})
    for row in PAPER_ROWS:
        folder = tmp_path / row
        save_checkpoint(checkpoint(folder, "teacher", 5), taught_by, config={}, seed=5, metrics={})
        if row == "teacher":
            checkpoint(folder, row, 5).unlink()
        found[row] = run_row(task, str(small.path), row, 5, folder=str(folder))
    assert list(calls) == list(PAPER_ROWS)
    taught = {row for row in PAPER_ROWS if row.endswith("_kd")}
    for row, (schedule, seed, objective, teacher) in calls.items():
        assert PAPER_ROWS[row].taught == (row in taught) == (teacher is not None), row
        assert teacher is None or same(teacher, given), row
        assert (seed, objective) == (5, None), row
        assert schedule == (settings.teacher if row == "teacher" else settings.student), row
        own = load_file(checkpoint(tmp_path / row, row, 5)) if row == "teacher" else None
        assert [found[row][key] for key in ("epoch", "validation_accuracy", "training_seconds")] == [2, 0.5, 5.0], row
        assert found[row].get("weights") == (None if own is None else digest(own)), row
        assert found[row].get("taught_by") == (digest(taught_by.state_dict()) if row in taught else None), row


@pytest.mark.parametrize(("row", "moves"), [("physical", True), ("random_mask", False), ("plain_lens", False)])
@pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")
def test_only_the_masks_of_a_physical_row_are_trained(small, tmp_path, monkeypatch, row, moves):
    masks, optimised = [], []

    def watched(model, *arguments, **options):
        values = model.front_end.bench.slm.values
        masks.append(values.detach().clone())
        history = fit(model, *arguments, **options)
        masks.append(values.detach().clone())
        readouts = sum(any(p is q for q in model.readout.parameters()) for p in optimised)
        assert readouts == len(list(model.readout.parameters())), "the readout learns in any case"
        assert any(p is values for p in optimised) == moves
        return history

    def optimizer(*arguments):
        made = build(*arguments)
        optimised.extend(p for group in made[0].param_groups for p in group["params"])
        return made

    build = kd.training._optimizer
    monkeypatch.setattr(kd.training, "_optimizer", optimizer)
    monkeypatch.setattr(paper_run, "fit", watched)
    run_row(FEW, str(small.path), row, 0, folder=str(tmp_path))
    before, after = masks
    assert torch.equal(before, after) != moves
    kept = PAPER_ROWS[row].build(small.settings, few(small.settings), 0)
    load_checkpoint(checkpoint(tmp_path, row, 0), kept)
    assert torch.equal(kept.front_end.bench.slm.values.detach(), after)


class Rectified(nn.Module):
    def forward(self, images):
        return (images - 0.5).relu()


class HardlyBent(nn.Module):
    def forward(self, images):
        return images + 1e-3 * images**2


class Dark(nn.Module):
    def forward(self, images):
        return 0 * images


@pytest.mark.parametrize("front_end", [Rectified(), HardlyBent(), Dark()], ids=["bent", "hardly", "dark"])
def test_a_row_that_should_be_linear_and_is_not_is_refused(small, tmp_path, monkeypatch, front_end):
    """Nothing at all comes out of the dark one: its deviation is 0 / 0, which is no proof."""
    row = PaperRow(lambda settings, data, seed: Student(front_end, readout(settings, data, 1)), "bent", linear=True)
    monkeypatch.setattr(paper_run, "fit", lambda *_, **__: [epoch(1.0)])
    for linear in (True, False):
        task = replace(FEW, rows={"bent": replace(row, linear=linear)})
        if linear:
            with pytest.raises(RuntimeError, match="bent must be linear before its readout, got"):
                run_row(task, str(small.path), "bent", 0, folder=str(tmp_path))
        else:
            assert "front_end_nonlinearity" not in run_row(task, str(small.path), "bent", 0, folder=str(tmp_path))


@pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")
def test_light_of_flat_masks_and_a_white_object_is_that_of_geometry(tmp_path):
    """The image of a white object has intensity 1: the camera gets its share of the area, in every exposure.

    The camera of 8 x 10 pixels of 55.2 um looks at the middle of an image of 32 x 32 of 27.6 um. The edge that the
    opening of the SLM blurs ripples there, by less than the tolerance.
    """
    configuration = changed(
        tmp_path / "flat.toml",
        ("shape = [128, 128]", "shape = [256, 256]\nfill_factor = 1"),
        ("masks = 4", "masks = 3"),
        ("shape = [16, 16]", "shape = [8, 10]\nfull_well = 10000"),
        ("samples_per_pixel = 2", "samples_per_pixel = 4"),
    )
    data = few(configuration.settings)
    white = LabelledImages(torch.ones_like(data.test.images[:2]), data.test.labels[:2])
    model = PAPER_ROWS["plain_lens"].build(configuration.settings, data, 0)
    with torch.no_grad():
        model.front_end.bench.slm.values.zero_()
    found = light_of(model, replace(data, test=white))
    assert found["exposures"] == 3
    assert found["light_on_camera"] == pytest.approx(8 * 10 * 55.2**2 / (32 * 27.6) ** 2, rel=0.01)
    full = 0.5 * 10_000 * 16**2  # exposure, full well, pixels that one output pixel bins
    assert found["electrons_per_image"] == pytest.approx(3 * 8 * 10 * full, rel=0.01)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        # 2 masks of 8 x 8 regions: 128 (2 + 64) + 64 + 650 = 9162. One image: 1024 (2 + n) + n + 10 n + 10.
        ("pool = 8\nhidden = [64]", (32, 6)),
        # 2 x 400 (2 + 64) + 64 + 64 * 20 + 20 + 210 = 54 374. One image: 1024 (2 + n) + n + 20 n + 20 + 210.
        ("pool = 20\nhidden = [64, 20]", (32, 49)),
        # 2 x 16 (2 + 10) + 10 = 394. One image: n^2 (2 + 10) + 10.
        ("pool = 4", (5, None)),
        # 2 x 9 (2 + 8) + 8 + 90 = 278: the image has more pixels. One image: n^2 (2 + 8) + 8 + 90.
        ("pool = 3\nhidden = [8]", (4, 8)),
        # 4 + 9 (2 x 4 + 4 x 6) + 2 (4 + 6) + 54 x 9 + 9 + 100 = 907. One: 2 + 9 (4 + 24) + 20 + 385 n + 10 n + 10.
        ("pool = 10\nfilters = [4, 6]\nhidden = [9]", (32, 1)),
    ],
)
def test_the_readout_on_all_pixels_is_as_large_as_the_students_readout_allows(small, tmp_path, models, expected):
    file = tmp_path / "models.toml"
    file.write_text(small.path.read_text().replace("pool = 4", models))
    settings, data = load_paper(file).settings, few(small.settings)
    model = PAPER_ROWS["readout_full"].build(settings, data, 0)
    other = PAPER_ROWS["physical"].build(settings, data, 0).readout
    assert type(model.readout) is type(other)
    linear = [layer for layer in model.readout.modules() if isinstance(layer, nn.Linear)]
    width = linear[0].out_features if settings.models.hidden else None
    assert (model.readout.pool, width) == expected
    assert trainable_parameters(model) <= trainable_parameters(other)
    assert model.eval()(data.test.images).shape == (32, 10)
    again = PAPER_ROWS["readout_full"].build(settings, data, 0)
    assert same(weights(model), weights(again))


def test_class_maps_have_no_row_of_all_pixels():
    assert "readout_full" in PAPER_ROWS and PAPER_ROWS.keys() - SEGMENTATION_ROWS.keys() == {"readout_full"}


class Killed(BaseException):
    """What ends a process."""


EPOCH, LOADING = 1000.0, 7.0  # [s] by the clock of the test: nothing else takes time


class Process:
    """One process after the other, each with its commit and its death."""

    def __init__(self, monkeypatch) -> None:
        self.monkeypatch = monkeypatch
        self.now = 0.0
        monkeypatch.setattr(paper_run, "time", SimpleNamespace(perf_counter=lambda: self.now))
        self.task = replace(CLASSES, data=self.load)

    def load(self, settings) -> DataSplits:
        self.now += LOADING
        return few(settings)

    def runs(self, configuration, folder, commit: str, *, seed: int = 0, dies_after: int | None = None) -> dict:
        def stopped(*arguments, on_epoch, **options):
            def count(record):
                self.now += EPOCH
                record["seconds"] = EPOCH
                on_epoch(record)
                if record["epoch"] == dies_after:
                    raise Killed

            return fit(*arguments, on_epoch=count, **options)

        self.monkeypatch.setattr(paper_run, "provenance", lambda: {"commit": commit})
        self.monkeypatch.setattr(paper_run, "fit", stopped)
        return run_row(self.task, str(configuration.path), "readout_only", seed, folder=str(folder))


@pytest.fixture
def process(monkeypatch) -> Process:
    return Process(monkeypatch)


@pytest.fixture
def long(small) -> PaperConfiguration:
    small.path.write_text(small.path.read_text().replace("epochs = 2", "epochs = 4"))
    return load_paper(small.path)


def test_a_run_in_pieces_names_all_its_commits_and_all_its_time(long, tmp_path, process):
    # A process is killed after it has told of an epoch and before the epoch is kept: one is done again.
    for commit, dies_after in (("a", 2), ("a", 2), ("b", 3)):
        with pytest.raises(Killed):
            process.runs(long, tmp_path, commit, dies_after=dies_after)
    assert json.loads((tmp_path / "readout_only-0.commits.json").read_text()) == ["a", "b"]
    found = process.runs(long, tmp_path, "c")
    assert (found["commits"], found["commit"]) == (["a", "b", "c"], "c")
    assert found["training_seconds"] == 4 * EPOCH
    assert found["duration_seconds"] == 4 * EPOCH + LOADING
    assert found["settings"] == fingerprint(long.text)
    assert [path.name for path in tmp_path.glob("readout_only*")] == ["readout_only-0.safetensors"]
    # Trained, but whoever waited for the line of the table was killed: one more process only measures.
    again = process.runs(long, tmp_path, "d")
    assert (again["commits"], again["commit"]) == (["a", "b", "c", "d"], "d")
    assert {**again, "commits": [], "commit": ""} == {**found, "commits": [], "commit": ""}


def test_a_process_that_kept_nothing_is_no_piece(long, tmp_path, process):
    with pytest.raises(Killed):
        process.runs(long, tmp_path, "a", dies_after=1)
    assert not list(tmp_path.glob("*.state"))
    assert process.runs(long, tmp_path, "b")["commits"] == ["b"]


def test_a_state_of_before_goes_on(long, tmp_path, process):
    """What a run kept before it kept commits: the state of the training alone."""
    settings, data = long.settings, few(long.settings)
    whole, model = (PAPER_ROWS["readout_only"].build(settings, data, 0) for _ in range(2))
    fit(whole, data, settings.student, seed=0, progress=False)

    def stop(record):
        if record["epoch"] == 3:
            raise Killed

    state = tmp_path / "readout_only-0.state"
    with pytest.raises(Killed):
        fit(model, data, settings.student, seed=0, progress=False, state_file=state, on_epoch=stop)
    assert state.exists()
    assert process.runs(long, tmp_path, "b")["commits"] == ["unknown", "b"]
    load_checkpoint(checkpoint(tmp_path, "readout_only", 0), model)
    assert same(weights(model), weights(whole)), "as if it had never been stopped"


@pytest.mark.parametrize("seconds", [{"training_seconds": 500.0}, {}], ids=["timed", "untimed"])
def test_a_checkpoint_of_before_brings_what_stands_beside_it(long, tmp_path, process, monkeypatch, seconds):
    model = PAPER_ROWS["readout_only"].build(long.settings, few(long.settings), 0)
    monkeypatch.setattr("kd.checkpoints.commit", lambda: "a")
    metrics = {"validation_accuracy": 0.5, "epoch": 2} | seconds
    save_checkpoint(checkpoint(tmp_path, "readout_only", 1), model, config={}, seed=1, metrics=metrics)
    found = process.runs(long, tmp_path, "b", seed=1)
    assert found["commits"] == ["a", "b"]
    assert found["training_seconds"] == seconds.get("training_seconds")
    assert found["duration_seconds"] == seconds.get("training_seconds", 0.0) + LOADING
