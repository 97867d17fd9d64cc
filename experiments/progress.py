"""How far a long command has come: a bar on a terminal, elsewhere a plain line now and then on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 60.0
"""Seconds between two plain lines; a command that is shorter writes none."""


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """Tasks of a known length, drawn on the console where that is a terminal.

    Where it is not, as in a pipe or the log of a batch job, stdout stays as it is, and stderr gets a line a minute on
    the first task. A quiet console is quiet on both.
    """
    columns = (
        TextColumn("{task.description}"),
        *(BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()),
    )
    ended = threading.Event()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        if console.is_terminal or console.quiet:
            yield bar
            return
        teller = threading.Thread(target=_tell, args=(bar, ended), name="progress", daemon=True)
        teller.start()
        try:
            yield bar
        finally:
            ended.set()
            teller.join()


def _tell(bar: Progress, ended: threading.Event) -> None:
    started = time.monotonic()
    while not ended.wait(EVERY):
        for task in bar.tasks[:1]:
            minutes = (time.monotonic() - started) / 60
            print(
                f"{task.description}: {task.completed:.0f} of {task.total:.0f} after {minutes:.0f} min",
                file=sys.stderr,
                flush=True,
            )
