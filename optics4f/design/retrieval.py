"""Phase masks whose point spread function comes near a wanted kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fourf import FourF
from ..fourier import fourier_matrix, zoomed_fourier


def kinoform(bench: FourF, kernels: Tensor) -> Tensor:
    r"""Phase of the field that would focus to the kernels (Lesem, Hirsch and Jordan 1969).

    .. math:: \phi(x_f) = \arg \sum_n k_n \, e^{2 \pi i \, x_f \cdot x_n / (\lambda f_2)}

    One step, no iteration: a phase-only mask cannot follow the amplitude, so the PSF has the kernel's places and
    roughly its weights. Training that starts here keeps its light where the camera looks; from random phase it
    does not.

    Args:
        bench: The 4f system; the taps of a kernel are one imaged logical pixel apart.
        kernels: Complex, shape ``(masks, height, width)``; the tap of index ``n // 2`` lies on the axis.

    Returns:
        Phase [rad], shape ``(masks, *bench.slm.grid.shape)``, float64.
    """
    spacing = -bench.magnification * bench.illumination.block * bench.illumination.grid.pitch
    pixels = bench.slm.grid.coordinates(kernels.device)
    rows, columns = (
        fourier_matrix(x, (torch.arange(n, dtype=torch.float64, device=x.device) - n // 2) * spacing, -bench.scales[1])
        for x, n in zip(pixels, kernels.shape[-2:], strict=True)
    )
    return zoomed_fourier(kernels.to(torch.complex128), rows, columns).angle()
