"""Many images convolved with many kernels, one by one, with an adjoint written by hand."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .later import Later
from .once import first_derivative
from .passes import empty, squares_into

_CACHED = 2**18  # complex numbers


def convolved(
    spectra: Tensor, kernels: Tensor, corner: tuple[int, int], shape: tuple[int, int], *, keep: bool = True
) -> tuple[Tensor, Later]:
    """A window of ``ifft2(spectra * kernels)`` for each image and kernel.

    Args:
        spectra: Of the images, ``(B, 1, h, w)``.
        kernels: Their spectra, ``(K, h, w)``.
        corner: Where the window starts.
        shape: Of the window.
        keep: Whether the fields are kept though no gradient needs them. Without, they are made again when they are
            called for, where the two factors take less memory.

    Returns:
        Intensity ``(B, K, *shape)``; and what puts the fields of that shape together.
    """
    if torch.is_grad_enabled() and (spectra.requires_grad or kernels.requires_grad):
        seen, *data = Filter.apply(spectra, kernels, corner, shape)
        return seen, Later(lambda: _together(data))
    with torch.no_grad():
        window = _window(corner, shape)
        keep = keep or len(spectra) * len(kernels) * math.prod(shape) <= spectra.numel() + kernels.numel()
        seen, data = _windows(spectra, kernels, window, shape, keep)
    if keep:
        return seen, Later(lambda: _together(data))
    return seen, Later(torch.no_grad()(lambda: torch.fft.ifft2(spectra * kernels)[window].clone()))


class Filter(torch.autograd.Function):
    """``ifft2(spectra * kernels)`` and a window of it, one image and kernel at a time, with its adjoint.

    Autograd on the batched expression would keep a padded field per image and mask; here only the two factors are
    kept, and the window; what is padded stays in the cache.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        spectra: Tensor,
        kernels: Tensor,
        corner: tuple[int, int],
        shape: tuple[int, int],
    ) -> tuple[Tensor, ...]:
        """``spectra (B, 1, h, w)``, ``kernels (K, h, w)`` -> intensity in a window, and the fields there by image.

        The window has shape ``(B, K, *shape)`` and starts at ``corner``.
        """
        ctx.window = _window(corner, shape)
        seen, data = _windows(spectra, kernels, ctx.window, shape, keep=True)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(spectra, kernels, *data)
        return seen, *data

    @staticmethod
    @first_derivative
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_seen: Tensor | None, *grad_data: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Adjoint: pad, transform forward, correlate; gradients have the shapes of what they belong to."""
        if grad_seen is None and all(grad is None for grad in grad_data):
            return None, None, None, None
        spectra, kernels, *data = ctx.saved_tensors
        to_spectra, to_kernels = ctx.needs_input_grad[:2]
        samples = kernels.shape[-2] * kernels.shape[-1]  # ifft2 carries 1/samples, and so does its adjoint
        grad_spectra = torch.zeros_like(spectra) if to_spectra else None
        grad_kernels = torch.zeros_like(kernels) if to_kernels else None
        count = _kernels_at_a_time(kernels)
        scratch = torch.zeros_like(kernels[:count])
        for b, spectrum in enumerate(spectra[:, 0]):
            conjugate = spectrum.conj_physical() / samples
            for first in range(0, len(kernels), count):
                some = slice(first, min(first + count, len(kernels)))
                padded = scratch[: some.stop - first]
                window = padded[ctx.window]
                if grad_seen is None:
                    window.zero_()
                else:
                    torch.mul(data[b][some], (2 * grad_seen[b, some]).to(spectra.dtype), out=window)
                if grad_data[b] is not None:
                    window.add_(grad_data[b][some])
                back = torch.fft.fft2(padded)
                if to_kernels:
                    grad_kernels[some].addcmul_(back, conjugate)
                if to_spectra:
                    grad_spectra[b, 0].add_(torch.linalg.vecdot(kernels[some], back, dim=0), alpha=1 / samples)
        return grad_spectra, grad_kernels, None, None


def _window(corner: tuple[int, int], shape: tuple[int, int]) -> tuple:
    return (..., slice(corner[0], corner[0] + shape[0]), slice(corner[1], corner[1] + shape[1]))


def _windows(
    spectra: Tensor, kernels: Tensor, window: tuple, shape: tuple[int, int], keep: bool
) -> tuple[Tensor, list[Tensor]]:
    """Intensity in the window, and the fields there by image if they are kept."""
    # In pieces that the process keeps.
    data = [spectra.new_empty(len(kernels), *shape) for _ in (spectra if keep else spectra[:1])]
    seen = empty((len(spectra), len(kernels), *shape), spectra)
    count = _kernels_at_a_time(kernels)
    for n, (spectrum, squares) in enumerate(zip(spectra[:, 0], seen, strict=True)):
        parts = (part.split(count) for part in (kernels, data[n if keep else 0], squares))
        for some, field, square in zip(*parts, strict=True):
            field.copy_(torch.fft.ifft2(spectrum * some)[window])
            squares_into(field, square)
    return seen, data


def _together(data: list[Tensor]) -> Tensor:
    with torch.set_grad_enabled(data[0].requires_grad):  # whoever looks first
        return torch.stack(data)


def _kernels_at_a_time(kernels: Tensor) -> int:
    """So many that what is padded stays in the cache: a few large ones, or many small ones, which saves calls."""
    most = max(1, _CACHED // (kernels.shape[-2] * kernels.shape[-1]))
    return math.ceil(len(kernels) / math.ceil(len(kernels) / most))
