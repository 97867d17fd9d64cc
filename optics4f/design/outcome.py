"""What a retrieval returns, and when it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor

from .progress import search


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Masks that were found, and how.

    Attributes:
        values: Phase [rad] or amplitude of every start, shape ``(starts, masks, height, width)``; with levels, values
            that the device can show.
        losses: Loss before the first iteration and after each, float64, shape ``(iterations + 1, starts, masks)``; the
            last axis has length 1 where the masks share one loss.
        final: Loss of ``values`` as they are, rounded to levels, shape of ``losses[0]``.
        metrics: Figures of merit of ``values`` by name, each of shape ``(starts, masks)`` or as the caller made it.
        reason: Why it stopped.
        seconds: How long it took [s].
        seed: What the random starts were drawn from; ``None`` where the starts were given.
    """

    values: Tensor
    losses: Tensor
    final: Tensor
    metrics: Mapping[str, Tensor]
    reason: str
    seconds: float
    seed: int | None

    @property
    def iterations(self) -> int:
        """Number of iterations."""
        return len(self.losses) - 1

    @property
    def best(self) -> Tensor:
        """Index of the start of least final loss, for each mask (or one for all), shape ``(masks,)``."""
        return self.final.nan_to_num(nan=torch.inf).argmin(0)

    @property
    def chosen(self) -> Tensor:
        """The best start of each mask, shape ``(masks, height, width)``: what ``Modulator.set_values`` takes."""
        masks = torch.arange(self.values.shape[1], device=self.values.device)
        return self.values[self.best.to(self.values.device).expand(len(masks)), masks]


class Watch(AbstractContextManager):
    """Keeps the losses, draws the bar, and says when to stop.

    Args:
        iterations: Most iterations.
        patience: Iterations without a better loss of any start after which it stops; ``None`` never stops early.
        tolerance: Relative decrease below which a loss is not better.
        time_limit: Seconds after which it stops; ``None`` is no limit.
        label: Of the bar, which shows after 2 s and on a terminal only.
    """

    def __init__(
        self, iterations: int, *, patience: int | None, tolerance: float, time_limit: float | None, label: str
    ) -> None:
        for name, value in (("iterations", iterations), ("patience", patience)):
            if value is not None and (isinstance(value, bool) or int(value) != value or value < 1):
                raise ValueError(f"{name} must be a whole number of at least 1, got {value}.")
        if time_limit is not None and not time_limit > 0:
            raise ValueError(f"time_limit must be positive, got {time_limit:g} s.")
        self.limit, self.patience, self.tolerance, self.time_limit = iterations, patience, tolerance, time_limit
        self.label = label
        self.reason = f"{iterations} iterations done"
        self.losses: list[Tensor] = []
        self._searching = search(label, iterations)
        self._begin = time.perf_counter()
        self._record, self._since = None, 0

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self._begin

    def __enter__(self) -> Watch:
        self._bar = self._searching.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._searching.__exit__(kind, error, traceback)

    def goes_on(self, loss: Tensor) -> bool:
        """Note a loss, shape ``(starts, masks)``; whether another iteration should follow."""
        loss = loss.detach().to("cpu", torch.float64)
        self.losses.append(loss)
        done, seconds = len(self.losses) - 1, self.seconds
        if done:
            self._bar.advance(note=f"{loss.min().item():.4g}")
        if not torch.isfinite(loss).any():
            self.reason = f"the loss is no longer finite after {done} iterations"
            return False
        if done >= self.limit:
            return False
        if self.time_limit is not None and seconds >= self.time_limit:
            self.reason = f"time limit of {self.time_limit:g} s reached"
            return False
        return not self._stalled(loss)

    def _stalled(self, loss: Tensor) -> bool:
        loss = loss.nan_to_num(nan=torch.inf)
        better = (
            torch.ones_like(loss, dtype=torch.bool)
            if self._record is None
            else (loss < self._record - self.tolerance * self._record.abs())
        )
        self._record = loss if self._record is None else torch.where(better, loss, self._record)
        self._since = 0 if better.any() else self._since + 1
        if self.patience is None or self._since < self.patience:
            return False
        self.reason = f"no better by {self.tolerance:g} in {self.patience} iterations"
        return True


def random_phase(shape: tuple[int, ...], seed: int) -> Tensor:
    """Phase [rad] of this shape, drawn evenly from [0, 2 pi), float32: the same for any precision and device."""
    return 2 * torch.pi * torch.rand(shape, generator=torch.Generator().manual_seed(seed))
