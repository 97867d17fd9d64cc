"""How the effects of one device meet: shared draws, noise that crosstalk averages, amplitudes that multiply."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from optics4f.effects import (
    LUT,
    AmplitudeCoupling,
    Crosstalk,
    FillFactor,
    Flatness,
    Flicker,
    NonUniformity,
    Quantization,
)
from optics4f.elements import SLM, AmplitudeSLM
from optics4f.grid import Grid
from optics4f.routes import FourierLensRoute
from tests.optics4f.benches import small_bench, smooth_masks
from tests.optics4f.panels import TURN, phases, showing

GRID = Grid((6, 8), 8e-6)


# --- one draw a forward ---


def drawn(kind: type = SLM):
    return showing(
        phases(1, 20, 30).abs() % 1, Quantization(2, method="gumbel", temperature=0.5), kind=kind
    ).train()  # fmt: skip


@pytest.mark.parametrize("kind", [SLM, AmplitudeSLM])
def test_a_gumbel_draw_stays_until_the_mask_changes(kind):
    slm = drawn(kind)
    first = slm.modulation().detach()
    assert torch.equal(slm.modulation().detach(), first)
    assert torch.equal(slm.modulation(frame=1).detach(), first)
    slm.modulation().real.sum().backward()
    torch.optim.SGD(slm.parameters(), lr=1e-12).step()  # moves no pixel to another level by itself
    second = slm.modulation().detach()
    assert (second - first).abs().gt(1e-6).double().mean() > 0.1
    slm.effects["quantization"].redraw()
    assert (slm.modulation().detach() - second).abs().gt(1e-6).double().mean() > 0.1
    assert torch.equal(copy.deepcopy(slm).modulation().detach(), first)  # a copy starts the draws of the seed again
    torch.save(slm, io.BytesIO())


def test_a_mask_handed_in_has_its_own_draw():
    slm = drawn()

    def seen(values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(Once(slm), {"slm.values": values}, ())

    values = slm.values.detach().clone()
    a, b = seen(values), seen(values.clone())
    assert (a - b).abs().gt(1e-6).double().mean() > 0.1  # another tensor is another step of a functional optimiser


class Once(torch.nn.Module):
    def __init__(self, slm: SLM) -> None:
        super().__init__()
        self.slm = slm

    def forward(self) -> torch.Tensor:
        return self.slm.modulation()


def test_all_wavelengths_of_a_route_see_one_mask_while_gumbel_trains():
    bench = small_bench(masks=1)
    table = LUT(TURN / 8 * torch.arange(8, dtype=torch.float64))
    bench.slm = SLM(
        bench.slm.grid, None, [Quantization(3, method="gumbel", temperature=0.5), table], dtype=torch.float64
    )
    bench.slm.set_values(smooth_masks(1, bench.slm.grid.shape))
    bench.slm.train()
    route = FourierLensRoute(bench)
    first, other, again = (route.mask_factors(w).detach() for w in (532e-9, 633e-9, 532e-9))
    assert torch.equal(first, again)
    pixel = bench.slm.pixel_modulation().detach().angle() % TURN
    level = torch.round(pixel / TURN * 8)
    lit = first.abs() > 1e-6
    wanted = torch.exp(1j * level * TURN / 8 * 532 / 633)
    phase = (other / other.abs()) * (wanted / (first / first.abs() * torch.exp(1j * level * TURN / 8).conj())).conj()
    torch.testing.assert_close(phase[lit].abs(), torch.ones_like(phase[lit].abs()), rtol=0, atol=1e-9)


# --- flicker ---


@pytest.mark.parametrize("ratio", [1.3, 0.8])
def test_flicker_grows_with_the_wavelength_ratio_as_its_frames_do(ratio):
    s, values = 0.5, torch.zeros(1, 60, 80, dtype=torch.float64)
    closed = showing(values, Flicker(s), bit_depth=None).modulation(ratio).mean().abs().item()
    assert closed == pytest.approx(math.exp(-((ratio * s) ** 2) / 2), rel=1e-12)
    frames = showing(values, Flicker(s, frames=20), bit_depth=None)
    mean = sum(frames.modulation(ratio, f).mean() for f in range(20)).abs().item() / 20
    # 96 000 draws: 4 deviations of a phasor of unit modulus.
    assert mean == pytest.approx(closed, abs=4 / math.sqrt(96_000))


@pytest.mark.parametrize("shape", [(5, 6), (9, 20)])
def test_the_mean_field_of_flicker_with_crosstalk_is_the_mean_of_its_frames(shape):
    s, ratio, count = 0.5, 1.2, 4000
    values = phases(1, *shape)
    closed = showing(values, Flicker(s), Crosstalk(), bit_depth=None, samples_per_pixel=3).modulation(ratio).detach()
    frames = showing(
        values.expand(count, *shape), Flicker(s, frames=1, seed=3), Crosstalk(), bit_depth=None, samples_per_pixel=3
    )
    mean = frames.modulation(ratio).detach().mean(0, keepdim=True)
    # Every cell, those at the edges too: 5 deviations of a phasor of unit modulus.
    assert (mean - closed).abs().max() < 5 / math.sqrt(count)
    alone = math.exp(-((ratio * s) ** 2) / 2)
    assert (closed.abs() > alone + 0.005).all()  # neighbours' noise is averaged: less is lost than without crosstalk


@pytest.mark.parametrize("shape", [(1, 2), (3, 4), (5, 6), (9, 7)])
def test_what_crosstalk_leaves_of_noise_is_the_sum_of_squares_of_its_weights(shape):
    pixels = math.prod(shape)
    taps = Crosstalk().kernel().numpy()
    impulses = np.eye(pixels).reshape(pixels, *shape).repeat(3, 1).repeat(3, 2)
    smeared = np.stack([ndimage.correlate(i, np.outer(taps, taps), mode="nearest") for i in impulses])
    ours = Crosstalk().smeared(torch.eye(pixels, dtype=torch.float64).reshape(pixels, *shape))
    np.testing.assert_allclose(ours, smeared, atol=1e-14)
    share = Crosstalk().noise_share(shape, torch.zeros(1, dtype=torch.float64))
    np.testing.assert_allclose(share, (smeared**2).sum(0), atol=1e-14)


# --- amplitudes ---


def test_the_amplitude_of_a_level_and_that_of_its_phase_multiply():
    table, amplitude = (
        TURN / 16 * torch.arange(16, dtype=torch.float64),
        torch.linspace(1, 0.5, 16, dtype=torch.float64),
    )
    slm = showing(phases(1, 6, 8), LUT(table, amplitude), AmplitudeCoupling(0.3), bit_depth=4)
    level = slm.levels()
    wanted = amplitude[level] * (1 - 0.3 * table[level] / TURN)
    torch.testing.assert_close(slm.modulation().detach().abs(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("gaps", ["absorbing", "reflecting"])
def test_one_sample_a_pixel_loses_what_its_gaps_absorb(gaps):
    values = phases(1, 6, 8)
    shown = showing(values, FillFactor(0.7, gaps=gaps), bit_depth=None).modulation().detach()
    wanted = 0.7 * torch.exp(1j * values) + (0.3 if gaps == "reflecting" else 0)
    torch.testing.assert_close(shown, wanted, rtol=0, atol=1e-12)


def test_the_phase_of_a_lut_beyond_a_turn_is_what_it_is():
    table = 1.33 * TURN * torch.arange(256, dtype=torch.float64) / 256
    slm = showing(phases(1, 6, 8), LUT(table), NonUniformity({2: 0.04}))
    levels = torch.arange(208, 256).reshape(1, 6, 8)  # all beyond 2 pi
    slm.load_levels(levels)
    assert table[levels].min() > TURN
    shown_levels = slm.levels()
    gain = 1 + slm.effects["non_uniformity"].map(slm.grid, slm.values)
    wanted = torch.exp(1j * 0.8 * table[shown_levels] * gain)
    torch.testing.assert_close(slm.modulation(0.8).detach(), wanted.detach(), rtol=0, atol=1e-9)
    assert (table[shown_levels] > TURN).any()


def test_an_uneven_amplitude_panel_and_its_curvature_at_another_wavelength():
    amplitude = torch.rand(1, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    uneven = torch.linspace(-0.05, 0.05, 8, dtype=torch.float64).expand(GRID.shape)
    bump = torch.linspace(0, 2, 6, dtype=torch.float64)[:, None].expand(GRID.shape)
    slm = showing(amplitude, NonUniformity(uneven), Flatness(bump), kind=AmplitudeSLM, bit_depth=None)
    wanted = amplitude * (1 + uneven) * torch.exp(1j * 1.2 * bump)
    torch.testing.assert_close(slm.modulation(1.2).detach(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [SLM, AmplitudeSLM])
def test_one_number_stated_twice_alike_is_no_conflict(kind):
    slm = kind(GRID, None, [Quantization(4), FillFactor(0.9)], bit_depth=4, fill_factor=0.9)
    assert (slm.bit_depth, slm.fill_factor) == (4, 0.9)
    assert kind(GRID, None, [FillFactor(0.9)], fill_factor=1).fill_factor == 0.9
