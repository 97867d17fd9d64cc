r"""Light that is linear in the image, filtered and binned at once: samples of a camera's pixel are never computed.

Of an object :math:`x` whose pixels are :math:`q` image samples apart, seen through the intensity PSF :math:`p`, a
camera pixel of :math:`s` samples with the shares :math:`w` of each gathers

.. math:: y_c = \sum_j w_j \sum_k x_k \, p_{j + s c + q k}
              = \sum_\rho \sum_l x_{r l + \rho} \, P^{(\rho)}_{c + m l},
          \qquad P^{(\rho)}_e = \sum_j w_j \, p_{j + q \rho + s e}

where :math:`q = m s` (and :math:`r = 1`) or :math:`s = r q` (and :math:`m = 1`): one convolution on the camera's pixels
for each of the :math:`r` places that an object pixel has inside one of the camera's; along y and x alike.
"""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import pad

from kd.channel_filter import filtered
from optics4f.elements.camera import overlap
from optics4f.fourf import FourF

MOST_PLACES = 4


class Ratio(NamedTuple):
    """Image samples of a camera's pixel and of an imaged object pixel, one a multiple of the other."""

    camera: int  # s
    stride: int  # q

    @classmethod
    def of(cls, bench: FourF, stride: int) -> Ratio | None:
        """That of a bench; ``None`` where neither is a multiple of the other, or where it saves nothing.

        That is with one sample a pixel of the camera, which leaves nothing to bin, and with more than
        :data:`MOST_PLACES` object pixels along its side, whose squares are channels of the convolution.
        """
        exact = bench.camera.grid.pitch / bench.image.pitch
        samples = round(exact)
        whole = samples > 1 and abs(exact - samples) < 1e-6 * samples
        if not whole or (stride % samples and samples % stride) or samples > MOST_PLACES * stride:
            return None
        return cls(samples, stride)

    @property
    def step(self) -> int:
        """Camera pixels from one object pixel to the next of its place, ``m``."""
        return max(1, self.stride // self.camera)

    @property
    def places(self) -> int:
        """Places that object pixels have inside a camera's, along an axis, ``r``."""
        return max(1, self.camera // self.stride)


def camera_frames(objects: Tensor, psf: Tensor, bench: FourF, ratio: Ratio) -> Tensor:
    """Mean intensity over each of the camera's pixels.

    Args:
        objects: Intensities ``(B, C, height, width)``, which need no gradient.
        psf: Intensity PSFs over all differences between image samples and object pixels, ``(K, C, rows, columns)``.
        bench: Its camera and its image plane's samples.
        ratio: :meth:`Ratio.of` the bench.

    Returns:
        Shape ``(B, K, *bench.camera.grid.shape)``.
    """
    camera, image = bench.camera.grid, bench.image
    rows, columns = (
        _gathering(psf.shape[axis], overlap(pixels, camera.pitch, samples, image.pitch)[0], n, pixels, ratio).to(psf)
        for axis, pixels, samples, n in zip((-2, -1), camera.shape, image.shape, objects.shape[-2:], strict=True)
    )
    with torch.autocast(psf.device.type, enabled=False):  # light keeps its precision
        kernels = torch.einsum("aep,kcpq,bfq->kcabef", rows, psf, columns).flatten(1, 3)
    places = _by_place(objects, ratio)
    starts = [n - 1 for n in places.shape[-2:]]
    lengths = tuple(4 * next_fast_len(ceil(n / 4)) for n in kernels.shape[-2:])
    window = tuple(slice(start, start + n) for start, n in zip(starts, camera.shape, strict=True))
    return filtered(places, kernels, lengths, window)


def _gathering(samples: int, shares: Tensor, objects: int, pixels: int, ratio: Ratio) -> Tensor:
    """What takes a PSF's ``samples`` along an axis to ``P``: ``(r, pixels + m (l - 1), samples)``."""
    differences = pixels + ratio.step * (ceil(objects / ratio.places) - 1)
    starts = ratio.stride * torch.arange(ratio.places)[:, None] + ratio.camera * torch.arange(differences)
    inside = torch.arange(samples) - starts[..., None]
    known = (inside >= 0) & (inside < len(shares))
    return torch.where(known, shares[inside.clamp(0, len(shares) - 1)], 0.0)


def _by_place(objects: Tensor, ratio: Ratio) -> Tensor:
    """Object pixels by their place, each a channel ``(B, C * r * r, ...)``, turned and spread for a convolution."""
    r, m = ratio.places, ratio.step
    whole = pad(objects, (0, -objects.shape[-1] % r, 0, -objects.shape[-2] % r))
    parts = whole.unflatten(-2, (-1, r)).unflatten(-1, (-1, r)).permute(0, 1, 3, 5, 2, 4).flatten(1, 3)
    spread = parts.new_zeros(*parts.shape[:2], *(m * (n - 1) + 1 for n in parts.shape[-2:]))
    spread[..., ::m, ::m] = parts.flip((-2, -1))
    return spread
