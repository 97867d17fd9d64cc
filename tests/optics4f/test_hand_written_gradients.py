"""The gradients by hand in pieces of any size, what a forward pass keeps, and what the routes refuse."""

import gc

import pytest
import torch

from optics4f import memory
from optics4f.elements import SLM
from optics4f.field import intensity
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute, convolution, passes
from optics4f.routes.adjoint import SAMPLES_AT_A_TIME
from tests.optics4f.benches import WAVELENGTH, random_images, relative, small_bench, smooth_masks
from tests.optics4f.route_cases import CASES, matched_bench


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


# --- pieces ---

ODD = [n for n in CASES if n not in ("propagation", "matched, odd", "matched, narrow", "psf")]


@pytest.mark.parametrize("alike", [False, True], ids=["a loss of each mask", "a loss of the sum of the masks"])
@pytest.mark.parametrize("name", ODD)
def test_pieces_of_any_size_give_the_light_and_gradients_of_plain_autograd(name, alike, monkeypatch):
    """One row, one kernel and two of three images at a time; five masks of 6 bits; weights of each image's own."""
    monkeypatch.setitem(passes.PIECE, "cpu", 1)
    monkeypatch.setattr(convolution, "_CACHED", 1)
    kind, make, options = CASES[name]
    results = []
    for plain in (False, True):
        bench = make()
        slm, bits = bench.slm, None if "factors" in name else 6
        bench.slm = SLM(slm.grid, masks=5, bit_depth=bits, fill_factor=slm.fill_factor, dtype=torch.float64)
        bench.slm.set_values(smooth_masks(5, slm.grid.shape))
        route = kind(bench, **options)
        route.plain_autograd = plain
        stages = route._stages(bench.illumination.grid, WAVELENGTH, phases=True)
        if stages is not None:
            monkeypatch.setitem(SAMPLES_AT_A_TIME, "cpu", 2 * max(stages.front.size, stages.back.size))
        images = random_images(3, bench.illumination.shape).requires_grad_()
        light = route(images)
        shown = light.intensity.sum(1) if alike else light.intensity
        loss = (shown * noise(*shown.shape, seed=1).real).sum()
        if not alike and bench.illumination.coherent:
            some = light.data[:, :-1]  # of one mask there is no gradient of the field
            loss = loss + (some * noise(*some.shape, seed=2)).real.sum() * light.intensity.detach().mean().sqrt()
        loss.backward()
        gradients = {n: p.grad for n, p in bench.named_parameters() if p.requires_grad}
        results.append({"light": light.intensity.detach(), "images": images.grad, **gradients})
    for part, wanted in results[1].items():
        assert relative(results[0][part], wanted) < 1e-11, part


# --- what is kept ---


def many_masks(fill_factor: float = 1.0):
    return small_bench(masks=10, slm_shape=(24, 18), fill_factor=fill_factor)


MANY = {
    "propagation": (AngularSpectrumRoute, many_masks, {"window": (100, 90)}),
    "transform": (FourierLensRoute, many_masks, {}),
    "transform, factors": (FourierLensRoute, lambda: many_masks(0.9), {}),
    "matched": (FourierLensRoute, lambda: matched_bench(masks=40), {}),
    "psf": (PSFRoute, many_masks, {}),
}


@pytest.mark.parametrize("name", MANY)
def test_a_field_that_is_not_kept_is_made_again_as_it_was(name):
    """Without a gradient, where the fields of all images and masks are more than the light before them."""
    kind, make, options = MANY[name]
    bench = make()
    bench.slm.set_values(smooth_masks(bench.slm.masks, bench.slm.grid.shape))
    route, images = kind(bench, **options), random_images(12, bench.illumination.shape)
    wanted = route(images).data.detach()
    with torch.no_grad():
        light = route(images)
        bench.slm.values.zero_()  # the field is that of the masks that were shown
    torch.testing.assert_close(light.data, wanted, rtol=1e-12, atol=1e-12 * wanted.abs().max().item())
    torch.testing.assert_close(intensity(light.data), light.intensity, rtol=1e-10, atol=0)
    assert not light.data.requires_grad


@pytest.mark.parametrize("name", MANY)
def test_where_intensity_is_all_no_field_of_each_image_and_mask_is_held(name):
    kind, make, options = MANY[name]
    bench = make()
    route, images = kind(bench, **options), random_images(12, bench.illumination.shape)
    mode = bench.illumination.modes()[0]
    with torch.no_grad():
        masks = route.masks(WAVELENGTH)
        route(images)  # what stays is built
        held = {}
        for keep in (False, True):
            before = living()
            light = route.mode_field(images, mode, masks, keep=keep)
            held[keep] = sum(size for place, size in living().items() if place not in before)
            del before
        pairs = light.intensity.numel()
        before = living()
        light = route(images)
        called = sum(size for place, size in living().items() if place not in before)
    assert held[False] <= called < pairs <= held[True]  # whoever asks for the field has it


def living() -> dict[int, int]:
    """Complex numbers of each block of memory that a tensor holds."""
    found = [t for t in gc.get_objects() if type(t) is torch.Tensor and t.is_complex()]
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() // t.itemsize for t in found}


# --- what the gradients by hand are not ---


@pytest.mark.parametrize("name", ["propagation", "transform", "matched", "psf", "psf, disc", "psf, self-luminous"])
def test_second_derivatives_are_refused_and_left_to_plain_autograd(name):
    """A loss that is linear in intensity: what arrives at the route needs no gradient. The oracle are differences."""
    kind, make, options = CASES[name]
    bench = make()
    route = kind(bench, **options)
    images, values = random_images(2, bench.illumination.shape), bench.slm.values
    weights = random_images(1, tuple(bench.image.shape), seed=5)
    direction = noise(*values.shape, seed=1).real

    def gradient(**how: bool) -> torch.Tensor:
        return torch.autograd.grad((route(images).intensity * weights).sum(), values, **how)[0]

    with pytest.raises(ValueError, match="create_graph must be False .* set plain_autograd = True of the route"):
        gradient(create_graph=True)
    here, ends = values.detach().clone(), []
    for step in (1e-4, -1e-4):
        bench.slm.set_values(here + step * direction)
        ends.append(gradient())
    bench.slm.set_values(here)
    wanted = (ends[0] - ends[1]) / 2e-4
    route.plain_autograd = True
    (product,) = torch.autograd.grad((gradient(create_graph=True) * direction).sum(), values)
    assert relative(product, wanted) < 1e-5


@pytest.mark.parametrize("name", ["propagation", "transform", "psf"])
def test_second_derivatives_of_images_are_refused_as_well(name):
    kind, make, options = CASES[name]
    bench = make()
    bench.slm.requires_grad_(False)
    images = random_images(2, bench.illumination.shape).requires_grad_()
    with pytest.raises(ValueError, match="create_graph must be False"):
        torch.autograd.grad(kind(bench, **options)(images).intensity.sum(), images, create_graph=True)


@pytest.mark.parametrize("kind", [AngularSpectrumRoute, FourierLensRoute, PSFRoute])
def test_a_route_refuses_what_does_not_fit_into_memory(kind, monkeypatch):
    route = kind(small_bench(), **({"window": (200, 190)} if kind is AngularSpectrumRoute else {}))
    images = random_images(2, (5, 7))
    route(images)
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda device=None: 2**16)
    with pytest.raises(memory.TooLargeError, match=f"{kind.__name__}, training step, B = 2, K = 2"):
        route(images)
