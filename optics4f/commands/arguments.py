"""Arguments that several commands take, and tables that several print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

Config = Annotated[Path, typer.Argument(help="TOML file with a \\[bench] table.")]
MaskBundle = Annotated[Path, typer.Argument(help="HDF5 mask bundle.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


def counted(number: int, noun: str) -> str:
    """A number and what it counts: ``1 mask``, ``2 masks``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def print_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> None:
    """A table for readers; columns named in ``right`` hold numbers."""
    table = Table(title=title)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
