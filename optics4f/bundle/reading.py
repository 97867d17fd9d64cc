"""Reading a mask bundle, and proving it: nothing is believed before checksums, claims and statements hold."""

from __future__ import annotations

import tomllib
from pathlib import Path

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import BenchSpecification, bench_from
from .checksums import HEADER_BYTES, attributes_sha256, dataset_sha256, datasets, header_of, plain
from .claims import opened, refuse_claims, refuse_links
from .contents import Bundle, BundleError, first_line, level_phases
from .proof import refuse_other_frames
from .schema import PLACES, SCHEMA, SCHEMA_VERSION, Display, Phase, check_attributes
from .statements import display_statements, group_statements, header_of_bench

_ROOT_DATASETS = (
    "__version__", "phase", "display", "config", "expected/images", "expected/frames", "expected/frames_noise_free"
)  # fmt: skip


def read_bundle(path: str | Path) -> Bundle:
    """A bundle whose checksums hold.

    Raises:
        BundleError: The file is missing, damaged, of another kind or of a newer major version; one line.
    """
    with opened(path, SCHEMA) as file:
        return _read(file, str(path))


def verify_bundle(path: str | Path) -> Bundle:
    """Read a bundle and prove it: checksums, device limits, and its frames simulated again from ``display`` alone.

    Raises:
        BundleError: Anything differs; one line that names it.
    """
    bundle = read_bundle(path)
    with Path(path).open("rb") as file:
        stated, actual = file.read(HEADER_BYTES), header_of(file)
    try:
        refuse_other_frames(bundle, bundle.specification)
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    # Last, for it cannot say what was changed: even a bit that carries nothing.
    if stated != actual:
        raise BundleError(f"{path}: the file differs from the checksum in its header: it was changed after writing.")
    return bundle


def _read(file: h5py.File, path: str) -> Bundle:
    attributes = {name: plain(value) for name, value in file.attrs.items()}
    if attributes.get("schema") != SCHEMA:
        raise BundleError(f"{path} is not an {SCHEMA}, its schema is {attributes.get('schema', 'missing')!r}.")
    version = str(attributes.get("schema_version"))
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise BundleError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}. "
            f"Install optics4f {attributes.get('producer_version', 'of its producer')} or newer."
        )
    try:
        check_attributes(attributes)
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error
    refuse_links(file, path)
    exposures = [f"exposures/{number:03d}" for number in range(attributes["exposures"])]
    wanted = [*_ROOT_DATASETS, *(f"{exposure}/{name}" for exposure in exposures for name in ("phase", "display"))]
    if missing := [name for name in wanted if not isinstance(file.get(name), h5py.Dataset)]:
        raise BundleError(f"{path} lacks the dataset {', '.join(missing)}.")
    refuse_claims(file, path)
    for name, dataset in datasets(file):
        stored = plain(dataset.attrs.get("sha256"))
        try:
            actual = dataset_sha256(dataset)
        except OSError as error:
            raise BundleError(f"{path}: {name} is damaged: {first_line(error)}.") from error
        if stored != actual:
            raise BundleError(f"{path}: {name} differs from its checksum: the data were changed after writing.")
    if attributes.get("attributes_sha256") != attributes_sha256(file):
        raise BundleError(f"{path}: attributes differ from their checksum: they were changed after writing.")
    _refuse_other_kinds(file, exposures, path)
    for name in ("phase", "display"):
        if file[name].id != file[f"exposures/000/{name}"].id and file[name] != file[f"exposures/000/{name}"]:
            raise BundleError(f"{path}: {name} is not exposures/000/{name}.")
    config = str(plain(file["config"][()]))
    specification = bench_from(tomllib.loads(config), source="the bundle's configuration")
    _refuse_other_shapes(file, specification, len(exposures), path)  # before anything of that size is built or read
    images = torch.from_numpy(file["expected/images"][()])
    if not (torch.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
        raise BundleError(f"{path}: expected/images must lie in [0, 1].")
    bench = specification.build()
    bundle = Bundle(
        levels=torch.stack(
            [_levels(file[exposure], attributes, level_phases(bench.slm), path) for exposure in exposures]
        ),
        config=config,
        images=images,
        frames=torch.from_numpy(file["expected/frames"][()].astype(np.int64)),
        frames_noise_free=torch.from_numpy(file["expected/frames_noise_free"][()].astype(np.int64)),
        noise_seed=int(file["expected"].attrs["noise_seed"]),
        attributes=attributes,
    )
    places = {"": header_of_bench(specification, bench), **group_statements(specification, bench)}
    places |= {f"{exposure}/display": display_statements(specification, bench.slm) for exposure in exposures}
    for place, statements in places.items():
        for name, wanted in statements.items():
            stated, of = plain(file[place or "/"].attrs[name]), f" of {place}" if place else ""
            if stated != wanted:
                raise BundleError(f"{path}: {name}{of} is {stated}, but the configuration that made it says {wanted}.")
    return bundle


def _refuse_other_kinds(file: h5py.File, exposures: list[str], path: str) -> None:
    """Attributes beside those of the root: units, signs, and numbers that cannot be."""
    schemas = dict(PLACES)
    for exposure in exposures:
        schemas |= {f"{exposure}/phase": Phase, f"{exposure}/display": Display}
    for place, schema in schemas.items():
        if place not in file:
            raise BundleError(f"{path} lacks the group {place}.")
        try:
            check_attributes({name: plain(value) for name, value in file[place].attrs.items()}, schema, place)
        except ValueError as error:
            raise BundleError(f"{path}: {error}") from error


def _refuse_other_shapes(file: h5py.File, specification: BenchSpecification, masks: int, path: str) -> None:
    images, (height, width) = file["expected/images"].shape, file["display"].shape
    rows, columns = specification.slm.shape
    if specification.slm.masks != masks or rows > height or columns > width:
        raise BundleError(
            f"{path}: exposures are {masks} of {height} x {width} pixels, but the configuration that made it says "
            f"{specification.slm.masks} of {rows} x {columns}."
        )
    frames = (*images[:1], masks, *specification.camera.shape)
    for name, wanted in (
        ("images", (*images[:1], *specification.object.shape)),
        ("frames", frames),
        ("frames_noise_free", frames),
    ):
        if file[f"expected/{name}"].shape != wanted:
            raise BundleError(
                f"{path}: expected/{name} has shape {file[f'expected/{name}'].shape}, but the configuration that made "
                f"it says {wanted}."
            )


def _levels(exposure: h5py.Group, attributes: dict, believed: NDArray, path: str) -> Tensor:
    """Levels of the used area, from the gray values alone; refused where ``phase`` tells another story."""
    display, phase = exposure["display"], exposure["phase"]
    bits = int(display.attrs["bit_depth"])
    if display.shape != phase.shape or list(display.shape) != attributes["shape"]:
        raise BundleError(
            f"{path}: {display.name} has shape {display.shape}, {phase.name} {phase.shape}, "
            f"the panel {tuple(attributes['shape'])}."
        )
    gray, radians = display[()].astype(np.int64), phase[()].astype(np.float64)
    if gray.max() >= 2**bits:
        raise BundleError(f"{path}: {display.name} has level {gray.max()}, {bits} bits end at {2**bits - 1}.")
    if not np.isfinite(radians).all():
        raise BundleError(f"{path}: {phase.name} has NaN or inf in it.")
    if 2**bits != len(believed):
        raise BundleError(
            f"{path}: {display.name} has {bits} bits, the configuration {len(believed).bit_length() - 1}."
        )
    levels = (int(display.attrs["gray_slope"]) * (gray - int(display.attrs["gray_at_zero_phase"]))) % 2**bits
    off = np.abs(np.mod(radians - believed[levels] + np.pi, 2 * np.pi) - np.pi).max() * (2**bits / (2 * np.pi))
    if off > 0.05:  # float32 is off by 2^-22 turns, 0.02 levels of 16 bits
        raise BundleError(f"{path}: {display.name} is {off:.3g} levels away from {phase.name}.")
    (top, left), (height, width) = attributes["active_origin_px"], attributes["active_shape_px"]
    return torch.from_numpy(levels[top : top + height, left : left + width].copy())
