"""``python -m kd``: what a file trains is what the library trains; a killed run goes on; masks reach the bench."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import kd.command
import kd.training
from kd.cli import app
from kd.data.catalogue import DATASETS, load
from kd.data.images import DataSplits, SegmentedImages
from kd.objectives import Attention, Decoupled, SoftTargets, TangentMatching
from kd.readout import PooledLinear
from kd.recipe import load_plan
from kd.seeding import initialised_with
from kd.students import LinearCNN
from kd.training import AugmentationSettings, TrainingSettings, evaluate, fit
from optics4f.bundle import verify_bundle

ROOT = Path(__file__).parents[2]
RECIPE = """
[data]
name = "digits"
options = { size = 16, split_seed = 3 }

[model]
row = "linear"
teacher_width = 2
features = 3
kernel_size = 5
pool = 2

[training]
epochs = 2
batch_size = 64
learning_rate = 1e-2
augmentation = { rotation_degrees = 0, shift = 0, scale = 0 }
"""
BENCH = """
[bench]
wavelength = "532 nm"
route = "psf"
object = { shape = [16, 16], pitch = "9.2 um", pixels_per_logical = 3 }
lens1 = { focal_length = "125 mm" }
lens2 = { focal_length = "125 mm" }
slm = { device = "meadowlark-1920x1152", shape = [64, 48], masks = 2 }

[bench.camera]
device = "basler-aca2440-75um"
shape = [8, 8]
binning = 16
samples_per_pixel = 2
exposure = 0.5
dark_electrons = 0
"""


@pytest.fixture(autouse=True)
def one_thread():
    """The same weights bit for bit need the same number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def written(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def called(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def facts(*arguments: object) -> dict:
    result = called(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_file_trains_what_the_library_trains(tmp_path):
    found = facts("train", written(tmp_path), "--seed", 5, "--out", tmp_path / "out")
    data = load("digits", size=16, split_seed=3)
    with initialised_with(5):
        model = LinearCNN(1, PooledLinear(3, 10, pool=2), channels=3, kernel_size=5)
    still = AugmentationSettings(rotation_degrees=0, shift=0, scale=0)
    settings = TrainingSettings(epochs=2, batch_size=64, learning_rate=1e-2, augmentation=still)
    history = fit(model, data, settings, seed=5, progress=False)
    assert found["test_accuracy"] == evaluate(model, data.test).accuracy > 0.2  # ten classes
    record = json.loads((tmp_path / "out/linear-5.json").read_text())
    assert [epoch["loss"] for epoch in record["history"]] == [epoch["loss"] for epoch in history]
    assert facts("evaluate", found["checkpoint"])["accuracy"] == found["test_accuracy"]
    validated = facts("evaluate", found["checkpoint"], "--split", "validation")
    assert (validated["accuracy"], validated["images"]) == (found["validation_accuracy"], 197)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["linear-5.json", "linear-5.safetensors"]


def test_ctrl_c_leaves_a_state_from_which_the_run_goes_on(tmp_path, monkeypatch):
    config, validate = written(tmp_path), kd.training._validate
    whole = called("train", config, "--out", tmp_path / "whole")

    def press(*arguments):  # after the second epoch, before its state is written
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(kd.training, "_validate", press)
    stopped = called("train", config, "--out", tmp_path / "out")
    assert (stopped.exit_code, stopped.stderr) == (130, "")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["linear-0.state"]
    monkeypatch.setattr(kd.training, "_validate", validate)
    ended = called("train", config, "--out", tmp_path / "out")
    assert "taken up where it was" in ended.stdout and "taken up" not in whole.stdout
    weights = [load_file(tmp_path / folder / "linear-0.safetensors") for folder in ("whole", "out")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[1][name], tensor) for name, tensor in weights[0].items())


def test_what_is_trained_is_not_trained_again_and_not_mixed_up(tmp_path):
    config, out = written(tmp_path), tmp_path / "out"
    first = called("train", config, "--out", out)
    time = (out / "linear-0.safetensors").stat().st_mtime_ns
    again = called("train", config, "--out", out)
    assert "nothing was done" in again.stdout and "nothing was done" not in first.stdout
    assert (out / "linear-0.safetensors").stat().st_mtime_ns == time
    other = called("train", written(tmp_path, RECIPE.replace("epochs = 2", "epochs = 1")), "--out", out)
    assert (other.exit_code, other.stderr.count("\n")) == (2, 1)
    assert "must be of this configuration" in other.stderr


def test_a_student_learns_from_its_teacher_and_hands_its_masks_to_the_bench(tmp_path):
    out = tmp_path / "out"
    teacher = f'\n[teacher]\ncheckpoint = "{out}/teacher-0.safetensors"\n'
    text = RECIPE.replace("epochs = 2", "epochs = 1")
    config = written(tmp_path, BENCH + text + teacher)
    early = called("train", config, "--row", "physical", "--out", out)
    assert early.exit_code == 2 and "Train it with --row teacher" in early.stderr
    assert facts("train", config, "--row", "teacher", "--out", out)["taught"] is False
    taught = facts("train", config, "--row", "physical", "--out", out)
    alone = facts("train", written(tmp_path, BENCH + text), "--row", "physical", "--out", tmp_path / "alone")
    assert (taught["taught"], alone["taught"]) == (True, False)
    assert taught["test_loss"] != alone["test_loss"]
    made = facts("export", taught["checkpoint"], "--out", tmp_path / "masks.h5", "--images", 3)
    assert (made["masks"], made["images"]) == (2, 3)
    assert verify_bundle(tmp_path / "masks.h5").frames.shape == (3, 2, 8, 8)
    refused = called("export", out / "teacher-0.safetensors", "--out", tmp_path / "no.h5")
    assert refused.exit_code == 2 and "must be of a row with masks" in refused.stderr


@pytest.fixture
def taught(tmp_path) -> tuple[str, Path]:
    """A recipe of one epoch whose teacher has been trained, and the folder of results."""
    out = tmp_path / "out"
    text = RECIPE.replace("epochs = 2", "epochs = 1\ntemperature = 3")
    text += f'\n[teacher]\ncheckpoint = "{out}/teacher-0.safetensors"\n'
    facts("train", written(tmp_path, text), "--row", "teacher", "--out", out)
    return text, out


def test_the_file_names_the_objective(tmp_path, taught):
    text, out = taught
    chosen = 'objective = "decoupled"\noptions = { beta = 2 }\n'
    found = facts("train", written(tmp_path, text + chosen), "--out", out)
    soft = facts("train", written(tmp_path, text), "--out", tmp_path / "soft")
    data = load("digits", size=16, split_seed=3)
    with initialised_with(0):
        model = LinearCNN(1, PooledLinear(3, 10, pool=2), channels=3, kernel_size=5)
    still = AugmentationSettings(rotation_degrees=0, shift=0, scale=0)
    settings = TrainingSettings(epochs=1, batch_size=64, learning_rate=1e-2, augmentation=still)
    teacher = load_plan(written(tmp_path, text), row="teacher").build(data)
    teacher.load_state_dict(load_file(out / "teacher-0.safetensors"))
    objective = Decoupled(temperature=3, alpha=1, beta=2)
    fit(model, data, settings, seed=0, teacher=teacher, objective=objective, progress=False)
    assert found["test_loss"] == evaluate(model, data.test).loss
    assert soft["test_loss"] != found["test_loss"]


@pytest.mark.parametrize(
    ("training", "teacher", "expected"),
    [
        ("temperature = 3\nalpha = 0.25", "", SoftTargets(3, 0.25)),
        ("temperature = 3\nalpha = 0.25", 'objective = "soft_targets"', SoftTargets(3, 0.25)),
        ("temperature = 3", 'objective = "decoupled"', Decoupled(3)),
        ("", 'objective = "decoupled"\noptions = { alpha = 0.5, beta = 4 }', Decoupled(4, 0.5, 4)),
        (
            "",
            'objective = "tangent_kernels"\noptions = { probes = 8, beta = 0.1 }',
            TangentMatching(probes=8, beta=0.1),
        ),
        (
            "temperature = 3\nalpha = 0.25",
            'objective = "attention"\noptions = { weight = 5, teacher_layer = "features.0" }',
            Attention(teacher_layer="features.0", weight=5, soft_targets=SoftTargets(3, 0.25)),
        ),
    ],
)
def test_temperature_and_weights_reach_the_objective(tmp_path, training, teacher, expected):
    text = RECIPE.replace("epochs = 2", f"epochs = 2\n{training}") + f'[teacher]\ncheckpoint = "t"\n{teacher}\n'
    path = written(tmp_path, text)
    assert load_plan(path).objective() == expected
    assert load_plan(path, row="teacher").objective() is None
    assert load_plan(written(tmp_path)).objective() is None


@pytest.mark.parametrize("objective", ["tangent_kernels", "attention"])
def test_each_objective_trains(tmp_path, taught, objective):
    text, out = taught
    text = text if objective == "attention" else text.replace("temperature = 3\n", "")
    config = written(tmp_path, text + f'objective = "{objective}"\n')
    assert facts("train", config, "--out", out)["taught"] is True


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('objective = "hints"', "teacher.objective"),
        (
            'objective = "decoupled"\noptions = { betta = 2 }',
            "must be of alpha, beta with the objective decoupled, got betta",
        ),
        ('objective = "decoupled"\noptions = { beta = "two" }', "teacher.options.beta: "),
        ("options = { temperature = 2 }", "must be of none with the objective soft_targets, got temperature"),
        ('objective = "tangent_kernels"', "training.temperature must be left out with the objective tangent_kernels"),
    ],
)
def test_an_objective_that_cannot_be_is_one_line(tmp_path, change, words):
    text = RECIPE.replace("epochs = 2", "epochs = 2\ntemperature = 3")
    for teacher, told in (('checkpoint = "t"\n', words), ("", "objective")):
        result = called("train", written(tmp_path, f"{text}[teacher]\n{teacher}{change}\n"), "--out", tmp_path / "out")
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert told in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_student_of_another_teacher_is_not_called_done(tmp_path, taught):
    text, out = taught
    config, kept, teacher = written(tmp_path, text), out / "linear-0.safetensors", out / "teacher-0.safetensors"
    facts("train", config, "--out", out)
    assert "nothing was done" in called("train", config, "--out", out).stdout
    with safe_open(teacher, framework="pt") as file:
        metadata = file.metadata()
    weights = load_file(teacher)
    save_file(weights, teacher, metadata | {"more": "of the same"})  # another file with the same weights
    assert "nothing was done" in called("train", config, "--out", out).stdout
    save_file({name: 2 * tensor for name, tensor in weights.items()}, teacher, metadata)
    other = called("train", config, "--out", out)
    assert (other.exit_code, other.stderr.count("\n"), other.stdout) == (2, 1, "")
    assert "got the student of a teacher with other weights" in other.stderr and "to train anew" in other.stderr
    with safe_open(kept, framework="pt") as file:
        content = json.loads(file.metadata()["optics4f"])
    del content["metrics"]["teacher"]  # as checkpoints were before
    save_file(load_file(kept), kept, {"optics4f": json.dumps(content)})
    assert "nothing was done" in called("train", config, "--out", out).stdout


def test_an_interrupted_student_does_not_go_on_with_another_teacher(tmp_path, taught, monkeypatch):
    text, out = taught
    config, teacher = written(tmp_path, text), out / "teacher-0.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(kd.command, "evaluate", lambda *a, **k: signal.raise_signal(signal.SIGINT))
        assert called("train", config, "--out", out).exit_code == 130
    with safe_open(teacher, framework="pt") as file:
        metadata = file.metadata()
    save_file({name: 2 * tensor for name, tensor in load_file(teacher).items()}, teacher, metadata)
    refused = called("train", config, "--out", out)
    assert refused.exit_code == 2 and "must be of a run with this teacher" in refused.stderr


def _is_point(entry):
    return isinstance(entry, tuple)


def test_tensorboard_gets_the_curves_of_the_run(tmp_path, monkeypatch, curves):
    arguments = ("train", written(tmp_path), "--seed", 2, "--out", tmp_path / "out", "--tensorboard", tmp_path / "tb")
    facts(*arguments)
    assert curves[0] == str(tmp_path / "tb/linear-2")
    assert [(name, step) for name, _, step in filter(_is_point, curves) if name == "loss"] == [("loss", 1), ("loss", 2)]
    assert any(name == "validation_accuracy" and step == 2 for name, _, step in filter(_is_point, curves))
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    refused = called(*arguments[:-4], "--out", tmp_path / "no", *arguments[-2:])
    assert refused.exit_code == 2 and "pip install tensorboard" in refused.stderr
    assert not (tmp_path / "no").exists()


def test_data_are_taken_from_the_folder_that_the_option_names(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTICS4F_DATA", str(tmp_path / "empty"))
    for kind, grey in (("dark", 0), ("light", 200)):
        (tmp_path / "sets/greys" / kind).mkdir(parents=True)
        for number in range(20):
            Image.new("L", (16, 12), grey + number).save(tmp_path / "sets/greys" / kind / f"{number}.png")
    text = RECIPE.replace('"digits"', '"greys"').replace("size = 16, split_seed = 3", "grey = true")
    config, out = written(tmp_path, text.replace("batch_size = 64", "batch_size = 8")), tmp_path / "out"
    refused = called("train", config, "--out", out)
    assert refused.exit_code == 2 and "--data FOLDER" in refused.stderr
    there = ("--data", tmp_path / "sets")
    found = facts("train", config, "--out", out, *there)
    assert facts("evaluate", found["checkpoint"], *there)["accuracy"] == found["test_accuracy"]
    assert called("evaluate", found["checkpoint"]).exit_code == 2
    seen = []
    monkeypatch.setattr(kd.command, "run_export", lambda *a: seen.append(os.environ["OPTICS4F_DATA"]))
    called("export", found["checkpoint"], "--out", tmp_path / "masks.h5", *there)
    assert seen == [str(tmp_path / "sets")]
    assert {row["name"]: row for row in facts("data", *there)}["mnist"]["looked_for"][0] == str(tmp_path / "sets/mnist")
    refused = called("train", config, "--out", out, "--data", tmp_path / "nowhere")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "data must be the folder that holds the data sets" in refused.stderr


def test_missing_data_are_told_in_words_of_the_command_line(tmp_path, monkeypatch):
    text = RECIPE.replace('"digits"', '"mnist"').replace("size = 16, split_seed = 3", "")
    result = called("train", written(tmp_path, text), "--out", tmp_path / "out", "--data", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    for words in ("python -m kd data --download mnist", "--data FOLDER", "OPTICS4F_DATA"):
        assert words in result.stderr
    seen = []
    monkeypatch.setattr(kd.command, "load", lambda name, **options: seen.append((name, options)))
    assert called("data", "--download", "mnist", "--data", tmp_path).exit_code == 0
    assert seen == [("mnist", {"download": True})]
    for name, told in (("carvana", "Accept the terms of kaggle.com"), ("digits", "one of mnist"), ("x", "got 'x'.")):
        refused = called("data", "--download", name)
        assert (refused.exit_code, refused.stderr.count("\n"), len(seen)) == (2, 1, 1)
        assert told in refused.stderr


def test_fixed_masks_stay_as_they_are(tmp_path):
    config = written(tmp_path, BENCH + RECIPE)
    data = load("digits", size=16, split_seed=3)
    fixed, free = (load_plan(config, row=row).build(data) for row in ("random_mask", "physical"))
    assert torch.equal(fixed.front_end.bench.slm.values, free.front_end.bench.slm.values)
    assert not fixed.front_end.bench.slm.values.requires_grad
    assert free.front_end.bench.slm.values.requires_grad


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("[data]", "[dta]"), "unknown key dta. Did you mean data?"),
        (('row = "linear"', 'row = "physical"'), "has no table [bench]"),
        (('row = "linear"', 'row = "linaer"'), ":7: model.row"),
        (('name = "digits"', 'name = "digit"'), "data set must be one of digits, mnist"),
        (("split_seed = 3", "sed = 3"), "got sed."),
        (("epochs = 2", 'epochs = "2 m"'), "training.epochs"),
    ],
)
def test_a_defect_of_the_file_is_one_line(tmp_path, change, words):
    result = called("train", written(tmp_path, RECIPE.replace(*change)), "--out", tmp_path / "out")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert words in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_bench_for_other_images_and_class_maps_are_refused(tmp_path):
    data = load("digits", size=16, split_seed=3)
    plan = load_plan(written(tmp_path, BENCH.replace("[16, 16]", "[16, 48]") + RECIPE), row="physical")
    with pytest.raises(ValueError, match=r"bench.object.shape must be \[16, 16\] for 1 x 16 x 16"):
        plan.build(data)
    maps = SegmentedImages(data.test.images, torch.zeros(len(data.test), 16, 16, dtype=torch.int64))
    with pytest.raises(ValueError, match="one class an image"):
        plan.build(DataSplits("maps", ("a",), maps, maps, maps))


def test_colours_stand_side_by_side(tmp_path):
    images = load("digits", size=16, split_seed=3).test
    colour = type(images)(images.images.expand(-1, 3, -1, -1).contiguous(), images.labels)
    data = DataSplits("colours", tuple("0123456789"), colour, colour, colour)
    bench = BENCH.replace("[16, 16]", "[16, 48]")
    model = load_plan(written(tmp_path, bench + RECIPE), row="physical").build(data)
    model.reseed(0)
    assert model(colour.images[:2]).shape == (2, 10)


def test_data_are_listed_with_their_places(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTICS4F_DATA", str(tmp_path))
    for folder in ("MNIST/raw", "cifar-10-batches-py"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "MNIST/raw/t10k-labels-idx1-ubyte").touch()  # the other folder stays empty
    result = called("data", "--json")
    rows = {row["name"]: row for row in json.loads(result.stdout)}
    assert rows.keys() == DATASETS.keys()
    assert [rows[name]["there"] for name in ("digits", "mnist", "cifar10")] == [True, True, False]
    assert rows["cifar10"]["looked_for"] == [str(tmp_path / "cifar-10-batches-py")]
    assert "cifar-10-python.tar.gz" in rows["cifar10"]["how_to_get"]
    assert "MNIST/raw" in called("data").stdout


@pytest.mark.slow
def test_two_processes_of_torchrun_train_what_one_does_with_the_doubled_batch(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    half = written(tmp_path, RECIPE.replace("batch_size = 64", "batch_size = 32"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "kd"]
    command += ["train", str(half), "--out", str(tmp_path / "two"), "--json"]
    options = {"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(command, **options) as process:
        try:
            printed, _ = process.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0
    assert len(printed.splitlines()) == 1  # one process speaks for both
    facts("train", written(tmp_path), "--out", tmp_path / "one")
    two, one = (json.loads((tmp_path / name / "linear-0.json").read_text())["history"] for name in ("two", "one"))
    assert [epoch["loss"] for epoch in two] == pytest.approx([epoch["loss"] for epoch in one], abs=1e-4)
    assert json.loads(printed)["test_accuracy"] == facts("evaluate", tmp_path / "two/linear-0.safetensors")["accuracy"]
