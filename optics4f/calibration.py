"""What a bench measures of itself, read for the simulation: the phase of each gray value, flatness, frames and PSFs.

Nothing is resampled, cropped or filled up in silence; a phase is that of exp(+i phase), more is more delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .bundle import read_arrays, write_arrays
from .effects import LUT
from .files import written_whole
from .grid import Grid
from .units import engineering
from .vendors import Panel, read_gray, read_lut_codes, read_santec_csv
from .vendors.panel import check_shape
from .zernike import noll_to_nm, zernike

MEASURED_SCHEMA = "optics4f-measured"
_PHASE_COLUMNS = {"phase_rad": 1.0, "phase_turns": 2 * np.pi}
_MOST_TURNS = 10  # several times what a panel reaches


def read_lut(path: str | Path, panel: Panel, *, interpolated: bool = False, calibrated: bool = True) -> LUT:
    """Measured phase of each gray value from a CSV, as the level table of the simulation.

    The first line names the columns: ``gray``, then ``phase_rad`` or ``phase_turns`` (units of 2 pi), and ``amplitude``
    where it was measured.

    Args:
        path: CSV file.
        panel: The panel that was measured; its slope says which level a gray value is.
        interpolated: Whether gray values between the first and the last may be missing; the phase must then be
            unwrapped and is interpolated linearly.
        calibrated: Whether the driver is told the table and picks levels by it.

    Raises:
        ValueError: No such columns, a gray value missing, doubled or beyond the bits, NaN; a phase that is wrapped
            where it is to be interpolated, or spans more than any panel does.
    """
    names, table = _csv(path)
    phases = [name for name in names if name in _PHASE_COLUMNS]
    if names[0] != "gray" or len(phases) != 1 or set(names) - {"gray", "amplitude", *phases}:
        raise ValueError(
            f"{path} must have the columns gray, phase_rad or phase_turns, and amplitude if it was measured, got "
            f"{', '.join(names)}."
        )
    gray = table[:, 0]
    columns = {name: table[:, number] for number, name in enumerate(names)}
    count = 2**panel.bit_depth
    phase = _phase(path, phases[0], columns.pop(phases[0]))
    if interpolated and len(gray) >= 2 and (gray[0], gray[-1]) == (0, count - 1) and (np.diff(gray) > 0).all():
        _refuse_wrapped(path, gray, phase)
        phase = np.interp(np.arange(count), gray, phase)
        columns = {name: np.interp(np.arange(count), gray, values) for name, values in columns.items()}
    elif not np.array_equal(gray, np.arange(count)):
        raise ValueError(
            f"{path} must have the gray values 0 ... {count - 1} of {panel.name} in their order, got {len(gray)} of "
            f"{gray.min():g} ... {gray.max():g}. Measure all of them, or state that they are to be interpolated."
        )
    amplitude = panel.by_gray(columns["amplitude"]) if "amplitude" in columns else None
    return LUT(panel.by_gray(phase), amplitude, calibrated=calibrated)


def read_driven_lut(
    path: str | Path, phase_of_code: str | Path, panel: Panel, *, drive_bits: int = 12, calibrated: bool = True
) -> LUT:
    """Level table of a panel that shows its gray values through a Meadowlark ``.lut``.

    The ``.lut`` alone tells no phase: it maps gray values to drive codes, which are voltages.

    Args:
        path: ``.lut`` file that the driver loads.
        phase_of_code: CSV with the columns ``code`` and ``phase_rad`` or ``phase_turns``: the unwrapped phase that was
            measured at drive codes from the first to the last that the ``.lut`` uses.
        panel: The panel.
        drive_bits: Bits of a drive code.
        calibrated: As for :func:`read_lut`.

    Raises:
        ValueError: What :func:`read_lut_codes` refuses; a code outside those that were measured; a wrapped phase.
    """
    codes = read_lut_codes(path, bit_depth=panel.bit_depth, drive_bits=drive_bits)
    names, table = _csv(phase_of_code)
    if len(names) != 2 or names[0] != "code" or names[1] not in _PHASE_COLUMNS:
        raise ValueError(
            f"{phase_of_code} must have the columns code and phase_rad or phase_turns, got {', '.join(names)}."
        )
    measured, phase = table[:, 0], _phase(phase_of_code, names[1], table[:, 1])
    if not (np.diff(measured) > 0).all():
        raise ValueError(f"{phase_of_code} must list its codes in rising order, each once.")
    _refuse_wrapped(phase_of_code, measured, phase)
    if codes.min() < measured[0] or codes.max() > measured[-1]:
        raise ValueError(
            f"{phase_of_code} must reach from code {codes.min()} to {codes.max()} for {path}, got {measured[0]:g} ... "
            f"{measured[-1]:g}. Measure the rest."
        )
    return LUT(panel.by_gray(np.interp(codes, measured, phase)), calibrated=calibrated)


def write_lut_csv(path: str | Path, lut: LUT, panel: Panel) -> None:
    """Write a level table as :func:`read_lut` reads it."""
    lut.check_length(panel.bit_depth)
    columns = [np.arange(2**panel.bit_depth), panel.by_gray(lut.phase.numpy()), panel.by_gray(lut.amplitude.numpy())]
    with written_whole(path) as part:
        np.savetxt(part, np.column_stack(columns), "%d,%.9g,%.9g", header="gray,phase_rad,amplitude", comments="")


@dataclass(frozen=True)
class MeasuredFlatness:
    """Phase error of a panel [rad], shape of the whole panel, float64: the map of a ``Flatness`` effect.

    Attributes:
        error: What the panel adds to every pattern; the correction that undoes it has the other sign.
        source: Where it comes from.
    """

    error: NDArray
    source: str

    def used(self, shape: tuple[int, int]) -> NDArray:
        """The map of a used area in the middle of the panel."""
        if any(n > m for n, m in zip(shape, self.error.shape, strict=True)):
            raise ValueError(f"the used area must fit on the map of {self.error.shape} of {self.source}, got {shape}.")
        top, left = ((n - m) // 2 for n, m in zip(self.error.shape, shape, strict=True))
        return self.error[top : top + shape[0], left : left + shape[1]].copy()


def read_flatness_image(path: str | Path, panel: Panel, *, gray_at_2pi: float | None = None) -> MeasuredFlatness:
    """Flatness from a vendor's correction: an image (or Santec's CSV) whose gray values are added to every pattern.

    Args:
        path: PNG, BMP or CSV, at the panel's native size.
        panel: The panel; its slope says whether more gray is more delay.
        gray_at_2pi: Gray values in one turn of the correction, all :math:`2^b` by default. Hamamatsu's image spans 256
            whatever the wavelength; its driver scales the sum.

    Raises:
        ValueError: Another size, colours, another bit depth.
    """
    read = read_santec_csv if Path(path).suffix.lower() == ".csv" else None
    levels = read(path, panel) if read else panel.levels(read_gray(path, panel))
    turn = 2**panel.bit_depth if gray_at_2pi is None else gray_at_2pi
    if not 0 < turn < np.inf:
        raise ValueError(f"gray_at_2pi must be positive, got {turn:g}.")
    return MeasuredFlatness(unwrapped(-levels * (2 * np.pi / turn)), str(path))


def read_flatness_slmsuite(path: str | Path, panel: Panel) -> MeasuredFlatness:
    """Flatness from an SLM that slmsuite has saved (``slm.save()``) after a wavefront calibration.

    slmsuite keeps the correction; the panel's error is its negative.

    Raises:
        ValueError: No correction in the file; another wavelength, pitch or shape than the panel's, each where the file
            states it; NaN.
    """
    names = {name: f"__meta__/{name}" for name in ("wav_um", "pitch_um")}
    found, _ = read_arrays(path, ["__meta__/source/phase"], list(names.values()))
    correction = found["__meta__/source/phase"].astype(np.float64)
    check_shape(correction.shape, panel.shape, str(path), panel.name)
    if not np.isfinite(correction).all():
        raise ValueError(f"{path} must be finite, got {np.count_nonzero(~np.isfinite(correction))} NaN or inf in it.")
    stated = {name: np.ravel(found[place]) * 1e-6 for name, place in names.items() if place in found}
    for wavelength in stated.get("wav_um", ()):
        panel.check(wavelength=float(wavelength), pitch=panel.pitch)
    for pitch in stated.get("pitch_um", ()):
        panel.check(wavelength=panel.wavelength, pitch=float(pitch))
    return MeasuredFlatness(unwrapped(-correction), str(path))


def noll_terms(error: NDArray, grid: Grid, indices: Sequence[int]) -> tuple[dict[int, float], float]:
    """A map as ``bench.slm.effects.flatness`` of a configuration states it.

    Args:
        error: Phase error on the used area [rad], shape ``grid.shape``, unwrapped.
        grid: The used area.
        indices: Noll indices to fit, such as ``range(2, 16)``; piston is fitted and dropped.

    Returns:
        Noll index -> coefficient [rad rms over the circle around the area], and the rms of what is left [rad].
    """
    check_shape(error.shape, grid.shape, "the map", "the used area")
    y, x = grid.coordinates()
    radius = float(np.hypot(*grid.extent)) / 2
    modes = [zernike(*noll_to_nm(j), y / radius, x / radius).expand(grid.shape).numpy() for j in (1, *indices)]
    basis = np.stack([mode.ravel() for mode in modes], axis=1)
    coefficients, *_ = np.linalg.lstsq(basis, error.ravel(), rcond=None)
    left = error.ravel() - basis @ coefficients
    return dict(zip(indices, coefficients[1:].tolist(), strict=True)), float(np.sqrt((left**2).mean()))


def unwrapped(phase: NDArray) -> NDArray:
    """A phase [rad] without its jumps by 2 pi, ``(height, width)``, along the rows and then down the columns.

    It must be smooth and finite.
    """
    return np.unwrap(np.unwrap(phase, axis=1), axis=0)


@dataclass(frozen=True)
class Measured:
    """What the camera of a bench delivered.

    Attributes:
        frames: Frames [DN], shape ``(N, masks, height, width)``, float64.
        images: What the object showed in [0, 1], shape ``(N, height, width)``; ``None`` where it is not known.
        psfs: Frames of one point of light, shape ``(masks, height, width)``; ``None`` where none were taken.
        attributes: Wavelength and the like, as the file states them.
    """

    frames: Tensor
    images: Tensor | None = None
    psfs: Tensor | None = None
    attributes: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.frames.ndim != 4:
            raise ValueError(f"frames must be (images, masks, height, width), got {tuple(self.frames.shape)}.")
        for name, shape in (
            ("images", (len(self.frames), None, None)),
            ("psfs", (self.frames.shape[1], *self.frames.shape[2:])),
        ):
            values = getattr(self, name)
            if values is None:
                continue
            if values.ndim != 3 or any(n not in (None, m) for n, m in zip(shape, values.shape, strict=True)):
                wanted = ", ".join("..." if n is None else str(n) for n in shape)
                raise ValueError(
                    f"{name} must be ({wanted}) for frames of {tuple(self.frames.shape)}, got {tuple(values.shape)}."
                )
        for name in ("frames", "images", "psfs"):
            values = getattr(self, name)
            if values is not None and not torch.isfinite(values).all():
                raise ValueError(f"{name} must be finite, got {int((~torch.isfinite(values)).sum())} NaN or inf in it.")
        if self.images is not None and not (self.images.min() >= 0 and self.images.max() <= 1):
            raise ValueError("images must lie in [0, 1].")

    def check(self, *, wavelength: float, frame_shape: tuple[int, int], masks: int) -> None:
        """Refuse measurements of another bench.

        Args:
            wavelength: Wavelength of the bench [m]; 1 nm may be off, where the file states it.
            frame_shape: Pixels of a frame ``(height, width)``.
            masks: Number of masks.
        """
        stated = self.attributes.get("wavelength_m")
        if stated is not None and (not isinstance(stated, int | float) or isinstance(stated, bool)):
            raise ValueError(f"wavelength_m of the frames must be a number [m], such as 532e-9, got {stated!r}.")
        if stated is not None and not abs(stated - wavelength) <= 1e-9:
            raise ValueError(
                f"wavelength must be {engineering(wavelength, 'm')}, got frames taken at {engineering(stated, 'm')}."
            )
        check_shape(tuple(self.frames.shape[2:]), frame_shape, "a measured frame", "the camera")
        if self.frames.shape[1] != masks:
            raise ValueError(f"frames must be of {masks} masks, got {self.frames.shape[1]}.")


def read_measured(path: str | Path) -> Measured:
    """Camera frames from an HDF5 file: ``/frames`` [DN], and ``/images`` and ``/psfs`` where they are there.

    Raises:
        ValueError: No such file or dataset, other shapes, NaN.
    """
    found, attributes = read_arrays(path, ["frames"], ["images", "psfs"])
    parts = {name: torch.from_numpy(values.astype(np.float64)) for name, values in found.items()}
    try:
        return Measured(**parts, attributes=attributes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_measured(path: str | Path, measured: Measured, **attributes: object) -> None:
    """Write measurements as :func:`read_measured` reads them.

    Args:
        path: HDF5 file.
        measured: What was measured.
        **attributes: What is known of the bench: ``wavelength_m``, ``exposure_s``, ``bundle_uuid``, in SI.
    """
    arrays = {name: getattr(measured, name) for name in ("frames", "images", "psfs")}
    write_arrays(
        path,
        {name: values.double().cpu().numpy() for name, values in arrays.items() if values is not None},
        **{"schema": MEASURED_SCHEMA, "schema_version": "1.0", **measured.attributes, **attributes},
    )


def _phase(path: str | Path, column: str, values: NDArray) -> NDArray:
    """A column of phases in radians; a span that no panel has is another unit."""
    phase = values * _PHASE_COLUMNS[column]
    turns = np.ptp(phase) / (2 * np.pi)
    if turns > _MOST_TURNS:
        guess = "degrees" if column == "phase_rad" else "radians or degrees"
        raise ValueError(f"{path}: {column} must span at most {_MOST_TURNS} turns, got {turns:.4g}. Are they {guess}?")
    return phase


def _refuse_wrapped(path: str | Path, places: NDArray, phase: NDArray) -> None:
    """Between its samples a wrapped phase would be interpolated through all that its jumps by 2 pi pass."""
    steps = np.diff(phase)
    back = steps * -np.sign(np.median(steps))
    if back.max(initial=0) > np.pi:
        jump = int(back.argmax())
        raise ValueError(
            f"{path}: the phase must be unwrapped to be interpolated, got a jump of {steps[jump]:.3g} rad back between "
            f"{places[jump]:g} and {places[jump + 1]:g}. Add or take away 2 pi behind it."
        )


def _csv(path: str | Path) -> tuple[list[str], NDArray]:
    """Names and numbers of a table with one line of names."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as text: {error}.") from error
    names = [name.strip() for name in lines[0].split(",")] if lines else [""]
    try:
        table = np.loadtxt(lines[1:], delimiter=",", ndmin=2) if len(lines) > 1 else np.empty((0, 0))
    except ValueError as error:
        raise ValueError(f"{path} must be a table of numbers: {str(error).splitlines()[0]}") from error
    if not len(table) or table.shape[1] != len(names):
        raise ValueError(f"{path} must have one line of names and a row of {len(names)} numbers a gray value.")
    if not np.isfinite(table).all():
        raise ValueError(f"{path} must be finite, got {np.count_nonzero(~np.isfinite(table))} NaN or inf in it.")
    return names, table
