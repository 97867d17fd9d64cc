"""The linear operators that a bench with fixed lenses is made of, each with its adjoint."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..filtering import padded_filter


class Operator(Protocol):
    """A linear map of fields ``(n, height, width)`` and its adjoint."""

    size: int  # complex numbers of its largest plane

    def apply(self, data: Tensor) -> Tensor:
        """Forth."""

    def adjoint(self, data: Tensor, weight: Tensor | None = None) -> Tensor:
        """And back: ``<A x, y> = <x, A* y>``, of ``data * weight`` where there is a weight."""


@dataclass(frozen=True)
class Matrices:
    """``rows @ data @ columns.T`` of ``data (n, height, width)``: a zoomed transform, or an interpolation."""

    rows: Tensor
    columns: Tensor

    @property
    def size(self) -> int:
        """Of the larger plane."""
        return max(self.rows.shape[0] * self.columns.shape[0], self.rows.shape[1] * self.columns.shape[1])

    def apply(self, data: Tensor) -> Tensor:
        """Rows and columns, the cheaper order first."""
        return self._product(self.rows, data, self.columns.mT)

    def adjoint(self, data: Tensor, weight: Tensor | None = None) -> Tensor:
        """The conjugate transposes."""
        data = data if weight is None else data * weight
        return self._product(self.rows.mH, data, self.columns.conj())

    @staticmethod
    def _product(left: Tensor, data: Tensor, right: Tensor) -> Tensor:
        if left.shape[0] * data.shape[-1] <= data.shape[-2] * right.shape[1]:
            return (left @ data) @ right
        return left @ (data @ right)


@dataclass(frozen=True)
class Transform:
    """The FFT between two centred planes of matched pitch, up to factors on either plane.

    Attributes:
        length: Samples of the transform ``(rows, columns)``.
        inputs: Samples of the plane before it.
        outputs: Samples of the plane behind it.
        before: Factor on the samples before; ``None`` where it is taken care of elsewhere.
        behind: Factor on the samples behind.
        first: Frequency ``(row, column)`` of the first output.
    """

    length: tuple[int, int]
    inputs: tuple[int, int]
    outputs: tuple[int, int]
    before: Tensor | None
    behind: Tensor | None
    first: tuple[int, int] = (0, 0)
    _kept: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    @property
    def size(self) -> int:
        """Of the transform."""
        return self.length[0] * self.length[1]

    def apply(self, data: Tensor) -> Tensor:
        """Forth."""
        data = data if self.before is None else data * self.before
        data = torch.fft.fft2(data, s=self.length)[self._seen]
        return data if self.behind is None else data * self.behind

    def adjoint(self, data: Tensor, weight: Tensor | None = None) -> Tensor:
        """The inverse transform without its factor 1/N."""
        data = data if self.behind is None else data * self.behind.conj()
        if self.outputs == self.length:
            padded = data if weight is None else data * weight
        else:  # weighted on the way into the larger window
            padded = self._zeros(data)
            window = padded[self._seen]
            window.copy_(data) if weight is None else torch.mul(data, weight, out=window)
        data = torch.fft.ifft2(padded, norm="forward")[..., : self.inputs[0], : self.inputs[1]]
        return data if self.before is None else data * self.before.conj()

    def _zeros(self, data: Tensor) -> Tensor:
        """A window for the inverse transform, zero beside the outputs, used again and again by each thread."""
        kept = self._kept.__dict__
        key = f"{len(data)} {data.dtype} {data.device}"
        if key not in kept:
            kept.clear()
            kept[key] = data.new_zeros(len(data), *self.length)
        return kept[key]

    @property
    def _seen(self) -> tuple[slice, ...]:
        """Window of the transform that holds the outputs."""
        return (slice(None), *(slice(start, start + n) for start, n in zip(self.first, self.outputs, strict=True)))


@dataclass(frozen=True)
class Propagation:
    """Free space between two lenses' planes ``(n, height, width)``: a padded filter, and a lens where there is one.

    Attributes:
        transfer: Transfer function on the padded window.
        inputs: Samples of the plane before it.
        outputs: Samples of the plane behind it.
        lens: Factor on the samples behind.
    """

    transfer: Tensor
    inputs: tuple[int, int]
    outputs: tuple[int, int]
    lens: Tensor | None = None

    @property
    def size(self) -> int:
        """Of the padded window."""
        return self.transfer.numel()

    def apply(self, data: Tensor) -> Tensor:
        """Forth."""
        data = padded_filter(data, self.transfer, self.outputs)
        return data if self.lens is None else data.mul_(self.lens)

    def adjoint(self, data: Tensor, weight: Tensor | None = None) -> Tensor:
        """And back."""
        data = data if weight is None else data * weight
        data = data if self.lens is None else data * self.lens.conj()
        return padded_filter(data, self.transfer, self.inputs, adjoint=True)


@dataclass(frozen=True)
class Chain:
    """Operators of fields ``(n, height, width)``, one after the other."""

    parts: tuple[Operator, ...]

    @property
    def size(self) -> int:
        """Of the largest part."""
        return max(part.size for part in self.parts)

    def apply(self, data: Tensor) -> Tensor:
        """Forth."""
        for part in self.parts:
            data = part.apply(data)
        return data

    def adjoint(self, data: Tensor, weight: Tensor | None = None) -> Tensor:
        """And back, in the opposite order."""
        for part in reversed(self.parts):
            data, weight = part.adjoint(data, weight), None
        return data


@dataclass(frozen=True)
class Stages:
    """A bench with fixed lenses: what lies before the masks, at them, and behind.

    Attributes:
        front: From the object to the masks.
        back: From the masks to the image, without ``behind``.
        between: Factor on the samples of the masks, shape ``(height, width)``; ``None`` where there is none.
        behind: Phase factor on the image, which its intensity does not see.
    """

    front: Operator
    back: Operator
    between: Tensor | None = None
    behind: Tensor | None = None
