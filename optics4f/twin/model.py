"""The frames that a bench would deliver if its numbers were these, and how noisy they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import BenchSpecification
from ..elements import Camera
from .parameters import Parameter, level_table, parameters, prepared, put

CLIPPED = 4.0  # standard deviations from the ends of the scale within which a pixel may have been clipped


def noise_variance(frames: Tensor, camera: Camera, offset: float | None = None) -> Tensor:
    """Variance [DN^2] of frames with this mean [DN]: shot noise, read noise, rounding, and patterns nobody knows.

    Args:
        frames: Mean frames of any shape.
        camera: That takes them.
        offset: Black level [DN] of a sensor pixel; that of the camera by default.
    """
    sensor, pixels = camera.sensor, camera.binning**2
    gain = sensor.electrons_per_count
    signal = (frames - (sensor.offset if offset is None else offset) * pixels).clamp(min=0)
    patterns = (sensor.prnu / camera.binning * signal).square() + pixels * (sensor.dsnu / gain) ** 2
    return signal / gain + pixels * ((sensor.read_noise / gain) ** 2 + 1 / 12) + patterns


class TwinModel:
    """A bench whose freed numbers are a vector, and its camera frames as a function of it.

    Computed in double precision, so that differences of frames are derivatives.

    Args:
        specification: The bench as it is believed to be.
        levels: Levels that the SLM showed, shape ``(masks, height, width)``.
        images: What the object showed in [0, 1], shape ``(N, height, width)``.
        free: Names of groups (:data:`~optics4f.twin.parameters.GROUPS`).

    Raises:
        ValueError: Names that are unknown or contradict each other; levels or images that are not the bench's; a route
            that cannot simulate what is free.
    """

    def __init__(self, specification: BenchSpecification, levels: Tensor, images: Tensor, free: Sequence[str]) -> None:
        self.specification = prepared(specification, free)
        self.bench = self.specification.build(dtype=torch.complex128)
        if tuple(images.shape[1:]) != tuple(specification.object.shape) or images.ndim != 3:
            raise ValueError(
                f"images must be (N, {', '.join(map(str, specification.object.shape))}), got {tuple(images.shape)}."
            )
        self.bench.slm.load_levels(levels)
        self.bench.slm.eval()
        self.parameters: tuple[Parameter, ...] = parameters(self.specification, self.bench, free)
        self.images = images[:, None].double()
        bends = any(p.name.startswith("lut_") for p in self.parameters)
        self.table = level_table(self.bench)[0].clone() if bends else None
        put(self.bench, self.start, self.table)  # what is free counts as displaced: a route that cannot says so here
        self.route = self.specification.build_route(self.bench)

    @property
    def start(self) -> dict[str, float]:
        """The values of the configuration."""
        return {p.name: p.start for p in self.parameters}

    @torch.no_grad()
    def light(self, values: Mapping[str, float]) -> Tensor:
        """Mean electrons of each pixel that came by light [e-], shape ``(N, masks, h, w)``, float64."""
        put(self.bench, values, self.table)
        seen = self.bench.camera.integrated(self.route(self.images))
        return seen * self.bench.camera.white * values.get("brightness", 1.0)

    def frames(self, values: Mapping[str, float]) -> Tensor:
        """Mean frames [DN] before they are clipped and rounded, shape ``(N, masks, h, w)``, float64.

        The fixed patterns of the sensor (PRNU, DSNU) are no part of them: those of a real sensor are not known.
        """
        return self._counts(self.light(values), values)

    def _counts(self, electrons: Tensor, values: Mapping[str, float]) -> Tensor:
        sensor, pixels = self.bench.camera.sensor, self.bench.camera.binning**2
        offset = values.get("offset", sensor.offset)
        return (electrons + sensor.mean_dark * pixels) / sensor.electrons_per_count + offset * pixels

    def variance(self, frames: Tensor, values: Mapping[str, float]) -> Tensor:
        """Variance of frames with this mean, as :func:`noise_variance` has it."""
        return noise_variance(frames, self.bench.camera, values.get("offset"))

    def told(self, measured: Tensor, values: Mapping[str, float]) -> Tensor:
        """Pixels that are neither zero nor saturated."""
        return (measured > 0) & (measured < self._top(values))

    def unclipped(self, frames: Tensor, measured: Tensor, values: Mapping[str, float]) -> Tensor:
        """Pixels whose mean is told by what was measured: not near darkness or saturation, where counts are cut."""
        spread = CLIPPED * self.variance(frames, values).sqrt()
        return (frames - spread > 0) & (frames + spread < self._top(values)) & self.told(measured, values)

    def _top(self, values: Mapping[str, float]) -> float:
        """Largest count of an output pixel [DN]."""
        sensor, pixels = self.bench.camera.sensor, self.bench.camera.binning**2
        well = sensor.full_well / sensor.electrons_per_count + values.get("offset", sensor.offset)
        return min(well, 2**sensor.bit_depth - 1) * pixels

    def residuals(self, values: Mapping[str, float], measured: Tensor, weights: Tensor) -> NDArray:
        """Measured less predicted frames in standard deviations, flat; 0 where the weight is."""
        return ((self.frames(values) - measured) * weights).flatten().numpy()

    def jacobian(self, values: Mapping[str, float], weights: Tensor, *, fraction: float = 1e-6) -> NDArray:
        """Change of the residuals a step of each parameter, by differences, shape ``(pixels, parameters)``.

        Args:
            values: Where.
            weights: As for :meth:`residuals`.
            fraction: Of a parameter's step by which it is moved: what is cut off, and what double precision rounds, are
                both some millionths of a change.
        """
        light = self.light(values)
        here, pixels = self._counts(light, values), self.bench.camera.binning**2
        gain = values.get("brightness", 1.0) * self.bench.camera.sensor.electrons_per_count
        straight = {"brightness": light / gain, "offset": torch.full_like(light, pixels)}
        columns = []
        for p in self.parameters:
            if p.name in straight:
                columns.append(p.step * straight[p.name] * weights)
            else:
                moved = {**values, p.name: values[p.name] + fraction * p.step}
                columns.append((self.frames(moved) - here) * weights / fraction)
        return np.stack([column.flatten().numpy() for column in columns], axis=1)
