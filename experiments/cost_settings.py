"""What ``python -m experiments cost`` is told: one TOML file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from optics4f.config import ConfigError, read_toml, validated
from optics4f.devices import component, gpu_device

from .cost_task import TaskTable, TrainedTask, load_task
from .optical_settings import OpticalCostSettings
from .terms import UNSOURCED, Term

PLANNED = ("masks", "tiles", "parts", "images_per_frame", "signed_pairs", "colours")
Side = Annotated[int, Field(ge=8)]
Count = Annotated[int, Field(ge=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SweepSettings(_Table):
    """``[sweep]``: image sides [pixels], draws of every unknown, the side whose terms are listed one by one."""

    sides: tuple[Side, ...] = Field(min_length=2)
    draws: int = Field(300, ge=20)
    seed: int = Field(0, ge=0)
    listed: Side = 256

    @model_validator(mode="after")
    def _ordered(self) -> SweepSettings:
        if list(self.sides) != sorted(set(self.sides)):
            raise ValueError(f"sides must grow, got {list(self.sides)}")
        if self.listed not in self.sides:
            raise ValueError(f"listed must be one of sides, got {self.listed}")
        return self


class SweptTask(TaskTable):
    """``[task]``: rows of a trained table of grey images, the same at every size; nothing is trained at other sizes."""

    classes: Count = 10


class ElectronicsSettings(_Table):
    """``[electronics]``: what is measured here, and what data sheets and published prices say.

    ``threads`` of the CPU are torch's own choice where none is stated; ``seconds`` bounds the repeated runs of one
    batch in one round, and the time in which its energy is counted, which a GPU's counter makes longer.
    """

    device: str = "cpu"
    threads: Count | None = None
    measured_to: Side = 1024
    batch_sizes: tuple[Count, ...] = (1, 16, 64)
    rounds: Count = 3
    seconds: Annotated[float, Field(gt=0)] = 1.0
    rooflines: tuple[Annotated[str, AfterValidator(lambda name: gpu_device(name).slug)], ...] = ()
    prices: tuple[Annotated[str, AfterValidator(lambda name: component(name).slug)], ...] = ()


class CostSettings(_Table):
    """The whole file. ``[optics.NAME]`` tables are systems; ``[shared]`` holds what they have in common.

    A system that is ``like = "NAME"`` has the tables of that one, but for those that it states itself. How many masks,
    tiles, parts and images a frame takes follows from the task and from the sizes of devices and images.
    """

    sweep: SweepSettings
    task: SweptTask
    electronics: ElectronicsSettings = ElectronicsSettings()
    optics: dict[str, OpticalCostSettings] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _with_shared(cls, content: Any) -> Any:
        if not isinstance(content, dict) or not isinstance(content.get("optics"), dict):
            return content
        content = dict(content)
        shared, stated = content.pop("shared", {}), content["optics"]
        content["optics"] = {name: _completed(name, shared, stated) for name in stated}
        return content

    @model_validator(mode="after")
    def _sourced(self) -> CostSettings:
        for name, system in self.optics.items():
            for key, term in _terms(system):
                if term.source == UNSOURCED:
                    raise ValueError(
                        f"optics.{name}.{key} must have a source, got {term.nominal:g} {term.unit}. "
                        'Write { nominal = ..., source = "..." }.'
                    )
        return self


def _completed(name: str, shared: Mapping[str, Any], stated: Mapping[str, Any]) -> Any:
    """A system with what is shared and what it takes over from another."""
    system = stated[name]
    if not isinstance(system, dict):
        return system
    system = dict(system)
    like = system.pop("like", None)
    if like is not None:
        base = stated.get(like) if isinstance(like, str) else None
        if not isinstance(base, dict) or "like" in base:
            raise ValueError(f"optics.{name}.like must name a system that is written out, got {like!r}")
        system = base | system
    system = shared | system
    if planned := [key for key in PLANNED if key in system]:
        raise ValueError(f"optics.{name} must not state {planned[0]}: it follows from [task] and the devices")
    return system


def _terms(settings: BaseModel, above: str = "") -> Iterator[tuple[str, Term]]:
    for key in type(settings).model_fields:
        value = getattr(settings, key)
        if isinstance(value, Term):
            yield above + key, value
        elif isinstance(value, BaseModel):
            yield from _terms(value, f"{above}{key}.")


@dataclass(frozen=True)
class CostConfiguration:
    """Settings, the file that they were read from, and what was trained."""

    settings: CostSettings
    path: Path
    task: TrainedTask


def load_cost_settings(path: str | Path) -> CostSettings:
    """Read and check a file for ``python -m experiments cost``, but none that it names.

    Raises:
        ConfigError: Any defect, in one line.
    """
    content, text = read_toml(path)
    if not isinstance(content.get("shared", {}), dict):
        raise ConfigError(f"{path}: shared must be a table [shared], got {content['shared']!r}.")
    return validated(CostSettings, content, source=str(path), text=text)


def load_cost_configuration(path: str | Path) -> CostConfiguration:
    """Read and check a file for ``python -m experiments cost``, and the table that its task names.

    Raises:
        ConfigError: Any defect, in one line.
    """
    settings = load_cost_settings(path)
    return CostConfiguration(settings, Path(path), load_task(settings.task, Path(path)))
