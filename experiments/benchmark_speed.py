"""Speed and memory of a 4f training step against the bare FFTs that it cannot avoid, and against other libraries.

Each case builds one *step*: images in, light at the camera, a loss, gradients of the masks. Its floor is the bare
``fft2`` calls of the algorithm, of the same sizes, one after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from optics4f.elements import SLM, Camera, Illumination, Lens
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.propagation import angular_spectrum_transfer_function, apply_transfer_function
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from optics4f.routes.route import Route

from .timing import Step, interleaved, peak_memory

WAVELENGTH, PITCH = 532e-9, 8e-6


@dataclass(frozen=True)
class Case:
    """Something to time, its floor, and what else does the same.

    Attributes:
        name: What it is.
        step: Builds the step of this library: called with ``arguments`` and ``device``.
        arguments: Size, batch, masks.
        floor: In words, and how many bare FFTs of which size a step is compared with; 0 where there is none.
        goal: Largest ratio to the floor, or smallest speed-up over ``others``.
        others: Steps of other routes or libraries, by name.
    """

    name: str
    step: Callable[..., Step]
    arguments: tuple[int, ...]
    floor: tuple[str, int, int]
    goal: float | None
    others: dict[str, Callable[..., Step]] = field(default_factory=dict)


def floor_step(count: int, size: int, device: str = "cpu") -> Step:
    """``count`` bare FFTs of ``size`` x ``size`` complex64, half of them inverse."""
    data = torch.randn(size, size, dtype=torch.complex64, device=device)

    def step() -> None:
        for n in range(count):
            (torch.fft.fft2 if n % 2 == 0 else torch.fft.ifft2)(data)

    return step


def training_step(route: Route, batch: int, device: str = "cpu") -> Step:
    """Light of a batch of random images and the gradient of the masks."""
    route = route.to(device)
    bench = route.bench
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 1, *bench.illumination.shape, generator=generator).to(device)
    weights = torch.rand(bench.image.shape, generator=generator).to(device)
    values = 6 * torch.rand(bench.slm.values.shape, generator=generator)
    bench.slm.set_values(values.to(device))

    def step() -> None:
        bench.slm.values.grad = None
        (route(images).intensity.sum((0, 1)) * weights).sum().backward()

    return step


def sampled_anyway(kind: type[Route], bench: FourF, **options: object) -> Route:
    """A route on a bench whose planes fill its windows: what is timed is the work, not the picture."""
    failing = [c.quantity for c in kind.sampling(bench, **options).checks if c.verdict in ("refused", "warning")]
    return kind(bench, override=tuple(failing), **options)


def propagated_bench(n: int, masks: int = 1, bit_depth: int | None = None) -> FourF:
    """Object, SLM and camera of n x n samples of 8 um (the camera of n - 1), lenses of the self-dual focal length."""
    focal_length = n * PITCH**2 / WAVELENGTH
    return FourF(
        Illumination((n, n), PITCH, WAVELENGTH),
        Lens(focal_length),
        SLM(Grid((n, n), PITCH), masks=masks, bit_depth=bit_depth),
        Lens(focal_length),
        Camera((n - 1, n - 1), PITCH),
        samples_per_camera_pixel=1,
    )


def propagation_4f(n: int, batch: int, masks: int = 1, device: str = "cpu") -> Step:
    """The whole 4f by the angular-spectrum route."""
    route = sampled_anyway(AngularSpectrumRoute, propagated_bench(n, masks), window=(n, n))
    return training_step(route, batch, device)


def matched_4f(n: int, batch: int, masks: int = 1, device: str = "cpu") -> Step:
    """The same planes by the Fourier-lens route: pitches match, so each stage is one FFT of n x n."""
    return training_step(sampled_anyway(FourierLensRoute, propagated_bench(n, masks)), batch, device)


def matched_8_bits(n: int, batch: int, masks: int = 1, device: str = "cpu") -> Step:
    """The same through masks of 8 bits, as a panel shows them: the cosines and sines of few levels."""
    return training_step(sampled_anyway(FourierLensRoute, propagated_bench(n, masks, 8)), batch, device)


def training_bench(masks: int) -> FourF:
    """1024 x 1024 SLM pixels of 8 um, 32 x 32 logical pixels of 8 x 8, a camera that sees their image."""
    return FourF(
        Illumination((32, 32), PITCH, WAVELENGTH, pixels_per_logical=4),
        Lens("200 mm"),
        SLM(Grid((1024, 1024), PITCH), masks=masks, bit_depth=8),
        Lens("200 mm"),
        Camera((32, 32), 4 * PITCH),
        samples_per_camera_pixel=5,
    )


def psf_training(masks: int, batch: int, device: str = "cpu") -> Step:
    """A training step at the SLM's native resolution by the PSF route."""
    return training_step(PSFRoute(training_bench(masks)), batch, device)


def fourier_training(masks: int, batch: int, device: str = "cpu") -> Step:
    """The same by the Fourier-lens route."""
    return training_step(FourierLensRoute(training_bench(masks)), batch, device)


def single_plane(n: int, device: str = "cpu", *, backward: bool = True) -> Step:
    """One propagation over the self-dual distance, and the gradient of the field."""
    grid = Grid((n, n), PITCH)
    data = torch.randn(n, n, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)).to(device)
    transfer = angular_spectrum_transfer_function(grid.padded(), WAVELENGTH, n * PITCH**2 / WAVELENGTH).to(device)
    data.requires_grad_(backward)
    weights = torch.randn(n, n, dtype=torch.complex64, generator=torch.Generator().manual_seed(1)).to(device)

    def step() -> None:
        data.grad = None
        seen = apply_transfer_function(data, transfer)
        if backward:
            seen.backward(weights)

    return step


def torchoptics_double(n: int, batch: int, device: str = "cpu") -> Step:
    """:func:`torchoptics_4f` as torchoptics is installed: its kernels and, here, its fields in double precision."""
    return torchoptics_4f(n, batch, device, dtype=torch.float64)


def torchoptics_4f(n: int, batch: int, device: str = "cpu", *, dtype: torch.dtype = torch.float32) -> Step:
    """The 4f of :func:`propagation_4f` in torchoptics: its own fields, lenses and phase masks, at 2 N padding."""
    import torchoptics
    from torchoptics.elements import Lens as TorchopticsLens
    from torchoptics.elements import PhaseModulator

    light_type = torch.complex64 if dtype == torch.float32 else torch.complex128
    focal_length = n * PITCH**2 / WAVELENGTH
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, n, n, generator=generator).to(light_type).to(device)
    weights = torch.rand(n, n, generator=generator).to(device)
    phase = torch.nn.Parameter(6 * torch.rand(n, n, generator=generator).to(device))
    options = {"propagation_method": "ASM", "asm_pad": (n // 2, n // 2)}
    torchoptics.set_default_dtype(dtype)
    # A lens of its own is round; this one is not seen to cut the window's corners off.
    lenses = [TorchopticsLens((n, n), focal_length, k * focal_length, spacing=PITCH).to(device) for k in (1, 3)]
    mask = PhaseModulator(phase, z=2 * focal_length, spacing=PITCH).to(device)

    def step() -> None:
        torchoptics.set_default_dtype(dtype)  # of its kernels
        mask.zero_grad()
        light = torchoptics.Field(images, WAVELENGTH, z=0, spacing=PITCH)
        for z, element in ((1, lenses[0]), (2, mask), (3, lenses[1]), (4, None)):
            light = light.propagate_to_z(z * focal_length, **options)
            light = light if element is None else element(light)
        (light.intensity().sum(0) * weights).sum().backward()

    return step


def cases(quick: bool = False) -> list[Case]:
    """What is timed; ``quick`` keeps to small planes."""
    sizes = (512,) if quick else (512, 1024)
    found = []
    for n in sizes:
        batch = 4 if n == 512 else 2
        found += [
            Case(f"single plane, forward, N = {n}", plane_forward, (n,), ("2 FFTs of 2N", 2, 2 * n), None),
            Case(f"single plane, forward and backward, N = {n}", single_plane, (n,), ("4 FFTs of 2N", 4, 2 * n), 1.5),
            Case(
                f"angular-spectrum 4f step, N = {n}, B = {batch}",
                propagation_4f,
                (n, batch),
                ("12 FFTs of 2N a sample", 12 * batch, 2 * n),
                1.15,
                {"torchoptics, double (its default)": torchoptics_double, "torchoptics, single": torchoptics_4f},
            ),
            Case(
                f"Fourier-lens 4f step at matched pitch, N = {n}, B = {batch}",
                matched_4f,
                (n, batch),
                ("3 FFTs of N a sample", 3 * batch, n),
                1.4,
            ),
            Case(
                f"the same, K = 8 continuous masks, N = {n}, B = 1",
                matched_4f,
                (n, 1, 8),
                ("1 + 2 K FFTs of N", 17, n),
                1.5,
            ),
            Case(
                f"the same, K = 8 masks of 8 bits, N = {n}, B = 1",
                matched_8_bits,
                (n, 1, 8),
                ("1 + 2 K FFTs of N", 17, n),
                1.5,
            ),
        ]
    masks, batch = (4, 8) if quick else (16, 64)
    found.append(
        Case(
            f"PSF step, K = {masks}, 1024 x 1024 pixels, B = {batch} of 32 x 32",
            psf_training,
            (masks, batch),
            ("", 0, 0),
            None,
            {"Fourier-lens route": fourier_training},
        )
    )
    return found


def plane_forward(n: int, device: str = "cpu") -> Step:
    """:func:`single_plane` without its gradient."""
    return single_plane(n, device, backward=False)


def growth(sizes: tuple[int, ...], build: Callable[..., Step], *arguments: int, device: str = "cpu") -> dict:
    """Time against the number of samples, and the exponent of a power law through it.

    Args:
        sizes: N of each plane.
        build: A step of one plane or bench of N x N.
        arguments: Of ``build`` after N.
        device: Where it runs.
    """
    medians = {}
    for n in sizes:
        repetitions = 10 if n <= 1024 else 3
        medians[n] = interleaved({"step": build(n, *arguments, device=device)}, repetitions, device=device)[
            "step"
        ].median
    (n0, t0), *_, (n1, t1) = medians.items()
    logs = [(2 * math.log(n), math.log(t)) for n, t in medians.items()]
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    return {"seconds": medians, "exponent": slope, "exponent_of_ends": math.log(t1 / t0) / (2 * math.log(n1 / n0))}


def measure(case: Case, repetitions: int, device: str = "cpu", *, memory: bool = True) -> dict:
    """One row: times of the case, its floor and the others in turns, and the peak memory of each."""
    name, count, size = case.floor
    builds = {"optics4f": case.step, **case.others}
    row = {"case": case.name, "floor": name, "goal": case.goal}
    steps, missing = {}, []
    for label, build in builds.items():
        try:
            steps[label] = build(*case.arguments, device=device)
        except ImportError:
            missing.append(label)
    if count:
        steps["floor"] = floor_step(count, size, device)
    times = interleaved(steps, repetitions, device=device)
    row["times"] = {label: vars(timing) for label, timing in times.items()}
    if count:
        row["ratio"] = times["optics4f"].median / times["floor"].median
    row["speed_up"] = {label: times[label].median / times["optics4f"].median for label in case.others if label in times}
    row["not_installed"] = missing
    if memory:
        row["peak_bytes"] = {
            label: peak_memory(build, *case.arguments, device=device)
            for label, build in builds.items()
            if label in times
        }
    return row
