"""What the cost of an optical system depends on: tables of a configuration, each number with unit and source."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from optics4f.devices import camera_device, slm_device

from .terms import Term, amount


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
    """A camera; ``shape`` is the region that is read.

    ``exposure_time`` is that of an output which has all the light. ``frame_rate`` is that of all rows; that of a region
    is larger by the rows of the whole over those that are read, to the power ``row_exponent``: 0 where a region gains
    nothing, 1 where the time goes with the rows. Left out, ``frame_rate`` is taken as it stands.
    """

    device: CameraName
    exposure_time: Time = None
    shape: tuple[Count, Count] | None = None
    bit_depth: Count | None = None
    frame_rate: Rate = None
    row_exponent: Ratio = None
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
    """Energy of one sample [J], beyond what the power of SLM or camera contains; a range where that is not known."""

    dac_energy: Energy = None
    adc_energy: Energy = None


class OpticalCostSettings(_Settings):
    """One image through a 4f system.

    Attributes:
        note: Why its figures are not those of what was trained; empty where they are.
        tiled: Kernels lie beside each other on as few masks as possible; otherwise each has a mask and an exposure.
        masks: Masks that one image needs, one exposure each; kernels tiled on one mask count once
            (:func:`masks_for`).
        tiles: Outputs of one image in one exposure. They share the light, so the exposure is so many times as long.
        signed_pairs: Each mask is a pair: one exposure for the positive part, one for the negative.
        colours: Wavelengths, one after the other, each with its own input frame and its own mask.
        bit_planes: Binary frames that one image takes on a 1-bit display, each exposed and read on its own.
        parts: Pieces in which an image is shown that is larger than the display or the camera.
        images_per_frame: Small images side by side on one frame: they share its time and its energy.
        fixed_mask: The mask stays, for all colours too: nothing to upload, nothing to settle.
        overlapped: The next pattern is loaded and the last frame is read while this one is exposed, as DMDs and
            cameras with a global shutter do: an exposure takes the longest of these times, not their sum.
        pipelined: Images overlap; throughput is that of the busiest device, not of the sum.
        path_length: Way of the light, four focal lengths in a plain 4f.
        display: Shows the input; left out, the input is the scene itself.
    """

    note: str = ""
    tiled: bool = False
    masks: Count = 1
    tiles: Count = 1
    signed_pairs: bool = False
    colours: Count = 1
    bit_planes: Count = 1
    parts: Count = 1
    images_per_frame: Count = 1
    fixed_mask: bool = False
    overlapped: bool = False
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
        if self.parts > 1 and self.images_per_frame > 1:
            raise ValueError(
                f"images_per_frame must be 1 where an image takes {self.parts} parts, got {self.images_per_frame}. "
                "An image that does not fit leaves no room for another."
            )
        return self

    @property
    def input_frames(self) -> int:
        """Frames that the display shows for one image."""
        return self.colours * self.bit_planes * self.parts

    @property
    def exposures(self) -> int:
        """Camera exposures that one image needs."""
        return self.masks * (2 if self.signed_pairs else 1) * self.input_frames

    @property
    def mask_changes(self) -> int:
        """Times that the SLM takes another pattern for one image; a lone mask stays as it is."""
        patterns = self.masks * (2 if self.signed_pairs else 1) * self.colours
        return 0 if self.fixed_mask or patterns == 1 else self.exposures


def masks_for(kernels: int, tiles: int, *, signed: bool = False) -> int:
    r"""Masks for so many kernels, :math:`\lceil K s / n \rceil` with two tiles a kernel where signs are tiled too.

    Args:
        kernels: Kernels, input channels times output channels.
        tiles: Tiles on one mask.
        signed: Whether the positive and the negative part are tiles of their own.
    """
    return -(-kernels * (2 if signed else 1) // tiles)


def images_on_a_frame(frame: tuple[int, int], image: int, kernel: int) -> int:
    r"""Square images, or outputs, that lie side by side on a frame without touching.

    On a square frame of :math:`R` pixels that is :math:`\lfloor R / (M + N - 1) \rfloor^2` (FatNet, arXiv 2210.16914).

    Args:
        frame: Height and width of what the 4f system passes [pixels].
        image: Side of an image [pixels], :math:`M`.
        kernel: Side of a kernel [pixels], :math:`N`.
    """
    padded = image + kernel - 1
    return (frame[0] // padded) * (frame[1] // padded)
