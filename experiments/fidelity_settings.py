"""What ``python -m experiments fidelity`` is told: one TOML file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, model_validator

from kd.training import TrainingSettings
from optics4f.config import BenchSpecification, ConfigError, Specification, read_toml, validated
from optics4f.units import to_si

from .fidelity_effects import BENCH_EFFECTS, check_bench
from .paper_rows import PAPER_ROWS
from .paper_settings import PaperData, PaperModels, PaperSettings, fingerprint, load_paper

Count = Annotated[int, Field(ge=1)]


class ImageCounts(Specification):
    """``[images]``: how many of each split, drawn once by ``seed``; all by default."""

    train: Count | None = None
    validation: Count | None = None
    test: Count | None = None
    seed: int = Field(0, ge=0)


class RetrainingSettings(TrainingSettings):
    """``[retraining]``: the schedule of masks that are trained with an effect.

    ``start`` is the student that knows no effect, or the random masks from which that one started, too. With
    ``together`` masks are also trained with all effects at once, each at its nominal strength.
    """

    start: Literal["student", "scratch"] = "student"
    together: bool = True


class EffectSettings(Specification):
    """``[effects.NAME]``: strengths to try, the nominal one, and those trained with.

    ``together = false`` leaves the effect out of the full bench, as for one that takes long to compute.
    """

    nominal: float
    strengths: tuple[float, ...] = Field(min_length=2)
    retrained: tuple[float, ...] | None = None
    source: str = Field(min_length=1)
    together: bool = True

    @property
    def trained(self) -> tuple[float, ...]:
        """Strengths for which masks are trained with the effect; the nominal one by default."""
        return (self.nominal,) if self.retrained is None else self.retrained


def _in_si(table: Any, info: ValidationInfo) -> Any:
    """Strengths with a unit, such as "9.2 um", as numbers."""
    if not isinstance(table, dict):
        return table
    found = {}
    for name, effect in table.items():
        if name not in BENCH_EFFECTS:
            raise ValueError(f"effects must be of {', '.join(BENCH_EFFECTS)}, got {name}")
        found[name] = effect
        unit = BENCH_EFFECTS[name].unit
        if isinstance(effect, dict) and unit in ("m", "rad"):
            found[name] = {key: _converted(value, unit, key) for key, value in effect.items()}
    return found


def _converted(value: Any, unit: str, key: str) -> Any:
    if key not in ("nominal", "strengths", "retrained"):
        return value
    return [to_si(v, unit, key) for v in value] if isinstance(value, list) else to_si(value, unit, key)


class FidelityStudy(Specification):
    """The whole file. The student is that of a ``paper`` file, or of the tables of one, written here.

    Attributes:
        paper: Path of a file for ``python -m experiments paper``, relative to this one.
        row: Of the paper's table.
        seeds: Students. One alone has no interval, and static errors have one sign.
        checkpoints: Folder of trained students ``ROW-SEED.safetensors``, relative to where the command is run; without
            it they are trained here, on the ideal bench, on the schedule ``[student]``.
        ideal: Schedule of students that are trained here, on the ideal bench, in place of that of the paper. Of
            ``checkpoints`` only the teachers are then needed, for a row that is taught.
        flicker_frames: States of a flickering panel during one exposure.
        batch: Images that see the same states of a flickering panel.
        loss: Accuracy that may be lost where a tolerance is stated: 0.01 is a percentage point.
    """

    paper: str | None = None
    row: str = "physical"
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    checkpoints: str | None = None
    flicker_frames: Count = 8
    batch: Count = 64
    loss: float = Field(0.01, gt=0, lt=1)
    images: ImageCounts = ImageCounts()
    effects: Annotated[dict[str, EffectSettings], BeforeValidator(_in_si)] = Field(min_length=2)
    ideal: TrainingSettings | None = None
    retraining: RetrainingSettings | None = None
    bench: BenchSpecification | None = None
    data: PaperData | None = None
    models: PaperModels | None = None
    student: TrainingSettings | None = None

    @property
    def trained_here(self) -> bool:
        """Whether the students that all begins with are trained on the ideal bench, not read from checkpoints."""
        return self.checkpoints is None or self.ideal is not None

    @property
    def full(self) -> dict[str, float]:
        """The full bench: nominal strengths."""
        return {name: table.nominal for name, table in self.effects.items() if table.together}

    @model_validator(mode="after")
    def _complete(self) -> FidelityStudy:
        tables = {name: getattr(self, name) for name in ("bench", "data", "models", "student")}
        present = [name for name, table in tables.items() if table is not None]
        if self.paper is not None and present:
            raise ValueError(f"{present[0]} must be left out beside paper, got both")
        if self.paper is None and len(present) < len(tables):
            raise ValueError(f"{next(n for n in tables if n not in present)} must be given where no paper is named")
        if self.paper is None and self.ideal is not None:
            raise ValueError("ideal must be left out beside student: both are the schedule on the ideal bench")
        if PAPER_ROWS.get(self.row) is None or "physical" not in self.row:
            raise ValueError(f"row must be physical or physical_kd, got {self.row}")
        if PAPER_ROWS[self.row].taught and self.checkpoints is None:
            raise ValueError(
                f"checkpoints must be named for the row {self.row}, which needs a teacher; or use physical"
            )
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ, got {list(self.seeds)}")
        signed = next((name for name in self.effects if BENCH_EFFECTS[name].directed), None)
        if signed is not None and len(self.seeds) > 1 and len({seed % 2 for seed in self.seeds}) < 2:
            raise ValueError(
                f"seeds must be even and odd, got {list(self.seeds)}: the sign of {signed} alternates with them"
            )
        return self

    @model_validator(mode="after")
    def _strengths(self) -> FidelityStudy:
        for name, table in self.effects.items():
            for key in ("nominal", "trained"):
                values = getattr(table, key)
                if missing := set(values if key == "trained" else [values]) - set(table.strengths):
                    shown = "retrained" if key == "trained" else key
                    raise ValueError(f"effects.{name}.{shown} must be among its strengths, got {min(missing):g}")
            if min(table.strengths) < 0 or len(set(table.strengths)) < len(table.strengths):
                raise ValueError(f"effects.{name}.strengths must differ and not be negative")
            whole = BENCH_EFFECTS[name].unit == "bit"
            if whole and any(s not in range(1, 17) for s in table.strengths):
                raise ValueError(f"effects.{name}.strengths must be whole numbers in 1 ... 16")
        return self


@dataclass(frozen=True)
class FidelityConfiguration:
    """Settings, the student's own, and the text that both were read from."""

    study: FidelityStudy
    student: PaperSettings
    mark: str
    path: Path


def load_fidelity(path: str | Path) -> FidelityConfiguration:
    """Read and check a file for ``python -m experiments fidelity``.

    Raises:
        ConfigError: Any defect, in one line.
    """
    content, text = read_toml(path)
    study = validated(FidelityStudy, content, source=str(path), text=text)
    if study.paper is None:
        tables = {name: getattr(study, name) for name in ("bench", "data", "models", "student")}
        student = PaperSettings(teacher=TrainingSettings(), **tables)
    else:
        paper = load_paper(Path(path).parent / study.paper)
        student, text = paper.settings, text + paper.text
        if student.finish is not None and study.checkpoints is None and study.ideal is None:
            raise ConfigError(
                f"{path}: checkpoints must be named for {study.paper}, whose students are trained in two stages; or "
                "state a schedule of one in [ideal]."
            )
    try:
        check_bench(student.bench)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    return FidelityConfiguration(study, student, fingerprint(text), Path(path))
