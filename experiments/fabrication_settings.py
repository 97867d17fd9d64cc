"""What ``python -m experiments fabrication`` is told: whose students, how far the bench is off, how they learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from kd.batches import AugmentationSettings
from kd.training import TrainingSettings
from optics4f.config import ConfigError, Specification, read_toml, validated

from .fabrication_bench import HiddenSettings
from .fabrication_twin import TwinFitting, refuse_known_errors
from .paper_rows import PAPER_ROWS
from .paper_settings import CONFIGURATIONS, PaperConfiguration, fingerprint, load_paper

UNMOVED = AugmentationSettings(rotation_degrees=0, shift=0, scale=0)
"""An image that was measured is as it was: it cannot be turned afterwards."""


class Students(Specification):
    """``[students]``: a row of a paper's table, trained before."""

    paper: str  # file of the table, beside this one
    row: str = "physical_kd"
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 1, 2), min_length=1)


class Compensation(Specification):
    """``[compensation]``: what is measured and how it is learnt from."""

    share: float = Field(0.1, gt=0, le=1)  # of the training and of the validation images, shown on the hidden bench
    kernel_weight: float = Field(1.0, gt=0)  # of the tangent kernels beside the labels
    probes: int = Field(1, ge=1)  # random directions by which the kernels are estimated in each step
    crossed: bool = False  # two sets of them, whose noise does not add to the loss
    readout: TrainingSettings
    masks: TrainingSettings
    everything: TrainingSettings  # of the control with all images
    twin: TwinFitting | None = None  # a twin fitted to the measured frames
    fitted: TrainingSettings | None = None  # of masks and readout on it, with all images; none of them is measured


class FabricationSettings(Specification):
    """The whole file."""

    students: Students
    hidden: HiddenSettings
    compensation: Compensation


@dataclass(frozen=True)
class FabricationConfiguration:
    """Settings of this experiment and of the students' table.

    Attributes:
        mark: Tells results of these two files from those after a change.
    """

    settings: FabricationSettings
    paper: PaperConfiguration
    path: Path
    mark: str

    @property
    def name(self) -> str:
        """Of the page: the file's, for several may hide other benches from the same students."""
        return self.path.stem.removeprefix("fabrication_")


def load_fabrication(path: str | Path) -> FabricationConfiguration:
    """Read and check a file for ``python -m experiments fabrication``, and the table that it names.

    Raises:
        ConfigError: Any defect, in one line.
    """
    content, text = read_toml(path)
    settings = validated(FabricationSettings, content, source=str(path), text=text)
    physical = [name for name in PAPER_ROWS if name.startswith("physical")]
    if settings.students.row not in physical:
        raise ConfigError(f"{path}: students.row must be one of {', '.join(physical)}, got {settings.students.row!r}.")
    for name in ("readout", "masks", "everything"):
        if getattr(settings.compensation, name).augmentation not in (UNMOVED, AugmentationSettings()):
            raise ConfigError(
                f"{path}: compensation.{name}.augmentation must be left out: measured images do not move."
            )
    if (settings.compensation.twin is None) != (settings.compensation.fitted is None):
        raise ConfigError(
            f"{path}: compensation.twin and compensation.fitted must both be there or none: how the twin is fitted, "
            "and how the student learns on it."
        )
    how = settings.compensation
    for name in ("readout", "masks", "everything", "fitted"):
        schedule = getattr(how, name)
        if schedule is not None and schedule.class_balance:
            raise ConfigError(f"{path}: compensation.{name}.class_balance must be 0: an image here has one class.")
    if how.fitted is not None and how.fitted.curriculum:
        raise ConfigError(f"{path}: compensation.fitted.curriculum must be 0: the fitted bench acts as a whole.")
    paper = load_paper(Path(path).parent / settings.students.paper)
    if how.twin is not None:
        try:
            refuse_known_errors(paper.settings.bench.build())
        except ValueError as error:
            raise ConfigError(f"{path}: compensation.twin: {paper.path.name}: {error}") from error
    return FabricationConfiguration(settings, paper, Path(path), fingerprint(text + paper.text))


def fabrication_of(name: str) -> Path:
    """The file of a data set that comes with the project.

    Raises:
        ValueError: There is none.
    """
    path = CONFIGURATIONS / f"fabrication_{name}.toml"
    if not path.is_file():
        known = sorted(p.stem.removeprefix("fabrication_") for p in CONFIGURATIONS.glob("fabrication_*.toml"))
        raise ValueError(f"set must be one of {', '.join(known)}, or a TOML file, got {name!r}.")
    return path
