"""A table's rows are trained where the command says, and read on the processor."""

import os
from types import SimpleNamespace

import pytest
import torch
from typer.testing import CliRunner

import experiments.paper_run as paper_run
from experiments.__main__ import app
from experiments.local_pool import LocalPool
from experiments.paper_run import paper_row
from experiments.paper_settings import CONFIGURATIONS
from experiments.training_device import ENVIRONMENT, on_device, training_device
from kd.checkpoints import save_checkpoint
from kd.data.images import DataSplits, LabelledImages
from kd.evaluation import device_of
from kd.training import TrainingSettings, _identity

DIGITS = str(CONFIGURATIONS / "paper_digits.toml")


def few() -> DataSplits:
    some = LabelledImages(torch.zeros(2, 1, 1, 2), torch.tensor([0, 1]))
    return DataSplits("few", ("a", "b"), some, some, some)


def command(*arguments: str) -> tuple[int, str]:
    printed = CliRunner().invoke(app, ["paper", *arguments], env={"COLUMNS": "300"})
    return printed.exit_code, " ".join(printed.output.split())


@pytest.mark.parametrize("name", ["meta", "cuba", "cuda:77"])
def test_a_device_that_cannot_compute_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = command("digits", "--device", name)
    assert code == 2 and f"such as cpu or cuda, got {name}." in said and "Traceback" not in said
    assert not list(tmp_path.iterdir()) and ENVIRONMENT not in os.environ


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--cluster", "tcp://127.0.0.1:1"), "--device must be left out with --cluster"),
        (("--record", "record"), "--record must stand without --row, --seed, --cluster, --workers, --device"),
    ],
)
def test_a_device_stands_where_something_is_trained_here(arguments, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, said = command("digits", "--device", "cpu", *arguments)
    assert code == 2 and word in said


def test_the_environment_names_it_to_processes_and_is_as_it_was(monkeypatch):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    assert training_device() == torch.device("cpu")
    with on_device("cpu"):
        assert os.environ[ENVIRONMENT] == "cpu"
    assert ENVIRONMENT not in os.environ
    monkeypatch.setenv(ENVIRONMENT, "meta")
    with pytest.raises(ValueError, match="got meta"), on_device(None):
        training_device()
    with on_device("cpu"):
        assert training_device().type == "cpu"
    assert os.environ[ENVIRONMENT] == "meta"


def test_a_device_of_ones_own_is_not_shared_by_as_many_processes_as_cores(tmp_path, monkeypatch):
    given = []

    class Pool(LocalPool):
        def __init__(self, workers):
            given.append(workers)
            super().__init__(workers)

    monkeypatch.setattr("experiments.paper.LocalPool", Pool)
    monkeypatch.setattr("experiments.paper.sweep", lambda *_: SimpleNamespace(failed={}))
    for named, arguments in (("cpu", ()), ("cuda", ()), ("cuda", ("--workers", "3"))):
        monkeypatch.setattr("experiments.paper.training_device", lambda named=named: torch.device(named))
        code, said = command("digits", "--out", str(tmp_path), "--device", named, *arguments)
        assert code == 0, said
    assert given == [None, 1, 3]


def test_a_cluster_is_not_asked_what_this_machine_can_compute_on(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "cuba")
    monkeypatch.setattr("experiments.paper.DaskWorkers", lambda address: None)
    monkeypatch.setattr("experiments.paper.sweep", lambda *_: SimpleNamespace(failed={}))
    code, said = command("digits", "--out", str(tmp_path), "--cluster", "tcp://127.0.0.1:1")
    assert code == 0, said


def test_a_run_of_one_device_does_not_go_on_on_another():
    """Its generators' states would not fit; those of processors have no word for it, as before there was a choice."""
    data, settings = few(), TrainingSettings()
    here, there = (_identity(torch.nn.Linear(2, 2).to(name), data, settings, 0, print) for name in ("cpu", "meta"))
    assert there.pop("device") == "meta" and here == there


@pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")
def test_model_and_teacher_are_trained_there_and_read_here(tmp_path, monkeypatch):
    """meta is a device without numbers: a model on it can be neither trained nor read."""
    seen, moved = [], []

    def back(self):
        """From a device without numbers none come back: others are as good here."""
        assert moved.pop() is self
        self.to_empty(device="cpu")
        for parameter in self.parameters():
            torch.nn.init.normal_(parameter)
        return self

    monkeypatch.setattr(torch.nn.Module, "cpu", back)

    def spy(model, data, schedule, *, teacher=None, **_):
        seen.append((device_of(model).type, None if teacher is None else device_of(teacher).type))
        moved.append(model)
        return [{"epoch": 1, "validation_accuracy": 0.5, "restored": True, "seconds": 1.0}]

    monkeypatch.setattr(paper_run, "fit", spy)
    monkeypatch.setattr(paper_run, "training_device", lambda: torch.device("meta"))
    settings = paper_run.load_paper(DIGITS).settings
    teacher = paper_run.PAPER_ROWS["teacher"].build(settings, paper_run.load_data(settings), 1)
    save_checkpoint(paper_run.checkpoint(tmp_path, "teacher", 1), teacher, config={}, seed=1, metrics={})
    for row in ("linear", "linear_kd"):
        # The teacher's digest is of numbers, which meta has not.
        monkeypatch.setattr(paper_run, "digest", lambda state: "digest")
        found = paper_row(DIGITS, row, 1, folder=str(tmp_path))
        assert found["device"] == "meta" and 0 <= found["test_accuracy"] <= 1
    assert seen == [("meta", None), ("meta", "meta")] and not moved
    monkeypatch.setattr(paper_run, "training_device", lambda: torch.device("cpu"))
    assert paper_row(DIGITS, "linear", 1, folder=str(tmp_path))["device"] == "meta", (
        "what trained it, not what reads it"
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")
def test_a_physical_row_trains_on_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT, "cuda")
    assert paper_row(DIGITS, "physical", 0, folder=str(tmp_path))["test_accuracy"] > 0.9
