r"""From the wanted phase to the level that a device shows: quantization, level tables, limited range.

A device knows levels. The driver believes that level :math:`k` shows the phase :math:`B_k` and picks the level whose
phase is nearest on the circle; the panel then shows :math:`A_k` with the amplitude :math:`a_k`. For an ideal device
:math:`A_k = B_k = 2 \pi k / 2^b`.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from ..quantization import levels_to_phase, neighbours
from .base import Effect

Method = Literal["straight-through", "soft", "gumbel"]


class Quantization(Effect):
    r"""Levels instead of continuous values, and how their gradient is taken.

    =================== ==========================================================================================
    straight-through    the nearest level; its gradient is that of the wanted value (Bengio et al. 2013)
    soft                between two levels a step of width ``temperature``, which :meth:`anneal` sharpens
    gumbel              one of the two neighbours, drawn once a pixel by their distance (Jang et al. 2017), with the
                        gradient of the soft choice
    =================== ==========================================================================================

    In ``eval()`` all three show the nearest level, which is what is exported.

    A draw of ``gumbel`` stays until the mask changes, as an optimiser's step or ``set_values`` changes it: all
    wavelengths and frames of one forward see one mask, and so do forwards whose gradients are added up before a step.
    :meth:`redraw` asks for a new one.

    Args:
        bit_depth: Bits ``b`` of a pixel: :math:`2^b` levels.
        method: As above.
        temperature: Width of the step, in shares of the distance of two levels.
        seed: Of the draws of ``gumbel``.
    """

    name = "quantization"

    def __init__(
        self, bit_depth: int, *, method: Method = "straight-through", temperature: float = 0.2, seed: int = 0
    ) -> None:
        super().__init__()
        if isinstance(bit_depth, bool) or bit_depth not in range(1, 17):
            raise ValueError(f"bit_depth must be in 1 ... 16, got {bit_depth}. Use None for a continuous mask.")
        if method not in get_args(Method):
            raise ValueError(f"method must be one of {', '.join(get_args(Method))}, got {method!r}.")
        self.bit_depth = int(bit_depth)
        self.method = method
        self.seed = seed
        self.anneal(temperature)
        self._generator: torch.Generator | None = None
        self.redraw()

    def redraw(self) -> None:
        """Forget the draw of ``gumbel``: the next forward makes a new one."""
        self._uniform: Tensor | None = None
        self._drawn_for: tuple[weakref.ref | None, int] = (None, 0)

    def anneal(self, temperature: float) -> None:
        """Set the width of the step."""
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be positive, got {temperature:g}.")
        self.temperature = temperature

    @property
    def exact(self) -> bool:
        """Whether the nearest level is shown."""
        return self.method == "straight-through" or not self.training

    def share(self, fraction: Tensor, values: Tensor | None = None) -> Tensor:
        """Share of the upper of two neighbouring levels, for a value ``fraction`` of the way to it.

        Args:
            fraction: In [0, 1], any shape.
            values: Mask that the fraction is of: while it is the same, so is the draw. ``None`` draws each time.

        Returns:
            0 or 1 where a level is shown; between them for ``soft``.
        """
        nearest = (fraction.detach() >= 0.5).to(fraction.dtype)
        if self.exact:
            return nearest + (fraction - fraction.detach())
        half = math.tanh(0.5 / self.temperature)
        if self.method == "soft":
            return 0.5 + torch.tanh((fraction - 0.5) / self.temperature) / (2 * half)
        uniform = self._draw(fraction, values)
        # The difference of two Gumbel variables is logistic.
        logit = (2 * fraction - 1) / self.temperature + torch.log(uniform) - torch.log1p(-uniform)
        soft = torch.sigmoid(logit)
        return (logit.detach() >= 0).to(soft.dtype) + (soft - soft.detach())

    def _draw(self, like: Tensor, values: Tensor | None) -> Tensor:
        """One number in (0, 1) a pixel: that of the last call, if it was for these values."""
        mask, version = self._drawn_for
        drawn = self._uniform
        fits = drawn is not None and (drawn.shape, drawn.device, drawn.dtype) == (like.shape, like.device, like.dtype)
        if fits and values is not None and mask is not None and mask() is values and version == _version(values):
            return drawn
        if self._generator is None or self._generator.device != like.device:
            self._generator = torch.Generator(like.device).manual_seed(self.seed)
        drawn = torch.rand(like.shape, generator=self._generator, device=like.device, dtype=like.dtype)
        self._uniform = drawn.clamp(1e-6, 1 - 1e-6)
        self._drawn_for = (None, 0) if values is None else (weakref.ref(values), _version(values))
        return self._uniform

    @property
    def strength(self) -> str:
        how = "" if self.method == "straight-through" else f", {self.method}, temperature={self.temperature:g}"
        return f"{self.bit_depth}-bit{how}"

    def __getstate__(self) -> dict:
        """Generators and what a draw belongs to cannot be copied; a copy starts its draws again."""
        return {**self.__dict__, "_generator": None, "_uniform": None, "_drawn_for": (None, 0)}


def _version(values: Tensor) -> int:
    """How often a tensor was changed in place; one made for inference is not counted, and cannot be trained."""
    return 0 if values.is_inference() else values._version


class LUT(Effect):
    """What each level really shows: phase, and amplitude where it changes with the level.

    Args:
        phase: Phase of each level [rad], shape ``(2**b,)``.
        amplitude: Amplitude of each level, same shape; 1 by default.
        calibrated: Whether the driver knows the table and picks levels by it. If not, it picks them as if they were
            even, and the table is an error.
    """

    name = "lut"

    def __init__(
        self,
        phase: Sequence[float] | Tensor,
        amplitude: Sequence[float] | Tensor | None = None,
        *,
        calibrated: bool = True,
    ) -> None:
        super().__init__()
        phase = torch.as_tensor(phase, dtype=torch.float64).detach().clone()
        amplitude = torch.ones_like(phase) if amplitude is None else torch.as_tensor(amplitude, dtype=torch.float64)
        if phase.dim() != 1 or phase.shape != amplitude.shape or len(phase) < 2:
            raise ValueError(
                "a LUT must be one row of phases and one of amplitudes of the same length, got shapes "
                f"{tuple(phase.shape)} and {tuple(amplitude.shape)}."
            )
        if not (torch.isfinite(phase).all() and torch.isfinite(amplitude).all()):
            raise ValueError("a LUT must be finite, got NaN or inf in it.")
        if amplitude.min() < 0:
            raise ValueError(f"the amplitudes of a LUT must not be negative, got {amplitude.min().item():g}.")
        if amplitude.max() > 1 + 1e-9:
            raise ValueError(
                f"the amplitudes of a LUT must not be above 1, got {amplitude.max().item():g}. A panel gives no light: "
                "divide by the largest."
            )
        self.calibrated = calibrated
        self.register_buffer("phase", phase, persistent=False)
        self.register_buffer("amplitude", amplitude.detach().clone(), persistent=False)

    @classmethod
    def of_complex(cls, table: Sequence[complex] | Tensor, *, calibrated: bool = True) -> LUT:
        """A table level -> complex amplitude, as an interferometer measures it.

        The phase is followed from level to level by the shorter way round the circle, starting at that of level 0 in
        (-pi, pi], so that a delay beyond pi is one: the steps between neighbouring levels must be at most pi.
        """
        table = torch.as_tensor(table, dtype=torch.complex128)
        phase = table.angle()
        # The way in (-pi, pi]: half a turn, as between the two levels of one bit, is forward.
        steps = -_shorter_way(-phase.diff())
        return cls(torch.cat((phase[:1], phase[:1] + torch.cumsum(steps, 0))), table.abs(), calibrated=calibrated)

    @classmethod
    def of_ratios(cls, ratios: Sequence[float], phase_range: float) -> LUT:
        """A phase light modulator: displacement of each level over the largest, and the phase [rad] of the largest."""
        return cls([phase_range * ratio for ratio in ratios])

    def check_length(self, bit_depth: int) -> None:
        """Refuse a table that has not one entry a level."""
        if len(self.phase) != 2**bit_depth:
            raise ValueError(
                f"a LUT must have 2^{bit_depth} = {2**bit_depth} entries, got {len(self.phase)}. "
                "Measure every level, or interpolate to all of them."
            )

    @property
    def strength(self) -> str:
        span = (self.phase.max() - self.phase.min()).item()
        low, high = self.amplitude.min().item(), self.amplitude.max().item()
        amplitude = "" if low == high == 1 else f", amplitude {low:.3g} ... {high:.3g}"
        known = "" if self.calibrated else ", unknown to the driver"
        return f"{len(self.phase)} levels over {span:.4g} rad{amplitude}{known}"

    def _apply(self, fn, recurse: bool = True):  # noqa: ANN001, ANN202, D102
        super()._apply(fn, recurse)  # moves; stays in float64, as a LUT is small and read once a pixel
        self.phase, self.amplitude = self.phase.double(), self.amplitude.double()
        return self


class PhaseRange(Effect):
    """A stroke below 2 pi: the levels lie evenly in [0, maximum], and what lies beyond shows the nearer end.

    Args:
        maximum: Phase of the last level [rad].
    """

    name = "phase_range"

    def __init__(self, maximum: float) -> None:
        super().__init__()
        if not 0 < maximum <= 2 * math.pi:
            raise ValueError(f"maximum must be in (0, 2 pi], got {maximum:g} rad.")
        self.maximum = maximum

    def table(self, bit_depth: int) -> Tensor:
        """Phase of each level [rad], float64, shape ``(2**b,)``."""
        return torch.linspace(0, self.maximum, 2**bit_depth, dtype=torch.float64)

    def limited(self, phase: Tensor) -> Tensor:
        """A phase [rad] of any shape, moved to the nearer end where it cannot be reached; its gradient is kept."""
        wrapped = torch.remainder(phase.detach(), 2 * math.pi)
        middle = (self.maximum + 2 * math.pi) / 2  # beyond it, zero is nearer on the circle
        shown = torch.where(wrapped <= self.maximum, wrapped, torch.where(wrapped < middle, self.maximum, 0.0))
        return shown + (phase - phase.detach())

    @property
    def strength(self) -> str:
        return f"{self.maximum:.4g} rad"


def nominal_table(bit_depth: int) -> Tensor:
    """Phase of the levels of an ideal device [rad], float64, shape ``(2**b,)``."""
    return levels_to_phase(torch.arange(2**bit_depth), bit_depth, torch.float64)


def shown(
    phase: Tensor, quantization: Quantization, believed: Tensor, actual: Tensor, amplitude: Tensor
) -> tuple[Tensor, Tensor]:
    """Phase [rad] and amplitude that the panel shows for a wanted phase, from one choice of level a pixel.

    Args:
        phase: Wanted [rad], any shape; so are the phase and the amplitude that come back.
        quantization: How the choice and its gradient are made.
        believed: Phase of each level by which it is chosen [rad].
        actual: Phase of each level that is shown [rad].
        amplitude: Amplitude of each level.
    """
    lower, upper, fraction = neighbours(phase, believed)
    share = quantization.share(fraction, phase)
    actual, amplitude = actual.to(phase), amplitude.to(phase)
    phase_low, step = actual[lower], _shorter_way(actual[upper] - actual[lower])
    amplitude_low, drop = amplitude[lower], amplitude[upper] - amplitude[lower]
    if not quantization.exact:
        return phase_low + share * step, amplitude_low + share * drop
    chosen = torch.where(share.detach() >= 0.5, upper, lower)  # to the last bit what the level shows
    slope = share - share.detach()
    return actual[chosen] + slope * step, amplitude[chosen] + slope * drop


def _shorter_way(difference: Tensor) -> Tensor:
    """A difference of phases by the shorter way round the circle, in [-pi, pi)."""
    return torch.remainder(difference + math.pi, 2 * math.pi) - math.pi
