"""Each defect of a device against its closed form; what is switched off is not there; what is wrong is refused."""

import copy
import math

import numpy as np
import pytest
import torch

from optics4f.devices import slm_device
from optics4f.effects import (
    LUT,
    AmplitudeCoupling,
    Crosstalk,
    FillFactor,
    Flatness,
    Flicker,
    MirrorTilt,
    NonUniformity,
    PhaseRange,
    Quantization,
)
from optics4f.elements import SLM, AmplitudeSLM
from optics4f.elements.slm import slm_from_device
from optics4f.field import Intensity
from optics4f.grid import Grid
from optics4f.quantization import nearest_levels, neighbours
from optics4f.routes import FourierLensRoute
from optics4f.zernike import zernike
from tests.optics4f.benches import random_images, relative, small_bench, smooth_masks
from tests.optics4f.panels import TURN, everything, phases, showing

GRID = Grid((6, 8), 8e-6)


def blaze(period: int, pixels: int, *effects, rows: int = 1, **options) -> SLM:
    x = torch.arange(pixels, dtype=torch.float64) % period
    return showing((TURN / period * x).expand(1, rows, pixels), *effects, **options)


def order_power(slm, order: int, axis: int = -1) -> float:
    """Share of the light in an order of the whole mask along x, pixels drawn as filled squares by fine samples."""
    field = slm.modulation()[0].detach().numpy()
    if axis == -1:
        field = field.mean(0)
    n, s = len(field), slm.samples_per_pixel
    amplitude = (field * np.exp(-2j * np.pi * order * (np.arange(n) + 0.5) / n)).mean()
    return abs(amplitude * np.sinc(order / n)) ** 2 if s > 1 else abs(amplitude) ** 2


# --- levels ---


def test_a_lut_and_its_inverse_return_the_level():
    generator = torch.Generator().manual_seed(1)
    steps = torch.rand(256, generator=generator, dtype=torch.float64) + 0.1
    table = torch.cumsum(steps, 0) / steps.sum() * 0.98 * TURN + 0.3  # uneven, and past 2 pi
    slm = SLM(Grid((16, 16), 8e-6), effects=[LUT(table)], dtype=torch.float64)
    levels = torch.randperm(256, generator=generator).reshape(1, 16, 16)
    slm.load_levels(levels)
    assert torch.equal(slm.levels(), levels)
    wanted = torch.exp(1j * table[levels])
    torch.testing.assert_close(slm.modulation().detach(), wanted, rtol=0, atol=1e-14)
    assert len(torch.unique(torch.view_as_real(slm.modulation().detach()).reshape(-1, 2), dim=0)) == 256


@pytest.mark.parametrize("slug", ["ti-plm-0.67", "ti-plm-0.47"])
def test_the_nearest_of_uneven_levels_is_shown(slug):
    ratios = slm_device(slug).level_ratios.value
    table = torch.tensor(ratios, dtype=torch.float64) * TURN * 15 / 16
    values = phases(2, 9, 7)
    slm = showing(values, LUT.of_ratios(ratios, TURN * 15 / 16), bit_depth=4)
    distance = (torch.exp(1j * values)[..., None] - torch.exp(1j * table)).abs()
    assert torch.equal(slm.levels(), distance.argmin(-1))
    torch.testing.assert_close(slm.modulation().detach(), torch.exp(1j * table)[slm.levels()], rtol=0, atol=1e-14)


def test_between_two_levels_the_fraction_counts_the_way_round_the_circle():
    table = torch.tensor([0.5, 3.0, 6.0], dtype=torch.float64)
    lower, upper, fraction = neighbours(torch.tensor([1.0, 6.2, 0.1, 0.5, -0.1], dtype=torch.float64), table)
    assert lower.tolist() == [0, 2, 2, 0, 2]
    assert upper.tolist() == [1, 0, 0, 1, 0]
    gap = 0.5 + TURN - 6.0
    wanted = [0.5 / 2.5, 0.2 / gap, (0.1 + TURN - 6) / gap, 0.0, (TURN - 0.1 - 6) / gap]
    assert fraction.tolist() == pytest.approx(wanted)
    assert nearest_levels(torch.tensor([6.2, 0.2, 0.4]), table).tolist() == [2, 0, 0]


def test_an_uncalibrated_lut_is_an_error_and_a_calibrated_one_is_not():
    # A panel of 0.9 of its stroke: the driver that does not know shows c times what it wants.
    table = 0.9 * TURN * torch.arange(256, dtype=torch.float64) / 256
    wrong = blaze(64, 64, LUT(table, calibrated=False))
    torch.testing.assert_close(wrong.modulation().angle() % TURN, 0.9 * wrong.values.detach() % TURN, atol=0.03, rtol=0)
    # sinc^2(1 - c) remains (case 12b), of 64 pixels a period.
    assert order_power(wrong, 1) == pytest.approx(np.sinc(0.1) ** 2, rel=2e-3)
    assert order_power(blaze(64, 64, LUT(table, calibrated=True)), 1) > order_power(wrong, 1) + 0.01


def test_one_draw_serves_phase_and_amplitude():
    amplitude = torch.linspace(0.4, 1.0, 16, dtype=torch.float64)
    table = LUT(TURN / 16 * torch.arange(16, dtype=torch.float64), amplitude)
    for method in ("straight-through", "soft", "gumbel"):
        slm = showing(phases(1, 20, 20), table, Quantization(4, method=method, temperature=0.3))
        shown = slm.modulation().detach()
        level = shown.angle() % TURN / TURN * 16
        between = torch.remainder(level, 16)
        low, high = between.floor().long() % 16, between.ceil().long() % 16
        # On the line from a level's amplitude to the next one's, at the same share as the phase.
        line = amplitude[low] + (between - between.floor()) * (amplitude[high] - amplitude[low])
        torch.testing.assert_close(shown.abs(), line, rtol=0, atol=1e-9)


def test_a_complex_table_is_the_same_panel_as_its_phases():
    # 1.4 turns, past pi and 2 pi; other wavelengths, an uneven panel and crosstalk feel the phase, not its phasor.
    phase = 0.2 + 1.4 * TURN * (torch.arange(64, dtype=torch.float64) / 63) ** 1.3
    amplitude = torch.linspace(1, 0.7, 64, dtype=torch.float64)
    table = LUT.of_complex(amplitude * torch.exp(1j * phase))
    torch.testing.assert_close(table.phase, phase, rtol=0, atol=1e-12)
    values, effects = phases(1, *GRID.shape), (NonUniformity({2: 0.05}), Crosstalk())
    ours, theirs = (
        showing(values, lut, *effects, bit_depth=6).modulation(0.8).detach() for lut in (table, LUT(phase, amplitude))
    )
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    down = LUT.of_complex(torch.exp(-1j * phase)).phase  # a panel whose phase falls with the level
    torch.testing.assert_close(down, -phase, rtol=0, atol=1e-12)
    assert LUT.of_complex([1, -1]).phase.tolist() == pytest.approx([0, math.pi])


def test_complex_amplitude_of_a_level_is_what_was_measured():
    measured = 0.8 * torch.exp(1j * TURN / 8 * torch.arange(8, dtype=torch.float64)) + 0.1
    slm = SLM(Grid((2, 4), 8e-6), effects=[LUT.of_complex(measured), Quantization(3)], dtype=torch.float64)
    levels = torch.arange(8).reshape(1, 2, 4)
    slm.load_levels(levels)
    torch.testing.assert_close(slm.modulation().detach().flatten(), measured, rtol=0, atol=1e-14)


@pytest.mark.parametrize("maximum", [280 * math.pi / 180, 5.5])
def test_a_short_stroke_shows_the_nearer_end(maximum):
    values = torch.tensor([[[0.0, 1.0, maximum, (maximum + TURN) / 2 - 0.01, (maximum + TURN) / 2 + 0.01, -0.1]]])
    wanted = [0.0, 1.0, maximum, maximum, 0.0, 0.0]
    continuous = showing(values.double(), PhaseRange(maximum), bit_depth=None)
    assert (continuous.modulation().angle() % TURN)[0, 0].tolist() == pytest.approx(wanted, abs=1e-6)
    levels = showing(values.double(), PhaseRange(maximum), bit_depth=8)
    assert (levels.modulation().angle() % TURN)[0, 0].tolist() == pytest.approx(wanted, abs=maximum / 255 / 2 + 1e-6)
    assert levels.levels()[0, 0].tolist()[2:] == [255, 255, 0, 0]


# --- how levels are trained ---


@pytest.mark.parametrize("method", ["soft", "gumbel"])
def test_soft_levels_harden_and_are_hard_when_evaluated(method):
    values = phases(1, 30, 30)
    hard = showing(values, bit_depth=3).modulation().detach()
    quantization = Quantization(3, method=method, temperature=0.3)
    slm = showing(values, quantization)
    if method == "soft":
        assert relative(slm.modulation().detach(), hard) > 1e-2
        quantization.anneal(1e-3)
        assert relative(slm.modulation().detach(), hard) < 2e-2
    slm.eval()
    torch.testing.assert_close(slm.modulation().detach(), hard, rtol=0, atol=1e-14)
    assert torch.equal(slm.levels(), showing(values, bit_depth=3).levels())


def test_the_gumbel_draw_picks_a_neighbour_as_often_as_its_logit_says():
    # 40 % of the way to level 1: sigmoid((2 * 0.4 - 1) / T) of 20 000 pixels.
    values = torch.full((1, 100, 200), 0.4 * TURN / 8, dtype=torch.float64)
    slm = showing(values, Quantization(3, method="gumbel", temperature=0.5, seed=3))
    level = torch.round(slm.modulation().angle() / TURN * 8)
    assert set(level.flatten().tolist()) == {0.0, 1.0}
    chance = 1 / (1 + math.exp(0.2 / 0.5))
    assert level.mean().item() == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / 20_000))
    twin = showing(values, Quantization(3, method="gumbel", temperature=0.5, seed=3))
    assert torch.equal(torch.round(twin.modulation().angle() / TURN * 8), level)  # the draws of a seed
    copy.deepcopy(slm)


# --- the pixel ---


@pytest.mark.parametrize(("levels", "tabulated"), [(2, 0.40528), (4, 0.81057), (8, 0.94964), (16, 0.98721)])
def test_a_blaze_of_n_levels_has_its_efficiency(levels, tabulated):
    slm = blaze(levels, 4 * levels, bit_depth=8, samples_per_pixel=16)
    assert order_power(slm, 4) == pytest.approx(tabulated, abs=1e-3)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("gaps", ["reflecting", "absorbing"])
def test_gaps_along_one_axis_feed_the_orders_of_the_pixel(gaps, axis):
    f, samples = 0.9, 20  # edges on samples
    linear = (f, 1.0) if axis == 0 else (1.0, f)
    slm = SLM(Grid((4, 4), 8e-6), effects=[FillFactor(linear, gaps=gaps)], samples_per_pixel=samples, bit_depth=None,
              dtype=torch.float64)  # fmt: skip
    slm.set_values(torch.full((1, 4, 4), math.pi, dtype=torch.float64))  # active area -1
    line = slm.modulation()[0].detach().numpy().mean(1 - axis)
    position = (np.arange(len(line)) + 0.5) / samples  # pixels
    for m in range(4):
        amplitude = (line * np.exp(-2j * np.pi * m * position)).mean() * np.sinc(m / samples)
        active = -f * np.sinc(f * m)
        gap = ((m == 0) - f * np.sinc(f * m)) if gaps == "reflecting" else 0.0
        assert abs(amplitude) ** 2 == pytest.approx((active + gap) ** 2, abs=1e-3 * f**2)


@pytest.mark.parametrize(("gaps", "zero"), [("reflecting", (1 - 0.9) ** 2), ("absorbing", 0.0)])
def test_a_blaze_loses_what_its_gaps_take_and_they_feed_the_zero_order_or_not(gaps, zero):
    f, period, samples = 0.9, 8, 20
    slm = blaze(period, 4 * period, FillFactor((1.0, f), gaps=gaps), bit_depth=None, samples_per_pixel=samples)
    # f^2 sinc^2(f/N): 0.7768; the staircase's own loss is sinc^2(1/N) with f in it.
    assert order_power(slm, 4) == pytest.approx(f**2 * np.sinc(f / period) ** 2, abs=1e-3)
    assert order_power(slm, 4) == pytest.approx(0.7768, abs=1e-3)
    assert order_power(slm, 0) == pytest.approx(zero, abs=1e-3)
    closed = blaze(period, 4 * period, FillFactor((1.0, f), gaps=gaps), bit_depth=None)
    assert order_power(closed, 0) == pytest.approx(zero, abs=1e-12)  # the mean of a pixel has the right zero order


def test_the_edge_of_the_active_area_is_grey_where_it_crosses_a_sample():
    slm = SLM(Grid((1, 1), 8e-6), effects=[FillFactor(0.5, gaps="absorbing")], samples_per_pixel=7, bit_depth=None)
    covered = slm.modulation().real[0]
    assert covered.mean().item() == pytest.approx(0.5, abs=1e-6)
    assert ((covered > 0.01) & (covered < 0.99)).any()


def test_mirrors_blaze_towards_the_order_next_to_their_reflection():
    tilt = MirrorTilt("12 deg")
    pitch, wavelength = 13.68e-6, 532e-9
    cycles = 2 * pitch * math.sin(math.radians(12)) / math.sqrt(2) / wavelength
    residue = cycles - round(cycles)
    assert tilt.residue(pitch, wavelength) == pytest.approx(residue)
    grid, options = Grid((3, 4), pitch), {"bit_depth": 1, "wavelength": wavelength, "dtype": torch.float64}
    closed = AmplitudeSLM(grid, None, [tilt], **options).modulation().detach()
    assert closed.abs().square().mean().item() == pytest.approx(np.sinc(residue) ** 4)  # sinc^2 an axis
    fine = AmplitudeSLM(grid, None, [tilt], samples_per_pixel=9, **options).modulation().detach()
    assert abs(fine.mean().item()) ** 2 == pytest.approx(np.sinc(residue) ** 4, rel=1e-9)
    # A mirror of 0.9 x 0.8 of its pixel: f sinc(f c) an axis, and the light of the gaps beside it, at any sampling.
    for gaps in ("absorbing", "reflecting"):
        effects = [tilt, FillFactor((0.9, 0.8), gaps=gaps)]
        mirror = math.prod(f * np.sinc(f * residue) for f in (0.9, 0.8))
        wanted = mirror + (1 - 0.9 * 0.8 if gaps == "reflecting" else 0)
        for samples in (1, 2, 7, 8, 40):
            slm = AmplitudeSLM(grid, None, effects, samples_per_pixel=samples, **options)
            assert slm.modulation().detach().mean().item() == pytest.approx(wanted, abs=1e-12)
    with pytest.raises(ValueError, match="mirror_tilt needs the wavelength"):
        AmplitudeSLM(grid, None, [tilt])


# --- the panel ---


def test_the_crosstalk_kernel_is_the_published_one():
    # Row sums of the 9 x 9 kernel of hologradpy's super_gaussian.py with its defaults (3, 3, 1.20, 2.03): numpy's fft2.
    taps = [4.27069131e-03, 1.12016972e-02, 1.08339084e-04, 1.07952849e-01, 7.52932846e-01]
    kernel = Crosstalk().kernel()
    np.testing.assert_allclose(kernel, taps + taps[-2::-1], atol=1e-9)
    k = np.arange(-4.5, 4.5) / 3
    for scale, order in ((1, 1.2), (2, 1.2), (0.4, 2.0)):
        profile = np.exp(-((np.abs(k) * scale / 2.03) ** order))
        plane = np.abs(np.fft.fftshift(np.fft.ifft2(profile[:, None] * profile)))
        ours = Crosstalk(scale, order=order).kernel().numpy()
        np.testing.assert_allclose(np.outer(ours, ours), plane / plane.sum(), atol=1e-14)


@pytest.mark.parametrize("fill", [(1.0, 1.0), (0.8, 0.9)])
def test_crosstalk_does_not_depend_on_the_samples_of_the_field(fill):
    values = phases(2, 4, 5)
    effects = Crosstalk(), FillFactor(fill)
    finest = showing(values, *effects, bit_depth=None, samples_per_pixel=60).modulation().detach()
    for s in (1, 2, 3, 4, 5, 6):
        seen = showing(values, *effects, bit_depth=None, samples_per_pixel=s).modulation().detach()
        n = 60 // s  # 60 has the edges of cells, gaps and samples: light is constant in between
        wanted = finest.reshape(2, 4 * s, n, 5 * s, n).mean((2, 4))
        torch.testing.assert_close(seen, wanted, rtol=0, atol=1e-12)


def test_orders_of_a_blaze_agree_from_three_samples_a_pixel_on():
    # Of its own sinc^2: an order near the edge of the band pays less than the mean over a pixel says.
    four = {s: order_power(blaze(4, 32, Crosstalk(), rows=3, bit_depth=None, samples_per_pixel=s), 8)
            for s in (1, 2, 3, 6, 9)}  # fmt: skip
    assert four[6] == pytest.approx(four[3], rel=1e-12)
    assert four[9] == pytest.approx(four[3], rel=1e-12)
    cells = Crosstalk().smeared((TURN / 4 * (torch.arange(32, dtype=torch.float64) % 4)).expand(1, 3, 32))[0, 4]
    wave = torch.exp(1j * (cells - TURN / 12 * torch.arange(96, dtype=torch.float64)))
    assert four[3] == pytest.approx((wave.mean().abs() * np.sinc(1 / 12)).item() ** 2, rel=1e-12)
    shares = {s: power / np.sinc(1 / 4) ** 2 if s > 1 else power for s, power in four.items()}
    assert shares[3] == pytest.approx(0.9478, abs=1e-4)
    assert shares[2] == pytest.approx(0.9405, abs=1e-4)  # means over half a pixel and over all of it
    assert shares[1] == pytest.approx(0.9283, abs=1e-4)


def test_crosstalk_smears_an_edge_keeps_the_mean_and_vanishes_at_scale_zero():
    phase = torch.zeros(1, 5, 12, dtype=torch.float64)
    phase[..., 6:] = 3.0
    smeared = Crosstalk().smeared(phase)
    assert smeared.shape == (1, 15, 36)
    middle = smeared[0, 7]
    assert (middle.diff() >= -1e-12).all()
    assert middle[0].item() == pytest.approx(0, abs=1e-12)
    assert middle[-1].item() == pytest.approx(3)
    assert 0.1 < middle[17].item() < middle[18].item() < 2.9
    assert (middle[17] + middle[18]).item() == pytest.approx(3)
    values = phases(2, 6, 8)
    ideal = showing(values, bit_depth=None).modulation()
    torch.testing.assert_close(showing(values, Crosstalk(0.0), bit_depth=None).modulation(), ideal, rtol=0, atol=1e-9)
    # Wider is worse: efficiency of a blaze of 4 pixels.
    powers = [order_power(blaze(4, 32, Crosstalk(s), rows=3, bit_depth=None), 8) for s in (0, 0.5, 1, 2)]
    assert powers == sorted(powers, reverse=True)
    assert powers[0] == pytest.approx(1)
    assert powers[2] < 0.99


def test_the_wrap_is_smeared_as_the_panel_shows_it():
    # A ramp through 2 pi and its unwrapped twin are the same light without crosstalk, and stay so with it.
    ramp = (TURN / 8 * torch.arange(16, dtype=torch.float64)).expand(1, 4, 16)
    for effects in ((), (Crosstalk(),)):
        wrapped, unwrapped = (showing(v, *effects, bit_depth=None) for v in (ramp % TURN, ramp))
        torch.testing.assert_close(wrapped.modulation(), unwrapped.modulation(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("deviation", [0.2, 0.5])
def test_flicker_lowers_the_efficiency_of_a_grating_by_its_closed_form(deviation):
    quiet = order_power(blaze(8, 64, bit_depth=None, rows=64), 8)
    closed = Flicker(deviation)
    assert order_power(blaze(8, 64, closed, bit_depth=None, rows=64), 8) == pytest.approx(
        quiet * math.exp(-(deviation**2)), rel=1e-12
    )
    assert closed.background == pytest.approx(1 - math.exp(-(deviation**2)))
    drawn = blaze(8, 64, Flicker(deviation, frames=40, seed=1), bit_depth=None, rows=64)
    assert drawn.frames == 40
    x = torch.arange(64, dtype=torch.float64)
    wave = torch.exp(-2j * math.pi * 8 * x / 64)
    powers = [(drawn.modulation(frame=f)[0].mean(0) * wave).mean().abs().square().item() for f in range(40)]
    # 40 frames of 4096 pixels: the order fluctuates by 2 s / sqrt(pixels) a frame; 1 % allows ten times the mean's.
    assert np.mean(powers) == pytest.approx(quiet * math.exp(-(deviation**2)), rel=1e-2)
    assert torch.equal(drawn.modulation(frame=3), drawn.modulation(frame=3))
    assert not torch.equal(drawn.modulation(frame=3), drawn.modulation(frame=4))


def test_a_route_averages_the_frames_of_an_exposure_and_its_gradient():
    bench = small_bench(masks=1)
    bench.slm = SLM(bench.slm.grid, effects=[Flicker(0.6, frames=3, seed=5)], bit_depth=None, dtype=torch.float64)
    bench.slm.set_values(smooth_masks(1, bench.slm.grid.shape))
    images = random_images(1, (5, 7))
    route = FourierLensRoute(bench)
    light = route(images)
    assert isinstance(light, Intensity)
    source = bench.illumination(images)
    wanted = sum(route.image_field(source, route.mask_factors(532e-9, f)).intensity for f in range(3)) / 3
    torch.testing.assert_close(light.intensity, wanted)
    light.intensity.sum().backward()
    gradient, bench.slm.values.grad = bench.slm.values.grad, None
    wanted.sum().backward()
    torch.testing.assert_close(gradient, bench.slm.values.grad)


def test_flatness_adds_a_phase_and_can_be_undone():
    y, x = GRID.coordinates()
    radius = math.hypot(*GRID.extent) / 2
    bump = 0.7 * zernike(2, 0, y / radius, x / radius)
    values = phases(2, *GRID.shape)
    wanted = torch.exp(1j * (values + bump))
    for effect in (Flatness({4: 0.7}), Flatness(bump)):
        torch.testing.assert_close(showing(values, effect, bit_depth=None).modulation(), wanted, rtol=0, atol=1e-12)
    undone = showing(values - bump, Flatness(bump), bit_depth=None).modulation()
    torch.testing.assert_close(undone, torch.exp(1j * values), rtol=0, atol=1e-12)


def test_an_uneven_panel_shows_more_phase_where_it_is_thicker():
    uneven = torch.linspace(-0.05, 0.05, 8, dtype=torch.float64).expand(GRID.shape)
    values = phases(1, *GRID.shape) % TURN
    shown = showing(values, NonUniformity(uneven), bit_depth=None).modulation()
    torch.testing.assert_close(shown, torch.exp(1j * values * (1 + uneven)), rtol=0, atol=1e-12)


def test_amplitude_falls_with_phase():
    values = torch.linspace(0, TURN - 1e-9, 48, dtype=torch.float64).reshape(1, 6, 8)
    shown = showing(values, AmplitudeCoupling(0.2), bit_depth=None).modulation().abs()
    torch.testing.assert_close(shown, 1 - 0.2 * values / TURN, rtol=0, atol=1e-12)


@pytest.mark.parametrize("ratio", [0.8, 1.19])
def test_another_wavelength_sees_the_same_path(ratio):
    values = phases(1, *GRID.shape) % TURN
    flat = Flatness({4: 0.3})
    slm = showing(values, flat, bit_depth=None)
    wanted = torch.exp(1j * ratio * (values + flat.map(GRID, values)))
    torch.testing.assert_close(slm.modulation(ratio).detach(), wanted, rtol=0, atol=1e-12)


# --- all together ---


def test_switching_by_name_and_what_the_representation_says():
    slm = SLM(GRID, effects=everything(), dtype=torch.float64)
    assert slm.active == (
        "quantization", "lut", "non_uniformity", "flicker", "crosstalk", "flatness", "amplitude_coupling",
        "fill_factor",
    )  # fmt: skip
    text = repr(slm)
    for words in ("quantization: 4-bit", "crosstalk: 1 x published", "flicker: 0.1 rad rms", "Z4=0.3",
                  "fill_factor: 0.9", "amplitude 0.9 at 2 pi", "lut: 16 levels"):  # fmt: skip
        assert words in text, words
    slm.set_values(phases(1, *GRID.shape))
    slm.switch(**dict.fromkeys(slm.active, False))
    assert slm.active == ()
    assert "ideal" in repr(slm)
    torch.testing.assert_close(slm.modulation().detach(), torch.exp(1j * slm.values.detach()), rtol=0, atol=1e-12)
    slm.switch(flicker=True)
    assert slm.active == ("flicker",)
    with pytest.raises(ValueError, match=r"switch must name effects of .*'crosstalk'.*, got \['cross'\]"):
        slm.switch(cross=False)
    ideal = SLM.ideal(GRID)
    assert repr(ideal) == "SLM(1 masks, 6 x 8 samples of 8 um, ideal)"


DIFFERENTIABLE = {
    "crosstalk": (Crosstalk(),),
    "soft": (Quantization(3, method="soft", temperature=0.4),),
    "soft with a lut": (
        Quantization(3, method="soft", temperature=0.4),
        LUT(0.7 * torch.arange(8), torch.linspace(1, 0.6, 8)),
    ),
    "flatness": (Flatness({4: 0.3}),),
    "non-uniformity": (NonUniformity({2: 0.05}),),
    "coupling": (AmplitudeCoupling(0.3),),
    "flicker": (Flicker(0.3),),
    "frames": (Flicker(0.3, frames=2),),
    "fill": (FillFactor((0.8, 0.9)),),
    "absorbing": (FillFactor(0.7, gaps="absorbing"),),
    "all": (*everything(method="soft", temperature=0.4),),
}  # fmt: skip


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradcheck_of_every_effect(name, samples):
    values = 0.3 + phases(1, 3, 2, seed=4) % 5  # away from the wrap and from levels
    bits = {} if any(isinstance(e, Quantization) for e in DIFFERENTIABLE[name]) else {"bit_depth": None}
    slm = showing(values, *DIFFERENTIABLE[name], samples_per_pixel=samples, **bits).train()

    class Shown(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.slm = slm

        def forward(self):
            return slm.modulation(1.1)

    module = Shown()
    weights = torch.randn(slm.modulation().shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(2))

    def light(values: torch.Tensor) -> torch.Tensor:
        return (torch.func.functional_call(module, {"slm.values": values}, ()) * weights).sum().abs().square()

    assert torch.autograd.gradcheck(light, values.clone().requires_grad_(), atol=1e-6)


@pytest.mark.parametrize("effect", [Flatness({4: 0.3}, trainable=True), NonUniformity({2: 0.1}, trainable=True),
                                    Crosstalk(0.7, trainable=True)])  # fmt: skip
def test_a_twin_can_fit_the_strength_of_a_defect(effect):
    slm = showing(phases(1, 5, 4), effect, bit_depth=None)
    (parameter,) = effect.parameters()
    start = parameter.detach().clone()

    def light() -> torch.Tensor:
        field = slm.modulation()[0]
        return (field * torch.exp(1j * torch.arange(20, dtype=torch.float64).reshape(5, 4))).sum().abs().square()

    light().backward()
    step = 1e-5
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter.copy_(start + sign * step)
            ends.append(light().item())
    assert parameter.grad.sum().item() == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5)


# --- devices and refusals ---


def test_a_device_gives_its_numbers_and_stated_ones_win():
    slm = SLM(GRID, "meadowlark-1920x1152")
    assert (slm.bit_depth, slm.fill_factor) == (8, 0.957)
    assert repr(slm).startswith("SLM(Meadowlark")
    assert SLM(GRID, "meadowlark-1920x1152", fill_factor=1.0).active == ("quantization",)
    dmd = slm_from_device("dlp4500", GRID)
    assert isinstance(dmd, AmplitudeSLM)
    assert dmd.bit_depth == 1
    assert isinstance(slm_from_device("meadowlark-1920x1152", GRID), SLM)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SLM(GRID, fill_factor=93), r"fill_factor must be in \(0, 1\], got 93\. A 92 % panel is 0\.92"),
        (lambda: SLM(GRID, fill_factor=math.nan), r"fill_factor must be in \(0, 1\], got nan"),
        (lambda: FillFactor(0.9, gaps="black"), "gaps must be one of reflecting, absorbing, got 'black'"),
        (lambda: SLM(GRID, effects=[LUT(range(255))]), r"a LUT must have 2\^8 = 256 entries, got 255"),
        (lambda: SLM(GRID, effects=[LUT(range(16))], bit_depth=None), "a LUT needs levels"),
        (lambda: LUT([0, math.nan]), "a LUT must be finite, got NaN"),
        (lambda: LUT([0, 1], [1, -0.1]), "amplitudes of a LUT must not be negative"),
        (lambda: LUT([0, 1], [1, 1, 1]), "the same length"),
        (lambda: SLM(GRID, "thorlabs-exulus-hd2", wavelength="1550 nm"), r"wavelength must be in 400 nm \.\.\. 850 nm"),
        (lambda: SLM(GRID, "hamamatsu-x13138"), "fill_factor"),
        (lambda: SLM(GRID, "dlp4500"), "must be a device of kind phase or plm, got the dmd"),
        (lambda: SLM(GRID, "ti-plm-0.67"), r"phase_range of .* is not known at this wavelength"),
        (lambda: SLM(GRID, effects=[Flicker(0.1), Flicker(0.2)]), "at most one of each kind"),
        (lambda: AmplitudeSLM(GRID, None, [Crosstalk()]), "crosstalk is an effect of a phase SLM"),
        (lambda: SLM(GRID, None, [MirrorTilt("12 deg")]), "mirror_tilt is an effect of a DMD"),
        (lambda: Flicker(math.nan), "deviation must not be negative, got nan"),
        (lambda: Flatness([[math.inf]]), "flatness must be finite"),
        (lambda: SLM(GRID, None, [Flatness(torch.zeros(3, 3))]).modulation(), r"flatness must have the shape \(6, 8\)"),
        (lambda: Crosstalk(-1), "scale must not be negative"),
        (lambda: Crosstalk(sigma=math.nan), "sigma and order must be positive, got nan and 1.2"),
        (lambda: Crosstalk(order=math.nan), "sigma and order must be positive, got 2.03 and nan"),
        (lambda: SLM(GRID, wavelength=math.nan), "wavelength must be positive and finite, got nan"),
        (lambda: SLM(GRID, wavelength="-5 nm"), "wavelength must be positive and finite, got -5 nm"),
        (lambda: SLM(GRID).modulation(math.nan), "wavelength_ratio must be positive and finite, got nan"),
        (lambda: AmplitudeSLM(GRID).modulation(-1), "wavelength_ratio must be positive and finite, got -1"),
        (lambda: SLM(GRID, masks=1.5), r"masks must be a whole number, got 1\.5"),
        (lambda: SLM(GRID, masks=math.nan), "masks must be at least 1, got nan"),
        (lambda: LUT([0, 1], [1, 5]), r"amplitudes of a LUT must not be above 1, got 5\. A panel gives no light"),
        (lambda: Flatness({}), "flatness must have a map or at least one Noll term, got none"),
        (lambda: NonUniformity([]), "non_uniformity must have a map or at least one Noll term, got none"),
        (lambda: FillFactor(("a", 1)), r"fill_factor must be in \(0, 1\], got \('a', 1\)"),
        (lambda: Flicker(0.1, frames=1.5), r"frames must be a whole number, got 1\.5"),
        (lambda: SLM(GRID, None, [PhaseRange(5), LUT(torch.arange(256) / 50)]), "phase_range must be left out beside"),
        (lambda: SLM(GRID, None, [Quantization(4)], bit_depth=8), "bit_depth must be that of .* 4, got 8. State one"),
        (lambda: SLM(GRID, None, [Quantization(4)], bit_depth=None), "bit_depth must be that of .* 4, got None"),
        (lambda: SLM(GRID, None, [FillFactor(0.5)], fill_factor=0.9), "fill_factor must be that of .* 0.5, got 0.9"),
        (lambda: PhaseRange(7), r"maximum must be in \(0, 2 pi\]"),
        (lambda: Quantization(8, method="hard"), "method must be one of straight-through, soft, gumbel, got 'hard'"),
        (lambda: Quantization(8, temperature=0), "temperature must be positive"),
        (lambda: AmplitudeCoupling(2), r"depth must be in \[0, 1\]"),
        (lambda: SLM(GRID).set_values(torch.full((1, 6, 8), math.nan)), "a mask must be finite, got NaN"),
    ],
)  # fmt: skip
def test_what_no_device_can_be_is_refused_in_one_line(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
