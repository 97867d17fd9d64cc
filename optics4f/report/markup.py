"""The pieces of a page that are more than text: planes between their axes, the colour wheel, bars."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from html import escape
from typing import Any

from .pictures import Picture, colour_wheel

_MICRO = re.compile(r"(?:(?<=\d )|(?<=\[))u(?=[mgsJWVA](?![\w/]|\.\w))")  # of 8 um and [um], not of a file "8 um.toml"


def micro(text: str) -> str:
    """Text for readers, in which micro is µ as it is on the axes: 8 um becomes 8 µm."""
    return _MICRO.sub("µ", text)


def source(png: bytes) -> str:
    """A PNG file as attributes, with its width and height: the page does not jump while pictures are decoded."""
    width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
    return f'src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}" width="{width}" height="{height}"'


def panel(picture: Picture, *, scale: bool = True, noted: bool = True) -> str:
    """A plane between its axes; the words of axes and scale are in the alternative text already.

    Args:
        picture: The plane.
        scale: Whether its colour scale stands beside it.
        noted: Whether to leave room for a note, as those beside it need it.
    """
    note = f"<small>{escape(picture.note)}</small>" if noted else ""
    x, y = ("".join(f"<span>{escape(text)}</span>" for text in ends) for ends in (picture.x, picture.y))
    low, high, what = map(escape, picture.scale)
    bar_beside = (
        f'<span class="scale"><img {source(picture.bar)} alt="Colour scale: {what}, {low} to {high}">'
        f'<span class="ticks y" aria-hidden="true"><span>{high}</span><span>{low}</span></span></span>'
    )
    return (
        f'<figure class="plot"><figcaption>{escape(picture.title)}{note}</figcaption><div class="axes">'
        f'<span class="ticks y" aria-hidden="true">{y}</span>'
        f'<img class="plane" {source(picture.png)} alt="{escape(picture.alt)}">{bar_beside if scale else ""}'
        f'<span class="ticks x" aria-hidden="true">{x}</span></div></figure>'
    )


def wheel_with_marks() -> str:
    """The phase's colours as a ring, with a quarter of a turn between two marks."""
    marks = "".join(
        f'<span class="{place}" aria-hidden="true">{text}</span>'
        for place, text in (("east", "0"), ("north", "π/2"), ("west", "π"), ("south", "3π/2"))
    )
    words = "Colour wheel of the phase: 0 at the right, a quarter of a turn at the top, half a turn at the left"
    return f'<div class="wheel"><img {source(colour_wheel())} alt="{words}">{marks}</div>'


def bar(row: Mapping[str, Any]) -> str:
    """Spread and value over an axis of 100 units; the words are in the cell beside."""
    low, value, high = (100 * row[key] for key in ("low", "value", "high"))
    parts = [f'<rect class="spread" x="{low:.2f}" y="2" width="{max(high - low, 0.3):.2f}" height="6"/>']
    if row["seeds"]:
        parts += [_line("seed", 100 * seed, 1) for seed in row["seeds"]]
    else:
        parts.append(f'<rect class="value" x="0" y="3.5" width="{value:.2f}" height="3"/>')
    parts.append(_line("value", value, 0))
    return f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{"".join(parts)}</svg>'


def _line(kind: str, x: float, y: float) -> str:
    """An upright line, as thick on a narrow screen as on a wide one."""
    return f'<line class="{kind}" x1="{x:.2f}" y1="{y}" x2="{x:.2f}" y2="{10 - y}"/>'
