"""The JSON schema of a configuration, for editors that check TOML while it is written."""

from __future__ import annotations

from typing import Any

from pydantic import create_model

from .config import BenchSpecification
from .design_config import DesignSpecification

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def configuration_schema() -> dict[str, Any]:
    """JSON schema (draft 2020-12) of ``[bench]`` and ``[design]``; other tables are for other commands.

    A quantity is a number in SI or text with a unit; the schema cannot tell whether the unit is a length.
    """
    tables = create_model("Configuration", bench=(BenchSpecification, ...), design=(DesignSpecification | None, None))
    found = tables.model_json_schema(mode="validation")
    return {"$schema": DIALECT, **found, "title": "optics4f configuration", "additionalProperties": True}
