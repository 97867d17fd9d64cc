"""What one sample a pixel of the SLM leaves out: the closed form of a square pixel's diffraction, and who is told."""

import math

import pytest
import torch

from experiments.paper import CLASSIFICATION, table_text
from experiments.paper_pixels import envelope_left_out, finer_pixels, pixel_words, read_again
from experiments.paper_rows import PAPER_ROWS
from experiments.paper_run import CLASSES, run_row
from experiments.paper_segmentation import segmentation_method
from experiments.paper_settings import CONFIGURATIONS, load_paper
from experiments.paper_statistics import distilled, rounded_up
from kd.data.catalogue import load
from optics4f.config import BenchSpecification


def settings(name: str):
    return load_paper(CONFIGURATIONS / f"paper_{name}.toml").settings


@pytest.mark.parametrize(
    ("name", "width", "samples"),
    [("cifar10", (96 + 30) * 27.6e-6, 2), ("cats_dogs_fine", (192 + 64) * 27.6e-6, 3), ("mnist", None, None)],
)
def test_a_wide_object_needs_finer_pixels(name, width, samples):
    """``1 - sinc^2`` of half the width of camera and imaged object, in units of the orders' spacing."""
    before = settings(name)
    left_out, too_much = envelope_left_out(before.bench)
    after = finer_pixels(before)
    if samples is None:
        assert not too_much and after is None
        return
    x = math.pi * 9.2e-6 * width / 2 / (532e-9 * 0.125)
    assert left_out == pytest.approx(1 - (math.sin(x) / x) ** 2, rel=0.02) and too_much
    assert after.bench.slm.samples_per_pixel == samples
    assert after.bench.slm.shape == before.bench.slm.shape, "as many pixels"
    assert not envelope_left_out(after.bench)[1]
    other = after.bench.slm.model_copy(update={"samples_per_pixel": 1})
    assert after.bench.model_copy(update={"slm": other}) == before.bench, "nothing else changes"


@pytest.fixture
def wide() -> BenchSpecification:
    """The bench of the digits with an object that is too wide for one sample a pixel."""
    bench = settings("digits").bench
    times, camera = 4, bench.camera
    shown = bench.object.model_copy(update={"pixels_per_logical": times * bench.object.pixels_per_logical})
    finer = {"binning": times * camera.binning, "samples_per_pixel": times * camera.samples_per_pixel}
    camera = camera.model_copy(update=finer)
    return bench.model_copy(update={"object": shown, "camera": camera})


def test_a_student_is_read_again_with_its_own_weights(wide):
    digits = settings("digits")
    changed, data = digits.model_copy(update={"bench": wide}), load("digits", **digits.data.options)
    assert envelope_left_out(wide)[1]

    def build(some):
        return PAPER_ROWS["physical"].build(some, data, 0)

    model, seen = build(changed), []
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)

    def measured(student):
        seen.append(student)
        return {"test_accuracy": 0.5}

    found = read_again(model, changed, build, measured)
    samples = finer_pixels(changed).bench.slm.samples_per_pixel
    assert found == {"finer_pixels": {"samples_per_pixel": samples, "test_accuracy": 0.5}} and samples > 1
    (again,) = seen
    assert again.front_end.bench.slm.samples_per_pixel == samples
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    # The edge is darker than points would have it: the middle of the window, on the axis, is not.
    psf, finer = (student.front_end.route.point_spread_functions().abs() for student in (model, again))
    height, width = psf.shape[-2:]
    middle, corner = (..., height // 2, width // 2), (..., 0, 0)
    assert (finer[corner] / psf[corner]).mean() < 0.9 * (finer[middle] / psf[middle]).mean()


def test_read_again_only_where_it_is_too_much(tmp_path):
    digits, data = settings("digits"), load("digits")
    model = PAPER_ROWS["physical"].build(digits, data, 0)
    assert read_again(model, digits, lambda some: pytest.fail("built"), lambda student: pytest.fail("read")) == {}


def test_a_run_tells_it_of_physical_rows_alone(tmp_path, wide, monkeypatch):
    monkeypatch.setattr("experiments.paper_run.read_again", lambda *args: {"finer_pixels": {"samples_per_pixel": 2}})
    text = (CONFIGURATIONS / "paper_digits.toml").read_text().replace("masks = 4", "masks = 2")
    for epochs in ("epochs = 15", "epochs = 30"):
        text = text.replace(epochs, "epochs = 1\nbatch_size = 256")
    path = tmp_path / "small.toml"
    path.write_text(text)
    assert "finer_pixels" in run_row(CLASSES, str(path), "random_mask", 0, folder=str(tmp_path))
    assert "finer_pixels" not in run_row(CLASSES, str(path), "readout_only", 0, folder=str(tmp_path))


def test_the_page_tells_what_is_left_out_and_what_it_costs():
    cifar, measures = settings("cifar10"), {"test_accuracy": "right"}
    result = {"row": "physical_kd", "electrons_per_image": 1.0, "test_accuracy": 0.75}
    read = result | {"finer_pixels": {"samples_per_pixel": 2, "test_accuracy": 0.625}}
    words = pixel_words(cifar, [result | {"seed": 0}], measures)
    assert "darkens the edge of the PSF window by 18% more of its light. No student was read with finer pixels" in words
    words = pixel_words(cifar, [read | {"seed": 0}, result | {"seed": 1}], measures)
    assert "Read again with 2 samples" in words and "physical_kd 62.50 % right (1 of 2 seeds). " in words
    assert pixel_words(settings("mnist"), [read | {"seed": 0}], measures) == ""
    for name, left_out in (("cifar10", True), ("mnist", False)):
        page = table_text(load_paper(CONFIGURATIONS / f"paper_{name}.toml"), [], CLASSIFICATION)
        assert ("**Left out**" in page) == left_out
    assert "**Left out**" in segmentation_method(load_paper(CONFIGURATIONS / "paper_camvid.toml"), [])


def test_the_page_tells_how_linear_the_linear_rows_are():
    images = {"train": 1, "validation": 1, "test": 1}
    plain = {"seed": 0, "images": images, "test_accuracy": 0.5, "digital_macs": 1, "parameters": 1}
    results = [plain | {"row": row, "front_end_nonlinearity": n} for row, n in (("linear", 2e-8), ("sclc", 3.4e-7))]
    page = table_text(load_paper(CONFIGURATIONS / "paper_mnist.toml"), results, CLASSIFICATION)
    assert "deviate from f(a + 2 b) = f(a) + 2 f(b) by at most 4e-07, measured." in page
    assert "deviate" not in table_text(load_paper(CONFIGURATIONS / "paper_mnist.toml"), [], CLASSIFICATION)


def test_the_most_is_never_rounded_down():
    assert [rounded_up(x) for x in (3.4e-7, 4e-7, 9.1e-8, 0.0)] == pytest.approx([4e-7, 4e-7, 1e-7, 0.0], rel=1e-9)


def test_equal_differences_of_few_seeds_give_no_interval():
    """Student's interval of two equal differences has no width, and 600 images do not know so much."""
    seen = [(0, 0.720, 0.758), (1, 0.730, 0.768)]
    results = [
        {"row": row, "seed": seed, "test_accuracy": value}
        for seed, *values in seen
        for row, value in zip(("linear", "linear_kd"), values, strict=True)
    ]
    said = distilled(results, "linear_kd", "linear")
    assert said == "Distillation, linear: +3.80 points in each seed, from which no interval follows."
    results[1]["test_accuracy"] += 0.01
    assert "+4.30 +- 6.35 points (95 %, paired by seed)" in distilled(results, "linear_kd", "linear")


def test_a_loss_that_the_seeds_tell_is_not_called_no_effect():
    results = [
        {"row": row, "seed": seed, "test_accuracy": value}
        for seed, alone, taught in ((0, 0.740, 0.700), (1, 0.742, 0.703), (2, 0.739, 0.698))
        for row, value in (("linear", alone), ("linear_kd", taught))
    ]
    # Differences -4.0, -3.9 and -4.1 points: 4.303 (Student, 2 degrees) x 0.1 / sqrt(3).
    assert (
        distilled(results, "linear_kd", "linear")
        == "Distillation, linear: -4.00 +- 0.25 points (95 %, paired by seed)."
    )
