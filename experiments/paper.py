"""``python -m experiments paper SET``: every row of the table with every seed, and the table."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from scipy.stats import t as student_t

from .cluster import DaskWorkers
from .local_pool import LocalPool
from .paper_rows import PAPER_ROWS, PaperRow
from .paper_settings import PaperConfiguration, fingerprint
from .runs import provenance, write_jsonl, write_text
from .sweep import Run, Summary, Workers, sweep
from .tables import markdown, terminal

FUNCTION = "experiments.paper_run:paper_row"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class PaperTable:
    """What one kind of task has of its own.

    Attributes:
        function: What a run calls, ``"package.module:name"``, with the arguments of ``paper_row``.
        rows: What there is to train.
        lines: Results to lines of a table.
        words: Results to sentences below it.
        method: Configuration and results to what stands above it.
    """

    function: str
    rows: Mapping[str, PaperRow]
    lines: Callable[[Sequence[Mapping]], list[dict[str, str]]]
    words: Callable[[Sequence[Mapping]], str]
    method: Callable[[PaperConfiguration, Sequence[Mapping]], str]


class RowsFailed(RuntimeError):
    """Some rows could not be trained; the others are done."""


def run_paper(
    configuration: PaperConfiguration,
    out: Path,
    console: Console,
    *,
    rows: Sequence[str] = (),
    seeds: Sequence[int] = (),
    cluster: str | None = None,
    workers: int | None = None,
    table: PaperTable | None = None,
) -> list[dict]:
    """Train what ``out`` does not hold yet, then write ``SET.jsonl`` and ``SET.md`` there, and print the table.

    Args:
        configuration: From :func:`experiments.paper_settings.load_paper`.
        out: Folder of checkpoints, unfinished runs and results.
        console: For progress and the table.
        rows: Which; all by default. A row that is taught brings the teacher with it.
        seeds: Which; those of the file by default.
        cluster: Address of a Dask scheduler, whose workers see the same files.
        workers: Processes on this machine.
        table: Which rows there are and what is told of them; :data:`CLASSIFICATION` by default.

    Raises:
        RowsFailed: Some runs raised, after all others are done.
        ValueError: An unknown row.
    """
    table = CLASSIFICATION if table is None else table
    if unknown := sorted(set(rows) - set(table.rows)):
        raise ValueError(f"rows must be of {', '.join(table.rows)}, got {', '.join(unknown)}.")
    chosen = [row for row in table.rows if row in rows or not rows]
    if any(table.rows[row].taught for row in chosen) and "teacher" not in chosen:
        chosen.insert(0, "teacher")
    if cluster is not None and workers is not None:
        raise ValueError("workers must be left out with cluster: a cluster has its own.")
    seeds = tuple(seeds) or configuration.settings.models.seeds
    place: Workers = LocalPool(workers) if cluster is None else DaskWorkers(cluster)
    mark = fingerprint(configuration.text)
    common = {"config": str(configuration.path.resolve()), "folder": str((out / f"checkpoints-{mark}").resolve())}
    common["settings"] = mark
    runs = [Run(table.function, {**common, "row": row, "seed": seed}) for row in chosen for seed in seeds]
    failed: dict[str, str] = {}
    for wave in (
        [run for run in runs if run.arguments["row"] == "teacher"],  # teachers first, for they teach
        sorted((run for run in runs if run.arguments["row"] != "teacher"), key=lambda run: _shortest_last(run, table)),
    ):
        summary: Summary = sweep(wave, out, place, console)
        failed |= summary.failed
    found = read_results(out, mark, function=table.function)
    if failed and not found:
        raise RowsFailed(f"{len(failed)} of {len(runs)} runs failed, one with: {next(iter(failed.values()))}")
    results = sorted(found, key=lambda r: (list(table.rows).index(r["row"]), r["seed"]))
    name = configuration.settings.data.name
    write_jsonl(out / f"{name}.jsonl", ({**r, "config": configuration.path.name} for r in results))
    lines, words = table.lines(results), table.words(results)
    made = "\n".join(f"- {key}: {value}" for key, value in provenance().items())
    parts = (
        f"# {name}",
        table.method(configuration, results),
        markdown(lines).rstrip(),
        words,
        "## Made with",
        made,
    )
    write_text(out / f"{name}.md", "\n\n".join(part for part in parts if part) + "\n")
    console.print(terminal(lines, name))
    console.print(words)
    if failed:
        raise RowsFailed(f"{len(failed)} of {len(runs)} runs failed, one with: {next(iter(failed.values()))}")
    return results


def _shortest_last(run: Run, table: PaperTable) -> tuple[bool, bool]:
    """The longest first: the last to finish should be short."""
    row = run.arguments["row"]
    return "physical" not in row, not table.rows[row].taught


def read_results(out: Path, mark: str, *, function: str = FUNCTION) -> list[dict]:
    """What the finished runs with these settings returned."""
    path = out / "results.jsonl"
    if not path.is_file():
        return []
    lines = (json.loads(line) for line in path.read_text().splitlines())
    return [r["result"] for r in lines if r["function"] == function and r["arguments"]["settings"] == mark]


def by_row(results: Sequence[Mapping]) -> dict[str, dict[int, Mapping]]:
    """Results of each row by seed."""
    found: dict[str, dict[int, Mapping]] = {}
    for result in results:
        found.setdefault(result["row"], {})[result["seed"]] = result
    return found


def table_rows(results: Sequence[Mapping]) -> list[dict[str, str]]:
    """Accuracy over the seeds, electronics, light."""
    rows = []
    for row, seeds in by_row(results).items():
        accuracies = [100 * r["test_accuracy"] for r in seeds.values()]
        one = next(iter(seeds.values()))
        shares = [r["light_in_window"] for r in seeds.values() if "light_in_window" in r]
        rows.append(
            {
                "row": row,
                "test accuracy [%]": spread(accuracies),
                "seeds": str(len(accuracies)),
                "readout parameters": str(one["readout_parameters"] or ""),
                "electronic MACs": str(one["digital_macs"]),
                "exposures": str(one.get("exposures", "")),
                "light in the window": f"{statistics.fmean(shares):.0%}" if shares else "",
                "light an image": light(one),
                "what": PAPER_ROWS[row].about,
            }
        )
    return rows


def light(result: Mapping) -> str:
    """Photons that an image takes, or the electrons that they become where nobody states the quantum efficiency."""
    if "photons_per_image" in result:
        return f"{result['photons_per_image']:.3g} photons"
    return f"{result['electrons_per_image']:.3g} electrons" if "electrons_per_image" in result else ""


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    mean = statistics.fmean(values)
    return f"{mean:.2f}" if len(values) == 1 else f"{mean:.2f} +- {statistics.stdev(values):.2f}"


def gain(
    results: Sequence[Mapping], better: str, worse: str, *, measure: str = "test_accuracy"
) -> tuple[float, float] | None:
    """Difference of two rows over the seeds that both have, and half of its confidence interval [points]."""
    rows = by_row(results)
    shared = sorted(set(rows.get(better, ())) & set(rows.get(worse, ())))
    if len(shared) < 2:
        return None
    return confidence([100 * (rows[better][s][measure] - rows[worse][s][measure]) for s in shared])


def confidence(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and half of its confidence interval (Student's)."""
    quantile = student_t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return statistics.fmean(values), quantile * statistics.stdev(values) / math.sqrt(len(values))


def gains(results: Sequence[Mapping]) -> str:
    """What distillation brought, in words."""
    sentences = []
    for taught, alone in (
        ("sclc_kd", "sclc"),
        ("physical_kd", "physical"),
        ("physical_linear_kd", "physical_linear"),
    ):
        found = gain(results, taught, alone)
        if found is None:
            continue
        mean, half = found
        verdict = "" if abs(mean) > half else ": no effect that these seeds can tell"
        sentence = f"Distillation, {alone}: {mean:+.2f} +- {half:.2f} points (95 %, paired by seed){verdict}"
        gap = gain(results, "teacher", alone)
        if gap is not None and gap[0] > 0:
            sentence += f", {mean / gap[0]:.0%} of the gap of {gap[0]:.2f} points to the teacher"
        sentences.append(sentence + ".")
    return "\n".join(sentences)


def _method(configuration: PaperConfiguration, results: Sequence[Mapping]) -> str:
    bench, models = configuration.settings.bench, configuration.settings.models
    counts = results[0]["images"] if results else {}
    hidden = f", 3 x 3 convolutions to {list(models.filters)} maps" if models.filters else ""
    hidden += f", hidden layers {list(models.hidden)}" if models.hidden else ""
    linear = any(result["row"].startswith("physical_linear") for result in results)
    unknown = any("electrons_per_image" in r and "photons_per_image" not in r for r in results)
    return (
        f"Simulated. {counts.get('train')} training images, {counts.get('validation')} that choose the epoch, "
        f"{counts.get('test')} that are read once. Physical rows: {bench.slm.masks} phase masks of "
        f"{bench.slm.shape[0]} x {bench.slm.shape[1]} pixels of the {bench.slm.device} preset at its native pitch and "
        f"levels, {bench.route} "
        f"route, camera {bench.camera.device} with shot noise, read noise and ADC; its square law is a nonlinearity "
        f"that linear rows lack. Every student has the same readout: {models.pool} x {models.pool} regions a map"
        f"{hidden}. "
        + ("physical_linear rows subtract two exposures a kernel, with light that is linear. " if linear else "")
        + ("Light is counted in electrons: nobody states the sensor's quantum efficiency. " if unknown else "")
        + f"Mean and standard deviation over seeds. Settings: `experiments/configs/{configuration.path.name}`."
    )


CLASSIFICATION = PaperTable(FUNCTION, PAPER_ROWS, table_rows, gains, _method)
