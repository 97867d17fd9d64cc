"""Commands that need a bench: is it sampled, what does it show, which masks does it want."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..console import errors_in_one_line, working
from ..files import refuse_overwriting, written_whole
from .arguments import Config, Json, counted, print_table


def sampling(
    config: Config,
    as_json: Json = False,
    route: Annotated[str, typer.Option(help="Conditions of this route; by default the one configured.")] = "",
) -> None:
    """Is every plane of the bench sampled finely and widely enough? Exit code 1 if not.

    Example: optics4f sampling experiments/configs/demo.toml
    """
    with errors_in_one_line():
        from ..config import ROUTES, load_bench
        from ..sampling import SamplingError

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
        colours = {"refused": "[bold red]refused[/]", "warning": "[yellow]warning[/]"}
        numbers = ("value", "at most", "margin")
        lines = (
            (c.plane, c.quantity, c.value_text, c.limit_text, f"{c.margin:.3g}", colours.get(verdict, verdict))
            for c, verdict in zip(report.checks, verdicts, strict=True)
        )
        print_table(f"{config}, route {route}", ("plane", "quantity", *numbers, "verdict"), lines, right=numbers)
        for check, verdict in zip(report.checks, verdicts, strict=True):
            if verdict != "ok":
                Console().print(f"{verdict}, {check.plane}: {check}", highlight=False, markup=False)
    raise typer.Exit(0 if valid else 1)


def simulate(
    config: Config,
    image: Annotated[Path, typer.Option(help="Object: any image file; made gray and fitted in, black beside it.")],
    out: Annotated[Path, typer.Option(help="PNG with the object and a camera frame per mask.")] = Path("frames.png"),
    masks: Annotated[Path | None, typer.Option(help="Bundle whose masks to show; flat masks without.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the camera noise.")] = 0,
    as_json: Json = False,
) -> None:
    """What the camera delivers for one image.

    Example: optics4f simulate experiments/configs/demo.toml --image cat.png --masks runs/demo/masks.h5
    """
    with errors_in_one_line():
        from ..bundle import frames_of, read_bundle
        from ..config import load_bench, require_same_bench
        from ..images import read_image
        from ..plotting import plot_frames, png

        refuse_overwriting(out, config, image, *([] if masks is None else [masks]))
        specification = load_bench(config)
        bench = specification.build()
        picture = read_image(image, specification.object.shape)
        if masks is not None:
            bundle = read_bundle(masks)
            require_same_bench(specification, bundle.specification, str(masks))
            bench.slm.load_levels(bundle.levels)
        with working("simulating"):
            frames, quiet = frames_of(bench, specification, picture[None], seed)
        content = png(plot_frames(picture, frames[0], bench.camera.grid))
        with written_whole(out) as part:
            part.write_bytes(content)
    shape, brightest = list(frames.shape[-2:]), int(frames.max())
    saturated = (quiet >= bench.camera.saturation).double().mean().item()
    if as_json:
        facts = {"picture": str(out), "frames": len(frames[0]), "shape": shape, "brightest_dn": brightest}
        print(json.dumps({**facts, "saturated_share": saturated}))
        return
    print(f"{out}: {counted(len(frames[0]), 'frame')} of {shape[0]} x {shape[1]} pixels, up to {brightest} DN")
    if saturated:
        print(f"{100 * saturated:.2g} % of the pixels are saturated: lower bench.camera.exposure to see what is there")


def design(
    config: Config,
    out: Annotated[Path, typer.Option(help="Folder for masks.h5, metrics.json and figures.")] = Path("runs/design"),
    as_json: Json = False,
) -> None:
    """Masks for spots, an image, a PSF, a field or kernels: the bundle that the bench loads, and figures.

    Example: optics4f design experiments/configs/design_spots.toml --out runs/spots
    """
    with errors_in_one_line():
        from ..design_run import run_design

        metrics = run_design(config, out)
    if as_json:
        print(json.dumps(metrics))
        return
    merits = ", ".join(
        f"{name} {sum(values) / len(values):.4f}" for name, values in metrics.items() if isinstance(values, list)
    )
    work = f"{metrics['method']}, {metrics['iterations']} iterations in {metrics['seconds']:.1f} s"
    print(f"{out / 'masks.h5'}: {work}; {merits}")
    look = "convolution.png" if "output_cosine" in metrics else "merits.png"
    print(f"Look at {out / look}. Next: optics4f verify {out / 'masks.h5'}")
