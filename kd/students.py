"""Students: a front end that light can do, and an electronic readout."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from optics4f.field import Field, Intensity
from optics4f.fourf import FourF
from optics4f.routes.route import Route


class Student(nn.Module):
    """A front end followed by a readout.

    Args:
        front_end: Images ``(B, C, height, width)`` to feature maps ``(B, K, h, w)``.
        readout: Feature maps to logits, such as :class:`kd.readout.PooledLinear`.

    Shape:
        - Input ``(B, C, height, width)``, output logits ``(B, classes)``.
    """

    def __init__(self, front_end: nn.Module, readout: nn.Module) -> None:
        super().__init__()
        self.front_end = front_end
        self.readout = readout

    def forward(self, images: Tensor) -> Tensor:
        return self.readout(self.front_end(images))


class LinearCNN(Student):
    """One digital convolution without bias and without nonlinearity, then the readout.

    The plainest linear front end: what any optical convolution is measured against.

    Args:
        in_channels: Channels of the images.
        readout: Takes ``channels`` feature maps of the size of the image.
        channels: Feature maps.
        kernel_size: Height and width of the kernels [pixels], odd.
    """

    def __init__(self, in_channels: int, readout: nn.Module, *, channels: int = 8, kernel_size: int = 7) -> None:
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd to keep the image centred, got {kernel_size}.")
        convolution = nn.Conv2d(in_channels, channels, kernel_size, padding=kernel_size // 2, bias=False)
        super().__init__(convolution, readout)


class OpticalFrontEnd(nn.Module):
    """A 4f bench as a layer: images in, what the camera delivers for each mask out.

    Noise is drawn afresh for each batch from a generator of the module's own; :meth:`reseed` restarts it.

    Args:
        route: How the bench is computed; holds the bench, whose SLM holds the trainable masks.
        trainable: Whether the masks learn; ``False`` is the control with fixed masks.
        noise: Whether the camera draws shot and read noise.
        efficiency_floor: Share of the light behind each mask that shall land where ``efficiency_on`` says.
        efficiency_weight: How much :meth:`penalty` adds to the loss where a mask has no light there at all.
        efficiency_on: ``"window"``, all of the simulated PSF, or ``"camera"``.

    Shape:
        - Input: images ``(B, 1, height, width)`` in [0, 1].
        - Output: camera signal in units of a white object pixel, ``(B, masks, h, w)``.

    Raises:
        ValueError: A floor beyond [0, 1], a negative weight, a weight without a floor, or one on a route that knows no
            PSF.
    """

    digital = False  # light does it: no multiply-accumulates to count

    def __init__(
        self,
        route: Route,
        *,
        trainable: bool = True,
        noise: bool = True,
        efficiency_floor: float = 0.0,
        efficiency_weight: float = 0.0,
        efficiency_on: Literal["window", "camera"] = "window",
    ) -> None:
        super().__init__()
        if not 0 <= efficiency_floor <= 1:
            raise ValueError(f"efficiency_floor must be a share in [0, 1], got {efficiency_floor:g}.")
        if efficiency_weight < 0 or (efficiency_weight and not efficiency_floor):
            raise ValueError(
                f"efficiency_weight must be >= 0, and 0 without a floor, got {efficiency_weight:g} with "
                f"efficiency_floor {efficiency_floor:g}."
            )
        if efficiency_weight and not hasattr(route, "window_efficiency"):
            raise ValueError(
                f"efficiency_weight must be 0 in {type(route).__name__}, which has no PSF window, got "
                f"{efficiency_weight:g}. Use the PSF route."
            )
        self.route = route
        self.noise = noise
        self.efficiency_floor = efficiency_floor
        self.efficiency_weight = efficiency_weight
        self.efficiency_on = efficiency_on
        self.generator: torch.Generator | None = None
        self.bench.slm.values.requires_grad_(trainable)
        self._acting = self.bench.slm.active  # what the hardware does when all of it acts
        self._share = 1.0

    @property
    def bench(self) -> FourF:
        """The simulated hardware."""
        return self.route.bench

    def reseed(self, seed: int) -> None:
        """Start the camera's noise again from ``seed``."""
        self.generator = torch.Generator(self.bench.slm.values.device).manual_seed(seed)

    @property
    def share(self) -> float:
        """How much of the hardware acts: 0 an ideal SLM and no noise, 1 all that the bench was built with."""
        return self._share

    def harden(self, share: float) -> None:
        """Let so much of the hardware act: the SLM's defects in the order of the light, then the camera's noise.

        The ADC always rounds. Of n defects and the noise, the first ``share * (n + 1)`` act, rounded down.

        Args:
            share: Between 0, ideal, and 1, everything.

        Raises:
            ValueError: Another share.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share must be between 0 and 1, got {share:g}.")
        self._share = share
        acting = int(share * (len(self._acting) + 1))
        self.bench.slm.switch(**{name: i < acting for i, name in enumerate(self._acting)})

    @property
    def exposures(self) -> int:
        """Camera frames that one image takes."""
        return self.bench.slm.masks

    def shown(self, images: Tensor) -> Tensor:
        """What the object device shows, ``(B, 1, *bench.illumination.shape)``."""
        return images

    def light(self, images: Tensor) -> Field | Intensity:
        """Light at the image plane, ``(B, exposures, ...)``."""
        return self.route(self.shown(images))

    def features(self, frames: Tensor) -> Tensor:
        """What the electronics make of the frames ``(B, exposures, h, w)`` by adding and subtracting."""
        return frames

    def expected(self, images: Tensor) -> Tensor:
        """What :meth:`forward` gives on average where nothing saturates: no noise, no levels, no full well."""
        return self.features(self.bench.camera.integrated(self.light(images)))

    @torch.no_grad()
    def expose(self, images: Tensor, fraction: float = 0.25) -> None:
        """Set the exposure so that the brightest pixel of these images fills ``fraction`` of the full well."""
        brightest = self.bench.camera.integrated(self.light(images)).max().item()
        if not brightest > 0:
            raise ValueError("an exposure needs light, got darkness on the camera. Look at the images and the masks.")
        self.bench.camera.exposure = fraction / brightest

    def penalty(self) -> Tensor | None:
        """What to add to the loss so that light stays in the window or on the camera; ``None`` where nothing is asked.

        The weight times the mean over the masks of the share that is missing, ``max(0, 1 - share / floor)``.
        """
        if not self.efficiency_weight or not self.bench.slm.values.requires_grad:
            return None
        share = self.route.camera_efficiency if self.efficiency_on == "camera" else self.route.window_efficiency
        with torch.no_grad():  # mostly nothing is missing, and no gradient is worth its time
            shares = share()
        if (shares < self.efficiency_floor).any():
            shares = share()
        missing = (1 - shares / self.efficiency_floor).clamp(min=0)
        return self.efficiency_weight * missing.mean()

    def forward(self, images: Tensor) -> Tensor:
        if self.noise and self.generator is None:
            raise ValueError("the camera's noise needs a seed. Call reseed(seed) first, or build with noise=False.")
        noise = self.generator if self.noise and self.share == 1 else None
        with torch.autocast(images.device.type, enabled=False):  # light keeps its precision
            return self.features(self.bench.detect(self.light(images), noise))


class OpticalStudent(Student):
    """A physical student: masks in a simulated 4f system, a camera, an electronic readout.

    Args:
        front_end: The bench.
        readout: Takes ``masks`` camera frames.
    """

    front_end: OpticalFrontEnd

    def __init__(self, front_end: OpticalFrontEnd, readout: nn.Module) -> None:
        super().__init__(front_end, readout)

    def reseed(self, seed: int) -> None:
        """Start the camera's noise again from ``seed``."""
        self.front_end.reseed(seed)

    def harden(self, share: float) -> None:
        """Let so much of the hardware act: :meth:`OpticalFrontEnd.harden`."""
        self.front_end.harden(share)

    def penalty(self) -> Tensor | None:
        """What the front end adds to the loss, 0-d: :meth:`OpticalFrontEnd.penalty`."""
        return self.front_end.penalty()

    def parameter_groups(self, learning_rate: float, mask_learning_rate: float) -> list[dict]:
        """Masks [rad] learn faster than weights, and do not decay: no phase is nearer to nothing than another."""
        groups = [{"params": list(self.readout.parameters()), "lr": learning_rate}]
        masks = [p for p in self.front_end.parameters() if p.requires_grad]
        if masks:
            groups.append({"params": masks, "lr": mask_learning_rate, "weight_decay": 0.0})
        return groups
