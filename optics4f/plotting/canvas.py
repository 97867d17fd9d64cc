"""What all figures share: colours, colour bars, tidy axes, arrays from tensors, and the way to a file.

Nothing here touches pyplot or a global state: each figure belongs to its caller and is drawn by Agg, without a
display.
"""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

# Okabe and Ito 2008: told apart with any colour vision; without their yellow, which is lost on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#000000")
SIGNED = "RdBu_r"  # colours of values around zero


def png(drawn: Figure | Axes, *, dpi: int = 110) -> bytes:
    """A figure, or that of an axes, as a PNG file, cut to what is drawn."""
    figure = drawn.figure if isinstance(drawn, Axes) else drawn
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", bbox_inches="tight", pad_inches=0.1)
    return buffer.getvalue()


def new_figure(width: float, height: float, *, layout: str = "constrained") -> Figure:
    """An empty figure [inch] that no window and no global state knows."""
    figure = Figure(figsize=(width, height), layout=layout)
    figure.get_layout_engine().set(w_pad=0.07, h_pad=0.05)
    FigureCanvasAgg(figure)
    return figure


def tidy(ax: Axes, *, axis: str = "both") -> None:
    """Faint grid lines behind the data, no frame at the top and right."""
    ax.grid(axis=axis, color="0.88", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def colour_bar(image: AxesImage, ax: Axes | list[Axes], label: str, **style: Any) -> Colorbar:
    """A colour bar beside one axes or a block of panels, as thick beside many rows as beside one."""
    rows = ax[0].get_gridspec().nrows if isinstance(ax, list) else 1
    return image.figure.colorbar(image, ax=ax, label=label, **{"aspect": 18 * rows} | style)


def share_labels(axes: list[Axes]) -> None:
    """In a row of panels, y label and numbers are left out where they repeat those of the panel to the left."""
    labels = [ax.get_ylabel() for ax in axes]
    for i, (left, ax) in enumerate(itertools.pairwise(axes)):
        if not ax.get_subplotspec().is_first_col():
            ax.set_ylabel("" if labels[i] == labels[i + 1] else labels[i + 1])
            ax.tick_params(labelleft=left.get_ylim() != ax.get_ylim())


def micro(text: str) -> str:
    """A quantity in ASCII as it is printed: us becomes µs."""
    return re.sub(r"(^| )u(?=[A-Za-z])", r"\1µ", text)


def count_masks(values: Tensor, name: str) -> int:
    """Number of masks of ``(masks, height, width)``; other shapes are refused."""
    if values.dim() != 3 or len(values) == 0:
        raise ValueError(f"{name} must have shape (masks, height, width), got {tuple(values.shape)}.")
    return len(values)


def squeezed(values: Tensor) -> np.ndarray:
    """An array without leading sizes of 1 in front of its last two, shape ``(height, width)`` if they all are."""
    array = as_array(values)
    while array.ndim > 2 and len(array) == 1:
        array = array[0]
    return array


def as_array(values: Tensor | Iterable) -> np.ndarray:
    """Values on the CPU, in double precision, of the same shape, without their gradient."""
    return torch.as_tensor(values).detach().cpu().double().numpy()
