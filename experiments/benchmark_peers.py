"""Other libraries on the steps of the speed benchmark, and how right each is on a smooth input with a closed form."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch
from torch import Tensor

from optics4f.elements import SLM, Camera, Illumination, Lens
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.profiles import gaussian_beam
from optics4f.routes import AngularSpectrumRoute
from optics4f.routes.route import Route

from .benchmark import deviation
from .peers import PROPAGATORS, Propagator
from .timing import Step

WAVELENGTH, PITCH = 532e-9, 8e-6
TIMED = ("torchoptics", "waveprop", "prysm")  # of the propagators, on a single plane

Light = Callable[[Tensor], Tensor]
"""Amplitudes ``(batch, n, n)`` in [0, 1] at the object to intensities at the image."""


def focal_length(n: int) -> float:
    """Of a lens whose transform takes n samples of ``PITCH`` to n of the same [m]."""
    return n * PITCH**2 / WAVELENGTH


def sampled_anyway(kind: type[Route], bench: FourF, **options: object) -> Route:
    """A route on a bench whose planes fill its windows: what is timed is the work, not the picture."""
    failing = [c.quantity for c in kind.sampling(bench, **options).checks if c.verdict in ("refused", "warning")]
    return kind(bench, override=tuple(failing), **options)


def propagated_bench(n: int, masks: int = 1, bit_depth: int | None = None, dtype: torch.dtype = torch.float32) -> FourF:
    """Object, SLM and camera of n x n samples of 8 um (the camera of n - 1), lenses of the self-dual focal length."""
    return FourF(
        Illumination((n, n), PITCH, WAVELENGTH, dtype=dtype.to_complex()),
        Lens(focal_length(n)),
        SLM(Grid((n, n), PITCH), masks=masks, bit_depth=bit_depth, dtype=dtype),
        Lens(focal_length(n)),
        Camera((n - 1, n - 1), PITCH),
        samples_per_camera_pixel=1,
    )


def our_light(phase: Tensor) -> Light:
    """The 4f by the angular-spectrum route, through a mask of this phase [rad], ``(n, n)``; its type is the light's."""
    bench = propagated_bench(len(phase), dtype=phase.dtype)
    bench.slm.set_values(phase[None])
    route = sampled_anyway(AngularSpectrumRoute, bench, window=tuple(phase.shape))
    return lambda images: route(images[:, None].to(phase)).intensity[:, 0]


def torchoptics_light(phase: Tensor) -> Light:
    """The same in torchoptics: its own fields, lenses and phase mask, at 2 N padding; of phases [rad] ``(N, N)``."""
    import torchoptics
    from torchoptics.elements import Lens as TorchopticsLens
    from torchoptics.elements import PhaseModulator

    n, f = len(phase), focal_length(len(phase))
    torchoptics.set_default_dtype(phase.dtype)  # of its kernels
    # A lens of its own is round and cuts the corners of the window off.
    lenses = [TorchopticsLens((n, n), f, k * f, spacing=PITCH).to(phase.device) for k in (1, 3)]
    mask = PhaseModulator(phase, z=2 * f, spacing=PITCH).to(phase.device)
    options = {"propagation_method": "ASM", "asm_pad": (n // 2, n // 2)}

    def light(images: Tensor) -> Tensor:
        torchoptics.set_default_dtype(phase.dtype)
        field = torchoptics.Field(images.to(phase.dtype.to_complex()), WAVELENGTH, z=0, spacing=PITCH)
        for z, element in ((1, lenses[0]), (2, mask), (3, lenses[1]), (4, None)):
            field = field.propagate_to_z(z * f, **options)
            field = field if element is None else element(field)
        return field.intensity()

    return light


def torchoptics_step(n: int, batch: int, device: str, dtype: torch.dtype) -> Step:
    """A training step of it: random images, a weighted sum of the light, the gradient of the mask."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, n, n, generator=generator).to(device)
    weights = torch.rand(n, n, generator=generator).to(device)
    phase = torch.nn.Parameter(6 * torch.rand(n, n, generator=generator).to(device, dtype))
    light = torchoptics_light(phase)

    def step() -> None:
        phase.grad = None
        (light(images).sum(0) * weights).sum().backward()

    return step


def torchoptics_double(n: int, batch: int, device: str = "cpu") -> Step:
    """Torchoptics as it is installed: double precision."""
    return torchoptics_step(n, batch, device, torch.float64)


def torchoptics_single(n: int, batch: int, device: str = "cpu") -> Step:
    """Torchoptics in the precision in which optics4f is timed."""
    return torchoptics_step(n, batch, device, torch.float32)


# --- how right it is ---


def smooth_error(light: Callable[[Tensor], Light], n: int, dtype: torch.dtype, axis: float) -> dict[str, float]:
    r"""A Gaussian beside the axis through a mask that shifts its image, against the closed form.

    .. math:: U_1(x) = U_0(-(x - s)) \quad \text{behind} \quad \phi(x_f) = 2 \pi \, x_f \cdot s / (\lambda f)

    Its waist is n / 16 samples: the light stays far from every edge, and what a thin lens does to it by the exact
    propagation differs from this by less than 1e-8.

    Args:
        light: Makes a 4f of a mask.
        n: Samples.
        dtype: Real type of mask and images, all ``(n, n)``.
        axis: Index of the axis: n // 2 in optics4f; (n - 1) / 2, between two samples, in torchoptics.

    Returns:
        ``error``, the relative L2 distance of the intensities after the best factor, and ``power``, in units of the
        object's.
    """
    place, shift, waist = (n / 25, -n / 43), (-n / 57, n / 128), n / 16
    y, x = ((torch.arange(n, dtype=torch.float64) - axis).view(s) for s in ((-1, 1), (1, -1)))

    def gaussian(middle: tuple[float, float]) -> Tensor:
        return torch.exp(-((y - middle[0]) ** 2 + (x - middle[1]) ** 2) / waist**2)

    phase = 2 * math.pi / n * (y * shift[0] + x * shift[1])
    with torch.no_grad():
        seen = light(phase.to(dtype))(gaussian(place)[None].to(dtype))[0].double()
    wanted = gaussian(tuple(s - p for p, s in zip(place, shift, strict=True))).square()
    start = (n - len(seen)) // 2 + (n - len(seen)) % 2  # the camera of n - 1 pixels has the axis on its middle one
    wanted = wanted[start : start + len(seen), start : start + len(seen)]
    factor = (seen * wanted).sum() / seen.square().sum()
    error = ((factor * seen - wanted).norm() / wanted.norm()).item()
    return {"error": error, "power": (seen.sum() / gaussian(place).square().sum()).item()}


def on_the_timed_input(n: int, seed: int = 0) -> dict[str, float]:
    """Torchoptics beside optics4f on random pixels, which fill the window: not the same problem.

    Its lenses are round, its axis lies between two samples.

    Returns:
        ``power`` of the light it passes, in units of that of optics4f, and the best ``correlation`` of the two images
        over the four ways to lay half a sample.
    """
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(1, n, n, generator=generator, dtype=torch.float64)
    phase = 6 * torch.rand(n, n, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        ours, theirs = our_light(phase)(images)[0], torchoptics_light(phase)(images)[0]
    m = len(ours)
    laid = [theirs[a : a + m, b : b + m] for a in (0, 1) for b in (0, 1)]
    found = [torch.corrcoef(torch.stack((ours.flatten(), one.flatten())))[0, 1].item() for one in laid]
    return {"power": (theirs.sum() / ours.sum()).item(), "correlation": max(found)}


def accuracies(n: int) -> dict[str, dict[str, float]]:
    """:func:`smooth_error` of each library that is there, by the name that it is timed under."""
    found = {"optics4f": smooth_error(our_light, n, torch.float32, n // 2)}
    try:
        import torchoptics  # noqa: F401
    except ImportError:
        return found
    for name, dtype in (("torchoptics, complex128", torch.float64), ("torchoptics, complex64", torch.float32)):
        found[name] = smooth_error(torchoptics_light, n, dtype, (n - 1) / 2)
    return found


# --- single planes ---


def plane_step(library: str, precision: str, n: int, device: str = "cpu") -> Step:
    """One propagation of a plane by another library, as the accuracy benchmark calls it."""
    if device != "cpu":
        raise ImportError(f"{library} is compared on a CPU")
    propagator = _propagator(library, precision)
    data = gaussian_beam(Grid((n, n), PITCH), WAVELENGTH, n * PITCH / 16).to(getattr(torch, precision)).numpy()

    def run(some: np.ndarray) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            propagator.propagate(some, WAVELENGTH, PITCH, focal_length(n))

    try:
        run(data[:16, :16].copy())  # few samples: the step itself shall find no memory that an earlier one left
    except Exception as error:  # somebody else's code may raise anything
        raise ImportError(" ".join(f"{library} does not run: {type(error).__name__}: {error}".split())) from error
    return lambda: run(data)


def plane_accuracy(n: int) -> dict[str, dict[str, float]]:
    """Error of each library that is there on a Gaussian beam, to the beam of the equation that it solves."""
    found = {}
    for propagator in PROPAGATORS:
        if propagator.library not in ("optics4f", *TIMED) or propagator.version is None:
            continue
        ours = propagator.library == "optics4f"
        if ours and (propagator.precision != "complex64" or "angular" not in propagator.call):
            continue
        grid, waist = Grid((n, n), PITCH), n * PITCH / 16
        with suppress(ImportError):
            measured = deviation(propagator, focal_length(n), grid=grid, waist=waist)
            name = "optics4f" if ours else f"{propagator.library}, {propagator.precision}"
            found[name] = {"error": measured.relative_l2_own_equation, "power": measured.power}
    return found


def _propagator(library: str, precision: str) -> Propagator:
    found = next(p for p in PROPAGATORS if (p.library, p.precision) == (library, precision))
    if found.version is None:
        raise ImportError(f"{library} is not installed")
    return found


def versions() -> dict[str, str]:
    """Installed versions of the libraries that are compared."""
    found = {}
    for library in TIMED:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found
