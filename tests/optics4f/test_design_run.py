"""From a TOML file to masks: what the bundle's camera sees is what was asked for."""

import json
import math
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from optics4f import design_run
from optics4f.bundle import read_bundle, verify_bundle
from optics4f.config import ConfigError, bench_from, load_bench
from optics4f.design_run import far_field, pixel_light, run_design
from optics4f.routes import PSFRoute

CONFIGS = Path(__file__).parents[2] / "experiments/configs"
FILES = {"masks.h5", "metrics.json", "masks.png", "far_field.png", "convergence.png", "frames.png", "merits.png"}


def edited(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    text = (CONFIGS / f"design_{name}.toml").read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "design.toml"
    path.write_text(text)
    return path


SMALL_SPOTS = (("shape = [512, 512]", "shape = [192, 160]"), ("iterations = 200", "iterations = 60"),
               ("count = [5, 8]", "count = [3, 4]"), ("exposure = 100", "exposure = 90"),
               ("spacing = [12, 8]", "spacing = [9, 7]"), ("binning = 2 ", "binning = 4 "))  # fmt: skip


def test_spots_land_on_the_camera_where_the_configuration_puts_them(tmp_path):
    config = edited(tmp_path, "spots", *SMALL_SPOTS)
    metrics = run_design(config, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    assert metrics["efficiency"][0] > 0.8
    assert metrics["uniformity"][0] > 0.95
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == metrics
    bundle = verify_bundle(tmp_path / "out/masks.h5")
    bench = load_bench(config).build()
    frame, pitch = bundle.frames_noise_free[0, 0].double(), bench.camera.grid.pitch
    assert frame.max() < 16 * 4095  # not saturated, so brightness can be compared
    # The white pixel stands beside the axis by half a block; its image, turned, is where the zero order falls.
    zero = [-p[4].item() for p in bench.illumination.logical_positions()]
    bright = []
    for row in range(3):
        for column in range(4):
            places = []
            for n, spacing, index, extent, middle, beside in zip(
                (3, 4), (9, 7), (row, column), bench.slm.samples.extent, (0.5, 0.5), zero, strict=True
            ):
                bins = (index - (n - 1) / 2) * spacing + middle
                places.append(beside + bins * bench.scales[1] / extent)
            y, x = (round(place / pitch) + 80 for place in places)
            bright.append(frame[y - 1 : y + 2, x - 1 : x + 2].sum())
    bright = torch.stack(bright)
    # A spot is 16 x 19 um wide on pixels of 13.8 um: what falls in 3 x 3 of them varies with its place.
    assert bright.sum() / frame.sum() > 0.55
    assert bright.min() / bright.max() > 0.6


def test_kernels_of_a_design_are_those_of_the_psf(tmp_path):
    config = edited(tmp_path, "kernels", ("iterations = 300", "iterations = 150"))
    run_design(config, tmp_path / "out")
    bundle = read_bundle(tmp_path / "out/masks.h5")
    specification = load_bench(config)
    bench = specification.build(dtype=torch.complex128)
    bench.slm.load_levels(bundle.levels)
    route = PSFRoute(bench)
    with torch.no_grad():
        psf = route.point_spread_functions()
    # Taps lie one imaged logical pixel apart, about the middle of the window of differences.
    wanted = torch.tensor(specification_weights(config), dtype=torch.complex128)
    for k in range(2):
        best = 0.0
        for dy in range(route.stride):
            for dx in range(route.stride):
                grid = psf[k, dy :: route.stride, dx :: route.stride]
                windows = grid.unfold(0, 3, 1).unfold(1, 3, 1)
                overlap = (windows * wanted[k].conj()).sum((-2, -1)).abs()
                norm = windows.abs().square().sum((-2, -1)).sqrt() * wanted[k].abs().square().sum().sqrt()
                bright = windows.abs().square().sum((-2, -1))
                best = max(best, (overlap / norm)[bright > 0.3 * bright.max()].max().item())
        assert best > 0.98, k


def specification_weights(config: Path) -> list:
    return tomllib.loads(config.read_text())["design"]["target"]["weights"]


def test_an_image_and_a_gradient_design_are_written(tmp_path):
    picture = Image.new("L", (40, 30))
    picture.paste(255, (8, 6, 20, 24))
    picture.save(tmp_path / "picture.png")
    target = f'kind = "image"\nfile = "{tmp_path / "picture.png"}"\nsize = [30, 40]'
    changes = (
        *SMALL_SPOTS[:2],
        (
            'kind = "spots"\ncount = [5, 8]\nspacing = [12, 8]',
            target,
        ),
        ("centre = [0.5, 0.5]", "centre = [20, 30]\nfree = true"),
        ('method = "weighted_gs"', 'method = "gradient"'),
    )
    metrics = run_design(edited(tmp_path, "spots", *changes), tmp_path / "out")
    assert metrics["method"] == "gradient"
    verify_bundle(tmp_path / "out/masks.h5")


def test_a_pixel_lights_the_slm_as_the_route_computes_it():
    bench = load_bench(CONFIGS / "design_kernels.toml").build(dtype=torch.complex128)
    route = PSFRoute(bench)
    rows, columns = (terms.sum(1) for terms in route.block_terms(bench.illumination.modes()[0]))
    seen = (rows[:, None] * columns[None, :]).abs()
    torch.testing.assert_close(pixel_light(bench), seen / seen.max(), rtol=0, atol=2e-2)  # six samples for a pixel


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((("[design", "[desing"),), r"has no table \[design\]"),
        ((('kind = "spots"', 'kind = "spot"'),), r"design\.target\.kind: "),
        ((("count = [5, 8]\n", ""),), 'kind = "spots" needs count'),
        ((("count = [5, 8]\n", "count = [5, 8]\nsize = [3, 3]\n"),), 'size is not for kind = "spots"'),
        ((("seed", "seed = 99999999999999999999 #"),), r"design\.seed"),
        ((("count = [5, 8]\n", "count = [5, 8]\nefficiency = 0.5\n"),), "efficiency is for free = true"),
        ((("iterations = 200", "iteration = 200"),), r"unknown key design\.iteration\. Did you mean iterations\?"),
    ],
)
def test_a_design_that_makes_no_sense_ends_in_one_line_and_leaves_nothing(tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words) as caught:
        run_design(edited(tmp_path, "spots", *changes), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["masks.png", "frames.png"])
def test_the_picture_that_is_wanted_is_not_overwritten(tmp_path, name):
    picture = tmp_path / name
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(picture)
    before = picture.read_bytes()
    old = 'kind = "spots"\ncount = [5, 8]\nspacing = [12, 8]'
    config = edited(tmp_path, "spots", (old, f'kind = "image"\nfile = "{picture}"\nsize = [8, 8]'))
    with pytest.raises(ValueError, match="output must be another file than the input"):
        run_design(config, tmp_path)
    assert picture.read_bytes() == before and not (tmp_path / "masks.h5").exists()


def test_a_file_that_is_missing_leaves_nothing(tmp_path):
    target = 'kind = "image"\nfile = "nothing.png"\nsize = [30, 40]'
    changes = (
        *SMALL_SPOTS[:2],
        (
            'kind = "spots"\ncount = [5, 8]\nspacing = [12, 8]',
            target,
        ),
    )
    with pytest.raises(ValueError, match=r"nothing\.png"):
        run_design(edited(tmp_path, "spots", *changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


SMALL_TILES = (("shape = [32, 32]", "shape = [10, 12]"), ("shape = [384, 512]", "shape = [160, 192]"),
               ("shape = [120, 160]", "shape = [50, 62]"), ("iterations = 60", "iterations = 30"),
               ("exposures = 1", "exposures = 1\nrounds = 2\nsteps = 5"),
               ("samples_per_pixel = 6", "samples_per_pixel = 3"),
               ("    [[0, -1, 0], [-1, 4, -1], [0, -1, 0]],\n", ""), ("exposure = 4\n", "exposure = 2\n"))  # fmt: skip


@pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")
def test_tiles_in_the_bundle_convolve_the_picture(tmp_path):
    config = edited(tmp_path, "tiles", *SMALL_TILES)
    metrics = run_design(config, tmp_path / "out")
    assert (tmp_path / "out/convolution.png").exists()
    assert json.loads((tmp_path / "out/metrics.json").read_text())["plan"]["tiles"] == metrics["plan"]["tiles"]
    assert len(metrics["plan"]["tiles"]) == 4
    # By hand, from the frames that the file predicts: windows of the plan, turned, subtracted.
    bundle = verify_bundle(tmp_path / "out/masks.h5")
    frame = bundle.frames_noise_free[0, 0].double()
    seen = []
    for tile in metrics["plan"]["tiles"]:
        (top, bottom), (left, right) = tile["camera_rows"], tile["camera_columns"]
        seen.append(frame[top : bottom + 1, left : right + 1].flip((0, 1)))
    weights = torch.tensor(specification_weights(config), dtype=torch.float64)
    wanted = torch.nn.functional.conv2d(bundle.images[:, None].double(), weights[:, None], padding=1)[0]
    for k in range(2):
        got = seen[2 * k] - seen[2 * k + 1]
        cosine = (got * wanted[k]).sum() / (got.norm() * wanted[k].norm())
        assert cosine > 0.98, k
        assert metrics["output_cosine"][k] > 0.98


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((("masks = 1 ", "masks = 2 "),), r"bench\.slm\.masks must be 1, one an exposure, got 2"),
        ((('"self_luminous"', '"point"'),), r'bench\.light\.source must be "self_luminous"'),
        ((("[design]\n", '[design]\nmethod = "gs"\n'),), r'kind = "tiles" takes method = "weighted_gs"'),
        ((("padding = 1", "centre = [0, 0]"),), r'centre is not for kind = "tiles"'),
    ],
)
@pytest.mark.filterwarnings("ignore::optics4f.sampling.SamplingWarning")
def test_tiles_that_do_not_fit_their_bench_are_refused(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        run_design(edited(tmp_path, "tiles", *SMALL_TILES, *changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


OTHER = ('kind = "spots"\ncount = [5, 8]\nspacing = [12, 8]\ncentre = [0.5, 0.5]',)


def test_a_complex_field_is_what_the_far_field_holds(tmp_path):
    y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in (9, 11))
    vortex = torch.complex(x[None, :].expand(9, 11), y[:, None].expand(9, 11))
    vortex = vortex * torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / 18)
    np.save(tmp_path / "field.npy", vortex.numpy())
    text = f'kind = "field"\nfile = "{tmp_path / "field.npy"}"\ncentre = [8, -12]\nfree = true\nefficiency = 0.3'
    config = edited(tmp_path, "spots", *SMALL_SPOTS[:2], (OTHER[0], text))
    assert run_design(config, tmp_path / "out")["rms_error"][0] < 0.1
    bench = load_bench(config).build(dtype=torch.complex128)
    bench.slm.load_levels(verify_bundle(tmp_path / "out/masks.h5").levels)
    with torch.no_grad():
        lit = bench.slm.modulation()[0] * pixel_light(bench)
    far = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(lit)))  # axis at n // 2
    seen = far[96 + 8 - 4 : 96 + 8 + 5, 80 - 12 - 5 : 80 - 12 + 6]
    overlap = (seen.conj() * vortex).sum().abs() / (seen.norm() * vortex.norm())
    assert overlap > 0.99


@pytest.mark.parametrize("wavelengths", ["", 'wavelengths = ["532 nm", "640 nm"]\n'])
def test_a_psf_is_found_at_the_pitch_of_the_camera(tmp_path, wavelengths):
    picture = Image.new("L", (24, 20))
    picture.paste(255, (3, 4, 9, 16))
    picture.save(tmp_path / "psf.png")
    text = f'kind = "psf"\nfile = "{tmp_path / "psf.png"}"\nsize = [20, 24]'
    method = 'method = "lbfgs"' if not wavelengths else f'method = "gradient"\n{wavelengths}'
    config = edited(tmp_path, "spots", *SMALL_SPOTS[:2], ('method = "weighted_gs"', method), (OTHER[0], text))
    metrics = run_design(config, tmp_path / "out")
    assert len(metrics["efficiency"]) == (2 if wavelengths else 1)
    bench = load_bench(config).build(dtype=torch.complex128)
    bench.slm.load_levels(verify_bundle(tmp_path / "out/masks.h5").levels)
    wanted = torch.from_numpy(np.asarray(picture, dtype=np.float64))
    for wavelength in (532e-9, 640e-9) if wavelengths else (532e-9,):
        with torch.no_grad():
            lit = bench.slm.modulation(532e-9 / wavelength)[0] * pixel_light(bench, wavelength)
        rows, columns = (  # the Fourier integral at the camera's pixels, written out
            torch.exp(-2j * torch.pi * (torch.arange(n) - n // 2)[:, None] * bench.camera.grid.pitch
                      * position.flatten() / (wavelength * 0.125))
            for n, position in zip((20, 24), bench.slm.samples.coordinates(), strict=True)
        )  # fmt: skip
        seen = (rows.to(lit) @ lit @ columns.to(lit).T).abs().square()
        assert (seen * wanted).sum() / (seen.norm() * wanted.norm()) > 0.86  # speckle; 0.846 if both were 532 nm


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((("[design]\n", '[design]\nwavelengths = ["500 nm"]\n'),), r'wavelengths are for kind = "psf"'),
        (((OTHER[0], 'kind = "field"\nfile = "none.npy"'),), r"none\.npy is not an \.npy file"),
        (
            (('device = "meadowlark-1920x1152"', 'device = "dlp7000"\nfill_factor = 0.9'),),
            r"must be a phase SLM for a design",
        ),
    ],
)
def test_what_a_design_cannot_do_is_said(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        run_design(edited(tmp_path, "spots", *SMALL_SPOTS[:2], *changes), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_far_field_is_drawn_where_a_camera_sees_it(tmp_path, monkeypatch):
    drawn = []

    def recorded(figure, **options):
        drawn.append(figure)
        return png(figure, **options)

    png = design_run.png
    monkeypatch.setattr(design_run, "png", recorded)
    # Two spots, 16 bins down and 40 to the right of the axis and 40 bins apart, of an SLM that is wider than high.
    changes = (
        ("shape = [512, 512]", "shape = [96, 240]"),
        (
            "count = [5, 8]\nspacing = [12, 8]\ncentre = [0.5, 0.5]",
            "count = [1, 2]\nspacing = [1, 40]\ncentre = [16, 40]",
        ),
        ("iterations = 200", "iterations = 20"),
    )
    config = edited(tmp_path, "spots", *changes)
    run_design(config, tmp_path / "out")
    (ax,) = (ax for figure in drawn for ax in axes_of(figure) if ax.get_title() == "far field of mask 0")
    light, (left, right, bottom, top) = np.asarray(ax.images[0].get_array()), ax.images[0].get_extent()
    scale = 532e-9 * 0.125
    size = {"mm": 1e-3, "µm": 1e-6}[re.search(r"\[(.*)\]", ax.get_xlabel())[1]]
    for column in (20, 60):
        y, x = 16 * scale / (96 * 9.2e-6) / size, column * scale / (240 * 9.2e-6) / size
        row, place = (y - top) / (bottom - top) * light.shape[0], (x - left) / (right - left) * light.shape[1]
        near = light[round(row - 0.5) - 3 : round(row - 0.5) + 4, round(place - 0.5) - 3 : round(place - 0.5) + 4]
        peak = np.unravel_index(near.argmax(), near.shape)
        # The spot is two and a half samples high: a sample is lambda f over the width.
        assert np.abs(np.array(peak) - 3).max() <= 1
        assert near.max() > 0.3 * light.max()


def axes_of(drawn):
    """Axes of a figure, or of that of an axes."""
    return drawn.axes if isinstance(drawn.axes, list) else drawn.figure.axes


@pytest.mark.parametrize("shape", [(24, 60), (60, 24)])
def test_a_grating_sends_light_where_its_period_says(shape):
    text = (CONFIGS / "design_spots.toml").read_text().replace("shape = [512, 512]", f"shape = {list(shape)}")
    bench = bench_from(tomllib.loads(text), source="a bench").build(dtype=torch.complex128)
    y, x = (torch.arange(n, dtype=torch.float64) for n in shape)
    bench.slm.set_values((2 * torch.pi * (y[:, None] / 8 - x / 12)).remainder(2 * torch.pi)[None])
    with torch.no_grad():
        light, grid = far_field(bench)
        behind = (bench.slm.modulation()[0] * pixel_light(bench)).abs().square().sum()
    assert light.shape == grid.shape == (60, 60)
    assert light.sum() == pytest.approx(behind.item(), rel=1e-9)
    rows, columns = grid.coordinates()
    place = divmod(light.argmax().item(), 60)
    order = 532e-9 * 0.125 / 9.2e-6
    assert rows[place[0]].item() == pytest.approx(order / 8, abs=grid.pitch)
    assert columns[0, place[1]].item() == pytest.approx(-order / 12, abs=grid.pitch)


LAPLACE = ("[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]", "[[0, -1, 0], [-1, 4, -1], [0, -1, 0]]")


def test_kernels_that_do_not_come_out_are_told_of(tmp_path):
    with pytest.warns(UserWarning, match=r"the masks miss the wanted kernels by \d\d% .* More iterations"):
        run_design(edited(tmp_path, "kernels", LAPLACE, ("iterations = 300", "iterations = 1")), tmp_path / "out")


def test_merits_are_those_of_the_panel_with_its_gaps(tmp_path):
    # By a Fourier sum over the levels in the bundle: 0.957 of a pixel turns the light, its gaps reflect the rest.
    config = edited(tmp_path, "kernels", LAPLACE, ("iterations = 300", "iterations = 100"))
    with pytest.warns(UserWarning, match=r'Without the effects of the panel it would be \d\.\d%: method = "gradient"'):
        metrics = run_design(config, tmp_path / "out")
    bench = load_bench(config).build(dtype=torch.complex128)
    phase = read_bundle(tmp_path / "out/masks.h5").levels[0].double() * (2 * math.pi / 256)
    y, x = (axis.double() for axis in bench.slm.samples.coordinates())
    places = (torch.arange(3) - 1) * 3 * 9.2e-6 / (bench.wavelength * 0.125)
    rows, columns = (torch.exp(2j * math.pi * places[:, None] * axis.flatten()) for axis in (y, x))
    wanted = torch.tensor([[0, -1.0, 0], [-1, 4, -1], [0, -1, 0]], dtype=torch.complex128)
    for gap, stated in ((0.043, metrics), (0, metrics["without_effects"])):
        light = pixel_light(bench).double() * ((1 - gap) * torch.polar(torch.ones_like(phase), phase) + gap)
        made = rows @ light @ columns.T
        cosine = (made.conj() * wanted).sum().abs() / (made.norm() * wanted.norm())
        assert stated["rms_error"][0] == pytest.approx(math.sqrt(1 - cosine.item() ** 2), rel=0.02, abs=2e-4)


def test_kernels_with_hardly_any_light_are_told_of(tmp_path):
    alternating = ("[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]", "[[1, -1, 1], [-1, 1, -1], [1, -1, 1]]")
    changes = (alternating, ("iterations = 300", "iterations = 60"), ("shape = [192, 192]", "shape = [96, 96]"))
    with pytest.warns(UserWarning, match=r"only 0\.\S+ of the light is in the wanted kernels, 0\.\d+ was asked for"):
        run_design(edited(tmp_path, "kernels", *changes), tmp_path / "out")
