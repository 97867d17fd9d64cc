"""Speed and memory of a 4f training step against the bare FFTs that it cannot avoid, and against other libraries.

Each case builds one *step*: images in, light at the camera, a loss, gradients of the masks; and its forward pass alone.
The floor of either is the bare ``fft2`` calls of the algorithm, of the same sizes, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from optics4f.elements import SLM, Camera, Illumination, Lens
from optics4f.field import Field
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.propagation import (
    TRANSFER_FUNCTIONS,
    angular_spectrum_transfer_function,
    apply_transfer_function,
    propagate,
)
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from optics4f.routes.route import Route

from .benchmark_floors import floor_step, psf_floor
from .benchmark_peers import (
    PITCH,
    TIMED,
    WAVELENGTH,
    accuracies,
    focal_length,
    on_the_timed_input,
    plane_accuracy,
    plane_step,
    propagated_bench,
    sampled_anyway,
    torchoptics_double,
    torchoptics_single,
)
from .timing import Step, Timing, interleaved, peak_memory

Build = Callable[..., Step]


@dataclass(frozen=True)
class Case:
    """Something to time, its floor, and what else does the same.

    Attributes:
        name: What it is.
        step: Builds the step of this library: called with ``arguments`` and ``device``.
        arguments: Size, batch, masks.
        floor: In words, and the step that is compared with.
        goal: Largest ratio to the floor.
        forward: Builds the forward pass alone.
        forward_floor: What that is compared with.
        others: Steps of other routes or libraries, by name.
        accuracy: Error of each on a smooth input, by name; called with the first argument.
        same_input: What others make of the input that is timed, beside optics4f; called likewise.
    """

    name: str
    step: Build
    arguments: tuple[int, ...]
    floor: tuple[str, Build | None]
    goal: float | None = None
    forward: Build | None = None
    forward_floor: tuple[str, Build | None] = ("", None)
    others: dict[str, Build] = field(default_factory=dict)
    accuracy: Callable[[int], dict[str, dict[str, float]]] | None = None
    same_input: Callable[[int], dict[str, float]] | None = None


def training_step(route: Route, batch: int, device: str = "cpu", *, backward: bool = True) -> Step:
    """Light of a batch of random images and, with ``backward``, the gradient of the masks."""
    route = route.to(device)
    bench = route.bench
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, 1, *bench.illumination.shape, generator=generator).to(device)
    weights = torch.rand(bench.image.shape, generator=generator).to(device)
    values = 6 * torch.rand(bench.slm.values.shape, generator=generator)
    bench.slm.set_values(values.to(device))

    def step() -> None:
        bench.slm.values.grad = None
        with torch.set_grad_enabled(backward):
            loss = (route(images).intensity.sum((0, 1)) * weights).sum()
        if backward:
            loss.backward()

    return step


def propagation_4f(n: int, batch: int, masks: int = 1, device: str = "cpu", **step: bool) -> Step:
    """The whole 4f by the angular-spectrum route."""
    route = sampled_anyway(AngularSpectrumRoute, propagated_bench(n, masks), window=(n, n))
    return training_step(route, batch, device, **step)


def matched_4f(n: int, batch: int, masks: int = 1, device: str = "cpu", **step: bool) -> Step:
    """The same planes by the Fourier-lens route: pitches match, so each stage is one FFT of n x n."""
    return training_step(sampled_anyway(FourierLensRoute, propagated_bench(n, masks)), batch, device, **step)


def matched_8_bits(n: int, batch: int, masks: int = 1, device: str = "cpu", **step: bool) -> Step:
    """The same through masks of 8 bits, as a panel shows them: the cosines and sines of few levels."""
    return training_step(sampled_anyway(FourierLensRoute, propagated_bench(n, masks, 8)), batch, device, **step)


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


def psf_training(masks: int, batch: int, device: str = "cpu", **step: bool) -> Step:
    """A training step at the SLM's native resolution by the PSF route."""
    return training_step(PSFRoute(training_bench(masks)), batch, device, **step)


def fourier_training(masks: int, batch: int, device: str = "cpu", **step: bool) -> Step:
    """The same by the Fourier-lens route."""
    return training_step(FourierLensRoute(training_bench(masks)), batch, device, **step)


def psf_training_floor(masks: int, batch: int, device: str = "cpu", *, backward: bool = True) -> Step:
    """Its bare FFTs and dense products."""
    route = PSFRoute(training_bench(masks))
    shape = route.bench.slm.samples.shape
    return psf_floor(batch, masks, shape, route.window[0], route.length[0], backward=backward, device=device)


def single_plane(n: int, device: str = "cpu", *, backward: bool = True, new: bool = False) -> Step:
    """:func:`propagate` over the self-dual distance and, with ``backward``, the gradient of the field.

    Args:
        n: Samples along a side.
        device: Where.
        backward: Whether the gradient follows.
        new: Whether each call is one over a new distance, which needs a transfer function of its own.
    """
    field, weights = _plane(n, device, backward)

    def step() -> None:
        field.data.grad = None
        if new:
            TRANSFER_FUNCTIONS.clear()
        seen = propagate(field, focal_length(n), method="angular_spectrum").data
        if backward:
            seen.backward(weights)

    return step


def prebuilt_plane(n: int, device: str = "cpu", *, backward: bool = True) -> Step:
    """The same by :func:`apply_transfer_function`, with a transfer function that is there."""
    field, weights = _plane(n, device, backward)
    transfer = angular_spectrum_transfer_function(field.grid.padded(), WAVELENGTH, focal_length(n)).to(device)

    def step() -> None:
        field.data.grad = None
        seen = apply_transfer_function(field.data, transfer)
        if backward:
            seen.backward(weights)

    return step


def _plane(n: int, device: str, backward: bool) -> tuple[Field, torch.Tensor]:
    data, weights = (
        torch.randn(n, n, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed)).to(device)
        for seed in (0, 1)
    )
    return Field(data.requires_grad_(backward), Grid((n, n), PITCH), WAVELENGTH), weights


def transforms(count: int, size: int, *arguments: int, device: str = "cpu") -> Step:
    """:func:`floor_step`, called like the case whose floor it is."""
    return floor_step(count, size, device)


def cases(quick: bool = False) -> list[Case]:
    """What is timed; ``quick`` keeps to small planes."""
    found = []
    for n in (512,) if quick else (512, 1024):
        found += _plane_cases(n) + _bench_cases(n, 4 if n == 512 else 2)
    masks, batch = (4, 8) if quick else (16, 64)
    found.append(
        Case(
            f"PSF step, K = {masks}, 1024 x 1024 pixels, B = {batch} of 32 x 32",
            psf_training,
            (masks, batch),
            ("bare FFTs, dense products of the masks", psf_training_floor),
            forward=partial(psf_training, backward=False),
            forward_floor=("the same, forward", partial(psf_training_floor, backward=False)),
            others={
                "Fourier-lens route": fourier_training,
                "Fourier-lens route, forward": partial(fourier_training, backward=False),
            },
        )
    )
    return found


def _plane_cases(n: int) -> list[Case]:
    peers = {
        f"{library}, {precision}": partial(plane_step, library, precision)
        for library in TIMED
        for precision in ("complex64", "complex128")
    }
    new = {"a new distance each time": partial(single_plane, new=True), "prebuilt": prebuilt_plane}
    forward = {name: partial(build, backward=False) for name, build in new.items()}
    return [
        Case(
            f"propagate() of a plane, forward and backward, N = {n}",
            single_plane,
            (n,),
            ("4 FFTs of 2N", partial(transforms, 4, 2 * n)),
            1.5,
            others=new,
        ),
        Case(
            f"propagate() of a plane, forward, N = {n}",
            partial(single_plane, backward=False),
            (n,),
            ("2 FFTs of 2N", partial(transforms, 2, 2 * n)),
            others={**forward, **peers},
            accuracy=plane_accuracy,
        ),
    ]


def _bench_cases(n: int, batch: int) -> list[Case]:
    def against(
        name: str, build: Build, arguments: tuple[int, ...], size: str, forward: int, step: int, words: str, goal: float
    ) -> Case:
        width = 2 * n if size == "2N" else n
        return Case(
            f"{name}, N = {n}, B = {arguments[1]}",
            build,
            arguments,
            (f"{words}, {step} FFTs of {size}", partial(transforms, step, width)),
            goal,
            partial(build, backward=False),
            (f"{forward} FFTs", partial(transforms, forward, width)),
        )

    whole = against("angular-spectrum 4f step", propagation_4f, (n, batch), "2N", 8 * batch, 12 * batch, "12 B", 1.15)
    peers = {"torchoptics, complex128": torchoptics_double, "torchoptics, complex64": torchoptics_single}
    many = (n, 1, 8)
    return [
        replace(whole, others=peers, accuracy=accuracies, same_input=on_the_timed_input),
        against("Fourier-lens 4f step at matched pitch", matched_4f, (n, batch), "N", 2 * batch, 3 * batch, "3 B", 1.4),
        against("the same, K = 8 continuous masks", matched_4f, many, "N", 9, 17, "1 + 2 K", 1.5),
        against("the same, K = 8 masks of 8 bits", matched_8_bits, many, "N", 9, 17, "1 + 2 K", 1.5),
    ]


def measure(case: Case, repetitions: int, device: str = "cpu", *, memory: bool = True) -> dict:
    """One row: times of the case, its floor and the others in turns, and the peak memory of each."""
    builds = {"optics4f": case.step, **case.others}
    if case.forward is not None:
        builds["optics4f, forward"] = case.forward
    floors = {"floor": case.floor[1], "floor, forward": case.forward_floor[1]}
    steps, missing = {}, {}
    for label, build in {**builds, **{k: v for k, v in floors.items() if v is not None}}.items():
        try:
            steps[label] = build(*case.arguments, device=device)
        except ImportError as error:
            missing[label] = str(error)
    times = interleaved(steps, repetitions, device=device)
    row = {"case": case.name, "floor": case.floor[0], "forward_floor": case.forward_floor[0], "goal": case.goal}
    row |= {"times": {label: vars(timing) for label, timing in times.items()}, "not_installed": missing}
    row |= {
        key: _over(times, ours, floor)
        for key, ours, floor in (
            ("ratio", "optics4f", "floor"),
            ("forward_ratio", "optics4f, forward", "floor, forward"),
        )
        if floor in times and ours in times
    }
    row["speed_up"] = {
        label: _over(times, label, "optics4f, forward" if label.endswith(", forward") else "optics4f")
        for label in case.others
        if label in times
    }
    for name in ("accuracy", "same_input"):
        function = getattr(case, name)
        row[name] = {} if function is None or (name == "same_input" and missing) else function(case.arguments[0])
    if memory:
        row["peak_bytes"] = {
            label: peak_memory(build, *case.arguments, device=device)
            for label, build in builds.items()
            if label in times
        }
    return row


def _over(times: dict[str, Timing], one: str, other: str) -> float:
    return times[one].median / times[other].median
