"""The SLM: what it displays, what it lets through, what it learns."""

import math

import numpy as np
import pytest
import torch

from optics4f.elements import SLM, AmplitudeSLM
from optics4f.field import Field
from optics4f.grid import Grid
from optics4f.modulation import phase_modulation, with_reflecting_gaps
from tests.references import blaze_efficiency

GRID = Grid((16, 12), "8 um")


def plane_wave(grid: Grid, dtype: torch.dtype = torch.complex128) -> Field:
    return Field(torch.ones(1, *grid.shape, dtype=dtype), grid, wavelength=532e-9)


def blazed(slm: SLM, period: int, depth: float = 1.0) -> SLM:
    """A ramp of ``depth`` turns over ``period`` pixels along x."""
    x = torch.arange(slm.grid.shape[1], dtype=torch.float64) % period
    slm.set_values((2 * math.pi * depth / period * x).expand(slm.values.shape))
    return slm


def orders(slm: SLM, period: int) -> np.ndarray:
    """Power of the diffraction orders of one period, zero order first, from the mask's Fourier series along x."""
    row = slm.modulation()[0, 0].detach().numpy()[: period * slm.samples_per_pixel]
    return np.abs(np.fft.fft(row) / len(row)) ** 2


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_the_uploaded_levels_are_the_simulated_phases(bits):
    slm = SLM(Grid((1, 1024), 8e-6), bit_depth=bits)
    slm.set_values(torch.linspace(-math.pi, 3 * math.pi, 1024)[None, None])
    levels = slm.levels().numpy()
    assert np.unique(levels).tolist() == list(range(2**bits))
    wanted = np.exp(2j * np.pi * levels / 2**bits)
    np.testing.assert_allclose(slm.modulation().detach().numpy(), wanted, rtol=0, atol=3e-7)  # float32 phase


@pytest.mark.parametrize("kind", [SLM, AmplitudeSLM])
@pytest.mark.parametrize("bits", [1, 4, 8, 10])
def test_levels_loaded_are_the_levels_shown_and_the_same_light_to_the_last_bit(kind, bits, generator):
    slm, twin = (kind(GRID, masks=3, bit_depth=bits, fill_factor=0.9) for _ in range(2))
    slm.set_values(torch.rand(3, 16, 12, generator=generator) * 9 - 4)
    twin.load_levels(slm.levels())
    assert torch.equal(twin.levels(), slm.levels())
    assert torch.equal(twin.modulation(), slm.modulation())


@pytest.mark.parametrize(("bits", "tabulated"), [(1, 0.40528), (2, 0.81057), (3, 0.94964), (4, 0.98721), (8, 0.99995)])
def test_a_quantized_blaze_has_the_efficiency_of_its_levels(bits, tabulated):
    period = 4096
    slm = blazed(SLM(Grid((1, period), 1e-6), bit_depth=bits, dtype=torch.float64), period)
    efficiency = orders(slm, period)[1]
    assert efficiency == pytest.approx(blaze_efficiency(2**bits), rel=1e-6)  # 4096 samples for the integral
    assert efficiency == pytest.approx(tabulated, abs=1e-5)


def test_a_blaze_of_few_pixels_loses_what_its_steps_lose():
    slm = blazed(SLM(Grid((1, 8), 8e-6), bit_depth=None, samples_per_pixel=64, dtype=torch.float64), 8)
    assert orders(slm, 8)[1] == pytest.approx(blaze_efficiency(8), rel=2e-5)  # 64 samples for a pixel's integral


@pytest.mark.parametrize("depth", [0.9, 0.75])
def test_a_blaze_that_misses_two_pi_leaks_into_the_zero_order(depth):
    period = 4096
    power = orders(blazed(SLM(Grid((1, period), 1e-6), bit_depth=None, dtype=torch.float64), period, depth), period)
    assert power[1] == pytest.approx(np.sinc(1 - depth) ** 2, rel=1e-3)
    assert power[0] == pytest.approx(np.sinc(depth) ** 2, rel=1e-3)


@pytest.mark.parametrize(("fill_factor", "tabulated"), [(0.93, 0.0049), (0.87, 0.0169), (0.5, 0.25), (1.0, 0.0)])
def test_the_gap_between_pixels_feeds_the_zero_order(fill_factor, tabulated):
    slm = blazed(SLM(GRID, bit_depth=8, fill_factor=fill_factor, dtype=torch.float64), 4)  # sends nothing straight on
    zero_order = slm(plane_wave(GRID)).data.mean().abs().square().item()
    assert zero_order == pytest.approx((1 - fill_factor) ** 2, abs=1e-14)
    assert zero_order == pytest.approx(tabulated, abs=1e-6)


@pytest.mark.parametrize("fill_factor", [1.0, 0.6])
def test_a_flat_mask_reflects_everything_whatever_the_gap(fill_factor):
    out = SLM(GRID, masks=2, fill_factor=fill_factor, dtype=torch.float64)(plane_wave(GRID))
    torch.testing.assert_close(out.data, torch.ones(2, 16, 12, dtype=torch.complex128), rtol=0, atol=1e-15)


def test_more_phase_is_more_delay():
    quarter = phase_modulation(torch.tensor(math.pi / 2, dtype=torch.float64))
    assert quarter.item() == pytest.approx(1j, abs=1e-15)
    assert with_reflecting_gaps(quarter, 0.8).item() == pytest.approx(0.2 + 0.8j)


def test_a_lossless_slm_keeps_the_power_and_its_opposite_undoes_it(generator):
    slm, opposite = SLM(GRID, dtype=torch.float64), SLM(GRID, dtype=torch.float64)
    slm.set_values(torch.rand(1, 16, 12, generator=generator, dtype=torch.float64) * 20)
    opposite.load_levels((256 - slm.levels()) % 256)
    out = slm(plane_wave(GRID))
    torch.testing.assert_close(out.intensity, torch.ones(1, 16, 12, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(opposite(out).data, plane_wave(GRID).data, rtol=0, atol=1e-12)


def test_an_amplitude_slm_is_passive_and_dark_where_it_says():
    slm = AmplitudeSLM(Grid((1, 4), 8e-6), bit_depth=None, dtype=torch.float64)
    slm.set_values(torch.tensor([[[-1.0, 0.25, 1.0, 9.0]]], dtype=torch.float64))
    assert slm.modulation().flatten().tolist() == [0, 0.25, 1, 1]
    slm.modulation().real.sum().backward()
    assert slm.values.grad.flatten().tolist() == [1, 1, 1, 1]


def test_one_forward_serves_all_masks_of_a_batch(generator):
    slm = SLM(GRID, masks=3, bit_depth=None, dtype=torch.float64)
    slm.set_values(torch.rand(3, 16, 12, generator=generator, dtype=torch.float64))
    light = torch.randn(2, 1, 16, 12, generator=generator, dtype=torch.complex128)
    out = slm(Field(light, GRID, 532e-9)).data.detach().numpy()
    for image in range(2):
        for mask in range(3):
            wanted = light[image, 0].numpy() * np.exp(1j * slm.values[mask].detach().numpy())
            np.testing.assert_allclose(out[image, mask], wanted, rtol=0, atol=1e-14)


def test_finer_samples_repeat_the_pixel_they_lie_in():
    slm = SLM(Grid((2, 3), "8 um"), samples_per_pixel=2, bit_depth=None, dtype=torch.float64)
    slm.set_values(torch.arange(6.0, dtype=torch.float64).reshape(1, 2, 3))
    assert slm.samples == Grid((4, 6), "4 um")
    shown = slm.modulation()[0].detach().numpy()
    for row in range(4):
        for column in range(6):
            assert shown[row, column] == pytest.approx(np.exp(1j * (row // 2 * 3 + column // 2)))


@pytest.mark.parametrize("fill_factor", [1.0, 0.7])
def test_the_gradient_reaches_the_phase_and_the_light(fill_factor, generator):
    slm = SLM(Grid((3, 2), 8e-6), masks=2, bit_depth=None, fill_factor=fill_factor, dtype=torch.float64)
    wave = torch.randn(2, 1, 3, 2, dtype=torch.complex128, generator=generator, requires_grad=True)
    phase = torch.rand(2, 3, 2, dtype=torch.float64, generator=generator, requires_grad=True)

    def light(data, values):
        return torch.func.functional_call(slm, {"values": values}, (Field(data, slm.samples, 532e-9),)).data

    assert torch.autograd.gradcheck(light, (wave, phase))


def test_quantization_does_not_stop_the_gradient():
    slm = SLM(GRID, bit_depth=2, dtype=torch.float64)
    slm.set_values(torch.full((1, 16, 12), 0.3, dtype=torch.float64))  # shown as 0: d sin = cos 0 = 1
    slm(plane_wave(GRID)).data.imag.sum().backward()
    assert torch.equal(slm.values.grad, torch.ones_like(slm.values))


@pytest.mark.parametrize("fill_factor", [93, 0, -0.1, math.nan])
def test_a_fill_factor_in_percent_is_refused(fill_factor):
    with pytest.raises(ValueError, match=rf"fill_factor must be in \(0, 1\], got {fill_factor:g}\. A 92 % panel"):
        SLM(GRID, fill_factor=fill_factor)


@pytest.mark.parametrize("bits", [0, 17, -8])
def test_a_bit_depth_of_no_device_is_refused(bits):
    with pytest.raises(ValueError, match=rf"bit_depth must be in 1 \.\.\. 16, got {bits}"):
        SLM(GRID, bit_depth=bits)


@pytest.mark.parametrize("name", ["masks", "samples_per_pixel"])
def test_no_masks_and_no_samples_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        SLM(GRID, **{name: 0})


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_mask_with_a_hole_in_it_is_refused_and_the_old_one_stays(bad):
    slm = SLM(GRID)
    values = torch.ones(1, 16, 12)
    values[0, 3, 4] = bad
    with pytest.raises(ValueError, match="a mask must be finite, got NaN or inf"):
        slm.set_values(values)
    assert torch.equal(slm.values, torch.zeros_like(slm.values))


@pytest.mark.parametrize("kind", [SLM, AmplitudeSLM])
def test_a_mask_that_diverged_in_training_has_no_levels(kind):
    slm = kind(GRID)
    with torch.no_grad():
        slm.values[0, 3, 4] = math.nan  # as an optimiser leaves it, past set_values
    with pytest.raises(ValueError, match="must be finite, got NaN or inf"):
        slm.levels()


@pytest.mark.parametrize("shape", [(1, 12, 16), (16, 12), (2, 16, 12)])
def test_a_mask_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"a mask must have shape \(1, 16, 12\), got"):
        SLM(GRID).set_values(torch.zeros(shape))
    with pytest.raises(ValueError, match=r"levels must have shape \(1, 16, 12\), got"):
        SLM(GRID).load_levels(torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("level", [-1, 256])
def test_a_level_that_the_device_has_not_is_refused(level):
    levels = torch.zeros(1, 16, 12, dtype=torch.long)
    levels[0, 5, 5] = level
    with pytest.raises(ValueError, match=r"levels must be in 0 \.\.\. 255, got"):
        SLM(GRID).load_levels(levels)


def test_a_continuous_mask_has_no_levels():
    with pytest.raises(ValueError, match="levels need a bit_depth, got None"):
        SLM(GRID, bit_depth=None).levels()


def test_a_field_on_another_grid_is_refused():
    with pytest.raises(ValueError, match=r"SLM's grid of 8 x 8 samples of 8 um, got 16 x 12 samples of 8 um"):
        SLM(Grid((8, 8), 8e-6))(plane_wave(GRID))
