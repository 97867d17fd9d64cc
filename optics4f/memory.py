"""Memory that is there, memory that a computation needs, and what fits: refused beforehand, not killed on the way.

A :class:`Need` counts the tensors that are alive together at the peak, from shapes alone; tests hold it against the
measured peaks of processes of their own. What the caller keeps, the input above all, is not part of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

GIB = 2**30
SMALL = 2**28  # bytes: less is not worth a look at what is there


class TooLargeError(ValueError, MemoryError):
    """A computation that does not fit into memory, with what does."""


_given_back: list[Callable[[], None]] = []


def _nothing(width: int, batch: int) -> int:
    return 0


@dataclass(frozen=True)
class Need:
    """Most memory that a computation holds at a time, beyond what was there before.

    Attributes:
        of: What needs it, in words.
        width: Samples of its widest plane along its longer side.
        batch: Fields or images.
        bytes_at: The need of the same with another width (all planes scaled alike) and batch.
        result_at: The part of it that stays when the computation is over: the result; and where a gradient follows,
            that of the result and as much again inside a loss.
    """

    of: str
    width: int
    batch: int
    bytes_at: Callable[[int, int], int]
    result_at: Callable[[int, int], int] = _nothing

    @property
    def bytes(self) -> int:
        """Of the computation itself."""
        return self.bytes_at(self.width, self.batch)

    def largest_batch(self, room: int) -> int:
        """Most fields or images that fit into ``room`` bytes; 0 where none does."""
        return _largest(lambda n: self.bytes_at(self.width, n), room)

    def largest_piece(self, room: int) -> int:
        """Most of the batch at a time for :func:`in_pieces`, which holds the results of all; 0 where not even one."""
        room -= self.result_at(self.width, self.batch)
        return _largest(lambda n: self.bytes_at(self.width, n), room) if room > 0 else 0

    def largest_width(self, room: int, batch: int = 1) -> int:
        """Widest plane that fits into ``room`` bytes [samples]."""
        return _largest(lambda n: self.bytes_at(n, batch), room)


def require(need: Need, device: torch.device | str | None = None) -> None:
    """Refuse what does not fit into memory.

    Args:
        need: What is about to be computed.
        device: Where; by default on the CPU.

    Raises:
        TooLargeError: It needs more than is available; names the batch that fits, or the plane.
    """
    needed = need.bytes
    if needed < SMALL:
        return
    there = available(device)
    if there is None or needed <= there:
        return
    for give_back in (*_given_back, _free_pages):
        give_back()
    there = available(device)
    if there is None or needed <= there:
        return
    piece, batch = need.largest_piece(there), need.largest_batch(there)
    if piece:
        remedy = f"Use at most {piece} at a time: optics4f.memory.in_pieces does that."
    elif batch:
        remedy = (
            f"Use at most {batch} at a time, each with a loss and a backward pass of its own: the results of all "
            f"{need.batch} do not fit."
        )
    else:
        width, alone = need.largest_width(there), "one at a time and " if need.batch > 1 else ""
        remedy = f"Use {alone}planes of at most {width} samples instead of {need.width}, or more memory."
    raise TooLargeError(
        f"{need.of} must fit into memory: it needs {needed / GIB:.3g} GiB, got {there / GIB:.3g} GiB available. "
        f"{remedy}"
    )


def on_shortage(give_back: Callable[[], None]) -> None:
    """Have this called before anything is refused: it lets go of memory that is only kept to save time."""
    _given_back.append(give_back)


def in_pieces(function: Callable[[Tensor], Tensor], batch: Tensor, size: int) -> Tensor:
    """``function(batch)``, computed for some of the batch at a time: memory is that of a piece, and of the result.

    For a function whose samples do not see each other. Where gradients are wanted, each piece is computed again in
    the backward pass instead of being kept; what it draws at random from torch's own generators is drawn alike.

    Args:
        function: Takes ``(n, ...)`` and returns ``(n, ...)``, such as ``lambda images: route(images).intensity``.
        batch: Shape ``(batch, ...)``.
        size: Samples of a piece, at least 1.

    Raises:
        ValueError: A size that is not a positive number.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}. It is the number of samples of a piece.")
    pieces = batch.split(size)
    if torch.is_grad_enabled():
        return torch.cat([checkpoint(function, piece, use_reentrant=False) for piece in pieces])
    first = function(pieces[0])
    result = first.new_empty(len(batch), *first.shape[1:])
    result[: len(first)] = first
    del first
    for k, piece in enumerate(pieces[1:], 1):
        result[k * size : k * size + len(piece)] = function(piece)
    return result


def available(device: torch.device | str | None = None) -> int | None:
    """Memory that can be taken without swapping or being killed [bytes]; ``None`` where the system does not tell.

    Args:
        device: A CUDA device (its free memory, and what torch holds in reserve), or the CPU: the least of what Linux
            calls available, what the process's control groups leave, and its limit of address space; and the end of
            the heap, which the process can give back. What it has freed between blocks in use serves small requests
            only and does not count.
    """
    device = torch.device("cpu" if device is None else device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    found = [n for n in (_meminfo(), *control_groups(), _address_space()) if n is not None]
    return min(found) + _idle() if found else None


def control_groups(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> list[int]:
    """What each control group above the process leaves of its limit [bytes], version 1 and 2.

    Pages of files that nobody uses count as free: they are given up when memory runs out.

    Args:
        root: Where control groups are mounted.
        membership: The process's groups, as Linux lists them.
    """
    left = []
    for line in _read(membership).splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            top, limit, used, cache = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            top, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        group = top / path.lstrip("/")
        # In a container the path may be that outside of it, and the files at the top its own.
        for folder in (top, *(p for p in (group, *group.parents) if top in p.parents)):
            most, taken = _read(folder / limit).strip(), _read(folder / used).strip()
            if most.isdigit() and taken.isdigit():  # "max" is none
                stat = dict(entry.split(None, 1) for entry in _read(folder / "memory.stat").splitlines())
                left.append(max(0, int(most) - int(taken) + int(stat.get(cache, 0))))
    return left


def _meminfo() -> int | None:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


class _HeapInfo(ctypes.Structure):
    """``struct mallinfo2`` of the GNU C library (2.33)."""

    _fields_ = [  # keepcost is what the end of the heap has free
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("uordblks", "fordblks", "keepcost")),
    ]


def _idle() -> int:
    """Bytes at the end of the heap that the process has freed and its C library keeps."""
    try:
        heap_info = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):  # another C library
        return 0
    heap_info.restype = _HeapInfo
    return heap_info().keepcost


def _free_pages() -> None:
    """Let the C library return what the process has freed: whole pages, also between blocks in use."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _address_space() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = _read(Path("/proc/self/statm")).split()
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return max(0, limit - int(pages[0]) * os.sysconf("SC_PAGE_SIZE"))


def _read(path: Path) -> str:
    """Text of a file of the system, empty where there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _largest(bytes_at: Callable[[int], int], room: int) -> int:
    """Largest n that fits, by doubling and bisection; 0 where none does."""
    fits, too_many = 0, 1
    while too_many < 2**32 and bytes_at(too_many) <= room:
        fits, too_many = too_many, 2 * too_many
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        fits, too_many = (middle, too_many) if bytes_at(middle) <= room else (fits, middle)
    return fits
