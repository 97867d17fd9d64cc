"""Nonlinear digital networks to learn from."""

from __future__ import annotations

from torch import Tensor, nn


class ConvTeacher(nn.Module):
    """A LeNet-like classifier (LeCun et al. 1998) with batch normalisation and ReLU.

    Three stages of convolution, batch normalisation, ReLU and 2 x 2 maximum: 5 x 5, 5 x 5 and
    3 x 3 kernels with ``width``, ``2 width`` and ``4 width`` channels. Then dropout and one linear layer.

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


def _stage(in_channels: int, out_channels: int, *, kernel_size: int) -> list[nn.Module]:
    """Convolution at constant size, normalised, rectified, halved."""
    convolution = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    # Maximum before ReLU: the two commute, and ReLU then has a quarter of the work.
    return [convolution, nn.BatchNorm2d(out_channels), nn.MaxPool2d(2), nn.ReLU()]
