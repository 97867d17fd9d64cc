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
        ValueError: A line that is no run of this table.
    """
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            one = json.loads(line)
            known = one["row"] in rows and isinstance(one["seed"], int) and isinstance(one["images"], dict)
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            advice = "Mend it, or write elsewhere."
            raise ValueError(f"{path}:{number} must be a run of this table, got {line[:60]!r}. {advice}")
        if one.get("settings") == mark:
            found.append(one)
    return found
