"""Where the kernels of a convolution stand in front of the camera: tiles of one point spread function.

A mask whose PSF has K groups of taps, far enough from each other, convolves the object with K kernels at once. Lengths
here are counted in imaged logical pixels, which are camera pixels, from the axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

Pair = tuple[int, int]


@dataclass(frozen=True)
class Tile:
    """One group of taps: one kernel, or one sign of it.

    Attributes:
        kernel: Number of the kernel.
        sign: 0 adds, 1 is subtracted.
        exposure: Number of the exposure, that is, of the mask.
        centre: Where its middle tap stands, ``(y, x)`` [camera pixels from the axis].
        rows: Camera rows of its output, before the frame is turned upright.
        columns: Camera columns of its output.
    """

    kernel: int
    sign: int
    exposure: int
    centre: Pair
    rows: slice
    columns: slice


@dataclass(frozen=True)
class Spans:
    """How far the light of a tile, its output and the zero order reach, along one axis [camera pixels, inclusive].

    Attributes:
        light: From the tile's centre.
        output: From the tile's centre.
        zero: From the axis.
    """

    light: Pair
    output: Pair
    zero: Pair

    @classmethod
    def of(cls, pixels: int, kernel_size: int, padding: int) -> Spans:
        """For an object of ``pixels`` logical pixels. The image is turned: object pixel ``j`` lands at ``-j``."""
        first, last = -(pixels // 2), pixels - 1 - pixels // 2
        tap_first, tap_last = -(kernel_size // 2), kernel_size - 1 - kernel_size // 2
        # Output o has its middle tap on object pixel o - padding + kernel_size // 2, and lands turned as well.
        begin = first + kernel_size // 2 - padding
        outputs = pixels + 2 * padding - kernel_size + 1
        return cls((tap_first - last, tap_last - first), (-(begin + outputs - 1), -begin), (-last, -first))

    @property
    def spacing(self) -> int:
        """Least distance of two tiles of which neither's light reaches the other's output."""
        return max(self.light[1] - self.output[0], self.output[1] - self.light[0]) + 1


@dataclass(frozen=True)
class TilePlan:
    """Tiles of a set of kernels.

    Attributes:
        tiles: All of them, kernel after kernel, the sign that adds first.
        exposures: Masks that are shown one after the other.
        capacity: Tiles that fit into one exposure.
        spacing: Distance of neighbouring tiles ``(y, x)`` [camera pixels].
    """

    tiles: tuple[Tile, ...]
    exposures: int
    capacity: int
    spacing: Pair

    def __str__(self) -> str:
        """A table: where each kernel is, in which exposure, in which camera window."""
        lines = ["| kernel | sign | exposure | centre (y, x) | camera rows | camera columns |", "|" + "---|" * 6]
        for t in self.tiles:
            lines.append(
                f"| {t.kernel} | {'-' if t.sign else '+'} | {t.exposure} | ({t.centre[0]}, {t.centre[1]}) | "
                f"{t.rows.start} ... {t.rows.stop - 1} | {t.columns.start} ... {t.columns.stop - 1} |"
            )
        return "\n".join(lines)


def plan_tiles(
    kernels: int,
    image: Pair,
    kernel_size: int,
    *,
    camera: Pair,
    replica: tuple[float, float],
    signs: int = 1,
    padding: int = 0,
    exposures: int | None = None,
    guard: int = 1,
    avoid_zero_order: bool = True,
    avoid_twins: bool = False,
    colours: tuple[float, ...] = (),
) -> TilePlan:
    r"""Places for the kernels, nearest to the axis first, where nothing else lands on their outputs.

    Off the zero order, which shows the object itself around the axis; inside the central diffraction order, beyond
    whose half (:math:`\lambda f_2 / 2 p` from the axis) the copies by the SLM's pixels begin; off each other's light.

    Args:
        kernels: How many.
        image: Logical pixels of the object ``(height, width)``.
        kernel_size: Taps along each side.
        camera: Pixels ``(height, width)`` of one imaged logical pixel each; index ``n // 2`` is on the axis.
        replica: Width of a diffraction order, lambda f2 over the SLM's pitch, ``(y, x)`` [camera pixels].
        signs: 2 for kernels as the difference of two tiles.
        padding: As in ``nn.Conv2d``, less than ``kernel_size``.
        exposures: Masks among which the tiles are shared; as few as do by default.
        guard: Dark pixels between light and output, at least 0.
        avoid_zero_order: Whether the zero order is kept off the outputs.
        avoid_twins: Whether the point-mirrored place of each tile stays free too: a panel with a limited phase range
            or a wrong LUT sends light there (the conjugate order).
        colours: Wavelengths that are on the camera together, each for taps of its own. What stands at c for one is seen
            at c times the ratio of wavelengths in the light of another, and must miss every output there.

    Raises:
        ValueError: Arguments out of range; kernels that do not fit, with the numbers that would.
    """
    for name, value in (("kernels", kernels), ("kernel_size", kernel_size), ("signs", signs)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if not 0 <= padding < kernel_size:
        raise ValueError(f"padding must be in 0 ... kernel_size - 1 = {kernel_size - 1}, got {padding}.")
    if any(n + 2 * padding < kernel_size for n in image):
        raise ValueError(f"kernel_size must fit into the padded image of {image[0]} x {image[1]}, got {kernel_size}.")
    if guard < 0 or (exposures is not None and exposures < 1):
        raise ValueError(f"guard must be at least 0 and exposures at least 1, got {guard} and {exposures}.")

    def places(size: Pair) -> list[Pair]:
        if any(n + 2 * padding < kernel_size for n in size):
            return []
        spans = tuple(Spans.of(n, kernel_size, padding) for n in size)
        ghosts = sorted({a / b for a in colours for b in colours if a != b})
        if avoid_twins:  # the conjugate order of each colour in the light of each
            ghosts += [-1.0, *(-ratio for ratio in ghosts)]
        return _best_lattice(spans, camera, replica, guard, avoid_zero_order, ghosts)

    found = places(image)
    wanted = kernels * signs
    needed = math.ceil(wanted / len(found)) if found else 0
    if not found or (exposures is not None and needed > exposures):
        asked = wanted if exposures is None else math.ceil(wanted / exposures)
        raise ValueError(_refusal(kernels, signs, len(found), needed, exposures, image, asked, places))
    exposures = needed if exposures is None else min(exposures, wanted)
    spans = tuple(Spans.of(n, kernel_size, padding) for n in image)
    # A pair of signs shares its exposure: what drifts between exposures then drops out of the difference.
    pairs = exposures <= kernels and math.ceil(kernels / exposures) * signs <= len(found)
    group = signs if pairs else 1
    each = math.ceil(wanted / group / exposures) * group
    tiles = []
    for index, (kernel, sign) in enumerate(product(range(kernels), range(signs))):
        exposure, place = divmod(index, each)
        centre = found[place]
        rows, columns = (
            slice(n // 2 + c + span.output[0], n // 2 + c + span.output[1] + 1)
            for n, c, span in zip(camera, centre, spans, strict=True)
        )
        tiles.append(Tile(kernel, sign, exposure, centre, rows, columns))
    spacing = tuple(span.spacing + guard for span in spans)
    return TilePlan(tuple(tiles), tiles[-1].exposure + 1, len(found), spacing)


def _best_lattice(
    spans: tuple[Spans, Spans],
    camera: Pair,
    replica: tuple[float, float],
    guard: int,
    avoid_zero_order: bool,
    ghosts: list[float],
) -> list[Pair]:
    """Centres of the lattice that has most of them, nearest to the axis first."""
    spacing = tuple(span.spacing + guard for span in spans)
    # Lattices through the axis, beside it, and just clear of the zero order.
    clear = tuple(_clear_of_zero(span, guard) for span in spans)
    offsets = [sorted({0, s // 2, *(c % s for c in both)}) for s, both in zip(spacing, clear, strict=True)]
    best: list[Pair] = []
    for offset in product(*offsets):
        centres = [
            centre
            for centre in product(
                *(_along(*axis) for axis in zip(offset, spacing, spans, camera, replica, strict=True))
            )
            if not (avoid_zero_order and _hit(centre, spans, tuple(span.zero for span in spans), guard))
        ]
        centres.sort(key=lambda c: (c[0] ** 2 + c[1] ** 2, c))
        if ghosts:
            centres = _without_ghosts(centres, spans, ghosts, guard)
        if len(centres) > len(best) or (len(centres) == len(best) and _farthest(centres) < _farthest(best)):
            best = centres
    return best


def _along(offset: int, spacing: int, span: Spans, camera: int, replica: float) -> Iterator[int]:
    """Centres along one axis whose output is on the camera and whose light is inside the central order."""
    low = max(-(camera // 2) - span.output[0], math.ceil(-replica / 2) - span.light[0])
    high = min(camera - 1 - camera // 2 - span.output[1], math.floor(replica / 2) - span.light[1])
    first = low + (offset - low) % spacing
    return iter(range(first, high + 1, spacing))


def _clear_of_zero(span: Spans, guard: int) -> Pair:
    """The nearest centres below and above the axis at which the output misses the zero order."""
    return span.zero[0] - guard - 1 - span.output[1], span.zero[1] + guard + 1 - span.output[0]


def _hit(centre: Pair, spans: tuple[Spans, Spans], light: tuple[Pair, Pair], guard: int) -> bool:
    """Whether light over these pixels falls on the output of a tile."""
    return all(
        c + span.output[0] <= reach[1] + guard and reach[0] - guard <= c + span.output[1]
        for c, span, reach in zip(centre, spans, light, strict=True)
    )


def _without_ghosts(centres: list[Pair], spans: tuple[Spans, Spans], ghosts: list[float], guard: int) -> list[Pair]:
    """Those centres, the nearest first, that no ghost of another or of itself falls on.

    A ghost is the tile's light again at a multiple of its distance from the axis, stretched as much.
    """
    places = np.array(centres, dtype=float).reshape(-1, 2)
    low, high = (np.array([span.output[k] for span in spans]) for k in (0, 1))
    disturbs = np.zeros((len(places), len(places)), dtype=bool)  # [one, other]: one's ghost on the other's output
    for ratio in ghosts:
        # The taps are stretched, the image of the object is not; the larger of both bounds the sum.
        size = max(1.0, abs(ratio))
        ends = [span.light if ratio > 0 else (-span.light[1], -span.light[0]) for span in spans]
        first = np.floor(places * ratio + size * np.array([e[0] for e in ends])) - guard
        last = np.ceil(places * ratio + size * np.array([e[1] for e in ends])) + guard
        hit = (places[None] + low <= last[:, None]) & (first[:, None] <= places[None] + high)
        disturbs |= hit.all(-1)
    apart = ~(disturbs | disturbs.T)
    kept: list[int] = []
    for index in range(len(centres)):
        if apart[index, index] and apart[index, kept].all():
            kept.append(index)
    return [centres[index] for index in kept]


def _farthest(centres: list[Pair]) -> float:
    return max((c[0] ** 2 + c[1] ** 2 for c in centres), default=math.inf)


def _refusal(
    kernels: int,
    signs: int,
    capacity: int,
    needed: int,
    exposures: int | None,
    image: Pair,
    asked: int,
    places: Callable[[Pair], list[Pair]],
) -> str:
    """What does not fit, and what would."""
    larger = max(image)
    sizes = (tuple(max(1, n * side // larger) for n in image) for side in range(larger - 1, 0, -1))
    smaller = next((size for size in sizes if len(places(size)) >= asked), None)
    advice = [] if smaller is None else [f"images of at most {smaller[0]} x {smaller[1]} logical pixels"]
    if capacity:
        advice += [f"{needed} exposures"] if exposures is not None and needed > exposures else []
        if capacity * (exposures or 1) >= signs:
            advice += [f"at most {capacity * (exposures or 1) // signs} kernels"]
    pair = " in pairs" if signs == 2 else ""
    shots = "" if exposures is None else f" in {exposures} exposure{'s' if exposures > 1 else ''}"
    return (
        f"{kernels} kernels{pair} must have {kernels * signs} tiles{shots}, got room for {capacity} in one exposure. "
        + (f"Use {', or '.join(advice)}." if advice else "Use a larger camera, or an SLM of smaller pixels.")
    )
