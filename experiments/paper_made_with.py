"""What a page of ``experiments paper`` says of the runs it is made of: which are there, who taught them, which code."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from .paper_settings import PaperConfiguration
from .paper_statistics import by_row
from .runs import provenance


def coverage(configuration: PaperConfiguration, results: Sequence[Mapping], known: Iterable[str]) -> str:
    """Which rows of those that are ``known`` and which seeds are there, in words."""
    wanted, rows = configuration.settings.models.seeds, by_row(results)
    fewer = {row: len(set(wanted) & set(seeds)) for row, seeds in rows.items() if not set(wanted) <= set(seeds)}
    absent = [row for row in known if row not in rows]
    seeds = "1 seed" if len(wanted) == 1 else f"{len(wanted)} seeds"
    less = ", ".join(f"{row} ({count})" for row, count in fewer.items())
    told = f"fewer have {less}." if fewer else "every row that is here has them."
    told += f" Rows that are missing: {', '.join(absent)}." if absent else " No row is missing."
    return f"The configuration asks for {seeds}: {told}"


def other_teachers(results: Sequence[Mapping]) -> str:
    """Which rows a teacher taught that is not that of the table, or may not be: a record may go on elsewhere.

    Rows of before there were digests, teacher and taught, are of one machine.
    """
    teachers = {r["seed"]: r.get("weights") for r in results if r["row"] == "teacher"}
    taught = [(r, r.get("taught_by"), teachers.get(r["seed"])) for r in results if r["row"].endswith("_kd")]
    others = [r for r, by, table in taught if by and table and by != table]
    unknown = [r for r, by, table in taught if (by is None) != (table is None)]

    words = []
    if others:
        another = "another training of the teacher, with the same settings and seed, than that of the table"
        words.append(f"Taught by {another}: {_told(others)}.")
    if unknown:
        words.append(f"Not known to be taught by this teacher, for one of the two has no digest: {_told(unknown)}.")
    if elsewhere := [r for r in results if r.get("trained_for_another_table")]:
        words.append(f"Trained for another table, with the settings that count for them: {_told(elsewhere)}.")
    return " ".join(words)


def _untimed(results: Sequence[Mapping]) -> str:
    """Which runs' ``duration_seconds`` leaves out processes before the last, in words: early records do."""
    less = [r for r in results if r.get("duration_seconds", math.inf) < (r.get("training_seconds") or 0)]
    return f"\nOf the last of several processes alone is `duration_seconds` of {_told(less)}.\n" if less else ""


def _told(rows: Sequence[Mapping]) -> str:
    return ", ".join(f"{row} ({', '.join(map(str, sorted(seeds)))})" for row, seeds in by_row(rows).items())


def made_with(results: Sequence[Mapping]) -> str:
    """The page's end: which code ran the rows, and which wrote the page."""
    ran = Counter(commit for r in results for commit in dict.fromkeys(r.get("commits") or [r.get("commit")]))
    rows = "\n".join(f"- {commit or 'unknown'}: {count}" for commit, count in ran.items())
    here = provenance()
    wrote = "\n".join(f"- {key}: {here[key]}" for key in ("commit", "optics4f", "torch", "python", "created_utc"))
    ran_with = f"Runs by the commit of their code:\n\n{rows}\n{_untimed(results)}"
    return f"## Made with\n\n{ran_with}\nThis page was written with:\n\n{wrote}\n"
