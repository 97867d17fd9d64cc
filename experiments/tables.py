"""Results as tables: Markdown for files, rich for a terminal. No physics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from optics4f.units import engineering


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


def terminal(rows: Sequence[Mapping[str, str]], title: str) -> Table:
    """The same for a terminal."""
    table = Table(title=title, title_justify="left")
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    return table
