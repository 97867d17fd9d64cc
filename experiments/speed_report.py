"""The speed benchmark as a table, a page, a figure and a record."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from optics4f.plotting import plot_ablation, png

from .benchmark_floors import copy_bandwidth, moved_row, propagation_4f_bytes
from .benchmark_peers import versions
from .benchmark_speed import cases, measure, propagation_4f
from .runs import provenance, write_json, write_text
from .tables import markdown, print_table

METHOD = """\
A step is images in, light at the image plane, a loss, and the gradient of the masks, with everything that a training
loop repeats (the masks' cosine and sine too); forward is the same without gradients. The floor of either is the bare
`torch.fft.fft2` calls of complex64 that the algorithm cannot avoid, one after the other; of the PSF step also the dense
products that take each mask to its window. The steps of a row take turns, in alternating order; times are medians, of
processor time with one thread and of wall time otherwise, of as many runs as the table says; what takes 20 s or more
runs three times. A zero-padded transform is pruned, and the products of the PSF step are compressed, so a ratio may be
below 1. Memory is the most that two steps need beyond what was there before, in a process of its own.

`propagate()` keeps its transfer function for the next call over the same distance; "a new distance each time" builds it
at every call, "prebuilt" is `apply_transfer_function` alone. How time and memory grow with the planes and the batch is
in `growth.md`."""

OTHERS = """\
optics4f computes in complex64 unless it is told otherwise, torchoptics in double precision. Both precisions of
torchoptics are timed. Equal precision is not equal accuracy: in single precision torchoptics forms the phase of free
space, some 100,000 turns, before it takes the cosine. The error is that of the intensity behind the same 4f, of a
Gaussian through a mask that shifts its image, against the closed form; of single planes that of the field of a
Gaussian beam, as in `accuracy.md`. On the input that is timed, random pixels that fill the window, torchoptics does
not compute the same picture: its lenses are round and its axis lies between two samples.

waveprop and prysm propagate one plane at a time and have no 4f step to train: they are timed on the plane."""

MOVED = """\
On a GPU the floor is memory traffic: the bytes that the transforms of a step must read and write (two passes each) and
those of the transfer functions, at the bandwidth that a copy of 256 MiB has on this device. Timed between two events of
the stream, medians."""


def run_speed(
    console: Console,
    device: str,
    threads: int,
    repetitions: int,
    quick: bool,
    json_file: Path | None,
    markdown_file: Path | None,
) -> list[dict]:
    """Measure, print, write; the figure goes beside the page.

    Raises:
        ValueError: A device that is not there.
    """
    if device not in ("cpu", "cuda"):
        raise ValueError(f"--device must be cpu or cuda, got {device!r}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda needs a CUDA build of torch and a GPU, found none. Use --device cpu.")
    torch.set_num_threads(threads)
    watched = console.is_terminal
    rows = [
        measure(case, repetitions, device)
        for case in track(cases(quick), "benchmark", console=console, disable=not watched, transient=True)
    ]
    moved = moved_rows(device, repetitions, quick) if device == "cuda" else []
    made_with = {**provenance(), "device": device, "threads": threads, "repetitions": repetitions, **versions()}
    if device == "cuda":
        made_with["gpu"] = torch.cuda.get_device_name()
    if json_file is not None:
        write_json(json_file, {"provenance": made_with, "rows": rows, "moved": moved})
    if markdown_file is not None:
        figure = markdown_file.with_suffix(".png")
        figure.parent.mkdir(parents=True, exist_ok=True)
        figure.write_bytes(speed_figure(rows))
        write_text(markdown_file, _page(rows, moved, made_with, figure.name))
    print_table(table_rows(rows), "Speed and memory", console)
    print_table(other_rows(rows), "Beside others", console)
    if moved:
        print_table(moved_table(moved), "Bytes that must move", console)
    return rows


def moved_rows(device: str, repetitions: int, quick: bool = False) -> list[dict]:
    """The 4f training step against the bytes that must move, on a device."""
    bandwidth, rows = copy_bandwidth(device, repetitions=repetitions), []
    for n, batch in ((512, 4),) if quick else ((512, 64), (1024, 16), (2048, 4)):
        rows.append(
            moved_row(
                f"angular-spectrum 4f step, N = {n}, B = {batch}",
                propagation_4f(n, batch, device=device),
                propagation_4f_bytes(n, batch),
                bandwidth,
                device=device,
                repetitions=repetitions,
            )
        )
    return rows


def _milliseconds(timing: dict) -> str:
    return f"{1e3 * timing['median']:.1f} ms"


def table_rows(rows: list[dict]) -> list[dict]:
    """Each case against its floor."""
    table = []
    for row in rows:
        ours, forward, peaks = row["times"]["optics4f"], row["times"].get("optics4f, forward"), row.get("peak_bytes")
        table.append(
            {
                "case": row["case"],
                "time": _milliseconds(ours),
                "spread": f"{1e3 * ours['low']:.1f} ... {1e3 * ours['high']:.1f}",
                "runs": str(ours["repetitions"]),
                "floor": row["floor"],
                "ratio": f"{row['ratio']:.2f}" if "ratio" in row else "",
                "goal": f"{row['goal']:g}" if row["goal"] else "",
                "forward": _milliseconds(forward) if forward else "",
                "its floor": row["forward_floor"],
                "its ratio": f"{row['forward_ratio']:.2f}" if "forward_ratio" in row else "",
                "memory": f"{peaks['optics4f'] / 1e6:.0f} MB" if peaks else "",
            }
        )
    return table


def other_rows(rows: list[dict]) -> list[dict]:
    """Each case beside other ways and libraries: time, memory, and how right they are."""
    table = []
    for row in rows:
        own = row["accuracy"].get("optics4f")
        for label, factor in row["speed_up"].items():
            timing, peaks, error = row["times"][label], row.get("peak_bytes", {}), row["accuracy"].get(label)
            same = row["same_input"] if "torchoptics" in label else {}
            table.append(
                {
                    "case": row["case"],
                    "beside": label,
                    "time": _milliseconds(timing),
                    "runs": str(timing["repetitions"]),
                    "times ours": f"{factor:.2f}",
                    "memory, times ours": f"{peaks[label] / peaks['optics4f']:.1f}" if peaks.get("optics4f") else "",
                    "error (ours)": f"{error['error']:.1e} ({own['error']:.1e})" if error and own else "",
                    "on the timed input": f"{same['power']:.0%} of the light, correlation {same['correlation']:.2f}"
                    if same
                    else "",
                }
            )
        missing = {"case": row["case"], "time": "not measured", "runs": "", "times ours": ""}
        table += [
            {**missing, "beside": label, "memory, times ours": "", "error (ours)": "", "on the timed input": reason}
            for label, reason in row["not_installed"].items()
        ]
    return table


def moved_table(rows: list[dict]) -> list[dict]:
    """The rows of :func:`moved_rows` in words."""
    return [
        {
            "case": row["case"],
            "time": f"{1e3 * row['seconds']:.2f} ms",
            "runs": str(row["repetitions"]),
            "bytes that must move": f"{sum(row['bytes'].values()) / 1e9:.2f} GB",
            "bandwidth of a copy": f"{row['bandwidth'] / 1e9:.0f} GB/s",
            "floor": f"{1e3 * row['floor_seconds']:.2f} ms",
            "ratio": f"{row['ratio']:.2f}",
        }
        for row in rows
    ]


def speed_figure(rows: list[dict]) -> bytes:
    """Time of each step and forward pass in units of its floor, from the fastest run to the slowest: PNG."""
    bars, goals = [], []
    for row in rows:
        for name, ours, floor, goal in (
            ("", "optics4f", "floor", row["goal"]),
            (", forward alone", "optics4f, forward", "floor, forward", None),
        ):
            if ours in row["times"] and floor in row["times"]:
                unit = row["times"][floor]["median"]
                low, median, high = (row["times"][ours][end] / unit for end in ("low", "median", "high"))
                bars.append({"effect": row["case"] + name, "low": low, "mean": median, "high": high})
                goals.append(goal)
    axes = plot_ablation(bars, label="time in units of the floor")
    marks = [(100 * goal, y) for y, goal in enumerate(goals) if goal is not None]
    if marks:
        axes.plot(*zip(*marks, strict=True), "|", color="0.3", markersize=16, label="goal")
    lines, names = [axes.lines[0], axes.lines[-1]][: 1 + bool(marks)], ["median, fastest to slowest", "goal"]
    axes.legend(lines, names, frameon=False, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return png(axes)


def _page(rows: list[dict], moved: list[dict], made_with: dict, figure: str) -> str:
    parts = ["# Speed and memory", METHOD, markdown(table_rows(rows)).rstrip(), f"![time over the floor]({figure})"]
    parts += ["## Beside others", OTHERS, markdown(other_rows(rows)).rstrip()]
    if moved:
        parts += ["## Bytes that must move", MOVED, markdown(moved_table(moved)).rstrip()]
    parts += ["## Made with", "\n".join(f"- {name}: {value}" for name, value in made_with.items())]
    return "\n\n".join(parts) + "\n"
