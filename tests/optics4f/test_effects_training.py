"""A mask trained with the defects of its device against one trained without, both judged on the device."""

import pytest
import torch

from optics4f.effects import (
    Crosstalk,
    Effect,
    Quantization,
)
from optics4f.elements import SLM
from optics4f.grid import Grid
from tests.optics4f.panels import everything

N = 32
SPOTS = ((13, 12), (14, -13), (-12, 14), (-14, -11))
"""Orders of the whole mask (y, x), near the edge of the band at 16, where crosstalk costs most."""


def panel(*effects: Effect, samples: int = 1) -> SLM:
    bits = {} if any(isinstance(effect, Quantization) for effect in effects) else {"bit_depth": None}
    return SLM(Grid((N, N), 8e-6), effects=effects, samples_per_pixel=samples, dtype=torch.float64, **bits)


def start_of(seed: int) -> torch.Tensor:
    return 12 * torch.rand(1, N, N, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 4


def efficiency(slm: SLM) -> torch.Tensor:
    """Share of the light that falls on the four spots; with fine samples, each a filled square, the true orders."""
    s = slm.samples_per_pixel
    field = torch.fft.fft2(slm.modulation()[0]) / (N * s) ** 2
    rows, columns = (torch.tensor(places) for places in zip(*SPOTS, strict=True))
    seen = field[rows, columns].abs().square()
    if s == 1:
        return seen.sum()
    return (seen * (torch.sinc(rows.double() / N / s) * torch.sinc(columns.double() / N / s)).square()).sum()


def trained(slm: SLM, start: torch.Tensor, steps: int) -> list[float]:
    """Adam with a rate of 0.1 that falls to zero: at a constant one, pixels at a wrap keep jumping over it."""
    slm.set_values(start)
    optimizer = torch.optim.Adam([slm.values], lr=0.1)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    curve = []
    for _ in range(steps):
        optimizer.zero_grad()
        seen = efficiency(slm)
        (-seen).backward()
        optimizer.step()
        decay.step()
        curve.append(seen.item())
    return curve


def judged(values: torch.Tensor, *effects: Effect, samples: int = 1) -> float:
    slm = panel(*effects, samples=samples)
    slm.set_values(values.detach())
    with torch.no_grad():
        return efficiency(slm).item()


SLOW = pytest.mark.slow


@pytest.mark.parametrize("seed", [7, pytest.param(8, marks=SLOW), pytest.param(9, marks=SLOW)])
def test_training_through_every_defect_beats_training_without(seed):
    naive, aware = panel(), panel(*everything())
    trained(naive, start_of(seed), 400)
    trained(aware, start_of(seed), 400)
    before, after = judged(naive.values, *everything()), judged(aware.values, *everything())
    print(f"everything, seed {seed}: naive {before:.3f}, aware {after:.3f}")
    assert after > before + 0.06  # docs: 0.087 ... 0.098


@pytest.mark.parametrize(
    ("samples", "seed"),
    [(1, 7), *(pytest.param(s, n, marks=SLOW) for s, n in ((1, 8), (1, 9), (3, 7), (3, 8), (3, 9)))],
)
def test_training_with_crosstalk_recovers_half_of_what_it_costs(samples, seed):
    naive, aware = panel(samples=samples), panel(Crosstalk(), samples=samples)
    curve = trained(naive, start_of(seed), 1000)
    assert curve[-1] < curve[500] + 1e-4  # the naive mask has converged: more steps would not help it
    trained(aware, naive.values.detach(), 1000)
    ideal = judged(naive.values, samples=samples)
    before, after = (judged(slm.values, Crosstalk(), samples=samples) for slm in (naive, aware))
    share = (after - before) / (ideal - before)
    print(f"{samples} samples, seed {seed}: {ideal:.3f} {before:.3f} {after:.3f}, recovered {share:.3f}")
    # docs/explanation/hardware.md; the last digits of a training are not those of every machine.
    assert before == pytest.approx({1: 0.739, 3: 0.273}[samples], abs=0.008)
    assert after == pytest.approx({1: 0.879, 3: 0.311}[samples], abs=0.01)
    assert share > 0.5
