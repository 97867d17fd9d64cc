"""The HDF5 mask bundle: what the bench uploads, and the camera frames that it should then see.

The only importer of h5py. Layout: ``docs/reference/bench_format.md``. The root datasets ``phase`` [rad] and ``display``
[gray levels] are what slmsuite's ``load_phase`` reads; all else is attributes and groups. Opening a bundle runs no code
from it.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import __version__
from .bundle_schema import check_header
from .config import BenchSpecification, bench_from
from .devices import slm_device
from .elements import SLM
from .files import written_whole
from .fourf import FourF

SCHEMA = "optics4f-mask-bundle"
SCHEMA_VERSION = "1.0"
_SLMSUITE_VERSION = "0.5.0"  # whose layout of phase and display this is
_HEADER_BYTES = 512  # the least that HDF5 lets stand in front of its data
LARGEST = 4_000_000_000
"""Bytes of data that a bundle may hold, unpacked: 380 masks of 1920 x 1080."""
_BLOCK_BYTES = 2**25
_GZIP_AT_MOST = 1032  # times; zlib's own limit
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_KINDS = {"__version__": "S", "config": "S", "phase": "f", "images": "f", "display": "u", "frames": "u"}
_ROOT_DATASETS = (
    "__version__", "phase", "display", "config", "expected/images", "expected/frames", "expected/frames_noise_free"
)  # fmt: skip


class BundleError(ValueError):
    """A bundle that must not be used; the message says what differs."""


@dataclass(frozen=True)
class Bundle:
    """A mask bundle in memory.

    Attributes:
        levels: Levels of the used area, shape ``(masks, height, width)``; level k is phase ``2 pi k / 2**bits``.
        config: TOML that made it, with at least ``[bench]``.
        images: Test images in [0, 1], shape ``(N, height, width)``, float32.
        frames: Camera frames predicted for them [DN], noise on, shape ``(N, masks, h, w)``, int64.
        frames_noise_free: The same without noise.
        noise_seed: Seed of the noise in ``frames``.
        attributes: Root attributes of the file; empty before it is written.
    """

    levels: Tensor
    config: str
    images: Tensor
    frames: Tensor
    frames_noise_free: Tensor
    noise_seed: int
    attributes: dict = field(default_factory=dict)

    @property
    def specification(self) -> BenchSpecification:
        """The bench that the masks are for."""
        return bench_from(tomllib.loads(self.config), source="the bundle's configuration")


def predict_frames(
    specification: BenchSpecification, levels: Tensor, images: Tensor, noise_seed: int
) -> tuple[Tensor, Tensor]:
    """Camera frames that a bench with these levels on its SLM delivers: from the levels alone.

    Args:
        specification: The bench.
        levels: Integer levels, shape ``(masks, height, width)``.
        images: Images in [0, 1], shape ``(N, height, width)``.
        noise_seed: Seed of the camera noise.

    Returns:
        Frames [DN] with noise and without, int64, shape ``(N, masks, h, w)``.
    """
    bench = specification.build()
    bench.slm.load_levels(levels)
    return frames_of(bench, specification, images, noise_seed)


@torch.no_grad()
def frames_of(
    bench: FourF, specification: BenchSpecification, images: Tensor, noise_seed: int
) -> tuple[Tensor, Tensor]:
    """As :func:`predict_frames`, for a bench in memory and the masks that are on it."""
    light = specification.build_route(bench)(images[:, None])
    noisy = bench.camera.counts(light, torch.Generator(images.device).manual_seed(noise_seed))
    return noisy.long(), bench.camera.counts(light).long()


def write_bundle(path: str | Path, bundle: Bundle) -> None:
    """Write a bundle, whole or not at all.

    Args:
        path: HDF5 file; an older one is replaced in one step.
        bundle: What to write; its frames must be those of its levels (:func:`predict_frames`).
    """
    specification = bundle.specification
    device = slm_device(specification.slm.device)
    if device.kind != "phase":
        raise BundleError(f"the masks must be for a phase SLM, got the {device.kind} device {device.name}.")
    bench = specification.build()
    bench.slm.load_levels(bundle.levels)
    if bundle.images.shape[0] != bundle.frames.shape[0] or bundle.frames.shape[1] != bundle.levels.shape[0]:
        raise BundleError(
            f"frames must be (images, masks, ...), got {tuple(bundle.frames.shape)} for {bundle.images.shape[0]} "
            f"images and {bundle.levels.shape[0]} masks."
        )
    panel = tuple(device.shape.value) if device.shape is not None else specification.slm.shape
    origin = _origin(panel, specification.slm.shape)
    bits, slope = bench.slm.bit_depth, specification.slm.gray_slope
    believed = level_phases(bench.slm)
    # slmsuite's convention for slope -1: phase 0 is the brightest gray, more delay is darker.
    gray_at_zero = 2**bits - 1 if slope < 0 else 0
    inside = tuple(slice(o, o + m) for o, m in zip(origin, specification.slm.shape, strict=True))
    with _signed(path) as part, h5py.File(part, "w", libver="v110", userblock_size=_HEADER_BYTES) as file:
        header = dict(
            schema=SCHEMA,
            schema_version=SCHEMA_VERSION,
            producer="optics4f",
            producer_version=__version__,
            created_utc=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            uuid=str(uuid.uuid4()),
            device=device.name,
            device_slug=device.slug,
            device_serial="generic",
            wavelength_m=specification.wavelength,
            design_wavelength_m=specification.wavelength,
            medium="air",
            pixel_pitch_m=np.array([bench.slm.grid.pitch] * 2),
            shape=np.array(panel),
            active_origin_px=np.array(origin),
            active_shape_px=np.array(specification.slm.shape),
            fill_factor=bench.slm.fill_factor,
            axis_order="row,column",
            origin="upper-left",
            flip_ud=False,
            flip_lr=False,
            rotation_deg=0.0,
            fft_convention="forward exp(-2 pi i x f), DC at (H//2, W//2)",
            parity="the 4f turns the image by 180 degrees",
            **_calibrations(bench.slm),
            exposures=len(bundle.levels),
        )
        check_header({name: _plain(value) for name, value in header.items()})
        _describe(file, **header)
        file["__version__"] = np.bytes_(_SLMSUITE_VERSION)
        for number, levels in enumerate(bundle.levels.cpu().numpy()):
            full = np.full(panel, level_around(bench.slm), dtype=np.int64)
            full[inside] = levels
            gray = (gray_at_zero + slope * full) % 2**bits
            group = file.create_group(f"exposures/{number:03d}")
            phase = group.create_dataset(
                "phase", data=believed[full].astype(np.float32), compression="gzip", shuffle=True
            )
            _describe(phase, units="rad", sign="exp(+i phase)", increasing="delay", wrapped="[0, 2 pi)")
            display = group.create_dataset(
                "display", data=gray.astype(np.uint8 if bits <= 8 else np.uint16), compression="gzip"
            )
            _describe(
                display,
                units="gray level",
                bit_depth=bits,
                gray_at_zero_phase=gray_at_zero,
                gray_at_2pi=gray_at_zero,  # the circle closes: 2 pi is level 0 again
                gray_slope=slope,
                rounding="nearest",
            )
        file["phase"], file["display"] = file["exposures/000/phase"], file["exposures/000/display"]  # by hard link
        _describe(file.create_group("encoding"), kind="phase_only")
        _describe(
            file.create_group("optics"),
            f1_m=bench.lens1.focal_length,
            f2_m=bench.lens2.focal_length,
            magnification=bench.magnification,
            fourier_stop_m=np.array(bench.slm.grid.extent),
            coherence="coherent",
        )
        file["config"] = np.bytes_(bundle.config.encode())
        _describe(file["config"], format="TOML")
        expected = file.create_group("expected")
        _describe(
            expected,
            noise_seed=bundle.noise_seed,
            torch_version=str(torch.__version__),
            exposure=specification.camera.exposure,
            camera_pitch_m=bench.camera.grid.pitch,
            camera_binning=bench.camera.binning,
        )
        for name, data, units in (
            ("images", bundle.images.cpu().numpy().astype(np.float32), "1"),
            ("frames", bundle.frames.cpu().numpy().astype(np.uint32), "DN"),
            ("frames_noise_free", bundle.frames_noise_free.cpu().numpy().astype(np.uint32), "DN"),
        ):
            _describe(expected.create_dataset(name, data=data, compression="gzip"), units=units)
        for _, dataset in _datasets(file):
            _describe(dataset, sha256=_sha256(dataset))
        _describe(file, attributes_sha256=_attributes_sha256(file))


def _origin(panel: Sequence[int], used: Sequence[int]) -> list[int]:
    """Upper left pixel of the used area, which lies in the middle."""
    return [(n - m) // 2 for n, m in zip(panel, used, strict=True)]


def level_phases(slm: SLM) -> NDArray:
    """Phase of each level by which levels are chosen, in [0, 2 pi), float64: the nominal one, or that of a LUT."""
    lut, limited = (slm.effects[name] if name in slm.active else None for name in ("lut", "phase_range"))
    if lut is not None and lut.calibrated:
        return np.mod(lut.phase.numpy(), 2 * np.pi)
    if limited is not None and lut is None:
        return np.mod(limited.table(slm.bit_depth).numpy(), 2 * np.pi)
    return np.arange(2**slm.bit_depth) * (2 * np.pi / 2**slm.bit_depth)


def level_around(slm: SLM) -> int:
    """The level of phase 0, or the nearest, which the panel shows around the used area."""
    return int(np.abs(np.angle(np.exp(1j * level_phases(slm)))).argmin())


def _calibrations(slm: SLM) -> dict[str, object]:
    """What the masks account for already, so that nobody applies it twice."""
    lut = slm.effects["lut"] if "lut" in slm.active else None
    name = next((n for n in ("lut", "phase_range") if n in slm.active), "none")
    applied = name != "none" and (lut is None or lut.calibrated)
    flat = "flatness" in slm.active
    return {
        "lut_applied": applied,
        "lut_name": name if applied else "none",
        "lut_sha256": _array_sha256(level_phases(slm)) if applied else "none",
        "flatness_correction_included": flat,
        "flatness_sha256": _array_sha256(
            slm.effects["flatness"].map(slm.grid, torch.zeros((), dtype=torch.float64)).detach().numpy()
        )
        if flat
        else "none",
    }


def read_bundle(path: str | Path) -> Bundle:
    """A bundle whose checksums hold.

    Raises:
        BundleError: The file is missing, damaged, of another kind or of a newer major version; one line.
    """
    try:
        with h5py.File(path, "r") as file:
            return _read(file, str(path))
    except FileNotFoundError as error:
        raise BundleError(f"{path} does not exist.") from error
    except (OSError, RuntimeError) as error:
        raise BundleError(f"{path} cannot be read as HDF5: {str(error).splitlines()[0]}.") from error
    except BundleError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError, MemoryError) as error:
        # Whatever h5py, TOML or the configuration object to in a file that somebody changed.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BundleError(f"{path} is not a complete {SCHEMA}: {reason}") from error


def verify_bundle(path: str | Path) -> Bundle:
    """Read a bundle and prove it: checksums, device limits, and its frames simulated again from ``display`` alone.

    Frames without noise may differ by one count (rounding, on another processor); frames with noise must lie within
    7 standard deviations of them.

    Raises:
        BundleError: Anything differs; one line that names it.
    """
    bundle = read_bundle(path)
    with Path(path).open("rb") as file:
        stated, actual = file.read(_HEADER_BYTES), _header(file)
    try:
        again, again_noise_free = predict_frames(bundle.specification, bundle.levels, bundle.images, bundle.noise_seed)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise BundleError(
            f"{path} cannot be simulated: {str(error).splitlines()[0] if str(error) else 'memory'}"
        ) from error
    if again_noise_free.shape != bundle.frames_noise_free.shape:
        raise BundleError(
            f"{path}: expected/frames_noise_free has shape {tuple(bundle.frames_noise_free.shape)}, the simulation of "
            f"display gives {tuple(again_noise_free.shape)}."
        )
    worst = (again_noise_free - bundle.frames_noise_free).abs().max().item()
    if worst > 1:
        raise BundleError(
            f"{path}: expected/frames_noise_free differs from the simulation of display by up to {worst} counts."
        )
    if not torch.equal(again, bundle.frames):
        camera = bundle.specification.build().camera
        gain, pixels = camera.sensor.electrons_per_count, camera.binning**2
        variance = again_noise_free / gain + pixels * (camera.sensor.read_noise**2 / gain**2 + 1 / 12)
        deviations = ((bundle.frames - again_noise_free).abs() / variance.sqrt()).max().item()
        if deviations > 7:
            raise BundleError(
                f"{path}: expected/frames lie up to {deviations:.1f} standard deviations from the simulation of "
                "display, at most 7 are noise."
            )
    # Last, for it cannot say what was changed: even a bit that carries nothing.
    if stated != actual:
        raise BundleError(f"{path}: the file differs from the checksum in its header: it was changed after writing.")
    return bundle


def _read(file: h5py.File, path: str) -> Bundle:
    attributes = {name: _plain(value) for name, value in file.attrs.items()}
    if attributes.get("schema") != SCHEMA:
        raise BundleError(f"{path} is not an {SCHEMA}, its schema is {attributes.get('schema', 'missing')!r}.")
    version = str(attributes.get("schema_version"))
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise BundleError(
            f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}. "
            f"Install optics4f {attributes.get('producer_version', 'of its producer')} or newer."
        )
    try:
        check_header(attributes)
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error
    _refuse_links(file, path)
    exposures = [f"exposures/{number:03d}" for number in range(attributes["exposures"])]
    wanted = [*_ROOT_DATASETS, *(f"{exposure}/{name}" for exposure in exposures for name in ("phase", "display"))]
    if missing := [name for name in wanted if not isinstance(file.get(name), h5py.Dataset)]:
        raise BundleError(f"{path} lacks the dataset {', '.join(missing)}.")
    _refuse_claims(file, path)
    for name, dataset in _datasets(file):
        stored = _plain(dataset.attrs.get("sha256"))
        try:
            actual = _sha256(dataset)
        except OSError as error:
            raise BundleError(f"{path}: {name} is damaged: {str(error).splitlines()[0]}.") from error
        if stored != actual:
            raise BundleError(f"{path}: {name} differs from its checksum: the data were changed after writing.")
    if attributes.get("attributes_sha256") != _attributes_sha256(file):
        raise BundleError(f"{path}: attributes differ from their checksum: they were changed after writing.")
    for name in ("phase", "display"):
        if file[name].id != file[f"exposures/000/{name}"].id and file[name] != file[f"exposures/000/{name}"]:
            raise BundleError(f"{path}: {name} is not exposures/000/{name}.")
    config = str(_plain(file["config"][()]))
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
    for name, stated, wanted in (
        ("wavelength_m", attributes["wavelength_m"], specification.wavelength),
        ("device_slug", attributes["device_slug"], specification.slm.device),
        ("active_shape_px", attributes["active_shape_px"], list(specification.slm.shape)),
        ("design_wavelength_m", attributes["design_wavelength_m"], specification.wavelength),
        ("active_origin_px", attributes["active_origin_px"], _origin(attributes["shape"], specification.slm.shape)),
        ("pixel_pitch_m", attributes["pixel_pitch_m"], [bench.slm.grid.pitch] * 2),
        ("fill_factor", attributes["fill_factor"], bench.slm.fill_factor),
        ("f1_m", file["optics"].attrs["f1_m"], bench.lens1.focal_length),
        ("f2_m", file["optics"].attrs["f2_m"], bench.lens2.focal_length),
        ("magnification", file["optics"].attrs["magnification"], bench.magnification),
        *((name, bool(attributes[name]), False) for name in ("flip_ud", "flip_lr")),
        *((name, attributes[name], value) for name, value in _calibrations(bench.slm).items()),
        ("rotation_deg", attributes["rotation_deg"], 0.0),
    ):
        if stated != wanted:
            raise BundleError(f"{path}: {name} is {stated}, but the configuration that made it says {wanted}.")
    return bundle


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


def _refuse_links(file: h5py.File, path: str) -> None:
    """A link may lead to another file, or around what is checked: only what is stored here counts."""
    waiting, seen = [("", file)], set()
    while waiting:
        place, group = waiting.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise BundleError(
                    f"{path}: {place}{name} is a link to elsewhere. A bundle holds all of its data itself."
                )
            item = group.get(name)
            if isinstance(item, h5py.Group):
                waiting.append((f"{place}{name}/", item))


def _refuse_claims(file: h5py.File, path: str) -> None:
    """Datasets of another kind, or larger than what is stored can be, before any of them is read into memory."""
    total = 0
    for name, dataset in _datasets(file):
        kind = _KINDS.get(name.rsplit("/", 1)[-1], "uf")
        if dataset.dtype.kind not in kind or dataset.shape is None:
            raise BundleError(f"{path}: {name} must hold numbers or text of a fixed length, got {dataset.dtype}.")
        total += _claimed(name, dataset, path)
        if total > LARGEST:
            raise BundleError(f"{path}: {name} and what precedes it claim more than {LARGEST / 1e9:.0f} GB.")


def _claimed(name: str, dataset: h5py.Dataset, path: str) -> int:
    """Bytes that reading a dataset takes; refused where more are claimed than what is stored can hold."""
    layout = dataset.id.get_create_plist()
    # A chunk is unpacked as a whole, however little of it belongs to the dataset.
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    filters = {layout.get_filter(number)[0] for number in range(layout.get_nfilters())}
    if dataset.is_virtual or dataset.external or filters - _FILTERS:
        raise BundleError(f"{path}: {name} must be stored in the file itself, plain or by gzip.")
    stored = dataset.id.get_storage_size()
    claimed = max(dataset.nbytes, chunk)
    if claimed > min(_GZIP_AT_MOST * stored + 4096, LARGEST):
        raise BundleError(
            f"{path}: {name} claims {claimed / 1e6:.0f} MB from {stored} stored bytes. A file holds at "
            f"most {LARGEST / 1e9:.0f} GB, and gzip shrinks by at most {_GZIP_AT_MOST}."
        )
    return claimed


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


def read_arrays(
    path: str | Path, required: Sequence[str], optional: Sequence[str] = ()
) -> tuple[dict[str, NDArray], dict[str, object]]:
    """Numbers of an HDF5 file that is no bundle, such as measured frames or a calibration of slmsuite.

    Args:
        path: HDF5 file.
        required: Datasets that must be there.
        optional: Datasets that are read where they are there.

    Returns:
        Name -> array, and the attributes of the root that are numbers or text.

    Raises:
        BundleError: No HDF5 file; a dataset that is missing, no numbers, a link to elsewhere or claims too much.
    """
    try:
        with h5py.File(path, "r") as file:
            found = {}
            for name in (*required, *optional):
                parts = name.split("/")
                steps = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
                if not all(isinstance(file.get(step, getlink=True), h5py.HardLink) for step in steps):
                    if name in required:
                        raise BundleError(f"{path} lacks the dataset {name}.")
                    continue
                dataset = file[name]
                if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "uifb" or dataset.shape is None:
                    raise BundleError(f"{path}: {name} must be a dataset of numbers.")
                _claimed(name, dataset, str(path))
                found[name] = np.asarray(dataset[()])
            return found, {name: _plain(value) for name, value in file.attrs.items()}
    except BundleError:
        raise
    except FileNotFoundError as error:
        raise BundleError(f"{path} does not exist.") from error
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BundleError(f"{path} cannot be read as HDF5: {reason}.") from error


def write_arrays(path: str | Path, arrays: Mapping[str, NDArray], **attributes: object) -> None:
    """Write numbers to an HDF5 file, packed, whole or not at all.

    Args:
        path: HDF5 file.
        arrays: Name -> array; a name may hold folders, as in ``"expected/frames"``.
        **attributes: Attributes of the root: numbers and text.
    """
    with written_whole(path) as part, h5py.File(part, "w", libver="v110") as file:
        _describe(file, **attributes)
        for name, data in arrays.items():
            file.create_dataset(name, data=data, compression="gzip" if data.ndim else None)


def _describe(item: h5py.Group | h5py.Dataset, **attributes: object) -> None:
    """Attach attributes; text has a fixed length.

    A variable-length string is a pointer into a heap: one damaged bit of it, and HDF5 itself crashes on reading. With
    fixed lengths, and the layout of HDF5 1.10 whose metadata carry checksums, damage ends in an error instead.
    """
    for name, value in attributes.items():
        item.attrs[name] = np.bytes_(value.encode()) if isinstance(value, str) else value


def _datasets(file: h5py.File) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every dataset once, root names first."""
    names = sorted(name for name, item in file.items() if isinstance(item, h5py.Dataset))
    seen = {file[name].id.__hash__() for name in names}
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in [*names, *sorted(set(found) - set(names))]:
        if name in names or file[name].id.__hash__() not in seen:
            yield name, file[name]


def _sha256(dataset: h5py.Dataset) -> str:
    """Of the contiguous little-endian bytes, or of the text."""
    digest = hashlib.sha256()
    for value in _blocks(dataset):
        digest.update(value if isinstance(value, bytes) else _little_endian(np.asarray(value)))
    return digest.hexdigest()


def _blocks(dataset: h5py.Dataset, place: tuple[int, ...] = ()) -> Iterator[NDArray | bytes]:
    """The data in their order, some tens of MB at a time."""
    rest = dataset.shape[len(place) :]
    if math.prod(rest) * dataset.dtype.itemsize <= _BLOCK_BYTES:
        yield dataset[place]
        return
    rows = _BLOCK_BYTES // (math.prod(rest[1:]) * dataset.dtype.itemsize)
    for start in range(0, rest[0], max(rows, 1)):
        if rows:
            yield dataset[(*place, slice(start, start + rows))]
        else:
            yield from _blocks(dataset, (*place, start))


def _array_sha256(value: NDArray) -> str:
    return hashlib.sha256(_little_endian(value)).hexdigest()


def _little_endian(value: NDArray) -> bytes:
    return np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"))).tobytes()


@contextmanager
def _signed(path: str | Path) -> Iterator[Path]:
    """As ``written_whole``, and the header in front of the HDF5 data is filled in: the checksum of all bytes behind."""
    with written_whole(path) as part:
        yield part
        with part.open("r+b") as file:
            header = _header(file)
            file.seek(0)
            file.write(header)


def _header(file: BinaryIO) -> bytes:
    """The first 512 bytes of a bundle, which HDF5 passes over."""
    file.seek(_HEADER_BYTES)
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    text = f"{SCHEMA} {SCHEMA_VERSION}\nHDF5 from byte {_HEADER_BYTES}, SHA-256 {digest}, end {file.tell()}\n"
    return text.encode().ljust(_HEADER_BYTES, b"\0")


def _attributes_sha256(file: h5py.File) -> str:
    """Of all attributes of all groups and datasets but itself, as sorted JSON."""
    items = {"/": file, **{name: file[name] for name in _all_names(file)}}
    content = {
        name: {key: _plain(value) for key, value in item.attrs.items() if key != "attributes_sha256"}
        for name, item in items.items()
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _all_names(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visit(names.append)
    return names


def _plain(value: object) -> object:
    """An HDF5 attribute as JSON knows it."""
    if isinstance(value, bytes):  # numpy's as well: first, for it is a numpy scalar too
        return bytes(value).decode()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    return value
