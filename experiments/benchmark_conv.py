"""Signed convolutions by light against ``torch.nn.functional.conv2d``: many kernels tiled on one real SLM.

Everything is simulated: the panel with its levels and its unmodulated gaps, a camera with shot noise, read noise and
ADC. The digital convolution of the same images is the reference.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor
from torch.nn.functional import conv2d, cosine_similarity

from optics4f.conv import OpticalConv2d
from optics4f.elements import SLM, Camera, Illumination, Lens
from optics4f.elements.camera import Sensor
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.plotting import plot_convolution, png
from optics4f.sampling import SamplingWarning

from .benchmark_conv_speed import run_conv_speed
from .runs import provenance, write_json, write_text
from .tables import markdown, print_table

WAVELENGTH, FOCAL_LENGTH = 532e-9, 0.1
SLM_NAME, SLM_SHAPE, SLM_PITCH = "holoeye-pluto-2.1", (1080, 1920), 8e-6
CAMERA_NAME, CAMERA_PITCH, BINNING = "basler-aca2440-75um", 3.45e-6, 4
PHOTOGRAPHS = ("camera", "astronaut", "coffee", "cat", "coins", "moon", "rocket", "brick")
INSTALL = "scikit-image must be installed for its photographs, got none. Run in the checkout: pip install '.[peers]'"

METHOD = f"""\
Simulated. All kernels of a set are tiled on one mask of the {SLM_NAME} preset ({SLM_SHAPE[0]} x {SLM_SHAPE[1]}
pixels of 8 um, 8 bits, its unmodulated gaps on), each as the difference of two tiles in one exposure; f1 = f2 = 100 mm,
532 nm, self-luminous object of 64 x 64 logical pixels of 13.8 um. The camera is the {CAMERA_NAME} preset, {BINNING} x
{BINNING} pixels binned to one of 13.8 um. The masks come from `OpticalConv2d.load_kernels` (weighted Gerchberg-Saxton
with {{rounds}} corrections by the kernels really made). Images: {", ".join(PHOTOGRAPHS)} of scikit-image, grey, cropped
to squares, 64 x 64.

Cosine: between the outputs of all kernels for all images and `torch.nn.functional.conv2d`; the lowest is that of one
kernel over all images. Without noise: ADC only. With noise: shot and read noise, the brightest pixel of the frames at
half of its full well."""


@dataclass(frozen=True, eq=False)
class KernelSet:
    """Kernels ``weight`` of shape ``(kernels, 1, k, k)``."""

    name: str
    weight: Tensor


def kernel_sets(seed: int = 0) -> tuple[KernelSet, ...]:
    """A Sobel pair, 16 random signed kernels of 7 x 7, a Gabor bank of 16."""
    sobel = torch.tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])
    noise = torch.randn(16, 1, 7, 7, generator=torch.Generator().manual_seed(seed))
    return (
        KernelSet("Sobel pair 3 x 3", torch.stack((sobel, sobel.T))[:, None]),
        KernelSet("16 random 7 x 7", noise),
        KernelSet("Gabor bank, 16 of 7 x 7", gabor_bank()),
    )


def gabor_bank(size: int = 7, orientations: int = 8, period: float = 4.0, width: float = 1.8) -> Tensor:
    """Even and odd Gabor functions, each minus its mean, of unit norm, shape ``(2 * orientations, 1, size, size)``."""
    axis = torch.arange(size) - size // 2
    y, x = axis[:, None], axis[None, :]
    envelope = torch.exp(-(x**2 + y**2) / (2 * width**2))
    kernels = []
    for n in range(orientations):
        angle = math.pi * n / orientations
        phase = 2 * math.pi / period * (x * math.cos(angle) + y * math.sin(angle))
        kernels += [envelope * torch.cos(phase), envelope * torch.sin(phase)]
    bank = torch.stack(kernels)[:, None]
    bank = bank - bank.mean((-2, -1), keepdim=True)
    return bank / bank.square().sum((-2, -1), keepdim=True).sqrt()


def photographs(pixels: int) -> Tensor:
    """Photographs of scikit-image, grey, shape ``(images, 1, pixels, pixels)`` in [0, 1]."""
    try:
        from skimage import color, data, transform
    except ImportError as error:
        raise ImportError(INSTALL) from error
    found = []
    for name in PHOTOGRAPHS:
        picture = getattr(data, name)()
        picture = color.rgb2gray(picture) if picture.ndim == 3 else picture / 255
        side = min(picture.shape)
        top, left = ((n - side) // 2 for n in picture.shape)
        square = picture[top : top + side, left : left + side]
        found.append(torch.from_numpy(transform.resize(square, (pixels, pixels), anti_aliasing=True)).float())
    return torch.stack(found)[:, None].clamp(0, 1)


def real_bench(pixels: int = 64) -> FourF:
    """A PLUTO-like phase SLM and a camera of the presets."""
    pitch = CAMERA_PITCH * BINNING
    light = Illumination((pixels, pixels), pitch / 4, WAVELENGTH, pixels_per_logical=4)
    slm = SLM(Grid(SLM_SHAPE, SLM_PITCH), SLM_NAME)
    order = int(WAVELENGTH * FOCAL_LENGTH / SLM_PITCH / pitch)  # what lies beyond is another diffraction order
    camera = Camera((order, order), CAMERA_PITCH, binning=BINNING, sensor=Sensor.from_device(CAMERA_NAME))
    return FourF(light, Lens(FOCAL_LENGTH), slm, Lens(FOCAL_LENGTH), camera, samples_per_camera_pixel=8)


def fidelity(
    kernels: KernelSet,
    images: Tensor,
    bench: FourF,
    *,
    rounds: int = 4,
    steps: int = 0,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[dict, bytes]:
    """One row of the table, and its figure (PNG), for images ``(batch, 1, height, width)``."""
    begin = time.perf_counter()
    count, _, size, _ = kernels.weight.shape
    layer = OpticalConv2d(1, count, size, bench, exposures=1)
    progress(f"{kernels.name}: masks")
    errors = layer.load_kernels(kernels.weight, rounds=rounds, steps=steps, seed=seed)
    seconds = time.perf_counter() - begin
    progress(f"{kernels.name}: images")
    wanted = conv2d(images, kernels.weight)
    with torch.no_grad():
        light = layer.tile_kernels().sum((2, 3, 4)).sum().item()
        layer.expose(images, 0.5)
        quiet = torch.cat([layer(image[None]) for image in images])
        layer.noise = torch.Generator().manual_seed(seed)
        noisy = torch.cat([layer(image[None]) for image in images])
        frame = _frame(layer, images[:1])
    row = {
        "kernels": kernels.name,
        "tiles": len(layer.plan.tiles),
        "capacity": layer.plan.capacity,
        "light_in_taps": light,
        "kernel_errors": errors.tolist(),
        "cosine": _cosine(quiet, wanted),
        "cosine_lowest": min(_cosine(quiet[:, k], wanted[:, k]) for k in range(count)),
        "cosine_noise": _cosine(noisy, wanted),
        "cosine_noise_lowest": min(_cosine(noisy[:, k], wanted[:, k]) for k in range(count)),
        "relative_l2": ((quiet - wanted).norm() / wanted.norm()).item(),
        "seconds": seconds,
    }
    windows = [(tile.rows, tile.columns) for tile in layer.plan.tiles]
    figure = plot_convolution(frame, windows, noisy[0], wanted[0], pitch=bench.camera.grid.pitch)
    return row, png(figure)


def _frame(layer: OpticalConv2d, images: Tensor) -> Tensor:
    """The whole camera with noise, as its windows show it; what lies between them is not computed and left dark."""
    frame = torch.zeros(layer.bench.camera.grid.shape)
    for exposure, tile, seen in layer.camera_windows(images):
        if exposure == 0:
            frame[tile.rows, tile.columns] = seen[0]
    return frame


def _cosine(measured: Tensor, wanted: Tensor) -> float:
    return cosine_similarity(measured.flatten().double(), wanted.flatten().double(), dim=0).item()


def table_rows(rows: Sequence[Mapping]) -> list[dict[str, str]]:
    """The rows in words."""
    return [
        {
            "kernels": row["kernels"],
            "tiles (of room for)": f"{row['tiles']} ({row['capacity']})",
            "light in the taps": f"{row['light_in_taps']:.1%}",
            "kernel error": f"{row['kernel_errors'][0]:.3f} -> {min(row['kernel_errors']):.3f}",
            "cosine, no noise (lowest)": f"{row['cosine']:.4f} ({row['cosine_lowest']:.4f})",
            "cosine, noise (lowest)": f"{row['cosine_noise']:.4f} ({row['cosine_noise_lowest']:.4f})",
            "relative L2": f"{row['relative_l2']:.3f}",
            "masks in": f"{row['seconds']:.0f} s",
        }
        for row in rows
    ]


def run_conv(
    console: Console, out: Path | None, *, rounds: int = 4, steps: int = 0, seed: int = 0, speed: bool = False
) -> None:
    """Print the table, and write ``conv.md``, ``conv.json`` and a figure of each set.

    Args:
        console: For progress and the table.
        out: Folder; nothing is written without.
        rounds: Corrections of the masks.
        steps: Gradient steps after them.
        seed: Of the random kernels, the random start and the noise.
        speed: Time and memory of a training step instead.
    """
    if speed:
        run_conv_speed(console, out)
        return
    images, bench, rows, figures = photographs(64), real_bench(), [], {}
    with console.status("convolutions") as status, warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        for kernels in kernel_sets(seed):
            row, figure = fidelity(
                kernels, images, bench, rounds=rounds, steps=steps, seed=seed, progress=status.update
            )
            rows.append(row)
            figures["conv_" + kernels.name.split()[0].lower()] = figure
    made_with = {**provenance(), "threads": torch.get_num_threads(), "seed": seed}
    table = table_rows(rows)
    if out is not None:
        write_json(out / "conv.json", {"provenance": made_with, "rows": rows})
        made = "\n".join(f"- {name}: {value}" for name, value in made_with.items())
        method = METHOD.format(rounds=rounds)
        text = f"# Signed convolutions\n\n{method}\n\n{markdown(table)}\n## Made with\n\n{made}\n"
        write_text(out / "conv.md", text)
        for name, figure in figures.items():
            (out / f"{name}.png").write_bytes(figure)
    print_table(table, "Signed kernels on one SLM", console)
