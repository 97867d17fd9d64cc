"""Teachers that were trained for another table with the same settings: they need not be trained again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from kd.checkpoints import checkpoint_facts
from kd.training import TrainingSettings
from optics4f.files import written_whole

from .paper_run import checkpoint
from .paper_settings import PaperSettings


def take_teachers(settings: PaperSettings, seeds: Sequence[int], places: Sequence[Path], folder: Path) -> list[int]:
    """Copy the teachers that ``folder`` has not begun to train, where one of ``places`` has them.

    A teacher is the same whatever the bench and the students are: data, kind and width of the network, its schedule
    and its seed count. Where several are found, the first of the first place is taken.

    Args:
        settings: Of the table.
        seeds: Whose teachers.
        places: Folders of runs or of checkpoints, looked through with all that is in them.
        folder: Of the table's checkpoints.

    Returns:
        The seeds whose teachers were copied; the others are left to be trained.

    Raises:
        ValueError: A place with no teacher of these settings and seeds.
    """
    found: dict[int, Path] = {}
    for place in places:
        known = [(seed, path) for seed in seeds for path in sorted(place.rglob(checkpoint("", "teacher", seed).name))]
        fitting = [(seed, path) for seed, path in known if _same(checkpoint_facts(path), settings, seed)]
        if not fitting:
            several = ", ".join(map(str, seeds))
            raise ValueError(
                f"{place} must hold a teacher of seed {several} with the [data], [teacher] and models.teacher of this "
                f"table, got {'none of these settings' if known else 'none'}. Leave it out, and one is trained."
            )
        for seed, path in fitting:
            found.setdefault(seed, path)
    taken = []
    for seed, path in found.items():
        target = checkpoint(folder, "teacher", seed)
        if target.exists() or target.with_suffix(".state").exists():
            continue
        with written_whole(target) as part:
            shutil.copyfile(path, part)
        taken.append(seed)
    return taken


def _same(facts: Mapping, settings: PaperSettings, seed: int) -> bool:
    """Whether a checkpoint is what these settings and this seed would train."""
    config, wanted = facts["config"], settings.model_dump(mode="json")
    try:  # a file of before a setting was thought of has its default
        schedule = TrainingSettings.model_validate(config["teacher"])
        told = (config["data"], *(config["models"][name] for name in ("teacher", "teacher_width")))
    except (KeyError, TypeError, ValueError):
        return False
    here = (wanted["data"], *(wanted["models"][name] for name in ("teacher", "teacher_width")))
    return (facts["seed"], schedule, *told) == (seed, settings.teacher, *here)
