"""Light that is taken to the plane of the masks once, for images that are used again and again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..grid import Grid
from ..light import Mode
from ..memory import Need, require


@dataclass(frozen=True)
class Arriving:
    """The light of some images on the plane of the masks, as :meth:`~optics4f.routes.route.Route.arriving` gives it.

    A route takes it in place of the images. ``len`` is the number of images, and ``light[chosen]`` that of some of
    them: a number, a slice, or a list or tensor of numbers, as a sampler of batches gives them.

    Attributes:
        fields: For each mode of the light a complex tensor ``(batch, height, width)`` on the samples of the SLM.
        made_of: What the light has passed: a bench that was changed since does not take it.
    """

    fields: dict[Mode, Tensor]
    made_of: tuple[object, ...]

    def __len__(self) -> int:
        return len(self._first)

    def __getitem__(self, chosen: int | slice | Sequence[int] | Tensor) -> Arriving:
        chosen = [chosen] if isinstance(chosen, int) else chosen
        return Arriving({mode: field[chosen] for mode, field in self.fields.items()}, self.made_of)

    def to(self, device: torch.device | str) -> Arriving:
        """The same on another device."""
        return Arriving({mode: field.to(device) for mode, field in self.fields.items()}, self.made_of)

    def dark_images(self, shape: tuple[int, int]) -> Tensor:
        """As many images ``(batch, 1, *shape)`` where it is, for what looks at images only: no memory of their own."""
        first = self._first
        return torch.zeros(1, dtype=first.dtype.to_real(), device=first.device).expand(len(first), 1, *shape)

    def require_made_of(self, made_of: tuple[object, ...]) -> None:
        """Refuse another bench, or one that was changed."""
        if made_of != self.made_of:
            raise ValueError(
                "arriving light must be that of this route and its bench as it is now, got light of another or of "
                "before a change. Call route.arriving(images) again."
            )

    @property
    def _first(self) -> Tensor:
        return next(iter(self.fields.values()))


def require_room(images: Tensor, modes: Sequence[Mode], samples: Grid, dtype: torch.dtype) -> None:
    """Refuse more light than memory holds.

    Args:
        images: Shape ``(batch, 1, height, width)``.
        modes: Of the light.
        samples: Of the SLM.
        dtype: Complex type of the light.

    Raises:
        TooLargeError: Names the number of images that fits.
    """
    ratio, widest = math.prod(samples.shape) / max(samples.shape) ** 2, max(samples.shape)

    def bytes_at(width: int, batch: int) -> int:
        return math.ceil(dtype.itemsize * len(modes) * batch * ratio * width**2)

    name = f"light of {len(images)} images at the masks, {widest} samples wide,"
    require(Need(name, widest, len(images), bytes_at, result_at=bytes_at), images.device)
