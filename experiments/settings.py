"""What a run is told: one TOML file, validated by the room that each table belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from kd.training import TrainingSettings
from optics4f.config import BenchSpecification, ConfigError, Specification, read_toml, validated

from .hardware_cost import OpticalCostSettings


class DataSettings(Specification):
    """``[data]``: which images."""

    name: Literal["digits"]
    split_seed: int = Field(0, ge=0)


class RunSettings(Specification):
    """``[run]``: what all rows of the table share."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    pool: int = Field(4, ge=1)
    initial_kernel: int = Field(5, ge=1)
    bundle_images: int = Field(8, ge=1)


class FidelitySettings(Specification):
    """``[fidelity]``: the values of each effect to try."""

    bit_depths: tuple[Annotated[int, Field(ge=1, le=16)], ...] = (8, 6, 4, 2)
    fill_factors: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    exposures: tuple[Annotated[float, Field(gt=0)], ...] = ()


class DemoSettings(Specification):
    """The whole file of ``python -m experiments demo``."""

    bench: BenchSpecification
    data: DataSettings
    run: RunSettings
    teacher: TrainingSettings
    student: TrainingSettings
    fidelity: FidelitySettings
    cost: OpticalCostSettings


@dataclass(frozen=True)
class Configuration:
    """Settings and the text that they were read from."""

    settings: DemoSettings
    text: str
    path: Path


def load_configuration(path: str | Path) -> Configuration:
    """Read and check a file for ``python -m experiments demo``.

    Raises:
        ConfigError: Any defect, in one line.
    """
    content, text = read_toml(path)
    settings = validated(DemoSettings, content, source=str(path), text=text)
    if settings.bench.object.shape[0] != settings.bench.object.shape[1]:
        raise ConfigError(f"{path}: bench.object.shape must be square for digits, got {settings.bench.object.shape}.")
    for table in ("slm", "camera"):
        simulated, costed = getattr(settings.bench, table).device, getattr(settings.cost, table).device
        if simulated != costed:
            raise ConfigError(
                f"{path}: cost.{table}.device must be that of bench.{table}, got {costed} and {simulated}. "
                "The cost is that of the simulated system."
            )
    return Configuration(settings, text, Path(path))
