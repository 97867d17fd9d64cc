"""What the routes share: a bench, a sampling report, the sum over the modes of the light."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..field import Field, Intensity, SeenField, intensity
from ..fourf import FourF
from ..grid import Grid
from ..light import Mode
from ..memory_needs import require_route
from ..modulation import phase_modulation
from ..quantization import quantize_phase
from ..sampling import SamplingReport
from .adjoint import Stages, through_masks
from .conditions import plane_checks
from .geometry import Geometry, slm_factor

SOURCES_AT_A_TIME = 16  # samples of a self-luminous object that are propagated together
CONSTANTS_KEPT = 64


class Route(nn.Module):
    """Computes a bench: images in, light at the image plane out.

    Args:
        bench: The 4f system.
        override: Quantities of the sampling conditions to ignore, as the refusal names them.
        options: What the route's ``sampling`` needs beyond the bench.

    Shape:
        - Input: images ``(batch, 1, height, width)`` in [0, 1].
        - Output: light on ``bench.image``, ``(batch, masks, height, width)``: a :class:`~optics4f.field.Field` where
          the illumination is coherent, else an :class:`~optics4f.field.Intensity`, summed over the modes of the light
          one after the other (each is computed again for its gradient, so memory is that of one mode).

    Raises:
        SamplingError: A sampling condition of the bench does not hold in this route, and is not overridden.
    """

    plain_autograd = False
    """Whether gradients come from autograd alone: slower, and what second derivatives and ``torch.func.vmap`` need."""

    def __init__(self, bench: FourF, *, override: tuple[str, ...] = (), **options: object) -> None:
        super().__init__()
        self.bench = bench
        self.report = self.sampling(bench, **options)
        self.report.refuse_if_invalid(override)
        self._kept: dict[tuple, Any] = {}

    @classmethod
    def sampling(cls, bench: FourF) -> SamplingReport:
        """The sampling conditions of a bench in this route; nothing is computed and nothing refused."""
        return SamplingReport(plane_checks(bench))

    @abstractmethod
    def image_field(self, source: Field, masks: Tensor | None = None) -> Field:
        """Field at the image plane of an object field ``(batch, 1, height, width)``.

        Args:
            source: Field at the object plane.
            masks: What :meth:`masks` gives at its wavelength, where that is at hand.
        """

    def mode_field(self, images: Tensor, mode: Mode, masks: Tensor) -> Field:
        """Field at the image plane of one coherent mode of the light, through what :meth:`masks` gives."""
        light = self.bench.illumination
        stages = self._stages(light.grid, mode.wavelength, phases=not masks.is_complex())
        if stages is None:
            return self.image_field(light(images, mode), masks)
        if images.requires_grad or trains(light):
            return self._seen(light(images, mode).data, masks, stages, mode.wavelength)
        return self._seen(images, masks, stages, mode.wavelength, lambda some: light(some, mode).data)

    def _stages(self, source: Grid, wavelength: float, *, phases: bool) -> Stages | None:
        """The bench as linear operators with gradients by hand; ``None`` where it cannot be, or shall not.

        Args:
            source: Samples of the object.
            wavelength: Of the light [m].
            phases: Whether the masks are phases alone, so that the pupil and the tilt of the SLM belong between.
        """
        return None

    def _seen(
        self,
        source: Tensor,
        masks: Tensor,
        stages: Stages,
        wavelength: float,
        lit: Callable[[Tensor], Tensor] | None = None,
    ) -> Field:
        """Light at the image plane, through :func:`~optics4f.routes.adjoint.through_masks`."""
        rounding = None if masks.is_complex() else self.bench.slm.rounding
        seen, field = through_masks(source, masks, stages, lit, rounding)
        return SeenField(field, self.bench.image, wavelength, intensity=seen)

    def mask_factors(self, wavelength: float, frame: int = 0) -> Tensor:
        """Masks, pupil and tilt: complex factor of the SLM's samples, shape ``(masks, height, width)``.

        Args:
            wavelength: Of the light [m].
            frame: Which of the SLM's states during the exposure, if it flickers.
        """
        bench = self.bench
        ratio = bench.wavelength / wavelength
        masks = (bench.slm.modulation(ratio) if frame == 0 else bench.slm.modulation(ratio, frame)).to(self._dtype)
        factor = self._slm_factor(wavelength)
        return masks if factor is None else masks * factor

    def _slm_factor(self, wavelength: float) -> Tensor | None:
        """Pupil and tilt on the SLM's samples; ``None`` where there is neither."""
        bench, place = self.bench, Geometry.of(self.bench)
        like = torch.empty(0, dtype=self._dtype, device=self._device)
        parts = (bench.slm_position, bench.pupil)
        return self._constant("SLM", wavelength, lambda: slm_factor(bench, place, wavelength, like), *parts)

    def masks(self, wavelength: float, frame: int = 0) -> Tensor:
        """What the masks are, in the shortest form that this route computes with, ``(masks, height, width)``.

        Args:
            wavelength: Of the light [m].
            frame: As for :meth:`mask_factors`.

        Returns:
            The wanted phases [rad], real, where rounding them (:attr:`SLM.rounding`) is all that the SLM does and
            ``exp(i phase)`` of all masks needs no memory; else what :meth:`mask_factors` gives, complex.
        """
        phases = self._phases(wavelength)
        return self.mask_factors(wavelength, frame) if phases is None else phases

    def _phases(self, wavelength: float) -> Tensor | None:
        bench, slm = self.bench, self.bench.slm
        fixed = not (trains(bench.slm_position) or trains(bench.pupil))
        of_the_light = wavelength == bench.wavelength and slm.values.dtype == self._dtype.to_real()
        alone = "phase" in slm.kinds and slm.samples_per_pixel == 1 and set(slm.active) <= {"quantization"}
        if not (fixed and of_the_light and alone and self._takes_phases(wavelength)):
            return None
        return slm.shown_phase() if slm.rounding is None else slm.values

    def _factors(self, masks: Tensor, wavelength: float) -> Tensor:
        """What :meth:`mask_factors` gives, of what :meth:`masks` gave."""
        if masks.is_complex():
            return masks
        bits, factor = self.bench.slm.rounding, self._slm_factor(wavelength)
        masks = phase_modulation(masks if bits is None else quantize_phase(masks, bits))
        return masks if factor is None else masks * factor

    def _takes_phases(self, wavelength: float) -> bool:
        """Whether :meth:`mode_field` does with phases what it does with factors."""
        return self._stages(self.bench.illumination.grid, wavelength, phases=True) is not None

    def forward(self, images: Tensor) -> Field | Intensity:
        self.bench.check_images(images)
        require_route(self, images)
        light, frames = self.bench.illumination, self.bench.slm.frames
        modes = light.modes()
        if light.coherent and frames == 1:
            return self.mode_field(images, modes[0], self.masks(modes[0].wavelength))
        one_mode = self.self_luminous_intensity if light.self_luminous else self._mode_intensity
        total: Tensor | float = 0.0
        for frame in range(frames):
            masks: dict[float, Tensor] = {}  # drawn once: a mode that is computed again must see the same
            for mode in modes:
                if mode.wavelength not in masks:
                    masks = {mode.wavelength: self.mask_factors(mode.wavelength, frame)}
                seen = self._again(one_mode, images, mode, masks[mode.wavelength])
                total = total + mode.weight / frames * seen
        return Intensity(total, self.bench.image)

    def self_luminous_intensity(self, images: Tensor, mode: Mode, masks: Tensor) -> Tensor:
        """Intensity at the image plane where each object sample radiates by itself, ``(batch, masks, height, width)``.

        Each sample's power fills the band of its samples evenly; what the SLM's used area misses is lost.
        """
        light = self.bench.illumination
        emitted = intensity(light(images).data).flatten(1)
        total: Tensor | float = 0.0
        points = torch.arange(emitted.shape[1], device=emitted.device)
        for chunk in points.split(SOURCES_AT_A_TIME):
            seen = self._again(self._responses, chunk, mode, masks)
            total = total + torch.einsum("bn,nkhw->bkhw", emitted[:, chunk], seen)
        return total

    def _responses(self, points: Tensor, mode: Mode, masks: Tensor) -> Tensor:
        """Intensity that object samples of amplitude 1, one at a time, give at the image plane."""
        grid = self.bench.illumination.grid
        data = torch.zeros(len(points), grid.shape[0] * grid.shape[1], dtype=self._dtype, device=points.device)
        data[torch.arange(len(points)), points] = 1
        source = Field(data.reshape(-1, 1, *grid.shape), grid, mode.wavelength)
        return self.image_field(source, masks).intensity

    def _mode_intensity(self, images: Tensor, mode: Mode, masks: Tensor) -> Tensor:
        return self.mode_field(images, mode, masks).intensity

    def _again(self, function: Callable[..., Tensor], *arguments: object) -> Tensor:
        """Run, and run again in the backward pass, instead of keeping what lies between."""
        if not torch.is_grad_enabled():
            return function(*arguments)
        # Parameters lent by torch.func.functional_call are gone by the time of the backward pass: lend them again.
        lent = {f"route.{name}": parameter for name, parameter in self.named_parameters()}
        caller = _Caller(self)

        def run(*arguments: object) -> Tensor:
            return torch.func.functional_call(caller, lent, (function, *arguments))

        return checkpoint(run, *arguments, use_reentrant=False, preserve_rng_state=False)

    @property
    def _dtype(self) -> torch.dtype:
        return self.bench.illumination.dtype

    def _constant(self, name: str, wavelength: float, build: Callable[[], Any], *parts: nn.Module | None) -> Any:
        """What does not change from call to call, built once per wavelength and place of the given parts.

        Where one of the parts trains, it is built at each call, inside the graph.
        """
        parts = tuple(part for part in parts if part is not None)
        if any(map(trains, parts)):
            return build()
        # A part may be changed or replaced between two calls; what it is made of tells.
        lenses = (self.bench.lens1, self.bench.lens2)
        values = tuple(v for part in (*parts, *lenses) for module in part.modules() for v in _made_of(module))
        key = (name, wavelength, self._device, tuple(map(type, parts)), values)
        if key not in self._kept:
            if len(self._kept) >= CONSTANTS_KEPT:
                self._kept.pop(next(iter(self._kept)))
            with torch.no_grad():
                self._kept[key] = build()
        return self._kept[key]

    @property
    def _device(self) -> torch.device:
        return self.bench.slm.values.device

    def __getstate__(self) -> dict:
        """Copies build their constants anew."""
        return {**self.__dict__, "_kept": {}}


def trains(part: nn.Module | None) -> bool:
    """Whether anything in it receives a gradient."""
    return part is not None and any(parameter.requires_grad for parameter in part.parameters())


def _made_of(module: nn.Module) -> list[object]:
    """Numbers and words that a module holds itself, parameters among them."""
    plain = [v for k, v in vars(module).items() if not k.startswith("_") and isinstance(v, float | int | str | tuple)]
    return plain + [v for p in module.parameters(recurse=False) for v in p.detach().flatten().tolist()]


class _Caller(nn.Module):
    """Runs a method of a route, as what ``functional_call`` can lend parameters to."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.route = route

    def forward(self, function: Callable[..., Tensor], *arguments: object) -> Tensor:
        return function(*arguments)
