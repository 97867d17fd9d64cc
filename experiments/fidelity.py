"""What each imperfection of the hardware costs: one change at a time, on masks that are given."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kd.data.images import LabelledImages
from kd.students import OpticalStudent
from kd.training import evaluate

from .settings import FidelitySettings


@dataclass(frozen=True)
class Effect:
    """A change of the hardware.

    Attributes:
        name: What it is.
        value: Its strength, in words.
        apply: Changes a student in place.
    """

    name: str
    value: str
    apply: Callable[[OpticalStudent], None]


def effects(settings: FidelitySettings) -> Iterator[Effect]:
    """The ledger's lines: the hardware as trained, ideal hardware, then ideal hardware with one effect."""
    yield Effect("as trained", "all effects of the bench", lambda student: None)
    yield Effect("ideal", "continuous phase, no gaps, no camera noise", make_ideal)
    for bits in settings.bit_depths:
        yield Effect("quantization", f"{bits} bit", _ideal_but(slm={"bit_depth": bits}))
    for fill_factor in settings.fill_factors:
        yield Effect("fill factor", f"{fill_factor:g}", _ideal_but(slm={"fill_factor": fill_factor}))
    yield Effect("camera", "the bench's sensor and exposure", _ideal_but(keep_camera=True))
    for exposure in settings.exposures:
        yield Effect("camera", f"{exposure:g} of the full well", _ideal_but(keep_camera=True, exposure=exposure))


def make_ideal(student: OpticalStudent) -> None:
    """Continuous masks, no gaps, a camera without noise, saturation or levels; masks and readout stay."""
    bench = student.front_end.bench
    bench.slm.bit_depth, bench.slm.fill_factor = None, 1.0
    bench.camera.sensor = None


def _ideal_but(
    *, slm: dict | None = None, keep_camera: bool = False, exposure: float | None = None
) -> Callable[[OpticalStudent], None]:
    def apply(student: OpticalStudent) -> None:
        bench = student.front_end.bench
        sensor = bench.camera.sensor
        make_ideal(student)
        for name, value in (slm or {}).items():
            setattr(bench.slm, name, value)
        if keep_camera:
            bench.camera.sensor = sensor
            bench.camera.exposure = bench.camera.exposure if exposure is None else exposure

    return apply


def ledger(students: Sequence[OpticalStudent], images: LabelledImages, settings: FidelitySettings) -> Iterator[dict]:
    """Accuracy of each student under each effect, nothing retrained.

    Args:
        students: Trained students, one per seed; left as they are.
        images: Test images.
        settings: Which strengths to try.

    Yields:
        One row per effect: name, value, accuracies per student, mean, and the change from "as trained".
    """
    reference: float | None = None
    for effect in effects(settings):
        accuracies = []
        for student in students:
            changed = copy.deepcopy(student)
            effect.apply(changed)
            accuracies.append(evaluate(changed, images).accuracy)
        mean = statistics.fmean(accuracies)
        reference = mean if reference is None else reference
        yield {
            "effect": effect.name,
            "value": effect.value,
            "test_accuracy": {"mean": mean, "seeds": accuracies},
            "change": mean - reference,
        }
