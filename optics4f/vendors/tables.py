"""Text files of vendors: Santec's CSV of gray values, Meadowlark's ``.lut`` of drive codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..files import written_whole
from .panel import Mask, Panel


def write_santec_csv(path: str | Path, panel: Panel, levels: Mask) -> None:
    """Write one mask as Santec's software reads it.

    The first row is ``Y/X`` and the column numbers, the first column the row numbers; slmsuite drops both unseen.

    Args:
        path: CSV file.
        panel: Where it is shown; its slope and flips are applied.
        levels: One mask, shape ``panel.shape``.
    """
    gray = panel.gray(levels)
    height, width = panel.shape
    with written_whole(path) as part, part.open("w", encoding="ascii", newline="\r\n") as file:
        file.write("Y/X," + ",".join(map(str, range(width))) + "\n")
        np.savetxt(file, np.column_stack([np.arange(height), gray.astype(np.int64)]), fmt="%d", delimiter=",")


def read_santec_csv(path: str | Path, panel: Panel) -> NDArray:
    """Levels, int64, of a CSV in Santec's layout.

    Raises:
        ValueError: No row or column of numbers around it, another shape, NaN, a gray value beyond the bits.
    """
    return panel.levels(santec_gray(path, panel))


def santec_gray(path: str | Path, panel: Panel) -> NDArray:
    """Gray values of such a CSV as they are, of the panel's shape; a flatness correction comes in this layout too."""
    table = _numbers(path, delimiter=",", skiprows=1)
    head = _lines(path)[0].split(",")
    if table.ndim != 2 or len(head) != table.shape[1] or head[1:] != [str(n) for n in range(len(head) - 1)]:
        raise ValueError(f"{path} must begin with Y/X and the column numbers, got {','.join(head)[:40]!r}.")
    if not np.array_equal(table[:, 0], np.arange(len(table))):
        raise ValueError(f"{path} must have the row numbers in its first column, got {table[0, 0]:g} in the first row.")
    return panel.checked(table[:, 1:], str(path)).astype(panel.dtype)


def write_lut(path: str | Path, codes: ArrayLike, *, bit_depth: int = 8, drive_bits: int = 12) -> None:
    """Write Meadowlark's ``.lut``: one row a gray value, ``index code``.

    Args:
        path: ``.lut`` file.
        codes: Drive code of each gray value, shape ``(2**bit_depth,)``.
        bit_depth: Bits of a gray value.
        drive_bits: Bits of a drive code; models differ.

    Raises:
        ValueError: Another number of codes, a code beyond the bits.
    """
    codes = _checked_codes(np.asarray(codes), bit_depth, drive_bits, str(path))
    if Path(path).suffix.lower() != ".lut":
        raise ValueError(f"{path} must end with .lut: the vendor's software goes by it.")
    with written_whole(path) as part, part.open("w", encoding="ascii", newline="\r\n") as file:
        file.writelines(f"{index} {code}\n" for index, code in enumerate(codes))


def read_lut_codes(path: str | Path, *, bit_depth: int = 8, drive_bits: int = 12) -> NDArray:
    """Drive codes of a ``.lut`` file, int64, shape ``(2**bit_depth,)``; decimal or ``0x`` numbers.

    A drive code is a voltage, not a phase: ``*_linear.lut`` is linear in voltage.

    Raises:
        ValueError: Another number of rows, an index out of turn, no numbers, a code beyond the bits.
    """
    rows = [line.split() for line in _lines(path) if line.strip()]
    try:
        table = np.array([[_whole(text) for text in row] for row in rows], dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path} must have rows of two whole numbers, index and code: {error}.") from error
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(f"{path} must have rows of two whole numbers, index and code.")
    if not np.array_equal(table[:, 0], np.arange(len(table))):
        wrong = int(np.argmax(table[:, 0] != np.arange(len(table))))
        raise ValueError(f"{path} must count its rows from 0, got {table[wrong, 0]} in row {wrong}.")
    return _checked_codes(table[:, 1], bit_depth, drive_bits, str(path))


def _checked_codes(codes: NDArray, bit_depth: int, drive_bits: int, what: str) -> NDArray:
    if codes.shape != (2**bit_depth,):
        raise ValueError(f"{what} must have 2^{bit_depth} = {2**bit_depth} codes, got {codes.size}.")
    if not np.isfinite(codes).all() or (codes != np.rint(codes)).any():
        raise ValueError(f"{what} must have whole codes, got NaN or fractions.")
    if codes.min() < 0 or codes.max() >= 2**drive_bits:
        raise ValueError(
            f"{what} must have codes of 0 ... {2**drive_bits - 1}, got {codes.min():g} ... {codes.max():g}. "
            "State drive_bits of the model."
        )
    return codes.astype(np.int64)


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8-sig").splitlines() or [""]
    except FileNotFoundError as error:
        raise ValueError(f"{path} does not exist.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as text: {error}.") from error


def _numbers(path: str | Path, **options: object) -> NDArray:
    lines = _lines(path)
    try:
        return np.loadtxt(lines, **options, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path} must be a table of numbers: {str(error).splitlines()[0]}") from error


def _whole(text: str) -> int:
    return int(text, 16 if text.lower().startswith("0x") else 10)
