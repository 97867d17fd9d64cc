"""A twin that is fitted to frames of a hidden bench knows what is off: for masks that were never measured, too."""

import copy

import pytest
import torch

from experiments.fabrication_bench import HiddenSettings, hidden_front_end, smooth_noise
from experiments.fabrication_twin import TwinFitting, Unknowns, fitted_twin
from experiments.paper_settings import CONFIGURATIONS
from kd.fabrication import recorded
from kd.students import OpticalFrontEnd
from optics4f.config import bench_from, read_toml
from optics4f.effects import Flatness
from optics4f.misalignment import Misalignment

OFF = HiddenSettings(
    slm_shift=2,
    camera_shift=0.5,
    aberration=0.5,
    mask_error=0.4,
    correlation=10,
    gamma=1.15,
    crosstalk=1,
    brightness=0.2,
)
HELD_OUT = 16


def masks(seed: int, own: float = 0.5) -> torch.Tensor:
    return own * smooth_noise((2, 64, 72), 2.0, torch.Generator().manual_seed(seed)).float()


@pytest.fixture(scope="module")
def front() -> OpticalFrontEnd:
    """Two masks with much detail; a non-square object, SLM and camera."""
    content, _ = read_toml(CONFIGURATIONS / "paper_digits.toml")
    bench = content["bench"]
    bench["object"]["shape"] = [20, 28]
    bench["slm"] |= {"shape": [64, 72], "masks": 2}
    bench["camera"] |= {"shape": [14, 18]}
    specification = bench_from(content, source="test")
    built = specification.build()
    built.slm.set_values(masks(1, 1.5))
    return OpticalFrontEnd(specification.build_route(built))


@pytest.fixture(scope="module")
def fit(front):
    """The hidden bench, what was drawn for it, and the twin that was fitted to 80 images with noise."""
    hidden, drawn = hidden_front_end(front, OFF, seed=2)
    images = torch.rand(80 + HELD_OUT, 1, 20, 28, generator=torch.Generator().manual_seed(0)).square()
    frames = recorded(hidden, images, seed=1)
    before = copy.deepcopy(front.state_dict())
    told = []
    settings = TwinFitting(epochs=80, batch_size=20, rate=0.1, points=16)
    twin, found = fitted_twin(
        front, images, frames, settings, held_out=HELD_OUT, seed=0, report=lambda epoch, share: told.append(share)
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in front.state_dict().items())
    assert front.bench.slm_position is None, "what is believed stays as it is"
    assert len(told) == 80 and told[-1] == found["unexplained"]["after"]
    return hidden, drawn, twin, found


def test_what_all_masks_share_is_found(fit):
    _, drawn, _, found = fit
    errors = found["errors"]
    pitch = 9.2e-6
    for axis in ("y", "x"):
        assert errors[f"slm_shift_{axis}"] == pytest.approx(drawn[f"slm_shift_{axis}"], abs=0.1 * pitch)
    assert errors["gamma"] == pytest.approx(drawn["gamma"], abs=0.04)
    assert errors["brightness"] == pytest.approx(drawn["brightness"], rel=0.04)
    assert errors["crosstalk"] == pytest.approx(1, abs=0.2)


def test_it_holds_for_masks_and_images_that_were_never_measured(front, fit):
    hidden, _, twin, found = fit
    assert found["unexplained"]["after"] < 0.02 * found["unexplained"]["before"]
    images = torch.rand(8, 1, 20, 28, generator=torch.Generator().manual_seed(5)).square()
    for change, left in ((0.0, 0.002), (0.7, 0.01), (2.0, 0.06)):
        new, fronts = masks(1, 1.5) + masks(7, change), []
        for one in (hidden, twin, front):
            one = copy.deepcopy(one)
            one.bench.slm.set_values(new)
            fronts.append(recorded(one, images, seed=3))
        real, fitted, believed = fronts
        scale = real.var()
        assert (fitted - real).square().mean() < left * scale, change
        assert (believed - real).square().mean() > scale, change


def test_the_masks_of_the_twin_learn_and_what_was_found_stays(fit):
    _, _, twin, found = fit
    assert [name for name, p in twin.named_parameters() if p.requires_grad] == ["route.bench.slm.values"]
    twin = copy.deepcopy(twin)
    twin.reseed(0)
    twin(torch.rand(2, 1, 20, 28)).sum().backward()
    assert twin.bench.slm.values.grad.abs().max() > 0
    assert twin.bench.camera.exposure / twin.bench.camera._believed[0].exposure == pytest.approx(
        found["errors"]["brightness"]
    )


def test_held_out_frames_tell_how_good_the_fit_is_and_nothing_else(front):
    hidden, _ = hidden_front_end(front, OFF, seed=2)
    images = torch.rand(24, 1, 20, 28, generator=torch.Generator().manual_seed(0)).square()
    frames = recorded(hidden, images, seed=1)
    others = torch.cat([frames[:16], frames[16:] + frames.std()])
    settings = TwinFitting(epochs=3, batch_size=8, rate=0.02)
    (_, first), (_, second) = (fitted_twin(front, images, y, settings, held_out=8, seed=0) for y in (frames, others))
    assert first["errors"] == second["errors"]
    for when in ("before", "after"):
        assert second["unexplained"][when] != pytest.approx(first["unexplained"][when], rel=0.02), when


def test_a_fit_starts_from_the_bench_as_believed(front):
    """A known unevenness of the panel stays; an error of 0 everywhere is no error."""
    bench = copy.deepcopy(front)
    known = smooth_noise((1, 64, 72), 6.0, torch.Generator().manual_seed(4))[0]
    bench.bench.slm.effects["flatness"] = Flatness(known)
    images = torch.rand(3, 1, 20, 28, generator=torch.Generator().manual_seed(1))
    model = Unknowns(copy.deepcopy(bench), 8)
    with torch.no_grad():
        model.crosstalk.scale.fill_(0.0)
        started, believed, flat = model(images), bench.expected(images), front.expected(images)
    torch.testing.assert_close(started, believed, rtol=0, atol=2e-3 * believed.max().item())
    assert (flat - believed).abs().max() > 0.1 * believed.max()


def test_what_masks_share_needs_no_errors_of_their_own(front):
    """A camera beside its place is a tilt of all masks; where own errors cost much, there are none."""
    hidden, _ = hidden_front_end(front, HiddenSettings(camera_shift=0.5), seed=2)
    images = torch.rand(48, 1, 20, 28, generator=torch.Generator().manual_seed(0)).square()
    frames = recorded(hidden, images, seed=1)
    settings = TwinFitting(epochs=40, batch_size=20, rate=0.1, points=4, smoothness=1e3)
    twin, found = fitted_twin(front, images, frames, settings, held_out=8, seed=0)
    assert found["unexplained"]["after"] < 0.05 * found["unexplained"]["before"]
    assert twin.bench.slm.effect(Flatness).own.abs().max() < 0.02


def test_a_fit_that_goes_astray_is_told(front):
    images = torch.rand(12, 1, 20, 28, generator=torch.Generator().manual_seed(1))
    frames = recorded(front, images, seed=1)
    with pytest.raises(ValueError, match=r"Lower compensation\.twin\.rate"):
        fitted_twin(front, images, frames, TwinFitting(epochs=2, batch_size=4, rate=20), held_out=4, seed=0)


def test_a_twin_that_is_displaced_already_is_refused(front):
    moved = copy.deepcopy(front)
    moved.bench.slm_position = Misalignment(shift=(1e-6, 0.0))
    images = torch.rand(4, 1, 20, 28)
    with pytest.raises(ValueError, match=r"bench\.slm_position must be left out"):
        fitted_twin(moved, images, torch.rand(4, 2, 14, 18), TwinFitting(), held_out=1, seed=0)
