"""The light on a plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .grid import Grid


def intensity(data: Tensor) -> Tensor:
    """``|data|**2`` of a complex tensor, real, same shape; differentiable at 0, where ``abs`` is not."""
    return _Intensity.apply(data)


class _Intensity(torch.autograd.Function):
    """``re^2 + im^2``, and its gradient ``2 g u`` in one pass each: plain autograd makes eight planes of it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(data: Tensor) -> Tensor:
        """Both squares, the second added in place."""
        squares = data.real.square()
        return squares.add_(data.imag.square())

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep the field."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        """``2 g u``, differentiable again."""
        (data,) = ctx.saved_tensors
        return data * (2 * grad)


@dataclass(frozen=True)
class Intensity:
    """What remains of light that is not one coherent field: its intensity on a grid.

    Attributes:
        intensity: Real, shape ``(..., height, width)``.
        grid: Plane on which it is sampled.
    """

    intensity: Tensor
    grid: Grid


@dataclass(frozen=True)
class Field:
    """A monochromatic, scalar, coherent field on a grid.

    Attributes:
        data: Complex amplitude, shape ``(..., height, width)``; ``|data|**2`` is the intensity
            (irradiance [W/m^2] once the illumination carries a power).
        grid: Plane on which ``data`` is sampled.
        wavelength: Vacuum wavelength [m].

    Raises:
        ValueError: ``data`` does not end in ``grid.shape``.
        TypeError: ``data`` is not complex.
    """

    data: Tensor
    grid: Grid
    wavelength: float

    def __post_init__(self) -> None:
        if not self.data.is_complex():
            raise TypeError(f"data must be complex, got {self.data.dtype}. Convert an amplitude with torch.complex.")
        if tuple(self.data.shape[-2:]) != self.grid.shape:
            raise ValueError(f"data must end in the grid's shape {self.grid.shape}, got {tuple(self.data.shape)}.")

    @property
    def intensity(self) -> Tensor:
        """Intensity ``|data|**2``, shape ``(..., height, width)``."""
        return intensity(self.data)

    @property
    def power(self) -> Tensor:
        """Intensity integrated over the plane, shape ``(...)``."""
        return self.intensity.sum(dim=(-2, -1)) * self.grid.pitch**2


class SeenField(Field):
    """A field whose intensity is at hand, and whose data is put together when it is first asked for.

    Args:
        data: The tensor ``(..., height, width)``, or a function that makes it.
        grid: Plane on which it is sampled.
        wavelength: Vacuum wavelength [m].
        intensity: ``|data|**2``; by default computed from ``data``.
    """

    def __init__(
        self,
        data: Tensor | Callable[[], Tensor],
        grid: Grid,
        wavelength: float,
        *,
        intensity: Tensor | None = None,
    ) -> None:
        self.__dict__.update(grid=grid, wavelength=wavelength, _data=data, _intensity=intensity)
        if isinstance(data, Tensor):
            self.__post_init__()

    @property
    def data(self) -> Tensor:
        """Complex amplitude, shape ``(..., height, width)``."""
        if not isinstance(self._data, Tensor):
            self.__dict__["_data"] = self._data()
        return self._data

    @property
    def intensity(self) -> Tensor:
        """Intensity ``|data|**2``, shape ``(..., height, width)``."""
        return intensity(self.data) if self._intensity is None else self._intensity
