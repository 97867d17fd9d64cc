r"""What frames alone tell about a camera: the photon transfer method of EMVA 1288 (release 4.0, sections 6 to 8).

The temporal variance of a linear camera grows with its mean as

.. math:: \sigma_y^2 - \sigma_{y,dark}^2 = K (\mu_y - \mu_{y,dark})

so the gain :math:`K` [DN/e-] follows from grey values alone, and with it everything else in electrons. Where
the dark frames hardly move between two levels, their variance is that of the rounding and says nothing about the bright
ones: the line is then drawn through the exposures alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LINEAR = 0.7  # share of the saturation over which the slope is taken
LEAST_DARK_VARIANCE = 0.24  # DN^2: below it, rounding hides the noise
ROUNDING = 1 / 12  # DN^2
HIDDEN = 0.5**2 + ROUNDING  # DN^2: with less than half a count of noise, a variance depends on where between two levels


@dataclass(frozen=True)
class PhotonTransfer:
    """The result of an evaluation.

    Attributes:
        gain: Electrons a count [e-/DN], 1 / K.
        read_noise: Standard deviation of the dark signal, rounding taken out [e-].
        rounding_hides_noise: Whether the dark frames have less than half a count of noise: ``read_noise`` is then no
            measurement but about the most that rounding can hide (0.24 DN^2 at least, as EMVA has it).
        full_well: Signal of saturated pixels, the level at which the grey values stay [e-]; ``None`` where no exposure
            saturates (none beyond the largest variance has less than half of it).
        saturation: Mean signal at the largest variance, EMVA's saturation point [e-]; ``None`` as ``full_well``.
        quantum_efficiency: Electrons a photon, where photons were counted.
        dsnu: Standard deviation of the pixels' dark signals [e-].
        prnu: Standard deviation of the pixels' responses, relative, at half saturation.
        mean: Mean grey value of each exposure less that of the dark frames [DN], shape ``(exposures,)``.
        variance: Temporal variance of each exposure [DN^2].
        snr: ``mean`` over the standard deviation.
    """

    gain: float
    read_noise: float
    rounding_hides_noise: bool
    full_well: float | None
    saturation: float | None
    quantum_efficiency: float | None
    dsnu: float
    prnu: float
    mean: Tensor
    variance: Tensor
    snr: Tensor


def photon_transfer(frames: Tensor, dark: Tensor, *, photons: Tensor | None = None) -> PhotonTransfer:
    """Evaluate a series of exposures under even light.

    Args:
        frames: Grey values [DN], shape ``(exposures, repeats, height, width)``, exposures rising to saturation.
        dark: Grey values without light [DN], shape ``(repeats, height, width)``.
        photons: Mean photons a pixel of each exposure, shape ``(exposures,)``.

    Raises:
        ValueError: Other shapes, a single repeat, NaN, too few exposures in the linear range, or a variance that does
            not grow with the mean.
    """
    if frames.dim() != 4 or dark.dim() != 3 or frames.shape[1] < 2 or len(dark) < 2:
        raise ValueError(
            "frames must have shape (exposures, repeats, height, width) and dark (repeats, height, width) with at "
            f"least 2 repeats, got {tuple(frames.shape)} and {tuple(dark.shape)}."
        )
    frames, dark = frames.double(), dark.double()
    if not (torch.isfinite(frames).all() and torch.isfinite(dark).all()):
        raise ValueError("frames must be finite, got NaN or inf in them.")
    counted = None if photons is None else _checked(photons, len(frames))
    dark_mean, dark_variance = dark.mean().item(), dark.var(0).mean().item()
    mean, variance = frames.mean((1, 2, 3)) - dark_mean, frames.var(1).mean((1, 2))
    top = int(variance.argmax())
    used = (mean >= 0) & (mean <= LINEAR * mean[top]) & (torch.arange(len(mean)) <= top)
    if used.sum() < 2:
        raise ValueError(
            f"at least 2 exposures must lie below {100 * LINEAR:.0f} % of saturation, got {int(used.sum())}. Take more."
        )
    hidden = dark_variance < HIDDEN
    # The line passes through the dark frames' point, or, where that is worthless, the exposures' centre.
    x0, y0 = (mean[used].mean(), variance[used].mean()) if hidden else (0.0, dark_variance)
    x, y = mean[used] - x0, variance[used] - y0
    slope = ((x * y).sum() / x.square().sum()).item()  # DN per e-
    if not slope > 0:
        raise ValueError(
            f"the variance of frames must grow with their mean, got a slope of {slope:g} DN. "
            "Order the exposures from dark to bright, with nothing but the light changing."
        )
    saturated = (variance < 0.5 * variance[top]) & (torch.arange(len(mean)) > top)
    reached = bool(saturated.any())
    efficiency = None
    if counted is not None:
        counted = counted[used]
        efficiency = ((mean[used] * counted).sum() / counted.square().sum()).item() / slope
    half = int((mean - 0.5 * mean[top]).abs().argmin())
    spatial_dark, spatial_half = (_spatial_variance(stack) for stack in (dark, frames[half]))
    return PhotonTransfer(
        gain=1 / slope,
        read_noise=math.sqrt(max(dark_variance, LEAST_DARK_VARIANCE) - ROUNDING) / slope,
        rounding_hides_noise=hidden,
        full_well=mean[saturated].mean().item() / slope if reached else None,
        saturation=mean[top].item() / slope if reached else None,
        quantum_efficiency=efficiency,
        dsnu=math.sqrt(spatial_dark) / slope,
        prnu=math.sqrt(max(spatial_half - spatial_dark, 0.0)) / mean[half].item(),
        mean=mean,
        variance=variance,
        snr=mean / variance.sqrt(),
    )


def _checked(photons: Tensor, exposures: int) -> Tensor:
    photons = torch.as_tensor(photons).double().cpu()
    if photons.shape != (exposures,):
        raise ValueError(f"photons must be one number for each of {exposures} exposures, got {tuple(photons.shape)}.")
    if not (torch.isfinite(photons).all() and (photons >= 0).all() and (photons > 0).sum() > 1):
        raise ValueError(f"photons must be finite, not negative and not all zero, got {photons.tolist()}.")
    return photons


def _spatial_variance(stack: Tensor) -> float:
    """Variance from pixel to pixel of a stack of repeats, what is left of their noise in time taken out."""
    return max(stack.mean(0).var().item() - stack.var(0).mean().item() / len(stack), 0.0)
