"""Memory of routes in light of many modes, of images that train and of a convolution; and refusals inside the calls."""

import multiprocessing
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from optics4f import memory
from optics4f.conv import OpticalConv2d
from optics4f.elements import SLM, Camera, Illumination, Lens
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.light import DiscSource, PointSource, SelfLuminous, Source, Spectrum
from optics4f.memory import TooLargeError, in_pieces
from optics4f.memory_counts import ROUTES, SOURCES, Call, Light, Planes, in_light
from optics4f.memory_needs import route_need
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from optics4f.routes.route import SOURCES_AT_A_TIME, Route

WAVELENGTH, PITCH = 532e-9, 8e-6
IMAGE = 7 * 9  # samples: an odd number beside the middle
KINDS = [AngularSpectrumRoute, FourierLensRoute, PSFRoute]


def small_bench(masks: int = 2, source: Source | None = None, lines: int = 1, **slm) -> FourF:
    spectrum = Spectrum.gaussian(WAVELENGTH, 5e-9, lines) if lines > 1 else None
    light = {} if source is None else {"source": source}
    return FourF(
        Illumination((6, 8), PITCH, WAVELENGTH, **light, **({} if spectrum is None else {"spectrum": spectrum})),
        Lens(0.01),
        SLM(Grid((20, 16), PITCH), masks=masks, bit_depth=None, **slm),
        Lens(0.01),
        Camera((6, 8), PITCH),
        samples_per_camera_pixel=1,
    )


def route_of(kind: type[Route], bench: FourF) -> Route:
    options = {"window": (200, 190)} if kind is AngularSpectrumRoute else {}
    failing = tuple(check.quantity for check in kind.sampling(bench, **options).checks)
    return kind(bench, override=failing, **options)


@pytest.fixture
def no_memory(monkeypatch):
    """A machine that has a thousand bytes left, and looks at them for every computation."""
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available", lambda device=None: 1000)


# --- refused before it starts ---


@pytest.mark.parametrize("source", [PointSource(), DiscSource(1e-3, 2), SelfLuminous()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("kind", KINDS)
def test_a_route_refuses_what_does_not_fit_before_it_computes(kind, source, no_memory, monkeypatch):
    route = route_of(kind, small_bench(source=source))
    for name in ("mode_field", "self_luminous_intensity", "mask_factors"):
        monkeypatch.setattr(route, name, lambda *a, **k: pytest.fail("it was computed"))
    with pytest.raises(TooLargeError, match=f"{kind.__name__}, training step, B = 3, K = 2, .* must fit into memory"):
        route(torch.rand(3, 1, 6, 8, generator=torch.Generator().manual_seed(0)))


def convolution(detection: str = "differential", route: type[Route] = PSFRoute) -> OpticalConv2d:
    bench = FourF(
        Illumination((8, 8), 16e-6, WAVELENGTH, pixels_per_logical=2),
        Lens(0.1),
        SLM(Grid((128, 120), PITCH), bit_depth=8),
        Lens(0.1),
        Camera((40, 40), 32e-6),
        samples_per_camera_pixel=2,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return OpticalConv2d(1, 2, 3, bench, detection=detection, padding=1, route=route)


@pytest.mark.parametrize("detection", ["differential", "intensity", "homodyne"])
def test_a_convolution_refuses_what_does_not_fit(detection, no_memory, monkeypatch):
    layer = convolution(detection)
    for name in ("mode_field", "self_luminous_intensity"):
        monkeypatch.setattr(PSFRoute, name, lambda *a, **k: pytest.fail("it was computed"))
    masks = layer.plan.exposures
    with pytest.raises(TooLargeError, match=f"PSFRoute, training step, B = 5, K = {masks}, .* must fit into memory"):
        layer(torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


# --- what the count depends on ---


def need_of(kind: type[Route], batch: int, gradient: bool = True, **bench) -> int:
    return route_need(route_of(kind, small_bench(**bench)), torch.zeros(batch, 1, 6, 8), gradient=gradient).bytes


@pytest.mark.parametrize("kind", KINDS)
def test_more_modes_wavelengths_and_images_that_train_need_more(kind):
    modes = [need_of(kind, 4000, source=source) for source in (None, DiscSource(1e-3, 1), DiscSource(1e-3, 3))]
    assert modes == sorted(set(modes))
    lines = [need_of(kind, 1, masks=500, lines=n) for n in (1, 3, 7)]
    assert lines == sorted(set(lines))
    assert lines[2] - lines[1] >= 4 * 500 * 320 * 8  # at least the factors of four more wavelengths
    route = route_of(kind, small_bench())
    assert route.bench.image.shape[0] * route.bench.image.shape[1] == IMAGE
    fixed, trained = (
        route_need(route, torch.zeros(4000, 1, 6, 8, requires_grad=r), gradient=True).bytes for r in (False, True)
    )
    assert trained > fixed
    if kind is not PSFRoute:  # pieces at the object, all of them, and their double; light that returns to the masks
        assert trained - fixed >= 4000 * 8 * (3 * 48 + 320)


@pytest.mark.parametrize("kind", [AngularSpectrumRoute, FourierLensRoute])
def test_a_self_luminous_object_needs_the_light_of_some_sources_not_of_every_image(kind):
    """An image more is K intensities; in coherent light it is also its field at the masks."""
    (one, two), coherent = (
        [need_of(kind, batch, gradient=False, source=source) for batch in (1000, 2000)]
        for source in (SelfLuminous(), None)
    )
    image = 4 * 2 * IMAGE * 1000  # bytes of an intensity, for two masks
    assert image <= two - one <= 3 * image
    assert coherent[1] - coherent[0] >= 8 * 320 * 1000


def test_a_self_luminous_object_needs_real_spectra_in_the_psf_route_and_a_psf_for_each_of_its_samples():
    """An image more is filtered intensities, half the bytes of fields; where the samples differ, K PSFs more each."""
    growth = [
        need_of(PSFRoute, 3000, source=source) - need_of(PSFRoute, 2000, source=source)
        for source in (SelfLuminous(), DiscSource(1e-3, 2))
    ]
    assert growth[0] < growth[1]
    route = route_of(PSFRoute, small_bench(masks=50, source=SelfLuminous()))
    planes, call, light = Planes.of(route), Call(1, 50, True, False, True), Light.of(route.bench)
    many = replace(light, block=4)
    one, all_alike, all_different = (
        in_light(ROUTES["PSFRoute"], replace(planes, shifted=shifted), call, kind).run
        for shifted, kind in ((False, light), (True, many), (False, many))
    )
    assert one <= all_alike < all_different
    window = planes.window[0] * planes.window[1]
    assert all_different - all_alike >= 15 * 50 * 8 * window


def test_sources_are_counted_as_the_routes_take_them():
    assert SOURCES == SOURCES_AT_A_TIME


@pytest.mark.parametrize("kind", KINDS)
def test_masks_that_are_more_than_phases_need_more(kind):
    assert need_of(kind, 1, masks=500, fill_factor=0.9) - need_of(kind, 1, masks=500) >= 2 * 500 * 320 * 8


@pytest.mark.parametrize("kind", KINDS)
def test_some_of_the_masks_need_less_than_all_and_phases_less_than_factors(kind):
    route, images = route_of(kind, small_bench(masks=500)), torch.zeros(1, 1, 6, 8)
    phases = route.masks(WAVELENGTH)
    assert not phases.is_complex()
    every, some, factors = (
        route_need(route, images, gradient=True, masks=masks).bytes
        for masks in (phases, phases[:100], torch.polar(torch.ones_like(phases), phases))
    )
    assert every == route_need(route, images, gradient=True).bytes
    assert every - some >= 400 * 320 * 4  # a gradient of the phase at least
    assert factors - every >= 500 * 320 * 8


@pytest.mark.parametrize("kind", KINDS)
def test_constants_that_are_there_are_not_needed_again(kind, monkeypatch):
    route, images = route_of(kind, small_bench()), torch.zeros(9, 1, 6, 8)
    before = route_need(route, images, gradient=False)
    with torch.no_grad():
        route(images)
    after = route_need(route, images, gradient=False)
    assert after.bytes < before.bytes
    monkeypatch.setattr(route._kept, "bytes", 2**40)  # those of other wavelengths are of no use
    assert route_need(route, images, gradient=False).bytes == pytest.approx(after.bytes, rel=0.01)
    assert after.bytes_at(2 * after.width, 9) == before.bytes_at(2 * before.width, 9)


def test_pieces_hold_the_results_of_all():
    """Intensity of float32; with a gradient also its own, and as much again in a loss."""
    route, images = route_of(FourierLensRoute, small_bench()), torch.zeros(500, 1, 6, 8)
    for gradient, copies in ((False, 1), (True, 4)):
        need = route_need(route, images, gradient=gradient)
        assert need.result_at(need.width, 500) == copies * 4 * 500 * 2 * IMAGE


# --- against measured peaks ---


def resident() -> int:
    """Bytes of this process in memory; its high-water mark starts anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS:")


def _status(entry: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(entry)))


def narrow_route(kind: type[Route], pixels: int, masks: int, source: Source) -> Route:
    """Logical pixels through 1024 x 768 SLM pixels."""
    bench = FourF(
        Illumination((pixels, pixels), PITCH, WAVELENGTH, pixels_per_logical=4, source=source),
        Lens("200 mm"),
        SLM(Grid((1024, 768), PITCH), masks=masks, bit_depth=8),
        Lens("200 mm"),
        Camera((32, 32), 4 * PITCH),
        samples_per_camera_pixel=5,
    )
    return route_of(kind, bench)


def wide_route(kind: type[Route], n: int, masks: int) -> Route:
    """n x n samples of 8 um in every plane."""
    lens = Lens(n * PITCH**2 / WAVELENGTH)
    slm, camera = SLM(Grid((n, n), PITCH), masks=masks, bit_depth=None), Camera((n - 1, n - 1), PITCH)
    bench = FourF(Illumination((n, n), PITCH, WAVELENGTH), lens, slm, lens, camera, samples_per_camera_pixel=1)
    options = {"window": (n, n)} if kind is AngularSpectrumRoute else {}
    return kind(bench, override=tuple(check.quantity for check in kind.sampling(bench, **options).checks), **options)


def peak_of(kind: type[Route], source: Source | None, n: int, batch: int, masks: int, ends: str) -> tuple[int, int]:
    """Need and measured peak of a step in a fresh process; ``n`` samples, or logical pixels where there is a source."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    route = wide_route(kind, n, masks) if source is None else narrow_route(kind, n, masks, source)
    images = torch.rand(batch, 1, *route.bench.illumination.shape, generator=torch.Generator().manual_seed(0))
    images.requires_grad_(ends == "images")
    torch.fft.fft2(torch.ones(2, 64, 64, dtype=torch.complex64))
    need = route_need(route, images, gradient=ends != "forward")
    before = resident()
    with torch.set_grad_enabled(ends != "forward"):
        light = route(images).intensity
        if ends != "forward":
            light.square().sum().backward()
    return need.bytes, _status("VmHWM:") - before


PEAKS = [
    (AngularSpectrumRoute, None, 512, 8, 1, "images"),
    (FourierLensRoute, None, 512, 16, 1, "images"),
    (AngularSpectrumRoute, None, 512, 8, 8, "forward"),
    (FourierLensRoute, DiscSource(3e-5, 3), 32, 16, 2, "masks"),
    (FourierLensRoute, SelfLuminous(), 4, 256, 2, "forward"),
    (PSFRoute, DiscSource(3e-5, 3), 32, 32, 4, "masks"),
    (PSFRoute, SelfLuminous(), 32, 64, 4, "masks"),
    (PSFRoute, SelfLuminous(), 32, 64, 4, "forward"),
    (PSFRoute, PointSource(), 32, 64, 16, "forward"),
]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the high-water mark")
@pytest.mark.parametrize("case", PEAKS, ids=lambda case: " ".join(map(str, (case[0].__name__, *case[1:]))))
def test_the_need_of_a_route_in_any_light_is_its_measured_peak(case):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        need, peak = pool.submit(peak_of, *case).result()
    assert 1 / 1.35 < need / peak < 1.35


def pieces_within(budget: int, gradient: bool) -> tuple[int, int]:
    """Size of a piece that the refusal proposes, and the peak of doing so in a process that has only so much."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    route, images = wide_route(FourierLensRoute, 256, 4), torch.zeros(256 if not gradient else 64, 1, 256, 256)
    torch.fft.fft2(torch.ones(2, 64, 64, dtype=torch.complex64))
    before = resident()
    memory.control_groups = lambda: [budget - (_status("VmRSS:") - before)]
    with torch.set_grad_enabled(gradient):
        need = route_need(route, images)
        with pytest.raises(TooLargeError, match="Use at most .* at a time: optics4f.memory.in_pieces does that"):
            route(images)
        size = need.largest_piece(memory.available())
        light = in_pieces(lambda some: route(some).intensity, images, size)
        if gradient:
            light.square().sum().backward()
    return size, _status("VmHWM:") - before


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the high-water mark")
@pytest.mark.parametrize(("budget", "gradient"), [(2**28 + 2**27, True), (3 * 2**27, False)])
def test_the_pieces_that_a_refusal_proposes_go_through(budget, gradient):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        size, peak = pool.submit(pieces_within, budget, gradient).result()
    assert size >= 1
    assert peak < 1.3 * budget
