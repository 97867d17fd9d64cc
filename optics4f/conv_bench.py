"""Benches of an optical convolution: one with the light that the detection needs, and one for each tile."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from .design.tiling import Tile
from .elements import Camera, Illumination
from .elements.slm import Modulator
from .fourf import FourF
from .light import PointSource, SelfLuminous
from .misalignment import Misalignment
from .sampling import SamplingError
from .units import engineering, to_si

if TYPE_CHECKING:
    from .units import Quantity


def channel_wavelengths(given: Sequence[Quantity] | None, channels: int, bench: FourF) -> tuple[float, ...]:
    """Wavelength of each channel [m], the bench's own by default; refuses as many as there are no channels for."""
    if given is None:
        return (bench.wavelength,) * channels
    found = tuple(to_si(w, "m", "wavelengths") for w in given)
    if len(found) != channels or min(found) <= 0 or len(set(found)) != len(found):
        raise ValueError(f"wavelengths must be {channels} different ones, one for each channel, got {list(given)}.")
    for wavelength in found:
        bench.slm.check_wavelength(wavelength)
    return found


def diffraction_orders(bench: FourF, wavelength: float) -> tuple[float, float]:
    """Width of a diffraction order of the SLM's pixels [camera pixels]; also checks that these are logical pixels."""
    light, pitch = bench.illumination, bench.camera.grid.pitch
    imaged = -bench.magnification * light.block * light.grid.pitch
    if abs(imaged - pitch) > 1e-6 * pitch:
        raise SamplingError(
            f"a camera pixel must see one imaged logical pixel of {engineering(imaged, 'm')}, got "
            f"{engineering(pitch, 'm')}. Choose the binning, the logical pixels or f2 so that it does."
        )
    order = wavelength * bench.lens2.focal_length / bench.slm.grid.pitch / pitch
    return order, order


def prepared_bench(bench: FourF, masks: int, *, incoherent: bool) -> FourF:
    """A copy of the bench with the light that the detection needs, so many masks, and its camera on the object."""
    bench = copy.deepcopy(bench)  # what the layer sets, it sets on a bench of its own
    light = bench.illumination
    illumination = Illumination(
        light.shape,
        light.pixels.pitch,
        light.wavelength,
        pixels_per_logical=light.pixels_per_logical,
        samples_per_pixel=light.samples_per_pixel,
        encoding="intensity" if incoherent else "amplitude",
        source=SelfLuminous() if incoherent else PointSource(),
        dtype=light.dtype,
    )
    slm: Modulator = bench.slm
    slm.masks = masks
    slm.values = nn.Parameter(torch.full_like(slm.values[:1], slm.initial_value).repeat(masks, 1, 1))
    # A logical pixel is centred half a block beside the axis: the camera is moved to where its image is.
    middles = (p[n // 2].item() for p, n in zip(illumination.logical_positions(), light.shape, strict=True))
    return FourF(
        illumination,
        bench.lens1,
        slm,
        bench.lens2,
        bench.camera,
        samples_per_camera_pixel=round(bench.camera.grid.pitch / bench.image.pitch),
        pupil=bench.pupil,
        slm_position=bench.slm_position,
        camera_position=_moved(bench.camera_position, [bench.magnification * middle for middle in middles]),
    )


def tile_bench(bench: FourF, tile: Tile, number: int) -> FourF:
    """The bench with a camera that sees the window of one tile only."""
    camera, places = bench.camera, (tile.rows, tile.columns)
    shape = tuple(place.stop - place.start for place in places)
    centres = (
        (place.start + n // 2 - pixels // 2) * camera.grid.pitch
        for place, n, pixels in zip(places, shape, camera.grid.shape, strict=True)
    )
    sensor = camera.sensor
    if sensor is not None:
        # Each window is another part of the sensor, with fixed patterns of its own.
        sensor = replace(sensor, pattern_seed=sensor.pattern_seed + number)
    return FourF(
        bench.illumination,
        bench.lens1,
        bench.slm,
        bench.lens2,
        Camera(shape, camera.pitch, binning=camera.binning, exposure=camera.exposure, sensor=sensor),
        samples_per_camera_pixel=round(camera.grid.pitch / bench.image.pitch),
        pupil=bench.pupil,
        slm_position=bench.slm_position,
        camera_position=_moved(bench.camera_position, list(centres)),
    )


def _moved(position: Misalignment | None, shift: Sequence[float]) -> Misalignment:
    """A displacement, moved on."""
    if position is None:
        return Misalignment(shift=tuple(shift))
    if any(p.requires_grad for p in position.parameters()):
        raise ValueError("camera_position must not train in a convolution. Fit it first, then build the layer.")
    moved = copy.deepcopy(position)
    with torch.no_grad():
        moved.shift += torch.tensor(shift, dtype=torch.float64, device=moved.shift.device)
    return moved
