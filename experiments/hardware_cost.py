"""Latency and energy of one image through a 4f system: a model in which every term has a name and a source.

A number comes from the configuration, or else from the preset of the device; where neither
knows it, the model asks for it by name. Bounds are carried through every sum and product.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

import numpy as np
from scipy.constants import speed_of_light

from optics4f.devices import CameraDevice, SLMDevice, camera_device, slm_device

from .optical_settings import CameraSettings, DigitalSettings, ModulatorSettings, OpticalCostSettings
from .terms import Term, documented, total, weakest


@dataclass(frozen=True)
class Stage:
    """A part of the latency and the devices that can do nothing else meanwhile.

    ``held`` is how long they are kept from the next image, where that is not the part of the latency.
    """

    term: Term
    occupies: tuple[str, ...]
    held: Term | None = None


@dataclass(frozen=True)
class CostTable:
    """What one image costs. ``bottleneck`` is the device that is busy longest.

    ``busy`` is the time of each device per image; in a pipeline no schedule is faster than the longest.
    """

    latency: Term
    throughput: Term
    energy: Term
    stages: tuple[Stage, ...]
    energies: tuple[Term, ...]
    busy: Mapping[str, Term]
    bottleneck: str
    counts: Mapping[str, int]

    def to_rows(self) -> list[dict[str, Any]]:
        """All terms as plain dictionaries for tables and JSON."""
        groups = {
            "result": (self.latency, self.throughput, self.energy),
            "latency": tuple(stage.term for stage in self.stages),
            "busy": tuple(self.busy.values()),
            "energy": self.energies,
            "count": tuple(Term(k, n, n, n, "1", "settings", "assumed") for k, n in self.counts.items()),
        }
        return [{"group": group} | asdict(term) for group, terms in groups.items() for term in terms]


def optical_cost(settings: OpticalCostSettings) -> CostTable:
    r"""Latency, throughput and energy of one image through the system.

    .. math::
        T = \sum_i t_i, \qquad
        E = (P_\mathrm{laser}/\eta + P_\mathrm{SLM} + P_\mathrm{camera} + P_\mathrm{host})\, T'
          + N_\mathrm{in} E_\mathrm{DAC} + N_\mathrm{out} E_\mathrm{ADC} + N_\mathrm{MAC} E_\mathrm{MAC}

    with :math:`T'` the time between images: :math:`T`, or that of the busiest device in a pipeline, over the images
    that share a frame. ``counts`` are those of all images on a frame together; latency is theirs too, for an image
    waits for its frame.

    Raises:
        ValueError: A number that neither preset nor configuration gives, by its name and table.
    """
    stages = tuple(_stages(settings))
    latency = total("latency", (stage.term for stage in stages), "s")
    devices = dict.fromkeys(device for stage in stages for device in stage.occupies)
    busy = {
        device: total(f"{device} busy", (s.held or s.term for s in stages if device in s.occupies), "s")
        for device in devices
    }
    bottleneck = max(busy, key=lambda device: np.median(busy[device].nominal))
    interval = _slowest(busy.values()) if settings.pipelined else latency
    interval = interval if settings.images_per_frame == 1 else _shared(interval, settings.images_per_frame)
    counts = _counts(settings)
    energies = tuple(_energies(settings, interval, counts))
    return CostTable(
        latency=latency,
        throughput=(1.0 / interval).named("throughput", "1/s", source=f"1 / {interval.name}"),
        energy=total("energy", energies, "J"),
        stages=stages,
        energies=energies,
        busy=busy,
        bottleneck=bottleneck,
        counts=counts,
    )


def _shared(interval: Term, images: int) -> Term:
    return (interval / images).named(f"{interval.name}, shared by {images} images", "s")


def _slowest(terms: Iterable[Term]) -> Term:
    terms = tuple(terms)
    ends = (reduce(np.maximum, (getattr(term, end) for term in terms)) for end in ("low", "nominal", "high"))
    return Term("slowest device", *ends, "s", "maximum over devices", weakest(*terms))


def _stages(settings: OpticalCostSettings) -> Iterable[Stage]:
    yield from (_overlapped if settings.overlapped else _in_turn)(settings)
    yield Stage(_digital_time(settings.digital, settings.images_per_frame), ("host",))
    path = _known(settings.path_length, None, "path_length", "optical", "m")
    yield Stage((path / speed_of_light).named("flight of the light", "s"), ())


def _in_turn(settings: OpticalCostSettings) -> Iterable[Stage]:
    """Each pattern is loaded, settles, is exposed and read before the next."""
    display, slm, camera = settings.display, settings.slm, settings.camera
    shown = ("display",) if display else ()  # the input stands still while the masks go by
    if display:
        yield from _modulator_stages(display, "display", settings.input_frames, ("display",))
    yield from _modulator_stages(slm, "slm", settings.mask_changes, (*shown, "slm"))
    exposure, frame, link = _camera_times(camera, settings.tiles)
    exposures = settings.exposures
    yield Stage((exposures * exposure).named("exposure", "s"), (*shown, "slm", "camera"))
    yield Stage((exposures * frame).named("camera readout", "s"), ("camera",))
    yield Stage((exposures * link).named("link camera to host", "s"), ("camera link",))


def _overlapped(settings: OpticalCostSettings) -> Iterable[Stage]:
    """Loading, exposing and reading at the same time.

    The first pattern is loaded, settles and is exposed; then the slowest of these times sets the beat of the others;
    the last frame is read and sent. With one exposure nothing overlaps, and it takes as long as in turn. The published
    form is the number of passes over the lower frame rate, plus a readout and the back end.
    """
    display, slm, camera = settings.display, settings.slm, settings.camera
    shown = ("display",) if display else ()
    exposure, frame, link = _camera_times(camera, settings.tiles)
    beats = [frame.named("camera frame", "s"), link.named("camera link", "s")]
    if settings.mask_changes:
        if display:
            yield from _modulator_stages(display, "display", settings.input_frames, ("display",))
        driver, table = slm, "slm"
    else:
        driver, table = display, "display"  # the mask stays: frames are those of the input, or of the scene
    first = exposure
    if driver:
        load, wait, settle = _modulator_times(driver, table)
        yield Stage(load.named(f"link host to {table}", "s"), ())
        yield Stage(wait.named(f"{table} frame wait", "s"), ())
        beats += [wait.named(f"{table} frame", "s"), load.named(f"{table} link", "s")]
        first = settle + exposure
    first = first.named("settling and exposure" if driver else "exposure", "s")
    beat = _slowest([*beats, first])
    limit = max([*beats, first], key=lambda term: np.median(term.nominal))
    exposures = settings.exposures
    yield Stage(
        (first + ((exposures - 1) * beat).named("others", "s")).named(
            "exposure", "s", source=f"{first.name}, then the longest at each: {limit.name} ({limit.source})"
        ),
        (*shown, "slm", "camera"),
        held=(exposures * beat).named("exposures", "s"),
    )
    yield Stage(frame.named("camera readout", "s"), ())
    yield Stage(link.named("link camera to host", "s"), ())


def _camera_times(camera: CameraSettings, tiles: int) -> tuple[Term, Term, Term]:
    """One exposure of so many outputs, one readout, one transfer [s]."""
    preset = camera_device(camera.device)
    exposure = _known(camera.exposure_time, None, "exposure_time", "camera", "s")
    shared = exposure.source if tiles == 1 else f"{exposure.source}; {tiles} tiles share the light"
    exposure = (tiles * exposure).named("exposure", "s", source=shared)
    return exposure, _frame_time(camera, preset), _transfer(camera, preset, "camera")


def _frame_time(camera: CameraSettings, preset: CameraDevice) -> Term:
    rate = _known(camera.frame_rate, preset, "frame_rate", "camera", "Hz")
    gain = camera.row_exponent
    if gain is None or camera.shape is None or preset.shape is None or camera.shape[0] >= preset.shape.value[0]:
        return (1 / rate).named("frame", "s")
    if np.any(gain.high > 1):
        raise ValueError(
            f"row_exponent must be at most 1, got {np.max(gain.high):g}. 1 is a time in proportion to rows."
        )
    rows, all_rows = camera.shape[0], preset.shape.value[0]
    ends = ((all_rows / rows) ** end for end in (gain.low, gain.nominal, gain.high))
    faster = Term("region", *ends, "1", f"{rows} of {all_rows} rows: {gain.source}", gain.kind)
    return (1 / (rate * faster)).named("frame", "s")


def _modulator_times(settings: ModulatorSettings, table: str) -> tuple[Term, Term, Term]:
    """One transfer, one frame, one settling [s]."""
    preset = slm_device(settings.device)
    stored = Term("", 0.0, 0.0, 0.0, "s", "patterns stored in the controller", "assumed")
    link = stored if settings.stored else _transfer(settings, preset, table)
    frame = (1 / _known(settings.frame_rate, preset, "frame_rate", table, "Hz")).named("frame", "s")
    return link, frame, _known(settings.settle_time, preset, "settle_time", table, "s")


def _modulator_stages(
    settings: ModulatorSettings, table: str, frames: int, occupies: tuple[str, ...]
) -> Iterable[Stage]:
    none = Term("", 0.0, 0.0, 0.0, "s", "the mask stays: nothing to upload, nothing to settle", "modelled")
    times = (frames * term for term in _modulator_times(settings, table)) if frames else (none,) * 3
    link, wait, settle = times
    yield Stage(link.named(f"link host to {table}", "s"), (f"{table} link",))
    yield Stage(wait.named(f"{table} frame wait", "s"), occupies)
    yield Stage(settle.named(f"{table} settling", "s"), occupies)


def _known(stated: Term | None, preset: SLMDevice | CameraDevice | None, name: str, table: str, unit: str) -> Term:
    """The configuration's number, or the preset's, or a question for it."""
    if stated is not None:
        return stated
    value = getattr(preset, name) if preset else None
    if value is not None:
        return documented(value, name)
    whose = f"{name} of {preset.slug}" if preset else name
    raise ValueError(
        f"{whose} must be known, but neither a preset nor the configuration gives it. Write {name} = "
        f'{{ low = ..., nominal = ..., high = ..., source = "..." }} [{unit}] under [{table}].'
    )


def _pixels(settings: ModulatorSettings | CameraSettings, preset: SLMDevice | CameraDevice, table: str) -> int:
    if settings.shape:
        return math.prod(settings.shape)
    if preset.shape is None:
        raise ValueError(f"shape of {preset.slug} must be known. Write shape = [height, width] under [{table}].")
    return math.prod(preset.shape.value)


def _transfer(settings: ModulatorSettings | CameraSettings, preset: SLMDevice | CameraDevice, table: str) -> Term:
    """Time of one frame on its link [s]."""
    if settings.bit_depth is None and preset.bit_depth is None:
        raise ValueError(f"bit_depth of {preset.slug} must be known. Write bit_depth = ... under [{table}].")
    bits = settings.bit_depth or preset.bit_depth.value
    bandwidth = _known(settings.link_bandwidth, preset, "link_bandwidth", table, "bit/s")
    return (_pixels(settings, preset, table) * bits / bandwidth).named("link", "s")


def _digital_time(digital: DigitalSettings, images: int) -> Term:
    if digital.time is not None:
        return (images * digital.time).named("digital readout", "s")
    if digital.macs == 0:
        return Term("digital readout", 0.0, 0.0, 0.0, "s", "no digital readout", "modelled")
    rate = _known(digital.mac_rate, None, "mac_rate", "digital", "1/s")
    return (images * digital.macs / rate).named("digital readout", "s")


def _counts(settings: OpticalCostSettings) -> dict[str, int]:
    slm, camera = settings.slm, settings.camera
    samples = settings.exposures * _pixels(camera, camera_device(camera.device), "camera")
    written = settings.mask_changes and settings.mask_changes * _pixels(slm, slm_device(slm.device), "slm")
    if settings.display:
        written += settings.input_frames * _pixels(settings.display, slm_device(settings.display.device), "display")
    return {
        "images per frame": settings.images_per_frame,
        "exposures": settings.exposures,
        "mask changes": settings.mask_changes,
        "samples written": written,
        "samples read": samples,
        "digital MACs": settings.images_per_frame * settings.digital.macs,
    }


def _energies(settings: OpticalCostSettings, interval: Term, counts: Mapping[str, int]) -> Iterable[Term]:
    efficiency = _known(settings.laser.wall_plug_efficiency, None, "wall_plug_efficiency", "laser", "1")
    if np.any(efficiency.high > 1):
        raise ValueError(f"wall_plug_efficiency must be at most 1, got {np.max(efficiency.high):g}. 30 % is 0.3.")
    powers = {"laser": _known(settings.laser.power, None, "power", "laser", "W") / efficiency}
    if settings.display:
        powers["display"] = _known(settings.display.power, slm_device(settings.display.device), "power", "display", "W")
    powers["slm"] = _known(settings.slm.power, slm_device(settings.slm.device), "power", "slm", "W")
    powers["camera"] = _known(settings.camera.power, camera_device(settings.camera.device), "power", "camera", "W")
    powers["host"] = _known(settings.host.power, None, "power", "host", "W")
    for name, power in powers.items():
        yield (power * interval).named(f"{name} power", "J", source=f"{power.source}; over the {interval.name}")
    per_sample = {
        "DAC": ("samples written", settings.conversion.dac_energy, "dac_energy", "conversion"),
        "ADC": ("samples read", settings.conversion.adc_energy, "adc_energy", "conversion"),
        "digital readout": ("digital MACs", settings.digital.energy_per_mac, "energy_per_mac", "digital"),
    }
    for name, (counted, energy, key, table) in per_sample.items():
        if counts[counted] == 0:
            yield Term(name, 0.0, 0.0, 0.0, "J", f"no {counted}", "modelled")
        else:
            share = counts[counted] / counts["images per frame"]
            yield (share * _known(energy, None, key, table, "J")).named(name, "J")
