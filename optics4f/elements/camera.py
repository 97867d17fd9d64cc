r"""The camera: from light to counts, after EMVA 1288 (release 4.0).

.. math:: \mu_e = s \int_{pixel} |U|^2 \, dA, \qquad
          y = \mathrm{clip}\left( \mathrm{round}\left( n_e / g + o \right), 0, 2^b - 1 \right)

with :math:`n_e` a Poisson draw around :math:`(1 + p) \mu_e + \mu_d`, clipped at the full well, plus :math:`d` and
Gaussian read noise, :math:`g` electrons per count, the black level :math:`o` and the sensor's fixed patterns :math:`p`
and :math:`d`. Binned pixels are read one by one and summed as numbers: the sum of :math:`n^2` pixels has :math:`n^2`
times the full well and the levels, and :math:`n` times the read noise and the rounding noise.
"""

from __future__ import annotations

import math
from dataclasses import replace
from numbers import Integral
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..field import Field, Intensity
from ..grid import Grid
from ..noise import delivered, poisson, read_noise
from ..units import engineering, to_si
from .sensor import Sensor

if TYPE_CHECKING:
    from ..units import Quantity


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

    Light that is negative or not finite is refused on the CPU; on a GPU, where looking at it would wait for the device,
    NaN comes out, and :meth:`sample` alone looks.

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
        if isinstance(binning, bool) or not isinstance(binning, Integral):
            raise TypeError(f"binning must be a whole number of pixels, got {binning!r}.")
        if binning < 1:
            raise ValueError(f"binning must be at least 1, got {binning}.")
        if not 0 < exposure < float("inf"):
            raise ValueError(f"exposure must be positive, got {exposure:g} of the full well.")
        if sensor is not None:
            sensor.room()  # refuses a dark signal that fills the well, and one that nobody has timed
        self.pitch = to_si(pitch, "m", "pitch")
        self.grid = Grid(shape, round(self.pitch * binning, 15))
        self.binning = binning
        self.exposure = exposure
        self.sensor = sensor
        self._weights: dict[tuple, tuple[Tensor | slice, Tensor | slice]] = {}
        self._drawn: dict[tuple, tuple[Tensor | None, Tensor | None]] = {}

    @property
    def white(self) -> float:
        """Electrons of an output pixel under intensity 1 [e-]; 1 for an ideal camera."""
        return 1.0 if self.sensor is None else self.exposure * self.sensor.full_well * self.binning**2

    @property
    def saturation(self) -> float:
        """Largest count of an output pixel [DN]: of full wells, or of the converter; ``inf`` for an ideal camera."""
        if self.sensor is None:
            return math.inf
        full = round(self.binning**2 * (self.sensor.full_well / self.sensor.electrons_per_count + self.sensor.offset))
        return float(min(full, (2**self.sensor.bit_depth - 1) * self.binning**2))

    def integrated(self, field: Field | Intensity) -> Tensor:
        """Mean intensity over each pixel's area, shape ``(..., *grid.shape)``; part-covered samples count in part."""
        intensity = field.intensity
        rows, columns = self._integration(field.grid, intensity)
        seen = intensity[..., rows, :] if isinstance(rows, slice) else rows @ intensity
        if isinstance(columns, slice):  # a frame of its own, whoever changes it
            return _light(seen[..., columns].clone(memory_format=torch.contiguous_format))
        return _light(seen @ columns.mT)

    def expected(self, field: Field | Intensity) -> Tensor:
        """Mean electrons of each output pixel before saturation [e-], dark signal and fixed patterns included."""
        collected, pattern = self._collected(field)
        return collected if pattern is None else collected + pattern

    def _collected(self, field: Field | Intensity) -> tuple[Tensor, Tensor | None]:
        """Mean electrons that a pixel collects, and the offset [e-] that its own dark pattern adds when it is read."""
        signal = self.integrated(field) * self.white
        if self.sensor is None:
            return signal, None
        response, pattern = self._patterns(signal)
        signal = signal if response is None else signal * response
        return signal + self.sensor.mean_dark * self.binning**2, pattern

    def sample(self, field: Field | Intensity, generator: torch.Generator) -> Tensor:
        """One exposure [DN]: :meth:`counts` with noise.

        Raises:
            ValueError: The light is negative or not finite, or the camera is ideal.
        """
        _light(self.integrated(field), everywhere=True)
        return self.counts(field, generator)

    def auto_exposed(self, field: Field | Intensity, fraction: float = 0.8) -> Camera:
        """This camera with the exposure at which the brightest pixel fills ``fraction`` of its full well.

        An exposure time, where it is stated, grows with the exposure, and its dark signal with it.

        Raises:
            ValueError: An ideal camera, darkness, or a dark signal that alone fills the fraction.
        """
        if self.sensor is None:
            raise ValueError("an exposure needs a sensor, got an ideal camera. Give the camera a Sensor.")
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {fraction:g} of the full well.")
        pixels, sensor = self.binning**2, self.sensor
        light = _light(self.integrated(field), everywhere=True) * self.white
        response, _ = self._patterns(light)
        brightest = (light if response is None else light * response).max().item()
        if not brightest > 0:
            raise ValueError(f"an exposure needs light, got a brightest pixel of {brightest:g} e-.")
        grows = brightest + sensor.dark_current * (sensor.exposure_time or 0.0) * pixels
        factor = (fraction * sensor.full_well - sensor.dark_electrons) * pixels / grows
        if not factor > 0:
            raise ValueError(
                f"the dark signal must leave room, got {sensor.dark_electrons:g} e- of {sensor.full_well:g}."
            )
        time = None if sensor.exposure_time is None else factor * sensor.exposure_time
        return Camera(
            self.grid.shape,
            self.pitch,
            binning=self.binning,
            exposure=factor * self.exposure,
            sensor=replace(sensor, exposure_time=time),
        )

    def counts(self, field: Field | Intensity, generator: torch.Generator | None = None) -> Tensor:
        """What the camera delivers [DN], whole numbers; noise-free (rounded and clipped) without a generator.

        The gradient is that of the expected signal, and zero where the pixel is saturated or reads zero. Without a
        black level, read noise that would read below zero is clipped, so the mean of darkness is not zero.
        """
        if self.sensor is None:
            raise ValueError("counts need a sensor, got an ideal camera. Use expected(), or give the camera a Sensor.")
        return self._delivered(field, generator)

    def forward(self, field: Field | Intensity, generator: torch.Generator | None = None) -> Tensor:
        if self.sensor is None:
            return self.integrated(field)
        return self._delivered(field, generator, -self.sensor.offset * self.binning**2, self._counted / self.white)

    @property
    def _counted(self) -> float:
        """Electrons a count [e-/DN]."""
        return self.sensor.electrons_per_count

    def _delivered(
        self, field: Field | Intensity, generator: torch.Generator | None, level: float = 0.0, scale: float = 1.0
    ) -> Tensor:
        """``scale * (counts + level)``."""
        electrons, pattern = self._collected(field)
        learns = torch.is_grad_enabled()  # a tangent asks for no gradient, and wants one
        counts, passing = self._read(electrons.detach(), pattern, generator, learns=learns)
        if level:
            counts.add_(level)
        if scale != 1:
            counts.mul_(scale)
        return counts if passing is None else delivered(electrons, counts, passing, scale / self._counted)

    @torch.no_grad()
    def _read(
        self, electrons: Tensor, pattern: Tensor | None, generator: torch.Generator | None, *, learns: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Counts [DN] for the mean ``electrons``; if something ``learns`` from them, which of them are within bounds.

        In place, step by step: a frame has as many values as all feature maps behind it, and a pass over memory for
        each step would take longer than the noise.
        """
        sensor, pixels = self.sensor, self.binning**2
        gain, full = sensor.electrons_per_count, sensor.full_well * pixels
        read = electrons.clone() if generator is None else poisson(electrons, generator)
        passing = read <= full if learns else None
        read.clamp_(max=full)
        if pattern is not None:
            read.add_(pattern)
        if generator is not None:
            # Each summed pixel is rounded by itself: 1/12 of a count each, seen as noise by the sum.
            deviation = (pixels * sensor.read_noise**2 + (pixels - 1) * gain**2 / 12) ** 0.5
            read = read_noise(read, deviation, generator)
        counts = read.div_(gain).add_(sensor.offset * pixels).round_()
        top = (2**sensor.bit_depth - 1) * pixels
        if learns:
            passing &= (counts >= 0).logical_and_(counts <= top)
        return counts.clamp_(0, top), passing

    def _patterns(self, like: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Response and dark signal [e-] of each output pixel beside the mean: what differs from pixel to pixel."""
        key = (self.sensor, self.grid, self.binning, like.dtype, like.device)
        if key not in self._drawn:
            # Drawn once on the CPU, whatever the device: a sensor is the same everywhere.
            generator = torch.Generator().manual_seed(self.sensor.pattern_seed)
            with torch.inference_mode(False):  # a later call may want a gradient
                draws = torch.randn(2, *self.grid.shape, generator=generator, dtype=torch.float64).to(like)
                # A sum of n^2 pixels averages their responses and adds up their dark signals.
                # No draw may turn light into less than none: one in millions would, at the largest PRNU.
                response = (1 + self.sensor.prnu / self.binning * draws[0]).clamp(min=0) if self.sensor.prnu else None
                dark = self.sensor.dsnu * self.binning * draws[1] if self.sensor.dsnu else None
            self._drawn = {key: (response, dark)}
        return self._drawn[key]

    def _integration(self, grid: Grid, intensity: Tensor) -> tuple[Tensor | slice, Tensor | slice]:
        """Overlap of samples and pixels along y and x, cached for the grid that the camera looks at.

        A slice where a pixel is a sample.
        """
        key = (self.grid, grid, intensity.dtype, intensity.device)
        if key not in self._weights:
            with torch.inference_mode(False):  # a later call may want a gradient
                weights = tuple(
                    _taken(shares) or shares.to(intensity.device, intensity.dtype)
                    for shares in (
                        overlap(pixels, self.grid.pitch, samples, grid.pitch)
                        for pixels, samples in zip(self.grid.shape, grid.shape, strict=True)
                    )
                )
            self._weights = {key: weights}
        return self._weights[key]

    def extra_repr(self) -> str:
        pixels = f"{self.grid.shape[0]} x {self.grid.shape[1]} pixels of {self.binning} x {self.binning} of "
        pixels += engineering(self.pitch, "m")
        if self.sensor is None:
            return f"{pixels}, ideal: no noise, no saturation, no levels"
        return f"{pixels}, exposure={self.exposure:g}, {self.sensor.noise_sources()}"


def _light(intensity: Tensor, *, everywhere: bool = False) -> Tensor:
    """``intensity``, refused where it is no light; on an accelerator only if ``everywhere``."""
    if (everywhere or intensity.device.type == "cpu") and intensity.numel():
        low, high = (extreme.item() for extreme in torch.aminmax(intensity.detach()))
        # A convolution by FFT leaves darkness a little below zero; white is 1. Comparisons with NaN do not hold.
        if not -1e-5 * max(high, 1.0) <= low <= high < float("inf"):
            raise ValueError(
                f"light on a camera must be finite and not negative, got {low:g} ... {high:g}. "
                "Look at the images, the masks and the learning rate."
            )
    return intensity


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


def _taken(shares: Tensor) -> slice | None:
    """Samples that pixels are, one each, where the ``shares`` of an axis say so."""
    first = int(shares[0].argmax())
    alike = torch.eye(*shares.shape[:1], shares.shape[1] - first, dtype=shares.dtype)
    same = alike.shape[1] >= len(shares) and torch.allclose(shares[:, first:], alike, rtol=0, atol=1e-9)
    return slice(first, first + len(shares)) if same else None
