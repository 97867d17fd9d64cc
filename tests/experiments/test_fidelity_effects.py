"""The effects of a fidelity study: each does what its strength says, and nothing else is there."""

import math

import pytest
import torch

from experiments.fidelity_effects import BENCH_EFFECTS, bench_with, check_bench, direction, sign
from kd.students import OpticalFrontEnd
from optics4f.config import BenchSpecification
from optics4f.grid import Grid

SHAPE = (12, 16)  # of the SLM
EXPOSURE, FULL_WELL, BINNING = 0.5, 1000, 4
WHITE = EXPOSURE * FULL_WELL * BINNING**2  # electrons of a binned pixel under intensity 1


def specification(**changes) -> BenchSpecification:
    tables = {
        "wavelength": "532 nm",
        "route": "psf",
        "object": {"shape": [5, 6], "pitch": "96 um"},
        "lens1": {"focal_length": "125 mm"},
        "lens2": {"focal_length": "125 mm"},
        "slm": {"device": "meadowlark-1920x1152", "shape": list(SHAPE), "masks": 2},
        "camera": {
            **{"device": "basler-aca2440-75um", "shape": [8, 9], "pitch": "24 um", "binning": BINNING},
            **{"exposure": EXPOSURE, "full_well": FULL_WELL, "dark_electrons": 0, "samples_per_pixel": 1},
        },
    }
    return BenchSpecification(**tables | changes)


def bench(strengths, seed=0, **changes):
    return bench_with(specification(**changes), strengths, seed=seed, flicker_frames=3)


def factor_for(phase: float, strengths, seed=0) -> torch.Tensor:
    """What a panel with this phase everywhere does to the light in its middle."""
    built = bench(strengths, seed)
    built.slm.set_values(torch.full_like(built.slm.values, phase))
    return built.slm.modulation()[0, SHAPE[0] // 2, SHAPE[1] // 2]


def test_without_effects_a_bench_is_ideal():
    built = bench({})
    assert built.slm.active == ()
    assert built.camera.sensor is None
    assert built.slm_position is None
    assert built.camera_position is None
    assert factor_for(1.234, {}).angle().item() == pytest.approx(1.234, abs=1e-6)


def test_bits_leave_levels_on_the_circle():
    # 2 bits: 0, pi/2, pi, 3 pi/2; 1.0 rad is nearer to pi/2.
    assert factor_for(1.0, {"slm_bits": 2}).angle().item() == pytest.approx(math.pi / 2, abs=1e-6)


def test_gaps_add_the_light_that_no_mask_turns():
    # Mean over a pixel of area F at phase pi in gaps at phase 0: 1 - 2 F.
    found = factor_for(math.pi, {"fill_factor": 0.9})
    assert found.real.item() == pytest.approx(1 - 2 * 0.9, abs=1e-6)


def test_crosstalk_leaves_an_even_panel_as_it_is_and_smears_an_edge():
    assert factor_for(1.0, {"crosstalk": 1.0}).angle().item() == pytest.approx(1.0, abs=1e-5)
    built = bench({"crosstalk": 1.0})
    built.slm.values.data[..., SHAPE[1] // 2 :] = math.pi
    beside = built.slm.modulation()[0, 5, SHAPE[1] // 2 - 1]
    assert beside.abs().item() < 0.999  # a pixel at the edge shows many phases at once


@pytest.mark.parametrize("seed", [0, 2])
def test_a_table_unknown_to_the_driver_shows_a_power_of_the_level(seed):
    found = sorted(factor_for(math.pi / 2, {"lut_gamma": 0.2}, s).angle().item() for s in (seed, seed + 1))
    # 2^16 levels: the nearest is within pi / 2^16.
    assert found == pytest.approx([2 * math.pi * 0.25**1.2, 2 * math.pi * 0.25 ** (1 / 1.2)], abs=1e-4)


def test_directions_are_kept_at_all_strengths_and_shared_out_among_the_seeds():
    def shift(strength, seed):
        return bench({"slm_shift": strength}, seed).slm_position.shift

    assert shift(1e-6, 3).norm().item() == pytest.approx(1e-6)
    assert torch.allclose(8 * shift(1e-6, 3), shift(8e-6, 3))
    unit = torch.stack([shift(1.0, seed).double() for seed in range(8)])
    # Pairs of opposite seeds, each pair in the middle of the widest angle that is left: 90, 45 and 45 degrees.
    assert torch.allclose(unit[::2], -unit[1::2], atol=1e-6)
    between = (unit @ unit.T).abs()[::2, ::2]
    wanted = torch.tensor([[1, 0], [0, 1]]).double()
    assert torch.allclose(between[:2, :2], wanted, atol=1e-6) and torch.allclose(between[2:, 2:], wanted, atol=1e-6)
    assert torch.allclose(between[:2, 2:], torch.full((2, 2), 0.5**0.5).double(), atol=1e-6)


SIGNED = {  # how a bench shows the sign of an effect
    "slm_rotation": (0.02, lambda built: built.slm_position.rotation.item()),
    "defocus": (2e-3, lambda built: built.camera_position.axial.item()),
    "wavelength": (3e-9, lambda built: built.illumination.spectrum.wavelengths[0] - 532e-9),
    "slm_pitch": (0.01, lambda built: built.slm.grid.pitch - 9.2e-6),
}


@pytest.mark.parametrize("name", SIGNED)
def test_of_two_seeds_that_follow_each_other_one_has_each_sign(name):
    strength, shown = SIGNED[name]
    signs = [math.copysign(1, shown(bench({name: strength}, seed))) for seed in range(5)]
    assert signs == [signs[0], -signs[0]] * 2 + [signs[0]]


def test_each_effect_has_a_direction_of_its_own():
    angles = [direction(name, 0) for name, effect in BENCH_EFFECTS.items() if effect.directed]
    assert len({round(angle, 6) for angle in angles}) == len(angles) == 6
    # One sign for all would be a bench whose errors always help or hinder each other in the same way.
    assert {sign(name, 0) for name, effect in BENCH_EFFECTS.items() if effect.directed} == {-1, 1}


@pytest.mark.parametrize("seed", range(3))
def test_displacements_have_their_strength(seed):
    built = bench({"slm_rotation": 0.02, "defocus": 2e-3, "wavelength": 3e-9, "slm_pitch": 0.01}, seed)
    assert abs(built.slm_position.rotation.item()) == pytest.approx(0.02)
    assert abs(built.camera_position.axial.item()) == pytest.approx(2e-3)
    assert abs(built.illumination.spectrum.wavelengths[0] - 532e-9) == pytest.approx(3e-9)
    assert built.wavelength == 532e-9  # masks are still those of the design
    assert abs(built.slm.grid.pitch / 9.2e-6 - 1) == pytest.approx(0.01)


def frames(strengths, level: float, seed=0, images=400) -> torch.Tensor:
    """Signals of a camera under even light, one row an exposure."""
    built = bench(strengths)
    image = Grid(built.image.shape, built.image.pitch)

    class Even:
        intensity = torch.full((images, 1, *image.shape), level)
        grid = image

    return built.camera(Even(), torch.Generator().manual_seed(seed))[:, 0].double()


def test_photons_alone_are_poisson():
    level, fraction = 0.6, 0.02
    white = fraction * FULL_WELL * BINNING**2
    seen = frames({"photons": fraction}, level)
    assert seen.mean().item() == pytest.approx(level, rel=2e-3)
    # Var = mean / white; 28 800 draws have a variance good to 0.8 % (standard deviation): 4 of them.
    # The levels left, 16 bits of a pixel's full well, add 1e-4 of it.
    assert seen.var().item() == pytest.approx(level / white, rel=0.035)


def test_read_noise_alone_is_that_of_all_binned_pixels():
    seen = frames({"read_noise": 20.0}, 0.6)
    assert seen.std().item() == pytest.approx(20 * BINNING / WHITE, rel=0.02)
    assert frames({"read_noise": 20.0}, 0.6, seed=1).sub(seen).abs().max() > 0


def test_converter_levels_alone_are_steps_without_noise():
    seen = frames({"adc_bits": 4}, 0.63)
    step = 1 / (EXPOSURE * 15)  # of 15 steps in a full well, in units of white
    assert (seen - seen[0]).abs().max() == 0
    assert seen[0, 0, 0].item() == pytest.approx(round(0.63 / step) * step, abs=1e-6)


def test_all_noise_adds_up_as_variance():
    level = 0.6
    seen = frames({"photons": EXPOSURE, "read_noise": 20.0, "adc_bits": 12}, level)
    step = FULL_WELL * BINNING**2 / 4095
    wanted = (level * WHITE + (20 * BINNING) ** 2 + step**2 / 12) / WHITE**2
    assert seen.var().item() == pytest.approx(wanted, rel=0.035)


def test_a_flickering_panel_has_new_states_for_each_batch_and_the_same_for_a_seed():
    from experiments.fidelity_runs import _next_frames

    built = bench({"flicker": 0.5})
    front = OpticalFrontEnd(specification().build_route(built))
    front.register_forward_pre_hook(_next_frames)
    image = torch.ones(1, 1, 5, 6)
    front.reseed(7)
    first, second = front(image), front(image)
    front.reseed(7)
    assert torch.equal(front(image), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", BENCH_EFFECTS)
def test_severity_grows_as_an_effect_becomes_worse_and_is_inverted(name):
    effect = BENCH_EFFECTS[name]
    weak, strong = (0.9, 0.5) if effect.worse < 0 else (0.5, 0.9)
    assert effect.severity(strong) > effect.severity(weak)
    assert effect.strength(effect.severity(0.7)) == pytest.approx(0.7)


def test_what_a_study_does_not_vary_is_refused():
    with pytest.raises(ValueError, match=r"bench\.slm\.effects must be left out"):
        check_bench(
            specification(
                slm={"device": "meadowlark-1920x1152", "shape": SHAPE, "effects": {"flicker": {"deviation": 0.1}}}
            )
        )
    with pytest.raises(ValueError, match=r"bench\.slm_position must be left out"):
        check_bench(specification(slm_position={"axial": "1 mm"}))
    with pytest.raises(ValueError, match="must be a phase SLM"):
        check_bench(specification(slm={"device": "dlp4500", "shape": SHAPE}))
    with pytest.raises(ValueError, match="effects must be of slm_bits, .* got fog"):
        bench({"fog": 1.0})
