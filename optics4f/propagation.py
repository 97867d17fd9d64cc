r"""Free-space propagation: the angular spectrum, and one entry to every method.

Fields follow the :math:`e^{-i \omega t}` convention, so light travelling towards +z gains
phase and a diverging wave has positive curvature. The plane-wave carrier
:math:`e^{2 \pi i d / \lambda}` is left out: no camera sees it, and at 0.2 m it would cost
single precision about a third of a radian.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .band import band_limit, in_band, tilted_frequencies
from .field import Field
from .filtering import PaddedFilter, huge_empty
from .fourier import fourier_matrix, zoomed_fourier
from .fresnel import fresnel_matrix, fresnel_transfer_function
from .grid import Grid
from .kept import Kept
from .memory import on_shortage, require
from .memory_needs import KEPT, propagation_need
from .propagation_method import Method, MethodChoice, computation_window, propagation_method
from .rayleigh_sommerfeld import rayleigh_sommerfeld_convolution, rayleigh_sommerfeld_sum
from .sampling import SamplingReport

__all__ = [
    "Method",
    "MethodChoice",
    "angular_spectrum_transfer_function",
    "apply_transfer_function",
    "band_limit",
    "propagate",
    "propagation_method",
]

TRANSFER_FUNCTIONS = Kept(2**28)
"""Those that :func:`propagate` built last, of windows up to ``KEPT`` samples: the next call finds them."""
on_shortage(TRANSFER_FUNCTIONS.clear)

_BUILT_TOGETHER = 2**16  # samples of a transfer function in float64, with some ten intermediate results


def angular_spectrum_transfer_function(
    grid: Grid,
    wavelength: float | Tensor,
    distance: float | Tensor,
    *,
    shift: tuple[float | Tensor, float | Tensor] = (0.0, 0.0),
    tilt: tuple[float, float] = (0.0, 0.0),
    dtype: torch.dtype = torch.complex64,
    device: torch.device | None = None,
) -> Tensor:
    r"""Angular-spectrum transfer function of free space (Goodman 2005, section 3.10).

    .. math:: H = \exp\left[ 2 \pi i d \left( \sqrt{\lambda^{-2} - f^2} - \lambda^{-1} \right)
              + 2 \pi i f \cdot x_0 \right]

    Evanescent frequencies, and those beyond the band limit of Matsushima and Shimobaba
    (2009) where :math:`H` would alias, are set to zero; for a shifted window the band is that of
    Matsushima (2010): see :func:`~optics4f.band.in_band`.

    Args:
        grid: Plane to propagate on, already padded if linear convolution is wanted.
        wavelength: Wavelength in the medium [m].
        distance: Distance to travel [m]; negative runs the light backwards. A tensor is
            differentiated through.
        shift: Centre ``(y, x)`` of the window at the end [m].
        tilt: Mean spatial frequency ``(fy, fx)`` of the light [cycles/m].
        dtype: Complex type of the result; it is built in float64 whatever this is.
        device: Where to build it.

    Returns:
        Complex tensor of shape ``grid.shape``, in FFT order.
    """
    if torch.is_grad_enabled() and any(isinstance(number, Tensor) for number in (wavelength, distance, *shift)):
        frequencies = tilted_frequencies(grid, tilt, device)
        return _angular_spectrum(*frequencies, grid.extent, wavelength, distance, shift).to(dtype)
    columns = AngularSpectrumColumns(grid, wavelength, distance, shift, tilt, dtype, device)
    rows, count = grid.shape
    on_cpu = device is None or torch.device(device).type == "cpu"  # where it is read in strips of columns
    result = huge_empty((count, rows), dtype).mT if on_cpu else torch.empty(rows, count, dtype=dtype, device=device)
    for part, factor in columns.strips(max(1, _BUILT_TOGETHER // rows)):
        result[:, part] = factor.mT
    return result


def _angular_spectrum(
    fy: Tensor,
    fx: Tensor,
    extent: tuple[float, float],
    wavelength: float | Tensor,
    distance: float | Tensor,
    shift: tuple[float | Tensor, float | Tensor],
) -> Tensor:
    """The transfer function at the frequencies ``fy``, ``fx``, which broadcast."""
    f_squared = fy**2 + fx**2
    propagating = f_squared < wavelength**-2
    fz = torch.sqrt(torch.where(propagating, wavelength**-2 - f_squared, 1.0))  # 1.0 keeps the gradient finite
    # fz - 1/wavelength as a difference of squares over a sum: the two are nearly equal and
    # subtracting them loses the digits that carry the diffraction.
    phase = -2 * math.pi * distance * f_squared / (fz + 1 / wavelength)
    kept = propagating
    for f, width, centre in zip((fy, fx), extent, shift, strict=True):
        kept = kept & in_band(f, fz, width, distance, centre)
        if isinstance(centre, Tensor) or centre:
            phase = phase + 2 * math.pi * f * centre
    return torch.where(kept, torch.polar(torch.ones_like(phase), phase), 0)


@dataclass(frozen=True)
class AngularSpectrumColumns:
    """:func:`angular_spectrum_transfer_function` in strips of columns: the whole is never there.

    Attributes:
        grid: Plane to propagate on.
        wavelength: In the medium [m].
        distance: [m].
        shift: Centre ``(y, x)`` of the window at the end [m].
        tilt: Mean spatial frequency ``(fy, fx)`` [cycles/m].
        dtype: Complex type of the strips.
        device: Where they are made.
    """

    grid: Grid
    wavelength: float | Tensor
    distance: float | Tensor
    shift: tuple[float | Tensor, float | Tensor] = (0.0, 0.0)
    tilt: tuple[float, float] = (0.0, 0.0)
    dtype: torch.dtype = torch.complex64
    device: torch.device | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Of the whole."""
        return self.grid.shape

    def strips(self, width: int) -> Iterator[tuple[slice, Tensor]]:
        """Up to ``width`` columns at a time and their factor ``(columns, rows)``, every column once.

        Without shift and tilt the function is even along both axes, and a quarter of it is computed.
        """
        fy, fx = (f.flatten() for f in tilted_frequencies(self.grid, self.tilt, self.device))
        rows, count = self.grid.shape
        even = not any(isinstance(number, Tensor) or number for number in (*self.shift, *self.tilt))
        fy, last = (fy[: rows // 2 + 1], count // 2 + 1) if even else (fy, count)
        for start in range(0, last, width):
            part = slice(start, min(start + width, last))
            factor = self._at(fy[None, :], fx[part, None])
            if not even:
                yield part, factor
                continue
            factor = torch.cat([factor, factor[:, 1 : rows - rows // 2].flip(1)], dim=1)
            yield part, factor
            # Frequency -k is the column count - k; 0 and, of an even number, the last are their own.
            first, end = max(part.start, 1), min(part.stop, count - count // 2)
            if first < end:
                yield slice(count - end + 1, count - first + 1), factor[first - start : end - start].flip(0)

    def _at(self, fy: Tensor, fx: Tensor) -> Tensor:
        return _angular_spectrum(fy, fx, self.grid.extent, self.wavelength, self.distance, self.shift).to(self.dtype)


def apply_transfer_function(data: Tensor, transfer_function: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
    """Filter ``data (..., height, width)`` by a transfer function at least as large.

    The difference in size is zero padding: a transfer function on ``grid.padded()``
    gives linear convolution, one on ``grid`` itself wraps around.

    Args:
        data: Complex field samples.
        transfer_function: Shape ``(rows, columns)``, FFT order.
        shape: Samples ``(height, width)`` to return around the axis; by default those of ``data``.

    Returns:
        Shape ``(..., *shape)``.

    Raises:
        ValueError: The transfer function is smaller than the field or ``shape``.
    """
    shape = tuple(data.shape[-2:]) if shape is None else shape
    window = tuple(transfer_function.shape)
    for plane in (tuple(data.shape[-2:]), shape):
        if window[0] < plane[0] or window[1] < plane[1]:
            raise ValueError(
                f"transfer_function must cover the field, got {window} for a field of {plane}. "
                "Build it on grid.padded() to leave room for diffraction."
            )
    if not transfer_function.requires_grad and data.dtype == transfer_function.dtype:
        fields = data.reshape(-1, *data.shape[-2:])
        return PaddedFilter.apply(fields, transfer_function, tuple(shape)).reshape(*data.shape[:-2], *shape)
    spread = torch.fft.ifft2(torch.fft.fft2(_centred(data, window)) * transfer_function)
    top, left = (n // 2 - m // 2 for n, m in zip(window, shape, strict=True))
    return spread[..., top : top + shape[0], left : left + shape[1]]


def propagate(
    field: Field,
    distance: float | Tensor,
    *,
    method: Method | None = None,
    output: Grid | None = None,
    shift: tuple[float | Tensor, float | Tensor] = (0.0, 0.0),
    tilt: tuple[float, float] = (0.0, 0.0),
    refractive_index: float = 1.0,
    padding: float = 2,
    wavelength: Tensor | None = None,
    override: bool | tuple[str, ...] = False,
) -> Field:
    """The field after ``distance`` of free space. Light that misses the output is lost.

    Differentiable in the field and, given as 0-d tensors, in distance, wavelength and shift; their values are read
    once, for the choice of method.

    Args:
        field: Light at the start.
        distance: Distance to travel [m]; negative runs the light backwards.
        method: How; ``None`` takes what the sampling allows. ``propagation_method`` with the same arguments tells.
        output: Samples at the end, of any pitch and number; by default those of the field.
        shift: Centre ``(y, x)`` of the output [m]. The result's grid does not remember it.
        tilt: Mean spatial frequency ``(fy, fx)`` [cycles/m] of off-axis light: the samples are read as frequencies
            within half a period of it, so the pitch need only sample the envelope. ``walk_off`` is where it goes.
        refractive_index: Of the medium; the field keeps its vacuum wavelength.
        padding: Width of the window in units of the planes' mean width, for ``angular_spectrum`` and ``fresnel``;
            1 wraps around.
        wavelength: Vacuum wavelength [m] in place of ``field.wavelength``, to differentiate in.
        override: Sampling conditions to compute outside of, by name as the refusal gives it; ``True`` for all.

    Returns:
        Field on ``output``, without the carrier of the axis and with the factor ``1/(i wavelength distance)`` in every
        method, so that their complex fields compare.

    Raises:
        SamplingError: The sampling does not carry the method, or this output by any method.
        TooLargeError: It does not fit into memory; names what does.
        ValueError: An unknown method, a value out of its range.
    """
    grid, output = field.grid, field.grid if output is None else output
    vacuum = field.wavelength if wavelength is None else wavelength
    choice = propagation_method(
        grid,
        _value(vacuum),
        _value(distance),
        method=method,
        output=output,
        shift=(_value(shift[0]), _value(shift[1])),
        tilt=tilt,
        refractive_index=refractive_index,
        padding=padding,
    )
    if override is not True:
        SamplingReport(choice.checks).refuse_if_invalid(override or ())
    parameters = any(isinstance(_number(number), Tensor) for number in (vacuum, distance, *shift))
    _require_memory(field.data, grid, output, choice.method, padding, parameters)
    light, distance = _number(vacuum) / refractive_index, _number(distance)
    shift = (_number(shift[0]), _number(shift[1]))
    data, like = field.data, {"dtype": field.data.dtype, "device": field.data.device}
    if choice.method in ("angular_spectrum", "fresnel"):
        window, strips = computation_window(grid, output, padding), None
        if choice.method == "angular_spectrum" and output.pitch == grid.pitch:
            strips = _in_strips(window, light, distance, shift, tilt, data)
        if strips is not None:
            data = PaddedFilter.apply(data.reshape(1, *grid.shape), strips, output.shape)
            data = data.reshape(*field.data.shape[:-2], *output.shape)
        else:
            asm = choice.method == "angular_spectrum"
            build = angular_spectrum_transfer_function if asm else fresnel_transfer_function
            transfer_function = _transfer_function(build, window, light, distance, shift, tilt, **like)
            if output.pitch == grid.pitch:
                data = apply_transfer_function(data, transfer_function, output.shape)
            else:
                data = _filter_and_zoom(data, transfer_function, window, output, tilt)
    elif choice.method == "rayleigh_sommerfeld":
        if output.pitch == grid.pitch:
            data = rayleigh_sommerfeld_convolution(data, grid, output.shape, light, distance, shift=shift)
        else:
            data = rayleigh_sommerfeld_sum(data, grid, output, light, distance, shift=shift)
    else:
        far_field = choice.method == "fraunhofer"
        axes = zip(grid.coordinates(data.device), output.coordinates(data.device), shift, strict=True)
        rows, columns = (
            (grid.pitch * fresnel_matrix(u + centre, x, light * distance, far_field=far_field)).to(data.dtype)
            for x, u, centre in axes
        )
        data = zoomed_fourier(data, rows, columns)
    return Field(data, output, _value(vacuum))


def _require_memory(data: Tensor, grid: Grid, output: Grid, method: Method, padding: float, parameters: bool) -> None:
    gradient = torch.is_grad_enabled() and (parameters or data.requires_grad)
    batch = data.shape[:-2].numel()
    options = {"method": method, "batch": batch, "padding": padding, "gradient": gradient, "parameters": parameters}
    require(propagation_need(grid, output, **options, dtype=data.dtype, device=data.device), data.device)


def _in_strips(
    window: Grid,
    wavelength: float | Tensor,
    distance: float | Tensor,
    shift: tuple[float | Tensor, float | Tensor],
    tilt: tuple[float, float],
    data: Tensor,
) -> AngularSpectrumColumns | None:
    """The transfer function made strip by strip, for one plane; ``None`` where it is kept whole."""
    large, fixed = window.shape[0] * window.shape[1] > KEPT, _are_fixed(wavelength, distance, *shift)
    if not (large and fixed and data.device.type == "cpu" and data[..., 0, 0].numel() == 1):
        return None
    return AngularSpectrumColumns(window, wavelength, distance, shift, tilt, data.dtype)


def _transfer_function(
    build: Callable[..., Tensor],
    window: Grid,
    wavelength: float | Tensor,
    distance: float | Tensor,
    shift: tuple[float | Tensor, float | Tensor],
    tilt: tuple[float, float],
    **like: Any,
) -> Tensor:
    """A transfer function: that of an earlier call where nothing differentiates through it and it is not large."""

    def built() -> Tensor:
        return build(window, wavelength, distance, shift=shift, tilt=tilt, **like)

    if window.shape[0] * window.shape[1] > KEPT or not _are_fixed(wavelength, distance, *shift):
        return built()
    key = (build.__name__, window, wavelength, distance, tuple(shift), tuple(tilt), *like.values())
    return TRANSFER_FUNCTIONS.get(key, built)


def _are_fixed(*numbers: float | Tensor) -> bool:
    """Whether nothing among them receives a gradient."""
    return not any(isinstance(number, Tensor) for number in numbers)


def _filter_and_zoom(
    data: Tensor, transfer_function: Tensor, window: Grid, output: Grid, tilt: tuple[float, float]
) -> Tensor:
    """Filter ``data`` and take the inverse transform at the samples of ``output``, over the frequencies kept."""
    kept = transfer_function.detach() != 0
    rows, columns = kept.any(dim=1), kept.any(dim=0)
    spectrum = torch.fft.fft2(_centred(data, window.shape)) * transfer_function
    matrices = []
    frequencies = tilted_frequencies(window, tilt, data.device)
    for f, u, n, mask in zip(frequencies, output.coordinates(data.device), window.shape, (rows, columns), strict=True):
        position = u.flatten() + n // 2 * window.pitch  # the FFT counts from the corner
        matrices.append((fourier_matrix(-position, f.flatten()[mask], 1.0) / n).to(data.dtype))
    return zoomed_fourier(spectrum[..., rows, :][..., columns], *matrices)


def _centred(data: Tensor, shape: tuple[int, int]) -> Tensor:
    """``data`` zero-padded to ``shape`` with index ``n // 2`` kept on the axis."""
    (h, w), (rows, columns) = data.shape[-2:], shape
    top, left = rows // 2 - h // 2, columns // 2 - w // 2
    return F.pad(data, (left, columns - w - left, top, rows - h - top))


def _value(number: float | Tensor) -> float:
    """A Python float, for comparing; the graph keeps the tensor."""
    return float(number.detach()) if isinstance(number, Tensor) else float(number)


def _number(number: float | Tensor) -> float | Tensor:
    """A float; of what receives a gradient, a tensor in float64: two 0-d float32 tensors would multiply in float32."""
    if isinstance(number, Tensor):
        return number.double() if number.requires_grad and torch.is_grad_enabled() else float(number)
    return number
