r"""Gerchberg-Saxton retrieval, plain and weighted, of masks for any target.

Light goes to the nodes of the target, takes the wanted amplitude there, goes back, and becomes what the device can
show. Between two transforms a block of SLM rows stays in the processor's cache: along x the light goes back, is
modulated, and goes forth again; of the whole SLM only the nodes' columns are stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..field import intensity
from ..metrics import rms_error
from .constraints import AmplitudeOnly, Constraint, PhaseOnly
from .outcome import Retrieval, Watch, random_phase
from .planes import Plane
from .targets import Target, figures_of_merit, normalised_illumination

_BLOCK = 2**16  # SLM samples at a time: 64 rows of 1024, half a megabyte of complex64
_FEW_LEVELS = 64  # from here on, rounding once at the end does no harm that can be measured
_LEAST_SHARE = 0.3  # of the wanted field; below it, what is beside is no error of the weights but of the start
_MORE_LIGHT = 0.3  # asked of a complex target, at first
_LESS_LIGHT = 0.1  # times the relative error, given up in each iteration: what phase cannot show needs room
_SETTLED = 0.5  # of the iterations, from which on none is asked
_OVERSHOOT = 1.5  # of what is missing; steps of up to 2 converge, 1 is slower for all kernels tried
_SHARED = 0.1  # of the strongest pattern of nodes that share light: weaker ones take more steps
_LARGEST_PUSH = 10.0  # of a weight in one iteration: a node that is dark by chance would take all the light


def gerchberg_saxton(
    target: Target,
    *,
    constraint: Constraint | None = None,
    weighted: bool = True,
    iterations: int = 100,
    starts: int = 1,
    seed: int = 0,
    start: Tensor | None = None,
    illumination: Tensor | None = None,
    exponent: float = 0.8,
    fixed_phase_after: int | None = None,
    rounded_iterations: int | None = None,
    patience: int | None = None,
    tolerance: float = 1e-4,
    time_limit: float | None = None,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Retrieval:
    r"""Masks by iteration between SLM and target (Gerchberg and Saxton 1972; weights: Di Leonardo et al. 2007).

    Plain, the nodes take the wanted amplitude :math:`t`; the squared distance between the light behind the mask and
    the nearest light that the target allows never increases. Weighted, they take :math:`w`, which grows where light is
    missing: after each iteration :math:`w \to w \, (t / |u|)^p`, with :math:`u` the field at the nodes, scaled to the
    power of :math:`t`.

    A complex target with free light beside it is approached at the brightness that its nodes have, raised by up to 30 %
    in each of the first iterations, and lowered where the shape does not come out: shape comes before light. Each step
    makes up for nodes that share light, as the taps of a kernel do where they stand closer than the diffraction limit.
    One with a dark background is approached by adding to ``w`` what is missing; where phase alone cannot keep all of it
    dark, that drives the masks away from it at last, so the best iterate of each mask is kept, never worse than its
    start.

    Args:
        target: What is wanted, one pattern for each mask.
        constraint: What the device can show; continuous phase by default.
        weighted: Whether weights make the nodes alike, at the cost of a little light.
        iterations: Most iterations.
        starts: Number of starts, in one batch.
        seed: Seed of the random starts. Of a complex target, which a random phase has nothing of, the first start is
            the phase of the field that would focus to it, as in :func:`optics4f.design.kinoform`.
        start: Phase [rad] to start from instead, shape ``(masks, height, width)`` or
            ``(starts, masks, height, width)``.
        illumination: Real amplitude of the light on the SLM, positive, shape ``(height, width)``; even by default.
        exponent: ``p``, in (0, 1]; of no use for complex targets with free light beside them.
        fixed_phase_after: Iterations after which the nodes keep their phase (Kim et al. 2019), which makes them alike
            at last; by default half of ``iterations``.
        rounded_iterations: How many of the last ``iterations`` round to the levels of the constraint in each step; by
            default all of them if there are fewer than 64 levels, else none. The result is always rounded.
        patience: Iterations without a better loss after which it stops; never by default.
        tolerance: Relative decrease of the loss that counts as better.
        time_limit: Seconds after which it stops.
        dtype: Real type of the masks.
        device: Where it runs.

    Returns:
        Masks with their losses: plain, the squared distance in units of the incident power; weighted, the relative RMS
        error of the amplitude (of the field, where that is wanted) at the judged nodes after the best brightness.
        Metrics: ``efficiency``, share of the light at the nodes where some is wanted, ``uniformity`` there, and
        ``rms_error``.
    """
    if not 0 < exponent <= 1:
        raise ValueError(f"exponent must be in (0, 1], got {exponent:g}. 0.8 is usual, less is slower and steadier.")
    device = torch.device(device)
    constraint = PhaseOnly() if constraint is None else constraint
    if isinstance(constraint, AmplitudeOnly) and not target.free:
        raise ValueError(
            "a target for an amplitude-only device must have free=True, got a dark background. Its zero order and the "
            "twins of its spots cannot be dark; say with efficiency how much of the light is wanted."
        )
    begin = _starts(start, starts, target, seed).to(device, dtype)
    masks = begin.shape[:2]
    rounding = _rounding(constraint, iterations, rounded_iterations)
    fixed = iterations // 2 if fixed_phase_after is None else fixed_phase_after
    light = _Light(target, constraint, begin.flatten(0, 1), illumination, by_shape=weighted)
    nodes = _Nodes(target, len(begin), light.kind, device, exponent if weighted else None)
    best = begin.new_full((len(light.behind),), torch.inf) if weighted and nodes.signed else None
    with Watch(
        iterations, patience=patience, tolerance=tolerance, time_limit=time_limit, label="Gerchberg-Saxton"
    ) as watch:
        field = light.first()
        while True:
            loss = nodes.loss(field, light.power)
            if best is not None:
                light.keep(loss < best)
                best = torch.fmin(best, loss)
            if not watch.goes_on(loss.view(masks)):
                break
            done = len(watch.losses) - 1
            if best is not None and done == iterations - rounding:
                best = torch.full_like(best, torch.inf)  # what was not rounded is no rival of what is
            goal = nodes.goal(field, keeps_phase=weighted and done >= fixed, progress=done / iterations)
            field = light.step(goal, field, rounded=done >= iterations - rounding)
        kept = best is not None and light.take_kept(~(loss <= best))
        values, field = light.shown()
    return Retrieval(
        values=values.view(begin.shape),
        losses=torch.stack(watch.losses),
        final=nodes.loss(field, light.power).view(masks).to("cpu", torch.float64),
        metrics=figures_of_merit(field.view(*masks, *field.shape[1:]), target),
        reason=watch.reason + (", an earlier iterate was better and is kept" if kept else ""),
        seconds=watch.seconds,
        seed=seed if start is None else None,
    )


class _Light:
    """The light from the nodes to the masks and back, all starts and masks in one row of ``count``."""

    def __init__(
        self, target: Target, constraint: Constraint, begin: Tensor, illumination: Tensor | None, *, by_shape: bool
    ) -> None:
        self.kind = torch.complex64 if begin.dtype == torch.float32 else torch.complex128
        self.constraint, self.free = constraint, target.free
        self.amplitude = normalised_illumination(target.plane.samples, illumination).to(begin)
        self.plane = target.plane.to(self.kind, begin.device)
        self.judged = target.judged.to(begin.device)
        self.gain = target.plane.gain  # the longest step that never overshoots; 1 for parts of a unitary transform
        self.by_shape = by_shape and self.free and target.wanted.is_complex()
        self.apart = (
            _Apart(target.plane, self.kind, begin.device) if self.by_shape and bool(self.judged.all()) else None
        )
        self.behind = torch.polar(self.amplitude.expand_as(begin), begin)  # kept up to date where the rest is free
        self.columns: list[Tensor | None] = [None] * len(begin)  # none yet: the masks are as they began
        self._kept: list[tuple[Tensor, Tensor | None]] = [(wave, None) for wave in self.behind]
        self.power = begin.new_ones(len(begin))  # behind each mask, as a share of the light; less than 1 with amplitude

    def first(self) -> Tensor:
        """Field at the nodes, before any iteration."""
        return self._forth(None)

    def step(self, goal: Tensor, field: Tensor, *, rounded: bool) -> Tensor:
        """Field at the nodes after one iteration towards ``goal``."""
        self.columns = list(self.plane.rows.adjoint_rows(self._change(goal - field) if self.free else goal))
        return self._forth(self._shown if rounded else None)

    def _change(self, missing: Tensor) -> Tensor:
        """Light to be added at free nodes so that ``missing`` comes to them."""
        if self.apart is not None:
            return _OVERSHOOT * self.apart(missing)
        return missing * self.judged * ((_OVERSHOOT if self.by_shape else 1) / self.gain)

    def keep(self, better: Tensor) -> None:
        """Remember the masks behind the field last returned where they are ``better``, shape ``(count,)``."""
        for n in better.nonzero().flatten().tolist():
            column = None if self.free or self.columns[n] is None else self.columns[n].clone()
            self._kept[n] = (self.behind[n].clone() if self.free else self.behind[n], column)

    def take_kept(self, worse: Tensor) -> bool:
        """Go back to what was kept where the masks are ``worse``, shape ``(count,)``; whether any are."""
        for n in worse.nonzero().flatten().tolist():
            self.behind[n] = self._kept[n][0]
            self.columns[n] = self._kept[n][1]
        return bool(worse.any())

    def shown(self) -> tuple[Tensor, Tensor]:
        """Masks as the device shows them, shape ``(count, height, width)``, and the field at the nodes."""
        values: list[Tensor] = []

        def show(wave: Tensor, amplitude: Tensor) -> Tensor:
            values.append(self.constraint.values(wave / amplitude))
            return amplitude * self.constraint.modulation(values[-1])

        if self.free:
            self.columns = [None] * len(self.columns)  # what is free is not moved again
        field = self._forth(show)
        return torch.cat(values).view(self.behind.shape), field

    def _shown(self, wave: Tensor, amplitude: Tensor) -> Tensor:
        return amplitude * self.constraint.modulation(self.constraint.values(wave / amplitude))

    def _forth(self, show: Callable[[Tensor, Tensor], Tensor] | None) -> Tensor:
        """Field at the nodes of the wanted waves as the device shows them; ``None`` rounds to no level."""
        height, width = self.plane.samples
        across = self.behind.new_empty(len(self.behind), height, self.plane.shape[1])
        block = height if self.behind.is_cuda else max(1, _BLOCK // width)
        lossy = not isinstance(self.constraint, PhaseOnly)
        self.power = torch.zeros_like(self.power) if lossy else self.power
        for n, column in enumerate(self.columns):
            for begin in range(0, height, block):
                rows = slice(begin, begin + block)
                wave = self.behind[n, rows]
                if column is not None:
                    moved = self.plane.columns.adjoint(column[rows])
                    wave = wave + moved if self.free else moved
                wave = wave if show and not self.free else self.constraint.nearest(wave, self.amplitude[rows])
                if self.free:
                    # Not rounded: a change too small for a level would be forgotten, and the mask never move.
                    self.behind[n, rows] = wave
                if show:
                    wave = show(wave, self.amplitude[rows])
                if lossy:
                    self.power[n] += intensity(wave).sum()
                across[n, rows] = self.plane.columns.forward(wave)
        return self.plane.rows.forward_rows(across)


class _Apart:
    """What nodes that share light must be asked for so that each gets what it lacks.

    With ``A`` the map to the nodes, ``(A A^H + r)^-1``: the least light at the SLM that brings it is the adjoint of
    that (Tikhonov's inverse). Rows and columns of a plane are separate, so are the two halves of the inverse.
    """

    def __init__(self, plane: Plane, kind: torch.dtype, device: torch.device) -> None:
        (row_values, rows), (column_values, columns) = (
            # The rows of the identity go there and back: what comes out is the transpose of A A^H.
            torch.linalg.eigh(axis.forward(axis.adjoint(torch.eye(axis.nodes, dtype=torch.complex128))).mT)
            for axis in (plane.rows, plane.columns)
        )
        strength = row_values[:, None] * column_values
        inverse = 1 / (strength.clamp(min=0) + _SHARED * strength.max())
        self.inverse = inverse.to(device, kind.to_real())
        self.rows, self.columns = rows.to(device, kind), columns.to(device, kind)

    def __call__(self, missing: Tensor) -> Tensor:
        patterns = self.rows.mH @ missing @ self.columns.conj()
        return self.rows @ (patterns * self.inverse) @ self.columns.mT


class _Nodes:
    """What the nodes should have: the wanted amplitude or field, and the weights that bring it about."""

    def __init__(
        self, target: Target, starts: int, kind: torch.dtype, device: torch.device, exponent: float | None
    ) -> None:
        wanted = target.wanted.to(device)
        self.signed = wanted.is_complex()
        self.wanted = wanted.to(kind if self.signed else kind.to_real()).repeat(starts, 1, 1)
        self.judged, self.free, self.exponent = target.judged.to(device), target.free, exponent
        self.all_judged = bool(self.judged.all())
        self.weights = self.wanted
        self.total = _norm(self.wanted).square()
        self.phase: Tensor | None = None

    def loss(self, field: Tensor, power: Tensor) -> Tensor:
        """Loss of each mask, shape ``(count,)``."""
        if self.exponent is not None:
            field = self._judged(field)
            return rms_error(field if self.signed else intensity(field).sqrt(), self.wanted)
        if self.signed:
            overlap = intensity((self.wanted.conj() * field).sum((-2, -1))).sqrt()
        else:
            overlap = (self.wanted * intensity(field).sqrt()).sum((-2, -1))
        reached = intensity(self._judged(field)).sum((-2, -1)) if self.free else power
        return reached + self.total[:, 0, 0] - 2 * overlap

    def goal(self, field: Tensor, *, keeps_phase: bool, progress: float) -> Tensor:
        """Field that the nodes should take in the next iteration, after this share of them all."""
        if self.signed:
            return self._signed_goal(field, progress)
        size = intensity(field).sqrt().clamp_(min=torch.finfo(self.wanted.dtype).tiny)
        if self.exponent is not None:
            self._weigh(size)
        if not keeps_phase:
            self.phase = None
            return field * (self.weights / size)
        self.phase = field / size if self.phase is None else self.phase
        return self.phase * self.weights

    def _weigh(self, size: Tensor) -> None:
        ratio = self.wanted * (_norm(self._judged(size)) / _norm(self.wanted)) / size
        weights = self.weights * ratio.clamp_(max=_LARGEST_PUSH).pow_(self.exponent)
        self.weights = weights * (_norm(self.wanted) / _norm(weights))

    def _signed_goal(self, field: Tensor, progress: float) -> Tensor:
        share = (self.wanted.conj() * field).sum((-2, -1), keepdim=True) / self.total
        turn = torch.sgn(share)
        if self.exponent is not None and self.free:
            # More light at first (random starts have next to none), less for as long as the shape is wrong.
            more = _MORE_LIGHT * max(0.0, 1 - progress / _SETTLED)
            wrong = rms_error(self._judged(field), self.wanted)[:, None, None]
            brightness = (share.abs() * (1 + more - _LESS_LIGHT * wrong)).clamp_(min=more, max=1)
            return self.wanted * (turn * brightness)
        if self.exponent is not None:
            # Only what is beside the wanted shape is corrected: brightness and global phase are free.
            beside = (self._judged(field) - share * self.wanted) * turn.conj()
            weights = self.weights - self.exponent * beside / share.abs().clamp(min=_LEAST_SHARE)
            self.weights = weights * (_norm(self.wanted) / _norm(weights))
        return self.weights * turn

    def _judged(self, field: Tensor) -> Tensor:
        return field if self.all_judged else field * self.judged


def _norm(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values, dim=(-2, -1), keepdim=True)


def _starts(start: Tensor | None, starts: int, target: Target, seed: int) -> Tensor:
    if starts < 1:
        raise ValueError(f"starts must be at least 1, got {starts}.")
    masks, shape = len(target.wanted), target.plane.samples
    if start is None:
        begin = random_phase((starts, masks, *shape), seed)
        if target.wanted.is_complex():
            begin[0] = target.plane.adjoint(target.wanted).angle()
        return begin
    given = start[None] if start.dim() == 3 else start
    if given.dim() != 4 or tuple(given.shape[1:]) != (masks, *shape):
        raise ValueError(f"start must have shape ({masks}, {shape[0]}, {shape[1]}), got {tuple(start.shape)}.")
    if not torch.isfinite(given).all():
        raise ValueError("start must be finite, got NaN or inf in it.")
    return given


def _rounding(constraint: Constraint, iterations: int, asked: int | None) -> int:
    if math.isinf(constraint.count):
        return 0
    if asked is not None:
        return asked
    return iterations if constraint.count < _FEW_LEVELS else 0
