"""The far field of a panel on one camera pixel an order: what a lens behind the panel alone would show.

A bench that knows no object and no first lens, such as slmsuite's simulation, is compared with this.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..config import BenchSpecification
from ..devices import require, slm_device
from ..fourier import unitary_fft2
from ..vendors import Panel

CARRIED = ("quantization", "lut", "phase_range", "flatness")
"""Effects of a panel that a table of phases and a map of the panel state in full."""


def panel_of(specification: BenchSpecification) -> Panel:
    """The whole panel of a bench, as a mask bundle addresses it; where its size is not known, the used area."""
    device, slm = slm_device(specification.slm.device), specification.slm
    return Panel(
        slm.shape if device.shape is None else tuple(device.shape.value),
        require(device, "pitch", table="bench.slm") if slm.pitch is None else slm.pitch,
        specification.wavelength,
        int(require(device, "bit_depth", table="bench.slm") if slm.bit_depth is None else slm.bit_depth),
        slm.gray_slope,
        name=device.name,
    )


def used_area(panel: Panel, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Rows and columns of the used area, in the middle of the panel."""
    return tuple(slice((n - m) // 2, (n - m) // 2 + m) for n, m in zip(panel.shape, shape, strict=True))


@torch.no_grad()
def panel_field(specification: BenchSpecification, levels: Tensor) -> Tensor:
    """The light behind the panel for one uniform wave on the used area: amplitude 1 there, 0 beside it.

    Of the effects only the phases of :data:`CARRIED` act; gaps, crosstalk, flicker and the like are left out.

    Args:
        specification: The bench.
        levels: Levels of the used area, shape ``(masks, height, width)``.

    Returns:
        complex128, shape ``(masks, *panel.shape)``.
    """
    slm = specification.build(dtype=torch.complex128).slm
    slm.switch(**{name: False for name in slm.effects if name not in CARRIED})
    slm.load_levels(levels)
    s, panel = slm.samples_per_pixel, panel_of(specification)
    field = torch.zeros((len(levels), *panel.shape), dtype=torch.complex128)
    phase = slm.modulation()[:, ::s, ::s].angle()
    field[:, *used_area(panel, specification.slm.shape)] = torch.polar(torch.ones_like(phase), phase)
    return field


def far_field(field: Tensor) -> Tensor:
    r"""Intensity of the unitary Fourier transform, its axis at index ``n // 2``; the sum over it is that of the field.

    A ramp of :math:`m` turns over the width lands :math:`m` columns to the right, one over the height rows further
    down: this is the plane behind one lens, not turned by 180 degrees as behind two.

    Args:
        field: Complex samples ``(..., height, width)``.
    """
    spectrum = unitary_fft2(torch.fft.ifftshift(field, dim=(-2, -1)))
    spectrum = torch.fft.fftshift(spectrum, dim=(-2, -1))
    return spectrum.real**2 + spectrum.imag**2


def camera_counts(intensity: Tensor, *, gain: float, bit_depth: int) -> Tensor:
    """Whole counts of a camera without noise, cut off below and at saturation, int64, shape of ``intensity``."""
    return (intensity * gain).clamp(0, 2**bit_depth - 1).floor().long()
