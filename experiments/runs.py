"""A run's provenance, and results that are never half-written."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import torch

import optics4f
from kd.provenance import commit
from optics4f.files import written_whole


def provenance() -> dict:
    """Where and with what a result was made: commit, versions, processor, threads, time."""
    return {
        "optics4f": optics4f.__version__,
        "commit": commit(),
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "created_utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def processor() -> str:
    """Name of the CPU as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_text(path: Path, text: str) -> None:
    """Text, whole or not at all."""
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    """One JSON object a line, whole or not at all."""
    write_text(path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
