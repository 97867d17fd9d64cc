"""Frames binned before they are filtered, against a route that knows no PSF and a camera that adds up its samples."""

import math

import pytest
import torch

from kd.camera_filter import Ratio
from kd.colour import DifferentialFrontEnd, side_by_side
from optics4f import SLM, Camera, FourF, Grid, Illumination, Lens
from optics4f.light import SelfLuminous
from optics4f.misalignment import Misalignment
from optics4f.routes import FourierLensRoute, PSFRoute

CHANNELS, HEIGHT, WIDTH = 2, 5, 6


def bench(pixel: str, samples: int, moved: Misalignment | None = None, dtype: torch.dtype = torch.float64) -> FourF:
    """Object pixels of 40 um, camera pixels of ``pixel`` and ``samples`` along each side; odd and even numbers."""
    slm = SLM(Grid((24, 20), "8 um"), masks=4, bit_depth=None, dtype=dtype)
    slm.set_values(2 * math.pi * torch.rand(slm.values.shape, generator=torch.Generator().manual_seed(3)))
    light = Illumination(
        (HEIGHT, CHANNELS * WIDTH),
        "40 um",
        "532 nm",
        dtype=torch.complex128 if dtype == torch.float64 else torch.complex64,
        source=SelfLuminous(),
        encoding="intensity",
    )
    parts = (light, Lens("60 mm"), slm, Lens("60 mm"), Camera((5, 4), pixel))
    return FourF(*parts, samples_per_camera_pixel=samples, camera_position=moved)


def images() -> torch.Tensor:
    return torch.rand(3, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize(
    ("pixel", "samples", "ratio"),
    [
        ("40 um", 1, None),  # nothing to bin
        ("40 um", 2, Ratio(2, 2)),  # as many samples in a pixel as between object pixels
        ("80 um", 2, Ratio(2, 1)),  # 2 x 2 object pixels in a pixel of the camera
        ("80 um", 4, Ratio(4, 2)),
        ("120 um", 3, Ratio(3, 1)),
        ("20 um", 2, Ratio(2, 4)),  # 2 x 2 pixels of the camera in one of the object
        ("200 um", 5, None),  # 5 x 5 object pixels in one of the camera: more channels than are saved
        ("60 um", 3, None),  # three samples and two: every sample is computed
    ],
)
def test_frames_are_those_of_a_route_without_psf_whatever_the_samples(pixel, samples, ratio):
    hardware = bench(pixel, samples)
    front = DifferentialFrontEnd(PSFRoute(hardware), channels=CHANNELS, noise=False)
    assert Ratio.of(hardware, front.route.stride) == ratio
    light = front.light(images())
    assert light.grid == (hardware.image if ratio is None else hardware.camera.grid)
    frames = hardware.camera(FourierLensRoute(hardware)(side_by_side(images())))
    assert frames.std() > 0.05 * frames.mean(), "flat frames would tell no place from another"
    torch.testing.assert_close(hardware.camera(light), frames, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("pixel", "samples"), [("40 um", 2), ("80 um", 2), ("20 um", 2)])
def test_masks_learn_by_the_gradient_of_the_route_without_psf(pixel, samples):
    gradients = []
    for route in (PSFRoute, FourierLensRoute):
        front = DifferentialFrontEnd(route(bench(pixel, samples)), channels=CHANNELS, noise=False)
        frames = front(images())
        (frames * torch.linspace(-1, 1, frames.numel(), dtype=frames.dtype).reshape(frames.shape)).sum().backward()
        gradients.append(front.bench.slm.values.grad)
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-12)


def test_a_displaced_camera_sees_the_displaced_frame():
    hardware = bench("80 um", 2, moved=Misalignment(shift=("40 um", "-40 um")))
    frames = hardware.camera(FourierLensRoute(hardware)(side_by_side(images())))
    front = DifferentialFrontEnd(PSFRoute(hardware), channels=CHANNELS, noise=False)
    torch.testing.assert_close(hardware.camera(front.light(images())), frames, rtol=1e-9, atol=1e-12)


def test_a_camera_of_one_pixel_gathers_what_its_own_area_gets():
    hardware = bench("80 um", 2)
    hardware = FourF(
        *(getattr(hardware, name) for name in ("illumination", "lens1", "slm", "lens2")),
        Camera((1, 1), "80 um"),
        samples_per_camera_pixel=2,
    )
    front = DifferentialFrontEnd(PSFRoute(hardware), channels=CHANNELS, noise=False)
    assert front.light(images()).grid == hardware.camera.grid
    frames = hardware.camera(FourierLensRoute(hardware)(side_by_side(images())))
    torch.testing.assert_close(hardware.camera(front.light(images())), frames, rtol=1e-9, atol=1e-12)


def test_pixels_that_nearly_are_a_multiple_are_none():
    assert Ratio.of(bench("80 um", 2), 1) == Ratio(2, 1)
    exchanged = bench("80 um", 2)
    exchanged.camera = Camera((5, 4), "80.4 um")
    assert Ratio.of(exchanged, 1) is None


def test_mixed_precision_leaves_light_alone():
    hardware = bench("80 um", 2, dtype=torch.float32)
    front = DifferentialFrontEnd(PSFRoute(hardware), channels=CHANNELS, noise=False)
    with torch.autocast("cpu", torch.bfloat16):
        seen = front.light(images().float()).intensity
    assert seen.dtype == torch.float32
    assert torch.equal(seen, front.light(images().float()).intensity)
