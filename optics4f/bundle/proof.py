"""Whether a mask bundle can be shown and predicts what its masks do: asked before it is written, and by verify."""

from __future__ import annotations

import torch

from ..config import BenchSpecification
from .contents import Bundle, BundleError, first_line, predict_frames

_LARGEST_COUNT = 2**32 - 1  # frames are stored as uint32
NOISE_DEVIATIONS = 7
"""Standard deviations of the noise that a frame may lie off: one pixel in 4e11 does so by chance."""


def refuse_unusable(bundle: Bundle, specification: BenchSpecification) -> None:
    """Refuse arrays that no reader would take, or that the file would hold otherwise than they are.

    Raises:
        BundleError: Another shape; NaN, fractions or negative numbers where none can be.
    """
    images, masks = bundle.images.shape[0], specification.slm.masks
    frames = (images, masks, *specification.camera.shape)
    for name, wanted in (
        ("levels", (masks, *specification.slm.shape)),
        ("images", (images, *specification.object.shape)),
        ("frames", frames),
        ("frames_noise_free", frames),
    ):
        values = getattr(bundle, name)
        if tuple(values.shape) != tuple(wanted):
            raise BundleError(
                f"{name} must have shape {tuple(wanted)} for the bench of the bundle's configuration, got "
                f"{tuple(values.shape)}."
            )
        if name != "images" and (values.dtype.is_floating_point or values.dtype.is_complex):
            raise BundleError(f"{name} must be whole numbers, got {values.dtype}. Nothing is rounded here.")
    if not images:
        raise BundleError("images must be at least one, got none: nothing could be proven.")
    if not (torch.isfinite(bundle.images).all() and bundle.images.min() >= 0 and bundle.images.max() <= 1):
        raise BundleError("images must lie in [0, 1], got NaN or numbers beyond.")
    top = 2 ** bundle.specification.build().slm.bit_depth - 1
    for name, most in (("levels", top), ("frames", _LARGEST_COUNT), ("frames_noise_free", _LARGEST_COUNT)):
        low, high = (int(v) for v in getattr(bundle, name).aminmax())
        if low < 0 or high > most:
            raise BundleError(f"{name} must be in 0 ... {most}, got {low} ... {high}.")


def refuse_other_frames(bundle: Bundle, specification: BenchSpecification) -> None:
    """Refuse frames that the simulation of the levels alone does not give.

    Frames without noise may differ by one count (rounding, on another processor); frames with noise must lie within
    :data:`NOISE_DEVIATIONS` of them.

    Raises:
        BundleError: Frames of other masks, another bench or other images; a bench that cannot be simulated.
    """
    images = bundle.images.cpu().float()  # as they are stored
    try:
        again, quiet = predict_frames(specification, bundle.levels.cpu(), images, bundle.noise_seed)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise BundleError(f"the bundle cannot be simulated: {first_line(error)}") from error
    frames, noise_free = bundle.frames.cpu(), bundle.frames_noise_free.cpu()
    if quiet.shape != noise_free.shape:
        raise BundleError(
            f"expected/frames_noise_free has shape {tuple(noise_free.shape)}, the simulation of display gives "
            f"{tuple(quiet.shape)}."
        )
    worst = (quiet - noise_free).abs().max().item()
    if worst > 1:
        raise BundleError(f"expected/frames_noise_free differs from the simulation of display by up to {worst} counts.")
    if torch.equal(again, frames):
        return
    camera = specification.build().camera
    gain, pixels = camera.sensor.electrons_per_count, camera.binning**2
    variance = quiet / gain + pixels * (camera.sensor.read_noise**2 / gain**2 + 1 / 12)
    deviations = ((frames - quiet).abs() / variance.sqrt()).max().item()
    if deviations > NOISE_DEVIATIONS:
        raise BundleError(
            f"expected/frames lie up to {deviations:.1f} standard deviations from the simulation of display, at most "
            f"{NOISE_DEVIATIONS} are noise."
        )
