"""A physical student as it starts: masks whose PSFs are random kernels, a front end for its images, a readout."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from kd.colour import ColourFrontEnd, channel_taps
from kd.seeding import initialised_with
from kd.students import OpticalFrontEnd, OpticalStudent
from optics4f.config import BenchSpecification
from optics4f.design import kinoform


def physical_student(
    bench: BenchSpecification,
    readout: Callable[[int], nn.Module],
    *,
    initial_kernel: int,
    seed: int,
    channels: int = 1,
    trainable: bool = True,
) -> OpticalStudent:
    """A student whose masks start as kinoforms of random complex kernels.

    Args:
        bench: The hardware; its camera draws noise. Its object shows the channels of an image side by side.
        readout: Number of masks to the readout of their frames.
        initial_kernel: Taps per axis of the random kernels.
        seed: Of kernels and readout weights.
        channels: Of the images.
        trainable: Whether the masks learn.
    """
    hardware = bench.build()
    shape = (hardware.slm.masks, channels, initial_kernel, initial_kernel)
    kernels = torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))
    taps = channel_taps(kernels, hardware.illumination.shape[1] // channels)
    hardware.slm.set_values(kinoform(hardware, taps).to(hardware.slm.values.dtype))
    with initialised_with(seed):
        electronics = readout(hardware.slm.masks)
    colours = {"channels": channels} if channels > 1 else {}
    front = ColourFrontEnd if colours else OpticalFrontEnd
    return OpticalStudent(front(bench.build_route(hardware), trainable=trainable, **colours), electronics)
