"""What ``python -m kd train`` is told: one TOML file, and the models that it can name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from torch import nn

from kd.data.images import DataSplits
from kd.objectives import Attention, Decoupled, Objective, SoftTargets, TangentMatching
from kd.physical import physical_student
from kd.readout import PooledLinear, PooledMLP
from kd.sclc import SCLC
from kd.seeding import initialised_with
from kd.students import LinearCNN, Student
from kd.teachers import AlexNetTeacher, ConvTeacher, ResNetTeacher
from kd.training import TrainingSettings
from optics4f.config import BenchSpecification, ConfigError, Specification, read_toml, validated

RowName = Literal["physical", "random_mask", "linear", "sclc", "readout_only", "teacher"]


class DataTable(Specification):
    """``[data]``: which images; ``options`` are those of the set's loader."""

    name: str
    options: dict[str, Any] = {}


class ModelTable(Specification):
    """``[model]``: what is trained, unless ``--row`` says otherwise, and what all rows share."""

    row: RowName = "physical"
    teacher: Literal["conv", "alexnet", "resnet"] = "conv"
    teacher_width: int | None = Field(None, ge=1)  # channels of its first stage; its own default without
    features: int = Field(4, ge=1)  # maps of the digital front ends; a bench has as many as masks
    kernel_size: int = Field(7, ge=1)  # of the linear front end; that of the masks is free
    pool: int = Field(4, ge=1)  # regions per axis of every student's readout
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = ()  # hidden layers of that readout
    initial_kernel: int = Field(5, ge=1)  # random complex kernels start the masks


class TeacherTable(Specification):
    """``[teacher]``: who teaches the student, and how the teacher itself is trained."""

    checkpoint: Path | None = None  # of `train --row teacher`; without one a student learns from labels alone
    training: TrainingSettings | None = None  # in place of [training]
    objective: Literal["soft_targets", "decoupled", "tangent_kernels", "attention"] = "soft_targets"  # how it teaches
    options: dict[str, Any] = {}  # of that objective, in place of its own defaults, such as { beta = 2.0 }


class Recipe(Specification):
    """The whole file."""

    bench: BenchSpecification | None = None
    data: DataTable
    model: ModelTable = ModelTable()
    training: TrainingSettings = TrainingSettings()
    teacher: TeacherTable = TeacherTable()

    def schedule(self, row: str) -> TrainingSettings:
        """How that row is trained."""
        return self.teacher.training if row == "teacher" and self.teacher.training else self.training


@dataclass(frozen=True)
class Plan:
    """A recipe for one row with one seed, and the text that it was read from."""

    recipe: Recipe
    text: str
    source: str
    row: str
    seed: int

    @property
    def taught(self) -> bool:
        """Whether the row has a teacher."""
        return self.row != "teacher" and self.recipe.teacher.checkpoint is not None

    def objective(self) -> Objective | None:
        """How the row learns from its teacher, where it has one."""
        return _objective(self.recipe, self.source) if self.taught else None

    def build(self, data: DataSplits) -> nn.Module:
        """The model, untrained.

        Raises:
            ConfigError: Class maps, which none of the rows can draw, or a bench for other images.
        """
        if data.train.labels.ndim > 1:
            raise ConfigError(
                f"{self.source}: data.name must be a set of one class an image, got {data.name}, with class maps."
            )
        return BUILDERS[self.row](self, data)


def load_plan(path: str | Path, *, row: str | None = None, seed: int = 0) -> Plan:
    """Read and check a file for ``python -m kd train``.

    Args:
        path: TOML file.
        row: In place of ``model.row``.
        seed: Of weights, masks, batches and noise.

    Raises:
        ConfigError: Any defect, in one line.
    """
    content, text = read_toml(path)
    return plan_from(content, text, source=str(path), row=row, seed=seed)


def plan_from(content: dict, text: str, *, source: str, row: str | None, seed: int) -> Plan:
    """The same from parsed TOML."""
    recipe = validated(Recipe, content, source=source, text=text)
    row = recipe.model.row if row is None else row
    if row not in BUILDERS:
        raise ConfigError(f"row must be one of {', '.join(BUILDERS)}, got {row!r}.")
    if row in OPTICAL and recipe.bench is None:
        raise ConfigError(f"{source} has no table [bench], which the row {row} is made of.")
    if recipe.teacher.checkpoint is None and recipe.teacher.model_fields_set & {"objective", "options"}:
        raise ConfigError(f"{source}: teacher.objective must have a teacher.checkpoint to learn from, got none.")
    for name, schedule in (("training", recipe.training), ("teacher.training", recipe.teacher.training)):
        if schedule is not None and schedule.class_balance:
            raise ConfigError(f"{source}: {name}.class_balance must be 0: the rows here give each image one class.")
    plan = Plan(recipe, text, source, row, seed)
    plan.objective()  # refused before anything is read or trained
    return plan


def _objective(recipe: Recipe, source: str) -> Objective:
    """How students learn from the teacher: temperature, and alpha of soft targets, are those of ``[training]``.

    Raises:
        ConfigError: An option that the objective does not have, or a setting that it would not look at.
    """
    table, schedule = recipe.teacher, recipe.training
    made, shared = OBJECTIVES[table.objective]
    known = [field.name for field in fields(made) if field.name not in (*shared, "soft_targets", "class_weights")]
    if unknown := sorted(table.options.keys() - set(known)):
        raise ConfigError(
            f"{source}: teacher.options must be of {', '.join(known) or 'none'} with the objective {table.objective}, "
            f"got {', '.join(unknown)}."
        )
    used = ("temperature", "alpha") if made is Attention else shared
    if unused := [name for name in ("temperature", "alpha") if name in schedule.model_fields_set.difference(used)]:
        raise ConfigError(
            f"{source}: training.{unused[0]} must be left out with the objective {table.objective}, which does not use "
            f"it, got {getattr(schedule, unused[0]):g}. Its own weights are in teacher.options."
        )
    given = {name: getattr(schedule, name) for name in shared} | table.options
    if made is Attention:
        given["soft_targets"] = SoftTargets(schedule.temperature, schedule.alpha)
    try:
        return TypeAdapter(made).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"{source}: teacher.options.{'.'.join(map(str, first['loc']))}: {first['msg']}, got {first['input']!r}."
        ) from error


def _features(plan: Plan) -> int:
    return plan.recipe.model.features if plan.recipe.bench is None else plan.recipe.bench.slm.masks


def _channels(data: DataSplits) -> int:
    return data.train.images.shape[1]


def _readout(plan: Plan, data: DataSplits, channels: int) -> nn.Module:
    table, classes = plan.recipe.model, len(data.classes)
    if table.hidden:
        return PooledMLP(channels, classes, pool=table.pool, hidden=table.hidden)
    return PooledLinear(channels, classes, pool=table.pool)


def _teacher(plan: Plan, data: DataSplits) -> nn.Module:
    table, size = plan.recipe.model, data.train.images.shape[-1]
    made = {"conv": ConvTeacher, "alexnet": AlexNetTeacher, "resnet": ResNetTeacher}[table.teacher]
    options = {} if table.teacher_width is None else {"width": table.teacher_width}
    return made(_channels(data), len(data.classes), **options, **({} if made is ResNetTeacher else {"size": size}))


def _linear(plan: Plan, data: DataSplits) -> nn.Module:
    count = _features(plan)
    readout = _readout(plan, data, count)
    return LinearCNN(_channels(data), readout, channels=count, kernel_size=plan.recipe.model.kernel_size)


def _sclc(plan: Plan, data: DataSplits) -> nn.Module:
    count = _features(plan)
    return SCLC(_channels(data), _readout(plan, data, count), channels=(8, 16, count))


def _readout_only(plan: Plan, data: DataSplits) -> nn.Module:
    return Student(nn.Identity(), _readout(plan, data, _channels(data)))


def _seeded(make: Callable[[Plan, DataSplits], nn.Module]) -> Callable[[Plan, DataSplits], nn.Module]:
    def build(plan: Plan, data: DataSplits) -> nn.Module:
        with initialised_with(plan.seed):
            return make(plan, data)

    return build


def _physical(plan: Plan, data: DataSplits, *, trainable: bool = True) -> nn.Module:
    """A student whose masks start as kinoforms of random complex kernels, on a bench for these images."""
    bench, channels, images = plan.recipe.bench, _channels(data), tuple(data.train.images.shape[-2:])
    shown = (images[0], images[1] * channels)
    if bench.object.shape != shown:
        raise ConfigError(
            f"{plan.source}: bench.object.shape must be {list(shown)} for {channels} x {images[0]} x {images[1]} "
            f"images of {data.name}, got {list(bench.object.shape)}."
        )
    return physical_student(
        bench,
        lambda masks: _readout(plan, data, masks),
        initial_kernel=plan.recipe.model.initial_kernel,
        seed=plan.seed,
        channels=channels,
        trainable=trainable,
    )


OPTICAL = ("physical", "random_mask")
OBJECTIVES: dict[str, tuple[type, tuple[str, ...]]] = {  # and what they take of [training]
    "soft_targets": (SoftTargets, ("temperature", "alpha")),
    "decoupled": (Decoupled, ("temperature",)),
    "tangent_kernels": (TangentMatching, ()),
    "attention": (Attention, ()),
}
BUILDERS: dict[str, Callable[[Plan, DataSplits], nn.Module]] = {
    "physical": _physical,
    "random_mask": lambda plan, data: _physical(plan, data, trainable=False),
    "linear": _seeded(_linear),
    "sclc": _seeded(_sclc),
    "readout_only": _seeded(_readout_only),
    "teacher": _seeded(_teacher),
}
