"""Intensity PSFs by autocorrelation, against direct sums and a route that knows no PSF."""

import math

import pytest
import torch

from optics4f import SLM, Camera, FourF, Grid, Illumination, Lens
from optics4f.light import Mode, SelfLuminous
from optics4f.memory_needs import route_need
from optics4f.misalignment import Misalignment
from optics4f.routes import FourierLensRoute, PSFRoute
from optics4f.routes.autocorrelation import Lags, autocorrelated, saves


def random(*shape, dtype=torch.complex128, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("height", "width"), [(4, 5), (7, 6), (1, 3)])
def test_it_is_the_sum_of_what_the_sources_send_one_by_one(height, width):
    masks = random(2, height, width)
    y, x = (torch.linspace(-1, 2, n, dtype=torch.float64)[:, None] for n in (6, 9))
    common_y, common_x = (torch.exp(1j * random(n, dtype=torch.float64, seed=n)) for n in (height, width))
    rows = torch.exp(-1j * y * torch.arange(height)) * common_y
    columns = torch.exp(-1j * x * torch.arange(width)) * common_x
    # Sources that stand elsewhere turn the samples' phases by so much each.
    from_y = torch.exp(1j * torch.arange(height)[:, None] * torch.tensor([0.3, -0.4, 1.1], dtype=torch.float64))
    from_x = torch.exp(1j * torch.arange(width)[:, None] * torch.tensor([0.2, -0.7], dtype=torch.float64))
    expected = 0
    for source_y in from_y.T:
        for source_x in from_x.T:
            expected = expected + ((rows * source_y) @ masks @ (columns * source_x).T).abs() ** 2
    seen = autocorrelated(masks, Lags.of(rows, from_y, half=False), Lags.of(columns, from_x, half=True))
    torch.testing.assert_close(seen, expected, rtol=1e-11, atol=1e-11 * expected.max().item())


def test_the_gradient_is_that_of_finite_differences():
    masks = random(2, 4, 3).requires_grad_()
    y, x = (torch.linspace(-1, 2, n, dtype=torch.float64)[:, None] for n in (5, 4))
    along_y = Lags.of(torch.exp(-1j * y * torch.arange(4)), torch.ones(4, 2, dtype=torch.complex128), half=False)
    along_x = Lags.of(torch.exp(-1j * x * torch.arange(3)), torch.ones(3, 1, dtype=torch.complex128), half=True)
    assert torch.autograd.gradcheck(lambda m: autocorrelated(m, along_y, along_x), masks)


def test_it_is_taken_where_it_saves_time_and_the_padded_masks_are_small():
    assert saves((128, 128), (146, 194), 3)
    assert not saves((128, 128), (146, 194), 1), "one transform a mask is less than two"
    assert not saves((256, 256), (117, 117), 3), "padded to 512 x 512"
    assert not saves((128, 128), (4, 4), 2), "fast transforms of all to get 16 positions"
    assert saves((179, 179), (180, 180), 2) == saves((180, 180), (180, 180), 2), (
        "a prime number is padded to a smooth one"
    )


@pytest.fixture
def always(monkeypatch):
    """Whatever the sizes."""
    monkeypatch.setattr("optics4f.routes.psf.saves", lambda *_: True)


CASES = {
    "in place": {},
    "beside the axis": {"camera_position": Misalignment(shift=("40 um", "-20 um"))},
    "out of focus": {"camera_position": Misalignment(axial="300 um")},
    "a panel beside the axis, tilted": {
        "slm_position": Misalignment(shift=("16 um", "8 um"), tilt=("1 mrad", "0 mrad"))
    },
}


def bench(dtype=torch.float64, **options) -> FourF:
    slm = SLM(Grid((22, 18), "8 um"), masks=2, bit_depth=None, dtype=dtype)
    slm.set_values(2 * math.pi * torch.rand(slm.values.shape, generator=torch.Generator().manual_seed(3)))
    light = {"dtype": torch.complex128 if dtype == torch.float64 else torch.complex64, "source": SelfLuminous()}
    return FourF(
        Illumination((4, 5), "20 um", "532 nm", samples_per_pixel=3, encoding="intensity", **light),
        Lens("60 mm"),
        slm,
        Lens("60 mm"),
        Camera((3, 4), "20 um"),
        samples_per_camera_pixel=1,
        **options,
    )


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_frames_and_gradients_are_those_of_a_route_without_psf(options, always, monkeypatch):
    ways = []
    monkeypatch.setattr("optics4f.routes.psf.autocorrelated", lambda *a: ways.append(1) or autocorrelated(*a))
    images = torch.rand(2, 1, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    frames, gradients = [], []
    for route in (PSFRoute, FourierLensRoute):
        hardware = bench(**options)
        seen = hardware.camera(route(hardware)(images))
        (seen * torch.linspace(-1, 1, seen.numel(), dtype=seen.dtype).reshape(seen.shape)).sum().backward()
        frames.append(seen.detach())
        gradients.append(hardware.slm.values.grad)
    assert ways, "the PSFs were computed in another way"
    assert frames[1].std() > 0.05 * frames[1].mean()
    torch.testing.assert_close(*frames, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-12)


def psf_without(monkeypatch, hardware, mode=None):
    """Intensity PSFs by direct sums over the mask's samples."""
    with monkeypatch.context() as patch:
        patch.setattr("optics4f.routes.psf.saves", lambda *_: False)
        return PSFRoute(hardware).intensity_point_spread_functions(mode)


def test_single_precision_is_that_of_the_direct_sums(always, monkeypatch):
    hardware = bench(torch.float32)
    seen = PSFRoute(hardware).intensity_point_spread_functions()
    exact = psf_without(monkeypatch, bench())
    error = (seen - exact) / exact.max()
    assert seen.dtype == torch.float32 and error.abs().max() < 2e-6


def test_darkness_is_as_often_below_zero_as_above():
    """Of a Gaussian beam nothing is left a few widths away; what single precision makes of it adds up to nothing."""
    y = torch.linspace(-3, 3, 64, dtype=torch.float64)
    masks = torch.exp(-(y[:, None].square() + y.square())).to(torch.complex64)[None]
    position = torch.linspace(-math.pi, math.pi, 96, dtype=torch.float64)[:, None]
    rows, lit = torch.exp(-1j * position * torch.arange(64)), torch.ones(64, 1, dtype=torch.complex128)
    lags = [Lags.of(rows, lit, half=half).to(torch.complex64) for half in (False, True)]
    error = autocorrelated(masks, *lags)[0, 8:32, 8:32] / masks.real.sum() ** 2
    assert 1e-10 < error.square().mean().sqrt() < 1e-6
    assert abs(error.mean()) < 0.3 * error.square().mean().sqrt()


def test_every_wavelength_and_every_place_has_lags_of_its_own(always, monkeypatch):
    hardware = bench()
    route = PSFRoute(hardware)
    for wavelength in (532e-9, 450e-9, 532e-9):
        mode = Mode(wavelength)
        exact = psf_without(monkeypatch, bench(), mode)
        torch.testing.assert_close(route.intensity_point_spread_functions(mode), exact, rtol=1e-9, atol=1e-12)
    for part in ("camera_position", "slm_position"):
        setattr(hardware, part, Misalignment(shift=("24 um", "-8 um")))
        exact = psf_without(monkeypatch, bench(**{part: getattr(hardware, part)}))
        torch.testing.assert_close(route.intensity_point_spread_functions(), exact, rtol=1e-9, atol=1e-12)
        setattr(hardware, part, None)


def test_mixed_precision_leaves_light_alone(always):
    route = PSFRoute(bench(torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        seen = route.intensity_point_spread_functions()
    assert torch.equal(seen, route.intensity_point_spread_functions())


@pytest.mark.parametrize("gradient", [False, True])
def test_what_it_needs_is_counted(gradient, monkeypatch):
    """A padded mask's spectrum and its power, at the least: twice the bytes of the spectra."""
    light = Illumination((24, 24), "20 um", "532 nm", samples_per_pixel=3, encoding="intensity", source=SelfLuminous())
    slm = SLM(Grid((64, 64), "8 um"), masks=64, bit_depth=None)
    hardware = FourF(light, Lens("60 mm"), slm, Lens("60 mm"), Camera((24, 24), "20 um"), samples_per_camera_pixel=1)
    route = PSFRoute(hardware)
    assert route.padded_mask == 128**2
    need = route_need(route, torch.zeros(1, 1, 24, 24), gradient=gradient).bytes
    assert need > (4 if gradient else 2) * 64 * 8 * 128**2
    monkeypatch.setattr(PSFRoute, "padded_mask", 0)
    assert route_need(route, torch.zeros(1, 1, 24, 24), gradient=gradient).bytes < need


def test_positions_that_learn_keep_their_gradient(always):
    place = Misalignment(shift=("20 um", "0 um"), trainable=("shift",))
    hardware = bench(camera_position=place)
    assert PSFRoute(hardware).padded_mask == 0 < PSFRoute(bench()).padded_mask
    PSFRoute(hardware).intensity_point_spread_functions(Mode(532e-9))[..., 0, 0].sum().backward()
    assert place.shift.grad.abs().min() > 0
