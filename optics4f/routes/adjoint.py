"""The light through a bench with fixed lenses and trained masks, with a gradient written by hand.

Everything before the masks is one linear operator, everything behind them another. Autograd would keep every plane of
every image and mask; here only the masks and the field that reaches them are kept, one sample is computed after the
other while it is in the cache, and the object's own gradient is computed only where it is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Protocol

import numpy
import torch
from torch import Tensor

from ..filtering import padded_filter

SAMPLES_AT_A_TIME = {"cpu": 2**17, "cuda": 2**26}  # complex numbers of one plane that are computed together


class Operator(Protocol):
    """A linear map of fields ``(n, height, width)`` and its adjoint."""

    size: int  # complex numbers of its largest plane

    def apply(self, data: Tensor) -> Tensor:
        """Forth."""

    def adjoint(self, data: Tensor, weight: Tensor | None = None) -> Tensor:
        """And back: ``<A x, y> = <x, A* y>``, of ``data * weight`` where there is a weight."""


@dataclass(frozen=True)
class Matrices:
    """``rows @ data @ columns.T``: a zoomed transform, or an interpolation."""

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
    """Free space between two lenses' planes: a padded filter, with a lens behind it where there is one.

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
    """Operators one after the other."""

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
        between: Factor on the samples of the masks; ``None`` where there is none.
        behind: Phase factor on the image, which its intensity does not see.
    """

    front: Operator
    back: Operator
    between: Tensor | None = None
    behind: Tensor | None = None


def through_masks(
    source: Tensor, masks: Tensor, stages: Stages, lit: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Light of a batch through each of K masks.

    Args:
        source: Fields ``(batch, 1, h, w)``, or what ``lit`` makes such fields of, some of the batch at a time; then
            without a gradient.
        masks: Factors ``(K, H, W)``, complex; or the phases [rad] of phase masks, real.
        stages: The bench.
        lit: What makes fields of ``source``.

    Returns:
        Intensity ``(batch, K, ...)``; and a function that puts the field of that shape together.
    """
    seen, *fields = _ThroughMasks.apply(source, masks, stages, lit)
    parts = len(fields) // len(masks)

    def field() -> Tensor:
        with torch.set_grad_enabled(fields[0].requires_grad):  # whoever looks first
            data = torch.stack([torch.cat(fields[k * parts : (k + 1) * parts]) for k in range(len(masks))], 1)
            return data if stages.behind is None else data * stages.behind

    return seen, field


class _ThroughMasks(torch.autograd.Function):
    """Keeps the masks, the field that reaches them and the fields behind them, each in pieces of a few samples.

    Pieces below 32 MiB are memory that the process keeps from step to step; to fetch larger ones from the system, page
    by page, takes as long as to transform them.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        source: Tensor,
        masks: Tensor,
        stages: Stages,
        lit: Callable[[Tensor], Tensor] | None,
    ) -> tuple[Tensor, ...]:
        """All images through all masks: intensity, and the fields one mask after the other."""
        arriving = []
        chunks = _chunks(source, stages)
        for chunk in chunks:
            light = source[chunk] if lit is None else lit(source[chunk])
            light = stages.front.apply(light[:, 0])
            arriving.append(light if stages.between is None else light * stages.between)
        seen, fields, waves = None, [], []
        for k, mask in enumerate(masks):
            factor = mask
            if not masks.is_complex():
                waves += [mask.cos(), mask.sin()]
                factor = torch.complex(*waves[-2:])
            for chunk, light in zip(chunks, arriving, strict=True):
                field = stages.back.apply(light * factor)
                seen = large_empty((len(source), len(masks), *field.shape[-2:]), mask) if seen is None else seen
                squares_into(field, seen[chunk, k])
                fields.append(field)
        for light in arriving:
            light.conj_physical_()  # as the adjoint needs it
        ctx.stages, ctx.parts = stages, len(chunks)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(masks, *arriving, *fields, *waves)
        return seen, *fields

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_seen: Tensor | None, *grad_fields: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Back to the mask plane; there, the masks take their share and the rest goes on to the object."""
        if grad_seen is None and all(grad is None for grad in grad_fields):
            return None, None, None, None
        (masks, *saved), stages, parts = ctx.saved_tensors, ctx.stages, ctx.parts
        arriving, fields = saved[:parts], saved[parts : parts * (1 + len(masks))]
        waves = saved[parts * (1 + len(masks)) :]
        to_source, to_masks = ctx.needs_input_grad[:2]
        ends = list(accumulate(map(len, arriving)))
        grad_masks = large_empty(masks.shape, masks, masks.is_complex()) if to_masks else None
        returning: list[Tensor | None] = [None] * parts
        for k, mask in enumerate(masks):
            share = None
            conjugate = torch.complex(waves[2 * k], -waves[2 * k + 1]) if to_source and waves else mask.conj()
            for c in reversed(range(parts)):  # the last ones are in the cache
                field, grad, light = fields[k * parts + c], grad_fields[k * parts + c], arriving[c]
                weight = None if grad_seen is None else grad_seen[ends[c] - len(light) : ends[c], k].to(field.dtype)
                if grad is None and weight is None:
                    continue
                # Half the gradient: an intensity's has a factor 2, which is made up for at the end.
                if grad is not None:
                    field, weight = grad / 2 if weight is None else grad / 2 + field * weight, None
                back = stages.back.adjoint(field, weight)
                if to_source:
                    part = back * conjugate
                    returning[c] = part if returning[c] is None else returning[c].add_(part)
                if to_masks:
                    share = _summed(share, back, light)
            if to_masks and share is None:
                grad_masks[k].zero_()
            elif to_masks:
                _of_mask(share, waves[2 * k : 2 * k + 2], grad_masks[k])
        grad_source = None
        if to_source:
            between = stages.between
            returning = [torch.zeros_like(a) if r is None else r for r, a in zip(returning, arriving, strict=True)]
            returning = [r if between is None else r * between.conj() for r in returning]
            grad_source = 2 * torch.cat([stages.front.adjoint(r) for r in returning])[:, None]
        return grad_source, grad_masks, None, None


def squares_into(field: Tensor, out: Tensor) -> None:
    """``re^2 + im^2``; of neighbours in memory, which is faster than of two strided parts."""
    squares = torch.view_as_real(field).square()
    torch.add(squares[..., 0], squares[..., 1], out=out)


def _summed(share: Tensor | None, back: Tensor, light: Tensor) -> Tensor:
    """``share`` and the products of some samples, summed over them; ``back`` is used up."""
    if share is not None and len(back) == 1:
        return share.addcmul_(back[0], light[0])
    part = back.mul_(light)[0] if len(back) == 1 else back.mul_(light).sum(0)
    return part if share is None else share.add_(part)


def _of_mask(share: Tensor, wave: Sequence[Tensor], out: Tensor) -> None:
    """Gradient of a mask's factor from half of it; of its phase, where its cosine and sine are given."""
    if not wave:
        torch.add(share, share, out=out)
        return
    cosine, sine = wave
    torch.addcmul(cosine.new_zeros(()), share.imag, cosine, value=2, out=out)
    out.addcmul_(share.real, sine, value=-2)


def large_empty(shape: Sequence[int], like: Tensor, complex: bool = False) -> Tensor:
    """Memory of the precision of ``like``, real or complex.

    NumPy asks the system for large arrays in huge pages, which takes a fifth of the time.
    """
    kind = like.dtype.to_complex() if complex else like.dtype.to_real()
    if like.device.type != "cpu":
        return torch.empty(*shape, dtype=kind, device=like.device)
    return torch.from_numpy(numpy.empty(tuple(shape), dtype=str(kind).removeprefix("torch.")))


def _chunks(batch: Tensor, stages: Stages) -> list[slice]:
    """Slices of the batch that are computed together."""
    room = SAMPLES_AT_A_TIME["cpu" if batch.device.type == "cpu" else "cuda"]
    n = max(1, room // max(stages.front.size, stages.back.size))
    return [slice(start, min(start + n, len(batch))) for start in range(0, len(batch), n)]
