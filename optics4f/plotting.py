"""Figures of planes, masks, PSFs and results: pure functions, axes in, axes out. The only importer of matplotlib.

Nothing here touches pyplot or a global state: each figure belongs to its caller and is drawn by Agg, without a
display. Planes are drawn as the data lie, row 0 at the top: y runs downwards, as ``Grid.coordinates`` has it.
"""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from .field import Field
from .grid import Grid
from .metrics import (
    diffraction_efficiency,
    kernel_cosine,
    kernel_error,
    psnr,
    rms_error,
    speckle_contrast,
    ssim,
    uniformity,
)
from .units import engineering

LIGHT, PICTURE, PHASE, SHARE = "inferno", "gray", "twilight", "Blues"
# Okabe and Ito 2008: told apart with any colour vision; without their yellow, which is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000")
HATCHES = ("", "////", "....", "xxxx")
PREFIXES = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
DECADES = 4  # of a logarithmic intensity; what is darker takes the darkest colour


def plot_intensity(
    light: Field | Tensor,
    grid: Grid | None = None,
    *,
    ax: Axes | None = None,
    log: bool = False,
    title: str | None = None,
    label: str = "intensity [arb. units]",
) -> Axes:
    """Intensity on a plane.

    Args:
        light: A field, or a real tensor of intensities ``(height, width)``; leading sizes of 1 are dropped.
        grid: Plane of a tensor; a field brings its own.
        ax: Where to draw; a figure of its own by default.
        log: Whether colours are logarithmic, over the top four decades.
        title: Above the axes.
        label: Beside the colour bar.

    Raises:
        TypeError: A complex tensor: its intensity needs a field.
        ValueError: No grid, or a shape that is not the grid's.
    """
    intensity, grid = _intensity_of(light, grid)
    ax = _axes(grid) if ax is None else ax
    image = _draw_intensity(ax, intensity, grid, _length_unit(grid), _norm(intensity, log))
    _bar(image, ax, label)
    ax.set_title(title or "")
    return ax


def plot_phase(phase: Tensor, grid: Grid, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """A phase [rad], wrapped into ``[0, 2 pi)``, in cyclic colours.

    Args:
        phase: Shape ``(height, width)``; leading sizes of 1 are dropped.
        grid: Its plane.
        ax: Where to draw; a figure of its own by default.
        title: Above the axes.
    """
    values = _plane(phase, grid, "phase")
    ax = _axes(grid) if ax is None else ax
    _phase_bar(_draw_phase(ax, values, grid, _length_unit(grid)), ax)
    ax.set_title(title or "")
    return ax


def plot_field(field: Field, *, log: bool = False, title: str | None = None) -> Figure:
    """Intensity and phase of a field side by side; the phase is left grey where there is next to no light.

    Args:
        field: ``data`` of one plane, shape ``(height, width)``; leading sizes of 1 are dropped.
        log: Whether the intensity's colours are logarithmic.
        title: Above both.
    """
    intensity, grid = _intensity_of(field, None)
    figure, (left, right) = _panels(2, grid, width=3.4)
    plot_intensity(field, ax=left, log=log, title="intensity")
    phase = _plane(field.data.angle(), grid, "phase")
    _phase_bar(_draw_phase(right, phase, grid, _length_unit(grid), intensity=intensity), right)
    right.set_title("phase")
    _share_labels([left, right])
    if title:
        figure.suptitle(title)
    return figure


def plot_masks(phase: Tensor, grid: Grid) -> Figure:
    """The phase [rad] of each mask, shape ``(masks, height, width)``, under one colour bar."""
    figure, axes = _panels(_count(phase, "phase"), grid)
    for k, ax in enumerate(axes):
        image = _draw_phase(ax, _plane(phase[k], grid, "phase"), grid, _length_unit(grid))
        ax.set_title(f"mask {k}", fontsize="medium")
    _share_labels(axes)
    _phase_bar(image, axes)
    return figure


def plot_psfs(psfs: Tensor, pitch: float, *, log: bool = True, crop: float | None = None) -> Figure:
    """Point spread function of each mask on one scale of colours.

    Args:
        psfs: Intensity, shape ``(masks, height, width)``; index ``n // 2`` is drawn on the axis.
        pitch: Their sample spacing [m].
        log: Whether colours are logarithmic, over the top four decades.
        crop: Width and height that is shown, around the axis [m]; all by default.
    """
    grid = Grid(tuple(psfs.shape[-2:]), pitch)
    figure, axes = _panels(_count(psfs, "psfs"), grid, crop=crop)
    norm = _norm(_array(psfs), log)
    for k, ax in enumerate(axes):
        intensity, _ = _intensity_of(psfs[k], grid)
        image = _draw_intensity(ax, intensity, grid, _length_unit(grid, crop=crop), norm)
        _crop(ax, grid, crop)
        ax.set_title(f"PSF of mask {k}", fontsize="medium")
    _share_labels(axes)
    _bar(image, axes, "intensity [arb. units]")
    return figure


def plot_planes(
    planes: Mapping[str, Field],
    *,
    image: int = 0,
    mask: int = 0,
    crop: float | None = None,
    phase_of: Sequence[str] = ("behind SLM",),
) -> Figure:
    """The planes of a 4f in the order of the light: each one's intensity over its own maximum, four decades.

    Args:
        planes: Fields by name, as ``AngularSpectrumRoute.planes`` gives them; ``data`` of shape
            ``(batch, masks, height, width)`` with 1 where all masks share the light.
        image: Which of the batch.
        mask: Which of the masks.
        crop: Width and height that is shown, around the axis [m]; all by default.
        phase_of: Planes whose phase is shown as well.

    Raises:
        ValueError: ``phase_of`` names a plane that is not there.
    """
    if missing := set(phase_of) - set(planes):
        raise ValueError(f"phase_of must name planes of {list(planes)}, got {sorted(missing)}.")
    shown = [(name, _one(field, image, mask)) for name, field in planes.items()]
    grids = [field.grid for _, field in shown]
    unit = _length_unit(*grids, crop=crop)
    figure, axes = _panels(len(shown) + len(phase_of), max(grids, key=lambda grid: max(grid.extent)), crop=crop)
    remaining = iter(axes)
    for name, field in shown:
        intensity, grid = _intensity_of(field, None)
        peak = intensity.max()
        ax = next(remaining)
        bright = _draw_intensity(ax, intensity / (peak or 1), grid, unit, LogNorm(10.0**-DECADES, 1))
        ax.set_title(f"{name}\npeak {peak:.3g}", fontsize="medium")
        _crop(ax, grid, crop)
        if name in phase_of:
            ax = next(remaining)
            turned = _draw_phase(ax, _plane(field.data.angle(), grid, "phase"), grid, unit, intensity=intensity)
            ax.set_title(f"{name}\nphase", fontsize="medium")
            _crop(ax, grid, crop)
    _share_labels(axes)
    _bar(bright, axes, "intensity / maximum of the plane")
    if phase_of:
        _phase_bar(turned, axes, location="bottom", shrink=0.5)
    return figure


def plot_frames(image: Tensor, frames: Tensor, grid: Grid, *, object_grid: Grid | None = None) -> Figure:
    """The object, and what the camera delivers for each mask [DN], on one grey scale.

    Args:
        image: Object in [0, 1], shape ``(height, width)``.
        frames: Shape ``(masks, height, width)`` [DN].
        grid: The camera's pixels.
        object_grid: Logical pixels of the object; without it they are counted.
    """
    figure, axes = _panels(_count(frames, "frames") + 1, grid)
    first, rest = axes[0], axes[1:]
    if object_grid is None:
        first.imshow(_squeezed(image), cmap=PICTURE, vmin=0, vmax=1, interpolation="nearest")
        first.set(xlabel="x [pixel]", ylabel="y [pixel]")
    else:
        picture = _plane(image, object_grid, "image")
        _draw(first, picture, object_grid, _length_unit(object_grid), cmap=PICTURE, norm=Normalize(0, 1))
    first.set_title("object", fontsize="medium")
    norm = _norm(_array(frames), log=False)
    for k, ax in enumerate(rest):
        counts = _plane(frames[k], grid, "frames")
        bright = _draw(ax, counts, grid, _length_unit(grid), cmap=PICTURE, norm=norm)
        ax.set_title(f"camera, mask {k}", fontsize="medium")
    _share_labels(axes)
    _bar(bright, axes, "camera signal [DN]")
    return figure


def plot_confusion(confusion: Tensor, classes: Sequence[str], *, ax: Axes | None = None) -> Axes:
    """Confusion matrix: counts as numbers, shares of the true class as colours.

    Args:
        confusion: Counts, shape ``(classes, classes)``: true class by row, predicted by column.
        classes: Their names.
        ax: Where to draw; a figure of its own by default.
    """
    counts = _array(confusion)
    n = len(classes)
    if counts.shape != (n, n):
        raise ValueError(f"confusion must have shape {(n, n)} for {n} classes, got {counts.shape}.")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    if ax is None:
        side = min(9.0, 2.2 + 0.42 * n)
        ax = _figure(side + 0.8, side).add_subplot()
    image = ax.imshow(share, cmap=SHARE, vmin=0, vmax=1, interpolation="nearest")
    rotation = 90 if max(map(len, map(str, classes))) > 3 else 0
    ax.set_xticks(range(n), classes, rotation=rotation)
    ax.set_yticks(range(n), classes)
    ax.set(xlabel="predicted class", ylabel="true class")
    if n <= 25:  # beyond, the numbers no longer fit their cells
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if share[row, column] > 0.65 else "black" if count else "0.6"
            ax.text(column, row, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=8)
    ax.figure.colorbar(image, ax=ax, label="share of the true class", shrink=0.8)
    return ax


def plot_curves(history: Sequence[Mapping[str, Any]], *, title: str | None = None) -> Figure:
    """Loss and accuracy against epoch.

    Args:
        history: Records with ``epoch``, ``loss``, ``train_accuracy``, ``validation_loss`` and ``validation_accuracy``
            (``None`` where there was no validation); ``restored`` marks the epoch that was kept.
        title: Above both panels.
    """
    if not history:
        raise ValueError("history must have at least one record, got none.")
    figure = _figure(8.6, 3.3)
    if title:
        figure.suptitle(title)
    panels = (
        ("loss [nat]", 1, ("loss", "validation_loss")),
        ("accuracy [%]", 100, ("train_accuracy", "validation_accuracy")),
    )
    for column, (label, scale, keys) in enumerate(panels, 1):
        ax = figure.add_subplot(1, 2, column)
        for key, name, colour, marker in zip(keys, ("training", "validation"), COLOURS, "os", strict=False):
            known = [(record["epoch"], scale * record[key]) for record in history if record.get(key) is not None]
            if known:
                ax.plot(*zip(*known, strict=True), color=colour, marker=marker, markersize=3, linewidth=1.4, label=name)
        for record in history:
            if record.get("restored"):
                ax.axvline(record["epoch"], color="0.4", linestyle=":", linewidth=1.2, label="kept")
        ax.set(xlabel="epoch", ylabel=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        _tidy(ax)
        ax.legend(frameon=False)
    return figure


def plot_convergence(losses: Tensor, *, title: str | None = None) -> Figure:
    """Loss of a retrieval against iteration.

    Args:
        losses: Shape ``(iterations + 1,)`` or ``(iterations + 1, masks)``, not negative.
        title: Above the axes.
    """
    curves = _array(losses).reshape(len(losses), -1)
    figure = _figure(5.0, 3.3)
    ax = figure.add_subplot()
    for k, curve in enumerate(curves.T):
        ax.plot(curve, color=COLOURS[k % len(COLOURS)], linewidth=1.4, label=f"mask {k}")
    ax.set(xlabel="iteration", ylabel="loss", title=title or "")
    if (curves > 0).all():
        ax.set_yscale("log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    _tidy(ax)
    if 1 < curves.shape[1] <= len(COLOURS):
        ax.legend(frameon=False)
    return figure


def plot_ablation(
    rows: Sequence[Mapping[str, Any]],
    *,
    reference: float | None = None,
    label: str = "accuracy",
    ax: Axes | None = None,
) -> Axes:
    """What each effect does to a share such as the accuracy: mean, spread, and each seed where it is known.

    Args:
        rows: From top to bottom: ``effect`` (its name), ``mean``, and as far as known ``low`` and ``high`` (the
            spread) and ``seeds`` (one value a seed); all in [0, 1]. Without ``low`` and ``high`` the spread is that
            of the seeds.
        reference: Value without any effect; drawn as a line.
        label: The quantity; shown in percent.
        ax: Where to draw; a figure of its own by default.
    """
    ax = _figure(8.0, 1.1 + 0.36 * len(rows)).add_subplot() if ax is None else ax
    blue, red, *_ = COLOURS
    for y, row in enumerate(rows):
        seeds = [100 * value for value in row.get("seeds") or ()]
        low, high = (
            100 * row[key] if row.get(key) is not None else pick(seeds, default=100 * row["mean"])
            for key, pick in (("low", min), ("high", max))
        )
        ax.plot([low, high], [y, y], color=blue, linewidth=2.2, alpha=0.45, solid_capstyle="round")
        ax.plot(seeds, [y] * len(seeds), "|", color=blue, markersize=9)
        ax.plot(100 * row["mean"], y, "o", color=blue, markersize=6.5)
    handles = [Line2D([], [], color=blue, marker="o", linewidth=2.2, label="mean and spread")]
    if any(row.get("seeds") for row in rows):
        handles.append(Line2D([], [], color=blue, marker="|", linestyle="", markersize=9, label="one seed"))
    if reference is not None:
        line = ax.axvline(100 * reference, color=red, linestyle="--", linewidth=1.4, zorder=0)
        line.set_label(f"without any effect, {100 * reference:.1f} %")
        handles.append(line)
    ax.set_yticks(range(len(rows)), [str(row["effect"]) for row in rows])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel(f"{label} [%]")
    _tidy(ax, axis="x")
    ax.legend(handles=handles, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return ax


def plot_costs(
    rows: Sequence[Mapping[str, Any]], *, unit: str = "J", label: str = "energy per image", ax: Axes | None = None
) -> Axes:
    """What a cost is made of: one bar a system, one piece a term, the total at its end.

    The axis is linear: pieces that lie end to end have no length on a logarithmic one.

    Args:
        rows: From top to bottom: ``system`` (its name) and ``terms`` (name to value [``unit``]).
        unit: SI unit of the values.
        label: The quantity.
        ax: Where to draw; a figure of its own by default.

    Raises:
        ValueError: A negative term.
    """
    names = list(dict.fromkeys(name for row in rows for name in row["terms"]))
    totals = [sum(row["terms"].values()) for row in rows]
    ax = _figure(8.6, 1.3 + 0.5 * len(rows) + 0.22 * math.ceil(len(names) / 3)).add_subplot() if ax is None else ax
    largest = max(totals, default=0.0) or 1.0
    scaled_unit = engineering(largest, unit).split(" ")[1]
    scale = PREFIXES[scaled_unit.removesuffix(unit)]
    starts = [0.0] * len(rows)
    for i, name in enumerate(names):
        lengths = [row["terms"].get(name, 0.0) / scale for row in rows]
        if min(lengths) < 0:
            raise ValueError(f"{name} must not be negative, got {min(lengths) * scale:g} {unit}.")
        cycle, colour = divmod(i, len(COLOURS))
        style = {"color": COLOURS[colour], "hatch": HATCHES[cycle % len(HATCHES)], "edgecolor": "white", "linewidth": 0}
        ax.barh(range(len(rows)), lengths, left=starts, height=0.62, label=name, **style)
        starts = [start + length for start, length in zip(starts, lengths, strict=True)]
    for y, (end, total) in enumerate(zip(starts, totals, strict=True)):
        ax.annotate(
            _micro(engineering(total, unit, 3)), (end, y), xytext=(5, 0), textcoords="offset points", va="center"
        )
    ax.set_yticks(range(len(rows)), [str(row["system"]) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 1.14 * largest / scale)  # room for the totals
    ax.set_xlabel(f"{label} [{_micro(scaled_unit)}]")
    _tidy(ax, axis="x")
    ax.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return ax


def png(figure: Figure, *, dpi: int = 110) -> bytes:
    """A figure as a PNG file, cut to what is drawn."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def _figure(width: float, height: float, *, layout: str = "constrained") -> Figure:
    """An empty figure [inch] that no window and no global state knows."""
    figure = Figure(figsize=(width, height), layout=layout)
    figure.get_layout_engine().set(w_pad=0.07, h_pad=0.05)
    FigureCanvasAgg(figure)
    return figure


def _axes(grid: Grid) -> Axes:
    return _figure(4.9, 0.9 + 3.4 * _aspect(grid), layout="compressed").add_subplot()


def _panels(count: int, grid: Grid, *, crop: float | None = None, width: float = 2.3) -> tuple[Figure, list[Axes]]:
    """``count`` axes in rows of three to five, whichever leaves the fewest places empty."""
    columns = count if count <= 5 else min((5, 4, 3), key=lambda columns: -count % columns)
    rows = math.ceil(count / columns)
    aspect = 1.0 if crop is not None else _aspect(grid)
    # Compressed: pictures of equal aspect stand close together, whatever the figure's own aspect.
    figure = _figure(width * columns + 1.4, rows * (width * aspect + 0.55) + 0.3, layout="compressed")
    return figure, [figure.add_subplot(rows, columns, i + 1) for i in range(count)]


def _aspect(grid: Grid) -> float:
    return min(max(grid.shape[0] / grid.shape[1], 0.4), 2.5)


def _draw(ax: Axes, values: np.ndarray, grid: Grid, unit: tuple[str, float], **style: Any) -> AxesImage:
    """``values`` on their plane, row 0 at the top."""
    name, size = unit
    (top, bottom), (left, right) = (
        ((-(n // 2) - 0.5) * grid.pitch / size, (n - n // 2 - 0.5) * grid.pitch / size) for n in grid.shape
    )
    image = ax.imshow(values, extent=(left, right, bottom, top), origin="upper", aspect="equal", **style)
    ax.set(xlabel=f"x [{name}]", ylabel=f"y [{name}]")
    ax.locator_params(axis="x", nbins=4)  # numbers such as -0.25 stay apart in a narrow panel
    return image


def _share_labels(axes: list[Axes]) -> None:
    """In a row of panels, y label and numbers are left out where they repeat those of the panel to the left."""
    labels = [ax.get_ylabel() for ax in axes]
    for i, (left, ax) in enumerate(itertools.pairwise(axes)):
        if not ax.get_subplotspec().is_first_col():
            ax.set_ylabel("" if labels[i] == labels[i + 1] else labels[i + 1])
            ax.tick_params(labelleft=left.get_ylim() != ax.get_ylim())


def _draw_intensity(ax: Axes, intensity: np.ndarray, grid: Grid, unit: tuple[str, float], norm: Normalize) -> AxesImage:
    if isinstance(norm, LogNorm):
        intensity = np.maximum(intensity, norm.vmin)  # a zero has no logarithm
    return _draw(ax, intensity, grid, unit, cmap=LIGHT, norm=norm)


def _draw_phase(
    ax: Axes, phase: np.ndarray, grid: Grid, unit: tuple[str, float], *, intensity: np.ndarray | None = None
) -> AxesImage:
    """Phase in [0, 2 pi); grey where ``intensity`` is four decades below its maximum."""
    wrapped = np.mod(phase, 2 * math.pi)
    if intensity is not None:
        wrapped = np.ma.masked_where(intensity <= intensity.max() * 10.0**-DECADES, wrapped)
        ax.set_facecolor("0.75")
    # Where a screen pixel holds many samples their colours are averaged: a mean of 0 and 2 pi as numbers would be pi.
    return _draw(ax, wrapped, grid, unit, cmap=PHASE, norm=Normalize(0, 2 * math.pi), interpolation_stage="rgba")


def _bar(image: AxesImage, ax: Axes | list[Axes], label: str, **style: Any) -> Colorbar:
    rows = ax[0].get_gridspec().nrows if isinstance(ax, list) else 1
    return image.figure.colorbar(image, ax=ax, label=label, **{"aspect": 18 * rows} | style)


def _phase_bar(image: AxesImage, ax: Axes | list[Axes], **style: Any) -> None:
    bar = _bar(image, ax, "phase [rad]", **style)
    bar.set_ticks([0, math.pi, 2 * math.pi], labels=["0", "π", "2π"])


def _norm(intensity: np.ndarray, log: bool) -> Normalize:
    peak = float(intensity.max()) or 1.0
    return LogNorm(peak * 10.0**-DECADES, peak) if log else Normalize(0, peak)


def _crop(ax: Axes, grid: Grid, crop: float | None) -> None:
    """Show the middle ``crop`` [m] of a plane that is larger."""
    if crop is None:
        return
    left, right, bottom, top = ax.images[0].get_extent()
    scale = (right - left) / grid.extent[1]
    half = crop / 2 * scale
    ax.set_xlim(max(left, -half), min(right, half))
    ax.set_ylim(min(bottom, half), max(top, -half))


def _length_unit(*grids: Grid, crop: float | None = None) -> tuple[str, float]:
    """Name and size [m] of the unit for planes that are drawn together."""
    width = max(max(grid.extent) for grid in grids)
    return ("mm", 1e-3) if min(width, crop or width) >= 1e-3 else ("µm", 1e-6)


def _micro(text: str) -> str:
    """A quantity in ASCII as it is printed: us becomes µs."""
    return re.sub(r"(^| )u(?=[A-Za-z])", r"\1µ", text)


def _intensity_of(light: Field | Tensor, grid: Grid | None) -> tuple[np.ndarray, Grid]:
    if isinstance(light, Field):
        return _plane(light.intensity, light.grid, "field"), light.grid
    if light.is_complex():
        raise TypeError(f"intensity must be real, got {light.dtype}. Give a Field, or its intensity.")
    if grid is None:
        raise ValueError("grid must be given with a tensor of intensities, got None. A Field brings its own.")
    return _plane(light, grid, "intensity"), grid


def _plane(values: Tensor, grid: Grid, name: str) -> np.ndarray:
    array = _squeezed(values)
    if array.shape != grid.shape:
        raise ValueError(
            f"{name} must have the grid's shape {grid.shape}, got {tuple(values.shape)}. Choose one plane."
        )
    return array


def _one(field: Field, image: int, mask: int) -> Field:
    """One image behind one mask; where masks share the light, that light."""
    data = field.data.reshape((1,) * (4 - field.data.dim()) + tuple(field.data.shape))
    batch, masks = data.shape[:2]
    return Field(data[image if batch > 1 else 0, mask if masks > 1 else 0], field.grid, field.wavelength)


def _count(values: Tensor, name: str) -> int:
    if values.dim() != 3 or len(values) == 0:
        raise ValueError(f"{name} must have shape (masks, height, width), got {tuple(values.shape)}.")
    return len(values)


def _squeezed(values: Tensor) -> np.ndarray:
    array = _array(values)
    while array.ndim > 2 and len(array) == 1:
        array = array[0]
    return array


def _array(values: Tensor | Iterable) -> np.ndarray:
    return torch.as_tensor(values).detach().cpu().double().numpy()


def _tidy(ax: Axes, *, axis: str = "both") -> None:
    ax.grid(axis=axis, color="0.88", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def plot_scaling(
    curves: Sequence[Mapping[str, Any]], *, unit: str, label: str, x_label: str, ax: Axes | None = None
) -> Axes:
    """Quantities against a size, both logarithmic: a line through the middle values in a band between the ends.

    Args:
        curves: ``name``, ``x`` (sizes) and ``values``: ``(low, middle, high)`` [``unit``] at each size, or ``None``
            where there is no figure. ``reference`` draws a curve in grey dashes, behind the others.
        unit: SI unit of the values.
        label: The quantity.
        x_label: The size, with its unit.
        ax: Where to draw; a figure of its own by default.
    """
    ax = _figure(10.5, 5.2).add_subplot() if ax is None else ax
    greys = itertools.cycle(itertools.product(("0.3", "0.65"), ((4, 2), (1, 1.5), (7, 2, 1, 2), (2, 3), (9, 3))))
    colours = itertools.cycle(COLOURS[:-1])
    for curve in curves:
        known = [(x, *ends) for x, ends in zip(curve["x"], curve["values"], strict=True) if ends is not None]
        if not known:
            continue
        x, low, middle, high = zip(*known, strict=True)
        behind = bool(curve.get("reference"))
        grey, dashes = next(greys) if behind else ("", None)
        style = {"color": grey, "dashes": dashes, "zorder": 1} if behind else {"color": next(colours)}
        ax.plot(x, middle, linewidth=1.8, label=curve["name"], **style)
        ax.fill_between(x, low, high, color=style["color"], alpha=0.07 if behind else 0.15, linewidth=0)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_major_formatter(lambda value, _: _micro(engineering(value, unit, 3)))
    ax.set(xlabel=x_label, ylabel=label)
    _tidy(ax)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize="small")
    return ax


def plot_convolution(
    frame: Tensor,
    windows: Sequence[tuple[slice, slice]],
    measured: Tensor,
    wanted: Tensor,
    *,
    pitch: float,
    names: Sequence[str] | None = None,
) -> Figure:
    """Kernels tiled in front of a camera: the whole frame with their windows; what they measured, should have, and err.

    Args:
        frame: Signal of the camera, ``(height, width)``.
        windows: Camera rows and columns of each tile.
        measured: Output of each kernel, ``(kernels, h, w)``; at most eight are drawn.
        wanted: The digital convolution, same shape.
        pitch: Of the camera's pixels [m].
        names: Of the kernels.
    """
    shown = min(len(measured), 8)
    figure = _figure(4.2 + 1.35 * shown, 4.4)
    left, right = figure.subfigures(1, 2, width_ratios=(4.2, 1.35 * shown))
    ax = left.add_subplot()
    grid = Grid(tuple(frame.shape), pitch)
    y, x = (axis.flatten() * 1e3 for axis in grid.coordinates())
    extent = (x[0].item(), x[-1].item(), y[-1].item(), y[0].item())
    values = _array(frame)
    image = ax.imshow(values, cmap="magma", extent=extent, vmax=np.quantile(values, 0.999))
    for rows, columns in windows:
        corner = (x[columns.start].item(), y[rows.start].item())
        size = ((columns.stop - columns.start) * pitch * 1e3, (rows.stop - rows.start) * pitch * 1e3)
        ax.add_patch(Rectangle(corner, *size, fill=False, edgecolor="white", linewidth=0.6))
    ax.set(xlabel="x [mm]", ylabel="y [mm]", title="Camera frame and windows")
    _bar(image, ax, "signal [white object pixel]")
    for column, axes in enumerate(np.atleast_2d(right.subplots(3, shown, squeeze=False).T)[:shown]):
        limit = float(wanted[column].abs().max())
        panels = (measured[column], wanted[column], measured[column] - wanted[column])
        for ax, panel in zip(axes, panels, strict=True):
            ax.imshow(_array(panel), cmap="RdBu_r", vmin=-limit, vmax=limit)
            ax.set(xticks=[], yticks=[])
        axes[0].set_title(names[column] if names else f"kernel {column}", fontsize="small")
        if column == 0:
            for ax, label in zip(axes, ("measured", "conv2d", "difference"), strict=True):
                ax.set_ylabel(label)
    return figure


def plot_residuals(residuals: Tensor, grid: Grid, *, names: Sequence[str] | None = None, limit: float = 5.0) -> Figure:
    """Maps of what a fit leaves, in standard deviations of the noise; grey where nothing was compared.

    Args:
        residuals: Shape ``(frames, height, width)``, NaN where nothing was compared; at most twenty are drawn.
        grid: The camera's pixels.
        names: Of the frames; their numbers by default.
        limit: Deviations of the strongest colours.
    """
    count = min(_count(residuals, "residuals"), 20)
    figure, axes = _panels(count, grid, width=1.7)
    for k, ax in enumerate(axes):
        values = np.ma.masked_invalid(_plane(residuals[k], grid, "residuals"))
        ax.set_facecolor("0.6")
        image = _draw(ax, values, grid, _length_unit(grid), cmap="RdBu_r", norm=Normalize(-limit, limit))
        ax.set_title(names[k] if names else f"frame {k}", fontsize="medium")
    _share_labels(axes)
    _bar(image, axes, "measured less predicted [standard deviations]")
    return figure


def plot_spots(power: Tensor, wanted: Tensor | None = None, *, total: float | None = None) -> Figure:
    """Power of spots over what is wanted of each, 1 on average: bars, or a map of more than 64; efficiency, uniformity.

    Args:
        power: Light in each spot, shape ``(rows, columns)``.
        wanted: Relative power of each, same shape; 0 is no spot. All alike by default.
        total: Light that fell on the SLM, in the units of ``power``; without it no efficiency is written.
    """
    wanted = torch.ones_like(power) if wanted is None else wanted.to(power)
    if power.dim() != 2 or power.shape != wanted.shape:
        raise ValueError(
            f"power and wanted must have one shape (rows, columns), got {tuple(power.shape)} and {tuple(wanted.shape)}."
        )
    there = wanted > 0
    ratio = torch.where(there, power / torch.where(there, wanted, 1), torch.nan)
    values = _array(ratio / ratio.nanmean())
    merits = [f"uniformity {uniformity(power, wanted).item():.4f}"]
    if total is not None:
        merits.insert(0, f"efficiency {diffraction_efficiency(power, there, total).item():.4f}")
    if int(there.sum()) > 64:
        ax = _figure(5.2, 1.2 + 3.8 * min(max(power.shape[0] / power.shape[1], 0.3), 2)).add_subplot()
        spread = max(float(np.nanmax(abs(values - 1))), 1e-6)
        image = ax.imshow(values, cmap="RdBu_r", norm=Normalize(1 - spread, 1 + spread), interpolation="nearest")
        ax.set_facecolor("0.8")
        ax.set(xlabel="column of spots", ylabel="row of spots")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        _bar(image, ax, "power over wanted, mean 1", shrink=0.8)
    else:
        bars = values[_array(there) > 0]
        ax = _figure(max(3.6, 1.2 + 0.14 * len(bars)), 3.2).add_subplot()
        ax.bar(range(len(bars)), bars, color=COLOURS[0])
        ax.axhline(1, color="0.3", linestyle="--", linewidth=1)
        ax.set(xlabel="spot, row by row", ylabel="power over wanted, mean 1")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        _tidy(ax, axis="y")
    ax.set_title(", ".join(merits), fontsize="medium")
    return ax.figure


def plot_image(actual: Tensor, wanted: Tensor, *, title: str | None = None) -> Figure:
    """Wanted and actual intensity at the best brightness, and their difference; RMS error, PSNR, SSIM, speckle.

    Speckle contrast is that of actual over wanted where more than a tenth of the peak is wanted: of a uniform area its
    own contrast. SSIM is left out below 11 samples a side.

    Args:
        actual: Intensity, shape ``(height, width)``.
        wanted: The same; only its shape matters, not its brightness.
        title: Above all.
    """
    actual, wanted = actual.detach().double(), wanted.detach().double()
    if actual.dim() != 2 or actual.shape != wanted.shape:
        raise ValueError(
            f"actual and wanted must have one shape (height, width), got {tuple(actual.shape)} and "
            f"{tuple(wanted.shape)}."
        )
    wanted = wanted / wanted.max()
    actual = actual * (actual * wanted).sum() / actual.square().sum()
    bright = wanted > 0.1
    ratio = actual / torch.where(bright, wanted, 1)
    merits = [f"RMS {rms_error(actual, wanted).item():.3f}", f"PSNR {psnr(actual, wanted, peak=1).item():.1f} dB"]
    if min(wanted.shape) >= 11:
        merits.append(f"SSIM {ssim(actual, wanted, peak=1).item():.3f}")
    merits.append(f"speckle {speckle_contrast(ratio, bright).item():.3f}")
    grid = Grid(tuple(wanted.shape), 1.0)
    figure, axes = _panels(3, grid, width=2.8)
    spread = max((actual - wanted).abs().max().item(), 1e-12)
    for ax, values, name in zip(axes[:2], (wanted, actual), ("wanted", "actual"), strict=True):
        bright_image = ax.imshow(_array(values), cmap=LIGHT, norm=Normalize(0, 1), interpolation="nearest")
        ax.set_title(name, fontsize="medium")
    off = axes[2].imshow(
        _array(actual - wanted), cmap="RdBu_r", norm=Normalize(-spread, spread), interpolation="nearest"
    )
    axes[2].set_title("difference", fontsize="medium")
    for ax in axes:
        ax.set(xticks=[], yticks=[])
    _bar(bright_image, axes[:2], "intensity [wanted peak]")
    _bar(off, axes[2], "actual less wanted")
    figure.suptitle(", ".join(merits) if title is None else f"{title}: {', '.join(merits)}", fontsize="medium")
    return figure


def plot_kernels(made: Tensor, wanted: Tensor, *, names: Sequence[str] | None = None) -> Figure:
    """Wanted kernels, those made at the best brightness, and the difference; cosine and relative error of each.

    Complex ones, whose global phase nobody sees, are turned to the best one, and their real parts drawn. The sign of
    real ones counts.

    Args:
        made: Shape ``(kernels, height, width)``; at most ten are drawn.
        wanted: The same.
        names: Of the kernels; their numbers by default.
    """
    shown = min(_count(made, "made"), 10)
    if made.shape != wanted.shape:
        raise ValueError(f"made and wanted must have one shape, got {tuple(made.shape)} and {tuple(wanted.shape)}.")
    kind = torch.complex128 if made.is_complex() or wanted.is_complex() else torch.float64
    made, wanted = made.detach().to("cpu", kind), wanted.detach().to("cpu", kind)
    overlap = (made.conj() * wanted).sum((-2, -1), keepdim=True)
    if kind.is_complex:
        made = made * torch.polar(torch.ones_like(overlap.real), overlap.angle())
        overlap = overlap.abs()
    cosines, errors = kernel_cosine(made, wanted), kernel_error(made, wanted)
    made = made * overlap.clamp(min=0) / made.abs().square().sum((-2, -1), keepdim=True)
    figure = _figure(1.2 + 1.5 * shown, 4.9, layout="compressed")
    panels = figure.subplots(3, shown, squeeze=False)
    for k, axes in enumerate(panels.T):
        rows = [values.real if kind.is_complex else values for values in (wanted[k], made[k], made[k] - wanted[k])]
        limit = rows[0].abs().max().item() or 1.0
        for ax, values in zip(axes, rows, strict=True):
            image = ax.imshow(_array(values / limit), cmap="RdBu_r", norm=Normalize(-1, 1), interpolation="nearest")
            ax.set(xticks=[], yticks=[])
        axes[0].set_title(names[k] if names else f"kernel {k}", fontsize="small")
        axes[2].set_xlabel(f"cosine {cosines[k].item():.4f}\nerror {errors[k].item():.3f}", fontsize="small")
    for ax, label in zip(panels[:, 0], ("wanted", "made", "difference"), strict=True):
        ax.set_ylabel(label)
    _bar(image, list(panels.flat), "weight [largest wanted]")
    return figure
