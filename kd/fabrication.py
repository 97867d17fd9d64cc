"""A trained student on hardware that is not what it was trained on: its frames, and training with them.

Frames of a measured bench are data. A readout learns from frames that were recorded once; masks need new frames at each
step, whose gradient nobody can measure: it is that of the simulated bench.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from kd.data.images import DataSplits, LabelledImages
from optics4f.elements.slm import Modulator

NUMBER = 2.0**-24
"""An image's number times this is exact in single precision, and within what :class:`LabelledImages` takes."""


@torch.no_grad()
def recorded(front_end: nn.Module, images: Tensor, *, seed: int, batch_size: int = 256) -> Tensor:
    """What the camera delivers for each image once, noise included, shape ``(N, masks, h, w)``.

    Args:
        front_end: Such as :class:`kd.students.OpticalFrontEnd`; its mode is given back.
        images: Shape ``(N, C, height, width)``.
        seed: Of the camera's noise.
        batch_size: Images at a time.
    """
    training = front_end.training
    front_end.eval()
    front_end.reseed(seed)
    try:
        return torch.cat([front_end(some) for some in images.split(batch_size)])
    finally:
        front_end.train(training)


class Recorded(nn.Module):
    """A network that is asked for the number of an image and looks its input up: ``network(record[number])``.

    A readout sees frames, its teacher sees the images that were on the object: both are trained with by number.

    Args:
        network: Takes what was recorded.
        record: Input of the network for each number, shape ``(N, ...)``; no part of the state.

    Shape:
        - Input: numbers as :func:`numbered` has them, ``(B, 1, 1, 1)``.
        - Output: that of the network.
    """

    def __init__(self, network: nn.Module, record: Tensor) -> None:
        super().__init__()
        self.network = network
        self._record = [record]  # in a list, for no state shall hold it

    def forward(self, numbers: Tensor) -> Tensor:
        record = self._record[0]
        found = record[(numbers.flatten().to(record.device) / NUMBER).round().long()]
        return self.network(found.to(numbers.device))


def numbered(data: DataSplits) -> DataSplits:
    """The numbers of the images instead of the images: training images first, then validation, then test.

    Raises:
        TypeError: Class maps, which have the size of the image: a number has none.
    """
    splits, first = {}, 0
    for name in ("train", "validation", "test"):
        part = getattr(data, name)
        if not isinstance(part, LabelledImages):
            raise TypeError(f"{name} must have one class an image, got {type(part).__name__}.")
        numbers = (first + torch.arange(len(part), dtype=torch.float32)) * NUMBER
        splits[name] = LabelledImages(numbers[:, None, None, None], part.labels)
        first += len(part)
    return DataSplits(name=data.name, classes=data.classes, **splits)


def part_of(data: DataSplits, share: float, *, seed: int) -> DataSplits:
    """A random share of the training and of the validation images; the test images are all there.

    Args:
        data: The whole set.
        share: In (0, 1].
        seed: Of the choice.

    Raises:
        ValueError: A share that leaves fewer than two images.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share:g}.")
    generator = torch.Generator().manual_seed(seed)
    splits = {}
    for name in ("train", "validation"):
        part = getattr(data, name)
        count = round(share * len(part))
        if count < 2:
            raise ValueError(f"share must leave two {name} images or more, got {share:g} of {len(part)}.")
        splits[name] = part.subset(torch.randperm(len(part), generator=generator)[:count].sort().values)
    return DataSplits(name=data.name, classes=data.classes, test=data.test, **splits)


class MeasuredFrontEnd(nn.Module):
    r"""Frames of one bench with the gradient of another: physics-aware training (Wright et al. 2022, Nature 601, 549).

    .. math:: y = y_{measured}, \qquad \partial y := \partial y_{simulated}

    The levels of the simulated masks are shown on the measured bench at each call.

    Args:
        simulated: What is believed; its masks learn.
        measured: The same kind of front end on the hardware, or on a hidden simulation of it; gets no gradient.

    Shape:
        - As the front ends.
    """

    digital = False

    def __init__(self, simulated: nn.Module, measured: nn.Module) -> None:
        super().__init__()
        self.simulated = simulated
        self.measured = measured.requires_grad_(False)

    def reseed(self, seed: int) -> None:
        """Start the noise of both cameras again."""
        self.simulated.reseed(seed)
        self.measured.reseed(seed + 1)  # not the same draws: one is no measurement of the other

    def penalty(self) -> Tensor | None:
        """What the simulated front end adds to the loss."""
        return self.simulated.penalty()

    @torch.no_grad()
    def show(self) -> None:
        """Bring the levels of the simulated masks to the measured bench."""
        for believed, real in zip(modulators(self.simulated), modulators(self.measured), strict=True):
            real.load_levels(believed.levels())

    def forward(self, images: Tensor) -> Tensor:
        self.show()
        with torch.no_grad():
            measured = self.measured(images)
        if not torch.is_grad_enabled():
            return measured
        simulated = self.simulated(images)
        return simulated + (measured - simulated).detach()


def modulators(front_end: nn.Module) -> Iterator[Modulator]:
    """The SLMs in a front end, each once."""
    return (module for module in front_end.modules() if isinstance(module, Modulator))
