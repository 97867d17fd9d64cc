"""What the command lines of the three packages share: errors in one line, exit codes."""

from __future__ import annotations

import os
import select
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from threading import Timer

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .start import INTERRUPTED, TOLD, raising_on_ctrl_c

FAILED, BAD_INPUT, UNREAD = 1, 2, 141  # the last is 128 + SIGPIPE, as of any program whose reader has gone
SILENT_SECONDS = 2.0
OWN = ("optics4f", "kd", "experiments")
"""Packages whose warnings are meant for users."""


@contextmanager
def errors_in_one_line(*failures: type[Exception]) -> Iterator[None]:
    """Turn what a user can cause into one line on stderr and an exit code.

    ``OPTICS4F_TRACEBACK=1`` in the environment shows the traceback as well.

    Args:
        failures: Errors of a check that was asked for and did not hold: exit code 1. Any other error is bad input,
            in the end: a value too large for memory or for arithmetic shows itself as whatever the libraries raise.
    """
    try:
        with raising_on_ctrl_c(), _warnings_in_one_line():
            yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None  # of which run() tells
    except failures as error:
        _end(error, FAILED)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _reader_has_gone():
            _end_unread()
        _end(error, BAD_INPUT)


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Warnings of one's own code as one line on stderr, once each, without the place in the code that gave them."""
    told: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
        if not category.__module__.startswith(OWN) and category is not UserWarning:
            before(message, category, *place, **more)
        elif (text := " ".join(str(message).split())) not in told:
            told.add(text)
            print(f"warning: {text}", file=sys.stderr)

    with warnings.catch_warnings():  # gives the old way back
        before, warnings.showwarning = warnings.showwarning, show
        yield


@contextmanager
def working(label: str) -> Iterator[None]:
    """Say that something is under way, and since when, of work whose end cannot be foreseen.

    Shows after two seconds, on stderr, where that is a terminal; work of known length is :func:`counting`.

    Args:
        label: What is done, such as ``"fitting"``.
    """
    with _shown_in_a_while(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as bar:
        bar.add_task(label, total=None)
        yield


@contextmanager
def counting(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """How much is done of work of known length, and how long the rest will take; shown as :func:`working` is.

    Args:
        label: What is done.
        total: How much there is.

    Returns:
        What is to be told how much more is done.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with _shown_in_a_while(*columns) as bar:
        task = bar.add_task(label, total=total)
        yield lambda more: bar.advance(task, more)


@contextmanager
def _shown_in_a_while(*columns: ProgressColumn) -> Iterator[Progress]:
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    if not sys.stderr.isatty():
        yield bar  # counts, and is never drawn
        return
    timer = Timer(SILENT_SECONDS, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield bar
    finally:
        timer.cancel()
        timer.join()  # it may be drawing just now
        bar.stop()


@contextmanager
def spared_from_ctrl_c() -> Iterator[None]:
    """Processes started inside do not feel Ctrl-C: the terminal sends it to all, and it is the parent's to end them.

    From their first moment on, which a worker's initializer is too late for: imports come before it.
    """
    if os.name != "posix":
        yield
        return
    resource_tracker.ensure_running()  # when it starts, it lets the signal through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # children inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(error: Exception, code: int) -> None:
    if os.environ.get("OPTICS4F_TRACEBACK"):
        raise error
    text, cause = str(error), error.__cause__
    if isinstance(cause, UnicodeDecodeError):  # the repr of one is the whole file
        text = text.replace(repr(cause), str(cause))
    words = " ".join(text.split()) or "it ended"
    if len(words) > 600:
        words = words[:600] + " ..."
    kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
    print(f"error: {kind}{words}", file=sys.stderr)
    raise typer.Exit(code) from error


def run(app: Callable[[], None]) -> None:
    """Run a typer application; Ctrl-C ends it in one line, and a reader that goes, as of ``| head``, without a word."""
    with interruptible():
        try:
            app()
        except SystemExit as end:
            if isinstance(end.__context__, BrokenPipeError):  # of which rich and typer make exit code 1
                _end_unread()
            raise
        finally:
            _write_the_rest()


def _write_the_rest() -> None:
    """Write what standard output still holds: at its end, Python would show a traceback of what cannot be written."""
    try:
        if sys.__stdout__ is not None:  # closed by the shell
            sys.__stdout__.flush()
    except BrokenPipeError:
        _end_unread()
    except OSError as error:  # a full disk
        print(f"error: standard output: {error}", file=sys.stderr)
        _end_unread(BAD_INPUT)


def _reader_has_gone() -> bool:
    """Whether standard output is a pipe that nobody reads: other pipes break as well, as those of a cluster."""
    asked = select.poll()
    asked.register(sys.__stdout__.fileno(), 0)
    return any(state & (select.POLLERR | select.POLLHUP) for _, state in asked.poll(0))


def _end_unread(code: int = UNREAD) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # for the last flush, which Python does
    raise SystemExit(code)


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C inside ends the program in one line; besides commands, imports of seconds are run in it."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:  # typer makes the one the other
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        print(TOLD, file=sys.stderr)
        sys.exit(INTERRUPTED)
