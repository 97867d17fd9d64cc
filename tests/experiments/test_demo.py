"""The demo from end to end, small: every file it promises, and what a user can do wrong."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

import experiments.__main__
import optics4f.cli
from experiments import training_pool
from experiments.demo import kd_gain
from experiments.fidelity import effects, ledger
from experiments.rows import ROWS, physical_student
from experiments.settings import FidelitySettings, load_configuration
from experiments.training_pool import load_data, trained
from kd.data.digits import load_digits
from kd.training import evaluate
from optics4f.bundle import predict_frames, read_bundle

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "experiments" / "configs" / "demo.toml"
SMALL = {
    "seeds = [0, 1, 2]": "seeds = [0, 1]",
    "epochs = 15": "epochs = 1",
    "epochs = 30": "epochs = 1",
    "masks = 4": "masks = 2",
    "fill_factors = [0.957, 0.9, 0.8]": "fill_factors = [0.9]",
    "exposures = [1e-2, 1e-3, 1e-4]": "exposures = [1e-4]",
}
APPS = {"optics4f": optics4f.cli.app, "experiments": experiments.__main__.app}
THREADS = 2  # of the demo
NAMES = ["teacher", "linear", "sclc", "sclc_kd", "physical", "physical_kd", "random_mask", "readout_only"]


def run(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def command(package: str, *arguments: str) -> Result:
    """A command in this process, where the libraries are already there: for what trains nothing."""
    return CliRunner().invoke(APPS[package], [*arguments], env={"COLUMNS": "300"})


def edited(path: Path, replacements: dict[str, str]) -> Path:
    text = DEMO.read_text()
    for old, new in replacements.items():
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    done = run("experiments", "demo", str(edited(folder / "small.toml", SMALL)), "--out", str(folder / "out"))
    assert done.returncode == 0, done.stderr
    assert "masks.h5" in done.stdout
    return folder / "out"


def test_the_metrics_have_every_row_with_its_seeds(demo):
    rows = json.loads((demo / "metrics.json").read_text())["rows"]
    assert list(rows) == NAMES == list(ROWS)
    for row in rows.values():
        accuracy = row["test_accuracy"]
        assert len(accuracy["seeds"]) == 2
        assert accuracy["mean"] == pytest.approx(sum(accuracy["seeds"]) / 2)
        assert row["parameters"] > 0
    # By hand: linear layer 32 -> 10 behind 4 x 4 regions of 2 masks; light's share costs no digital operation.
    assert rows["physical"]["digital_macs"] == rows["random_mask"]["digital_macs"] == 2 * 16 * 10
    assert rows["physical"]["parameters"] - rows["random_mask"]["parameters"] == 2 * 128 * 128
    assert rows["linear"]["digital_macs"] == 2 * 16 * 10 + 32 * 32 * 49 * 2


@pytest.fixture
def threads():
    """As many as the demo had: matrix products sum in another order on more, and Poisson draws tell."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def test_the_exported_levels_alone_give_the_frames_of_the_trained_student(demo, threads):
    """The file against a student restored from its checkpoint: another path than the one that wrote it."""
    from kd.checkpoints import load_checkpoint

    bundle = read_bundle(demo / "masks.h5")
    data = load_digits(size=32, split_seed=load_configuration(DEMO).settings.data.split_seed)
    student = physical_student(bundle.specification, 10, pool=4, initial_kernel=5, seed=7)
    load_checkpoint(demo / "checkpoints" / "physical_kd-0.safetensors", student)
    bench = student.front_end.bench
    images = data.test.images[: len(bundle.images)]
    torch.testing.assert_close(bundle.images, images[:, 0], atol=0, rtol=0)
    with torch.no_grad():
        light = student.front_end.route(images)
        in_memory = bench.camera.counts(light, torch.Generator().manual_seed(bundle.noise_seed)).long()
    again, _ = predict_frames(bundle.specification, bundle.levels, bundle.images, bundle.noise_seed)
    assert torch.equal(in_memory, again)
    assert torch.equal(in_memory, bundle.frames)
    assert bundle.frames.float().std() > 100


def test_verify_accepts_the_demo_file_and_names_what_was_changed(demo, tmp_path):
    done = run("optics4f", "verify", str(demo / "masks.h5"))  # a process, whose libraries might warn
    assert (done.returncode, done.stderr) == (0, "")
    changed = tmp_path / "masks.h5"
    changed.write_bytes((demo / "masks.h5").read_bytes())
    with h5py.File(changed, "r+") as file:
        file["display"][600, 900] ^= 1
    done = command("optics4f", "verify", str(changed))
    assert done.exit_code == 1
    assert re.fullmatch(r"error: .*display differs from its checksum.*\n", done.stderr)


def test_the_report_is_one_page_with_all_its_parts(demo):
    page = (demo / "report.html").read_text()
    for part in ("Accuracy", "The bench", "Fidelity", "Cost", "Provenance", "physical_kd", "Point spread functions"):
        assert part in page
    assert page.count("<img") >= 7
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_nothing_temporary_is_left(demo):
    assert not [path for path in demo.rglob("*") if path.name.endswith(".part")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wavelength =": "wavelenth ="}, r"unknown key bench.wavelenth. Did you mean wavelength\?"),
        ({'"532 nm"': '"532 kg"'}, r":\d+: bench.wavelength: .*convertible to m, got 532 kg"),
        ({'pitch = "9.2 um"': 'pitch = "-9.2 um"'}, r":\d+: bench.object.pitch: .*greater than 0"),
        ({"shape = [128, 128]": "shape = [128, 4000]"}, r"bench.slm.shape must fit on Meadowlark"),
        ({"[bench]": "[bench"}, r"is not TOML"),
        ({'pitch = "9.2 um"': 'pitch = "9.1 um"'}, r"PSF route"),
        ({"exposure = 0.5": ""}, r"bench.camera.exposure is missing"),
        ({'power = { low = "1 mW"': 'power = { low = "1 mm"'}, r"cost.laser.power"),
    ],
)  # fmt: skip
def test_a_bad_configuration_ends_in_one_line_and_code_2(tmp_path, change, message):
    config = edited(tmp_path / "bad.toml", change)
    done = command("experiments", "demo", str(config), "--out", str(tmp_path / "out"))
    assert done.exit_code == 2
    assert re.search(message, done.stderr), done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_refusal_is_all_that_a_process_says(tmp_path):
    config = edited(tmp_path / "bad.toml", {"exposure = 0.5": ""})
    done = run("experiments", "demo", str(config), "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and not done.stdout
    assert re.fullmatch(r"error: .*bench.camera.exposure is missing.*\n", done.stderr)


@pytest.mark.parametrize("content", [None, b"this is not an image"])
def test_an_image_that_is_missing_or_none_is_refused_in_one_line(tmp_path, content):
    picture = tmp_path / "picture.png"
    if content is not None:
        picture.write_bytes(content)
    out = tmp_path / "frames.png"
    done = command("optics4f", "simulate", str(DEMO), "--image", str(picture), "--out", str(out))
    assert done.exit_code == 2
    assert re.fullmatch(r"error: image .*picture.png (does not exist|is not an image).*\n", done.stderr)
    assert not out.exists()


def test_simulate_writes_a_picture_of_the_frames(demo, tmp_path):
    from PIL import Image

    picture, out = tmp_path / "picture.png", tmp_path / "frames.png"
    Image.linear_gradient("L").save(picture)
    done = command(
        "optics4f", "simulate", str(demo.parent / "small.toml"),
        "--image", str(picture), "--masks", str(demo / "masks.h5"), "--out", str(out),
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    with Image.open(out) as shown:
        assert shown.width > 300


def test_an_undersampled_bench_makes_the_sampling_command_fail(tmp_path):
    done = command("optics4f", "sampling", str(DEMO), "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["valid"]
    config = edited(tmp_path / "coarse.toml", {"binning = 16": "binning = 32", "shape = [16, 16]": "shape = [8, 8]"})
    done = command("optics4f", "sampling", str(config), "--json")
    assert done.exit_code == 1
    assert "must be a whole number of image samples" in json.loads(done.stdout)["refused"]
    done = command("optics4f", "sampling", str(config), "--json", "--route", "fourier_lens")
    assert done.exit_code == 1
    failing = [check for check in json.loads(done.stdout)["checks"] if check["verdict"] == "refused"]
    assert [check["quantity"] for check in failing] == ["pitch of the image samples"]
    wanted = {'route = "psf"': 'route = "fourier_lens"\noverride = ["pitch of the image samples"]'}
    config = edited(
        tmp_path / "wanted.toml", {"binning = 16": "binning = 32", "shape = [16, 16]": "shape = [8, 8]", **wanted}
    )
    done = command("optics4f", "sampling", str(config), "--json")
    assert done.exit_code == 0
    assert "overridden" in {check["verdict"] for check in json.loads(done.stdout)["checks"]}
    config = edited(tmp_path / "unknown.toml", {'route = "psf"': 'route = "psf"\noverride = ["nonsense"]'})
    done = command("optics4f", "sampling", str(config))
    assert done.exit_code == 2
    assert "bench.override" in done.stderr


def test_less_light_and_fewer_levels_cost_accuracy_and_leave_the_student_as_it_was():
    """A closed form for accuracy there is not; the order of severity is known at the two extremes."""
    configuration = load_configuration(DEMO)
    data = load_digits(size=32)
    student = physical_student(configuration.settings.bench, 10, pool=4, initial_kernel=5, seed=0)
    from kd.training import TrainingSettings, fit

    fit(student, data, TrainingSettings(epochs=2, learning_rate=1e-2, mask_learning_rate_factor=5), seed=0)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    lines = list(ledger([student], data.test, FidelitySettings(bit_depths=(8, 1), exposures=(1e-7,))))
    accuracy = {(line["effect"], line["value"]): line["test_accuracy"]["mean"] for line in lines}
    assert accuracy["as trained", "all effects of the bench"] == evaluate(student, data.test).accuracy
    assert (
        abs(accuracy["quantization", "8 bit"] - accuracy["ideal", "continuous phase, no gaps, no camera noise"]) < 0.02
    )
    assert accuracy["quantization", "1 bit"] < accuracy["quantization", "8 bit"] - 0.1
    assert accuracy["camera", "1e-07 of the full well"] < 0.5  # white pixels give a fraction of an electron
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_the_gain_of_distillation_is_paired_by_seed():
    def row(*seeds):
        return {"test_accuracy": {"seeds": list(seeds)}}

    gain = kd_gain({"physical": row(0.90, 0.94), "physical_kd": row(0.93, 0.95)})
    assert gain["mean"] == pytest.approx(0.02)
    assert gain["standard_error"] == pytest.approx(0.01)  # gains 0.03 and 0.01
    assert "helped" in gain["verdict"]  # 0.02 is two standard errors of 0.01
    weak = kd_gain({"physical": row(0.90, 0.94), "physical_kd": row(0.95, 0.90)})
    assert "no effect" in weak["verdict"]
    assert "did not help" in kd_gain({"physical": row(0.9), "physical_kd": row(0.9)})["verdict"]


@pytest.fixture(scope="module")
def small(demo):
    return load_configuration(demo.parent / "small.toml").settings


def test_the_accuracies_are_those_of_the_checkpoints_on_the_test_images(demo, small):
    data = load_data(small)
    rows = json.loads((demo / "metrics.json").read_text())["rows"]
    for name in NAMES:
        for seed, stated in zip((0, 1), rows[name]["test_accuracy"]["seeds"], strict=True):
            model = trained(small, data, name, seed, demo / "checkpoints")
            predicted = evaluate(model, data.test).predictions
            assert (predicted == data.test.labels).double().mean().item() == pytest.approx(stated)


def test_masks_learn_where_they_should_and_stay_where_they_should(demo, small):
    data = load_data(small)
    for name, learns in (("physical", True), ("physical_kd", True), ("random_mask", False)):
        start = ROWS[name].build(small, data, 0).front_end.bench.slm.values
        end = trained(small, data, name, 0, demo / "checkpoints").front_end.bench.slm.values
        assert ((end - start).abs().max().item() > 0.1) == learns


def test_only_the_rows_that_say_so_are_taught_and_by_the_teacher_of_their_seed(demo, small, monkeypatch, tmp_path):
    taught = {}

    def spy(model, data, schedule, *, teacher=None, label="", **_):
        taught[label] = teacher
        raise InterruptedError

    monkeypatch.setattr(training_pool, "fit", spy)
    for name in NAMES:
        with pytest.raises(InterruptedError):
            training_pool.train(training_pool.Task(small, name, 1, demo / "checkpoints"))
    assert {name for name, teacher in taught.items() if teacher is not None} == {"sclc_kd", "physical_kd"}
    wanted = trained(small, load_data(small), "teacher", 1, demo / "checkpoints").state_dict()
    for name in ("sclc_kd", "physical_kd"):
        assert all(torch.equal(value, wanted[key]) for key, value in taught[name].state_dict().items())


def test_each_line_of_the_ledger_changes_what_it_names_and_nothing_else(small):
    student = physical_student(small.bench, 10, pool=4, initial_kernel=5, seed=0)
    sensor = student.front_end.bench.camera.sensor
    found = {}
    for effect in effects(FidelitySettings(bit_depths=(8, 2), fill_factors=(0.9,), exposures=(1e-3,))):
        changed = copy.deepcopy(student)
        effect.apply(changed)
        bench = changed.front_end.bench
        found[effect.name, effect.value] = (
            bench.slm.bit_depth, bench.slm.fill_factor, bench.camera.sensor, bench.camera.exposure
        )  # fmt: skip
    assert list(found.values()) == [
        (8, 0.957, sensor, 0.5),  # as trained
        (None, 1.0, None, 0.5),  # ideal
        (8, 1.0, None, 0.5),
        (2, 1.0, None, 0.5),
        (None, 0.9, None, 0.5),
        (None, 1.0, sensor, 0.5),
        (None, 1.0, sensor, 1e-3),
    ]


def test_the_change_of_the_ledger_is_against_the_hardware_as_trained(demo):
    lines = [json.loads(line) for line in (demo / "fidelity.jsonl").read_text().splitlines()]
    assert lines[0]["effect"] == "as trained"
    reference = lines[0]["test_accuracy"]["mean"]
    for line in lines:
        assert line["change"] == pytest.approx(line["test_accuracy"]["mean"] - reference)
    assert any(line["change"] != 0 for line in lines)


def test_the_cost_is_that_of_the_simulated_system(demo):
    cost = json.loads((demo / "metrics.json").read_text())["cost"]
    counts = {term["name"]: term["nominal"] for term in cost["optics"] if term["group"] == "count"}
    assert counts["exposures"] == 2  # two masks, one after the other
    assert counts["samples read"] == 2 * (16 * 16) ** 2  # 16 pixels of 16 binned ones, along both axes
    assert counts["digital MACs"] == 2 * 16 * 10
    times = {term["name"]: term["nominal"] for term in cost["optics"] if term["group"] == "latency"}
    assert times["camera readout"] == pytest.approx(2 / 75)
    assert times["exposure"] == pytest.approx(2e-3)
    # Break-even by hand: what the optics spend more than one plain capture, over the operations that they save.
    energies = {term["name"]: term["nominal"] for term in cost["optics"] if term["group"] == "energy"}
    fixed = sum(value for name, value in energies.items() if name != "digital readout")
    capture = 3.0 * (1e-3 + 1 / 75)
    rows = json.loads((demo / "metrics.json").read_text())["rows"]
    saved = rows["teacher"]["digital_macs"] - 320
    assert cost["break_even_energy_per_mac"]["nominal"] == pytest.approx((fixed - capture) / saved, rel=1e-6)


def test_the_masks_of_a_bundle_change_what_is_simulated_and_must_fit_the_bench(demo, tmp_path):
    from PIL import Image

    picture = tmp_path / "picture.png"
    Image.linear_gradient("L").save(picture)
    arguments = ["optics4f", "simulate", str(demo.parent / "small.toml"), "--image", str(picture)]
    shown = []
    for options in ([], ["--masks", str(demo / "masks.h5")]):
        out = tmp_path / f"{len(options)}.png"
        assert command(*arguments, *options, "--out", str(out)).exit_code == 0
        shown.append(out.read_bytes())
    assert shown[0] != shown[1]
    red = tmp_path / "red.toml"
    red.write_text((demo.parent / "small.toml").read_text().replace('"532 nm"', '"543 nm"'))
    done = command("optics4f", "simulate", str(red), "--image", str(picture), "--masks", str(demo / "masks.h5"))
    assert done.exit_code == 2
    assert "must be for this bench, but its bench." in done.stderr


def test_a_sixteen_bit_image_keeps_its_grays(tmp_path):
    import numpy as np
    from PIL import Image

    from optics4f.images import read_image

    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    assert read_image(tmp_path / "ramp.png", (64, 64)).mean().item() == pytest.approx(0.5, abs=1e-3)
