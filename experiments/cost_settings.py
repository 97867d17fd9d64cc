"""What ``python -m experiments cost`` is told: one TOML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from optics4f.config import ConfigError, read_toml, validated
from optics4f.devices import component, gpu_device

from .optical_settings import OpticalCostSettings

PLANNED = ("masks", "parts", "images_per_frame", "signed_pairs")
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


class TaskSettings(_Table):
    """``[task]``: the networks, the same at every size of the image."""

    kernels: Count = 8
    kernel_size: Count = 7
    signed: bool = True
    classes: Count = 10
    pool: Count = 4
    teacher_width: Count = 8

    @property
    def tiles(self) -> int:
        """Outputs on the camera: one a kernel, two where positive and negative parts are tiles of their own."""
        return self.kernels * (2 if self.signed else 1)

    def readout_macs(self, side: int) -> int:
        """Digital operations behind the camera: one addition a pixel of each tile, then one linear layer."""
        return self.tiles * side**2 + self.kernels * self.pool**2 * self.classes


class ElectronicsSettings(_Table):
    """``[electronics]``: what is measured here, and what data sheets and published prices say.

    ``threads`` of the CPU are torch's own choice where none is stated; ``seconds`` bounds the repeated runs of one
    batch in one round.
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

    How many masks, parts and images a frame takes follows from the sizes of devices and images.
    """

    sweep: SweepSettings
    task: TaskSettings = TaskSettings()
    electronics: ElectronicsSettings = ElectronicsSettings()
    optics: dict[str, OpticalCostSettings] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _with_shared(cls, content: Any) -> Any:
        if not isinstance(content, dict) or not isinstance(content.get("optics"), dict):
            return content
        content = dict(content)
        shared = content.pop("shared", {})
        content["optics"] = {
            name: shared | system if isinstance(system, dict) else system for name, system in content["optics"].items()
        }
        for name, system in content["optics"].items():
            if planned := [key for key in PLANNED if isinstance(system, dict) and key in system]:
                raise ValueError(f"optics.{name} must not state {planned[0]}: it follows from [task] and the devices")
        return content


@dataclass(frozen=True)
class CostConfiguration:
    """Settings and the file that they were read from."""

    settings: CostSettings
    path: Path


def load_cost_configuration(path: str | Path) -> CostConfiguration:
    """Read and check a file for ``python -m experiments cost``.

    Raises:
        ConfigError: Any defect, in one line.
    """
    content, text = read_toml(path)
    if not isinstance(content.get("shared", {}), dict):
        raise ConfigError(f"{path}: shared must be a table [shared], got {content['shared']!r}.")
    return CostConfiguration(validated(CostSettings, content, source=str(path), text=text), Path(path))
