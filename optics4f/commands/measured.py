"""Commands that take what the bench has measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ..console import errors_in_one_line, working
from ..units import engineering
from .arguments import Config, Json, MaskBundle, print_table
from .bundle_errors import bundle_errors_in_one_line

FREE = (
    "slm_shift",
    "slm_rotation",
    "slm_tilt",
    "slm_axial",
    "camera_shift",
    "camera_rotation",
    "camera_axial",
    "f2",
    "lut_gamma",
    "lut_range",
    "lut_curve",
    "crosstalk",
    "aberrations",
    "brightness",
    "offset",
)  # optics4f.twin.GROUPS, written out: help does not wait for PyTorch


def fit(
    config: Config,
    measured: Annotated[Path, typer.Argument(help="HDF5 with /frames, /images, and /levels unless --masks is given.")],
    out: Annotated[Path, typer.Option(help="TOML of the twin; values and maps beside it, .json and .png.")],
    masks: Annotated[Path | None, typer.Option(help="Bundle whose masks were shown.")] = None,
    free: Annotated[
        str | None, typer.Option(help=f"What may change, with commas: {', '.join(FREE)}. By default the usual ones.")
    ] = None,
    held_out: Annotated[int, typer.Option(help="Last images to judge the twin by, instead of fitting them.")] = 0,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    pointwise: Annotated[
        bool, typer.Option("--pointwise", help="Intervals for each number alone instead of for all together.")
    ] = False,
    bootstrap: Annotated[int, typer.Option(help="Resamplings of the frames for the intervals; 0: the Hessian.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the resamplings.")] = 0,
    as_json: Json = False,
) -> None:
    """Fit a bench to its measured frames: a twin, and how well each of its numbers is known.

    Example: optics4f fit bench.toml measured.h5 --masks masks.h5 --out twin.toml
    """
    with errors_in_one_line(), working("fitting"):
        from ..twin import USUAL, run_fit

        names = list(USUAL) if free is None else [name.strip() for name in free.split(",") if name.strip()]
        found = run_fit(
            config,
            measured,
            out,
            masks=masks,
            free=names,
            held_out=held_out,
            confidence=confidence,
            joint=not pointwise,
            bootstrap=bootstrap,
            seed=seed,
        )
    if as_json:
        print(json.dumps(found.record))
        return
    rows = []
    for e in found.fit.estimates:
        plain = {"1": "", "DN": " DN"}.get(e.unit)
        numbers = (e.start, e.value, e.low, e.high)
        written = [engineering(v, e.unit, 5) if plain is None else f"{v:.5g}{plain}" for v in numbers]
        rows.append((e.name, written[0], written[1], f"{written[2]} ... {written[3]}"))
    sense = "alone" if pointwise else "all together"
    numbers = ("configured", "fitted", f"{100 * confidence:g} % interval, {sense}")
    print_table(str(out), ("number", *numbers), rows, right=numbers)
    likeness = ", ".join(f"{k.replace('_', ' ')} {v:.4f}" for k, v in found.record["correlation_of_frames"].items())
    print(f"correlation of frames: {likeness}; reduced chi squared {found.fit.reduced_chi2:.3f}")
    if found.record["sampling"] != "ok":
        print(f"warning: the route of the configuration cannot simulate the twin. {found.record['sampling']}")


def compare(
    bundle: MaskBundle,
    measured: Annotated[Path, typer.Argument(help="HDF5 with /frames, and /images where they are not the bundle's.")],
    out: Annotated[Path, typer.Option(help="HTML page, self-contained.")],
    as_json: Json = False,
) -> None:
    """Lay predicted frames over measured ones: shift, brightness, and how alike each frame is.

    Example: optics4f compare masks.h5 measured.h5 --out page.html
    """
    with bundle_errors_in_one_line(bundle, measured=measured), working("comparing"):
        import torch

        from ..compare import run_compare

        with torch.no_grad():
            found = run_compare(bundle, measured, out)
    typer.echo("".join(f"warning: {doubt}\n" for doubt in found.warnings), err=True, nl=False)
    where = found.registration
    if as_json:
        registration = {"shift_px": where.shift, "gain": where.gain, "offset_dn": where.offset}
        print(json.dumps({"registration": registration, "frames": found.rows, "warnings": found.warnings}))
        return
    before, after = (found.mean(name) or 0.0 for name in ("correlation_before", "correlation"))
    print(
        f"{out}: {len(found.rows)} frames, ({where.shift[0]:.2f}, {where.shift[1]:.2f}) pixels away (down, right), "
        f"{where.gain:.3g} times as bright; mean correlation {before:.4f}, registered {after:.4f}"
    )
