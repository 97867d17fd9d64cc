"""Panels with defects, for the tests of effects."""

import math

import torch

from optics4f.effects import (
    LUT,
    AmplitudeCoupling,
    Crosstalk,
    Effect,
    FillFactor,
    Flatness,
    Flicker,
    NonUniformity,
    Quantization,
)
from optics4f.elements import SLM
from optics4f.grid import Grid

TURN = 2 * math.pi


def phases(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random phases [rad] of two turns, float64, some of them negative."""
    return 12 * torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 4


def showing(values: torch.Tensor, *effects: Effect, kind: type = SLM, **options):
    """A panel of 8 um pixels that shows these masks, ``(masks, height, width)``."""
    slm = kind(Grid(tuple(values.shape[-2:]), 8e-6), None, effects, masks=len(values), dtype=torch.float64, **options)
    slm.set_values(values)
    return slm


def everything(**options) -> tuple[Effect, ...]:
    """Sixteen levels and every defect at once, each of a common size; options of the quantization."""
    table = TURN / 16 * torch.arange(16, dtype=torch.float64) ** 1.05 / 16**0.05
    return (
        Quantization(4, **options),
        LUT(table, torch.linspace(1, 0.9, 16)),
        NonUniformity({2: 0.02}),
        Flicker(0.1),
        Crosstalk(),
        Flatness({4: 0.3, 6: -0.2}),
        AmplitudeCoupling(0.1),
        FillFactor(0.9),
    )
