"""Which exit code a mask bundle deserves that cannot be used: one that does not hold, or bad input."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..console import errors_in_one_line

_HDF5 = b"\x89HDF\r\n\x1a\n"


@contextmanager
def bundle_errors_in_one_line(*bundles: Path, measured: Path | None = None) -> Iterator[None]:
    """As :func:`optics4f.console.errors_in_one_line`, and what a bundle does not keep is exit code 1.

    Exit code 2, as for any other bad input, where a file is missing, empty or something else than a bundle, and where
    the measurements are at fault.

    Args:
        bundles: Files of which the command asks that they hold.
        measured: A file beside them, of which it does not.
    """
    from ..bundle import BundleError

    with errors_in_one_line(BundleError):
        try:
            yield
        except BundleError as error:
            of_measured = measured is not None and str(error).startswith((f"{measured} ", f"{measured}:"))
            if of_measured or not all(_is_bundle(path) for path in bundles):
                raise ValueError(str(error)) from error
            raise


def _is_bundle(path: Path) -> bool:
    """Whether a file is a mask bundle, be it damaged: by its header, or by where HDF5 begins behind one."""
    from ..bundle import SCHEMA
    from ..bundle.checksums import HEADER_BYTES

    try:
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES + len(_HDF5))
    except OSError:
        return False
    return start.startswith(SCHEMA.encode()) or start[HEADER_BYTES:] == _HDF5
