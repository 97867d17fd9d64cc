"""One self-contained HTML page: text, tables, tabs and pictures in the order they were added.

The page asks the network for nothing, and runs no script but the one that makes tabs of panels; its content policy
says so to the browser as well. It knows neither physics nor experiments.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

from ..files import written_whole
from .markup import bar, micro, panel, source, wheel_with_marks
from .pictures import Picture
from .template import PAGE, SCRIPT, STYLE

_PNG = b"\x89PNG\r\n\x1a\n"
_WORD, _SENTENCE = 16, 40  # characters: up to the one texts are not broken, beyond the other they need a width


class Report:
    """A page that grows block by block; all text is escaped, so it may come from anywhere.

    Blocks that are added before the first section stand under the title.

    Args:
        title: Main heading and name of the page.
        subtitle: Line below it.
        lang: Language of the texts, as HTML names it.
    """

    def __init__(self, title: str, subtitle: str = "", *, lang: str = "en") -> None:
        self.title = title
        self.subtitle = subtitle
        self.lang = lang
        self._lead: list[str] = []
        self._sections: list[tuple[str, str, list[str]]] = []  # anchor, title, blocks
        self._depth = 0  # of tabs inside tabs
        self._tabbed = False

    def section(self, title: str, intro: str = "") -> None:
        """Open a section; it is listed in the table of contents.

        Args:
            title: Its heading.
            intro: A first paragraph.
        """
        self._sections.append((self._anchor(title), title, []))
        if intro:
            self.paragraph(intro)

    def paragraph(self, text: str) -> None:
        """Text; an empty line starts a new paragraph."""
        for part in re.split(r"\n\s*\n", text.strip()):
            self._add(f"<p>{_text(part)}</p>")

    def code(self, text: str) -> None:
        """Text as it stands, in a fixed-width face: a configuration, which may be copied, a ``repr``."""
        self._add(f'<pre class="scroll" role="group" tabindex="0" aria-label="text">{escape(text)}</pre>')

    def table(
        self,
        rows: Sequence[Mapping[str, Any]],
        columns: Mapping[str, str] | None = None,
        *,
        formatters: Mapping[str, Callable[[Any], str]] | None = None,
        caption: str = "",
    ) -> None:
        """A table; the first column names the row, columns of numbers are aligned to the right.

        Args:
            rows: Values by key; a missing key or ``None`` is shown as a dash.
            columns: Key to heading, in order; by default all keys, as they come.
            formatters: Key to a function that writes a value; by default four digits of a float.
            caption: Above the table.

        Raises:
            ValueError: A column or a formatter for a key that no row has.
        """
        keys = dict.fromkeys(key for row in rows for key in row)
        columns = {key: key for key in keys} if columns is None else columns
        formatters = formatters or {}
        for name, wanted in (("columns", columns), ("formatters", formatters)):
            if rows and (unknown := [key for key in wanted if key not in keys]):
                raise ValueError(f"{name} must be keys of the rows ({', '.join(keys)}), got {', '.join(unknown)}.")
        written = [{key: _written(row.get(key), formatters.get(key)) for key in columns} for row in rows]
        kinds = {
            key: "number" if _all_numbers(row.get(key) for row in rows) else _kind_of(row[key] for row in written)
            for key in columns
        }
        title = f"<caption><span>{_text(caption)}</span></caption>" if caption else ""
        head = "".join(f'<th scope="col"{_class(kinds[key])}>{_text(heading)}</th>' for key, heading in columns.items())
        body = []
        for row in written:
            cells = []
            for column, key in enumerate(columns):
                start, end = ('th scope="row"', "th") if column == 0 else ("td", "td")
                cells.append(f"<{start}{_class(kinds[key])}>{_text(row[key])}</{end}>")
            body.append(f"<tr>{''.join(cells)}</tr>")
        if not rows:
            body.append(f'<tr><td colspan="{max(len(columns), 1)}">no rows</td></tr>')
        # Focusable, so that a table wider than the screen scrolls from the keyboard as well.
        self._add(
            f'<div class="scroll" role="group" tabindex="0" aria-label="{_text(caption or "table")}">'
            f"<table>{title}<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(body) + "\n</tbody></table></div>"
        )

    def figure(self, png: bytes, alt: str, caption: str = "") -> None:
        """A picture, kept inside the page.

        Args:
            png: PNG file.
            alt: What it shows, in words, for those who do not see it.
            caption: Below it.

        Raises:
            ValueError: No ``alt``, or not a PNG file.
        """
        if not alt.strip():
            raise ValueError(f"alt must not be empty, got {alt!r}. Say in words what the figure shows.")
        if not png.startswith(_PNG):
            raise ValueError(f"png must be a PNG file, got {len(png)} bytes that start with {png[:8]!r}.")
        below = f"<figcaption>{_text(caption)}</figcaption>" if caption else ""
        self._add(
            f'<figure><div class="wide" role="group" tabindex="0" aria-label="figure"><img {source(png)} '
            f'alt="{escape(alt)}"></div>{below}</figure>'
        )

    def pictures(self, pictures: Sequence[Picture], *, large: bool = False, wheel: bool = False) -> None:
        """Planes side by side, as many as fit, each with its axes and colour scale.

        Args:
            pictures: From :mod:`optics4f.report.pictures`.
            large: Whether to draw them larger.
            wheel: Whether the colours of the phase follow as a wheel, in place of their scales.
        """
        noted = any(picture.note for picture in pictures)
        figures = [panel(picture, scale=not wheel, noted=noted) for picture in pictures]
        figures += [wheel_with_marks()] if wheel else []
        classes = "panels" + " large" * large + " keyed" * wheel
        self._add(f'<div class="{classes}">\n' + "\n".join(figures) + "\n</div>")

    @contextmanager
    def tabs(self, label: str, *, group: str = "") -> Iterator[None]:
        """Panels of which one is shown at a time; all of them below each other where no script runs, and in print.

        Inside, nothing but :meth:`tab`; tabs may hold tabs.

        Args:
            label: What they choose between.
            group: Tabs of one group follow each other: who chooses mask 2 in one sees mask 2 in all.
        """
        self._add(f'<div class="tabs" data-label="{escape(label)}" data-group="{escape(group)}">')
        self._depth, self._tabbed = self._depth + 1, True
        try:
            yield
        finally:
            self._depth -= 1
            self._add("</div>")

    @contextmanager
    def tab(self, title: str) -> Iterator[None]:
        """One panel of :meth:`tabs`, and its name."""
        level = f"h{min(self._depth + 2, 6)}"
        self._add(f'<div class="panel"><{level}>{_text(title)}</{level}>')
        try:
            yield
        finally:
            self._add("</div>")

    @contextmanager
    def details(self, summary: str) -> Iterator[None]:
        """What is shown to those who ask for it."""
        self._add(f"<details><summary>{_text(summary)}</summary>")
        try:
            yield
        finally:
            self._add("</details>")

    def bars(self, rows: Sequence[Mapping[str, Any]], *, headings: tuple[str, str], caption: str = "") -> None:
        """Quantities as bars over one axis from zero, or between two ends, each with its value in words.

        Args:
            rows: ``name``, ``text`` (the value in words), and from 0 to 1 along the axis ``low`` and ``high`` (the
                spread), ``value``, and where there are several, ``seeds``.
            headings: Of names and values.
            caption: Above.
        """
        title = f"<caption><span>{_text(caption)}</span></caption>" if caption else ""
        first, last = map(_text, headings)
        names = f'<th scope="col">{first}</th><td></td><th scope="col" class="number">{last}</th>'
        body = "\n".join(
            f'<tr><th scope="row">{_text(row["name"])}</th><td>{bar(row)}</td>'
            f'<td class="number">{_text(row["text"])}</td></tr>'
            for row in rows
        )
        self._add(
            f'<div class="scroll" role="group" tabindex="0" aria-label="{_text(caption or headings[1])}">'
            f'<table class="bars">{title}<thead><tr>{names}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
        )

    def keyvalues(self, values: Mapping[str, Any]) -> None:
        """Names and values, such as seeds, versions and checksums."""
        pairs = (f"<dt>{_text(str(key))}</dt><dd>{_text(_written(value))}</dd>" for key, value in values.items())
        self._add("<dl>" + "\n".join(pairs) + "</dl>")

    def html(self) -> str:
        """The page."""
        contents = "\n".join(
            f'<li><a href="#{escape(anchor)}">{_text(title)}</a></li>' for anchor, title, _ in self._sections
        )
        navigation = f'<nav aria-label="Contents"><h2>Contents</h2>\n<ol>\n{contents}\n</ol></nav>' if contents else ""
        sections = "\n".join(
            f'<section aria-labelledby="{escape(anchor)}">\n<h2 id="{escape(anchor)}">{_text(title)}</h2>\n'
            + "\n".join(blocks)
            + "\n</section>"
            for anchor, title, blocks in self._sections
        )
        subtitle = f'<p class="subtitle">{_text(self.subtitle)}</p>' if self.subtitle else ""
        script = SCRIPT if self._tabbed else ""
        return PAGE.format(
            lang=escape(self.lang),
            title=_text(self.title),
            policy=_policy(script),
            style=STYLE,
            script=f"<script>{script}</script>\n" if script else "",
            subtitle=subtitle,
            layout="columns" if navigation else "",
            navigation=navigation,
            lead="\n".join(self._lead),
            sections=sections,
        )

    def write(self, path: str | Path) -> None:
        """Write the page, whole or not at all; an older one is replaced in one step."""
        with written_whole(path) as part:
            part.write_text(self.html(), encoding="utf-8")

    def _add(self, block: str) -> None:
        (self._sections[-1][2] if self._sections else self._lead).append(block)

    def _anchor(self, title: str) -> str:
        """The title as an address inside the page, numbered if it is taken."""
        taken = {"content", *(anchor for anchor, _, _ in self._sections)}
        anchor = name = re.sub(r"[\W_]+", "-", title.lower()).strip("-") or "section"
        number = 1
        while anchor in taken:
            number += 1
            anchor = f"{name}-{number}"
        return anchor


def _all_numbers(values: Any) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)


def _kind_of(texts: Iterable[str]) -> str:
    """Class of a column of texts: where the screen has little room, sentences want it and words are not broken."""
    longest = max(map(len, texts), default=0)
    return "word" if longest <= _WORD else "prose" if longest > _SENTENCE else ""


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _text(text: str) -> str:
    return escape(micro(text))


def _written(value: Any, formatter: Callable[[Any], str] | None = None) -> str:
    if value is None:
        return "–"
    if formatter is not None:
        return formatter(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _policy(script: str) -> str:
    """What the browser is to allow: pictures inside the page, its style, and this script and no other."""
    allowed = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if not script:
        return allowed
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    return f"{allowed}; script-src 'sha256-{digest}'"
