"""What phase and amplitude SLMs share: masks of pixels, effects in the order they act, levels, a device's numbers."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor, nn

from ..devices import SLMDevice, require, slm_device
from ..effects import ORDER, Effect, FillFactor, Quantization
from ..field import Field
from ..grid import Grid
from ..units import engineering, to_si

if TYPE_CHECKING:
    from ..units import Quantity

AS_THE_DEVICE = object()
"""Default of a number that the device's preset gives, where a device is named."""

FILLED = FillFactor(1.0)
"""A pixel without gaps."""


class Modulator(nn.Module):
    """What phase and amplitude SLMs share: K masks of pixels, and the effects of the device in the order they act.

    Args:
        grid: Pixels of the device that are used.
        device: Preset or its name, which gives what is not stated here: bits, fill factor, level table, wavelengths.
        effects: Defects (``optics4f.effects``), at most one of each kind.
        masks: Number K of masks shown one after the other.
        bit_depth: Bits per pixel, short for a ``Quantization``; ``None`` leaves the value continuous. 8 without device.
        fill_factor: Active fraction of the pixel area, in ``(0, 1]``, short for a ``FillFactor`` whose gaps reflect
            unmodulated light; 1 adds none. 1 without device.
        samples_per_pixel: Field samples along each side of a pixel.
        wavelength: Design wavelength [m], checked against the device's range; a tilted mirror needs it.
        dtype: Real type of the masks.

    Shape:
        - Input: field on ``samples`` with ``data`` of shape ``(..., 1, height, width)``.
        - Output: ``(..., masks, height, width)``: one forward transform serves all masks.

    Raises:
        ValueError: A value out of its range, a LUT without one entry a level, a wavelength that the device is not for;
            a number that is needed and that the device's preset does not know; two numbers for one thing.
    """

    kinds: tuple[str, ...] = ()
    initial_value = 0.0

    def __init__(
        self,
        grid: Grid,
        device: SLMDevice | str | None = None,
        effects: Iterable[Effect] = (),
        *,
        masks: int = 1,
        bit_depth: int | None | object = AS_THE_DEVICE,
        fill_factor: float | object = AS_THE_DEVICE,
        samples_per_pixel: int = 1,
        wavelength: Quantity | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        for name, value in (("masks", masks), ("samples_per_pixel", samples_per_pixel)):
            if not value >= 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
            if value != int(value):
                raise ValueError(f"{name} must be a whole number, got {value:g}.")
        self.device = slm_device(device) if isinstance(device, str) else device
        self.wavelength = None if wavelength is None else to_si(wavelength, "m", "wavelength")
        if self.wavelength is not None and not 0 < self.wavelength < math.inf:
            raise ValueError(f"wavelength must be positive and finite, got {engineering(self.wavelength, 'm')}.")
        effects = tuple(effects)
        found = {type(effect): effect for effect in effects}
        if len(found) != len(effects):
            raise ValueError("effects must hold at most one of each kind.")
        if unknown := [type(effect).__name__ for effect in effects if type(effect) not in ORDER]:
            raise ValueError(f"effects must be of {', '.join(kind.__name__ for kind in ORDER)}, got {unknown}.")
        self._take_from_device(found, bit_depth, fill_factor)
        self.effects = nn.ModuleDict({kind.name: found[kind] for kind in ORDER if kind in found})
        self.grid = grid
        self.masks = masks
        self.samples_per_pixel = samples_per_pixel
        s = samples_per_pixel
        self.samples = Grid((grid.shape[0] * s, grid.shape[1] * s), grid.pitch / s)
        self.values = nn.Parameter(torch.full((masks, *grid.shape), self.initial_value, dtype=dtype))
        if self.wavelength is not None:
            self.check_wavelength(self.wavelength)

    def _take_from_device(
        self, found: dict[type[Effect], Effect], bit_depth: int | None | object, fill_factor: float | object
    ) -> None:
        """Quantization and fill factor, from what is stated or from the device."""
        device = self.device
        if device is not None and self.kinds and device.kind not in self.kinds:
            raise ValueError(
                f"{type(self).__name__} must be a device of kind {' or '.join(self.kinds)}, "
                f"got the {device.kind} {device.name}."
            )
        if bit_depth is AS_THE_DEVICE:
            bit_depth = 8 if device is None or Quantization in found else int(require(device, "bit_depth"))
        elif Quantization in found and bit_depth != found[Quantization].bit_depth:
            raise ValueError(
                f"bit_depth must be that of the Quantization among the effects, {found[Quantization].bit_depth}, "
                f"got {bit_depth}. State one of them."
            )
        if Quantization not in found and bit_depth is not None:
            found[Quantization] = Quantization(bit_depth)
        if fill_factor is AS_THE_DEVICE:
            fill_factor = 1.0 if device is None or FillFactor in found else require(device, "fill_factor")
        if fill_factor != 1:
            stated = FillFactor(fill_factor)
            if not math.isclose(found.setdefault(FillFactor, stated).area, stated.area):
                raise ValueError(
                    f"fill_factor must be that of the FillFactor among the effects, {found[FillFactor].area:g}, "
                    f"got {stated.area:g}. State one of them."
                )

    @property
    def off_axis(self) -> tuple[float, float]:
        """Where the middle of pixel ``n // 2`` lies on :attr:`samples` ``(y, x)`` [m].

        Zero with one sample a pixel. Of an even number of samples none lies in the middle, and pixels would move with
        their number: routes take the SLM back by this, so that pixel ``n // 2`` stands on the axis.
        """
        s = self.samples_per_pixel
        return tuple(((n // 2) * s + (s - 1) / 2 - (n * s) // 2) * self.samples.pitch for n in self.grid.shape)

    @classmethod
    def ideal(cls, grid: Grid, **options: object) -> Self:
        """A device without any defect: continuous values, no gaps."""
        return cls(grid, bit_depth=None, fill_factor=1.0, **options)

    # --- effects ---

    def effect(self, kind: type[Effect]) -> Effect | None:
        """The effect of a kind, if it is there and on."""
        if kind.name not in self.effects or not self.effects[kind.name].on:
            return None
        return self.effects[kind.name]

    def switch(self, **names: bool) -> Self:
        """Switch effects on or off by name: ``slm.switch(crosstalk=False)``."""
        if unknown := set(names) - set(self.effects):
            raise ValueError(f"switch must name effects of {sorted(self.effects)}, got {sorted(unknown)}.")
        for name, on in names.items():
            self.effects[name].on = bool(on)
        return self

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the effects that act, in their order."""
        return tuple(name for name, effect in self.effects.items() if effect.on)

    @property
    def bit_depth(self) -> int | None:
        """Bits per pixel; ``None`` where values are continuous."""
        quantization = self.effect(Quantization)
        return None if quantization is None else quantization.bit_depth

    @bit_depth.setter
    def bit_depth(self, bits: int | None) -> None:
        self._put(Quantization, None if bits is None else Quantization(bits))

    @property
    def fill_factor(self) -> float:
        """Active share of the area of a pixel."""
        fill = self.effect(FillFactor)
        return 1.0 if fill is None else fill.area

    @fill_factor.setter
    def fill_factor(self, fill: float) -> None:
        self._put(FillFactor, None if fill == 1 else FillFactor(fill))

    def _put(self, kind: type[Effect], effect: Effect | None) -> None:
        """Replace an effect, or take it out."""
        kept = {name: e for name, e in self.effects.items() if name != kind.name}
        if effect is not None:
            kept[kind.name] = effect
        self.effects = nn.ModuleDict({k.name: kept[k.name] for k in ORDER if k.name in kept})

    @property
    def frames(self) -> int:
        """States of the panel during one exposure whose intensities are to be averaged."""
        return 1

    def check_wavelength(self, wavelength: float) -> None:
        """Refuse a wavelength [m] outside the range of the device."""
        known = None if self.device is None else self.device.wavelength_range
        if known is not None and not known.value[0] * (1 - 1e-9) <= wavelength <= known.value[1] * (1 + 1e-9):
            low, high = (engineering(w, "m") for w in known.value)
            raise ValueError(
                f"wavelength must be in {low} ... {high} for {self.device.name}, got {engineering(wavelength, 'm')}."
            )

    # --- light ---

    @abstractmethod
    def modulation(self, wavelength_ratio: float = 1.0, frame: int = 0) -> Tensor:
        """Complex factor of every sample, shape ``(masks, *samples.shape)``.

        Args:
            wavelength_ratio: Design wavelength over that of the light; a phase SLM's delay is a path, and its phase
                in [0, 2 pi) grows by this ratio.
            frame: Which state of the exposure, below :attr:`frames`.

        Raises:
            ValueError: The ratio is not positive and finite.
        """

    @abstractmethod
    def levels(self) -> Tensor:
        """Integer levels for the device, shape ``(masks, *grid.shape)``: the nearest, which ``eval()`` shows.

        While training, a straight-through quantization shows them too; a soft one lies between levels, and a drawn one
        may show the other neighbour.
        """

    @abstractmethod
    def load_levels(self, levels: Tensor) -> None:
        """Show these integer levels, shape ``(masks, *grid.shape)``."""

    def forward(self, field: Field) -> Field:
        if field.grid != self.samples:
            raise ValueError(f"field must be sampled on the SLM's grid of {self.samples}, got {field.grid}.")
        return replace(field, data=field.data * self.modulation())

    def _with_gaps(self, modulation: Tensor, cells: int) -> Tensor:
        """Cells of the pixels averaged to the samples of the field, and the gaps between the pixels."""
        fill = self.effect(FillFactor) or FILLED
        return fill.applied(modulation, self.samples_per_pixel, cells)

    # --- values ---

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
        device = "" if self.device is None else f"{self.device.name}, "
        effects = "; ".join(f"{name}: {self.effects[name].strength}" for name in self.active) or "ideal"
        return f"{device}{self.masks} masks, {self.grid}, {effects}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def _refuse_not_finite(values: Tensor) -> None:
    if not torch.isfinite(values).all():
        raise ValueError("a mask must be finite, got NaN or inf in it.")


def refuse_ratio(ratio: float) -> None:
    """Refuse a ratio of wavelengths that is not positive and finite."""
    if not 0 < ratio < math.inf:
        raise ValueError(f"wavelength_ratio must be positive and finite, got {ratio:g}.")
