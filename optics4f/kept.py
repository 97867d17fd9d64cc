"""Tensors that are expensive to build and wanted again: the ones used last, up to a number of bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

import torch
from torch import Tensor


class Kept:
    """A cache of tensors that receive no gradient.

    Args:
        most: Bytes of all of them together. What is larger by itself is built and not kept.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._kept: dict[Hashable, Tensor] = {}  # least recently used first
        self._lock = threading.Lock()

    def get(self, key: Hashable, build: Callable[[], Tensor]) -> Tensor:
        """What was built for ``key``, or is built now.

        It may be needed for a gradient later, so it is built outside of inference mode; and nothing may be written
        into it. Any shape.
        """
        with self._lock:
            found = self._kept.pop(key, None)
            if found is not None:
                self._kept[key] = found
                return found
        with torch.inference_mode(False), torch.no_grad():
            found = build()
        if type(found) is Tensor and found.nbytes <= self.most:  # a fake tensor of a compiler has no numbers
            with self._lock:
                self._kept[key] = found
                while self._bytes() > self.most:
                    self._kept.pop(next(iter(self._kept)))
        return found

    @property
    def bytes(self) -> int:
        """Memory of what is kept."""
        with self._lock:
            return self._bytes()

    def clear(self) -> None:
        """Forget all of it."""
        with self._lock:
            self._kept.clear()

    def _bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self._kept.values())
