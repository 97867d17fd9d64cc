"""What is wrong with a configuration, in one line."""

from __future__ import annotations

import difflib
import re
from typing import Any, get_args

from pydantic import BaseModel

from .config_lines import Origin, locations_of


def key_of(message: str, text: str) -> tuple[str, ...]:
    """The key of a TOML ``text`` that a message is about: named with its tables, or as one that occurs once in it."""
    if dotted := re.search(r"\b(?:bench|design)(?:\.\w+)+", message):
        return tuple(dotted[0].split("."))
    subject = re.match(r"(\w+) must ", message)
    found = locations_of(subject[1], text) if subject else []
    return found[0] if len(found) == 1 else ()


def one_line(model: type[BaseModel], errors: list[Any], origin: Origin) -> str:
    """What pydantic found, of which the first is told and the others are counted."""
    # A misspelt key is also a missing one: the misspelling says more.
    first = min(errors, key=lambda error: error["type"] != "extra_forbidden")
    location = [part for part in first["loc"] if isinstance(part, str)]
    key, place, others = ".".join(location), origin.place(first["loc"]), len(errors) - 1
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(location[-1], _keys(model, location[:-1]), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else f" Valid: {', '.join(_keys(model, location[:-1]))}."
        meant = (*first["loc"][:-1], *near)
        others -= any(error["type"] == "missing" and error["loc"] == meant for error in errors)
        return f"{place}: unknown key {key}.{hint}{_more(others)}"
    if first["type"] == "missing":
        return f"{place}: {key} is missing.{_more(others)}"
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    got = "" if "got" in message or isinstance(first.get("input"), dict) else f", got {first.get('input')!r}"
    return f"{place}: {key}: {message}{got}.{_more(others)}"


def _more(others: int) -> str:
    return f" ({others} more)" if others else ""


def _keys(model: type[BaseModel], location: list[str]) -> list[str]:
    for part in location:
        field = model.model_fields.get(part)
        annotation = getattr(field, "annotation", None)
        kinds = (annotation, *get_args(annotation))  # a table, or a table that may be absent
        tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not tables:
            return []
        model = tables[0]
    return list(model.model_fields)
