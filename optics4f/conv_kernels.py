"""Kernel -> PSF -> mask: the masks of an optical convolution for given kernels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .conv_arguments import check_whole
from .conv_taps import TiledKernels, with_gains
from .design.kernel_masks import spot_mask
from .design.progress import Bar, as_one
from .elements.slm import SLM

_LEARNING_RATE = 0.1  # [rad]; less does not leave the neighbourhood of the retrieved mask in a hundred steps


def load_kernels(
    layer: TiledKernels,
    weight: Tensor,
    *,
    iterations: int,
    rounds: int,
    steps: int,
    margin: int,
    efficiency: float,
    seed: int,
) -> Tensor:
    """See :meth:`optics4f.conv.OpticalConv2d.load_kernels`, also for the shapes."""
    k = layer.kernel_size
    shape = (layer.out_channels, layer.in_channels, k, k)
    if tuple(weight.shape) != shape or not torch.isfinite(torch.view_as_real(weight + 0j)).all():
        raise ValueError(f"weight must be finite and have shape {shape}, got {tuple(weight.shape)}.")
    if not weight.abs().amax((-3, -2, -1)).min() > 0:
        raise ValueError("weight must have no kernel of zeros only.")
    if weight.is_complex() and layer.detection != "intensity":
        raise ValueError(f"weight must be real for {layer.detection} detection, whose kernels are real.")
    if not isinstance(layer.slm, SLM):
        raise ValueError("kernels must be loaded into a phase SLM. Train an amplitude SLM end to end.")
    check_whole(0, rounds=rounds, steps=steps, margin=margin)
    check_whole(1, iterations=iterations)
    weight = weight.detach().cpu().to(torch.float64 if layer.signs == 2 else torch.complex128)
    reach = min(layer.bench.illumination.shape) + layer.padding - k  # beyond it no object pixel meets an output
    margin = min(margin, (min(layer.plan.spacing) - k) // 2, reach)
    goal = nn.functional.pad(weight, (margin,) * 4)
    wanted, start, everything = goal, None, nn.functional.pad(weight, (reach,) * 4)
    errors: list[Tensor] = []
    best: tuple[Tensor, Tensor] | None = None
    with as_one("kernels", rounds + 1 + steps, share=1 / layer.slm.masks) as bar:
        with torch.no_grad():
            for _ in range(rounds + 1):
                start = _retrieved(
                    layer, goal, start, iterations if start is None else iterations // 3 + 1, efficiency, seed
                )
                layer.slm.set_values(start.to(layer.slm.values))
                made = _fitted(layer, wanted, margin)
                errors.append(_error(layer, everything, reach))
                if best is None or errors[-1] == min(errors):
                    best = layer.slm.values.clone(), layer.gains.clone()
                goal = goal + wanted - made
            layer.slm.set_values(best[0])
            layer.gains.copy_(best[1])
        if steps:
            _refine(layer, everything, reach, steps, bar)
            with torch.no_grad():
                errors.append(_error(layer, everything, reach))
    if layer.homodyne:
        # As bright as the brightest field that a white object can make: the frames then use their whole range.
        layer.reference.fill_(layer.tile_kernels().detach().abs().sum((-2, -1)).max())
    return torch.stack(errors)


@torch.no_grad()
def start_with_random_kernels(layer: TiledKernels) -> None:
    """Masks of random kernels, drawn from the global generator as ``nn.Conv2d`` draws its weights."""
    weight = torch.empty(layer.out_channels, layer.in_channels, layer.kernel_size, layer.kernel_size)
    nn.init.kaiming_uniform_(weight, a=5**0.5)
    seed = int(torch.randint(2**31, ()))
    goal = weight.to(torch.float64 if layer.signs == 2 else torch.complex128)
    layer.slm.set_values(_retrieved(layer, goal, None, 2, 0.5, seed).to(layer.slm.values))


def _error(layer: TiledKernels, wanted: Tensor, reach: int) -> Tensor:
    """Relative error of the output on natural images: that of the kernels with all light that reaches an output."""
    return (_seen(_missing(layer, wanted, reach)) / _seen(wanted)).sqrt()


def _missing(layer: TiledKernels, wanted: Tensor, reach: int) -> Tensor:
    missing = _made(layer, wanted, reach) - wanted
    return missing.real if layer.homodyne else missing


def _seen(kernels: Tensor) -> Tensor:
    """Power that kernels show of natural images, whose own power falls as 1/f^2 (Field 1987).

    An error of the sum of a kernel's taps is seen far better than one from tap to tap.
    """
    size = kernels.shape[-1]
    frequency = torch.fft.fftfreq(size, dtype=torch.float64)
    power = 1 / (frequency[:, None] ** 2 + frequency[None, :] ** 2 + (0.5 / size) ** 2)
    spectrum = torch.fft.fft2(kernels)
    return (power * (spectrum.real.square() + spectrum.imag.square())).sum()


def _retrieved(
    layer: TiledKernels, goal: Tensor, start: Tensor | None, iterations: int, efficiency: float, seed: int
) -> Tensor:
    """Masks whose PSFs have these taps, shape of the SLM's values."""
    bench, bits, size = layer.bench, layer.slm.bit_depth, goal.shape[-1]
    parts = torch.stack((goal.clamp(min=0), -goal.clamp(max=0)), 1) if layer.signs == 2 else goal[:, None]
    parts, mask_of = parts.flatten(0, 1), layer.mask_of().flatten(0, 1)
    positions, light = layer.pixel_positions(), layer.illumination()
    taps = torch.arange(size, dtype=torch.float64) - layer.kernel_size // 2 - (size - layer.kernel_size) // 2
    values = []
    for mask in range(layer.slm.masks):
        places: tuple[list[Tensor], list[Tensor]] = ([], [])
        strengths, scales = [], []
        for tile, channel in (mask_of == mask).nonzero().tolist():
            y, x = (c + taps for c in layer.plan.tiles[tile].centre)
            for place, p in zip(places, torch.meshgrid(y, x, indexing="ij"), strict=True):
                place.append(p.flatten() * bench.camera.grid.pitch)
            strengths.append(parts[tile, channel].flatten())
            scales += [layer.wavelengths[channel] * bench.lens2.focal_length] * size**2
        strength = torch.cat(strengths)
        if not strength.abs().max() > 0:  # a sign that no kernel of this mask has: any light will do
            strength = torch.ones_like(strength)
        values.append(
            spot_mask(
                positions,
                tuple(torch.cat(place) for place in places),
                strength,
                scale=scales,
                illumination=light,
                levels=None if bits is None else 2**bits,
                efficiency=efficiency,
                iterations=iterations,
                start=None if start is None else start[mask],
                seed=seed + mask,
            )
        )
    return torch.stack(values)


def _fitted(layer: TiledKernels, wanted: Tensor, margin: int) -> Tensor:
    """Kernels as made, after the gains (and, of coherent light, the masks' constant phase) that fit best."""
    made = layer.tile_kernels(margin).cpu().to(wanted.dtype)
    mask_of = layer.mask_of()
    if layer.signs == 1:
        flat = mask_of.flatten()
        overlap = (wanted[:, None] * made.conj()).sum((-2, -1)).flatten()
        overlap = overlap.new_zeros(layer.slm.masks).index_add(0, flat, overlap)
        power = made.abs().square().sum((-2, -1)).flatten()
        factor = overlap / power.new_zeros(layer.slm.masks).index_add(0, flat, power)
        layer.gains.copy_(factor.abs() if layer.homodyne else factor.abs().square())  # of the frames, not the field
        layer.slm.values += factor.angle().to(layer.slm.values)[:, None, None]
    else:
        # One unknown a mask: least squares over all taps.
        signed = torch.stack((made[:, 0], -made[:, 1]), 1)
        system = wanted.new_zeros(*wanted.shape[:2], wanted[0, 0].numel(), layer.slm.masks)
        for o, sign, c in torch.cartesian_prod(*(torch.arange(n) for n in signed.shape[:3])).tolist():
            system[o, c, :, mask_of[o, sign, c]] += signed[o, sign, c].flatten()
        gains = torch.linalg.lstsq(system.flatten(0, 2), wanted.flatten()[:, None]).solution[:, 0]
        # A mask that nothing is wanted of would be lost to training: it keeps a gain that hardly shows.
        layer.gains.copy_(gains.clamp(min=1e-6 * gains.abs().max()))
    return _made(layer, wanted, margin)


def _made(layer: TiledKernels, wanted: Tensor, margin: int) -> Tensor:
    """Kernels as made, times the gains; differentiable in the masks."""
    made, gains = (values.cpu().to(wanted.dtype) for values in (layer.tile_kernels(margin), layer.gains))
    return with_gains(layer, made, gains)


def _refine(layer: TiledKernels, wanted: Tensor, reach: int, steps: int, bar: Bar) -> None:
    """Adam on the masks, with everything that the panel does, against errors as an image would show them."""
    values, scale = layer.slm.values, _seen(wanted)
    optimiser = torch.optim.Adam([values], lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _LEARNING_RATE, total_steps=steps + 1)
    for _ in range(steps):
        loss = _seen(_missing(layer, wanted, reach)) / scale
        (values.grad,) = torch.autograd.grad(loss, values)
        optimiser.step()
        schedule.step()
        bar.advance()
    values.grad = None
