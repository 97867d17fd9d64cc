"""From watts to electrons by hand, and the time that a signal to noise ratio takes."""

import math
from dataclasses import replace

import pytest
import torch
from scipy.constants import c, h

from optics4f.elements.sensor import Sensor
from optics4f.light_budget import LightBudget, Stage

SENSOR = Sensor(10_000, 3.0, 12, quantum_efficiency=0.65, dark_current=40.0, exposure_time=1.0)
STAGES = (
    Stage("object SLM", 0.6, "preset"),
    Stage("lenses", 0.97, "assumed", 0.95, 0.99),
    Stage("diffraction efficiency", 0.2, "modelled", 0.1, 0.3),
)


def budget(**changes) -> LightBudget:
    numbers = {"power": "2 pW", "wavelength": "532 nm", "sensor": SENSOR, "pixels": 400, "stages": STAGES, **changes}
    return LightBudget(**numbers)


def dimmer(share: float) -> LightBudget:
    """A budget whose images let a share through, told as a stage of its own."""
    return budget(stages=(*STAGES, Stage("image", share, "modelled")))


def test_power_becomes_electrons_one_factor_after_the_other():
    found = budget()
    by_hand = 2e-12 * 0.6 * 0.97 * 0.2 * 0.03 * 532e-9 / (h * c) * 0.65 / 400
    assert found.electrons(0.03) == pytest.approx(by_hand, rel=1e-12)
    assert found.transmission == pytest.approx(0.1164)
    assert found.transmission_range == pytest.approx((0.6 * 0.95 * 0.1, 0.6 * 0.99 * 0.3))
    rows = found.rows()
    assert [row["stage"] for row in rows] == ["source", "object SLM", "lenses", "diffraction efficiency"]
    assert rows[-1]["power_w"] == pytest.approx(2e-12 * 0.1164)
    assert rows[2]["range"] == "0.95 ... 0.99"
    assert found.exposure_time(500.0) == pytest.approx(500 / found.electrons(1.0))


@pytest.mark.parametrize("snr", [2.0, 20.0, 60.0])
def test_the_time_for_a_signal_to_noise_ratio_gives_that_ratio(snr):
    found = budget()
    time = found.exposure_time_for(snr)
    signal = found.electrons(time)
    noise = math.sqrt(3.0**2 + 40 * time + (10_000 / 4095) ** 2 / 12 + signal)
    assert signal / noise == pytest.approx(snr, rel=1e-12)


@pytest.mark.parametrize("snr", [0.5, 5.0, 90.0])
def test_electrons_for_a_ratio_are_the_inverse_of_the_ratio(snr):
    assert SENSOR.snr(SENSOR.electrons_for(snr)) == pytest.approx(snr, rel=1e-12)


def test_the_dark_signal_of_each_exposure_is_part_of_the_noise():
    found = budget(sensor=replace(SENSOR, dark_electrons=700.0))
    time = found.exposure_time_for(20.0)
    signal = found.electrons(time)
    assert signal / math.sqrt(3.0**2 + 700 + 40 * time + (10_000 / 4095) ** 2 / 12 + signal) == pytest.approx(20.0)


@pytest.mark.parametrize("dark", [0.0, 2_000.0])
@pytest.mark.parametrize("current", [0.0, 40_000.0])
def test_light_and_darkness_share_the_full_well(dark, current):
    found = budget(sensor=Sensor(10_000, 3.0, 12, dark, 0.65, current))
    rate = found.electrons(1.0)
    longest = (10_000 - dark) / (rate + current)
    most = rate * longest / math.sqrt(10_000 + 3.0**2 + (10_000 / 4095) ** 2 / 12)
    assert found.exposure_time_for(most * (1 - 1e-9)) == pytest.approx(longest, rel=1e-6)
    with pytest.raises(ValueError, match=rf"snr must be at most {most:.4g} with a full well of 10000 e-"):
        found.exposure_time_for(most * 1.001)


def test_the_budget_of_each_class_is_that_of_its_mean_image():
    images, labels = torch.rand(30, 1, 6, 5, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3
    images = images * torch.tensor([0.2, 0.5, 1.0])[labels].view(-1, 1, 1, 1)
    found = budget()
    shares = torch.stack([found.of_image(images[labels == n]).mean() for n in range(3)])
    electrons, times = found.electrons(0.03, share=shares), found.exposure_time_for(20.0, share=shares)
    collected = found.exposure_time(500.0, share=shares)
    for n in range(3):
        by_hand = dimmer(images[labels == n].double().mean().item())
        assert electrons[n].item() == pytest.approx(by_hand.electrons(0.03), rel=1e-12)
        assert times[n].item() == pytest.approx(by_hand.exposure_time_for(20.0), rel=1e-12)
        assert collected[n].item() == pytest.approx(by_hand.exposure_time(500.0), rel=1e-12)
    assert found.electrons(0.03, share=shares[0].item()) == electrons[0].item()
    assert found.electrons(0.03, share=0.0) == 0
    assert times[0] > times[1] > times[2] > found.exposure_time_for(20.0)


def test_each_image_lets_its_own_share_through():
    images = torch.stack([torch.full((1, 4, 5), 0.25), torch.eye(4, 5)[None]])
    assert budget().of_image(images).tolist() == pytest.approx([0.25, 0.2])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Stage("SLM", 60, "preset"), r"factor of SLM must be in \[0, 1\], got 60\. A loss of 20 % is 0\.8"),
        (lambda: Stage("SLM", 0.5, "guessed"), "origin of SLM must be one of measured, preset, modelled, assumed"),
        (lambda: Stage("SLM", 0.5, "assumed", 0.6, 0.7), "factor of SLM must lie in its range"),
        (lambda: budget(power=0), "power must be positive"),
        (lambda: budget(pixels=0), "pixels must be positive"),
        (lambda: budget(sensor=Sensor(100, 1, 8)), "quantum_efficiency of the sensor must be known"),
        (lambda: budget().exposure_time_for(math.nan), "snr must be positive and below 1e9, got nan"),
        (lambda: budget().exposure_time_for(-3), "snr must be positive and below 1e9, got -3"),
        (lambda: budget().exposure_time_for(5, share=0.0), "some light must reach the camera, got none: share 0"),
        (lambda: budget().exposure_time_for(5, share=torch.tensor([0.5, 2.0])), r"share must be in \[0, 1\], got 2\."),
        (lambda: budget().electrons(1.0, share=math.nan), r"share must be in \[0, 1\], got nan"),
        (lambda: budget().electrons(math.nan), "exposure_time must not be negative, got nan s"),
        (lambda: budget().electrons(-1), "exposure_time must not be negative, got -1 s"),
        (lambda: budget().exposure_time(math.nan), "electrons must not be negative, got nan e-"),
        (lambda: dimmer(0.0).exposure_time_for(5), "some light must reach the camera, got none: stage image passes 0"),
        (lambda: dimmer(0.0).exposure_time(5), "stage image passes 0"),
        (lambda: budget().of_image(torch.full((2, 4, 5), math.nan)), r"images must lie in \[0, 1\], got nan"),
        (lambda: budget().of_image(torch.full((2, 4, 5), 255)), r"got 255 \.\.\. 255\. Divide 8-bit values by 255"),
        (lambda: budget().of_image(torch.ones(4, 5)), r"images must have shape \(batch, .*got \(4, 5\)"),
        (lambda: budget().exposure_time_for(101.0), r"snr must be at most .* with a full well of 10000 e- .*, got 101"),
    ],
)
def test_a_budget_that_cannot_be_is_refused_in_one_line(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)
