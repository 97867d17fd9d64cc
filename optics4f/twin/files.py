"""From a configuration and a file of measured frames to a configuration of the twin."""

from __future__ import annotations

import copy
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bundle import read_arrays, read_bundle
from ..calibration import Measured, read_measured
from ..config import BenchSpecification, bench_from, read_toml, require_same_bench
from ..files import refuse_overwriting, written_whole
from ..plotting import plot_residuals, png
from ..sampling import SamplingError
from .fitting import TwinFit, fit
from .model import TwinModel
from .parameters import USUAL, bent
from .registration import correlation


@dataclass(frozen=True)
class FitRun:
    """What ``optics4f fit`` found.

    Attributes:
        fit: The twin.
        model: The bench that was fitted.
        record: What is written beside the configuration, as JSON.
    """

    fit: TwinFit
    model: TwinModel
    record: dict


def run_fit(
    config: str | Path,
    measured: str | Path,
    out: str | Path,
    *,
    masks: str | Path | None = None,
    free: Sequence[str] = USUAL,
    held_out: int = 0,
    confidence: float = 0.95,
    joint: bool = True,
    bootstrap: int = 0,
    seed: int = 0,
) -> FitRun:
    """Fit a bench to its measured frames, and write the twin.

    Args:
        config: TOML with ``[bench]``, as the bench is believed to be.
        measured: HDF5 with ``/frames`` [DN] and ``/images``, and with ``/levels`` unless ``masks`` is given.
        out: TOML of the twin: the configuration with the fitted numbers. Beside it, of the same name, ``.json`` with
            values and intervals, and ``.png`` with maps of what is left.
        masks: Bundle whose masks were shown.
        free: Names of what may change (:data:`~optics4f.twin.parameters.GROUPS`).
        held_out: Last images that are kept out of the fit, to judge it by.
        confidence: Of the intervals.
        joint: Whether that is of all together; else of each.
        bootstrap: Resamplings for the intervals; 0 takes the Hessian.
        seed: Of the resamplings.

    Raises:
        ValueError: A defect of a file; what :func:`fit` refuses.
    """
    files = _files(Path(out))
    for file in files:
        refuse_overwriting(file, *(Path(source) for source in (config, measured, masks) if source is not None))
    content, text = read_toml(config)
    specification = bench_from(content, source=str(config), text=text)
    taken = read_measured(measured)
    slm = specification.slm
    taken.check(wavelength=specification.wavelength, frame_shape=specification.camera.shape, masks=slm.masks)
    if taken.images is None:
        raise ValueError(f"{measured} must have /images, what the object showed for each frame, to be fitted.")
    levels = shown_levels(taken, measured, masks, specification)
    used = len(taken.frames) - held_out
    if held_out < 0 or used < 1:
        raise ValueError(f"held_out must leave at least one of {len(taken.frames)} images, got {held_out}.")
    model = TwinModel(specification, levels, taken.images[:used], free)
    found = fit(
        model,
        taken.frames[:used],
        confidence=confidence,
        joint=joint,
        bootstrap=bootstrap,
        generator=np.random.default_rng(seed) if bootstrap else None,
    )
    twin = twin_content(content, model, found.values)
    record = {
        **_record(found),
        "config": str(config),
        "measured": str(measured),
        "free": list(free),
        "correlation_of_frames": _judged(model, found, taken, used),
        "sampling": _sampling(twin, str(out)),
    }
    _write(files, twin, record, model, found)
    return FitRun(found, model, record)


def shown_levels(
    taken: Measured, measured: str | Path, masks: str | Path | None, specification: BenchSpecification
) -> Tensor:
    """Levels that the SLM showed, from a bundle, or else from ``/levels`` of the measurements.

    Args:
        taken: The measured frames.
        measured: Their HDF5 file.
        masks: Bundle; ``None`` where the measurements hold the levels.
        specification: The bench that showed them.

    Returns:
        Levels, integer, shape ``(masks, height, width)``.

    Raises:
        ValueError: A bundle for another SLM or wavelength, or not the one that the frames name; levels of another
            shape, beyond the device's bit depth, or that are no whole numbers.
    """
    slm = specification.slm
    if masks is not None:
        bundle = read_bundle(masks)
        hint = "Where the bench is known better by now, write the levels into the measurements, as /levels."
        require_same_bench(specification, bundle.specification, f"{masks}", hint=hint)
        stated, wanted = taken.attributes.get("bundle_uuid"), bundle.attributes.get("uuid")
        if stated is not None and stated != wanted:
            raise ValueError(f"{masks} must be the bundle that was shown, {stated} in {measured}, got {wanted}.")
        levels, source = bundle.levels, str(masks)
    else:
        found, _ = read_arrays(measured, [], ["levels"])
        if "levels" not in found:
            raise ValueError(
                f"{measured} must have /levels, the masks that were shown. Or name their bundle (--masks)."
            )
        levels, source = _whole_levels(found["levels"], f"{measured}: levels"), f"{measured}: levels"
    shape = (slm.masks, *slm.shape)
    if tuple(levels.shape) != shape:
        raise ValueError(f"{source} must be (masks, height, width) = {shape}, got {tuple(levels.shape)}.")
    return levels


def _whole_levels(levels: NDArray, source: str) -> Tensor:
    """Levels as integers; phases in radians, booleans and NaN are none."""
    if levels.dtype.kind not in "iuf":
        raise ValueError(f"{source} must be gray levels, whole numbers, got values of type {levels.dtype}.")
    if not np.isfinite(levels).all() or (levels != np.rint(levels)).any() or (levels < 0).any():
        raise ValueError(
            f"{source} must be gray levels, whole numbers from 0 on, got {_first_other(levels)}. Phases in radians are "
            "no levels: write what was sent to the device."
        )
    return torch.from_numpy(levels.astype(np.int64))


def _first_other(levels: NDArray) -> float:
    with np.errstate(invalid="ignore"):
        return float(levels[~((levels == np.rint(levels)) & (levels >= 0) & np.isfinite(levels))].flat[0])


def twin_content(content: Mapping, model: TwinModel, values: Mapping[str, float]) -> dict:
    """A configuration with the fitted numbers in place of the believed ones; other tables stay.

    The driver of the twin knows its level table (``calibrated = true``), so that masks trained on it are corrected.

    Args:
        content: Parsed TOML of the bench as it is believed to be.
        model: That was fitted.
        values: Parameter name -> value.
    """
    twin = copy.deepcopy(dict(content))
    bench, stated = twin["bench"], model.specification
    for element in ("slm", "camera"):
        position = {}
        for part in ("shift", "tilt"):
            if f"{element}_{part}_y" in values:
                position[part] = [values[f"{element}_{part}_{axis}"] for axis in "yx"]
        position |= {p: values[f"{element}_{p}"] for p in ("rotation", "axial") if f"{element}_{p}" in values}
        if position:
            bench[f"{element}_position"] = {**bench.get(f"{element}_position", {}), **position}
    if "f2" in values:
        bench["lens2"]["focal_length"] = values["f2"]
    if "brightness" in values:
        bench["camera"]["exposure"] = stated.camera.exposure * values["brightness"]
    if "offset" in values:
        bench["camera"]["offset"] = values["offset"]
    aberrations = {name.removeprefix("aberration_"): v for name, v in values.items() if name.startswith("aberration_")}
    if aberrations:
        bench["pupil"]["aberrations"] = aberrations
    effects = bench["slm"].setdefault("effects", {})
    if "crosstalk" in values:
        effects["crosstalk"] = {**effects.get("crosstalk", {}), "scale": values["crosstalk"]}
    if model.table is not None:
        table = [round(phase, 9) for phase in bent(model.table, values).tolist()]
        amplitude = list(stated.slm.effects.lut.amplitude)
        effects["lut"] = {"phase": table, "calibrated": True} | (
            {} if set(amplitude) == {1.0} else {"amplitude": amplitude}
        )
        effects.pop("phase_range", None)
    return twin


def toml_text(content: Mapping) -> str:
    """TOML of nested tables of numbers, text and lists, as ``tomllib`` reads it back.

    Raises:
        ValueError: Something that would not come back as it is.
    """
    text = "\n".join(_toml_table(content, ())).strip() + "\n"
    if tomllib.loads(text) != content:
        raise ValueError("a configuration must hold tables, numbers, text and lists of them to be written as TOML.")
    return text


def _toml_table(table: Mapping, path: tuple[str, ...]) -> list[str]:
    lines = [f"\n[{'.'.join(map(_toml_key, path))}]"] if path else []
    lines += [f"{_toml_key(k)} = {_toml_value(v)}" for k, v in table.items() if not isinstance(v, Mapping)]
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += _toml_table(value, (*path, key))
    return lines


def _toml_key(key: str) -> str:
    return (
        key
        if key.replace("_", "").replace("-", "").isalnum() and key.isascii()
        else json.dumps(key, ensure_ascii=False)
    )


def _toml_value(value: object) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_toml_key(k)} = {_toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return repr(value)
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _record(found: TwinFit) -> dict:
    return {
        "parameters": [
            {
                "name": e.name,
                "unit": e.unit,
                "start": e.start,
                "value": e.value,
                "deviation": e.deviation,
                "interval": [e.low, e.high],
                "interval_alone": list(e.alone),
            }
            for e in found.estimates
        ],
        "confidence": found.confidence,
        "joint": found.joint,
        "reduced_chi2": found.reduced_chi2,
        "pixels": found.pixels,
        "passes": found.passes,
        "correlation_of_parameters": np.round(found.correlation, 4).tolist(),
    }


def _judged(model: TwinModel, found: TwinFit, taken: Measured, used: int) -> dict[str, float]:
    """Mean correlation of measured and predicted frames before and after the fit, and on what was held out."""

    def mean(values: Mapping[str, float], frames: Tensor) -> float:
        return float(correlation(frames, model.frames(values)).nanmean())

    judged = {"before": mean(model.start, taken.frames[:used]), "after": mean(found.values, taken.frames[:used])}
    if used < len(taken.frames):
        fitted, model.images = model.images, taken.images[used:, None].double()
        judged["held_out_before"] = mean(model.start, taken.frames[used:])
        judged["held_out_after"] = mean(found.values, taken.frames[used:])
        model.images = fitted
    return {name: value for name, value in judged.items() if math.isfinite(value)}


def _sampling(twin: dict, source: str) -> str:
    """``ok``, or why the configured route refuses the twin."""
    specification = bench_from(twin, source=source)
    try:
        specification.build_route(specification.build())
    except SamplingError as error:
        return f"refused: {error}"
    return "ok"


def _files(out: Path) -> tuple[Path, Path, Path]:
    """The configuration of the twin, the maps and the values beside it."""
    if out.suffix in (".png", ".json"):
        raise ValueError(f"out must be the TOML file of the twin, got {out}: maps and values get that name beside it.")
    return out, out.with_suffix(".png"), out.with_suffix(".json")


def _write(files: tuple[Path, Path, Path], twin: dict, record: dict, model: TwinModel, found: TwinFit) -> None:
    images, masks = found.residuals.shape[:2]
    names = [f"image {i}, mask {k}" for i in range(images) for k in range(masks)]
    picture = png(plot_residuals(found.residuals.flatten(0, 1), model.bench.camera.grid, names=names))
    head = "# Twin: numbers fitted to measured frames; values and intervals in the JSON file of the same name.\n"
    for path, data in (
        (files[1], picture),
        (files[2], (json.dumps(record, indent=2) + "\n").encode()),
        (files[0], (head + toml_text(twin)).encode()),
    ):
        with written_whole(path) as part:
            part.write_bytes(data)
