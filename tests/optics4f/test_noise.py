"""Shot and read noise: means, variances, gradients."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from optics4f.noise import BRIGHT, delivered, poisson, read_noise, shot_noise

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


@pytest.mark.parametrize("mean", [3.0, 0.9 * BRIGHT, BRIGHT, 1.1 * BRIGHT, 12_345.6])
def test_the_distribution_is_that_of_poisson_on_both_sides_of_where_draws_change(mean, generator):
    drawn = poisson(torch.full((500, 400), mean, dtype=torch.float64), generator).flatten().numpy()
    counts = np.arange(drawn.min() - 1, drawn.max() + 2)
    found = np.searchsorted(np.sort(drawn), counts, side="right") / drawn.size
    # Kolmogorov's distance: beyond 1.95 / sqrt(n) once in a thousand.
    assert np.abs(found - scipy.stats.poisson.cdf(counts, mean)).max() < 1.95 / math.sqrt(drawn.size)


@pytest.mark.parametrize("mean", [BRIGHT, 1234.5, 1e5])
def test_bright_draws_are_a_normal_one_bent_to_poisson_to_its_seventh_digit(mean, monkeypatch):
    """Normal deviates in order in place of random ones: what each is bent to tells the distribution function."""
    deviates = torch.linspace(-5.5, 5.5, 2_000_001, dtype=torch.float64)
    monkeypatch.setattr(torch.Tensor, "normal_", lambda self, **_: self.copy_(deviates))
    drawn = poisson(torch.full_like(deviates, mean), torch.Generator())
    steps = drawn.diff() > 0
    assert (drawn.diff() >= 0).all()
    counts, edges = drawn[:-1][steps].numpy(), ((deviates[:-1] + deviates[1:]) / 2)[steps].numpy()
    difference = scipy.stats.norm.cdf(edges) - scipy.stats.poisson.cdf(counts, mean)
    assert np.abs(difference).max() < 3e-7 + 0.4 * 5.5e-6 / 2  # and half a step of the deviates


def test_means_of_any_size_and_layout_share_a_tensor(generator):
    rate = torch.tensor([[-3.0, 0.0, math.nan], [2e4, 5.0, math.inf], [1e6, -math.inf, 0.5]]).T
    drawn = poisson(rate, generator)
    assert drawn.shape == rate.shape
    assert torch.equal(drawn.isnan(), ~rate.isfinite())
    assert drawn[0, 0] == drawn[1, 0] == 0
    assert abs(drawn[0, 1] - 2e4) < 6 * math.sqrt(2e4) and abs(drawn[0, 2] - 1e6) < 6e3
    assert torch.equal(drawn.nan_to_num(), drawn.nan_to_num().round())
    assert poisson(torch.empty(0, 4), generator).shape == (0, 4)


def test_gradients_pass_a_gain_and_stop_where_nothing_passes():
    mean = torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64, requires_grad=True)
    drawn, passing = torch.tensor([7.0, 8.0, 9.0], dtype=torch.float64), torch.tensor([True, False, True])
    seen = delivered(mean, drawn, passing, 0.5)
    assert torch.equal(seen, drawn)
    slope = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    (gradient,) = torch.autograd.grad((seen * torch.tensor([1.0, 2.0, 3.0])).sum(), mean, create_graph=True)
    assert torch.equal(gradient, slope * torch.tensor([1.0, 2.0, 3.0]))
    of_many = torch.func.vmap(torch.func.grad(lambda m, d, p: delivered(m, d, p, 0.5).sum()))
    assert torch.equal(of_many(mean.detach()[:, None], drawn[:, None], passing[:, None])[:, 0], slope)
    ones = torch.ones(3, dtype=torch.float64)
    _, tangent = torch.func.jvp(lambda m: delivered(m, drawn, passing, 0.5), (mean.detach(),), (ones,))
    assert torch.equal(tangent, slope)


def test_single_precision_has_even_and_odd_numbers_alike(generator):
    drawn = poisson(torch.full((400_000,), 6e6), generator)
    assert abs((drawn % 2).mean().item() - 0.5) < 4 * 0.5 / math.sqrt(len(drawn))
    # Kolmogorov's distance, as above
    counts = np.arange(6e6 - 1e4, 6e6 + 1e4)
    found = np.searchsorted(np.sort(drawn.double().numpy()), counts, side="right") / len(drawn)
    assert np.abs(found - scipy.stats.poisson.cdf(counts, 6e6)).max() < 1.95 / math.sqrt(len(drawn))


def test_draws_can_be_changed_in_place(generator):
    electrons = torch.full((3,), 5e3, requires_grad=True)
    shot_noise(electrons, generator).mul_(2).sum().backward()
    assert electrons.grad.tolist() == [2, 2, 2]
