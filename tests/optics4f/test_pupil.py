"""A stop and aberrations in the Fourier plane: cut-off, Airy pattern, Strehl ratio, tip."""

import math

import numpy as np
import pytest
import torch
from scipy.special import j1

from optics4f.elements import Pupil
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.light import Spectrum
from optics4f.misalignment import Misalignment
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from optics4f.zernike import nm_to_noll, nm_to_osa
from tests.optics4f.benches import WAVELENGTH, random_images, relative, small_bench, smooth_masks

F1, F2 = 0.1, 0.15


def stopped_bench(pupil: Pupil | None, **options) -> FourF:
    """The small bench with a flat, ideal SLM of one mask, 0.65 mm x 0.55 mm in samples of 5 um, and this pupil."""
    numbers = {"slm_shape": (130, 110), "slm_pitch": 5e-6, "masks": 1, "fill_factor": 1.0}
    bench = small_bench(**{**numbers, **options})
    bench.pupil = pupil
    return bench


def point_field(
    pupil: Pupil | None, *, axis: int = 1, pitch: float = 4e-6, samples: int = 151
) -> tuple[np.ndarray, ...]:
    """Field along one axis of the image of one sample of 4 um, and its positions."""
    shape = (samples, 5) if axis == 0 else (5, samples)
    bench = stopped_bench(
        pupil, object_shape=(1, 1), object_pitch=4e-6, pixels_per_logical=1, camera_shape=shape, camera_pitch=pitch,
        samples_per_camera_pixel=1,
    )  # fmt: skip
    with torch.no_grad():
        light = FourierLensRoute(bench)(torch.ones(1, 1, 1, 1)).data[0, 0]
    line = light[:, bench.image.shape[1] // 2] if axis == 0 else light[bench.image.shape[0] // 2]
    return line.numpy(), bench.image.coordinates()[axis].flatten().numpy()


# --- the stop ---


@pytest.mark.parametrize(("radius", "offset"), [(60e-6, (0.0, 0.0)), (51.3e-6, (0.3, -0.45)), (98.2e-6, (0.5, 0.5))])
def test_the_grey_rim_keeps_the_area_of_the_circle(radius, offset):
    y, x = Grid((52, 47), 5e-6).coordinates()
    passed = Pupil(2 * radius).transmission(y + offset[0] * 5e-6, x + offset[1] * 5e-6, 5e-6).real
    assert passed.sum().item() * 5e-6**2 == pytest.approx(math.pi * radius**2, rel=1e-3)
    assert passed.min() == 0
    assert passed.max() == 1
    assert ((passed > 0) & (passed < 1)).any()


@pytest.mark.parametrize("axis", [0, 1])
def test_the_image_of_a_point_is_the_airy_pattern(axis):
    diameter = 0.5e-3
    field, position = point_field(Pupil(diameter), axis=axis)
    v = math.pi * diameter * position / (WAVELENGTH * F2)
    airy = np.where(v == 0, 1.0, 2 * j1(v) / np.where(v == 0, 1, v))
    peak = math.pi * diameter**2 / 4 * (4e-6) ** 2 / (WAVELENGTH**2 * F1 * F2)
    # A hundred samples across the pupil, the rim in steps of 1/64: 1e-4 of the peak, 1 / i twice.
    np.testing.assert_allclose(field, -peak * airy, atol=1e-3 * peak)
    right = position > 0
    zero = np.flatnonzero(np.diff(np.sign(field.real[right])))[0]
    near, far = field.real[right][zero : zero + 2]
    first_dark = position[right][zero] + 4e-6 * near / (near - far)
    assert first_dark == pytest.approx(1.2196698913 * WAVELENGTH * F2 / diameter, rel=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("share", [0.65, 0.92, 1.08, 1.3])
@pytest.mark.parametrize(("radius", "cut_off"), [(0.5e-3, 9_398), (1e-3, 18_797)])
def test_the_coherent_cut_off_lies_at_radius_over_wavelength_and_f1(axis, share, radius, cut_off):
    assert radius / (WAVELENGTH * F1) == pytest.approx(cut_off, abs=1)
    frequency, scale = share * cut_off, radius / 0.5e-3
    shape, camera = ((300, 75), (49, 3)) if axis == 0 else ((75, 300), (3, 49))
    bench = small_bench(
        object_shape=shape, object_pitch=32e-6 / scale, pixels_per_logical=1,
        slm_shape=(round(212 * scale), round(208 * scale)), slm_pitch=5e-6, masks=1,
        fill_factor=1.0, camera_shape=camera, camera_pitch=12e-6 / scale, samples_per_camera_pixel=1,
    )  # fmt: skip
    bench.pupil = Pupil(2 * radius)
    waists = (1.5e-3, 0.37e-3) if axis == 0 else (0.37e-3, 1.5e-3)  # spectra of 1/(pi waist): 212 cycles/m along x
    waists = tuple(waist / scale for waist in waists)

    def envelope(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(-((y / waists[0]) ** 2) - (x / waists[1]) ** 2)

    y, x = bench.illumination.grid.coordinates()
    wave = torch.cos(2 * math.pi * frequency * (y, x)[axis])
    with torch.no_grad():
        light = FourierLensRoute(bench)((envelope(y, x) * (1 + 0.5 * wave) / 1.5)[None, None]).intensity[0, 0]
    y, x = (position / 1.5 for position in bench.image.coordinates())
    passed = 0.5 if share < 1 else 0.0
    wanted = (envelope(y, x) * (1 + passed * torch.cos(2 * math.pi * frequency * (y, x)[axis])) / 1.5 / 1.5) ** 2
    # What of the envelope's spectrum crosses the rim: 5e-3 in amplitude at 8 % from it.
    torch.testing.assert_close(light, wanted, rtol=0, atol=1e-2 * wanted.max().item())
    line = (light / envelope(y, x).square()).select(1 - axis, bench.image.shape[1 - axis] // 2)
    contrast = ((line.max() - line.min()) / (line.max() + line.min())).item()
    assert contrast == pytest.approx(0.8 if share < 1 else 0.0, abs=2e-2)


def test_the_stop_passes_what_its_area_receives():
    # A point lights the Fourier plane evenly: power follows the area. One period of the image holds all of it.
    powers = []
    for diameter in ("0.3 mm", "0.5 mm"):
        bench = small_bench(
            wavelength=500e-9, f1=0.1, f2=0.162, object_shape=(1, 1), object_pitch=4e-6, pixels_per_logical=1,
            slm_shape=(81, 73), slm_pitch=10e-6, fill_factor=1.0, masks=1, camera_shape=(81, 81), camera_pitch=100e-6,
            samples_per_camera_pixel=1,
        )  # fmt: skip
        bench.pupil = Pupil(diameter)
        route = FourierLensRoute(bench, override=("pitch of the image samples", "width of the camera's window"))
        powers.append(route(torch.ones(1, 1, 1, 1)).power.item())
    # Grey samples pass their covered share of amplitude, its square of power: 1 % less of a pupil of 30 samples.
    assert powers[0] / powers[1] == pytest.approx((0.3 / 0.5) ** 2, rel=2e-2)
    assert powers[1] == pytest.approx(math.pi / 4 * 0.5e-3**2 * (4e-6) ** 4 / (500e-9 * 0.1) ** 2, rel=2e-2)


def test_the_pupil_stays_on_the_axis_when_the_slm_moves():
    # The SLM is flat and larger than the pupil: where it stands makes no difference (8 samples of 5 um).
    images = random_images(1, (5, 7))
    straight = stopped_bench(Pupil("0.4 mm", aberrations={7: 0.4}))
    moved = stopped_bench(Pupil("0.4 mm", aberrations={7: 0.4}))
    moved.slm_position = Misalignment(shift=(40e-6, -20e-6))
    assert relative(FourierLensRoute(moved)(images).data, FourierLensRoute(straight)(images).data) < 1e-10


# --- aberrations ---


def strehl(aberrations: dict[int, float]) -> float:
    fields = [point_field(Pupil("0.5 mm", aberrations=terms), samples=3)[0][1] for terms in (aberrations, {})]
    return abs(fields[0] / fields[1]) ** 2


@pytest.mark.parametrize("noll", [4, 7, 11])
@pytest.mark.parametrize("sigma", [0.1, -0.2, 0.3])
def test_small_aberrations_lower_the_peak_as_marechal_says(noll, sigma):
    # To order sigma^4 on the axis (0.1 to 0.4 of it), and sigma^3 skewness where the phase has one (Noll 11).
    assert strehl({noll: sigma}) == pytest.approx(math.exp(-(sigma**2)), abs=0.5 * sigma**4 + 3e-4)


@pytest.mark.parametrize("sigma", [0.5, 1.0, math.pi / math.sqrt(3)])
def test_defocus_lowers_the_peak_by_a_sinc_and_one_wave_of_it_makes_it_dark(sigma):
    # sqrt(3)(2 rho^2 - 1) is even in rho^2: sinc(sqrt(3) sigma / pi)^2, zero at W20 = 2 sqrt(3) sigma = 2 pi.
    assert strehl({4: sigma}) == pytest.approx(np.sinc(math.sqrt(3) * sigma / math.pi) ** 2, abs=2e-3)


def test_aberrations_add_up():
    y, x = Grid((52, 47), 5e-6).coordinates()
    terms = {4: 0.4, 5: -0.7, 11: 0.2}
    product = math.prod(Pupil("0.2 mm", aberrations={j: c}).transmission(y, x, 5e-6) for j, c in terms.items())
    together = Pupil("0.2 mm", aberrations=terms).transmission(y, x, 5e-6)
    inside = Pupil("0.2 mm").transmission(y, x, 5e-6).real == 1
    torch.testing.assert_close(together[inside], product[inside], rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("aberrations", "rho_y", "rho_x", "phase"),
    [
        ({2: 0.5}, 0.2, 0.6, 2 * 0.5 * 0.6),
        ({3: 0.5}, 0.2, 0.6, 2 * 0.5 * 0.2),
        ({4: 0.5}, 0.2, 0.6, math.sqrt(3) * 0.5 * (2 * 0.4 - 1)),
        ({7: 0.5}, 0.2, 0.6, math.sqrt(8) * 0.5 * (3 * 0.4 - 2) * 0.2),
        ({8: 0.5}, 0.2, 0.6, math.sqrt(8) * 0.5 * (3 * 0.4 - 2) * 0.6),
    ],
)
@pytest.mark.parametrize("ratio", [1.0, 1.25])
def test_the_phase_is_that_of_noll_in_units_of_the_radius_and_grows_for_shorter_waves(
    aberrations, rho_y, rho_x, phase, ratio
):
    y, x = torch.tensor([[rho_y * 1e-4]], dtype=torch.float64), torch.tensor([[rho_x * 1e-4]], dtype=torch.float64)
    factor = Pupil("0.2 mm", aberrations=aberrations).transmission(y, x, 1e-6, ratio).item()
    assert factor == pytest.approx(np.exp(1j * ratio * phase), abs=1e-12)


def test_both_numberings_name_the_same_polynomials():
    y, x = Grid((52, 47), 5e-6).coordinates()
    for n, m in ((1, 1), (2, -2), (3, 1), (4, 0)):
        noll, osa = (
            Pupil("0.2 mm", aberrations={number(n, m): 0.4}, index=index).transmission(y, x, 5e-6)
            for index, number in (("noll", nm_to_noll), ("osa", nm_to_osa))
        )
        assert torch.equal(noll, osa)


@pytest.mark.parametrize("route", [FourierLensRoute, PSFRoute])
@pytest.mark.parametrize(("noll", "samples"), [(2, (0, 2)), (2, (0, -1)), (3, (3, 0)), (3, (-1, 0))])
def test_tip_moves_the_image_by_the_closed_form(route, noll, samples):
    # Phase 2 a x / R along +x: the image moves towards +x by wavelength f2 2 a / (2 pi R), here whole samples of 24 um.
    radius, distance = 0.25e-3, 24e-6 * sum(samples)
    tip = math.pi * radius * distance / (WAVELENGTH * F2)
    image = torch.zeros(1, 1, 5, 7, dtype=torch.float64)
    image[0, 0, 1:3, 2:5] = torch.tensor([[1.0, 0.2, 0.5], [0.1, 0.9, 0.3]])
    with torch.no_grad():
        straight = route(stopped_bench(Pupil(2 * radius), camera_shape=(10, 13)))(image).intensity
        tipped = stopped_bench(Pupil(2 * radius, aberrations={noll: tip}), camera_shape=(10, 13))
        moved = route(tipped)(image).intensity
    inner = (..., slice(4, -4), slice(4, -4))
    assert relative(moved[inner], torch.roll(straight, samples, (-2, -1))[inner]) < 1e-10


def test_defocus_of_the_pupil_moves_the_focus_along_the_axis():
    # The phase 2 sqrt(3) a r^2 / R^2 makes the light diverge, so it focuses farther away: by z it has gained
    # -pi r^2 z / (wavelength f2^2) less than in the focal plane.
    radius, sigma = 0.25e-3, 0.8
    distance = 2 * math.sqrt(3) * sigma * WAVELENGTH * F2**2 / (math.pi * radius**2)
    images = random_images(1, (5, 7))
    with torch.no_grad():
        sharp = FourierLensRoute(stopped_bench(Pupil(2 * radius)))(images).intensity
        blurred = stopped_bench(Pupil(2 * radius, aberrations={4: sigma}))
        assert relative(FourierLensRoute(blurred)(images).intensity, sharp) > 0.1
        blurred.camera_position = Misalignment(axial=-distance)
        wrong = FourierLensRoute(blurred)(images).intensity
        blurred.camera_position = Misalignment(axial=distance)
        refocused = FourierLensRoute(blurred)(images).intensity
    # Telecentric: neither the pupil's defocus nor the displacement magnifies; both are the same factor in the pupil.
    assert relative(refocused, sharp) < 1e-9
    assert relative(wrong, sharp) > 0.1


@pytest.mark.parametrize("route", [FourierLensRoute, PSFRoute])
def test_aberrations_are_path_so_their_phase_follows_the_wavelength(route):
    images = random_images(1, (5, 7))
    with torch.no_grad():
        other = stopped_bench(Pupil("0.5 mm", aberrations={4: 0.6, 7: 0.4}))
        other.illumination.spectrum = Spectrum.line(475e-9)
        scaled = {4: 0.6 * WAVELENGTH / 475e-9, 7: 0.4 * WAVELENGTH / 475e-9}
        wanted = stopped_bench(Pupil("0.5 mm", aberrations=scaled), wavelength=475e-9)
        assert relative(route(other)(images).intensity, route(wanted)(images).intensity) < 1e-12


def test_three_routes_see_the_same_pupil():
    images = random_images(1, (5, 7))
    bench = small_bench()
    bench.slm.set_values(smooth_masks(2, (48, 36)))
    without = FourierLensRoute(bench)(images).intensity.detach()
    bench.pupil = Pupil("0.5 mm", aberrations={4: 0.5, 7: 0.3, 8: -0.4})
    with torch.no_grad():
        wanted = FourierLensRoute(bench)(images).intensity
        assert relative(PSFRoute(bench)(images).intensity, wanted) < 1e-12
        assert relative(AngularSpectrumRoute(bench, window=(196, 200))(images).intensity, wanted) < 1e-2
    assert relative(without, wanted) > 0.1


# --- gradients, refusals ---


@pytest.mark.parametrize("route", [AngularSpectrumRoute, FourierLensRoute, PSFRoute])
def test_the_gradient_in_the_coefficients_is_right(route):
    pupil = Pupil("0.35 mm", aberrations={2: 0.1, 4: 0.5, 8: -0.3}, trainable=True)
    bench = stopped_bench(
        pupil, object_shape=(2, 3), object_pitch=100e-6, pixels_per_logical=1, slm_shape=(4, 3), slm_pitch=100e-6,
        f1=0.2, f2=0.3, camera_shape=(3, 2), camera_pitch=150e-6, samples_per_camera_pixel=1,
    )  # fmt: skip
    through, images = route(bench), random_images(1, (2, 3))
    scale = through(images).intensity.max().item()

    def light(coefficients: torch.Tensor) -> torch.Tensor:
        lent = {"bench.pupil.aberrations": coefficients}
        return torch.func.functional_call(through, lent, (images,)).intensity / scale

    assert torch.autograd.gradcheck(light, (pupil.aberrations.detach().clone().requires_grad_(),))


def test_aberrations_are_found_from_a_noise_free_frame():
    images = random_images(2, (5, 7))
    wanted = {4: 0.4, 5: -0.2, 8: 0.3}
    with torch.no_grad():
        measured = FourierLensRoute(stopped_bench(Pupil("0.5 mm", aberrations=wanted)))(images).intensity
    pupil = Pupil("0.5 mm", aberrations=dict.fromkeys(wanted, 0.1), trainable=True)
    route = FourierLensRoute(stopped_bench(pupil))
    route.bench.slm.values.requires_grad_(False)
    optimizer = torch.optim.LBFGS(pupil.parameters(), max_iter=60, line_search_fn="strong_wolfe", tolerance_grad=1e-14)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        error = (route(images).intensity - measured).square().sum() / measured.square().sum()
        error.backward()
        return error

    optimizer.step(loss)
    torch.testing.assert_close(
        pupil.aberrations.detach(), torch.tensor(list(wanted.values()), dtype=torch.float64), rtol=0, atol=1e-4
    )


def test_constants_follow_coefficients_that_are_changed_by_hand():
    route, images = FourierLensRoute(stopped_bench(Pupil("0.5 mm", aberrations={4: 0.3}))), random_images(1, (5, 7))
    with torch.no_grad():
        route(images)
        route.bench.pupil.aberrations.fill_(0.9)
        wanted = FourierLensRoute(stopped_bench(Pupil("0.5 mm", aberrations={4: 0.9})))(images).data
        assert torch.equal(route(images).data, wanted)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pupil(0), "diameter must be positive, got 0 m"),
        (lambda: Pupil(-1e-3), "diameter must be positive, got -0.001 m"),
        (lambda: Pupil(math.inf), "diameter must be positive, got inf m"),
        (lambda: Pupil("1 kg"), "diameter must be convertible to m"),
        (lambda: Pupil(1e-3, index="fringe"), "index must be one of noll, osa, got 'fringe'"),
        (lambda: Pupil(1e-3, aberrations={4: math.nan}), "aberrations must be finite"),
        (lambda: Pupil(1e-3, aberrations={0: 1.0}), r"at least 1 \(Noll\), got 0"),
        (lambda: Pupil(1e-3, aberrations={-1: 1.0}, index="osa"), r"at least 0 \(OSA\), got -1"),
    ],
)
def test_a_pupil_that_cannot_be_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
