"""What a step cannot avoid: bare FFTs and products of matrices on a CPU, bytes that must move on a GPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from .timing import Step

PASSES = 2  # of a 2-D FFT over memory: along the rows, then along the columns


def floor_step(count: int, size: int, device: str = "cpu") -> Step:
    """``count`` bare FFTs of ``size`` x ``size`` complex64, half of them inverse."""
    data = torch.randn(size, size, dtype=torch.complex64, device=device)

    def step() -> None:
        for n in range(count):
            (torch.fft.fft2 if n % 2 == 0 else torch.fft.ifft2)(data)

    return step


def psf_floor(
    batch: int, masks: int, shape: tuple[int, int], window: int, length: int, *, backward: bool, device: str = "cpu"
) -> Step:
    """What a PSF step is made of, bare: each mask transformed to its window, and images filtered by the PSFs.

    Args:
        batch: Images B.
        masks: Masks K.
        shape: Samples of a mask ``(height, width)``.
        window: Samples of a PSF along a side.
        length: Of the FFTs.
        backward: Also the adjoints.
        device: Where.

    Returns:
        For each mask two dense products of complex64 matrices, once forward and once back; FFTs of length x length: one
        for each image, mask and pair of them, and back one for each pair and mask. The masks' cosines and sines, the
        products of spectra and everything else are left out.
    """
    height, width = shape
    made = {"dtype": torch.complex64, "device": device}
    mask, rows, columns = (
        torch.randn(*shape, **made),
        torch.randn(window, height, **made),
        torch.randn(width, window, **made),
    )
    seen = torch.randn(window, window, **made)
    count = batch + masks + batch * masks + (batch * masks + masks if backward else 0)
    transforms = floor_step(count, length, device)

    def step() -> None:
        for _ in range(masks):
            (rows @ mask) @ columns
            if backward:
                (rows.mT @ seen) @ columns.mT
        transforms()

    return step


def transform_bytes(count: int, size: int, itemsize: int = 8) -> int:
    """Bytes that ``count`` FFTs of ``size`` x ``size`` read and write: in each pass all of them, once."""
    return count * PASSES * 2 * size**2 * itemsize


def propagation_4f_bytes(n: int, batch: int, itemsize: int = 8) -> dict[str, int]:
    """Bytes that must move in a training step of the angular-spectrum 4f, planes of n x n padded to 2n x 2n.

    Forward an image goes through four gaps, back through two: two FFTs each, and the transfer function is read. All
    products, lenses and masks are thought to be taken on the way, at no cost; what is smaller than the window is not
    counted.

    Args:
        n: Samples along a side.
        batch: Images.
        itemsize: Bytes of a complex number.
    """
    gaps = 4 + 2
    return {
        "transforms": transform_bytes(2 * gaps * batch, 2 * n, itemsize),
        "transfer functions": gaps * batch * (2 * n) ** 2 * itemsize,
    }


def copy_bandwidth(
    device: str, *, size: int = 2**28, repetitions: int = 10, clock: Callable[[Step, str], float] | None = None
) -> float:
    """Bytes a second that a copy in the device's memory reads and writes, together; the median.

    Args:
        device: ``"cuda"`` or ``"cpu"``.
        size: Bytes of what is copied: more than any cache holds.
        repetitions: How often.
        clock: Seconds that a step takes on a device; by default :func:`elapsed`.
    """
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / median_time(lambda: target.copy_(source), device, repetitions, clock)


def median_time(
    step: Callable[[], object], device: str, repetitions: int, clock: Callable[[Step, str], float] | None = None
) -> float:
    """Median of the seconds that a step takes, after one run that is not counted."""
    clock = elapsed if clock is None else clock
    clock(step, device)
    return statistics.median(clock(step, device) for _ in range(repetitions))


def elapsed(step: Step, device: str) -> float:
    """Seconds that a step takes: between two events of the stream on a GPU, by the processor's clock elsewhere."""
    if device == "cpu":
        start = time.perf_counter()
        step()
        return time.perf_counter() - start
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    step()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1e3  # it gives milliseconds


def moved_row(
    name: str,
    step: Step,
    moved: dict[str, int],
    bandwidth: float,
    *,
    device: str,
    repetitions: int,
    clock: Callable[[Step, str], float] | None = None,
) -> dict:
    """A step against the time in which a copy moves the bytes that it must.

    Args:
        name: Of the case.
        step: What is timed.
        moved: Bytes, by what they are.
        bandwidth: Of a copy [bytes/s].
        device: Where it runs.
        repetitions: How often.
        clock: As in :func:`copy_bandwidth`.

    Returns:
        ``case``, ``seconds``, ``bytes``, ``bandwidth``, ``floor_seconds`` and ``ratio``.
    """
    seconds, floor = median_time(step, device, repetitions, clock), sum(moved.values()) / bandwidth
    return {
        "case": name,
        "seconds": seconds,
        "repetitions": repetitions,
        "bytes": moved,
        "bandwidth": bandwidth,
        "floor_seconds": floor,
        "ratio": seconds / floor,
    }
