"""Random displacements against a spot whose place is known."""

import math

import pytest
import torch

from kd.augment import affine, random_affine

HEIGHT, WIDTH = 48, 64


def spot(y: float, x: float, sigma_y: float = 3.0, sigma_x: float = 3.0) -> torch.Tensor:
    """Gaussian centred ``(y, x)`` pixels from the middle, shape ``(1, 1, HEIGHT, WIDTH)``, double."""
    rows = torch.arange(HEIGHT, dtype=torch.float64)[:, None] - (HEIGHT - 1) / 2 - y
    columns = torch.arange(WIDTH, dtype=torch.float64)[None, :] - (WIDTH - 1) / 2 - x
    return torch.exp(-(rows**2 / sigma_y**2 + columns**2 / sigma_x**2) / 2)[None, None]


def warp(images: torch.Tensor, *, angle: float = 0.0, scale: float = 1.0, shift: tuple = (0.0, 0.0)) -> torch.Tensor:
    return affine(images, *(torch.tensor([v], dtype=torch.float64) for v in (angle, scale, shift)))


def test_a_spot_goes_where_turn_scale_and_shift_send_it():
    angle, scale = math.radians(30), 1.2
    # p -> s R p + t by hand: R turns +x (right) towards +y (down).
    x = scale * (10 * math.cos(angle) - 5 * math.sin(angle)) + 0.05 * WIDTH
    y = scale * (10 * math.sin(angle) + 5 * math.cos(angle)) - 0.1 * HEIGHT
    moved = warp(spot(5, 10), angle=angle, scale=scale, shift=(-0.1, 0.05))
    # Bilinear interpolation errs by at most h^2/8 (|f_xx| + |f_yy|) = 0.25 / 9 for sigma = 3 px, h = 1.
    torch.testing.assert_close(moved, spot(y, x, 3.6, 3.6), atol=0.028, rtol=0)


def test_a_quarter_turn_on_a_non_square_image_does_not_shear():
    turned = warp(spot(0, 0, sigma_y=2.0, sigma_x=5.0), angle=math.pi / 2)
    torch.testing.assert_close(turned, spot(0, 0, sigma_y=5.0, sigma_x=2.0), atol=1e-9, rtol=0)


def test_what_comes_from_outside_is_dark():
    shifted = warp(torch.ones(1, 1, HEIGHT, WIDTH, dtype=torch.float64), shift=(0.25, 0.0))
    assert shifted[..., : HEIGHT // 4, :].abs().max() == 0
    torch.testing.assert_close(shifted[..., HEIGHT // 4 :, :], torch.ones(1, 1, 3 * HEIGHT // 4, WIDTH).double())


def test_no_range_is_no_change():
    images = torch.rand(4, 2, 12, 16, generator=torch.Generator().manual_seed(0))
    same = random_affine(images, rotation=0.0, shift=0.0, scale=0.0, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(same, images, atol=1e-5, rtol=0)


def test_draws_fill_their_range_and_follow_the_generator():
    images = spot(0, 0).float().expand(200, 2, -1, -1)
    ranges = {"rotation": 0.2, "shift": 0.1, "scale": 0.0}
    moved, again, other = (
        random_affine(images, **ranges, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(moved, again)
    assert not torch.equal(moved, other)
    assert torch.equal(moved[:, 0], moved[:, 1])  # channels move together
    y = (moved[:, 0].sum(-1) * (torch.arange(HEIGHT) - (HEIGHT - 1) / 2)).sum(-1) / moved[:, 0].sum((-2, -1))
    largest = 0.1 * HEIGHT
    assert y.abs().max() < largest + 0.05
    # A uniform variable on (-a, a) has standard deviation a / sqrt(3); 200 draws give it to about 4 %.
    assert y.std().item() == pytest.approx(largest / math.sqrt(3), rel=0.15)


def test_a_scale_that_could_reach_zero_is_refused():
    with pytest.raises(ValueError, match="scale < 1, got .*scale=1"):
        random_affine(torch.ones(1, 1, 4, 4), rotation=0, shift=0, scale=1, generator=torch.Generator())
