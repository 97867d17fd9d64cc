"""A tiny bench with f1 != f2 and non-square planes, what a hidden one of its kind is, and its measured frames."""

import copy
import math

import torch

from optics4f.config import BenchSpecification, bench_from
from tests.optics4f.benches import smooth_masks

CONTENT = {
    "bench": {
        "wavelength": "532 nm",
        "object": {"shape": [5, 6], "pitch": "9.2 um", "pixels_per_logical": 3},
        "lens1": {"focal_length": "40 mm"},
        "slm": {"device": "meadowlark-1920x1152", "shape": [36, 32], "masks": 3},
        "lens2": {"focal_length": 0.05},
        "camera": {
            **{"device": "basler-aca2440-75um", "shape": [14, 16], "binning": 8, "exposure": 0.4},
            **{"dark_electrons": 5, "offset": 10},
        },
    }
}
IMAGES = 3
TRUTH = {
    **{"slm_shift_y": 20e-6, "slm_shift_x": -12e-6, "slm_rotation": 0.02},
    **{"camera_shift_y": -9e-6, "camera_shift_x": 14e-6, "camera_axial": 2e-3, "f2": 0.0507},
    **{"lut_gamma": 1.15, "crosstalk": 3.0, "brightness": 0.9, "offset": 14.0},
}


def specified(content: dict = CONTENT) -> BenchSpecification:
    return bench_from(content, source="the test")


def hidden_content(truth: dict = TRUTH) -> dict:
    """The hidden bench as a configuration, written without what is tested."""
    content = copy.deepcopy(CONTENT)
    bench = content["bench"]
    bench["slm_position"] = {"shift": [truth["slm_shift_y"], truth["slm_shift_x"]], "rotation": truth["slm_rotation"]}
    bench["camera_position"] = {
        "shift": [truth["camera_shift_y"], truth["camera_shift_x"]],
        "axial": truth["camera_axial"],
    }
    bench["lens2"]["focal_length"] = truth["f2"]
    bench["camera"]["exposure"] *= truth["brightness"]
    bench["camera"]["offset"] = truth["offset"]
    bench["slm"]["effects"] = {
        "crosstalk": {"scale": truth["crosstalk"]},
        "lut": {
            "phase": [2 * math.pi * (level / 256) ** truth["lut_gamma"] for level in range(256)],
            "calibrated": False,
        },
    }
    return content


def shown(seed: int, *, masks: int = 3, images: int = IMAGES) -> tuple[torch.Tensor, torch.Tensor]:
    """Levels of smooth masks, and random images."""
    phase = smooth_masks(masks, (36, 32), seed)
    levels = torch.round(phase * (256 / (2 * math.pi))).long() % 256
    generator = torch.Generator().manual_seed(seed + 1000)
    return levels, torch.rand(images, 5, 6, generator=generator, dtype=torch.float64)


@torch.no_grad()
def frames_of(
    content: dict, levels: torch.Tensor, images: torch.Tensor, seed: int | None, *, exact: bool = False
) -> torch.Tensor:
    """Frames [DN] with noise; without for ``seed=None``; neither clipped nor rounded if ``exact``."""
    specification = specified(content)
    bench = specification.build(dtype=torch.complex128)
    bench.slm.load_levels(levels)
    light = specification.build_route(bench)(images[:, None])
    if exact:
        sensor = bench.camera.sensor
        return bench.camera.expected(light) / sensor.electrons_per_count + sensor.offset * bench.camera.binning**2
    return bench.camera.counts(light, None if seed is None else torch.Generator().manual_seed(seed)).double()
