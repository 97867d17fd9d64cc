"""Teachers of another table: whose settings they must have, and that nothing is trained or lost for them."""

from pathlib import Path

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from experiments import paper_run
from experiments.__main__ import app
from experiments.paper import run_paper
from experiments.paper_settings import CONFIGURATIONS, load_paper
from experiments.paper_teachers import take_teachers
from experiments.sweep import Here
from kd.checkpoints import save_checkpoint
from kd.training import fit

DIGITS = CONFIGURATIONS / "paper_digits.toml"
SETTINGS = load_paper(DIGITS).settings


def trained(folder: Path, seed: int, **changes: object) -> Path:
    """A checkpoint as if of these settings with ``changes``, as ``table__key=value``."""
    config = SETTINGS.model_dump(mode="json")
    for name, value in changes.items():
        table, key = name.split("__")
        config[table] = config[table] | {key: value}
    path = folder / f"teacher-{seed}.safetensors"
    save_checkpoint(path, torch.nn.Linear(2, 2), config=config, seed=seed, metrics={})
    return path


def test_a_teacher_is_the_same_whatever_bench_and_students_are(tmp_path):
    other = trained(tmp_path / "other" / "checkpoints-0", 1, models__pool=3, student__epochs=7, bench__wavelength=1e-6)
    assert take_teachers(SETTINGS, (0, 1), [tmp_path / "other"], tmp_path / "here") == [1]
    assert (tmp_path / "here" / "teacher-1.safetensors").read_bytes() == other.read_bytes()
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["teacher-1.safetensors"], "nothing half-written"


@pytest.mark.parametrize(
    "change",
    [
        {"teacher__epochs": 31},
        {"teacher__precision": "bfloat16"},
        {"models__teacher": "resnet"},
        {"models__teacher_width": 3},
        {"data__options": {"split_seed": 1}},
        {"data__name": "mnist"},
        {"teacher__unheard_of": 1},
    ],
)
def test_one_of_other_settings_is_none(tmp_path, change):
    trained(tmp_path / "other", 0, **change)
    with pytest.raises(ValueError, match="other must hold a teacher of seed 0 .* got none of these settings"):
        take_teachers(SETTINGS, (0,), [tmp_path / "other"], tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_a_file_of_before_a_setting_has_its_default(tmp_path):
    path = trained(tmp_path / "old", 0)
    schedule = SETTINGS.teacher.model_dump(mode="json")
    del schedule["curriculum"]
    config = SETTINGS.model_dump(mode="json") | {"teacher": schedule}
    save_checkpoint(path, torch.nn.Linear(2, 2), config=config, seed=0, metrics={})
    assert take_teachers(SETTINGS, (0,), [tmp_path / "old"], tmp_path / "here") == [0]


def test_one_of_another_seed_under_this_name_and_an_empty_folder_are_none(tmp_path):
    trained(tmp_path / "other", 3).rename(tmp_path / "other" / "teacher-0.safetensors")
    with pytest.raises(ValueError, match="got none of these settings"):
        take_teachers(SETTINGS, (0,), [tmp_path / "other"], tmp_path / "here")
    with pytest.raises(ValueError, match=r"seed 0, 1 .* got none\. Leave it out"):
        take_teachers(SETTINGS, (0, 1), [tmp_path / "nowhere"], tmp_path / "here")


@pytest.mark.parametrize("name", ["teacher-0.safetensors", "teacher-0.state"])
def test_what_is_there_or_has_begun_stays(tmp_path, name):
    trained(tmp_path / "other", 0)
    here = tmp_path / "here"
    here.mkdir()
    (here / name).write_bytes(b"mine")
    assert take_teachers(SETTINGS, (0,), [tmp_path / "other"], here) == []
    assert [(path.name, path.read_bytes()) for path in here.iterdir()] == [(name, b"mine")]


def test_the_first_place_goes_before(tmp_path):
    first, second = trained(tmp_path / "b", 0), trained(tmp_path / "a", 0)
    assert first.read_bytes() != second.read_bytes()
    take_teachers(SETTINGS, (0,), [tmp_path / "b", tmp_path / "a"], tmp_path / "here")
    assert (tmp_path / "here" / "teacher-0.safetensors").read_bytes() == first.read_bytes()


def test_a_table_takes_them_instead_of_training(tmp_path, monkeypatch):
    """The second table's teacher is the first one's, to the bit, and the second trains its student alone."""
    text = DIGITS.read_text().replace("masks = 4", "masks = 2").replace("shape = [128, 128]", "shape = [64, 64]")
    for epochs in ("epochs = 15", "epochs = 30"):
        text = text.replace(epochs, "epochs = 1\nbatch_size = 256")
    monkeypatch.setattr("experiments.paper.LocalPool", lambda workers: Here())
    fits: list[str] = []
    monkeypatch.setattr(
        paper_run, "fit", lambda *args, **options: fits.append(options["label"]) or fit(*args, **options)
    )
    found = {}
    for name, pool, teachers in (("one", 4, []), ("two", 3, [tmp_path / "one"])):
        (tmp_path / f"{name}.toml").write_text(text.replace("pool = 4", f"pool = {pool}"))
        options = {"rows": ["linear_kd"], "seeds": [0], "workers": 1, "teachers": teachers}
        table = run_paper(load_paper(tmp_path / f"{name}.toml"), tmp_path / name, Console(quiet=True), **options)
        found[name] = {result["row"]: result for result in table}
    assert fits == ["teacher", "linear_kd", "linear_kd"]
    assert found["one"]["teacher"]["weights"] == found["two"]["teacher"]["weights"]
    assert found["two"]["linear_kd"]["taught_by"] == found["one"]["teacher"]["weights"]
    assert found["one"]["teacher"]["test_accuracy"] == found["two"]["teacher"]["test_accuracy"]


def test_the_command_refuses_in_one_line_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, word in (
        ((), "nowhere must hold a teacher of seed 0"),
        (
            ("--record", "record"),
            "--record must stand without --row, --seed, --cluster, --workers, --device, --teachers",
        ),
    ):
        chosen = () if arguments else ("--seed", "0")
        command = ["paper", "digits", "--teachers", "nowhere", *chosen, *arguments]
        printed = CliRunner().invoke(app, command, env={"COLUMNS": "300"})
        assert printed.exit_code == 2 and word in " ".join(printed.output.split()) and "Traceback" not in printed.output
        assert not list(tmp_path.iterdir())
