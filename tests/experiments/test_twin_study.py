"""Twins of hidden benches: two quickly, the twenty of the claim with the slow tests."""

import json
import math

import pytest
import torch

from experiments import twin_retraining
from experiments.twin_study import CONFIG, hidden_values, random_masks, run_study
from optics4f.config import load_bench
from optics4f.effects import Crosstalk


def test_a_hidden_bench_is_what_the_claim_says():
    for seed in range(5):
        hidden = hidden_values(load_bench(CONFIG), torch.Generator().manual_seed(seed))
        pixels = math.hypot(hidden["slm_shift_y"], hidden["slm_shift_x"]) / 9.2e-6
        assert pixels == pytest.approx(3)
        assert abs(hidden["slm_rotation"]) == pytest.approx(math.pi / 180)
        assert abs(hidden["camera_axial"]) == pytest.approx(1e-3)
        assert abs(hidden["f2"] / 0.04 - 1) == pytest.approx(0.02)
        assert hidden["lut_gamma"] == 1.2


def test_the_crosstalk_is_one_pixel_wide():
    kernel = Crosstalk(5.1).kernel()  # three cells a pixel: half the height lies 1.5 cells from the middle
    assert ((kernel[5] + kernel[6]) / 2 / kernel[4]).item() == pytest.approx(0.5, abs=0.02)


def test_masks_are_smooth_and_use_the_whole_range():
    levels = random_masks((3, 40, 32), 8, torch.Generator().manual_seed(1))
    phase = 2 * math.pi * levels / 256
    step = torch.angle(torch.exp(1j * phase.diff(dim=-1)))
    assert 0.3 < step.std().item() < 1.2  # rad a pixel: far from noise, far from flat
    assert levels.min() < 10 and levels.max() > 245


def test_two_twins(tmp_path):
    record = run_study(tmp_path, benches=2, first_seed=300)
    assert record["correlation_before"] < 0.9
    assert record["correlation_after"] > 0.999
    # 22 intervals of 95 %: fewer than 17 hold the truth once in 1,000.
    assert record["all_intervals"] >= 17 / 22
    stored = json.loads((tmp_path / "twin.json").read_text())
    assert [b["seed"] for b in stored["benches"]] == [300, 301]
    assert "| f2 | m | " in (tmp_path / "twin.md").read_text()


@pytest.mark.slow
def test_twenty_twins(tmp_path):
    record = run_study(tmp_path, benches=20, first_seed=0, workers=2)
    assert record["worst_correlation_after"] > 0.99
    # 220 intervals of 95 %: 201 or more hold the truth in 99 of 100 such studies.
    assert record["all_intervals"] >= 201 / 220
    assert record["reduced_chi2"] == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_a_twin_wins_back_the_digits():
    row = twin_retraining.one_bench(0)
    assert row["believed"] - row["hidden"] > 0.05  # there is something to win back
    assert row["recovered"] >= twin_retraining.WANTED
