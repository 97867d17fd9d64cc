r"""Many images with many kernels of several channels each, by Fourier transforms, one image at a time.

.. math:: y_{bk} = \left. \mathcal{F}^{-1} \sum_c X_{bc} H_{kc} \right|_{window}
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from optics4f.routes.once import first_derivative


def filtered(images: Tensor, kernels: Tensor, length: tuple[int, int], window: tuple[slice, slice]) -> Tensor:
    """Sum over the channels of the circular convolutions of ``images`` with ``kernels``, and a window of it.

    Complex where both are, real where both are. What lies between is computed for one image after the other, so that
    it stays in the cache; the gradient is written by hand (first order only) and flows to the kernels alone.

    Args:
        images: Shape ``(B, C, ...)``, no larger than ``length``.
        kernels: Shape ``(K, C, ...)``, no larger than ``length``.
        length: Period of the convolution ``(rows, columns)``.
        window: Rows and columns to keep.

    Returns:
        Shape ``(B, K, *window)``.

    Raises:
        ValueError: Images that ask for a gradient.
    """
    if images.requires_grad and torch.is_grad_enabled():
        raise ValueError("images must not ask for a gradient here. Use the route, which passes one on.")
    return _Filtered.apply(_spectrum(images, length), _spectrum(kernels, length), length, window, kernels.is_complex())


def _spectrum(values: Tensor, length: tuple[int, int]) -> Tensor:
    return torch.fft.fft2(values, s=length) if values.is_complex() else torch.fft.rfft2(values, s=length)


class _Filtered(torch.autograd.Function):
    """From spectra to a window of the filtered images."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        images: Tensor,
        kernels: Tensor,
        length: tuple[int, int],
        window: tuple[slice, slice],
        is_complex: bool,
    ) -> Tensor:
        ctx.save_for_backward(images)
        ctx.length, ctx.window, ctx.is_complex, ctx.kernels = length, window, is_complex, kernels.shape
        back, parts = torch.fft.ifft2 if is_complex else torch.fft.irfft2, kernels.unbind(1)
        found = []
        for image in images:
            total = image[0] * parts[0]
            for channel, part in zip(image[1:], parts[1:], strict=True):
                total.addcmul_(channel, part)
            found.append(back(total, s=length)[..., window[0], window[1]])
        return torch.stack(found)

    @staticmethod
    @first_derivative
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Adjoint: pad, transform, correlate with the images."""
        if not ctx.needs_input_grad[1]:
            return (None,) * 5
        (images,) = ctx.saved_tensors
        padded = grad.new_zeros(ctx.kernels[0], *ctx.length)
        # Channels first, so that what is added to lies together.
        collected = images.new_zeros(ctx.kernels[1], ctx.kernels[0], *ctx.kernels[2:])
        forth = torch.fft.fft2 if ctx.is_complex else torch.fft.rfft2
        for image, some in zip(images.conj_physical(), grad, strict=True):
            padded[..., ctx.window[0], ctx.window[1]] = some
            spectrum = forth(padded)
            for channel, total in zip(image, collected, strict=True):
                total.addcmul_(channel, spectrum)
        collected /= math.prod(ctx.length)
        if not ctx.is_complex:  # each column stands for its conjugate too, but for the first, and the last if even
            last = -1 if ctx.length[1] % 2 == 0 else None
            collected[..., 1:last] *= 2
        return None, collected.transpose(0, 1), None, None, None
