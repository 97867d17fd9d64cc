"""What the command lines of the three packages share: errors in one line, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


@contextmanager
def errors_in_one_line(*failures: type[Exception]) -> Iterator[None]:
    """Turn what a user can cause into one line on stderr and an exit code.

    ``OPTICS4F_TRACEBACK=1`` in the environment shows the traceback as well.

    Args:
        failures: Errors of a check that was asked for and did not hold: exit code 1. Any other error is bad input,
            in the end: a value too large for memory or for arithmetic shows itself as whatever the libraries raise.
    """
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except KeyboardInterrupt:
        print("interrupted: nothing is half-written.", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except failures as error:
        _end(error, FAILED)
    except Exception as error:
        _end(error, BAD_INPUT)


def _end(error: Exception, code: int) -> None:
    if os.environ.get("OPTICS4F_TRACEBACK"):
        raise error
    words = " ".join(str(error).split()) or "it ended"
    if len(words) > 600:
        words = words[:600] + " ..."
    kind = "" if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: "
    print(f"error: {kind}{words}", file=sys.stderr)
    raise typer.Exit(code) from error


def run(app: Callable[[], None]) -> None:
    """Run a typer application; Ctrl-C ends it in one line."""
    try:
        app()
    except KeyboardInterrupt:
        print("interrupted: nothing is half-written.", file=sys.stderr)
        sys.exit(INTERRUPTED)
