"""What a table leaves out of the SLM's pixels, and its students read again on a bench that leaves out less of it.

A sample stands for a point, a pixel is a square: its own diffraction darkens the edge of what the SLM sends, by
``sinc^2`` of the distance from the axis. Where a wide object needs a wide PSF window, one sample a pixel leaves out
more of that than :data:`optics4f.sampling.ENVELOPE_LEFT_OUT`.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from optics4f.config import BenchSpecification
from optics4f.sampling import ENVELOPE_LEFT_OUT, SamplingWarning

from .paper_settings import PaperSettings
from .paper_statistics import by_row

MOST = 8  # samples along a pixel's side; a window of the whole order spacing takes 3


def envelope_left_out(bench: BenchSpecification) -> tuple[float, bool]:
    """Share of the intensity at the edge of the PSF window that the samples leave out, and whether it is too much."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        route = bench.build_route(bench.build())
    (check,) = (c for c in route.sampling(route.bench).checks if c.quantity == "envelope of the SLM's samples")
    return check.value, not check.valid


def finer_pixels(settings: PaperSettings) -> PaperSettings | None:
    """The same with as few samples a pixel of the SLM as leave out little enough.

    ``None`` where it has so many, or where :data:`MOST` would not do.
    """
    bench = settings.bench
    if not envelope_left_out(bench)[1]:
        return None
    for samples in range(bench.slm.samples_per_pixel + 1, MOST + 1):
        slm = bench.slm.model_copy(update={"samples_per_pixel": samples})
        finer = bench.model_copy(update={"slm": slm})
        if not envelope_left_out(finer)[1]:
            return settings.model_copy(update={"bench": finer})
    return None  # a window of several orders: the page says that nothing was read again


def read_again(
    model: nn.Module,
    settings: PaperSettings,
    build: Callable[[PaperSettings], nn.Module],
    measured: Callable[[nn.Module], dict[str, Any]],
) -> dict[str, Any]:
    """``{"finer_pixels": ...}``: what is measured with finer pixels, masks and readout as they are; or nothing.

    Args:
        model: A trained physical student.
        settings: That it was trained with.
        build: Settings to a student like it.
        measured: Student to results.
    """
    finer = finer_pixels(settings)
    if finer is None:
        return {}
    again = build(finer)
    again.load_state_dict(model.state_dict())
    return {"finer_pixels": {"samples_per_pixel": finer.bench.slm.samples_per_pixel, **measured(again)}}


def pixel_words(settings: PaperSettings, results: Sequence[Mapping], measures: Mapping[str, str]) -> str:
    """What is left out, and what it costs those that were read again, to stand above a table.

    Args:
        settings: Of the table.
        results: Of its runs.
        measures: Keys of results to what they are called.
    """
    left_out, too_much = envelope_left_out(settings.bench)
    if not too_much:
        return ""
    physical = by_row([r for r in results if "electrons_per_image" in r])
    told, samples = [], set()
    for row, seeds in physical.items():
        again = [r["finer_pixels"] for r in seeds.values() if "finer_pixels" in r]
        samples |= {one["samples_per_pixel"] for one in again}
        for measure, title in measures.items() if again else ():
            values = [100 * one[measure] for one in again if measure in one]
            told += (
                [f"{row} {statistics.fmean(values):.2f} % {title} ({len(values)} of {len(seeds)} seeds)"]
                if values
                else []
            )
    words = (
        f"**Left out**: the SLM has {settings.bench.slm.samples_per_pixel} sample a pixel along each side, and the "
        f"diffraction of a real, square pixel darkens the edge of the PSF window by {left_out:.0%} more of its light. "
    )
    if not told:
        return words + "No student was read with finer pixels: on a bench it may do worse, or be trained for it. "
    several = " or ".join(map(str, sorted(samples)))
    return words + (
        f"Read again with {several} samples, which leave out less than {ENVELOPE_LEFT_OUT:.0%} of it, without being "
        f"trained for that: {', '.join(told)}. "
    )
