"""Predicted against measured: a bundle's frames laid over those that the camera took, and a page about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from . import __version__
from .bundle import Bundle, BundleError, predict_frames, read_bundle
from .calibration import Measured, read_measured
from .config import BenchSpecification
from .files import refuse_overwriting
from .metrics import psnr, ssim
from .plotting import plot_frames, plot_residuals, png
from .report import Report
from .twin.model import noise_variance
from .twin.registration import Registration, correlation, likeness_by_orientation, register

SMALLEST_FOR_SSIM = 11
"""Pixels on a side that the window of the structural similarity needs."""
_UNLIKE = 0.95  # correlation below which it is asked whether the frames lie otherwise
_BETTER = 0.1  # by which another orientation must be more alike
_ASKED = 6  # frames of which it is asked


@dataclass(frozen=True)
class Comparison:
    """Measured frames and their predictions.

    Attributes:
        measured: Frames [DN], shape ``(N, masks, h, w)``.
        predicted: As the bundle predicts them, without noise, same shape.
        registered: The predictions with shift, brightness and offset of the measured frames.
        images: What the object showed, shape ``(N, h, w)``.
        registration: Shift, brightness and offset.
        peak: Brightest predicted pixel [DN], the peak of PSNR and SSIM.
        rows: One dictionary a frame: ``image``, ``mask``, ``correlation_before`` (as predicted), and of the registered
            frames ``correlation``, ``psnr_db``, ``ssim`` (``None`` where the frame is too small); all without margins.
        residuals: Measured less registered frames in standard deviations of the noise; NaN in the margins.
        warnings: What makes the registration doubtful, one sentence each.
    """

    measured: Tensor
    predicted: Tensor
    registered: Tensor
    images: Tensor
    registration: Registration
    peak: float
    rows: tuple[dict[str, float | int | None], ...]
    residuals: Tensor
    warnings: tuple[str, ...] = ()

    def mean(self, name: str) -> float | None:
        """Mean of a column over the frames that have it."""
        known = [row[name] for row in self.rows if row[name] is not None]
        return sum(known) / len(known) if known else None


def compare(bundle: Bundle, measured: Measured) -> Comparison:
    """Lay the frames that a bundle predicts over measured ones.

    Where the measurements name their images, those are simulated; else the camera must have seen the bundle's images.

    Args:
        bundle: Masks, and the bench that they are for.
        measured: What the camera delivered.

    Raises:
        ValueError: Frames of another bundle, wavelength, camera or number of masks or images; frames without structure.
    """
    specification = bundle.specification
    stated, wanted = measured.attributes.get("bundle_uuid"), bundle.attributes.get("uuid")
    if stated is not None and wanted is not None and stated != wanted:
        raise ValueError(f"the frames must be of bundle {wanted}, got those of {stated}. Compare with that one.")
    masks = len(bundle.levels)
    measured.check(wavelength=specification.wavelength, frame_shape=specification.camera.shape, masks=masks)
    images, predicted = _predicted(bundle, specification, measured)
    frames, predicted = measured.frames.double(), predicted.double()
    found = register(frames, predicted)
    registered = found.applied(predicted)
    seen, expected = found.inside(frames), found.inside(registered)
    peak = predicted.max().item()
    brightest = abs(found.gain) * peak
    likeness = torch.full(seen.shape[:2], torch.nan, dtype=torch.float64)
    if min(seen.shape[-2:]) >= SMALLEST_FOR_SSIM:
        likeness = ssim(seen, expected, peak=brightest)
    columns = {
        "correlation_before": correlation(seen, found.inside(predicted)),
        "correlation": correlation(seen, expected),
        "psnr_db": psnr(seen, expected, peak=brightest),
        "ssim": likeness,
    }
    rows = tuple(
        {"image": i, "mask": k, **{name: _number(values[i, k]) for name, values in columns.items()}}
        for i in range(len(frames))
        for k in range(masks)
    )
    residuals = torch.full_like(frames, torch.nan)
    camera = specification.build().camera
    black = found.gain * camera.sensor.offset + found.offset / camera.binning**2  # what registration adds is no light
    deviations = noise_variance(registered, camera, black).sqrt()
    found.inside(residuals).copy_(found.inside((frames - registered) / deviations))
    doubts = tuple(_doubts(found, columns["correlation"].nanmean().item(), frames, predicted))
    return Comparison(frames, predicted, registered, images, found, peak, rows, residuals, doubts)


def run_compare(bundle: str | Path, measured: str | Path, out: str | Path) -> Comparison:
    """Compare a bundle with measured frames, and write the page.

    Args:
        bundle: HDF5 mask bundle.
        measured: HDF5 with ``/frames`` [DN], and with ``/images`` where they are not the bundle's.
        out: HTML page, self-contained.

    Raises:
        ValueError: What :func:`compare` refuses; an output that is one of the inputs.
    """
    refuse_overwriting(Path(out), Path(bundle), Path(measured))
    masks, taken = read_bundle(bundle), read_measured(measured)
    try:
        found = compare(masks, taken)
    except BundleError:
        raise
    except ValueError as error:
        raise ValueError(f"{measured}: {error}") from error
    comparison_page(found, masks, bundle_name=str(bundle), measured_name=str(measured)).write(out)
    return found


def comparison_page(found: Comparison, bundle: Bundle, *, bundle_name: str = "", measured_name: str = "") -> Report:
    """The comparison as a page: what it comes to, each frame, pictures of the least alike ones."""
    specification = bundle.specification
    grid = specification.build().camera.grid
    count, where = len(found.rows), found.registration
    page = Report("Predicted against measured", f"{count} frames of {grid.shape[0]} x {grid.shape[1]} pixels")
    page.keyvalues(
        {
            "mean correlation as predicted": found.mean("correlation_before"),
            "mean correlation, registered": found.mean("correlation"),
            "mean PSNR [dB]": found.mean("psnr_db"),
            "mean SSIM": "none: a frame must be at least 11 x 11" if found.mean("ssim") is None else found.mean("ssim"),
        }
    )
    if found.warnings:
        page.section("Warnings", " ".join(found.warnings))
    page.section("Registration", "One shift, brightness and offset for all frames, by least squares.")
    page.keyvalues(
        {
            "shift down [pixels]": where.shift[0],
            "shift to the right [pixels]": where.shift[1],
            "measured over predicted brightness": where.gain,
            "offset [DN]": where.offset,
            "pixels left out at each edge": where.margin,
        }
    )
    page.section(
        "Frames",
        f"Peak of PSNR and SSIM: the brightest predicted pixel, {found.peak:.0f} DN, at the measured brightness.",
    )
    columns = {
        "frame": "frame",
        "correlation_before": "correlation as predicted",
        "correlation": "correlation",
        "psnr_db": "PSNR [dB]",
        "ssim": "SSIM",
    }
    page.table([{"frame": _name(row), **row} for row in found.rows], columns)
    _pictures(page, found, specification)
    page.section("Origin")
    page.keyvalues(
        {
            "bundle": bundle_name,
            "bundle uuid": bundle.attributes.get("uuid", "not written yet"),
            "measured": measured_name,
            "optics4f": __version__,
        }
    )
    return page


def _pictures(page: Report, found: Comparison, specification: BenchSpecification) -> None:
    grid = specification.build().camera.grid
    worst = min(range(len(found.rows)), key=lambda n: found.rows[n]["correlation"] or 0.0)
    image = found.rows[worst]["image"]
    page.section("Pictures", f"Image {image} has the frame that is least like its prediction.")
    for name, frames in (("measured", found.measured), ("predicted and registered", found.registered)):
        figure = plot_frames(found.images[image], frames[image].clamp(min=0), grid)
        page.figure(png(figure), f"Camera frames of image {image}, {name}, one for each mask", name)
    by_frame = found.residuals.flatten(0, 1)
    order = sorted(range(len(found.rows)), key=lambda n: found.rows[n]["correlation"] or 0.0)[:20]
    figure = plot_residuals(by_frame[order], grid, names=[_name(found.rows[n]) for n in order])
    page.figure(
        png(figure),
        "Maps of measured less predicted frames in standard deviations of the noise",
        "What is left, in standard deviations of shot and read noise, the least alike frames first. Noise alone has no "
        "pattern.",
    )


def _doubts(found: Registration, likeness: float, frames: Tensor, predicted: Tensor) -> Iterator[str]:
    """Reasons not to believe a registration."""
    if found.at_limit:
        shift = ", ".join(f"{s:.1f}" for s in found.shift)
        yield (
            f"The shift of ({shift}) pixels is the largest that is looked for: the camera stands elsewhere, or the "
            "frames show something else."
        )
    if not (found.at_limit or found.gain <= 0 or not likeness >= _UNLIKE):
        return
    seen, expected = frames.flatten(0, 1), predicted.flatten(0, 1)
    some = torch.linspace(0, len(seen) - 1, min(_ASKED, len(seen))).long()
    by_name = likeness_by_orientation(seen[some], expected[some])
    as_is = by_name.pop("as written")
    best = max(by_name, key=by_name.__getitem__)
    if by_name[best] > as_is + _BETTER:
        yield (
            f"The measured frames look like the predicted ones {best}: correlation {by_name[best]:.3f}, {as_is:.3f} as "
            "they are. Undo that before they are compared."
        )


def _name(row: dict) -> str:
    return f"image {row['image']}, mask {row['mask']}"


def _predicted(bundle: Bundle, specification: BenchSpecification, measured: Measured) -> tuple[Tensor, Tensor]:
    """Images, and their frames without noise."""
    count = len(measured.frames)
    if measured.images is None:
        if count != len(bundle.images):
            raise ValueError(
                f"frames must be of the bundle's {len(bundle.images)} images, got {count}. Or add /images, what the "
                "object showed."
            )
        return bundle.images, bundle.frames_noise_free
    images = measured.images.float()
    if tuple(images.shape[1:]) != tuple(specification.object.shape):
        raise ValueError(f"images must be {specification.object.shape}, got {tuple(images.shape[1:])}.")
    if images.shape == bundle.images.shape and torch.equal(images, bundle.images):
        return images, bundle.frames_noise_free
    return images, predict_frames(specification, bundle.levels, images, bundle.noise_seed)[1]


def _number(value: Tensor) -> float | None:
    return value.item() if torch.isfinite(value) else None
