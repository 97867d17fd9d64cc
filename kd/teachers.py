"""Nonlinear digital networks to learn from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad


class ConvTeacher(nn.Module):
    """A LeNet-like classifier (LeCun et al. 1998) with batch normalisation and ReLU.

    Three stages of convolution, batch normalisation, ReLU and 2 x 2 maximum: 5 x 5, 5 x 5 and
    3 x 3 kernels with ``width``, ``2 width`` and ``4 width`` channels. Then dropout and one linear layer. 13 250
    parameters for 1 channel, 10 classes and 32 x 32.

    Args:
        in_channels: Channels of the images.
        classes: Number of classes.
        size: Height and width of the images [pixels], at least 8.
        width: Channels of the first stage.
        dropout: Share of features dropped in training.

    Shape:
        - Input ``(B, in_channels, size, size)``, output logits ``(B, classes)``.
    """

    def __init__(self, in_channels: int, classes: int, *, size: int = 32, width: int = 8, dropout: float = 0.3) -> None:
        super().__init__()
        if size < 8:
            raise ValueError(f"size must be at least 8 for three halvings, got {size}.")
        self.features = nn.Sequential(
            *_stage(in_channels, width, kernel_size=5),
            *_stage(width, 2 * width, kernel_size=5),
            *_stage(2 * width, 4 * width, kernel_size=3),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * width * (size // 8) ** 2, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))


class AlexNetTeacher(nn.Module):
    """AlexNet for small images: five convolutions, three linear layers (Krizhevsky, Sutskever and Hinton 2012).

    The channels are those of the one-tower version (Krizhevsky 2014): 64, 192, 384, 256, 256. For small images the
    first kernel is 5 x 5 without stride, pooling is 2 x 2 behind the first, second and fifth convolution, the
    linear layers have 512 and 256 units, and batch normalisation stands in for local response normalisation.
    4 683 978 parameters for 3 channels, 10 classes and 32 x 32.

    Args:
        in_channels: Channels of the images.
        classes: Number of classes.
        size: Height and width of the images [pixels], at least 8.
        width: Channels of the first convolution; the others are in proportion.
        dropout: Share of units dropped before each hidden linear layer in training.

    Shape:
        - Input ``(B, in_channels, size, size)``, output logits ``(B, classes)``.
    """

    def __init__(
        self, in_channels: int, classes: int, *, size: int = 32, width: int = 64, dropout: float = 0.5
    ) -> None:
        super().__init__()
        if size < 8:
            raise ValueError(f"size must be at least 8 for three halvings, got {size}.")
        self.features = nn.Sequential(
            *_stage(in_channels, width, kernel_size=5),
            *_stage(width, 3 * width, kernel_size=5),
            *_stage(3 * width, 6 * width, kernel_size=3, pool=False),
            *_stage(6 * width, 4 * width, kernel_size=3, pool=False),
            *_stage(4 * width, 4 * width, kernel_size=3),
        )
        self.classifier = nn.Sequential(
            *(nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * width * (size // 8) ** 2, 8 * width), nn.ReLU()),
            *(nn.Dropout(dropout), nn.Linear(8 * width, 4 * width), nn.ReLU()),
            nn.Linear(4 * width, classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images))


class ResNetTeacher(nn.Module):
    """The residual network for CIFAR-10 of He et al. (2016, section 4.2): ``6 blocks + 2`` layers with weights.

    One 3 x 3 convolution, then three stages of ``blocks`` residual blocks with ``width``, ``2 width`` and
    ``4 width`` channels; the second and third stage halve the image. Shortcuts have no parameters (option A): where
    the stage changes, every second pixel and zeros for the new channels. Then the mean over the image and one
    linear layer. 269 722 parameters for 3 channels and 10 classes (the paper's ResNet-20: 0.27 M), 1 073 962 with
    ``width=32``.

    Args:
        in_channels: Channels of the images.
        classes: Number of classes.
        blocks: Residual blocks per stage; 3 is ResNet-20, 9 is ResNet-56.
        width: Channels of the first stage.

    Shape:
        - Input ``(B, in_channels, height, width)`` of any size from 4 x 4, output logits ``(B, classes)``.
    """

    def __init__(self, in_channels: int, classes: int, *, blocks: int = 3, width: int = 16) -> None:
        super().__init__()
        if blocks < 1:
            raise ValueError(f"blocks must be at least 1 per stage, got {blocks}.")
        layers: list[nn.Module] = [*_convolution(in_channels, width), nn.ReLU()]
        channels = width
        for stage in range(3):
            for block in range(blocks):
                shrinks = stage > 0 and block == 0
                layers.append(_Residual(channels, width * 2**stage, stride=2 if shrinks else 1))
                channels = width * 2**stage
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels, classes)
        for layer in self.modules():  # He et al. 2015, as the paper asks for
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean(dim=(-2, -1)))


class UNetTeacher(nn.Module):
    """U-Net (Ronneberger, Fischer and Brox 2015): the class of every pixel, with borders and normalisation.

    Going down, ``depth`` times two 3 x 3 convolutions and a 2 x 2 maximum, channels doubling; going up, a 2 x 2
    transposed convolution (as a 1 x 1 convolution and a shuffle), the maps kept on the way down beside it, and two
    convolutions. Unlike the original, convolutions
    keep the size (zero borders) and are batch-normalised. An image whose sides are no multiple of ``2 ** depth`` is
    extended by its edge and the result cropped. 1 927 115 parameters for 3 channels, 11 classes, width 32, depth 3.

    Args:
        in_channels: Channels of the images.
        classes: Number of classes.
        width: Channels at full size.
        depth: Number of halvings.

    Shape:
        - Input ``(B, in_channels, height, width)``, output logits ``(B, classes, height, width)``.
    """

    def __init__(self, in_channels: int, classes: int, *, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}. Without halvings there is no U.")
        widths = [width * 2**level for level in range(depth + 1)]
        self.depth = depth
        self.down = nn.ModuleList(
            _double(before, after) for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(2 * w, 4 * w, kernel_size=1, bias=False), nn.PixelShuffle(2))
            for w in reversed(widths[:-1])
        )
        self.merge = nn.ModuleList(_double(2 * w, w) for w in reversed(widths[:-1]))
        self.classifier = nn.Conv2d(width, classes, kernel_size=1)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        step = 2**self.depth
        features = pad(images, (0, -width % step, 0, -height % step), mode="replicate")
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            features = block(max_pool2d(features, 2) if level else features)
            kept.append(features)
        kept.pop()  # the lowest has nothing beside it
        for enlarge, block in zip(self.up, self.merge, strict=True):
            features = block(torch.cat([kept.pop(), enlarge(features)], dim=1))
        return self.classifier(features)[..., :height, :width]


class _Residual(nn.Module):
    """Two normalised convolutions beside a shortcut without parameters."""

    def __init__(self, in_channels: int, out_channels: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.new_channels = out_channels - in_channels
        self.body = nn.Sequential(
            *_convolution(in_channels, out_channels, stride=stride),
            nn.ReLU(),
            *_convolution(out_channels, out_channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features[..., :: self.stride, :: self.stride]
        return (self.body(features) + pad(shortcut, (0, 0, 0, 0, 0, self.new_channels))).relu()


def _convolution(in_channels: int, out_channels: int, *, stride: int = 1) -> list[nn.Module]:
    """3 x 3 convolution, normalised."""
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, stride=stride, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels)]


def _double(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two convolutions at constant size, each normalised and rectified."""
    return nn.Sequential(
        *_convolution(in_channels, out_channels), nn.ReLU(), *_convolution(out_channels, out_channels), nn.ReLU()
    )


def _stage(in_channels: int, out_channels: int, *, kernel_size: int, pool: bool = True) -> list[nn.Module]:
    """Convolution at constant size, normalised, halved unless ``pool`` is off, rectified."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    # Maximum before ReLU: the two commute, and ReLU then has a quarter of the work.
    halving = [nn.MaxPool2d(2)] if pool else []
    return [convolution, nn.BatchNorm2d(out_channels), *halving, nn.ReLU()]
