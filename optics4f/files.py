"""Writing files whole or not at all."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes ``path`` when the block ends without an error.

    A reader sees the old file or the new one, never half of one; after an error or a
    Ctrl-C the old file stands and the temporary one is gone. What a process that was
    killed left of its own goes with the next writing of ``path`` on the same machine.

    Args:
        path: The file to write; missing folders are made.

    Yields:
        The name to write to, in the same folder (a rename is atomic on one file system only).
    """
    path = Path(path)
    made_folder(path.parent)
    _remove_left_behind(path)
    part = path.with_name(f"{_prefix(path)}{os.getpid()}.part")
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())  # a rename that survives a power cut before its content does would be a half file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def made_folder(path: str | Path) -> Path:
    """A folder to write results to, with all above it, made if need be.

    Raises:
        NotADirectoryError: A file is there, or above it.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(f"{path} must be a folder, got a file there. Name another folder.") from error
    return path


def _prefix(path: Path) -> str:
    """Of temporary names: a process is known by its number on its own machine alone."""
    return f".{path.name}.{platform.node()}."


def _remove_left_behind(path: Path) -> None:
    """Remove temporary files of processes that are no more."""
    if os.name != "posix":  # elsewhere a process cannot be asked after without ending it
        return
    start = _prefix(path)
    with suppress(OSError):  # a folder that may not be listed may be written to all the same
        for other in path.parent.iterdir():
            number = other.name.removeprefix(start).removesuffix(".part")
            if other.name == f"{start}{number}.part" and number.isdecimal() and not _runs(int(number)):
                other.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # of another user; no number of a process
        return True
    return True


def refuse_overwriting(out: Path, *inputs: Path) -> None:
    """Refuse to write over what is read, by whatever name or link it is reached.

    Args:
        out: The file to write.
        inputs: The files that are read; those that do not exist are of no account.

    Raises:
        ValueError: ``out`` is one of them.
    """
    for source in inputs:
        if Path(out).exists() and Path(source).exists() and Path(out).samefile(source):
            raise ValueError(
                f"the output must be another file than the input {source}, got {out}. Choose another name."
            )
