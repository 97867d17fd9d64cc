"""Shot and read noise: means, variances, gradients."""

import math

import pytest
import torch

from optics4f.noise import read_noise, shot_noise

DRAWS = 40_000


@pytest.mark.parametrize("mean", [0.05, 0.7, 12.3, 5000.4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shot_noise_has_the_mean_and_the_variance_of_the_light(mean, dtype, generator):
    electrons = torch.full((200, DRAWS // 200), mean, dtype=dtype)
    drawn = shot_noise(electrons, generator).double()
    assert abs(drawn.mean().item() - mean) < 3 * math.sqrt(mean / DRAWS)
    # Variance of a Poisson variance estimate: (2 mean^2 + mean) / n; three standard errors.
    assert abs(drawn.var().item() - mean) < 3 * math.sqrt((2 * mean**2 + mean) / DRAWS)
    assert drawn.min() >= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_electrons_are_whole(dtype, generator):
    electrons = torch.rand(100, 90, generator=generator, dtype=dtype) * 30
    drawn = shot_noise(electrons, generator)
    assert torch.equal(drawn, drawn.round())


def test_the_gradient_of_shot_noise_is_that_of_its_mean(generator):
    electrons = torch.rand(4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    weights = torch.arange(12.0, dtype=torch.float64).reshape(4, 3)
    (shot_noise(electrons, generator) * weights).sum().backward()
    assert torch.equal(electrons.grad, weights)


def test_darkness_stays_dark(generator):
    assert torch.equal(shot_noise(torch.zeros(5, 4), generator), torch.zeros(5, 4))


def test_read_noise_has_its_deviation_and_no_mean(generator):
    drawn = read_noise(torch.full((200, DRAWS // 200), 7.0, dtype=torch.float64), 2.5, generator) - 7
    assert abs(drawn.mean().item()) < 3 * 2.5 / math.sqrt(DRAWS)
    assert drawn.std().item() == pytest.approx(2.5, rel=3 / math.sqrt(2 * DRAWS))


@pytest.mark.parametrize("draw", [shot_noise, lambda e, g: read_noise(e, 3.0, g)], ids=["shot", "read"])
def test_the_same_seed_draws_the_same_and_the_light_is_left_as_it_was(draw):
    electrons = torch.rand(6, 5, generator=torch.Generator().manual_seed(0)) * 100
    before = electrons.clone()
    first, again, other = (draw(electrons, torch.Generator().manual_seed(seed)) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(electrons, before)
