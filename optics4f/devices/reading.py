"""Devices from TOML: one table a device, every number with its unit, source and confidence."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from .kinds import KINDS, Component, Device, Kind
from .values import possible, read_value

OWN_DEVICES = "OPTICS4F_DEVICES"
"""Environment variable that names TOML files of a user's own devices, separated as in PATH."""

_COMPONENT_UNITS = {
    **{f"{prefix}J": "J" for prefix in ("", "m", "u", "n", "p", "f")},
    **{"W": "W", "s": "s", "ms": "s", "Hz": "Hz", "1": "1", "Gbit/s": "bit/s"},
}
_SEVERAL = {"phase_range", "level_at_2pi"}  # one entry per wavelength


def load_devices(path: str | Path, kind: Kind) -> dict[str, Device]:
    """The devices of a TOML file laid out as the presets are: slug -> device.

    Raises:
        ValueError: No such file, no TOML, a number without source or confidence, one that no device can have, an
            unknown key or unit.
    """
    with _naming(path):
        return devices_of(_read(path), kind)


def own_devices(path: str | Path) -> dict[Kind, dict[str, Device]]:
    """Devices of a user's TOML file, whose tables are ``[slm.NAME]``, ``[camera.NAME]`` or ``[gpu.NAME]``.

    Raises:
        ValueError: No such file, no TOML, another kind, or what :func:`load_devices` refuses.
    """
    with _naming(f"{path}, named in {OWN_DEVICES}"):
        tables = _read(path)
        for kind, table in tables.items():
            if kind not in KINDS or not isinstance(table, Mapping):
                got = f"[{kind}]" if isinstance(table, Mapping) else f"{kind} = {table!r}"
                raise ValueError(f"tables must be [slm.NAME], [camera.NAME] or [gpu.NAME], got {got}. See docs/how-to.")
        return {kind: devices_of(tables.get(kind, {}), kind) for kind in KINDS}


def devices_of(tables: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """Devices of the tables of a file: slug -> device."""
    return {slug: _device(slug, table, KINDS[kind]) for slug, table in tables.items()}


def _device(slug: str, table: Mapping[str, Any], cls: type[Device]) -> Device:
    if not isinstance(table, Mapping):
        raise ValueError(f"{slug} must be a table of one device, got {table!r}. Write [slug] above its numbers.")
    allowed = {field.name for field in fields(cls)} - {"slug"}
    needed = {field.name for field in fields(cls) if field.default is MISSING} - {"slug"}
    if unknown := sorted(table.keys() - allowed):
        raise ValueError(f"{slug} must not have {', '.join(unknown)}. It may have {', '.join(sorted(allowed))}.")
    if missing := sorted(needed - table.keys()):
        raise ValueError(f"{slug} must have {', '.join(missing)}.")
    for name in ("name", "note", "link"):
        if not isinstance(table.get(name, ""), str):
            raise ValueError(f'{name} of {slug} must be text, got {table[name]!r}. Write {name} = "...".')
    if table.get("kind", "phase") not in ("phase", "amplitude", "dmd", "plm"):
        raise ValueError(f'kind of {slug} must be "phase", "amplitude", "dmd" or "plm", got {table["kind"]!r}.')
    read: dict[str, Any] = {"slug": slug}
    for name, entry in table.items():
        where = f"{name} of {slug}"
        unit = cls.UNITS.get(name)
        if unit is None:
            read[name] = entry
        elif name in _SEVERAL:
            if not isinstance(entry, list) or not entry:
                raise ValueError(
                    f"{where} must be a list [{{ value, unit, ... }}, ...], one a wavelength, got {entry!r}."
                )
            read[name] = tuple(possible(read_value(one, unit, where), name, where) for one in entry)
        else:
            read[name] = possible(read_value(entry, unit, where), name, where)
    return cls(**read)


def components_of(tables: Mapping[str, Any]) -> dict[str, Component]:
    """Components of the tables of a file: slug -> component."""
    components = {}
    for slug, table in tables.items():
        unit = table.get("unit", "")
        if unit not in _COMPONENT_UNITS:
            raise ValueError(f"unit of {slug} must be one of {', '.join(_COMPONENT_UNITS)}, got {unit!r}.")
        table = dict(table)
        name = table.pop("name")
        components[slug] = Component(slug=slug, name=name, **vars(read_value(table, _COMPONENT_UNITS[unit], slug)))
    return components


def _read(path: str | Path) -> dict[str, Any]:
    """What a TOML file of devices holds."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"the file must be UTF-8 text, got {error}. Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the file is not TOML: {error}.") from error


@contextmanager
def _naming(file: str | Path) -> Iterator[None]:
    """Errors that say which file they are about."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: {error}") from error
