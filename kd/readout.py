"""The electronic part of a student: camera counts, or feature maps, to logits or class maps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate


def regions(features: Tensor, pool: int) -> Tensor:
    """Averages over regions of each map, ``(B, channels, pool, pool)``; maps of that size are not copied."""
    return features if features.shape[-2:] == (pool, pool) else adaptive_avg_pool2d(features, pool)


def rooted(features: Tensor, root: float) -> Tensor:
    """``x / sqrt(abs(x) + root)``, of the shape of ``features``; they themselves where ``root`` is 0.

    Shot noise grows with the root of the light. Behind the root it has the same spread everywhere (Anscombe,
    Biometrika 35, 246, 1948), and bright regions no longer outshine what dim ones tell. This form keeps the sign of
    feature maps that have one, and its slope is finite at zero.
    """
    return features / (features.abs() + root).sqrt() if root else features


class PooledLinear(nn.Module):
    """Sum over regions, normalise, one linear layer: what a camera with binning and a small processor do.

    The same readout goes behind every front end, so that rows of a table differ in the front end alone. A camera's
    square-law detection belongs to the optical front end: it is a nonlinearity that linear digital rows lack.

    Args:
        channels: Feature maps of the front end.
        classes: Number of classes.
        pool: Regions per axis; each map becomes ``pool * pool`` averages.

    Shape:
        - Input ``(B, channels, height, width)``, output logits ``(B, classes)``.
    """

    def __init__(self, channels: int, classes: int, *, pool: int = 4) -> None:
        super().__init__()
        self.pool = pool
        self.normalise = nn.BatchNorm1d(channels * pool**2)
        self.linear = nn.Linear(channels * pool**2, classes)

    def forward(self, features: Tensor) -> Tensor:
        averages = regions(features, self.pool)
        return self.linear(self.normalise(averages.flatten(1)))

    def extra_repr(self) -> str:
        return f"pool={self.pool}"


class PooledMLP(nn.Module):
    """:class:`PooledLinear` with hidden layers: sum over regions, normalise, linear layers with ReLU between.

    The nonlinear back end of Xiang et al. (2022) is of this kind, with ``pool=6`` and ``hidden=(512, 256)``.

    Args:
        channels: Feature maps of the front end.
        classes: Number of classes.
        pool: Regions per axis; each map becomes ``pool * pool`` averages.
        hidden: Units of each hidden layer.
        dropout: Share of features dropped before each linear layer in training.
        root: Signal below which their root is linear, in the units of the features: :func:`rooted`; 0 takes no root.

    Shape:
        - Input ``(B, channels, height, width)``, output logits ``(B, classes)``.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        pool: int = 4,
        hidden: Sequence[int] = (64,),
        dropout: float = 0.0,
        root: float = 0.0,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.root = root
        widths = [channels * pool**2, *hidden]
        self.normalise = nn.BatchNorm1d(widths[0])
        layers: list[nn.Module] = []
        drop = [nn.Dropout(dropout)] if dropout else []
        for before, after in pairwise(widths):
            layers += [*drop, nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, *drop, nn.Linear(widths[-1], classes))

    def forward(self, features: Tensor) -> Tensor:
        averages = rooted(regions(features, self.pool), self.root)
        return self.layers(self.normalise(averages.flatten(1)))

    def extra_repr(self) -> str:
        return f"pool={self.pool}, root={self.root:g}"


class CompactConv(nn.Module):
    """A convolutional readout of two thousand parameters: the electronic back end of SVN3 (Wei et al. 2024).

    Normalise, ReLU, average over 3 x 3 at every second pixel, one 3 x 3 kernel per map at every second pixel, a
    1 x 1 convolution to ``width`` maps, normalise, ReLU, normalise, mean over the image, one linear layer. With 25
    maps, ``width=50`` and 10 classes the weights and the linear layer's offsets are 1985 and the normalisations
    250 more (the paper counts 2.03 K in all).

    Args:
        channels: Feature maps of the front end.
        classes: Number of classes.
        width: Maps behind the 1 x 1 convolution.

    Shape:
        - Input ``(B, channels, height, width)``, at least 5 x 5, output logits ``(B, classes)``.
    """

    def __init__(self, channels: int, classes: int, *, width: int = 50) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.AvgPool2d(3, stride=2),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.BatchNorm2d(width),
        )
        self.linear = nn.Linear(width, classes)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear(self.features(features).mean(dim=(-2, -1)))


class Coordinates(nn.Module):
    """Two more maps that tell the row and the column of a pixel, each from -1 to 1 (CoordConv, arXiv 1807.03247).

    A small convolution does not know where it is: what is low in a street is more often road than sky.

    Shape:
        - Input ``(B, C, h, w)``, output ``(B, C + 2, h, w)``.
    """

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[-2:]
        rows = torch.linspace(-1, 1, height, dtype=maps.dtype, device=maps.device).view(1, 1, height, 1)
        columns = torch.linspace(-1, 1, width, dtype=maps.dtype, device=maps.device).view(1, 1, 1, width)
        places = [place.expand(len(maps), 1, height, width) for place in (rows, columns)]
        return torch.cat((maps, *places), 1)


class SegmentationDecoder(nn.Module):
    """Camera frames to the class of every pixel: a few small convolutions and an enlargement.

    Normalise, 3 x 3 convolution to ``width`` maps, normalise, ReLU, as often as there are widths, 1 x 1 convolution
    to the classes, then bilinear enlargement to the size of the label map, which costs no weights.

    Args:
        channels: Feature maps of the front end.
        classes: Number of classes.
        size: Height and width of the class map [pixels]; ``None`` keeps the size of the frames.
        width: Maps behind each 3 x 3 convolution, one number for a single one; 0 leaves out the hidden layer: one
            linear 1 x 1 convolution.
        root: As in :class:`PooledMLP`, of each pixel.
        coordinates: Whether the first convolution is told row and column, by :class:`Coordinates`.
        dilations: Steps between the taps of each 3 x 3 convolution, which sees further for the same price (Yu and
            Koltun 2016, arXiv 1511.07122); 1 for all by default.

    Shape:
        - Input ``(B, channels, h, w)``, output logits ``(B, classes, *size)``.

    Raises:
        ValueError: Dilations, but not one for each 3 x 3 convolution.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        size: tuple[int, int] | None = None,
        width: int | Sequence[int] = 32,
        root: float = 0.0,
        coordinates: bool = False,
        dilations: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.size = size
        self.root = root
        layers: list[nn.Module] = [nn.BatchNorm2d(channels)]
        if coordinates:
            layers.append(Coordinates())
            channels += 2
        widths = list(filter(None, [width] if isinstance(width, int) else width))
        if dilations and len(dilations) != len(widths):
            raise ValueError(f"dilations must be {len(widths)} numbers, one a convolution, got {len(dilations)}.")
        for maps, step in zip(widths, dilations or [1] * len(widths), strict=True):
            convolution = nn.Conv2d(channels, maps, 3, padding=step, dilation=step, bias=False)
            layers += [convolution, nn.BatchNorm2d(maps), nn.ReLU()]
            channels = maps
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, classes, 1))

    def forward(self, features: Tensor) -> Tensor:
        logits = self.layers(rooted(features, self.root))
        if self.size is None or self.size == tuple(logits.shape[-2:]):
            return logits
        return interpolate(logits, self.size, mode="bilinear", align_corners=False)

    def extra_repr(self) -> str:
        return f"size={self.size}, root={self.root:g}"
