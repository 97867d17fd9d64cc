"""The demo's page: what was computed, in the order of the light. Composes figures; computes no result."""

from __future__ import annotations

from pathlib import Path

import torch

from kd.data.images import DataSplits
from kd.students import OpticalStudent
from kd.training import Evaluation
from optics4f.bundle import frames_of
from optics4f.field import intensity
from optics4f.files import written_whole
from optics4f.plotting import (
    plot_ablation,
    plot_confusion,
    plot_costs,
    plot_frames,
    plot_masks,
    plot_planes,
    plot_psfs,
    png,
)
from optics4f.report import Report
from optics4f.routes import AngularSpectrumRoute, PSFRoute
from optics4f.units import engineering

from .settings import Configuration
from .tables import accuracy_rows, fidelity_rows, interval, term_rows

SHOWN_IMAGE = 0  # of the test set


def write_report(
    path: Path,
    configuration: Configuration,
    metrics: dict,
    student: OpticalStudent,
    evaluation: Evaluation,
    data: DataSplits,
) -> None:
    """One self-contained HTML page.

    Args:
        path: Where to write it; the picture of the planes is also kept beside it, as ``planes.png``.
        configuration: What was asked for.
        metrics: Content of ``metrics.json``.
        student: The physical student whose masks were exported.
        evaluation: Its evaluation on the test images.
        data: The images.
    """
    page = Report(
        f"Distilled into light: {data.name}",
        "A digital teacher, and phase masks in a simulated 4f system that learned from it. Accuracies are simulated.",
    )
    page.section("Accuracy", metrics["kd_gain"]["verdict"])
    page.table(
        accuracy_rows(metrics["rows"]),
        caption=f"Test accuracy on {len(data.test)} images, mean and each seed. Validation chose the epoch; the test "
        "images were read once per model. Optics costs no digital multiply-accumulates (MACs).",
    )
    page.figure(
        png(plot_confusion(evaluation.confusion, data.classes).figure),
        f"Confusion matrix of the physical student, accuracy {evaluation.accuracy:.1%}",
        "Physical student with teacher, first seed.",
    )
    _bench(page, path.parent, configuration, student, data)
    page.section(
        "Fidelity",
        "One effect at a time, evaluated on masks that were trained with all effects of the bench; nothing retrained.",
    )
    fidelity = metrics["fidelity"]
    lines = [{"effect": f"{line['effect']}: {line['value']}", **line["test_accuracy"]} for line in fidelity]
    page.figure(
        png(plot_ablation(lines, label="test accuracy").figure),
        "Test accuracy under each hardware effect",
    )
    page.table(fidelity_rows(fidelity), caption="Change in points against the hardware as trained.")
    _cost(page, metrics["cost"])
    page.section("Provenance")
    page.keyvalues({**metrics["provenance"], "seconds": f"{metrics['seconds']:.0f}", "data": metrics["data"]["name"]})
    page.paragraph("Configuration:")
    page.code(configuration.text)
    page.write(path)


@torch.no_grad()
def _bench(page: Report, folder: Path, configuration: Configuration, student: OpticalStudent, data: DataSplits) -> None:
    specification = configuration.settings.bench
    bench = student.front_end.bench
    image = data.test.images[SHOWN_IMAGE, 0]
    label = data.classes[int(data.test.labels[SHOWN_IMAGE])]
    page.section("The bench", "The simulated hardware, every effect with its strength.")
    page.code(str(bench))
    page.figure(
        png(plot_masks(bench.slm.pixel_modulation().angle(), bench.slm.grid)),
        f"Phase of the {bench.slm.masks} trained masks",
        "The masks, as quantized phase on the SLM's own pixels.",
    )
    psf = PSFRoute(bench)
    share = psf.window_efficiency()
    page.figure(
        png(plot_psfs(intensity(psf.point_spread_functions()), bench.image.pitch)),
        "Point spread function of each mask, logarithmic",
        "Point spread functions. Share of the light behind each mask inside this window: "
        + ", ".join(f"{100 * value:.1f} %" for value in share.tolist()),
    )
    planes = AngularSpectrumRoute(bench).planes(bench.object_field(image[None, None]))
    picture = png(plot_planes(planes))
    with written_whole(folder / "planes.png") as part:
        part.write_bytes(picture)
    page.figure(
        picture,
        f"Intensity in every plane of the 4f system for one image of class {label}",
        f"Every plane for one test image (class {label}) and the first mask, by angular-spectrum propagation.",
    )
    frames, _ = frames_of(bench, specification, image[None], 0)
    page.figure(
        png(plot_frames(image, frames[0], bench.camera.grid)),
        f"Object and predicted camera frame for each mask, class {label}",
        "What the camera is predicted to deliver, shot and read noise included.",
    )


def _cost(page: Report, cost: dict) -> None:
    page.section(
        "Cost",
        "The optical path is modelled, term by term; the teacher's inference is measured on this machine. A range is "
        "what is not known.",
    )
    energies = {term["name"]: term["nominal"] for term in cost["optics"] if term["group"] == "energy"}
    times = {term["name"]: term["nominal"] for term in cost["optics"] if term["group"] == "latency"}
    page.figure(
        png(plot_costs([{"system": "optics", "terms": times}], unit="s", label="latency of one image").figure),
        "Terms of the latency of one image",
    )
    page.figure(
        png(plot_costs([{"system": "optics", "terms": energies}]).figure),
        "Terms of the energy of one image",
    )
    page.table(term_rows(cost["optics"]), caption="Every term, with its evidence and source.")
    page.table(
        [
            {
                "device": record["device"],
                "batch": record["batch_size"],
                "median per batch": engineering(record["median"], "s"),
                "p5 ... p95": f"{engineering(record['p5'], 's')} ... {engineering(record['p95'], 's')}",
                "energy": "unknown" if record["energy"] is None else engineering(record["energy"], "J"),
                "energy from": record["energy_source"],
            }
            for record in cost["teacher_inference"]
        ],
        caption="The teacher's inference, measured.",
    )
    page.table(
        [
            {
                "price of a digital multiply-accumulate": engineering(row["price"]["nominal"], "J"),
                "source": row["price"]["source"],
                "optics and readout": _bounds(row["hybrid"]),
                "teacher, digital": _bounds(row["digital"]),
                "winner": row["winner"],
            }
            for row in cost["prices"]
        ],
        caption="Energy of one image at published prices of a digital operation, modelled on both sides.",
    )
    even = cost["break_even_energy_per_mac"]
    page.paragraph(
        "The optics save no digital operation, so no price of an operation makes up for what they cost."
        if even is None
        else "Break-even: the optics use less energy than the teacher only where a digital multiply-accumulate costs "
        f"more than {_bounds(even)}."
    )


def _bounds(term: dict) -> str:
    return interval(term["low"], term["nominal"], term["high"], term["unit"])
