"""One self-contained HTML page: text, tables and figures in the order they were added.

The page asks the network for nothing and runs no script; its content policy says so to the browser as well. It knows
neither physics nor experiments.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .files import written_whole

_PNG = b"\x89PNG\r\n\x1a\n"


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
            self._add(f"<p>{escape(part)}</p>")

    def code(self, text: str) -> None:
        """Text as it stands, in a fixed-width face: a configuration, a ``repr``."""
        self._add(f'<pre class="scroll" tabindex="0">{escape(text)}</pre>')

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
        numeric = {key for key in columns if _all_numbers(row.get(key) for row in rows)}
        title = f"<caption>{escape(caption)}</caption>" if caption else ""
        head = "".join(
            f'<th scope="col"{_number_class(key in numeric)}>{escape(heading)}</th>' for key, heading in columns.items()
        )
        body = []
        for row in rows:
            cells = []
            for column, key in enumerate(columns):
                text = escape(_written(row.get(key), formatters.get(key)))
                start, end = ('th scope="row"', "th") if column == 0 else ("td", "td")
                cells.append(f"<{start}{_number_class(key in numeric)}>{text}</{end}>")
            body.append(f"<tr>{''.join(cells)}</tr>")
        if not rows:
            body.append(f'<tr><td colspan="{max(len(columns), 1)}">no rows</td></tr>')
        # Focusable, so that a table wider than the screen scrolls from the keyboard as well.
        self._add(
            f'<div class="scroll" role="group" tabindex="0" aria-label="{escape(caption or "table")}">'
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
        # The header's width and height: the page does not jump while pictures are decoded.
        width, height = (int.from_bytes(png[start : start + 4], "big") for start in (16, 20))
        data = base64.b64encode(png).decode("ascii")
        below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        self._add(
            f'<figure><img src="data:image/png;base64,{data}" alt="{escape(alt)}" width="{width}" height="{height}">'
            f"{below}</figure>"
        )

    def keyvalues(self, values: Mapping[str, Any]) -> None:
        """Names and values, such as seeds, versions and checksums."""
        pairs = (f"<dt>{escape(str(key))}</dt><dd>{escape(_written(value))}</dd>" for key, value in values.items())
        self._add("<dl>" + "\n".join(pairs) + "</dl>")

    def html(self) -> str:
        """The page."""
        contents = "\n".join(
            f'<li><a href="#{escape(anchor)}">{escape(title)}</a></li>' for anchor, title, _ in self._sections
        )
        navigation = f'<nav aria-label="Contents"><h2>Contents</h2>\n<ol>\n{contents}\n</ol></nav>' if contents else ""
        sections = "\n".join(
            f'<section aria-labelledby="{escape(anchor)}">\n<h2 id="{escape(anchor)}">{escape(title)}</h2>\n'
            + "\n".join(blocks)
            + "\n</section>"
            for anchor, title, blocks in self._sections
        )
        subtitle = f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""
        return _PAGE.format(
            lang=escape(self.lang),
            title=escape(self.title),
            style=_STYLE,
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


def _number_class(numeric: bool) -> str:
    return ' class="number"' if numeric else ""


def _written(value: Any, formatter: Callable[[Any], str] | None = None) -> str:
    if value is None:
        return "–"
    if formatter is not None:
        return formatter(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


_STYLE = """
:root { color-scheme: light dark; --paper: #fcfcfb; --ink: #1c1e21; --faint: #5c6470; --line: #d5d9de;
  --stripe: #f1f3f5; --link: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15181c; --ink: #e6e8eb; --faint: #a3acb8; --line: #3a4149; --stripe: #1e2329; --link: #82b8f5; }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 0 1rem 4rem; max-width: 84rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
a { color: var(--link); }
a:focus-visible, .scroll:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -100vw; }
.skip:focus { left: 1rem; top: 1rem; padding: .5rem 1rem; background: var(--paper); z-index: 1; }
header { padding: 2rem 0 1rem; border-bottom: 1px solid var(--line); }
h1 { margin: 0; font-size: clamp(1.5rem, 1.2rem + 1.6vw, 2.3rem); line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.35rem; line-height: 1.25; overflow-wrap: anywhere; }
p { max-width: 44rem; margin: .75rem 0; overflow-wrap: anywhere; }
.subtitle { margin: .4rem 0 0; color: var(--faint); font-size: 1.1rem; }
nav h2 { margin: 1.25rem 0 .4rem; font-size: 1rem; color: var(--faint); }
nav ol { margin: 0; padding-left: 1.5rem; }
nav li { padding: .2rem 0; overflow-wrap: anywhere; }
.scroll { margin: 1.25rem 0; overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-size: .95rem; }
caption { text-align: left; color: var(--faint); padding-bottom: .4rem; }
th, td { padding: .4rem .8rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--faint); vertical-align: bottom; }
tbody th { font-weight: 500; min-width: 8rem; }
tbody tr:nth-child(even) { background: var(--stripe); }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 1.5rem 0; }
figure img { display: block; max-width: 100%; height: auto; padding: .5rem; background: #fff; border-radius: .4rem;
  border: 1px solid var(--line); }
figcaption { max-width: 44rem; margin-top: .5rem; color: var(--faint); font-size: .95rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: minmax(6rem, max-content) minmax(0, 1fr); margin: 1rem 0;
  gap: .35rem 1.2rem; }
dt { color: var(--faint); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
@media (min-width: 70rem) {
  .columns { display: grid; grid-template-columns: 15rem minmax(0, 1fr); gap: 3rem; align-items: start; }
  nav { position: sticky; top: 0; max-height: 100vh; overflow-y: auto; }
}
@media (max-width: 30rem) { th, td { padding: .35rem .5rem; } dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .5rem; } }
@media print { nav, .skip { display: none; } figure, tr { break-inside: avoid; } .scroll { overflow: visible; } }
"""

_PAGE = """<!DOCTYPE html>
<html lang="{lang}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header><h1>{title}</h1>{subtitle}</header>
<div class="{layout}">
{navigation}
<main id="content" tabindex="-1">
{lead}
{sections}
</main>
</div>
</body>
</html>
"""
