"""Isoplanatic: one point spread function per mask and step, shared by the whole batch."""

from __future__ import annotations

import math
from itertools import product

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import pad

from ..elements.camera import overlap
from ..field import Field, Intensity, SeenField, intensity
from ..fourf import FourF
from ..fourier import fourier_matrix, zoomed_fourier
from ..light import Mode
from ..modulation import phase_modulation
from ..sampling import SamplingError, SamplingReport
from .autocorrelation import Lags, autocorrelated, padded, saves
from .conditions import lens_checks, plane_checks
from .convolution import convolved
from .geometry import Geometry, collins_matrix, refuse_lens_aberrations
from .route import Route, trains
from .window import Narrow, basis_of, to_window


class PSFRoute(Route):
    r"""The image as a convolution with the PSF of each mask (SLM in the Fourier plane; Goodman 2005, section 8.2).

    .. math:: h(x) = \frac{-1}{\lambda^2 f_1 f_2} \int M(x_f) \, e^{-2 \pi i \, x_f \cdot x / (\lambda f_2)} \, dx_f,
              \qquad U_1(x_1) = \int U_0(x_0) \, h\left(x_1 + \tfrac{f_2}{f_1} x_0\right) dx_0

    The PSF is evaluated at every difference between an image sample and a logical object pixel, so nothing of it is
    cut off: the result is that of :class:`FourierLensRoute`, at the cost of K small transforms a step and one small
    convolution per image and mask. The square logical pixel enters as a factor in the Fourier plane. Light without
    spatial coherence convolves the intensity of the object with :math:`|h|^2`.

    Arguments and shapes are those of :class:`Route`.

    Raises:
        SamplingError: The imaged logical pixels do not lie on the image samples; the SLM is displaced along the light
            or turned, so that object points see different PSFs or a turned grid.
    """

    def __init__(self, bench: FourF, *, override: tuple[str, ...] = ()) -> None:
        super().__init__(bench, override=override)

    def _fit(self) -> None:
        super()._fit()
        bench, source, image = self.bench, self.bench.illumination, self.bench.image
        self.stretch = bench.lens2.focal_length / bench.lens1.focal_length
        self.stride = _stride(bench)
        self.window = tuple(
            n_image + self.stride * (n_object - 1) for n_image, n_object in zip(image.shape, source.shape, strict=True)
        )
        # Only outputs that see the whole object are kept, so wrap-around may spoil the rest: the PSF window suffices.
        # Odd lengths, and those of an odd number of pairs, take half as long again.
        self.length = tuple(4 * next_fast_len(math.ceil(n / 4)) for n in self.window)

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
            masks: What :meth:`masks` gives at that wavelength, where it is at hand.
        """
        mode = Mode(self.bench.wavelength) if mode is None else mode
        masks = self.masks(mode.wavelength) if masks is None else masks
        return self._psf(mode, masks)

    def window_efficiency(self) -> Tensor:
        """Share of the light behind each mask that lands in the PSF window, shape ``(masks,)``.

        The light is that of one logical pixel of the object, averaged over the modes of the light; the rest is
        diffracted beside the window. The window is all that is simulated and wider than the camera:
        :meth:`camera_efficiency` tells what that sees.
        """
        return self._share_of_light(None)

    def camera_efficiency(self) -> Tensor:
        """Share of the light behind each mask that lands on the camera, shape ``(masks,)``.

        Mean over the object's logical pixels, each lit alone, and over the modes of the light.
        """
        camera, image = self.bench.camera.grid, self.bench.image
        seen = []
        for n_camera, n_image, n_object in zip(camera.shape, image.shape, self.bench.illumination.shape, strict=True):
            weights = overlap(n_camera, camera.pitch, n_image, image.pitch).sum(0) * (camera.pitch / image.pitch)
            # A difference of positions is seen from as many object pixels as put it on the camera.
            seen.append(
                sum(pad(weights, (self.stride * k, self.stride * (n_object - 1 - k))) for k in range(n_object))
                / n_object
            )
        return self._share_of_light(tuple(weights.to(self._device, self._dtype.to_real()) for weights in seen))

    def _share_of_light(self, seen: tuple[Tensor, Tensor] | None) -> Tensor:
        """Of the light behind each mask, what lands in the window, weighted along y and x by how much is ``seen``."""
        bench, light = self.bench, self.bench.illumination
        total: Tensor | float = 0.0
        for mode in light.modes():
            masks = self.mask_factors(mode.wavelength)
            sources = self.block_terms(mode)
            if not light.self_luminous:
                sources = tuple(terms.sum(1, keepdim=True) for terms in sources)
            arriving = light.grid.pitch**2 / (mode.wavelength * bench.lens1.focal_length) * bench.slm.samples.pitch
            lit_rows, lit_columns = (intensity(terms).sum(1) for terms in sources)
            passed = intensity(masks) @ lit_columns @ lit_rows
            landed = self._landed(mode, masks, sources, seen) * bench.image.pitch**2
            total = total + mode.weight * landed / (passed * arriving**2)
        return total

    def _landed(
        self, mode: Mode, masks: Tensor, sources: tuple[Tensor, Tensor], seen: tuple[Tensor, Tensor] | None
    ) -> Tensor:
        r"""Sum of the window's weighted intensity over all pairs of ``sources`` along y and x, for each mask.

        With :math:`A_p` and :math:`B_q`, the transforms along y and x of the light of one source each, it is

        .. math:: \sum_{pq} \| A_p M B_q^T \|^2 = \operatorname{tr} \left( \sum_p A_p^H A_p M
                  \sum_q B_q^T B_q^* M^H \right),

        one product for all pairs, which is taken where it costs less than their PSFs.
        """
        rows, columns = self._window_matrices(mode)
        (height, width), (out_rows, out_columns) = masks.shape[-2:], self.window
        pairs = sources[0].shape[1] * sources[1].shape[1]
        by_pairs = pairs * out_rows * width * (height + out_columns)
        if self.plain_autograd or by_pairs <= height * width * (height + width):
            landed: Tensor | float = 0.0
            for y, x in product(sources[0].unbind(1), sources[1].unbind(1)):
                there = intensity(self._transformed(mode, masks, (y, x)))
                landed = landed + (there.sum((-2, -1)) if seen is None else there @ seen[1] @ seen[0])
            return landed
        along_y = rows.mH @ (rows if seen is None else rows * seen[0][:, None])
        along_x = columns.mT @ (columns if seen is None else columns * seen[1][:, None]).conj()
        along_y = along_y * (sources[0].conj() @ sources[0].mT)
        along_x = along_x * (sources[1] @ sources[1].mH)
        return (along_y @ masks @ along_x * masks.conj()).real.sum((-2, -1))

    def image_field(self, source: Field, masks: Tensor | None = None) -> Field:
        raise SamplingError("the PSF route starts from logical pixels, not from a sampled field. Call it on images.")

    def forward(self, images: Tensor) -> Field | Intensity:
        _refuse_displacements(self.bench)  # which may have been displaced since
        return super().forward(images)

    def mode_field(self, images: Tensor, mode: Mode, masks: Tensor, *, keep: bool = True) -> Field:
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
        seen, field = convolved(spectra, kernels, corner, self.bench.image.shape, keep=keep)
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
        masks = self.masks(mode.wavelength) if masks is None else masks
        block = self.bench.illumination.block
        if block > 1 and self.stride % block == 0:
            return self._box_sum(intensity(self._psf_of_a_sample(mode, masks)), self.stride // block)
        if self.padded_mask:
            return autocorrelated(self._factors(masks, mode.wavelength), *self._lags(mode))
        rows, columns = self.block_terms(mode)
        total: Tensor | float = 0.0
        for row in rows.unbind(1):
            there = intensity(self._transformed(mode, masks, (row, columns)))
            total = total + there.unflatten(-1, (block, -1)).sum(-2)
        return total

    @property
    def padded_mask(self) -> int:
        """Samples of a mask that is padded for its autocorrelation; 0 where PSFs of pixels come another way."""
        block, shape = self.bench.illumination.block, self.bench.slm.samples.shape
        moves = trains(self.bench.slm_position) or trains(self.bench.camera_position)
        if moves or self.plain_autograd or (block > 1 and self.stride % block == 0):
            return 0
        return math.prod(map(padded, shape)) if saves(shape, self.window, block) else 0

    def _lags(self, mode: Mode) -> tuple[Lags, Lags]:
        """What the masks' autocorrelations are summed up with, along y and x."""

        def build() -> tuple[Lags, ...]:
            matrices, terms = self._exact_matrices(mode), self._exact_block_terms(mode)
            axes = zip(matrices, terms, (False, True), strict=True)
            return tuple(Lags.of(matrix, term / term[:1], half=half).to(self._dtype) for matrix, term, half in axes)

        return self._constant("lags", mode.wavelength, build, self.bench.slm_position, self.bench.camera_position)

    def _box_sum(self, values: Tensor, step: int) -> Tensor:
        """Sum over the samples of a logical pixel, which are imaged ``step`` image samples apart."""
        block = self.bench.illumination.block
        for axis, n in ((-2, self.window[0]), (-1, self.window[1])):
            values = sum(values.narrow(axis, k * step, n) for k in range(block))
        return values

    def _psf_of_a_sample(self, mode: Mode, masks: Tensor) -> Tensor:
        """PSF of one sample of the object over all differences of positions, ``(masks, *window + block - 1 steps)``."""
        extra = (self.bench.illumination.block - 1) * (self.stride // self.bench.illumination.block)
        return self._transformed(mode, masks, None, extra)

    def _psf(self, mode: Mode, masks: Tensor) -> Tensor:
        """PSFs of a logical pixel."""
        rows, columns = self.block_terms(mode)
        return self._transformed(mode, masks, (rows.sum(1), columns.sum(1)))

    def _transformed(self, mode: Mode, masks: Tensor, light: tuple[Tensor, Tensor] | None, extra: int = 0) -> Tensor:
        """From the masks to the window, in ``light`` of these factors along y and x.

        Factors of shape ``(SLM samples, n)`` are those of ``n`` sources, whose windows stand one beside the other.
        """
        rows, columns = self._window_matrices(mode, extra)
        if light is not None:
            rows, columns = _lit(rows, light[0]), _lit(columns, light[1])
        if self.plain_autograd or rows.requires_grad or columns.requires_grad:
            return -zoomed_fourier(self._factors(masks, mode.wavelength), rows, columns)
        phases = not masks.is_complex()
        narrow = (Narrow.of(m, b) for m, b in zip((-rows, columns), self._bases(mode, extra), strict=True))
        between, bits = (self._slm_factor(mode.wavelength), self.bench.slm.rounding) if phases else (None, None)
        return to_window(masks, *narrow, between, bits)

    def _bases(self, mode: Mode, extra: int) -> tuple[Tensor | None, Tensor | None]:
        """What compresses the transforms along y and x, whichever part of a logical pixel the light is from."""
        bench = self.bench

        def build() -> tuple[Tensor | None, ...]:
            matrices, terms = self._window_matrices(mode, extra), self.block_terms(mode)
            if extra:
                return tuple(basis_of(matrix) for matrix in matrices)
            # The samples at the ends: the others, and the waves of other modes, lie between.
            return tuple(
                basis_of(matrix * term[:, 0], matrix * term[:, -1])
                for matrix, term in zip(matrices, terms, strict=True)
            )

        return self._constant(f"bases {extra}", mode.wavelength, build, bench.slm_position, bench.camera_position)

    def _takes_phases(self, wavelength: float) -> bool:
        return not self.plain_autograd

    def _window_matrices(self, mode: Mode, extra: int = 0) -> tuple[Tensor, Tensor]:
        """Transforms from the SLM's samples to the differences of positions, along y and x.

        Differences are those of the logical pixels' middles; ``extra`` more of them reach from its first to its last
        sample.
        """

        def build() -> tuple[Tensor, ...]:
            return tuple(matrix.to(self._dtype) for matrix in self._exact_matrices(mode, extra))

        parts = (self.bench.slm_position, self.bench.camera_position)
        return self._constant(f"window {extra}", mode.wavelength, build, *parts)

    def _exact_matrices(self, mode: Mode, extra: int = 0) -> list[Tensor]:
        """:meth:`_window_matrices` in complex128."""
        bench, place = self.bench, Geometry.of(self.bench)
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
            matrices.append(weight * matrix)
        return matrices

    def block_terms(self, mode: Mode) -> tuple[Tensor, Tensor]:
        """What each sample inside a logical pixel adds in the Fourier plane, ``(SLM samples, block)`` along y and x."""

        def build() -> tuple[Tensor, ...]:
            return tuple(terms.to(self._dtype) for terms in self._exact_block_terms(mode))

        return self._constant(f"block {mode.frequency}", mode.wavelength, build, self.bench.slm_position)

    def _exact_block_terms(self, mode: Mode) -> list[Tensor]:
        """:meth:`block_terms` in complex128."""
        light, scale = self.bench.illumination, mode.wavelength * self.bench.lens1.focal_length
        inside = torch.arange(light.block, dtype=torch.float64, device=self._device) - (light.block - 1) / 2
        return [
            fourier_matrix(self.slm_positions(axis) - scale * mode.frequency[axis], inside * light.grid.pitch, scale)
            for axis in (0, 1)
        ]

    def slm_positions(self, axis: int) -> Tensor:
        """Laboratory positions of the SLM's samples along one axis [m], shape ``(samples,)``, float64."""
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


def _lit(matrix: Tensor, light: Tensor) -> Tensor:
    """A transform in the light of one source, or those of several, one after the other."""
    return matrix * light if light.ndim == 1 else (matrix * light.mT[:, None]).flatten(0, 1)


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
