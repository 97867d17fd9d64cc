"""Trained weights with where they came from, in one safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from kd.extras import extra
from kd.provenance import commit
from optics4f import __version__
from optics4f.files import written_whole

METADATA_KEY = "optics4f"  # safetensors metadata maps text to text: ours is one JSON object


def save_checkpoint(
    path: str | Path, model: nn.Module, *, config: dict[str, Any], seed: int, metrics: dict[str, Any]
) -> None:
    """Write weights, statistics and provenance; ``path`` is the old file or the whole new one, never half.

    Args:
        path: File to write, by convention ``.safetensors``.
        model: Its ``state_dict`` is saved.
        config: What the model was built and trained from; JSON values.
        seed: Seed of the run.
        metrics: What was measured; JSON values.

    Raises:
        ImportError: safetensors is not installed.
    """
    metadata = {"config": config, "seed": seed, "metrics": metrics, "version": __version__, "commit": commit()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with written_whole(path) as part:
        extra("safetensors.torch", "safetensors").save_file(tensors, part, {METADATA_KEY: json.dumps(metadata)})


def load_checkpoint(path: str | Path, model: nn.Module) -> dict[str, Any]:
    """Load weights into ``model`` and return what was saved beside them.

    Args:
        path: A file of :func:`save_checkpoint`.
        model: A model of the same architecture; unchanged when the file is refused.

    Returns:
        ``config``, ``seed``, ``metrics``, ``version`` and ``commit`` of the run.

    Raises:
        ValueError: Not such a file, or the weights of another architecture.
        ImportError: safetensors is not installed.
    """
    tensors, facts = _read(path)
    difference = _difference(model.state_dict(), tensors)
    if difference:
        raise ValueError(f"{path} must fit {type(model).__name__}, got {difference}. Build the model from its config.")
    model.load_state_dict(tensors)
    return facts


def checkpoint_facts(path: str | Path) -> dict[str, Any]:
    """What :func:`load_checkpoint` returns, to build the model from; the weights are left alone.

    Raises:
        ValueError: Not a file of :func:`save_checkpoint`.
        ImportError: safetensors is not installed.
    """
    return _read(path, weights=False)[1]


def _read(path: str | Path, *, weights: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and what was saved beside them."""
    safetensors = extra("safetensors", "safetensors")
    if Path(path).is_dir():
        raise ValueError(f"{path} must be a safetensors file, got a folder. Name a file in it.")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in (file.keys() if weights else ())}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} must be a safetensors file, got something else ({error}).") from error
    if METADATA_KEY not in metadata:
        raise ValueError(f"{path} must be a checkpoint of save_checkpoint, got weights without its metadata.")
    try:
        facts = json.loads(metadata[METADATA_KEY])
        if not isinstance(facts, dict) or not {"config", "seed", "metrics"} <= facts.keys():
            raise ValueError("no config, seed and metrics")
    except ValueError as error:
        raise ValueError(f"{path} must be a checkpoint of save_checkpoint, got damaged metadata ({error}).") from error
    return tensors, facts


def _difference(expected: dict[str, Tensor], actual: dict[str, Tensor]) -> str:
    """The first thing that tells two state dictionaries apart, or nothing."""
    for name, tensor in expected.items():
        if name not in actual:
            return f"no {name}"
        if actual[name].shape != tensor.shape:
            return f"{name} of shape {tuple(actual[name].shape)} instead of {tuple(tensor.shape)}"
    unexpected = sorted(actual.keys() - expected.keys())
    return f"an unexpected {unexpected[0]}" if unexpected else ""
