r"""Intensity PSFs of a self-luminous pixel from the masks' autocorrelations (Goodman 2005, section 6.3.1).

The amplitude that sample ``b`` of the pixel sends to a position is a Fourier sum over the mask's samples,
:math:`h_b(x) = \sum_m M_m e^{-i (k x + s_b) m}`, so what all of them send together is one over its lags:

.. math:: \sum_b |h_b(x)|^2 = \sum_n \left( \sum_m M_{m+n} M_m^* \right) e^{-i k x n} \sum_b e^{-i s_b n}

One pair of fast transforms for each mask, however many samples the pixel has, and half of the lags, for their sum is
real. Darkness comes out to the precision of the brightest position, a little below zero as well as above.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from ..field import intensity

CACHED = 2**17  # complex numbers; beyond, fast transforms of what is padded lose more than they save
TRANSFORMED = 30  # products of a matrix that take as long as the pair of transforms for each padded sample, measured


class Lags(NamedTuple):
    """One axis: a factor of the mask's samples ``(n,)``, and what each lag adds to each position."""

    factor: Tensor
    added: Tensor

    @classmethod
    def of(cls, matrix: Tensor, sources: Tensor, *, half: bool) -> Lags:
        """From a Fourier sum over ``n`` samples at equal distances.

        Args:
            matrix: Of the sum, complex128, ``(positions, n)``; what all positions have in common may be any phase.
            sources: Factor of the samples in the light of each source, complex128, ``(n, sources)``: one at the first.
            half: Lags from 0 alone, each of the others standing for its opposite too; else all, as a transform of
                :func:`padded` samples has them.

        Returns:
            ``added`` of shape ``(positions, n)``, or ``(positions, padded(n))``; all in the precision given.
        """
        factor, relative = matrix[0], matrix / matrix[:1]
        added = relative * relative[:, :1].conj() * sources.sum(1)
        if half:
            return cls(factor, torch.cat((added[:, :1], 2 * added[:, 1:]), 1))
        never = added.new_zeros(len(added), padded(len(factor)) - 2 * len(factor) + 1)  # lags that the mask has not
        return cls(factor, torch.cat((added, never, added[:, 1:].flip(1).conj()), 1))

    def to(self, dtype: torch.dtype) -> Lags:
        """In another precision."""
        return Lags(*(part.to(dtype) for part in self))


def padded(samples: int) -> int:
    """Length of a fast transform that has every lag of so many samples."""
    return next_fast_len(2 * samples - 1)


def saves(shape: tuple[int, int], window: tuple[int, int], block: int) -> bool:
    """Whether this way is likely faster than ``block`` transforms of masks, a row of sources in each.

    Args:
        shape: Of the masks.
        window: Positions along y and x.
        block: Samples along each side of a pixel.
    """
    (height, width), (rows, columns) = shape, window
    samples = padded(height) * padded(width)
    by_lags = rows * width * (padded(height) + columns) + TRANSFORMED * samples
    by_source = block * rows * width * (height + block * columns)
    return samples <= CACHED and by_lags < by_source


def autocorrelated(masks: Tensor, along_y: Lags, along_x: Lags) -> Tensor:
    """Intensity that all sources of a pixel send to each position, ``(K, positions, positions)``.

    Args:
        masks: Complex, ``(K, height, width)``.
        along_y: All lags.
        along_x: Half of them.
    """
    height, width = masks.shape[-2:]
    lengths = (padded(height), padded(width))
    # A forward transform of what is real gives the conjugate of the backward one, which autocorrelations are.
    power = intensity(torch.fft.fft2(masks * along_y.factor[:, None] * along_x.factor, s=lengths))
    lags = torch.fft.rfft2(power, norm="forward")[..., :width]
    with torch.autocast(masks.device.type, enabled=False):  # light keeps its precision
        half_way = torch.view_as_real(along_y.added.conj() @ lags)
        # The real part alone: a product of real numbers.
        return half_way.flatten(-2) @ torch.view_as_real(along_x.added).flatten(-2).mT
