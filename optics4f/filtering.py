"""Linear convolution by a transfer function, without the work that zero padding wastes.

A field that is padded to twice its width is mostly zeros, and most of what comes back is cut off. Transforming the rows
that are not zero, then the columns in strips that stay in the processor's cache, and back the rows that are wanted,
costs five eighths of the two padded transforms, or less. The padded plane is never there: what is held is the spectrum
of the rows, and a strip. The transfer function may come in strips as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy
import torch
import torch.nn.functional as F
from torch import Tensor

STRIP = 2**16  # complex numbers of the rows or columns that are transformed together: 512 KiB in complex64
NARROWEST = 16  # lines of a strip, however long: neighbours of 128 bytes are read together
WHOLE = 2**26  # complex numbers of the padded planes that a GPU transforms together


class TransferStrips(Protocol):
    """A transfer function whose columns are made when they are wanted.

    Attributes:
        shape: Of the whole, ``(rows, columns)``.
    """

    shape: tuple[int, int]

    def strips(self, width: int) -> Iterator[tuple[slice, Tensor]]:
        """Every column once, in any order: up to ``width`` of them, and their factor ``(columns, rows)``."""


def padded_filter(
    data: Tensor, transfer: Tensor | TransferStrips, shape: tuple[int, int], *, adjoint: bool = False
) -> Tensor:
    """Filter fields by a transfer function on a larger window: pad, transform, multiply, transform back, cut.

    Args:
        data: Fields ``(n, height, width)``; index ``n // 2`` of each axis is the axis of the window.
        transfer: ``(rows, columns)``, FFT order, of the type of ``data``; not smaller than ``data`` and ``shape``. A
            tensor that is contiguous when transposed is read fastest. On a CPU, also what makes it in strips; that is
            made again for every field.
        shape: Samples ``(height, width)`` to return around the axis.
        adjoint: Apply the adjoint operator instead, from fields of any size to ``shape``.

    Returns:
        Shape ``(n, *shape)``.
    """
    if data.device.type != "cpu":
        transfer = transfer.conj() if adjoint else transfer
        pieces = [_whole(piece, transfer, shape) for piece in data.split(max(1, WHOLE // transfer.numel()))]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)
    window = tuple(transfer.shape)
    (height, width), (out_height, out_width) = data.shape[-2:], shape
    tops, lefts = ([window[axis] // 2 - n[axis] // 2 for n in (data.shape[-2:], shape)] for axis in (0, 1))
    seen, wanted = slice(lefts[0], lefts[0] + width), slice(lefts[1], lefts[1] + out_width)
    above, below = slice(tops[0], tops[0] + height), slice(tops[1], tops[1] + out_height)
    rows, columns = _lines(window[1]), _lines(window[0])
    padded = data.new_zeros(min(rows, height), window[1])
    spectra = huge_empty((max(height, out_height), window[1]), data.dtype)
    block = data.new_zeros(window[0], min(columns, window[1]))
    # Last: what is kept must not be put where the next call's spectra would fit.
    out = huge_empty((len(data), *shape), data.dtype)
    for field, result in zip(data, out, strict=True):
        for start in range(0, height, rows):
            n = min(rows, height - start)
            padded[:n, seen] = field[start : start + n]
            torch.fft.fft(padded[:n], dim=-1, out=spectra[start : start + n])
        for part, factor in _strips(transfer, columns):
            n = part.stop - part.start
            block[above, :n] = spectra[:height, part]
            work = torch.fft.fft(block[:, :n], dim=0).mT  # the library leaves each column contiguous
            work.mul_(factor.conj() if adjoint else factor)
            spectra[:out_height, part] = torch.fft.ifft(work, dim=-1)[:, below].mT
        for start in range(0, out_height, rows):
            n = min(rows, out_height - start)
            result[start : start + n] = torch.fft.ifft(spectra[start : start + n], dim=-1)[:, wanted]
    return out


def _lines(length: int) -> int:
    """Rows or columns of that length that are transformed together."""
    return max(NARROWEST, STRIP // length) * torch.get_num_threads()


def _strips(transfer: Tensor | TransferStrips, width: int) -> Iterator[tuple[slice, Tensor]]:
    if not isinstance(transfer, Tensor):
        yield from transfer.strips(width)
        return
    count = transfer.shape[1]
    for start in range(0, count, width):
        part = slice(start, min(start + width, count))
        yield part, transfer[:, part].mT


def huge_empty(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Memory of this shape on the CPU, not initialised.

    NumPy asks the system for large arrays in huge pages, which takes a fifth of the time.
    """
    return torch.from_numpy(numpy.empty(tuple(shape), dtype=str(dtype).removeprefix("torch.")))


def _whole(data: Tensor, transfer: Tensor, shape: tuple[int, int]) -> Tensor:
    """The same with whole transforms, as a GPU likes it."""
    (height, width), (rows, columns) = data.shape[-2:], transfer.shape
    top, left = rows // 2 - height // 2, columns // 2 - width // 2
    padded = F.pad(data, (left, columns - width - left, top, rows - height - top))
    filtered = torch.fft.ifft2(torch.fft.fft2(padded).mul_(transfer))
    top, left = rows // 2 - shape[0] // 2, columns // 2 - shape[1] // 2
    return filtered[..., top : top + shape[0], left : left + shape[1]]


class PaddedFilter(torch.autograd.Function):
    """:func:`padded_filter` with its adjoint, for a transfer function that receives no gradient."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        data: Tensor,
        transfer: Tensor | TransferStrips,
        shape: tuple[int, int],
        adjoint: bool = False,
    ) -> Tensor:
        """``data (n, height, width)`` -> ``(n, *shape)``."""
        whole = isinstance(transfer, Tensor)
        ctx.save_for_backward(*([transfer] if whole else []))
        ctx.strips, ctx.shape, ctx.adjoint = None if whole else transfer, tuple(data.shape[-2:]), adjoint
        return padded_filter(data, transfer, shape, adjoint=adjoint)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The adjoint is the filter with the conjugate transfer function, back to the shape of the input."""
        transfer = ctx.saved_tensors[0] if ctx.strips is None else ctx.strips
        return PaddedFilter.apply(grad, transfer, ctx.shape, not ctx.adjoint), None, None, None
