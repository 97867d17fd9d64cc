"""From a TOML file to masks: what the bundle's camera sees is what was asked for."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from optics4f.bundle import read_bundle, verify_bundle
from optics4f.config import ConfigError, load_bench
from optics4f.design_run import pixel_light, run_design
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
    import tomllib

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
    rows, columns = route._block(bench.illumination.modes()[0])
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
