"""The light through a bench with fixed lenses and trained masks, with a gradient written by hand.

Everything before the masks is one linear operator, everything behind them another. Autograd would keep every plane of
every image and mask; here only the masks and the field that reaches them are kept, one sample is computed after the
other while it is in the cache, and the object's own gradient is computed only where it is asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Protocol

import torch
from torch import Tensor

from ..filtering import padded_filter
from .passes import empty, gradient_of_phases, no_number, squares_into, summed, wave_and_product

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
    source: Tensor,
    masks: Tensor,
    stages: Stages,
    lit: Callable[[Tensor], Tensor] | None = None,
    bit_depth: int | None = None,
) -> tuple[Tensor, Callable[[], Tensor]]:
    """Light of a batch through each of K masks.

    Args:
        source: Fields ``(batch, 1, h, w)``, or what ``lit`` makes such fields of, some of the batch at a time; then
            without a gradient.
        masks: Factors ``(K, H, W)``, complex; or the wanted phases [rad] of phase masks, real.
        stages: The bench.
        lit: What makes fields of ``source``.
        bit_depth: Of phases that are rounded to even levels, with the gradient of the identity.

    Returns:
        Intensity ``(batch, K, ...)``; and a function that puts the field of that shape together.
    """
    seen, *fields = _ThroughMasks.apply(source, masks, stages, lit, bit_depth)
    parts = len(fields) // len(masks)

    def field() -> Tensor:
        with torch.set_grad_enabled(fields[0].requires_grad):  # whoever looks first
            data = torch.stack([torch.cat(fields[k * parts : (k + 1) * parts]) for k in range(len(masks))], 1)
            return data if stages.behind is None else data * stages.behind

    return seen, field


class _ThroughMasks(torch.autograd.Function):
    """Keeps the masks, the field that reaches them and the fields behind them, each in pieces of a few samples."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        source: Tensor,
        masks: Tensor,
        stages: Stages,
        lit: Callable[[Tensor], Tensor] | None,
        bit_depth: int | None,
    ) -> tuple[Tensor, ...]:
        """All images through all masks: intensity, and the fields one mask after the other."""
        arriving = []
        chunks = _chunks(source, stages)
        for chunk in chunks:
            light = source[chunk] if lit is None else lit(source[chunk])
            light = stages.front.apply(light[:, 0])
            arriving.append(light if stages.between is None else light * stages.between)
        phases = not masks.is_complex()
        factors = empty(masks.shape, masks, complex=True) if phases else masks
        product = torch.empty_like(arriving[0])
        seen, fields = None, []
        for k, factor in enumerate(factors.unbind()):
            for n, (chunk, light) in enumerate(zip(chunks, arriving, strict=True)):
                through = product[: len(light)]
                if phases and n == 0:
                    wave_and_product(masks[k], bit_depth, light, factor, through)
                else:
                    torch.mul(light, factor, out=through)
                field = stages.back.apply(through)
                if seen is None:
                    seen = empty((len(source), len(masks), *field.shape[-2:]), masks)
                squares_into(field, seen[chunk, k])
                fields.append(field)
        if bit_depth is not None:
            seen += no_number(masks)[:, None, None]
        for light in arriving:  # as the adjoint needs it
            light.conj_physical_()
        ctx.stages, ctx.parts = stages, len(chunks)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(masks, factors, *arriving, *fields)
        return seen, *fields

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_seen: Tensor | None, *grad_fields: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Back to the mask plane; there, the masks take their share and the rest goes on to the object."""
        if grad_seen is None and all(grad is None for grad in grad_fields):
            return (None,) * 5
        (masks, factors, *saved), stages, parts = ctx.saved_tensors, ctx.stages, ctx.parts
        arriving, fields, phases = saved[:parts], saved[parts:], not masks.is_complex()
        to_source, to_masks = ctx.needs_input_grad[:2]
        ends = list(accumulate(map(len, arriving)))
        grad_masks = empty(masks.shape, masks, complex=not phases) if to_masks else None
        returning: list[Tensor | None] = [None] * parts
        # The same weight for all masks, of a loss of their sum, is made complex once.
        alike = grad_seen is not None and len(masks) > 1 and grad_seen.stride(1) == 0
        weights = [grad_seen[first:end, 0].to(fields[0].dtype) for first, end in pairwise([0, *ends])] if alike else []
        for k, factor in enumerate(factors.unbind()):
            share, last = None, None
            conjugate = factor.conj_physical() if to_source else None
            for c in reversed(range(parts)):  # the last ones are in the cache
                field, grad, light = fields[k * parts + c], grad_fields[k * parts + c], arriving[c]
                weight = None if grad_seen is None else grad_seen[ends[c] - len(light) : ends[c], k]
                weight = weights[c] if alike else weight
                if grad is None and weight is None:
                    continue
                # Half the gradient: an intensity's has a factor 2, which is made up for at the end.
                if grad is not None:
                    field, weight = grad / 2 if weight is None else grad / 2 + field * weight, None
                back = stages.back.adjoint(field, weight)
                if to_source:
                    part = back * conjugate
                    returning[c] = part if returning[c] is None else returning[c].add_(part)
                share = share if last is None else summed(share, *last)
                last = back, light
            if not to_masks:
                continue
            if last is None:
                grad_masks[k].zero_()
            elif phases:
                gradient_of_phases(share, *last, factor, out=grad_masks[k])
            else:
                share = summed(share, *last)
                torch.add(share, share, out=grad_masks[k])
        grad_source = None
        if to_source:
            between = stages.between
            returning = [torch.zeros_like(a) if r is None else r for r, a in zip(returning, arriving, strict=True)]
            returning = [r if between is None else r * between.conj() for r in returning]
            grad_source = 2 * torch.cat([stages.front.adjoint(r) for r in returning])[:, None]
        return grad_source, grad_masks, None, None, None


def _chunks(batch: Tensor, stages: Stages) -> list[slice]:
    """Slices of the batch that are computed together."""
    room = SAMPLES_AT_A_TIME["cpu" if batch.device.type == "cpu" else "cuda"]
    n = max(1, room // max(stages.front.size, stages.back.size))
    return [slice(start, min(start + n, len(batch))) for start in range(0, len(batch), n)]
