"""Which training images each step sees, and how they are displaced: the same for any number of processes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from kd.augment import affine
from kd.data.images import IGNORED, LabelledImages, SegmentedImages

Share = tuple[Tensor, Tensor]  # images and labels that one process computes at a time


class AugmentationSettings(BaseModel):
    """Largest random displacement of a training image; all zero is none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation_degrees: float = Field(default=12.0, ge=0, le=180)
    shift: float = Field(default=0.06, ge=0, lt=1)  # share of height and width
    scale: float = Field(default=0.1, ge=0, lt=1)  # change of magnification
    flip: bool = False  # left and right exchanged, every second time: not for digits and letters
    brightness: float = Field(default=0.0, ge=0)  # 0.5 is a factor between 1 / 1.5 and 1.5; white stays white


def epoch_of_batches(
    data: LabelledImages | SegmentedImages,
    augmentation: AugmentationSettings,
    *,
    size: int,
    turns: int,
    processes: int,
    process: int,
    generator: torch.Generator,
    device: torch.device,
    skip: int = 0,
) -> Iterator[Iterator[Share]]:
    """Each training image once, in random order, in batches of equal size: no last batch of one to normalise.

    Order and displacement are drawn for the whole batch before it is divided, so that they do not depend on how.

    Args:
        data: Training images.
        augmentation: How far images are displaced.
        size: Images in a part, at most.
        turns: Parts of a batch that each process computes, one after the other.
        processes: Processes that share each turn.
        process: The one whose parts are wanted.
        generator: Source of order and displacement, on the CPU.
        device: Where the parts are wanted.
        skip: Batches to pass over, with the draws that belong to them.

    Yields:
        For each batch the wanted parts, computed one after the other as they are asked for.

    Raises:
        ValueError: Fewer than two images for a part.
    """
    batches = number_of_batches(len(data), size, turns * processes)
    for number, indices in enumerate(torch.randperm(len(data), generator=generator).tensor_split(batches)):
        draws = torch.rand(4, len(indices), generator=generator)
        flips = torch.rand(len(indices), generator=generator) < 0.5 if augmentation.flip else None
        lights = torch.rand(len(indices), generator=generator) if augmentation.brightness else None
        if number < skip:
            continue
        pieces = [turn.tensor_split(processes)[process] for turn in torch.arange(len(indices)).tensor_split(turns)]
        yield (
            _displaced(
                data.images[indices[piece]].to(device),
                data.labels[indices[piece]].to(device),
                augmentation,
                draws[:, piece],
                None if flips is None else flips[piece],
                None if lights is None else lights[piece],
            )
            for piece in pieces
        )


def number_of_batches(images: int, size: int, parts: int) -> int:
    """How many batches an epoch has."""
    batches = math.ceil(images / (size * parts))
    if parts > 1 and images // batches < 2 * parts:
        raise ValueError(
            f"each of {parts} parts of a batch must have 2 images or more, got {images} images in {batches} batches. "
            "Use fewer processes, or a smaller accumulate."
        )
    return batches


def _displaced(
    images: Tensor,
    labels: Tensor,
    augmentation: AugmentationSettings,
    draws: Tensor,
    flips: Tensor | None,
    lights: Tensor | None,
) -> Share:
    """Images by uniform ``draws`` in [0, 1), shape ``(4, N)``; class maps go along, ``IGNORED`` from outside."""
    maps = labels.ndim > 1
    if lights is not None:
        factors = (1 + augmentation.brightness) ** (2 * lights.to(images.device) - 1)
        images = (images * factors[:, None, None, None]).clamp(max=1)
    if flips is not None:
        which = flips.to(images.device)
        images = torch.where(which[:, None, None, None], images.flip(-1), images)
        labels = torch.where(which[:, None, None], labels.flip(-1), labels) if maps else labels
    turn, zoom, *step = 2 * draws.to(images.device) - 1
    angle, scale = math.radians(augmentation.rotation_degrees) * turn, 1 + augmentation.scale * zoom
    shift = augmentation.shift * torch.stack(step, dim=-1)
    if not maps:
        return affine(images, angle, scale, shift), labels
    # Interpolated classes mean nothing; interpolated coordinates do: they say which pixel a label comes from.
    count, _, height, width = images.shape
    y = torch.arange(height, dtype=images.dtype, device=images.device)[:, None].expand(height, width)
    x = torch.arange(width, dtype=images.dtype, device=images.device).expand(height, width)
    sources = torch.stack([y, x, torch.ones_like(x)]).expand(count, 3, height, width)
    warped = affine(torch.cat([images, sources], dim=1), angle, scale, shift)
    row, column, inside = warped[:, -3:].unbind(dim=1)
    share = inside.clamp(min=0.5)  # beside the edge, the part of the four neighbours that there is
    row = (row / share).round().long().clamp(0, height - 1)
    column = (column / share).round().long().clamp(0, width - 1)
    moved = labels.flatten(1).gather(1, (row * width + column).flatten(1)).reshape(labels.shape)
    return warped[:, :-3], torch.where(inside >= 0.5, moved, IGNORED)
