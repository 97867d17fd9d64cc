"""The main job, end to end: images, teacher, students, masks, ledger, cost, report."""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from kd.complexity import digital_macs, trainable_parameters
from kd.data.images import DataSplits
from kd.students import OpticalStudent
from kd.training import evaluate
from optics4f.bundle import Bundle, frames_of, predict_frames, write_bundle
from optics4f.files import made_folder

from .compare_cost import SystemCost, compare, price_rows, workload
from .demo_report import write_report
from .fidelity import ledger
from .gpu_cost import measure_inference
from .hardware_cost import CostTable, OpticalCostSettings, optical_cost
from .rows import ROWS
from .runs import provenance, write_json, write_jsonl, write_text
from .settings import Configuration, DemoSettings
from .tables import accuracy_rows, fidelity_rows, interval, markdown, print_table, term_rows
from .terms import Term
from .training_pool import EVALUATION_SEED, load_data, train_all, trained


def run_demo(configuration: Configuration, out: Path, console: Console) -> None:
    """Train every row over all seeds, then write ``masks.h5``, ``metrics.json``, ``report.html`` and what they rest on.

    Args:
        configuration: From :func:`experiments.settings.load_configuration`.
        out: Folder of the run; files of an earlier run are replaced one by one, each whole.
        console: Where tables and paths are printed.
    """
    start = time.perf_counter()
    settings = configuration.settings
    data = load_data(settings)
    settings.bench.build_route(settings.bench.build())  # a bench that cannot be sampled is refused before training
    optical_cost(_completed(settings, settings.cost, macs=1))  # and a cost that cannot be computed, too
    made_folder(out)

    folder = out / "checkpoints"
    accuracies = train_all(settings, folder, console)
    models = {name: trained(settings, data, name, settings.run.seeds[0], folder) for name in ROWS}
    rows = table_rows(accuracies, models, data)
    students = [trained(settings, data, "physical_kd", seed, folder) for seed in settings.run.seeds]
    best = students[0]

    console.print("fidelity ledger: one effect at a time, nothing retrained", style="dim")
    fidelity = list(ledger(students, data.test, settings.fidelity))
    write_jsonl(out / "fidelity.jsonl", fidelity)

    cost = costs(settings, best, models["teacher"], data)
    masks_path = out / "masks.h5"
    write_bundle(masks_path, make_bundle(best, configuration, data))

    metrics = {
        "rows": rows,
        "kd_gain": kd_gain(rows),
        "fidelity": fidelity,
        "cost": cost["table"],
        "data": {
            "name": data.name,
            "train": len(data.train),
            "validation": len(data.validation),
            "test": len(data.test),
        },
        "light_in_psf_window": best.front_end.route.window_efficiency().tolist()
        if hasattr(best.front_end.route, "window_efficiency")
        else None,
        "seconds": time.perf_counter() - start,
        "provenance": provenance(),
    }
    write_json(out / "metrics.json", metrics)
    tables = (accuracy_rows(rows), fidelity_rows(fidelity), term_rows(cost["table"]["optics"]))
    write_text(out / "tables.md", "\n".join(map(markdown, tables)))
    evaluation = evaluate(best, data.test, seed=EVALUATION_SEED)
    write_report(out / "report.html", configuration, metrics, best, evaluation, data)

    print_table(accuracy_rows(rows), f"{data.name}: {len(data.test)} test images", console)
    print_table(fidelity_rows(fidelity), "fidelity: physical_kd, nothing retrained", console)
    print_table(cost["summary"], "cost of one image", console)
    console.print(kd_gain(rows)["verdict"])
    for path in (masks_path, out / "metrics.json", out / "report.html"):
        console.print(f"wrote {path}", soft_wrap=True)
    console.print(f"{time.perf_counter() - start:.0f} s. Next: optics4f verify {masks_path}", soft_wrap=True)


def table_rows(accuracies: dict[str, list[float]], models: dict[str, nn.Module], data: DataSplits) -> dict[str, dict]:
    """The rows of ``metrics.json``: accuracies of all seeds, size and digital operations of one model."""
    return {
        name: {
            "test_accuracy": {"mean": statistics.fmean(seeds), "seeds": seeds},
            "parameters": trainable_parameters(models[name]),
            "digital_macs": macs(models[name], data),
            "about": ROWS[name].about,
        }
        for name, seeds in accuracies.items()
    }


def macs(model: nn.Module, data: DataSplits) -> int:
    """Digital multiply-accumulates for one image; light's are free."""
    model = copy.deepcopy(model)
    if isinstance(model, OpticalStudent):
        model.reseed(EVALUATION_SEED)
    return digital_macs(model, tuple(data.test.images.shape[1:]))


def kd_gain(rows: dict[str, dict]) -> dict:
    """Physical student with teacher against the same without, paired by seed, and a verdict in words."""
    pairs = [rows[name]["test_accuracy"]["seeds"] for name in ("physical_kd", "physical")]
    gains = [with_kd - without for with_kd, without in zip(*pairs, strict=True)]
    mean = statistics.fmean(gains)
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None
    told_apart = error is None or abs(mean) >= 2 * error
    helped = "did not help" if mean <= 0 else "helped" if told_apart else "shows no effect"
    spread = "" if error is None else f" +- {100 * error:.2f} (standard error over {len(gains)} seeds)"
    if not told_apart:
        spread += ", less than two standard errors"
    return {
        "mean": mean,
        "standard_error": error,
        "seeds": gains,
        "verdict": f"Distillation {helped}: {100 * mean:+.2f} points of test accuracy{spread}.",
    }


def make_bundle(student: OpticalStudent, configuration: Configuration, data: DataSplits) -> Bundle:
    """The student's masks, with the frames predicted for the first test images.

    Raises:
        RuntimeError: The frames simulated from the levels are not those of the masks in memory.
    """
    settings = configuration.settings
    images = data.test.images[: settings.run.bundle_images, 0]
    bench = student.front_end.bench
    frames, noise_free = frames_of(bench, settings.bench, images, EVALUATION_SEED)
    levels = bench.slm.levels()
    again, _ = predict_frames(settings.bench, levels, images, EVALUATION_SEED)
    if not torch.equal(frames, again):
        raise RuntimeError("the exported levels do not give the frames of the trained masks.")
    return Bundle(levels, configuration.text, images, frames, noise_free, EVALUATION_SEED)


def costs(settings: DemoSettings, student: OpticalStudent, teacher: nn.Module, data: DataSplits) -> dict:
    """Modelled cost of the optical path beside inference measured here.

    Returns:
        ``table``: all terms, JSON-able; ``summary``: rows for a terminal.
    """
    readout_macs = macs(student, data)
    optics = optical_cost(_completed(settings, settings.cost, macs=readout_macs))
    records = measure_inference(teacher, data.test.images[:256], batch_sizes=(1, 256), repetitions=30, warmup=5)
    single = SystemCost.measured(records[0])
    task = workload(optics, digital_fixed=_capture(optics), digital_macs=macs(teacher, data))
    break_even = task.break_even()
    summary = [
        _summary("optics (modelled)", optics.latency, optics.throughput, optics.energy),
        *(
            _summary(
                f"teacher, {r.device}, batch {r.batch_size} (measured)", r.latency, r.throughput, r.energy_per_image
            )
            for r in records
        ),
    ]
    return {
        "table": {
            "optics": optics.to_rows(),
            "bottleneck": optics.bottleneck,
            "teacher_inference": [record.to_row() for record in records],
            "comparison_batch_1": [ratio.to_row() for ratio in compare(SystemCost.optical(optics), single)],
            "break_even_energy_per_mac": None if break_even is None else asdict(break_even),
            "prices": price_rows(task),
        },
        "summary": summary,
    }


def _completed(settings: DemoSettings, cost: OpticalCostSettings, *, macs: int) -> OpticalCostSettings:
    """The cost settings with what the simulated system itself knows."""
    camera = settings.bench.camera
    region = tuple(n * camera.binning for n in camera.shape)
    return cost.model_copy(
        update={
            "masks": settings.bench.slm.masks,
            "camera": cost.camera.model_copy(update={"shape": region}),
            "digital": cost.digital.model_copy(update={"macs": macs}),
        }
    )


def _capture(optics: CostTable) -> Term:
    """What a plain camera would spend on one frame: the same camera's power for one exposure and its readout."""
    camera = next(term for term in optics.energies if term.name == "camera power")
    stages = {stage.term.name: stage.term for stage in optics.stages}
    busy = stages["exposure"] + stages["camera readout"]
    share = (busy.nominal / optics.counts["exposures"]) / optics.latency.nominal
    return (camera * share).named("plain capture", "J")


def _summary(name: str, latency: Term, throughput: Term, energy: Term | None) -> dict[str, str]:
    def shown(term: Term | None) -> str:
        return "unknown" if term is None else interval(term.low, term.nominal, term.high, term.unit)

    return {"system": name, "latency": shown(latency), "throughput": shown(throughput), "energy": shown(energy)}
