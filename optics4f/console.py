"""What the command lines of the three packages share: errors in one line, exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


@contextmanager
def errors_in_one_line(*failures: type[Exception]) -> Iterator[None]:
    """Turn what a user can cause into one line on stderr and an exit code.

    Args:
        failures: Errors of a check that was asked for and did not hold: exit code 1. ``ValueError`` and ``OSError``
            are bad input: exit code 2.
    """
    try:
        yield
    except failures as error:
        _end(error, FAILED)
    except (ValueError, OSError) as error:
        _end(error, BAD_INPUT)


def _end(error: Exception, code: int) -> None:
    print("error: " + " ".join(str(error).split()), file=sys.stderr)
    raise typer.Exit(code) from error


def run(app: Callable[[], None]) -> None:
    """Run a typer application; Ctrl-C ends it in one line."""
    try:
        app()
    except KeyboardInterrupt:
        print("interrupted: nothing is half-written.", file=sys.stderr)
        sys.exit(INTERRUPTED)
