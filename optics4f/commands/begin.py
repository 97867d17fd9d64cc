"""Commands to begin with: devices, a configuration, its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..console import errors_in_one_line
from ..devices import Device, Value, any_device, camera_device, device_names, slm_device
from ..files import written_whole
from ..new_config import PURPOSES, new_configuration, to_be_filled_in, to_be_stated
from .arguments import Json, print_table


def new(
    device: Annotated[str, typer.Argument(help="Preset of an SLM, as optics4f devices lists them.")],
    purpose: Annotated[str, typer.Option("--for", help=f"What it is for: {', '.join(PURPOSES)}.")] = "bench",
    camera: Annotated[str, typer.Option(help="Preset of a camera.")] = "basler-aca2440-75um",
    kernels: Annotated[
        Path | None, typer.Option(help="Kernels of your own: .txt or .csv of rows, an empty line between two, or .npy.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="With --for tiles: picture that shows the convolution.")] = None,
    pitch: Annotated[
        str | None, typer.Option(help='Of the pixels of an SLM whose preset has none, such as "8 um".')
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File to write, which must not exist; printed without.")] = None,
) -> None:
    """Write a commented configuration to start from.

    Example: optics4f new meadowlark-1920x1152 --for spots --out spots.toml

    Example: optics4f new meadowlark-1920x1152 --for tiles --kernels mine.txt --out mine.toml
    """
    with errors_in_one_line():
        given = {"kernels": kernels, "picture": picture, "pitch": pitch, "out": out}
        text = new_configuration(device, purpose, camera=camera, **given)
        if out is None:
            print(text, end="")
            return
        if out.exists():
            raise ValueError(f"{out} must not exist, so that nothing is lost. Choose another name or remove it.")
        with written_whole(out) as part:
            part.write_text(text, encoding="utf-8")
    do = "optics4f sampling" if purpose == "bench" else "optics4f design"
    first = f"Fill in {', '.join(blanks)}; then" if (blanks := to_be_filled_in(text)) else "Next:"
    print(f"wrote {out}. {first} {do} {out}")


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

    The list says which numbers no source gives: a bench wants them stated.

    Example: optics4f devices meadowlark-1920x1152
    """
    with errors_in_one_line():
        if name is None:
            listed = {kind: device_names(kind) for kind in ("slm", "camera", "gpu")}
            if as_json:
                print(json.dumps(listed))
            else:
                for kind, slugs in listed.items():
                    print(f"{kind}:", *(f"{slug}{_to_state(kind, slug)}" for slug in slugs), sep="\n  ")
            return
        _show(any_device(name), as_json)


def _to_state(kind: str, slug: str) -> str:
    """What a configuration with this device has to state, for the list."""
    read = {"slm": slm_device, "camera": camera_device}.get(kind)
    names = to_be_stated(read(slug)) if read is not None else []
    return f"  (to be stated: {', '.join(names)})" if names else ""


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
