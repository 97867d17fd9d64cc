"""Devices by name: the presets of this package, and a user's own."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

from .kinds import KINDS, CameraDevice, Component, Device, GPUDevice, Kind, Number, SLMDevice, Value
from .reading import OWN_DEVICES, components_of, devices_of, own_devices

_TABLES = {"slm": "bench.slm", "camera": "bench.camera"}


def slm_device(name: str) -> SLMDevice:
    """The spatial light modulator with this slug, such as ``"meadowlark-1920x1152"``."""
    return _find(name, _presets("slm"), "slm")


def camera_device(name: str) -> CameraDevice:
    """The camera with this slug, such as ``"andor-zyla-4.2"``."""
    return _find(name, _presets("camera"), "camera")


def gpu_device(name: str) -> GPUDevice:
    """The GPU with this slug, such as ``"h100-sxm"``."""
    return _find(name, _presets("gpu"), "gpu")


def component(name: str) -> Component:
    """The component with this slug, such as ``"dac-8bit-gsps"``."""
    return _find(name, _components(), "component")


def any_device(name: str) -> Device:
    """The SLM, camera or GPU with this slug."""
    known = [_presets(kind) for kind in KINDS]
    return _find(name, {slug: found for devices in reversed(known) for slug, found in devices.items()}, "device")


def device_names(kind: Literal["slm", "camera", "gpu", "component"]) -> list[str]:
    """Slugs of all presets of one kind."""
    return sorted(_components() if kind == "component" else _presets(kind))


def require(device: Device, name: str, *, table: str | None = None) -> Number | tuple[Value, ...]:
    """The SI number ``name`` of a device, such as ``require(camera, "quantum_efficiency")``.

    Args:
        device: A preset.
        name: Which number.
        table: Table of the configuration in which a missing number can be stated, for the message.

    Raises:
        ValueError: Nobody has said what it is, or a device of this kind has no such number.
    """
    units = type(device).UNITS
    if name not in units:
        raise ValueError(f"{name} must be one of {', '.join(units)} for {device.slug}.")
    found = getattr(device, name)
    if found is None:
        kind = next(kind for kind, cls in KINDS.items() if isinstance(device, cls))
        table = table or _TABLES.get(kind, kind)
        raise ValueError(
            f"{name} of {device.slug} must be known, but no source gives it. Write {name} = ... [{units[name]}] under "
            f"[{table}] in the configuration, or give {name}=... in Python."
        )
    return found.value if isinstance(found, Value) else found


def _presets(kind: Kind) -> Mapping[str, Device]:
    if kind not in KINDS:
        raise ValueError(f'kind must be one of "slm", "camera", "gpu", "component", got {kind!r}.')
    return _with_own(kind, os.environ.get(OWN_DEVICES, ""))


@cache
def _with_own(kind: Kind, paths: str) -> Mapping[str, Device]:
    """The presets, and the devices of the user's own files."""
    found = devices_of(_preset_file(f"{kind}s.toml"), kind)
    for path in filter(None, paths.split(os.pathsep)):
        for slug, device in own_devices(path)[kind].items():
            if slug in found:
                raise ValueError(f"{path}: {slug} must be a new name, got that of {found[slug].name}.")
            found[slug] = device
    return found


@cache
def _components() -> Mapping[str, Component]:
    return components_of(_preset_file("components.toml"))


def _preset_file(name: str) -> dict[str, Any]:
    return tomllib.loads((resources.files("optics4f") / "presets" / name).read_text(encoding="utf-8"))


def _find(name: str, known: Mapping[str, Any], kind: str) -> Any:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.4)
    nearest = f' Nearest: "{near[0]}".' if near else ""
    lists = "optics4f devices" if kind != "component" else 'device_names("component")'
    raise ValueError(
        f'{kind} must be a known device, got "{name}".{nearest} {lists} lists all {len(known)}; '
        f"{OWN_DEVICES} names TOML files of your own."
    )
