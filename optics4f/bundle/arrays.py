"""Numbers in HDF5 files that are no bundle: measured frames, calibrations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from ..files import written_whole
from .checksums import describe, plain
from .claims import claimed_bytes, opened
from .contents import BundleError


def read_arrays(
    path: str | Path, required: Sequence[str], optional: Sequence[str] = ()
) -> tuple[dict[str, NDArray], dict[str, object]]:
    """Numbers of an HDF5 file that is no bundle, such as measured frames or a calibration of slmsuite.

    Args:
        path: HDF5 file.
        required: Datasets that must be there.
        optional: Datasets that are read where they are there.

    Returns:
        Name -> array, of the shape that it has in the file, and the attributes of the root that are numbers or text.

    Raises:
        BundleError: No HDF5 file; a dataset that is missing, no numbers, a link to elsewhere or claims too much.
    """
    with opened(path, "HDF5 file") as file:
        found = {}
        for name in (*required, *optional):
            parts = name.split("/")
            steps = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
            if not all(isinstance(file.get(step, getlink=True), h5py.HardLink) for step in steps):
                if name in required:
                    raise BundleError(f"{path} lacks the dataset {name}.")
                continue
            dataset = file[name]
            if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "uifb" or dataset.shape is None:
                raise BundleError(f"{path}: {name} must be a dataset of numbers.")
            claimed_bytes(name, dataset, str(path))
            found[name] = np.asarray(dataset[()])
        return found, {name: plain(value) for name, value in file.attrs.items()}


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray], **attributes: object) -> None:
    """Write numbers to an HDF5 file, packed, whole or not at all.

    Args:
        path: HDF5 file.
        arrays: Name -> array of any shape; a name may hold folders, as in ``"expected/frames"``.
        **attributes: Attributes of the root: numbers and text.
    """
    with written_whole(path) as part, h5py.File(part, "w", libver="v110") as file:
        describe(file, **attributes)
        for name, data in arrays.items():
            file.create_dataset(name, data=data, compression="gzip" if data.ndim else None)
