"""A training step of ``OpticalConv2d`` by the PSF route, against the Fourier-lens route and a floor."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from optics4f.conv import OpticalConv2d
from optics4f.elements import SLM, Camera, Illumination, Lens
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.routes import FourierLensRoute, PSFRoute
from optics4f.sampling import SamplingWarning

from .benchmark_floors import psf_floor
from .runs import provenance, write_json, write_text
from .tables import markdown, print_table
from .timing import SLOW, Step, interleaved, peak_memory

WAVELENGTH, FOCAL_LENGTH = 532e-9, 0.2
REPETITIONS = 10

METHOD = f"""\
Measured, one thread, processor time, medians of runs in turns in one process; what takes {SLOW:g} s or more runs three
times, and the number of runs stands beside each time. Peak memory of each step in a process of its own. A step is the
output for a batch and the gradient of the masks, 8 bits, square-law detection; forward is the output without gradients.
The Fourier-lens route computes the same numbers; "autograd" is that route without the adjoint written by hand, as its
expressions stand. The floor is what the PSF route is made of, bare: two dense products of complex64 for each mask, and
FFTs for each image, mask and pair of them; forward and back, one after the other."""


@dataclass(frozen=True)
class Setting:
    """What is trained.

    Attributes:
        pixels: ``resolved`` images a logical pixel onto one resolved spot of the SLM, ``coarse`` onto 2.5.
        masks: Of ``width`` x ``width`` SLM pixels.
        width: Of the SLM [pixels].
    """

    pixels: str = "resolved"
    masks: int = 16
    width: int = 1024

    def layer(self, route: str) -> OpticalConv2d:
        """The convolution of 32 x 32 logical pixels with 7 x 7 taps.

        Args:
            route: ``psf``, ``fourier_lens``, or ``fourier_lens_autograd``: without the adjoint written by hand.
        """
        pitch, samples = {"resolved": (12.9e-6, 2), "coarse": (32e-6, 5)}[self.pixels]
        bench = FourF(
            Illumination((32, 32), pitch / samples, WAVELENGTH, pixels_per_logical=samples),
            Lens(FOCAL_LENGTH),
            SLM(Grid((self.width, self.width), 8e-6), bit_depth=8),
            Lens(FOCAL_LENGTH),
            Camera((35, 35), pitch),
            samples_per_camera_pixel=samples,
        )
        kind = PSFRoute if route == "psf" else FourierLensRoute
        options = {"detection": "intensity", "padding": 3, "avoid_zero_order": False, "route": kind}
        layer = OpticalConv2d(1, self.masks, 7, bench, **options)
        for made in layer._routes:
            made.plain_autograd = route.endswith("autograd")
        return layer


def training_step(route: str, batch: int, setting: Setting, backward: bool = True) -> Step:
    """One step on a batch of random images, or its forward pass alone."""
    layer = setting.layer(route)
    images = torch.rand(batch, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    weights = torch.rand(32, 32, generator=torch.Generator().manual_seed(1))

    def step() -> None:
        layer.slm.values.grad = None
        with torch.set_grad_enabled(backward):
            loss = (layer(images).sum((0, 1)) * weights).sum()
        if backward:
            loss.backward()

    return step


def floor_of(batch: int, setting: Setting, backward: bool = True) -> Step:
    """Bare FFTs and products of such a step by the PSF route."""
    layer, steps = setting.layer("psf"), []
    for route, tiles in zip(layer._routes, layer._tiles, strict=True):
        shape, masks = route.bench.slm.samples.shape, len({layer.plan.tiles[n].exposure for n in tiles})
        steps.append(psf_floor(batch, masks, shape, route.window[0], route.length[0], backward=backward))

    def step() -> None:
        for one in steps:
            one()

    return step


STEPS = (
    (Setting("resolved"), 64, "fourier_lens"),
    (Setting("resolved"), 32, "fourier_lens_autograd"),
    (Setting("coarse"), 64, "fourier_lens"),
)


def step_rows(
    progress: Callable[[str], None] = lambda _: None,
    repetitions: int = REPETITIONS,
    chosen: Sequence[tuple[Setting, int, str]] = STEPS,
) -> list[dict]:
    """Time and memory of a training step by the PSF route against the Fourier-lens route, taken in turns.

    Args:
        progress: Told what is about to run.
        repetitions: Of each step that is not slow.
        chosen: What is trained, images, the other route.
    """
    rows = []
    for setting, batch, other in chosen:
        progress(f"training step, {setting.pixels}, {other}")
        builds = {name: partial(training_step, name, batch, setting) for name in ("psf", other)}
        steps = {name: build() for name, build in builds.items()}
        steps |= {f"{name}, forward": build(backward=False) for name, build in builds.items()}
        steps |= {"floor": floor_of(batch, setting), "floor, forward": floor_of(batch, setting, backward=False)}
        times = interleaved(steps, repetitions)
        del steps
        peaks = {name: peak_memory(training_step, name, batch, setting, steps=1) for name in builds}
        rows.append(
            {
                "pixels": setting.pixels,
                "masks": setting.masks,
                "width": setting.width,
                "batch": batch,
                "other": other,
                "times": {name: vars(timing) for name, timing in times.items()},
                "peak_bytes": peaks,
                "times_faster": times[other].median / times["psf"].median,
                "times_faster_forward": times[f"{other}, forward"].median / times["psf, forward"].median,
                "ratio": times["psf"].median / times["floor"].median,
                "forward_ratio": times["psf, forward"].median / times["floor, forward"].median,
                "times_less_memory": peaks[other] / peaks["psf"],
            }
        )
    return rows


def step_table(rows: Sequence[Mapping]) -> list[dict[str, str]]:
    """The rows of :func:`step_rows` in words."""
    spots = {"resolved": "1 spot a logical pixel", "coarse": "2.5 spots a logical pixel"}

    def taken(row: Mapping, name: str) -> str:
        timing = row["times"][name]
        return f"{timing['median']:.2f} s ({timing['repetitions']})"

    return [
        {
            "K masks": f"{r['masks']} of {r['width']} x {r['width']}, {spots[r['pixels']]}, B = {r['batch']}",
            "PSF route (runs)": taken(r, "psf"),
            "over its floor": f"{r['ratio']:.2f}",
            "forward (runs)": taken(r, "psf, forward"),
            "over its floor, forward": f"{r['forward_ratio']:.2f}",
            "against": r["other"].replace("_", " "),
            "its step (runs)": taken(r, r["other"]),
            "its forward (runs)": taken(r, f"{r['other']}, forward"),
            "faster (goal 50)": f"{r['times_faster']:.0f} x, forward {r['times_faster_forward']:.0f} x",
            "memory": f"{r['peak_bytes']['psf'] / 1e6:.0f} MB, {r['peak_bytes'][r['other']] / 1e6:.0f} MB",
            "less memory (goal 20)": f"{r['times_less_memory']:.0f} x",
        }
        for r in rows
    ]


def run_conv_speed(console: Console, out: Path | None, repetitions: int = REPETITIONS) -> list[dict]:
    """Print the table, and write ``conv_speed.md`` and ``conv_speed.json``.

    Args:
        console: For progress and the table.
        out: Folder; nothing is written without.
        repetitions: Of each step that is not slow.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with console.status("training steps") as status, warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)
            rows = step_rows(status.update, repetitions)
    finally:
        torch.set_num_threads(threads)
    table = step_table(rows)
    if out is not None:
        made_with = {**provenance(), "threads": 1, "repetitions": repetitions}
        write_json(out / "conv_speed.json", {"provenance": made_with, "rows": rows})
        made = "\n".join(f"- {name}: {value}" for name, value in made_with.items())
        text = f"# A training step of OpticalConv2d\n\n{METHOD}\n\n{markdown(table)}\n## Made with\n\n{made}\n"
        write_text(out / "conv_speed.md", text)
    print_table(table, "A training step of OpticalConv2d", console)
    return rows
