"""Time and energy of one image against its size, on optics and on electronics, and the size at which they cross."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from optics4f.devices import camera_device, slm_device

from .cost_settings import TaskSettings
from .hardware_cost import CostTable, OpticalCostSettings, optical_cost
from .monte_carlo import drawn, quantile, resolved
from .optical_settings import images_on_a_frame, masks_for
from .terms import Term

Quantity = Literal["latency", "time per image", "energy per image"]
Spread = tuple[float, float, float]
QUANTITIES: tuple[Quantity, ...] = ("latency", "time per image", "energy per image")
UNITS: Mapping[Quantity, str] = {"latency": "s", "time per image": "s", "energy per image": "J"}


@dataclass(frozen=True)
class Curve:
    """One system over the sides of the image.

    Attributes:
        name: The system.
        optical: Whether light does the convolutions.
        sides: Sides of the image [pixels].
        draws: By quantity, shape ``(draws, sides)``; NaN where the system cannot take the image, absent where unknown.
        kinds: Evidence at each side.
        sources: By quantity: where it comes from.
        fixed: Energy of one image without its digital operations [J], shape ``(draws, sides)``; of optics only.
    """

    name: str
    optical: bool
    sides: tuple[int, ...]
    draws: Mapping[Quantity, np.ndarray]
    kinds: tuple[str, ...]
    sources: Mapping[Quantity, str]
    fixed: np.ndarray | None = None

    def spread(self, quantity: Quantity) -> list[Spread | None]:
        """5 %, 50 % and 95 % of the draws at each side; ``None`` where there is no figure."""
        return spreads(self.draws[quantity]) if quantity in self.draws else [None] * len(self.sides)


def spreads(draws: np.ndarray) -> list[Spread | None]:
    """5 %, 50 % and 95 % of each column; ``None`` where it has no figure."""
    return [
        None if np.isnan(column).any() else tuple(float(v) for v in np.quantile(column, (0.05, 0.5, 0.95)))
        for column in draws.T
    ]


def fitted(settings: OpticalCostSettings, side: int, task: TaskSettings, *, alone: bool) -> OpticalCostSettings | None:
    """The settings for an image of ``side`` pixels: masks, parts and images on a frame as the devices have room.

    Positive and negative parts of all kernels are tiles beside each other, as many at a time as fit. Where all fit
    several times over, so many images share a frame. An image larger than a device is shown in parts that overlap by
    a kernel. A frame has the pixels that all devices have; the camera reads those that are used.

    Args:
        settings: The system.
        side: Side of the image [pixels].
        task: Kernels and their size.
        alone: One image at a time, as latency asks for.

    Returns:
        ``None`` where a mask that cannot change is too small, or a scene that cannot be cut.
    """
    frame = frame_shape(settings)
    kernel, tiles = task.kernel_size, task.tiles
    room = images_on_a_frame(frame, side, kernel)
    images, parts, outputs = 1, 1, min(room, tiles)
    padded = (side + kernel - 1) ** 2
    if room == 0:
        if settings.display is None or min(frame) < kernel:
            return None
        parts = math.prod(math.ceil(side / (pixels - kernel + 1)) for pixels in frame)
        outputs, padded = 1, math.prod(min(pixels, side + kernel - 1) for pixels in frame)
    masks = masks_for(task.kernels, outputs, signed=task.signed)
    if settings.fixed_mask and masks > 1:
        return None
    if room >= tiles and settings.display is not None and not alone:
        images = room // tiles
    return settings.model_copy(
        update={
            "masks": masks,
            "parts": parts,
            "images_per_frame": images,
            "camera": settings.camera.model_copy(update={"shape": (images * outputs, padded)}),
            "digital": settings.digital.model_copy(update={"macs": task.readout_macs(side)}),
        }
    )


def frame_shape(settings: OpticalCostSettings) -> tuple[int, int]:
    """Height and width that display, SLM and camera all have [pixels]."""
    parts = [(settings.slm, slm_device), (settings.camera, camera_device)]
    if settings.display is not None:
        parts.append((settings.display, slm_device))
    shapes = []
    for part, find in parts:
        preset = find(part.device)
        if part.shape is None and preset.shape is None:
            raise ValueError(f"shape of {preset.slug} must be known. Write shape = [height, width] under it.")
        shapes.append(part.shape or preset.shape.value)
    return min(shape[0] for shape in shapes), min(shape[1] for shape in shapes)


def costs_of(settings: OpticalCostSettings, side: int, task: TaskSettings) -> tuple[CostTable, CostTable] | None:
    """The cost of one image alone, and in the best company; ``None`` where it does not fit."""
    alone, shared = (fitted(settings, side, task, alone=alone) for alone in (True, False))
    return None if alone is None or shared is None else (optical_cost(alone), optical_cost(shared))


def optical_curve(
    name: str, settings: OpticalCostSettings, sides: Sequence[int], task: TaskSettings, *, draws: int, seed: int
) -> Curve:
    """What an optical system costs at every side, each draw the same hardware at all of them."""
    generator = np.random.default_rng(seed)
    values = {quantity: np.full((draws, len(sides)), np.nan) for quantity in QUANTITIES}
    fixed = np.full((draws, len(sides)), np.nan)
    known = resolved(settings)
    for i in range(draws):
        system = drawn(known, generator)
        for j, side in enumerate(sides):
            costs = costs_of(system, side, task)
            if costs is not None:
                alone, shared = costs
                values["latency"][i, j] = alone.latency.nominal
                values["time per image"][i, j] = 1 / shared.throughput.nominal
                values["energy per image"][i, j] = shared.energy.nominal
                digital = next(term for term in shared.energies if term.name == "digital readout")
                fixed[i, j] = shared.energy.nominal - digital.nominal
    source = "modelled: every term and its source in the list of terms"
    kinds = ("modelled",) * len(sides)
    return Curve(name, True, tuple(sides), values, kinds, dict.fromkeys(QUANTITIES, source), fixed)


def break_even_prices(
    curve: Curve, settings: OpticalCostSettings, task: TaskSettings, digital_macs: Sequence[float], *, seed: int
) -> np.ndarray:
    r"""Price of a digital multiply-accumulate at which optics and electronics take the same energy [J].

    .. math:: e = \frac{E_\mathrm{optics} - E_\mathrm{capture}}{N_\mathrm{electronics} - N_\mathrm{readout}}

    with the energy of the optics without its digital operations, and of a plain capture where there is no display.
    Where digital operations cost less the optics lose. Below zero they win at any price.

    Args:
        curve: The optics.
        settings: Its settings.
        task: Whose readout is digital behind the optics.
        digital_macs: Operations of the electronics at each side.
        seed: That of the curve.

    Returns:
        Shape ``(draws, sides)``; NaN where the optics do not fit, infinity where they save no operation.
    """
    saved = np.array([macs - task.readout_macs(side) for side, macs in zip(curve.sides, digital_macs, strict=True)])
    nothing = replace(curve, draws={"energy per image": np.zeros_like(curve.fixed)})
    capture = 0.0 if settings.display else behind_a_camera(nothing, settings, seed=seed).draws["energy per image"]
    return np.where(saved > 0, (curve.fixed - capture) / np.maximum(saved, 1), np.inf)


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
    values = {
        q: np.array([[quantile(term, share) for term in row] for share in shares], dtype=float)
        for q, row in known.items()
    }
    kinds = tuple(row[0] if len(set(row)) == 1 else min(row) for row in zip(*_kinds(known), strict=True))
    return Curve(name, False, tuple(sides), values, kinds, {q: row[-1].source for q, row in known.items()})


def _kinds(known: Mapping[Quantity, Sequence[Term]]) -> list[list[str]]:
    return [[term.kind for term in row] for row in known.values()]


def behind_a_camera(curve: Curve, settings: OpticalCostSettings, *, seed: int) -> Curve:
    """Electronics that look at a scene as well: one exposure and readout of the same camera for every image.

    Exposing and reading come before the operations; where images follow each other, the slower of both counts.

    Args:
        curve: Electronics that start from an image in memory.
        settings: The optical system whose camera they get.
        seed: That of the optical system, so that both have the same camera in every draw.
    """
    generator = np.random.default_rng(seed)
    known = resolved(settings)
    values = {quantity: column.copy() for quantity, column in curve.draws.items()}
    for i in range(len(next(iter(values.values())))):
        system = drawn(known, generator)
        for j, side in enumerate(curve.sides):
            capture = optical_cost(plain_capture(system, side))
            if "latency" in values:
                values["latency"][i, j] += capture.latency.nominal
            if "time per image" in values:
                values["time per image"][i, j] = max(values["time per image"][i, j], 1 / capture.throughput.nominal)
            if "energy per image" in values:
                values["energy per image"][i, j] += capture.energy.nominal
    sources = {quantity: f"{source}; one plain capture" for quantity, source in curve.sources.items()}
    return replace(curve, name=f"camera + {curve.name}", draws=values, sources=sources)


def plain_capture(settings: OpticalCostSettings, side: int) -> OpticalCostSettings:
    """The same camera, light and host with a plain lens: one exposure of ``side`` times ``side`` pixels, no mask."""
    nothing = Term("power", 0.0, 0.0, 0.0, "W", "a lens draws none", "modelled")
    return settings.model_copy(
        update={
            **{"masks": 1, "parts": 1, "images_per_frame": 1, "fixed_mask": True},
            "slm": settings.slm.model_copy(update={"power": nothing}),
            "camera": settings.camera.model_copy(update={"shape": (side, side)}),
            "digital": settings.digital.model_copy(update={"macs": 0, "time": None}),
        }
    )


@dataclass(frozen=True)
class Crossover:
    """The side from which the optics cost less, for as long as the sweep goes.

    Attributes:
        optics: Name of the optical system.
        electronics: Name of the electronics.
        quantity: What is compared.
        ratio: Optics over electronics at the largest side that both can take, median of the draws.
        share: Draws in which the optics cost less there, between 0 and 1.
        low: 5 % of the draws cross below this side; ``inf`` where they do not cross.
        median: Half of them cross below it.
        high: 95 % of them cross below it.
        first: Smallest side of the comparison; a crossover here means from the start.
        last: Largest side that both can take.
    """

    optics: str
    electronics: str
    quantity: Quantity
    ratio: float
    share: float
    low: float
    median: float
    high: float
    first: int
    last: int


def crossover(optics: Curve, electronics: Curve, quantity: Quantity) -> Crossover | None:
    """Where the optics begin to win, draw by draw; ``None`` where one of the two has no figure.

    Between two sides both costs are taken as powers of the side.
    """
    if quantity not in optics.draws or quantity not in electronics.draws:
        return None
    ratios = np.log(optics.draws[quantity] / electronics.draws[quantity])
    fits = ~np.isnan(ratios).any(axis=0)
    if not fits.any():
        return None
    sides = np.asarray(optics.sides, dtype=float)[fits]
    crossings = np.array([_crossing(np.log(sides), row) for row in ratios[:, fits]])
    low, median, high = (float(np.quantile(crossings, q, method="higher")) for q in (0.05, 0.5, 0.95))
    return Crossover(
        *(optics.name, electronics.name, quantity),
        float(np.exp(np.median(ratios[:, fits][:, -1]))),
        float(np.mean(np.isfinite(crossings))),
        *(low, median, high, int(sides[0]), int(sides[-1])),
    )


def _crossing(log_sides: np.ndarray, log_ratio: np.ndarray) -> float:
    """Side after which the ratio stays below one: the first where it always does, infinity where it ends above."""
    above = np.flatnonzero(log_ratio >= 0)
    if len(above) == 0:
        return math.exp(log_sides[0])
    last = above[-1]
    if last == len(log_ratio) - 1:
        return math.inf
    before, after = log_ratio[last], log_ratio[last + 1]
    return math.exp(log_sides[last] + (log_sides[last + 1] - log_sides[last]) * before / (before - after))
