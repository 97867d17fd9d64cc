"""Figures of the explanations that no code of their pages draws, one function each; ``docs/figures.py`` calls them.

A function is named as its picture: ``docs/images/orientation.png`` is what :func:`orientation` returns.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import t as student_t

from optics4f import SLM, Camera, Field, FourF, Grid, Illumination, Lens, propagate
from optics4f.effects import Crosstalk, FillFactor, Quantization
from optics4f.plotting.canvas import COLOURS, new_figure, tidy
from optics4f.profiles import lens_phase
from optics4f.routes import FourierLensRoute

RESULTS = Path(__file__).resolve().parents[1] / "experiments" / "results"
LETTER = ("#####", "#....", "####.", "#....", "#....", "#....", "#....")  # an F: no symmetry hides a flip


def orientation() -> Figure:
    """An object off the axis, its image, and where a phase that rises to the right and down sends it."""
    bench = FourF(
        Illumination((44, 56), "16 um", "532 nm", samples_per_pixel=2),
        Lens("100 mm"),
        SLM(Grid((120, 150), "8 um"), masks=2),
        Lens("150 mm"),
        Camera((100, 120), "16 um"),
        samples_per_camera_pixel=1,
    )
    letter = torch.tensor([[float(mark == "#") for mark in row] for row in LETTER])
    image = torch.zeros(1, 1, 44, 56)
    image[0, 0, 1:22, 34:49] = letter.repeat_interleave(3, 0).repeat_interleave(3, 1)
    y, x = (axis.double() for axis in bench.slm.grid.coordinates())
    shift = (0.2e-3, 0.5e-3)  # (y, x) on the camera [m]
    ramp = 2 * math.pi * (shift[0] * y + shift[1] * x) / (bench.wavelength * bench.lens2.focal_length)
    bench.slm.set_values(torch.stack([torch.zeros_like(ramp), ramp]))
    with torch.no_grad():
        frames = bench.camera.expected(FourierLensRoute(bench)(image))[0]
    figure = new_figure(8.6, 5.6)
    axes = figure.subplots(2, 2)
    planes = (
        ("object", image[0, 0], bench.illumination.logical_positions(), "gray", 1),
        ("image, no mask", frames[0], bench.camera.grid.coordinates(), "gray", None),
        ("mask: $\\phi$ rises with $x$ and $y$", torch.remainder(ramp, 2 * math.pi), (y, x), "viridis", 2 * math.pi),
        ("image behind that mask", frames[1], bench.camera.grid.coordinates(), "gray", None),
    )
    for ax, (title, plane, places, colours, brightest) in zip(axes.flat, planes, strict=True):
        rows, columns = (axis.flatten().numpy() * 1e3 for axis in places)
        half = (rows[1] - rows[0]) / 2
        extent = (columns[0] - half, columns[-1] + half, rows[-1] + half, rows[0] - half)
        style = {"cmap": colours, "vmin": 0, "vmax": brightest, "interpolation": "nearest"}
        shown = ax.imshow(plane.numpy(), extent=extent, **style)
        cross = "white" if colours == "viridis" else COLOURS[3]
        ax.plot(0, 0, "+", color=cross, markersize=12, markeredgewidth=1.6)
        ax.set(title=title, xlabel="x [mm]", ylabel="y [mm]")
        if colours == "viridis":
            ax.set(xlim=(-0.5, 0.5), ylim=(0.4, -0.4))  # the middle, where the saw teeth can be seen
            bar = figure.colorbar(shown, ax=ax, label="phase [rad]", ticks=(0, math.pi, 2 * math.pi))
            bar.ax.set_yticklabels(("0", "π", "2π"))
    axes[1, 1].annotate(
        "", (shift[1] * 1e3, shift[0] * 1e3), (0, 0), arrowprops={"arrowstyle": "->", "color": COLOURS[3], "lw": 1.6}
    )
    return figure


def lens_samples() -> Figure:
    """Lenses whose phase turns by pi and by 2 pi a sample at the edge: their samples, and the light at the focus."""
    wavelength, pitch, focal_length = 532e-9, 10e-6, 20e-3
    limit = round(wavelength * focal_length / pitch**2)  # samples: N p^2 = lambda f
    figure = new_figure(8.8, 5.2)
    axes = figure.subplots(2, 2, sharex="col", width_ratios=(1.3, 1))
    for (left, right), factor, verdict in zip(axes, (1, 2), ("at the limit", "beyond it"), strict=True):
        grid = Grid((24, factor * limit), pitch)
        phase = lens_phase(grid, wavelength, focal_length)
        x = grid.coordinates()[1].flatten()
        fine = torch.linspace(0, factor * limit * pitch / 2, 20 * factor * limit, dtype=torch.float64)
        meant = torch.cos(math.pi * fine**2 / (wavelength * focal_length))
        left.plot((fine * 1e3).numpy(), meant.numpy(), color="0.7", linewidth=0.8)
        right_half = x >= 0
        samples = torch.cos(phase[grid.shape[0] // 2])[right_half]
        left.plot((x[right_half] * 1e3).numpy(), samples.numpy(), ".-", color=COLOURS[0], markersize=4, linewidth=1)
        left.set(title=f"{verdict}: $N p^2 = {'' if factor == 1 else factor} \\lambda f$", ylabel=r"$\cos\,\phi$")
        field = Field(torch.polar(torch.ones_like(phase), phase), grid, wavelength)
        light = propagate(
            field, focal_length, method="angular_spectrum", output=Grid((1, 3 * limit), pitch), override=True
        )
        profile = light.intensity[0].numpy()
        place = light.grid.coordinates()[1].flatten().numpy() * 1e3
        right.plot(place, 10 * np.log10(np.maximum(profile / profile.max(), 1e-6)), color=COLOURS[1], linewidth=1)
        right.set(ylabel="intensity at the focus [dB]", ylim=(-42, 3))
    for ax, label in zip(axes[1], ("x on the lens [mm]", "x at the focus [mm]"), strict=True):
        ax.set_xlabel(label)
    for ax in axes.flat:
        tidy(ax)
    return figure


def panel_orders() -> Figure:
    """Far field of a blazed grating of 5.4 pixels on a panel of 8 bits, and with one defect more each."""
    pixels, samples, periods = 270, 5, 50
    grating = torch.remainder(2 * math.pi * periods * torch.arange(pixels, dtype=torch.float64) / pixels, 2 * math.pi)
    panels = (
        ("8 bits", [Quantization(8)]),
        ("2 bits", [Quantization(2)]),
        ("10 % gaps that reflect", [Quantization(8), FillFactor(0.9)]),
        ("published cross-talk", [Quantization(8), Crosstalk()]),
    )
    figure = new_figure(8.8, 5.2)
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    for ax, colour, (title, effects) in zip(axes.flat, COLOURS, panels, strict=False):
        slm = SLM(Grid((6, pixels), "8 um"), None, effects, samples_per_pixel=samples)
        slm.set_values(grating.expand(1, 6, pixels))
        with torch.no_grad():
            field = torch.fft.fft2(slm.modulation()[0], norm="forward")[0]  # what is constant along y
        order = torch.fft.fftfreq(len(field), 1 / samples, dtype=torch.float64)  # cycles a pixel
        sample = torch.sinc(order / samples) ** 2  # each sample is a filled square
        intensity = field.abs().square() * sample
        seen = (order.abs() < 1.6) & (intensity > 1e-7)
        ax.vlines(order[seen].numpy(), -50, 10 * torch.log10(intensity[seen]).numpy(), color=colour, linewidth=1.4)
        wanted = intensity[periods].item()
        ax.set_title(f"{title}: {100 * wanted:.1f} % in the wanted order", fontsize=10)
        ax.set(xlim=(-1.6, 1.6), ylim=(-50, 2))
        tidy(ax)
    for ax in axes[1]:
        ax.set_xlabel(r"place on the camera [$\lambda f_2$ / pitch]")
    for ax in axes[:, 0]:
        ax.set_ylabel("share of the light [dB]")
    return figure


def taught_and_alone() -> Figure:
    """Test error of each row of the MNIST table: every seed, and means with their 95 % intervals."""
    errors = defaultdict(list)
    for line in (RESULTS / "mnist.jsonl").read_text(encoding="utf-8").splitlines():
        run = json.loads(line)
        errors[run["row"]].append(100 * (1 - run["test_accuracy"]))
    rows = sorted(errors, key=lambda row: np.mean(errors[row]))
    figure = new_figure(7.6, 0.36 * len(rows) + 1.0)
    ax = figure.subplots()
    for place, row in enumerate(rows):
        values = np.array(errors[row])
        kind = "teacher" if row == "teacher" else "taught" if row.endswith("_kd") else "labels"
        colour, mark = {"teacher": ("black", "*"), "taught": (COLOURS[1], "s"), "labels": (COLOURS[0], "o")}[kind]
        ax.plot(values, np.full(len(values), place + 0.22), "|", color="0.5", markersize=6)
        half = student_t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0
        ax.errorbar(values.mean(), place, xerr=half or None, fmt=mark, color=colour, capsize=3, markersize=6)
    ax.set_yticks(range(len(rows)), [f"{row} ({len(errors[row])})" for row in rows])
    ax.set_xscale("log")
    ax.set_xlim(0.48, 4.6)
    ax.set_xticks((0.5, 1, 2, 4), ("0.5", "1", "2", "4"))
    ax.minorticks_off()
    ax.invert_yaxis()
    ax.set(xlabel="test images told wrongly [%], MNIST, simulated", ylabel="row (seeds)")
    for label, colour, mark in (
        ("nonlinear teacher", "black", "*"),
        ("taught by it", COLOURS[1], "s"),
        ("trained on labels", COLOURS[0], "o"),
    ):
        ax.plot([], [], mark, color=colour, label=label)
    ax.plot([], [], "|", color="0.5", label="one seed")
    ax.legend(frameon=False, loc="upper right")
    tidy(ax, axis="x")
    return figure
