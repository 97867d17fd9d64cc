"""The rows of a results table: what is built, and what teaches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from kd import physical
from kd.data.images import DataSplits
from kd.readout import PooledLinear
from kd.sclc import SCLC
from kd.seeding import initialised_with
from kd.students import LinearCNN, OpticalStudent, Student
from kd.teachers import ConvTeacher
from optics4f.config import BenchSpecification

from .settings import DemoSettings


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        build: Model for these settings, data and seed.
        about: What it is, in words.
        taught: Whether the teacher's logits are in its loss.
    """

    build: Callable[[DemoSettings, DataSplits, int], nn.Module]
    about: str
    taught: bool = False


def physical_student(
    bench: BenchSpecification, classes: int, *, pool: int, initial_kernel: int, seed: int, trainable: bool = True
) -> OpticalStudent:
    """A student whose masks start as kinoforms of random complex kernels.

    Args:
        bench: The hardware; its camera draws noise.
        classes: Number of classes.
        pool: Regions per axis of the readout.
        initial_kernel: Taps per axis of the random kernels.
        seed: Seed of kernels and readout weights.
        trainable: Whether the masks learn.
    """
    return physical.physical_student(
        bench,
        lambda masks: PooledLinear(masks, classes, pool=pool),
        initial_kernel=initial_kernel,
        seed=seed,
        trainable=trainable,
    )


def _physical(trainable: bool) -> Callable[[DemoSettings, DataSplits, int], nn.Module]:
    def build(settings: DemoSettings, data: DataSplits, seed: int) -> nn.Module:
        run = settings.run
        return physical_student(
            settings.bench,
            len(data.classes),
            pool=run.pool,
            initial_kernel=run.initial_kernel,
            seed=seed,
            trainable=trainable,
        )

    return build


def _digital(make: Callable[[DemoSettings, DataSplits], nn.Module]) -> Callable[..., nn.Module]:
    def build(settings: DemoSettings, data: DataSplits, seed: int) -> nn.Module:
        with initialised_with(seed):
            return make(settings, data)

    return build


def _readout(settings: DemoSettings, data: DataSplits, channels: int) -> PooledLinear:
    return PooledLinear(channels, len(data.classes), pool=settings.run.pool)


def _channels(data: DataSplits) -> int:
    return data.train.images.shape[1]


def _teacher(settings: DemoSettings, data: DataSplits) -> nn.Module:
    return ConvTeacher(_channels(data), len(data.classes), size=data.train.images.shape[-1])


def _linear(settings: DemoSettings, data: DataSplits) -> nn.Module:
    masks = settings.bench.slm.masks
    return LinearCNN(_channels(data), _readout(settings, data, masks), channels=masks)


def _sclc(settings: DemoSettings, data: DataSplits) -> nn.Module:
    masks = settings.bench.slm.masks
    return SCLC(_channels(data), _readout(settings, data, masks), channels=(8, 16, masks))


def _readout_only(settings: DemoSettings, data: DataSplits) -> nn.Module:
    return Student(nn.Identity(), _readout(settings, data, _channels(data)))


ROWS = {
    "teacher": Row(_digital(_teacher), "nonlinear CNN, digital"),
    "linear": Row(_digital(_linear), "one 7 x 7 convolution without nonlinearity, digital"),
    "sclc": Row(_digital(_sclc), "spectral CNN linear counterpart, digital"),
    "sclc_kd": Row(_digital(_sclc), "the same, taught by the teacher", taught=True),
    "physical": Row(_physical(True), "phase masks in the simulated 4f, trained on labels"),
    "physical_kd": Row(_physical(True), "phase masks in the simulated 4f, taught by the teacher", taught=True),
    "random_mask": Row(_physical(False), "the same start, masks fixed, readout trained"),
    "readout_only": Row(_digital(_readout_only), "the readout on the image itself: no optics, no convolution"),
}
