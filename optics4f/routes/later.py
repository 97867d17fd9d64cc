"""Fields at the image that most callers never ask for."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class Later:
    """A tensor that is made when it is called for; copied and pickled as that tensor.

    Args:
        make: Makes it, of any shape.
    """

    def __init__(self, make: Callable[[], Tensor]) -> None:
        self._make = make

    def __call__(self) -> Tensor:
        return self._make()

    def __reduce__(self) -> tuple:
        return _itself, (self._make(),)


def _itself(data: Tensor) -> Tensor:
    return data
