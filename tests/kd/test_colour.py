"""Colour images in a 4f: fields of the channels add on the camera, signed kernels are differences of two exposures."""

import math

import pytest
import torch

from kd.colour import ColourFrontEnd, DifferentialFrontEnd, channel_taps, side_by_side
from kd.readout import PooledLinear
from kd.students import OpticalFrontEnd, OpticalStudent
from kd.training import TrainingSettings, fit
from optics4f import SLM, Camera, FourF, Grid, Illumination, Lens
from optics4f.design import kinoform
from optics4f.elements.camera import Sensor
from optics4f.field import Field
from optics4f.light import SelfLuminous
from optics4f.routes import FourierLensRoute, PSFRoute

HEIGHT, WIDTH, CHANNELS = 6, 8, 3
SENSOR = Sensor(full_well=10_000, read_noise=0.0, bit_depth=16, dark_electrons=0)


def bench(masks=2, *, luminous=False, sensor=None, pixels=(48, 40)) -> FourF:
    """Non-square in every plane, double precision."""
    light = {"source": SelfLuminous(), "encoding": "intensity"} if luminous else {}
    slm = SLM(Grid(pixels, "8 um"), masks=masks, bit_depth=None, dtype=torch.float64)
    slm.set_values(2 * math.pi * torch.rand(slm.values.shape, generator=torch.Generator().manual_seed(3)))
    return FourF(
        Illumination((HEIGHT, CHANNELS * WIDTH), "40 um", "532 nm", dtype=torch.complex128, **light),
        Lens("60 mm"),
        slm,
        Lens("60 mm"),
        Camera((5, 7), "40 um", sensor=sensor),
        samples_per_camera_pixel=2,
    )


def images(batch=2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(batch, CHANNELS, HEIGHT, WIDTH, dtype=torch.float64, generator=generator)


def test_channels_stand_in_a_row():
    row = side_by_side(images())
    assert row.shape == (2, 1, HEIGHT, CHANNELS * WIDTH)
    for channel in range(CHANNELS):
        assert torch.equal(row[:, 0, :, channel * WIDTH : (channel + 1) * WIDTH], images()[:, channel])


def test_the_camera_sees_the_sum_of_the_fields_that_benches_of_one_channel_make():
    hardware = bench()
    seen = ColourFrontEnd(PSFRoute(hardware), channels=CHANNELS, noise=False)(images())
    fields = []
    for channel in range(CHANNELS):  # by another route, with only this channel on the object
        alone = torch.zeros_like(images())
        alone[:, channel] = images()[:, channel]
        fields.append(FourierLensRoute(hardware).image_field(hardware.object_field(side_by_side(alone))).data)
    together = hardware.camera(Field(sum(fields), hardware.image, hardware.wavelength))
    torch.testing.assert_close(seen, together, rtol=1e-9, atol=1e-12)
    apart = sum(hardware.camera(Field(field, hardware.image, hardware.wavelength)) for field in fields)
    assert (seen - apart).norm() > 0.05 * apart.norm(), "fields interfere"


def test_differences_of_exposures_are_sums_over_the_channels_alone():
    """Without coherence nothing interferes: intensities of single channels add, by a route that knows no PSF."""
    hardware = bench(4, luminous=True)
    seen = DifferentialFrontEnd(PSFRoute(hardware), channels=CHANNELS, noise=False)(images())
    expected = 0
    for channel in range(CHANNELS):
        alone = torch.zeros_like(images())
        alone[:, channel] = images()[:, channel]
        frames = hardware.camera(FourierLensRoute(hardware)(side_by_side(alone)))
        expected = expected + frames[:, [0, 2]] - frames[:, [1, 3]]
    torch.testing.assert_close(seen, expected, rtol=1e-9, atol=1e-12)
    assert seen.min() < 0, "kernels have signs"
    doubled = DifferentialFrontEnd(PSFRoute(hardware), channels=CHANNELS).expected(3 * images())
    torch.testing.assert_close(doubled, 3 * seen, rtol=1e-9, atol=1e-12)


def test_a_mask_of_one_tap_brings_its_channel_to_the_camera_as_it_is():
    """Each channel alone on the wide object, against a bench whose object is that channel in the middle."""
    prisms = torch.eye(CHANNELS, dtype=torch.complex128)[..., None, None]
    hardware = bench(CHANNELS)
    hardware.slm.set_values(kinoform(hardware, channel_taps(prisms, WIDTH)))
    front = ColourFrontEnd(PSFRoute(hardware), channels=CHANNELS, noise=False)
    alone = bench(1)
    alone.slm.set_values(torch.zeros_like(alone.slm.values))
    for channel in range(CHANNELS):
        shown = torch.zeros_like(images())
        shown[:, channel] = images()[:, channel]
        middle = torch.zeros_like(images())
        middle[:, CHANNELS // 2] = images()[:, channel]
        expected = alone.camera(FourierLensRoute(alone)(side_by_side(middle)))
        torch.testing.assert_close(front(shown)[:, [channel]], expected, rtol=1e-9, atol=1e-12)


def test_taps_of_the_channels_lie_a_channel_apart():
    kernels = torch.randn(2, 3, 5, 3, generator=torch.Generator().manual_seed(0))
    taps = channel_taps(kernels, 8)
    assert taps.shape == (2, 5, 3 + 2 * 8)
    for channel in range(3):
        assert torch.equal(taps[..., 8 * channel : 8 * channel + 3], kernels[:, channel])
    assert taps.count_nonzero() == kernels.count_nonzero()
    assert torch.equal(channel_taps(kernels[:, :1], 8), kernels[:, 0]), "grey images stay as they are"
    with pytest.raises(ValueError, match="at most as wide .* 2 pixels, got 3 taps"):
        channel_taps(kernels, 2)
    with pytest.raises(ValueError, match="width must be even for 2 channels"):
        channel_taps(kernels[:, :2], 7)


def test_the_penalty_is_what_is_missing_to_the_floor():
    front = OpticalFrontEnd(PSFRoute(bench()), noise=False, efficiency_floor=0.9, efficiency_weight=2.0)
    shares = front.route.window_efficiency()
    assert (shares < 0.9).all()
    torch.testing.assert_close(front.penalty(), 2 * (1 - shares / 0.9).mean())
    low = OpticalFrontEnd(
        PSFRoute(bench()), noise=False, efficiency_floor=shares.min().item() / 2, efficiency_weight=2.0
    )
    assert low.penalty() == 0
    assert OpticalFrontEnd(PSFRoute(bench()), noise=False).penalty() is None
    assert (
        OpticalFrontEnd(PSFRoute(bench()), trainable=False, efficiency_floor=0.9, efficiency_weight=1).penalty() is None
    )


def test_the_penalty_may_look_at_the_camera_alone():
    """A prism brings the image beside the camera: still in the window, and nothing of it is seen."""
    hardware = bench(1)
    rows = torch.arange(48, dtype=torch.float64)[:, None].expand(48, 40)
    hardware.slm.set_values((2 * math.pi * 8e-6 * rows * 160e-6 / (532e-9 * 60e-3))[None])  # four camera pixels
    floor = {"efficiency_floor": 0.2, "efficiency_weight": 2.0}
    everywhere, seen = (
        OpticalFrontEnd(PSFRoute(hardware), noise=False, efficiency_on=where, **floor) for where in ("window", "camera")
    )
    share = seen.route.camera_efficiency()
    assert everywhere.route.window_efficiency() > 0.5 and share < 0.1
    assert everywhere.penalty() == 0
    torch.testing.assert_close(seen.penalty(), 2 * (1 - share / 0.2).mean())


def test_the_penalty_pulls_light_into_the_window():
    """Random phases spread light over the whole order; a readout of noise gives masks no other wish than the floor."""
    from kd.data.images import DataSplits, LabelledImages

    shown = images(16).float()
    labels = torch.arange(16) % 2
    some = LabelledImages(shown, labels)
    data = DataSplits("noise", ("a", "b"), some, some, some)
    settings = TrainingSettings(
        epochs=12, batch_size=8, validate_every=12, learning_rate=1e-3, mask_learning_rate_factor=300
    )
    shares = {}
    for weight in (0.0, 5.0):
        hardware = bench(pixels=(96, 80))
        before = PSFRoute(hardware).window_efficiency()
        front = ColourFrontEnd(
            PSFRoute(hardware), channels=CHANNELS, noise=False, efficiency_floor=0.6, efficiency_weight=weight
        )
        fit(OpticalStudent(front, PooledLinear(2, 2, pool=2).double()), data, settings, seed=0, progress=False)
        shares[weight] = front.route.window_efficiency().min().item()
    assert before.max() < 0.3
    assert shares[5.0] > 0.55, "within a tenth of the floor"
    assert shares[0.0] < 0.4, "without the term it stays spread"


def test_noise_and_levels_belong_to_each_exposure():
    """Shot noise of a difference has the variance of both exposures' electrons."""
    hardware = bench(2, luminous=True, sensor=SENSOR)
    hardware.camera.exposure = 40.0  # little light arrives: some hundred electrons a pixel
    front = DifferentialFrontEnd(PSFRoute(hardware), channels=CHANNELS)
    front.reseed(0)
    white = hardware.camera.white
    with torch.no_grad():
        draws = torch.stack([front(images(1)) for _ in range(400)])
        frames = hardware.camera.integrated(front.light(images(1))) * white
        expected = front.expected(images(1))
    rounding = 2 * SENSOR.electrons_per_count**2 / 12
    ratio = (draws * white).var(0) / (frames.sum(1, keepdim=True) + rounding)
    assert ratio.mean().item() == pytest.approx(1, abs=0.05)  # 35 pixels of 400 draws: 1.2 % standard error
    assert ((draws.mean(0) - expected) * white).abs().max() < 5 * (frames.sum(1).max() / 400).sqrt()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ColourFrontEnd(PSFRoute(bench()), channels=5), r"as wide as 5 images, got 24 logical pixels"),
        (lambda: ColourFrontEnd(PSFRoute(bench()), channels=3, noise=False)(images()[:, :1]), r"\(batch, 3, height"),
        (lambda: DifferentialFrontEnd(PSFRoute(bench()), channels=3), "self-luminous in intensity encoding"),
        (lambda: DifferentialFrontEnd(PSFRoute(bench(3, luminous=True)), channels=3), "two for each kernel, got 3"),
        (lambda: OpticalFrontEnd(PSFRoute(bench()), efficiency_floor=1.5), r"in \[0, 1\], got 1.5"),
        (lambda: OpticalFrontEnd(PSFRoute(bench()), efficiency_weight=1.0), "0 without a floor, got 1"),
        (
            lambda: OpticalFrontEnd(FourierLensRoute(bench()), efficiency_floor=0.1, efficiency_weight=1.0),
            "FourierLensRoute, which has no PSF window",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_brightest_pixel_fills_the_share_of_the_well_that_is_asked():
    front = DifferentialFrontEnd(PSFRoute(bench(2, luminous=True, sensor=SENSOR)), channels=CHANNELS)
    front.expose(images(), 0.4)
    electrons = front.bench.camera.integrated(front.light(images())) * front.bench.camera.white
    assert electrons.max().item() == pytest.approx(0.4 * SENSOR.full_well)
    with pytest.raises(ValueError, match="needs light, got darkness"):
        front.expose(torch.zeros_like(images()))
