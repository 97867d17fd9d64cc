"""Three ways through one 4f, each the oracle of the others, and closed forms for all."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from optics4f.config import load_bench
from optics4f.elements.camera import Sensor
from optics4f.field import Field
from optics4f.light import SelfLuminous, Spectrum
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from optics4f.sampling import SamplingError
from tests.optics4f.benches import TINY, random_images, relative, small_bench, smooth_masks
from tests.references import encircled_sinc, fourier_lens_by_sum, rectangle_focus

ROUTES = [AngularSpectrumRoute, FourierLensRoute, PSFRoute]
DEMO = Path(__file__).parents[2] / "experiments/configs/demo.toml"


def digits() -> torch.Tensor:
    """Two real handwritten digits on 32 x 32 pixels, in [0, 1]."""
    images = pytest.importorskip("sklearn.datasets").load_digits().images[[2, 4]]
    return torch.nn.functional.interpolate(torch.from_numpy(images[:, None] / 16), size=(32, 32), mode="bilinear")


def tiny_bench(**options):
    """So coarse that a window of 12 x 10 samples holds it: gradcheck goes through every route in a second."""
    return small_bench(**{**TINY, **options})


# --- the routes against each other ---


@pytest.mark.parametrize("encoding", ["amplitude", "phase"])
@pytest.mark.parametrize("pixels_per_logical", [1, 2, 3])
def test_psf_and_fourier_lens_are_the_same_optics(encoding, pixels_per_logical):
    bench = small_bench(
        encoding=encoding,
        pixels_per_logical=pixels_per_logical,
        camera_pitch=24e-6 * pixels_per_logical,
        samples_per_pixel=2,
        masks=3,
    )
    bench.slm.set_values(smooth_masks(3, (48, 36)))
    images = random_images(2, (5, 7))
    with torch.no_grad():
        psf, lens = PSFRoute(bench)(images).data, FourierLensRoute(bench)(images).data
    assert psf.shape == (2, 3, *bench.image.shape)
    assert relative(psf, lens) < 1e-10  # one sum in another order


def test_the_psf_route_holds_for_any_whole_stride():
    for stride in (1, 2, 5):
        bench = small_bench(camera_pitch=48e-6 / stride, samples_per_camera_pixel=1, camera_shape=(8, 11))
        bench.slm.set_values(smooth_masks(2, (48, 36)))
        images = random_images(1, (5, 7))
        route = PSFRoute(bench)
        assert route.stride == stride
        assert relative(route(images).data, FourierLensRoute(bench)(images).data) < 1e-10


@pytest.mark.parametrize(("window", "limit"), [(None, 1e-2), ((512, 512), 1e-3)])
def test_propagating_every_millimetre_of_the_demo_gives_the_same_picture(window, limit):
    # What remains is the band that the window cuts off: it falls as the window grows.
    bench = load_bench(DEMO).model_copy(update={"route": "angular_spectrum"}).build(dtype=torch.complex128)
    bench.slm.bit_depth = None
    bench.slm.set_values(smooth_masks(bench.slm.masks, bench.slm.grid.shape))
    with torch.no_grad():
        wanted = FourierLensRoute(bench)(digits()).intensity
        actual = AngularSpectrumRoute(bench, window=window)(digits()).intensity
    assert relative(actual, wanted) < limit


def test_propagating_every_millimetre_agrees_for_unequal_lenses_and_non_square_planes():
    bench = small_bench()
    bench.slm.set_values(smooth_masks(2, (48, 36)))
    images = random_images(2, (5, 7))
    with torch.no_grad():
        wanted = FourierLensRoute(bench)(images).data
        actual = AngularSpectrumRoute(bench, window=(190, 204))(images).data
    # The complex field, its constant phase included: both leave out the carrier and nothing else.
    assert relative(actual, wanted) < 1e-2


@pytest.mark.parametrize("route", ROUTES)
def test_single_precision_follows_double_precision(route):
    fields = []
    for dtype in (torch.complex64, torch.complex128):
        bench = small_bench(dtype=dtype)
        bench.slm.set_values(smooth_masks(2, (48, 36)))
        light = route(bench)(random_images(2, (5, 7)))
        assert light.data.dtype == dtype
        fields.append(light.data.detach().to(torch.complex128))
    assert relative(*fields) < 3e-6  # a few hundred single-precision products a sample


# --- the routes against closed forms ---


def test_the_field_on_the_slm_is_the_fourier_sum_with_the_phase_of_a_lens():
    # 1 / i of the Fourier integral too: the second lens squares it, so that the image alone cannot tell its sign.
    bench = small_bench(object_shape=(2, 3), slm_shape=(7, 6))
    field = bench.object_field(random_images(1, (2, 3)))
    samples, mask = (
        tuple(axis.flatten().numpy() for axis in grid.coordinates())
        for grid in (bench.illumination.grid, bench.slm.samples)
    )
    wanted = fourier_lens_by_sum(field.data[0, 0].numpy(), samples, mask, 532e-9 * 0.1)
    actual = FourierLensRoute(bench).fourier_field(field).data[0, 0].numpy()
    np.testing.assert_allclose(actual, wanted, atol=1e-12 * abs(wanted).max())


@pytest.mark.parametrize("route", [FourierLensRoute, PSFRoute])
def test_the_image_is_the_double_fourier_sum(route):
    bench = small_bench(object_shape=(2, 3), slm_shape=(7, 6), camera_shape=(3, 4), masks=1, fill_factor=0.8)
    phase = smooth_masks(1, (7, 6))
    bench.slm.set_values(phase)
    image = random_images(1, (2, 3))
    samples, mask, out = (
        tuple(axis.flatten().numpy() for axis in grid.coordinates())
        for grid in (bench.illumination.grid, bench.slm.samples, bench.image)
    )
    light = np.kron(image[0, 0].numpy(), np.ones((2, 2)))
    at_slm = fourier_lens_by_sum(light, samples, mask, 532e-9 * 0.1)
    behind = at_slm * (0.8 * np.exp(1j * phase[0].numpy()) + 0.2)
    wanted = fourier_lens_by_sum(behind, mask, out, 532e-9 * 0.15)
    np.testing.assert_allclose(route(bench)(image).data[0, 0].detach().numpy(), wanted, atol=1e-12 * abs(wanted).max())


@pytest.mark.parametrize("route", [FourierLensRoute, PSFRoute])
def test_a_flat_mask_images_a_point_as_the_sinc_of_its_aperture(route):
    # Used area 0.4 mm x 0.8 mm, f2 160 mm, 500 nm: first zeros at 200 um along y and 100 um along x.
    bench = small_bench(
        wavelength=500e-9,
        f1=0.08,
        f2=0.16,
        object_shape=(3, 3),
        object_pitch=10e-6,
        pixels_per_logical=1,
        slm_shape=(50, 100),
        slm_pitch=8e-6,
        samples_per_pixel=4,
        masks=1,
        fill_factor=1.0,
        camera_shape=(31, 27),
        camera_pitch=20e-6,
    )
    point = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    point[..., 1, 1] = 1
    actual = route(bench)(point).intensity[0, 0].detach().numpy()
    y, x = (axis.flatten().numpy() for axis in bench.image.coordinates())
    amplitude = np.outer(rectangle_focus(y, 0.4e-3, 8e-8), rectangle_focus(x, 0.8e-3, 8e-8))
    wanted = (amplitude * (10e-6) ** 2 / (500e-9 * 0.08)) ** 2
    # Samples of 2 um for the integral over the aperture: (pi 2um x / lambda f)^2 / 6 = 1e-4 at the rim.
    np.testing.assert_allclose(actual, wanted, atol=2e-4 * wanted.max())
    middle = (len(y) // 2, len(x) // 2)
    assert actual[middle] == pytest.approx(wanted.max(), rel=1e-9)
    assert actual[middle[0] + 20, middle[1]] < 1e-9 * actual[middle]
    assert actual[middle[0], middle[1] - 10] < 1e-9 * actual[middle]
    assert actual[middle[0] + 10, middle[1]] > 0.3 * actual[middle]  # the other axis is not dark there


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("point", [(0, 2), (4, 6), (1, 3)])
def test_an_object_point_lands_at_minus_f2_over_f1_times_its_place(route, point):
    bench = small_bench(masks=1, camera_shape=(9, 13))
    image = torch.zeros(1, 1, 5, 7, dtype=torch.float64)
    image[..., point[0], point[1]] = 1
    light = route(bench)(image).intensity[0, 0].detach()
    y0, x0 = (positions[i].item() for positions, i in zip(bench.illumination.logical_positions(), point, strict=True))
    y, x = bench.image.coordinates()
    wanted = (-1.5 * y0, -1.5 * x0)
    peak = np.unravel_index(light.argmax().item(), light.shape)
    # The imaged centre lies between two samples (even blocks): the peak is one of the nearest.
    assert abs(y[peak[0], 0].item() - wanted[0]) <= 0.51 * bench.image.pitch
    assert abs(x[0, peak[1]].item() - wanted[1]) <= 0.51 * bench.image.pitch


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("turns", [(0, 1), (0, -2), (1, 0), (-1, 2)])
def test_a_ramp_on_the_mask_moves_the_image_by_wavelength_f2_over_its_period(route, turns):
    # A ramp of +phase along +x sends the light towards +x, whatever the object: the inversion lies before it.
    bench = small_bench(masks=1, fill_factor=1.0, camera_shape=(13, 15))
    y, x = bench.slm.grid.coordinates()
    shift = 48e-6  # at the camera: two samples
    period = 532e-9 * 0.15 / shift
    image = torch.zeros(1, 1, 5, 7, dtype=torch.float64)
    image[0, 0, 1:3, 2:5] = torch.tensor([[1.0, 0.2, 0.5], [0.1, 0.9, 0.3]])
    straight = route(bench)(image).intensity.detach()
    bench.slm.set_values((2 * math.pi * (turns[0] * y + turns[1] * x) / period)[None])
    moved = route(bench)(image).intensity.detach()
    inner = (slice(None), slice(None), slice(6, -6), slice(6, -6))
    wanted = torch.roll(straight, (2 * turns[0], 2 * turns[1]), (-2, -1))
    # Exact in the ideal 4f; each wave from the object is cut by the SLM a little differently in free space.
    assert relative(moved[inner], wanted[inner]) < (2e-2 if route is AngularSpectrumRoute else 1e-12)


def test_a_blaze_of_four_levels_sends_its_share_into_the_first_order():
    bench = small_bench(
        wavelength=500e-9,
        f2=0.16,
        masks=1,
        fill_factor=1.0,
        slm_shape=(40, 40),
        samples_per_pixel=8,
        bit_depth=2,
        object_shape=(1, 1),
        pixels_per_logical=1,
        camera_shape=(1, 61),
        camera_pitch=50e-6,
    )
    image = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    straight = FourierLensRoute(bench)(image).intensity.detach()[0, 0]
    bench.slm.load_levels((torch.arange(40) % 4).expand(1, 40, 40))
    moved = FourierLensRoute(bench)(image).intensity.detach()[0, 0]
    middle = tuple(n // 2 for n in bench.image.shape)
    column = middle[1] + round(500e-9 * 0.16 / (4 * 16e-6) / 25e-6)  # first order of a period of four pixels: 1.25 mm
    # The used area holds whole periods, so straight-on is dark. Eight samples for a pixel overrate the order by 0.32 %.
    assert (moved[middle[0], column] / straight[middle]).item() == pytest.approx(0.81057, rel=4e-3)
    assert moved[middle] < 1e-9 * straight[middle]


# --- invariants ---


@pytest.mark.parametrize("route", ROUTES)
def test_light_superposes(route):
    bench = small_bench()
    bench.slm.set_values(smooth_masks(2, (48, 36)))
    through = route(bench)
    first, second = random_images(1, (5, 7)), random_images(1, (5, 7), seed=2)
    with torch.no_grad():
        together = through(0.3 * first + 0.6 * second).data
        apart = 0.3 * through(first).data + 0.6 * through(second).data
    assert relative(together, apart) < 1e-12


def test_all_light_arrives_where_every_plane_holds_one_period_of_the_other():
    # lambda f = 81 p^2: each stage is then a unitary transform of 81 x 81 samples.
    pitch = 10e-6
    bench = small_bench(
        wavelength=500e-9,
        f1=81 * pitch**2 / 500e-9,
        f2=81 * pitch**2 / 500e-9,
        object_shape=(9, 13),
        object_pitch=pitch,
        pixels_per_logical=1,
        slm_shape=(81, 81),
        slm_pitch=pitch,
        fill_factor=1.0,
        camera_shape=(81, 81),
        camera_pitch=pitch,
        samples_per_camera_pixel=1,
    )
    bench.slm.set_values(smooth_masks(2, (81, 81)))
    images = random_images(2, (9, 13))
    emitted = bench.object_field(images).power
    route = FourierLensRoute(bench, override=("pitch of the image samples",))  # intensity is only summed here
    torch.testing.assert_close(route.fourier_field(bench.object_field(images)).power, emitted, rtol=1e-9, atol=0)
    torch.testing.assert_close(route(images).power, emitted.expand(2, 2), rtol=1e-9, atol=0)


def test_the_psf_window_holds_the_share_of_the_sinc_that_falls_in_it():
    bench = small_bench(
        pixels_per_logical=1, object_pitch=32e-6, masks=1, fill_factor=1.0, samples_per_pixel=2, camera_shape=(11, 7)
    )
    route = PSFRoute(bench)
    shares = []
    for axis, width in ((0, 48 * 16e-6), (1, 36 * 16e-6)):
        centre = (bench.image.shape[axis] // 2) * bench.image.pitch
        positions = bench.illumination.logical_positions()[axis] * 1.5
        low = -centre + positions[0].item() - bench.image.pitch / 2
        high = low + route.window[axis] * bench.image.pitch
        shares.append(encircled_sinc(low * width / (532e-9 * 0.15), high * width / (532e-9 * 0.15)))
    efficiency = route.window_efficiency().item()
    # Samples of a quarter of the fringe for the integral over the tails.
    assert efficiency == pytest.approx(shares[0] * shares[1], rel=2e-3)
    assert efficiency < 0.95


@pytest.mark.parametrize(
    "changes", [{}, {"camera_shape": (4, 5)}, {"camera_pitch": 24e-6, "samples_per_camera_pixel": 1}]
)
def test_the_camera_holds_the_mean_share_of_pixels_lit_one_by_one(changes):
    """By a route that knows no PSF: light on the camera, of the light behind the mask, pixel by pixel."""
    bench = small_bench(fill_factor=1.0, **changes)
    bench.slm.set_values(smooth_masks(2, (48, 36)))
    one_by_one = torch.eye(35, dtype=torch.float64).view(35, 1, 5, 7)
    route = FourierLensRoute(bench)
    with torch.no_grad():
        passed = route.fourier_field(bench.object_field(one_by_one)).power  # masks of phases take nothing away
        landed = bench.camera.integrated(route(one_by_one)).sum((-2, -1)) * bench.camera.grid.pitch**2
    shares = PSFRoute(bench).camera_efficiency()
    torch.testing.assert_close(shares, (landed / passed.view(35, 1)).mean(0), rtol=1e-9, atol=0)
    assert (shares < PSFRoute(bench).window_efficiency()).all()


def test_the_share_of_several_wavelengths_is_their_mean_by_weight():
    wanted, lines = 0.0, {532e-9: 0.25, 480e-9: 0.75}
    one_by_one = torch.eye(35, dtype=torch.float64).view(35, 1, 5, 7)
    whole = small_bench(fill_factor=1.0)
    for wavelength, weight in lines.items():
        bench, designed = small_bench(fill_factor=1.0), small_bench(fill_factor=1.0, wavelength=wavelength)
        bench.slm.set_values(smooth_masks(2, (48, 36)))
        bench.illumination.spectrum = Spectrum.line(wavelength)
        with torch.no_grad():  # masks of phases take nothing away, whatever light they are made for
            passed = FourierLensRoute(designed).fourier_field(designed.object_field(one_by_one)).power
            landed = bench.camera.integrated(FourierLensRoute(bench)(one_by_one)).sum((-2, -1))
        wanted = wanted + weight * (landed * bench.camera.grid.pitch**2 / passed).mean(0)
    whole.slm.set_values(smooth_masks(2, (48, 36)))
    whole.illumination.spectrum = Spectrum(tuple(lines), tuple(lines.values()))
    torch.testing.assert_close(PSFRoute(whole).camera_efficiency(), wanted, rtol=1e-9, atol=0)


def test_a_self_luminous_pixel_sends_the_light_of_its_samples_lit_one_by_one():
    alone = small_bench(object_shape=(10, 14), pixels_per_logical=1, fill_factor=1.0)
    whole = small_bench(fill_factor=1.0)
    whole.illumination.source = SelfLuminous()
    for bench in (alone, whole):
        bench.slm.set_values(smooth_masks(2, (48, 36)))
    one_by_one = torch.eye(140, dtype=torch.float64).view(140, 1, 10, 14)
    route = FourierLensRoute(alone)
    with torch.no_grad():
        passed = route.fourier_field(alone.object_field(one_by_one)).power
        landed = alone.camera.integrated(route(one_by_one)).sum((-2, -1)) * alone.camera.grid.pitch**2
    torch.testing.assert_close(PSFRoute(whole).camera_efficiency(), landed.sum(0) / passed.sum(), rtol=1e-9, atol=0)


@pytest.mark.parametrize("route", ROUTES)
def test_a_stack_of_masks_is_the_masks_one_by_one(route):
    bench = small_bench(masks=3)
    masks = smooth_masks(3, (48, 36))
    bench.slm.set_values(masks)
    images = random_images(2, (5, 7))
    together = route(bench)(images).data.detach()
    for k in range(3):
        alone = small_bench(masks=1)
        alone.slm.set_values(masks[k : k + 1])
        assert relative(route(alone)(images).data[:, 0].detach(), together[:, k]) < 1e-13


@pytest.mark.parametrize("route", ROUTES)
def test_the_gradient_of_the_light_on_the_camera_is_right(route):
    bench = tiny_bench()
    through = route(bench)
    images = random_images(2, (2, 3)).requires_grad_()
    masks = (0.5 * smooth_masks(2, (4, 3))).requires_grad_()
    scale = through(images.detach()).intensity.max().item()

    def light(values, objects):
        return torch.func.functional_call(through, {"bench.slm.values": values}, (objects,)).intensity / scale

    assert torch.autograd.gradcheck(light, (masks, images))


@pytest.mark.parametrize("route", ROUTES)
def test_only_the_masks_are_saved(route):
    assert list(route(tiny_bench()).state_dict()) == ["bench.slm.values"]


@pytest.mark.parametrize("route", ROUTES)
def test_training_through_levels_and_noise_sends_the_light_where_it_should_go(route, generator):
    bench = small_bench(masks=1, bit_depth=8, slm_shape=(12, 9), slm_pitch=64e-6, object_pitch=64e-6, f1=0.2, f2=0.3,
                        pixels_per_logical=1, camera_pitch=96e-6, sensor=Sensor(10_000, 2.0, 12))  # fmt: skip
    bench.slm.set_values(smooth_masks(1, (12, 9)))
    through, image = route(bench), random_images(1, (5, 7))

    def brightness(noise: torch.Generator | None) -> torch.Tensor:
        return bench.detect(through(image), noise)[..., 2:4, 3:5].mean()

    before = brightness(None).item()
    optimizer = torch.optim.Adam([bench.slm.values], lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        (-brightness(generator)).backward()
        optimizer.step()
    assert brightness(None).item() > 1.5 * before


# --- refusals ---


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 7), (2, 3, 5, 7)])
def test_what_is_no_batch_of_images_is_refused(route, shape):
    with pytest.raises(ValueError, match=r"images must have shape \(batch, 1, height, width\), got"):
        route(small_bench())(torch.zeros(shape))


def test_a_logical_pixel_between_image_samples_is_refused_by_the_psf_route_only():
    bench = small_bench(camera_pitch=40e-6)
    with pytest.raises(SamplingError, match=r"whole number of image samples in the PSF route, got 2\.4 of 20 um"):
        PSFRoute(bench)
    assert torch.isfinite(FourierLensRoute(bench)(random_images(1, (5, 7))).intensity).all()


def test_the_psf_route_does_not_start_from_a_field():
    bench = small_bench()
    field = bench.object_field(random_images(1, (5, 7)))
    assert isinstance(field, Field)
    with pytest.raises(SamplingError, match="starts from logical pixels"):
        PSFRoute(bench).image_field(field)


def test_a_diverging_lens_images_nothing():
    with pytest.raises(ValueError, match=r"lens2 must have a positive focal length, got -0\.1 m"):
        small_bench(f2=-0.1)


def test_half_a_sample_a_pixel_is_refused():
    with pytest.raises(ValueError, match="samples_per_camera_pixel must be at least 1, got 0"):
        small_bench(samples_per_camera_pixel=0)
