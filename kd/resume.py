"""The state of an interrupted training run in one file, so that it goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from optics4f.files import written_whole


def save_run(path: str | Path, identity: dict[str, Any], state: dict[str, Any]) -> None:
    """Write ``state``; ``path`` is the old file or the whole new one, whenever the process is killed.

    Args:
        path: File to write.
        identity: What the run was started with: plain values.
        state: Tensors and plain values in dictionaries and lists.
    """
    with written_whole(path) as part:
        torch.save({"identity": identity, "state": state}, part)


def load_run(path: str | Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What :func:`save_run` wrote, or ``None`` where there is no file.

    Args:
        path: File to read. No code in it is run.
        identity: What this run is started with.

    Raises:
        ValueError: Not such a file, or another run's.
    """
    if not Path(path).exists():
        return None
    advice = "Give the run's own file, or delete it to start anew."
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        theirs, state = saved["identity"], saved["state"]
    except Exception as error:  # torch.load has no one error for what is no file of its own
        raise ValueError(f"{path} must hold the state of a training run, got something else. {advice}") from error
    for name in identity | theirs:
        actual, expected = theirs.get(name), identity.get(name)
        if actual != expected:
            raise ValueError(f"{path} must be of this run, got {name} {actual} instead of {expected}. {advice}")
    return state


def random_states(model: nn.Module, device: torch.device) -> dict[str, Any]:
    """Where torch's global generators and those that ``model`` holds are in their streams."""
    return {
        "cpu": torch.get_rng_state(),
        "accelerator": None if device.type == "cpu" else torch.get_device_module(device).get_rng_state(device),
        "model": {name: generator.get_state() for name, generator in _generators(model).items()},
    }


def set_random_states(model: nn.Module, device: torch.device, states: dict[str, Any]) -> None:
    """Go on in the streams of :func:`random_states`."""
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states["accelerator"], device)
    generators = _generators(model)
    for name, state in states["model"].items():
        generators[name].set_state(state)


def _generators(model: nn.Module) -> dict[str, torch.Generator]:
    """Generators that are attributes of ``model`` or of a module in it: no ``state_dict`` holds them."""
    return {
        f"{prefix}.{name}".lstrip("."): value
        for prefix, module in model.named_modules()
        for name, value in vars(module).items()
        if isinstance(value, torch.Generator)
    }
