"""Frames laid over one another: shift, brightness and likeness against closed forms."""

import math

import pytest
import torch

from optics4f.twin.registration import correlation, register


def spots(shift: tuple[float, float], *, gain: float = 1.0, offset: float = 0.0) -> torch.Tensor:
    """Three Gaussian spots, two frames, sampled at their true places: nothing is interpolated."""
    y = torch.arange(26, dtype=torch.float64)[:, None] - shift[0]
    x = torch.arange(33, dtype=torch.float64)[None, :] - shift[1]
    frames = []
    for places in (((10, 12, 1.0), (15, 20, 0.5)), ((12, 22, 0.8), (13, 10, 0.4))):
        frames.append(sum(p * torch.exp(-((y - a) ** 2 + (x - b) ** 2) / (2 * 1.8**2)) for a, b, p in places))
    return gain * torch.stack(frames) + offset


@pytest.mark.parametrize("shift", [(0.0, 0.0), (2.3, -1.4), (-0.45, 3.6), (-3.0, -2.0)])
def test_shift_brightness_and_offset_are_found(shift):
    found = register(spots(shift, gain=1.7, offset=12.0), spots((0.0, 0.0)))
    # Cubic splines of a spot of 1.8 pixels are off by some 1e-3 of its height.
    assert found.shift == pytest.approx(shift, abs=5e-3)
    assert found.gain == pytest.approx(1.7, rel=5e-3)
    assert found.offset == pytest.approx(12.0, abs=5e-3)
    assert found.margin == math.ceil(max(map(abs, shift)) - 0.01)
    laid = found.inside(found.applied(spots((0.0, 0.0))))
    torch.testing.assert_close(laid, found.inside(spots(shift, gain=1.7, offset=12.0)), atol=1e-2, rtol=0)


def test_noise_moves_it_by_hundredths():
    generator = torch.Generator().manual_seed(3)
    seen = spots((1.3, -2.2)) + 0.02 * torch.randn(2, 26, 33, generator=generator, dtype=torch.float64)
    assert register(seen, spots((0.0, 0.0))).shift == pytest.approx((1.3, -2.2), abs=0.05)


def test_correlation_has_its_closed_form():
    a = torch.tensor([[[0.0, 1.0], [2.0, 5.0]]])
    b = torch.tensor([[[1.0, 0.0], [2.0, 1.0]]])
    # Means 2 and 1; products (-2)(0) + (-1)(-1) + 0 + 3 * 0 = 1; squares 14 and 2.
    assert correlation(a, b).item() == pytest.approx(1 / math.sqrt(28))
    assert correlation(a, 3 * a + 7).item() == pytest.approx(1)
    assert correlation(a, -a).item() == pytest.approx(-1)
    assert correlation(a, torch.ones_like(a)).isnan().item()


def test_what_cannot_be_registered_is_refused():
    frames = spots((0.0, 0.0))
    with pytest.raises(ValueError, match="one shape"):
        register(frames, frames.mT)
    with pytest.raises(ValueError, match="measured frames must show something"):
        register(torch.ones_like(frames), frames)
    with pytest.raises(ValueError, match="predicted frames must be finite"):
        register(frames, frames * math.nan)
