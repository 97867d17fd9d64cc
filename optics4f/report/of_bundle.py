"""``optics4f report``: the page of a mask bundle, of a design or of a trained student."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import __version__
from ..bundle import Bundle, BundleError, read_bundle
from ..calibration import read_measured
from ..compare import Comparison, compare
from ..files import refuse_overwriting
from ..units import engineering
from .bench_sections import Subject, bench_sections
from .layout import Report
from .metrics import ablation_section, accuracy_section, cost_section, design_section, read_metrics
from .tiles import tiles_section


def run_report(
    bundle: str | Path, out: str | Path, *, measured: str | Path | None = None, metrics: str | Path | None = None
) -> Path:
    """Write the page of a bundle.

    Args:
        bundle: HDF5 mask bundle; its checksums are checked, its frames are not simulated again.
        out: HTML page, self-contained.
        measured: HDF5 with ``/frames`` that the camera took, and ``/images`` where they are not the bundle's.
        metrics: ``metrics.json`` of the run that made the masks: accuracy, ablation, cost, merits of a design.

    Returns:
        ``out``.

    Raises:
        BundleError: A bundle that must not be used.
        ValueError: Measurements of another bench, metrics that are none; one line.
    """
    out = Path(out)
    refuse_overwriting(out, *(Path(path) for path in (bundle, measured, metrics) if path is not None))
    numbers = {} if metrics is None else read_metrics(metrics)
    read = read_bundle(bundle)
    found = None if measured is None else _compared(read, measured)
    files = {"bundle": str(bundle), "measured": measured, "metrics": metrics}
    bundle_page(read, comparison=found, metrics=numbers, files=files).write(out)
    return out


def _compared(bundle: Bundle, measured: str | Path) -> Comparison:
    try:
        return compare(bundle, read_measured(measured))
    except BundleError:
        raise
    except ValueError as error:
        text = str(error)
        raise ValueError(text if str(measured) in text else f"{measured}: {text}") from error


def bundle_page(
    bundle: Bundle,
    *,
    comparison: Comparison | None = None,
    metrics: Mapping[str, Any] | None = None,
    files: Mapping[str, Any] | None = None,
    title: str = "",
) -> Report:
    """The page of a bundle: what is known of it, and nothing in place of the rest.

    Args:
        bundle: Masks, and the bench that they are for.
        comparison: Of its frames with measured ones.
        metrics: Content of ``metrics.json``.
        files: Where all that came from, for the provenance.
        title: Of the page.
    """
    subject, metrics = Subject.of(bundle, comparison), metrics or {}
    masks = len(bundle.levels)
    page = Report(
        title or f"{masks} mask{'' if masks == 1 else 's'} for {subject.specification.slm.device}",
        f"A 4f bench at {engineering(subject.bench.wavelength, 'm')}: masks, light and camera frames. "
        + ("Frames are measured where it says so; all else is simulated." if comparison else "All of it is simulated."),
    )
    accuracy_section(page, metrics)
    design_section(page, metrics)
    tiles_section(page, bundle, metrics)
    bench_sections(page, subject)
    ablation_section(page, metrics)
    cost_section(page, metrics)
    provenance_section(page, bundle, metrics, files or {})
    return page


def provenance_section(page: Report, bundle: Bundle, metrics: Mapping[str, Any], files: Mapping[str, Any]) -> None:
    """Where it all comes from: files, the bundle's identity, the run, the configuration."""
    page.section("Provenance")
    stated = ("uuid", "created_utc", "producer_version", "device_serial", "attributes_sha256")
    page.keyvalues(
        {name: str(path) for name, path in files.items() if path is not None}
        | {f"bundle: {name}": bundle.attributes[name] for name in stated if name in bundle.attributes}
        | {"seed of the camera noise": bundle.noise_seed, "page made by optics4f": __version__}
    )
    run = metrics.get("provenance")
    if isinstance(run, Mapping):
        page.keyvalues({f"run: {name}": value for name, value in run.items()})
    with page.details("Configuration"):
        page.code(bundle.config)
