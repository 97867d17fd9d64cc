"""Light of many modes against closed forms of coherence theory, direct sums in numpy, and the routes' agreement."""

import math

import numpy as np
import pytest
import torch
from scipy.special import j1

from optics4f.elements import Illumination, Pupil
from optics4f.elements.camera import Camera
from optics4f.field import Field, Intensity
from optics4f.fourf import FourF
from optics4f.light import DiscSource, PointSource, SelfLuminous, Spectrum, modes
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from tests.optics4f.benches import TINY, WAVELENGTH, random_images, relative, small_bench, smooth_masks

F1, F2 = 0.1, 0.15
ROUTES = [AngularSpectrumRoute, FourierLensRoute, PSFRoute]


def lit_bench(*, source=None, spectrum=None, pupil=None, **options) -> FourF:
    """The small bench under this light, its masks wrapped as a panel shows them."""
    bench = small_bench(**options)
    plain = bench.illumination
    bench.illumination = Illumination(
        plain.shape,
        plain.pixels.pitch,
        plain.wavelength,
        pixels_per_logical=plain.pixels_per_logical,
        encoding=plain.encoding,
        source=PointSource() if source is None else source,
        spectrum=spectrum,
        dtype=plain.dtype,
    )
    bench.pupil = pupil
    bench.slm.set_values(torch.remainder(smooth_masks(bench.slm.masks, bench.slm.grid.shape), 2 * math.pi))
    return bench


def tiny_bench(**options) -> FourF:
    """Six object samples, and a window of 12 x 10 samples holds everything."""
    return lit_bench(**{**TINY, **options})


def jinc(v: np.ndarray) -> np.ndarray:
    """``2 J1(v) / v``."""
    return 2 * j1(v) / v


# --- spectra and sources ---


@pytest.mark.parametrize("source", [PointSource(), DiscSource(1e-3, 7), SelfLuminous()])
def test_each_wavelength_has_its_share_of_the_power_and_all_together_have_all(source):
    spectrum = Spectrum((500e-9, 532e-9, 600e-9), (1, 2, 5))
    found = modes(spectrum, source)
    assert sum(mode.weight for mode in found) == pytest.approx(1, abs=1e-14)
    for wavelength, share in ((500e-9, 1 / 8), (532e-9, 2 / 8), (600e-9, 5 / 8)):
        weights = [mode.weight for mode in found if mode.wavelength == wavelength]
        assert sum(weights) == pytest.approx(share, abs=1e-14)
        assert max(weights) == min(weights)  # points of equal brightness


def test_a_gaussian_line_has_its_mean_frequency_and_its_width():
    spectrum = Spectrum.gaussian(600e-9, 24e-9)
    wavenumbers, weights = 1 / np.array(spectrum.wavelengths), np.array(spectrum.weights)
    assert weights.sum() == pytest.approx(1, abs=1e-14)
    mean = weights @ wavenumbers
    assert mean == pytest.approx(1 / 600e-9, rel=1e-12)
    deviation = math.sqrt(weights @ (wavenumbers - mean) ** 2)
    assert deviation * math.sqrt(8 * math.log(2)) == pytest.approx(24e-9 / 600e-9**2, rel=1e-12)  # full width


def test_a_gaussian_line_is_coherent_over_the_path_that_its_width_allows():
    # Wiener-Khinchin: the contrast of two beams at a path difference is the spectrum's transform, a Gaussian too.
    spectrum = Spectrum.gaussian(600e-9, 24e-9, lines=9)
    wavenumbers, weights = 1 / np.array(spectrum.wavelengths), np.array(spectrum.weights)
    deviation = 24e-9 / 600e-9**2 / math.sqrt(8 * math.log(2))
    for path in np.linspace(0, 12e-6, 9):
        wanted = math.exp(-2 * (math.pi * deviation * path) ** 2)
        # Nine lines match 17 moments: (2 pi deviation path)^18 / 18! is 5e-4 at the end, where the contrast is 0.11.
        assert abs(weights @ np.exp(2j * math.pi * wavenumbers * path)) == pytest.approx(wanted, abs=1e-3)


def test_weights_are_shares_whatever_their_unit():
    assert Spectrum((5e-7, 6e-7), (30, 10)).weights == (0.75, 0.25)
    assert Spectrum(("500 nm", "0.6 um"), (1, 1)).wavelengths == (5e-7, 6e-7)
    assert Spectrum.line("532 nm") == Spectrum((532e-9,), (1,))


@pytest.mark.parametrize("points", [16, 64, 301])
def test_the_points_fill_the_disc_evenly(points):
    waves = np.array(list(DiscSource(3e-3, points).frequencies(WAVELENGTH))) * WAVELENGTH / math.sin(3e-3)
    squares = (waves**2).sum(1)
    assert squares.max() < 1
    assert squares.mean() == pytest.approx(0.5, abs=1e-12)
    # Equal areas: as many points in every ring, and no side is preferred.
    np.testing.assert_allclose(np.sort(squares), (np.arange(points) + 0.5) / points, atol=1e-12)
    moment = waves.T @ waves / points
    np.testing.assert_allclose(moment, np.eye(2) / 4, atol=1 / points)
    np.testing.assert_allclose(waves.mean(0), 0, atol=1 / points)


@pytest.mark.parametrize("direction", [(0.0, 1.0), (1.0, 0.0), (-0.6, 0.8)])
def test_the_coherence_of_a_disc_is_that_of_van_cittert_and_zernike(direction):
    radius = 3e-3
    waves = np.array([mode.frequency for mode in modes(Spectrum.line(WAVELENGTH), DiscSource(radius, 200))])
    distances = np.linspace(2e-6, 280e-6, 60)  # v up to 10: three zeros of J1
    coherence = np.exp(2j * math.pi * np.outer(distances, waves @ direction)).mean(1)
    wanted = jinc(2 * math.pi * math.sin(radius) / WAVELENGTH * distances)
    np.testing.assert_allclose(coherence, wanted, atol=2e-2)  # complex: a centred disc has no imaginary part


@pytest.mark.parametrize("apart", [(0, 2), (0, 7), (3, 0), (2, -5), (9, 6)])
def test_two_pinholes_under_a_disc_show_fringes_of_the_contrast_of_its_coherence(apart):
    bench = lit_bench(
        source=DiscSource(3e-3, 100), object_shape=(11, 12), pixels_per_logical=1, slm_shape=(48, 40), masks=1
    )
    route = FourierLensRoute(bench)
    pinholes = torch.zeros(1, 1, 11, 12, dtype=torch.float64)
    first = (1, 5 if apart[1] < 0 else 1)
    pinholes[..., first[0], first[1]] = 1
    pinholes[..., first[0] + apart[0], first[1] + apart[1]] = 1
    light = sum(
        mode.weight * route.fourier_field(bench.illumination(pinholes, mode)).intensity
        for mode in bench.illumination.modes()
    )[0, 0]
    y, x = bench.slm.samples.coordinates()
    turns = 16e-6 * (apart[0] * y + apart[1] * x) / (WAVELENGTH * F1)
    fringes = torch.stack([torch.ones_like(turns), torch.cos(2 * math.pi * turns), torch.sin(2 * math.pi * turns)], -1)
    mean, cosine, sine = torch.linalg.lstsq(fringes.reshape(-1, 3), light.reshape(-1, 1)).solution.flatten().tolist()
    wanted = jinc(2 * math.pi * math.sin(3e-3) / WAVELENGTH * 16e-6 * math.hypot(*apart))
    # Signed: beyond the first zero of J1 the middle of the fringes is dark.
    assert cosine / mean == pytest.approx(wanted, abs=2e-2)
    assert sine / mean == pytest.approx(0, abs=2e-2)


# --- the limits of partial coherence ---


def test_a_small_disc_is_a_point():
    images = random_images(2, (5, 7))
    with torch.no_grad():
        coherent = FourierLensRoute(lit_bench())(images).intensity
        small, large = (FourierLensRoute(lit_bench(source=DiscSource(r, 64)))(images).intensity for r in (2e-5, 5e-3))
    # Across the object of 0.26 mm the coherence is still 2 J1(v)/v at v = 0.06: 1 - 5e-4.
    assert relative(small, coherent) < 5e-4
    assert relative(large, coherent) > 0.1


def test_a_disc_that_fills_the_pupil_whatever_the_object_does_makes_the_object_radiate():
    # Pupil 4 700 cycles/m, object (Gaussians of 35 um) within 13 000 cycles/m, disc 18 000 cycles/m: all of the light
    # that the object can send through the pupil is there, and the disc's own rim is not seen.
    numbers = {"object_shape": (21, 19), "pixels_per_logical": 1, "camera_shape": (12, 15), "camera_pitch": 48e-6}
    y, x = np.arange(21)[:, None] - 10, np.arange(19)[None, :] - 9
    bumps = sum(np.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * 2.2**2)) for v, u in ((-3, -2), (2, 2.5)))
    images = torch.from_numpy(bumps / bumps.max())[None, None]
    pupil = {"pupil": Pupil("0.5 mm")}
    with torch.no_grad():
        disc = DiscSource(math.asin(18_000 * WAVELENGTH), 1000)
        wide = PSFRoute(lit_bench(source=disc, **pupil, **numbers))(images).intensity
        wanted = PSFRoute(lit_bench(source=SelfLuminous(), **pupil, **numbers))(images).intensity
        coherent = PSFRoute(lit_bench(**pupil, **numbers))(images).intensity
    assert relative(wide / wide.sum(), wanted / wanted.sum()) < 1e-2
    assert relative(coherent / coherent.sum(), wanted / wanted.sum()) > 0.1
    # And the one factor: the disc spreads its power over pi R^2, a sample radiates into its whole band 1 / p^2.
    factor = 1 / (math.pi * 18_000**2 * 16e-6**2)
    assert (wide.sum() / wanted.sum()).item() == pytest.approx(factor, rel=1e-2)


# --- self-luminous objects ---


@pytest.mark.parametrize("route", [FourierLensRoute, PSFRoute])
def test_a_self_luminous_object_is_convolved_with_the_squared_psf(route):
    bench = tiny_bench(source=SelfLuminous(), masks=1, fill_factor=1.0, slm_shape=(7, 6), camera_pitch=75e-6)
    images = random_images(1, (2, 3))
    actual = route(bench)(images).intensity[0, 0].detach().numpy()
    (y0, x0), (yf, xf), (y1, x1) = (
        tuple(axis.flatten().numpy() for axis in grid.coordinates())
        for grid in (bench.illumination.grid, bench.slm.samples, bench.image)
    )
    mask = np.exp(1j * bench.slm.values.detach().numpy()[0])
    scale = WAVELENGTH * 0.3
    wanted = np.zeros((len(y1), len(x1)))
    for i, v in enumerate(y0):
        for j, u in enumerate(x0):  # h(x1 + (f2 / f1) x0), term by term
            rows = np.exp(-2j * math.pi / scale * np.outer(y1 + 1.5 * v, yf))
            columns = np.exp(-2j * math.pi / scale * np.outer(x1 + 1.5 * u, xf))
            h = (100e-6) ** 2 / (WAVELENGTH**2 * 0.2 * 0.3) * rows @ mask @ columns.T
            wanted += images[0, 0, i, j].item() ** 2 * abs(h * (100e-6) ** 2) ** 2
    np.testing.assert_allclose(actual, wanted, rtol=1e-10)


@pytest.mark.parametrize("encoding", ["amplitude", "intensity"])
@pytest.mark.parametrize("pixels_per_logical", [1, 2, 3])
def test_convolution_and_point_by_point_are_the_same_self_luminous_object(encoding, pixels_per_logical):
    bench = lit_bench(
        source=SelfLuminous(),
        pupil=Pupil("0.5 mm", aberrations={5: 0.4, 8: -0.3}),
        encoding=encoding,
        object_shape=(3, 4),
        pixels_per_logical=pixels_per_logical,
        camera_pitch=24e-6 * pixels_per_logical,
    )
    images = random_images(2, (3, 4))
    with torch.no_grad():
        wanted = FourierLensRoute(bench)(images).intensity
        assert relative(PSFRoute(bench)(images).intensity, wanted) < 1e-10


def test_phase_is_not_seen_in_a_self_luminous_object():
    bench = lit_bench(source=SelfLuminous(), encoding="phase", masks=1)
    with torch.no_grad():
        dark, bright = (PSFRoute(bench)(random_images(1, (5, 7), seed=s)).intensity for s in (1, 2))
    torch.testing.assert_close(dark, bright, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("axis", [0, 1])
def test_the_incoherent_transfer_function_of_a_round_pupil_is_the_overlap_of_two_discs(axis):
    diameter, f2 = 1e-3, 0.15
    bench = lit_bench(
        source=SelfLuminous(),
        pupil=Pupil(diameter),
        object_shape=(1, 1),
        object_pitch=10e-6,
        pixels_per_logical=1,
        slm_shape=(104, 110),
        slm_pitch=10e-6,
        masks=1,
        camera_shape=(111, 105),
        camera_pitch=60e-6,
        fill_factor=1.0,
    )
    bench.slm.set_values(torch.zeros_like(bench.slm.values))
    spread = FourierLensRoute(bench)(torch.ones(1, 1, 1, 1)).intensity[0, 0].detach()
    line = spread.sum(1 - axis).numpy()
    position = bench.image.coordinates()[axis].flatten().numpy()
    for s in np.linspace(0.05, 1.1, 12):
        contrast = (line * np.exp(-2j * math.pi * s * diameter / (WAVELENGTH * f2) * position)).sum() / line.sum()
        wanted = 2 / math.pi * (math.acos(s) - s * math.sqrt(1 - s**2)) if s < 1 else 0.0
        # 1.0 % of the light falls beside the window, 2 / (pi v) at v = 63 diffraction widths.
        assert contrast == pytest.approx(wanted, abs=1e-2)


# --- wavelengths ---


@pytest.mark.parametrize("route", ROUTES)
def test_polychromatic_light_is_the_sum_of_benches_with_longer_and_shorter_waves(route):
    aberrations = {4: 0.5, 8: -0.3}
    wavelengths, weights = (515e-9, 532e-9, 560e-9), (1, 2, 5)
    numbers = {"f1": 0.2, "f2": 0.3, "slm_shape": (12, 9), "slm_pitch": 64e-6, "object_pitch": 64e-6,
               "pixels_per_logical": 1, "camera_pitch": 96e-6}  # fmt: skip
    together = lit_bench(
        spectrum=Spectrum(wavelengths, weights), pupil=Pupil("0.6 mm", aberrations=aberrations), **numbers
    )
    images = random_images(2, (5, 7))
    window = {"window": (25, 23)} if route is AngularSpectrumRoute else {}
    wanted = 0
    for wavelength, weight in zip(wavelengths, weights, strict=True):
        ratio = WAVELENGTH / wavelength
        pupil = Pupil("0.6 mm", aberrations={j: c * ratio for j, c in aberrations.items()})
        one = lit_bench(wavelength=wavelength, pupil=pupil, **numbers)
        assert one.illumination.coherent
        one.slm.set_values(one.slm.values * ratio)  # the delay is a path
        wanted = wanted + weight / 8 * route(one, **window)(images).intensity.detach()
    assert relative(route(together, **window)(images).intensity.detach(), wanted) < 1e-12


def test_a_point_grows_with_its_wavelength():
    # First zero of a flat used area 48 x 16 um high: wavelength f2 / 0.768 mm. Sampled where green is dark.
    dark = WAVELENGTH * F2 / (48 * 16e-6)
    lights = {}
    for name, wavelength in (("green", WAVELENGTH), ("red", 650e-9)):
        bench = lit_bench(
            spectrum=Spectrum.line(wavelength), object_shape=(1, 1), pixels_per_logical=1, masks=1, fill_factor=1.0,
            camera_shape=(3, 3), camera_pitch=round(dark, 15), samples_per_camera_pixel=2,
        )  # fmt: skip
        bench.slm.set_values(torch.zeros_like(bench.slm.values))
        light = FourierLensRoute(bench)(torch.ones(1, 1, 1, 1)).intensity[0, 0].detach()
        middle = bench.image.shape[0] // 2, bench.image.shape[1] // 2
        lights[name] = (light[middle[0] + 2, middle[1]] / light[middle]).item()
    assert lights["green"] < 1e-12
    # Samples of 1/48 of the aperture for its integral: sin(N a)/ (N sin a) instead of sinc.
    assert lights["red"] == pytest.approx(np.sinc(WAVELENGTH / 650e-9) ** 2, rel=5e-3)


# --- the routes against each other ---


LIGHTS = {
    "coherent": {},
    "disc": {"source": DiscSource(2e-3, 5)},
    "three lines": {"spectrum": Spectrum((520e-9, 532e-9, 545e-9), (1, 2, 1))},
    "disc of two lines": {"source": DiscSource(1.4e-3, 3), "spectrum": Spectrum((520e-9, 545e-9), (1, 2))},
}


@pytest.mark.parametrize("name", LIGHTS)
def test_three_routes_see_the_same_light(name):
    bench, images = lit_bench(**LIGHTS[name]), random_images(2, (5, 7))
    with torch.no_grad():
        wanted = FourierLensRoute(bench)(images).intensity
        assert relative(PSFRoute(bench)(images).intensity, wanted) < 1e-12
        # Half of what 16 um samples and this window leave out.
        assert relative(AngularSpectrumRoute(bench, window=(196, 196))(images).intensity, wanted) < 1e-2


def test_three_routes_see_the_same_self_luminous_object():
    bench, images = (
        lit_bench(source=SelfLuminous(), object_shape=(2, 3), pixels_per_logical=1, masks=1),
        random_images(1, (2, 3)),
    )
    with torch.no_grad():
        wanted = FourierLensRoute(bench)(images).intensity
        assert relative(PSFRoute(bench)(images).intensity, wanted) < 1e-12
        assert relative(AngularSpectrumRoute(bench, window=(190, 190))(images).intensity, wanted) < 1.5e-2


def test_finer_samples_and_a_wider_window_bring_propagation_closer():
    spectrum = Spectrum((520e-9, 545e-9), (1, 2))
    bench = lit_bench(
        spectrum=spectrum, object_pitch=8e-6, pixels_per_logical=4, slm_shape=(96, 72), slm_pitch=8e-6, masks=1
    )
    images = random_images(1, (5, 7))
    with torch.no_grad():
        wanted = FourierLensRoute(bench)(images).intensity
        actual = AngularSpectrumRoute(bench, window=(600, 600))(images).intensity
    assert relative(actual, wanted) < 2e-3


# --- invariants ---


@pytest.mark.parametrize(
    "light", [{"source": DiscSource(2e-3, 6)}, {"spectrum": Spectrum((495e-9, 500e-9), (3, 1))}], ids=["disc", "lines"]
)
def test_all_modes_together_carry_the_power_that_falls_on_the_object(light):
    # lambda f = 81 p^2: each stage is a unitary transform at 500 nm, and nearly at 495 nm where light stays inside.
    pitch = 10e-6
    bench = lit_bench(
        **light, wavelength=500e-9, f1=81 * pitch**2 / 500e-9, f2=81 * pitch**2 / 500e-9, object_shape=(9, 13),
        object_pitch=pitch, pixels_per_logical=1, slm_shape=(81, 81), slm_pitch=pitch, fill_factor=1.0, masks=1,
        camera_shape=(81, 81), camera_pitch=pitch, samples_per_camera_pixel=1,
    )  # fmt: skip
    bench.slm.set_values(torch.zeros_like(bench.slm.values))
    images = random_images(1, (9, 13))
    override = tuple(c.quantity for c in FourierLensRoute.sampling(bench).checks if not c.valid)
    actual = FourierLensRoute(bench, override=override)(images).intensity.sum().item()
    # A disc's waves keep all of it; 495 nm misses 1 % of the outer band.
    assert actual == pytest.approx(images.square().sum().item(), rel=1e-9 if "source" in light else 2e-2)


# --- gradients, types ---


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("light", ["disc of two lines", "self-luminous"])
def test_gradients_through_modes_computed_twice_are_those_of_the_plain_sum(route, light):
    options = LIGHTS.get(light, {"source": SelfLuminous(), "spectrum": Spectrum((520e-9, 545e-9), (1, 2))})
    images = random_images(2, (2, 3))
    weights = torch.linspace(0.5, 2, 2 * 2 * 3 * 3, dtype=torch.float64)
    gradients = []
    for plain in (False, True):
        bench = tiny_bench(**options)
        through = route(bench)
        objects = images.clone().requires_grad_()
        if plain:
            through._again = lambda function, *arguments: function(*arguments)
        light_seen = through(objects).intensity
        (light_seen * weights[: light_seen.numel()].reshape(light_seen.shape)).sum().backward()
        gradients.append((bench.slm.values.grad, objects.grad))
    assert all(gradient.abs().max() > 0 for gradient in gradients[0])
    for again, once in zip(*gradients, strict=True):
        assert relative(again, once) < 1e-12


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("source", [DiscSource(1.4e-3, 3), SelfLuminous()], ids=["disc", "self-luminous"])
def test_the_gradient_of_light_of_many_modes_is_right(route, source, generator):
    bench = tiny_bench(source=source, spectrum=Spectrum((520e-9, 545e-9), (1, 2)), masks=2)
    through, images = route(bench), random_images(1, (2, 3)).requires_grad_()
    scale = through(images.detach()).intensity.max().item()
    assert torch.autograd.gradcheck(lambda objects: through(objects).intensity / scale, (images,))

    def light() -> torch.Tensor:
        seen = through(images.detach()).intensity / scale
        return (seen * torch.linspace(0.5, 2, seen.numel(), dtype=torch.float64).reshape(seen.shape)).sum()

    light().backward()
    masks = bench.slm.values.detach().clamp(0.1, 6.1)  # away from the wrap, where colours jump
    bench.slm.set_values(masks)
    bench.slm.values.grad = None
    light().backward()
    for _ in range(3):
        step = 1e-5 * torch.randn(masks.shape, generator=generator, dtype=torch.float64)
        ends = []
        for sign in (1, -1):
            bench.slm.set_values(masks + sign * step)
            ends.append(light().item())
        assert (ends[0] - ends[1]) / 2 == pytest.approx((bench.slm.values.grad * step).sum().item(), rel=1e-6)


@pytest.mark.parametrize("source", [PointSource(), DiscSource(1.4e-3, 3)], ids=["coherent", "disc"])
def test_masks_lent_for_one_call_receive_their_own_gradient(source):
    through, images = PSFRoute(tiny_bench(source=source)), random_images(1, (2, 3))
    lent = (through.bench.slm.values.detach() + 0.3).requires_grad_()
    seen = torch.func.functional_call(through, {"bench.slm.values": lent}, (images,))
    seen.intensity.sum().backward()
    through.bench.slm.set_values(lent.detach())
    through(images).intensity.sum().backward()
    assert relative(lent.grad, through.bench.slm.values.grad) < 1e-12


@pytest.mark.parametrize("route", ROUTES)
def test_only_coherent_light_of_the_design_wavelength_is_a_field(route):
    images = random_images(2, (2, 3))
    assert isinstance(route(tiny_bench())(images), Field)
    for light in (
        {"source": DiscSource(1e-3, 2)},
        {"source": SelfLuminous()},
        {"spectrum": Spectrum.line(500e-9)},
        {"spectrum": Spectrum((520e-9, 545e-9), (1, 2))},
    ):
        bench = tiny_bench(**light)
        seen = route(bench)(images)
        assert isinstance(seen, Intensity)
        assert bench.detect(seen).shape == (2, 2, 3, 2)


def test_a_camera_counts_a_field_and_its_intensity_alike():
    bench = lit_bench()
    light = FourierLensRoute(bench)(random_images(2, (5, 7)))
    camera = Camera((6, 9), 48e-6)
    torch.testing.assert_close(camera(Intensity(light.intensity, light.grid)), camera(light), rtol=0, atol=0)


def test_a_disc_of_one_point_is_a_coherent_wave_from_that_point():
    # Half its radius away: the wave's ramp is a shift of the Fourier plane, by wavelength f1 frequency.
    source = DiscSource(4e-3, 1)
    ((fy, fx),) = source.frequencies(WAVELENGTH)
    assert math.hypot(fy, fx) * WAVELENGTH == pytest.approx(math.sin(4e-3) / math.sqrt(2), rel=1e-12)
    bench = lit_bench(source=source, masks=1)
    images = random_images(1, (5, 7))
    y, x = bench.illumination.grid.coordinates()
    flat = bench.illumination(images)
    ramp = torch.exp(2j * math.pi * (fy * y + fx * x))
    wanted = FourierLensRoute(bench).image_field(Field(flat.data * ramp, flat.grid, WAVELENGTH)).intensity
    torch.testing.assert_close(FourierLensRoute(bench)(images).intensity, wanted, rtol=1e-12, atol=0)


# --- refusals ---


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: DiscSource(-1e-3), r"angular_radius must be in \[0, pi/2\), got -0\.001 rad"),
        (lambda: DiscSource(math.nan), r"angular_radius must be in \[0, pi/2\), got nan rad"),
        (lambda: DiscSource("1 mm"), "angular_radius must be convertible to rad"),
        (lambda: DiscSource(1e-3, 0), "points must be at least 1, got 0"),
        (lambda: Spectrum((), ()), "one weight a wavelength, got 0 for 0 wavelengths"),
        (lambda: Spectrum((5e-7,), (1, 2)), "one weight a wavelength, got 2 for 1 wavelengths"),
        (lambda: Spectrum((5e-7, math.inf), (1, 1)), "wavelengths must be positive"),
        (lambda: Spectrum((5e-7, 6e-7), (1, -1)), "weights must not be negative, nor all 0"),
        (lambda: Spectrum((5e-7,), (math.nan,)), "weights must not be negative, nor all 0"),
        (lambda: Spectrum.gaussian(600e-9, 600e-9), "wavelengths must be positive"),
    ],
)
def test_light_that_cannot_be_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_light_that_samples_cannot_carry_is_refused_at_its_shortest_wavelength():
    spectrum = Spectrum((300e-9, 532e-9), (1, 1))
    numbers = {"slm_shape": (180, 36)}  # 2.88 mm of 3.3 mm at 532 nm, of 1.9 mm at 300 nm
    with pytest.raises(ValueError, match="width of the SLM's used area must be at most"):
        FourierLensRoute(lit_bench(spectrum=spectrum, camera_pitch=16e-6, **numbers))
