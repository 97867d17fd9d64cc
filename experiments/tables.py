"""Results as tables: Markdown for files, rich for a terminal. No physics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from optics4f.units import engineering

SHORT = 24  # characters: what is longer is a sentence, and may be broken over lines


def percent(value: float) -> str:
    """``0.9725`` as ``97.25 %``."""
    return f"{100 * value:.2f} %"


def interval(low: float, nominal: float, high: float, unit: str) -> str:
    """A quantity between its bounds, ``12 ms (8 ms ... 30 ms)``."""
    written = "" if unit == "1" else unit
    if low == high:
        return engineering(nominal, written).strip()
    return f"{engineering(nominal, written)} ({engineering(low, written)} ... {engineering(high, written)})"


def accuracy_rows(rows: Mapping[str, Mapping]) -> list[dict[str, str]]:
    """The main table: accuracy with its spread over seeds, parameters, digital operations."""
    return [
        {
            "row": name,
            "test accuracy": percent(row["test_accuracy"]["mean"]),
            "seeds": " ".join(f"{100 * value:.2f}" for value in row["test_accuracy"]["seeds"]),
            "parameters": f"{row['parameters']:,}",
            "digital MACs": f"{row['digital_macs']:,}",
            "what": row["about"],
        }
        for name, row in rows.items()
    ]


def fidelity_rows(ledger: Sequence[Mapping]) -> list[dict[str, str]]:
    """The ablation: accuracy under each effect and the change against the hardware as trained."""
    return [
        {
            "effect": line["effect"],
            "value": line["value"],
            "test accuracy": percent(line["test_accuracy"]["mean"]),
            "change": f"{100 * line['change']:+.2f}",
            "seeds": " ".join(f"{100 * value:.2f}" for value in line["test_accuracy"]["seeds"]),
        }
        for line in ledger
    ]


def term_rows(terms: Sequence[Mapping]) -> list[dict[str, str]]:
    """Cost terms with bounds, evidence and source."""
    return [
        {
            "group": term["group"],
            "term": term["name"],
            "nominal (low ... high)": interval(term["low"], term["nominal"], term["high"], term["unit"]),
            "evidence": term["kind"],
            "source": term["source"],
        }
        for term in terms
    ]


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
    """A Markdown table of dictionaries with equal keys."""
    if not rows:
        return ""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(row[c]).replace("|", "\\|") for c in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def print_table(rows: Sequence[Mapping[str, str]], title: str, console: Console) -> None:
    """The same on a terminal: the columns that fit beside each other, from the first on, and the names of the others.

    No number is broken over lines, headings and sentences are. What no terminal shows, such as a file, has every
    column on lines as long as they need.

    Args:
        rows: As for :func:`markdown`.
        title: Stands above.
        console: Where; its width counts.
    """
    if not rows:
        return
    names = list(rows[0])
    cells = {name: [str(row[name]) for row in rows] for name in names}
    room = console.width if console.is_terminal else None
    widths = {name: _width(name, cells[name], whole=room is None) for name in names}
    shown = names if room is None else _leading(widths, room)
    table = Table(title=escape(title), title_justify="left", caption_justify="left")
    for name in shown:
        long = _is_text(cells[name]) and room is not None
        heading = "\n".join(wrap(name, widths[name], break_long_words=False))
        table.add_column(escape(heading), no_wrap=not long, overflow="fold", min_width=widths[name])
    for row in range(len(rows)):
        table.add_row(*(escape(cells[name][row]) for name in shown))
    if hidden := names[len(shown) :]:
        table.caption = escape(f"For want of width without: {', '.join(hidden)}.")
    if room is None:
        table.width = _together(list(widths.values()))
    console.print(table, crop=False)


def _is_text(cells: Sequence[str]) -> bool:
    return any(len(cell) > SHORT and not cell[0].isdigit() for cell in cells)


def _width(name: str, cells: Sequence[str], *, whole: bool) -> int:
    """What a column needs: its longest number, or a little of its longest sentence; and each word of its heading."""
    needed = max(map(len, cells))
    return max([min(needed, SHORT) if _is_text(cells) and not whole else needed, *map(len, name.split())])


def _together(widths: Sequence[int]) -> int:
    return sum(widths) + 3 * len(widths) + 1  # a space at either side, and the lines


def _leading(widths: Mapping[str, int], room: int) -> list[str]:
    """The first columns, as many as there is room for; one at least."""
    names = list(widths)
    fitting = (n for n in range(len(names), 1, -1) if _together([widths[name] for name in names[:n]]) <= room)
    return names[: next(fitting, 1)]
