"""The HDF5 mask bundle: what the bench uploads, and the camera frames that it should then see.

The only importer of h5py. Layout: ``docs/reference/bench_format.md``. The root datasets ``phase`` [rad] and ``display``
[gray levels] are what slmsuite's ``load_phase`` reads; all else is attributes and groups. Opening a bundle runs no code
from it.
"""

from .arrays import read_arrays, write_arrays
from .claims import LARGEST
from .contents import Bundle, BundleError, frames_of, level_around, level_phases, predict_frames
from .reading import read_bundle, verify_bundle
from .schema import SCHEMA, SCHEMA_VERSION
from .writing import write_bundle

__all__ = [
    "LARGEST",
    "SCHEMA",
    "SCHEMA_VERSION",
    "Bundle",
    "BundleError",
    "frames_of",
    "level_around",
    "level_phases",
    "predict_frames",
    "read_arrays",
    "read_bundle",
    "verify_bundle",
    "write_arrays",
    "write_bundle",
]
