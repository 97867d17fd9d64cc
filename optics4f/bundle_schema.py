"""What the root of a mask bundle must state, schema 1: checked when it is written and when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Metres = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Place = Annotated[int, Field(ge=0)]
Digest = Annotated[str, Field(pattern="^(none|[0-9a-f]{64})$")]


class Header(BaseModel):
    """Root attributes; ``docs/reference/bench_format.md`` says what each means. A minor version may add some."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

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
    fft_convention: str
    parity: str
    lut_applied: bool
    lut_name: str
    lut_sha256: Digest
    flatness_correction_included: bool
    flatness_sha256: Digest
    exposures: int = Field(ge=1, le=1000)


def check_header(attributes: Mapping[str, object]) -> None:
    """Refuse root attributes that are missing or impossible.

    Args:
        attributes: Name -> number, text or list.

    Raises:
        ValueError: The first that is wrong, by its name, in one line.
    """
    try:
        Header.model_validate(dict(attributes))
    except ValidationError as error:
        first = error.errors()[0]
        name = first["loc"][0]
        if first["type"] == "missing":
            raise ValueError(f"the attribute {name} is missing.") from error
        raise ValueError(f"the attribute {name} is {attributes[name]!r}: {first['msg']}.") from error
