"""The command ``optics4f``: sampling, simulate, design, verify, inspect, diff, export, fit, compare, devices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from . import __version__
from .bench import diff as differences
from .bench import export_images, summary, write_contact_sheet
from .bundle import BundleError, frames_of, read_bundle, verify_bundle
from .compare import run_compare
from .config import ROUTES, load_bench
from .console import errors_in_one_line, run
from .design_run import run_design
from .devices import Device, Value, any_device, device_names
from .files import written_whole
from .images import read_image
from .plotting import plot_frames, png
from .sampling import SamplingError
from .twin import GROUPS, USUAL, run_fit
from .units import engineering

app = typer.Typer(
    no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, help="Physical optics of a 4f system."
)
Config = Annotated[Path, typer.Argument(help="TOML file with a \\[bench] table.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def sampling(
    config: Config,
    as_json: Json = False,
    route: Annotated[str, typer.Option(help="Conditions of this route; by default the one configured.")] = "",
) -> None:
    """Is every plane of the bench sampled finely and widely enough? Exit code 1 if not.

    Example: optics4f sampling experiments/configs/demo.toml
    """
    with errors_in_one_line():
        specification = load_bench(config)
        route = route or specification.route
        if route not in ROUTES:
            raise ValueError(f"--route must be one of {', '.join(ROUTES)}, got {route!r}.")
        bench = specification.build()
        try:
            report = ROUTES[route].sampling(bench)
        except SamplingError as error:  # refused whatever its windows
            Console(stderr=True).print(f"refused: {error}", highlight=False, markup=False, soft_wrap=True)
            if as_json:
                print(json.dumps({"valid": False, "route": route, "refused": str(error), "checks": []}, indent=2))
            raise typer.Exit(1) from None
        unknown = set(specification.override) - {check.quantity for check in report.checks}
        if unknown:
            raise ValueError(
                f"{config}: bench.override names no condition of this route: {', '.join(sorted(unknown))}."
            )
        overridden = [c.verdict == "refused" and c.quantity in specification.override for c in report.checks]
        verdicts = ["overridden" if o else c.verdict for o, c in zip(overridden, report.checks, strict=True)]
        valid = "refused" not in verdicts
    if as_json:
        rows = [{**row, "verdict": verdict} for row, verdict in zip(report.rows(), verdicts, strict=True)]
        print(json.dumps({"valid": valid, "route": route, "checks": rows}, indent=2))
    else:
        table = Table(title=f"{config}, route {route}")
        for column in ("plane", "quantity", "value", "at most", "margin", "verdict"):
            table.add_column(column, justify="right" if column in ("value", "at most", "margin") else "left")
        colours = {"refused": "[bold red]refused[/]", "warning": "[yellow]warning[/]"}
        for check, verdict in zip(report.checks, verdicts, strict=True):
            numbers = (check.value_text, check.limit_text, f"{check.margin:.3g}")
            table.add_row(check.plane, check.quantity, *numbers, colours.get(verdict, verdict))
        Console().print(table)
        for check, verdict in zip(report.checks, verdicts, strict=True):
            if verdict != "ok":
                Console().print(f"{verdict}, {check.plane}: {check}", highlight=False, markup=False)
    raise typer.Exit(0 if valid else 1)


@app.command()
def simulate(
    config: Config,
    image: Annotated[Path, typer.Option(help="Object: any image file; it is made gray and resized.")],
    out: Annotated[Path, typer.Option(help="PNG with the object and a camera frame per mask.")] = Path("frames.png"),
    masks: Annotated[Path | None, typer.Option(help="Bundle whose masks to show; flat masks without.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the camera noise.")] = 0,
) -> None:
    """What the camera delivers for one image.

    Example: optics4f simulate experiments/configs/demo.toml --image cat.png --masks runs/demo/masks.h5
    """
    with errors_in_one_line():
        specification = load_bench(config)
        bench = specification.build()
        picture = read_image(image, specification.object.shape)
        if masks is not None:
            bundle = read_bundle(masks)
            for name in ("wavelength", "slm", "lens1", "lens2"):
                stated, wanted = getattr(bundle.specification, name), getattr(specification, name)
                if stated != wanted:
                    raise ValueError(
                        f"{masks} is for another bench than {config}: bench.{name} is {stated}, not {wanted}."
                    )
            bench.slm.load_levels(bundle.levels)
        frames, _ = frames_of(bench, specification, picture[None], seed)
        content = png(plot_frames(picture, frames[0], bench.camera.grid))
        with written_whole(out) as part:
            part.write_bytes(content)
    print(f"{out}: {len(frames[0])} frames of {frames.shape[-2]} x {frames.shape[-1]} pixels, up to {frames.max()} DN")


@app.command()
def design(
    config: Config,
    out: Annotated[Path, typer.Option(help="Folder for masks.h5, metrics.json and figures.")] = Path("runs/design"),
    as_json: Json = False,
) -> None:
    """Masks for spots, an image, a PSF, a field or kernels: the bundle that the bench loads, and figures.

    Example: optics4f design experiments/configs/design_spots.toml --out runs/spots
    """
    with errors_in_one_line():
        metrics = run_design(config, out)
    if as_json:
        print(json.dumps(metrics))
        return
    merits = ", ".join(
        f"{name} {sum(values) / len(values):.4f}" for name, values in metrics.items() if isinstance(values, list)
    )
    work = f"{metrics['method']}, {metrics['iterations']} iterations in {metrics['seconds']:.1f} s"
    print(f"{out / 'masks.h5'}: {work}; {merits}")


@app.command()
def verify(bundle: Annotated[Path, typer.Argument(help="HDF5 mask bundle.")], as_json: Json = False) -> None:
    """Prove a mask bundle: checksums, device limits, predicted frames simulated again from its levels.

    Exit code 1 and a line that says what differs if it must not be used.

    Example: optics4f verify runs/demo/masks.h5
    """
    with errors_in_one_line(BundleError), torch.no_grad():
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
            f"{bundle}: verified. {facts['masks']} masks for {facts['device']} at "
            f"{engineering(facts['wavelength_m'], 'm')}; checksums hold, {facts['frames']} predicted frames simulated "
            "again from display alone."
        )


@app.command()
def inspect(
    bundle: Annotated[Path, typer.Argument(help="HDF5 mask bundle.")],
    picture: Annotated[Path | None, typer.Option(help="Write a PNG of the masks and their predicted frames.")] = None,
    as_json: Json = False,
) -> None:
    """What a mask bundle states, at a glance. Nothing is simulated: `verify` proves it.

    Example: optics4f inspect runs/demo/masks.h5 --picture masks.png
    """
    with errors_in_one_line(BundleError):
        read = read_bundle(bundle)
        rows = summary(read)
        if picture is not None:
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


@app.command()
def diff(
    first: Annotated[Path, typer.Argument(help="HDF5 mask bundle.")],
    second: Annotated[Path, typer.Argument(help="Another.")],
    as_json: Json = False,
) -> None:
    """In what two mask bundles differ, the bench first. Exit code 1 if they do.

    Example: optics4f diff monday.h5 tuesday.h5
    """
    with errors_in_one_line(BundleError):
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


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="HDF5 mask bundle.")],
    out: Annotated[Path, typer.Option(help="Folder for mask_000.png, mask_001.png, ...")],
    device: Annotated[str, typer.Option(help="Refuse unless the masks are for this device.")] = "",
) -> None:
    """Write each mask as a gray picture of the whole panel, for the vendor's own software.

    Example: optics4f export runs/demo/masks.h5 --out slides
    """
    with errors_in_one_line(BundleError):
        for path in export_images(bundle, out, device=device or None):
            print(f"wrote {path}")


@app.command()
def fit(
    config: Config,
    measured: Annotated[Path, typer.Argument(help="HDF5 with /frames, /images, and /levels unless --masks is given.")],
    out: Annotated[Path, typer.Option(help="TOML of the twin; values and maps beside it, .json and .png.")],
    masks: Annotated[Path | None, typer.Option(help="Bundle whose masks were shown.")] = None,
    free: Annotated[
        str, typer.Option(help=f"What may change, with commas: {', '.join(GROUPS)}. By default the usual ones.")
    ] = ",".join(USUAL),
    held_out: Annotated[int, typer.Option(help="Last images to judge the twin by, instead of fitting them.")] = 0,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    bootstrap: Annotated[int, typer.Option(help="Resamplings of the frames for the intervals; 0: the Hessian.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the resamplings.")] = 0,
    as_json: Json = False,
) -> None:
    """Fit a bench to its measured frames: a twin, and how well each of its numbers is known.

    Example: optics4f fit bench.toml measured.h5 --masks masks.h5 --out twin.toml
    """
    with errors_in_one_line():
        names = [name.strip() for name in free.split(",") if name.strip()]
        options = {"held_out": held_out, "confidence": confidence, "bootstrap": bootstrap, "seed": seed}
        found = run_fit(config, measured, out, masks=masks, free=names, **options)
    if as_json:
        print(json.dumps(found.record))
        return
    table = Table(title=str(out))
    for column in ("number", "configured", "fitted", f"{100 * confidence:g} % interval"):
        table.add_column(column, justify="left" if column == "number" else "right")
    for e in found.fit.estimates:
        plain = {"1": "", "DN": " DN"}.get(e.unit)
        numbers = (e.start, e.value, e.low, e.high)
        written = [engineering(v, e.unit, 5) if plain is None else f"{v:.5g}{plain}" for v in numbers]
        table.add_row(e.name, written[0], written[1], f"{written[2]} ... {written[3]}")
    Console().print(table)
    likeness = ", ".join(f"{k.replace('_', ' ')} {v:.4f}" for k, v in found.record["correlation_of_frames"].items())
    print(f"correlation of frames: {likeness}; reduced chi squared {found.fit.reduced_chi2:.3f}")
    if found.record["sampling"] != "ok":
        print(f"warning: the route of the configuration cannot simulate the twin. {found.record['sampling']}")


@app.command()
def compare(
    bundle: Annotated[Path, typer.Argument(help="HDF5 mask bundle.")],
    measured: Annotated[Path, typer.Argument(help="HDF5 with /frames, and /images where they are not the bundle's.")],
    out: Annotated[Path, typer.Option(help="HTML page, self-contained.")],
    as_json: Json = False,
) -> None:
    """Lay predicted frames over measured ones: shift, brightness, and how alike each frame is.

    Example: optics4f compare masks.h5 measured.h5 --out page.html
    """
    with errors_in_one_line(BundleError), torch.no_grad():
        found = run_compare(bundle, measured, out)
    where = found.registration
    if as_json:
        registration = {"shift_px": where.shift, "gain": where.gain, "offset_dn": where.offset}
        print(json.dumps({"registration": registration, "frames": found.rows}))
        return
    before, after = (found.mean(name) or 0.0 for name in ("correlation_before", "correlation"))
    print(
        f"{out}: {len(found.rows)} frames, ({where.shift[0]:.2f}, {where.shift[1]:.2f}) pixels away (down, right), "
        f"{where.gain:.3g} times as bright; mean correlation {before:.4f}, registered {after:.4f}"
    )


@app.command()
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
    table = Table(title=device.name)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*("unknown" if v is None else str(v) for v in row.values()))
    Console().print(table)


def main() -> None:
    """Entry point of the console script."""
    run(app)


if __name__ == "__main__":
    main()
