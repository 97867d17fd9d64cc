"""The paths written by hand against plain autograd, and each linear operator against its adjoint."""

from dataclasses import replace

import pytest
import torch

from optics4f import filtering
from optics4f.field import intensity
from optics4f.filtering import PaddedFilter, padded_filter
from optics4f.grid import Grid
from optics4f.propagation import angular_spectrum_transfer_function, apply_transfer_function
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute
from optics4f.routes.adjoint import SAMPLES_AT_A_TIME
from optics4f.routes.fourier_lens import matched_transform
from optics4f.routes.operators import Chain, Matrices, Propagation, Transform
from tests.optics4f.benches import WAVELENGTH, random_images, relative, small_bench, smooth_masks
from tests.optics4f.route_cases import CASES, matched_bench


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def transfer_function(rows: int, columns: int) -> torch.Tensor:
    return angular_spectrum_transfer_function(
        Grid((rows, columns), 8e-6), WAVELENGTH, 0.01, dtype=torch.complex128
    ) + 0.1 * noise(rows, columns)


# --- filtering ---


@pytest.mark.parametrize(
    ("inputs", "outputs", "window"),
    [
        ((5, 7), (5, 7), (10, 14)),
        ((6, 4), (9, 13), (18, 27)),
        ((140, 9), (3, 150), (288, 300)),
        ((1, 1), (8, 9), (8, 9)),
    ],
)
@pytest.mark.parametrize("transposed", [True, False])
def test_strips_give_what_the_whole_transforms_give(inputs, outputs, window, transposed):
    data, transfer = noise(3, *inputs), transfer_function(*window)
    top, left = (window[axis] // 2 - inputs[axis] // 2 for axis in (0, 1))
    padded = torch.zeros(3, *window, dtype=data.dtype)
    padded[:, top : top + inputs[0], left : left + inputs[1]] = data
    whole = torch.fft.ifft2(torch.fft.fft2(padded) * transfer)
    top, left = (window[axis] // 2 - outputs[axis] // 2 for axis in (0, 1))
    wanted = whole[:, top : top + outputs[0], left : left + outputs[1]]
    laid_out = transfer.mT.contiguous().mT if transposed else transfer
    before = data.clone()
    torch.testing.assert_close(padded_filter(data, laid_out, outputs), wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(data, before)


def test_strips_of_any_number_of_threads_are_the_same():
    data, transfer = noise(2, 100, 90), transfer_function(200, 180)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = padded_filter(data, transfer, (100, 90))
        torch.set_num_threads(3)
        torch.testing.assert_close(padded_filter(data, transfer, (100, 90)), one, rtol=1e-12, atol=1e-12)
    finally:
        torch.set_num_threads(threads)


class Elsewhere(torch.Tensor):
    """A tensor that says it is on a GPU: whole transforms are then taken, here by the processor."""

    device = torch.device("cuda")


@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize("together", [1, 2**26], ids=["one by one", "all together"])
def test_the_whole_planes_of_a_gpu_give_what_strips_give(adjoint, together, monkeypatch):
    monkeypatch.setattr(filtering, "WHOLE", together)
    data, transfer = noise(3, 5, 7), transfer_function(24, 20)
    wanted = padded_filter(data, transfer, (9, 4), adjoint=adjoint)
    found = padded_filter(data.as_subclass(Elsewhere), transfer, (9, 4), adjoint=adjoint).as_subclass(torch.Tensor)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_the_filter_passes_gradcheck_twice():
    transfer = transfer_function(11, 9)
    data = noise(2, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: PaddedFilter.apply(x, transfer, (4, 6)), data)
    assert torch.autograd.gradgradcheck(lambda x: PaddedFilter.apply(x, transfer, (4, 6)), data)


def test_a_propagated_field_is_filtered_in_strips_with_and_without_gradient():
    transfer = transfer_function(24, 20).to(torch.complex64)
    data = noise(2, 3, 12, 10, dtype=torch.complex64)
    trained = transfer.clone().requires_grad_()  # goes through autograd's own transforms
    torch.testing.assert_close(
        apply_transfer_function(data, transfer), apply_transfer_function(data, trained).detach(), rtol=1e-5, atol=1e-5
    )


def test_intensity_passes_gradcheck_twice_also_where_it_is_dark():
    data = noise(2, 3, 4)
    data[0, 0, 0] = 0
    data.requires_grad_()
    assert torch.autograd.gradcheck(intensity, data)
    assert torch.autograd.gradgradcheck(intensity, data)
    (gradient,) = torch.autograd.grad(intensity(data).sum(), data)
    torch.testing.assert_close(gradient, 2 * data.detach())
    by_rows = torch.func.vmap(torch.func.grad(lambda u: intensity(u).sum()))(data.detach())
    torch.testing.assert_close(by_rows, 2 * data.detach())


# --- operators ---

OPERATORS = {
    "matrices": (Matrices(noise(4, 7), noise(9, 5, seed=1)), (7, 5), (4, 9)),
    "transform": (Transform((12, 12), (7, 8), (9, 5), noise(7, 8), noise(9, 5, seed=1)), (7, 8), (9, 5)),
    "transform from another frequency": (
        Transform((12, 14), (7, 8), (9, 5), noise(7, 8), noise(9, 5, seed=1), first=(2, 9)),
        (7, 8),
        (9, 5),
    ),
    "plain transform": (Transform((9, 9), (7, 8), (9, 5), None, None), (7, 8), (9, 5)),
    "propagation": (Propagation(transfer_function(18, 20), (5, 4), (7, 9), noise(7, 9)), (5, 4), (7, 9)),
    "chain": (
        Chain(
            (Propagation(transfer_function(18, 20), (5, 4), (7, 9), noise(7, 9)), Matrices(noise(3, 7), noise(2, 9)))
        ),
        (5, 4),
        (3, 2),
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_is_linear_and_has_its_adjoint(name):
    operator, inputs, outputs = OPERATORS[name]
    x, other, y = noise(2, *inputs, seed=2), noise(2, *inputs, seed=4), noise(2, *outputs, seed=3)
    forth, back = operator.apply(x), operator.adjoint(y)
    assert forth.shape == y.shape
    assert back.shape == x.shape
    assert torch.vdot(y.flatten(), forth.flatten()).item() == pytest.approx(
        torch.vdot(back.flatten(), x.flatten()).item(), rel=1e-12
    )
    torch.testing.assert_close(
        operator.apply(2j * x + other), 2j * forth + operator.apply(other), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", OPERATORS)
def test_an_adjoint_of_weighted_fields_is_that_of_the_product(name):
    operator, _, outputs = OPERATORS[name]
    y, weight = noise(2, *outputs), noise(2, *outputs, seed=1).abs()
    kept = y.clone()
    for _ in range(2):  # what is used again must not remember
        wanted = operator.adjoint(y * weight)
        torch.testing.assert_close(operator.adjoint(y, weight.to(y.dtype)), wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(y, kept)


@pytest.mark.parametrize(("before", "behind"), [((16, 16), (16, 16)), ((15, 12), (9, 16)), ((1, 7), (16, 4))])
def test_a_matched_transform_is_the_fourier_integral_of_the_lens(before, behind):
    pitch = 20e-6
    far = WAVELENGTH * 0.1 / (16 * pitch)
    planes = Grid(before, pitch), Grid(behind, far)
    data = noise(1, *before)
    y, x = planes[0].coordinates()
    v, u = planes[1].coordinates()
    scale = WAVELENGTH * 0.1
    kernel_y, kernel_x = (
        torch.exp(-2j * torch.pi / scale * a.flatten()[:, None] * b.flatten()) for a, b in ((v, y), (u, x))
    )
    wanted = pitch**2 / (1j * scale) * kernel_y @ data @ kernel_x.mT
    actual = matched_transform(*planes, WAVELENGTH, 0.1).apply(data)
    torch.testing.assert_close(actual, wanted, rtol=1e-10, atol=1e-10 * wanted.abs().max().item())
    assert matched_transform(planes[0], Grid(behind, far * (1 + 1e-8)), WAVELENGTH, 0.1) is None
    assert matched_transform(planes[0], Grid((17, 3), far), WAVELENGTH, 0.1) is None


# --- routes ---


@pytest.mark.parametrize("samples", [1, 2**20], ids=["one by one", "all together"])
@pytest.mark.parametrize("name", CASES)
def test_light_and_gradients_are_those_of_plain_autograd(name, samples, monkeypatch):
    monkeypatch.setitem(SAMPLES_AT_A_TIME, "cpu", samples)
    kind, make, options = CASES[name]
    results = []
    for plain in (False, True):
        bench = make()
        route = kind(bench, **options)
        route.plain_autograd = plain
        images = random_images(3, bench.illumination.shape).requires_grad_()
        light = route(images)
        weights = random_images(1, tuple(light.grid.shape), seed=5)
        (light.intensity * weights).sum().backward()
        gradients = {n: p.grad for n, p in bench.named_parameters() if p.requires_grad}
        results.append({"light": light.intensity.detach(), "images": images.grad, **gradients})
    for part, wanted in results[1].items():
        assert relative(results[0][part], wanted) < 1e-11, part


@pytest.mark.parametrize("name", [n for n in CASES if not n.endswith(("disc", "self-luminous"))])
def test_the_field_itself_has_the_gradients_of_plain_autograd(name):
    kind, make, options = CASES[name]
    results = []
    for plain in (False, True):
        bench = make()
        route = kind(bench, **options)
        route.plain_autograd = plain
        light = route(random_images(3, bench.illumination.shape))
        other = noise(*light.data.shape)
        # Phase and intensity in one loss: both ways back are taken, and add up.
        (intensity(light.data + other * light.data.detach().abs().max()) + light.intensity).sum().backward()
        results.append((light.data.detach(), bench.slm.values.grad))
    for actual, wanted in zip(*results, strict=True):
        assert relative(actual, wanted) < 1e-11


@pytest.mark.parametrize("name", ["matched", "psf", "propagation"])
def test_whoever_looks_first_at_the_field_changes_nothing(name):
    kind, make, options = CASES[name]
    bench = make()
    route = kind(bench, **options)
    light = route(random_images(2, bench.illumination.shape))
    with torch.no_grad():
        torch.testing.assert_close(intensity(light.data), light.intensity, rtol=1e-12, atol=0)
    assert light.data.requires_grad
    turned = replace(light, data=1j * light.data)
    torch.testing.assert_close(turned.intensity, light.intensity, rtol=1e-12, atol=0)
    with torch.no_grad():
        assert not route(random_images(2, bench.illumination.shape)).data.requires_grad


def test_phases_and_factors_of_masks_give_the_same_light_in_float32():
    bench = matched_bench()
    bench.illumination.dtype = torch.complex64
    bench.slm.float()
    route = FourierLensRoute(bench)
    images = random_images(3, bench.illumination.shape).float()
    phases = route._phases(WAVELENGTH)
    assert phases is not None
    mode = bench.illumination.modes()[0]
    by_phase = route.mode_field(images, mode, phases).intensity
    by_factor = route.mode_field(images, mode, route.mask_factors(WAVELENGTH)).intensity
    torch.testing.assert_close(by_phase, by_factor, rtol=1e-5, atol=1e-5 * by_factor.max().item())


def test_no_factor_is_left_between_matched_planes_where_another_first_frequency_takes_it():
    """Inputs from -9 and -7 leave waves of 9/18 and 7/18 turns a sample; of 36, the frequencies are 18 and 22 on."""
    bench = matched_bench((18, 14))
    stages = FourierLensRoute(bench)._stages(bench.illumination.grid, WAVELENGTH, phases=True)
    assert stages.between is None
    assert stages.back.first == (18 - 2, 22 - 3)
    # From -1 the wave asks for frequencies beyond the last: it stays a factor.
    narrow = FourierLensRoute(matched_bench((18, 2)))
    assert narrow._stages(narrow.bench.illumination.grid, WAVELENGTH, phases=True).between is not None


@pytest.mark.parametrize(("make", "kind"), [(matched_bench, Transform), (small_bench, Matrices)])
def test_only_matched_planes_take_the_fft(make, kind):
    route = FourierLensRoute(make())
    stages = route._stages(route.bench.illumination.grid, WAVELENGTH, phases=True)
    assert isinstance(stages.front, kind)
    assert isinstance(stages.back, kind)


@pytest.mark.parametrize("kind", [AngularSpectrumRoute, FourierLensRoute])
def test_gradcheck_of_masks_and_images(kind):
    bench = small_bench(object_shape=(2, 3), pixels_per_logical=1, slm_shape=(4, 3), camera_shape=(2, 1), masks=2)
    options = {"window": (48, 40)} if kind is AngularSpectrumRoute else {}
    route = kind(bench, **options)
    images = random_images(2, (2, 3)).requires_grad_()
    masks = smooth_masks(2, (4, 3)).requires_grad_()

    def light(images: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        return 1e3 * torch.func.functional_call(route, {"bench.slm.values": masks}, (images,)).intensity

    assert torch.autograd.gradcheck(light, (images, masks), atol=1e-7)


@pytest.mark.parametrize("kind", [AngularSpectrumRoute, FourierLensRoute])
def test_the_object_receives_a_gradient_only_where_it_is_asked_for(kind, monkeypatch):
    called = []
    for operator in (Matrices, Chain):
        original = operator.adjoint
        monkeypatch.setattr(operator, "adjoint", lambda self, *data, f=original: called.append(self) or f(self, *data))
    options = {"window": (200, 190)} if kind is AngularSpectrumRoute else {}
    bench = small_bench(masks=2)
    route = kind(bench, **options)
    route(random_images(2, (5, 7))).intensity.sum().backward()
    only_masks = len(called)
    called.clear()
    route(random_images(2, (5, 7)).requires_grad_()).intensity.sum().backward()
    assert len(called) > only_masks > 0
