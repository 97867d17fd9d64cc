"""How a command's processes end: workers with the process that started them, a sweep in order when it is told to."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

ORPHANED = 1  # exit code that nobody is left to read


def end_with_parent() -> None:
    """In a worker: end at once when the process that started it has ended, even where that was killed.

    A worker of Python's pools waits for its next task for ever: it holds both ends of the pipe that brings it.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), name="end with parent", daemon=True).start()


def _follow(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(ORPHANED)  # without a word to pipes that nobody reads


@contextmanager
def terminated_like_ctrl_c() -> Iterator[None]:
    """SIGTERM inside raises ``KeyboardInterrupt``: what is finished is written, and workers are ended.

    As batch systems send it before they kill. Left alone where there is a handler already, or in a thread.
    """
    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if not mine:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
