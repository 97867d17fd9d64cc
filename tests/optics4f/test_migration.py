"""What the migration pages say of torchoptics and slmsuite, by their numbers. The oracle is the other library."""

import importlib
import math

import numpy as np
import pytest
import torch

from optics4f import Field, FourF, Grid, propagate
from optics4f.design import gerchberg_saxton, spot_array
from optics4f.elements import SLM, Camera, Illumination, Lens, Pupil
from optics4f.profiles import lens_phase
from optics4f.quantization import phase_to_levels
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute
from optics4f.vendors import Panel

WAVELENGTH, PITCH = 532e-9, 10e-6


@pytest.fixture
def torchoptics():
    return pytest.importorskip("torchoptics", reason="torchoptics is the oracle: pip install torchoptics==1.0.2")


@pytest.fixture
def slmsuite():
    return pytest.importorskip("slmsuite", reason="slmsuite is the oracle: pip install '.[bench]'")


def beam(grid: Grid) -> torch.Tensor:
    """Without symmetry: aside, slanted along x alone."""
    y, x = grid.coordinates()
    return torch.exp(-((x - 20e-6) ** 2 + (y + 30e-6) ** 2) / 60e-6**2) * torch.exp(2j * math.pi * 3000 * x)


def smooth(shape: tuple[int, int], seed: int) -> torch.Tensor:
    coarse = torch.randn(1, 1, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.interpolate(coarse, size=shape, mode="bicubic")[0, 0]


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


# --- torchoptics ---


@pytest.mark.parametrize("shape", [(61, 81), (60, 80)])
def test_a_propagated_field_is_that_of_torchoptics_times_the_carrier(torchoptics, shape):
    grid, distance = Grid(shape, PITCH), 0.02
    data = beam(grid)
    there = torchoptics.Field(data, WAVELENGTH, z=0, spacing=PITCH)
    there = there.propagate_to_z(distance, propagation_method="ASM", asm_pad=tuple(n // 2 for n in shape)).data
    here = propagate(Field(data, grid, WAVELENGTH), distance, method="angular_spectrum").data
    carrier = torch.tensor(2j * math.pi * distance / WAVELENGTH, dtype=torch.complex128).exp()
    assert relative(here * carrier, there) < 1e-9  # the carrier of 2e5 rad is exact to 3e-11 in double precision
    assert relative(here / carrier, there) > 0.1  # the sign of the carrier is not free


def test_lenses_are_alike_about_the_axis_and_the_axis_of_an_even_grid_is_half_a_sample_aside(torchoptics):
    theirs = torchoptics.profiles.lens_phase((61, 81), 0.1, WAVELENGTH, PITCH)
    torch.testing.assert_close(lens_phase(Grid((61, 81), PITCH), WAVELENGTH, 0.1), theirs, rtol=0, atol=1e-12)
    moved = torchoptics.profiles.lens_phase((60, 80), 0.1, WAVELENGTH, PITCH, offset=(PITCH / 2, PITCH / 2))
    torch.testing.assert_close(lens_phase(Grid((60, 80), PITCH), WAVELENGTH, 0.1), moved, rtol=0, atol=1e-12)


def four_f(torchoptics, phase: torch.Tensor, image: torch.Tensor, window: int, camera: tuple[int, int]) -> torch.Tensor:
    """Intensity behind two lenses of 100 mm in torchoptics, the object in the middle of the window."""
    f, elements = 0.1, torchoptics.elements
    top, left = ((window - n) // 2 for n in image.shape)
    data = torch.zeros(window, window, dtype=torch.complex128)
    data[top : top + image.shape[0], left : left + image.shape[1]] = image
    system = torchoptics.System(
        elements.Lens((window, window), f, z=f, spacing=PITCH),
        elements.PhaseModulator(phase, z=2 * f, spacing=PITCH),
        elements.Lens((window, window), f, z=3 * f, spacing=PITCH),
    )
    field = torchoptics.Field(data, WAVELENGTH, z=0, spacing=PITCH)
    half = (window // 2, window // 2)
    measured = system.measure(field, camera, z=4 * f, spacing=PITCH, propagation_method="ASM", asm_pad=half)
    return measured.intensity()


def test_the_image_of_a_4f_system_is_that_of_torchoptics(torchoptics):
    window, camera = 341, (61, 81)
    phase, image = 1.5 * smooth((121, 101), 1), smooth((41, 61), 2).clamp(0, 1)
    there = four_f(torchoptics, phase, image, window, camera)

    def bench(pupil: Pupil | None) -> FourF:
        made = FourF(
            Illumination((41, 61), PITCH, WAVELENGTH, dtype=torch.complex128),
            Lens(0.1, pupil=pupil),
            SLM(Grid((121, 101), PITCH), bit_depth=None, dtype=torch.float64),
            Lens(0.1, pupil=pupil),
            Camera(camera, PITCH),
            samples_per_camera_pixel=1,
        )
        made.slm.set_values(phase[None])
        return made

    with torch.no_grad():
        route = AngularSpectrumRoute(bench(Pupil(window * PITCH)), window=(window, window))
        here = route(image[None, None]).intensity[0, 0]
        collapsed = FourierLensRoute(bench(None))(image[None, None]).intensity[0, 0]
    assert relative(here, there) < 1e-3  # measured 1e-4: our band limit drops what their padding wraps around
    assert relative(collapsed, there) < 1e-2  # what the window loses, and the edge of the lenses
    for turned in (there.flip(0), there.flip(1), there.flip(0, 1)):
        assert relative(here, turned) > 0.1  # no symmetry that would hide an axis


# --- slmsuite ---


@pytest.mark.parametrize("bits", [6, 8, 10])
def test_phases_become_the_gray_values_that_slmsuite_sends(slmsuite, bits):
    simulated = importlib.import_module("slmsuite.hardware.slms.simulated").SimulatedSLM
    theirs = simulated((36, 24), pitch_um=(8, 8), bitdepth=bits, wav_um=0.532)
    phase = 18 * torch.rand(24, 36, generator=torch.Generator().manual_seed(bits)) - 9
    sent = np.array(theirs.set_phase(phase.numpy().copy()), dtype=int)
    gray = Panel((24, 36), "8 um", "532 nm", bits).gray(phase_to_levels(phase, bits)).astype(int)
    off = (gray - sent + 2 ** (bits - 1)) % 2**bits - 2 ** (bits - 1)
    # A phase that lies between two levels to the rounding of float32 may go either way.
    assert np.abs(off).max() <= 1 and np.count_nonzero(off) <= 1


def test_spots_lie_where_those_of_slmsuite_lie(slmsuite):
    algorithms = importlib.import_module("slmsuite.holography.algorithms")
    shape, places = (64, 96), np.ix_([32 + 3, 32 + 10], [48 + 5, 48 + 14, 48 + 23])
    amplitude = np.zeros(shape, dtype=np.float32)
    amplitude[places] = 1
    start = 2 * torch.pi * torch.rand(shape, generator=torch.Generator().manual_seed(1))
    hologram = algorithms.Hologram(amplitude, phase=start.numpy().copy(), slm_shape=shape)
    hologram.optimize("WGS-Leonardo", maxiter=40, verbose=False)
    target = spot_array(shape, (2, 3), (7, 9), centre=(6.5, 14))
    found = gerchberg_saxton(target, start=start[None], iterations=40).chosen[0].numpy()
    shares = []
    for phase in (np.array(hologram.get_phase()), found):
        light = np.exp(1j * phase.astype(float))
        power = np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(light), norm="ortho"))) ** 2
        shares.append(power[places].sum() / light.size)
    assert min(shares) > 0.8 and abs(shares[0] - shares[1]) < 0.05  # 6 of 6144 bins: by chance 1e-3
