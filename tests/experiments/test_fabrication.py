"""Hidden benches are off by what is said, measured frames are learnt from rightly, and the command goes on."""

import copy
import json
import math
import statistics
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn
from typer.testing import CliRunner

from experiments.__main__ import app
from experiments.fabrication import page, run_fabrication, table_rows, verdict
from experiments.fabrication_bench import NOLL, HiddenSettings, give_effects, hidden_front_end, smooth_noise
from experiments.fabrication_run import STATES, normalised
from experiments.fabrication_settings import UNMOVED, load_fabrication
from experiments.paper_settings import CONFIGURATIONS
from experiments.sweep import Here
from kd.batches import epoch_of_batches
from kd.colour import ColourFrontEnd
from kd.data.images import DataSplits, LabelledImages
from kd.fabrication import MeasuredFrontEnd, Recorded, numbered, part_of, recorded
from kd.students import OpticalFrontEnd
from optics4f.config import ConfigError, bench_from, read_toml
from optics4f.effects import LUT, ORDER, Crosstalk, Flatness, PhaseRange
from optics4f.misalignment import Misalignment


def front_end(*, noise: bool = False, channels: int = 1, **camera) -> OpticalFrontEnd:
    """A bench with a non-square object, SLM and camera, one flat mask and one random."""
    content, _ = read_toml(CONFIGURATIONS / "paper_digits.toml")
    bench = content["bench"]
    bench["object"]["shape"] = [20, 28 * channels]
    bench["slm"] |= {"shape": [64, 72], "masks": 2}
    bench["camera"] |= {"shape": [14, 18], **camera}
    specification = bench_from(content, source="test")
    built = specification.build()
    masks = torch.zeros_like(built.slm.values)
    masks[1] = 0.5 * smooth_noise((1, 64, 72), 8.0, torch.Generator().manual_seed(1))[0].float()
    built.slm.set_values(masks)
    route = specification.build_route(built)
    return OpticalFrontEnd(route, noise=noise) if channels == 1 else ColourFrontEnd(route, channels=channels)


def picture() -> torch.Tensor:
    images = torch.zeros(2, 1, 20, 28)
    images[0, 0, 6:11, 9:15] = 0.8
    images[1, 0, 9:13, 12:21] = 0.6
    return images


def centroid(frame: torch.Tensor) -> tuple[float, float]:
    total = frame.sum()
    return tuple(((torch.arange(n) * frame.sum(1 - axis)).sum() / total).item() for axis, n in enumerate(frame.shape))


def test_a_bench_that_is_off_by_nothing_sees_what_the_twin_sees():
    front = front_end()
    with torch.no_grad():
        wanted = front(picture())
        for route in (None, "fourier_lens"):
            hidden, _ = hidden_front_end(front, HiddenSettings(route=route), seed=0)
            # Two routes in single precision may fall on either side of a rounded count.
            count = front.bench.camera.sensor.electrons_per_count / front.bench.camera.white
            torch.testing.assert_close(hidden(picture()), wanted, rtol=0, atol=2 * count)


def test_colour_is_hidden_and_measured_as_grey_is():
    front = front_end(channels=3)
    colours = torch.rand(2, 3, 20, 28, generator=torch.Generator().manual_seed(0))
    same, _ = hidden_front_end(front, HiddenSettings(), seed=0)
    assert torch.equal(recorded(same, colours, seed=1), recorded(front, colours, seed=1))
    other, drawn = hidden_front_end(front, HiddenSettings(brightness=0.2, mask_error=0.3), seed=0)
    believed, real = (recorded(f, colours, seed=1) for f in (front, other))
    # Masks that are off send light beside the camera and onto it; the brightness is most of the change.
    assert real.mean() / believed.mean() == pytest.approx(drawn["brightness"], rel=0.15)
    measured = MeasuredFrontEnd(front, other)
    measured.reseed(0)
    frames = measured(colours)
    frames.sum().backward()
    assert torch.equal(recorded(measured.measured, colours, seed=1), real)
    assert front.bench.slm.values.grad.abs().sum() > 0


def test_hiding_leaves_the_student_as_it_is():
    front = front_end()
    before = {name: tensor.clone() for name, tensor in front.state_dict().items()}
    with torch.no_grad():
        wanted = front(picture())
        hidden_front_end(front, HiddenSettings(gamma=1.3, mask_error=1, camera_shift=1, brightness=0.3), seed=0)
        assert torch.equal(front(picture()), wanted)
    assert all(torch.equal(tensor, before[name]) for name, tensor in front.state_dict().items())


def test_a_camera_beside_its_place_sees_the_image_on_the_other_side():
    front = front_end()
    hidden, drawn = hidden_front_end(front, HiddenSettings(camera_shift=1.25), seed=3)
    pitch = front.bench.camera.grid.pitch
    assert math.hypot(drawn["camera_shift_y"], drawn["camera_shift_x"]) == pytest.approx(1.25 * pitch)
    with torch.no_grad():
        for believed, real in zip(front(picture())[:, 0], hidden(picture())[:, 0], strict=True):
            moved = [b - a for a, b in zip(centroid(believed), centroid(real), strict=True)]
            # 5 %: light diffracted to the rim of the frame leaves it or comes in.
            assert moved == pytest.approx([-drawn[f"camera_shift_{a}"] / pitch for a in "yx"], abs=0.06)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_light_that_is_not_believed_is_counted(seed):
    front = front_end()
    hidden, drawn = hidden_front_end(front, HiddenSettings(brightness=0.25), seed=seed)
    assert drawn["brightness"] in (0.75, 1.25)
    with torch.no_grad():
        ratio = hidden(picture()).sum() / front(picture()).sum()
    assert ratio.item() == pytest.approx(drawn["brightness"], rel=1e-3)


def test_levels_stay_and_show_other_phases():
    front = front_end()
    hidden, drawn = hidden_front_end(front, HiddenSettings(gamma=1.3), seed=0)
    levels, slm = front.bench.slm.levels(), hidden.bench.slm
    assert torch.equal(slm.levels(), levels)
    assert drawn["gamma"] == pytest.approx(1.3) or drawn["gamma"] == pytest.approx(1 / 1.3)
    span = 2 * math.pi
    wanted = torch.polar(torch.ones(()), (span * (levels / 2**slm.bit_depth) ** drawn["gamma"]).float())
    torch.testing.assert_close(slm.pixel_modulation(), wanted, rtol=0, atol=1e-5)
    assert slm.effect(LUT).calibrated is False


def test_masks_are_off_by_what_is_said_and_differ():
    front = front_end()
    front.bench.slm.switch(fill_factor=False)  # its gaps reflect light that no mask has touched
    settings = HiddenSettings(mask_error=0.7, aberration=0.4, correlation=5)
    both, drawn = hidden_front_end(front, settings, seed=2)
    own, _ = hidden_front_end(front, HiddenSettings(mask_error=0.7, correlation=5), seed=2)
    errors = [f.bench.slm.modulation() / front.bench.slm.modulation() for f in (own, both)]
    # Angles beyond pi are folded: of a normal error of 0.7 rad some 1e-5.
    assert errors[0].angle().square().mean((-2, -1)).sqrt().tolist() == pytest.approx([0.7, 0.7], rel=1e-3)
    assert (errors[0][0] - errors[0][1]).abs().mean() > 0.5, "each mask has its own"
    shared = errors[1] / errors[0]
    torch.testing.assert_close(shared[0], shared[1], rtol=0, atol=1e-5)
    assert math.hypot(*(drawn[f"aberration_{j}"] for j in NOLL)) == pytest.approx(0.4)


def test_smooth_noise_is_correlated_as_its_formula():
    maps = smooth_noise((6, 240, 320), 4.0, torch.Generator().manual_seed(0))
    assert maps.square().mean((-2, -1)).tolist() == pytest.approx([1.0] * 6)
    for lag in (2, 4, 8):
        for axis in (-2, -1):
            measured = (maps * maps.roll(lag, axis)).mean().item()
            # 6 maps of some 240 x 320 / (4 pi 16) independent patches: 1.6 %.
            assert measured == pytest.approx(math.exp(-(lag**2) / (4 * 4.0**2)), abs=0.06)


def test_noise_and_patterns_are_those_of_the_hidden_sensor():
    front = front_end(noise=True, offset=20.0)
    hidden, _ = hidden_front_end(front, HiddenSettings(read_noise=3, dsnu=5), seed=7)
    camera, sensor = front.bench.camera, front.bench.camera.sensor
    frames = recorded(hidden, torch.zeros(60, 1, 20, 28), seed=0)[:, 0]
    pixels, count = camera.binning**2, sensor.electrons_per_count
    wanted = pixels * ((3 * sensor.read_noise) ** 2 + count**2 / 12)  # electrons, by EMVA 1288
    # 252 pixels of 60 draws: 1.2 %.
    assert frames.var(0).mean().item() * camera.white**2 == pytest.approx(wanted, rel=0.05)
    pattern = frames.mean(0).var().item() * camera.white**2 - wanted / 60
    assert pattern == pytest.approx(pixels * 5**2, rel=0.3)  # the variance of 252 draws: 9 %
    assert frames.mean().item() * camera.white == pytest.approx(0, abs=5 * math.sqrt(pixels))  # black level taken off


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda front: nn.Conv2d(1, 1, 3), "4f bench"),
        (lambda front: setattr(front.bench, "slm_position", Misalignment(shift=(1e-6, 0))) or front, "displaced"),
        (lambda front: setattr(front.bench.camera, "sensor", None) or front, "sensor"),
    ],
)
def test_what_cannot_be_hidden_is_refused(change, word):
    with pytest.raises(ValueError, match=word):
        hidden_front_end(change(front_end()), HiddenSettings(), seed=0)


def some_data(count: int = 40) -> DataSplits:
    """Images of one value each, whose label is told by it."""
    generator = torch.Generator().manual_seed(5)
    splits = {}
    for name, n in (("train", count), ("validation", 11), ("test", 7)):
        labels = torch.randint(0, 3, (n,), generator=generator)
        labels[0] = 2
        splits[name] = LabelledImages((labels / 2)[:, None, None, None].expand(n, 1, 5, 4).contiguous(), labels)
    return DataSplits(name="some", classes=("a", "b", "c"), **splits)


def test_numbers_find_what_was_recorded_and_stay_with_their_labels():
    data = some_data(4001)
    by_number = numbered(data)
    record = torch.cat([data.train.labels, data.validation.labels, data.test.labels])
    look_up = Recorded(nn.Identity(), record)
    batches = epoch_of_batches(
        by_number.train,
        UNMOVED,
        size=64,
        turns=1,
        processes=1,
        process=0,
        generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )
    seen = [(look_up(numbers), labels) for batch in batches for numbers, labels in batch]
    assert sum(len(labels) for _, labels in seen) == 4001
    assert all(torch.equal(found, labels) for found, labels in seen), "each batch finds the records of its images"
    for part in (by_number.validation, by_number.test):
        assert torch.equal(look_up(part.images), part.labels)
    last = torch.tensor([2.0**24 - 1]) * 2.0**-24  # the largest number is told from the one before
    assert (last / 2.0**-24).item() == 2**24 - 1


def test_effects_are_given_in_the_order_of_the_light():
    """Of two of a name the new one acts; a table knows the range of its phases, and nothing else replaces one."""
    slm = front_end(noise=False).bench.slm
    old, new = (Flatness(torch.full(slm.grid.shape, value)) for value in (0.1, 0.2))
    slm.effects = nn.ModuleDict({"phase_range": PhaseRange(6.0), "flatness": old})
    give_effects(slm, {"flatness": new, "crosstalk": Crosstalk(0.5)})
    assert {"phase_range", "flatness", "crosstalk"} == set(slm.effects) and slm.effects["flatness"] is new
    give_effects(slm, {"lut": LUT(torch.linspace(0, 6, 256), torch.ones(256))})
    assert list(slm.effects) == [kind.name for kind in ORDER if kind.name in ("lut", "crosstalk", "flatness")]


def test_a_part_is_measured_and_all_test_images_stay():
    data = some_data()
    part = part_of(data, 0.25, seed=3)
    assert (len(part.train), len(part.validation)) == (10, 3) and part.test is data.test
    assert torch.equal(part.train.labels, part_of(data, 0.25, seed=3).train.labels)
    assert part_of(data, 1.0, seed=3).train.labels.tolist() == data.train.labels.tolist()
    with pytest.raises(ValueError, match="two validation images"):
        part_of(data, 0.1, seed=0)
    with pytest.raises(ValueError, match="share"):
        part_of(data, 0.0, seed=0)


def test_values_are_measured_and_gradients_are_the_twins():
    """For a linear functional of the frames the gradient knows nothing of the hidden bench."""
    front = front_end(noise=True)
    hidden, _ = hidden_front_end(front, HiddenSettings(camera_shift=1, mask_error=0.5, brightness=0.2), seed=1)
    twin = copy.deepcopy(front)
    measured = MeasuredFrontEnd(front, hidden)
    new = front.bench.slm.values.detach() + 0.4
    for slm in (front.bench.slm, twin.bench.slm):
        slm.set_values(new)
    weights = torch.randn(14, 18, generator=torch.Generator().manual_seed(0))
    measured.reseed(4)
    frames = measured(picture())
    (frames * weights).sum().backward()
    twin.reseed(4)
    (twin(picture()) * weights).sum().backward()
    torch.testing.assert_close(front.bench.slm.values.grad, twin.bench.slm.values.grad)
    assert torch.equal(hidden.bench.slm.levels(), front.bench.slm.levels()), "the hidden bench shows the new masks"
    with torch.no_grad():
        alone = recorded(hidden, picture(), seed=5)
        assert (frames - twin(picture())).abs().max() > 0.05
    torch.testing.assert_close(frames.detach(), alone, rtol=0, atol=1e-6)
    assert all(p.grad is None and not p.requires_grad for p in hidden.parameters())


def test_statistics_are_those_of_the_measured_frames():
    readout = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 3))
    frames = 3 + 2 * torch.randn(1024, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    found = normalised(readout, frames)
    torch.testing.assert_close(found[1].running_mean, frames.flatten(1).mean(0))
    torch.testing.assert_close(found[1].running_var, frames.flatten(1).var(0), rtol=0.02, atol=0)  # mean of four parts
    assert torch.equal(readout[1].running_mean, torch.zeros(12)) and torch.equal(found[2].weight, readout[2].weight)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The digits with few epochs, two masks and a hidden bench that costs much."""
    folder = tmp_path_factory.mktemp("fabrication")
    paper = (CONFIGURATIONS / "paper_digits.toml").read_text().replace("shape = [128, 128]", "shape = [64, 64]")
    for epochs, fewer in (("epochs = 15", "epochs = 3"), ("epochs = 30", "epochs = 5\nbatch_size = 128")):
        paper = paper.replace(epochs, fewer)
    (folder / "paper_small.toml").write_text(paper.replace("masks = 4", "masks = 2"))
    text = (CONFIGURATIONS / "fabrication_digits.toml").read_text().replace("paper_digits", "paper_small")
    for epochs, fewer in (
        ("epochs = 100", "epochs = 8"),
        ("epochs = 50", "epochs = 2"),
        ("epochs = 30", "epochs = 5"),
        ("epochs = 400", "epochs = 60\npoints = 12"),
        ("epochs = 20", "epochs = 3"),
    ):
        assert epochs in text, epochs
        text = text.replace(epochs, fewer)
    (folder / "fabrication_small.toml").write_text(text)
    return folder / "fabrication_small.toml"


def test_students_are_trained_where_they_are_missing_and_won_back(small, tmp_path, monkeypatch):
    for module in ("fabrication", "paper"):  # processes of their own are the business of test_sweep.py
        monkeypatch.setattr(f"experiments.{module}.LocalPool", lambda workers: Here())
    configuration, console = load_fabrication(small), Console(quiet=True)
    (result,) = run_fabrication(configuration, tmp_path / "out", tmp_path / "paper", console, seeds=[1], workers=1)
    states = result["states"]
    assert list(states) == list(STATES)
    lost = states["twin"]["test_accuracy"] - states["hidden"]["test_accuracy"]
    assert result["lost"] == pytest.approx(lost) and lost > 0.05
    for name, state in list(states.items())[2:]:
        won = state["test_accuracy"] - states["hidden"]["test_accuracy"]
        assert state["recovered"] == pytest.approx(won / lost), name
    assert states["labels"]["images_measured"] == 120 + 20 and states["all_images"]["images_measured"] == 1200 + 197
    print({name: round(state["test_accuracy"], 3) for name, state in states.items()})
    assert states["twin_frames"]["recovered"] < states["labels"]["recovered"], "hidden frames are what helps"
    unexplained = states["fitted"]["unexplained"]
    assert unexplained["after"] < 0.5 * unexplained["before"]
    assert states["fitted"]["recovered"] > 0.3, "of a fit and a training that are short"
    trained = json.loads((tmp_path / "paper" / "small.jsonl").read_text().splitlines()[-1])
    assert trained["test_accuracy"] == states["twin"]["test_accuracy"], "the same student, read in the same way"
    lines = [json.loads(line) for line in (tmp_path / "out" / "fabrication_small.jsonl").read_text().splitlines()]
    assert {line["row"] for line in lines} == {f"fabrication_{name}" for name in STATES}
    assert {"dataset", "seed", "test_accuracy", "config", "commit", "duration_seconds"} <= set(lines[0])
    assert "physics-aware" in (tmp_path / "out" / "fabrication_small.md").read_text()
    monkeypatch.setattr("experiments.sweep.perform_on_one_thread", None)
    again = run_fabrication(configuration, tmp_path / "out", tmp_path / "paper", console, seeds=[1], workers=1)
    assert again == [result]


def result(seed: int, twin: float, hidden: float, after: float, **others: float) -> dict:
    lost, states = twin - hidden, {}
    for name in STATES:
        accuracy = others.get(name, after)
        won = (accuracy - hidden) / (twin - hidden) if twin > hidden else None
        states[name] = {"test_accuracy": accuracy, "recovered": won, "images_measured": 5}
    states["fitted"]["unexplained"] = {"before": 0.5, "after": 0.01}
    states["twin"] = {"test_accuracy": twin, "recovered": None}
    states["hidden"] = {"test_accuracy": hidden, "recovered": None}
    return {"seed": seed, "lost": lost, "states": states}


def test_shares_are_told_with_their_spread():
    results = [result(0, 0.99, 0.79, 0.95), result(1, 0.98, 0.88, 0.97)]
    rows = {row["state"]: row for row in table_rows(results)}
    assert rows["kd"]["recovered [%]"] == f"85.00 +- {math.hypot(5, 5):.2f}"
    assert rows["hidden"]["test accuracy [%]"] == f"83.50 +- {math.sqrt(2) * 4.5:.2f}"
    assert rows["twin"]["seeds"] == "99.00 98.00"
    assert "labels 85.0% (least 80.0%, reached)" in verdict(results)
    assert "missed" in verdict([result(0, 0.99, 0.79, 0.9)])
    control = [result(0, 0.9, 0.5, 0.9, unfitted=0.54), result(1, 0.9, 0.7, 0.9, unfitted=0.68)]
    assert " without the fit recovers 0.0% (most 10.0%)." in verdict(control)
    del control[1]["states"]["unfitted"]
    assert "without the fit" not in verdict(control), "of all seeds or of none"
    assert "nothing is lost" in verdict([*results, result(2, 0.9, 0.95, 0.9)])


def test_what_is_no_better_than_labels_has_no_recovery_of_its_own(small):
    # kd is 1, 2 and 3 points better than labels: 2 +- 4.303 * 1 / sqrt(3). ntk is 0.5 better, 1.5 worse and as good.
    labels = (0.90, 0.91, 0.92)
    kd, ntk = (0.91, 0.93, 0.95), (0.905, 0.895, 0.92)
    results = [result(n, 0.99, 0.5, labels[n], kd=kd[n] + 0.01, ntk=ntk[n]) for n in range(3)]
    rows = {row["state"]: row["less labels [points]"] for row in table_rows(results)}
    assert rows["kd"] == f"+3.00 +- {4.303 / math.sqrt(3):.2f}"
    assert rows["ntk"] == f"-0.33 +- {4.303 * statistics.stdev((0.5, -1.5, 0)) / math.sqrt(3):.2f}"
    assert rows["masks"] == "+0.00 +- 0.00" and rows["labels"] == rows["twin"] == rows["hidden"] == ""
    told = verdict(results)
    recovered, _, compared = told.partition("learn from labels, too")
    assert "labels 83.7%" in recovered and "kd 89.8%" in recovered and "masks 83.7%" in recovered
    assert "ntk" not in recovered.partition("Both")[0]
    assert "kd +3.00 +- 2.48 points;" in compared
    assert "ntk -0.33 +- 2.59 points, not told from labels alone: its 83.0% are not its own" in compared
    # One seed has no interval, and tells nothing of this kind.
    alone = verdict(results[:1])
    assert "kd +2.00 points, not told from labels alone" in alone and "inf" not in alone + str(table_rows(results[:1]))
    measured = {"measured": {"train": 12, "validation": 2}, "images": {"train": 120, "validation": 20, "test": 9}}
    text = " ".join(page(load_fabrication(small), [one | measured for one in results]).split())
    assert "each estimated from 1 random direction in each step" in text
    assert "| readout fine-tuned on labels and tangent kernels |" in text


def test_files_without_a_twin_have_no_states_of_it(small):
    text = small.read_text()
    plain = small.with_name("plain.toml")
    plain.write_text(text[: text.index("[compensation.twin]")])
    measured = {"measured": {"train": 12, "validation": 2}, "images": {"train": 120, "validation": 20, "test": 9}}
    results = [result(n, 0.99, 0.79, 0.95 + n / 100) | measured for n in range(2)]
    whole = page(load_fabrication(small), results)
    assert "fitted 82.5% (least 80.0%, reached)" in whole and "| fitted_kd |" in whole
    words = " ".join(whole.split())
    assert "at most 0.01 of the frames' variance unexplained, on held-out images" in words and "24 x 24" not in words
    assert "has all errors that are drawn here but the fixed patterns" in words
    turned = small.with_name("turned.toml")
    turned.write_text(text.replace("slm_shift = 3 ", 'slm_rotation = "1 deg"\nslm_shift = 3 '))
    assert "knows no rotation" in " ".join(page(load_fabrication(turned), results).split())
    coarse = small.with_name("coarse.toml")
    coarse.write_text(text.replace("correlation = 6 ", "correlation = 5 "))
    assert "knows no phase of a mask finer than these points" in " ".join(
        page(load_fabrication(coarse), results).split()
    )
    for one in results:
        for name in ("fitted", "fitted_kd", "unfitted"):
            del one["states"][name]
    assert "fitted" not in page(load_fabrication(plain), results)


def test_each_file_has_a_folder_of_its_own(small, tmp_path, monkeypatch):
    """Two files that hide other benches from the same students do not write over each other."""
    monkeypatch.chdir(tmp_path)
    folders = []
    monkeypatch.setattr("experiments.fabrication.run_fabrication", lambda *given, **_: folders.append(given[1:3]))
    for name in ("digits", str(CONFIGURATIONS / "fabrication_digits_turned.toml"), str(small)):
        printed = CliRunner().invoke(app, ["fabrication", name])
        assert printed.exit_code == 0, printed.output
    runs = Path("runs")
    assert [out for out, _ in folders] == [runs / f"fabrication_{n}" for n in ("digits", "digits_turned", "small")]
    assert [students for _, students in folders] == [runs / f"paper_{n}" for n in ("digits", "digits", "small")]


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (CONFIGURATIONS.parent / "results").glob("fabrication_*.md"))
)
def test_the_committed_pages_are_what_their_runs_say(name):
    """Without what made them; a line of the record has the state's own words besides those of its seed."""
    configuration, folder = load_fabrication(CONFIGURATIONS / f"{name}.toml"), CONFIGURATIONS.parent / "results"
    seeds: dict[int, dict] = {}
    for line in map(json.loads, (folder / f"{name}.jsonl").read_text().splitlines()):
        assert line["config"] == f"{name}.toml"
        seeds.setdefault(line["seed"], line | {"states": {}})["states"][line["row"].removeprefix("fabrication_")] = line
    again = page(configuration, [seeds[seed] for seed in sorted(seeds)])
    assert (folder / f"{name}.md").read_text().partition("## Made with")[0] == again.partition("## Made with")[0]


def test_probes_are_set_in_the_file(small):
    plain = load_fabrication(small)
    assert (plain.settings.compensation.probes, plain.settings.compensation.crossed) == (1, False)
    more = small.with_name("more.toml")
    more.write_text(small.read_text().replace("kernel_weight = 1", "kernel_weight = 1\nprobes = 16\ncrossed = true"))
    changed = load_fabrication(more)
    assert (changed.settings.compensation.probes, changed.settings.compensation.crossed) == (16, True)
    assert changed.mark != plain.mark


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("kernel_weight = 1", "kernel_weight = 1\nprobes = 0", "probes"),
        ('"physical_kd"', '"linear"', "students.row"),
        ("[compensation.masks]", "[compensation.masks]\naugmentation = { flip = true }", "augmentation"),
        ("camera_shift", "camera_schift", "camera_shift"),
        ("paper_small", "paper_nothing", "paper_nothing"),
        ("[compensation.fitted]", "[compensation.all]", "compensation.all"),
        ("[compensation.twin]", "[compensation.everything]", "everything"),
        ("points = 12", "points = 1", "compensation.twin.points"),
        ("[compensation.fitted]", "[compensation.fitted]\ncurriculum = 0.5", "fitted.curriculum"),
        ("[compensation.fitted]", "[compensation.fitted]\nclass_balance = 1", "fitted.class_balance"),
    ],
)
def test_settings_that_cannot_be_are_one_line(small, old, new, word):
    wrong = small.with_name("wrong.toml")
    wrong.write_text(small.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=word) as caught:
        load_fabrication(wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.glob("fabrication_*.toml")), ids=lambda p: p.stem)
def test_every_set_can_be_hidden(path):
    configuration = load_fabrication(path)
    bench = configuration.paper.settings.bench
    route = bench.build_route(bench.build())
    hidden, _ = hidden_front_end(OpticalFrontEnd(route, noise=False), configuration.settings.hidden, seed=0)
    with torch.no_grad():
        assert hidden(torch.full((1, 1, *bench.object.shape), 0.5)).shape[1] == bench.slm.masks


def test_a_set_without_a_file_is_one_line(tmp_path):
    printed = CliRunner().invoke(app, ["fabrication", "mnst", "--out", str(tmp_path)], env={"COLUMNS": "200"})
    assert printed.exit_code in (1, 2)
    assert "mnist" in printed.output and "Traceback" not in printed.output
