"""What a route builds once and needs in every call: transfer functions, matrices, factors."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

MOST = 2**31  # bytes: four transfer functions of a window of 4096 x 4096 samples, in complex64


class Constants:
    """The newest of each kind, and the kinds used last where their tensors grow beyond a number of bytes.

    Args:
        most: Bytes of all of them together; a single one may be larger.

    Attributes:
        bytes: Memory of their tensors; what two of them share counts once.
    """

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.bytes = 0
        self._kept: dict[Hashable, tuple[object, Any]] = {}  # least recently used first

    def get(self, kind: Hashable, made_of: object, build: Callable[[], Any]) -> Any:
        """What was built for ``kind`` last, if it was made of the same; else it is built now, and takes that place.

        It may be used for a gradient later, though no gradient goes into it: it is built outside of inference mode.
        """
        kept = self._kept.pop(kind, None)  # and put back as the last one used
        if kept is not None and kept[0] == made_of:
            self._kept[kind] = kept
            return kept[1]
        with torch.inference_mode(False), torch.no_grad():
            kept = self._kept[kind] = made_of, build()
        self.bytes = self._counted()
        while len(self._kept) > 1 and self.bytes > self.most:
            self._kept.pop(next(iter(self._kept)), None)
            self.bytes = self._counted()
        return kept[1]

    def _counted(self) -> int:
        storages = (t.untyped_storage() for _, value in tuple(self._kept.values()) for t in _tensors(value))
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())

    def clear(self) -> None:
        """Forget all of them."""
        self._kept.clear()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __reduce__(self) -> tuple:
        """Copies build their own."""
        return Constants, (self.most,)


def _tensors(value: object) -> Iterator[Tensor]:
    """All tensors in what a route keeps."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _tensors(part)
    elif is_dataclass(value):
        for part in fields(value):
            yield from _tensors(getattr(value, part.name))


def described(part: nn.Module | None) -> tuple | None:
    """Numbers and words that a part of a bench and its own parts hold, parameters among them: what it is made of."""
    if part is None:
        return None
    return tuple((type(module), *_own(module)) for module in part.modules())


def _own(module: nn.Module) -> list[object]:
    of_its_own = ((name, value) for name, value in vars(module).items() if not name.startswith("_"))
    # Between training and evaluation no constant changes.
    plain = [own for own in of_its_own if own[0] != "training" and isinstance(own[1], float | int | str | tuple)]
    return plain + [v for p in module.parameters(recurse=False) for v in p.detach().flatten().tolist()]
