r"""Least squares of a bench's numbers against measured frames, with the uncertainty of each.

.. math:: \chi^2(p) = \sum_i \frac{(y_i - f_i(p))^2}{\sigma_i^2}, \qquad
          \mathrm{cov}(p) = s^2 (J^T W J)^{-1}, \quad W = \mathrm{diag}(1 / \sigma_i^2)

with the variance :math:`\sigma_i^2` of shot and read noise from the predicted, not the measured, frames: those of a
measured dark pixel are too small, and would pull the fit down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import stdtrit
from torch import Tensor

from .model import TwinModel
from .registration import correlation, register

PASSES = 5  # of weights from the frames of the last fit
SETTLED = 1e-2  # standard deviations that a parameter may still move by the next pass
ALIKE = 1e-6  # of the eigenvalues of the scaled Hessian: below, two parameters do the same to every frame


@dataclass(frozen=True)
class Estimate:
    """One number of the twin.

    Attributes:
        name: Of the parameter.
        unit: SI.
        start: What the configuration says.
        value: What the frames say.
        deviation: Standard deviation of ``value``.
        low: Lower end of the stated interval.
        high: Upper end.
        alone: Ends of the interval for this number alone; as ``low`` and ``high`` where those are not joint.
    """

    name: str
    unit: str
    start: float
    value: float
    deviation: float
    low: float
    high: float
    alone: tuple[float, float]


@dataclass(frozen=True)
class TwinFit:
    """A fitted twin.

    Attributes:
        estimates: The parameters, each with its interval.
        confidence: Of the intervals.
        joint: Whether that is the chance that all intervals hold the truth together, or that each does.
        correlation: Correlation matrix of the estimates, in their order.
        reduced_chi2: Chi squared over the degrees of freedom: 1 where nothing but noise is left.
        pixels: Pixels that were used, those near darkness or saturation left out.
        passes: How often the weights were renewed.
        predicted: Mean frames of the twin [DN], shape ``(N, masks, h, w)``.
        residuals: Measured less predicted frames in standard deviations, same shape; NaN where not used.
    """

    estimates: tuple[Estimate, ...]
    confidence: float
    joint: bool
    correlation: NDArray
    reduced_chi2: float
    pixels: int
    passes: int
    predicted: Tensor
    residuals: Tensor

    @property
    def values(self) -> dict[str, float]:
        """Name -> value."""
        return {e.name: e.value for e in self.estimates}

    def __getitem__(self, name: str) -> Estimate:
        return next(e for e in self.estimates if e.name == name)


def fit(
    model: TwinModel,
    measured: Tensor,
    *,
    start: Mapping[str, float] | None = None,
    confidence: float = 0.95,
    joint: bool = True,
    bootstrap: int = 0,
    generator: np.random.Generator | None = None,
) -> TwinFit:
    """The numbers of a bench with which it would deliver what was measured.

    Trust-region least squares (scipy). Where the frames differ by more than noise, as where the model lacks something
    that the bench has, intervals are widened by the square root of the reduced chi squared.

    Args:
        model: The bench, its masks and images, and what is free.
        measured: Frames [DN], shape ``(N, masks, h, w)``.
        start: Where the search starts; that of the configuration without.
        confidence: Of the intervals.
        joint: Whether all intervals together hold the truth with this confidence (:func:`pointwise`), as who reads a
            table of eleven numbers takes it; else each by itself, narrower.
        bootstrap: Resamplings of whole frames from which intervals are taken instead of from the Hessian: for residuals
            that are alike within a frame, as those of a model that lacks something are. 0 takes the Hessian.
        generator: Of the resamplings; needed with ``bootstrap``.

    Raises:
        ValueError: Frames of another shape; two parameters that these frames cannot tell apart, by name; too few
            pixels that are neither dark nor saturated.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence:g}.")
    if bootstrap and (bootstrap < 50 or generator is None):
        raise ValueError(f"bootstrap must be 0, or at least 50 with a generator, got {bootstrap}.")
    measured = _checked(model, measured)
    values = {**started(model, measured), **(start or {})}
    passes, settled = 0, False
    while passes < PASSES and not settled:
        passes += 1
        weights = weighted(model, measured, values)
        found, jacobian, chi2 = _least_squares(model, measured, weights, values)
        inverse = _inverse_hessian(model, jacobian)
        moved = max(
            abs(found[p.name] - values[p.name]) / (p.step * math.sqrt(inverse[i, i]))
            for i, p in enumerate(model.parameters)
        )
        values, settled = found, moved < SETTLED
    used = int((weights > 0).sum())
    freedom = used - len(model.parameters)
    reduced = chi2 / freedom
    steps = np.array([p.step for p in model.parameters])
    predicted = model.frames(values)
    residuals = torch.where(weights > 0, (measured - predicted) * weights, math.nan)
    covariance = inverse * max(1.0, reduced)
    if bootstrap:
        covariance = _bootstrapped(jacobian, residuals, bootstrap, generator)
    root = np.sqrt(np.diag(covariance))
    deviations = steps * root
    # Student's t: frames are what a bootstrap draws, pixels what the Hessian counts.
    drawn = measured.shape[0] * measured.shape[1] - 1 if bootstrap else freedom
    single = quantile(confidence, drawn)
    stated = quantile(pointwise(confidence, len(model.parameters)), drawn) if joint else single

    def around(value: float, deviation: float) -> tuple[float, float, tuple[float, float]]:
        alone = (value - single * deviation, value + single * deviation)
        return value - stated * deviation, value + stated * deviation, alone

    return TwinFit(
        tuple(
            Estimate(p.name, p.unit, p.start, values[p.name], d, *around(values[p.name], d))
            for p, d in zip(model.parameters, deviations.tolist(), strict=True)
        ),
        confidence,
        joint,
        covariance / np.outer(root, root),
        float(reduced),
        used,
        passes,
        predicted,
        residuals,
    )


def pointwise(confidence: float, count: int) -> float:
    """Confidence of each of ``count`` intervals that hold together with ``confidence``, whatever their correlation.

    Sidak's inequality for normal estimates: Z. Sidak, "Rectangular confidence regions for the means of multivariate
    normal distributions", J. Am. Stat. Assoc. 62, 626 (1967).
    """
    return confidence ** (1 / count)


def quantile(confidence: float, freedom: float = math.inf) -> float:
    """Half-width of an interval in standard deviations: Student's t, two-sided; the normal one by default."""
    return float(stdtrit(freedom, 0.5 + confidence / 2))


def _bootstrapped(jacobian: NDArray, residuals: Tensor, count: int, generator: np.random.Generator) -> NDArray:
    """Covariance of the steps over resamplings of the frames, each by one Gauss-Newton step from the fit."""
    frames = residuals.shape[0] * residuals.shape[1]
    left = np.nan_to_num(residuals.numpy()).reshape(frames, -1)
    by_frame = jacobian.reshape(frames, -1, jacobian.shape[1])
    hessians = np.einsum("fip,fiq->fpq", by_frame, by_frame)
    slopes = np.einsum("fip,fi->fp", by_frame, left)
    drawn = generator.multinomial(frames, np.full(frames, 1 / frames), size=count)
    steps = [np.linalg.lstsq(np.tensordot(n, hessians, 1), n @ slopes, rcond=None)[0] for n in drawn]
    return np.cov(np.array(steps), rowvar=False).reshape(2 * (jacobian.shape[1],))


def started(model: TwinModel, measured: Tensor) -> dict[str, float]:
    """The configuration's values, but a camera that is off by pixels where the frames ``(N, masks, h, w)`` lie.

    And a first brightness.
    """
    values = model.start
    if "camera_shift_y" in values:
        _register_camera(model, measured, values)
    if not {"brightness", "offset"} & set(values):
        return values
    pixels, told = model.bench.camera.binning**2, model.told(measured, values)
    if not told.any():
        return values
    dark = model.frames({**values, "brightness": 0.0, "offset": 0.0})[told]
    light = model.frames({**values, "brightness": 1.0, "offset": 0.0})[told] - dark
    above = measured[told] - dark
    ones = torch.full_like(light, float(pixels))
    both = torch.stack([light, ones], dim=1)
    slope, offset = torch.linalg.lstsq(both, above[:, None]).solution.flatten().tolist()
    if "offset" not in values:
        fixed = model.bench.camera.sensor.offset
        slope = (((above - fixed * ones) @ light) / (light @ light)).item()
    if "brightness" in values and slope > 0:
        values["brightness"] = slope
    if "offset" in values and offset > 0 and "brightness" in values:
        values["offset"] = offset
    return values


def _register_camera(model: TwinModel, measured: Tensor, values: dict[str, float]) -> None:
    """Move the camera by what the frames are displaced, if that is more than a pixel and makes them more alike."""
    predicted = model.frames(values)
    found = register(measured, predicted)
    before, after = (correlation(measured, frames).nanmean() for frames in (predicted, found.applied(predicted)))
    if max(map(abs, found.shift)) > 1 and after > before:
        for axis, pixels in zip("yx", found.shift, strict=True):
            # A camera that moves down sees its picture move up.
            values[f"camera_shift_{axis}"] -= pixels * model.bench.camera.grid.pitch


def weighted(model: TwinModel, measured: Tensor, values: Mapping[str, float]) -> Tensor:
    """Inverse standard deviation of each pixel [1/DN], shape of the frames, 0 for those that may have been clipped."""
    frames = model.frames(values)
    weights = model.variance(frames, values).rsqrt() * model.unclipped(frames, measured, values)
    used, needed = int((weights > 0).sum()), 10 * len(model.parameters)
    if used < needed:
        raise ValueError(
            f"at least {needed} pixels must be neither dark nor saturated to fit {len(model.parameters)} numbers, got "
            f"{used} of {weights.numel()}. Change the exposure, or give the camera a black level (offset)."
        )
    return weights


def _least_squares(
    model: TwinModel, measured: Tensor, weights: Tensor, values: Mapping[str, float]
) -> tuple[dict[str, float], NDArray, float]:
    """Best values, and the Jacobian and chi squared there."""

    def named(z: NDArray) -> dict[str, float]:
        return {p.name: p.start + p.step * v for p, v in zip(model.parameters, z.tolist(), strict=True)}

    z = np.array([(values[p.name] - p.start) / p.step for p in model.parameters])
    low = np.array([(p.low - p.start) / p.step for p in model.parameters])
    solution = least_squares(
        lambda z: model.residuals(named(z), measured, weights),
        np.maximum(z, low + 1e-9),
        jac=lambda z: model.jacobian(named(z), weights),
        bounds=(low, np.inf),
        method="trf",
        xtol=1e-6,
        ftol=1e-7,  # of chi squared: a hundredth of a standard deviation with some 10,000 pixels
        gtol=1e-8,
        max_nfev=60,
    )
    return named(solution.x), solution.jac, float(2 * solution.cost)


def _inverse_hessian(model: TwinModel, jacobian: NDArray) -> NDArray:
    """Inverse of J^T J; refused where a combination of parameters changes no frame."""
    hessian = jacobian.T @ jacobian
    scale = np.sqrt(np.diag(hessian))
    names = [p.name for p in model.parameters]
    if not (scale > 0).all():
        raise ValueError(
            f"{', '.join(n for n, s in zip(names, scale, strict=True) if not s > 0)} must change the frames to be "
            "fitted, got no change. Leave it out, or measure with masks and images that feel it."
        )
    scaled = hessian / np.outer(scale, scale)
    eigenvalues, vectors = np.linalg.eigh(scaled)
    if eigenvalues[0] < ALIKE:
        # Two that are alike are named; what only three or more make up together is named as a whole.
        likeness = np.abs(scaled - np.eye(len(names)))
        first, second = np.unravel_index(likeness.argmax(), likeness.shape)
        alike = [n for n, share in zip(names, np.abs(vectors[:, 0]), strict=True) if share > 0.2]
        alike = [names[first], names[second]] if likeness.max() > 1 - 2 * ALIKE else alike
        raise ValueError(
            f"{' and '.join(alike)} must differ in what they do to the frames, got the same change of all. Leave one "
            "of them out, or measure with masks and images that tell them apart."
        )
    return np.linalg.inv(hessian)


def _checked(model: TwinModel, measured: Tensor) -> Tensor:
    wanted = (len(model.images), model.bench.slm.masks, *model.bench.camera.grid.shape)
    if tuple(measured.shape) != wanted:
        raise ValueError(f"frames must be (images, masks, height, width) = {wanted}, got {tuple(measured.shape)}.")
    if not torch.isfinite(measured).all():
        raise ValueError("frames must be finite, got NaN or inf in them.")
    return measured.double()
