"""Students: a front end that light can do, and an electronic readout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

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

    Shape:
        - Input: images ``(B, 1, height, width)`` in [0, 1].
        - Output: camera signal in units of a white object pixel, ``(B, masks, h, w)``.
    """

    digital = False  # light does it: no multiply-accumulates to count

    def __init__(self, route: Route, *, trainable: bool = True, noise: bool = True) -> None:
        super().__init__()
        self.route = route
        self.noise = noise
        self.generator: torch.Generator | None = None
        self.bench.slm.values.requires_grad_(trainable)

    @property
    def bench(self) -> FourF:
        """The simulated hardware."""
        return self.route.bench

    def reseed(self, seed: int) -> None:
        """Start the camera's noise again from ``seed``."""
        self.generator = torch.Generator(self.bench.slm.values.device).manual_seed(seed)

    def forward(self, images: Tensor) -> Tensor:
        if self.noise and self.generator is None:
            raise ValueError("the camera's noise needs a seed. Call reseed(seed) first, or build with noise=False.")
        return self.bench.detect(self.route(images), self.generator if self.noise else None)


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

    def parameter_groups(self, learning_rate: float, mask_learning_rate: float) -> list[dict]:
        """Masks [rad] learn faster than weights, and do not decay: no phase is nearer to nothing than another."""
        groups = [{"params": list(self.readout.parameters()), "lr": learning_rate}]
        masks = [p for p in self.front_end.parameters() if p.requires_grad]
        if masks:
            groups.append({"params": masks, "lr": mask_learning_rate, "weight_decay": 0.0})
        return groups
