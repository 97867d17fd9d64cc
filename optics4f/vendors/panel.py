"""The panel of a bench: what it takes, how levels become its gray values, and what it must not be given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..devices import SLMDevice, require, slm_device
from ..units import engineering, to_si

if TYPE_CHECKING:
    from ..units import Quantity

Mask = NDArray | Tensor


@dataclass(frozen=True)
class Panel:
    r"""A panel as it stands on the bench.

    Level :math:`k` of the simulation is the phase :math:`2 \pi k / 2^b`; the panel is sent gray values

    .. math:: g = (g_0 + s k) \bmod 2^b, \quad g_0 = 2^b - 1 \text{ for } s = -1, \text{ else } 0

    With ``gray_slope`` :math:`s = -1`, more gray is less delay, which is what slmsuite sends to all but TI's panels.

    Attributes:
        shape: Pixels of the whole panel ``(height, width)``.
        pitch: Pixel pitch [m], or text such as ``"8 um"``.
        wavelength: Wavelength [m] or text, at which its :math:`2^b` gray values are one turn.
        bit_depth: Bits ``b`` of a gray value.
        gray_slope: :math:`s`: +1 where more gray is more delay.
        flip_ud: Whether the panel is mounted upside down, so that what it is sent must be flipped.
        flip_lr: Whether it is mounted mirrored.
        name: For messages.
    """

    shape: tuple[int, int]
    pitch: float
    wavelength: float
    bit_depth: int = 8
    gray_slope: Literal[-1, 1] = -1
    flip_ud: bool = False
    flip_lr: bool = False
    name: str = "the panel"

    def __post_init__(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < 1:
            raise ValueError(f"shape of {self.name} must be (height, width) in pixels, got {self.shape}.")
        if self.bit_depth not in range(1, 17):
            raise ValueError(f"bit_depth of {self.name} must be in 1 ... 16, got {self.bit_depth}.")
        if self.gray_slope not in (-1, 1):
            raise ValueError(f"gray_slope of {self.name} must be -1 or 1, got {self.gray_slope}.")
        for name in ("pitch", "wavelength"):
            object.__setattr__(self, name, to_si(getattr(self, name), "m", name))
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} of {self.name} must be positive, got {getattr(self, name)} m.")

    @classmethod
    def of_device(cls, device: SLMDevice | str, *, wavelength: Quantity, **options: object) -> Panel:
        """The panel of a preset, with what ``options`` state instead of it.

        Args:
            device: Preset or its slug, such as ``"holoeye-pluto-2.1"``.
            wavelength: Wavelength [m] or text, for which the panel is set up.
            **options: Attributes of the panel.

        Raises:
            ValueError: A number that nobody has said; a wavelength that the device is not for.
        """
        device = slm_device(device) if isinstance(device, str) else device
        wavelength = to_si(wavelength, "m", "wavelength")
        for name in ("shape", "pitch", "bit_depth"):
            options.setdefault(name, require(device, name, table="slm"))
        if device.wavelength_range is not None:
            low, high = device.wavelength_range.value
            if not low <= wavelength <= high:
                raise ValueError(
                    f"wavelength must be in {engineering(low, 'm')} ... {engineering(high, 'm')} for {device.name}, "
                    f"got {engineering(wavelength, 'm')}."
                )
        options["shape"] = tuple(options["shape"])
        options.setdefault(
            "gray_slope", -1 if device.kind == "phase" else 1
        )  # slmsuite's signs; mirrors are not inverted
        return cls(wavelength=wavelength, **{"name": device.name, **options})

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """Type of a gray value: one byte up to 8 bits, else two."""
        return np.uint8 if self.bit_depth <= 8 else np.uint16

    @property
    def gray_at_zero(self) -> int:
        """Gray value of phase 0."""
        return 2**self.bit_depth - 1 if self.gray_slope < 0 else 0

    def check(self, *, wavelength: Quantity, pitch: Quantity) -> None:
        """Refuse masks that were made for other light or other pixels.

        Args:
            wavelength: Wavelength that the masks are for [m]; 1 nm may be off.
            pitch: Pixel pitch that they are for [m]; 0.1 % may be off.
        """
        wavelength, pitch = to_si(wavelength, "m", "wavelength"), to_si(pitch, "m", "pitch")
        if not abs(wavelength - self.wavelength) <= 1e-9:
            raise ValueError(
                f"wavelength must be {engineering(self.wavelength, 'm')} on {self.name}, got masks for "
                f"{engineering(wavelength, 'm')}. Make them for this light, or set the panel up for that."
            )
        if not abs(pitch / self.pitch - 1) <= 1e-3:
            raise ValueError(
                f"pitch must be {engineering(self.pitch, 'm')} on {self.name}, got masks for "
                f"{engineering(pitch, 'm')}. They are for another device."
            )

    def gray(self, levels: Mask) -> NDArray:
        """Gray values to send, as the panel is mounted, for one mask of levels.

        Args:
            levels: Integers, shape ``shape``.

        Returns:
            uint8 or uint16, shape ``shape``.

        Raises:
            ValueError: Another shape, NaN, fractions, a level beyond the bits.
        """
        levels = self.checked(levels, "the mask").astype(np.int64)
        return self.oriented((self.gray_at_zero + self.gray_slope * levels) % 2**self.bit_depth).astype(self.dtype)

    def levels(self, gray: Mask) -> NDArray:
        """Levels, int64, of gray values that were sent: the inverse of :meth:`gray`."""
        gray = self.oriented(self.checked(gray, "the image").astype(np.int64))
        return (self.gray_slope * (gray - self.gray_at_zero)) % 2**self.bit_depth

    def by_gray(self, of_level: NDArray) -> NDArray:
        """A table with one entry a level as one with an entry a gray value; the same takes it back."""
        numbers = np.arange(2**self.bit_depth)
        return of_level[(self.gray_slope * (numbers - self.gray_at_zero)) % 2**self.bit_depth]

    def oriented(self, image: NDArray) -> NDArray:
        """An image flipped as the panel is mounted; twice is once less."""
        return image[:: -1 if self.flip_ud else 1, :: -1 if self.flip_lr else 1].copy()

    def centred(self, levels: Mask, *, around: int = 0) -> NDArray:
        """Levels of a smaller used area in the middle of the panel, ``around`` beside it, as in a mask bundle.

        Raises:
            ValueError: It does not fit: nothing is cropped.
        """
        levels = as_array(levels)
        if levels.ndim != 2 or any(n > m for n, m in zip(levels.shape, self.shape, strict=True)):
            raise ValueError(
                f"the mask must fit on {self.shape} of {self.name}, got {levels.shape}. It is not cropped."
            )
        full = np.full(self.shape, around, dtype=levels.dtype)
        top, left = ((n - m) // 2 for n, m in zip(self.shape, levels.shape, strict=True))
        full[top : top + levels.shape[0], left : left + levels.shape[1]] = levels
        return full

    def checked(self, values: Mask, what: str) -> NDArray:
        """The values as integers of numpy, or a refusal that says what is wrong with them."""
        values = as_array(values)
        check_shape(values.shape, self.shape, what, self.name)
        if values.dtype.kind == "f":
            if not np.isfinite(values).all():
                raise ValueError(
                    f"{what} must be finite, got {np.count_nonzero(~np.isfinite(values))} NaN or inf in it."
                )
            if (values != np.rint(values)).any():
                raise ValueError(f"{what} must hold whole levels, got fractions. A phase needs slm.levels() first.")
        elif values.dtype.kind not in "iub":
            raise TypeError(f"{what} must hold integers, got {values.dtype}.")
        low, high = values.min(), values.max()
        if low < 0 or high >= 2**self.bit_depth:
            raise ValueError(
                f"{what} must hold 0 ... {2**self.bit_depth - 1} for {self.bit_depth} bits of {self.name}, "
                f"got {low:g} ... {high:g}. It is of another bit depth."
            )
        return values


def as_array(values: Mask) -> NDArray:
    """A tensor or an array as an array of the same shape."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def check_shape(shape: tuple[int, ...], wanted: tuple[int, int], what: str, of: str) -> None:
    """Refuse another shape, and say so where it is the transposed one."""
    if tuple(shape) == tuple(wanted):
        return
    if len(shape) == 2 and tuple(shape) == tuple(wanted)[::-1]:
        raise ValueError(
            f"{what} must be (height, width) = {wanted} for {of}, got {shape}: it is transposed. Swap its axes."
        )
    hint = "Take one mask of them." if len(shape) > 2 else "Nothing is cropped or padded; Panel.centred pads."
    raise ValueError(f"{what} must be (height, width) = {tuple(wanted)} for {of}, got {tuple(shape)}. {hint}")
