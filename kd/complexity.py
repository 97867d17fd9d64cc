"""What a network costs in electronics: multiply-accumulates and parameters."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from kd.evaluation import reseed
from kd.sclc import SpectralConv2d, SpectralFrontEnd, collapse


def digital_macs(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Digital multiply-accumulates for one image.

    Counted: ``nn.Conv2d``, ``nn.Linear``, and spectral layers as the convolution that they equal,
    ``H * W * k^2 * C_in * C_out`` (an FFT takes fewer): a row of them without pooling as its one collapsed kernel,
    a row with pooling layer by layer on its canvas. Not counted: the additions of
    pooling, normalisation (it folds into the layer beside it) and activations. A module whose class says
    ``digital = False`` is skipped with all it holds: light multiplies for free.

    Args:
        module: Network to count; its mode and statistics are left as they were, its noise starts again from seed 0.
        input_shape: One image, ``(C, height, width)``.

    Raises:
        TypeError: A layer with weight matrices of a kind that is not counted.
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Linear):
            positions = output.numel() // layer.out_features
        else:  # spectral pooling comes after the products, so they are counted at the size of the input
            size = inputs[0] if isinstance(layer, SpectralConv2d) else output
            positions = size.shape[-2] * size.shape[-1]
        weight = collapse(layer) if isinstance(layer, SpectralFrontEnd) else layer.weight
        total += positions * weight.numel()

    hooks = [layer.register_forward_hook(count) for layer in _digital_layers(module)]
    modes = {part: part.training for part in module.modules()}
    parameter = next(module.parameters(), torch.empty(0))
    try:
        module.eval()
        reseed(module, 0)  # a camera draws its noise from generators that may not be there yet
        with torch.no_grad():
            module(parameter.new_zeros(1, *input_shape))
    finally:
        for hook in hooks:
            hook.remove()
        for part, training in modes.items():
            part.training = training
    return total


def trainable_parameters(module: nn.Module) -> int:
    """Number of real values that training adjusts; a complex one is two."""
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in module.parameters() if p.requires_grad)


def _digital_layers(module: nn.Module) -> Iterator[nn.Module]:
    """Layers to count, below every module that is not optical."""
    if not getattr(module, "digital", True):
        return
    if isinstance(module, SpectralFrontEnd) and module.pool == 1:
        yield module
        return
    if isinstance(module, nn.Conv2d | nn.Linear | SpectralConv2d):
        yield module
    elif any(p.ndim > 1 for p in module.parameters(recurse=False)):
        raise TypeError(f"digital_macs must know every layer with weights, got {type(module).__name__}.")
    for child in module.children():
        yield from _digital_layers(child)
