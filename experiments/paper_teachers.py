"""Teachers that were trained for another table with the same settings: they need not be trained again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from torch import nn

from kd.checkpoints import checkpoint_facts, load_checkpoint
from kd.data.images import DataSplits
from kd.digest import digest
from kd.training import TrainingSettings
from optics4f.files import written_whole

from .paper_settings import PaperSettings

STUDENTS_ALONE = ("temperature", "alpha", "mask_learning_rate_factor")  # settings that no teacher looks at


def data_digest(data: DataSplits) -> str:
    """Of the images and labels that a teacher learns from and is chosen by."""
    parts = {"train": data.train, "validation": data.validation}
    return digest({f"{name} {key}": getattr(part, key) for name, part in parts.items() for key in ("images", "labels")})


def take_teachers(
    settings: PaperSettings,
    data: DataSplits,
    build: Callable[[int], nn.Module],
    *,
    seeds: Sequence[int],
    places: Sequence[Path],
    folder: Path,
) -> list[int]:
    """Copy the teachers that ``folder`` has not begun to train, where one of ``places`` has them.

    A teacher is the same whatever the bench and the students are: the images, the network, its schedule and its seed
    count. Where several are found, the first of the first place is taken.

    Args:
        settings: Of the table.
        data: That the table's students learn from. A file that does not tell what its teacher has seen is left alone.
        build: Seed to the teacher, untrained.
        seeds: Whose teachers.
        places: Folders of runs or of checkpoints, looked through with all that is in them, or files.
        folder: Of the table's checkpoints.

    Returns:
        The seeds whose teachers were copied; the others are left to be trained.

    Raises:
        ValueError: A place with no teacher of these settings, images and seeds.
    """
    seen = data_digest(data)
    found: dict[int, Path] = {}
    for place in places:
        known = [(seed, path) for seed in seeds for path in _files(place, f"teacher-{seed}.safetensors")]
        fitting = [(seed, path) for seed, path in known if _same(path, settings, seen, build(seed), seed)]
        if not fitting:
            several = ", ".join(map(str, seeds))
            raise ValueError(
                f"{place} must hold a teacher of seed {several} with the images, [teacher] and models.teacher of this "
                f"table, got {'none of these settings and images' if known else 'none'}. Leave it out, and one is "
                "trained."
            )
        for seed, path in fitting:
            found.setdefault(seed, path)
    taken = []
    for seed, path in sorted(found.items()):
        if any(folder.glob(f"teacher-{seed}.*")):  # trained, or begun
            continue
        with written_whole(folder / f"teacher-{seed}.safetensors") as part:
            shutil.copyfile(path, part)
        taken.append(seed)
    return taken


def taken_from_elsewhere(config: Mapping, settings: PaperSettings) -> bool:
    """Whether a checkpoint with this ``config`` was trained for a table with other settings."""
    try:
        return PaperSettings.model_validate(config) != settings
    except ValueError:
        return True


def _files(place: Path, name: str) -> Iterator[Path]:
    if place.is_file():
        return iter([place] if place.name == name else [])
    return (path for path in sorted(place.rglob(name)) if path.is_file())


def _same(path: Path, settings: PaperSettings, seen: str, teacher: nn.Module, seed: int) -> bool:
    """Whether a file holds what these settings and this seed would train on these images."""
    try:
        facts = checkpoint_facts(path)
        config = facts["config"]
        if (facts["seed"], facts["metrics"].get("data")) != (seed, seen):
            return False
        # A file of before a setting was thought of has its default.
        schedule, wanted = (
            TrainingSettings.model_validate(table).model_dump(exclude=set(STUDENTS_ALONE))
            for table in (config["teacher"], settings.teacher.model_dump())
        )
        models = settings.models
        if schedule != wanted or config["models"]["teacher"] != models.teacher:
            return False
        load_checkpoint(path, teacher)  # refuses other widths
    except (KeyError, TypeError, ValueError):  # half a file, or none of a table's
        return False
    return True
