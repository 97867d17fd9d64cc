"""Benches and masks for the tests: f1 != f2 and non-square planes, so that no swap or sign cancels."""

import torch

from optics4f.elements import SLM, Camera, Illumination, Lens
from optics4f.elements.camera import Sensor
from optics4f.fourf import FourF
from optics4f.grid import Grid

WAVELENGTH = 532e-9
# For small_bench: so coarse that a window of 12 x 10 samples holds it, and gradcheck takes a second.
TINY = {
    "object_shape": (2, 3),
    "object_pitch": 100e-6,
    "pixels_per_logical": 1,
    "slm_shape": (4, 3),
    "slm_pitch": 100e-6,
    "f1": 0.2,
    "f2": 0.3,
    "camera_shape": (3, 2),
    "camera_pitch": 150e-6,
    "samples_per_camera_pixel": 1,
}


def small_bench(
    *,
    object_shape: tuple[int, int] = (5, 7),
    object_pitch: float = 16e-6,
    pixels_per_logical: int = 2,
    encoding: str = "amplitude",
    f1: float = 0.1,
    f2: float = 0.15,
    slm_shape: tuple[int, int] = (48, 36),
    slm_pitch: float = 16e-6,
    samples_per_pixel: int = 1,
    masks: int = 2,
    bit_depth: int | None = None,
    fill_factor: float = 0.9,
    camera_shape: tuple[int, int] = (6, 9),
    camera_pitch: float = 48e-6,
    samples_per_camera_pixel: int = 2,
    sensor: Sensor | None = None,
    wavelength: float = WAVELENGTH,
    dtype: torch.dtype = torch.complex128,
) -> FourF:
    """A 4f of magnification -1.5; an imaged logical pixel (48 um) is two image samples, as the PSF route wants."""
    return FourF(
        Illumination(
            object_shape,
            object_pitch,
            wavelength,
            pixels_per_logical=pixels_per_logical,
            encoding=encoding,
            dtype=dtype,
        ),
        Lens(f1),
        SLM(
            Grid(slm_shape, slm_pitch),
            masks=masks,
            bit_depth=bit_depth,
            fill_factor=fill_factor,
            samples_per_pixel=samples_per_pixel,
            dtype=torch.empty(0, dtype=dtype).real.dtype,
        ),
        Lens(f2),
        Camera(camera_shape, camera_pitch, sensor=sensor),
        samples_per_camera_pixel=samples_per_camera_pixel,
    )


def smooth_masks(masks: int, shape: tuple[int, int], seed: int = 0) -> torch.Tensor:
    """Random phase [rad] of a few bumps across the mask: what an optimised mask looks like, not white noise."""
    coarse = torch.randn(masks, 1, 7, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 3 * torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic", align_corners=True)[:, 0]


def random_images(count: int, shape: tuple[int, int], seed: int = 1) -> torch.Tensor:
    """Images in [0, 1] without any symmetry, float64, shape ``(count, 1, *shape)``."""
    return torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relative(actual: torch.Tensor, wanted: torch.Tensor) -> float:
    """Relative L2 distance."""
    return (torch.linalg.vector_norm(actual - wanted) / torch.linalg.vector_norm(wanted)).item()
