"""Kernels side by side: what their metrics, their figure and their page say, against the frames of the bundle."""

import re
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d

from optics4f import design_tiles as tiles_module
from optics4f.bundle import predict_frames, read_bundle
from optics4f.design_run import run_design
from optics4f.report.of_bundle import bundle_page, run_report
from optics4f.report.tiles import Tiles
from optics4f.sampling import SamplingWarning
from tests.optics4f.test_report import Page

CONFIG = Path(__file__).parents[2] / "experiments/configs/design_tiles.toml"
SMALL = (
    ("shape = [32, 32]", "shape = [10, 12]"),
    ("shape = [384, 512]", "shape = [160, 192]"),
    ("shape = [120, 160]", "shape = [50, 62]"),
    ("iterations = 60", "iterations = 20"),
    ("masks = 1", "masks = 2"),
    ("exposures = 1", "exposures = 2\nrounds = 1\nsteps = 3"),
    ("samples_per_pixel = 6", "samples_per_pixel = 3"),
    ("exposure = 4\n", "exposure = 2\n"),
    ("    [[0, -1, 0], [-1, 4, -1], [0, -1, 0]],\n", ""),
)
COHERENT = (
    ('"self_luminous"', '"point"'),
    ('encoding = "intensity"', 'encoding = "amplitude"'),
    ('detection = "differential"', 'detection = "intensity"'),
    ("exposure = 2\n", "exposure = 0.5\n"),
)
pytestmark = pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")


def written(folder, *changes):
    text = CONFIG.read_text()
    for old, new in (*SMALL, *changes):
        assert old in text, old
        text = text.replace(old, new, 1)
    (folder / "tiles.toml").write_text(text)
    return folder / "tiles.toml"


@pytest.fixture(scope="module")
def designed(tmp_path_factory):
    """A folder with a design, its metrics, and what was handed to the figure of the convolution."""
    folder = tmp_path_factory.mktemp("tiles")
    handed = {}

    def drawn(*arguments, **options):
        handed.update(zip(("frame", "windows", "measured", "wanted"), arguments, strict=True), **options)
        return plot(*arguments, **options)

    plot = tiles_module.plot_convolution
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiles_module, "plot_convolution", drawn)
        metrics = run_design(written(folder), folder / "out")
    return folder / "out", metrics, handed


def weights(path):
    return torch.tensor(tomllib.loads(path.read_text())["design"]["target"]["weights"], dtype=torch.float64)


def by_hand(frames, metrics):
    """Signed outputs ``(kernels, h, w)`` of frames ``(masks, h, w)``: windows of the plan, turned, subtracted."""
    found = {}
    for tile in metrics["plan"]["tiles"]:
        (top, bottom), (left, right) = tile["camera_rows"], tile["camera_columns"]
        window = frames[tile["exposure"], top : bottom + 1, left : right + 1].double().flip((0, 1))
        found.setdefault(tile["kernel"], 0)
        found[tile["kernel"]] = found[tile["kernel"]] + (-window if tile["sign"] == "-" else window)
    return torch.stack([found[k] for k in sorted(found)])


def cosine(a, b):
    return ((a * b).sum() / (a.norm() * b.norm())).item()


def test_metrics_say_what_the_frames_hold(designed):
    out, metrics, _ = designed
    bundle = read_bundle(out / "masks.h5")
    wanted = conv2d(bundle.images[:, None].double(), weights(out.parent / "tiles.toml")[:, None], padding=1)[0]
    seen = by_hand(bundle.frames_noise_free[0], metrics)
    expected = [cosine(seen[k], wanted[k]) for k in range(2)]
    # The frames are rounded to 1 of some thousands; nothing of this hasty design is right to a thousandth.
    assert metrics["output_cosine"] == pytest.approx(expected, abs=3e-4)
    assert max(expected) < 0.999
    # 12 bits, of 8 x 8 pixels that are added: the brightest is that share of all that can be.
    assert metrics["brightest_pixel"] == pytest.approx(bundle.frames_noise_free.max().item() / (64 * 4095))
    assert 0.01 < metrics["brightest_pixel"] < 0.9


def test_the_figure_is_of_the_convolution_and_its_windows(designed):
    out, metrics, handed = designed
    bundle = read_bundle(out / "masks.h5")
    wanted = conv2d(bundle.images[:, None].double(), weights(out.parent / "tiles.toml")[:, None], padding=1)[0]
    torch.testing.assert_close(handed["wanted"].double(), wanted, rtol=1e-5, atol=1e-5)
    assert cosine(handed["measured"].double(), wanted) > 0.95
    assert not torch.allclose(handed["measured"].double(), wanted, atol=1e-3)
    first = [tile for tile in metrics["plan"]["tiles"] if tile["exposure"] == 0]
    assert [[w.start, w.stop - 1] for pair in handed["windows"] for w in pair] == [
        ends for tile in first for ends in (tile["camera_rows"], tile["camera_columns"])
    ]
    # In the windows of the first mask the figure shows what the bundle's frame does.
    for rows, columns in handed["windows"]:
        a, b = handed["frame"][rows, columns].double(), bundle.frames_noise_free[0, 0, rows, columns].double()
        assert cosine(a, b) > 0.9999


def brightly_lit(specification):
    """A bench whose frames of a single point are not dark."""
    return specification.model_copy(update={"camera": specification.camera.model_copy(update={"exposure": 20.0})})


def disturbed(bundle):
    """The bundle with masks whose pixels are wrong by up to a third of a turn: other kernels than those wanted."""
    wrong = torch.randint(-85, 86, bundle.levels.shape, generator=torch.Generator().manual_seed(1))
    return replace(bundle, levels=(bundle.levels.long() + wrong).remainder(256).to(bundle.levels.dtype))


def test_kernels_of_the_page_are_what_the_bench_makes_of_a_point(designed):
    out, metrics, _ = designed
    bundle = disturbed(read_bundle(out / "masks.h5"))
    found = Tiles.of(bundle, {})
    point = torch.zeros_like(bundle.images[:1])
    point[0, 5, 6] = 1
    _, quiet = predict_frames(brightly_lit(bundle.specification), bundle.levels, point, 0)
    # conv2d of a point is the kernel, turned, around it.
    seen = by_hand(quiet[0], metrics)[:, 4:7, 5:8].flip((-2, -1))
    assert torch.equal(found.wanted, weights(out.parent / "tiles.toml"))
    for k in range(2):
        assert cosine(seen[k], found.made[k]) > 0.9999  # frames are rounded
        assert found.cosines[k].item() == pytest.approx(cosine(seen[k], found.wanted[k]), abs=1e-4)
        assert found.cosines[k] < 0.9997
        best = (seen[k] * found.wanted[k]).sum() / seen[k].square().sum()  # each kernel has a mask, and a gain, here
        torch.testing.assert_close(found.made[k], best * seen[k], rtol=0, atol=0.02 * found.wanted[k].abs().max())


def test_the_page_has_kernels_cosines_outputs_and_the_plan(designed):
    out, metrics, _ = designed
    path = run_report(out / "masks.h5", out / "page.html", metrics=out / "metrics.json")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.texts("h2")[1:3] == ["Design", "Kernels"]
    bundle = read_bundle(out / "masks.h5")
    wanted = conv2d(bundle.images[:, None].double(), weights(out.parent / "tiles.toml")[:, None], padding=1)[0]
    expected = [
        [f"{metrics['kernel_cosine'][k]:.4f}"]
        + [f"{cosine(by_hand(f[0], metrics)[k], wanted[k]):.4f}" for f in (bundle.frames_noise_free, bundle.frames)]
        for k in range(2)
    ]
    cells = [text for text in page.texts("td") if re.fullmatch(r"[01]\.\d{4}", text)]
    assert cells[-6:] == expected[0] + expected[1]
    assert expected[0][1] != expected[0][2]  # with noise and without
    words = [attributes["alt"] for attributes, _ in page.all("img")]
    for k in range(2):
        for what in ("wanted", "made", "made less wanted"):
            assert sum(word.startswith(f"Kernel {k}, {what}") for word in words) >= 1, what
        for what in ("from the frame", "by conv2d", "from the frame less conv2d"):
            assert sum(word.startswith(f"Output {k}, {what}") for word in words) >= 1, what
    assert any(w.startswith(f"Output 1, from the frame (cosine {expected[1][2]})") for w in words)
    assert {"kernel 0", "kernel 1"} <= set(page.texts("h3"))
    assert [text for text in page.texts("th") if re.fullmatch(r"\d [+−]", text)] == ["0 +", "0 −", "1 +", "1 −"]
    plan = [f"({y}, {x})" for y, x in (tile["centre"] for tile in metrics["plan"]["tiles"])]
    assert [text for text in page.texts("td") if text in plan] == plan
    assert [int(text) for text in page.texts("td") if text in ("0", "1")][-4:] == [0, 0, 1, 1]  # masks


def test_kernels_in_a_file_are_named_and_no_other_file_is_taken_for_theirs(designed, tmp_path, monkeypatch):
    out, metrics, _ = designed
    bundle = read_bundle(out / "masks.h5")
    inline = re.compile(r"weights = \[\n.*?\n\]\n", re.DOTALL)
    named = replace(bundle, config=inline.sub('file = "mine.npy"\n', bundle.config))
    assert "mine.npy" in named.config
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"mine\.npy.*With --metrics of the design the made ones can be shown"):
        Tiles.of(named, {})
    said = " ".join(Page(bundle_page(named).html()).texts("p"))
    assert "kernels side by side, which cannot be shown" in said and "mine.npy" in said
    alone = Tiles.of(named, metrics)
    assert alone.wanted is None and alone.cosines is None
    known = Tiles.of(bundle, {})
    for k in range(2):
        assert cosine(alone.made[k], known.made[k]) == pytest.approx(1, abs=1e-6)
    page = Page(bundle_page(named, metrics=metrics).html())
    words = [attributes["alt"] for attributes, _ in page.all("img")]
    assert sum(word.startswith("Kernel ") for word in words) == sum(word.startswith("Output ") for word in words) == 2
    assert "mine.npy, wherever the design was made" in " ".join(page.texts("p"))
    np.save("mine.npy", -weights(out.parent / "tiles.toml").numpy())  # of that name, but others
    assert Tiles.of(named, metrics).wanted is None


def test_a_page_warns_of_nothing_and_leaves_what_is_random_as_it_was(designed):
    bundle = read_bundle(designed[0] / "masks.h5")
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.simplefilter("error", SamplingWarning)
        pages = [bundle_page(bundle).html() for _ in range(2)]
    assert pages[0] == pages[1]
    assert torch.equal(torch.get_rng_state(), state)


def test_coherent_kernels_are_compared_with_the_square_of_conv2d(tmp_path):
    metrics = run_design(written(tmp_path, *COHERENT), tmp_path / "out")
    bundle = read_bundle(tmp_path / "out/masks.h5")
    found = Tiles.of(bundle, {})
    wanted = weights(tmp_path / "tiles.toml")
    assert not found.made.is_complex()
    assert found.cosines.tolist() == pytest.approx(metrics["kernel_cosine"], abs=1e-4)
    square = conv2d(bundle.images[:, None].double(), wanted[:, None], padding=1)[0].square()
    torch.testing.assert_close(found.digital[0], square)
    for k in range(2):
        assert cosine(found.made[k], wanted[k]) > 0.9
        assert cosine(found.quiet[0, k], square[k]) == pytest.approx(metrics["output_cosine"][k], abs=2e-3)
