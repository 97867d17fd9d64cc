"""``python -m experiments paper SET``: every row of the table with every seed, and the table."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from torch import nn

from optics4f.files import made_folder

from .cluster import DaskWorkers
from .local_pool import LocalPool
from .paper_finish import finish_words, take_students
from .paper_kept import read_record, read_results
from .paper_made_with import coverage, made_with, other_teachers
from .paper_pixels import pixel_words
from .paper_rows import PAPER_ROWS, PaperRow
from .paper_run import load_data
from .paper_settings import SEEDS, PaperConfiguration, fingerprint
from .paper_statistics import SCOPE, by_row, distilled, rounded_up, spread
from .paper_teachers import take_teachers
from .runs import write_jsonl, write_text
from .sweep import Run, Summary, Workers, alone_in, read_runs, sweep
from .tables import markdown, print_table
from .training_device import training_device

FUNCTION = "experiments.paper_run:paper_row"


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
    teachers: Sequence[Path] = (),
    students: Sequence[Path] = (),
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
        teachers: Folders with teachers that need not be trained again, as for
            :func:`experiments.paper_teachers.take_teachers`.
        students: Folders with students of a table that differs in the SLM's samples and the last stage alone, as for
            :func:`experiments.paper_finish.take_students`.

    Raises:
        RowsFailed: Some runs raised, after all others are done.
        ValueError: An unknown row, a negative seed, a device that cannot compute here, a folder that is not there or
            without such a teacher or student, images that are not there or do not fit the bench; of students when
            teachers are trained, which are kept.
    """
    table = CLASSIFICATION if table is None else table
    if unknown := sorted(set(rows) - set(table.rows)):
        raise ValueError(f"rows must be of {', '.join(table.rows)}, got {', '.join(unknown)}.")
    if wrong := [seed for seed in seeds if not 0 <= seed < SEEDS]:
        raise ValueError(f"seed must be from 0 to {SEEDS - 1}, got {wrong[0]}.")
    chosen = [row for row in table.rows if row in rows or not rows]
    if any(table.rows[row].taught for row in chosen) and "teacher" not in chosen:
        chosen.insert(0, "teacher")
    if students and chosen == ["teacher"]:
        raise ValueError("students must be left out where the teacher alone is asked for: it is none of them.")
    if missing := [place for place in students if not place.exists()]:
        raise ValueError(f"{missing[0]} must be a folder with students, got none there.")
    if cluster is not None and workers is not None:
        raise ValueError("workers must be left out with cluster: a cluster has its own.")
    if cluster is None and training_device().type != "cpu":
        workers = workers or 1  # as many as cores would share the one device
    seeds = tuple(seeds) or configuration.settings.models.seeds
    place: Workers = LocalPool(workers) if cluster is None else DaskWorkers(cluster)
    mark = fingerprint(configuration.text)
    common = {"config": str(configuration.path.resolve()), "folder": str((out / f"checkpoints-{mark}").resolve())}
    common["settings"] = mark
    folder = Path(common["folder"])
    if teachers and "teacher" not in chosen:
        console.print("No row that was asked for is taught: --teachers was not needed.")
    elif teachers:
        _take(configuration, seeds, teachers, out, folder, console, table)
    runs = [Run(table.function, {**common, "row": row, "seed": seed}) for row in chosen for seed in seeds]
    done = read_runs(out / "results.jsonl")
    if cluster is None and any(run.key not in done for run in runs):
        load_data(configuration.settings)  # no images, or others than the bench shows: told once, not by every run
    failed: dict[str, str] = {}
    first = [run for run in runs if run.arguments["row"] == "teacher"]  # for they teach
    others = sorted((run for run in runs if run not in first), key=lambda run: _shortest_last(run, table))
    for wave in (first, others):
        if wave is others and students:
            _take_students(configuration, chosen, seeds, students, out, folder, console, table)
        summary: Summary = sweep(wave, out, place, console)
        failed |= summary.failed
    found = read_results(out, mark, function=table.function)
    if found:
        _write(configuration, found, out, console, table)
    if failed:
        why = f" One with: {next(iter(failed.values()))}" if console.quiet else ""  # else told when it happened
        raise RowsFailed(f"{len(failed)} of {len(runs)} runs failed. Started again, they are tried again.{why}")
    return in_order(found, table)


def _take(
    configuration: PaperConfiguration,
    seeds: Sequence[int],
    teachers: Sequence[Path],
    out: Path,
    folder: Path,
    console: Console,
    table: PaperTable,
) -> None:
    """Teachers that were trained before, where no other process is at work."""
    settings, fresh = configuration.settings, not out.exists()
    data = load_data(settings)

    def build(seed: int) -> nn.Module:
        return table.rows["teacher"].build(settings, data, seed)

    made_folder(out)
    try:
        with alone_in(out):
            taken = take_teachers(settings, data, build, seeds=seeds, places=teachers, folder=folder)
    except ValueError:
        if fresh:
            (out / "sweep.lock").unlink(missing_ok=True)
            out.rmdir()
        raise
    if taken:
        console.print(f"Teachers that were trained before: of seed {', '.join(map(str, taken))}.")


def _take_students(
    configuration: PaperConfiguration,
    rows: Sequence[str],
    seeds: Sequence[int],
    students: Sequence[Path],
    out: Path,
    folder: Path,
    console: Console,
    table: PaperTable,
) -> None:
    """Students that were trained before, where no other process is at work; their teachers are there."""
    settings, taught = configuration.settings, {row: table.rows[row].taught for row in rows if row != "teacher"}
    data = load_data(settings)

    def build(row: str, seed: int) -> nn.Module:
        return table.rows[row].build(settings, data, seed)

    made_folder(out)
    with alone_in(out):
        taken = take_students(settings, data, build, rows=taught, seeds=seeds, places=students, folder=folder)
    told = ", ".join(f"{row} of seed {seed}" for row, seed in taken)
    console.print(f"Students that were trained before: {told or 'none that is not here already'}.")


def record_paper(
    configuration: PaperConfiguration,
    folders: Sequence[Path],
    record: Path,
    console: Console,
    *,
    table: PaperTable | None = None,
) -> list[dict]:
    """Write ``SET.jsonl`` and ``SET.md`` of runs that are finished into a folder; nothing is trained.

    Args:
        configuration: Whose runs.
        folders: Where :func:`run_paper` was at work, such as several machines', or where a record was written; of a
            run in two, the first one's.
        record: Where to write. A record with the same settings that is there goes on: its runs come last, none is lost.
        console: For the table.
        table: As for :func:`run_paper`.

    Raises:
        ValueError: There is no finished run with these settings, a folder without any, a record that is none.
    """
    table = CLASSIFICATION if table is None else table
    mark = fingerprint(configuration.text)
    found: dict[tuple[str, int], dict] = {}
    for folder in (*folders, record):
        kept = folder / f"{configuration.name}.jsonl"
        if folder != record and not kept.is_file() and not (folder / "results.jsonl").is_file():
            raise ValueError(f"{folder} must hold finished runs or a record of {configuration.name}, got neither.")
        for result in (*read_results(folder, mark, function=table.function), *read_record(kept, mark, table.rows)):
            found.setdefault((result["row"], result["seed"]), result)
    if not found:
        looked = ", ".join(str(folder) for folder in folders)
        raise ValueError(f"{looked} must hold finished runs of {configuration.path}, got none. Train them first.")
    return _write(configuration, list(found.values()), record, console, table)


def _write(
    configuration: PaperConfiguration, found: Sequence[Mapping], folder: Path, console: Console, table: PaperTable
) -> list[dict]:
    """Both files and the terminal's table."""
    results, name = in_order(found, table), configuration.name
    told = {"config": configuration.path.name, "settings": fingerprint(configuration.text)}
    page = table_text(configuration, results, table) + made_with(results)  # before anything is written
    made_folder(folder)
    write_jsonl(folder / f"{name}.jsonl", ({**result, **told} for result in results))
    write_text(folder / f"{name}.md", page)
    print_table(table.lines(results), name, console)
    console.print(table.words(results))
    return results


def in_order(results: Sequence[Mapping], table: PaperTable) -> list[dict]:
    """By row as in the table, then by seed."""
    return sorted(map(dict, results), key=lambda r: (list(table.rows).index(r["row"]), r["seed"]))


def table_text(configuration: PaperConfiguration, results: Sequence[Mapping], table: PaperTable) -> str:
    """The page above ``## Made with``: it depends on settings and results alone."""
    parts = (
        f"# {configuration.name}",
        table.method(configuration, results),
        coverage(configuration, results, table.rows),
        other_teachers(results),
        markdown(table.lines(results)).rstrip(),
        table.words(results),
    )
    return "\n\n".join(part for part in parts if part) + "\n\n"


def _shortest_last(run: Run, table: PaperTable) -> tuple[bool, bool]:
    """The longest first: the last to finish should be short."""
    row = run.arguments["row"]
    return "physical" not in row, not table.rows[row].taught


def table_rows(results: Sequence[Mapping]) -> list[dict[str, str]]:
    """Accuracy over the seeds, electronics, light."""
    rows = []
    for row, seeds in by_row(results).items():
        every = list(seeds.values())
        rows.append(
            {
                "row": row,
                "test accuracy [%]": spread([100 * r["test_accuracy"] for r in every]),
                "seeds": str(len(every)),
                **electronics(every),
                **light(every),
                "what": PAPER_ROWS[row].about,
            }
        )
    return rows


def electronics(every: Sequence[Mapping]) -> dict[str, str]:
    """Columns of what electronics have to do: masks are no parameters of theirs."""
    one = every[0]
    own = "readout_parameters" if _optical(every) else "parameters"
    return {"electronic parameters": str(one.get(own, "")), "electronic MACs": str(one["digital_macs"])}


def light(every: Sequence[Mapping]) -> dict[str, str]:
    """Columns of a row's light, each over the seeds that tell of it; an image takes photons, where they are known.

    Where nobody states the quantum efficiency, electrons are known alone.
    """

    def mean(key: str, spelled: str) -> str:
        values = [r[key] for r in every if key in r]
        return format(statistics.fmean(values), spelled) if values else ""

    unit = "photons" if any("photons_per_image" in r for r in every) else "electrons"
    image = mean(f"{unit}_per_image", ".3g")
    return {
        "exposures": next((str(r["exposures"]) for r in every if "exposures" in r), ""),
        "light in the window": mean("light_in_window", ".0%"),
        "light on the camera": mean("light_on_camera", ".0%"),
        "light an image": f"{image} {unit}" if image else "",
    }


def light_words(results: Sequence[Mapping]) -> str:
    """What the columns of the light mean, to stand above a table that has them."""
    if not _optical(results):
        return ""
    unknown = any("electrons_per_image" in r and "photons_per_image" not in r for r in results)
    return (
        "Light in the window: share of the light behind a mask that lands in the window of its PSF, which is what is "
        "simulated and not what the camera sees. Light on the camera: share of the shown image's light that lands "
        "on the camera in an exposure. "
        + ("Light is counted in electrons: nobody states the sensor's quantum efficiency. " if unknown else "")
    )


def linear_words(results: Sequence[Mapping]) -> str:
    """How linear the front ends of the linear rows were found; the largest deviation, rounded up."""
    found = [r["front_end_nonlinearity"] for r in results if "front_end_nonlinearity" in r]
    if not found:
        return ""
    most = rounded_up(max(found))
    return f"Front ends of linear rows deviate from f(a + 2 b) = f(a) + 2 f(b) by at most {most:.1g}, measured. "


def _optical(results: Sequence[Mapping]) -> bool:
    return any("electrons_per_image" in r for r in results)


def gains(results: Sequence[Mapping]) -> str:
    """What distillation brought, in words."""
    pairs = [(row, row.removesuffix("_kd")) for row, made in PAPER_ROWS.items() if made.taught]
    told = [distilled(results, taught, alone) for taught, alone in pairs]
    sentences = [sentence for sentence in told if sentence]
    return "\n".join([*sentences, SCOPE]) if sentences else ""


def _method(configuration: PaperConfiguration, results: Sequence[Mapping]) -> str:
    bench, models = configuration.settings.bench, configuration.settings.models
    counts = results[0]["images"] if results else {}
    hidden = f", their root from a signal of {models.root:g} on" if models.root else ""
    hidden += f", 3 x 3 convolutions to {list(models.filters)} maps" if models.filters else ""
    hidden += f", hidden layers {list(models.hidden)}" if models.hidden else ""
    linear = any(result["row"].startswith("physical_linear") for result in results)
    return (
        f"Simulated. {counts.get('train')} training images, {counts.get('validation')} that choose the epoch, "
        f"{counts.get('test')} that are read once. Physical rows: {bench.slm.masks} phase masks of "
        f"{bench.slm.shape[0]} x {bench.slm.shape[1]} pixels of the {bench.slm.device} preset at its native pitch and "
        f"levels, {bench.route} "
        f"route, camera {bench.camera.device} with shot noise, read noise and ADC; its square law is a nonlinearity "
        f"that linear rows lack. Every front end has the same readout: {models.pool} x {models.pool} regions a map"
        f"{hidden}. "
        + (
            f"The spectra of the SCLC are cropped by {list(models.sclc_pools)}, on a canvas with a margin as wide as "
            "its kernels reach, which its MACs count. "
            if models.sclc_pools
            else ""
        )
        + ("physical_linear rows subtract two exposures a kernel, with light that is linear. " if linear else "")
        + linear_words(results)
        + light_words(results)
        + finish_words(configuration.settings, results)
        + pixel_words(configuration.settings, results, {"test_accuracy": "right"})
        + f"Mean and standard deviation over seeds. Settings: `experiments/configs/{configuration.path.name}`."
    )


CLASSIFICATION = PaperTable(FUNCTION, PAPER_ROWS, table_rows, gains, _method)
