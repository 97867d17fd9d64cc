"""Every millimetre propagated: slow, and assumes least."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..field import Field
from ..fourf import FourF
from ..fourier import interpolation_matrix, rotated, zoomed_fourier
from ..grid import Grid
from ..modulation import phase_modulation
from ..propagation import angular_spectrum_transfer_function, apply_transfer_function
from ..propagation_method import computation_window
from ..sampling import ROOM, SamplingError, SamplingReport
from ..units import engineering
from .conditions import Reach, plane_checks, propagation_checks
from .geometry import Geometry, Pair
from .operators import Chain, Matrices, Propagation, Stages
from .route import Route, trains


class AngularSpectrumRoute(Route):
    """Object to lens 1 to SLM to lens 2 to camera, each gap by the band-limited angular spectrum.

    All planes are sampled at the pitch of the SLM's samples, in one window that is zero-padded to twice its width
    for every gap. Light that leaves the window is lost: choose it wide enough for the object, the SLM and the
    light between them.

    Args:
        bench: The 4f system.
        window: Samples ``(height, width)`` of the window; by default as wide as the light needs.
        override: Names of the sampling conditions to ignore.

    Raises:
        SamplingError: The window undersamples a lens or does not hold object and SLM, or the object's samples are
            not those of the SLM.
    """

    def __init__(self, bench: FourF, *, window: tuple[int, int] | None = None, override: tuple[str, ...] = ()) -> None:
        super().__init__(bench, override=override, window=None if window is None else tuple(window))

    def _fit(self) -> None:
        super()._fit()
        window = self._options["window"]
        self.window = Grid(default_window(self.bench) if window is None else window, self.bench.slm.samples.pitch)

    @classmethod
    def sampling(cls, bench: FourF, window: tuple[int, int] | None = None) -> SamplingReport:
        """Conditions of the planes, the lenses and the gaps, in ``window`` or in the one taken by default."""
        grid = Grid(default_window(bench) if window is None else window, bench.slm.samples.pitch)
        source, pitch = bench.illumination.grid, grid.pitch
        if abs(source.pitch - pitch) > 1e-6 * pitch:
            raise SamplingError(
                "the object must be sampled as the SLM is in the angular-spectrum route, got "
                f"{engineering(source.pitch, 'm')} and {engineering(pitch, 'm')}. Change samples_per_pixel of either, "
                "or use the Fourier-lens route."
            )
        for name, plane in (("object", source), ("SLM", bench.slm.samples)):
            if any(n > m for n, m in zip(plane.shape, grid.shape, strict=True)):
                raise SamplingError(
                    f"the window must hold the {name}, got {grid.shape} samples for {plane.shape}. Widen the window, "
                    "or use the Fourier-lens route."
                )
        return SamplingReport((*plane_checks(bench), *propagation_checks(bench, grid)))

    def planes(self, source: Field, masks: Tensor | None = None) -> dict[str, Field]:
        """Field at every plane of the bench, by name, in the order of the light."""
        bench, place = self.bench, Geometry.of(self.bench)
        f1, f2 = bench.lens1.focal_length, bench.lens2.focal_length
        slm, camera = bench.slm_position, bench.camera_position
        start = Field(_centred(source.data, self.window.shape), self.window, source.wavelength)
        planes = {"object": start, "before lens 1": self._gap(start, "gap 1", f1)}
        planes["behind lens 1"] = bench.lens1(planes["before lens 1"], bench.wavelength)
        arriving = self._gap(planes["behind lens 1"], "gap 2", f1 + place.slm_axial, place.slm_shift, slm)
        planes["before SLM"] = _turned(arriving, place.slm_rotation) if place.slm_turns else arriving
        planes["behind SLM"] = self._modulated(planes["before SLM"], masks)
        leaving = planes["behind SLM"]
        leaving = _turned(leaving, -place.slm_rotation) if place.slm_turns else leaving
        back = tuple(-s for s in place.slm_shift)
        planes["before lens 2"] = self._gap(leaving, "gap 3", f2 - place.slm_axial, back, slm)
        planes["behind lens 2"] = bench.lens2(planes["before lens 2"], bench.wavelength)
        image = self._gap(planes["behind lens 2"], "gap 4", f2 + place.camera_axial, place.camera_shift, camera)
        planes["image"] = _turned(image, place.camera_rotation) if place.camera_turns else image
        return planes

    def image_field(self, source: Field, masks: Tensor | None = None) -> Field:
        masks = self.mask_factors(source.wavelength) if masks is None else masks
        stages = self._stages(source.grid, source.wavelength, phases=not masks.is_complex())
        if stages is not None:
            return self._seen(source.data, masks, stages, source.wavelength)
        data = self._read(self.planes(source, masks)["image"].data, source.wavelength)
        return Field(data, self.bench.image, source.wavelength)

    def _stages(self, source: Grid, wavelength: float, *, phases: bool) -> Stages | None:
        bench, place = self.bench, Geometry.of(self.bench)
        fixed = not any(map(trains, (bench.slm_position, bench.camera_position, bench.lens1, bench.lens2)))
        if self.plain_autograd or not fixed or place.slm_turns or place.camera_turns:
            return None
        return Stages(*self._operators(wavelength, self._dtype), self._slm_factor(wavelength) if phases else None)

    def _operators(self, wavelength: float, dtype: torch.dtype) -> tuple[Chain, Chain]:
        """What lies before the masks and what behind, where nothing turns or trains."""
        bench, place, window = self.bench, Geometry.of(self.bench), self.window.shape
        f1, f2 = bench.lens1.focal_length, bench.lens2.focal_length
        parts = (bench.slm_position, bench.camera_position, bench.lens1, bench.lens2)

        def build() -> tuple[Chain, Chain]:
            made: dict[tuple, Tensor] = {}

            def gap(distance: float | Tensor, shift: Pair | tuple[float, float] = (0.0, 0.0)) -> Tensor:
                key = (float(distance), *map(float, shift))  # gaps of one length share their transfer function
                if key not in made:
                    # Its columns are read in strips: contiguous when transposed.
                    made[key] = self._transfer(wavelength, distance, shift).to(dtype).mT.contiguous().mT
                return made[key]

            gaps = (
                gap(f1),
                gap(f1 + place.slm_axial, place.slm_shift),
                gap(f2 - place.slm_axial, tuple(-s for s in place.slm_shift)),
                gap(f2 + place.camera_axial, place.camera_shift),
            )
            lens1, lens2 = (
                lens.factor(self.window, wavelength, bench.wavelength, self._device).to(dtype)
                for lens in (bench.lens1, bench.lens2)
            )
            source, slm, image = bench.illumination.grid.shape, bench.slm.samples.shape, bench.image.shape
            front = (Propagation(gaps[0], source, window, lens1), Propagation(gaps[1], window, slm))
            back = (Propagation(gaps[2], slm, window, lens2), Propagation(gaps[3], window, window))
            if self._image_is_in_window:
                return Chain(front), Chain((back[0], replace(back[1], outputs=image)))
            return Chain(front), Chain((*back, Matrices(*(m.to(dtype) for m in self._reading()))))

        return self._constant("operators", wavelength, build, *parts)

    @property
    def _image_is_in_window(self) -> bool:
        """Whether the image samples are samples of the window."""
        image = self.bench.image
        pairs = zip(image.shape, self.window.shape, strict=True)
        inside = all(n // 2 <= m // 2 and n - n // 2 <= m - m // 2 for n, m in pairs)
        return inside and abs(image.pitch - self.window.pitch) < 1e-9 * self.window.pitch

    def _reading(self) -> tuple[Tensor, Tensor]:
        """The image is read where it is wanted, by the interpolation that band-limited samples define."""
        return tuple(
            interpolation_matrix(positions.flatten(), count, self.window.pitch)
            for positions, count in zip(self.bench.image.coordinates(self._device), self.window.shape, strict=True)
        )

    def _read(self, data: Tensor, wavelength: float) -> Tensor:
        matrices = self._constant("reading", wavelength, lambda: tuple(m.to(data) for m in self._reading()))
        return zoomed_fourier(data, *matrices)

    def _gap(
        self,
        field: Field,
        name: str,
        distance: float | Tensor,
        shift: Pair | tuple[float, float] = (0.0, 0.0),
        *parts: torch.nn.Module | None,
    ) -> Field:
        """Free space, and a window that is displaced by ``shift`` at its end."""

        def build() -> Tensor:
            return self._transfer(field.wavelength, distance, shift).to(field.data.dtype)

        transfer = self._constant(name, field.wavelength, build, *parts)
        return replace(field, data=apply_transfer_function(field.data, transfer))

    def _transfer(self, wavelength: float, distance: float | Tensor, shift: Pair | tuple[float, float]) -> Tensor:
        """Transfer function of a gap on the padded window, complex128."""
        padded = computation_window(self.window, self.window, 2)
        transfer = angular_spectrum_transfer_function(
            padded, wavelength, distance, dtype=torch.complex128, device=self._device
        )
        if any(not isinstance(s, float) for s in shift):
            fy, fx = padded.frequencies(self._device)
            transfer = transfer * phase_modulation(2 * math.pi * (fy * shift[0] + fx * shift[1]))
        return transfer

    def _modulated(self, field: Field, masks: Tensor | None) -> Field:
        """The SLM acts on its own samples; what misses it is blocked."""
        (h, w), (rows, columns) = self.bench.slm.samples.shape, self.window.shape
        top, left = rows // 2 - h // 2, columns // 2 - w // 2
        masks = self.mask_factors(field.wavelength) if masks is None else masks
        return replace(field, data=_centred(field.data[..., top : top + h, left : left + w] * masks, self.window.shape))


def _turned(field: Field, angle: Tensor) -> Field:
    return replace(field, data=rotated(field.data, angle))


def _centred(data: Tensor, shape: tuple[int, int]) -> Tensor:
    """``data`` zero-padded to ``shape`` with index ``n // 2`` kept on the axis."""
    (h, w), (rows, columns) = data.shape[-2:], shape
    top, left = rows // 2 - h // 2, columns // 2 - w // 2
    return F.pad(data, (left, columns - w - left, top, rows - h - top))


def default_window(bench: FourF) -> tuple[int, int]:
    """Window that holds the rays, gives them room for diffraction and keeps the band over the longer gap [samples].

    The band limit of a gap ``f`` reaches the Nyquist frequency of a window padded to ``2 N`` when
    ``2 N p^2 >= lambda f``, for small angles. Room is given as far as the lenses are sampled.
    """
    pitch, reach = bench.slm.samples.pitch, Reach.of(bench)
    lines, focal_lengths = bench.illumination.spectrum.wavelengths, (bench.lens1.focal_length, bench.lens2.focal_length)
    band = max(bench.scales) / pitch**2 / 2
    room = 2 * ROOM * math.sqrt(max(lines) * max(focal_lengths)) / pitch
    sampled = 2 * math.floor(min(lines) * min(focal_lengths) / pitch**2 / 2)
    sides = []
    for near, far in zip(reach.at_lens1, reach.at_lens2, strict=True):
        rays = 2 * math.ceil(max(band, max(near, far) / pitch - 1e-6) / 2)
        sides.append(max(rays, min(2 * math.ceil((max(near, far) / pitch + room) / 2), sampled)))
    return tuple(sides)
