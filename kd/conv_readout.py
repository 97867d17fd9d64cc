"""An electronic readout that convolves the camera's frames: fewer weights than fully connected layers need."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from kd.readout import regions, rooted


class PooledConv(nn.Module):
    """Regions of the maps, normalised; 3 x 3 convolutions that halve; hidden linear layers; the classes.

    Each convolution has stride 2 and is normalised and rectified, each hidden layer is rectified. With 16 maps, 10
    classes and the defaults, 288 234 parameters and 0.85 million multiply-accumulates.

    Args:
        channels: Feature maps of the front end.
        classes: Number of classes.
        pool: Regions per axis.
        filters: Maps behind each convolution.
        hidden: Units of each hidden layer.
        dropout: Share of features dropped before each linear layer in training.
        root: As in :class:`kd.readout.PooledMLP`.

    Shape:
        - Input ``(B, channels, height, width)``, output logits ``(B, classes)``.
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        pool: int = 16,
        filters: Sequence[int] = (32, 64),
        hidden: Sequence[int] = (256,),
        dropout: float = 0.0,
        root: float = 0.0,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.root = root
        layers: list[nn.Module] = [nn.BatchNorm2d(channels)]
        for before, after in pairwise((channels, *filters)):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
            pool = (pool + 1) // 2
        layers.append(nn.Flatten())
        widths = [(channels, *filters)[-1] * pool**2, *hidden]
        for before, after in pairwise(widths):
            layers += [nn.Dropout(dropout), nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(widths[-1], classes))

    def forward(self, features: Tensor) -> Tensor:
        return self.layers(rooted(regions(features, self.pool), self.root))

    def extra_repr(self) -> str:
        return f"pool={self.pool}, root={self.root:g}"
