"""The camera: electrons and counts as EMVA 1288 has them."""

import math

import numpy as np
import pytest
import torch
from scipy.special import erf

from optics4f.elements import Camera
from optics4f.elements.camera import Sensor, overlap
from optics4f.elements.sensor import LARGEST_PRNU
from optics4f.field import Field, Intensity
from optics4f.grid import Grid
from optics4f.noise import shot_noise
from tests.references import pixels_by_points

SENSOR = Sensor(full_well=10_700, read_noise=2.45, bit_depth=12)
GAIN = 10_700 / 4095
SHAPE = (210, 150)  # 31500 pixels: a variance is then known to 0.8 %


def even_light(intensity: float, shape: tuple[int, int] = SHAPE, pitch: float = 4e-6) -> Field:
    data = torch.full(shape, math.sqrt(intensity), dtype=torch.complex128)
    return Field(data, Grid(shape, pitch), 532e-9)


def camera(**options) -> Camera:
    return Camera(SHAPE, **{"pitch": 4e-6, "sensor": SENSOR, **options})


def drawn(device: Camera, intensity: float, seed: int = 0) -> torch.Tensor:
    field = even_light(intensity, SHAPE, device.grid.pitch)
    return device.counts(field, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("exposure", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("dark", [0.0, 300.0])
def test_mean_and_variance_of_the_counts_are_those_of_emva_1288(exposure, dark):
    device = camera(exposure=exposure, sensor=Sensor(10_700, 2.45, 12, dark))
    counts = drawn(device, 0.8)
    electrons = 0.8 * exposure * 10_700 + dark
    variance = electrons / GAIN**2 + (2.45 / GAIN) ** 2 + 1 / 12
    assert abs(counts.mean().item() - electrons / GAIN) < 3 * math.sqrt(variance / counts.numel())
    assert counts.var().item() == pytest.approx(variance, rel=0.03)


def test_read_noise_and_rounding_remain_where_there_is_little_light():
    sensor = Sensor(1000, 6.0, 8)  # 3.92 e- a count: read noise is most of the variance, rounding a part of it
    gain = 1000 / 255
    counts = drawn(camera(exposure=0.05, sensor=sensor), 1.0)
    assert counts.var().item() == pytest.approx(50 / gain**2 + (6 / gain) ** 2 + 1 / 12, rel=0.03)


def test_photon_transfer_recovers_the_gain():
    means, variances = [], []
    for step in range(1, 8):
        first, second = (drawn(camera(exposure=0.1 * step), 1.0, seed=10 * step + n) for n in (0, 1))
        means.append(((first.mean() + second.mean()) / 2).item())
        variances.append(((first - second).var() / 2).item())
    slope, offset = np.polyfit(means, variances, 1)
    assert slope == pytest.approx(1 / GAIN, rel=0.02)
    assert abs(offset) < 0.01 * max(variances)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_too_much_light_stops_at_the_top_level_and_never_wraps(bits):
    device = camera(exposure=1.5, sensor=Sensor(10_700, 2.45, bits))
    assert torch.equal(device.counts(even_light(1.0)), torch.full(SHAPE, 2.0**bits - 1, dtype=torch.float64))
    noisy = drawn(device, 40.0)
    # Read noise is added behind the full well, so a saturated pixel may read a few counts less.
    assert noisy.max() == 2**bits - 1
    assert noisy.min() >= (2**bits - 1) * (1 - 6 * 2.45 / 10_700) - 1


def test_darkness_reads_no_negative_count():
    assert drawn(camera(), 0.0).min() == 0
    assert torch.equal(camera().counts(even_light(0.0)), torch.zeros(SHAPE, dtype=torch.float64))


def test_counts_without_noise_are_the_expected_electrons_rounded():
    device = camera(exposure=0.5)
    field = even_light(1.0)
    ramp = Field(field.data * torch.linspace(0, 1.2, SHAPE[1], dtype=torch.float64), field.grid, field.wavelength)
    wanted = np.rint(0.5 * 4095 * np.linspace(0, 1.2, SHAPE[1]) ** 2)
    assert torch.equal(device.counts(ramp)[7], torch.from_numpy(wanted))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_counts_are_whole_numbers_to_the_last_bit(dtype, generator):
    data = torch.rand(60, 50, generator=generator, dtype=torch.float64).to(dtype)
    device = Camera((60, 50), 4e-6, sensor=SENSOR, binning=1)
    for noise in (None, generator):
        counts = device.counts(Field(data, Grid((60, 50), 4e-6), 532e-9), noise)
        assert torch.equal(counts, counts.round())


def test_a_full_well_is_full_and_only_read_noise_moves_it():
    counts = drawn(camera(), 40.0)
    # Light far beyond the full well: below the top level lie those whose read noise rounds down by one or more.
    below = 0.5 * (1 + erf(-0.5 * GAIN / (2.45 * math.sqrt(2))))
    assert (counts < 4095).double().mean().item() == pytest.approx(below, abs=3 * math.sqrt(below / counts.numel()))


def test_the_rounding_of_each_binned_pixel_is_noise_of_the_sum():
    # 78 e- a count and 9 e- of shot noise: nearly all variance is that of 16 roundings.
    device = Camera(SHAPE, 4e-6, binning=4, exposure=0.5, sensor=Sensor(20_000, 0.0, 8, 90.0))
    gain = 20_000 / 255
    field = even_light(0.01, SHAPE, device.grid.pitch)
    counts = device.counts(field, torch.Generator().manual_seed(0))
    assert counts.mean().item() == pytest.approx(16 * (100 + 90) / gain, rel=1e-3)
    assert counts.var().item() == pytest.approx(16 * (190 / gain**2 + 1 / 12), rel=0.03)


@pytest.mark.parametrize("binning", [2, 4])
def test_binned_pixels_add_up_and_so_do_their_variances(binning):
    device = Camera(SHAPE, 4e-6, binning=binning, exposure=0.5, sensor=Sensor(2000, 9.0, 8))
    gain, n = 2000 / 255, binning**2
    counts = drawn(device, 0.5)
    assert counts.mean().item() == pytest.approx(n * 500 / gain, rel=1e-3)
    wanted = n * (500 / gain**2 + (9 / gain) ** 2 + 1 / 12)
    assert counts.var().item() == pytest.approx(wanted, rel=0.03)
    assert device.counts(even_light(9.0, SHAPE, device.grid.pitch)).unique().item() == n * 255


@pytest.mark.parametrize(("pixels", "pixel", "samples", "sample"), [(5, 3.45e-6, 9, 2.3e-6), (4, 8e-6, 47, 0.9e-6)])
def test_every_pixel_is_shared_out_completely_among_the_samples(pixels, pixel, samples, sample):
    weights = overlap(pixels, pixel, samples, sample)
    torch.testing.assert_close(weights.sum(1), torch.ones(pixels, dtype=torch.float64), rtol=0, atol=1e-12)
    assert weights.min() >= 0
    # No sample gives away more than its own width.
    assert (weights.sum(0) * pixel / sample).max() <= 1 + 1e-12


def test_samples_and_pixels_of_unlike_pitches_keep_every_watt(generator):
    samples, pitch = (64, 92), 2.1e-6
    data = torch.zeros(*samples, dtype=torch.complex128)
    data[14:50, 10:80] = torch.randn(36, 70, dtype=torch.complex128, generator=generator)
    device = Camera((30, 47), 3.45e-6)
    field = Field(data, Grid(samples, pitch), 532e-9)
    power = device(field).sum() * 3.45e-6**2  # the lit part lies inside the camera
    torch.testing.assert_close(power, field.power, rtol=1e-12, atol=0)


def test_a_pixel_sees_the_mean_over_its_own_square(generator):
    # Off-centre, non-square, commensurate by 2 : 3, so that a lattice of 300 points counts the shares exactly.
    data = torch.randn(15, 20, dtype=torch.complex128, generator=generator)
    actual = Camera((4, 7), 6e-6)(Field(data, Grid((15, 20), 4e-6), 532e-9))
    wanted = pixels_by_points(data.abs().square().numpy(), 4e-6, (4, 7), 6e-6, points=300)
    np.testing.assert_allclose(actual.numpy(), wanted, rtol=1e-12)


def test_a_beam_off_the_axis_fills_the_pixels_that_its_integral_fills():
    grid, waist, shift = Grid((300, 360), 0.5e-6), 20e-6, (11e-6, -23e-6)
    y, x = grid.coordinates()
    beam = torch.exp(-((y - shift[0]) ** 2 + (x - shift[1]) ** 2) / waist**2).to(torch.complex128)
    actual = Camera((20, 26), 6.5e-6)(Field(beam, grid, 532e-9)).numpy()

    def shares(count: int, centre: float) -> np.ndarray:
        edges = (np.arange(count + 1) - count // 2 - 0.5) * 6.5e-6 - centre
        return np.diff(erf(math.sqrt(2) * edges / waist)) * math.sqrt(math.pi / 8) * waist / 6.5e-6

    wanted = np.outer(shares(20, shift[0]), shares(26, shift[1]))
    # The samples are steps 1/40 of the waist wide; the midpoint rule errs by a share of their square.
    np.testing.assert_allclose(actual, wanted, atol=3e-4 * wanted.max())


def test_the_signal_is_in_units_of_the_intensity():
    light, wanted = even_light(0.7), torch.full(SHAPE, 0.7, dtype=torch.float64)
    torch.testing.assert_close(Camera(SHAPE, 4e-6)(light), wanted)
    step = GAIN / (0.4 * 10_700)  # one count
    torch.testing.assert_close(camera(exposure=0.4)(light), wanted, rtol=0, atol=step / 2)


@pytest.mark.parametrize("binning", [1, 3])
def test_the_black_level_of_every_binned_pixel_is_taken_off_the_signal(binning):
    device = camera(binning=binning, exposure=0.4, sensor=Sensor(10_000, 0.0, 12, offset=50, gain=2.5))
    for intensity in (0.0, 0.6):  # whole counts: 960 a sensor pixel
        seen = device(even_light(intensity, SHAPE, device.grid.pitch))
        torch.testing.assert_close(seen, torch.full(SHAPE, intensity, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_responses_at_the_limit_never_turn_light_into_less_than_none(generator):
    # Of these 1.6 million draws one lies 5.7 standard deviations below the mean, where the response would be negative.
    shape = (1300, 1250)
    device = Camera(shape, 4e-6, exposure=1.0, sensor=Sensor(1000, 0.0, 12, prnu=LARGEST_PRNU, pattern_seed=3))
    light = Intensity(torch.ones(shape), Grid(shape, 4e-6))
    expected = device.expected(light)
    assert expected.min() == 0
    assert device.sample(light, generator)[expected == 0].max() == 0


def test_darkness_that_an_fft_leaves_a_little_below_zero_is_darkness(generator):
    grid = Grid((5, 6), 4e-6)
    dark = Intensity(torch.full((5, 6), -1e-9), grid)
    device = Camera((5, 6), 4e-6, sensor=Sensor(1000, 0.0, 8))
    assert device.sample(dark, generator).max() == 0
    assert device(dark, generator).max() == 0


def test_a_draw_around_no_number_is_no_number_and_below_zero_none(generator):
    means = torch.tensor([math.nan, math.inf, -3.0, 0.0])
    drawn = shot_noise(means, generator)
    assert drawn.isnan().tolist() == [True, True, False, False]
    assert drawn[2:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("binning", [1.5, True])
def test_a_binning_that_counts_no_pixels_is_refused(binning):
    with pytest.raises(TypeError, match="binning must be a whole number of pixels, got"):
        camera(binning=binning)


def test_the_same_seed_takes_the_same_picture_and_leaves_the_light_as_it_was():
    field = even_light(0.3)
    before = field.data.clone()
    first, again, other = (camera().counts(field, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(field.data, before)


def test_the_gradient_is_that_of_the_expected_signal_and_none_where_saturated(generator):
    data = torch.full((2, 3), 0.8, dtype=torch.complex128)
    data[1, 2] = 2.0  # four times what the full well holds
    data.requires_grad_()
    device = Camera((2, 3), 4e-6, exposure=0.9, sensor=SENSOR)
    device.counts(Field(data, Grid((2, 3), 4e-6), 532e-9), generator).sum().backward()
    wanted = torch.full((2, 3), 2 * 0.8 * 0.9 * 4095, dtype=torch.complex128)  # d |u|^2 = 2 u
    wanted[1, 2] = 0
    torch.testing.assert_close(data.grad, wanted)


def test_the_gradient_of_the_integration_is_right(generator):
    data = torch.randn(2, 6, 5, dtype=torch.complex128, generator=generator, requires_grad=True)
    device = Camera((2, 3), 4e-6)
    assert torch.autograd.gradcheck(lambda d: device(Field(d, Grid((6, 5), 3e-6), 532e-9)), data)


def test_an_ideal_camera_says_so_and_has_no_counts():
    ideal = Camera(SHAPE, 4e-6)
    assert "ideal: no noise, no saturation, no levels" in repr(ideal)
    with pytest.raises(ValueError, match=r"counts need a sensor, got an ideal camera"):
        ideal.counts(even_light(1.0))


def test_a_field_that_does_not_cover_the_camera_is_refused():
    with pytest.raises(ValueError, match=r"must cover the camera, got 9 samples of 4 um for 10 pixels of 4 um"):
        Camera((8, 10), 4e-6)(Field(torch.ones(9, 9, dtype=torch.complex64), Grid((9, 9), 4e-6), 532e-9))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exposure": 0}, r"exposure must be positive, got 0 of the full well"),
        ({"exposure": math.nan}, "exposure must be positive"),
        ({"binning": 0}, "binning must be at least 1, got 0"),
        ({"pitch": math.nan}, "pitch must be positive, got nan"),
    ],
)
def test_a_camera_that_takes_no_picture_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        camera(**options)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0, 1, 8), "full_well must be positive, got 0 e-"),
        ((math.nan, 1, 8), "full_well must be positive"),
        ((100, -1, 8), "read_noise must not be negative, got -1 e-"),
        ((100, 1, 0), r"bit_depth must be in 1 \.\.\. 16, got 0"),
        ((100, 1, 17), r"bit_depth must be in 1 \.\.\. 16, got 17"),
        ((100, 1, 8, -2), "dark_electrons must not be negative, got -2 e-"),
    ],
)
def test_a_sensor_of_impossible_numbers_is_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        Sensor(*numbers)


@pytest.mark.parametrize("samples", [(7, 8), (8, 9), (9, 12), (7, 20)])
def test_pixels_that_are_samples_take_theirs_and_learn_from_them(samples, generator):
    pixels = (7, 8)
    light = torch.rand(2, *samples, dtype=torch.float64, generator=generator).requires_grad_()
    seen = Camera(pixels, 4e-6).integrated(Intensity(light, Grid(samples, 4e-6)))
    starts = [n // 2 - p // 2 for n, p in zip(samples, pixels, strict=True)]  # sample n // 2 is on the axis
    wanted = light.detach()[:, starts[0] : starts[0] + 7, starts[1] : starts[1] + 8]
    torch.testing.assert_close(seen.detach(), wanted, rtol=1e-12, atol=0)
    seen.sum().backward()
    assert light.grad.sum() == seen.numel() and light.grad.max() == 1


def plain(device: Camera, light: torch.Tensor, *, signal: bool) -> torch.Tensor:
    """Counts or signal without noise, by the model that the module states, in steps that autograd knows."""
    sensor, pixels = device.sensor, device.binning**2
    response, pattern = device._patterns(light)
    electrons = light * device.white * (1 if response is None else response) + sensor.mean_dark * pixels
    electrons = electrons.clamp(max=sensor.full_well * pixels) + (0 if pattern is None else pattern)
    exact = electrons / sensor.electrons_per_count + sensor.offset * pixels
    counts = (exact + (exact.round() - exact).detach()).clamp(0, (2**sensor.bit_depth - 1) * pixels)
    return (counts - sensor.offset * pixels) * sensor.electrons_per_count / device.white if signal else counts


@pytest.mark.parametrize("signal", [False, True])
@pytest.mark.parametrize(
    "numbers", [{}, {"prnu": 0.05, "dsnu": 40.0}, {"offset": 5.0, "gain": 9.0}, {"gain": 1.0, "dsnu": 90.0}], ids=str
)
def test_frames_and_their_gradients_are_those_of_the_plain_steps(numbers, signal, generator):
    device = Camera((20, 30), 4e-6, binning=2, exposure=0.9, sensor=Sensor(1000, 2.0, 8, 3.0, **numbers))
    light = (torch.rand(3, 20, 30, dtype=torch.float64, generator=generator) * 1.6).square_()
    light[0, :4] = 0.0
    weights = torch.randn(light.shape, dtype=torch.float64, generator=generator)
    results = []
    take = device if signal else device.counts
    for made in (lambda x: take(Intensity(x, device.grid)), lambda x: plain(device, x, signal=signal)):
        x = light.clone().requires_grad_()
        frames = made(x)
        _, tangent = torch.func.jvp(made, (light,), (weights,))
        (frames.clone() * weights).sum().backward()
        results.append((frames.detach(), x.grad, tangent))
    assert 0 < (results[1][1] == 0).double().mean() < 0.9, "some pixels saturate, others do not"
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(take(Intensity(light, device.grid)), results[0][0]), "the second frame is the first"


def test_frames_are_nobody_elses_and_can_be_changed(generator):
    for grid in (Grid((6, 5), 4e-6), Grid((6, 9), 4e-6)):
        light = torch.rand(2, *grid.shape, generator=generator)
        before = light.clone()
        ideal = Camera((6, 5), 4e-6)(Intensity(light, grid))
        assert ideal.is_contiguous()
        ideal.mul_(3)
        assert torch.equal(light, before)
    light.requires_grad_()
    Camera((6, 5), 4e-6, sensor=SENSOR)(Intensity(light, grid), generator).mul_(2).sum().backward()
    assert light.grad.max() > 0


def test_a_camera_looks_at_one_grid_and_type_after_the_other(generator):
    device = Camera((4, 5), 4e-6)
    for shape, pitch, dtype in (
        ((4, 5), 4e-6, torch.float32),
        ((11, 13), 2e-6, torch.float64),
        ((8, 9), 4e-6, torch.float64),
    ):
        light = torch.rand(shape, dtype=dtype, generator=generator)
        grid = Grid(shape, pitch)
        seen = device.integrated(Intensity(light, grid))
        assert seen.dtype == dtype
        rows, columns = (overlap(p, 4e-6, n, pitch).to(dtype) for p, n in zip((4, 5), shape, strict=True))
        torch.testing.assert_close(seen, rows @ light @ columns.mT)
    device.grid = Grid((3, 3), 4e-6)
    assert device.integrated(Intensity(light, grid)).shape == (3, 3)
