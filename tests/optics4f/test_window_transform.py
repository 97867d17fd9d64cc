"""The compressed transform of large masks, what a phase does to the light, and memory that is used again."""

import math

import pytest
import torch

from optics4f.elements import Pupil
from optics4f.light import SelfLuminous
from optics4f.misalignment import Misalignment
from optics4f.modulation import phase_modulation
from optics4f.quantization import quantize_phase
from optics4f.routes import FourierLensRoute, PSFRoute, passes
from optics4f.routes.window import Narrow, basis_of, to_window
from tests.optics4f.benches import random_images, relative, small_bench, smooth_masks


def transform(outputs: int, inputs: int, period: float, first: float, dtype: torch.dtype) -> torch.Tensor:
    """Fourier matrix from ``inputs`` centred samples to ``outputs`` steps of 1/period turns from ``first``."""
    u = torch.arange(outputs, dtype=torch.float64) + first
    x = torch.arange(inputs, dtype=torch.float64) - inputs // 2
    return phase_modulation(-2 * math.pi / period * u[:, None] * x).to(dtype)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def narrow_pair(dtype: torch.dtype) -> tuple[list[torch.Tensor], list[Narrow]]:
    """Windows of some hundredths of the band of 96 x 160 samples, beside the axis."""
    matrices = [transform(40, 96, 2000.0, -20.5, dtype), transform(56, 160, 2300.0, 9.0, dtype)]
    return matrices, [Narrow.of(matrix, basis_of(matrix)) for matrix in matrices]


# --- compression ---


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.complex128, 1e-13), (torch.complex64, 1e-6)])
def test_a_compressed_matrix_is_the_matrix_to_the_precision_of_its_numbers(dtype, tolerance):
    for matrix, narrow in zip(*narrow_pair(dtype), strict=True):
        assert narrow.fine.shape[1] <= matrix.shape[1] // 2
        kept = narrow.basis.shape[0]
        torch.testing.assert_close(
            narrow.basis @ narrow.basis.mT, torch.eye(kept, dtype=dtype.to_real()), rtol=0, atol=tolerance
        )
        blocks = narrow.fine.unflatten(1, (-1, kept)) @ narrow.basis.to(dtype)
        assert relative(blocks.flatten(1), matrix) < tolerance


def test_as_many_directions_are_kept_as_a_band_of_that_width_has():
    """A block of 32 samples and a band of 1/8 turn a sample: 4 cycles, and few more for the ends (Slepian 1978)."""
    matrix = transform(128, 1024, 1024.0, -64.0, torch.complex128)
    sizes = torch.linalg.svdvals(matrix.reshape(128, 32, 32).flatten(0, 1))
    assert sizes[4] > 0.1 * sizes[0]
    assert sizes[20] < 1e-14 * sizes[0]
    assert basis_of(matrix.to(torch.complex64)).shape[0] < basis_of(matrix).shape[0]


def test_a_window_as_wide_as_the_band_is_not_compressed():
    assert basis_of(transform(96, 96, 96.0, -48.0, torch.complex128)) is None
    assert basis_of(transform(5, 97, 105.0, -2.0, torch.complex128)) is None  # 97 samples have no equal blocks


@pytest.mark.parametrize("bits", [None, 8])
@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("compressed", [True, False])
def test_the_window_and_its_gradient_are_those_of_the_matrices(bits, between, compressed):
    (y, x), narrow = narrow_pair(torch.complex128)
    narrow = narrow if compressed else [Narrow.of(y), Narrow.of(x)]
    phases = (9 * random(3, 96, 160)).requires_grad_()
    factor = random(96, 160, seed=1, dtype=torch.complex128) if between else None
    shown = phase_modulation(phases if bits is None else quantize_phase(phases, bits))
    wanted = y @ (shown if factor is None else shown * factor) @ x.mT
    weights = random(*wanted.shape, seed=2, dtype=torch.complex128)
    for masks in (phases, shown):
        actual = to_window(masks, *narrow, factor, bits if masks is phases else None)
        assert relative(actual.detach(), wanted.detach()) < 1e-12
        gradients = [torch.autograd.grad(light, phases, weights, retain_graph=True)[0] for light in (actual, wanted)]
        assert relative(*gradients) < 1e-12


def test_rows_in_pieces_give_what_all_rows_give(monkeypatch):
    _, narrow = narrow_pair(torch.complex128)
    phases = (9 * random(2, 96, 160)).requires_grad_()
    found = []
    for room in (1, 2**20):
        monkeypatch.setitem(passes.PIECE, "cpu", room)
        light = to_window(phases, *narrow)
        found.append((light.detach(), torch.autograd.grad(light.abs().square().sum(), phases)[0]))
    for actual, wanted in zip(*found, strict=True):
        assert relative(actual, wanted) < 1e-13


def test_gradcheck_of_phases_and_factors():
    matrices = transform(14, 16, 1500.0, -7.0, torch.complex128), transform(24, 32, 3000.0, -6.5, torch.complex128)
    narrow = [Narrow.of(matrix, basis_of(matrix)) for matrix in matrices]
    assert all(one.basis is not None for one in narrow)
    between = random(16, 32, dtype=torch.complex128)
    for dtype in (torch.float64, torch.complex128):
        masks = random(1, 16, 32, seed=3, dtype=dtype).requires_grad_()
        part = between if dtype == torch.float64 else None
        assert torch.autograd.gradcheck(lambda m, part=part: to_window(m, *narrow, part), masks, fast_mode=True)


# --- the route ---


def wide_bench(**options):
    bench = small_bench(object_shape=(3, 4), slm_shape=(120, 96), slm_pitch=8e-6, camera_shape=(16, 14), **options)
    bench.slm.set_values(3 * smooth_masks(bench.slm.masks, (120, 96)))
    return bench


def trained_camera():
    bench = wide_bench(fill_factor=1.0)
    bench.camera_position = Misalignment(shift=(20e-6, -30e-6), trainable=("shift",))
    return bench


def with_pupil():
    bench = wide_bench(fill_factor=1.0)
    bench.pupil = Pupil("0.6 mm", aberrations={5: 0.4})
    bench.slm_position = Misalignment(shift=(20e-6, -30e-6), tilt=(1e-4, 0))
    return bench


def self_luminous():
    bench = wide_bench(fill_factor=1.0)
    bench.illumination.source = SelfLuminous()
    return bench


BENCHES = {
    "phases": lambda: wide_bench(fill_factor=1.0),
    "factors": lambda: wide_bench(fill_factor=0.9),
    "pupil": with_pupil,
    "self-luminous": self_luminous,
    "trained camera": trained_camera,
}


@pytest.mark.parametrize("name", BENCHES)
def test_the_psf_route_gives_the_light_and_gradients_of_plain_autograd(name):
    results = []
    for plain in (False, True):
        bench = BENCHES[name]()
        route = PSFRoute(bench)
        route.plain_autograd = plain
        light = route(random_images(2, (3, 4))).intensity
        (light * random_images(1, tuple(light.shape[-2:]), seed=5)).sum().backward()
        gradients = [p.grad for p in bench.parameters() if p.requires_grad]
        results.append([light.detach(), *gradients])
        if not plain and name in ("phases", "pupil"):
            mode = bench.illumination.modes()[0]
            assert not route.masks(mode.wavelength).is_complex()
            assert all(basis is not None for basis in route._bases(mode, 0))
    for actual, wanted in zip(*results, strict=True):
        assert relative(actual, wanted) < 1e-11


def self_luminous_at_once():
    """A pixel's samples cost more PSFs than one product for all of them."""
    bench = small_bench()
    bench.slm.set_values(smooth_masks(2, (48, 36)))
    bench.illumination.source = SelfLuminous()
    return bench


@pytest.mark.parametrize("share", ["window_efficiency", "camera_efficiency"])
@pytest.mark.parametrize("make", [BENCHES["phases"], self_luminous, self_luminous_at_once])
def test_the_share_of_the_light_is_that_of_the_psfs_by_plain_autograd(make, share, monkeypatch):
    """Which sums the intensities of the PSFs of all samples of a pixel, one by one."""
    shares, gradients = [], []
    for plain in (False, True):
        bench = make()
        route = PSFRoute(bench)
        route.plain_autograd = plain
        if make is self_luminous_at_once and not plain:
            monkeypatch.setattr(route, "_transformed", None)
        shares.append(getattr(route, share)())
        (shares[-1] * torch.arange(1, len(shares[-1]) + 1)).sum().backward()
        gradients.append(bench.slm.values.grad)
    torch.testing.assert_close(shares[0], shares[1], rtol=1e-11, atol=0)
    assert relative(gradients[0], gradients[1]) < 1e-11


# --- phases ---


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-15), (torch.float32, 1e-7)])
@pytest.mark.parametrize("bits", [1, 8, 14])
def test_a_level_does_to_the_light_what_its_phase_does(bits, dtype, tolerance):
    phase = 40 * random(7, 9, dtype=dtype)
    wanted = phase_modulation(quantize_phase(phase, bits))
    torch.testing.assert_close(passes.wave(phase, bits), wanted, rtol=0, atol=tolerance)
    torch.testing.assert_close(passes.wave(phase, bits, turned=True), 1j * wanted, rtol=0, atol=tolerance)
    out = torch.empty_like(wanted)
    passes.wave(phase, bits, out=out)
    torch.testing.assert_close(out, wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("route", [PSFRoute, FourierLensRoute])
@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_phase_that_is_no_number_is_seen_in_the_light_of_its_mask_alone(route, broken):
    bench = small_bench(masks=2, fill_factor=1.0, bit_depth=8)
    with torch.no_grad():
        bench.slm.values[1, 3, 4] = broken
    light = route(bench)(random_images(1, bench.illumination.shape)).intensity
    assert light[:, 0].isfinite().all()
    assert light[:, 1].isnan().all()


# --- memory ---


def test_memory_is_used_again_only_when_nobody_holds_it():
    def idle() -> set[int]:
        return {array.ctypes.data for array in passes._idle.values()}

    passes._idle.clear()
    first = passes.empty((1024, 512), torch.zeros(1))
    place = first.data_ptr()
    view = first[3:5].t()
    del first
    assert place not in idle()
    numbers = view.numpy()
    del view
    assert place not in idle()
    del numbers
    assert idle() == {place}
    assert passes.empty((512, 512), torch.zeros(1), complex=True).data_ptr() == place


def test_idle_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(passes, "_WORTH_KEEPING", (2**10, 2**22))
    passes._idle.clear()
    for n in range(1, 5):
        passes.empty((n, 2**18), torch.zeros(1))
    assert 0 < sum(array.nbytes for array in passes._idle.values()) <= 2**22
