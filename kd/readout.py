"""The electronic part of a student: camera counts, or feature maps, to logits."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d


class PooledLinear(nn.Module):
    """Sum over regions, normalise, one linear layer: what a camera with binning and a small processor do.

    The same readout goes behind every front end, so that rows of a table differ in the front end alone. A camera's
    square-law detection belongs to the optical front end: it is a nonlinearity that linear digital rows lack.

    Args:
        channels: Feature maps of the front end.
        classes: Number of classes.
        pool: Regions per axis; each map becomes ``pool * pool`` averages.

    Shape:
        - Input ``(B, channels, height, width)``, output logits ``(B, classes)``.
    """

    def __init__(self, channels: int, classes: int, *, pool: int = 4) -> None:
        super().__init__()
        self.pool = pool
        self.normalise = nn.BatchNorm1d(channels * pool**2)
        self.linear = nn.Linear(channels * pool**2, classes)

    def forward(self, features: Tensor) -> Tensor:
        averages = adaptive_avg_pool2d(features, self.pool)
        return self.linear(self.normalise(averages.flatten(1)))

    def extra_repr(self) -> str:
        return f"pool={self.pool}"
