"""Commands to begin with: devices, a configuration, its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..console import errors_in_one_line
from ..devices import Device, Value, any_device, device_names
from ..files import written_whole
from ..new_config import PURPOSES, new_configuration
from .arguments import Json, print_table


def new(
    device: Annotated[str, typer.Argument(help="Preset of an SLM, as optics4f devices lists them.")],
    purpose: Annotated[str, typer.Option("--for", help=f"What it is for: {', '.join(PURPOSES)}.")] = "bench",
    camera: Annotated[str, typer.Option(help="Preset of a camera.")] = "basler-aca2440-75um",
    kernels: Annotated[
        Path | None, typer.Option(help="Kernels of your own: .txt of rows, an empty line between two, or .npy.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="With --for tiles: picture that shows the convolution.")] = None,
    out: Annotated[Path | None, typer.Option(help="File to write, which must not exist; printed without.")] = None,
) -> None:
    """Write a commented configuration to start from.

    Example: optics4f new meadowlark-1920x1152 --for spots --out spots.toml

    Example: optics4f new meadowlark-1920x1152 --for tiles --kernels mine.txt --out mine.toml
    """
    with errors_in_one_line():
        text = new_configuration(device, purpose, camera=camera, kernels=kernels, picture=picture)
        if out is None:
            print(text, end="")
            return
        if out.exists():
            raise ValueError(f"{out} must not exist, so that nothing is lost. Choose another name or remove it.")
        with written_whole(out) as part:
            part.write_text(text, encoding="utf-8")
    do = "optics4f sampling" if purpose == "bench" else "optics4f design"
    print(f"wrote {out}. Next: {do} {out}")


def schema() -> None:
    """Print the JSON schema of the [bench] and [design] tables, for editors that check TOML.

    Example: optics4f schema > optics4f.schema.json
    """
    with errors_in_one_line():
        from ..config_schema import configuration_schema

        print(json.dumps(configuration_schema(), indent=2))


def devices(
    name: Annotated[str | None, typer.Argument(help="A device to show in full.")] = None, as_json: Json = False
) -> None:
    """List the device presets, or show one: every number with its source.

    Example: optics4f devices meadowlark-1920x1152
    """
    with errors_in_one_line():
        if name is None:
            listed = {kind: device_names(kind) for kind in ("slm", "camera", "gpu")}
            if as_json:
                print(json.dumps(listed))
            else:
                for kind, slugs in listed.items():
                    print(f"{kind}:", *slugs, sep="\n  ")
            return
        _show(any_device(name), as_json)


def _show(device: Device, as_json: bool) -> None:
    rows = []
    for number in type(device).UNITS:
        found = getattr(device, number)
        for value in found if isinstance(found, tuple) else (found,):
            known = isinstance(value, Value)
            rows.append(
                {
                    "number": number,
                    "value": value.value if known else None,
                    "unit": value.unit if known else "",
                    "confidence": value.confidence if known else "unknown",
                    "source": value.source if known else "",
                }
            )
    if as_json:
        print(json.dumps({"name": device.name, "numbers": rows}))
        return
    words = (["unknown" if value is None else str(value) for value in row.values()] for row in rows)
    print_table(device.name, list(rows[0]), words)
