"""The twin of a hidden bench, fitted by gradient to frames of any images: what is off, not only what it does.

A readout that is tuned on measured frames undoes errors for the masks and the images that were measured. A twin that
knows the errors can train masks and readout on all images, without a single further frame.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate

from kd.students import OpticalFrontEnd
from optics4f.config import Specification
from optics4f.effects import LUT, Crosstalk, Flatness
from optics4f.elements import SLM
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.misalignment import Misalignment
from optics4f.twin.parameters import bent, level_table

from .fabrication_bench import MisjudgedCamera, give_effects

NOLL = range(2, 12)
"""Aberrations that all masks share. Tilt is a camera beside its place, defocus one out of focus."""


class TwinFitting(Specification):
    """``[compensation.twin]``: how the twin is fitted."""

    epochs: int = Field(20, ge=2)  # of the measured training images; in the first third all masks have the same errors
    batch_size: int = Field(64, ge=1)
    rate: float = Field(0.05, gt=0)  # of Adam at its peak [SLM pixels, rad, ...]
    points: int = Field(24, ge=2)  # along each side, between which the own error of a mask is interpolated
    smoothness: float = Field(1e-2, ge=0)  # weight of the mean square of these errors [rad^2]


def refuse_known_errors(bench: FourF) -> None:
    """Refuse a bench whose place or level table of the SLM is set, or that has no levels: the fit starts from none.

    Raises:
        ValueError: What of the bench cannot be fitted.
    """
    if bench.slm_position is not None:
        raise ValueError("bench.slm_position must be left out where a twin is fitted: the fit finds it.")
    if bench.slm.effect(LUT) is not None:
        raise ValueError("bench.slm.effects.lut must be left out where a twin is fitted: it bends even levels.")
    if not isinstance(bench.slm, SLM) or bench.slm.bit_depth is None:
        raise ValueError("bench.slm must be a phase SLM with a bit_depth where a twin is fitted.")


class FittedFlatness(Flatness):
    """A phase [rad] that is added to every mask: some Zernike terms for all, a smooth map for each.

    Args:
        masks: Number of masks.
        points: Nodes of each mask's own map along each side.
        before: What the panel was known to add.
    """

    def __init__(self, masks: int, points: int, before: Flatness | None) -> None:
        super().__init__(dict.fromkeys(NOLL, 0.0), trainable=True)
        self.own = nn.Parameter(torch.zeros(masks, 1, points, points))
        self.before = before

    def map(self, grid: Grid, like: Tensor) -> Tensor:
        """Phase [rad] of every mask, ``(masks, *grid.shape)``, of the type of ``like``."""
        known = 0.0 if self.before is None else self.before.map(grid, like)
        own = interpolate(self.own.to(like), grid.shape, mode="bicubic", align_corners=True)[:, 0]
        return known + super().map(grid, like) + own


class Unknowns(nn.Module):
    """What a fit may change of a front end's bench: place and levels of the SLM, its phase, crosstalk, brightness.

    Args:
        front_end: Changed in place; its masks stay as they are.
        points: Nodes of each mask's own map along each side.
    """

    def __init__(self, front_end: OpticalFrontEnd, points: int) -> None:
        super().__init__()
        bench = front_end.bench
        refuse_known_errors(bench)
        self.front_end = front_end
        front_end.requires_grad_(False)
        self.place = Misalignment(trainable=("shift",))
        self.flatness = FittedFlatness(bench.slm.masks, points, bench.slm.effect(Flatness))
        self.crosstalk = Crosstalk(0.5, trainable=True)  # at 0 the frames do not feel a small change
        self.gamma = nn.Parameter(torch.zeros((), dtype=torch.float64))  # its logarithm
        self.brightness = nn.Parameter(torch.zeros(()))  # its logarithm
        even, amplitude = level_table(bench)
        self.register_buffer("even", even, persistent=False)
        self.table = LUT(even, amplitude, calibrated=False)
        bench.slm_position = self.place
        give_effects(bench.slm, {"flatness": self.flatness, "crosstalk": self.crosstalk, "lut": self.table})

    def groups(self, rate: float) -> list[dict[str, Any]]:
        """Parameter groups whose steps are of like importance."""
        pitch = self.front_end.bench.slm.grid.pitch
        return [
            {"params": [self.place.shift], "lr": rate * pitch},
            {"params": [self.flatness.values, self.flatness.own], "lr": rate},
            {"params": [self.gamma, self.brightness], "lr": rate / 10},
            {"params": [self.crosstalk.scale], "lr": rate},
        ]

    def bend(self) -> None:
        """Bring the gamma into the level table."""
        self.table.phase = bent(self.even, {"lut_gamma": self.gamma.exp()})

    def forward(self, images: Tensor) -> Tensor:
        """Mean frames ``(B, masks, h, w)`` of a bench with these errors."""
        self.bend()
        return self.brightness.exp() * self.front_end.expected(images)

    @torch.no_grad()
    def fixed(self) -> OpticalFrontEnd:
        """The front end with what was found, as constants; its masks can learn again."""
        self.requires_grad_(False)
        self.bend()
        bench = self.front_end.bench
        bench.camera = MisjudgedCamera(bench.camera, self.brightness.exp().item(), bench.camera.sensor)
        bench.slm.values.requires_grad_(True)
        return self.front_end

    def numbers(self) -> dict[str, float]:
        """What was found, by the names of the hidden bench's numbers, SI; aberrations [rad rms]."""
        y, x = self.place.shift.tolist()
        found = {"slm_shift_y": y, "slm_shift_x": x, "gamma": self.gamma.exp().item()}
        found |= {"brightness": self.brightness.exp().item(), "crosstalk": abs(self.crosstalk.scale.item())}
        return found | {f"aberration_{j}": v for j, v in zip(NOLL, self.flatness.values.tolist(), strict=True)}


def fitted_twin(
    front_end: OpticalFrontEnd,
    images: Tensor,
    frames: Tensor,
    settings: TwinFitting,
    *,
    held_out: int,
    seed: int,
    report: Callable[[int, float], None] = lambda epoch, unexplained: None,
) -> tuple[OpticalFrontEnd, dict[str, Any]]:
    r"""A copy of a front end whose bench delivers, as nearly as it can, what was measured.

    .. math:: L = \frac{1}{M} \sum_k \frac{\langle (y_k - f_k)^2 \rangle}{\mathrm{var}(y_k)} + s \langle \phi^2 \rangle

    over the masks, with their own errors :math:`\phi`. Adam on random batches, one-cycle rate.

    Args:
        front_end: What is believed, with the masks that were shown; stays as it is.
        images: What was shown, ``(N, C, height, width)``.
        frames: What was measured, ``(N, masks, h, w)``, in the believed signal's units.
        settings: How.
        held_out: So many of the last images only tell how good the fit is.
        seed: Of the batches.
        report: Told the share of the variance that is unexplained, after each epoch.

    Returns:
        The copy, and what was found: ``errors``, and ``unexplained``, the mean square difference of held-out frames
        over the variance of the fitted ones, noise included, ``before`` and ``after`` the fit.

    Raises:
        ValueError: A bench that cannot be fitted (:func:`refuse_known_errors`), or a fit that made it worse.
    """
    model = Unknowns(copy.deepcopy(front_end), settings.points).to(frames.device)
    generator = torch.Generator().manual_seed(seed)
    count = len(images) - held_out
    batches = max(1, count // settings.batch_size)
    variance = frames[:count].var(dim=(0, 2, 3)).clamp(min=torch.finfo(frames.dtype).tiny)

    def unexplained(predicted: Tensor, measured: Tensor) -> Tensor:
        return ((predicted - measured).square().mean(dim=(0, 2, 3)) / variance).mean()

    @torch.no_grad()
    def judged(predict: Callable[[Tensor], Tensor]) -> float:
        total = 0.0
        for some, measured in zip(images[count:].split(256), frames[count:].split(256), strict=True):
            total += unexplained(predict(some), measured).item() * len(some)
        return total / held_out

    before = judged(front_end.expected)
    groups = model.groups(settings.rate)
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=[group["lr"] for group in groups], total_steps=settings.epochs * batches
    )
    for epoch in range(settings.epochs):
        model.flatness.own.requires_grad_(epoch >= settings.epochs // 3)
        for chosen in torch.randperm(count, generator=generator).tensor_split(batches):
            optimizer.zero_grad()
            loss = unexplained(model(images[chosen]), frames[chosen])
            (loss + settings.smoothness * model.flatness.own.square().mean()).backward()
            optimizer.step()
            schedule.step()
        report(epoch + 1, judged(model))
    after = judged(model)
    if not after < before:
        raise ValueError(
            f"the twin must explain the frames better than the bench as believed, got {after:.3g} of their variance "
            f"unexplained and {before:.3g} before. Lower compensation.twin.rate, or give it more epochs."
        )
    return model.fixed(), {"errors": model.numbers(), "unexplained": {"before": before, "after": after}}
