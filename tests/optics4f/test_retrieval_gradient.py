"""Masks by gradient through the device: levels, gaps, wavelengths, benches, any loss."""

import math

import pytest
import torch

from optics4f.design import TargetLoss, descend, gerchberg_saxton, image, spot_array
from optics4f.elements import SLM, AmplitudeSLM
from optics4f.grid import Grid
from optics4f.metrics import rms_error
from optics4f.routes import PSFRoute
from tests.optics4f.benches import small_bench

SHAPE = (48, 40)


def device(kind: type = SLM, **arguments) -> SLM:
    return kind(Grid(SHAPE, 8e-6), dtype=torch.float64, **{"bit_depth": None, **arguments})


def around_the_axis():
    """Odd numbers of spots, so that one stands on the zero order, where the gaps between pixels send their light."""
    return spot_array(SHAPE, (3, 5), (6, 5))


@pytest.mark.parametrize("bits", [8, 3])
def test_designing_with_the_real_device_beats_rounding_an_ideal_design(bits):
    loss = TargetLoss(around_the_axis())
    ideal = descend(device(), loss, iterations=150, seed=2)
    real = device(bit_depth=bits, fill_factor=0.85)
    real.set_values(ideal.chosen)
    rounded = loss(real).item()
    aware = descend(real, loss, iterations=150, start=ideal.chosen)
    assert aware.final.item() < 0.7 * rounded
    real.load_levels(real.levels())  # what would be uploaded
    assert loss(real).item() == pytest.approx(aware.final.item(), rel=1e-9)


def test_the_loss_is_that_of_the_light_behind_the_device():
    slm = device(bit_depth=4, fill_factor=0.8)
    slm.set_values(6 * torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    goal = around_the_axis()
    light = slm.modulation().detach()[0] / math.sqrt(SHAPE[0] * SHAPE[1])
    whole = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(light), norm="ortho")).abs().square()
    rows, columns = torch.tensor([24 - 6, 24, 24 + 6]), torch.tensor([20 - 10, 15, 20, 25, 30])
    spots = whole[rows][:, columns]
    error = ((spots * spots.sum() / spots.square().sum() - 1).square().sum() / spots.numel()).item()
    wanted = error + 0.1 * (1 - spots.sum().item())
    assert TargetLoss(goal)(slm).item() == pytest.approx(wanted, rel=1e-9)
    figures = TargetLoss(goal).metrics(slm)
    assert figures["efficiency"].item() == pytest.approx(spots.sum().item())
    assert figures["uniformity"].item() == pytest.approx((2 * spots.min() / (spots.max() + spots.min())).item())


def test_gradients_of_the_loss():
    slm = device()
    slm.set_values(torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    loss = TargetLoss(image(SHAPE, torch.rand(6, 5, generator=torch.Generator().manual_seed(1)), centre=(8, -7)))
    direction = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    loss(slm).sum().backward()
    slope = (slm.values.grad * direction).sum().item()
    before, step, shifted = slm.values.detach().clone(), 1e-5, []
    for sign in (1, -1):
        slm.set_values(before + sign * step * direction)
        shifted.append(loss(slm).item())
    assert slope == pytest.approx((shifted[0] - shifted[1]) / (2 * step), rel=1e-5)


def test_one_mask_serves_two_wavelengths():
    # A share of 0.35 each: were all of the light wanted twice, one colour would take it.
    green = TargetLoss(spot_array(SHAPE, (2, 3), (6, 7), centre=(5, -6), efficiency=0.35), efficiency_weight=0.5)
    red = TargetLoss(
        spot_array(SHAPE, (3, 2), (5, 6), centre=(-9, 4), efficiency=0.35),
        wavelength_ratio=532 / 633,
        efficiency_weight=0.5,
    )
    slm = device(bit_depth=8)
    descend(slm, green, iterations=150, seed=1)
    alone = {"green": green.metrics(slm), "red": red.metrics(slm)}
    both = descend(slm, lambda shown: green(shown) + red(shown), iterations=150, seed=1)
    slm.set_values(both.chosen)
    together = {"green": green.metrics(slm), "red": red.metrics(slm)}
    assert alone["red"]["efficiency"] < 0.05
    assert together["red"]["efficiency"] > 0.2
    for colour in together.values():
        assert colour["uniformity"] > 0.9
    # By hand: the panel's delay in [0, 2 pi) is a path, of less phase for longer light.
    light = torch.exp(1j * slm.levels()[0] * (2 * math.pi / 256) * (532 / 633)) / math.sqrt(SHAPE[0] * SHAPE[1])
    whole = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(light), norm="ortho")).abs().square()
    rows, columns = torch.tensor([-14, -9, -4]) + SHAPE[0] // 2, torch.tensor([1, 7]) + SHAPE[1] // 2
    share = whole[rows][:, columns].sum().item()
    assert together["red"]["efficiency"].item() == pytest.approx(share, rel=1e-5)  # levels() is not in float64
    # Against a random mask, both are improved many times.
    slm.set_values(2 * math.pi * torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    for loss, figures in ((green, together["green"]), (red, together["red"])):
        assert figures["efficiency"] > 10 * loss.metrics(slm)["efficiency"]
        assert figures["rms_error"] < 0.2 * loss.metrics(slm)["rms_error"]


def test_a_psf_is_designed_through_a_whole_bench():
    bench = small_bench(masks=1, bit_depth=8, fill_factor=0.9)
    route = PSFRoute(bench)
    size = route.point_spread_functions().shape[-2:]
    y, x = torch.meshgrid(*(torch.arange(n) - n // 2 for n in size), indexing="ij")
    wanted = torch.exp(-((y - 2.0) ** 2) / 8 - (x + 3.0) ** 2 / 4) + 0.5 * torch.exp(-((y + 3.0) ** 2) - (x - 2.0) ** 2)

    def loss(slm):
        return rms_error(route.point_spread_functions().abs().square(), wanted.double())

    found = descend(bench.slm, loss, iterations=60, start=torch.zeros_like(bench.slm.values))
    assert found.final.item() < 0.35 * found.losses[0].item()


def test_lbfgs_goes_further_than_adam_on_a_smooth_problem():
    slm, loss = device(), TargetLoss(image(SHAPE, torch.ones(8, 6), centre=(10, -8)))
    adam, lbfgs = (descend(slm, loss, method=method, iterations=40, seed=3) for method in ("adam", "lbfgs"))
    assert lbfgs.final.item() < adam.final.item() < adam.losses[0].item()
    assert (lbfgs.losses.diff(dim=0) <= 1e-9).all()  # the line search accepts no step uphill


def test_mirrors_are_designed_too():
    mirrors = device(AmplitudeSLM, bit_depth=1)
    goal = spot_array(SHAPE, (2, 3), (5, 5), centre=(12, 8), free=True, efficiency=0.04)
    loss = TargetLoss(goal)
    found = descend(mirrors, loss, iterations=150, metrics=loss.metrics)
    assert set(mirrors.modulation().real.unique().tolist()) == {0.0, 1.0}
    assert found.metrics["uniformity"].item() > 0.9
    assert found.metrics["efficiency"].item() > 0.03


def test_starts_in_a_batch_do_not_touch_each_other_and_the_least_loss_is_kept():
    goal = TargetLoss(around_the_axis())
    many = descend(device(masks=3), goal, iterations=20, starts=3, seed=7)
    alone = descend(device(), goal, iterations=20, start=first_values(7, 3)[1:2])
    torch.testing.assert_close(alone.losses[:, 0], many.losses[:, 1])
    torch.testing.assert_close(many.final, many.losses.min(0).values)
    slm = device()
    slm.set_values(many.chosen)
    assert goal(slm).item() == pytest.approx(many.final.min().item())


def first_values(seed: int, masks: int) -> torch.Tensor:
    return (2 * math.pi * torch.rand(masks, *SHAPE, generator=torch.Generator().manual_seed(seed))).double()


def test_masks_of_one_start_are_judged_together():
    slm = device(masks=4)
    goal = TargetLoss(around_the_axis())

    def worse_of_two(shown):
        return goal(shown).view(2, 2).amax(1)

    found = descend(slm, worse_of_two, iterations=15, starts=2)
    assert found.values.shape == (2, 2, *SHAPE)
    best = found.final[:, 0].argmin()
    assert torch.equal(found.chosen, found.values[best])


def test_gradient_descent_refines_what_weighted_iteration_found():
    target = around_the_axis()
    start = gerchberg_saxton(target, iterations=40).chosen
    slm, loss = device(bit_depth=8, fill_factor=0.9), TargetLoss(target)
    slm.set_values(start)
    before = loss.metrics(slm)["uniformity"].item()
    found = descend(slm, loss, iterations=60, start=start, learning_rate=0.03, metrics=loss.metrics)
    assert before < 0.9 < 0.98 < found.metrics["uniformity"].item()


def test_a_loss_that_breaks_ends_the_run_with_the_last_good_mask():
    slm, calls = device(), []

    def breaking(shown):
        calls.append(None)
        return shown.values.square().mean() * (math.nan if len(calls) > 3 else 1)

    found = descend(slm, breaking, iterations=50)
    assert "no longer finite" in found.reason
    assert torch.isfinite(found.chosen).all()
    assert found.final.item() == found.losses[2].item()


def test_refusals():
    slm, loss = device(masks=2), TargetLoss(around_the_axis())
    with pytest.raises(ValueError, match="multiple of starts masks, got 2 masks for 3 starts"):
        descend(slm, loss, starts=3)
    with pytest.raises(ValueError, match=r"loss must have shape \(2,\) or \(2, 1\), one for each start, got \(\)"):
        descend(slm, lambda shown: loss(shown).sum(), starts=2)
    with pytest.raises(ValueError, match='method must be "adam" or "lbfgs", got \'sgd\''):
        descend(slm, loss, method="sgd")
    with pytest.raises(ValueError, match="finite, got NaN"):
        descend(slm, loss, start=torch.full((2, *SHAPE), math.nan))
    with pytest.raises(ValueError, match="wavelength_ratio must be positive"):
        TargetLoss(around_the_axis(), wavelength_ratio=0)
    with pytest.raises(ValueError, match="the modulator must have the"):
        loss(SLM(Grid((40, 48), 8e-6)))
