"""What ``python -m experiments paper`` is told: one TOML file a data set."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from kd.data.catalogue import DATASETS, checked_options
from kd.training import TrainingSettings
from optics4f.config import BenchSpecification, ConfigError, Specification, read_toml, validated

SEEDS = 2**32  # what generators take: torch 64 bits, scikit-learn 32


class PaperData(Specification):
    """``[data]``: which images; ``options`` are those of the set's loader."""

    name: str
    options: dict[str, Any] = {}


class PaperModels(Specification):
    """``[models]``: what all rows share."""

    seeds: tuple[Annotated[int, Field(ge=0, lt=SEEDS)], ...] = Field((0, 1, 2, 3, 4), min_length=1)
    teacher: Literal["conv", "alexnet", "resnet", "unet"] = "conv"  # unet: of class maps
    teacher_width: int = Field(16, ge=1)
    kernel_size: int = Field(7, ge=1)  # of the digital rows; that of the masks is free
    sclc_channels: tuple[Annotated[int, Field(ge=1)], ...] = (8, 16)  # before the last, which has one a mask
    sclc_pools: tuple[Annotated[int, Field(ge=1)], ...] = ()  # spectral pooling behind each and the last; none: all 1
    pool: int = Field(8, ge=1)  # regions per axis of every student's readout
    filters: tuple[Annotated[int, Field(ge=1)], ...] = ()  # maps behind the 3 x 3 convolutions of that readout
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = ()  # hidden layers of every student's readout
    dropout: float = Field(0.0, ge=0, lt=1)  # before its linear layers; with filters or hidden layers
    root: float = Field(0.0, ge=0)  # of what the readout sees, from this signal on; with filters or hidden layers
    coordinates: bool = False  # of class maps: whether the decoder of every student is told row and column
    dilations: tuple[Annotated[int, Field(ge=1)], ...] = ()  # of the decoder's 3 x 3 convolutions; none: all 1
    initial_kernel: int = Field(5, ge=1)  # random complex kernels start the masks


class PaperEfficiency(Specification):
    """``[efficiency]``: what keeps light where the camera looks; without it nothing does."""

    efficiency_floor: float = Field(0.0, ge=0, le=1)  # share of the light behind each mask
    efficiency_on: Literal["window", "camera"] = "window"  # where: all of the simulated PSF, or the camera
    efficiency_weight: float = Field(0.0, ge=0)  # added to the loss for a mask without any light there


class PaperSettings(Specification):
    """The whole file."""

    bench: BenchSpecification
    data: PaperData
    models: PaperModels
    teacher: TrainingSettings
    student: TrainingSettings
    finish: TrainingSettings | None = None  # physical rows: [student] with one sample a pixel of the SLM, then this
    efficiency: PaperEfficiency = PaperEfficiency()


@dataclass(frozen=True)
class PaperConfiguration:
    """Settings, and the text and file that they were read from."""

    settings: PaperSettings
    text: str
    path: Path

    @property
    def name(self) -> str:
        """Of the table: the file's, for one data set may have several."""
        return self.path.stem.removeprefix("paper_")


def load_paper(path: str | Path) -> PaperConfiguration:
    """Read and check a file for ``python -m experiments paper``.

    Raises:
        ConfigError: Any defect, in one line.
    """
    content, text = read_toml(path)
    settings = validated(PaperSettings, content, source=str(path), text=text)
    if settings.models.kernel_size % 2 == 0:
        raise ConfigError(f"{path}: models.kernel_size must be odd, got {settings.models.kernel_size}.")
    models = settings.models
    if models.dropout and not (models.filters or models.hidden):
        raise ConfigError(f"{path}: models.dropout must be 0 without filters or hidden layers, got {models.dropout:g}.")
    if models.sclc_pools and len(models.sclc_pools) != len(models.sclc_channels) + 1:
        raise ConfigError(
            f"{path}: models.sclc_pools must be {len(models.sclc_channels) + 1} numbers, one behind each of "
            f"sclc_channels and one behind the last layer, got {len(models.sclc_pools)}."
        )
    shrunk, height = math.prod(models.sclc_pools), settings.bench.object.shape[0]
    if models.sclc_pools and (height % shrunk or height // shrunk < models.pool):
        raise ConfigError(
            f"{path}: models.sclc_pools must divide the {height} rows of the image and leave the {models.pool} of "
            f"models.pool, got {shrunk} in all."
        )
    if models.root and not (models.filters or models.hidden):
        raise ConfigError(f"{path}: models.root must be 0 without filters or hidden layers, got {models.root:g}.")
    if settings.finish and settings.bench.slm.samples_per_pixel == 1:
        raise ConfigError(
            f"{path}: finish must be left out where bench.slm.samples_per_pixel is 1, which is what comes before it."
        )
    found = PaperConfiguration(settings, text, Path(path))
    if found.name in ("", "results", "timing"):  # a sweep's own files in the same folder
        raise ConfigError(f"{path} must have a name of its own for its table, got {found.name!r}. Call it otherwise.")
    _refuse_other_images(found)
    return found


def _refuse_other_images(configuration: PaperConfiguration) -> None:
    """What images of the named set cannot be, before hours of training find it.

    Raises:
        ConfigError: An option that its loader does not take, a size that the object has not, what class maps or
            classes have not.
    """
    settings, path = configuration.settings, configuration.path
    models, known = settings.models, DATASETS.get(settings.data.name)
    maps = known is not None and known.task == "segmentation"
    try:
        options = checked_options(settings.data.name, settings.data.options)
    except ValueError as error:
        raise ConfigError(f"{path}: data.options: {error}") from error
    if (models.teacher == "unet") != maps:
        teachers = "unet" if maps else "conv, alexnet or resnet"
        labels = "a class map" if maps else "one class"
        raise ConfigError(
            f"{path}: models.teacher must be {teachers} for {settings.data.name}, whose images have {labels} each, "
            f"got {models.teacher}."
        )
    size, (height, width) = options.get("size"), settings.bench.object.shape
    shown = (size, size) if isinstance(size, int) else size
    if shown is not None and (height != shown[0] or width not in (shown[1], 3 * shown[1])):
        raise ConfigError(
            f"{path}: bench.object.shape must be [{shown[0]}, {shown[1]}] for images of data.options.size, or "
            f"[{shown[0]}, {3 * shown[1]}] in colour, got [{height}, {width}]."
        )
    for name in ("teacher", "student", *(["finish"] if settings.finish else [])):
        if getattr(settings, name).class_balance and not maps:
            raise ConfigError(
                f"{path}: {name}.class_balance must be 0 for {settings.data.name}, whose images have one class each."
            )
    if maps and (models.dropout or models.filters):
        raise ConfigError(
            f"{path}: models.dropout and filters must be left out for {settings.data.name}: a decoder has none."
        )
    for name in ("coordinates", "dilations"):
        if getattr(models, name) and not maps:
            raise ConfigError(f"{path}: models.{name} must be left out for {settings.data.name}: it has no class maps.")
    if models.dilations and len(models.dilations) != len(models.hidden):
        raise ConfigError(
            f"{path}: models.dilations must be {len(models.hidden)} numbers, one for each of hidden, got "
            f"{len(models.dilations)}."
        )


def fingerprint(text: str) -> str:
    """What tells results of one file from those of the same file after a change."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


CONFIGURATIONS = Path(__file__).parent / "configs"


def configuration_of(name: str) -> Path:
    """The file of a data set that comes with the project.

    Raises:
        ValueError: There is none.
    """
    path = CONFIGURATIONS / f"paper_{name}.toml"
    if not path.is_file():
        known = sorted(p.stem.removeprefix("paper_") for p in CONFIGURATIONS.glob("paper_*.toml"))
        raise ValueError(f"set must be one of {', '.join(known)}, or a TOML file, got {name!r}.")
    return path
