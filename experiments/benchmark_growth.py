"""How time and memory grow with the number of samples and with the batch; what does not fit is refused, and says so.

Every point is measured in a process of its own. The exponent is the slope of a straight line through the logarithms,
with the interval of 95 % that the scatter of the points about it gives.
"""

from __future__ import annotations

import math
import multiprocessing
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from scipy import stats

from optics4f.console import spared_from_ctrl_c
from optics4f.field import Field
from optics4f.grid import Grid
from optics4f.memory import Need, TooLargeError, require
from optics4f.plotting import plot_scaling, png
from optics4f.propagation import TRANSFER_FUNCTIONS, propagate
from optics4f.sampling import SamplingWarning
from optics4f.units import engineering

from .benchmark_speed import PITCH, WAVELENGTH, floor_step, matched_4f, propagation_4f, psf_training
from .processes import end_with_parent
from .runs import provenance, write_json, write_text
from .tables import markdown, print_table
from .timing import Step, _forget_high_water, _high_water, _resident

SIZES = (256, 512, 1024, 2048, 4096, 8192)
BATCHES = (1, 4, 16, 64, 256)
FLOOR = "two bare FFTs of 2N x 2N"
GOAL = 1.15  # of the exponent of time in the number of samples
FITTED_FROM = 512  # smaller planes are overhead
SECONDS = 20.0  # that repetitions of a point fill [s]: ten of what takes up to 2 s
RETRIES, PAUSE = 3, 20.0  # of a point that was refused, and the seconds before each

METHOD = """\
Processor time of one thread, the median of the repetitions after one run that builds what is kept; most memory that
the process held beyond what it held before, input and masks not counted. Every point runs in a process of its own.
Repetitions are ten where they fit into 20 s, and never fewer than three: the column "runs" says how many. A propagation
builds its transfer function at every call, at all sizes alike (`propagate` keeps those of smaller planes).
The exponent is the slope of a line through the logarithms of time against the number of samples (N = 512 and more) or
the size of the batch, with the 95 % interval that the scatter about the line gives. The FFT itself, 5 n log2(n)
operations, has 1.06 from N = 512 to 8192 in a doubled window; what it takes on this machine, where large planes leave
the cache, is in the first row. A step has a part that does not grow with the batch, the masks': below 1 there is no
fault. A point that does not fit into the memory that the machine had free is refused by optics4f before it starts; it
is measured again where a larger one ran. The goal is met where the exponent is at most 1.15; "within the interval" says
that the 95 % interval reaches the other side."""


@dataclass(frozen=True)
class Series:
    """A computation at several sizes.

    Attributes:
        name: What it is.
        build: Called with an entry of ``arguments``; returns the step.
        arguments: Of each point.
        sizes: N of each point where the plane grows, else the batch.
        grows: ``"N"`` or ``"B"``.
    """

    name: str
    build: Callable[..., Step]
    arguments: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    grows: str


@dataclass(frozen=True)
class Point:
    """One measured size.

    Attributes:
        size: N or B.
        seconds: Median processor time [s]; ``None`` where it was refused.
        low: Fastest.
        high: Slowest.
        repetitions: How many.
        peak_bytes: Memory beyond what was there before.
        refused: Why, where it was.
    """

    size: int
    seconds: float | None = None
    low: float | None = None
    high: float | None = None
    repetitions: int = 0
    peak_bytes: int | None = None
    refused: str = ""


def bare(n: int, device: str = "cpu") -> Step:
    """The two transforms of a padded plane, and nothing else."""
    require(Need(f"two FFTs of {2 * n} x {2 * n} samples", n, 1, lambda width, batch: batch * 64 * width**2), device)
    return floor_step(2, 2 * n, device)


def plane(n: int, device: str = "cpu", *, backward: bool = False) -> Step:
    """One field over the self-dual distance, transfer function and all; with ``backward``, and the field's gradient."""
    grid = Grid((n, n), PITCH)
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(n, n, dtype=torch.complex64, generator=generator).to(device).requires_grad_(backward)

    def step() -> None:
        data.grad = None
        TRANSFER_FUNCTIONS.clear()
        seen = propagate(Field(data, grid, WAVELENGTH), n * PITCH**2 / WAVELENGTH, method="angular_spectrum")
        if backward:
            seen.data.backward(torch.ones_like(seen.data))

    return step


def plane_and_gradient(n: int, device: str = "cpu") -> Step:
    """:func:`plane` forward and backward."""
    return plane(n, device, backward=True)


def series(sizes: Sequence[int] = SIZES, batches: Sequence[int] = BATCHES) -> list[Series]:
    """What is measured: planes that grow, and batches that do."""

    def planes(name: str, build: Callable[..., Step], *rest: int) -> Series:
        return Series(name, build, tuple((n, *rest) for n in sizes), tuple(sizes), "N")

    def images(name: str, build: Callable[..., Step], first: int) -> Series:
        return Series(name, build, tuple((first, b) for b in batches), tuple(batches), "B")

    return [
        planes(FLOOR, bare),
        planes("propagation of a plane, forward", plane),
        planes("propagation of a plane, forward and backward", plane_and_gradient),
        planes("angular-spectrum 4f training step, B = 1", propagation_4f, 1),
        planes("Fourier-lens 4f training step at matched pitch, B = 1", matched_4f, 1),
        images("angular-spectrum 4f training step, N = 256", propagation_4f, 256),
        images("Fourier-lens 4f training step at matched pitch, N = 512", matched_4f, 512),
        images("PSF training step, 1024 x 1024 pixels, K = 4", psf_training, 4),
    ]


def point(build: Callable[..., Step], arguments: tuple[int, ...], size: int, seconds: float = SECONDS) -> Point:
    """Measure one size in a fresh process.

    Args:
        build: A function of a module, which returns the step.
        arguments: For it.
        size: Of the point.
        seconds: Time to fill with repetitions [s], 3 to 10 of them.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent) as pool:
        try:
            with spared_from_ctrl_c():
                point = pool.submit(_point_here, build, arguments, size, seconds)
            return point.result()
        except BrokenProcessPool:
            return Point(size, refused="the process ended before it had a result")
        except KeyboardInterrupt:  # the pool would wait for its end
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _point_here(build: Callable[..., Step], arguments: tuple[int, ...], size: int, seconds: float) -> Point:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", SamplingWarning)
    torch.fft.fft2(torch.zeros(8, 8, dtype=torch.complex64))  # the library's own tables
    try:
        step = build(*arguments)
        before = _resident()
        _forget_high_water()
        start = time.process_time()
        step()
        first = time.process_time() - start
        taken = []
        for _ in range(max(3, min(10, int(seconds / first)))):
            start = time.process_time()
            step()
            taken.append(time.process_time() - start)
    except TooLargeError as error:
        return Point(size, refused=str(error))
    peak = max(0, _high_water() - before)
    return Point(size, statistics.median(taken), min(taken), max(taken), len(taken), peak)


def exponent(points: Sequence[Point], quantity: str, grows: str) -> dict[str, float] | None:
    """Power law through the points: ``exponent``, the half width of its 95 % interval, ``from`` and ``to``.

    Args:
        points: Of a series.
        quantity: ``"seconds"`` or ``"peak_bytes"``.
        grows: ``"N"``: the exponent in the number of samples, N squared, from N = 512 on; ``"B"``: in the batch.

    Returns:
        ``None`` with fewer than three points.
    """
    power, least = (2, FITTED_FROM) if grows == "N" else (1, 1)
    known = [(p.size, getattr(p, quantity)) for p in points if p.size >= least and getattr(p, quantity)]
    if len(known) < 3:
        return None
    fit = stats.linregress([power * math.log(n) for n, _ in known], [math.log(value) for _, value in known])
    half = float(stats.t.ppf(0.975, len(known) - 2) * fit.stderr)
    return {"exponent": float(fit.slope), "half_width": half, "from": known[0][0], "to": known[-1][0]}


def growth_rows(
    chosen: Iterable[Series],
    *,
    seconds: float = SECONDS,
    pause: float = PAUSE,
    progress: Callable[[str], None] = lambda _: None,
) -> list[dict]:
    """Every point of every series, with the exponents of time and memory.

    A point that was refused though a larger one ran is measured again, up to ``RETRIES`` times.

    Args:
        chosen: What is measured.
        seconds: Time [s] to fill with repetitions at each point.
        pause: Before a point is measured again [s].
        progress: Told what is about to run.
    """
    rows = []
    for one in chosen:
        points = []
        for arguments, size in zip(one.arguments, one.sizes, strict=True):
            progress(f"{one.name}, {one.grows} = {size}")
            points.append(point(one.build, arguments, size, seconds))
        for _ in range(RETRIES):
            largest = max((p.size for p in points if p.seconds is not None), default=0)
            for n, arguments in enumerate(one.arguments):
                if points[n].refused and points[n].size < largest:  # by what else the machine was doing
                    progress(f"{one.name}, {one.grows} = {points[n].size}, again")
                    time.sleep(pause)
                    points[n] = point(one.build, arguments, points[n].size, seconds)
        row = {"case": one.name, "grows": one.grows, "points": [asdict(p) for p in points]}
        row["time"], row["memory"] = (exponent(points, quantity, one.grows) for quantity in ("seconds", "peak_bytes"))
        rows.append(row)
    return rows


def _written(fit: dict[str, float] | None) -> str:
    return "" if fit is None else f"{fit['exponent']:.3f} +- {fit['half_width']:.3f}"


def verdict(fit: dict[str, float] | None) -> str:
    """Whether the goal is met by the exponent of time, and whether the interval says the same."""
    if fit is None:
        return "not measured"
    met = fit["exponent"] <= GOAL
    ends = fit["exponent"] - fit["half_width"], fit["exponent"] + fit["half_width"]
    sure = ends[1] <= GOAL if met else ends[0] > GOAL
    return ("yes" if met else "missed") + ("" if sure else ", within the interval")


def exponent_table(rows: Sequence[dict]) -> list[dict[str, str]]:
    """Exponents of all series."""
    return [
        {
            "case": row["case"],
            "in": "samples" if row["grows"] == "N" else "batch",
            "range": f"{row['grows']} = {row['time']['from']} ... {row['time']['to']}" if row["time"] else "",
            "exponent of time": _written(row["time"]),
            "goal": "" if row["case"] == FLOOR else f"at most {GOAL}" if row["grows"] == "N" else "about 1",
            "met": "" if row["case"] == FLOOR or row["grows"] != "N" else verdict(row["time"]),
            "exponent of memory": _written(row["memory"]),
        }
        for row in rows
    ]


def point_table(row: dict) -> list[dict[str, str]]:
    """Time and memory of one series."""
    table = []
    for found in row["points"]:
        cells = {row["grows"]: str(found["size"]), "time": "refused", "spread": "", "runs": "", "memory": ""}
        if found["seconds"] is None:
            cells["memory"] = found["refused"]
        else:
            low, high = (engineering(found[end], "s", 3) for end in ("low", "high"))
            cells |= {"time": engineering(found["seconds"], "s", 3), "spread": f"{low} ... {high}"}
            cells |= {"runs": str(found["repetitions"]), "memory": f"{found['peak_bytes'] / 2**20:,.0f} MiB"}
        table.append(cells)
    return table


def growth_figure(rows: Sequence[dict]) -> bytes:
    """Time of every series: against N as coloured lines, against the batch in grey."""
    curves = []
    for row in rows:
        known = [p for p in row["points"] if p["seconds"] is not None]
        name = f"{row['case']}: {row['time']['exponent']:.2f}" if row["time"] else row["case"]
        values = [(p["low"], p["seconds"], p["high"]) for p in known]
        batch = row["grows"] == "B"
        curves.append({"name": name, "x": [p["size"] for p in known], "values": values, "reference": batch})
    return png(plot_scaling(curves, unit="s", label="processor time of a step", x_label="N; in grey, B"))


def growth_page(rows: Sequence[dict], made_with: dict) -> str:
    """The whole result as a page."""
    parts = ["# Growth of time and memory", METHOD, markdown(exponent_table(rows)).rstrip(), "![growth](growth.png)"]
    for row in rows:
        parts += [f"## {row['case'][0].upper()}{row['case'][1:]}", markdown(point_table(row)).rstrip()]
    parts += ["## Made with", "\n".join(f"- {name}: {value}" for name, value in made_with.items())]
    return "\n\n".join(parts) + "\n"


def run_growth(console: Console, out: Path | None, *, largest: int = SIZES[-1], most: int = BATCHES[-1]) -> None:
    """Print the exponents, and write ``growth.md``, ``growth.json`` and ``growth.png``.

    Args:
        console: For progress and the table.
        out: Folder; nothing is written without.
        largest: Widest plane [samples].
        most: Largest batch.
    """
    chosen = series([n for n in SIZES if n <= largest], [b for b in BATCHES if b <= most])
    with console.status("growth") as status:
        rows = growth_rows(chosen, progress=status.update)
    if out is not None:
        made_with = {**provenance(), "threads": 1}
        write_json(out / "growth.json", {"provenance": made_with, "rows": rows})
        write_text(out / "growth.md", growth_page(rows, made_with))
        (out / "growth.png").write_bytes(growth_figure(rows))
    print_table(exponent_table(rows), "Growth", console)
