"""All tables of the papers beside one another, and which goals their records reach; nothing is trained."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from .paper import CLASSIFICATION, PaperTable
from .paper_kept import recorded_runs
from .paper_segmentation import SEGMENTATION, segments
from .paper_settings import CONFIGURATIONS, PaperConfiguration, fingerprint, load_paper
from .paper_statistics import by_row, gain, gap_closed, paired, spread
from .runs import write_text
from .tables import markdown, print_table

PAGE = "papers.md"
MEASURES = {"test_accuracy": "test accuracy", "test_miou": "mIoU", "car_iou": "car IoU"}


@dataclass(frozen=True)
class Goal:
    """What this project set itself for the taught physical student of a data set.

    Attributes:
        dataset: Its name in ``[data]``.
        kind: Of what ``bound`` is: the least accuracy, the most points below the teacher, or the least share of the
            gap from the row ``linear`` to the teacher [%].
        bound: The number.
        measure: What is compared.
    """

    dataset: str
    kind: Literal["accuracy", "below teacher", "gap closed"]
    bound: float
    measure: str = "test_accuracy"

    def __str__(self) -> str:
        if self.kind == "accuracy":
            return f"at least {self.bound:g} %"
        if self.kind == "below teacher":
            return f"at most {self.bound:g} points below the teacher"
        return f"{MEASURES[self.measure]}: at least {self.bound:g} % of the gap from linear to teacher"


GOALS = (
    Goal("mnist", "accuracy", 99.2),
    Goal("fashion_mnist", "accuracy", 91.5),
    Goal("cifar10", "accuracy", 77),
    Goal("cifar10", "accuracy", 80),
    Goal("orl_faces", "accuracy", 95),
    Goal("cats_dogs", "below teacher", 3),
    Goal("camvid", "gap closed", 50, "test_miou"),
    Goal("camvid", "gap closed", 50, "car_iou"),
)


@dataclass(frozen=True)
class Recorded:
    """A table with the runs of its record."""

    configuration: PaperConfiguration
    table: PaperTable
    results: Sequence[Mapping]

    @property
    def name(self) -> str:
        """Of the table, its page and its record."""
        return self.configuration.name

    @property
    def dataset(self) -> str:
        """Name of the data set, which may have several tables."""
        return self.configuration.settings.data.name

    @property
    def about(self) -> str:
        """What sets it apart, as the first line of its file says."""
        return self.configuration.text.splitlines()[0].lstrip("# ").partition(": python -m")[0].rstrip(":")


def write_overview(folder: Path, console: Console) -> None:
    """Write ``papers.md`` beside the records ``SET.jsonl`` that it is made of.

    Raises:
        ValueError: The folder is none, or holds no record of a table that comes with the project; a line of one is
            no run.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder with records of tables, such as experiments/results.")
    tables = read_tables(folder)
    if not tables:
        raise ValueError(f"{folder} must hold records of tables, got none. `paper SET --record {folder}` writes one.")
    write_text(folder / PAGE, overview(tables))
    print_table(goal_lines(tables), "goals", console)
    console.print(folder / PAGE)


def read_tables(folder: Path) -> list[Recorded]:
    """Every table that comes with the project and has a record, by data set in the order of the goals.

    Raises:
        ValueError: A line of a record is no run, or one with settings that its file has no longer.
    """
    found = []
    for path in sorted(CONFIGURATIONS.glob("paper_*.toml")):
        configuration = load_paper(path)
        table = SEGMENTATION if segments(configuration) else CLASSIFICATION
        record = folder / f"{configuration.name}.jsonl"
        results = recorded_runs(record, table.rows)
        if any(result.get("settings") != fingerprint(configuration.text) for result in results):
            raise ValueError(
                f"{record} must hold runs with the settings of {configuration.path} alone, got others. "
                f"`paper {configuration.name} --record {folder}` records it again."
            )
        if results:
            found.append(Recorded(configuration, table, results))
    order = list(dict.fromkeys(goal.dataset for goal in GOALS))
    return sorted(found, key=lambda one: order.index(one.dataset) if one.dataset in order else len(order))


def overview(tables: Sequence[Recorded]) -> str:
    """The page."""
    parts = [
        "# All tables of the papers",
        "Simulated. Written by `python -m experiments overview` from the records beside this page; the page of each "
        "table says how its numbers were made. Mean and standard deviation over training seeds, whose number stands in "
        "brackets behind them.",
        "## Goals",
        "What this project set itself for the taught physical student. Of a data set's tables and physical rows the "
        "one with the best mean on validation images (accuracy, mIoU) is compared, and the test images judge it. "
        "Behind an accuracy stands its standard deviation over seeds, behind points and shares their 95 % interval.",
        markdown(goal_lines(tables)).rstrip(),
    ]
    for dataset in dict.fromkeys(one.dataset for one in tables):
        parts += _section(dataset, [one for one in tables if one.dataset == dataset])
    return "\n\n".join(parts) + "\n"


def goal_lines(tables: Sequence[Recorded]) -> list[dict[str, str]]:
    """Each goal, the row that validation chooses, and whether it is reached."""
    lines = []
    for goal in GOALS:
        chosen = best_taught([one for one in tables if one.dataset == goal.dataset])
        if chosen is None:
            continue
        one, row = chosen
        reached, measured, seeds = judged(goal, one.results, row)
        lines.append(
            {
                "set": goal.dataset,
                "goal": str(goal),
                "measured": measured,
                "reached": reached,
                "seeds": f"{seeds} of {len(one.configuration.settings.models.seeds)}",
                "table": one.name,
                "row": row,
            }
        )
    return lines


def best_taught(tables: Sequence[Recorded]) -> tuple[Recorded, str] | None:
    """Table and taught physical row with the best mean on validation images; None where there is none."""
    means = {}
    for one in tables:
        for row, seeds in by_row(one.results).items():
            if one.table.rows[row].taught and row.startswith("physical"):
                means[one.name, row] = statistics.fmean(
                    result.get("validation_miou", result.get("validation_accuracy")) for result in seeds.values()
                )
    if not means:
        return None
    name, row = max(means, key=means.get)
    return next(one for one in tables if one.name == name), row


def judged(goal: Goal, results: Sequence[Mapping], row: str) -> tuple[str, str, int]:
    """Whether the row reaches the goal, ``yes``, ``no`` or ``not known``, the number that says so, and its seeds."""
    needed = {"accuracy": (), "below teacher": ("teacher",), "gap closed": ("linear", "teacher")}[goal.kind]
    values = paired(results, (row, *needed), goal.measure)
    if not values:
        return "not known", f"no seed that {' and '.join((row, *needed))} share", 0
    mine, *others = (statistics.fmean(column) for column in zip(*values, strict=True))
    if goal.kind == "accuracy":
        reached, told = mine >= goal.bound, f"{spread([value for (value,) in values])} %"
    elif goal.kind == "below teacher":
        below = others[0] - mine
        known = gain(results, "teacher", row, measure=goal.measure)
        reached, told = below <= goal.bound, f"{below:.2f}" + (f" +- {known[1]:.2f} points" if known else " points")
    else:
        linear, teacher = others
        gap = gap_closed(results, row, low="linear", measure=goal.measure)
        none = f"a gap of {teacher - linear:.2f} points, which may be none"
        if teacher <= linear:
            return "not known", none, len(values)
        share = (mine - linear) / (teacher - linear)
        if gap is not None and gap.share is None:
            return "not known", f"{share:.0%} of {none}", len(values)
        reached = 100 * share >= goal.bound
        told = f"{share:.0%}" + (f" ({gap.low:.0%} to {gap.high:.0%})" if gap else "")
    return "yes" if reached else "no", told, len(values)


def _section(dataset: str, tables: Sequence[Recorded]) -> list[str]:
    """One data set: what its tables are, and every row in each of them."""
    parts = [f"## {dataset}", "\n".join(f"- [{one.name}]({one.name}.md): {one.about}." for one in tables)]
    for measure, title in MEASURES.items():
        holding = [one for one in tables if any(measure in result for result in one.results)]
        if holding:
            parts += [f"{title} [%], and seeds:", markdown(_beside(holding, measure)).rstrip()]
    return parts


def _beside(tables: Sequence[Recorded], measure: str) -> list[dict[str, str]]:
    """A line for each row that some table has, a column for each table."""
    found = {one.name: by_row(one.results) for one in tables}
    lines = []
    for row in tables[0].table.rows:
        cells = {
            name: [100 * result[measure] for result in rows.get(row, {}).values() if measure in result]
            for name, rows in found.items()
        }
        if any(cells.values()):
            told = {name: f"{spread(values)} ({len(values)})" if values else "" for name, values in cells.items()}
            lines.append({"row": row, **told})
    return lines
