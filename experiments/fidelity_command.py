"""``python -m experiments fidelity``: from a TOML file to a ledger, tables and figures, through the sweep."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from optics4f.files import written_whole

from .cluster import DaskWorkers
from .fidelity_effects import BENCH_EFFECTS, bench_with
from .fidelity_ledger import Ledger, Masks, Part
from .fidelity_report import bench_rows, report, summary_rows, verdict
from .fidelity_runs import TURNED, check_checkpoints, images_of, with_route
from .fidelity_settings import FidelityConfiguration
from .local_pool import LocalPool
from .runs import provenance, write_jsonl, write_text
from .sweep import Run, Workers, sweep
from .tables import print_table

TRAIN, EVALUATE = "experiments.fidelity_runs:train_student", "experiments.fidelity_runs:evaluate_student"


class StudyFailed(RuntimeError):
    """Some runs raised; the others are done."""


@dataclass(frozen=True)
class Line:
    """A run and its place in the ledger."""

    run: Run
    part: Part
    masks: Masks
    seed: int
    effect: str | None = None
    strength: float | None = None


def run_fidelity(
    configuration: FidelityConfiguration,
    out: Path,
    console: Console,
    *,
    cluster: str | None = None,
    workers: int | None = None,
) -> Ledger:
    """Do what ``out`` does not hold yet; write ``fidelity.jsonl``, ``fidelity.md`` and ``fidelity_*.png`` there.

    Args:
        configuration: From :func:`experiments.fidelity_settings.load_fidelity`.
        out: Folder of students and results.
        console: For progress and tables.
        cluster: Address of a Dask scheduler, whose workers see the same files.
        workers: Processes on this machine.

    Raises:
        StudyFailed: Some runs raised, after all others are done.
        ValueError: Both ``cluster`` and ``workers``; a strength that the bench refuses; no checkpoint of a seed.
        FileNotFoundError: No images.
    """
    if cluster is not None and workers is not None:
        raise ValueError("workers must be left out with cluster: a cluster has its own.")
    check_strengths(configuration)
    check_checkpoints(configuration)
    place: Workers = LocalPool(workers) if cluster is None else DaskWorkers(cluster)
    if cluster is None:  # workers elsewhere may find the images elsewhere
        images_of(configuration)
    failed: dict[str, str] = {}
    lines = list(study_lines(configuration, out))
    # Of two effects, all but one is the other alone: one run serves both lines.
    waiting = {line.run.key: line.run for line in sorted(lines, key=_longest_first)}
    for wave in (beginnings(configuration, out), list(waiting.values())):
        if wave and not failed:  # without its beginning no student goes on
            failed |= sweep(wave, out, place, console).failed
    if failed:
        error, times = Counter(failed.values()).most_common(1)[0]
        raise StudyFailed(f"{len(failed)} runs failed, {times} of them with: {error}")
    found = _results(out)
    ledger = Ledger((_row(line, found[line.run.key]) for line in lines), configuration.study)
    from .fidelity_figures import curves, heat_map

    write_jsonl(out / "fidelity.jsonl", ({**line, "config": configuration.path.name} for line in ledger.lines))
    for name, draw in (("curves", curves), ("heatmap", heat_map)):
        with written_whole(out / f"fidelity_{name}.png") as part:
            part.write_bytes(draw(ledger))
    command = f"python -m experiments fidelity {configuration.path}"
    write_text(out / "fidelity.md", report(configuration, ledger, command=command, machine=provenance()))
    print_table(summary_rows(ledger), "each effect, the worst first", console)
    print_table(bench_rows(ledger), "together", console)
    console.print(verdict(ledger))
    console.print(f"tables and figures: {out / 'fidelity.md'}", soft_wrap=True)
    return ledger


def beginnings(configuration: FidelityConfiguration, out: Path) -> list[Run]:
    """The students that all begins with; none where checkpoints hold them."""
    if not configuration.study.trained_here:
        return []
    common = _common(configuration, out)
    return [Run(TRAIN, {**common, "seed": seed, "effects": None}) for seed in configuration.study.seeds]


def study_lines(configuration: FidelityConfiguration, out: Path) -> Iterator[Line]:
    """Every line of the ledger, seed by seed."""
    study, common, full = configuration.study, _common(configuration, out), configuration.study.full
    for seed in study.seeds:

        def line(
            masks: Masks,
            part: Part,
            effects: dict[str, float],
            effect: str | None = None,
            strength: float | None = None,
            seed: int = seed,
        ) -> Line:
            function = EVALUATE if masks == "base" else TRAIN
            return Line(
                Run(function, {**common, "seed": seed, "effects": effects}), part, masks, seed, effect, strength
            )

        yield line("base", "ideal", {})
        yield line("base", "all", full)
        for name, table in study.effects.items():
            if name in full:
                yield line("base", "all but one", {n: s for n, s in full.items() if n != name}, name)
            for strength in table.strengths:
                yield line("base", "alone", {name: strength}, name, strength)
        if study.retraining is None:
            continue
        if study.retraining.start == "student":
            yield line("control", "ideal", {})
        if study.retraining.together:
            yield line("with all", "all", full)
        for name, table in study.effects.items():
            for strength in table.trained:
                yield line("with the effect", "alone", {name: strength}, name, strength)


def check_strengths(configuration: FidelityConfiguration) -> None:
    """Refuse a strength that the bench or its route cannot compute, before anything is trained.

    Raises:
        ValueError: The message names effect and strength.
    """
    study, bench = configuration.study, configuration.student.bench
    cases = [{name: s} for name, table in study.effects.items() for s in table.strengths]
    cases += [{name: s for name, s in study.full.items() if name != left_out} for left_out in study.full]
    for strengths in ({}, study.full, *cases):
        for seed in study.seeds:
            specification = with_route(bench, strengths)
            try:
                built = bench_with(specification, strengths, seed=seed, flicker_frames=study.flicker_frames)
                specification.build_route(built)
            except ValueError as error:
                words = ", ".join(f"{n} {BENCH_EFFECTS[n].written(s)}" for n, s in strengths.items())
                raise ValueError(f"effects: {words or 'the ideal bench'}: {error}") from error


def _common(configuration: FidelityConfiguration, out: Path) -> dict[str, str]:
    """What all runs are told; paths are whole, for workers may have been started in another folder."""
    folder, checkpoints = out / f"students-{configuration.mark}", configuration.study.checkpoints
    given = {} if checkpoints is None else {"checkpoints": str(Path(checkpoints).resolve())}
    return {
        "config": str(configuration.path.resolve()),
        "settings": configuration.mark,
        "folder": str(folder.resolve()),
        **given,
    }


def _longest_first(line: Line) -> tuple[bool, ...]:
    """The longest first: the last to finish should be short."""
    return line.run.function != TRAIN, line.part not in ("all", "all but one"), line.effect not in TURNED


def _results(out: Path) -> dict[str, dict]:
    lines = (json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines())
    return {line["key"]: line["result"] for line in lines}


def _row(line: Line, result: dict) -> dict:
    unit = None if line.strength is None else BENCH_EFFECTS[line.effect].unit
    place = {"part": line.part, "effect": line.effect, "strength": line.strength, "unit": unit, "masks": line.masks}
    return {"key": line.run.key, **place, "seed": line.seed, **result}
