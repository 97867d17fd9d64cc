"""Spatial light modulators: the trainable masks of the Fourier plane, with the defects of real devices."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..devices import SLMDevice, slm_device
from ..effects import (
    LUT,
    AmplitudeCoupling,
    Crosstalk,
    Effect,
    FillFactor,
    Flatness,
    Flicker,
    MirrorTilt,
    NonUniformity,
    PhaseRange,
    Quantization,
)
from ..effects.levels import nominal_table, shown
from ..grid import Grid
from ..modulation import phase_modulation
from ..quantization import (
    amplitude_to_levels,
    levels_to_amplitude,
    levels_to_phase,
    nearest_levels,
    phase_to_levels,
    quantize_phase,
)
from .slm_base import Modulator, refuse_ratio

__all__ = ["SLM", "AmplitudeSLM", "Modulator", "slm_from_device"]


class SLM(Modulator):
    r"""A phase-only spatial light modulator with one trainable phase per pixel.

    An ideal pixel multiplies the field by :math:`e^{i \phi}`. Arguments and shapes are those of :class:`Modulator`;
    ``values`` holds the wanted phase [rad], unwrapped.
    """

    kinds = ("phase", "plm")

    def __init__(
        self, grid: Grid, device: SLMDevice | str | None = None, effects: Iterable[Effect] = (), **options: object
    ) -> None:
        super().__init__(grid, device, tuple(effects), **options)
        for name in ("mirror_tilt",):
            if name in self.effects:
                raise ValueError(f"{name} is an effect of a DMD, got it for a phase SLM. Use AmplitudeSLM.")
        if "lut" in self.effects and "phase_range" in self.effects:
            raise ValueError("phase_range must be left out beside a lut, got both. The table states the phases it has.")
        self._believed_and_actual()  # refuses a table that does not fit

    def _take_from_device(
        self, found: dict[type[Effect], Effect], bit_depth: int | None | object, fill_factor: float | object
    ) -> None:
        super()._take_from_device(found, bit_depth, fill_factor)
        if self.device is not None and self.device.level_ratios is not None and LUT not in found:
            ratios = self.device.level_ratios.value
            spans = self.device.phase_range or ()
            known = [v.value for v in spans if self.wavelength is not None and v.wavelength == self.wavelength]
            if not known:
                raise ValueError(
                    f"phase_range of {self.device.name} is not known at this wavelength: state the phase of its last "
                    "level, by LUT.of_ratios(device.level_ratios.value, PHASE) among the effects, or as "
                    "phase_of_last_level in bench.slm.effects.lut of a configuration."
                )
            found[LUT] = LUT.of_ratios(ratios, known[0])

    def _believed_and_actual(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Phase of each level as the driver believes and as it is, and its amplitude; ``None`` for even levels."""
        lut, span = self.effect(LUT), self.effect(PhaseRange)
        if lut is None and span is None:
            return None
        quantization = self.effect(Quantization)
        if quantization is None:
            if lut is not None:
                raise ValueError("a LUT needs levels: give the SLM a bit_depth.")
            return None
        bits = quantization.bit_depth
        if lut is not None:
            lut.check_length(bits)
            believed = lut.phase if lut.calibrated else nominal_table(bits).to(lut.phase.device)
            return believed, lut.phase, lut.amplitude
        table = span.table(bits).to(self.values.device)
        return table, table, torch.ones_like(table)

    @property
    def rounding(self) -> int | None:
        """Bits of the even levels to which :meth:`shown_phase` rounds ``values`` with the gradient of the identity.

        ``None`` where it does something else, or nothing.
        """
        quantization = self.effect(Quantization)
        even = quantization is not None and quantization.exact and self._believed_and_actual() is None
        return quantization.bit_depth if even else None

    def shown_phase(self) -> Tensor:
        """Phase [rad] that the levels of the pixels stand for, ``(masks, *grid.shape)``, differentiable in ``values``.

        It is what a panel without other defects shows.
        """
        return self._shown()[0]

    def _shown(self) -> tuple[Tensor, Tensor | None]:
        """Phase [rad] that the panel shows, and the amplitude that comes with the level."""
        quantization, span = self.effect(Quantization), self.effect(PhaseRange)
        if quantization is None:
            return (self.values if span is None else span.limited(self.values)), None
        tables = self._believed_and_actual()
        if tables is None and quantization.exact:
            return quantize_phase(self.values, quantization.bit_depth), None
        if tables is None:
            even = nominal_table(quantization.bit_depth).to(self.values.device)
            tables = even, even, torch.ones_like(even)
        phase, amplitude = shown(self.values, quantization, *tables)
        return phase, amplitude if self.effect(LUT) is not None else None

    def modulation(self, wavelength_ratio: float = 1.0, frame: int = 0) -> Tensor:
        refuse_ratio(wavelength_ratio)
        phase, amplitude = self._shown()
        uneven, flicker, crosstalk = (self.effect(kind) for kind in (NonUniformity, Flicker, Crosstalk))
        flatness, coupling = self.effect(Flatness), self.effect(AmplitudeCoupling)
        if wavelength_ratio != 1 or crosstalk is not None or uneven is not None:
            # The panel shows the wrapped phase; a LUT's is what it is.
            phase = phase if self.effect(LUT) is not None else torch.remainder(phase, 2 * torch.pi)
        if coupling is not None:
            lost = coupling.amplitude(phase)
            amplitude = lost if amplitude is None else amplitude * lost
        if uneven is not None:
            phase = phase * (1 + uneven.map(self.grid, phase))
        if flicker is not None:
            phase = flicker.state(phase, frame)
        samples = 1
        if crosstalk is not None:
            samples = crosstalk.CELLS
            phase = crosstalk.smeared(phase)
        if wavelength_ratio != 1:
            phase = phase * wavelength_ratio
        if flatness is not None:
            phase = phase + wavelength_ratio * _fine(flatness.map(self.grid, phase), samples)
        modulation = phase_modulation(phase)
        if amplitude is not None:
            modulation = modulation * _fine(amplitude, samples)
        if flicker is not None and flicker.frames == 0:
            left = None if crosstalk is None else crosstalk.noise_share(self.grid.shape, phase)
            modulation = modulation * flicker.mean_field(wavelength_ratio, left)
        return self._with_gaps(modulation, samples)

    def pixel_modulation(self) -> Tensor:
        """Complex factor of the active area of each pixel as its level states it, shape ``(masks, *grid.shape)``."""
        phase, amplitude = self._shown()
        return phase_modulation(phase) if amplitude is None else amplitude * phase_modulation(phase)

    @property
    def frames(self) -> int:
        """States of the panel during one exposure; 1 without a flicker that is drawn."""
        flicker = self.effect(Flicker)
        return 1 if flicker is None else max(1, flicker.frames)

    def levels(self) -> Tensor:
        bits, tables = self._required_bits(), self._believed_and_actual()
        if tables is None:
            return phase_to_levels(self._finite(), bits)
        return nearest_levels(self._finite(), tables[0])

    def load_levels(self, levels: Tensor) -> None:
        levels, bits, tables = self._checked(levels), self._required_bits(), self._believed_and_actual()
        if tables is None:
            self.set_values(levels_to_phase(levels, bits, self.values.dtype))
        else:
            self.set_values(tables[0][levels.long()].to(self.values.dtype))


class AmplitudeSLM(Modulator):
    """An amplitude-only spatial light modulator: each pixel transmits a real factor in [0, 1].

    With one bit it is a DMD. Arguments and shapes are those of :class:`Modulator`; ``values`` holds the amplitude.
    """

    kinds = ("amplitude", "dmd")
    initial_value = 1.0

    def __init__(
        self, grid: Grid, device: SLMDevice | str | None = None, effects: Iterable[Effect] = (), **options: object
    ) -> None:
        super().__init__(grid, device, tuple(effects), **options)
        for name in ("lut", "phase_range", "crosstalk", "amplitude_coupling", "flicker"):
            if name in self.effects:
                raise ValueError(f"{name} is an effect of a phase SLM, got it for an amplitude SLM. Use SLM.")
        if "mirror_tilt" in self.effects and self.wavelength is None:
            raise ValueError('mirror_tilt needs the wavelength: give the SLM wavelength="532 nm" or such.')

    def modulation(self, wavelength_ratio: float = 1.0, frame: int = 0) -> Tensor:
        refuse_ratio(wavelength_ratio)
        quantization = self.effect(Quantization)
        clipped = self.values + (self.values.clamp(0, 1) - self.values).detach()
        if quantization is None:
            amplitude = clipped
        else:
            # One part in [0, 1] between two neighbouring levels.
            steps = 2**quantization.bit_depth - 1
            if quantization.exact:
                rounded = levels_to_amplitude(
                    amplitude_to_levels(self.values.detach(), quantization.bit_depth),
                    quantization.bit_depth,
                    self.values.dtype,
                )
                amplitude = rounded + (self.values - self.values.detach())
            else:
                below = (clipped.detach() * steps).floor().clamp(max=steps - 1)
                amplitude = (below + quantization.share((clipped * steps - below).clamp(0, 1), self.values)) / steps
        uneven, flatness, tilt = (self.effect(kind) for kind in (NonUniformity, Flatness, MirrorTilt))
        if uneven is not None:
            amplitude = amplitude * (1 + uneven.map(self.grid, amplitude))
        if flatness is None:
            modulation = torch.complex(amplitude, torch.zeros_like(amplitude))
        else:
            modulation = amplitude * phase_modulation(wavelength_ratio * flatness.map(self.grid, amplitude))
        if tilt is None:
            return self._with_gaps(modulation, 1)
        s, fill = self.samples_per_pixel, self.effect(FillFactor)
        linear = (1.0, 1.0) if fill is None else fill.linear
        tilted = tilt.applied(modulation, s, self.grid.pitch, self.wavelength / wavelength_ratio, linear)
        return tilted if fill is None else tilted + fill.light_of_gaps(modulation, s, 1)

    def levels(self) -> Tensor:
        return amplitude_to_levels(self._finite(), self._required_bits())

    def load_levels(self, levels: Tensor) -> None:
        self.set_values(levels_to_amplitude(self._checked(levels), self._required_bits(), self.values.dtype))


def slm_from_device(
    device: SLMDevice | str, grid: Grid, effects: Iterable[Effect] = (), **options: object
) -> Modulator:
    """An SLM of the kind that the device is: :class:`SLM` for phase, :class:`AmplitudeSLM` for amplitude and DMDs."""
    device = slm_device(device) if isinstance(device, str) else device
    kind = SLM if device.kind in SLM.kinds else AmplitudeSLM
    return kind(grid, device, effects, **options)


def _fine(values: Tensor, samples: int) -> Tensor:
    """Pixels repeated to ``samples`` x ``samples`` fine samples."""
    return values if samples == 1 else values.repeat_interleave(samples, -2).repeat_interleave(samples, -1)
