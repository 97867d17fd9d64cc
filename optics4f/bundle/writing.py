"""Writing a mask bundle, whole or not at all."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import torch

from .. import __version__
from ..config import BenchSpecification
from ..devices import slm_device
from ..fourf import FourF
from .checksums import HEADER_BYTES, attributes_sha256, dataset_sha256, datasets, describe, signed
from .contents import Bundle, BundleError, level_around, level_phases
from .proof import refuse_other_frames, refuse_unusable
from .schema import PLACES, SCHEMA, SCHEMA_VERSION, Attributes, Display, Header, Phase, check_attributes
from .statements import PHASE, display_statements, group_statements, header_of_bench

_SLMSUITE_VERSION = "0.5.0"  # whose layout of phase and display this is


def write_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle, whole or not at all; what :func:`verify_bundle` would refuse is not written.

    Args:
        path: HDF5 file; an older one is replaced in one step.
        bundle: What to write; its frames must be those of its levels (:func:`predict_frames`), which are simulated
            again.

    Raises:
        BundleError: No phase device; arrays of another shape than the bench's, NaN, fractions or numbers that cannot
            be; frames of other masks.
    """
    specification = bundle.specification
    device = slm_device(specification.slm.device)
    if device.kind != "phase":
        raise BundleError(f"the masks must be for a phase SLM, got the {device.kind} device {device.name}.")
    refuse_unusable(bundle, specification)
    refuse_other_frames(bundle, specification)
    bench = specification.build()
    with signed(path) as part, h5py.File(part, "w", libver="v110", userblock_size=HEADER_BYTES) as file:
        header = header_of_bench(specification, bench)
        identity = {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "producer": "optics4f",
            "producer_version": __version__,
            "created_utc": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "uuid": str(uuid.uuid4()),
            "device_serial": "generic",
        }
        _state(file, identity | header, Header)
        file["__version__"] = np.bytes_(_SLMSUITE_VERSION)
        _write_exposures(file, bundle, specification, bench, tuple(header["shape"]), header["active_origin_px"])
        file["config"] = np.bytes_(bundle.config.encode())
        _state(file["config"], {"format": "TOML"})
        groups = group_statements(specification, bench)
        groups["expected"] |= {"noise_seed": bundle.noise_seed, "torch_version": str(torch.__version__)}
        for name, statements in groups.items():
            _state(file.create_group(name), statements)
        for name, data, units in (
            ("images", bundle.images.cpu().numpy().astype(np.float32), "1"),
            ("frames", bundle.frames.cpu().numpy().astype(np.uint32), "DN"),
            ("frames_noise_free", bundle.frames_noise_free.cpu().numpy().astype(np.uint32), "DN"),
        ):
            _state(file["expected"].create_dataset(name, data=data, compression="gzip"), {"units": units})
        for _, dataset in datasets(file):
            describe(dataset, sha256=dataset_sha256(dataset))
        describe(file, attributes_sha256=attributes_sha256(file))


def _write_exposures(
    file: h5py.File,
    bundle: Bundle,
    specification: BenchSpecification,
    bench: FourF,
    panel: tuple[int, int],
    origin: list[int],
) -> None:
    believed, shown = level_phases(bench.slm), display_statements(specification, bench.slm)
    kind = np.uint8 if bench.slm.bit_depth <= 8 else np.uint16
    inside = tuple(slice(o, o + m) for o, m in zip(origin, specification.slm.shape, strict=True))
    for number, levels in enumerate(bundle.levels.cpu().numpy()):
        full = np.full(panel, level_around(bench.slm), dtype=np.int64)
        full[inside] = levels
        gray = (shown["gray_at_zero_phase"] + shown["gray_slope"] * full) % 2**bench.slm.bit_depth
        group, phase = file.create_group(f"exposures/{number:03d}"), believed[full].astype(np.float32)
        _state(group.create_dataset("phase", data=phase, compression="gzip", shuffle=True), PHASE, Phase)
        _state(group.create_dataset("display", data=gray.astype(kind), compression="gzip"), shown, Display)
    file["phase"], file["display"] = file["exposures/000/phase"], file["exposures/000/display"]  # by hard link


def _state(
    item: h5py.Group | h5py.Dataset, attributes: dict[str, object], schema: type[Attributes] | None = None
) -> None:
    """Attach attributes that hold to the schema of their place."""
    place = item.name.strip("/")
    check_attributes(attributes, schema or PLACES[place], place)
    describe(item, **attributes)
