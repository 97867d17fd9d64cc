"""Several processes that train one model, started by ``torchrun``; with one process all of it does nothing.

Each process computes its part of every batch; gradients are summed and normalisation sees the whole batch, so the
weights stay equal everywhere and are those of one process with the whole batch, apart from rounding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


@contextmanager
def torchrun() -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` has started, and leave them at the end; alone without it.

    Yields:
        The device of this process: its own GPU (NCCL), or the CPU (gloo).

    Example:
        >>> with torchrun() as device:  # torchrun --nproc-per-node 2 this.py
        ...     history = fit(model.to(device), data, settings, seed=0)
    """
    local = int(os.environ.get("LOCAL_RANK", 0))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if "RANK" not in os.environ:
        yield device
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Number of this process; 0 writes files and draws bars."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def world_size() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def agreed(value: Any) -> Any:
    """What process 0 has: a decision that must be one everywhere, or some would wait for others for ever."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0)
    return values[0]


def gathered(value: Any) -> list[Any]:
    """What each process has, by rank."""
    values = [value] * world_size()
    if world_size() > 1:
        distributed.all_gather_object(values, value)
    return values


def summed(tensor: Tensor) -> Tensor:
    """Sum of a tensor of any shape over the processes, in place."""
    if world_size() > 1:
        distributed.all_reduce(tensor)
    return tensor


def average_gradients(parameters: Sequence[nn.Parameter], count: Tensor) -> None:
    """Turn sums over what each process has counted into the mean over all of it, in place.

    Args:
        parameters: Their gradients are those of a sum over ``count`` things; the same ones in every process.
        count: What this process has counted, a scalar.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = summed(torch.cat([*(gradient.flatten() for gradient in gradients), count.to(gradients[0]).reshape(1)]))
    mean = flat[:-1] / flat[-1].clamp(min=1)
    for gradient, part in zip(gradients, mean.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.reshape(gradient.shape))


@contextmanager
def one_model(model: nn.Module) -> Iterator[None]:
    """``model`` starts as that of process 0, and its batch normalisations see the batches of all processes.

    PyTorch's ``SyncBatchNorm`` does the latter on GPUs only.
    """
    if world_size() == 1:
        yield
        return
    for tensor in model.state_dict().values():
        distributed.broadcast(tensor, src=0)
    layers = [layer for layer in model.modules() if isinstance(layer, _BatchNorm)]
    for layer in layers:
        layer.forward = partial(_normalise, layer)  # of this object alone: its class and its weights' names stay
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


class _Sum(torch.autograd.Function):
    """Sum over the processes; each has a share in the loss of each, so the gradient is summed as well."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return summed(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return summed(gradient.clone())


def _normalise(layer: _BatchNorm, features: Tensor) -> Tensor:
    """``layer`` on ``features``; in training with mean and variance over all processes."""
    if not layer.training:
        return type(layer).forward(layer, features)
    others = [0, *range(2, features.ndim)]
    shape = (1, -1, *([1] * (features.ndim - 2)))
    number = summed(features.new_tensor(features.numel() / features.shape[1]))
    mean = _Sum.apply(features.sum(dim=others)) / number
    centred = features - mean.reshape(shape)
    variance = _Sum.apply(centred.square().sum(dim=others)) / number  # of the differences: no cancellation
    if layer.track_running_stats:
        with torch.no_grad():
            layer.num_batches_tracked += 1
            momentum = layer.momentum if layer.momentum is not None else 1 / layer.num_batches_tracked
            layer.running_mean.lerp_(mean, momentum)
            layer.running_var.lerp_(variance * number / (number - 1), momentum)
    scale = (variance + layer.eps).rsqrt()
    if layer.affine:
        scale = scale * layer.weight
    normalised = centred * scale.reshape(shape)
    return normalised + layer.bias.reshape(shape) if layer.affine else normalised
