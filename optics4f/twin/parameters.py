"""What of a bench a fit may change: how each number is read, set on a bench in memory, and written to a configuration.

Values are SI; the order of the names is that of the vectors in a fit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import BenchSpecification, PositionSpecification
from ..config_effects import CrosstalkSpecification, LUTSpecification
from ..effects import LUT, Crosstalk, PhaseRange
from ..effects.levels import nominal_table
from ..elements import SLM
from ..fourf import FourF

LUT_CURVE_TERMS = 4
_AXES = ("y", "x")
_POSITIONS = {
    f"{element}_{part}": (f"{element}_position", part)
    for element, parts in (("slm", ("shift", "rotation", "tilt", "axial")), ("camera", ("shift", "rotation", "axial")))
    for part in parts
}
_LUT = ("lut_gamma", "lut_range", "lut_curve")
GROUPS = (*_POSITIONS, "f2", *_LUT, "crosstalk", "aberrations", "brightness", "offset")
"""Names that ``free`` may hold; a group of several numbers, such as ``slm_shift``, is freed as a whole."""
USUAL = (
    *("slm_shift", "slm_rotation", "camera_shift", "camera_axial", "f2", "lut_gamma", "crosstalk"),
    *("brightness", "offset"),
)
"""What is fitted by default: all that frames of one bench usually tell apart."""


@dataclass(frozen=True)
class Parameter:
    """One number of a bench.

    Attributes:
        name: How it is called, such as ``slm_shift_y``.
        unit: Of its value, SI.
        start: Value in the configuration.
        step: A change of it that the frames should show, by which the search is scaled.
        low: Least value that makes sense.
    """

    name: str
    unit: str
    start: float
    step: float
    low: float = -math.inf


def prepared(specification: BenchSpecification, free: Sequence[str]) -> BenchSpecification:
    """The configuration with room for what shall be free: positions, crosstalk and a level table where there are none.

    Raises:
        ValueError: A name that is not in :data:`GROUPS`; what the bench cannot have.
    """
    if unknown := [name for name in free if name not in GROUPS]:
        raise ValueError(f"free must name some of {', '.join(GROUPS)}, got {', '.join(unknown)}.")
    if not free:
        raise ValueError(f"free must name at least one of {', '.join(GROUPS)}, got none.")
    if "lut_gamma" in free and specification.slm.effects.lut is not None:
        raise ValueError("lut_gamma must be fitted to even levels, got a configuration with a table. Fit lut_curve.")
    if "lut_gamma" in free and "lut_curve" in free:
        raise ValueError("lut_gamma must not be fitted with lut_curve, got both. They describe the same bend.")
    if "aberrations" in free and (specification.pupil is None or not specification.pupil.aberrations):
        raise ValueError(
            "aberrations must be listed under [bench.pupil] of the configuration to be fitted, got none. Write "
            "aberrations = { 5 = 0.0, 6 = 0.0 } for astigmatism."
        )
    changes: dict = {}
    effects = specification.slm.effects
    for element in ("slm_position", "camera_position"):
        wanted = any(_POSITIONS.get(name, ("",))[0] == element for name in free)
        if wanted and getattr(specification, element) is None:
            changes[element] = PositionSpecification()
    if "crosstalk" in free and effects.crosstalk is None:
        # Not 0, where the frames do not feel a small change: the spectrum of the kernel is flat there.
        effects = effects.model_copy(update={"crosstalk": CrosstalkSpecification()})
    if set(_LUT) & set(free):
        table, amplitude = level_table(specification.build())
        # The levels of the masks are known and stay, whatever the table: the driver must not choose by it.
        told = LUTSpecification(phase=tuple(table.tolist()), amplitude=tuple(amplitude.tolist()), calibrated=False)
        effects = effects.model_copy(update={"lut": told, "phase_range": None})
    changes["slm"] = specification.slm.model_copy(update={"effects": effects})
    return specification.model_copy(update=changes)


def level_table(bench: FourF) -> tuple[Tensor, Tensor]:
    """Phase [rad] and amplitude of each level that a phase SLM shows, float64, shape ``(2**b,)``.

    Raises:
        ValueError: No phase SLM, or one without levels.
    """
    slm = bench.slm
    if not isinstance(slm, SLM) or slm.bit_depth is None:
        raise ValueError(f"{', '.join(_LUT)} must be of a phase SLM with a bit_depth, got {type(slm).__name__}.")
    lut, span = slm.effect(LUT), slm.effect(PhaseRange)
    if lut is not None:
        return lut.phase, lut.amplitude
    even = nominal_table(slm.bit_depth) if span is None else span.table(slm.bit_depth)
    return even, torch.ones_like(even)


def bent(table: Tensor, values: Mapping[str, float | Tensor]) -> Tensor:
    r"""A level table as the fitted numbers bend it.

    .. math:: \phi_k = r S (\phi_{0k} / S)^\gamma + \sum_n c_n \sin(\pi n k / (2^b - 1))

    with ``lut_range`` r, ``lut_gamma``, ``lut_curve_n`` c, and S the span of the even levels: their step times their
    number.

    Args:
        table: Phase of each level [rad], shape ``(2**b,)``.
        values: Parameter name -> value, or a scalar tensor that receives the gradient; others than those of the table
            are ignored.
    """
    if "lut_gamma" in values:  # also where it is 1: a search that starts there needs its gradient
        span = table[-1] * len(table) / (len(table) - 1)
        table = span * (table / span) ** values["lut_gamma"]
    table = table * values.get("lut_range", 1.0)
    turns = torch.linspace(0, math.pi, len(table), dtype=table.dtype)
    return table + sum(values.get(f"lut_curve_{n}", 0.0) * torch.sin(n * turns) for n in range(1, LUT_CURVE_TERMS + 1))


@torch.no_grad()
def put(bench: FourF, values: Mapping[str, float], table: Tensor | None) -> None:
    """Set a bench in memory to these values; what is named stays free, so that no zero takes a short cut.

    Args:
        bench: Built from :func:`prepared`.
        values: Parameter name -> value.
        table: Level table of the configuration [rad], shape ``(2**b,)``, where its numbers are among the values.
    """
    for group, (element, part) in _POSITIONS.items():
        names = [name for name in (group, *(f"{group}_{a}" for a in _AXES)) if name in values]
        if names:
            parameter = getattr(getattr(bench, element), part)
            parameter.requires_grad_(True)
            parameter.copy_(
                torch.tensor([values[name] for name in names], dtype=torch.float64).reshape(parameter.shape)
            )
    if "f2" in values:
        bench.lens2.focal_length = values["f2"]
    if "crosstalk" in values:
        bench.slm.effect(Crosstalk).scale.fill_(values["crosstalk"])
    if table is not None:
        bench.slm.effect(LUT).phase.copy_(bent(table, values))
    if bench.pupil is not None:
        for place, (index, _) in enumerate(bench.pupil.terms):
            if f"aberration_{index}" in values:
                bench.pupil.aberrations[place] = values[f"aberration_{index}"]


def parameters(specification: BenchSpecification, bench: FourF, free: Sequence[str]) -> tuple[Parameter, ...]:
    """The numbers that the freed groups hold, as the configuration has them.

    Args:
        specification: From :func:`prepared`.
        bench: Built from it.
        free: Names of groups.
    """
    f1, f2, pitch = bench.lens1.focal_length, bench.lens2.focal_length, bench.slm.grid.pitch
    pixel, extent = bench.camera.grid.pitch, max(bench.slm.grid.extent)
    focus = bench.wavelength * (2 * f2 / extent) ** 2  # one wave over the SLM's used width
    steps = {
        "slm_shift": ("m", pitch),
        "slm_rotation": ("rad", 2 * pitch / extent),
        "slm_tilt": ("rad", pixel / (2 * f2)),
        "slm_axial": ("m", bench.wavelength * (2 * f1 / max(bench.illumination.grid.extent)) ** 2),
        "camera_shift": ("m", pixel),
        "camera_rotation": ("rad", 2 * pixel / max(bench.camera.grid.extent)),
        "camera_axial": ("m", focus),
    }
    found: list[Parameter] = []
    for group in GROUPS:
        if group not in free:
            continue
        if group in _POSITIONS:
            element, part = _POSITIONS[group]
            values = getattr(getattr(specification, element), part)
            unit, step = steps[group]
            if isinstance(values, tuple):
                found += [Parameter(f"{group}_{a}", unit, v, step) for a, v in zip(_AXES, values, strict=True)]
            else:
                found.append(Parameter(group, unit, values, step))
        elif group == "aberrations":
            terms = specification.pupil.aberrations.items()
            found += [Parameter(f"aberration_{index}", "rad", value, 0.1) for index, value in terms]
        elif group == "lut_curve":
            found += [Parameter(f"lut_curve_{n}", "rad", 0.0, 0.1) for n in range(1, LUT_CURVE_TERMS + 1)]
        else:
            effects, camera = specification.slm.effects, specification.camera
            start, unit, step, low = {
                "f2": (f2, "m", 0.01 * f2, 0.1 * f2),
                "lut_gamma": (1.0, "1", 0.1, 0.1),
                "lut_range": (1.0, "1", 0.05, 0.1),
                "crosstalk": (effects.crosstalk.scale if effects.crosstalk else 0.0, "1", 1.0, 0.0),
                "brightness": (1.0, "1", 0.05, 1e-6),
                "offset": (camera.offset, "DN", 1.0, 0.0),
            }[group]
            found.append(Parameter(group, unit, start, step, low))
    return tuple(found)
