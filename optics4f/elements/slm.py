"""Spatial light modulators: the trainable masks of the Fourier plane."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import torch
from torch import Tensor, nn

from ..field import Field
from ..grid import Grid
from ..modulation import phase_modulation, with_reflecting_gaps
from ..quantization import (
    amplitude_to_levels,
    levels_to_amplitude,
    levels_to_phase,
    phase_to_levels,
    quantize_amplitude,
    quantize_phase,
)


class Modulator(nn.Module):
    """What phase and amplitude SLMs share: K masks of pixels, levels, gaps between the pixels.

    Args:
        grid: Pixels of the device that are used.
        masks: Number K of masks shown one after the other.
        bit_depth: Bits per pixel; ``None`` leaves the value continuous.
        fill_factor: Active fraction of the pixel area, in ``(0, 1]``; the gaps reflect unmodulated light.
        samples_per_pixel: Field samples along each side of a pixel, all of the same value.
        dtype: Real type of the masks.

    Shape:
        - Input: field on ``samples`` with ``data`` of shape ``(..., 1, height, width)``.
        - Output: ``(..., masks, height, width)``: one forward transform serves all masks.
    """

    def __init__(
        self,
        grid: Grid,
        *,
        masks: int = 1,
        bit_depth: int | None = 8,
        fill_factor: float = 1.0,
        samples_per_pixel: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if not 0 < fill_factor <= 1:
            raise ValueError(f"fill_factor must be in (0, 1], got {fill_factor:g}. A 92 % panel is 0.92.")
        if bit_depth is not None and (isinstance(bit_depth, bool) or bit_depth not in range(1, 17)):
            raise ValueError(f"bit_depth must be in 1 ... 16, got {bit_depth}. Use None for a continuous mask.")
        for name, value in (("masks", masks), ("samples_per_pixel", samples_per_pixel)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        self.grid = grid
        self.masks = masks
        self.bit_depth = bit_depth
        self.fill_factor = fill_factor
        self.samples_per_pixel = samples_per_pixel
        s = samples_per_pixel
        self.samples = Grid((grid.shape[0] * s, grid.shape[1] * s), grid.pitch / s)
        self.values = nn.Parameter(torch.full((masks, *grid.shape), self.initial_value, dtype=dtype))

    initial_value = 0.0

    @abstractmethod
    def pixel_modulation(self, wavelength_ratio: float = 1.0) -> Tensor:
        """Complex factor of the active area of every pixel, shape ``(masks, *grid.shape)``.

        Args:
            wavelength_ratio: Design wavelength over that of the light; a phase SLM's delay is a path, and its phase
                in [0, 2 pi) grows by this ratio.
        """

    @abstractmethod
    def levels(self) -> Tensor:
        """Integer levels the device shows, shape ``(masks, *grid.shape)``."""

    @abstractmethod
    def load_levels(self, levels: Tensor) -> None:
        """Show these integer levels, shape ``(masks, *grid.shape)``."""

    def modulation(self, wavelength_ratio: float = 1.0) -> Tensor:
        """Complex factor of every sample, shape ``(masks, *samples.shape)``; see :meth:`pixel_modulation`."""
        pixels = with_reflecting_gaps(self.pixel_modulation(wavelength_ratio), self.fill_factor)
        if self.samples_per_pixel == 1:
            return pixels
        return pixels.repeat_interleave(self.samples_per_pixel, -2).repeat_interleave(self.samples_per_pixel, -1)

    def forward(self, field: Field) -> Field:
        if field.grid != self.samples:
            raise ValueError(f"field must be sampled on the SLM's grid of {self.samples}, got {field.grid}.")
        return replace(field, data=field.data * self.modulation())

    def set_values(self, values: Tensor) -> None:
        """Set the masks (phase [rad] or amplitude), shape ``(masks, *grid.shape)``; refuses NaN and other shapes."""
        if values.shape != self.values.shape:
            raise ValueError(f"a mask must have shape {tuple(self.values.shape)}, got {tuple(values.shape)}.")
        _refuse_not_finite(values)
        with torch.no_grad():
            self.values.copy_(values)

    def _finite(self) -> Tensor:
        """The masks, for the device; training may have driven them to NaN."""
        _refuse_not_finite(self.values)
        return self.values.detach()

    def _checked(self, levels: Tensor) -> Tensor:
        bits = self._required_bits()
        if levels.shape != self.values.shape:
            raise ValueError(f"levels must have shape {tuple(self.values.shape)}, got {tuple(levels.shape)}.")
        if levels.min() < 0 or levels.max() >= 2**bits:
            raise ValueError(f"levels must be in 0 ... {2**bits - 1}, got {int(levels.min())} ... {int(levels.max())}.")
        return levels.to(self.values.device)

    def _required_bits(self) -> int:
        if self.bit_depth is None:
            raise ValueError("levels need a bit_depth, got None. Give the SLM the bit_depth of the device.")
        return self.bit_depth

    def extra_repr(self) -> str:
        bits = "continuous" if self.bit_depth is None else f"{self.bit_depth}-bit"
        ideal = ", ideal" if self.bit_depth is None and self.fill_factor == 1 else ""
        return f"{self.masks} masks, {self.grid}, {bits}, fill_factor={self.fill_factor:g}{ideal}"


def _refuse_not_finite(values: Tensor) -> None:
    if not torch.isfinite(values).all():
        raise ValueError("a mask must be finite, got NaN or inf in it.")


class SLM(Modulator):
    r"""A phase-only spatial light modulator with one trainable phase per pixel.

    Each pixel multiplies the field by :math:`F e^{i \phi} + (1 - F)`: the active fraction
    :math:`F` is modulated and the gap around it is not, which is what feeds the zero order.
    Arguments and shapes are those of :class:`Modulator`; ``values`` holds the phase [rad], unwrapped.
    """

    def pixel_modulation(self, wavelength_ratio: float = 1.0) -> Tensor:
        phase = self.values if self.bit_depth is None else quantize_phase(self.values, self.bit_depth)
        if wavelength_ratio != 1:
            phase = torch.remainder(phase, 2 * torch.pi) * wavelength_ratio  # the panel shows the wrapped phase
        return phase_modulation(phase)

    def levels(self) -> Tensor:
        return phase_to_levels(self._finite(), self._required_bits())

    def load_levels(self, levels: Tensor) -> None:
        self.set_values(levels_to_phase(self._checked(levels), self._required_bits(), self.values.dtype))


class AmplitudeSLM(Modulator):
    """An amplitude-only spatial light modulator: each pixel transmits a real factor in [0, 1].

    Arguments and shapes are those of :class:`Modulator`; ``values`` holds the amplitude.
    """

    initial_value = 1.0

    def pixel_modulation(self, wavelength_ratio: float = 1.0) -> Tensor:
        if self.bit_depth is None:
            amplitude = self.values + (self.values.clamp(0, 1) - self.values).detach()
        else:
            amplitude = quantize_amplitude(self.values, self.bit_depth)
        return torch.complex(amplitude, torch.zeros_like(amplitude))

    def levels(self) -> Tensor:
        return amplitude_to_levels(self._finite(), self._required_bits())

    def load_levels(self, levels: Tensor) -> None:
        self.set_values(levels_to_amplitude(self._checked(levels), self._required_bits(), self.values.dtype))
