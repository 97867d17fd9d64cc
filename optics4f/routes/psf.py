"""Isoplanatic: one point spread function per mask and step, shared by the whole batch."""

from __future__ import annotations

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from ..field import Field, Intensity, SeenField, intensity
from ..fourf import FourF
from ..fourier import fourier_matrix, zoomed_fourier
from ..light import Mode
from ..modulation import phase_modulation
from ..sampling import SamplingError, SamplingReport
from .adjoint import Matrices, Stages, large_empty, squares_into, through_masks
from .conditions import lens_checks, plane_checks
from .geometry import Geometry, collins_matrix, refuse_lens_aberrations
from .route import Route

_CACHED = 2**16  # complex numbers


class PSFRoute(Route):
    r"""The image as a convolution with the PSF of each mask (SLM in the Fourier plane; Goodman 2005, section 8.2).

    .. math:: h(x) = \frac{-1}{\lambda^2 f_1 f_2} \int M(x_f) \, e^{-2 \pi i \, x_f \cdot x / (\lambda f_2)} \, dx_f,
              \qquad U_1(x_1) = \int U_0(x_0) \, h\left(x_1 + \tfrac{f_2}{f_1} x_0\right) dx_0

    The PSF is evaluated at every difference between an image sample and a logical object pixel, so nothing of it is
    cut off: the result is that of :class:`FourierLensRoute`, at the cost of K small transforms a step and one small
    convolution per image and mask. The square logical pixel enters as a factor in the Fourier plane. Light without
    spatial coherence convolves the intensity of the object with :math:`|h|^2`.

    Arguments are those of :class:`Route`.

    Raises:
        SamplingError: The imaged logical pixels do not lie on the image samples; the SLM is displaced along the light
            or turned, so that object points see different PSFs or a turned grid.
    """

    def __init__(self, bench: FourF, *, override: tuple[str, ...] = ()) -> None:
        super().__init__(bench, override=override)
        source, image = bench.illumination, bench.image
        self.stretch = bench.lens2.focal_length / bench.lens1.focal_length
        self.stride = _stride(bench)
        self.window = tuple(
            n_image + self.stride * (n_object - 1) for n_image, n_object in zip(image.shape, source.shape, strict=True)
        )
        # Only outputs that see the whole object are kept, so wrap-around may spoil the rest: the PSF window suffices.
        self.length = tuple(next_fast_len(n) for n in self.window)

    @classmethod
    def sampling(cls, bench: FourF) -> SamplingReport:
        """Conditions of the planes, and lenses that pass the light."""
        refuse_lens_aberrations(bench)
        _refuse_displacements(bench)
        _stride(bench)
        return SamplingReport((*plane_checks(bench), *lens_checks(bench)))

    def point_spread_functions(self, mode: Mode | None = None, masks: Tensor | None = None) -> Tensor:
        """PSF of each mask over all differences of positions, shape ``(masks, *window)``.

        Amplitude at the camera of one logical pixel of amplitude 1; the square of its magnitude is intensity.

        Args:
            mode: Wavelength and direction of the light; by default the design wavelength, along the axis.
            masks: What :meth:`mask_factors` gives at that wavelength, where it is at hand.
        """
        mode = Mode(self.bench.wavelength) if mode is None else mode
        masks = self.mask_factors(mode.wavelength) if masks is None else masks
        return self._psf(mode, masks, *self._block(mode))

    def window_efficiency(self) -> Tensor:
        """Share of the light behind each mask that lands in the PSF window, shape ``(masks,)``.

        The light is that of one logical pixel of the object, averaged over the modes of the light; the rest is
        diffracted beside the window.
        """
        bench, light = self.bench, self.bench.illumination
        total: Tensor | float = 0.0
        for mode in light.modes():
            masks, (terms_y, terms_x) = self.mask_factors(mode.wavelength), self.block_terms(mode)
            if light.self_luminous:
                sources = [(y, x) for y in terms_y.unbind(1) for x in terms_x.unbind(1)]
            else:
                sources = [(terms_y.sum(1), terms_x.sum(1))]
            arriving = light.grid.pitch**2 / (mode.wavelength * bench.lens1.focal_length) * bench.slm.samples.pitch
            landed, passed = 0.0, 0.0
            for rows, columns in sources:
                landed = landed + intensity(self._psf(mode, masks, rows, columns)).sum((-2, -1))
                passed = passed + intensity(masks * rows[:, None] * columns[None, :]).sum((-2, -1))
            total = total + mode.weight * landed * bench.image.pitch**2 / (passed * arriving**2)
        return total

    def image_field(self, source: Field, masks: Tensor | None = None) -> Field:
        raise SamplingError("the PSF route starts from logical pixels, not from a sampled field. Call it on images.")

    def forward(self, images: Tensor) -> Field | Intensity:
        _refuse_displacements(self.bench)  # which may have been displaced since
        return super().forward(images)

    def mode_field(self, images: Tensor, mode: Mode, masks: Tensor) -> Field:
        light = self.bench.illumination
        objects = light.encode(images)
        if any(mode.frequency):
            y, x = (position.to(objects.device) for position in light.logical_positions())
            wave = 2 * math.pi * (mode.frequency[0] * y[:, None] + mode.frequency[1] * x[None, :])
            objects = objects * phase_modulation(wave).to(objects.dtype)
        objects, corner = self._spread(objects)
        spectra = torch.fft.fft2(objects, s=self.length)
        kernels = torch.fft.fft2(self.point_spread_functions(mode, masks), s=self.length)
        if self.plain_autograd:
            (height, width), filtered = self.bench.image.shape, torch.fft.ifft2(spectra * kernels)
            data = filtered[..., corner[0] : corner[0] + height, corner[1] : corner[1] + width]
            return Field(data, self.bench.image, mode.wavelength)
        seen, *fields = _Filter.apply(spectra, kernels, corner, self.bench.image.shape)

        def field() -> Tensor:
            with torch.set_grad_enabled(seen.requires_grad):
                return torch.stack(fields)

        return SeenField(field, self.bench.image, mode.wavelength, intensity=seen)

    def self_luminous_intensity(self, images: Tensor, mode: Mode, masks: Tensor) -> Tensor:
        objects, corner = self._spread(intensity(self.bench.illumination.encode(images)))
        kernels = torch.fft.rfft2(self.intensity_point_spread_functions(mode, masks), s=self.length)
        filtered = torch.fft.irfft2(torch.fft.rfft2(objects, s=self.length) * kernels, s=self.length)
        height, width = self.bench.image.shape
        return filtered[..., corner[0] : corner[0] + height, corner[1] : corner[1] + width]

    def intensity_point_spread_functions(self, mode: Mode | None = None, masks: Tensor | None = None) -> Tensor:
        """Intensity PSF of a logical pixel whose samples radiate by themselves, shape ``(masks, *window)``."""
        mode = Mode(self.bench.wavelength) if mode is None else mode
        masks = self.mask_factors(mode.wavelength) if masks is None else masks
        block = self.bench.illumination.block
        if block > 1 and self.stride % block == 0:
            return self._box_sum(intensity(self._psf_of_a_sample(mode, masks)), self.stride // block)
        terms_y, terms_x = self.block_terms(mode)
        total: Tensor | float = 0.0
        for rows in terms_y.unbind(1):
            for columns in terms_x.unbind(1):
                total = total + intensity(self._psf(mode, masks, rows, columns))
        return total

    def _box_sum(self, values: Tensor, step: int) -> Tensor:
        """Sum over the samples of a logical pixel, which are imaged ``step`` image samples apart."""
        block = self.bench.illumination.block
        for axis, n in ((-2, self.window[0]), (-1, self.window[1])):
            values = sum(values.narrow(axis, k * step, n) for k in range(block))
        return values

    def _psf_of_a_sample(self, mode: Mode, masks: Tensor) -> Tensor:
        """PSF of one sample of the object over all differences of positions, ``(masks, *window + block - 1 steps)``."""
        extra = (self.bench.illumination.block - 1) * (self.stride // self.bench.illumination.block)
        return -zoomed_fourier(masks, *self._window_matrices(mode, extra))

    def _psf(self, mode: Mode, masks: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """PSFs of a source with these factors along y and x in the Fourier plane."""
        matrix_y, matrix_x = self._window_matrices(mode)
        if self.plain_autograd or any(t.requires_grad for t in (matrix_y, matrix_x, rows, columns)):
            return -zoomed_fourier(masks, matrix_y * rows, matrix_x * columns)
        between = None if masks.is_complex() else self._slm_factor(mode.wavelength)
        stages = Stages(Matrices(rows[:, None], columns[:, None]), Matrices(-matrix_y, matrix_x), between)
        _, field = through_masks(rows.new_ones(1, 1, 1, 1), masks, stages)
        return field()[0]

    def _takes_phases(self, wavelength: float) -> bool:
        return not self.plain_autograd

    def _window_matrices(self, mode: Mode, extra: int = 0) -> tuple[Tensor, Tensor]:
        """Transforms from the SLM's samples to the differences of positions, along y and x.

        Differences are those of the logical pixels' middles; ``extra`` more of them reach from its first to its last
        sample.
        """
        bench, place = self.bench, Geometry.of(self.bench)

        def build() -> tuple[Tensor, ...]:
            weight = bench.slm.samples.pitch * bench.illumination.grid.pitch
            weight /= math.sqrt(mode.wavelength * bench.lens1.focal_length)
            matrices = []
            for axis, n in enumerate(self.window):
                logical = bench.illumination.logical_positions()[axis][0].to(self._device)
                first = bench.image.coordinates(self._device)[axis].flatten()[0] + place.camera_shift[axis]
                steps = torch.arange(n + extra, dtype=torch.float64, device=self._device) - extra / 2
                differences = steps * bench.image.pitch
                matrix = collins_matrix(
                    differences + first + self.stretch * logical,
                    self.slm_positions(axis),
                    mode.wavelength,
                    bench.lens2.focal_length,
                    0.0,
                    place.camera_axial,
                )
                matrices.append((weight * matrix).to(self._dtype))
            return tuple(matrices)

        return self._constant(f"window {extra}", mode.wavelength, build, bench.slm_position, bench.camera_position)

    def block_terms(self, mode: Mode) -> tuple[Tensor, Tensor]:
        """What each sample inside a logical pixel adds in the Fourier plane, ``(SLM samples, block)`` along y and x."""
        bench = self.bench
        light = bench.illumination

        def build() -> tuple[Tensor, ...]:
            scale = mode.wavelength * bench.lens1.focal_length
            inside = torch.arange(light.block, dtype=torch.float64, device=self._device) - (light.block - 1) / 2
            return tuple(
                fourier_matrix(
                    self.slm_positions(axis) - scale * mode.frequency[axis], inside * light.grid.pitch, scale
                ).to(self._dtype)
                for axis in (0, 1)
            )

        return self._constant(f"block {mode.frequency}", mode.wavelength, build, bench.slm_position)

    def _block(self, mode: Mode) -> tuple[Tensor, Tensor]:
        """The square logical pixel in the Fourier plane, along y and x."""
        return tuple(terms.sum(1) for terms in self.block_terms(mode))

    def slm_positions(self, axis: int) -> Tensor:
        """Laboratory positions of the SLM's samples along one axis [m]."""
        position = self.bench.slm.samples.coordinates(self._device)[axis].flatten()
        return position + Geometry.of(self.bench).slm_shift[axis]

    def _spread(self, objects: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Logical pixels on the image samples, turned by 180 degrees; and where the wanted window starts."""
        objects = objects.flip((-2, -1))  # U_1 needs h(x_1 + (f2/f1) x_0): a correlation
        if self.stride > 1:
            sparse = objects.new_zeros(*objects.shape[:-2], *(self.stride * (n - 1) + 1 for n in objects.shape[-2:]))
            sparse[..., :: self.stride, :: self.stride] = objects
            objects = sparse
        return objects, (objects.shape[-2] - 1, objects.shape[-1] - 1)


def _stride(bench: FourF) -> int:
    """Image samples an imaged logical pixel, which must be a whole number."""
    source, image = bench.illumination, bench.image
    imaged = bench.lens2.focal_length / bench.lens1.focal_length * source.block * source.grid.pitch
    stride = imaged / image.pitch
    if round(stride) < 1 or abs(stride - round(stride)) > 1e-6 * stride:
        raise SamplingError(
            f"an imaged logical pixel must be a whole number of image samples in the PSF route, got {stride:.6g} "
            f"of {image.pitch * 1e6:.6g} um. Choose the camera's binning or samples per pixel so that it is, or "
            "use the Fourier-lens route."
        )
    return round(stride)


def _refuse_displacements(bench: FourF) -> None:
    """What gives each object point a PSF of its own, or turns the grid."""
    place = Geometry.of(bench)
    if place.slm_moves_axially:
        raise SamplingError(
            "slm_position.axial must be 0 in the PSF route, got "
            f"{place.slm_axial.item() * 1e3:.4g} mm. Beside the Fourier plane each object point has a PSF of its "
            "own: use the Fourier-lens or the angular-spectrum route."
        )
    if place.slm_turns or place.camera_turns:
        raise SamplingError(
            "slm_position and camera_position must have no rotation in the PSF route. Use the Fourier-lens or the "
            "angular-spectrum route."
        )


class _Filter(torch.autograd.Function):
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
        window = (..., slice(corner[0], corner[0] + shape[0]), slice(corner[1], corner[1] + shape[1]))
        data = [spectra.new_empty(len(kernels), *shape) for _ in spectra]  # in pieces that the process keeps
        seen = large_empty((len(data), *data[0].shape), spectra)
        count = _kernels_at_a_time(kernels)
        for spectrum, fields, squares in zip(spectra[:, 0], data, seen, strict=True):
            parts = (part.split(count) for part in (kernels, fields, squares))
            for some, field, square in zip(*parts, strict=True):
                field.copy_(torch.fft.ifft2(spectrum * some)[window])
                squares_into(field, square)
        ctx.window = window
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(spectra, kernels, *data)
        return seen, *data

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad_seen: Tensor | None, *grad_data: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Adjoint: pad, transform forward, correlate."""
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
                window.zero_()
                if grad_seen is not None:
                    weight = grad_seen[b, some].to(spectra.dtype)
                    torch.mul(data[b][some], weight.add_(weight), out=window)
                if grad_data[b] is not None:
                    window.add_(grad_data[b][some])
                back = torch.fft.fft2(padded)
                if to_kernels:
                    grad_kernels[some].addcmul_(back, conjugate)
                if to_spectra:
                    grad_spectra[b, 0].add_(torch.linalg.vecdot(kernels[some], back, dim=0), alpha=1 / samples)
        return grad_spectra, grad_kernels, None, None


def _kernels_at_a_time(kernels: Tensor) -> int:
    """So many that what is padded stays in the cache: a few large ones, or many small ones, which saves calls."""
    return max(1, _CACHED // (kernels.shape[-2] * kernels.shape[-1]))
