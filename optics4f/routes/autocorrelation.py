r"""Intensity PSFs of a self-luminous pixel from the masks' autocorrelations (Goodman 2005, section 6.3.1).

The amplitude that sample ``b`` of the pixel sends to a position is a Fourier sum over the mask's samples,
:math:`h_b(x) = \sum_m M_m e^{-i (k x + s_b) m}`, so what all of them send together is one over its lags:

.. math:: \sum_b |h_b(x)|^2 = \sum_n \left( \sum_m M_{m+n} M_m^* \right) e^{-i k x n} \sum_b e^{-i s_b n}

One pair of fast transforms for each mask, however many samples the pixel has, and half of the lags, for their sum is
real.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..field import intensity

CACHED = 2**17  # complex numbers; beyond, fast transforms of what is padded lose more than they save


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
                length ``2 n`` has them.

        Returns:
            ``added`` of shape ``(positions, n)``, or ``(positions, 2 n)``; all in the precision given.
        """
        factor, relative = matrix[0], matrix / matrix[:1]
        added = relative * relative[:, :1].conj() * sources.sum(1)
        if half:
            return cls(factor, torch.cat((added[:, :1], 2 * added[:, 1:]), 1))
        never = torch.zeros_like(added[:, :1])  # a lag of n samples, which masks of n have not
        return cls(factor, torch.cat((added, never, added[:, 1:].flip(1).conj()), 1))

    def to(self, dtype: torch.dtype) -> Lags:
        """In another precision."""
        return Lags(*(part.to(dtype) for part in self))


def saves(shape: tuple[int, int], window: tuple[int, int], block: int) -> bool:
    """Whether this way takes fewer products than ``block`` transforms of masks, a row of sources in each.

    Args:
        shape: Of the masks.
        window: Positions along y and x.
        block: Samples along each side of a pixel.
    """
    (height, width), (rows, columns) = shape, window
    by_source = block * rows * width * (height + block * columns)
    return 4 * height * width <= CACHED and rows * width * (2 * height + columns) < by_source


def autocorrelated(masks: Tensor, along_y: Lags, along_x: Lags) -> Tensor:
    """Intensity that all sources of a pixel send to each position, ``(K, positions, positions)``.

    Args:
        masks: Complex, ``(K, height, width)``.
        along_y: All lags.
        along_x: Half of them.
    """
    height, width = masks.shape[-2:]
    spectra = torch.fft.fft2(masks * along_y.factor[:, None] * along_x.factor, s=(2 * height, 2 * width))
    # A forward transform of what is real gives the conjugate of the backward one, which autocorrelations are.
    lags = torch.fft.rfft2(intensity(spectra), norm="forward")[..., :width]
    half_way = torch.view_as_real(along_y.added.conj() @ lags)
    # The real part alone: a product of real numbers.
    real = torch.view_as_real(along_x.added).flatten(-2)
    return (half_way.flatten(-2) @ real.mT).clamp(min=0)  # where darkness is a little less than none
