"""What the routes share: a bench, a sampling report, constants kept beside the masks."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from ..field import Field
from ..fourf import FourF
from ..sampling import Check, SamplingReport


class Route(nn.Module):
    """Computes a bench: images in, field at the image plane out.

    Args:
        bench: The 4f system.
        override: Names (or parts of names) of the sampling conditions to ignore.

    Shape:
        - Input: images ``(batch, 1, height, width)`` in [0, 1].
        - Output: field on ``bench.image`` with ``data`` of shape ``(batch, masks, height, width)``.

    Raises:
        SamplingError: A sampling condition of the bench does not hold in this route, and is not overridden.
    """

    def __init__(self, bench: FourF, *, override: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.bench = bench
        report = SamplingReport((*bench.plane_checks(), *self.checks()))
        SamplingReport(
            tuple(c for c in report.checks if not any(name in c.quantity for name in override))
        ).refuse_if_invalid()
        self.report = report

    def checks(self) -> tuple[Check, ...]:
        """Sampling conditions of this route beyond those of the planes."""
        return ()

    @abstractmethod
    def image_field(self, source: Field) -> Field:
        """Field at the image plane of an object field ``(batch, 1, height, width)``."""

    def forward(self, images: Tensor) -> Field:
        return self.image_field(self.bench.object_field(images))

    def _constant(self, name: str, value: Tensor) -> None:
        """Keep a constant that moves with the module and stays out of ``state_dict``; cast once, here."""
        dtype = self.bench.illumination.dtype
        self.register_buffer(name, value.to(dtype if value.is_complex() else value.dtype), persistent=False)

