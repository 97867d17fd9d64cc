r"""A convolution done by light: :class:`OpticalConv2d`, whose weights are the masks of an SLM.

A real 4f turns its image by 180 degrees, so the frame, turned back, is the cross-correlation of the object with the
point spread function: :math:`y_i = \sum_a w_a \, x_{i + a}` with :math:`w_a` the PSF :math:`a` logical pixels beside
the middle of its tile. That is what ``torch.nn.functional.conv2d`` computes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, Self, get_args

import torch
from torch import Tensor, nn

from .conv_arguments import check_plain, check_whole, square, symmetric_padding
from .conv_bench import channel_wavelengths, diffraction_orders, prepared_bench, tile_bench
from .conv_kernels import load_kernels, start_with_random_kernels
from .conv_state import Calibrated
from .conv_taps import tile_kernels, with_gains
from .design.tiling import Tile, plan_tiles
from .field import Intensity, intensity
from .fourf import FourF
from .light import Mode
from .memory_needs import require_route
from .routes import PSFRoute
from .routes.route import Route
from .units import engineering

if TYPE_CHECKING:
    from .units import Quantity

Detection = Literal["differential", "intensity", "homodyne"]


class OpticalConv2d(Calibrated):
    r"""A drop-in for ``torch.nn.Conv2d`` without bias: same call, same output shape, light instead of arithmetic.

    ============== ================= ===================================================================================
    detection      light             output, with :math:`h` the PSF at the taps
    ============== ================= ===================================================================================
    differential   self-luminous     :math:`x * (|h_+|^2 - |h_-|^2)`, two tiles a kernel: signed, linear in the input
    intensity      coherent          :math:`|x * h|^2`, the square law of a detector: not linear
    homodyne       coherent          :math:`Re(x * h)`, two exposures with a reference of either sign: signed, linear
    ============== ================= ===================================================================================

    A :class:`~optics4f.design.tiling.TilePlan` says which kernel stands where in the PSF of which mask. Input channels
    are shown one after the other, each with masks of its own, and their frames added; or all at once, each in light of
    its own wavelength, with the same masks.

    Args:
        in_channels: Channels C of the input.
        out_channels: Kernels O.
        kernel_size: Taps along each side.
        bench: Lenses, SLM, camera, and the object, which has the size of the input. A camera pixel (after binning) sees
            one imaged logical pixel. Its light and the number of its masks are set here, on a copy.
        detection: As above.
        stride: As in ``nn.Conv2d``.
        padding: As in ``nn.Conv2d``, less than ``kernel_size``.
        exposures: Masks, at most, among which the kernels of a channel are shared; by default each kernel has
            one, with both of its signs if they fit.
        wavelengths: One for each channel [m], shown together; by default channels are shown one after the other.
        guard: Dark camera pixels between tiles.
        avoid_zero_order: Whether the tiles stay off the image of the object itself. Without, a lone tile stands on it.
        avoid_twins: Whether the tiles stay off each other's conjugate order.
        noise: Generator of the camera's noise; none without it.
        route: How light is computed; another than the PSF route computes the whole camera and cuts the tiles out.

    Attributes:
        plan: Where the tiles are.
        gains: Factor of each mask from camera signal to output, 1 until :meth:`load_kernels` fits them. The state holds
            masks only, and these two numbers where they are not 1.
        reference: Amplitude of the homodyne reference, in units of a white object pixel.

    New masks are those of random kernels, drawn as ``nn.Conv2d`` draws its weights, by two steps of retrieval.

    Shape:
        - Input ``(B, C, height, width)`` or ``(C, height, width)``, not negative.
        - Output ``(B, O, (height + 2 padding - kernel_size) // stride + 1, ...)``.

    Raises:
        SamplingError: Camera pixels that are not imaged logical pixels.
        ValueError: Arguments out of range; kernels that do not fit; an input of another size or with negative values.
    """

    CALIBRATION = ("gains", "reference")

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        bench: FourF,
        *,
        detection: Detection = "differential",
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        exposures: int | None = None,
        wavelengths: Sequence[Quantity] | None = None,
        guard: int = 1,
        avoid_zero_order: bool = True,
        avoid_twins: bool = False,
        noise: torch.Generator | None = None,
        route: Callable[[FourF], Route] = PSFRoute,
    ) -> None:
        super().__init__()
        if detection not in get_args(Detection):
            raise ValueError(f"detection must be one of {', '.join(get_args(Detection))}, got {detection!r}.")
        kernel_size, stride = square("kernel_size", kernel_size), square("stride", stride)
        padding = symmetric_padding(padding, kernel_size, stride)
        counts = {"in_channels": in_channels, "out_channels": out_channels, "stride": stride}
        check_whole(1, **counts, exposures=1 if exposures is None else exposures)
        self.in_channels, self.out_channels, self.kernel_size = in_channels, out_channels, kernel_size
        self.detection, self.stride, self.padding, self.noise = detection, stride, padding, noise
        self.signs = 2 if detection == "differential" else 1
        self.wavelengths = channel_wavelengths(wavelengths, in_channels, bench)
        self.plan = plan_tiles(
            out_channels,
            bench.illumination.shape,
            kernel_size,
            camera=bench.camera.grid.shape,
            replica=diffraction_orders(bench, min(self.wavelengths)),
            signs=self.signs,
            padding=padding,
            exposures=out_channels if exposures is None else exposures,
            guard=guard,
            avoid_zero_order=avoid_zero_order,
            avoid_twins=avoid_twins,
            colours=self.wavelengths if wavelengths is not None else (),
        )
        self.at_once = wavelengths is not None
        masks = self.plan.exposures * (1 if self.at_once else in_channels)
        # In a list, so that the bench is no submodule and the state holds masks only.
        self._held = [prepared_bench(bench, masks, incoherent=detection == "differential")]
        self.slm = self.bench.slm
        self.register_buffer("gains", torch.ones(masks, dtype=self.slm.values.dtype), persistent=False)
        self.register_buffer("reference", torch.ones((), dtype=self.slm.values.dtype), persistent=False)
        self.route_type = route
        if route is PSFRoute:
            self._routes, self._tiles = self._parted()
        else:
            self._routes, self._tiles = [route(self.bench)], [list(range(len(self.plan.tiles)))]
        start_with_random_kernels(self)

    def _parted(self) -> tuple[list[PSFRoute], list[list[int]]]:
        """A route for each place in front of the camera, and the tiles that stand there, of whichever exposure."""
        places = sorted({tile.centre for tile in self.plan.tiles})
        tiles = [[n for n, t in enumerate(self.plan.tiles) if t.centre == place] for place in places]
        return [PSFRoute(tile_bench(self.bench, self.plan.tiles[n[0]], k)) for k, n in enumerate(tiles)], tiles

    @property
    def bench(self) -> FourF:
        """The simulated hardware, with its whole camera."""
        return self._held[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # What moves the layer moves its bench.
        super()._apply(fn, recurse)
        for route in self._routes:
            route._apply(fn)
        kind = self.slm.values.dtype.to_complex()
        if self.bench.illumination.dtype != kind:
            self.bench.illumination.dtype = kind  # which the benches of the tiles share
            for route in self._routes:
                route._kept.clear()
        return self

    # --- light ---

    def forward(self, x: Tensor) -> Tensor:
        size = (self.in_channels, *self.bench.illumination.shape)
        if x.dim() == 3:
            return self(x[None])[0]
        if x.dim() != 4 or tuple(x.shape[1:]) != size:
            raise ValueError(f"input must have shape (batch, {size[0]}, {size[1]}, {size[2]}), got {tuple(x.shape)}.")
        if len(x) == 0:
            return x.new_zeros(0, self.out_channels, *self._output_shape())
        if not (x.detach() >= 0).all():
            raise ValueError(f"input must not be negative: it is light, got {x.detach().min().item():.3g}. Add a bias.")
        found: list[Tensor | None] = [None] * len(self.plan.tiles)
        for number, shot in enumerate(self._shots(x)):
            for n, frame in self._seen(shot):
                frame = frame * self.gains[number * self.plan.exposures + self.plan.tiles[n].exposure]
                found[n] = frame if found[n] is None else found[n] + frame
        frames = torch.stack(found, 1).unflatten(1, (self.out_channels, self.signs))
        signed = frames[:, :, 0] - frames[:, :, 1] if self.signs == 2 else frames[:, :, 0]
        return signed[..., :: self.stride, :: self.stride]

    def _output_shape(self) -> tuple[int, int]:
        image = self.bench.illumination.shape
        return tuple((n + 2 * self.padding - self.kernel_size) // self.stride + 1 for n in image)

    def _shots(self, x: Tensor) -> list[list[tuple[Tensor, Mode, Tensor]]]:
        """What is on the camera together: images, light and masks ``(exposures, ...)`` of each channel of each shot."""
        channels = []
        for channel, wavelength in enumerate(self.wavelengths):
            mode = Mode(wavelength)
            frames = [self._routes[0].masks(wavelength, frame) for frame in range(self.slm.frames)]
            if not self.at_once:
                own = slice(channel * self.plan.exposures, (channel + 1) * self.plan.exposures)
                frames = [masks[own] if self.in_channels > 1 else masks for masks in frames]
            channels.append((x[:, channel : channel + 1], mode, frames))
        return [channels] if self.at_once else [[channel] for channel in channels]

    def _seen(self, shot: list[tuple[Tensor, Mode, list[Tensor]]]) -> list[tuple[int, Tensor]]:
        """Number of each tile and its upright frame in one shot, before stride and gains."""
        seen = []
        for route, tiles in zip(self._routes, self._tiles, strict=True):
            exposures = sorted({self.plan.tiles[n].exposure for n in tiles})
            frames = self._detected(route, shot, exposures)
            for n in tiles:
                tile = self.plan.tiles[n]
                frame = frames[:, exposures.index(tile.exposure)]
                if self.route_type is not PSFRoute:
                    frame = frame[:, tile.rows, tile.columns]
                seen.append((n, frame.flip((-2, -1))))
        return seen

    def camera_windows(self, x: Tensor) -> list[tuple[int, Tile, Tensor]]:
        """What the camera delivers: exposure, tile, and the signal in its window as the frame shows it, not turned.

        Exposures are counted over the channels, where these are shown one after the other.
        """
        found = []
        for number, shot in enumerate(self._shots(x)):
            for n, frame in self._seen(shot):
                tile = self.plan.tiles[n]
                found.append((number * self.plan.exposures + tile.exposure, tile, frame.flip((-2, -1))))
        return found

    def _detected(self, route: Route, shot: list[tuple[Tensor, Mode, list[Tensor]]], exposures: list[int]) -> Tensor:
        """What the camera of a route delivers for some exposures, ``(B, exposures, h, w)``."""
        lights = [self._light(route, shot, exposures, sign) for sign in ((1, -1) if self.homodyne else (0,))]
        frames = [route.bench.detect(Intensity(light, route.bench.image), self.noise) for light in lights]
        return (frames[0] - frames[1]) / (4 * self.reference) if self.homodyne else frames[0]

    @property
    def homodyne(self) -> bool:
        """Whether frames are taken with a reference."""
        return self.detection == "homodyne"

    def _light(
        self, route: Route, shot: list[tuple[Tensor, Mode, list[Tensor]]], exposures: list[int], sign: int
    ) -> Tensor:
        """Intensity at the image plane, summed over the channels of a shot, averaged over the states of the panel."""
        total: Tensor | float = 0.0
        for images, mode, frames in shot:
            for masks in frames:
                shown = masks if len(exposures) == len(masks) else masks[exposures]
                require_route(route, images, shown)
                if self.detection == "differential":
                    light = route.self_luminous_intensity(images, mode, shown)
                else:
                    field = route.mode_field(images, mode, shown)
                    light = intensity(field.data + sign * self.reference) if sign else field.intensity
                total = total + light / len(frames)
        return total

    # --- exposure and kernels ---

    @torch.no_grad()
    def expose(self, images: Tensor, fraction: float = 0.5) -> float:
        """Set the camera's exposure so that the brightest pixel of these images fills ``fraction`` of the full well.

        Args:
            images: Like the input.
            fraction: In (0, 1].

        Returns:
            The exposure (see :class:`~optics4f.elements.camera.Camera`).
        """
        if self.bench.camera.sensor is None:
            raise ValueError("an exposure needs a sensor, got an ideal camera. Give the camera a Sensor.")
        if not 0 < fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {fraction:g} of the full well.")
        brightest = 0.0
        for shot in self._shots(images):
            for route, tiles in zip(self._routes, self._tiles, strict=True):
                light = self._light(route, shot, list(range(self.plan.exposures)), 1 if self.homodyne else 0)
                frames = route.bench.camera.integrated(Intensity(light, route.bench.image))
                for tile in (self.plan.tiles[n] for n in tiles):
                    seen = frames[:, tile.exposure]
                    seen = seen if self.route_type is PSFRoute else seen[:, tile.rows, tile.columns]
                    brightest = max(brightest, seen.max().item())
        if not brightest > 0:
            raise ValueError("an exposure needs light, got darkness in every tile.")
        self.exposure = fraction / brightest
        return self.exposure

    @property
    def exposure(self) -> float:
        """Share of the full well that a white object pixel, imaged without loss, would fill."""
        return self.bench.camera.exposure

    @exposure.setter
    def exposure(self, value: float) -> None:
        for camera in (self.bench.camera, *(route.bench.camera for route in self._routes)):
            camera.exposure = value

    def effective_kernels(self, margin: int = 0) -> Tensor:
        """The kernels that the masks really make, by the PSF route and without noise; differentiable in the masks.

        Args:
            margin: Taps beside the kernel on each side that are shown as well: where light leaks to.

        Returns:
            Shape ``(out_channels, in_channels, k + 2 margin, k + 2 margin)``, times the gains. Of ``intensity``
            detection they are those of the field before the square, complex and times the root of the gains; of
            ``homodyne`` the complex field too, whose real part acts.
        """
        return with_gains(self, self.tile_kernels(margin), self.gains)

    def mask_of(self) -> Tensor:
        """Number of the mask that shows each tile to each channel, ``(out_channels, signs, in_channels)``."""
        exposure = torch.tensor([tile.exposure for tile in self.plan.tiles])
        first = torch.zeros(self.in_channels, dtype=torch.int64)
        if not self.at_once:
            first = torch.arange(self.in_channels) * self.plan.exposures
        return (exposure[:, None] + first).unflatten(0, (self.out_channels, self.signs))

    def tile_kernels(self, margin: int = 0) -> Tensor:
        """What each tile makes, ``(out_channels, signs, in_channels, k + 2 margin, k + 2 margin)``, without gains.

        Intensity of a tap for ``differential`` detection, else its complex amplitude; panel flicker is left out.
        """
        # Another route's frames have no taps: those of the PSF route stand for it.
        parted = (self._routes, self._tiles) if self.route_type is PSFRoute else self._parted()
        return tile_kernels(self, *parted, margin)

    def load_kernels(
        self,
        weight: Tensor,
        *,
        iterations: int = 60,
        rounds: int = 4,
        steps: int | None = None,
        margin: int = 2,
        efficiency: float = 0.5,
        seed: int = 0,
    ) -> Tensor:
        """Masks for given kernels: kernel -> PSF -> mask, and the gains that give the output its size.

        After each retrieval the kernels that the masks really make, with all effects of the panel and the light that
        leaks from tap to tap, are compared with the wanted ones, and the targets changed by what is missing. Gradient
        steps follow, which also darken what lies far beside the taps.

        Args:
            weight: Shape ``(out_channels, in_channels, k, k)``, as of ``nn.Conv2d``; complex ones for ``intensity``.
            iterations: Of weighted Gerchberg-Saxton, the first time; a third of it in each later round.
            rounds: How often the result is compared and corrected.
            steps: Of Adam at the end; by default 60 for ``differential`` detection and 300 for the others, whose fields
                beside the taps interfere.
            margin: Taps around each kernel that the retrieval keeps dark, on each side.
            efficiency: Share of the light in the taps, of coherent light; of incoherent it is as much as can be.
            seed: Of the first random phase.

        Returns:
            Relative error of the output on images with the spectrum of natural ones, after the first retrieval, each
            round and the gradient steps; light beside the taps included.

        Raises:
            ValueError: Weights of another shape, not finite, of zeros only, or complex where kernels are real; an
                amplitude SLM.
        """
        return load_kernels(
            self,
            weight,
            iterations=iterations,
            rounds=rounds,
            steps=(60 if self.signs == 2 else 300) if steps is None else steps,
            margin=margin,
            efficiency=efficiency,
            seed=seed,
        )

    @property
    def _psf_route(self) -> PSFRoute:
        first = self._routes[0]
        return first if isinstance(first, PSFRoute) else PSFRoute(tile_bench(self.bench, self.plan.tiles[0], 0))

    def pixel_positions(self) -> tuple[Tensor, Tensor]:
        """Laboratory positions of the SLM's pixels, ``y (height,)`` and ``x (width,)`` [m], float64."""
        samples = self.slm.samples_per_pixel
        return tuple(self._psf_route.slm_positions(axis).unflatten(0, (-1, samples)).mean(1) for axis in (0, 1))

    def illumination(self) -> Tensor:
        """Relative amplitude of a logical pixel's light on the SLM's pixels, ``(height, width)``, float64, positive."""
        samples = self.slm.samples_per_pixel
        terms = (term.cpu() for term in self._psf_route.block_terms(Mode(self.bench.wavelength)))
        sizes = (t.abs().square().sum(1).sqrt() if self.signs == 2 else t.sum(1).abs() for t in terms)
        y, x = (size.double().unflatten(0, (-1, samples)).mean(1) for size in sizes)
        light = y[:, None] * x[None, :]
        return light.clamp(min=1e-3 * light.max().item())  # where it is dark, a mask can be anything

    @classmethod
    def from_conv2d(cls, convolution: nn.Conv2d, bench: FourF, *, load: dict | None = None, **options: object) -> Self:
        """The same convolution by light, initialised from a trained ``nn.Conv2d`` (square, without bias or groups).

        Args:
            convolution: Its weights, stride and padding are taken.
            bench: As for the class.
            load: Options of :meth:`load_kernels`.
            options: Other arguments of the class.
        """
        check_plain(convolution)
        size, taken = convolution.kernel_size, {"stride": convolution.stride, "padding": convolution.padding}
        layer = cls(convolution.in_channels, convolution.out_channels, size, bench, **taken, **options)
        layer.load_kernels(convolution.weight, **(load or {}))
        return layer.to(convolution.weight.device)

    def extra_repr(self) -> str:
        light = ", ".join(engineering(w, "m") for w in self.wavelengths) if self.at_once else "one after the other"
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, detection={self.detection}, channels: {light}, {len(self.plan.tiles)} tiles in "
            f"{self.plan.exposures} exposures"
        )
