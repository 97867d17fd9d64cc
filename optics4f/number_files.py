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
    if array.ndim not in dimensions or 0 in array.shape or not np.isfinite(array).all():
        wanted = " or ".join(map(str, dimensions))
        raise ValueError(f"{path} must be finite and have {wanted} dimensions, got shape {array.shape}.")
    return np.ascontiguousarray(array)


def read_kernels(path: Path) -> NDArray[np.float64]:
    """Real kernels of one size, shape ``(kernels, height, width)``.

    Args:
        path: ``.txt`` or ``.csv`` as :func:`kernels_from_text` reads it; else ``.npy``, of two dimensions for one
            kernel or of three.

    Raises:
        ValueError: The file cannot be read or holds something else.
    """
    if path.suffix.lower() not in TEXT:
        array = read_array(path, dimensions=(2, 3), real=True).astype(np.float64)
        return array if array.ndim == 3 else array[None]
    try:
        text = path.read_text(encoding="utf-8")
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
        ValueError: Something that is no number, or rows or kernels of different lengths; with its line.
    """
    kernels: list[list[list[float]]] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            if kernels[-1] and not line.strip().startswith("#"):
                kernels.append([])
            continue
        try:
            row = [float(word) for word in words]
        except ValueError as error:
            raise ValueError(f"{source}:{number}: a kernel must be rows of numbers, got {line.strip()!r}.") from error
        first = next((r for kernel in kernels for r in kernel), row)
        if len(row) != len(first):
            raise ValueError(f"{source}:{number}: a row must have {len(first)} numbers as the first, got {len(row)}.")
        kernels[-1].append(row)
    kernels = [kernel for kernel in kernels if kernel]
    heights = sorted({len(kernel) for kernel in kernels})
    if len(heights) != 1:
        raise ValueError(f"{source} must hold kernels of one size, got heights {heights or 'of none'}.")
    array = np.array(kernels)
    if not np.isfinite(array).all():
        raise ValueError(f"{source} must hold finite numbers, got NaN or inf.")
    return array
