"""Light kept at the masks for images that are used again: the same light and gradients, and what is refused."""

import pickle

import pytest
import torch

from optics4f import memory
from optics4f.effects import Flicker
from optics4f.elements import SLM, Pupil
from optics4f.light import DiscSource, SelfLuminous, Spectrum
from optics4f.misalignment import Misalignment
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from optics4f.routes.adjoint import SAMPLES_AT_A_TIME
from tests.optics4f.benches import WAVELENGTH, random_images, relative, small_bench, smooth_masks
from tests.optics4f.route_cases import CASES

SEPARATE = [n for n in CASES if not n.startswith("psf") and "self-luminous" not in n]


@pytest.mark.parametrize("samples", [1, 2**20], ids=["one by one", "all together"])
@pytest.mark.parametrize("name", SEPARATE)
def test_arriving_light_gives_the_light_and_gradients_of_the_images(name, samples, monkeypatch):
    monkeypatch.setitem(SAMPLES_AT_A_TIME, "cpu", samples)
    kind, make, options = CASES[name]
    bench = make()
    route, images = kind(bench, **options), random_images(3, bench.illumination.shape)
    arriving = route.arriving(images)
    kept = {mode: field.clone() for mode, field in arriving.fields.items()}
    results = []
    for _ in range(2):  # what is used again stays as it is
        for shown in (images, arriving):
            bench.zero_grad()
            light = route(shown)
            weights = random_images(3, tuple(light.grid.shape), seed=5)
            (light.intensity * weights).sum().backward()
            results.append([light.intensity.detach(), *(p.grad for p in bench.parameters() if p.grad is not None)])
        with torch.no_grad():  # a step of training, of a pupil as well
            for trained in (p for p in bench.parameters() if p.requires_grad):
                trained.add_(0.1 * smooth_masks(1, (7, 5)).flatten()[0])
    for first, second in (results[:2], results[2:]):
        assert len(first) == len(second) > 1
        for wanted, actual in zip(first, second, strict=True):
            assert relative(actual, wanted) < 1e-12
    assert relative(results[0][0], results[2][0]) > 0 or bench.slm.fill_factor == 1  # a common phase is not seen
    assert all(torch.equal(arriving.fields[mode], field) for mode, field in kept.items())


def test_the_field_behind_arriving_light_is_that_of_the_images():
    kind, make, options = CASES["matched"]
    bench = make()
    route, images = kind(bench, **options), random_images(3, bench.illumination.shape)
    for graph in (True, False):
        with torch.set_grad_enabled(graph):
            found, wanted = route(route.arriving(images)), route(images)
        torch.testing.assert_close(found.data, wanted.data, rtol=1e-12, atol=1e-18)
        assert found.data.requires_grad == graph


def test_nothing_before_the_masks_is_computed_again(monkeypatch):
    route = FourierLensRoute(small_bench())
    images = random_images(2, (5, 7))
    arriving = route.arriving(images)
    monkeypatch.setattr(type(route.bench.illumination), "forward", lambda *_: pytest.fail("light left the object"))
    route(arriving).intensity.sum().backward()
    assert route.bench.slm.values.grad.abs().sum() > 0


@pytest.mark.parametrize("what", ["colours", "disc", "states of the panel"])
def test_light_of_many_modes_arrives_mode_by_mode(what):
    bench = small_bench()
    if what == "colours":
        bench.illumination.spectrum = Spectrum((WAVELENGTH, 0.98 * WAVELENGTH), (0.7, 0.3))
    elif what == "disc":
        bench.illumination.source = DiscSource(3e-5, 3)
    else:
        slm = SLM(bench.slm.grid, effects=(Flicker(0.3, frames=3),), masks=2, bit_depth=8, dtype=torch.float64)
        bench.slm = slm
    bench.slm.set_values(smooth_masks(2, bench.slm.grid.shape))
    route, images = FourierLensRoute(bench), random_images(3, (5, 7))
    arriving = route.arriving(images)
    assert len(arriving.fields) == len(bench.illumination.modes())
    gradients = []
    for shown in (images, arriving):
        bench.zero_grad()
        light = route(shown).intensity
        light.square().sum().backward()
        gradients.append((light.detach(), bench.slm.values.grad))
    for wanted, actual in zip(*gradients, strict=True):
        assert relative(actual, wanted) < 1e-12


@pytest.mark.parametrize(
    "chosen", [2, -1, slice(1, 3), [3, 0], torch.tensor([1, 1, 2]), torch.tensor([True, False, True, False])]
)
def test_some_of_the_images_are_chosen_as_in_a_tensor(chosen):
    route, images = FourierLensRoute(small_bench()), random_images(4, (5, 7))
    some = route.arriving(images)[chosen]
    wanted = images[[chosen] if isinstance(chosen, int) else chosen]
    assert len(some) == len(wanted)
    torch.testing.assert_close(route(some).intensity, route(wanted).intensity, rtol=1e-12, atol=1e-18)


def test_none_of_the_images_give_no_light():
    route = FourierLensRoute(small_bench())
    assert route(route.arriving(random_images(2, (5, 7)))[:0]).intensity.shape == (0, 2, *route.bench.image.shape)


def test_arriving_light_may_be_made_without_gradients_copied_and_pickled():
    route, images = FourierLensRoute(small_bench()), random_images(2, (5, 7))
    with torch.inference_mode():
        arriving = route.arriving(images.clone())
    for light in (arriving, pickle.loads(pickle.dumps(arriving)), arriving.to("cpu")):
        found = route(light).intensity
        found.sum().backward()
        torch.testing.assert_close(found, route(images).intensity, rtol=1e-12, atol=1e-18)


# --- refusals ---


def turned(bench):
    bench.slm_position = Misalignment(rotation=0.1)


def moved_and_trained(bench):
    bench.camera_position = Misalignment(shift=(1e-6, 0), trainable=("shift",))


@pytest.mark.parametrize("prepare", [turned, moved_and_trained])
def test_a_route_without_a_fixed_way_to_the_masks_keeps_no_light(prepare):
    bench = small_bench()
    prepare(bench)
    with pytest.raises(ValueError, match="FourierLensRoute must have a plane of masks that fixed parts lead to"):
        FourierLensRoute(bench).arriving(random_images(1, (5, 7)))


def test_the_psf_route_keeps_no_light():
    with pytest.raises(ValueError, match="PSFRoute must have a plane of masks .* Call the route on the images"):
        PSFRoute(small_bench()).arriving(random_images(1, (5, 7)))


def test_plain_autograd_takes_no_arriving_light():
    route = FourierLensRoute(small_bench())
    arriving = route.arriving(random_images(1, (5, 7)))
    route.plain_autograd = True
    with pytest.raises(ValueError, match="plain_autograd. Call the route on the images"):
        route(arriving)


def test_light_that_is_not_coherent_mode_by_mode_is_not_kept():
    bench = small_bench()
    bench.illumination.source = SelfLuminous()
    with pytest.raises(ValueError, match="coherent mode by mode to be kept at the masks, got SelfLuminous"):
        FourierLensRoute(bench).arriving(random_images(1, (5, 7)))


@pytest.mark.parametrize("images", [random_images(1, (5, 7)).requires_grad_(), random_images(1, (5, 7))[:0]])
def test_images_that_ask_for_a_gradient_and_no_images_are_not_kept(images):
    with pytest.raises(ValueError, match="images must be at least one and ask for no gradient"):
        FourierLensRoute(small_bench()).arriving(images)


CHANGED = {
    "lens": lambda bench: setattr(bench.lens1, "focal_length", 0.0999),
    "place": lambda bench: setattr(bench, "slm_position", Misalignment(shift=(1e-5, 0))),
    "pupil": lambda bench: setattr(bench, "pupil", Pupil("0.5 mm")),
    "encoding": lambda bench: setattr(bench.illumination, "encoding", "phase"),
    "source": lambda bench: setattr(bench.illumination, "source", DiscSource(3e-5, 3)),
    "fill factor": lambda bench: setattr(bench.slm, "fill_factor", 0.9),  # factors instead of phases
}


@pytest.mark.parametrize("what", CHANGED)
def test_light_of_before_a_change_is_refused(what):
    bench = small_bench(fill_factor=1.0)
    route, images = FourierLensRoute(bench), random_images(1, (5, 7))
    arriving = route.arriving(images)
    CHANGED[what](bench)
    with pytest.raises(ValueError, match="arriving light must be that of this route and its bench as it is now"):
        route(arriving)
    torch.testing.assert_close(route(route.arriving(images)).intensity, route(images).intensity, rtol=1e-12, atol=1e-18)


def test_light_of_another_route_is_refused_and_a_camera_or_new_masks_are_not():
    bench = small_bench()
    arriving = FourierLensRoute(bench).arriving(random_images(1, (5, 7)))
    for other in (AngularSpectrumRoute(bench, window=(200, 190)), PSFRoute(bench)):
        with pytest.raises(ValueError, match="arriving light must be that of this route"):
            other(arriving)
    bench.slm.set_values(smooth_masks(2, bench.slm.grid.shape))
    FourierLensRoute(bench).eval()(arriving)


def test_light_of_other_windows_is_refused():
    bench = small_bench()
    arriving = AngularSpectrumRoute(bench, window=(200, 190)).arriving(random_images(1, (5, 7)))
    AngularSpectrumRoute(bench, window=(200, 190))(arriving)
    with pytest.raises(ValueError, match="arriving light must be that of this route"):
        AngularSpectrumRoute(bench, window=(202, 190))(arriving)


def test_more_light_than_memory_holds_is_refused_before_it_is_computed(monkeypatch):
    route, images = FourierLensRoute(small_bench()), random_images(9, (5, 7))
    route(images)
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda device=None: 4 * 16 * 48 * 36)
    with pytest.raises(memory.TooLargeError, match=r"light of 9 images at the masks, .* at most 4 at a time"):
        route.arriving(images)
