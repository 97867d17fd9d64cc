"""Writing files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes ``path`` when the block ends without an error.

    A reader sees the old file or the new one, never half of one; after an error or a
    Ctrl-C the old file stands and the temporary one is gone.

    Args:
        path: The file to write; missing folders are made.

    Yields:
        The name to write to, in the same folder (a rename is atomic on one file system only).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())  # a rename that survives a power cut before its content does would be a half file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
