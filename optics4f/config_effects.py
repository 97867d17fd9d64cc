"""``[bench.slm.effects]``: the defects of the SLM, as a configuration states them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr

from .config_lines import Origin
from .devices import SLMDevice
from .effects import (
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
from .units import to_si


class Specification(BaseModel):
    """Base of all configuration tables: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    _origin: Origin = PrivateAttr(default_factory=Origin)  # for messages of what is found later than at reading


def quantity(unit: str) -> BeforeValidator:
    """Validator that turns ``"8 um"`` or a number in SI into a float in ``unit``."""

    def convert(value: object) -> float | None:
        if value is None:
            return None
        try:
            return to_si(value, unit)
        except TypeError as error:  # a list, a date, true: pydantic turns only a ValueError into a message of its own
            raise ValueError(f'must be a quantity in {unit} such as "8 um"') from error

    return BeforeValidator(convert, json_schema_input_type=float | str)


Angle = Annotated[float, quantity("rad"), Field(allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class QuantizationSpecification(Specification):
    """How levels are trained; their number is ``bench.slm.bit_depth``."""

    method: Literal["straight-through", "soft", "gumbel"] = "straight-through"
    temperature: float = Field(0.2, gt=0, allow_inf_nan=False)
    seed: int = 0


class LUTSpecification(Specification):
    """What each level shows: phases, and amplitudes where they differ; or the phase of a PLM's last level."""

    phase: tuple[Angle, ...] = ()
    amplitude: tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...] = ()
    phase_of_last_level: Angle | None = None
    calibrated: bool = True

    def build(self, device: SLMDevice) -> LUT:
        """The table."""
        if bool(self.phase) == (self.phase_of_last_level is not None):
            got = "both" if self.phase else "none"
            raise ValueError(f"bench.slm.effects.lut must have either phase or phase_of_last_level, got {got}.")
        if self.phase:
            return LUT(self.phase, self.amplitude or None, calibrated=self.calibrated)
        if device.level_ratios is None:
            raise ValueError(
                f"bench.slm.effects.lut.phase_of_last_level is for a PLM, got the {device.kind} {device.name}."
            )
        return LUT.of_ratios(device.level_ratios.value, self.phase_of_last_level)


class CrosstalkSpecification(Specification):
    """Fringing fields; ``scale`` 1 is the published kernel."""

    scale: float = Field(1.0, ge=0, allow_inf_nan=False)
    sigma: float = Field(2.03, gt=0, allow_inf_nan=False)
    order: float = Field(1.2, gt=0, allow_inf_nan=False)


class FlickerSpecification(Specification):
    """Phase noise in time [rad rms]; 0 frames is the mean field in closed form."""

    deviation: float = Field(ge=0, allow_inf_nan=False)
    frames: int = Field(0, ge=0)
    seed: int = 0


class EffectsSpecification(Specification):
    """``[bench.slm.effects]``; what is not named is not there."""

    quantization: QuantizationSpecification | None = None
    phase_range: Angle | None = None
    lut: LUTSpecification | None = None
    crosstalk: CrosstalkSpecification | None = None
    flicker: FlickerSpecification | None = None
    flatness: dict[int, Finite] = {}
    non_uniformity: dict[int, Finite] = {}
    amplitude_coupling: float | None = Field(None, ge=0, le=1)
    gaps: Literal["reflecting", "absorbing"] = "reflecting"
    mirror_tilt: Angle | None = None

    def build(self, device: SLMDevice, bit_depth: int, fill_factor: float) -> list[Effect]:
        """The effects, quantization and gaps among them.

        Args:
            device: The SLM, for the level table of a PLM.
            bit_depth: Bits of a pixel.
            fill_factor: Active share of its area.
        """
        quantization = self.quantization or QuantizationSpecification()
        found: list[Effect] = [Quantization(bit_depth, **quantization.model_dump())]
        if fill_factor != 1:
            found.append(FillFactor(fill_factor, gaps=self.gaps))
        if self.lut is not None:
            found.append(self.lut.build(device))
        for kind, table in ((Crosstalk, self.crosstalk), (Flicker, self.flicker)):
            if table is not None:
                found.append(kind(**table.model_dump()))
        for kind, value in (
            (PhaseRange, self.phase_range),
            (Flatness, self.flatness or None),
            (NonUniformity, self.non_uniformity or None),
            (AmplitudeCoupling, self.amplitude_coupling),
            (MirrorTilt, self.mirror_tilt),
        ):
            if value is not None:
                found.append(kind(value))
        return found
