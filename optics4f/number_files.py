"""Arrays of numbers from files: ``.npy``, or kernels as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

TEXT = (".txt", ".csv")


def read_array(path: Path, *, dimensions: tuple[int, ...], real: bool = False) -> NDArray:
    """An ``.npy`` file of finite numbers.

    Args:
        path: The file.
        dimensions: How many the array may have.
        real: Whether complex numbers are refused.

    Returns:
        Of the shape and type that the file has.

    Raises:
        ValueError: The file cannot be read or holds something else.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is not an .npy file that can be read: {str(error).splitlines()[0]}") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in ("fiu" if real else "fiuc"):
        raise ValueError(f"{path} must hold one array of {'real ' if real else ''}numbers. Save it with numpy.save.")
    if array.ndim not in dimensions or 0 in array.shape:
        wanted = " or ".join(map(str, dimensions))
        raise ValueError(f"{path} must have {wanted} dimensions and be filled, got shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{path} must hold finite numbers, got {_infinite(array)}.")
    return np.ascontiguousarray(array)


def read_kernels(path: Path) -> NDArray[np.float64]:
    """Real kernels of one size, shape ``(kernels, height, width)``.

    Args:
        path: ``.txt`` or ``.csv`` as :func:`kernels_from_text` reads it; else ``.npy``, of two dimensions for one
            kernel or of three.

    Raises:
        ValueError: The file cannot be read or holds something else, or a kernel is zero.
    """
    if path.suffix.lower() not in TEXT:
        array = read_array(path, dimensions=(2, 3), real=True).astype(np.float64)
        array = array if array.ndim == 3 else array[None]
        refuse_zero(array, str(path))
        return array
    try:
        text = path.read_text(encoding="utf-8-sig")  # Excel puts a mark in front
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a text file that can be read: {error}") from error
    return kernels_from_text(text, source=str(path))


def kernels_from_text(text: str, *, source: str) -> NDArray[np.float64]:
    """Kernels of one size: a row a line, numbers apart by blanks or commas, an empty line between kernels.

    Args:
        text: What is behind a ``#`` is a comment.
        source: Named in messages.

    Returns:
        Shape ``(kernels, height, width)``.

    Raises:
        ValueError: Something that is no number, an empty cell, rows or kernels of different lengths, with its line; or
            a kernel that is zero.
    """
    kernels: list[list[list[float]]] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("#")[0]
        if not code.replace(",", "").strip():  # spreadsheets write an empty row as commas
            if kernels[-1] and not line.strip().startswith("#"):
                kernels.append([])
            continue
        row = _row(code, f"{source}:{number}")
        first = next((r for kernel in kernels for r in kernel), row)
        if len(row) != len(first):
            raise ValueError(f"{source}:{number}: a row must have {len(first)} numbers as the first, got {len(row)}.")
        kernels[-1].append(row)
    kernels = [kernel for kernel in kernels if kernel]
    heights = sorted({len(kernel) for kernel in kernels})
    if len(heights) != 1:
        raise ValueError(f"{source} must hold kernels of one size, got heights {heights or 'of none'}.")
    array = np.array(kernels)
    refuse_zero(array, source)
    return array


def refuse_zero(kernels: NDArray[np.float64], source: str) -> None:
    """Refuse kernels, shape ``(kernels, height, width)``, of which one is zero everywhere or not finite."""
    if not np.isfinite(kernels).all():
        raise ValueError(f"{source} must hold finite numbers, got {_infinite(kernels)}.")
    if zero := [str(number) for number, kernel in enumerate(kernels, 1) if not kernel.any()]:
        raise ValueError(f"{source} must hold kernels with a number beside 0, got zeros alone in {', '.join(zero)}.")


def refuse_oblong(kernels: NDArray[np.float64], source: str) -> None:
    """Refuse kernels, shape ``(kernels, height, width)``, that are not square, which tiles have to be."""
    rows, columns = kernels.shape[1:]
    if rows != columns:
        side = max(rows, columns)
        raise ValueError(
            f"{source} must hold square kernels for tiles, got {rows} x {columns}. Pad with zeros to {side} x {side}."
        )


def _row(code: str, place: str) -> list[float]:
    """Numbers of a line; where commas part them, there is one between two."""
    cells = code.split(",") if "," in code else code.split()
    words = [cell.split() for cell in cells]
    if any(len(word) != 1 for word in words):
        raise ValueError(
            f"{place}: a row must have one number between two commas, got {code.strip()!r}. Write 0 for an empty cell, "
            "and decimals with a point."
        )
    try:
        return [float(word) for (word,) in words]
    except ValueError as error:
        raise ValueError(f"{place}: a kernel must be rows of numbers, got {code.strip()!r}.") from error


def _infinite(array: NDArray) -> str:
    """What is not finite in an array, and where first."""
    place = np.argwhere(~np.isfinite(array))[0]
    what = "NaN" if np.isnan(array[tuple(place)]) else "inf"
    return f"{what} at index {tuple(int(n) for n in place)}"
