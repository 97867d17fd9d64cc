"""Small random displacements of training images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


def affine(images: Tensor, angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    r"""Turn, scale and shift each image about its centre, bilinearly, zero outside.

    A point moves as :math:`p \mapsto s R(\theta) p + t`, in pixels from the centre, so that a
    non-square image turns without shear.

    Args:
        images: Shape ``(N, C, height, width)``.
        angle: Rotation [rad] from +x (right) towards +y (down), shape ``(N,)``.
        scale: Magnification, shape ``(N,)``.
        shift: Displacement ``(y, x)`` as a share of height and width, shape ``(N, 2)``.

    Returns:
        The warped images, same shape.
    """
    height, width = images.shape[-2:]
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    # grid_sample asks where an output point came from, in units of half the width and half the height.
    inverse = torch.stack(
        [
            torch.stack([cosine, sine * (height / width)], dim=-1),
            torch.stack([-sine * (width / height), cosine], dim=-1),
        ],
        dim=-2,
    )
    origin = -inverse @ (2 * shift.flip(-1))[..., None]
    theta = torch.cat([inverse, origin], dim=-1).to(images)
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def random_affine(images: Tensor, *, rotation: float, shift: float, scale: float, generator: torch.Generator) -> Tensor:
    """Warp each image by its own uniform draw; the channels of one image move together.

    Args:
        images: Shape ``(N, C, height, width)``.
        rotation: Largest angle, either way [rad].
        shift: Largest displacement, either way, as a share of height and width.
        scale: Largest change of magnification: 0.1 is 0.9 to 1.1. Below 1.
        generator: Source of the draws.

    Returns:
        The warped images, same shape.

    Raises:
        ValueError: A negative range, or ``scale`` of 1 and more.
    """
    if min(rotation, shift, scale) < 0 or scale >= 1:
        raise ValueError(f"ranges must be >= 0 and scale < 1, got {rotation=:g}, {shift=:g}, {scale=:g}.")
    draws = torch.rand(4, len(images), generator=generator, device=generator.device).to(images.device)
    turn, zoom, *step = 2 * draws - 1
    return affine(images, rotation * turn, 1 + scale * zoom, shift * torch.stack(step, dim=-1))
