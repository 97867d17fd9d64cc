"""A last stage of training with the whole of the SLM's pixels, behind a long one with one sample for each.

A sample stands for a point, and points take fewer operations than squares. What masks that were trained for points
lose on squares they may win back in few epochs there: they need not be trained again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from kd.checkpoints import checkpoint_facts, load_checkpoint
from kd.data.images import DataSplits
from kd.digest import digest
from kd.students import OpticalStudent
from optics4f.files import written_whole

from .paper_pixels import envelope_left_out
from .paper_settings import PaperSettings
from .paper_statistics import by_row
from .paper_teachers import data_digest

FIRST = ".first"  # of the name of a file that holds the first stage of a row


def first_stage(settings: PaperSettings) -> PaperSettings | None:
    """What physical rows are trained with before ``[finish]``; ``None`` where that is not asked for."""
    if settings.finish is None:
        return None
    slm = settings.bench.slm.model_copy(update={"samples_per_pixel": 1})
    bench = settings.bench.model_copy(update={"slm": slm})
    return settings.model_copy(update={"bench": bench, "finish": None})


def finish_words(settings: PaperSettings, results: Sequence[Mapping]) -> str:
    """How physical rows were trained, to stand above a table of these results."""
    if settings.finish is None or not any("electrons_per_image" in result for result in results):
        return ""
    first, last = (
        f"{epochs} epoch{'' if epochs == 1 else 's'}" for epochs in (settings.student.epochs, settings.finish.epochs)
    )
    samples, (left_out, _) = settings.bench.slm.samples_per_pixel, envelope_left_out(settings.bench)
    words = (
        f"Physical rows are trained for {first} with one sample a pixel of the SLM, then for {last} with {samples} "
        f"along each side, with which they are tested: a pixel is a square, and its own diffraction darkens the edge "
        f"of the PSF window, of which {samples} samples leave out {left_out:.0%}. "
    )
    taken = by_row([r for r in results if r.get("first_stage", {}).get("trained_for_another_table")])
    told = ", ".join(f"{row} ({', '.join(map(str, sorted(seeds)))})" for row, seeds in taken.items())
    return words + (f"The first stage was trained for another table with the same settings: {told}. " if told else "")


def take_students(
    settings: PaperSettings,
    data: DataSplits,
    build: Callable[[str, int], nn.Module],
    *,
    rows: Mapping[str, bool],
    seeds: Sequence[int],
    places: Sequence[Path],
    folder: Path,
) -> list[tuple[str, int]]:
    """Copy what ``folder`` has not begun to train, from a table that differs in the SLM's samples and the last stage.

    Of a physical row it is the first stage, where there are two; of a digital one, which knows no pixels, the whole.
    Where several are found, the first of the first place is taken.

    Args:
        settings: Of the table.
        data: That it is trained on. A file that tells neither of them nor of the teacher that saw them is left alone.
        build: Row and seed to the student, untrained.
        rows: To look for, and whether they are taught.
        seeds: To look for.
        places: Folders of runs or of checkpoints, looked through with all that is in them.
        folder: Of the table's checkpoints, its teachers among them.

    Returns:
        Rows and seeds that were copied; the others are left to be trained.

    Raises:
        ValueError: A place with nothing of that kind. Then nothing is copied.
    """
    seen = data_digest(data)
    teachers = {seed: _digest_of(folder / f"teacher-{seed}.safetensors", build, seed) for seed in seeds}
    found: dict[tuple[str, int], tuple[Path, nn.Module]] = {}
    for place in places:
        known = [(row, seed, path) for row in rows for seed in seeds for path in _files(place, f"{row}-{seed}")]
        fitting = 0
        for row, seed, path in known:
            told = {"taught_by": teachers[seed]} if rows[row] else {"data": seen}
            if _same(path, settings, student := build(row, seed), seed, told):
                found.setdefault((row, seed), (path, student))
                fitting += 1
        if not fitting:
            why = "none that has the same settings, images and teachers" if known else "none"
            raise ValueError(
                f"{place} must hold students of this table but for [finish] and bench.slm.samples_per_pixel, of "
                f"{', '.join(rows)} and seed {', '.join(map(str, seeds))}, got {why}. Leave it out, and all is trained."
            )
    taken = []
    for (row, seed), (path, student) in found.items():
        if any(folder.glob(f"{row}-{seed}.*")):  # trained, or begun
            continue
        two = isinstance(student, OpticalStudent) and first_stage(settings) is not None
        with written_whole(folder / f"{row}-{seed}{FIRST if two else ''}.safetensors") as part:
            shutil.copyfile(path, part)
        taken.append((row, seed))
    return taken


def _digest_of(path: Path, build: Callable[[str, int], nn.Module], seed: int) -> str | None:
    """Of a teacher's weights; ``None`` where it is not trained yet."""
    if not path.exists():
        return None
    load_checkpoint(path, teacher := build("teacher", seed))
    return digest(teacher.state_dict())


def _files(place: Path, name: str) -> list[Path]:
    found = [path for end in ("", FIRST) for path in sorted(place.rglob(f"{name}{end}.safetensors"))]
    return [path for path in found if path.is_file()]


def _same(path: Path, settings: PaperSettings, student: nn.Module, seed: int, told: Mapping[str, str | None]) -> bool:
    """Whether a file holds what these settings and this seed would train, or the first stage of it.

    Args:
        path: The file.
        settings: That are wanted.
        student: Of the row, untrained.
        seed: That is wanted.
        told: What must stand beside the weights.
    """
    try:
        facts = checkpoint_facts(path)
        config = PaperSettings.model_validate(facts["config"])
        if path.stem.endswith(FIRST) or not isinstance(student, OpticalStudent):  # the last stage has no part in it
            config = first_stage(config) or config
        if facts["seed"] != seed or _but_for_seeds(config) != _but_for_seeds(first_stage(settings) or settings):
            return False
        if any(value is None or facts["metrics"].get(key) != value for key, value in told.items()):
            return False
        load_checkpoint(path, student)  # refuses other shapes
    except (AttributeError, TypeError, ValueError):  # half a file, or none of a table's
        return False
    return True


def _but_for_seeds(settings: PaperSettings) -> PaperSettings:
    return settings.model_copy(update={"models": settings.models.model_copy(update={"seeds": (0,)})})
