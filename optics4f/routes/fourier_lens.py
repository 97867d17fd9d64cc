"""Each f-f stage collapsed to one zoomed Fourier transform, on the SLM's own samples."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from ..field import Field
from ..fourf import FourF
from ..fourier import matched_length, zoomed_fourier
from ..grid import Grid
from ..modulation import phase_modulation
from ..sampling import SamplingReport
from .conditions import lens_checks, plane_checks
from .geometry import Geometry, collins_matrix, extended, refuse_lens_aberrations, turned_middle
from .operators import Matrices, Stages, Transform
from .route import Route, trains


class FourierLensRoute(Route):
    r"""Thin lenses without vignetting (Goodman 2005, section 5.2).

    .. math:: U_f(x_f) = \frac{1}{i \lambda f} \int U_0(x) \, e^{-2 \pi i \, x \cdot x_f / (\lambda f)} \, dx

    and, where the SLM or the camera stands beside its focal plane, the integral of Collins (1970, J. Opt. Soc. Am. 60,
    1168) with the same sampling. Arguments and shapes are those of :class:`Route`. Memory grows as batch times masks
    times SLM samples.
    """

    @classmethod
    def sampling(cls, bench: FourF) -> SamplingReport:
        """Conditions of the planes, and lenses that pass the light."""
        refuse_lens_aberrations(bench)
        return SamplingReport((*plane_checks(bench), *lens_checks(bench)))

    def fourier_field(self, source: Field) -> Field:
        """Field that reaches the SLM, on its own samples, shape ``(batch, 1, height, width)``."""
        bench, wavelength = self.bench, source.wavelength
        place = Geometry.of(bench)
        turned = place.slm_turns
        samples = extended(bench.slm.samples) if turned else bench.slm.samples

        data = zoomed_fourier(source.data, *self._first_stage(wavelength, source.grid, samples))
        if turned:
            data = turned_middle(data, place.slm_rotation, bench.slm.samples.shape)
        return Field(data, bench.slm.samples, wavelength)

    def image_field(self, source: Field, masks: Tensor | None = None) -> Field:
        bench, wavelength = self.bench, source.wavelength
        place = Geometry.of(bench)
        masks = self.mask_factors(wavelength) if masks is None else masks
        stages = self._stages(source.grid, wavelength, phases=not masks.is_complex())
        if stages is not None:
            return self._seen(source.data, masks, stages, wavelength)
        turned = place.slm_turns or place.camera_turns
        modulated = self.fourier_field(source).data * masks
        # In the SLM's own frame the axis and the camera are displaced; turned back at the end.
        data = zoomed_fourier(
            modulated, *self._second_stage(wavelength, extended(bench.image) if turned else bench.image)
        )
        if turned:
            data = turned_middle(data, place.camera_rotation - place.slm_rotation, bench.image.shape)
        return Field(data, bench.image, wavelength)

    def _first_stage(self, wavelength: float, source: Grid, samples: Grid) -> tuple[Tensor, Tensor]:
        """Row and column matrices from the object to the SLM."""
        bench, place = self.bench, Geometry.of(self.bench)

        def build() -> tuple[Tensor, Tensor]:
            stage = (wavelength, bench.lens1.focal_length, 0.0, place.slm_axial)
            return lens_matrices(samples, source, *stage, output_shift=place.slm_shift, like=self._like)

        return self._constant(f"stage 1 {source} {samples}", wavelength, build, bench.slm_position)

    def _second_stage(self, wavelength: float, image: Grid) -> tuple[Tensor, Tensor]:
        """Row and column matrices from the SLM to the image, in the SLM's own frame."""
        bench, place = self.bench, Geometry.of(self.bench)

        def build() -> tuple[Tensor, Tensor]:
            stage = (wavelength, bench.lens2.focal_length, place.slm_axial, place.camera_axial)
            shifts = {"input_shift": place.in_slm_frame(place.slm_shift)}
            shifts["output_shift"] = place.in_slm_frame(place.camera_shift)
            return lens_matrices(image, bench.slm.samples, *stage, **shifts, like=self._like)

        return self._constant(f"stage 2 {image}", wavelength, build, bench.slm_position, bench.camera_position)

    def _stages(self, source: Grid, wavelength: float, *, phases: bool) -> Stages | None:
        bench, place = self.bench, Geometry.of(self.bench)
        turned = place.slm_turns or place.camera_turns
        if turned or self.plain_autograd or trains(bench.slm_position) or trains(bench.camera_position):
            return None

        def build() -> Stages:
            planes = (source, bench.slm.samples, bench.image)
            if not place.displaced:
                lengths = (bench.lens1.focal_length, bench.lens2.focal_length)
                pair = [
                    matched_transform(before, behind, wavelength, f, self._device)
                    for before, behind, f in zip(planes, planes[1:], lengths, strict=False)
                ]
                if None not in pair:
                    return joined(*pair, self._slm_factor(wavelength) if phases else None, self._dtype)
            first = self._first_stage(wavelength, source, bench.slm.samples)
            second = self._second_stage(wavelength, bench.image)
            return Stages(Matrices(*first), Matrices(*second), self._slm_factor(wavelength) if phases else None)

        parts = (bench.slm_position, bench.camera_position, bench.pupil)
        return self._constant(f"stages {source} {phases}", wavelength, build, *parts)

    @property
    def _like(self) -> Tensor:
        return torch.empty(0, dtype=self._dtype, device=self._device)


def matched_transform(
    before: Grid, behind: Grid, wavelength: float, focal_length: float, device: torch.device | None = None
) -> Transform | None:
    r"""The FFT that takes one focal plane to the other, where their pitches match: :math:`p \, p' N = \lambda f`.

    Args:
        before: Samples of the front focal plane.
        behind: Samples of the back focal plane.
        wavelength: Wavelength [m].
        focal_length: Of the lens between them [m].
        device: Of the field.

    Returns:
        The transform, with factors in complex128; ``None`` where no FFT of a reasonable length has these samples.
    """
    n = matched_length(before, behind, wavelength * focal_length)
    if n is None:
        return None
    forth, back = [], []
    for axis, unit in ((0, -1j), (1, 1.0)):
        near, far = before.shape[axis] // 2, behind.shape[axis] // 2
        inputs = torch.arange(before.shape[axis], dtype=torch.float64, device=device)
        outputs = torch.arange(behind.shape[axis], dtype=torch.float64, device=device)
        forth.append(phase_modulation(2 * math.pi / n * far * inputs))
        scale = unit * before.pitch / (wavelength * focal_length) ** 0.5
        back.append(scale * phase_modulation(2 * math.pi / n * near * (outputs - far)))
    factors = (y[:, None] * x[None, :] for y, x in (forth, back))
    return Transform((n, n), before.shape, behind.shape, *factors)


def joined(first: Transform, second: Transform, factor: Tensor | None, dtype: torch.dtype) -> Stages:
    """Two transforms with the factors in the plane between them, and ``factor (height, width)``, taken out.

    The second may start at another frequency: its factor before is another wave then, and with the right one nothing
    is left between the two.
    """
    second = _restarted(first, second)
    between = first.behind * second.before
    constant, size = between.flatten()[0], second.behind.abs().amax()
    if (between - constant).abs().max() < 1e-9 * constant.abs():
        between = None
    else:
        constant = torch.ones_like(constant)
    if factor is not None:
        between = factor if between is None else between * factor
    return Stages(
        replace(first, before=(first.before * constant * size).to(dtype), behind=None),
        replace(second, before=None, behind=None),
        None if between is None else between.to(dtype),
        (second.behind / size).to(dtype),
    )


def _restarted(first: Transform, second: Transform) -> Transform:
    """The second transform, its first frequency chosen to undo the wave that the first one leaves, where it can."""
    starts, waves = [], []
    left = first.behind * second.before
    for axis, n in enumerate(second.length):
        one, *others = left.movedim(axis, -1)[0][:2]
        turn = torch.angle(others[0] / one).item() * n / (2 * math.pi) if others else 0.0
        start = round(-turn) % n
        if abs(turn - round(turn)) > 1e-6 or start + second.outputs[axis] > n:
            return second
        starts.append(start)
        samples = torch.arange(second.inputs[axis], dtype=torch.float64, device=left.device)
        waves.append(phase_modulation(2 * math.pi / n * start * samples))
    return replace(second, first=tuple(starts), before=second.before * waves[0][:, None] * waves[1][None, :])


def lens_matrices(
    outputs: Grid,
    inputs: Grid,
    wavelength: float,
    focal_length: float,
    before: float | Tensor,
    behind: float | Tensor,
    *,
    input_shift: tuple[float | Tensor, float | Tensor] = (0.0, 0.0),
    output_shift: tuple[float | Tensor, float | Tensor] = (0.0, 0.0),
    like: Tensor,
) -> tuple[Tensor, Tensor]:
    """Row and column matrices of one stage with a lens in it, in the type and on the device of ``like``.

    Args:
        outputs: Plane behind the lens.
        inputs: Plane before it.
        wavelength: Wavelength [m].
        focal_length: Of the lens [m].
        before: Displacement of the input plane towards the lens [m].
        behind: Displacement of the output plane away from it [m].
        input_shift: Lateral displacement ``(y, x)`` of the input plane [m].
        output_shift: Lateral displacement of the output plane [m].
        like: Field that the matrices are for.
    """
    matrices = []
    for axis, factor in ((0, -1j), (1, 1.0)):
        u = outputs.coordinates(like.device)[axis].flatten() + output_shift[axis]
        x = inputs.coordinates(like.device)[axis].flatten() + input_shift[axis]
        matrix = collins_matrix(u, x, wavelength, focal_length, before, behind)
        matrices.append((factor * inputs.pitch * matrix).to(like.dtype))
    return tuple(matrices)
