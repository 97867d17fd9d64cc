"""What the routes share: a bench, a sampling report, the sum over the modes of the light."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
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
from .adjoint import at_masks, through_masks
from .arriving import Arriving, require_room
from .conditions import plane_checks
from .constants import Constants, described
from .geometry import Geometry, slm_factor
from .operators import Stages

SOURCES_AT_A_TIME = 16  # samples of a self-luminous object that are propagated together


class Route(nn.Module):
    """Computes a bench: images in, light at the image plane out.

    Args:
        bench: The 4f system.
        override: Quantities of the sampling conditions to ignore, as the refusal names them.
        options: What the route's ``sampling`` needs beyond the bench.

    Shape:
        - Input: images ``(batch, 1, height, width)`` in [0, 1], or what :meth:`arriving` gave for them.
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
        self._override, self._options = override, options
        self._kept = Constants()
        self._fit()

    def _fit(self) -> None:
        """Take the sampling conditions, and what else follows from the planes, from the bench as it is."""
        report = self.sampling(self.bench, **self._options)
        report.refuse_if_invalid(self._override)
        self.report, self._fitted = report, self._planes()
        self._kept.clear()

    def _fit_again(self) -> None:
        """Where parts were exchanged since."""
        if self._planes() != self._fitted:
            self._fit()

    def _planes(self) -> tuple[object, ...]:
        """Samples, lenses and light of the bench: parts may be exchanged after the route was made."""
        bench, light = self.bench, self.bench.illumination
        grids = (light.grid, light.shape, bench.slm.samples, bench.slm.grid, bench.image, bench.camera.grid)
        return (*grids, bench.lens1.focal_length, bench.lens2.focal_length, light.source, light.spectrum)

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

    def arriving(self, images: Tensor) -> Arriving:
        """The light of images at the masks, for a route that is called on the same images again and again.

        ``route(route.arriving(images))`` is ``route(images)`` with the same gradients of the masks, without the way
        from the object to the masks. It holds a plane of the SLM's samples for each image and mode of the light.

        Args:
            images: Shape ``(batch, 1, height, width)``, at least one.

        Raises:
            ValueError: Images that ask for a gradient, light that is not coherent mode by mode, a route without a plane
                of masks that fixed parts lead to.
            TooLargeError: It does not fit into memory.
        """
        self.bench.check_images(images)
        light = self.bench.illumination
        if not len(images) or images.requires_grad or trains(light):
            asked = "that ask for one" if images.requires_grad else "images"
            raise ValueError(f"images must be at least one and ask for no gradient here, got {len(images)} {asked}.")
        if light.self_luminous:
            raise ValueError(f"light must be coherent mode by mode to be kept at the masks, got {light.source}.")
        self._fit_again()
        modes, fields = light.modes(), {}
        require_room(images, modes, self.bench.slm.samples, self._dtype)
        with torch.no_grad():
            for mode in modes:
                stages = self._stages(light.grid, mode.wavelength, phases=self._by_phases)
                if stages is None:
                    self._refuse_arriving()
                fields[mode] = at_masks(images, stages, lambda some, mode=mode: light(some, mode).data)
        return Arriving(fields, self._passed())

    def _passed(self) -> tuple[object, ...]:
        """What arriving light has passed."""
        bench, light = self.bench, self.bench.illumination
        by_phases = self._by_phases  # else the pupil is part of the masks
        parts = (light, bench.pupil if by_phases else None, bench.slm_position, bench.camera_position)
        return (type(self), self._options, by_phases, light.spectrum, light.source, *self._made_of(*parts))

    def _refuse_arriving(self) -> None:
        raise ValueError(
            f"{type(self).__name__} must have a plane of masks that fixed parts lead to, for light to be kept there. "
            "The PSF route has none, nor has a bench whose SLM or camera turns, whose places or lenses train, or "
            "plain_autograd. Call the route on the images."
        )

    def mode_field(self, images: Tensor | Arriving, mode: Mode, masks: Tensor, *, keep: bool = True) -> Field:
        """Field at the image plane of one coherent mode of the light.

        Args:
            images: Shape ``(batch, 1, height, width)``, or what :meth:`arriving` gave for them.
            mode: Wavelength and direction of the light.
            masks: What :meth:`masks` gives at its wavelength.
            keep: Whether ``data`` of the field will be asked for. Without a gradient, what is not kept is made again.
        """
        light = self.bench.illumination
        stages = self._stages(light.grid, mode.wavelength, phases=not masks.is_complex())
        if isinstance(images, Arriving):
            if stages is None:
                self._refuse_arriving()
            return self._seen(images.fields[mode], masks, stages, mode.wavelength, arrived=True, keep=keep)
        if stages is None:
            return self.image_field(light(images, mode), masks)
        if images.requires_grad or trains(light):
            return self._seen(light(images, mode).data, masks, stages, mode.wavelength, keep=keep)
        return self._seen(images, masks, stages, mode.wavelength, lambda some: light(some, mode).data, keep=keep)

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
        **options: bool,
    ) -> Field:
        """Light at the image plane, through :func:`~optics4f.routes.adjoint.through_masks`."""
        rounding = None if masks.is_complex() else self.bench.slm.rounding
        seen, field = through_masks(source, masks, stages, lit, rounding, **options)
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

    @property
    def _by_phases(self) -> bool:
        """Whether a call goes through phases, not factors: those are for one mode and state of the panel."""
        light, frames = self.bench.illumination, self.bench.slm.frames
        return light.coherent and frames == 1 and self._phases(light.modes()[0].wavelength) is not None

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

    def forward(self, images: Tensor | Arriving) -> Field | Intensity:
        light, frames = self.bench.illumination, self.bench.slm.frames
        shown = images.dark_images(light.shape) if isinstance(images, Arriving) else images
        self.bench.check_images(shown)
        self._fit_again()
        if isinstance(images, Arriving):
            images.require_made_of(self._passed())
        if len(images) == 0:
            return self._of_nothing(shown)
        require_route(self, shown)
        modes = light.modes()
        if light.coherent and frames == 1:
            return self.mode_field(images, modes[0], self.masks(modes[0].wavelength), keep=False)
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

    def _of_nothing(self, images: Tensor) -> Field | Intensity:
        """Light of an empty batch: transforms want at least one field."""
        light = self(torch.cat((images, images.new_zeros(1, *images.shape[1:]))))
        name = "data" if isinstance(light, Field) else "intensity"
        return replace(light, **{name: getattr(light, name)[:0]})

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
        return self.mode_field(images, mode, masks, keep=False).intensity

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
        """What does not change from call to call, built once per wavelength for the given parts as they are.

        Where one of the parts trains, it is built at each call, inside the graph.
        """
        if any(map(trains, parts)):
            return build()
        return self._kept.get((name, wavelength), (self._device, *self._made_of(*parts)), build)

    def _made_of(self, *parts: nn.Module | None) -> tuple[object, ...]:
        """What constants are made of: parts may be changed or exchanged between two calls."""
        bench, light = self.bench, self.bench.illumination
        grids = (light.grid, light.shape, bench.slm.samples, bench.slm.grid, bench.image)
        return (self._dtype, bench.wavelength, *grids, *map(described, (*parts, bench.lens1, bench.lens2)))

    @property
    def _device(self) -> torch.device:
        return self.bench.slm.values.device


def trains(part: nn.Module | None) -> bool:
    """Whether anything in it receives a gradient."""
    return part is not None and any(parameter.requires_grad for parameter in part.parameters())


class _Caller(nn.Module):
    """Runs a method of a route, as what ``functional_call`` can lend parameters to."""

    def __init__(self, route: Route) -> None:
        super().__init__()
        self.route = route

    def forward(self, function: Callable[..., Tensor], *arguments: object) -> Tensor:
        return function(*arguments)
