"""Fetching data sets whose owners allow it, checked against their published checksums."""

from __future__ import annotations

import shutil
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from kd.data.places import filled
from kd.extras import extra


@dataclass(frozen=True)
class Download:
    """One file of a data set.

    Attributes:
        url: Where it is.
        checksum: ``algorithm:hex``, as published; the file is refused otherwise.
        unpack: Whether it is a tar archive that holds the set's folder.
    """

    url: str
    checksum: str
    unpack: bool = False

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rsplit("/", 1)[-1]


def fetch(files: tuple[Download, ...], root: Path, folder: str) -> Path:
    """Bring ``files`` into ``root / folder``; what is there stays, unpacked or not; an empty folder is nothing.

    Args:
        files: What to fetch: loose files, or one archive that holds ``folder``.
        root: Data folder; made where it is missing.
        folder: Folder of the set below ``root``.

    Returns:
        ``root / folder``.

    Raises:
        ImportError: pooch is not installed.
        OSError: A server cannot be reached.
        ValueError: A file with another checksum, or an archive without the folder.
    """
    pooch = extra("pooch", "pooch")
    target = root / folder
    for file in files:
        place = root if file.unpack else target
        there = filled(target) if file.unpack else any((target / n).exists() for n in (file.name, Path(file.name).stem))
        if there:
            continue
        bar = _Bar(file.name)
        try:
            fetched = pooch.retrieve(
                file.url,
                known_hash=file.checksum,
                fname=file.name,
                path=place,
                downloader=pooch.HTTPDownloader(progressbar=bar),
            )
        except OSError as error:
            raise OSError(f"{file.url} must be reachable, got: {error}. Fetch it by hand into {place}.") from error
        finally:
            bar.close()
        if file.unpack:
            _unpack(Path(fetched), root, folder)
    return target


def _unpack(archive: Path, root: Path, folder: str) -> None:
    """Replace ``root / folder`` by that of the archive: whole or not at all."""
    with tempfile.TemporaryDirectory(dir=root, prefix=".unpack-") as scratch:
        with tarfile.open(archive) as tar:
            tar.extractall(scratch, filter="data")  # refuses links and paths that lead out of the folder
        if not (Path(scratch) / folder).is_dir():
            raise ValueError(f"{archive} must contain the folder {folder}, got none.")
        shutil.rmtree(root / folder, ignore_errors=True)
        (root / folder).parent.mkdir(parents=True, exist_ok=True)
        (Path(scratch) / folder).rename(root / folder)


class _Bar:
    """A progress bar with the four names that pooch asks for."""

    def __init__(self, label: str) -> None:
        self.total = 0
        self._progress = Progress(
            *(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self._progress.add_task(label, total=None)

    def update(self, count: int) -> None:
        self._progress.start()
        self._progress.update(self._task, advance=count, total=self.total)

    def reset(self) -> None:
        self._progress.reset(self._task, total=self.total)

    def close(self) -> None:
        self._progress.stop()
