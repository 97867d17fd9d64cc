"""Teachers of another table: whose settings they must have, and that nothing is trained or lost for them."""

import io
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import save_file
from typer.testing import CliRunner

from experiments import paper_run
from experiments.__main__ import app
from experiments.paper import run_paper
from experiments.paper_rows import PAPER_ROWS
from experiments.paper_settings import CONFIGURATIONS, load_paper
from experiments.paper_teachers import data_digest, take_teachers
from experiments.sweep import Here, Summary, alone_in
from kd.checkpoints import save_checkpoint
from kd.data.catalogue import load
from kd.data.images import DataSplits
from kd.training import fit

DIGITS = CONFIGURATIONS / "paper_digits.toml"
SETTINGS = load_paper(DIGITS).settings


def few(data: DataSplits, count: int) -> DataSplits:
    """The first images of each part."""
    parts = (part.subset(torch.arange(count)) for part in (data.train, data.validation, data.test))
    return DataSplits(data.name, data.classes, *parts)


DATA = few(load("digits", **SETTINGS.data.options), 24)


def teacher(seed: int, **changes: object) -> torch.nn.Module:
    models = SETTINGS.models.model_copy(update=changes)
    return PAPER_ROWS["teacher"].build(SETTINGS.model_copy(update={"models": models}), DATA, seed)


def trained(folder: Path, seed: int, *, seen: str | None = None, start: int = 7, **changes: object) -> Path:
    """A checkpoint as if of these settings with ``changes``, as ``table__key=value``."""
    config = SETTINGS.model_dump(mode="json")
    for name, value in changes.items():
        table, key = name.split("__")
        config[table] = config[table] | {key: value}
    path = folder / f"teacher-{seed}.safetensors"
    model = teacher(
        start, **{k.removeprefix("models__"): v for k, v in changes.items() if k == "models__teacher_width"}
    )
    metrics = {"data": data_digest(DATA) if seen is None else seen}
    save_checkpoint(path, model, config=config, seed=seed, metrics=metrics)
    return path


def take(places: Sequence[Path], folder: Path, seeds: Sequence[int] = (0,), data: DataSplits = DATA) -> list[int]:
    return take_teachers(SETTINGS, data, teacher, seeds=seeds, places=places, folder=folder)


def test_a_teacher_is_the_same_whatever_bench_and_students_are(tmp_path):
    changes = {"models__pool": 3, "student__epochs": 7, "bench__wavelength": 1e-6, "teacher__temperature": 9.0}
    others = [trained(tmp_path / "other" / "checkpoints-0", seed, **changes) for seed in (1, 2)]
    assert take([tmp_path / "other"], tmp_path / "here", (0, 1, 2)) == [1, 2]
    for other in others:
        assert (tmp_path / "here" / other.name).read_bytes() == other.read_bytes()
    assert take([others[0]], tmp_path / "there", (1,)) == [1], "a file is a place, too"


@pytest.mark.parametrize(
    "change",
    [
        {"teacher__epochs": 31},
        {"teacher__precision": "bfloat16"},
        {"models__teacher": "resnet"},
        {"models__teacher_width": 3},
        {"teacher__unheard_of": 1},
        {"seen": "another set"},
    ],
)
def test_one_of_other_settings_or_images_is_none(tmp_path, change):
    trained(tmp_path / "other", 0, **change)
    with pytest.raises(
        ValueError, match="other must hold a teacher of seed 0 .* got none of these settings and images"
    ):
        take([tmp_path / "other"], tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_what_a_teacher_has_seen_is_told_by_every_image_and_label():
    """Test images are none of it."""
    seen = {data_digest(DATA)}
    for part, key in (("train", "images"), ("train", "labels"), ("validation", "images"), ("validation", "labels")):
        values = getattr(getattr(DATA, part), key).clone()
        values.view(-1)[-1] += 1
        seen.add(data_digest(replace(DATA, **{part: replace(getattr(DATA, part), **{key: values})})))
    assert len(seen) == 5
    assert data_digest(replace(DATA, test=DATA.train)) == data_digest(DATA)


def test_a_file_of_before_a_setting_has_its_default(tmp_path):
    schedule = SETTINGS.teacher.model_dump(mode="json")
    del schedule["curriculum"]
    config = SETTINGS.model_dump(mode="json") | {"teacher": schedule}
    path, metrics = tmp_path / "old" / "teacher-0.safetensors", {"data": data_digest(DATA)}
    save_checkpoint(path, teacher(0), config=config, seed=0, metrics=metrics)
    assert take([tmp_path / "old"], tmp_path / "here") == [0]


@pytest.mark.parametrize("content", [b"", b"no weights", "{", "[]", "null", "{}", "folder"])
def test_a_damaged_file_is_none_and_hides_no_other(tmp_path, content):
    path = tmp_path / "other" / "a" / "teacher-0.safetensors"
    path.parent.mkdir(parents=True)
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        save_file({"weight": torch.zeros(2)}, path, {"optics4f": content})
    with pytest.raises(ValueError, match="other must hold a teacher of seed 0 .* got none"):
        take([tmp_path / "other"], tmp_path / "here")
    trained(tmp_path / "other" / "b", 0)
    assert take([tmp_path / "other"], tmp_path / "here") == [0]


def test_one_of_another_seed_under_this_name_and_an_empty_folder_are_none(tmp_path):
    trained(tmp_path / "other", 3).rename(tmp_path / "other" / "teacher-0.safetensors")
    with pytest.raises(ValueError, match="got none of these settings"):
        take([tmp_path / "other"], tmp_path / "here")
    trained(tmp_path / "one", 0)
    with pytest.raises(ValueError, match=r"nowhere must .* seed 0, 1 .* got none\. Leave it out"):
        take([tmp_path / "one", tmp_path / "nowhere"], tmp_path / "here", (0, 1))
    assert not (tmp_path / "here").exists(), "every place is looked at first"


@pytest.mark.parametrize("name", ["teacher-0.safetensors", "teacher-0.state", "teacher-0.commits.json"])
def test_what_is_there_or_has_begun_stays(tmp_path, name):
    trained(tmp_path / "other", 0)
    here = tmp_path / "here"
    here.mkdir()
    (here / name).write_bytes(b"mine")
    assert take([tmp_path / "other"], here) == []
    assert [(path.name, path.read_bytes()) for path in here.iterdir()] == [(name, b"mine")]


def test_the_first_of_the_first_place_goes_before(tmp_path):
    first = trained(tmp_path / "b" / "1", 0, start=1)
    others = [trained(tmp_path / "b" / "2", 0, start=2), trained(tmp_path / "a", 0, start=3)]
    assert len({path.read_bytes() for path in (first, *others)}) == 3
    take([tmp_path / "b", tmp_path / "a"], tmp_path / "here")
    assert (tmp_path / "here" / "teacher-0.safetensors").read_bytes() == first.read_bytes()


def test_a_copy_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    trained(tmp_path / "other", 0)

    def half(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:100])
        raise OSError("no space left")

    monkeypatch.setattr("experiments.paper_teachers.shutil.copyfile", half)
    with pytest.raises(OSError, match="no space"):
        take([tmp_path / "other"], tmp_path / "here")
    assert not list((tmp_path / "here").iterdir())


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
    found, told = {}, {}
    for name, pool, teachers in (("one", 4, []), ("two", 3, [tmp_path / "one"])):
        (tmp_path / f"{name}.toml").write_text(text.replace("pool = 4", f"pool = {pool}"))
        options = {"rows": ["linear_kd"], "seeds": [0], "workers": 1, "teachers": teachers}
        console = Console(record=True, width=200, file=StringIO())
        table = run_paper(load_paper(tmp_path / f"{name}.toml"), tmp_path / name, console, **options)
        told[name] = console.export_text()
        found[name] = {result["row"]: result for result in table}
    assert fits == ["teacher", "linear_kd", "linear_kd"]
    assert found["one"]["teacher"]["weights"] == found["two"]["teacher"]["weights"]
    assert found["two"]["linear_kd"]["taught_by"] == found["one"]["teacher"]["weights"]
    line = "Teachers that were trained before: of seed 0."
    assert line in told["two"] and line not in told["one"]
    page = "Trained for another table, with the settings that count for them: teacher (0)."
    assert page in (tmp_path / "two" / "two.md").read_text() and page not in (tmp_path / "one" / "one.md").read_text()
    assert found["one"]["teacher"]["test_accuracy"] == found["two"]["teacher"]["test_accuracy"]


def test_the_command_refuses_in_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = "--row, --seed, --cluster, --workers, --device, --teachers"
    for arguments, word in (
        (("--row", "readout_only_kd", "--seed", "0"), "nowhere must hold a teacher of seed 0"),
        (("--record", "record"), f"--record must stand without {options}"),
    ):
        printed = CliRunner().invoke(
            app, ["paper", "digits", "--teachers", "nowhere", *arguments], env={"COLUMNS": "300"}
        )
        assert printed.exit_code == 2 and word in " ".join(printed.output.split()) and "Traceback" not in printed.output
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_nothing_is_copied_where_a_sweep_is_at_work_or_nobody_is_taught(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.paper.LocalPool", lambda workers: Here())
    monkeypatch.setattr("experiments.paper.take_teachers", lambda *args, **options: pytest.fail("taken"))
    monkeypatch.setattr("experiments.paper.sweep", lambda *args: Summary())
    configuration, options = load_paper(DIGITS), {"seeds": [0], "teachers": [tmp_path / "one"]}
    said = io.StringIO()
    run_paper(configuration, tmp_path / "out", Console(file=said, width=200), rows=["linear"], **options)
    assert "No row that was asked for is taught: --teachers was not needed." in said.getvalue()
    (tmp_path / "out").mkdir(exist_ok=True)
    with alone_in(tmp_path / "out"), pytest.raises(ValueError, match="out must be free"):
        run_paper(configuration, tmp_path / "out", Console(quiet=True), rows=["linear_kd"], **options)
