"""One student on one hidden bench: what it loses, and what each compensation wins back; a run of a sweep."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kd.checkpoints import load_checkpoint
from kd.data.images import DataSplits
from kd.fabrication import MeasuredFrontEnd, Recorded, numbered, part_of, recorded
from kd.objectives import Objective, TangentMatching
from kd.students import OpticalFrontEnd, OpticalStudent
from kd.training import TrainingSettings, evaluate, fit

from .fabrication_bench import hidden_front_end
from .fabrication_settings import UNMOVED, Compensation, load_fabrication
from .fabrication_twin import fitted_twin
from .paper_rows import PAPER_ROWS
from .paper_run import EVALUATION_SEED, checkpoint, load_data
from .runs import provenance

STATES = {
    "twin": "the bench as believed",
    "hidden": "the hidden bench, nothing compensated",
    "statistics": "mean and variance in the readout's normalisation measured again, no labels",
    "labels": "readout fine-tuned on labels",
    "kd": "readout fine-tuned by distillation",
    "ntk": "readout fine-tuned on labels and tangent kernels",
    "masks": "masks and readout, by distillation",
    "fitted": "masks and readout, by distillation on a twin fitted to the measured frames, with all images",
    "fitted_kd": "the same, then the readout fine-tuned by distillation on frames of the new masks",
    "twin_frames": "control: as labels, with frames of the twin",
    "unfitted": "control: as fitted, on the bench as believed instead of the fitted twin",
    "all_images": "control: readout by distillation, with all images measured",
}
BEFORE = ("twin", "hidden")
FITTED = ("fitted", "fitted_kd")
"""States that only files with ``[compensation.twin]`` have, beside their control."""


@dataclass(frozen=True, eq=False)
class Case:
    """A student, its teacher and its hidden bench.

    Attributes:
        student: As trained on the twin.
        teacher: Whose answers it was taught.
        hidden: Its front end as it really is.
        data: The whole set.
        part: What of it is measured, and all test images.
        seed: Of everything that is drawn.
    """

    student: OpticalStudent
    teacher: nn.Module
    hidden: nn.Module
    data: DataSplits
    part: DataSplits
    seed: int

    def frames(self, front_end: nn.Module, data: DataSplits) -> Tensor:
        """Frames ``(N, channels, h, w)`` of training and validation images, the same for one front end and set."""
        return recorded(front_end, shown(data), seed=self.seed + 1)


def fabrication_run(
    config: str, seed: int, *, students: str, folder: str, settings: str | None = None
) -> dict[str, Any]:
    """Hide a bench, lose, compensate; the test images are read once in each state.

    Args:
        config: TOML file, on a path that every worker sees.
        seed: Of student, teacher, hidden bench, measured part, batches and noise.
        students: Folder with their checkpoints.
        folder: For the state of unfinished training.
        settings: Mark that the files must have.
    """
    configuration, start = load_fabrication(config), time.perf_counter()
    if settings not in (None, configuration.mark):
        raise ValueError(f"{config} and its table must stay as they were when the runs were started. Start again.")
    settings, paper = configuration.settings, configuration.paper.settings
    data, how = load_data(paper), settings.compensation
    student, teacher = (PAPER_ROWS[row].build(paper, data, seed) for row in (settings.students.row, "teacher"))
    for row, model in ((settings.students.row, student), ("teacher", teacher)):
        load_checkpoint(checkpoint(students, row, seed), model)
        model.eval()
    hidden, drawn = hidden_front_end(student.front_end, settings.hidden, seed=seed)
    case = Case(student, teacher, hidden, data, part_of(data, how.share, seed=seed), seed)
    unfinished = Path(folder)
    states = compensated(case, how, unfinished)
    for name in ("masks", "fitted", "unfitted"):
        _state_file(case, name, unfinished).unlink(missing_ok=True)
    lost = states["twin"]["test_accuracy"] - states["hidden"]["test_accuracy"]
    for name, state in states.items():
        won = state["test_accuracy"] - states["hidden"]["test_accuracy"]
        state["recovered"] = won / lost if lost > 0 and name not in BEFORE else None
    return {
        "dataset": paper.data.name,
        "student": settings.students.row,
        "seed": seed,
        "states": states,
        "lost": lost,
        "hidden_bench": drawn,
        "measured": {name: len(getattr(case.part, name)) for name in ("train", "validation")},
        "images": {name: len(getattr(data, name)) for name in ("train", "validation", "test")},
        "teacher_accuracy": evaluate(teacher, data.test).accuracy,
        "commit": provenance()["commit"],
        "duration_seconds": time.perf_counter() - start,
    }


def compensated(case: Case, how: Compensation, folder: Path) -> dict[str, dict[str, Any]]:
    """Test accuracy in each of :data:`STATES` that there is; unfinished training is kept in ``folder``."""
    schedules = (how.readout, how.masks, how.everything)
    of_readout, of_masks, of_all = (s.model_copy(update={"augmentation": UNMOVED}) for s in schedules)
    test = recorded(case.hidden, case.data.test.images, seed=EVALUATION_SEED)
    measured, believed = (case.frames(front, case.part) for front in (case.hidden, case.student.front_end))
    states: dict[str, dict[str, Any]] = {
        "twin": {"test_accuracy": evaluate(case.student, case.data.test, seed=EVALUATION_SEED).accuracy},
        "hidden": {"test_accuracy": right(case.student.readout, test, case.data)},
        "statistics": {
            "test_accuracy": right(normalised(case.student.readout, measured[: len(case.part.train)]), test, case.data),
            "images_measured": len(case.part.train),
        },
    }
    answers, whole = answering(case.teacher, case.part), Recorded(case.teacher, shown(case.part))
    _, states["labels"] = tuned(case, case.part, measured, test, of_readout, None)
    taught, states["kd"] = tuned(case, case.part, measured, test, of_readout, answers)
    matching = TangentMatching(beta=how.kernel_weight, probes=how.probes, crossed=how.crossed)
    _, states["ntk"] = tuned(case, case.part, measured, test, of_readout, whole, matching)
    states["ntk"] |= {"probes": how.probes, "crossed": how.crossed}
    _, states["twin_frames"] = tuned(case, case.part, believed, test, of_readout, None)
    states["twin_frames"]["images_measured"] = 0
    states["masks"] = with_masks(case, taught, of_masks, _state_file(case, "masks", folder))
    if how.twin is not None:
        twin, found = fitted_twin(
            case.student.front_end,
            shown(case.part),
            measured,
            how.twin,
            held_out=len(case.part.validation),
            seed=case.seed,
        )
        student, states["fitted"] = retrained(case, twin, how.fitted, _state_file(case, "fitted", folder))
        states["fitted"] |= {"images_measured": len(measured), **found}
        anew = replace(case, student=student, hidden=student.front_end.measured)
        frames = anew.frames(anew.hidden, case.part)
        new_test = recorded(anew.hidden, case.data.test.images, seed=EVALUATION_SEED)
        _, states["fitted_kd"] = tuned(anew, case.part, frames, new_test, of_readout, answers)
        states["fitted_kd"]["images_measured"] += len(measured)
        believed_front = copy.deepcopy(case.student.front_end)
        _, states["unfitted"] = retrained(case, believed_front, how.fitted, _state_file(case, "unfitted", folder))
        states["unfitted"]["images_measured"] = 0
    everything = case.frames(case.hidden, case.data)
    _, states["all_images"] = tuned(case, case.data, everything, test, of_all, answering(case.teacher, case.data))
    return {name: states[name] for name in STATES if name in states}


def _state_file(case: Case, name: str, folder: Path) -> Path:
    return folder / f"{name}-{case.seed}.state"


def shown(data: DataSplits) -> Tensor:
    """Training and validation images ``(N, channels, height, width)``, by number."""
    return torch.cat([data.train.images, data.validation.images])


def answering(teacher: nn.Module, data: DataSplits) -> Recorded:
    """A teacher that has answered every image once: images that do not move have one answer."""
    with torch.no_grad():
        return Recorded(nn.Identity(), torch.cat([teacher(some) for some in shown(data).split(256)]))


def right(readout: nn.Module, frames: Tensor, data: DataSplits) -> float:
    """Share of the test images that are classified rightly from recorded frames ``(N, channels, h, w)``."""
    readout.eval()
    with torch.no_grad():
        return (readout(frames).argmax(1) == data.test.labels).double().mean().item()


def normalised(readout: nn.Module, frames: Tensor) -> nn.Module:
    """A copy of the readout, normalised by mean and variance of frames ``(N, channels, h, w)``; nothing is trained."""
    found = copy.deepcopy(readout).eval()  # a dropout would change the variance behind it
    for module in found.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.train()
            module.momentum = None  # plain mean over the batches
    with torch.no_grad():
        for some in frames.tensor_split(max(1, len(frames) // 256)):
            found(some)
    return found.eval()


def tuned(
    case: Case,
    data: DataSplits,
    frames: Tensor,
    test: Tensor,
    settings: TrainingSettings,
    teacher: Recorded | None,
    objective: Objective | None = None,
) -> tuple[nn.Module, dict[str, Any]]:
    """The readout after training on recorded frames, and how it does on the test frames.

    Args:
        case: Whose readout.
        data: What the frames show.
        frames: Of training and validation images, ``(N, channels, h, w)``.
        test: Frames of the test images.
        settings: Schedule.
        teacher: By number, too; none for labels alone.
        objective: How to learn from it.
    """
    readout = copy.deepcopy(case.student.readout)
    history = fit(
        Recorded(readout, frames),
        numbered(data),
        settings,
        seed=case.seed,
        teacher=teacher,
        objective=objective,
        progress=False,
    )
    return readout, {"test_accuracy": right(readout, test, case.data), "images_measured": len(frames), **best(history)}


def with_masks(case: Case, readout: nn.Module, settings: TrainingSettings, state_file: Path) -> dict[str, Any]:
    """Masks and readout trained on frames of the hidden bench, from the readout that distillation has tuned."""
    front = MeasuredFrontEnd(copy.deepcopy(case.student.front_end), copy.deepcopy(case.hidden))
    model = OpticalStudent(front, copy.deepcopy(readout))
    history = fit(
        model, case.part, settings, seed=case.seed, teacher=case.teacher, progress=False, state_file=state_file
    )
    validated = sum(record["validation_accuracy"] is not None for record in history)
    measured = len(history) * len(case.part.train) + validated * len(case.part.validation)
    accuracy = evaluate(model, case.data.test, seed=EVALUATION_SEED).accuracy
    return {"test_accuracy": accuracy, "images_measured": measured, **best(history)}


def retrained(
    case: Case, front_end: OpticalFrontEnd, settings: TrainingSettings, state_file: Path
) -> tuple[OpticalStudent, dict[str, Any]]:
    """Masks and readout trained on all images in a simulation, and how they do on the hidden bench.

    Args:
        case: Whose readout starts, and whose hidden bench shows the new masks.
        front_end: The simulation, with the masks that start; they learn in place.
        settings: Schedule.
        state_file: Of the unfinished training.

    Returns:
        The student behind a :class:`~kd.fabrication.MeasuredFrontEnd` that shows the new masks, and what it reached.
    """
    model = OpticalStudent(front_end, copy.deepcopy(case.student.readout))
    history = fit(
        model, case.data, settings, seed=case.seed, teacher=case.teacher, progress=False, state_file=state_file
    )
    front = MeasuredFrontEnd(front_end, copy.deepcopy(case.hidden))
    front.show()
    test = recorded(front.measured, case.data.test.images, seed=EVALUATION_SEED)
    accuracy = right(model.readout, test, case.data)
    return OpticalStudent(front, model.readout), {"test_accuracy": accuracy, **best(history)}


def best(history: list) -> dict[str, Any]:
    """The epoch that validation has chosen."""
    chosen = next(record for record in history if record["restored"])
    return {
        "validation_accuracy": chosen["validation_accuracy"],
        "epoch": chosen["epoch"],
        "training_seconds": sum(record["seconds"] for record in history),
    }
