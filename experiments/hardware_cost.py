"""Latency and energy of one image through a 4f system: a model in which every term has a name and a source.

A number comes from the configuration, or else from the preset of the device; where neither
knows it, the model asks for it by name. Bounds are carried through every sum and product.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator
from scipy.constants import speed_of_light

from optics4f.devices import CameraDevice, SLMDevice, camera_device, slm_device

from .terms import Term, amount, documented, total, weakest


def _amount_of(unit: str) -> Any:
    def parse(raw: Any, info: ValidationInfo) -> Term | None:
        try:
            return amount(raw, unit, info.field_name)
        except (TypeError, AttributeError) as error:  # a list, a date, a number where text should be
            raise ValueError(f"must be a quantity in {unit} or {{ low, nominal, high, source }}") from error

    return BeforeValidator(parse)


Time = Annotated[Term | None, _amount_of("s")]
Length = Annotated[Term | None, _amount_of("m")]
Rate = Annotated[Term | None, _amount_of("Hz")]
BitRate = Annotated[Term | None, _amount_of("bit/s")]
Power = Annotated[Term | None, _amount_of("W")]
Energy = Annotated[Term | None, _amount_of("J")]
Ratio = Annotated[Term | None, _amount_of("1")]
Count = Annotated[int, Field(ge=1)]
SLMName = Annotated[str, AfterValidator(lambda name: slm_device(name).slug)]
CameraName = Annotated[str, AfterValidator(lambda name: camera_device(name).slug)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModulatorSettings(_Settings):
    """A display or SLM: its preset, and numbers that override it or fill its gaps.

    ``stored`` says that the patterns wait in the controller's memory: nothing is sent for a frame.
    """

    device: SLMName
    shape: tuple[Count, Count] | None = None
    bit_depth: Count | None = None
    frame_rate: Rate = None
    settle_time: Time = None
    link_bandwidth: BitRate = None
    power: Power = None
    stored: bool = False


class CameraSettings(_Settings):
    """A camera; ``shape`` is the region that is read."""

    device: CameraName
    exposure_time: Time = None
    shape: tuple[Count, Count] | None = None
    bit_depth: Count | None = None
    frame_rate: Rate = None
    link_bandwidth: BitRate = None
    power: Power = None


class LaserSettings(_Settings):
    """Optical power [W] and the fraction of the wall power that becomes light."""

    power: Power = None
    wall_plug_efficiency: Ratio = None


class HostSettings(_Settings):
    """The share of the computer's power that this system answers for [W]."""

    power: Power = None


class DigitalSettings(_Settings):
    """The readout behind the camera: multiply-accumulates, and either a time or a rate [1/s] for them."""

    macs: Annotated[int, Field(ge=0)] = 0
    energy_per_mac: Energy = None
    time: Time = None
    mac_rate: Rate = None


class ConversionSettings(_Settings):
    """Energy of one sample [J]. Where the power of SLM or camera already contains its converters, state 0 here."""

    dac_energy: Energy = None
    adc_energy: Energy = None


class OpticalCostSettings(_Settings):
    """One image through a 4f system.

    Attributes:
        masks: Masks that one image needs, one exposure each; kernels tiled on one mask count once.
        signed_pairs: Each mask is a pair: one exposure for the positive part, one for the negative.
        colours: Wavelengths, one after the other, each with its own input frame and its own mask.
        fixed_mask: The mask stays, for all colours too: nothing to upload, nothing to settle.
        pipelined: Images overlap; throughput is that of the busiest device, not of the sum.
        path_length: Way of the light, four focal lengths in a plain 4f.
        display: Shows the input; left out, the input is the scene itself.
    """

    masks: Count = 1
    signed_pairs: bool = False
    colours: Count = 1
    fixed_mask: bool = False
    pipelined: bool = False
    path_length: Length = None
    display: ModulatorSettings | None = None
    slm: ModulatorSettings
    camera: CameraSettings
    laser: LaserSettings = LaserSettings()
    host: HostSettings = HostSettings()
    digital: DigitalSettings = DigitalSettings()
    conversion: ConversionSettings = ConversionSettings()

    @model_validator(mode="after")
    def _one_mask_cannot_be_many(self) -> OpticalCostSettings:
        if self.fixed_mask and (self.masks > 1 or self.signed_pairs):
            raise ValueError(
                f"fixed_mask must go with masks = 1 and no signed_pairs, got masks = {self.masks}, "
                f"signed_pairs = {self.signed_pairs}. Tile kernels and signs on the one mask."
            )
        return self

    @property
    def exposures(self) -> int:
        """Camera exposures that one image needs."""
        return self.masks * (2 if self.signed_pairs else 1) * self.colours

    @property
    def mask_changes(self) -> int:
        """Times that the SLM takes another pattern for one image; a lone mask stays as it is."""
        return 0 if self.fixed_mask or self.exposures == 1 else self.exposures


@dataclass(frozen=True)
class Stage:
    """A part of the latency and the devices that can do nothing else meanwhile."""

    term: Term
    occupies: tuple[str, ...]


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

    with :math:`T'` the time between images: :math:`T`, or that of the busiest device in a pipeline.
    Exposure and readout of the camera add up: an overlapped readout is not modelled.

    Raises:
        ValueError: A number that neither preset nor configuration gives, by its name and table.
    """
    stages = tuple(_stages(settings))
    latency = total("latency", (stage.term for stage in stages), "s")
    devices = dict.fromkeys(device for stage in stages for device in stage.occupies)
    busy = {
        device: total(f"{device} busy", (s.term for s in stages if device in s.occupies), "s") for device in devices
    }
    bottleneck = max(busy, key=lambda device: busy[device].nominal)
    interval = _slowest(busy.values()) if settings.pipelined else latency
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


def _slowest(terms: Iterable[Term]) -> Term:
    terms = tuple(terms)
    ends = (max(getattr(term, end) for term in terms) for end in ("low", "nominal", "high"))
    return Term("slowest device", *ends, "s", "maximum over devices", weakest(*terms))


def _stages(settings: OpticalCostSettings) -> Iterable[Stage]:
    display, slm, camera = settings.display, settings.slm, settings.camera
    exposures, changes, inputs = settings.exposures, settings.mask_changes, settings.colours
    shown = ("display",) if display else ()  # the input stands still while the masks go by
    if display:
        yield from _modulator_stages(display, "display", inputs, ("display",))
    yield from _modulator_stages(slm, "slm", changes, (*shown, "slm"))

    exposure = _known(camera.exposure_time, None, "exposure_time", "camera", "s")
    yield Stage((exposures * exposure).named("exposure", "s"), (*shown, "slm", "camera"))
    preset = camera_device(camera.device)
    frame_rate = _known(camera.frame_rate, preset, "frame_rate", "camera", "Hz")
    yield Stage((exposures / frame_rate).named("camera readout", "s"), ("camera",))
    yield Stage(_transfer(camera, preset, "camera", exposures).named("link camera to host", "s"), ("camera link",))
    yield Stage(_digital_time(settings.digital), ("host",))
    path = _known(settings.path_length, None, "path_length", "optical", "m")
    yield Stage((path / speed_of_light).named("flight of the light", "s"), ())


def _modulator_stages(
    settings: ModulatorSettings, table: str, frames: int, occupies: tuple[str, ...]
) -> Iterable[Stage]:
    if frames == 0:
        none = Term("", 0.0, 0.0, 0.0, "s", "the mask stays: nothing to upload, nothing to settle", "modelled")
        link = wait = settle = none
    else:
        preset = slm_device(settings.device)
        stored = Term("", 0.0, 0.0, 0.0, "s", "patterns stored in the controller", "assumed")
        link = stored if settings.stored else _transfer(settings, preset, table, frames)
        wait = frames / _known(settings.frame_rate, preset, "frame_rate", table, "Hz")
        settle = frames * _known(settings.settle_time, preset, "settle_time", table, "s")
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


def _transfer(
    settings: ModulatorSettings | CameraSettings, preset: SLMDevice | CameraDevice, table: str, frames: int
) -> Term:
    if settings.bit_depth is None and preset.bit_depth is None:
        raise ValueError(f"bit_depth of {preset.slug} must be known. Write bit_depth = ... under [{table}].")
    bits = settings.bit_depth or preset.bit_depth.value
    bandwidth = _known(settings.link_bandwidth, preset, "link_bandwidth", table, "bit/s")
    return frames * _pixels(settings, preset, table) * bits / bandwidth


def _digital_time(digital: DigitalSettings) -> Term:
    if digital.time is not None:
        return digital.time.named("digital readout", "s")
    if digital.macs == 0:
        return Term("digital readout", 0.0, 0.0, 0.0, "s", "no digital readout", "modelled")
    rate = _known(digital.mac_rate, None, "mac_rate", "digital", "1/s")
    return (digital.macs / rate).named("digital readout", "s")


def _counts(settings: OpticalCostSettings) -> dict[str, int]:
    slm, camera = settings.slm, settings.camera
    samples = settings.exposures * _pixels(camera, camera_device(camera.device), "camera")
    written = settings.mask_changes and settings.mask_changes * _pixels(slm, slm_device(slm.device), "slm")
    if settings.display:
        written += settings.colours * _pixels(settings.display, slm_device(settings.display.device), "display")
    return {
        "exposures": settings.exposures,
        "mask changes": settings.mask_changes,
        "samples written": written,
        "samples read": samples,
        "digital MACs": settings.digital.macs,
    }


def _energies(settings: OpticalCostSettings, interval: Term, counts: Mapping[str, int]) -> Iterable[Term]:
    efficiency = _known(settings.laser.wall_plug_efficiency, None, "wall_plug_efficiency", "laser", "1")
    if efficiency.high > 1:
        raise ValueError(f"wall_plug_efficiency must be at most 1, got {efficiency.high:g}. 30 % is 0.3.")
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
            yield (counts[counted] * _known(energy, None, key, table, "J")).named(name, "J")
