"""OpticalConv2d: the same call and shape as nn.Conv2d, and the same numbers, by light."""

import copy
import warnings
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, cosine_similarity

from optics4f.conv import OpticalConv2d
from optics4f.effects import Crosstalk, Flicker
from optics4f.elements import SLM, Camera, Illumination, Lens
from optics4f.elements.camera import Sensor
from optics4f.field import Intensity
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.misalignment import Misalignment
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute
from optics4f.sampling import SamplingError, SamplingWarning
from tests.optics4f.benches import random_images, relative, small_bench, smooth_masks

WAVELENGTH, PITCH = 532e-9, 32e-6


@pytest.fixture(autouse=True)
def coarse_pixels_are_meant():
    """Few samples a pixel keep the tests quick; what they leave out, both sides of a comparison leave out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        yield


def bench(
    image=(12, 14),
    slm=(160, 192),
    *,
    samples=6,
    block=3,
    camera=201,
    sensor=None,
    f2=0.1,
    dtype=torch.complex64,
    **slm_options,
):
    """Object pixels of 32 um, 8 um SLM; a camera pixel sees one imaged logical pixel."""
    light = Illumination(image, PITCH / block, WAVELENGTH, pixels_per_logical=block, dtype=dtype)
    real = torch.empty(0, dtype=dtype).real.dtype
    options = {"bit_depth": 8, **slm_options}
    panel = SLM(Grid(slm, 8e-6), dtype=real, **options)
    eye = Camera((camera, camera), PITCH * f2 / 0.1, sensor=sensor)
    return FourF(light, Lens(0.1), panel, Lens(f2), eye, samples_per_camera_pixel=samples)


def random_masks(layer, seed=0):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.slm.values.copy_(2 * torch.pi * torch.rand(layer.slm.values.shape, generator=generator))
    return layer


def pictures(*shape, seed=1):
    """Smooth random pictures."""
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return nn.functional.avg_pool2d(noise, 3, 1, 1)


@pytest.mark.parametrize(
    ("size", "padding", "stride"), [(3, 0, 1), (3, 1, 2), (4, 2, 1), (5, 2, 3), (1, 0, 1)], ids=str
)
def test_output_shapes_are_those_of_conv2d(size, padding, stride):
    layer = OpticalConv2d(2, 3, size, bench(), padding=padding, stride=stride)
    x = pictures(2, 2, 12, 14)
    assert layer(x).shape == nn.Conv2d(2, 3, size, padding=padding, stride=stride)(x).shape


@pytest.mark.parametrize("detection", ["differential", "homodyne"])
@pytest.mark.parametrize(("size", "padding"), [(3, 1), (4, 2)], ids=str)
@pytest.mark.parametrize("exposures", [1, 2])
def test_the_layer_is_the_convolution_with_what_a_single_lit_pixel_shows(detection, size, padding, exposures):
    """The kernel is read off the outputs of one-pixel images, at every shift: no part of the layer is the oracle."""
    layer = random_masks(
        OpticalConv2d(
            1,
            2,
            size,
            bench((9, 10), dtype=torch.complex128),
            detection=detection,
            padding=padding,
            exposures=exposures,
        )
    )
    points = torch.eye(90, dtype=torch.float64).view(90, 1, 9, 10)
    with torch.no_grad():
        seen = layer(points)
        x = torch.rand(1, 1, 9, 10, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        assert torch.allclose(layer(x)[0], (x.flatten()[:, None, None, None] * seen).sum(0), rtol=1e-6, atol=1e-9)
        # The same kernel at each place: moving the lit pixel moves the output.
        inner = seen[4 * 10 + 4][..., 1:, 1:]
        assert torch.allclose(inner, seen[3 * 10 + 3][..., :-1, :-1], rtol=1e-6, atol=1e-9)
        kernels = layer.effective_kernels()
        kernels = kernels.real if kernels.is_complex() else kernels
        # y_i = sum_a w_a x_(i + a): the lit pixel 4 shows tap t at output 4 + padding - t.
        for t, u in ((t, u) for t in range(size) for u in range(size)):
            assert torch.allclose(
                kernels[:, 0, t, u], seen[44][:, 4 + padding - t, 4 + padding - u], rtol=1e-6, atol=1e-9
            )


def test_square_law_detection_is_the_square_of_a_sum():
    layer = random_masks(
        OpticalConv2d(1, 1, 3, bench((6, 7), dtype=torch.complex128, samples=6), detection="intensity")
    )
    x = torch.rand(2, 1, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        both, one, other = layer(x.sum(0, keepdim=True)), layer(x[:1]), layer(x[1:])
        assert torch.allclose(layer(2 * x), 4 * layer(x), rtol=1e-9)
    assert (both - one - other).abs().max() > 0.1 * both.max(), "not linear"


@pytest.mark.parametrize(
    ("detection", "exposures", "least"),
    [("differential", 1, 0.998), ("differential", 6, 0.998), ("homodyne", 1, 0.98)],
)
def test_loaded_kernels_convolve(detection, exposures, least):
    """Two channels, three signed kernels; a transposed, turned or displaced kernel would not pass."""
    weight = torch.randn(3, 2, 3, 3, generator=torch.Generator().manual_seed(4))
    layer = OpticalConv2d(
        2, 3, 3, bench(slm=(224, 256), samples=6), detection=detection, padding=1, exposures=exposures
    )
    errors = layer.load_kernels(weight, rounds=2, steps=20 if detection == "differential" else 90)
    assert errors[-1] < 0.5 * errors[0]
    x = pictures(2, 2, 12, 14)
    with torch.no_grad():
        measured = layer(x)
    wanted = conv2d(x, weight, padding=1)
    assert cosine_similarity(measured.flatten(), wanted.flatten(), dim=0) > least
    assert (measured - wanted).norm() < 0.25 * wanted.norm(), "the gains give the size"


def test_loaded_kernels_of_a_square_law():
    """Complex kernels, two masks: the output has the size of the wanted square, mask by mask."""
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(2, 1, 3, 3, generator=generator, dtype=torch.complex64)
    weight[1] *= 3
    layer = OpticalConv2d(1, 2, 3, bench(slm=(224, 256)), detection="intensity", padding=1)
    layer.load_kernels(weight, rounds=2, steps=60)
    x = pictures(2, 1, 12, 14)
    with torch.no_grad():
        measured = layer(x)
    wanted = conv2d(x.to(weight.dtype), weight, padding=1).abs().square()
    for mask in range(2):
        assert (measured[:, mask] - wanted[:, mask]).norm() < 0.3 * wanted[:, mask].norm()


def test_colours_at_once():
    """Red and blue on the camera together, one mask for both; either alone shows its own kernel."""
    weight = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(5))
    system = bench((6, 6), (192, 192), camera=181)
    layer = OpticalConv2d(2, 1, 3, system, wavelengths=(635e-9, 450e-9), padding=1)
    assert layer.slm.masks == 1
    order = 450e-9 * 0.1 / 8e-6 / PITCH  # the narrower one of both colours
    assert all(abs(c) + 3 + 1 <= order / 2 for tile in layer.plan.tiles for c in tile.centre)
    layer.load_kernels(weight, rounds=2, steps=10)
    x = pictures(1, 2, 6, 6)
    with torch.no_grad():
        for lit in ([1.0, 0.0], [0.0, 1.0], [1.0, 1.0]):
            shown = x * torch.tensor(lit)[:, None, None]
            wanted = conv2d(shown, weight, padding=1)
            assert cosine_similarity(layer(shown).flatten(), wanted.flatten(), dim=0) > 0.97


def test_another_route_gives_the_same():
    options = {"detection": "differential", "padding": 1, "exposures": 1}
    system = bench((4, 5), (96, 96), samples=6, block=3, camera=61, f2=0.05)
    psf = random_masks(OpticalConv2d(1, 1, 3, system, **options))
    lens = random_masks(OpticalConv2d(1, 1, 3, system, route=FourierLensRoute, **options))
    x = pictures(1, 1, 4, 5)
    with torch.no_grad():
        assert (psf(x) - lens(x)).norm() < 1e-4 * psf(x).norm()
        assert torch.allclose(psf.effective_kernels(), lens.effective_kernels(), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("detection", ["intensity", "differential"])
def test_propagation_gives_the_same(detection):
    """512 samples of 8 um and a tile off the axis: what the window cuts off leaves 2e-3."""
    block, image = (4, (5, 5)) if detection == "intensity" else (1, (3, 3))  # each sample of a lamp is propagated alone
    system = small_bench(
        object_shape=image,
        object_pitch=8e-6,
        slm_pitch=8e-6,
        slm_shape=(120, 120),
        pixels_per_logical=block,
        camera_pitch=block * 12e-6,
        camera_shape=(25, 25),
    )
    psf = OpticalConv2d(1, 1, 3, system, detection=detection, padding=1)
    assert psf.plan.tiles[0].centre != (0, 0)
    propagation = OpticalConv2d(
        1, 1, 3, system, detection=detection, padding=1, route=partial(AngularSpectrumRoute, window=(512, 512))
    )
    psf.slm.set_values(smooth_masks(1, (120, 120)))
    propagation.load_state_dict(psf.state_dict())
    x = random_images(1, image)
    with torch.no_grad():
        assert relative(propagation(x), psf(x)) < 1e-2


@pytest.mark.parametrize("detection", ["differential", "intensity", "homodyne"])
def test_gradients(detection):
    system = bench((3, 4), (6, 7), samples=3, dtype=torch.complex128, camera=41, bit_depth=None)
    layer = random_masks(OpticalConv2d(1, 1, 2, system, detection=detection))
    x = 0.1 + torch.rand(1, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    values = layer.slm.values.detach().clone().requires_grad_()

    unit = layer(x).detach().abs().max()

    def run(x, values):
        return torch.func.functional_call(layer, {"slm.values": values}, (x,)) / unit

    assert torch.autograd.gradcheck(run, (x.requires_grad_(), values))


def test_the_state_holds_masks_only_and_comes_back():
    system = bench(sensor=Sensor(full_well=1e4, read_noise=2.0, bit_depth=12))
    layer = random_masks(OpticalConv2d(1, 2, 3, system))
    assert list(layer.state_dict()) == ["slm.values"]
    assert [name for name, _ in layer.named_parameters()] == ["slm.values"]
    other = OpticalConv2d(1, 2, 3, system)
    other.load_state_dict(layer.state_dict())
    x = pictures(1, 1, 12, 14)
    assert torch.equal(other(x), layer(x))
    assert torch.equal(copy.deepcopy(layer)(x), layer(x))


@pytest.mark.parametrize("detection", ["differential", "homodyne"])
def test_fitted_gains_come_back_with_the_masks(detection):
    layer = OpticalConv2d(1, 2, 3, bench(), detection=detection)
    layer.load_kernels(torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(9)), rounds=1, steps=0)
    assert set(layer.state_dict()) == {"slm.values", "gains", *(["reference"] if detection == "homodyne" else [])}
    other = nn.Sequential(OpticalConv2d(1, 2, 3, bench(), detection=detection))
    other.load_state_dict(nn.Sequential(layer).state_dict())
    x = pictures(1, 1, 12, 14)
    assert torch.equal(other(x), layer(x))
    fresh = OpticalConv2d(1, 2, 3, bench(), detection=detection).state_dict()
    layer.load_state_dict(fresh)
    assert (layer.gains == 1).all() and layer.reference == 1, "a state without them is of a layer without them"


def test_the_bench_that_was_given_stays_as_it_is():
    system = bench(sensor=Sensor(full_well=1e4, read_noise=2.0, bit_depth=12))
    one, other = OpticalConv2d(1, 2, 3, system), OpticalConv2d(1, 2, 3, system, route=FourierLensRoute)
    before = system.camera.exposure
    one.expose(pictures(1, 1, 12, 14))
    assert system.slm.masks == 1 and system.camera.exposure == before == other.exposure != one.exposure


def test_new_masks_are_random_kernels_that_differ():
    """Flat masks would send all light to the zero order: no output, and no kernel unlike another."""
    torch.manual_seed(0)
    layer = OpticalConv2d(1, 3, 3, bench())
    kernels = layer.effective_kernels()[:, 0].flatten(1)
    light = layer.tile_kernels().sum((1, 2, 3, 4))
    arriving = (160 * 192) * (
        8e-6 * PITCH / 3 / (WAVELENGTH * 0.1)
    ) ** 2  # of what a sample of a third of a pixel sends out
    assert light.min() > 0.5 * arriving, "most of the light on the SLM is in the taps"
    assert torch.corrcoef(kernels).triu(1).abs().max() < 0.9
    torch.manual_seed(0)
    assert torch.equal(OpticalConv2d(1, 3, 3, bench()).slm.values, layer.slm.values)


def test_it_takes_what_conv2d_takes():
    system = bench()
    for padding, wanted in (("same", 1), ("valid", 0), ((1, 1), 1)):
        assert OpticalConv2d(1, 1, (3, 3), system, stride=(1, 1), padding=padding).padding == wanted
    layer = OpticalConv2d(1, 1, 3, system)
    x = pictures(1, 1, 12, 14)
    assert torch.equal(layer(x[0]), layer(x)[0]), "a single image"
    assert layer(x[:0]).shape == (0, 1, 10, 12), "none at all"


def test_it_moves_to_double_as_any_module():
    layer = random_masks(OpticalConv2d(1, 2, 3, bench()))
    x = pictures(1, 1, 12, 14)
    single = layer(x)
    double = layer.double()(x.double())
    assert double.dtype == torch.float64 and layer.slm.values.dtype == torch.float64
    assert torch.allclose(single.double(), double, rtol=1e-3, atol=1e-7)
    assert layer.float()(x).dtype == torch.float32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_moves_to_cuda():
    layer = random_masks(OpticalConv2d(1, 2, 3, bench()))
    x = pictures(1, 1, 12, 14)
    here = layer(x)
    assert torch.allclose(layer.cuda()(x.cuda()).cpu(), here, rtol=1e-4, atol=1e-7)


def test_effects_of_the_panel_are_met_by_the_masks():
    """Crosstalk changes what a mask makes; the corrections see it and the kernels come out right all the same."""
    weight = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(7))
    system = bench((8, 8), (200, 200), camera=161, effects=(Crosstalk(),))
    layer = OpticalConv2d(1, 1, 3, system, padding=1)
    layer.load_kernels(weight, rounds=2, steps=30)
    x = pictures(2, 1, 8, 8)
    wanted = conv2d(x, weight, padding=1)
    with torch.no_grad():
        corrected = (layer(x) - wanted).norm() / wanted.norm()
        assert corrected < 0.1
        # The same masks on a panel without crosstalk are off: the corrections were for the panel as it is.
        layer.slm.switch(crosstalk=False)
        assert (layer(x) - wanted).norm() / wanted.norm() > 1.5 * corrected


def test_states_of_a_flickering_panel_are_averaged():
    still, flickering = (
        random_masks(OpticalConv2d(1, 1, 3, bench(effects=effects))) for effects in ((), (Flicker(0.0, frames=3),))
    )
    x = pictures(1, 1, 12, 14)
    assert flickering.slm.frames == 3
    assert torch.allclose(flickering(x), still(x), rtol=1e-4, atol=1e-9)


def test_a_real_camera():
    """At half of the full well noise is there, unbiased, and of the size that photons give it."""
    sensor = Sensor(full_well=1e4, read_noise=3.0, bit_depth=12)
    weight = torch.tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])[None, None]
    layer = OpticalConv2d(1, 1, 3, bench((12, 14), (256, 288), sensor=sensor))
    layer.load_kernels(weight, rounds=1, steps=0)
    x = pictures(1, 1, 12, 14)
    layer.expose(x, 0.5)
    quiet = layer(x)
    windows = [seen.max().item() for _, _, seen in layer.camera_windows(x)]
    assert max(windows) * layer.exposure == pytest.approx(0.5, rel=2e-3), "the brightest pixel fills half of the well"
    layer.noise = torch.Generator().manual_seed(8)
    draws = torch.stack([layer(x) for _ in range(200)]).detach()
    spread = draws.std(0)
    assert (draws.mean(0) - quiet).abs().max() < 5 * spread.max() / 200**0.5
    electrons = sum(seen for _, _, seen in layer.camera_windows(x)) * layer.exposure * sensor.full_well
    expected = (electrons + 2 * 9 + 2 * (1e4 / 4095) ** 2 / 12).sqrt() * layer.gains[0] / (layer.exposure * 1e4)
    assert torch.allclose(spread, expected[0].flip((-2, -1)).expand_as(spread), rtol=0.25)


def test_a_reference_is_in_the_exposure_and_each_window_knows_its_exposure():
    sensor = Sensor(full_well=1e4, read_noise=3.0, bit_depth=12)
    layer = random_masks(OpticalConv2d(2, 2, 3, bench(sensor=sensor), detection="homodyne", exposures=2))
    layer.reference.fill_(0.3)
    x = pictures(1, 2, 12, 14)
    layer.expose(x, 0.5)
    with torch.no_grad():
        light = max(
            route.bench.camera.integrated(Intensity(layer._light(route, shot, [0, 1], 1), route.bench.image))
            .max()
            .item()
            for shot in layer._shots(x)
            for route in layer._routes
        )
    assert light > 0.09, "the reference alone makes 0.3 ** 2"
    assert light * layer.exposure == pytest.approx(0.5)
    windows = [(exposure, tile.exposure) for exposure, tile, _ in layer.camera_windows(x)]
    assert sorted(exposure for exposure, _ in windows) == [0, 1, 2, 3], "two kernels for each of two channels"
    assert all(exposure % 2 == own for exposure, own in windows)


def test_the_light_on_the_slm_is_that_of_a_square_pixel():
    """Coherent: sinc of the logical pixel, here by its three samples; incoherent: each sample lights it evenly."""
    coherent = OpticalConv2d(1, 1, 3, bench(), detection="intensity").illumination()
    y, x = ((torch.arange(n, dtype=torch.float64) - n // 2) * 8e-6 / (WAVELENGTH * 0.1) for n in (160, 192))

    def three(u):
        return (1 + 2 * torch.cos(2 * torch.pi * u * PITCH / 3)).abs()

    wanted = three(y)[:, None] * three(x)[None, :]
    assert torch.allclose(coherent / coherent.max(), (wanted / wanted.max()).clamp(min=1e-3), atol=1e-5)
    assert coherent.min() < 0.6 * coherent.max()
    even = OpticalConv2d(1, 1, 3, bench()).illumination()
    assert torch.allclose(even, even.max().expand_as(even), rtol=1e-5)


def test_from_conv2d():
    torch.manual_seed(0)
    digital = nn.Conv2d(1, 2, 3, stride=2, padding=1, bias=False)
    layer = OpticalConv2d.from_conv2d(digital, bench(slm=(256, 256)), load={"rounds": 1, "steps": 20})
    x = pictures(2, 1, 12, 14)
    with torch.no_grad():
        assert cosine_similarity(layer(x).flatten(), digital(x).flatten(), dim=0) > 0.99


def test_a_moved_camera_and_a_moved_slm():
    """A camera one logical pixel off shows the output moved by one pixel; a moved SLM changes nothing but phase."""
    system = bench((9, 10))
    straight = random_masks(OpticalConv2d(1, 1, 3, system))
    system.camera_position = Misalignment(shift=(PITCH, 0.0))
    moved = random_masks(OpticalConv2d(1, 1, 3, system))
    x = pictures(1, 1, 9, 10)
    with torch.no_grad():
        # The frame is turned upright, so a camera further down shows what was one row further up.
        assert torch.allclose(moved(x)[..., 1:, :], straight(x)[..., :-1, :], rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"detection": "square"}, "detection"),
        ({"stride": 0}, "stride"),
        ({"in_channels": 0}, "in_channels"),
        ({"padding": 3}, "padding"),
        ({"wavelengths": (532e-9, 635e-9)}, "wavelengths"),
        ({"exposures": 1, "out_channels": 400}, "room for"),
        ({"exposures": 1.5}, "exposures"),
        ({"kernel_size": (3, 5)}, "kernel_size"),
        ({"padding": "same", "stride": 2}, "same"),
    ],
)
def test_senseless_layers_are_refused(changed, word):
    arguments = {"in_channels": 1, "out_channels": 1, "kernel_size": 3, **changed}
    with pytest.raises(ValueError, match=word):
        OpticalConv2d(bench=bench(), **arguments)


def test_input_and_weights_that_cannot_be_are_refused():
    layer = OpticalConv2d(1, 1, 3, bench())
    with pytest.raises(ValueError, match="shape"):
        layer(torch.rand(1, 2, 12, 14))
    with pytest.raises(ValueError, match="negative"):
        layer(-torch.rand(1, 1, 12, 14))
    with pytest.raises(ValueError, match="negative"):
        layer(torch.full((1, 1, 12, 14), torch.nan))
    with pytest.raises(ValueError, match="finite"):
        layer.load_kernels(torch.full((1, 1, 3, 3), torch.nan))
    with pytest.raises(ValueError, match="zeros"):
        layer.load_kernels(torch.zeros(1, 1, 3, 3))
    with pytest.raises(ValueError, match="real"):
        layer.load_kernels(torch.ones(1, 1, 3, 3, dtype=torch.complex64))
    for name in ("rounds", "steps", "margin"):
        with pytest.raises(ValueError, match=name):
            layer.load_kernels(torch.ones(1, 1, 3, 3), **{name: -1})
    with pytest.raises(ValueError, match="sensor"):
        layer.expose(torch.rand(1, 1, 12, 14))
    with pytest.raises(ValueError, match="bias"):
        OpticalConv2d.from_conv2d(nn.Conv2d(1, 1, 3), bench())
    with pytest.raises(ValueError, match="nn.Conv2d"):
        OpticalConv2d.from_conv2d(nn.ConvTranspose2d(1, 1, 3, bias=False), bench())
    with pytest.raises(ValueError, match="padding_mode"):
        OpticalConv2d.from_conv2d(nn.Conv2d(1, 1, 3, padding=1, bias=False, padding_mode="reflect"), bench())
    with pytest.raises(SamplingError, match="imaged logical pixel"):
        OpticalConv2d(
            1,
            1,
            3,
            bench(block=2, samples=6, f2=0.1).__class__(
                *[getattr(bench(), n) for n in ("illumination", "lens1", "slm", "lens2")], Camera((99, 99), 30e-6)
            ),
        )
