r"""Accuracy of free-space propagation: a Gaussian beam against its closed form, for optics4f and for other libraries.

The beam spreads from its waist over distances at which a single-precision phase :math:`k z` has lost its digits and a
frequency grid without its zero has moved the light. The error is that of the complex field after one global complex
factor, the best one in the least-squares sense, so that carriers and scalings do not count; the power tells the
scaling.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from optics4f.grid import Grid
from optics4f.profiles import gaussian_beam
from optics4f.units import engineering

from .peers import PROPAGATORS, Propagator
from .runs import provenance, write_json, write_text
from .tables import markdown, print_table

GRID = Grid((512, 512), 8e-6)
WAVELENGTH, WAIST = 532e-9, 300e-6
DISTANCES = (0.05, 0.1, 0.5, 1.0)

NOT_INSTALLED = "not installed"

METHOD = f"""\
A Gaussian beam with a waist of {engineering(WAIST, "m")} at {engineering(WAVELENGTH, "m")} starts at its waist on
{GRID}, padded to twice the window for every library.
The error is the relative L2 distance of the complex fields in the window after one global complex factor.

The closed form is the paraxial beam. A code that solves the Helmholtz equation differs from it by what the paraxial
approximation neglects, 1.7e-7 at 1 m. The second table compares each code with the beam of the equation that it
solves: for the Helmholtz equation, the paraxial beam with its first correction.

waveprop imports torchvision; where that does not load, an empty stand-in takes its place, and nothing of it takes part
in a propagation. chromatix is absent: its release on PyPI, 0.0.1, is a placeholder without a propagation."""


@dataclass(frozen=True)
class Deviation:
    """How a field differs from the beam.

    Attributes:
        distance: From the waist [m].
        relative_l2: Of the complex field, to the paraxial closed form.
        relative_l2_own_equation: The same, to the beam of the equation that the code solves.
        centroid_drift: Of the intensity, ``(y, x)``, against the closed form in the same window [m].
        power: In the window, in units of the power at the start.
        returned: Type of the result's samples.
    """

    distance: float
    relative_l2: float
    relative_l2_own_equation: float
    centroid_drift: tuple[float, float]
    power: float
    returned: str


def helmholtz_beam(grid: Grid, wavelength: float, waist: float, distance: float) -> np.ndarray:
    r"""Gaussian beam of the Helmholtz equation, carrier removed, to first order beyond the paraxial beam.

    The axial wave number is :math:`\sqrt{k^2 - \kappa^2} = k - \kappa^2 / 2k - \kappa^4 / 8k^3 - \dots`; the paraxial
    beam :math:`U_0` has the first two terms. The third is the Laplacian of the plane, twice:

    .. math:: U = U_0 - \frac{i z}{8 k^3} \nabla_\perp^4 U_0, \qquad
              \nabla_\perp^4 e^{-a r^2} = (16 a^4 r^4 - 64 a^3 r^2 + 32 a^2) e^{-a r^2}, \quad a = 1 / (w_0^2 q)

    Evanescent waves, which a waist of many wavelengths does not have, are left out.

    Args:
        grid: Plane of observation.
        wavelength: Wavelength [m].
        waist: Radius ``w_0`` [m] at which the amplitude has fallen to 1/e.
        distance: Distance ``z`` from the waist [m].

    Returns:
        Amplitude, complex128, shape ``grid.shape``.
    """
    y, x = (axis.numpy() for axis in grid.coordinates())
    k, r_squared = 2 * math.pi / wavelength, y**2 + x**2
    a = 1 / (waist**2 * (1 + 1j * distance * wavelength / (math.pi * waist**2)))
    laplacian_twice = 16 * a**4 * r_squared**2 - 64 * a**3 * r_squared + 32 * a**2
    beam = gaussian_beam(grid, wavelength, waist, distance).numpy()
    return beam * (1 - 1j * distance / (8 * k**3) * laplacian_twice)


def accuracy_table(
    distances: Sequence[float] = DISTANCES, propagators: Sequence[Propagator] = PROPAGATORS
) -> list[dict]:
    """Accuracy of every propagator, one row each.

    Args:
        distances: From the waist [m].
        propagators: What is measured.

    Returns:
        ``library``, ``version``, ``precision``, ``equation``, ``call``, ``status`` (``"measured"``,
        ``"not installed"``, or the error in one line), and ``results``: a ``Deviation`` for each distance as a
        dictionary, none of them where the status is not ``"measured"``.
    """
    return [_row(propagator, distances) for propagator in propagators]


def _row(propagator: Propagator, distances: Sequence[float]) -> dict:
    version, results = propagator.version, []
    status = "measured" if version else NOT_INSTALLED
    if version:
        try:
            results = [asdict(deviation(propagator, distance)) for distance in distances]
        except Exception as error:  # somebody else's code may raise anything
            status = " ".join(f"{type(error).__name__}: {error}".split())
    return {
        "library": propagator.library,
        "version": version,
        "precision": propagator.precision,
        "equation": propagator.equation,
        "call": propagator.call,
        "status": status,
        "results": results,
    }


def deviation(propagator: Propagator, distance: float, *, grid: Grid = GRID, waist: float = WAIST) -> Deviation:
    """Propagate the beam from its waist over a ``distance`` [m] and compare it with what it should be.

    Args:
        propagator: What is measured.
        distance: From the waist [m].
        grid: Samples of the beam.
        waist: Of the beam [m].
    """
    start = gaussian_beam(grid, WAVELENGTH, waist).numpy()
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        data = propagator.propagate(start.astype(propagator.precision), WAVELENGTH, grid.pitch, distance)
    returned, data = str(data.dtype), data.astype(np.complex128)  # sums of single precision would be the error
    beam = gaussian_beam(grid, WAVELENGTH, waist, distance).numpy()
    own = helmholtz_beam(grid, WAVELENGTH, waist, distance) if propagator.equation == "Helmholtz" else beam
    return Deviation(
        distance=distance,
        relative_l2=_relative_l2(data, beam),
        relative_l2_own_equation=_relative_l2(data, own),
        centroid_drift=tuple(a - b for a, b in zip(_centroid(data, grid), _centroid(beam, grid), strict=True)),
        power=float((np.abs(data) ** 2).sum() / (np.abs(start) ** 2).sum()),
        returned=returned,
    )


def _relative_l2(data: np.ndarray, wanted: np.ndarray) -> float:
    factor = np.vdot(data, wanted) / np.vdot(data, data).real
    return float(np.linalg.norm(factor * data - wanted) / np.linalg.norm(wanted))


def _centroid(data: np.ndarray, grid: Grid) -> tuple[float, float]:
    intensity = np.abs(data) ** 2
    return tuple(float((axis.numpy() * intensity).sum() / intensity.sum()) for axis in grid.coordinates())


def _nanometres(drift: tuple[float, float]) -> str:
    return f"{1e9 * math.hypot(*drift):,.3f}"


QUANTITIES: dict[str, tuple[str, Callable[..., str]]] = {
    "relative_l2": ("Relative L2 error to the paraxial beam", "{:.1e}".format),
    "relative_l2_own_equation": ("The same to the beam of the equation that is solved", "{:.1e}".format),
    "centroid_drift": ("Drift of the centroid in nm", _nanometres),
    "power": ("Power in the window", "{:.5f}".format),
}


def table_rows(rows: Sequence[dict], quantity: str) -> list[dict[str, str]]:
    """One quantity of the table, a column for each distance, what could not be measured left out."""
    written = QUANTITIES[quantity][1]
    return [
        {
            "library": f"{row['library']} {row['version']}",
            "precision": row["precision"],
            "equation": row["equation"],
            **{engineering(result["distance"], "m"): written(result[quantity]) for result in row["results"]},
            "call": row["call"],
        }
        for row in rows
        if row["results"]
    ]


def missing(rows: Sequence[dict]) -> list[dict[str, str]]:
    """What could not be measured, and why."""
    return [
        {"library": row["library"], "precision": row["precision"], "status": row["status"]}
        for row in rows
        if not row["results"]
    ]


def accuracy_markdown(rows: Sequence[dict], made_with: dict) -> str:
    """The whole result as a page."""
    parts = ["# Accuracy of free-space propagation", METHOD]
    for quantity, (title, _) in QUANTITIES.items():
        parts += [f"## {title}", markdown(table_rows(rows, quantity)).rstrip()]
    if missing(rows):
        parts += ["## Not measured", markdown(missing(rows)).rstrip()]
    parts += ["## Made with", "\n".join(f"- {name}: {value}" for name, value in made_with.items())]
    return "\n\n".join(parts) + "\n"


def run_accuracy(console: Console, json_file: Path | None, markdown_file: Path | None) -> None:
    """Print the tables, and write them.

    Args:
        console: For the tables.
        json_file: For every number.
        markdown_file: For the tables.
    """
    rows, made_with = accuracy_table(), {**provenance(), "numpy": np.__version__}
    if json_file is not None:
        setting = {"shape": GRID.shape, "pitch": GRID.pitch, "wavelength": WAVELENGTH, "waist": WAIST, "padding": 2}
        write_json(json_file, {"provenance": made_with, "setting": setting, "rows": rows})
    if markdown_file is not None:
        write_text(markdown_file, accuracy_markdown(rows, made_with))
    for quantity, (title, _) in QUANTITIES.items():
        print_table(table_rows(rows, quantity), title, console)
    if missing(rows):
        print_table(missing(rows), "Not measured", console)
