"""How the three programs start: with the standard library alone, so that nothing that takes time comes before it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType

INTERRUPTED = 130
TOLD = "interrupted: nothing is half-written."


def prepare() -> None:
    """What has to stand before PyTorch is imported: how its threads wait, and what Ctrl-C does meanwhile."""
    # OpenMP's threads wait by spinning, which takes the cores from each other where others work on them too: 60
    # iterations of experiments/configs/design_spots.toml on four busy cores took 34 s to 80 s, asleep 0.3 s to 0.5 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell made the program deaf to it
        signal.signal(signal.SIGINT, _end_at_once)


def start(module: str) -> None:
    """Import a program, and run its ``main``."""
    prepare()
    import_module(module).main()


def main() -> None:
    """Entry point of the console script ``optics4f``."""
    start("optics4f.cli")


@contextmanager
def raising_on_ctrl_c() -> Iterator[None]:
    """In the body of a command, Ctrl-C raises ``KeyboardInterrupt``: what is under way is taken back.

    Outside, and inside while something is imported, it ends the program on the spot. A library in C++ that calls
    Python as it is imported makes of an exception what it likes: another one, or the end of the process.
    """
    mine = signal.getsignal(signal.SIGINT) is _end_at_once
    if mine:
        signal.signal(signal.SIGINT, _raise)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGINT, _end_at_once)


def _raise(number: int, frame: FrameType | None) -> None:
    place = frame
    while place is not None:
        if place.f_globals.get("__name__") == "importlib._bootstrap":
            _end_at_once(number, frame)
        place = place.f_back
    raise KeyboardInterrupt


def _end_at_once(number: int, frame: FrameType | None) -> None:
    clear = "\r\x1b[K\x1b[?25h" if signal.getsignal(number) is _raise and os.isatty(2) else ""  # a bar, its cursor
    os.write(2, f"{clear}{TOLD}\n".encode())  # past sys.stderr, which may be in the middle of a line of its own
    os._exit(INTERRUPTED)
