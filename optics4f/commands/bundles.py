"""Commands that take mask bundles: prove, look, compare, hand on, tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..console import working
from ..files import refuse_overwriting
from .arguments import Json, MaskBundle, counted
from .bundle_errors import bundle_errors_in_one_line


def verify(bundle: MaskBundle, as_json: Json = False) -> None:
    """Prove a mask bundle: checksums, device limits, predicted frames simulated again from its levels.

    Exit code 1 and a line that says what differs if it must not be used.

    Example: optics4f verify runs/demo/masks.h5
    """
    with bundle_errors_in_one_line(bundle), working("simulating the frames again"):
        import torch

        from ..bundle import verify_bundle
        from ..units import engineering

        with torch.no_grad():
            proven = verify_bundle(bundle)
    facts = {
        "masks": len(proven.levels),
        "frames": len(proven.frames) * len(proven.levels),
        "device": proven.attributes["device"],
        "wavelength_m": proven.attributes["wavelength_m"],
        "uuid": proven.attributes["uuid"],
    }
    if as_json:
        print(json.dumps({"verified": True, **facts}))
    else:
        print(
            f"{bundle}: verified. {counted(facts['masks'], 'mask')} for {facts['device']} at "
            f"{engineering(facts['wavelength_m'], 'm')}; checksums hold, "
            f"{counted(facts['frames'], 'predicted frame')} simulated again from the levels alone."
        )


def inspect(
    bundle: MaskBundle,
    picture: Annotated[Path | None, typer.Option(help="Write a PNG of the masks and their predicted frames.")] = None,
    as_json: Json = False,
) -> None:
    """What a mask bundle states, at a glance. Nothing is simulated: `verify` proves it.

    Example: optics4f inspect runs/demo/masks.h5 --picture masks.png
    """
    with bundle_errors_in_one_line(bundle):
        from ..bench import summary, write_contact_sheet
        from ..bundle import read_bundle

        read = read_bundle(bundle)
        rows = summary(read)
        if picture is not None:
            refuse_overwriting(picture, bundle)
            write_contact_sheet(picture, read)
    if as_json:
        print(json.dumps(dict(rows)))
        return
    table = Table(title=str(bundle), show_header=False)
    for name, value in rows:
        table.add_row(name, value)
    Console().print(table)
    if picture is not None:
        print(f"wrote {picture}")


def diff(
    first: MaskBundle,
    second: Annotated[Path, typer.Argument(help="Another.")],
    as_json: Json = False,
) -> None:
    """In what two mask bundles differ, the bench first. Exit code 1 if they do.

    Example: optics4f diff monday.h5 tuesday.h5
    """
    with bundle_errors_in_one_line(first, second):
        from ..bench import diff as differences

        found = differences(first, second)
    if as_json:
        print(json.dumps([{"name": d.name, "text": d.text} for d in found]))
    else:
        for difference in found:
            print(difference)
        if not found:
            print("no difference: they show and predict the same")
    if found:
        raise typer.Exit(1)


def export(
    bundle: MaskBundle,
    out: Annotated[Path, typer.Option(help="Folder for mask_000.png, mask_001.png, ...")],
    device: Annotated[str, typer.Option(help="Refuse unless the masks are for this device.")] = "",
    as_json: Json = False,
) -> None:
    """Write each mask as a gray picture of the whole panel, for the vendor's own software.

    Example: optics4f export runs/demo/masks.h5 --out slides
    """
    with bundle_errors_in_one_line(bundle):
        from ..bench import export_images

        paths = export_images(bundle, out, device=device or None)
    if as_json:
        print(json.dumps({"pictures": [str(path) for path in paths]}))
        return
    for path in paths:
        print(f"wrote {path}")


def report(
    bundle: MaskBundle,
    out: Annotated[Path, typer.Option(help="HTML page, self-contained.")],
    measured: Annotated[Path | None, typer.Option(help="HDF5 with /frames that the camera took.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="metrics.json of the run that made the masks.")] = None,
    as_json: Json = False,
) -> None:
    """Write one page about a bundle: masks, PSFs, light from plane to plane, camera frames, results, provenance.

    Example: optics4f report runs/demo/masks.h5 --metrics runs/demo/metrics.json --out report.html
    """
    with bundle_errors_in_one_line(bundle, measured=measured), working("writing the page"):
        import torch

        from ..report.of_bundle import run_report

        with torch.no_grad():
            size = run_report(bundle, out, measured=measured, metrics=metrics).stat().st_size
    print(json.dumps({"report": str(out), "bytes": size}) if as_json else f"wrote {out}, {size / 1e6:.2f} MB")
