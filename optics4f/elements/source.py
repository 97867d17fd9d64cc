"""From an image to light: the illumination and the device that shows the object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor, nn

from ..field import Field
from ..grid import Grid
from ..light import Mode, PointSource, SelfLuminous, Source, Spectrum, modes
from ..modulation import phase_modulation
from ..units import engineering, to_si

if TYPE_CHECKING:
    from ..units import Quantity

Encoding = Literal["amplitude", "intensity", "phase"]


class Illumination(nn.Module):
    r"""Light through an object device: the only border between images and fields.

    A logical pixel is a block of ``m x m`` device pixels that show one image value :math:`v`:

    =========== ======================= =====================================
    encoding    field                   light on the camera follows
    =========== ======================= =====================================
    amplitude   :math:`v`               the square of the image
    intensity   :math:`\sqrt{v}`        the image
    phase       :math:`e^{2\pi i v}`    nothing by itself: uniform intensity
    =========== ======================= =====================================

    Args:
        shape: Logical pixels ``(height, width)``: the shape of the images.
        pitch: Pitch of the device pixels [m].
        wavelength: Vacuum wavelength [m] that the bench is designed for.
        pixels_per_logical: Device pixels ``m`` along each side of a logical pixel.
        samples_per_pixel: Field samples along each side of a device pixel (filled, square).
        encoding: How an image value becomes a field.
        source: Spatial coherence: a point, a disc, or an object that radiates by itself.
        spectrum: Wavelengths of the light; the design wavelength alone by default.
        dtype: Complex type of the light.

    Shape:
        - Input: images ``(..., height, width)`` in [0, 1].
        - Output: field on ``grid``, same leading shape; intensity 1 where an image is 1.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pitch: Quantity,
        wavelength: Quantity,
        *,
        pixels_per_logical: int = 1,
        samples_per_pixel: int = 1,
        encoding: Encoding = "amplitude",
        source: Source = PointSource(),  # noqa: B008, frozen
        spectrum: Spectrum | None = None,
        dtype: torch.dtype = torch.complex64,
    ) -> None:
        super().__init__()
        if encoding not in get_args(Encoding):
            raise ValueError(f"encoding must be one of {', '.join(get_args(Encoding))}, got {encoding!r}.")
        for name, value in (("pixels_per_logical", pixels_per_logical), ("samples_per_pixel", samples_per_pixel)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        self.wavelength = to_si(wavelength, "m", "wavelength")
        if not 0 < self.wavelength < float("inf"):
            raise ValueError(f"wavelength must be positive, got {self.wavelength:g} m.")
        self.pixels = Grid(shape, pitch)  # of one logical pixel each, before the block is spread out
        self.pixels_per_logical = pixels_per_logical
        self.samples_per_pixel = samples_per_pixel
        self.encoding = encoding
        self.source = source
        self.spectrum = Spectrum.line(self.wavelength) if spectrum is None else spectrum
        self.dtype = dtype
        block = pixels_per_logical * samples_per_pixel
        self.grid = Grid((shape[0] * block, shape[1] * block), self.pixels.pitch / samples_per_pixel)

    @property
    def shape(self) -> tuple[int, int]:
        """Logical pixels ``(height, width)``."""
        return self.pixels.shape

    @property
    def block(self) -> int:
        """Field samples along each side of a logical pixel."""
        return self.pixels_per_logical * self.samples_per_pixel

    def logical_positions(self) -> tuple[Tensor, Tensor]:
        """Centres of the logical pixels, ``y (height,)`` and ``x (width,)`` [m], float64.

        They lie half a block past the samples of the same index, so the middle one is not on the axis.
        """
        y, x = (
            (torch.arange(n, dtype=torch.float64) * self.block + (self.block - 1) / 2 - (n * self.block) // 2)
            * self.grid.pitch
            for n in self.shape
        )
        return y, x

    def encode(self, images: Tensor) -> Tensor:
        """Complex amplitude of each logical pixel, shape of ``images``."""
        if tuple(images.shape[-2:]) != self.shape:
            raise ValueError(
                f"images must have {self.shape} pixels, got {tuple(images.shape[-2:])}. "
                "Resize them, or change the object's shape."
            )
        real = torch.empty(0, dtype=self.dtype).real.dtype
        values = images.to(real)
        if self.encoding == "phase":
            return phase_modulation(2 * torch.pi * values)
        if self.encoding == "intensity":
            # sqrt has an infinite slope at 0; black pixels get a gradient of 0 instead of inf.
            lit = values > 0
            values = torch.where(lit, torch.where(lit, values, 1.0).sqrt(), 0.0)
        return torch.complex(values, torch.zeros_like(values))

    def modes(self) -> list[Mode]:
        """Coherent modes of the light, weights summing to 1; those of a self-luminous object are its wavelengths."""
        return modes(self.spectrum, self.source)

    @property
    def coherent(self) -> bool:
        """Whether the light is one mode at the design wavelength: a field, not a sum of intensities."""
        return self.source == PointSource() and self.spectrum == Spectrum.line(self.wavelength)

    @property
    def self_luminous(self) -> bool:
        """Whether every sample of the object radiates by itself."""
        return isinstance(self.source, SelfLuminous)

    def forward(self, images: Tensor, mode: Mode | None = None) -> Field:
        data = self.encode(images)
        if self.block > 1:
            data = data.repeat_interleave(self.block, -2).repeat_interleave(self.block, -1)
        if mode is None:
            return Field(data, self.grid, self.wavelength)
        if any(mode.frequency):
            y, x = self.grid.coordinates(data.device)
            wave = phase_modulation(2 * torch.pi * (mode.frequency[0] * y + mode.frequency[1] * x))
            data = data * wave.to(data.dtype)
        return Field(data, self.grid, mode.wavelength)

    def extra_repr(self) -> str:
        m = self.pixels_per_logical
        lines = len(self.spectrum.wavelengths)
        spectrum = "" if self.spectrum == Spectrum.line(self.wavelength) else f", {lines} wavelengths"
        return (
            f"{'coherent' if self.source == PointSource() else self.source}, "
            f"{engineering(self.wavelength, 'm')}{spectrum}, {self.shape[0]} x {self.shape[1]} logical pixels of "
            f"{m} x {m} device pixels of {engineering(self.pixels.pitch, 'm')}, {self.encoding}"
        )
