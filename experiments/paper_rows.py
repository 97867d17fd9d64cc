"""The rows of a paper's table: teacher, linear students, physical students, and the controls beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd.data.images import DataSplits
from kd.readout import PooledLinear, PooledMLP
from kd.sclc import SCLC
from kd.seeding import initialised_with
from kd.students import LinearCNN, OpticalFrontEnd, OpticalStudent, Student
from kd.teachers import AlexNetTeacher, ConvTeacher, ResNetTeacher
from optics4f.design import kinoform

from .paper_settings import PaperSettings

Build = Callable[[PaperSettings, DataSplits, int], nn.Module]


@dataclass(frozen=True)
class PaperRow:
    """One row.

    Attributes:
        build: Model for these settings, data and seed.
        about: What it is, in words.
        taught: Whether the teacher's logits are in its loss.
        linear: Whether everything before the readout is linear in the image.
    """

    build: Build
    about: str
    taught: bool = False
    linear: bool = False


class SquaredConvolution(nn.Module):
    """The digital twin of a front end: a complex convolution, then the square law of a detector.

    Args:
        in_channels: Channels of the images.
        out_channels: Kernels.
        kernel_size: Taps along each side, odd.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        # Real and imaginary parts as channels of their own.
        self.parts = nn.Conv2d(in_channels, 2 * out_channels, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.parts(images).square().unflatten(1, (-1, 2)).sum(2)


def readout(settings: PaperSettings, data: DataSplits, channels: int) -> nn.Module:
    """The electronics behind every student: the same for all rows of a table."""
    models, classes = settings.models, len(data.classes)
    if models.hidden:
        return PooledMLP(channels, classes, pool=models.pool, hidden=models.hidden)
    return PooledLinear(channels, classes, pool=models.pool)


def _channels(data: DataSplits) -> int:
    return data.train.images.shape[1]


def _digital(make: Callable[[PaperSettings, DataSplits], nn.Module]) -> Build:
    def build(settings: PaperSettings, data: DataSplits, seed: int) -> nn.Module:
        with initialised_with(seed):
            return make(settings, data)

    return build


def _teacher(settings: PaperSettings, data: DataSplits) -> nn.Module:
    models, channels, classes = settings.models, _channels(data), len(data.classes)
    size = data.train.images.shape[-1]
    if models.teacher == "resnet":
        return ResNetTeacher(channels, classes, width=models.teacher_width)
    if models.teacher == "alexnet":
        return AlexNetTeacher(channels, classes, size=size)
    return ConvTeacher(channels, classes, size=size, width=models.teacher_width)


def _linear(settings: PaperSettings, data: DataSplits) -> nn.Module:
    masks = settings.bench.slm.masks
    return LinearCNN(
        _channels(data), readout(settings, data, masks), channels=masks, kernel_size=settings.models.kernel_size
    )


def _sclc(settings: PaperSettings, data: DataSplits) -> nn.Module:
    masks = settings.bench.slm.masks
    channels = (*settings.models.sclc_channels, masks)
    return SCLC(_channels(data), readout(settings, data, masks), channels=channels)


def _twin(settings: PaperSettings, data: DataSplits) -> nn.Module:
    masks = settings.bench.slm.masks
    front = SquaredConvolution(_channels(data), masks, settings.models.kernel_size)
    return Student(front, readout(settings, data, masks))


def _readout_only(settings: PaperSettings, data: DataSplits) -> nn.Module:
    return Student(nn.Identity(), readout(settings, data, _channels(data)))


def _physical(*, trainable: bool = True, lens_only: bool = False) -> Build:
    def build(settings: PaperSettings, data: DataSplits, seed: int) -> nn.Module:
        hardware = settings.bench.build()
        taps = (hardware.slm.masks, *(settings.models.initial_kernel,) * 2)
        if not lens_only:  # without a mask the SLM is flat, and the camera sees the object itself
            kernels = torch.randn(taps, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))
            hardware.slm.set_values(kinoform(hardware, kernels).to(hardware.slm.values.dtype))
        with initialised_with(seed):
            electronics = readout(settings, data, hardware.slm.masks)
        front = OpticalFrontEnd(settings.bench.build_route(hardware), trainable=trainable)
        return OpticalStudent(front, electronics)

    return build


PAPER_ROWS = {
    "teacher": PaperRow(_digital(_teacher), "nonlinear CNN, digital"),
    "linear": PaperRow(_digital(_linear), "one convolution without nonlinearity, digital", linear=True),
    "sclc": PaperRow(_digital(_sclc), "spectral CNN linear counterpart, digital", linear=True),
    "sclc_kd": PaperRow(_digital(_sclc), "the same, taught by the teacher", taught=True, linear=True),
    "twin": PaperRow(_digital(_twin), "as many digital kernels, squared as a detector does"),
    "physical": PaperRow(_physical(), "phase masks in the simulated 4f, trained on labels"),
    "physical_kd": PaperRow(_physical(), "the same, taught by the teacher", taught=True),
    "random_mask": PaperRow(_physical(trainable=False), "the same start, masks fixed, readout trained"),
    "plain_lens": PaperRow(_physical(trainable=False, lens_only=True), "no mask: the camera sees the object"),
    "readout_only": PaperRow(_digital(_readout_only), "the readout on the image itself", linear=True),
}
