"""Where image data lie on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ENVIRONMENT = "OPTICS4F_DATA"  # environment variable that names the folder of all data sets
OTHERS = f"Another data folder: --data FOLDER, {ENVIRONMENT}, or in Python root=."


def data_root(root: str | Path | None = None) -> Path:
    """Folder that holds one folder per data set: ``root``, else ``$OPTICS4F_DATA``, else the user's cache.

    Args:
        root: The folder, or ``None`` to ask the environment.
    """
    if root is not None:
        return Path(root).expanduser()
    if named := os.environ.get(ENVIRONMENT):
        return Path(named).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "optics4f" / "data"


@contextmanager
def data_in(folder: str | Path | None) -> Iterator[None]:
    """Inside, ``folder`` is the data folder of this process and of those that it starts.

    Args:
        folder: In place of what ``$OPTICS4F_DATA`` names; ``None`` changes nothing.

    Raises:
        FileNotFoundError: No such folder.
    """
    if folder is None:
        yield
        return
    path = Path(folder).expanduser()
    if not path.is_dir():
        raise FileNotFoundError(
            f"data must be the folder that holds the data sets, got {folder}, which is none. "
            "`python -m kd data` lists what belongs in it."
        )
    before = os.environ.get(ENVIRONMENT)
    os.environ[ENVIRONMENT] = str(path.resolve())  # processes that are started inherit it
    try:
        yield
    finally:
        if before is None:
            del os.environ[ENVIRONMENT]
        else:
            os.environ[ENVIRONMENT] = before


def filled(folder: Path) -> bool:
    """Whether there is such a folder, with something in it."""
    return folder.is_dir() and any(folder.iterdir())


def locate(title: str, root: str | Path | None, folders: Sequence[str], advice: str) -> Path:
    """The first of ``folders`` below the root that holds something, else the first that exists.

    Args:
        title: Name of the data set, for the message.
        root: As in :func:`data_root`.
        folders: Folders below the root where the set may be, the usual one first.
        advice: What to put there, one sentence.

    Raises:
        FileNotFoundError: None of them exists.
    """
    base = data_root(root)
    there = sorted((base / folder for folder in folders if (base / folder).is_dir()), key=filled, reverse=True)
    if there:
        return there[0]  # the sort keeps the order of equals
    raise FileNotFoundError(f"{title} must be in {base / folders[0]}, got no such folder. {advice} {OTHERS}")


def inside(folder: Path, names: Sequence[str], what: str) -> Path:
    """The first of ``names`` that exists in ``folder``.

    Raises:
        FileNotFoundError: None of them exists; ``what`` says in words what is missing.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{folder} must contain {what}, got none. Put {' or '.join(names)} there.")
