"""The rows of a paper's table: teacher, linear students, physical students, and the controls beside them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kd.colour import ColourFrontEnd, DifferentialFrontEnd, channel_taps
from kd.complexity import trainable_parameters
from kd.conv_readout import PooledConv
from kd.data.images import DataSplits
from kd.readout import PooledLinear, PooledMLP
from kd.sclc import SCLC
from kd.seeding import initialised_with
from kd.students import LinearCNN, OpticalFrontEnd, OpticalStudent, Student
from kd.teachers import AlexNetTeacher, ConvTeacher, ResNetTeacher
from optics4f.config import BenchSpecification
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

    Shape:
        - Input: ``(batch, in_channels, height, width)``.
        - Output: ``(batch, out_channels, height, width)``.
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
    layers = {"hidden": models.hidden, "dropout": models.dropout, "root": models.root}
    if models.filters:
        return PooledConv(channels, classes, pool=models.pool, filters=models.filters, **layers)
    if models.hidden:
        return PooledMLP(channels, classes, pool=models.pool, **layers)
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
    pools = [None if pool == 1 else pool for pool in settings.models.sclc_pools] or None
    return SCLC(_channels(data), readout(settings, data, masks), channels=channels, pools=pools)


def _twin(settings: PaperSettings, data: DataSplits) -> nn.Module:
    masks = settings.bench.slm.masks
    front = SquaredConvolution(_channels(data), masks, settings.models.kernel_size)
    return Student(front, readout(settings, data, masks))


def _readout_only(settings: PaperSettings, data: DataSplits) -> nn.Module:
    return Student(nn.Identity(), readout(settings, data, _channels(data)))


def _readout_full(settings: PaperSettings, data: DataSplits) -> nn.Module:
    """What the electronics can do without optics: their parameters spent on the image at its own resolution.

    The regions are the pixels, and the first hidden layer is as wide as the parameters of the physical students'
    readout allow. Where there is no hidden layer, or not one unit of it would fit, the regions are as small as they
    allow.

    Raises:
        ValueError: Not even a single region would fit.
    """
    channels, size = _channels(data), max(data.train.images.shape[-2:])
    allowed = _readout_size(settings, data, settings.bench.slm.masks)

    def fits(changed: PaperSettings) -> bool:
        return _readout_size(changed, data, channels) <= allowed

    hidden = settings.models.hidden
    whole = _with_models(settings, pool=size)
    if hidden and fits(wide := _with_models(whole, hidden=(1, *hidden[1:]))):
        width = _largest(lambda n: fits(_with_models(wide, hidden=(n, *hidden[1:]))), allowed)
        return Student(nn.Identity(), readout(_with_models(wide, hidden=(width, *hidden[1:])), data, channels))
    pool = _largest(lambda n: fits(_with_models(settings, pool=n)), size)
    return Student(nn.Identity(), readout(_with_models(settings, pool=pool), data, channels))


def _with_models(settings: PaperSettings, **changes: object) -> PaperSettings:
    return settings.model_copy(update={"models": settings.models.model_copy(update=changes)})


def _readout_size(settings: PaperSettings, data: DataSplits, channels: int) -> int:
    """Parameters of the readout, which is not filled."""
    with torch.device("meta"):
        return trainable_parameters(readout(settings, data, channels))


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 1 to ``most`` that fits, where all below it fit as well."""
    found = bisect_left(range(1, most + 1), True, key=lambda n: not fits(n))
    if not found:
        raise ValueError("models.pool must leave the readout at least a region of the image. Make it larger.")
    return found


def _physical(*, trainable: bool = True, lens_only: bool = False, differential: bool = False) -> Build:
    def build(settings: PaperSettings, data: DataSplits, seed: int) -> nn.Module:
        channels, kernels = _channels(data), settings.bench.slm.masks
        bench = _self_luminous(settings.bench) if differential else settings.bench
        hardware = bench.build()
        if not (lens_only and channels == 1):  # a flat SLM shows the object itself
            start = (
                _prisms(kernels, channels)
                if lens_only
                else _random_kernels(settings, hardware.slm.masks, channels, seed)
            )
            taps = channel_taps(start, hardware.illumination.shape[1] // channels)
            hardware.slm.set_values(kinoform(hardware, taps).to(hardware.slm.values.dtype))
        with initialised_with(seed):
            electronics = readout(settings, data, kernels)
        options = {"trainable": trainable} | ({**settings.efficiency.model_dump()} if trainable else {})
        route = bench.build_route(hardware)
        if differential:
            front = DifferentialFrontEnd(route, channels=channels, **options)
            front.expose(data.train.images[:64])  # a pixel that radiates everywhere sends little through the masks
        elif channels > 1:
            front = ColourFrontEnd(route, channels=channels, **options)
        else:
            front = OpticalFrontEnd(route, **options)
        return OpticalStudent(front, electronics)

    return build


def _self_luminous(bench: BenchSpecification) -> BenchSpecification:
    """The same bench with an object that radiates by itself, and two masks for each kernel."""
    changes = {
        "light": bench.light.model_copy(update={"source": "self_luminous", "angular_radius": None}),
        "object": bench.object.model_copy(update={"encoding": "intensity"}),
        "slm": bench.slm.model_copy(update={"masks": 2 * bench.slm.masks}),
    }
    return bench.model_copy(update=changes)


def _random_kernels(settings: PaperSettings, masks: int, channels: int, seed: int) -> Tensor:
    """Complex kernels that start the masks."""
    shape = (masks, channels, *(settings.models.initial_kernel,) * 2)
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def _prisms(masks: int, channels: int) -> Tensor:
    """One channel after the other brought to the camera as it is."""
    return torch.eye(channels, dtype=torch.complex128)[torch.arange(masks) % channels][..., None, None]


PAPER_ROWS = {
    "teacher": PaperRow(_digital(_teacher), "nonlinear CNN, digital"),
    "linear": PaperRow(_digital(_linear), "one convolution without nonlinearity, digital", linear=True),
    "linear_kd": PaperRow(_digital(_linear), "the same, taught by the teacher", taught=True, linear=True),
    "sclc": PaperRow(_digital(_sclc), "spectral CNN linear counterpart, digital", linear=True),
    "sclc_kd": PaperRow(_digital(_sclc), "the same, taught by the teacher", taught=True, linear=True),
    "twin": PaperRow(_digital(_twin), "as many digital kernels, squared as a detector does"),
    "physical": PaperRow(_physical(), "phase masks in the simulated 4f, trained on labels"),
    "physical_kd": PaperRow(_physical(), "the same, taught by the teacher", taught=True),
    "physical_linear": PaperRow(
        _physical(differential=True), "phase masks, self-luminous object, differences of two exposures", linear=True
    ),
    "physical_linear_kd": PaperRow(
        _physical(differential=True), "the same, taught by the teacher", taught=True, linear=True
    ),
    "random_mask": PaperRow(_physical(trainable=False), "the same start, masks fixed, readout trained"),
    "plain_lens": PaperRow(
        _physical(trainable=False, lens_only=True), "no mask: the camera sees the object, its colours in turn"
    ),
    "readout_only": PaperRow(_digital(_readout_only), "the readout on the image itself", linear=True),
    "readout_only_kd": PaperRow(_digital(_readout_only), "the same, taught by the teacher", taught=True, linear=True),
    "readout_full": PaperRow(
        _digital(_readout_full),
        "the readout on every pixel of the image, with no more parameters (on as many regions as that allows where it "
        "has no hidden layers)",
        linear=True,
    ),
}
