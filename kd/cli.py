"""``python -m kd``: data, train, evaluate, export."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from optics4f.console import errors_in_one_line, run

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Distil digital teachers into optical students."
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Checkpoint = Annotated[Path, typer.Argument(help="File of `train`, ROW-SEED.safetensors.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="Folder that holds the data sets; by default what OPTICS4F_DATA names.")
]


class Split(StrEnum):
    """Parts of a data set."""

    test = "test"
    validation = "validation"
    train = "train"


@app.command()
def data(
    folder: Data = None,
    download: Annotated[str | None, typer.Option(help="Set to fetch first, where its owner allows it.")] = None,
    as_json: Json = False,
) -> None:
    """List the data sets: what they are, where they are looked for, how to get them.

    Without --data, the environment variable OPTICS4F_DATA names the folder that holds them.

    Example: python -m kd data
    """
    with errors_in_one_line():
        from .command import fetch_data, known_data
        from .data.places import data_in, data_root

        with data_in(folder):
            if download is not None:
                fetch_data(download)
            root, rows = data_root(), known_data()
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(title=f"data sets in {root}", show_lines=True)
    for column in ("name", "labels", "folder", "there", "how to get it", "terms"):
        table.add_column(column, overflow="fold")
    for row in rows:
        labels = "class maps" if row["task"] == "segmentation" else "classes"
        places = "\n".join(str(Path(place).relative_to(root)) for place in row["looked_for"])
        table.add_row(row["name"], labels, places, "yes" if row["there"] else "no", row["how_to_get"], row["terms"])
    Console().print(table, markup=False)
    print("In a file for `train`,  options = { download = true }  in [data] fetches as well.")


@app.command()
def train(
    config: Annotated[
        Path, typer.Argument(help="TOML with \\[data], \\[model], \\[training], and \\[bench] for masks.")
    ],
    row: Annotated[str | None, typer.Option(help="In place of model.row: physical, linear, ..., teacher.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, masks, batches and noise.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for ROW-SEED.safetensors and .json.")] = Path("runs/train"),
    folder: Data = None,
    tensorboard: Annotated[Path | None, typer.Option(help="Folder of curves; the run's are in ROW-SEED.")] = None,
    as_json: Json = False,
) -> None:
    """Train one model; killed and started again, it goes on where it was.

    With several processes: torchrun --nproc-per-node 2 -m kd train CONFIG

    Example: python -m kd train experiments/configs/train_digits.toml --row teacher
    """
    with errors_in_one_line():
        from .command import run_training
        from .data.places import data_in
        from .recipe import load_plan

        with data_in(folder):
            found = run_training(load_plan(config, row=row, seed=seed), out, curves=tensorboard)
    if not found.reported:
        return
    if as_json:
        print(json.dumps({"checkpoint": str(found.checkpoint), **found.facts}))
        return
    facts = found.facts
    past = {"nothing": "", "state": ", taken up where it was", "model": ", trained before: nothing was done"}
    print(
        f"{found.checkpoint}: {100 * facts['test_accuracy']:.2f} % of the test images of {facts['data']}, epoch "
        f"{facts['epoch']} with {100 * facts['validation_accuracy']:.2f} % of the validation images kept, "
        f"{facts['seconds']:.0f} s of training{past[found.resumed]}"
    )


@app.command()
def evaluate(
    checkpoint: Checkpoint,
    split: Annotated[Split, typer.Option(help="Images to judge by.")] = Split.test,
    folder: Data = None,
    as_json: Json = False,
) -> None:
    """How good a trained model is, and on which classes.

    Example: python -m kd evaluate runs/train/physical-0.safetensors
    """
    with errors_in_one_line():
        from .command import run_evaluation
        from .data.places import data_in

        with data_in(folder):
            found, images = run_evaluation(checkpoint, split.value)
    counts = found.confusion.sum(dim=1)
    right = (found.confusion.diagonal() / counts.clamp(min=1)).tolist()
    if as_json:
        facts = {"data": images.name, "split": split.value, "images": int(counts.sum()), "accuracy": found.accuracy}
        facts |= {"loss": found.loss, "confusion": found.confusion.tolist(), "classes": images.classes}
        print(json.dumps(facts))
        return
    table = Table(title=f"{images.name}, {split.value}")
    for column in ("class", "images", "right"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, count, share in zip(images.classes, counts.tolist(), right, strict=True):
        table.add_row(name, str(count), f"{100 * share:.2f} %" if count else "-")
    Console().print(table, markup=False)
    print(f"{100 * found.accuracy:.2f} % of {int(counts.sum())} images, cross entropy {found.loss:.4f}")


@app.command()
def export(
    checkpoint: Checkpoint,
    out: Annotated[Path, typer.Option(help="HDF5 mask bundle to write.")],
    images: Annotated[int, typer.Option(min=1, help="Test images whose predicted frames go with the masks.")] = 8,
    folder: Data = None,
    as_json: Json = False,
) -> None:
    """Write the masks of a trained student as the bundle that the bench loads.

    Example: python -m kd export runs/train/physical-0.safetensors --out masks.h5
    """
    with errors_in_one_line():
        from .command import run_export
        from .data.places import data_in

        with data_in(folder):
            bundle = run_export(checkpoint, out, images)
    if as_json:
        print(json.dumps({"bundle": str(out), "masks": len(bundle.levels), "images": len(bundle.images)}))
    else:
        print(f"{out}: {len(bundle.levels)} masks, frames of {len(bundle.images)} images. Next: optics4f verify {out}")


def main() -> None:
    """Entry point of ``python -m kd``."""
    run(app)
