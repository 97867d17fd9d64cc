"""What routes and cameras keep from call to call: bounded, never stale, of use for a gradient; and odd batches."""

import copy
import gc
import io
import pickle
import random
from dataclasses import dataclass

import pytest
import torch

from optics4f.elements import SLM, Camera, Illumination, Lens
from optics4f.elements.camera import Sensor
from optics4f.field import Field, Intensity
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.misalignment import Misalignment
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute, passes
from optics4f.routes.constants import Constants
from optics4f.sampling import SamplingError
from tests.optics4f.benches import WAVELENGTH, random_images, relative, small_bench, smooth_masks
from tests.optics4f.route_cases import CASES

KINDS = {"propagation": AngularSpectrumRoute, "lens": FourierLensRoute, "psf": PSFRoute}


def made(kind: str, bench: FourF):
    return KINDS[kind](bench, **({"window": (200, 190)} if kind == "propagation" else {}))


def bench_of_phases(**options) -> FourF:
    bench = small_bench(**options)
    bench.slm.set_values(smooth_masks(bench.slm.masks, bench.slm.grid.shape))
    return bench


# --- constants ---


@dataclass(frozen=True)
class Pair:
    first: torch.Tensor
    second: tuple[torch.Tensor, ...]


def test_the_newest_of_a_kind_is_kept_and_built_once():
    kept, built = Constants(), []

    def build() -> float:
        built.append(len(built))
        return built[-1]

    assert [kept.get("a", 1, build), kept.get("a", 1, build), kept.get("b", 1, build)] == [0, 0, 1]
    assert [kept.get("a", 2, build), kept.get("a", 2, build), kept.get("a", 1, build)] == [2, 2, 3]
    assert len(kept) == 2
    kept.clear()
    assert (len(kept), kept.bytes) == (0, 0)


def test_the_kinds_used_last_are_kept_within_their_bytes_and_a_large_one_alone():
    kept = Constants(most=100)

    def take(name: str, size: int) -> torch.Tensor:
        return kept.get(name, None, lambda: torch.zeros(size, dtype=torch.uint8))

    first, second = take("a", 40), take("b", 40)
    assert kept.bytes == 80
    assert take("a", 40) is first  # and b is the one not used for longest
    take("c", 30)
    assert kept.bytes == 70
    assert take("a", 40) is first
    assert take("b", 40) is not second
    large = take("large", 1000)
    assert take("large", 1000) is large
    assert (len(kept), kept.bytes) == (1, 1000)


def test_memory_that_constants_share_counts_once():
    kept, shared = Constants(), torch.zeros(5, 8, dtype=torch.uint8)
    kept.get("a", None, lambda: Pair(shared, (shared[2:], torch.zeros(3, dtype=torch.uint8))))
    kept.get("b", None, lambda: (shared.T, None))
    assert kept.bytes == 43


def test_copies_of_constants_are_empty():
    kept = Constants(most=7)
    kept.get("a", None, lambda: torch.zeros(1))
    for other in (copy.deepcopy(kept), pickle.loads(pickle.dumps(kept))):
        assert (len(other), other.most, other.bytes) == (0, 7, 0)


def test_a_constant_built_in_inference_mode_serves_a_gradient_and_receives_none():
    kept, trained = Constants(), torch.ones(2, requires_grad=True)
    with torch.inference_mode():
        kept.get("a", None, lambda: 2 * trained)
    built = kept.get("a", None, list)
    assert not built.is_inference()
    assert not built.requires_grad


# --- of a route ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_moves_leaves_nothing_behind(kind):
    bench = bench_of_phases()
    bench.slm_position = Misalignment(shift=(1e-6, 0))
    route, images = made(kind, bench), random_images(1, (5, 7))
    sizes = set()
    for n in range(5):
        with torch.no_grad():
            bench.slm_position.shift[0] = (n + 1) * 1e-6
            route(images)
        sizes.add((len(route._kept), route._kept.bytes))
    assert len(sizes) == 1
    assert sizes.pop()[1] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_training_and_evaluation_share_their_constants(kind, monkeypatch):
    route, images = made(kind, bench_of_phases()), random_images(1, (5, 7))
    route.train()(images)
    monkeypatch.setattr(Constants, "_counted", lambda self: pytest.fail("a constant was built again"))
    route.eval()(images)
    route.train()(images)


EXCHANGED = {
    "SLM": lambda bench: setattr(bench, "slm", slm_like(bench.slm, Grid(bench.slm.grid.shape, 12.8e-6))),
    "SLM of more pixels": lambda bench: setattr(bench, "slm", slm_like(bench.slm, Grid((52, 40), 16e-6))),
    "image grid": lambda bench: setattr(bench, "image", Grid(bench.image.shape, bench.image.pitch / 2)),
    "precision": lambda bench: (setattr(bench.illumination, "dtype", torch.complex64), bench.slm.float()),
    "object": lambda bench: setattr(bench, "illumination", object_of(bench, pixels_per_logical=1, pitch=32e-6)),
    "blocks of the object": lambda bench: setattr(bench, "illumination", object_of(bench, shape=(10, 14), per=1)),
    "both lenses": lambda bench: (setattr(bench, "lens1", Lens(0.0999)), setattr(bench, "lens2", Lens(0.0999 * 1.5))),
}


def slm_like(slm: SLM, grid: Grid) -> SLM:
    made = SLM(grid, masks=slm.masks, bit_depth=None, fill_factor=slm.fill_factor, dtype=torch.float64)
    made.set_values(smooth_masks(slm.masks, grid.shape, seed=4))
    return made


def object_of(bench: FourF, shape=(5, 7), pitch=16e-6, pixels_per_logical=2, per=None) -> Illumination:
    """Another object of the same extent."""
    options = {"pixels_per_logical": pixels_per_logical if per is None else per, "dtype": torch.complex128}
    return Illumination(shape, pitch, bench.wavelength, **options)


@pytest.mark.parametrize("what", EXCHANGED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_part_that_is_exchanged_after_a_call_is_seen(kind, what):
    if kind == "propagation" and what in ("SLM", "object"):
        pytest.skip("samples of the object are those of the SLM in this route")
    used = made(kind, bench_of_phases())
    before = used(random_images(2, (5, 7))).intensity
    EXCHANGED[what](used.bench)
    bench = bench_of_phases()
    EXCHANGED[what](bench)
    images = random_images(2, bench.illumination.shape)
    wanted = made(kind, bench)(images).intensity
    after = used(images).intensity
    assert after.dtype == wanted.dtype
    assert torch.equal(after, wanted)
    if after.shape == before.shape and what not in ("precision", "blocks of the object"):
        assert relative(after, before) > 1e-3


@pytest.mark.parametrize("what", ["SLM", "SLM of more pixels", "image grid", "object"])
def test_an_exchanged_part_is_seen_by_one_mode_of_the_light_too(what):
    used = made("lens", bench_of_phases())
    for route in (used, made("lens", bench_of_phases())):
        if route is used:
            route(random_images(1, (5, 7)))
        EXCHANGED[what](route.bench)
    images, mode = random_images(1, (5, 7)), used.bench.illumination.modes()[0]
    seen = [r.mode_field(images, mode, r.mask_factors(WAVELENGTH)).intensity for r in (used, route)]
    assert torch.equal(*seen)


def test_the_window_of_propagation_follows_the_parts():
    def exchanged(bench: FourF) -> FourF:
        bench.slm = slm_like(bench.slm, Grid((52, 44), 20e-6))
        bench.illumination = Illumination((5, 7), 20e-6, WAVELENGTH, pixels_per_logical=2, dtype=torch.complex128)
        return bench

    used, images = AngularSpectrumRoute(bench_of_phases()), random_images(1, (5, 7))
    used(images)
    before = used.window
    exchanged(used.bench)
    fresh = AngularSpectrumRoute(exchanged(bench_of_phases()))
    assert torch.equal(used(images).intensity, fresh(images).intensity)
    assert used.window == fresh.window != before


def test_a_part_that_does_not_fit_is_refused_when_it_is_exchanged():
    used = made("propagation", bench_of_phases())
    used(random_images(1, (5, 7)))
    EXCHANGED["SLM"](used.bench)
    for _ in range(2):
        with pytest.raises(SamplingError, match="sampled as the SLM is .* got 16 um and 12.8 um"):
            used(random_images(1, (5, 7)))


def test_a_place_that_goes_from_the_slm_to_the_camera_is_another_place():
    bench, place = bench_of_phases(), Misalignment(shift=(40e-6, -20e-6))
    bench.slm_position = place
    used, images = made("lens", bench), random_images(1, (5, 7))
    before = used(images).intensity
    bench.slm_position, bench.camera_position = None, place
    after = used(images).intensity
    assert torch.equal(after, made("lens", bench)(images).intensity)
    assert relative(after, before) > 1e-2


# --- inference mode ---


@pytest.mark.parametrize("plain", [False, True], ids=["by hand", "plain autograd"])
@pytest.mark.parametrize("name", CASES)
def test_a_route_that_was_evaluated_first_trains(name, plain):
    kind, make, options = CASES[name]
    gradients = []
    for evaluated in (True, False):
        bench = make()
        route = kind(bench, **options)
        route.plain_autograd = plain
        images = random_images(2, bench.illumination.shape)
        if evaluated:
            with torch.inference_mode():
                route(images.clone())
        route(images).intensity.sum().backward()
        gradients.append(bench.slm.values.grad)
    assert torch.equal(*gradients)


def test_a_camera_that_was_evaluated_first_passes_a_gradient():
    sensor = Sensor(10_000, 2.0, 12, prnu=0.01, dsnu=3.0)
    camera, grid = Camera((8, 6), "16 um", sensor=sensor), Grid((33, 33), 8e-6)
    with torch.inference_mode():
        camera(Intensity(random_images(1, (33, 33)), grid))
    light = random_images(1, (33, 33)).requires_grad_()
    camera(Intensity(light, grid)).sum().backward()
    assert light.grad.abs().sum() > 0


def test_a_sensor_that_is_exchanged_has_patterns_of_its_own():
    light = Intensity(torch.full((33, 33), 0.5), Grid((33, 33), 8e-6))
    camera, other = (Camera((8, 6), "16 um", sensor=Sensor(10_000, 0.0, 12, prnu=p)) for p in (0.01, 0.05))
    first = camera.expected(light)
    camera.sensor = other.sensor
    assert torch.equal(camera.expected(light), other.expected(light))
    assert not torch.equal(camera.expected(light), first)


# --- odd batches, copies ---


@pytest.mark.parametrize("plain", [False, True], ids=["by hand", "plain autograd"])
@pytest.mark.parametrize("name", ["propagation", "matched", "transform", "psf", "psf, disc", "matched, self-luminous"])
def test_light_of_an_empty_batch_is_empty(name, plain):
    kind, make, options = CASES[name]
    bench = make()
    route = kind(bench, **options)
    route.plain_autograd = plain
    images = random_images(1, bench.illumination.shape)
    one, images = route(images), images[:0].requires_grad_()
    none = route(images)
    assert none.intensity.shape == (0, *one.intensity.shape[1:])
    assert none.intensity.dtype == one.intensity.dtype
    none.intensity.sum().backward()
    assert images.grad.shape == images.shape
    assert not bench.slm.values.grad.any()
    if isinstance(one, Field):
        assert none.data.shape == none.intensity.shape


@pytest.mark.parametrize("graph", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_light_can_be_pickled_and_saved(kind, graph):
    bench = bench_of_phases(masks=10, slm_shape=(24, 18))  # so many that their fields are not kept
    route = KINDS[kind](bench, **({"window": (100, 90)} if kind == "propagation" else {}))
    with torch.set_grad_enabled(graph):
        light = route(random_images(12, (5, 7)))
    saved = io.BytesIO()
    torch.save(light, saved)
    saved.seek(0)
    copies = [pickle.loads(pickle.dumps(light)), torch.load(saved, weights_only=False)]
    for other in copies if graph else [*copies, copy.deepcopy(light)]:
        assert torch.equal(other.data, light.data)
        assert torch.equal(other.intensity, light.intensity)
        assert (other.grid, other.wavelength) == (light.grid, WAVELENGTH)


def test_memory_given_back_by_a_collection_of_garbage_in_between_is_no_other_memory(monkeypatch):
    """Cycles that hold memory are collected at any allocation, so also while memory is looked for."""
    monkeypatch.setattr(passes, "_WORTH_KEEPING", (2**10, 2**16))
    draw, like, threshold = random.Random(0), torch.zeros(1), gc.get_threshold()
    passes._idle.clear()
    try:
        gc.set_threshold(1)
        for _ in range(3000):
            size = draw.choice([1024, 2048, 3072, 4096, 5120, 8192])
            cycle = [passes.empty((size,), like)]
            assert cycle[0].shape == (size,)
            cycle.append(cycle)
    finally:
        gc.set_threshold(*threshold)
        passes._idle.clear()
