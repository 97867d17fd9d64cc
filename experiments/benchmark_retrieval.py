"""Phase retrieval against slmsuite: weighted Gerchberg-Saxton of both, from the same start, in the same time.

The masks of both are rounded to 8 bits and judged by one whole Fourier transform in double precision that belongs to
neither. slmsuite runs first, for a number of iterations; optics4f gets the time that this took, and no more.
"""

from __future__ import annotations

import importlib
import logging
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from rich.console import Console

from optics4f.design import Target, gerchberg_saxton, image, spot_array
from optics4f.quantization import levels_to_phase, phase_to_levels

from .runs import provenance, write_json, write_text
from .tables import markdown, percent, print_table

SHAPE, BITS = (1024, 1024), 8
SLMSUITE_METHODS = ("WGS-Leonardo", "WGS-Kim")
INSTALL = "slmsuite must be installed, got none. Run in the checkout: pip install '.[peers]'"
_MOST_ITERATIONS = 400  # spots have converged by then, and pictures use up the time

METHOD = f"""\
A phase-only SLM of {SHAPE[0]} x {SHAPE[1]} pixels, evenly lit; phases rounded to {BITS} bits for both. Both start from
the same random phase and run on one CPU thread in single precision, slmsuite on numpy with its default settings. The
time is that of the iterations without the set-up of slmsuite, and with the set-up of optics4f. optics4f does as many
iterations as fit into the time that slmsuite took, at most {_MOST_ITERATIONS}. Which local optimum a start leads to
differs, and with it the efficiency of spots by some tenths of a percent for either library: try several seeds.

Efficiency: share of the incident light in the bins where some is wanted. Uniformity: 1 - (max - min) / (max + min) of
the power over what is wanted. RMS: standard deviation of the same ratio over its mean."""


@dataclass(frozen=True, eq=False)
class Case:
    """A pattern to be retrieved.

    Attributes:
        name: In words.
        target: For optics4f.
        amplitude: The same over all bins of the FFT, shape of the SLM, zero order at ``n // 2``, for slmsuite and for
            the judge.
    """

    name: str
    target: Target
    amplitude: np.ndarray


def cases(shape: tuple[int, int] = SHAPE) -> list[Case]:
    """Two spot arrays and a picture, off the zero order."""
    picture = _picture((shape[0] // 4, shape[1] // 4))
    corner = (shape[0] // 10, -shape[1] // 3)
    return [
        _spots("8 x 8 spots", shape, (8, 8), (shape[0] // 32, shape[1] // 32)),
        _spots("6 x 10 spots", shape, (6, 10), (shape[0] // 40, shape[1] // 30)),
        Case(
            f"picture of {picture.shape[0]} x {picture.shape[1]}",
            image(shape, torch.from_numpy(picture), centre=corner),
            _placed(shape, np.sqrt(picture), corner),
        ),
    ]


def _spots(name: str, shape: tuple[int, int], count: tuple[int, int], spacing: tuple[int, int]) -> Case:
    # Whole bins: the spots of slmsuite's FFT can be nowhere else.
    centre = tuple((n - 1) / 2 * step + 3 for n, step in zip(count, spacing, strict=True))
    places = [3 + np.arange(n) * step + m // 2 for n, step, m in zip(count, spacing, shape, strict=True)]
    amplitude = np.zeros(shape)
    amplitude[np.ix_(*places)] = 1
    return Case(name, spot_array(shape, count, spacing, centre=centre), amplitude)


def _picture(shape: tuple[int, int]) -> np.ndarray:
    """Intensity in [0.2, 1]: a slope, a disc and bars, so that it has both edges and shades."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    picture = 0.3 + 0.2 * x
    picture[(y + 0.3) ** 2 + (x + 0.3) ** 2 < 0.2] = 1.0
    picture[(y > 0.4) & (np.sin(14 * x) > 0)] = 0.8
    return np.clip(picture, 0.2, 1)


def _placed(shape: tuple[int, int], window: np.ndarray, centre: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(shape)
    rows, columns = (
        slice(n // 2 + c - m // 2, n // 2 + c - m // 2 + m) for n, m, c in zip(shape, window.shape, centre, strict=True)
    )
    whole[rows, columns] = window
    return whole


def judge(phase: np.ndarray, amplitude: np.ndarray) -> dict[str, float]:
    """Efficiency, uniformity and relative RMS of a mask [rad] of the shape of ``amplitude``, in double precision."""
    light = np.exp(1j * np.asarray(phase, dtype=np.float64))
    power = np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(light), norm="ortho"))) ** 2
    bright = amplitude > 0
    ratio = power[bright] / amplitude[bright] ** 2
    brightest = max(ratio.max(), 1e-300)  # darkness is as uneven as can be, and no division by zero
    return {
        "efficiency": float(power[bright].sum() / light.size),
        "uniformity": float(1 - (brightest - ratio.min()) / (brightest + ratio.min())),
        "rms": float(ratio.std() / max(ratio.mean(), 1e-300)),
    }


def retrieval_table(
    shape: tuple[int, int] = SHAPE,
    iterations: int = 50,
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda text: None,
) -> list[dict]:
    """Every case by every method, one row each.

    Args:
        shape: SLM pixels; at least 64 each way, powers of 2 suit slmsuite.
        iterations: Of slmsuite; without it, optics4f runs as many.
        seed: Of the random start.
        progress: Told what is running.

    Returns:
        ``case``, ``library``, ``version``, ``method``, ``status``, ``iterations``, ``seconds``, ``efficiency``,
        ``uniformity``, ``rms``; the last five ``None`` where the library is not installed.
    """
    start = 2 * torch.pi * torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    threads, rows = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for case in cases(shape):
            budgets = []
            for method in SLMSUITE_METHODS:
                progress(f"{case.name}: slmsuite, {method}")
                rows.append(_slmsuite_row(case, method, start, iterations))
                if rows[-1]["seconds"] is not None:
                    budgets.append(rows[-1]["seconds"])
            progress(f"{case.name}: optics4f")
            rows.append(_optics4f_row(case, start, min(budgets, default=None), iterations))
    finally:
        torch.set_num_threads(threads)
    return rows


def _optics4f_row(case: Case, start: torch.Tensor, budget: float | None, iterations: int) -> dict:
    if budget is not None:
        probe = gerchberg_saxton(case.target, start=start[None], iterations=5)
        again = gerchberg_saxton(case.target, start=start[None], iterations=15)
        each = max((again.seconds - probe.seconds) / 10, again.seconds / 30)
        iterations = int(np.clip(0.8 * (budget - probe.seconds) / each, 5, _MOST_ITERATIONS))
    begin = time.perf_counter()
    found = gerchberg_saxton(case.target, start=start[None], iterations=iterations)
    seconds = time.perf_counter() - begin
    return _row(case, "optics4f", "gerchberg_saxton", found.iterations, seconds, found.chosen[0])


def _slmsuite_row(case: Case, method: str, start: torch.Tensor, iterations: int) -> dict:
    try:
        algorithms = slmsuite_algorithms()
    except ImportError:
        return _row(case, "slmsuite", method, None, None, None)
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        hologram = algorithms.Hologram(
            case.amplitude.astype(np.float32), phase=start.numpy().copy(), slm_shape=case.amplitude.shape
        )
        begin = time.perf_counter()
        hologram.optimize(method, maxiter=iterations, verbose=False)
        seconds = time.perf_counter() - begin
        phase = torch.from_numpy(np.array(hologram.get_phase()))
    return _row(case, "slmsuite", method, iterations, seconds, phase)


def slmsuite_algorithms() -> ModuleType:
    """Slmsuite's holography, imported when it is first needed.

    Raises:
        ImportError: It is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there is no cupy
            algorithms = importlib.import_module("slmsuite.holography.algorithms")
    except ImportError as error:
        raise ImportError(INSTALL) from error
    logging.getLogger("slmsuite").setLevel(logging.WARNING)
    return algorithms


def _row(
    case: Case,
    library: str,
    method: str,
    iterations: int | None,
    seconds: float | None,
    phase: torch.Tensor | None,
) -> dict:
    row = {"case": case.name, "library": library, "version": _version(library), "method": method}
    if phase is None:
        none = dict.fromkeys(("iterations", "seconds", "efficiency", "uniformity", "rms"))
        return {**row, "status": INSTALL, **none}
    shown = levels_to_phase(phase_to_levels(phase.double(), BITS), BITS, torch.float64)
    return {
        **row,
        "status": "measured",
        "iterations": iterations,
        "seconds": seconds,
        **judge(shown.numpy(), case.amplitude),
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def table_rows(rows: Sequence[Mapping]) -> list[dict[str, str]]:
    """The rows in words."""
    return [
        {
            "target": row["case"],
            "library": f"{row['library']} {row['version']}" if row["version"] else row["library"],
            "method": row["method"],
            "iterations": str(row["iterations"]) if measured else row["status"],
            "time": f"{row['seconds']:.2f} s" if measured else "",
            "efficiency": percent(row["efficiency"]) if measured else "",
            "uniformity": f"{row['uniformity']:.4f}" if measured else "",
            "RMS": f"{row['rms']:.4f}" if measured else "",
        }
        for row in rows
        for measured in (row["seconds"] is not None,)
    ]


def retrieval_markdown(rows: Sequence[Mapping], made_with: Mapping[str, str]) -> str:
    """Method, table and provenance as Markdown."""
    parts = ["# Phase retrieval", METHOD, markdown(table_rows(rows)).rstrip(), "## Made with"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in made_with.items()))
    return "\n\n".join(parts) + "\n"


def run_retrieval(
    console: Console, json_file: Path | None, markdown_file: Path | None, *, iterations: int = 50, seed: int = 0
) -> None:
    """Print the table, and write it.

    Args:
        console: For progress and the table.
        json_file: For every number.
        markdown_file: For the table.
        iterations: Of slmsuite, which set the time.
        seed: Of the random start.
    """
    with console.status("retrieval") as status:
        rows = retrieval_table(iterations=iterations, seed=seed, progress=status.update)
    made_with = {**provenance(), "numpy": np.__version__, "threads": 1, "seed": seed}
    if json_file is not None:
        setting = {"shape": SHAPE, "bits": BITS, "seed": seed}
        write_json(json_file, {"provenance": made_with, "setting": setting, "rows": rows})
    if markdown_file is not None:
        write_text(markdown_file, retrieval_markdown(rows, made_with))
    print_table(table_rows(rows), "Phase retrieval in equal time", console)
