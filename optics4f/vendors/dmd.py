"""One-bit patterns for micromirror devices: packed rows (ViALUX ALP), planes of a 24-bit image (TI DLPC)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..files import written_whole
from ..images import opened_image
from .images import refuse_lossy
from .panel import Mask, Panel, as_array, check_shape

PlaneOrder = Literal["RGB", "RBG", "GRB", "GBR", "BRG", "BGR"]

# Columns -> ignored bytes in front of a row, bytes of a row: comments of ViALUX's alp.h, at ALP_DATA_FORMAT.
_ALP_ROWS = {1024: (0, 128), 1400: (1, 176), 1920: (0, 256)}


def pack_rows(panel: Panel, levels: Mask, *, top_down: bool = True, row_bytes: int | None = None) -> bytes:
    """One mask as ALP's ``ALP_DATA_BINARY_TOPDOWN``: bit 7 of a byte is the leftmost of its 8 pixels.

    A row is padded: 1920 columns take 256 bytes and not 240.

    Args:
        panel: A one-bit panel; its slope and flips are applied.
        levels: Zeros and ones, shape ``panel.shape``.
        top_down: Whether the top row comes first, else ``ALP_DATA_BINARY_BOTTOMUP``.
        row_bytes: Bytes of a row, for a width that ALP's header does not name.

    Raises:
        ValueError: A panel of more bits, other values than 0 and 1, a width whose padding nobody has said.
    """
    ahead, length = _row(panel, row_bytes)
    rows = np.packbits(_bits(panel, levels), axis=1)
    full = np.zeros((panel.shape[0], length), dtype=np.uint8)
    full[:, ahead : ahead + rows.shape[1]] = rows
    return (full if top_down else full[::-1]).tobytes()


def unpack_rows(panel: Panel, data: bytes, *, top_down: bool = True, row_bytes: int | None = None) -> NDArray:
    """Levels, int64, of the panel's shape, of packed rows: the inverse of :func:`pack_rows`."""
    ahead, length = _row(panel, row_bytes)
    if len(data) != panel.shape[0] * length:
        raise ValueError(
            f"the packed mask must have {panel.shape[0]} rows of {length} bytes for {panel.name}, "
            f"got {len(data)} bytes."
        )
    full = np.frombuffer(data, dtype=np.uint8).reshape(panel.shape[0], length)
    rows = full if top_down else full[::-1]
    return panel.levels(np.unpackbits(rows[:, ahead:], axis=1, count=panel.shape[1]))


def write_alp(path: str | Path, panel: Panel, levels: Mask, **options: object) -> None:
    """Write :func:`pack_rows` to a file, for ``AlpSeqPut`` in ``ALP_DATA_BINARY_TOPDOWN``."""
    data = pack_rows(panel, levels, **options)
    with written_whole(path) as part:
        part.write_bytes(data)


def read_alp(path: str | Path, panel: Panel, **options: object) -> NDArray:
    """Levels of such a file, int64, of the panel's shape."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}.") from error
    return unpack_rows(panel, data, **options)


def write_planes(path: str | Path, panel: Panel, masks: Sequence[Mask], *, plane_order: PlaneOrder) -> None:
    """Write up to 24 one-bit masks as the bit planes of one 24-bit BMP, as TI's DLPC controllers take them.

    Args:
        path: ``.bmp`` file.
        panel: A one-bit panel; its slope and flips are applied.
        masks: The first 8 go to the bits of the first colour, bit 0 first, the next 8 to the second.
        plane_order: Colours in the order of the masks. Controllers and their software differ, and no source settles
            it: ask the board with an orientation pattern in one plane.

    Raises:
        ValueError: More than 24 masks, another file type, an unknown order, what :meth:`Panel.gray` refuses.
    """
    channels = _channels(plane_order)
    if not 1 <= len(masks) <= 24:
        raise ValueError(f"masks must be 1 ... 24 for one 24-bit image, got {len(masks)}. Write several images.")
    if Path(path).suffix.lower() != ".bmp":
        raise ValueError(f"{path} must end with .bmp for a DLPC controller.")
    planes = np.zeros((*panel.shape, 3), dtype=np.uint8)
    for number, levels in enumerate(masks):
        planes[..., channels[number // 8]] |= _bits(panel, levels) << (number % 8)
    with written_whole(path) as part:
        Image.fromarray(planes).save(part, format="BMP")


def read_planes(path: str | Path, panel: Panel, count: int, *, plane_order: PlaneOrder) -> NDArray:
    """Levels, int64, of the first ``count`` masks of such an image, shape ``(count, height, width)``."""
    channels = _channels(plane_order)
    if not 1 <= count <= 24:
        raise ValueError(f"count must be 1 ... 24 for one 24-bit image, got {count}.")
    with opened_image(path) as image:
        refuse_lossy(path, image)
        mode, planes = image.mode, np.asarray(image)
    if mode != "RGB":
        raise ValueError(f"{path} must be a 24-bit image, got Pillow's mode {mode}.")
    check_shape(planes.shape[:2], panel.shape, str(path), panel.name)
    return np.stack([panel.levels((planes[..., channels[n // 8]] >> (n % 8)) & 1) for n in range(count)])


def _bits(panel: Panel, levels: Mask) -> NDArray:
    if panel.bit_depth != 1:
        raise ValueError(f"bit_depth of {panel.name} must be 1 for one-bit patterns, got {panel.bit_depth}.")
    if panel.gray_slope != 1:
        raise ValueError(f"gray_slope of {panel.name} must be 1 for mirrors, or on and off are exchanged, got -1.")
    return panel.gray(as_array(levels))


def _row(panel: Panel, row_bytes: int | None) -> tuple[int, int]:
    width = panel.shape[1]
    if row_bytes is None and width not in _ALP_ROWS:
        raise ValueError(
            f"row_bytes must be stated for {width} columns: ALP's header gives it for {sorted(_ALP_ROWS)} alone. "
            "See ALP_DATA_FORMAT in alp.h of the device."
        )
    ahead, length = _ALP_ROWS[width] if row_bytes is None else (0, row_bytes)
    if 8 * (length - ahead) < width:
        raise ValueError(f"row_bytes must be at least {-(-width // 8)} for {width} columns, got {length}.")
    return ahead, length


def _channels(plane_order: str) -> list[int]:
    if sorted(plane_order) != sorted("RGB"):
        raise ValueError(f'plane_order must name each of R, G and B once, such as "GRB", got {plane_order!r}.')
    return ["RGB".index(colour) for colour in plane_order]
