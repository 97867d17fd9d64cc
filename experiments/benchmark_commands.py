"""``python -m experiments benchmark``. Each command imports what it needs: help does not wait for PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from optics4f.console import errors_in_one_line

LARGEST, MOST = 8192, 256
"""The last of ``SIZES`` and ``BATCHES`` of ``experiments.benchmark_growth``, written out."""

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write every number here.")]
MarkdownFile = Annotated[Path | None, typer.Option("--markdown", help="Write the tables here.")]

app = typer.Typer(help="optics4f against the bare FFT, closed forms and other libraries.")


@app.callback(invoke_without_command=True)
def speed(
    context: typer.Context,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads on a CPU; ratios are stated for 1.")] = 1,
    repetitions: Annotated[int, typer.Option(help="Interleaved runs of each case.")] = 10,
    quick: Annotated[bool, typer.Option("--quick", help="Small planes only.")] = False,
    json_file: JsonFile = None,
    markdown_file: MarkdownFile = None,
) -> None:
    """Time and memory of single planes and 4f training steps, against bare FFTs and other libraries.

    Example: python -m experiments benchmark --json speed.json --markdown speed.md
    """
    if context.invoked_subcommand is not None:
        return
    with errors_in_one_line():
        from .speed_report import run_speed

        run_speed(Console(), device, threads, repetitions, quick, json_file, markdown_file)


@app.command()
def retrieval(
    json_file: JsonFile = None,
    markdown_file: MarkdownFile = None,
    iterations: Annotated[int, typer.Option(min=1, help="Iterations of slmsuite, which set the time.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Of the random start.")] = 0,
) -> None:
    """Retrieve spot arrays and a picture with optics4f and, if it is installed, with slmsuite.

    Example: python -m experiments benchmark retrieval --markdown retrieval.md
    """
    with errors_in_one_line():
        from .benchmark_retrieval import run_retrieval

        run_retrieval(Console(), json_file, markdown_file, iterations=iterations, seed=seed)


@app.command()
def conv(
    out: Annotated[Path | None, typer.Option(help="Folder for conv.md, conv.json and a figure of each set.")] = None,
    rounds: Annotated[int, typer.Option(min=0, help="Corrections of the masks.")] = 4,
    steps: Annotated[int, typer.Option(min=0, help="Gradient steps after them.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the random kernels, the random start and the noise.")] = 0,
    speed: Annotated[bool, typer.Option("--speed", help="Time and memory of a training step instead.")] = False,
) -> None:
    """Signed kernels tiled on one SLM, measured by a simulated camera, against conv2d; or the speed of training.

    Example: python -m experiments benchmark conv --out results
    """
    with errors_in_one_line():
        from .benchmark_conv import run_conv

        run_conv(Console(), out, rounds=rounds, steps=steps, seed=seed, speed=speed)


@app.command()
def growth(
    out: Annotated[Path | None, typer.Option(help="Folder for growth.md, growth.json and growth.png.")] = None,
    largest: Annotated[int, typer.Option(min=256, help="Widest plane.")] = LARGEST,
    most: Annotated[int, typer.Option(min=1, help="Largest batch.")] = MOST,
) -> None:
    """Time and memory for N = 256 ... 8192 and B = 1 ... 256, one thread, with the fitted exponents.

    Example: python -m experiments benchmark growth --out results
    """
    with errors_in_one_line():
        from .benchmark_growth import run_growth

        run_growth(Console(), out, largest=largest, most=most)


@app.command()
def accuracy(json_file: JsonFile = None, markdown_file: MarkdownFile = None) -> None:
    """Propagate a Gaussian beam with optics4f and whatever other library is installed.

    Example: python -m experiments benchmark accuracy --markdown accuracy.md
    """
    with errors_in_one_line():
        from .benchmark import run_accuracy

        run_accuracy(Console(), json_file, markdown_file)
