"""The table of class maps on street scenes that the test draws: rows, geometry, IoU, resumption, statistics."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from scipy import stats
from typer.testing import CliRunner

from experiments.__main__ import app
from experiments.paper import run_paper
from experiments.paper_run import nonlinearity
from experiments.paper_segmentation import (
    SEGMENTATION,
    scores,
    segmentation_lines,
    segmentation_method,
    segmentation_row,
    segmentation_words,
    segments,
)
from experiments.paper_segmentation_rows import SEGMENTATION_ROWS
from experiments.paper_settings import CONFIGURATIONS, load_paper
from experiments.paper_statistics import SCOPE, gap_closed
from experiments.sweep import Here
from kd.data.catalogue import load
from kd.data.segmentation import CAMVID
from kd.evaluation import Evaluation
from optics4f.config import ConfigError

HEIGHT, WIDTH = 12, 16


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sky (0) above road (3), a car (8) on it, a strip of unlabelled (11); grey values that tell them apart."""
    draws = np.random.default_rng(seed)
    labels = np.full((HEIGHT, WIDTH), 3)
    labels[: HEIGHT // 2] = 0
    x = draws.integers(0, WIDTH - 5)
    labels[HEIGHT // 2 - 1 : HEIGHT // 2 + 3, x : x + 5] = 8
    labels[-1] = 11
    grey = np.array([220, 0, 0, 120, 0, 0, 0, 0, 30, 0, 0, 60])[labels] + draws.integers(0, 20, labels.shape)
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8), labels.astype(np.uint8)


@pytest.fixture(scope="module")
def streets(tmp_path_factory) -> Path:
    """A data root with a small set in CamVid's layout."""
    root = tmp_path_factory.mktemp("data")
    for offset, (split, count) in enumerate((("train", 8), ("val", 3), ("test", 33))):
        lines = []
        for number in range(count):
            picture, labels = scene(100 * offset + number)
            for folder, pixels in ((split, picture), (f"{split}annot", labels)):
                (root / "CamVid" / folder).mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / "CamVid" / folder / f"{number}.png")
            lines.append(f"/SegNet/CamVid/{split}/{number}.png /SegNet/CamVid/{split}annot/{number}.png")
        (root / "CamVid" / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def here(streets, monkeypatch) -> Path:
    """The small set is found, and runs are done in this process: others take seconds to start."""
    monkeypatch.setenv("OPTICS4F_DATA", str(streets))
    monkeypatch.setattr("experiments.paper.LocalPool", lambda workers: Here())
    return streets


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """The file for CamVid with small planes, two masks and one epoch."""
    text = (CONFIGURATIONS / "paper_camvid.toml").read_text()
    for long, short in (
        ("[72, 96]", f"[{HEIGHT}, {WIDTH}]"),
        ("[36, 48]", f"[{HEIGHT // 2}, {WIDTH // 2}]"),
        ("shape = [128, 128]", "shape = [64, 64]"),
        ("masks = 16", "masks = 2"),
        ("teacher_width = 16", "teacher_width = 2"),
    ):
        assert long in text, long
        text = text.replace(long, short)
    lines = ["epochs = 1" if line.startswith("epochs") else line for line in text.splitlines()]
    path = tmp_path_factory.mktemp("paper") / "small.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_every_row_gives_a_class_map_and_only_the_linear_ones_are_linear(small, here):
    settings = load_paper(small).settings
    data = load("camvid", **settings.data.options)
    decoders = set()
    for name, row in SEGMENTATION_ROWS.items():
        model = row.build(settings, data, 0)
        if hasattr(model, "reseed"):
            model.reseed(0)
        with torch.no_grad():
            assert model.eval()(data.test.images[:3]).shape == (3, 11, HEIGHT, WIDTH), name
        if name != "teacher":
            assert (nonlinearity(model, data) < 1e-4) == row.linear, name
            if not name.startswith("readout_only"):  # one map instead of two
                decoders.add(str(model.readout.decoder))
    assert len(decoders) == 1, "the same decoder for all"


@pytest.mark.parametrize("row", ["plain_lens", "readout_only"])
def test_maps_lie_where_the_image_is(small, here, row):
    """The camera sees the object turned by 180 degrees and half as fine: what is put in at one place stays there."""
    settings = load_paper(small).settings
    data = load("camvid", **settings.data.options)
    model = SEGMENTATION_ROWS[row].build(settings, data, 0)
    if hasattr(model, "reseed"):
        model.front_end.noise = False
    model.readout.decoder = torch.nn.Identity()
    image = torch.zeros(1, 1, HEIGHT, WIDTH)
    image[..., 2:6, 9:13] = 1  # its middle is at row 3.5 and column 10.5
    with torch.no_grad():
        maps = model(image)[0, 0].double()
    y, x = (torch.arange(n, dtype=torch.float64) * 2 + 0.5 for n in maps.shape)  # middles of the camera's pixels
    middle = [(maps.sum(1) @ y / maps.sum()).item(), (maps.sum(0) @ x / maps.sum()).item()]
    # Symmetric about its middle but for what the small camera cuts off, on one side more than on the other.
    assert middle == pytest.approx([3.5, 10.5], abs=0.3)


def test_the_table_has_iou_and_goes_on_where_it_stopped(small, here, tmp_path):
    configuration, console = load_paper(small), Console(quiet=True)
    assert segments(configuration)
    first = run_paper(configuration, tmp_path, console, rows=["physical_kd"], seeds=[0], workers=1, table=SEGMENTATION)
    assert [r["row"] for r in first] == ["teacher", "physical_kd"], "who is taught brings the teacher"
    kept = (tmp_path / "results.jsonl").read_text()
    again = run_paper(configuration, tmp_path, console, rows=["linear"], seeds=[0], workers=1, table=SEGMENTATION)
    assert [r["row"] for r in again] == ["teacher", "linear", "physical_kd"]
    assert set(kept.splitlines()) < set((tmp_path / "results.jsonl").read_text().splitlines())
    lines = {line["row"]: line for line in map(json.loads, (tmp_path / "small.jsonl").read_text().splitlines())}
    for line in lines.values():
        assert {"dataset", "seed", "test_miou", "car_iou", "config", "commit", "duration_seconds"} <= set(line)
        there = [value for value in line["iou"].values() if value is not None]
        assert line["test_miou"] == pytest.approx(np.mean(there)), line["row"]
        assert line["car_iou"] == line["iou"]["car"]
    assert set(lines["linear"]["iou"]) == set(CAMVID)
    assert lines["linear"]["front_end_nonlinearity"] < 1e-4
    physical = lines["physical_kd"]
    assert 0 < physical["light_in_window"] <= 1.001 and physical["electrons_per_image"] > 0
    pixels = HEIGHT * WIDTH // 4
    assert physical["digital_macs"] == pixels * (9 * 2 * 32 + 32 * 11), "the decoder alone, at the camera's pixels"
    assert lines["linear"]["digital_macs"] == physical["digital_macs"] + HEIGHT * WIDTH * 49 * 2
    assert "physical_kd" in (tmp_path / "small.md").read_text()


def test_a_model_that_is_trained_is_not_trained_again(small, here, tmp_path, monkeypatch):
    first = segmentation_row(str(small), "physical", 1, folder=str(tmp_path))
    monkeypatch.setattr("experiments.paper_run.fit", None)
    again = segmentation_row(str(small), "physical", 1, folder=str(tmp_path))
    assert {**again, "duration_seconds": 0} == {**first, "duration_seconds": 0}


def test_iou_is_counted_by_hand_and_a_class_that_is_nowhere_has_none():
    confusion = torch.tensor([[6, 2, 0], [1, 3, 0], [0, 0, 0]])  # true class by row
    found = scores(Evaluation(0.75, 0.0, confusion, torch.zeros(1, 3, 4)), ("road", "car", "sky"))
    assert found["iou"] == {"road": pytest.approx(6 / 9), "car": pytest.approx(3 / 6), "sky": None}
    assert found["test_miou"] == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert found["car_iou"] == pytest.approx(0.5)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert "car_iou" not in scores(Evaluation(0.75, 0.0, confusion, torch.zeros(1, 3, 4)), ("a", "b", "c"))


def line(row, seed, miou, car):
    return {"row": row, "seed": seed, "test_miou": miou, "car_iou": car, "iou": {"car": car, "sign": None}}


def test_the_share_of_the_gap_is_paired_by_seed_with_the_interval_of_a_ratio():
    linear, teacher, taught = (0.20, 0.22, 0.21), (0.40, 0.41, 0.45), (0.32, 0.33, 0.31)
    results = []
    for row, values in (("linear", linear), ("teacher", teacher), ("physical_kd", taught)):
        results += [line(row, seed, value, value / 2) for seed, value in enumerate(values)]
    results.append(line("physical_kd", 9, 0.9, 0.9))  # nothing to compare with
    gap = gap_closed(results, "physical_kd", low="linear", measure="test_miou")
    for end in (gap.low, gap.high):
        left = [p - a - end * (t - a) for a, t, p in zip(linear, teacher, taught, strict=True)]
        assert stats.ttest_1samp(left, 0).pvalue == pytest.approx(0.05, abs=1e-9)
    words = segmentation_words(results)
    assert f"mIoU: physical_kd closes {gap.share:.0%} (95 %: {gap.low:.0%} to {gap.high:.0%}) of the gap" in words
    assert "car IoU: physical_kd closes" in words and "sign -" in words and f"- {SCOPE}" in words
    assert "Distillation" not in words, "there is nobody to compare with"
    light = [line("physical_linear_kd", seed, value, value / 2) for seed, value in enumerate(taught)]
    assert "mIoU: physical_linear_kd closes" in segmentation_words([*results, *light])
    gains = (0.01, 0.02, 0.03)
    untaught = [
        line("physical", seed, value - gain, 0.1) for seed, (value, gain) in enumerate(zip(taught, gains, strict=True))
    ]
    half = 100 * stats.t.ppf(0.975, 2) * stats.sem(gains)
    words = segmentation_words([*results, *untaught])
    assert f"Distillation, physical: +2.00 +- {half:.2f} points of mIoU (95 %, paired by seed)" in words
    untaught = [line("physical", seed, value - 0.02, 0.1) for seed, value in enumerate(taught)]
    words = segmentation_words([*results, *untaught])
    assert "Distillation, physical: +2.00 points of mIoU in each seed, from which no interval follows" in words


def test_the_table_has_the_columns_of_a_classification_table():
    some = {
        "row": "physical",
        "seed": 0,
        "test_miou": 0.2,
        "parameters": 99,
        "readout_parameters": 7,
        "digital_macs": 2,
    }
    row = segmentation_lines([{**some, "electrons_per_image": 2e6, "light_in_window": 0.9, "light_on_camera": 0.02}])[0]
    assert row["electronic parameters"] == "7", "those of the masks are not"
    assert (row["light in the window"], row["light on the camera"]) == ("90%", "2%")
    assert row["light an image"] == "2e+06 electrons"


def test_the_command_takes_the_table_of_the_task(small, here, tmp_path):
    out = tmp_path / "out"
    arguments = ["paper", str(small), "--row", "readout_only", "--seed", "0", "--workers", "1", "--out", str(out)]
    printed = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert printed.exit_code == 0, printed.output
    assert "test_miou" in (out / "small.jsonl").read_text()
    assert not segments(load_paper(CONFIGURATIONS / "paper_mnist.toml"))


def test_the_method_tells_whether_rare_classes_counted_more():
    configuration = load_paper(CONFIGURATIONS / "paper_camvid.toml")

    def told(teacher: float, student: float) -> str:
        powers = {"teacher": teacher, "student": student}
        changes = {
            name: getattr(configuration.settings, name).model_copy(update={"class_balance": power})
            for name, power in powers.items()
        }
        changed = replace(configuration, settings=configuration.settings.model_copy(update=changes))
        return segmentation_method(changed, [])

    assert "median frequency" not in told(0, 0)
    assert "median frequency to the power of 1 for teacher and 0.5 for students. " in told(1, 0.5)


def test_a_root_reaches_the_decoders_of_all_rows_and_the_page(small, here, tmp_path):
    path = tmp_path / "root.toml"
    path.write_text(small.read_text().replace("hidden = [32]", "hidden = [32]\nroot = 0.01"))
    configuration = load_paper(path)
    data = load("camvid", **configuration.settings.data.options)
    decoders = [
        row.build(configuration.settings, data, 0) for name, row in SEGMENTATION_ROWS.items() if name != "teacher"
    ]
    assert {model.readout.decoder.root for model in decoders} == {0.01}
    assert "camera's size: root of the signal from 0.01 on, 3 x 3 to 32 maps" in segmentation_method(configuration, [])
    assert "root" not in segmentation_method(load_paper(small), [])
    path.write_text(small.read_text().replace("hidden = [32]", "hidden = [32, 6]"))
    assert "size: 3 x 3 to 32 maps, ReLU, 3 x 3 to 6 maps, ReLU, 1 x 1" in segmentation_method(load_paper(path), [])


def test_coordinates_reach_the_decoders_of_all_rows_and_the_page(small, here, tmp_path):
    path = tmp_path / "places.toml"
    path.write_text(small.read_text().replace("hidden = [32]", "hidden = [32]\ncoordinates = true"))
    configuration = load_paper(path)
    data = load("camvid", **configuration.settings.data.options)
    for name, row in SEGMENTATION_ROWS.items():
        told = [type(layer).__name__ for layer in row.build(configuration.settings, data, 0).modules()]
        assert told.count("Coordinates") == (name != "teacher"), name
    assert "size: row and column of each pixel as two more maps, 3 x 3 to" in segmentation_method(configuration, [])
    path.write_text(
        (CONFIGURATIONS / "paper_digits.toml").read_text().replace("pool = 4", "pool = 4\ncoordinates = true")
    )
    with pytest.raises(ConfigError, match="coordinates must be left out for digits: it has no class maps"):
        load_paper(path)


def test_dilations_reach_the_decoders_and_the_page(small, here, tmp_path):
    path = tmp_path / "context.toml"
    path.write_text(small.read_text().replace("hidden = [32]", "hidden = [32, 8]\ndilations = [1, 4]"))
    configuration = load_paper(path)
    data = load("camvid", **configuration.settings.data.options)
    decoder = SEGMENTATION_ROWS["physical"].build(configuration.settings, data, 0).readout.decoder
    steps = [layer.dilation for layer in decoder.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert steps == [(1, 1), (4, 4), (1, 1)]
    told = segmentation_method(configuration, [])
    assert "3 x 3 to 32 maps, ReLU, 3 x 3 with taps 4 pixels apart to 8 maps, ReLU, 1 x 1" in told
    path.write_text(path.read_text().replace("dilations = [1, 4]", "dilations = [4]"))
    with pytest.raises(ConfigError, match="dilations must be 2 numbers, one for each of hidden, got 1"):
        load_paper(path)


def test_what_cannot_be_is_refused(small, here, tmp_path):
    with pytest.raises(ValueError, match="row must be one of teacher"):
        segmentation_row(str(small), "phisical", 0, folder=str(tmp_path))
    with pytest.raises(ValueError, match="must stay as it was"):
        segmentation_row(str(small), "linear", 0, folder=str(tmp_path), settings="000000000000")
    with pytest.raises(ValueError, match="a class for every pixel"):
        segmentation_row(str(CONFIGURATIONS / "paper_digits.toml"), "linear", 0, folder=str(tmp_path))
