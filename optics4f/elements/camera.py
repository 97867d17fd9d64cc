r"""The camera: from light to counts, after EMVA 1288 (release 4.0).

.. math:: \mu_e = s \int_{pixel} |U|^2 \, dA, \qquad
          y = \mathrm{clip}\left( \mathrm{round}\left( n_e / g \right), 0, 2^b - 1 \right)

with :math:`n_e` a Poisson draw around :math:`\mu_e + \mu_d`, clipped at the full well, plus Gaussian read noise, and
:math:`g` electrons per count. Binned pixels are read one by one and summed as numbers: the sum of :math:`n^2`
pixels has :math:`n^2` times the full well and the levels, and :math:`n` times the read noise and the rounding noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..field import Field, Intensity
from ..grid import Grid
from ..noise import read_noise, shot_noise
from ..units import engineering, to_si

if TYPE_CHECKING:
    from ..units import Quantity


@dataclass(frozen=True)
class Sensor:
    """The numbers of one pixel.

    Attributes:
        full_well: Electrons at saturation [e-].
        read_noise: Standard deviation of the dark signal of a zero exposure [e-].
        bit_depth: Bits of the converter; its top level is the full well.
        dark_electrons: Mean dark signal of one exposure [e-].
    """

    full_well: float
    read_noise: float
    bit_depth: int
    dark_electrons: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.full_well < float("inf"):
            raise ValueError(f"full_well must be positive, got {self.full_well:g} e-.")
        if not 0 <= self.read_noise < float("inf"):
            raise ValueError(f"read_noise must not be negative, got {self.read_noise:g} e-.")
        if not 0 <= self.dark_electrons < float("inf"):
            raise ValueError(f"dark_electrons must not be negative, got {self.dark_electrons:g} e-.")
        if not 1 <= self.bit_depth <= 16:
            raise ValueError(f"bit_depth must be in 1 ... 16, got {self.bit_depth}.")

    @property
    def electrons_per_count(self) -> float:
        """Gain ``g`` [e-/DN]."""
        return self.full_well / (2**self.bit_depth - 1)


class Camera(nn.Module):
    """A camera with square pixels on a grid of its own.

    The exposure is stated by the signal that it gives: a pixel under intensity 1 (a white object pixel, imaged
    without loss) collects ``exposure`` times its full well. Source power, exposure time and quantum efficiency
    enter a simulation through this one number only.

    Args:
        shape: Pixels ``(height, width)`` after binning.
        pitch: Pitch of the sensor's own pixels [m].
        binning: Sensor pixels along each side of an output pixel.
        exposure: Share of the full well that intensity 1 fills; may exceed 1.
        sensor: Numbers of one sensor pixel; ``None`` is an ideal camera: no noise, no saturation, no levels.

    Shape:
        - Input: field or intensity of shape ``(..., height, width)`` on any grid that covers the camera.
        - Output: signal in units of intensity 1, real, shape ``(..., *grid.shape)``.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        pitch: Quantity,
        *,
        binning: int = 1,
        exposure: float = 0.5,
        sensor: Sensor | None = None,
    ) -> None:
        super().__init__()
        if binning < 1:
            raise ValueError(f"binning must be at least 1, got {binning}.")
        if not 0 < exposure < float("inf"):
            raise ValueError(f"exposure must be positive, got {exposure:g} of the full well.")
        self.pitch = to_si(pitch, "m", "pitch")
        self.grid = Grid(shape, round(self.pitch * binning, 15))
        self.binning = binning
        self.exposure = exposure
        self.sensor = sensor
        self._weights: dict[tuple, tuple[Tensor, Tensor]] = {}

    @property
    def white(self) -> float:
        """Electrons of an output pixel under intensity 1 [e-]; 1 for an ideal camera."""
        return 1.0 if self.sensor is None else self.exposure * self.sensor.full_well * self.binning**2

    def integrated(self, field: Field | Intensity) -> Tensor:
        """Mean intensity over each pixel's area, shape ``(..., *grid.shape)``; part-covered samples count in part."""
        intensity = field.intensity
        rows, columns = self._integration(field.grid, intensity)
        return rows @ intensity @ columns.mT

    def expected(self, field: Field | Intensity) -> Tensor:
        """Mean electrons of each output pixel before saturation [e-], dark signal included."""
        dark = 0.0 if self.sensor is None else self.sensor.dark_electrons * self.binning**2
        return self.integrated(field) * self.white + dark

    def counts(self, field: Field | Intensity, generator: torch.Generator | None = None) -> Tensor:
        """What the camera delivers [DN], whole numbers; noise-free (rounded and clipped) without a generator.

        The gradient is that of the expected signal, and zero where the pixel is saturated or reads zero. There is no
        black level: in darkness, read noise that would read below zero is clipped, so the mean is not zero.
        """
        if self.sensor is None:
            raise ValueError("counts need a sensor, got an ideal camera. Use expected(), or give the camera a Sensor.")
        pixels = self.binning**2
        electrons = self.expected(field)
        if generator is not None:
            electrons = shot_noise(electrons, generator)
        electrons = electrons.clamp(max=self.sensor.full_well * pixels)
        gain = self.sensor.electrons_per_count
        if generator is not None:
            # Each summed pixel is rounded by itself: 1/12 of a count each, seen as noise by the sum.
            rounding = (pixels - 1) * gain**2 / 12
            electrons = read_noise(electrons, (pixels * self.sensor.read_noise**2 + rounding) ** 0.5, generator)
        exact = electrons / gain
        counts = exact + (torch.round(exact) - exact).detach()
        return counts.clamp(0, (2**self.sensor.bit_depth - 1) * pixels)

    def forward(self, field: Field | Intensity, generator: torch.Generator | None = None) -> Tensor:
        if self.sensor is None:
            return self.integrated(field)
        return self.counts(field, generator) * (self.sensor.electrons_per_count / self.white)

    def _integration(self, grid: Grid, intensity: Tensor) -> tuple[Tensor, Tensor]:
        """Overlap of samples and pixels along y and x, cached for the grid that the camera looks at."""
        key = (grid, intensity.dtype, intensity.device)
        if key not in self._weights:
            self._weights = {
                key: tuple(
                    overlap(pixels, self.grid.pitch, samples, grid.pitch).to(intensity.device, intensity.dtype)
                    for pixels, samples in zip(self.grid.shape, grid.shape, strict=True)
                )
            }
        return self._weights[key]

    def extra_repr(self) -> str:
        pixels = f"{self.grid.shape[0]} x {self.grid.shape[1]} pixels of {self.binning} x {self.binning} of "
        pixels += engineering(self.pitch, "m")
        if self.sensor is None:
            return f"{pixels}, ideal: no noise, no saturation, no levels"
        return f"{pixels}, exposure={self.exposure:g}, {self.sensor}"


def overlap(pixels: int, pixel_pitch: float, samples: int, sample_pitch: float) -> Tensor:
    """Share of each pixel that each sample's cell covers, along one axis.

    Args:
        pixels: Number of pixels; that of index ``pixels // 2`` is centred on the axis.
        pixel_pitch: Their pitch [m]; the pixels are filled.
        samples: Number of samples, centred alike.
        sample_pitch: Their pitch [m].

    Returns:
        float64, shape ``(pixels, samples)``; rows sum to 1.

    Raises:
        ValueError: A pixel lies partly outside the samples.
    """
    edges = (torch.arange(pixels + 1, dtype=torch.float64) - pixels // 2 - 0.5) * (pixel_pitch / sample_pitch)
    cells = torch.arange(samples + 1, dtype=torch.float64) - samples // 2 - 0.5
    if edges[0] < cells[0] - 1e-6 or edges[-1] > cells[-1] + 1e-6:
        raise ValueError(
            f"the field must cover the camera, got {samples} samples of {engineering(sample_pitch, 'm')} for "
            f"{pixels} pixels of {engineering(pixel_pitch, 'm')}. Widen the image grid."
        )
    low = torch.maximum(edges[:-1, None], cells[None, :-1])
    high = torch.minimum(edges[1:, None], cells[None, 1:])
    return (high - low).clamp(min=0) * (sample_pitch / pixel_pitch)
