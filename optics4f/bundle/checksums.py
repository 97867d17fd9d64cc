"""Checksums of data, attributes and the whole file; text and numbers as HDF5 stores them without a heap."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from ..files import written_whole
from .schema import SCHEMA, SCHEMA_VERSION

HEADER_BYTES = 512  # the least that HDF5 lets stand in front of its data
_BLOCK_BYTES = 2**25


def describe(item: h5py.Group | h5py.Dataset, **attributes: object) -> None:
    """Attach attributes; text has a fixed length.

    A variable-length string is a pointer into a heap: one damaged bit of it, and HDF5 itself crashes on reading. With
    fixed lengths, and the layout of HDF5 1.10 whose metadata carry checksums, damage ends in an error instead.
    """
    for name, value in attributes.items():
        item.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value


def plain(value: object) -> object:
    """An HDF5 attribute as JSON knows it."""
    if isinstance(value, bytes):  # numpy's as well: first, for it is a numpy scalar too
        return bytes(value).decode()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value


def datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every dataset once, root names first."""
    names = sorted(name for name, item in file.items() if isinstance(item, h5py.Dataset))
    seen = {file[name].id.__hash__() for name in names}
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in [*names, *sorted(set(found) - set(names))]:
        if name in names or file[name].id.__hash__() not in seen:
            yield name, file[name]


def dataset_sha256(dataset: h5py.Dataset) -> str:
    """Of the contiguous little-endian bytes, or of the text."""
    digest = hashlib.sha256()
    for value in _blocks(dataset):
        digest.update(value if isinstance(value, bytes) else _little_endian(np.asarray(value)))
    return digest.hexdigest()


def array_sha256(value: NDArray) -> str:
    """Of the contiguous little-endian bytes of an array of any shape."""
    return hashlib.sha256(_little_endian(value)).hexdigest()


def attributes_sha256(file: h5py.File) -> str:
    """Of all attributes of all groups and datasets but itself, as sorted JSON."""
    items = {"/": file, **{name: file[name] for name in _all_names(file)}}
    content = {
        name: {key: plain(value) for key, value in item.attrs.items() if key != "attributes_sha256"}
        for name, item in items.items()
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@contextmanager
def signed(path: str | Path) -> Iterator[Path]:
    """As ``written_whole``, and the header in front of the HDF5 data is filled in: the checksum of all bytes behind."""
    with written_whole(path) as part:
        yield part
        with part.open("r+b") as file:
            header = header_of(file)
            file.seek(0)
            file.write(header)


def header_of(file: BinaryIO) -> bytes:
    """The first 512 bytes of a bundle, which HDF5 passes over."""
    file.seek(HEADER_BYTES)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    text = f"{SCHEMA} {SCHEMA_VERSION}\nHDF5 from byte {HEADER_BYTES}, SHA-256 {digest}, end {file.tell()}\n"
    return text.encode().ljust(HEADER_BYTES, b"\0")


def _blocks(dataset: h5py.Dataset, place: tuple[int, ...] = ()) -> Iterator[NDArray | bytes]:
    """The data in their order, some tens of MB at a time."""
    rest = dataset.shape[len(place) :]
    if math.prod(rest) * dataset.dtype.itemsize <= _BLOCK_BYTES:
        yield dataset[place]
        return
    rows = _BLOCK_BYTES // (math.prod(rest[1:]) * dataset.dtype.itemsize)
    for start in range(0, rest[0], max(rows, 1)):
        if rows:
            yield dataset[(*place, slice(start, start + rows))]
        else:
            yield from _blocks(dataset, (*place, start))


def _little_endian(value: NDArray) -> bytes:
    return np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"))).tobytes()


def _all_names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names
