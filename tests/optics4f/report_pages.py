"""A small bundle with two wavelengths, its measured frames and the metrics of a run, for the tests of its page."""

import copy
import json
from pathlib import Path

from optics4f.bundle import Bundle, predict_frames, write_arrays, write_bundle
from optics4f.twin import toml_text
from tests.optics4f.twin_benches import CONTENT, frames_of, shown, specified

MASKS, IMAGES = 3, 3


def term(name: str, group: str, unit: str, low: float, nominal: float, high: float) -> dict:
    return {"name": name, "group": group, "unit": unit, "low": low, "nominal": nominal, "high": high} | {
        "source": "assumed",
        "kind": "assumed",
    }


def metrics() -> dict:
    """As ``python -m experiments demo`` writes them, with numbers of no meaning."""

    def shares(*seeds: float) -> dict:
        return {"mean": sum(seeds) / len(seeds), "seeds": list(seeds)}

    joule = {"unit": "J", "source": "a page"}
    energy = {"low": 1.0, "nominal": 2.0, "high": 3.0} | joule
    return {
        "rows": {
            "teacher": {"test_accuracy": shares(0.97, 0.99), "parameters": 1234, "digital_macs": 56789, "about": "CNN"},
            "physical": {"test_accuracy": shares(0.91, 0.95), "parameters": 100, "digital_macs": 0, "about": "masks"},
        },
        "kd_gain": {"verdict": "Distillation shows no effect."},
        "fidelity": [
            {"effect": "as trained", "value": "all", "test_accuracy": shares(0.91, 0.95), "change": 0.0},
            {"effect": "camera", "value": "dim", "test_accuracy": shares(0.5, 0.6), "change": -0.38},
        ],
        "cost": {
            "optics": [
                term("camera readout", "latency", "s", 0.01, 0.02, 0.04),
                term("exposure", "latency", "s", 0.001, 0.002, 0.003),
                term("slm power", "energy", "J", 0.1, 0.5, 2.0),
            ],
            "comparison_batch_1": [
                {"quantity": "energy", "optics": energy, "electronics": None, "ratio": None, "winner": "unknown"}
            ],
            "break_even_energy_per_mac": {"low": 1e-7, "nominal": 2e-7, "high": 4e-7, "unit": "J"},
            "prices": [{"price": energy, "hybrid": energy, "digital": energy, "winner": "tie"}],
        },
        "provenance": {"commit": "0123abc"},
    }


def write_files(folder: Path) -> None:
    """``masks.h5``, ``measured.h5`` and ``metrics.json``."""
    content = copy.deepcopy(CONTENT)
    content["bench"]["light"] = {"wavelengths": ["520 nm", "532 nm"], "weights": [0.25, 0.75]}
    levels, images = shown(40, masks=MASKS, images=IMAGES)
    frames = predict_frames(specified(content), levels, images.float(), 0)
    write_bundle(folder / "masks.h5", Bundle(levels, toml_text(content), images.float(), *frames, 0))
    real = copy.deepcopy(content)
    real["bench"]["camera_position"] = {"shift": [-1.4 * 27.6e-6, 0.7 * 27.6e-6]}
    measured = frames_of(real, levels, images, seed=11)
    write_arrays(folder / "measured.h5", {"frames": measured.numpy()}, wavelength_m=532e-9)
    (folder / "metrics.json").write_text(json.dumps(metrics()))
