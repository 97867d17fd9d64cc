"""How far a search for masks is: one bar on a terminal, with the time that is left, whatever it is made of."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

SILENT_SECONDS = 2.0
"""What ends sooner needs no bar."""


class Bar:
    """Progress of one search; draws nothing in its first two seconds, nor where stderr is no terminal.

    Args:
        label: What is searched for.
        total: How many steps there are.

    Attributes:
        done: Steps that are done.
        share: Steps of this bar that a search inside it is.
    """

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, total, 0.0
        self.share = 1.0
        self._begin = time.perf_counter()
        self._drawn: Progress | None = None

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Some steps more are done; ``note`` is shown beside the label."""
        self.done += steps
        if self._drawn is None and time.perf_counter() - self._begin > SILENT_SECONDS and sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
            times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
            self._drawn = Progress(*columns, *times, console=Console(stderr=True), transient=True)
            self._drawn.start()
            self._task = self._drawn.add_task(self.label, total=self.total)
        if self._drawn is not None:
            self._drawn.update(self._task, completed=self.done, description=f"{self.label} {note}".rstrip())

    def stop(self) -> None:
        """Take the bar away."""
        if self._drawn is not None:
            self._drawn.stop()


_WHOLE: ContextVar[Bar | None] = ContextVar("_WHOLE", default=None)


@contextmanager
def as_one(label: str, total: int, share: float) -> Iterator[Bar]:
    """One bar over several searches, which inside draw none of their own but move this one.

    Args:
        label: What all of it is for.
        total: Steps of all of it.
        share: How many of them one search is, whatever its own steps.
    """
    bar = Bar(label, total)
    bar.share = share
    before = _WHOLE.set(bar)
    try:
        yield bar
    finally:
        _WHOLE.reset(before)
        bar.stop()


@contextmanager
def search(label: str, total: int) -> Iterator[Bar]:
    """The bar of one search: its own, or that of the whole which it is part of.

    A search that ends early leaves the whole where it would be at its end.

    Args:
        label: What is searched for.
        total: Most steps.
    """
    whole = _WHOLE.get()
    bar = Bar(label, total) if whole is None else _Part(whole, total)
    try:
        yield bar
    finally:
        bar.stop()


class _Part(Bar):
    """Steps of one search within a whole."""

    def __init__(self, whole: Bar, total: int) -> None:
        super().__init__(whole.label, total)
        self.whole = whole

    def advance(self, steps: float = 1, note: str = "") -> None:
        self.done += steps
        self.whole.advance(self.whole.share * steps / self.total)

    def stop(self) -> None:
        self.advance(self.total - self.done)
