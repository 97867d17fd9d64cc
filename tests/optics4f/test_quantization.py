"""Levels on a circle, and the two ends of an amplitude."""

import math

import numpy as np
import pytest
import torch

from optics4f.quantization import (
    amplitude_to_levels,
    levels_to_amplitude,
    levels_to_phase,
    phase_to_levels,
    quantize_amplitude,
    quantize_phase,
)

BITS = [1, 2, 4, 8, 10]


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_b_bits_are_two_to_the_b_different_phasors_evenly_on_the_circle(bits, dtype):
    phase = torch.linspace(-7 * math.pi, 9 * math.pi, 200_001, dtype=dtype)
    shown = quantize_phase(phase, bits).double().unique()
    assert len(shown) == 2**bits
    step = 2 * math.pi / 2**bits
    np.testing.assert_allclose(shown.numpy(), step * np.arange(2**bits), rtol=2e-7, atol=0)
    assert step - 1e-6 < 2 * math.pi - shown[-1] < step + 1e-6  # the circle closes with one more equal step


@pytest.mark.parametrize("bits", BITS)
def test_no_phase_moves_by_more_than_half_a_step(bits):
    phase = torch.linspace(-9, 12, 10_007, dtype=torch.float64)
    moved = torch.angle(torch.exp(1j * (quantize_phase(phase, bits) - phase)))
    assert moved.abs().max() <= math.pi / 2**bits + 1e-12


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_training_sees_and_what_the_levels_show_are_equal_to_the_last_bit(bits, dtype, generator):
    phase = (torch.rand(300, 200, generator=generator, dtype=torch.float64) * 40 - 20).to(dtype)
    assert torch.equal(quantize_phase(phase, bits), levels_to_phase(phase_to_levels(phase, bits), bits, dtype))


@pytest.mark.parametrize("bits", [1, 2, 8, 10, 16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_level_survives_the_way_to_phase_and_back(bits, dtype):
    levels = torch.arange(2**bits)
    assert torch.equal(phase_to_levels(levels_to_phase(levels, bits, dtype), bits), levels)
    assert torch.equal(amplitude_to_levels(levels_to_amplitude(levels, bits, dtype), bits), levels)


@pytest.mark.parametrize("bits", BITS)
def test_rounding_a_phase_passes_the_gradient_unchanged(bits):
    phase = torch.linspace(-5, 9, 101, dtype=torch.float64, requires_grad=True)
    weights = torch.arange(101, dtype=torch.float64)
    (quantize_phase(phase, bits) * weights).sum().backward()
    assert torch.equal(phase.grad, weights)


@pytest.mark.parametrize("bits", BITS)
def test_an_amplitude_reaches_dark_and_full_in_even_steps(bits):
    amplitude = torch.linspace(-0.5, 1.5, 40_001, dtype=torch.float64)
    shown = quantize_amplitude(amplitude, bits).unique()
    np.testing.assert_allclose(shown.numpy(), np.linspace(0, 1, 2**bits), rtol=0, atol=1e-15)
    assert quantize_amplitude(torch.tensor([-3.0, 0.0, 1.0, 7.0]), bits).tolist() == [0, 0, 1, 1]
    inside = amplitude.clamp(0, 1)
    assert (quantize_amplitude(amplitude, bits) - inside).abs().max() <= 0.5 / (2**bits - 1) + 1e-12


def test_an_amplitude_that_left_the_interval_can_come_back():
    amplitude = torch.tensor([-0.4, 0.3, 1.7], requires_grad=True)
    quantize_amplitude(amplitude, 3).sum().backward()
    assert amplitude.grad.tolist() == [1, 1, 1]
