r"""The transform of large masks to a narrow window of positions, and its gradient.

Over a block of neighbouring samples the light of a narrow window differs by little more than a few cosines and sines:
the columns of the transform that belong to one block span a space of few dimensions, and all blocks span the same one.
With an orthonormal, real basis :math:`R` of it the transform is

.. math:: E = G \, (1 \otimes R),

where :math:`1 \otimes R` acts on each block by itself: a real, cheap product that leaves few numbers of each block,
and :math:`G` a matrix as much smaller than :math:`E`. Directions whose singular values do not reach the precision of
the numbers are left out, so the product is as exact as that with :math:`E`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .once import first_derivative
from .passes import PIECE, add_pairs, empty, no_number, wave

_LEFT_OUT = {torch.complex64: 1e-7, torch.complex128: 1e-14}  # share of the norm; rounding the numbers makes 5e-8
_BLOCKS = (16, 32, 64, 128)  # samples that are compressed together, about


@dataclass(frozen=True)
class Narrow:
    """A matrix ``(outputs, inputs)`` as ``fine @ kron(1, basis)``, or by itself where that is no cheaper.

    Attributes:
        fine: Complex, ``(outputs, kept)``.
        basis: Real, ``(kept of a block, block)``, rows orthonormal; ``None`` where nothing is compressed.
        pairs: The same for real and imaginary parts that stand side by side, ``(2 block, 2 kept of a block)``.
    """

    fine: Tensor
    basis: Tensor | None = None
    pairs: Tensor | None = None

    @classmethod
    def of(cls, matrix: Tensor, basis: Tensor | None = None) -> Narrow:
        """From a complex matrix and what :func:`basis_of` found for it, or one of which it is a part."""
        if basis is None:
            return cls(matrix)
        basis = basis.to(matrix.dtype.to_real())
        fine = torch.view_as_real(matrix).unflatten(1, (-1, basis.shape[1])).movedim(-1, 0) @ basis.mT
        return cls(torch.complex(*fine).flatten(1), basis, torch.kron(basis.mT.contiguous(), torch.eye(2).to(basis)))

    @property
    def block(self) -> int:
        """Samples that are compressed together."""
        return 1 if self.basis is None else self.basis.shape[1]

    def reduce_rows(self, data: Tensor, out: Tensor) -> None:
        """Real ``(n, width)``, whole blocks of rows, to ``(kept, width)``."""
        if self.basis is None:
            out.copy_(data)
            return
        kept, block = self.basis.shape
        blocks, width = len(data) // block, data.shape[1]
        basis = self.basis.expand(blocks, kept, block)
        torch.bmm(basis, data.view(blocks, block, width), out=out.view(blocks, kept, width))

    def expanded_rows(self, data: Tensor) -> Tensor:
        """The transpose of :meth:`reduce_rows`."""
        if self.basis is None:
            return data.clone()
        kept, block = self.basis.shape
        blocks, width = len(data) // kept, data.shape[1]
        return torch.bmm(self.basis.mT.expand(blocks, block, kept), data.view(blocks, kept, width)).view(-1, width)

    def reduced_columns(self, data: Tensor) -> Tensor:
        """Complex ``(height, n)`` to fewer columns."""
        return self._of_columns(data, self.pairs)

    def expanded_columns(self, data: Tensor) -> Tensor:
        """The transpose of :meth:`reduced_columns`."""
        return self._of_columns(data, None if self.pairs is None else self.pairs.mT)

    @staticmethod
    def _of_columns(data: Tensor, pairs: Tensor | None) -> Tensor:
        if pairs is None:
            return data
        parts = torch.view_as_real(data).view(-1, len(pairs)) @ pairs
        return torch.view_as_complex(parts.view(len(data), -1, 2))


def basis_of(matrix: Tensor, *others: Tensor) -> Tensor | None:
    """The basis that makes the transform by a complex matrix cheapest, float64; ``None`` where none does.

    It serves ``others`` of the same shape as well, and what lies between them.
    """
    (outputs, inputs), matrix = matrix.shape, torch.cat((matrix, *others))
    best, cost = None, outputs * inputs**2
    divisors = [n for n in range(1, inputs + 1) if inputs % n == 0]
    for block in sorted({min(divisors, key=lambda n, wanted=wanted: abs(n - wanted)) for wanted in _BLOCKS}):
        basis = _spanning(matrix, block)
        kept = len(basis) * inputs // block
        # A thin product takes twice the time for its operations that one of two large matrices takes.
        if inputs**2 * len(basis) + outputs * kept**2 < cost:
            best, cost = basis, inputs**2 * len(basis) + outputs * kept**2
    return best


def _spanning(matrix: Tensor, block: int) -> Tensor:
    """Orthonormal rows that span what the blocks of a matrix are made of."""
    wide = matrix.to(torch.complex128).unflatten(1, (-1, block))
    rows = torch.cat((wide.real, wide.imag)).flatten(0, 1)
    _, triangle = torch.linalg.qr(rows, mode="r")
    _, sizes, directions = torch.linalg.svd(triangle, full_matrices=False)
    left_out = sizes.square().flip(0).cumsum(0).flip(0).sqrt() / sizes.norm()
    return directions[left_out > _LEFT_OUT[matrix.dtype]]


def to_window(
    masks: Tensor, rows: Narrow, columns: Narrow, between: Tensor | None = None, bit_depth: int | None = None
) -> Tensor:
    """``rows @ (masks * between) @ columns.T`` of each mask.

    Args:
        masks: Factors ``(K, H, W)``, complex; or the wanted phases [rad] of phase masks, real.
        rows: Along y, ``(h, H)``.
        columns: Along x, ``(w, W)``.
        between: Factor on the samples of the masks, ``(H, W)``, complex.
        bit_depth: Of phases that are rounded to even levels, with the gradient of the identity.

    Returns:
        Complex, shape ``(K, h, w)``, with a gradient for ``masks``.
    """
    return _ToWindow.apply(masks.resolve_conj(), rows, columns, between, bit_depth)


class _ToWindow(torch.autograd.Function):
    """Keeps nothing but the masks: what a phase does to the light is computed again for its gradient."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        masks: Tensor,
        rows: Narrow,
        columns: Narrow,
        between: Tensor | None,
        bit_depth: int | None,
    ) -> Tensor:
        """Some rows of the masks after the other while they are in the cache, one axis after the other."""
        ctx.save_for_backward(masks)
        ctx.operators = rows, columns, between, bit_depth
        reduced = masks.new_empty(rows.fine.shape[1], masks.shape[2], dtype=rows.fine.dtype)
        seen = reduced.new_empty(len(masks), len(rows.fine), len(columns.fine))
        for mask, result in zip(masks, seen, strict=True):
            for piece, part in _pieces(mask, rows):
                factor = _factor(mask[piece], between, piece, bit_depth)
                rows.reduce_rows(torch.view_as_real(factor).flatten(1), torch.view_as_real(reduced[part]).flatten(1))
            result.copy_(rows.fine @ columns.reduced_columns(reduced) @ columns.fine.mT)
        return seen if bit_depth is None else seen.add_(no_number(masks)[:, None, None])

    @staticmethod
    @first_derivative
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """The adjoint, in the opposite order."""
        (masks,), (rows, columns, between, bit_depth) = ctx.saved_tensors, ctx.operators
        result = empty(masks.shape, masks, complex=masks.is_complex())
        ahead, aside = rows.fine.mH.resolve_conj(), columns.fine.conj_physical()
        for mask, out, one in zip(masks, result, grad, strict=True):
            reduced = torch.view_as_real(columns.expanded_columns(ahead @ one @ aside)).flatten(1)
            for piece, part in _pieces(mask, rows):
                back = rows.expanded_rows(reduced[part])
                if masks.is_complex():
                    back = torch.view_as_complex(back.view(*mask[piece].shape, 2))
                    out[piece] = back if between is None else back * between[piece].conj()
                    continue
                # A phase changes exp(i phase) by i times itself.
                turned = _factor(mask[piece], between, piece, bit_depth, turned=True)
                add_pairs(back.mul_(torch.view_as_real(turned).flatten(1)).view(*turned.shape, 2), out=out[piece])
        return result, None, None, None, None


def _factor(
    mask: Tensor, between: Tensor | None, piece: slice, bit_depth: int | None, *, turned: bool = False
) -> Tensor:
    """What some rows of a mask do to the light; of phases, times i where ``turned``."""
    factor = mask if mask.is_complex() else wave(mask, bit_depth, turned=turned)
    return factor if between is None else factor * between[piece]


def _pieces(mask: Tensor, rows: Narrow) -> list[tuple[slice, slice]]:
    """Rows that are computed together, whole blocks, and where they are among the reduced rows."""
    height, width = mask.shape
    room = PIECE["cpu" if mask.device.type == "cpu" else "cuda"]
    step = max(1, room // (rows.block * width)) * rows.block
    kept = rows.fine.shape[1]
    starts = range(0, height, step)
    ends = [min(start + step, height) for start in starts]
    return [(slice(a, b), slice(a * kept // height, b * kept // height)) for a, b in zip(starts, ends, strict=True)]
