"""The light through a bench with fixed lenses and trained masks, with a gradient written by hand.

Everything before the masks is one linear operator, everything behind them another. Autograd would keep every plane of
every image and mask; here only the masks and the field that reaches them are kept, one sample is computed after the
other while it is in the cache, and the object's own gradient is computed only where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from .later import Later
from .once import first_derivative
from .operators import Stages
from .passes import empty, gradient_of_phases, no_number, squares_into, summed, wave_and_product

SAMPLES_AT_A_TIME = {"cpu": 2**17, "cuda": 2**26}  # complex numbers of one plane that are computed together


def through_masks(
    source: Tensor,
    masks: Tensor,
    stages: Stages,
    lit: Callable[[Tensor], Tensor] | None = None,
    bit_depth: int | None = None,
    *,
    arrived: bool = False,
    keep: bool = True,
) -> tuple[Tensor, Later]:
    """Light of a batch through each of K masks.

    Args:
        source: Fields ``(batch, 1, h, w)``; or what ``lit`` makes such fields of, some of the batch at a time; or
            where ``arrived`` what :func:`at_masks` gave. Only the first may have a gradient.
        masks: Factors ``(K, H, W)``, complex; or the wanted phases [rad] of phase masks, real.
        stages: The bench.
        lit: What makes fields of ``source``.
        bit_depth: Of phases that are rounded to even levels, with the gradient of the identity.
        arrived: Whether the light has come to the masks already.
        keep: Whether the field at the image is kept though no gradient needs it. Without, it is made again when it is
            called for, of what is kept before the image where that is less.

    Returns:
        Intensity ``(batch, K, ...)``; and what puts the field of that shape together.
    """
    if torch.is_grad_enabled() and (source.requires_grad or masks.requires_grad):
        seen, *fields = _ThroughMasks.apply(source, masks, stages, lit, bit_depth, arrived)
        return seen, Later(lambda: _together(fields, len(masks), stages))
    with torch.no_grad():
        chunks = _chunks(source, stages)
        arriving = _arriving(source, chunks, stages, lit, arrived)
        factors, seen, fields = _behind(arriving, chunks, masks, stages, bit_depth, keep)
    if fields:
        return seen, Later(lambda: _together(fields, len(masks), stages))

    @torch.no_grad()
    def again() -> Tensor:
        through = (light * factor for factor in factors.unbind() for light in arriving)
        return _together(list(map(stages.back.apply, through)), len(masks), stages)

    return seen, Later(again)


def at_masks(source: Tensor, stages: Stages, lit: Callable[[Tensor], Tensor]) -> Tensor:
    """The field ``(batch, H, W)`` that reaches the masks; arguments are those of :func:`through_masks`."""
    fields = None
    for chunk in _chunks(source, stages):
        (light,) = _arriving(source, [chunk], stages, lit, False)
        fields = light.new_empty(len(source), *light.shape[1:]) if fields is None else fields
        fields[chunk] = light
    return fields


def _arriving(
    source: Tensor, chunks: list[slice], stages: Stages, lit: Callable[[Tensor], Tensor] | None, arrived: bool
) -> list[Tensor]:
    """The field at the masks, in pieces."""
    if arrived:
        return [source[chunk] for chunk in chunks]
    arriving = []
    for chunk in chunks:
        light = source[chunk] if lit is None else lit(source[chunk])
        light = stages.front.apply(light[:, 0])
        arriving.append(light if stages.between is None else light * stages.between)
    return arriving


def _behind(
    arriving: list[Tensor], chunks: list[slice], masks: Tensor, stages: Stages, bit_depth: int | None, keep: bool
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Factors of the masks, intensity at the image, and the field there, one mask after the other, if it is kept."""
    batch, phases = chunks[-1].stop, not masks.is_complex()
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
                seen = empty((batch, len(masks), *field.shape[-2:]), masks)
                keep = keep or seen.numel() <= factors.numel() + sum(piece.numel() for piece in arriving)
            squares_into(field, seen[chunk, k])
            if keep:
                fields.append(field)
    if bit_depth is not None:
        seen += no_number(masks)[:, None, None]
    return factors, seen, fields


def _together(fields: list[Tensor], masks: int, stages: Stages) -> Tensor:
    """Pieces one mask after the other, as ``(batch, masks, ...)``."""
    parts = len(fields) // masks
    with torch.set_grad_enabled(fields[0].requires_grad):  # whoever looks first
        data = torch.stack([torch.cat(fields[k * parts : (k + 1) * parts]) for k in range(masks)], 1)
        return data if stages.behind is None else data * stages.behind


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
        arrived: bool,
    ) -> tuple[Tensor, ...]:
        """All images through all masks: intensity, and the fields one mask after the other."""
        chunks = _chunks(source, stages)
        arriving = _arriving(source, chunks, stages, lit, arrived)
        factors, seen, fields = _behind(arriving, chunks, masks, stages, bit_depth, keep=True)
        # As the adjoint needs it; what was given is the caller's.
        arriving = [
            torch.conj_physical(light, out=empty(light.shape, light, complex=True) if arrived else light)
            for light in arriving
        ]
        ctx.stages, ctx.parts = stages, len(chunks)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(masks, factors, *arriving, *fields)
        return seen, *fields

    @staticmethod
    @first_derivative
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_seen: Tensor | None, *grad_fields: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Back to the mask plane; there, the masks take their share and the rest goes on to the object."""
        if grad_seen is None and all(grad is None for grad in grad_fields):
            return (None,) * 6
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
        return grad_source, grad_masks, None, None, None, None


def _chunks(batch: Tensor, stages: Stages) -> list[slice]:
    """Slices of the batch that are computed together."""
    room = SAMPLES_AT_A_TIME["cpu" if batch.device.type == "cpu" else "cuda"]
    n = max(1, room // max(stages.front.size, stages.back.size))
    return [slice(start, min(start + n, len(batch))) for start in range(0, len(batch), n)]
