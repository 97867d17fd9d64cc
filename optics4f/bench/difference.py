"""What differs between two mask bundles, by name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..bundle import Bundle, level_phases, read_bundle

# They differ between any two files, or follow from what is listed by its own name.
_OF_THE_FILE = ("uuid", "created_utc", "attributes_sha256", "exposures")


@dataclass(frozen=True)
class Difference:
    """One thing that two bundles state differently.

    Attributes:
        name: Attribute, key of the configuration such as ``bench.lens1.focal_length``, or dataset.
        first: What the first says.
        second: What the second says; ``None`` where it says nothing.
        text: The difference in words.
    """

    name: str
    first: object
    second: object
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


def diff(first: Bundle | str | Path, second: Bundle | str | Path) -> list[Difference]:
    """Everything in which two bundles differ, the bench first; empty where they show and predict the same.

    Time, uuid and checksums of the files are left out. Attributes are compared where both bundles come from a file.

    Args:
        first: Bundle or its file.
        second: Bundle or its file.

    Raises:
        BundleError: A file that is refused.
    """
    a, b = (bundle if isinstance(bundle, Bundle) else read_bundle(bundle) for bundle in (first, second))
    found = []
    attributes = ({}, {}) if not (a.attributes and b.attributes) else (a.attributes, b.attributes)
    for one, other in (tuple(_flat(tomllib.loads(bundle.config)) for bundle in (a, b)), attributes):
        for name in sorted({*one, *other} - set(_OF_THE_FILE)):
            if one.get(name) != other.get(name) or (name in one) != (name in other):
                texts = [_shown(table[name]) if name in table else "not stated" for table in (one, other)]
                found.append(Difference(name, one.get(name), other.get(name), " | ".join(texts)))
    if a.noise_seed != b.noise_seed:
        found.append(Difference("noise_seed", a.noise_seed, b.noise_seed, f"{a.noise_seed} | {b.noise_seed}"))
    found += _levels(a, b)
    for name, unit in (("images", ""), ("frames", " DN"), ("frames_noise_free", " DN")):
        found += _numbers(f"expected/{name}", getattr(a, name), getattr(b, name), unit)
    return found


def _levels(a: Bundle, b: Bundle) -> list[Difference]:
    """Masks, by the phase that their levels stand for."""
    if a.levels.shape != b.levels.shape:
        return [_of_shape("levels", a.levels, b.levels)]
    phases = []
    for bundle in (a, b):
        slm = bundle.specification.build().slm
        phases.append(torch.from_numpy(level_phases(slm))[bundle.levels])
    off = (torch.remainder(phases[0] - phases[1] + torch.pi, 2 * torch.pi) - torch.pi).abs()
    found = []
    for number, (mask, one, other) in enumerate(zip(off, a.levels, b.levels, strict=True)):
        changed = one != other
        if changed.any() or mask.max() > 1e-6:
            text = (
                f"{int(changed.sum())} of {changed.numel()} levels differ, phases by up to {mask.max().item():.3g} rad"
            )
            found.append(Difference(f"exposures/{number:03d}", one, other, text))
    return found


def _numbers(name: str, one: Tensor, other: Tensor, unit: str) -> list[Difference]:
    if one.shape != other.shape:
        return [_of_shape(name, one, other)]
    off = (one.double() - other.double()).abs()
    if not off.any():
        return []
    text = f"{int((off > 0).sum())} of {off.numel()} numbers differ, by up to {off.max().item():g}{unit}"
    return [Difference(name, one, other, text)]


def _of_shape(name: str, one: Tensor, other: Tensor) -> Difference:
    return Difference(name, one, other, f"shape {tuple(one.shape)} | {tuple(other.shape)}")


def _flat(table: dict, prefix: str = "") -> dict[str, object]:
    """Keys of nested tables, joined by dots."""
    found = {}
    for name, value in table.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
