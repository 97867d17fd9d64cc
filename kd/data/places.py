"""Where image data lie on this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

ENVIRONMENT = "OPTICS4F_DATA"  # environment variable that names the folder of all data sets


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


def locate(title: str, root: str | Path | None, folders: Sequence[str], advice: str) -> Path:
    """The first of ``folders`` that exists below the root.

    Args:
        title: Name of the data set, for the message.
        root: As in :func:`data_root`.
        folders: Folders below the root where the set may be, the usual one first.
        advice: What to put there, one sentence.

    Raises:
        FileNotFoundError: None of them exists.
    """
    base = data_root(root)
    for folder in folders:
        if (base / folder).is_dir():
            return base / folder
    raise FileNotFoundError(
        f"{title} must be in {base / folders[0]}, got no such folder. {advice} "
        f"Another data folder is named by root= or by the environment variable {ENVIRONMENT}."
    )


def inside(folder: Path, names: Sequence[str], what: str) -> Path:
    """The first of ``names`` that exists in ``folder``.

    Raises:
        FileNotFoundError: None of them exists; ``what`` says in words what is missing.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{folder} must contain {what}, got none. Put {' or '.join(names)} there.")
