"""Gradients written by hand are first derivatives, and say so."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

Gradients = tuple[Tensor | None, ...]
Backward = Callable[..., Gradients]


def first_derivative(backward: Backward) -> Backward:
    """A ``backward`` that refuses to run where its gradients are to be differentiated again.

    ``torch.autograd.function.once_differentiable`` looks at the arriving gradients alone. Those of a loss that is
    linear in the intensity hang on nothing, so it would let a second derivative pass without the part of the masks.
    """

    @wraps(backward)
    def once(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor | None) -> Gradients:
        if torch.is_grad_enabled():  # create_graph
            raise ValueError(
                "create_graph must be False for gradients that are written by hand, got True. "
                "For second derivatives set plain_autograd = True of the route."
            )
        return backward(ctx, *grads)

    return once
