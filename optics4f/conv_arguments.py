"""What an optical convolution takes of ``nn.Conv2d``'s arguments, and refuses."""

from __future__ import annotations

from torch import nn


def check_whole(least: int, **values: int) -> None:
    """Refuse what is no whole number of at least ``least``, by its name."""
    for name, value in values.items():
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be a whole number of at least {least}, got {value}.")


def square(name: str, value: int | tuple[int, int]) -> int:
    """One number for both axes."""
    pair = value if isinstance(value, tuple) else (value, value)
    if len(pair) != 2 or pair[0] != pair[1] or not isinstance(pair[0], int):
        raise ValueError(f"{name} must be a whole number, the same for both axes, got {value}.")
    return pair[0]


def symmetric_padding(value: int | tuple[int, int] | str, kernel_size: int, stride: int) -> int:
    """Dark pixels on each side, from a number or the words that ``nn.Conv2d`` takes."""
    if value == "same":
        if kernel_size % 2 == 0 or stride != 1:
            raise ValueError(f"padding 'same' must have an odd kernel and stride 1, got {kernel_size} and {stride}.")
        return kernel_size // 2
    return 0 if value == "valid" else square("padding", value)


def check_plain(convolution: nn.Conv2d) -> None:
    """Refuse a convolution that light does not do: with a bias, groups, dilation, or a padding that is not dark."""
    if type(convolution) is not nn.Conv2d:
        raise ValueError(f"convolution must be an nn.Conv2d, got {type(convolution).__name__}.")
    if convolution.bias is not None or convolution.groups != 1 or set(convolution.dilation) != {1}:
        raise ValueError("the convolution must have no bias, groups or dilation. Add the bias to the output.")
    if convolution.padding_mode != "zeros":
        raise ValueError(f"padding_mode must be zeros, the dark, got {convolution.padding_mode}.")
