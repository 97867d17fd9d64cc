"""``python -m experiments``: demo, benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from optics4f.console import errors_in_one_line, run

from . import benchmark

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Claims, and the commands that check them."
)


app.add_typer(benchmark.app, name="benchmark")


@app.command()
def demo(
    config: Annotated[Path, typer.Argument(help="TOML file, such as experiments/configs/demo.toml.")],
    out: Annotated[Path, typer.Option(help="Folder for masks.h5, metrics.json and report.html.")] = Path("runs/demo"),
) -> None:
    """Images, teacher, physical student, masks, ledger, cost, report.

    Example: python -m experiments demo experiments/configs/demo.toml --out runs/demo
    """
    with errors_in_one_line():
        from .demo import run_demo
        from .settings import load_configuration

        run_demo(load_configuration(config), out, Console())


if __name__ == "__main__":
    run(app)
