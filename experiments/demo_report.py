"""The demo's page: its results, and the bundle that it exported. Composes; computes no result."""

from __future__ import annotations

from pathlib import Path

import torch

from kd.data.images import DataSplits
from kd.students import OpticalStudent
from kd.training import Evaluation
from optics4f.bundle import read_bundle
from optics4f.files import written_whole
from optics4f.plotting import plot_confusion, plot_planes, png
from optics4f.report import Report
from optics4f.report.bench_sections import Subject, bench_sections
from optics4f.report.metrics import ablation_section, accuracy_section, cost_section
from optics4f.report.of_bundle import provenance_section
from optics4f.routes import AngularSpectrumRoute

from .settings import Configuration

SHOWN_IMAGE = 0  # of the test set, and of the bundle


def write_report(
    path: Path,
    configuration: Configuration,
    metrics: dict,
    student: OpticalStudent,
    evaluation: Evaluation,
    data: DataSplits,
) -> None:
    """One self-contained HTML page; its masks and frames are those of ``masks.h5`` beside it.

    Args:
        path: Where to write it; the picture of the planes is also kept beside it, as ``planes.png``.
        configuration: What was asked for.
        metrics: Content of ``metrics.json``.
        student: The physical student whose masks were exported.
        evaluation: Its evaluation on the test images.
        data: The images.
    """
    bundle = read_bundle(path.parent / "masks.h5")
    page = Report(
        f"Distilled into light: {data.name}",
        "A digital teacher, and phase masks in a simulated 4f system that learned from it. Accuracies are simulated.",
    )
    accuracy_section(page, metrics)
    page.paragraph("Validation chose the epoch; the test images were read once per model.")
    page.figure(
        png(plot_confusion(evaluation.confusion, data.classes).figure),
        f"Confusion matrix of the physical student, accuracy {evaluation.accuracy:.1%}",
        "Physical student with teacher, first seed.",
    )
    _keep_planes(path.parent / "planes.png", student, data)
    bench_sections(page, Subject.of(bundle), image=SHOWN_IMAGE)
    ablation_section(page, metrics)
    cost_section(page, metrics)
    run = {**metrics["provenance"], "seconds": f"{metrics['seconds']:.0f}", "data": metrics["data"]["name"]}
    provenance_section(page, bundle, {"provenance": run}, {"bundle": "masks.h5"})
    page.write(path)


@torch.no_grad()
def _keep_planes(path: Path, student: OpticalStudent, data: DataSplits) -> None:
    """The planes of one test image as one picture, for where no page can be."""
    bench = student.front_end.bench
    planes = AngularSpectrumRoute(bench).planes(bench.object_field(data.test.images[SHOWN_IMAGE, 0][None, None]))
    with written_whole(path) as part:
        part.write_bytes(png(plot_planes(planes)))
