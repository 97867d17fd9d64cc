"""What the routes share: a bench, a sampling report, constants kept beside the masks."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from ..field import Field
from ..fourf import FourF
from ..sampling import SamplingReport


class Route(nn.Module):
    """Computes a bench: images in, field at the image plane out.

    Args:
        bench: The 4f system.
        override: Quantities of the sampling conditions to ignore, as the refusal names them.
        options: What the route's ``sampling`` needs beyond the bench.

    Shape:
        - Input: images ``(batch, 1, height, width)`` in [0, 1].
        - Output: field on ``bench.image`` with ``data`` of shape ``(batch, masks, height, width)``.

    Raises:
        SamplingError: A sampling condition of the bench does not hold in this route, and is not overridden.
    """

    def __init__(self, bench: FourF, *, override: tuple[str, ...] = (), **options: object) -> None:
        super().__init__()
        self.bench = bench
        self.report = self.sampling(bench, **options)
        self.report.refuse_if_invalid(override)

    @classmethod
    def sampling(cls, bench: FourF) -> SamplingReport:
        """The sampling conditions of a bench in this route; nothing is computed and nothing refused."""
        return SamplingReport(bench.plane_checks())

    @abstractmethod
    def image_field(self, source: Field) -> Field:
        """Field at the image plane of an object field ``(batch, 1, height, width)``."""

    def forward(self, images: Tensor) -> Field:
        return self.image_field(self.bench.object_field(images))

    def _constant(self, name: str, value: Tensor) -> None:
        """Keep a constant that moves with the module and stays out of ``state_dict``; cast once, here."""
        dtype = self.bench.illumination.dtype
        self.register_buffer(name, value.to(dtype if value.is_complex() else value.dtype), persistent=False)
