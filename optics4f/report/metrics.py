"""The parts of a page that come from ``metrics.json``: accuracy, ablation, cost, and the merits of a design."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..units import engineering
from .layout import Report

LEDGER = "One effect at a time, on masks that were trained with all effects of the bench; nothing retrained."


def read_metrics(path: str | Path) -> dict[str, Any]:
    """Content of a ``metrics.json``.

    Raises:
        ValueError: It is missing, or no JSON object; one line.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}. Give the metrics.json of a run.") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} must be JSON: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"{path} must hold a JSON object, got {type(content).__name__}. Give the metrics.json of a run."
        )
    return content


def accuracy_section(page: Report, metrics: Mapping[str, Any]) -> None:
    """Test accuracy of each row over its seeds, and what distillation gains; nothing where there are no ``rows``."""
    if "rows" not in metrics:
        return
    with _as_written("rows"):
        page.section("Accuracy", metrics.get("kd_gain", {}).get("verdict", ""))
        images = metrics.get("data", {}).get("test")
        rows = [
            {
                "row": name,
                "accuracy": row["test_accuracy"]["mean"],
                "seeds": _seeds(row["test_accuracy"]["seeds"]),
                "parameters": row.get("parameters"),
                "macs": row.get("digital_macs"),
                "about": row.get("about"),
            }
            for name, row in metrics["rows"].items()
        ]
        headings = {"row": "row", "accuracy": "test accuracy", "seeds": "each seed [%]", "parameters": "parameters"}
        page.table(
            rows,
            headings | {"macs": "digital MACs", "about": "what"},
            formatters={"accuracy": _percent, "parameters": "{:,}".format, "macs": "{:,}".format},
            caption=f"Test accuracy{f' on {images} images' if images else ''}, mean and each seed; simulated. Light "
            "needs no digital multiply-accumulates (MACs).",
        )


def ablation_section(page: Report, metrics: Mapping[str, Any]) -> None:
    """Accuracy under each hardware effect; nothing where there is no ``fidelity``."""
    lines = metrics.get("fidelity")
    if not lines:
        return
    with _as_written("fidelity"):
        page.section("Fidelity", LEDGER)
        seeds = [[float(seed) for seed in line["test_accuracy"]["seeds"]] for line in lines]
        lowest, highest = min(map(min, seeds)), max(map(max, seeds))
        margin = 0.05 * (highest - lowest) or 0.01
        start = max(0.0, lowest - margin)
        length = min(1.0, highest + margin) - start
        bars = [
            {
                "name": f"{line['effect']}: {line['value']}",
                "text": f"{_percent(line['test_accuracy']['mean'])} ({100 * line['change']:+.2f})",
                "value": (line["test_accuracy"]["mean"] - start) / length,
                "low": (min(known) - start) / length,
                "high": (max(known) - start) / length,
                "seeds": [(seed - start) / length for seed in known],
            }
            for line, known in zip(lines, seeds, strict=True)
        ]
        page.bars(
            bars,
            headings=("effect", "test accuracy (change)"),
            caption=f"From {_percent(start)} to {_percent(start + length)}: mean (wide mark), each seed (thin) and the "
            "spread between them. Change in points against the bench as trained.",
        )


def cost_section(page: Report, metrics: Mapping[str, Any]) -> None:
    """Latency and energy term by term, against electronics, and the break-even; nothing where there is no ``cost``."""
    if "cost" not in metrics:
        return
    with _as_written("cost"):
        cost = metrics["cost"]
        page.section(
            "Cost",
            "The optical path is modelled, term by term; electronics are measured where it says so. A range is what is "
            "not known.",
        )
        even = cost.get("break_even_energy_per_mac")
        page.paragraph(
            "No break-even: the optics save no digital operation, so no price of one makes up for what they cost."
            if even is None
            else "Break-even: the optics use less energy than the teacher only where a digital multiply-accumulate "
            f"costs more than {bounds(even)}."
        )
        for group, what in (("latency", "Latency of one image"), ("energy", "Energy of one image")):
            _term_bars(page, [term for term in cost["optics"] if term["group"] == group], what)
        _against_electronics(page, cost)
        with page.details("Every term, with its evidence and source"):
            columns = {"group": "group", "name": "term", "bounds": "nominal (low ... high)", "kind": "evidence"}
            rows = [{**term, "bounds": bounds(term)} for term in cost["optics"]]
            page.table(rows, columns | {"source": "source"}, caption="Cost terms")


def _term_bars(page: Report, terms: Sequence[Mapping[str, Any]], what: str) -> None:
    if not terms:
        return
    end = max(term["high"] for term in terms) or 1.0
    bars = [
        {
            "name": term["name"],
            "text": bounds(term),
            "seeds": (),
            **{part: term[key] / end for part, key in (("low", "low"), ("value", "nominal"), ("high", "high"))},
        }
        for term in terms
    ]
    unit = terms[0]["unit"]
    page.bars(
        bars,
        headings=("term", "nominal (low ... high)"),
        caption=f"{what}, from 0 to {engineering(end, unit)}: nominal and what is not known. Sum "
        + bounds({key: sum(term[key] for term in terms) for key in ("low", "nominal", "high")} | {"unit": unit}),
    )


def _against_electronics(page: Report, cost: Mapping[str, Any]) -> None:
    if compared := cost.get("comparison_batch_1"):
        rows = [
            {
                "quantity": row["quantity"],
                "optics, modelled": bounds(row["optics"]),
                "electronics": bounds(row["electronics"]),
                "optics / electronics": bounds(row["ratio"]),
                "winner": row["winner"],
            }
            for row in compared
        ]
        known = next((row["electronics"]["source"] for row in compared if row["electronics"]), "electronics")
        page.table(rows, caption=f"One image alone, against {known}.")
    if records := cost.get("teacher_inference"):
        rows = [
            {
                "device": record["device"],
                "batch": record["batch_size"],
                "median per batch": engineering(record["median"], "s"),
                "p5 ... p95": f"{engineering(record['p5'], 's')} ... {engineering(record['p95'], 's')}",
                "energy": "unknown" if record["energy"] is None else engineering(record["energy"], "J"),
                "energy from": record["energy_source"],
            }
            for record in records
        ]
        page.table(rows, caption="The teacher's inference, measured.")
    if prices := cost.get("prices"):
        rows = [
            {
                "price of a digital multiply-accumulate": engineering(row["price"]["nominal"], "J"),
                "source": row["price"]["source"],
                "optics and readout": bounds(row["hybrid"]),
                "teacher, digital": bounds(row["digital"]),
                "winner": row["winner"],
            }
            for row in prices
        ]
        page.table(
            rows, caption="Energy of one image at published prices of a digital operation, modelled on both sides."
        )


def design_section(page: Report, metrics: Mapping[str, Any]) -> None:
    """How masks were designed, and their figures of merit; nothing where there is no ``method``."""
    if "method" not in metrics:
        return
    page.section("Design", "How the masks were found, and what they come to with the effects of the panel.")
    lists = {name: values for name, values in metrics.items() if _numbers(values)}
    plain = (str, int, float, bool)
    page.keyvalues({_words(name): value for name, value in metrics.items() if isinstance(value, plain)})
    for length in sorted({len(values) for values in lists.values()}):
        merits = {name: values for name, values in lists.items() if len(values) == length}
        rows = [{"number": k} | {name: values[k] for name, values in merits.items()} for k in range(length)]
        headings = {name: _words(name) for name in rows[0]}
        page.table(rows, headings, caption="Figures of merit of each mask, wavelength or kernel.")


def bounds(term: Mapping[str, Any] | None) -> str:
    """A term between its bounds, ``12 ms (8 ms ... 30 ms)``; ``unknown`` where there is none."""
    if term is None:
        return "unknown"
    unit = term["unit"]

    def written(value: float) -> str:
        return f"{value:.4g}" if unit == "1" else engineering(value, unit)  # of a ratio, 8 m would be metres

    low, nominal, high = (written(term[key]) for key in ("low", "nominal", "high"))
    return nominal if low == high else f"{nominal} ({low} ... {high})"


def _words(key: str) -> str:
    """A key as words, which a narrow screen can break."""
    return key.replace("_", " ")


def _numbers(values: object) -> bool:
    return isinstance(values, list) and bool(values) and all(isinstance(value, int | float) for value in values)


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _seeds(shares: Sequence[float]) -> str:
    return "\u00a0".join(f"{100 * share:.2f}" for share in shares)  # on one line


@contextmanager
def _as_written(part: str) -> Iterator[None]:
    """Refuse, in one line, what no run writes."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(
            f"{part} of the metrics must be as `python -m experiments demo` writes it, got {type(error).__name__}: "
            f"{error}. Give the metrics.json of that run."
        ) from error
