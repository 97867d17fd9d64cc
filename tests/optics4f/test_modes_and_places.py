"""Light that is more than one mode, and elements beside their place: closed forms and the routes' agreement."""

import math

import numpy as np
import pytest
import torch
from scipy.special import j1

from optics4f.elements import SLM, Camera, Illumination, Lens, Pupil
from optics4f.field import Field, Intensity
from optics4f.fourf import FourF
from optics4f.fourier import rotated
from optics4f.grid import Grid
from optics4f.light import DiscSource, PointSource, SelfLuminous, Spectrum, modes
from optics4f.misalignment import Misalignment
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from optics4f.sampling import SamplingError
from tests.optics4f.benches import WAVELENGTH, random_images, relative, smooth_masks

F1, F2 = 0.1, 0.15
IMAGES = random_images(2, (5, 7))


def bench(pitch: float = 16e-6, *, source=PointSource(), spectrum=None, lens1=None, **parts) -> FourF:  # noqa: B008
    """Object, SLM and camera of one size whatever the pitch; 8 um samples them twice as finely."""
    fine = round(16e-6 / pitch)
    illumination = Illumination(
        (5, 7), pitch, WAVELENGTH, pixels_per_logical=2 * fine, source=source, spectrum=spectrum, dtype=torch.complex128
    )
    shape = (48 * fine, 36 * fine)
    slm = SLM(Grid(shape, pitch), masks=2, bit_depth=None, fill_factor=0.9, dtype=torch.float64)
    slm.set_values(smooth_masks(2, shape))
    return FourF(illumination, Lens(F1) if lens1 is None else lens1, slm, Lens(F2), Camera((6, 9), 48e-6), **parts)


def seen(route) -> torch.Tensor:
    with torch.no_grad():
        return route(IMAGES).intensity


DISPLACED = {
    "slm shift": {"slm_position": Misalignment(shift=(37e-6, -55e-6))},
    "camera shift": {"camera_position": Misalignment(shift=(30e-6, -22e-6))},
    "slm axial": {"slm_position": Misalignment(axial="5 mm")},
    "camera axial": {"camera_position": Misalignment(axial="5 mm")},
    "slm rotation": {"slm_position": Misalignment(rotation=0.1)},
    "camera rotation": {"camera_position": Misalignment(rotation=0.1)},
    "slm tilt": {"slm_position": Misalignment(tilt=(2e-4, -3e-4))},
    "pupil": {"pupil": Pupil("0.5 mm", aberrations={4: 0.5, 7: 0.3, 8: -0.4})},
    "all": {
        "slm_position": Misalignment(rotation=0.05, shift=(3e-5, -5e-5), axial=2e-3, tilt=(1e-4, 0)),
        "camera_position": Misalignment(rotation=-0.08, shift=(2e-5, 1e-5), axial=-3e-3),
    },
}


@pytest.mark.parametrize("name", DISPLACED)
def test_every_displacement_looks_alike_by_collins_integral_and_by_propagation(name):
    # 0.9e-2 at most at 16 um, 2.2e-3 at 8 um (measured): what is left is the window of the propagation.
    parts = DISPLACED[name]
    wanted = seen(FourierLensRoute(bench(**parts)))
    assert relative(seen(AngularSpectrumRoute(bench(**parts), window=(200, 200))), wanted) < 1e-2
    # And it matters: without it the image is another, except where the SLM alone leaves its plane by 5 mm.
    assert relative(wanted, seen(FourierLensRoute(bench()))) > (5e-3 if name == "slm axial" else 2e-2)


@pytest.mark.parametrize("name", ["slm shift", "camera shift", "camera axial", "slm tilt", "pupil"])
def test_what_stays_isoplanatic_is_the_same_convolution(name):
    parts = DISPLACED[name]
    assert relative(seen(PSFRoute(bench(**parts))), seen(FourierLensRoute(bench(**parts)))) < 1e-12


@pytest.mark.parametrize(("name", "words"), [("slm axial", "axial must be 0"), ("slm rotation", "no rotation")])
def test_what_is_not_is_refused_by_the_psf_route(name, words):
    with pytest.raises(SamplingError, match=words):
        PSFRoute(bench(**DISPLACED[name]))


LIGHTS = {
    "three lines": {"spectrum": Spectrum((520e-9, 532e-9, 545e-9), (1, 2, 1))},
    "disc": {"source": DiscSource(2e-3, 7)},
    "self-luminous": {"source": SelfLuminous()},
}


@pytest.mark.parametrize("name", LIGHTS)
def test_the_psf_route_sums_modes_as_the_fourier_lens_route(name):
    wanted = FourierLensRoute(bench(**LIGHTS[name]))(IMAGES)
    assert isinstance(wanted, Intensity)
    assert isinstance(FourierLensRoute(bench())(IMAGES), Field)
    assert relative(seen(PSFRoute(bench(**LIGHTS[name]))), wanted.intensity.detach()) < 1e-12


@pytest.mark.parametrize("name", ["three lines", "disc"])
def test_propagation_sums_modes_as_the_fourier_lens_route(name):
    wanted = seen(FourierLensRoute(bench(**LIGHTS[name])))
    assert relative(seen(AngularSpectrumRoute(bench(**LIGHTS[name]), window=(196, 196))), wanted) < 1e-2


def test_polychromatic_light_is_the_sum_of_benches_whose_phase_follows_the_wavelength():
    spectrum = Spectrum((520e-9, 545e-9), (1, 3))
    polychromatic = bench(spectrum=spectrum)
    total = 0
    for wavelength, weight in ((520e-9, 0.25), (545e-9, 0.75)):
        one = bench(spectrum=Spectrum.line(wavelength))
        one.illumination = Illumination((5, 7), 16e-6, wavelength, pixels_per_logical=2, dtype=torch.complex128)
        wrapped = torch.remainder(polychromatic.slm.values.detach(), 2 * math.pi)
        one.slm.set_values(wrapped * WAVELENGTH / wavelength)
        total = total + weight * seen(FourierLensRoute(one))
    assert relative(seen(FourierLensRoute(polychromatic)), total) < 1e-12


def test_a_disc_is_coherent_over_the_distance_of_van_cittert_and_zernike():
    radius, source = 3e-3, DiscSource(3e-3, 200)
    waves = np.array([mode.frequency for mode in modes(Spectrum.line(WAVELENGTH), source)])
    for distance in np.linspace(5e-6, 150e-6, 12):
        for direction in ((0, 1), (0.6, 0.8)):
            coherence = np.exp(2j * math.pi * distance * waves @ direction).mean()
            v = 2 * math.pi * math.sin(radius) / WAVELENGTH * distance
            assert abs(coherence - 2 * j1(v) / v) < 2e-2


def test_a_small_disc_is_a_point_and_a_large_one_makes_the_object_radiate():
    coherent = seen(FourierLensRoute(bench()))
    assert relative(seen(PSFRoute(bench(source=DiscSource(1e-6, 5)))), coherent) < 1e-3
    # Frequencies over almost the whole band of the samples, 1/(2 p) = 31 250 cycles/m, less the 2 300 of the pupil.
    pupil = Pupil("0.25 mm")
    wide = seen(PSFRoute(bench(pupil=pupil, source=DiscSource(math.asin(28_500 * WAVELENGTH), 1500))))
    wanted = seen(PSFRoute(bench(pupil=pupil, source=SelfLuminous())))
    assert relative(wide / wide.mean(), wanted / wanted.mean()) < 3e-2  # 1500 points fill the disc unevenly
    assert relative(wide / wide.mean(), coherent / coherent.mean()) > 0.1


def test_gradients_through_modes_computed_twice_are_those_of_the_plain_sum():
    light = {"source": DiscSource(2e-3, 3), "spectrum": Spectrum((525e-9, 540e-9), (1, 1))}
    first = bench(**light)
    PSFRoute(first)(IMAGES).intensity.square().sum().backward()
    second = bench(**light)
    route = PSFRoute(second)
    plain = sum(
        mode.weight * route.mode_field(IMAGES, mode, route.mask_factors(mode.wavelength)).intensity
        for mode in second.illumination.modes()
    )
    plain.square().sum().backward()
    torch.testing.assert_close(first.slm.values.grad, second.slm.values.grad, rtol=1e-10, atol=1e-18)


def test_the_axes_turn_from_x_towards_y():
    y, x = (position / 1e-6 for position in Grid((60, 64), 1e-6).coordinates())
    angle = torch.tensor(0.3, dtype=torch.float64)
    actual = rotated(torch.exp(-(x**2) / 72 - y**2 / 18).to(torch.complex128), angle)
    cosine, sine = math.cos(0.3), math.sin(0.3)
    wanted = torch.exp(-((x * cosine - y * sine) ** 2) / 72 - (x * sine + y * cosine) ** 2 / 18)
    assert (actual - wanted).abs().max() < 1e-5  # what the Gaussian still is at the border


def centroid(intensity: torch.Tensor, grid: Grid) -> tuple[float, float]:
    y, x = grid.coordinates()
    return tuple(((intensity * p).sum() / intensity.sum()).item() for p in (y, x))


def point_image(**parts) -> tuple[float, float]:
    """Centroid of the image of the middle object pixel through a flat mask and a soft, small pupil."""
    system = bench(**parts)
    system.slm.set_values(torch.zeros_like(system.slm.values))
    images = torch.zeros(1, 1, 5, 7)
    images[..., 2, 3] = 1
    with torch.no_grad():
        return centroid(FourierLensRoute(system)(images).intensity[0, 0], system.image)


@pytest.mark.parametrize(
    ("parts", "moved"),
    [
        ({"camera_position": Misalignment(shift=(24e-6, -48e-6))}, (-24e-6, 48e-6)),  # the picture goes the other way
        ({"slm_position": Misalignment(tilt=(1e-4, -2e-4))}, (2 * F2 * 1e-4, -2 * F2 * 2e-4)),
        ({"pupil": Pupil("0.7 mm", aberrations={2: 0.5})}, (0, 2 * 0.5 / 0.35e-3 * WAVELENGTH * F2 / (2 * math.pi))),
        ({"pupil": Pupil("0.7 mm", aberrations={3: 0.5})}, (2 * 0.5 / 0.35e-3 * WAVELENGTH * F2 / (2 * math.pi), 0)),
    ],
    ids=["camera shift", "tilt", "tip in x", "tip in y"],
)
def test_a_point_moves_by_the_closed_form(parts, moved):
    reference = {"pupil": Pupil("0.7 mm")} if "pupil" in parts else {}
    before, after = point_image(**reference), point_image(**parts)
    # The window cuts the wings of the point's image, differently on both sides: a tenth of the way.
    for actual, wanted in zip(np.subtract(after, before), moved, strict=True):
        assert actual == pytest.approx(wanted, abs=0.15 * max(map(abs, moved)))


def test_small_aberrations_lower_the_peak_as_marechal_says():
    peak = {}
    for sigma in (0.0, 0.3):
        system = bench(pupil=Pupil("0.5 mm", aberrations={4: sigma * 0.6, 7: sigma * 0.8}))
        system.slm.set_values(torch.zeros_like(system.slm.values))
        system.slm.fill_factor = 1.0
        psf = PSFRoute(system).point_spread_functions()[0].detach().abs().square()
        peak[sigma] = psf.max().item()
    # exp(-sigma^2) to fourth order in sigma; coma moves the peak by less than a sample.
    assert peak[0.3] / peak[0.0] == pytest.approx(math.exp(-(0.3**2)), abs=2e-2)


@pytest.mark.parametrize("part", ["shift", "rotation", "tilt", "axial"])
def test_gradients_reach_the_place_of_the_slm(part):
    start = {"shift": (9e-6, -7e-6), "rotation": 0.03, "tilt": (1e-4, -1e-4), "axial": 1e-3}[part]
    scale = {"shift": 1e-6, "rotation": 1e-3, "tilt": 1e-5, "axial": 1e-4}[part]
    position = Misalignment(**{part: start}, trainable=(part,))
    route = FourierLensRoute(bench(slm_position=position))
    value = getattr(position, part).detach().clone()

    def frame(step: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(
            route, {f"bench.slm_position.{part}": value + scale * step}, (IMAGES[:1],)
        ).intensity[0, :1, 5:8, 9:12]

    step = torch.zeros_like(value, requires_grad=True)
    assert torch.autograd.gradcheck(frame, (step,), eps=1e-4, atol=1e-7, rtol=1e-3)


def test_a_twin_finds_where_the_slm_and_the_camera_stand():
    hidden = bench(slm_position=Misalignment(shift=(2e-5, -1e-5)), camera_position=Misalignment(axial=3e-3))
    measured = seen(FourierLensRoute(hidden))
    slm, camera = Misalignment(trainable=("shift",)), Misalignment(trainable=("axial",))
    route = FourierLensRoute(bench(slm_position=slm, camera_position=camera))
    route.bench.slm.values.requires_grad_(False)
    # In units of what one expects to find: LBFGS wants parameters of one size.
    steps = [torch.zeros(2, dtype=torch.float64, requires_grad=True), torch.zeros((), dtype=torch.float64)]
    steps[1].requires_grad_()
    optimizer = torch.optim.LBFGS(steps, lr=0.5, max_iter=60, line_search_fn="strong_wolfe", tolerance_grad=1e-14)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        places = {"bench.slm_position.shift": steps[0] * 1e-5, "bench.camera_position.axial": steps[1] * 1e-3}
        error = (torch.func.functional_call(route, places, (IMAGES,)).intensity - measured).square().sum()
        error = error / measured.square().sum()
        error.backward()
        return error

    optimizer.step(loss)
    torch.testing.assert_close(steps[0].detach(), torch.tensor([2.0, -1.0], dtype=torch.float64), atol=1e-2, rtol=0)
    torch.testing.assert_close(steps[1].detach(), torch.tensor(3.0, dtype=torch.float64), atol=2e-2, rtol=0)


def test_a_lens_that_cuts_or_bends_the_light_is_for_the_angular_spectrum_route():
    small = {"lens1": Lens(F1, pupil=Pupil("0.5 mm"))}
    bent = {"lens1": Lens(F1, pupil=Pupil("5 mm", aberrations={8: 0.5}))}
    for route in (FourierLensRoute, PSFRoute):
        with pytest.raises(SamplingError, match=r"light at lens 1 must be at most 500 um.*angular-spectrum route"):
            route(bench(**small))
        with pytest.raises(SamplingError, match="lens1 must have no aberrations of its own"):
            route(bench(**bent))
    plain = seen(AngularSpectrumRoute(bench(), window=(200, 200)))
    for parts in (small, bent):
        assert relative(seen(AngularSpectrumRoute(bench(**parts), window=(200, 200))), plain) > 1e-2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Misalignment(trainable=("focus",)), "trainable must name parts of"),
        (lambda: Misalignment(shift=("1 kg", 0)), "shift must be convertible to m"),
        (lambda: Misalignment(axial=math.nan), "axial must be finite"),
        (lambda: bench(camera_position=Misalignment(tilt=(0.1, 0))), "camera_position must have no tilt"),
        (lambda: Pupil(0), "diameter must be positive"),
        (lambda: Pupil(1e-3, index="born"), "index must be one of noll, osa"),
        (lambda: Pupil(1e-3, aberrations={0: 1.0}), "at least 1"),
        (lambda: DiscSource(2.0), r"angular_radius must be in \[0, pi/2\)"),
        (lambda: Spectrum((5e-7,), (1, 2)), "one weight a wavelength"),
        (lambda: Spectrum((5e-7, -1.0), (1, 1)), "wavelengths must be positive"),
        (lambda: Spectrum((5e-7,), (0,)), "weights must not be negative, nor all 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_places_stay_in_double_precision_and_are_kept_only_where_there_are_any():
    displaced = bench(slm_position=Misalignment(shift=(1e-6, 0)))
    assert displaced.float().slm_position.shift.dtype == torch.float64
    assert list(FourierLensRoute(bench()).state_dict()) == ["bench.slm.values"]
