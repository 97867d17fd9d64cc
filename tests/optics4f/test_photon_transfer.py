"""A camera and its evaluation by EMVA 1288: what was put in comes out of simulated frames alone."""

import math

import numpy as np
import pytest
import torch
from scipy.constants import c, h

from optics4f.elements.camera import Camera
from optics4f.elements.sensor import Sensor, photons
from optics4f.field import Intensity
from optics4f.grid import Grid
from optics4f.photon_transfer import photon_transfer

SHAPE = (48, 40)


def camera_of(sensor: Sensor, shape=SHAPE, **options) -> Camera:
    return Camera(shape, 5e-6, sensor=sensor, exposure=1.0, **options)


def light(value: float, shape=SHAPE, binning: int = 1) -> Intensity:
    return Intensity(torch.full(shape, float(value), dtype=torch.float64), Grid(shape, 5e-6 * binning))


def series(sensor: Sensor, levels, repeats: int = 24, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames at shares of the full well, and dark ones, as a bench would take them."""
    camera, generator = camera_of(sensor), torch.Generator().manual_seed(seed)
    frames = torch.stack(
        [torch.stack([camera.sample(light(level), generator) for _ in range(repeats)]) for level in levels]
    )
    return frames, torch.stack([camera.sample(light(0), generator) for _ in range(4 * repeats)])


@pytest.mark.parametrize("slug", ["basler-aca2440-75um", "orca-quest", "orca-flash-4.0-v3"])
def test_frames_alone_tell_gain_read_noise_and_full_well(slug):
    stated = Sensor.from_device(slug, gain=None)
    # A black level keeps the dark signal from being cut at zero; the converter spans the full well above it.
    top = 2**stated.bit_depth - 1
    sensor = Sensor.from_device(slug, gain=stated.full_well / (0.9 * top), offset=round(0.05 * top), dark_current=0)
    levels = np.concatenate([np.linspace(0.02, 1.0, 30), [1.2, 1.5]])
    frames, dark = series(sensor, levels)
    incoming = torch.tensor(levels) * sensor.full_well / 0.7
    found = photon_transfer(frames, dark, photons=incoming)
    assert found.gain == pytest.approx(sensor.electrons_per_count, rel=0.02)
    assert found.full_well == pytest.approx(sensor.full_well, rel=0.02)
    assert found.quantum_efficiency == pytest.approx(0.7, rel=0.02)
    noise = math.sqrt(max(sensor.read_noise**2, (0.24 - 1 / 12) * sensor.electrons_per_count**2))
    assert found.read_noise == pytest.approx(noise, rel=0.02)
    # EMVA's saturation point is an exposure, where clipping begins to take the variance; they lie 3.4 % apart.
    assert 0.96 * sensor.full_well - 3 * math.sqrt(sensor.full_well) < found.saturation <= sensor.full_well * 1.01


def exact_frames(means, variances, pattern: float = 0.0) -> torch.Tensor:
    """Frames whose pixels have exactly these means and temporal variances: two repeats, half a difference each way."""
    ripple = torch.tensor([[-1.0, 1.0, -1.0], [1.0, -1.0, 1.0]], dtype=torch.float64) * pattern
    swing = torch.tensor([-1.0, 1.0], dtype=torch.float64) / math.sqrt(2)
    pairs = zip(means, variances, strict=True)
    return torch.stack([(ripple + mean) + (math.sqrt(v) * swing)[:, None, None] for mean, v in pairs])


def bent(mean: float) -> float:
    """Temporal variance [DN^2] of a camera of 0.5 DN/e- and 40 DN^2 of dark noise, linear up to 70 % of 1000 DN."""
    return 40 + 0.5 * mean if mean <= 700 else 40 + 0.5 * 700 + 0.1 * (mean - 700)


def test_the_slope_is_that_below_seventy_percent_of_saturation_less_the_dark_variance():
    # 50 DN is the black level; two saturated exposures at 1020 DN hardly fluctuate.
    means = [0, 100, 300, 500, 690, 710, 800, 900, 1000, 1020, 1020]
    variances = [bent(mean) for mean in means[:9]] + [2.0, 0.0]
    frames, dark = exact_frames([50 + mean for mean in means], variances), exact_frames([50], [40.0])[0]
    found = photon_transfer(frames, dark, photons=torch.tensor([4.0 * mean for mean in means]))
    assert found.gain == pytest.approx(2.0, rel=1e-9)
    assert found.read_noise == pytest.approx(math.sqrt(40 - 1 / 12) * 2, rel=1e-9)
    assert found.full_well == pytest.approx(2040, rel=1e-9)
    assert found.saturation == pytest.approx(2000, rel=1e-9)
    assert found.quantum_efficiency == pytest.approx(0.5, rel=1e-9)
    assert not found.rounding_hides_noise


@pytest.mark.parametrize(("dark_variance", "least"), [(0.0, 0.24), (0.15, 0.24), (0.3, 0.3)])
def test_noise_that_rounding_hides_is_a_bound_and_leaves_the_gain_alone(dark_variance, least):
    # The exposures carry a noise of their own of 0.21 DN^2, whatever the dark frames show.
    means = [100, 200, 300, 500, 600]
    frames = exact_frames(means, [0.21 + 0.5 * mean for mean in means])
    found = photon_transfer(frames, exact_frames([0], [dark_variance])[0])
    assert found.rounding_hides_noise
    assert found.gain == pytest.approx(2.0, rel=1e-9)
    assert found.read_noise == pytest.approx(math.sqrt(least - 1 / 12) * 2, rel=1e-9)


@pytest.mark.parametrize("offset", [10, 10.5])
def test_an_8_bit_camera_says_that_its_read_noise_is_lost_and_keeps_its_gain(offset):
    sensor = Sensor(10_000, 1.0, 8, gain=10_000 / (0.9 * 255), offset=offset)
    found = photon_transfer(*series(sensor, np.concatenate([np.linspace(0.02, 1.0, 30), [1.2, 1.5]])))
    assert found.rounding_hides_noise
    # 20 exposures of 44000 degrees of freedom each know the slope to 0.4 %.
    assert found.gain == pytest.approx(sensor.gain, rel=0.015)
    assert found.full_well == pytest.approx(10_000, rel=0.015)


def test_a_series_that_never_saturates_knows_no_full_well():
    sensor = Sensor(10_000, 3.0, 12, gain=3.0, offset=30)
    found = photon_transfer(*series(sensor, np.linspace(0.02, 0.6, 10), repeats=8))
    assert found.full_well is None
    assert found.saturation is None
    assert found.gain == pytest.approx(3.0, rel=0.02)


def test_noise_that_few_repeats_leave_is_no_pattern():
    # Four repeats of 10 DN of noise leave 5 DN in their mean, beside a pattern of 2 DN.
    generator, shape = torch.Generator().manual_seed(7), (120, 110)
    pattern = 2 * torch.randn(*shape, generator=generator, dtype=torch.float64)
    dark = 500 + pattern + 10 * torch.randn(4, *shape, generator=generator, dtype=torch.float64)
    means = [100, 200, 400, 600]
    found = photon_transfer(exact_frames(means, [100 + 0.5 * mean for mean in means]) + 500, dark)
    # The variance of 13200 means is known to 1.2 % of 29 DN^2: a pattern of 4 DN^2 to 9 %, its root to half of that.
    assert found.dsnu == pytest.approx(2.0 * found.gain, rel=3 * 0.045)


def test_responses_are_told_apart_from_dark_signals():
    # At 500 DN, half of saturation: 4 % of it is 20 DN, in quadrature with 15 DN of dark pattern.
    means = [100, 300, 500, 700, 1000]
    variances = [40 + 0.5 * mean for mean in means]
    frames = torch.cat([exact_frames([mean], [v], 25.0) for mean, v in zip(means, variances, strict=True)])
    found = photon_transfer(frames, exact_frames([0], [40.0], 15.0)[0])
    # What two repeats leave of the noise is taken out as well; six pixels have 6/5 of their mean square as variance.
    noise = (290 - 40) / 2
    assert found.prnu == pytest.approx(math.sqrt(1.2 * (25**2 - 15**2) - noise) / 500, rel=1e-9)
    assert found.dsnu == pytest.approx(math.sqrt(1.2 * 15**2 - 40 / 2) * 2, rel=1e-9)


def test_the_curve_of_signal_to_noise_follows_the_formula():
    sensor = Sensor(12_000, 4.0, 12, dark_electrons=3.0, offset=50, gain=3.3)
    levels = np.geomspace(1e-3, 0.8, 12)
    frames, dark = series(sensor, levels, repeats=40)
    found = photon_transfer(frames, dark)
    wanted = [sensor.snr(12_000 * level) for level in levels]
    # 1920 pixels of 40 frames: the deviation is known to 0.3 %, the mean of the faintest to 0.4 %.
    np.testing.assert_allclose(found.snr, wanted, rtol=0.02)


@pytest.mark.parametrize("electrons", [0.1, 1.0, 30.0, 3_000.0, 9_500.0])
def test_the_mean_is_that_of_the_light_from_a_tenth_of_an_electron_to_the_full_well(electrons):
    sensor = Sensor(10_000, 2.5, 14, offset=100, gain=0.7)
    camera, generator = camera_of(sensor, (200, 180)), torch.Generator().manual_seed(5)
    frames = torch.stack([camera.sample(light(electrons / 10_000, (200, 180)), generator) for _ in range(8)])
    signal = (frames.double() - 100) * 0.7
    error = signal.std() / math.sqrt(signal.numel())
    assert abs(signal.mean() - electrons) < 3 * error
    variance = electrons + 2.5**2 + 0.7**2 / 12
    assert signal.var().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / signal.numel()) + 1e-3)


def test_saturation_clips_and_never_wraps():
    camera, generator = camera_of(Sensor(1_000, 2.0, 8, offset=5)), torch.Generator().manual_seed(0)
    for level in (1.0, 3.0, 1e6):
        frame = camera.sample(light(level), generator)
        assert frame.max() <= 255
        assert (frame[frame < 200]).numel() == 0
    assert camera.sample(light(1e6), generator).min() == 255


def test_fixed_patterns_belong_to_a_sensor_and_are_found():
    sensor = Sensor(10_000, 2.0, 12, offset=60, dsnu=6.0, prnu=0.01, pattern_seed=3, gain=2.6)
    frames, dark = series(sensor, np.linspace(0.05, 1.1, 14))
    found = photon_transfer(frames, dark)
    # 1920 pixels know a deviation to 1.6 %.
    assert found.dsnu == pytest.approx(6.0, rel=0.06)
    assert found.prnu == pytest.approx(0.01, rel=0.06)
    same, other = camera_of(sensor), camera_of(Sensor(10_000, 2.0, 12, prnu=0.01, pattern_seed=4))
    assert torch.equal(camera_of(sensor).expected(light(0.5)), same.expected(light(0.5)))
    assert not torch.equal(other.expected(light(0.5)), same.expected(light(0.5)))


@pytest.mark.parametrize("binning", [1, 3])
def test_binned_pixels_average_their_responses_and_add_their_dark_signals(binning):
    sensor = Sensor(10_000, 0.0, 12, prnu=0.03, dsnu=9.0)
    camera = Camera((120, 130), 5e-6, binning=binning, sensor=sensor, exposure=0.5)
    dark = camera.expected(light(0, (120, 130), binning)) - 0.0
    bright = camera.expected(light(1.0, (120, 130), binning))
    assert (bright - dark).std().item() == pytest.approx(0.03 / binning * camera.white, rel=0.05)
    offset = camera.expected(light(0.5, (120, 130), binning)) - bright / 2
    assert offset.std().item() == pytest.approx(9.0 * binning / 2, rel=0.05)


def test_gradients_are_those_of_the_expectation():
    sensor = Sensor(10_000, 2.0, 12, prnu=0.02, dsnu=1.0, dark_electrons=5.0, offset=40)
    camera = camera_of(sensor, (3, 4))
    values = 0.1 + 0.5 * torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    grid = Grid((3, 4), 5e-6)
    assert torch.autograd.gradcheck(lambda v: camera.expected(Intensity(v, grid)), values.clone().requires_grad_())
    gradients = []
    for deliver in (
        lambda i: camera.sample(i, torch.Generator().manual_seed(2)) * sensor.electrons_per_count,
        camera.expected,
    ):
        value = values.clone().requires_grad_()
        deliver(Intensity(value, grid)).sum().backward()
        gradients.append(value.grad)
    torch.testing.assert_close(*gradients)


def test_the_exposure_fills_the_share_that_is_wanted():
    sensor = Sensor(10_000, 2.0, 12, dark_current=100.0, exposure_time=0.1, dark_electrons=20.0)
    image = Intensity(torch.rand(*SHAPE, generator=torch.Generator().manual_seed(0)).double(), Grid(SHAPE, 5e-6))
    for binning in (1, 2):
        camera = Camera(
            (SHAPE[0] // binning - 2, SHAPE[1] // binning - 2), 5e-6, binning=binning, exposure=0.03, sensor=sensor
        )
        exposed = camera.auto_exposed(image, 0.8)
        assert exposed.expected(image).max().item() == pytest.approx(0.8 * 10_000 * binning**2)
        assert exposed.sensor.exposure_time / 0.1 == pytest.approx(exposed.exposure / 0.03)


def test_no_pixel_exceeds_the_wanted_share_whatever_its_response():
    sensor = Sensor(10_000, 2.0, 12, prnu=0.05, dark_current=50.0, exposure_time=0.2, dark_electrons=30.0)
    for binning in (1, 2):
        camera = Camera(SHAPE, 5e-6, binning=binning, exposure=0.1, sensor=sensor)
        even = light(1.0, SHAPE, binning)
        brightest = camera.auto_exposed(even, 0.9).expected(even).max().item()
        assert brightest == pytest.approx(0.9 * 10_000 * binning**2, rel=1e-9)


@pytest.mark.parametrize("dark", [0.0, 900.0])
def test_a_ratio_is_reached_up_to_the_full_well_and_no_further(dark):
    sensor = Sensor(1000, 2.0, 10, dark_electrons=dark)
    room = 1000 - dark
    most = room / math.sqrt(1000 + 2.0**2 + (1000 / 1023) ** 2 / 12)  # dark and light together fill the well
    assert sensor.electrons_for(most * (1 - 1e-9)) == pytest.approx(room, rel=1e-6)
    with pytest.raises(
        ValueError, match=rf"snr must be at most {most:.4g} with a full well of 1000 e- and {dark:g} e-"
    ):
        sensor.electrons_for(most * 1.001)


def test_a_dark_current_comes_along_with_a_preset_and_is_said():
    sensor = Sensor.from_device("orca-flash-4.0-v3")
    assert sensor.dark_current == 0.06
    assert "dark current 0.06 e-/s" in sensor.noise_sources()
    with pytest.raises(ValueError, match=r"a dark current of 0\.06 e-/s needs the exposure_time \[s\], got none"):
        sensor.snr(100.0)
    assert Sensor.from_device("orca-flash-4.0-v3", dark_current=0).mean_dark == 0


def test_counting_photons_is_power_over_their_energy():
    # 1 nW of 532 nm for 1 ms: 2.678e6 photons; 5.034e24 lambda per joule.
    assert photons(1e-9, 532e-9, 1e-3) == pytest.approx(1e-12 * 5.034e24 * 532e-9, rel=1e-4)
    assert photons(h * c / 1e-6, 1e-6, 1.0) == pytest.approx(1)


def test_what_a_camera_does_is_said_and_what_it_does_not_is_not():
    text = repr(camera_of(Sensor(10_000, 2.0, 12, dsnu=1.5, prnu=0.01, offset=7, quantum_efficiency=0.6)))
    for words in (
        "full well 10000 e-",
        "read noise 2 e-",
        "12 bits",
        "offset 7 DN",
        "DSNU 1.5 e-",
        "PRNU 1 %",
        "QE 0.6",
    ):
        assert words in text
    assert "PRNU" not in repr(camera_of(Sensor(10_000, 2.0, 12)))
    assert "ideal" in repr(Camera((3, 4), 5e-6))


def counted(photons: torch.Tensor):
    means = [100, 200, 400, 600]
    frames = exact_frames(means, [40 + 0.5 * mean for mean in means])
    return photon_transfer(frames, exact_frames([0], [40.0])[0], photons=photons)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sensor(0, 1, 8), r"full_well must be positive, got 0 e-"),
        (lambda: Sensor(math.nan, 1, 8), "full_well must be positive, got nan"),
        (lambda: Sensor(100, -1, 8), "read_noise must not be negative"),
        (lambda: Sensor(100, math.nan, 8), "read_noise must not be negative, got nan"),
        (lambda: Sensor(100, 1, 0), r"bit_depth must be in 1 \.\.\. 16, got 0"),
        (lambda: Sensor(100, 1, 8, quantum_efficiency=82), r"quantum_efficiency must be in \(0, 1\], got 82"),
        (lambda: Sensor(100, 1, 8, dark_current=3).mean_dark, "a dark current of 3 e-/s needs the exposure_time"),
        (lambda: camera_of(Sensor(100, 1, 8, dark_current=3)), "a dark current of 3 e-/s needs the exposure_time"),
        (lambda: camera_of(Sensor.from_device("orca-quest")), r"0\.006 e-/s needs .* or dark_current=0"),
        (lambda: camera_of(Sensor(100, 1, 8, dark_electrons=100)), "must leave room, got 100 e- of 100 e-"),
        (lambda: Sensor(100, 1, 8, prnu=0.5), r"prnu must be at most 0\.2, got 0\.5\. It is a ratio: 1 % is 0\.01"),
        (lambda: Sensor(100, 1, 8, prnu=math.nan), "prnu must not be negative, got nan"),
        (lambda: Sensor(100, 1, 8, offset=255), "offset must be below the top level 255 DN"),
        (lambda: Sensor(100, 1, 8, gain=0), "gain must be positive, got 0 e-/DN"),
        (lambda: Sensor.from_device("andor-zyla-5.5"), "read_noise of andor-zyla-5.5 must be known"),
        (lambda: Sensor.from_device("andor-zyla-5.5", readnoise=1), "a sensor has no readnoise"),
        (lambda: camera_of(Sensor(100, 1, 8)).sample(light(math.nan), torch.Generator()), "light on a camera must be"),
        (lambda: camera_of(Sensor(100, 1, 8)).sample(light(-1), torch.Generator()), r"not negative, got -1 \.\.\. -1"),
        (lambda: camera_of(Sensor(100, 1, 8)).counts(light(math.nan)), "must be finite and not negative, got nan"),
        (lambda: camera_of(Sensor(100, 1, 8)).expected(light(math.inf)), "light on a camera must be finite"),
        (lambda: camera_of(Sensor(100, 1, 8))(light(math.nan)), "light on a camera must be finite"),
        (lambda: Camera(SHAPE, 5e-6)(light(math.nan)), "light on a camera must be finite"),
        (lambda: camera_of(Sensor(100, 1, 8)).auto_exposed(light(math.nan)), "light on a camera must be finite"),
        (lambda: camera_of(Sensor(100, 1, 8)).auto_exposed(light(0)), "an exposure needs light"),
        (lambda: camera_of(Sensor(100, 1, 8)).auto_exposed(light(1), 1.5), r"fraction must be in \(0, 1\], got 1.5"),
        (lambda: Camera((2, 2), 5e-6).auto_exposed(light(1, (2, 2))), "an exposure needs a sensor, got an ideal"),
        (lambda: photon_transfer(torch.zeros(3, 1, 4, 4), torch.zeros(2, 4, 4)), "at least 2 repeats"),
        (lambda: photon_transfer(torch.full((3, 2, 4, 4), math.nan), torch.zeros(2, 4, 4)), "frames must be finite"),
        (lambda: counted(torch.full((4,), math.nan)), "photons must be finite, not negative"),
        (lambda: counted(-torch.ones(4)), "photons must be finite, not negative and not all zero"),
        (lambda: counted(torch.zeros(4)), "photons must be finite, not negative and not all zero"),
        (lambda: counted(torch.ones(3)), r"photons must be one number for each of 4 exposures, got \(3,\)"),
        (lambda: photon_transfer(exact_frames([1, 2, 3, 9], [9, 8, 7, 9.5]), exact_frames([0], [9.5])[0]), "must grow"),
        (lambda: Sensor(100, 1, 8).electrons_for(50), r"snr must be at most .* of 100 e- and 0 e- of dark .*, got 50"),
        (lambda: Sensor(100, 1, 8).electrons_for(math.nan), "snr must be positive and below 1e9, got nan"),
        (lambda: Sensor(100, 1, 8).electrons_for(-5), "snr must be positive and below 1e9, got -5"),
        (lambda: Sensor(100, 1, 8).snr(-1), r"electrons must be in 0 \.\.\. 100 e-, .* got -1 e-"),
        (lambda: Sensor(100, 1, 8, dark_electrons=40).snr(61), r"electrons must be in 0 \.\.\. 60 e-, .* got 61 e-"),
        (lambda: Sensor(100, 1, 8).snr(math.nan), "electrons must be in .* got nan"),
    ],
)  # fmt: skip
def test_what_no_camera_can_be_is_refused_in_one_line(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_stated_numbers_win_over_a_preset():
    plain = Sensor.from_device("orca-flash-4.0-v3")
    assert (plain.full_well, plain.bit_depth, plain.quantum_efficiency) == (30_000, 16, 0.82)
    assert Sensor.from_device("orca-flash-4.0-v3", quantum_efficiency=0.5).quantum_efficiency == 0.5
    timed = Sensor.from_device("orca-flash-4.0-v3", exposure_time=10.0)
    assert timed.mean_dark == pytest.approx(0.6)
