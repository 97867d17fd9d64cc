"""How the optics do their part of a student: masks in turn or tiles, parts of a large image, images side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optics4f.devices import camera_device, slm_device

from .optical_settings import OpticalCostSettings, images_on_a_frame, masks_for

FILL = 8  # sides an octave between those where the layout changes


@dataclass(frozen=True)
class OpticalTask:
    """What the optics do of a student, and what they leave to electronics; the same at every size of the image.

    Attributes:
        kernels: Convolution kernels.
        kernel_size: Side of a kernel [pixels].
        head_macs: Multiply-accumulates behind the pooled maps.
        signed: Positive and negative parts of a kernel are outputs of their own.
    """

    kernels: int
    kernel_size: int
    head_macs: int
    signed: bool = False

    @property
    def outputs(self) -> int:
        """Outputs that the camera has to see."""
        return self.kernels * (2 if self.signed else 1)

    def readout_macs(self, side: int) -> int:
        """Digital operations behind the camera: one addition a pixel of each output, then the head."""
        return self.outputs * side**2 + self.head_macs


@dataclass(frozen=True)
class Layout:
    """How an image and its outputs lie on the devices.

    Attributes:
        masks: Masks, one exposure each.
        tiles: Outputs of one image in one exposure.
        parts: Pieces of an image that is larger than a device.
        images: Images side by side.
        places: Rows and columns of outputs on the camera.
        region: Height and width of what the camera reads [pixels].
    """

    masks: int
    tiles: int
    parts: int
    images: int
    places: tuple[int, int]
    region: tuple[int, int]

    @property
    def counts(self) -> tuple:
        """All that jumps where an image grows by a pixel; the region does not."""
        return self.masks, self.tiles, self.parts, self.images, self.places


def layout(settings: OpticalCostSettings, side: int, task: OpticalTask, *, alone: bool) -> Layout | None:
    """Masks, tiles, parts and images as the devices have room.

    Trained masks go by in turn. Tiles lie beside each other, as many at a time as fit. Where there is room for more,
    other images are shown beside the first. An image larger than a device is shown in parts that overlap by a kernel.
    A frame has the pixels that all devices have; the camera reads the rectangle that is used.

    Args:
        settings: The system.
        side: Side of the image [pixels].
        task: Kernels and their size.
        alone: One image at a time, as latency asks for.

    Returns:
        ``None`` where a mask that cannot change is too small, or a scene that cannot be cut.
    """
    frame, kernel = frame_shape(settings), task.kernel_size
    padded = side + kernel - 1
    room, images, parts = images_on_a_frame(frame, side, kernel), 1, 1
    wanted = task.outputs if settings.tiled or settings.fixed_mask else 1
    if room == 0:
        if settings.display is None or min(frame) < kernel:
            return None
        parts = math.prod(math.ceil(side / (pixels - kernel + 1)) for pixels in frame)
        tiles, places, region = 1, (1, 1), (min(frame[0], padded), min(frame[1], padded))
    else:
        tiles = min(room, wanted)
        if room >= wanted and settings.display is not None and not alone:
            images = room // wanted
        columns = min(images * tiles, frame[1] // padded)
        places = (math.ceil(images * tiles / columns), columns)
        region = (places[0] * padded, places[1] * padded)
    masks = masks_for(task.kernels, tiles, signed=task.signed)
    if settings.fixed_mask and masks > 1:
        return None
    return Layout(masks, tiles, parts, images, places, region)


def fitted(settings: OpticalCostSettings, side: int, task: OpticalTask, *, alone: bool) -> OpticalCostSettings | None:
    """The settings for an image of ``side`` pixels, laid out as :func:`layout` says; ``None`` where it does not fit."""
    found = layout(settings, side, task, alone=alone)
    if found is None:
        return None
    return settings.model_copy(
        update={
            **{"masks": found.masks, "tiles": found.tiles, "parts": found.parts, "images_per_frame": found.images},
            "camera": settings.camera.model_copy(update={"shape": found.region}),
            "digital": settings.digital.model_copy(update={"macs": task.readout_macs(side)}),
        }
    )


def frame_shape(settings: OpticalCostSettings) -> tuple[int, int]:
    """Height and width that display, SLM and camera all have [pixels]."""
    parts = [(settings.slm, slm_device), (settings.camera, camera_device)]
    if settings.display is not None:
        parts.append((settings.display, slm_device))
    shapes = []
    for part, find in parts:
        preset = find(part.device)
        if part.shape is None and preset.shape is None:
            raise ValueError(f"shape of {preset.slug} must be known. Write shape = [height, width] under it.")
        shapes.append(part.shape or preset.shape.value)
    return min(shape[0] for shape in shapes), min(shape[1] for shape in shapes)


def telling_sides(settings: OpticalCostSettings, sides: Sequence[int], task: OpticalTask) -> tuple[int, ...]:
    """``sides``, those before and after each change of the layout between them, and some between.

    Costs of optics jump where an image takes another mask or another part. Between two neighbours of these sides no
    count changes, so costs may be interpolated there, and nowhere else.
    """
    first, last = min(sides), max(sides)
    steps = math.ceil(FILL * math.log2(last / first))
    found = {*sides, *(round(first * (last / first) ** (i / steps)) for i in range(steps + 1))}
    before = None
    for side in range(first, last + 1):
        both = (layout(settings, side, task, alone=alone) for alone in (True, False))
        now = tuple(one and one.counts for one in both)
        if side > first and now != before:
            found |= {side - 1, side}
        before = now
    return tuple(sorted(found))
