"""The command ``optics4f``: from a new configuration to masks, the file for the bench, and what the bench measured."""

from __future__ import annotations

from typing import Annotated

import typer

from . import __version__
from .commands import begin, bench, bundles, measured
from .console import run

app = typer.Typer(
    no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help="Physical optics of a 4f system."
)
for command in (
    *(begin.new, begin.schema, bench.sampling, bench.simulate, bench.design),
    *(bundles.verify, bundles.inspect, bundles.diff, bundles.export),
    *(measured.fit, measured.compare, bundles.report, begin.devices),
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the console script."""
    run(app)


if __name__ == "__main__":
    main()
