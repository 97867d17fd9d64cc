"""Time and energy of one image against its size, on optics and on electronics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .cost_layout import OpticalTask, fitted
from .hardware_cost import CostTable, OpticalCostSettings, optical_cost
from .monte_carlo import drawn, quantile, resolved
from .terms import Term, weakest

Quantity = Literal["latency", "time per image", "energy per image"]
Spread = tuple[float, float, float]
QUANTITIES: tuple[Quantity, ...] = ("latency", "time per image", "energy per image")
UNITS: Mapping[Quantity, str] = {"latency": "s", "time per image": "s", "energy per image": "J"}
MODELLED = "modelled: every term and its source in the list of terms"


@dataclass(frozen=True)
class Curve:
    """One system over the sides of the image.

    Attributes:
        name: The system.
        optical: Whether light does the convolutions.
        sides: Sides of the image [pixels].
        draws: By quantity, shape ``(draws, sides)``; NaN where the system cannot take the image, absent where unknown.
        kinds: Evidence at each side.
        sources: By quantity: where it comes from, at each side.
        fixed: Energy of one image without its digital operations [J], shape ``(draws, sides)``; of optics only.
    """

    name: str
    optical: bool
    sides: tuple[int, ...]
    draws: Mapping[Quantity, np.ndarray]
    kinds: tuple[str, ...]
    sources: Mapping[Quantity, tuple[str, ...]]
    fixed: np.ndarray | None = None

    def spread(self, quantity: Quantity) -> list[Spread | None]:
        """5 %, 50 % and 95 % of the draws at each side; ``None`` where there is no figure."""
        return spreads(self.draws[quantity]) if quantity in self.draws else [None] * len(self.sides)

    def only(self, sides: Sequence[int]) -> Curve:
        """The same at some of its sides."""
        at = [self.sides.index(side) for side in sides]
        return replace(
            self,
            sides=tuple(sides),
            draws={quantity: values[:, at] for quantity, values in self.draws.items()},
            kinds=tuple(self.kinds[i] for i in at),
            sources={quantity: tuple(row[i] for i in at) for quantity, row in self.sources.items()},
            fixed=None if self.fixed is None else self.fixed[:, at],
        )


def spreads(draws: np.ndarray) -> list[Spread | None]:
    """5 %, 50 % and 95 % of each column of ``draws (samples, columns)``; ``None`` where it has no figure."""
    return [
        None if np.isnan(column).any() else tuple(float(v) for v in np.quantile(column, (0.05, 0.5, 0.95)))
        for column in draws.T
    ]


def costs_of(settings: OpticalCostSettings, side: int, task: OpticalTask) -> tuple[CostTable, CostTable] | None:
    """The cost of one image alone, and in the best company; ``None`` where it does not fit."""
    alone, shared = (fitted(settings, side, task, alone=alone) for alone in (True, False))
    return None if alone is None or shared is None else (optical_cost(alone), optical_cost(shared))


def optical_curve(
    name: str, settings: OpticalCostSettings, sides: Sequence[int], task: OpticalTask, *, draws: int, seed: int
) -> Curve:
    """What an optical system costs at every side, each draw the same hardware at all of them."""
    values = {quantity: np.full((draws, len(sides)), np.nan) for quantity in QUANTITIES}
    fixed = np.full((draws, len(sides)), np.nan)
    system = drawn(resolved(settings), np.random.default_rng(seed), draws)
    for j, side in enumerate(sides):
        costs = costs_of(system, side, task)
        if costs is not None:
            alone, shared = costs
            values["latency"][:, j] = alone.latency.nominal
            values["time per image"][:, j] = 1 / shared.throughput.nominal
            values["energy per image"][:, j] = shared.energy.nominal
            fixed[:, j] = fixed_energy(shared)
    sources = dict.fromkeys(QUANTITIES, (MODELLED,) * len(sides))
    return Curve(name, True, tuple(sides), values, ("modelled",) * len(sides), sources, fixed)


def fixed_energy(table: CostTable) -> float | np.ndarray:
    """Energy of one image without its digital operations [J], a number or one a draw, shape ``(draws,)``."""
    digital = next(term for term in table.energies if term.name == "digital readout")
    return table.energy.nominal - digital.nominal


def break_even_prices(
    curve: Curve, settings: OpticalCostSettings, task: OpticalTask, digital_macs: Sequence[float], *, seed: int
) -> np.ndarray:
    r"""Price of a digital multiply-accumulate at which optics and electronics take the same energy [J].

    .. math:: e = \frac{E_\mathrm{optics} - E_\mathrm{capture}}{N_\mathrm{electronics} - N_\mathrm{readout}}

    with the energy of the optics without its digital operations, and of a plain capture where there is no display.
    Additions of pooling are counted on neither side, for both pool. Where digital operations cost less the optics lose.
    Below zero they win at any price.

    Args:
        curve: The optics.
        settings: Its settings.
        task: Whose readout is digital behind the optics.
        digital_macs: Operations of the electronics at each side.
        seed: That of the curve.

    Returns:
        Shape ``(draws, sides)``; NaN where the optics do not fit, infinity where they save no operation.
    """
    saved = np.asarray(digital_macs, dtype=float) - task.head_macs
    if settings.display:
        captured = 0.0
    else:
        captured = captures(settings, curve.sides, draws=len(curve.fixed), seed=seed)["energy per image"]
    return np.where(saved > 0, (curve.fixed - captured) / np.maximum(saved, 1), np.inf)


def electronic_curve(
    name: str, sides: Sequence[int], terms: Mapping[Quantity, Sequence[Term | None]], *, draws: int, seed: int
) -> Curve:
    """Electronics from a term at every side; one draw is high or low at all sides alike.

    Args:
        name: The system.
        sides: Sides of the image [pixels].
        terms: By quantity, one a side; a quantity with an unknown term is left out.
        draws: How many.
        seed: Of the draws.
    """
    shares = np.random.default_rng(seed).random(draws)
    known = {quantity: list(row) for quantity, row in terms.items() if all(term is not None for term in row)}
    if not known:
        raise ValueError(f"{name} must have at least one quantity that is known at every side.")
    values = {q: np.stack([quantile(term, shares) for term in row], axis=1) for q, row in known.items()}
    kinds = tuple(weakest(*at_side) for at_side in zip(*known.values(), strict=True))
    sources = {q: tuple(term.source for term in row) for q, row in known.items()}
    return Curve(name, False, tuple(sides), values, kinds, sources)


def interpolated(values: np.ndarray, sides: Sequence[int], wanted: Sequence[int]) -> np.ndarray:
    """Costs of electronics between the sides where they are known, as powers of the side there.

    Args:
        values: Costs ``(draws, sides)``, positive where they are to be interpolated.
        sides: Where they are known [pixels], growing.
        wanted: Where they are wanted [pixels], between those.

    Returns:
        Shape ``(draws, wanted)``.
    """
    found = np.log(wanted)
    with np.errstate(divide="ignore"):
        logs = np.log(values)
    return np.exp([np.interp(found, np.log(sides), row) for row in logs])


def captures(
    settings: OpticalCostSettings, sides: Sequence[int], *, draws: int, seed: int
) -> dict[Quantity, np.ndarray]:
    """What a plain picture costs, by the camera that the optical system has in each draw.

    Args:
        settings: The optical system.
        sides: Sides of the picture [pixels].
        draws: How many.
        seed: That of the optical system.

    Returns:
        By quantity, in the units of ``UNITS``, shape ``(draws, sides)``.
    """
    system = drawn(resolved(settings), np.random.default_rng(seed), draws)
    values = {quantity: np.empty((draws, len(sides))) for quantity in QUANTITIES}
    for j, side in enumerate(sides):
        table = optical_cost(plain_capture(system, side))
        values["latency"][:, j] = table.latency.nominal
        values["time per image"][:, j] = 1 / table.throughput.nominal
        values["energy per image"][:, j] = table.energy.nominal
    return values


def behind_a_camera(curve: Curve, captured: Mapping[Quantity, np.ndarray]) -> Curve:
    """Electronics that look at a scene as well: one exposure and readout of the same camera for every image.

    Exposing and reading come before the operations; where images follow each other, the slower of both counts.

    Args:
        curve: Electronics that start from an image in memory.
        captured: Plain pictures at the sides of the curve, each of shape ``(draws, sides)``, from :func:`captures`.
    """
    values = {
        quantity: np.maximum(column, captured[quantity])
        if quantity == "time per image"
        else column + captured[quantity]
        for quantity, column in curve.draws.items()
    }
    sources = {q: tuple(f"{source}; one plain capture" for source in row) for q, row in curve.sources.items()}
    return replace(curve, name=f"camera + {curve.name}", draws=values, sources=sources)


def plain_capture(settings: OpticalCostSettings, side: int) -> OpticalCostSettings:
    """The same camera and host with a plain lens and no laser: one exposure of ``side`` times ``side`` pixels."""
    lens, light = (
        Term("power", 0.0, 0.0, 0.0, "W", source, "modelled")
        for source in ("a lens draws none", "a plain picture needs no laser")
    )
    return settings.model_copy(
        update={
            **{"masks": 1, "tiles": 1, "parts": 1, "images_per_frame": 1, "fixed_mask": True},
            "slm": settings.slm.model_copy(update={"power": lens}),
            "laser": settings.laser.model_copy(update={"power": light}),
            "camera": settings.camera.model_copy(update={"shape": (side, side)}),
            "digital": settings.digital.model_copy(update={"macs": 0, "time": None}),
        }
    )
