"""Finished runs that are kept: in the folder of their sweep, and in the record of a paper's table."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from .sweep import read_runs


def read_results(out: Path, mark: str, *, function: str) -> list[dict]:
    """What the finished runs with these settings returned.

    Raises:
        ValueError: A line that is none of a sweep.
    """
    found = read_runs(out / "results.jsonl").values()
    return [r["result"] for r in found if r["function"] == function and r["arguments"].get("settings") == mark]


def read_record(path: Path, mark: str, rows: Collection[str]) -> list[dict]:
    """The runs with these settings in ``SET.jsonl``, whose own folder may be gone.

    Raises:
        ValueError: As for :func:`recorded_runs`.
    """
    return [one for one in recorded_runs(path, rows) if one.get("settings") == mark]


def recorded_runs(path: Path, rows: Collection[str]) -> list[dict]:
    """Every run in ``SET.jsonl``, of any settings; none where there is no such file.

    Raises:
        ValueError: A line that is no run of a table with these rows, or a run that an earlier line has told of.
    """
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be a record of runs, got no text: {error.reason}.") from error
    found: dict[tuple, dict] = {}
    for number, line in enumerate(lines, start=1):
        advice = "Mend it, or write elsewhere."
        one = _run(line, rows)
        if one is None:
            raise ValueError(f"{path}:{number} must be a run of this table, got {line[:60]!r}. {advice}")
        key = (one["row"], one["seed"], one.get("settings"))
        if key in found:
            raise ValueError(f"{path}:{number} must be another run than those above, got {key[0]}-{key[1]}. {advice}")
        found[key] = one
    return list(found.values())


def _run(line: str, rows: Collection[str]) -> dict | None:
    """What a line of a record tells; None where it is no run."""
    try:
        one = json.loads(line)
        known = one["row"] in rows and isinstance(one["seed"], int) and isinstance(one["images"], dict)
        known = known and all(isinstance(one[name], float) for name in _measures(one))
    except (ValueError, KeyError, TypeError):
        return None
    return one if known else None


def _measures(one: dict) -> tuple[str, str]:
    """What chose the epoch, and what was read once."""
    kind = "miou" if "test_miou" in one else "accuracy"
    return f"validation_{kind}", f"test_{kind}"
