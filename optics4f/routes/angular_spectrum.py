"""Every millimetre propagated: slow, and assumes least."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..field import Field
from ..fourf import FourF
from ..fourier import interpolation_matrix, zoomed_fourier
from ..grid import Grid
from ..propagation import angular_spectrum_transfer_function, apply_transfer_function
from ..sampling import SamplingError, SamplingReport, lens_check
from ..units import engineering
from .route import Route


class AngularSpectrumRoute(Route):
    """Object to lens 1 to SLM to lens 2 to camera, each gap by the band-limited angular spectrum.

    All planes are sampled at the pitch of the SLM's samples, in one window that is zero-padded to twice its width
    for every gap. Light that leaves the window is lost: choose it wide enough for the object, the SLM and the
    light between them.

    Args:
        bench: The 4f system.
        window: Samples ``(height, width)`` of the window; by default the widest that samples both lenses.
        override: Names of the sampling conditions to ignore.

    Raises:
        SamplingError: The window undersamples a lens or does not hold object and SLM, or the object's samples are
            not a whole number of the SLM's.
    """

    def __init__(self, bench: FourF, *, window: tuple[int, int] | None = None, override: tuple[str, ...] = ()) -> None:
        pitch = bench.slm.samples.pitch
        window = default_window(bench) if window is None else tuple(window)
        super().__init__(bench, override=override, window=window)
        self.window = Grid(window, pitch)
        source = bench.illumination.grid
        if abs(source.pitch - pitch) > 1e-6 * pitch:
            raise SamplingError(
                "the object must be sampled as the SLM is in the angular-spectrum route, got "
                f"{engineering(source.pitch, 'm')} and {engineering(pitch, 'm')}. Change samples_per_pixel of either, "
                "or use the Fourier-lens route."
            )
        for name, plane in (("object", source), ("SLM", bench.slm.samples)):
            if any(n > m for n, m in zip(plane.shape, window, strict=True)):
                raise SamplingError(
                    f"the window must hold the {name}, got {window} samples for {plane.shape}. Widen the window, "
                    "or use the Fourier-lens route."
                )
        padded = self.window.padded()
        for name, lens in (("gap1", bench.lens1), ("gap2", bench.lens2)):
            transfer = angular_spectrum_transfer_function(
                padded, bench.wavelength, lens.focal_length, dtype=torch.complex128
            )
            self._constant(name, transfer)
        y, x = bench.image.coordinates()
        for axis, positions, count in (("y", y, window[0]), ("x", x, window[1])):
            # The image is read where it is wanted, by the interpolation that band-limited samples define.
            matrix = interpolation_matrix(positions.flatten(), count, pitch)
            self._constant(f"read_{axis}", matrix.to(torch.complex128))

    @classmethod
    def sampling(cls, bench: FourF, window: tuple[int, int] | None = None) -> SamplingReport:
        """Conditions of the planes and of both lenses, in ``window`` or in the one taken by default."""
        grid = Grid(default_window(bench) if window is None else window, bench.slm.samples.pitch)
        lenses = ((1, bench.lens1), (2, bench.lens2))
        checks = (lens_check(f"lens {n}", grid, bench.wavelength, lens.focal_length) for n, lens in lenses)
        return SamplingReport((*bench.plane_checks(), *checks))

    def planes(self, source: Field) -> dict[str, Field]:
        """Field at every plane of the bench, by name, in the order of the light."""
        bench = self.bench
        start = Field(_centred(source.data, self.window.shape), self.window, source.wavelength)
        planes = {"object": start, "before lens 1": self._gap(start, self.gap1)}
        planes["behind lens 1"] = bench.lens1(planes["before lens 1"])
        planes["before SLM"] = self._gap(planes["behind lens 1"], self.gap1)
        planes["behind SLM"] = self._modulated(planes["before SLM"])
        planes["before lens 2"] = self._gap(planes["behind SLM"], self.gap2)
        planes["behind lens 2"] = bench.lens2(planes["before lens 2"])
        planes["image"] = self._gap(planes["behind lens 2"], self.gap2)
        return planes

    def image_field(self, source: Field) -> Field:
        image = self.planes(source)["image"]
        return Field(zoomed_fourier(image.data, self.read_y, self.read_x), self.bench.image, source.wavelength)

    def _gap(self, field: Field, transfer_function: Tensor) -> Field:
        return replace(field, data=apply_transfer_function(field.data, transfer_function))

    def _modulated(self, field: Field) -> Field:
        """The SLM acts on its own samples; what misses it is blocked."""
        slm = self.bench.slm
        (h, w), (rows, columns) = slm.samples.shape, self.window.shape
        top, left = rows // 2 - h // 2, columns // 2 - w // 2
        seen = Field(field.data[..., top : top + h, left : left + w], slm.samples, field.wavelength)
        return replace(field, data=_centred(slm(seen).data, self.window.shape))


def _centred(data: Tensor, shape: tuple[int, int]) -> Tensor:
    """``data`` zero-padded to ``shape`` with index ``n // 2`` kept on the axis."""
    (h, w), (rows, columns) = data.shape[-2:], shape
    top, left = rows // 2 - h // 2, columns // 2 - w // 2
    return F.pad(data, (left, columns - w - left, top, rows - h - top))


def default_window(bench: FourF) -> tuple[int, int]:
    """Window that holds the light between object and SLM and keeps the whole band over the longer gap [samples].

    The band limit of a gap ``f`` reaches the Nyquist frequency of a window padded to ``2 N`` when
    ``2 N p^2 >= lambda f``, for small angles.
    """
    pitch = bench.slm.samples.pitch
    band = max(bench.scales) / pitch**2 / 2
    return tuple(
        2 * math.ceil(max(band, (2 * o + s) / pitch) / 2)
        for o, s in zip(bench.illumination.grid.extent, bench.slm.samples.extent, strict=True)
    )
