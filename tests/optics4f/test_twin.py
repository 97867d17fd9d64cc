"""A twin finds what a hidden bench is, says how well it knows it, and refuses what frames cannot tell."""

import copy
import math

import numpy as np
import pytest
import torch

from optics4f.twin import USUAL, TwinModel, fit
from optics4f.twin.fitting import pointwise, quantile, started
from optics4f.twin.model import noise_variance
from optics4f.twin.parameters import bent
from tests.optics4f.twin_benches import CONTENT, IMAGES, TRUTH, frames_of, hidden_content, shown, specified


@pytest.fixture(scope="module")
def fitted():
    levels, images = shown(1)
    measured = frames_of(hidden_content(), levels, images, seed=5)
    model = TwinModel(specified(), levels, images, USUAL)
    return model, measured, fit(model, measured)


# --- the model ---


def test_a_model_with_the_true_numbers_is_the_hidden_bench():
    levels, images = shown(2)
    model = TwinModel(specified(), levels, images, USUAL)
    exact = frames_of(hidden_content(), levels, images, None, exact=True)
    # Another path to the same bench: only the order of the arithmetic differs.
    torch.testing.assert_close(model.frames(TRUTH), exact, rtol=1e-9, atol=1e-9)


def test_the_jacobian_is_that_of_autograd():
    levels, images = shown(3, masks=3, images=1)
    slm, camera = ("shift", "rotation", "tilt", "axial"), ("rotation", "axial")
    free = (*(f"slm_{part}" for part in slm), *(f"camera_{part}" for part in camera), "brightness", "offset")
    model = TwinModel(specified(), levels, images, free)
    values = {
        **model.start,
        **{"slm_shift_y": 5e-6, "slm_rotation": 0.01, "slm_tilt_x": 1e-4, "camera_axial": 1e-3},
        **{"brightness": 0.8, "offset": 3.0},
    }
    weights = torch.ones_like(model.frames(values))
    jacobian = model.jacobian(values, weights).reshape(*weights.shape, -1)
    model.frames(values)  # leaves the bench at these values
    sensor, pixel = model.bench.camera, (0, 1, 6, 9)
    signal = sensor.integrated(model.route(model.images))[pixel] * sensor.white / sensor.sensor.electrons_per_count
    places = [getattr(model.bench.slm_position, part) for part in slm]
    places += [getattr(model.bench.camera_position, part) for part in camera]
    wanted = torch.autograd.grad(0.8 * signal, places)
    slopes = torch.cat([*(w.reshape(-1) for w in wanted), signal.detach()[None], torch.tensor([64.0])])
    scaled = [slope * p.step for slope, p in zip(slopes.tolist(), model.parameters, strict=True)]
    np.testing.assert_allclose(jacobian[pixel], scaled, rtol=1e-5, atol=1e-5 * max(map(abs, scaled)))


def test_a_bent_table_has_its_closed_form():
    table = 2 * math.pi * torch.arange(256, dtype=torch.float64) / 256
    assert bent(table, {"lut_gamma": 1.2})[64].item() == pytest.approx(2 * math.pi * 0.25**1.2)
    assert bent(table, {"lut_range": 0.9})[100].item() == pytest.approx(0.9 * 2 * math.pi * 100 / 256)
    curved = bent(table, {"lut_curve_1": 0.3, "lut_curve_3": -0.2}) - table
    turns = math.pi * 100 / 255
    assert curved[100].item() == pytest.approx(0.3 * math.sin(turns) - 0.2 * math.sin(3 * turns))
    assert curved[0].item() == curved[-1].item() == pytest.approx(0, abs=1e-12)


def test_the_stated_variance_is_that_of_the_camera():
    levels, images = shown(4, images=1)
    exact = frames_of(hidden_content(), levels, images, None, exact=True)
    draws = torch.stack([frames_of(hidden_content(), levels, images, seed) for seed in range(100)])
    variance = noise_variance(exact, specified(hidden_content()).build().camera)
    # 100 draws know a variance to 14 %, 672 pixels of them their mean ratio to 0.5 %.
    assert (draws.var(0) / variance).mean().item() == pytest.approx(1, abs=0.02)
    assert ((draws.mean(0) - exact) / (variance / 100).sqrt()).std().item() == pytest.approx(1, abs=0.1)


# --- the fit ---


def test_the_truth_lies_within_the_stated_uncertainties(fitted):
    _, _, found = fitted
    off = {e.name: (e.value - TRUTH[e.name]) / e.deviation for e in found.estimates}
    assert max(map(abs, off.values())) < 4  # eleven draws of a normal distribution: 7 in 10,000
    assert sum(v**2 for v in off.values()) / len(off) < 3.1  # chi squared of 11: 1 in 1,000 were they independent
    assert set(off) == set(TRUTH)
    # A mean of n chi squared deviates by sqrt(2 / n).
    assert found.reduced_chi2 == pytest.approx(1, abs=4 * math.sqrt(2 / found.pixels))


def test_stated_deviations_are_those_of_many_noisy_measurements(fitted):
    model, _, found = fitted
    levels, images = shown(1)
    hidden = specified(hidden_content())
    bench = hidden.build(dtype=torch.complex128)
    bench.slm.load_levels(levels)
    with torch.no_grad():
        light = hidden.build_route(bench)(images[:, None])
        draws = torch.stack([bench.camera.counts(light, torch.Generator().manual_seed(n)) for n in range(200)])
    weights = noise_variance(model.frames(TRUTH), bench.camera).rsqrt()
    # About the truth the model is straight: the fit of each draw is one step of linear least squares.
    jacobian = model.jacobian(TRUTH, weights)
    left = ((draws - model.frames(TRUTH)) * weights).flatten(1).numpy()
    fits = np.linalg.lstsq(jacobian, left.T, rcond=None)[0].T * [p.step for p in model.parameters]
    stated = np.array([e.deviation for e in found.estimates])
    # 200 draws know a standard deviation to 5 %, and their mean to 7 % of it.
    np.testing.assert_allclose(fits.std(0) / stated, 1, atol=0.2)
    np.testing.assert_allclose(fits.mean(0) / stated, 0, atol=0.3)


def test_the_intervals_say_something(fitted):
    _, _, found = fitted
    for name, most in {"slm_shift_y": 2e-6, "slm_rotation": 5e-3, "camera_axial": 4e-4, "lut_gamma": 0.02}.items():
        assert 0 < found[name].high - found[name].low < most
    e = found["f2"]
    low, high = e.alone
    assert high - e.value == pytest.approx(1.96 * e.deviation, rel=0.01)
    assert e.value - low == pytest.approx(high - e.value)
    # Eleven together: the table of the standard normal distribution at 1 - (1 - 0.95 ** (1 / 11)) / 2.
    assert found.joint and len(found.estimates) == 11
    assert e.high - e.value == pytest.approx(2.83 * e.deviation, rel=0.01)
    assert e.value - e.low == pytest.approx(e.high - e.value)
    assert np.allclose(np.diag(found.correlation), 1)


@pytest.mark.parametrize("alike", [0.0, 0.6, -0.09])
def test_joint_intervals_hold_together_whatever_the_correlation(alike):
    count, draws = 11, 200_000
    covariance = (1 - alike) * np.eye(count) + alike
    z = np.random.default_rng(4).multivariate_normal(np.zeros(count), covariance, size=draws)
    held = (np.abs(z) <= quantile(pointwise(0.95, count))).all(1).mean()
    assert held > 0.95 - 4 * math.sqrt(0.05 * 0.95 / draws)  # Sidak: at least
    if alike == 0:
        assert held == pytest.approx(0.95, abs=4 * math.sqrt(0.05 * 0.95 / draws))
    assert (np.abs(z) <= quantile(0.95)).all(1).mean() < 0.85  # those of each alone do not


def test_intervals_may_be_stated_one_by_one(fitted):
    model, measured, found = fitted
    alone = fit(model, measured, start=found.values, joint=False)
    assert not alone.joint
    for e in alone.estimates:
        assert (e.low, e.high) == e.alone


def test_frames_of_new_masks_are_predicted(fitted):
    _, _, found = fitted
    levels, images = shown(77)
    exact = frames_of(hidden_content(), levels, images, None, exact=True)
    judge = TwinModel(specified(), levels, images, USUAL)

    def alike(values):
        return torch.corrcoef(torch.stack([judge.frames(values).flatten(), exact.flatten()]))[0, 1].item()

    assert alike(judge.start) < 0.95
    assert alike(found.values) > 0.999


def test_a_camera_off_by_many_pixels_is_found():
    levels, images = shown(5)
    content = copy.deepcopy(CONTENT)
    truth = {"camera_shift_y": 3.3 * 27.6e-6, "camera_shift_x": -2.6 * 27.6e-6}
    content["bench"]["camera_position"] = {"shift": list(truth.values())}
    model = TwinModel(specified(), levels, images, ("camera_shift", "slm_shift", "brightness"))
    measured = frames_of(content, levels, images, seed=2)
    begun, found = started(model, measured), fit(model, measured)
    for name, value in truth.items():
        assert begun[name] == pytest.approx(value, abs=0.5 * 27.6e-6)  # by registration, before any search
        assert found[name].value == pytest.approx(value, abs=4 * found[name].deviation)


def test_a_bootstrap_of_mere_noise_agrees_with_the_hessian(fitted):
    model, measured, found = fitted
    again = fit(model, measured, start=found.values, bootstrap=400, generator=np.random.default_rng(0))
    ratios = [a.deviation / b.deviation for a, b in zip(again.estimates, found.estimates, strict=True)]
    # Nine frames: a deviation drawn from them is known to a quarter.
    assert min(ratios) > 0.4 and max(ratios) < 2
    assert 0.7 < sum(ratios) / len(ratios) < 1.3


def test_what_the_model_lacks_widens_the_intervals(fitted):
    _, measured, full = fitted
    levels, images = shown(1)
    free = ("camera_shift", "brightness", "offset")
    found = fit(TwinModel(specified(), levels, images, free), measured)
    assert found.reduced_chi2 > 10
    assert found["camera_shift_y"].deviation > 2 * full["camera_shift_y"].deviation


def test_aberrations_and_a_smooth_table_are_found():
    content = copy.deepcopy(CONTENT)
    content["bench"]["pupil"] = {"diameter": "320 um", "aberrations": {"5": 0.0, "7": 0.0}}
    hidden = copy.deepcopy(content)
    hidden["bench"]["pupil"]["aberrations"] = {"5": 0.4, "7": -0.3}
    level = torch.arange(256, dtype=torch.float64)
    table = 2 * math.pi * level / 256 + 0.25 * torch.sin(math.pi * level / 255)
    hidden["bench"]["slm"]["effects"] = {"lut": {"phase": table.tolist(), "calibrated": False}}
    levels, images = shown(7)
    model = TwinModel(specified(content), levels, images, ("aberrations", "lut_curve", "brightness"))
    found = fit(model, frames_of(hidden, levels, images, seed=4))
    truth = {"aberration_5": 0.4, "aberration_7": -0.3, "lut_curve_1": 0.25, "lut_curve_2": 0.0, "brightness": 1.0}
    for name, value in truth.items():
        assert found[name].value == pytest.approx(value, abs=4 * found[name].deviation)
        assert found[name].deviation < 0.05


# --- what is refused ---


def test_two_numbers_that_do_the_same_are_named():
    levels, images = shown(8)
    model = TwinModel(specified(), levels, images, ("slm_tilt", "camera_shift", "brightness"))
    with pytest.raises(ValueError, match=r"slm_tilt_(.) and camera_shift_\1 must differ"):
        fit(model, frames_of(CONTENT, levels, images, seed=0))


def test_saturated_frames_are_refused():
    levels, images = shown(9)
    content = copy.deepcopy(CONTENT)
    content["bench"]["camera"]["exposure"] = 1e7
    model = TwinModel(specified(content), levels, images, ("brightness",))
    with pytest.raises(ValueError, match="neither dark nor saturated"):
        fit(model, frames_of(content, levels, images, seed=None))


@pytest.mark.parametrize(
    ("free", "message"),
    [
        (("shift",), "free must name some of slm_shift"),
        ((), "at least one"),
        (("lut_gamma", "lut_curve"), "must not be fitted with lut_curve"),
        (("aberrations",), r"listed under \[bench.pupil\]"),
    ],
)
def test_names_that_cannot_be_fitted_are_refused(free, message):
    levels, images = shown(10)
    with pytest.raises(ValueError, match=message):
        TwinModel(specified(), levels, images, free)


def test_a_route_without_rotation_does_not_fit_one():
    content = copy.deepcopy(CONTENT)
    content["bench"] |= {"route": "psf", "camera": {**content["bench"]["camera"], "samples_per_pixel": 8}}
    content["bench"]["lens2"]["focal_length"] = 0.04
    levels, images = shown(12)
    TwinModel(specified(content), levels, images, ("camera_axial",))
    with pytest.raises(ValueError, match="must have no rotation in the PSF route"):
        TwinModel(specified(content), levels, images, ("slm_rotation",))


def test_camera_and_brightness_of_a_dmd_are_found():
    content = copy.deepcopy(CONTENT)
    content["bench"]["slm"] = {
        **{"device": "dlp7000", "shape": [36, 32], "masks": 3, "pitch": "13.68 um", "fill_factor": 0.9},
    }
    hidden = copy.deepcopy(content)
    hidden["bench"]["camera_position"] = {"shift": [9e-6, -7e-6]}
    levels, images = shown(13)
    model = TwinModel(specified(content), levels % 2, images, ("camera_shift", "brightness"))
    found = fit(model, frames_of(hidden, levels % 2, images, seed=1))
    for name, value in {"camera_shift_y": 9e-6, "camera_shift_x": -7e-6, "brightness": 1.0}.items():
        assert found[name].value == pytest.approx(value, abs=4 * found[name].deviation)
    with pytest.raises(ValueError, match="must be of a phase SLM"):
        TwinModel(specified(content), levels % 2, images, ("lut_gamma",))
    with pytest.raises(ValueError, match="crosstalk is an effect of a phase SLM"):
        TwinModel(specified(content), levels % 2, images, ("crosstalk",))


def test_other_shapes_and_nan_are_refused():
    levels, images = shown(11)
    with pytest.raises(ValueError, match="images must be"):
        TwinModel(specified(), levels, images.mT, USUAL)
    model = TwinModel(specified(), levels, images, USUAL)
    with pytest.raises(ValueError, match="frames must be"):
        fit(model, torch.ones(IMAGES, 3, 16, 14))
    with pytest.raises(ValueError, match="finite"):
        fit(model, torch.full((IMAGES, 3, 14, 16), math.nan))
    with pytest.raises(ValueError, match="bootstrap must be"):
        fit(model, torch.ones(IMAGES, 3, 14, 16), bootstrap=3)
