"""optics4f report: what the page of a bundle shows, where its planes come from, and what it refuses."""

import json
import re

import pytest
import torch
from typer.testing import CliRunner

from optics4f.bundle import read_bundle
from optics4f.cli import app
from optics4f.light import PointSource, SelfLuminous
from optics4f.misalignment import Misalignment
from optics4f.report import Report
from optics4f.report import planes as report_planes
from optics4f.report.bench_sections import Subject, bench_sections
from optics4f.report.metrics import ablation_section, accuracy_section, bounds, cost_section, design_section
from optics4f.report.of_bundle import bundle_page, run_report
from optics4f.report.planes import spread, walk
from tests.optics4f.benches import random_images, small_bench, smooth_masks
from tests.optics4f.report_pages import IMAGES, MASKS, metrics, write_files
from tests.optics4f.test_report import HOSTILE, Page

F1, F2 = 0.1, 0.15


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    write_files(folder)
    return folder


def run(*arguments, code=0):
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def bench_with_masks(**options):
    bench = small_bench(**options)
    bench.slm.set_values(smooth_masks(bench.slm.masks, bench.slm.grid.shape))
    return bench


def test_light_is_followed_through_every_gap_and_keeps_its_power():
    bench = small_bench()
    bench.slm.set_values(0.3 * smooth_masks(2, bench.slm.grid.shape))
    found = walk(bench, random_images(1, (5, 7))[0, 0], bench.wavelength)
    assert list(found.planes) == [
        *("object", "before lens 1", "behind lens 1", "before SLM"),
        *("behind SLM", "before lens 2", "behind lens 2", "image"),
    ]
    assert found.left_out == ""
    power = {name: field.power[0] for name, field in found.planes.items()}
    # Free space and a thin lens keep power; a window of finite width loses the wings of sharp pixels.
    for before, behind in (("object", "before SLM"), ("behind SLM", "image")):
        assert power[behind] == pytest.approx(power[before], rel=0.05)
    assert [len(power[name]) for name in ("before SLM", "behind SLM")] == [1, 2]


def test_where_a_gap_cannot_be_sampled_each_lens_is_a_fourier_transform(monkeypatch):
    bench = bench_with_masks()
    image = random_images(1, (5, 7))[0, 0]
    every_gap = walk(bench, image, bench.wavelength)
    monkeypatch.setattr(report_planes, "LARGEST_WINDOW", 100)
    found = walk(bench, image, bench.wavelength)
    assert list(found.planes) == ["object", "before SLM", "behind SLM", "image"]
    assert "more than a page is worth" in found.left_out
    # The two routes are independent; the window of the first cuts wings off.
    there, here = every_gap.planes["behind SLM"], found.planes["behind SLM"].data[0]
    top, left = ((n // 2 - m // 2) for n, m in zip(there.grid.shape, here.shape[-2:], strict=True))
    part = there.data[0, :, top : top + here.shape[-2], left : left + here.shape[-1]]
    overlap = (part.conj() * here).sum() / (part.norm() * here.norm())  # whatever the phase of the path
    assert abs(overlap) > 0.98


def test_only_the_first_masks_are_followed_if_asked():
    bench = bench_with_masks()
    image = random_images(1, (5, 7))[0, 0]
    every, one = (walk(bench, image, bench.wavelength, masks=n).planes["image"].data for n in (None, 1))
    assert one.shape[1] == 1
    assert torch.equal(every[:, :1], one)


def test_a_wavelength_of_ones_own_scales_the_fourier_plane():
    bench = bench_with_masks(slm_shape=(96, 72))
    image = torch.ones(5, 7, dtype=torch.float64)
    widths = []
    for wavelength in (500e-9, 550e-9):
        field = walk(bench, image, wavelength).planes["before SLM"]
        share = field.intensity[0, 0].sum(0)
        x = field.grid.coordinates()[1].flatten()
        inside = x.abs() < 0.5e-3
        widths.append(((share * x**2)[inside].sum() / share[inside].sum()).sqrt())
    # The central lobe, lambda f / w = 0.22 ... 0.25 mm to its zero, grows with the wavelength.
    assert 1.0 < widths[1] / widths[0] < 1.1 * 1.02


def test_a_flat_mask_spreads_a_pixel_as_its_aperture_does():
    bench = small_bench(masks=1, fill_factor=1.0)
    found = spread(bench, bench.wavelength)
    (height, width), (_, x) = found.grid.shape, found.grid.coordinates()
    row = found.intensity[0, height // 2]
    # Two samples of the pixel, one of them on the axis, each spread by the n slits of the SLM.
    n, apart = bench.slm.grid.shape[1], bench.illumination.grid.pitch * F2 / F1

    def grating(x):
        turns = x.flatten() * bench.slm.grid.pitch / (bench.wavelength * F2)
        return torch.sinc(n * turns) / torch.sinc(turns)

    pattern = (grating(x) + grating(x - apart)) ** 2
    assert torch.allclose(row / row.max(), pattern / pattern.max(), atol=1e-6)
    assert row.argmax() in (width // 2, width // 2 + 1)
    assert 0.5 < found.inside[0] <= 1


def test_a_turned_panel_spreads_a_pixel_on_the_image_samples():
    bench = small_bench(masks=2)
    bench.slm_position = Misalignment(rotation=0.02)
    found = spread(bench, bench.wavelength)
    assert found.grid == bench.image
    assert found.intensity.shape == (2, *bench.image.shape)
    assert found.inside is None


def test_a_self_luminous_object_spreads_in_intensity():
    bench = small_bench(masks=1)
    coherent = spread(bench, bench.wavelength).intensity
    bench.illumination.source = SelfLuminous()
    luminous = spread(bench, bench.wavelength).intensity
    # Four samples of a pixel: in step (4 a)^2, by themselves 4 a^2, a quarter at the peak of a wide pattern.
    assert luminous.max() / coherent.max() == pytest.approx(0.25, rel=0.05)


def test_the_page_has_all_its_parts_and_stays_small(files):
    out = run_report(
        files / "masks.h5", files / "page.html", measured=files / "measured.h5", metrics=files / "metrics.json"
    )
    assert out.stat().st_size < 5e6
    page = Page(out.read_text())
    assert page.texts("h2")[1:] == [
        *("Accuracy", "The bench", "Masks", "Point spread functions", "Light through the bench"),
        *("Camera frames", "Fidelity", "Cost", "Provenance"),
    ]
    words = [attributes["alt"] for attributes, _ in page.all("img")]
    assert all(word.strip() for word in words)
    for start, count in (("Mask ", MASKS), ("PSF of mask", 2 * MASKS), ("Measured, mask", IMAGES * MASKS)):
        assert sum(word.startswith(start) for word in words) == count, start
    tabs = [attributes["data-label"] for attributes, _ in page.all("div") if attributes.get("class") == "tabs"]
    assert tabs.count("Wavelength") == 2
    assert {"520 nm", "532 nm", "before lens 1", "image 2", "mask 2"} <= set(page.texts("h3", "h4", "h5"))
    text = out.read_text()
    bundle = read_bundle(files / "masks.h5")
    for part in (bundle.attributes["uuid"], "0123abc", "Break-even", "200 nJ (100 nJ ... 400 nJ)"):
        assert part in text, part


def test_what_is_not_known_is_left_out(files):
    run_report(files / "masks.h5", files / "bare.html")
    page = Page((files / "bare.html").read_text())
    assert {"Accuracy", "Fidelity", "Cost", "Design", "Kernels"} & set(page.texts("h2")) == set()
    assert "No measured frames were given" in "".join(page.texts("p"))
    assert not [a for a, _ in page.all("img") if a["alt"].startswith("Measured")]


def test_the_page_says_where_one_field_is_not_all_of_the_light(files):
    subject = Subject.of(read_bundle(files / "masks.h5"))
    said = []
    for source in (PointSource(), SelfLuminous()):
        subject.bench.illumination.source = source
        page = Report("Report")
        bench_sections(page, subject)
        said.append(" ".join(Page(page.html()).texts("p")))
    assert ["several modes" in text for text in said] == [True, False]  # two wavelengths
    assert ["radiates by itself" in text for text in said] == [False, True]


def test_a_page_is_the_same_each_time(files):
    bundle = read_bundle(files / "masks.h5")
    assert bundle_page(bundle).html() == bundle_page(bundle).html()


def test_merits_of_a_design_are_a_table():
    page = Report("Report")
    design_section(page, {"method": "gs", "seed": 4, "efficiency": [0.9, 0.8], "uniformity": [0.99, 0.98], "rest": {}})
    found = Page(page.html())
    assert found.texts("dt", "dd") == ["method", "gs", "seed", "4"]
    assert found.texts("th", "td") == [
        *("number", "efficiency", "uniformity", "0", "0.9", "0.99", "1", "0.8", "0.98"),
    ]


def test_hostile_metrics_arrive_as_text():
    content = metrics()
    content["rows"] = {HOSTILE: content["rows"]["teacher"] | {"about": HOSTILE}}
    content["fidelity"][0]["effect"] = HOSTILE
    content["cost"]["optics"][0]["name"] = HOSTILE
    page = Report("Report")
    for section in (accuracy_section, ablation_section, cost_section):
        section(page, content)
    found = Page(page.html())
    assert not [tag for tag, _, _ in found.elements if tag == "script"]
    assert found.texts("th").count(HOSTILE) == 2  # row, term
    assert f"{HOSTILE}: all" in found.texts("th")


@pytest.mark.parametrize(
    ("term", "written"),
    [
        ({"low": 8e-3, "nominal": 1.2e-2, "high": 3e-2, "unit": "s"}, "12 ms (8 ms ... 30 ms)"),
        ({"low": 5e-3, "nominal": 5e-3, "high": 5e-3, "unit": "J"}, "5 mJ"),
        ({"low": 3e-3, "nominal": 8e-3, "high": 0.5, "unit": "1"}, "0.008 (0.003 ... 0.5)"),
        (None, "unknown"),
    ],
)
def test_a_term_is_written_with_its_bounds(term, written):
    assert bounds(term) == written


def test_bars_are_where_the_numbers_are():
    page = Report("Report")
    cost_section(page, metrics())
    drawn = [a for tag, a, _ in Page(page.html()).elements if tag in ("rect", "line")]
    # Of the readout, 10 ... 20 ... 40 ms on an axis up to 40 ms: spread, bar from zero, mark.
    spread_over, bar, mark = drawn[:3]
    assert (float(spread_over["x"]), float(spread_over["width"])) == (25, 75)
    assert (float(bar["x"]), float(bar["width"])) == (0, 50)
    assert float(mark["x1"]) == float(mark["x2"]) == 50


def test_the_command_says_what_it_wrote(files):
    out = files / "new" / "page.html"
    assert run(files / "masks.h5", "--out", out).output.startswith(f"wrote {out}, ")
    found = json.loads(run(files / "masks.h5", "--out", out, "--json").output)
    assert found == {"report": str(out), "bytes": out.stat().st_size}


@pytest.mark.parametrize(
    ("metrics_text", "message"),
    [
        (None, r"cannot be read: No such file"),
        ("{", r"must be JSON: "),
        ("[1]", r"must hold a JSON object, got list"),
        ('{"rows": {"teacher": 5}}', r"rows of the metrics must be as .* writes it, got TypeError"),
        ('{"rows": {"teacher": {"test_accuracy": {"mean": "x", "seeds": []}}}}', r"rows of the metrics must be as"),
        ('{"fidelity": [{}]}', r"fidelity of the metrics must be as .* KeyError: 'test_accuracy'"),
        ('{"cost": {"optics": 3}}', r"cost of the metrics must be as"),
    ],
)
def test_metrics_that_are_none_are_one_line(files, tmp_path, metrics_text, message):
    path = tmp_path / "metrics.json"
    if metrics_text is not None:
        path.write_text(metrics_text)
    result = run(files / "masks.h5", "--metrics", path, "--out", tmp_path / "page.html", code=2)
    assert re.search(message, result.output), result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "page.html").exists()


def test_a_damaged_bundle_ends_with_1_and_what_is_no_measurement_with_2(files, tmp_path):
    broken = tmp_path / "broken.h5"
    broken.write_bytes((files / "masks.h5").read_bytes()[:5000])
    assert "broken.h5" in run(broken, "--out", tmp_path / "page.html", code=1).output
    wrong = run(files / "masks.h5", "--measured", files / "metrics.json", "--out", tmp_path / "page.html", code=2)
    assert wrong.output.count("metrics.json") == 1
    assert list(tmp_path.iterdir()) == [broken]


def test_nothing_that_is_read_is_written_over(files):
    before = (files / "masks.h5").read_bytes()
    assert "must be another file" in run(files / "masks.h5", "--out", files / "masks.h5", code=2).output
    assert (files / "masks.h5").read_bytes() == before
