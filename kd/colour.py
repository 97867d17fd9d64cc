r"""Front ends for images of several channels, and for light without coherence.

The channels of an image are shown beside each other on the object device, all in the same light. A mask whose PSF has
one part for each channel brings all of them to the same place on the camera, so that one exposure adds the channels:
the fields of coherent light, with any sign and phase, or the intensities of a self-luminous object.
"""

from __future__ import annotations

import math

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import pad

from kd.camera_filter import Ratio, camera_frames
from kd.channel_filter import filtered
from kd.students import OpticalFrontEnd
from optics4f.field import Field, Intensity, intensity
from optics4f.light import Mode
from optics4f.routes import PSFRoute
from optics4f.routes.route import Route


def side_by_side(images: Tensor) -> Tensor:
    """Channels in a row, the first on the left: ``(B, C, height, width)`` to ``(B, 1, height, C * width)``."""
    return images.transpose(1, 2).flatten(2)[:, None]


def channel_taps(kernels: Tensor, width: int) -> Tensor:
    """Kernels for each channel as one wide kernel of a mask, for channels that stand :func:`side_by_side`.

    Channel ``c`` of ``C`` stands ``(c - (C - 1) / 2) * width`` pixels beside the axis, and the tap that brings it
    back to the axis lies as far on the same side, for a 4f turns the image.

    Args:
        kernels: Shape ``(masks, C, height, taps)``, ``taps <= width``.
        width: Of a channel's image [logical pixels]; even, where ``C`` is even.

    Returns:
        Shape ``(masks, height, taps + (C - 1) * width)``, the middle tap on the axis.
    """
    channels, taps = kernels.shape[1], kernels.shape[-1]
    if taps > width:
        raise ValueError(f"kernels must be at most as wide as a channel's image of {width} pixels, got {taps} taps.")
    if channels % 2 == 0 and width % 2:
        raise ValueError(f"width must be even for {channels} channels, half a pixel cannot be a tap, got {width}.")
    spread = pad(kernels, (0, width - taps)).transpose(1, 2).flatten(2)
    return spread[..., : taps + (channels - 1) * width]


class ColourFrontEnd(OpticalFrontEnd):
    r"""A 4f bench that shows the channels beside each other and adds them as fields.

    .. math:: y_k = \left| \sum_c h_{kc} * x_c \right|^2

    One exposure for each mask, as for grey images. Each mask's light is divided among the channels, and what it
    sends of one channel to the place of another falls beside the camera.

    Args:
        route: As for :class:`~kd.students.OpticalFrontEnd`; the object of its bench is ``channels`` images wide.
        channels: Of the images.
        options: As for :class:`~kd.students.OpticalFrontEnd`.

    Shape:
        - Input: images ``(B, channels, height, width)`` in [0, 1].
        - Output: camera signal in units of a white object pixel, ``(B, masks, h, w)``.

    Raises:
        ValueError: An object whose width is no multiple of ``channels``; images of other channels.
    """

    def __init__(self, route: Route, *, channels: int, **options: object) -> None:
        super().__init__(route, **options)
        width = self.bench.illumination.shape[1]
        if channels < 1 or width % channels:
            raise ValueError(
                f"the object must be as wide as {channels} images, got {width} logical pixels. Set "
                "bench.object.shape to [height, channels * width]."
            )
        self.channels = channels

    def shown(self, images: Tensor) -> Tensor:
        if images.dim() != 4 or images.shape[1] != self.channels:
            raise ValueError(
                f"images must have shape (batch, {self.channels}, height, width), got {tuple(images.shape)}."
            )
        return side_by_side(images)

    def light(self, images: Tensor) -> Field | Intensity:
        if not (isinstance(self.route, PSFRoute) and self.bench.illumination.coherent and self.bench.slm.frames == 1):
            return super().light(images)
        parts = self._parts(self.route.point_spread_functions())
        field = filtered(self._objects(images), parts, self._length(), self._window())
        return Field(field, self.bench.image, self.bench.wavelength)

    # Each channel meets its own part of the PSF: transforms of one image's width in place of all the channels'.

    def _objects(self, images: Tensor) -> Tensor:
        """Amplitude of each channel on the image samples, turned by 180 degrees, ``(B, C, ...)``."""
        encoded, step = self._encoded(images), self.route.stride
        spread = encoded.new_zeros(*encoded.shape[:2], *(step * (n - 1) + 1 for n in encoded.shape[-2:]))
        spread[..., ::step, ::step] = encoded.flip((-2, -1))
        return spread

    def _encoded(self, images: Tensor) -> Tensor:
        """Amplitude of each channel's pixels, ``(B, C, height, width)``."""
        encoded = self.bench.illumination.encode(self.shown(images))[:, 0]
        return encoded.unflatten(-1, (self.channels, -1)).transpose(1, 2)

    def _parts(self, psf: Tensor) -> Tensor:
        """What each channel meets of the PSFs ``(masks, ...)`` on its way to the camera: ``(masks, C, ...)``."""
        width = self.bench.illumination.shape[1] // self.channels
        size = self.bench.image.shape[1] + self.route.stride * (width - 1)
        starts = (self.route.stride * width * channel for channel in range(self.channels))
        return torch.stack([psf[..., start : start + size] for start in starts], 1)

    def _length(self) -> tuple[int, int]:
        """Only outputs that see the whole image are kept, so wrap-around may spoil the rest."""
        rows, columns = self.bench.illumination.shape[0], self.bench.illumination.shape[1] // self.channels
        shapes = zip(self.bench.image.shape, (rows, columns), strict=True)
        lengths = (samples + self.route.stride * (n - 1) for samples, n in shapes)
        return tuple(4 * next_fast_len(math.ceil(n / 4)) for n in lengths)  # as for the PSF route

    def _window(self) -> tuple[slice, slice]:
        """Where the image plane's samples are in what the transforms give."""
        rows, columns = self.bench.illumination.shape[0], self.bench.illumination.shape[1] // self.channels
        starts = (self.route.stride * (n - 1) for n in (rows, columns))
        return tuple(slice(start, start + n) for start, n in zip(starts, self.bench.image.shape, strict=True))


class DifferentialFrontEnd(ColourFrontEnd):
    r"""Signed kernels with light without coherence: the difference of two exposures, linear in the image.

    .. math:: y_k = \sum_c x_c * \left( |h_{2k, c}|^2 - |h_{2k + 1, c}|^2 \right)

    Masks ``2 k`` and ``2 k + 1`` of the SLM belong to kernel ``k``. Noise, levels and the full well are those of the
    single exposures. With the PSF route :meth:`light` is on the camera's pixels, where these and the object's are
    multiples of each other in image samples.

    Args:
        route: Its bench has a self-luminous object in ``intensity`` encoding, and two masks a kernel.
        channels: Of the images.
        options: As for :class:`~kd.students.OpticalFrontEnd`.

    Shape:
        - Input: images ``(B, channels, height, width)`` in [0, 1].
        - Output: difference of camera signals in units of a white object pixel, ``(B, masks / 2, h, w)``.

    Raises:
        ValueError: Another source or encoding, or an odd number of masks.
    """

    def __init__(self, route: Route, *, channels: int = 1, **options: object) -> None:
        super().__init__(route, channels=channels, **options)
        light, masks = self.bench.illumination, self.bench.slm.masks
        if not light.self_luminous or light.encoding != "intensity":
            raise ValueError(
                f"the object must be self-luminous in intensity encoding to be linear, got {light.source} in "
                f"{light.encoding} encoding."
            )
        if masks % 2:
            raise ValueError(f"masks must be two for each kernel, got {masks}.")

    def light(self, images: Tensor) -> Intensity:
        total: Tensor | float = 0.0
        frames = self.bench.slm.frames
        for frame in range(frames):
            for mode in self.bench.illumination.modes():
                masks = self.route.mask_factors(mode.wavelength, frame)
                total = total + mode.weight / frames * self._seen(images, mode, masks)
        return Intensity(total, self.bench.image if self._ratio is None else self.bench.camera.grid)

    @property
    def _ratio(self) -> Ratio | None:
        """Of the samples of camera and object, where the camera's pixels alone need to be computed."""
        return Ratio.of(self.bench, self.route.stride) if isinstance(self.route, PSFRoute) else None

    def _seen(self, images: Tensor, mode: Mode, masks: Tensor) -> Tensor:
        """Intensity of one wavelength; kept for the gradient instead of computed twice, as the route would."""
        if not isinstance(self.route, PSFRoute):
            return self.route.self_luminous_intensity(self.shown(images), mode, masks)
        parts = self._parts(self.route.intensity_point_spread_functions(mode, masks))
        if self._ratio is not None:
            return camera_frames(intensity(self._encoded(images)), parts, self.bench, self._ratio)
        return filtered(intensity(self._objects(images)), parts, self._length(), self._window())

    def features(self, frames: Tensor) -> Tensor:
        return frames[:, 0::2] - frames[:, 1::2]
