"""What a stranger's file claims, checked before any of it is read: links, kinds, filters and sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from .checksums import datasets
from .contents import BundleError, first_line

LARGEST = 4_000_000_000
"""Bytes of data that a bundle may hold, unpacked: 380 masks of 1920 x 1080."""
_GZIP_AT_MOST = 1032  # times; zlib's own limit
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_KINDS = {"__version__": "S", "config": "S", "phase": "f", "images": "f", "display": "u", "frames": "u"}


@contextmanager
def opened(path: str | Path, kind: str) -> Iterator[h5py.File]:
    """A file to read; what h5py, TOML or a configuration object to in it is a :class:`BundleError` of one line."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except BundleError:
        raise
    except FileNotFoundError as error:
        raise BundleError(f"{path} does not exist.") from error
    except (OSError, RuntimeError) as error:
        raise BundleError(f"{path} cannot be read as HDF5: {first_line(error)}.") from error
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError, MemoryError) as error:
        raise BundleError(f"{path} is not a complete {kind}: {first_line(error)}") from error


def refuse_links(file: h5py.File, path: str) -> None:
    """A link may lead to another file, or around what is checked: only what is stored here counts."""
    waiting, seen = [("", file)], set()
    while waiting:
        place, group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise BundleError(
                    f"{path}: {place}{name} is a link to elsewhere. A bundle holds all of its data itself."
                )
            item = group.get(name)
            if isinstance(item, h5py.Group):
                waiting.append((f"{place}{name}/", item))


def refuse_claims(file: h5py.File, path: str) -> None:
    """Datasets of another kind, or larger than what is stored can be, before any of them is read into memory."""
    total = 0
    for name, dataset in datasets(file):
        kind = _KINDS.get(name.rsplit("/", 1)[-1], "uf")
        if dataset.dtype.kind not in kind or dataset.shape is None:
            raise BundleError(f"{path}: {name} must hold numbers or text of a fixed length, got {dataset.dtype}.")
        total += claimed_bytes(name, dataset, path)
        if total > LARGEST:
            raise BundleError(f"{path}: {name} and what precedes it claim more than {LARGEST / 1e9:.0f} GB.")


def claimed_bytes(name: str, dataset: h5py.Dataset, path: str) -> int:
    """Bytes that reading a dataset takes; refused where more are claimed than what is stored can hold."""
    layout = dataset.id.get_create_plist()
    # A chunk is unpacked as a whole, however little of it belongs to the dataset.
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    filters = {layout.get_filter(number)[0] for number in range(layout.get_nfilters())}
    if dataset.is_virtual or dataset.external or filters - _FILTERS:
        raise BundleError(f"{path}: {name} must be stored in the file itself, plain or by gzip.")
    stored = dataset.id.get_storage_size()
    claimed = max(dataset.nbytes, chunk)
    if claimed > min(_GZIP_AT_MOST * stored + 4096, LARGEST):
        raise BundleError(
            f"{path}: {name} claims {claimed / 1e6:.0f} MB from {stored} stored bytes. A file holds at "
            f"most {LARGEST / 1e9:.0f} GB, and gzip shrinks by at most {_GZIP_AT_MOST}."
        )
    return claimed
