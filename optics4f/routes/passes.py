"""Work on each sample by itself, as few and as local passes over the memory as it takes."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Sequence
from functools import lru_cache

import numpy
import torch
from torch import Tensor

from ..memory import on_shortage
from ..quantization import levels_to_phase, quantize_phase

PIECE = {"cpu": 2**18, "cuda": 2**26}  # complex numbers that are worked on together: they stay in the cache
_TABLED_BITS = 12  # beyond, a table of the levels leaves the cache
_WORTH_KEEPING = 2**20, 2**29  # bytes of an array at least, of all idle ones at most

_idle: dict[int, numpy.ndarray] = {}  # by id, oldest first
on_shortage(_idle.clear)
_lock = threading.RLock()  # a collection of garbage gives memory back between any two lines of its holder
# Memory that comes back to glibc's malloc stays with the process up to twice the largest block that ever did: a block
# just below its limit of 32 MiB, never written to, raises what it keeps to all that a step asks for and returns.
torch.empty(2**25 - 2**16, dtype=torch.uint8)


def wave(phase: Tensor, bit_depth: int | None = None, *, turned: bool = False, out: Tensor | None = None) -> Tensor:
    """``exp(i phase)`` of phases [rad], any shape; of even levels where there is a bit depth; times i if ``turned``."""
    if bit_depth is not None and bit_depth <= _TABLED_BITS:
        level = torch.div(phase, 2 * math.pi / 2**bit_depth).round_()
        index = level.to(torch.int32 if phase.dtype == torch.float32 else torch.int64).bitwise_and_(2**bit_depth - 1)
        table, flat = _table(bit_depth, phase.dtype, phase.device, turned), None if out is None else out.view(-1)
        return torch.index_select(table, 0, index.reshape(-1), out=flat).view(phase.shape)
    phase = phase if bit_depth is None else quantize_phase(phase, bit_depth)
    cosine, sine = phase.cos(), phase.sin()
    parts = (sine.neg_(), cosine) if turned else (cosine, sine)
    return torch.complex(*parts, out=out)


def no_number(phases: Tensor) -> Tensor:
    """0 for each mask, NaN where a phase [rad] of ``(masks, height, width)`` is not finite: added to its light.

    No index into a table can say so.
    """
    return 0 * phases.sum((-2, -1))


@lru_cache(maxsize=32)
def _table(bit_depth: int, dtype: torch.dtype, device: torch.device, turned: bool) -> Tensor:
    """What each level does to the light."""
    return wave(levels_to_phase(torch.arange(2**bit_depth, device=device), bit_depth, dtype), turned=turned)


def squares_into(field: Tensor, out: Tensor) -> None:
    """``re^2 + im^2`` of any shape; of neighbours in memory, which is faster than of two strided parts."""
    add_pairs(torch.view_as_real(field).square(), out)


def wave_and_product(phase: Tensor, bit_depth: int | None, light: Tensor, factor: Tensor, product: Tensor) -> None:
    """``factor``: the :func:`wave` of one mask's phase [rad]; ``product``: ``light (n, height, width)`` through it."""
    for rows in pieces(phase):
        some = wave(phase[rows], bit_depth, out=factor[rows])
        torch.mul(light[:, rows], some, out=product[:, rows])


def summed(share: Tensor | None, back: Tensor, light: Tensor) -> Tensor:
    """``share (height, width)`` and the products of some samples, summed over them; ``back`` is used up."""
    if share is not None and len(back) == 1:
        return share.addcmul_(back[0], light[0])
    part = back.mul_(light)[0] if len(back) == 1 else back.mul_(light).sum(0)
    return part if share is None else share.add_(part)


def gradient_of_phases(share: Tensor | None, back: Tensor, light: Tensor, factor: Tensor, out: Tensor) -> None:
    """Twice the imaginary part of :func:`summed` times the conjugate of a mask's factor, all of its shape.

    All but the factor are used up.
    """
    for rows in pieces(factor):
        part = summed(None if share is None else share[rows], back[:, rows], light[:, rows]).mul_(-2j)
        add_pairs(torch.view_as_real(part).mul_(torch.view_as_real(factor[rows])), out[rows])


def pieces(plane: Tensor) -> list[slice]:
    """Slices of the rows of a plane ``(height, width)`` that are worked on together."""
    height, width = plane.shape
    step = max(1, PIECE["cpu" if plane.is_cpu else "cuda"] // width)
    if step >= height:
        return [slice(None)]
    return [slice(start, start + step) for start in range(0, height, step)]


def add_pairs(parts: Tensor, out: Tensor) -> None:
    """Sum of real and imaginary part, which are the last axis of ``parts (..., 2)``."""
    torch.add(parts[..., 0], parts[..., 1], out=out)


def empty(shape: Sequence[int], like: Tensor, *, complex: bool = False) -> Tensor:
    """Memory of this shape and of the precision of ``like``, real or complex.

    On a CPU it is that of an earlier step that nobody holds: a step of training asks for the same large arrays as
    the one before. Memory fresh from the system comes in pages that it fills with zeros one by one, which takes as long
    as a transform.
    """
    kind = like.dtype.to_complex() if complex else like.dtype.to_real()
    if like.device.type != "cpu":
        return torch.empty(*shape, dtype=kind, device=like.device)
    array = _memory(math.prod(shape) * kind.itemsize)
    lent = array.view(str(kind).removeprefix("torch.")).reshape(tuple(shape))  # the tensor holds this very object
    if array.nbytes >= _WORTH_KEEPING[0]:
        weakref.finalize(lent, _give_back, array).atexit = False
    return torch.from_numpy(lent)


def _memory(size: int) -> numpy.ndarray:
    """So many bytes, of the idle ones if there are."""
    with _lock:
        for array in tuple(_idle.values()):
            if array.nbytes == size and _idle.pop(id(array), None) is not None:
                return array
    return numpy.empty(size, dtype=numpy.uint8)


def _give_back(array: numpy.ndarray) -> None:
    with _lock:
        _idle[id(array)] = array
        while sum(kept.nbytes for kept in tuple(_idle.values())) > _WORTH_KEEPING[1]:
            _idle.pop(next(iter(_idle), None), None)
