"""What a mask bundle must state, schema 1: checked when it is written and when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA = "optics4f-mask-bundle"
SCHEMA_VERSION = "1.0"

Length = Annotated[float, Field(allow_inf_nan=False)]
Metres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Place = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^(none|[0-9a-f]{64})$")]


class Attributes(BaseModel):
    """Attributes of one place in the file. A minor version may add some."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Header(Attributes):
    """Root attributes; ``docs/reference/bench_format.md`` says what each means."""

    schema_name: Literal["optics4f-mask-bundle"] = Field(alias="schema")
    schema_version: str = Field(pattern=r"^1\.\d+$")
    producer: str
    producer_version: str
    created_utc: str = Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
    uuid: Annotated[UUID, Field(strict=False)]
    device: str
    device_slug: str
    device_serial: str
    wavelength_m: Metres
    design_wavelength_m: Metres
    medium: Literal["air"]
    pixel_pitch_m: Annotated[list[Metres], Field(min_length=2, max_length=2)]
    shape: Annotated[list[Count], Field(min_length=2, max_length=2)]
    active_origin_px: Annotated[list[Place], Field(min_length=2, max_length=2)]
    active_shape_px: Annotated[list[Count], Field(min_length=2, max_length=2)]
    fill_factor: float = Field(gt=0, le=1)
    axis_order: Literal["row,column"]
    origin: Literal["upper-left"]
    flip_ud: bool
    flip_lr: bool
    rotation_deg: float = Field(allow_inf_nan=False)
    fft_convention: Literal["forward exp(-2 pi i x f), DC at (H//2, W//2)"]
    parity: Literal["the 4f turns the image by 180 degrees"]
    lut_applied: bool
    lut_name: str
    lut_sha256: Digest
    flatness_correction_included: bool
    flatness_sha256: Digest
    exposures: int = Field(ge=1, le=1000)


class Phase(Attributes):
    """Of every ``phase``."""

    units: Literal["rad"]
    sign: Literal["exp(+i phase)"]
    increasing: Literal["delay"]
    wrapped: Literal["[0, 2 pi)"]


class Display(Attributes):
    """Of every ``display``."""

    units: Literal["gray level"]
    bit_depth: int = Field(ge=1, le=16)
    gray_at_zero_phase: Place
    gray_at_2pi: Place
    gray_slope: Literal[-1, 1]
    rounding: Literal["nearest"]


class Encoding(Attributes):
    """Of ``encoding``."""

    kind: Literal["phase_only"]


class Optics(Attributes):
    """Of ``optics``."""

    f1_m: Length
    f2_m: Length
    magnification: Length
    fourier_stop_m: Annotated[list[Metres], Field(min_length=2, max_length=2)]
    coherence: Literal["coherent", "partially coherent", "incoherent"]


class Expected(Attributes):
    """Of ``expected``."""

    noise_seed: int = Field(ge=0, lt=2**63)
    torch_version: str
    exposure: float = Field(gt=0, allow_inf_nan=False)
    camera_pitch_m: Metres
    camera_binning: Count


class Images(Attributes):
    """Of ``expected/images``."""

    units: Literal["1"]


class Frames(Attributes):
    """Of ``expected/frames`` and ``expected/frames_noise_free``."""

    units: Literal["DN"]


class Configuration(Attributes):
    """Of ``config``."""

    format: Literal["TOML"]


PLACES: dict[str, type[Attributes]] = {
    "encoding": Encoding,
    "optics": Optics,
    "config": Configuration,
    "expected": Expected,
    "expected/images": Images,
    "expected/frames": Frames,
    "expected/frames_noise_free": Frames,
}
"""Groups and datasets that every bundle has once, beside the root and the exposures."""


def check_attributes(stated: Mapping[str, object], schema: type[Attributes] = Header, place: str = "") -> None:
    """Refuse attributes that are missing or impossible.

    Args:
        stated: Name -> number, text or list.
        schema: What they must be.
        place: Group or dataset that has them; the root by default.

    Raises:
        ValueError: The first that is wrong, by its name, in one line.
    """
    try:
        schema.model_validate(dict(stated))
    except ValidationError as error:
        first = error.errors()[0]
        name, of = first["loc"][0], f" of {place}" if place else ""
        if first["type"] == "missing":
            raise ValueError(f"the attribute {name}{of} is missing.") from error
        raise ValueError(f"the attribute {name}{of} is {stated[name]!r}: {first['msg']}.") from error
