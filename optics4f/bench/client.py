"""Showing a mask bundle on a bench, and every reason not to.

slmsuite crops, checks neither wavelength nor pitch, and shows NaN; so the checks are made here, before a level is sent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..bundle import Bundle, BundleError, level_around, level_phases, read_bundle
from ..files import refuse_overwriting
from ..units import engineering
from ..vendors import Panel, write_image
from ..vendors.panel import check_shape
from .far_field import panel_of


def check_panel(
    bundle: Bundle, panel: Panel, *, device: str | None = None, phase_of_gray: ArrayLike | None = None
) -> None:
    """Refuse a bundle that is not for this panel, by the name of what is wrong.

    Args:
        bundle: Masks.
        panel: The panel as it stands on the bench.
        device: Its preset, such as ``"holoeye-pluto-2.1"``, where it is known.
        phase_of_gray: Measured phase of each of its gray values [rad], where it is known; a common phase is of no
            account.

    Raises:
        BundleError: Another device, wavelength, pitch, shape, bit depth, slope or LUT.
    """
    specification, meant = bundle.specification, panel_of(bundle.specification)
    if device is not None and device != specification.slm.device:
        raise BundleError(
            f"device must be {device}, got a bundle for {specification.slm.device}. Export it for this device."
        )
    try:
        check_shape(meant.shape, panel.shape, "the bundle's panel", panel.name)
        panel.check(wavelength=meant.wavelength, pitch=meant.pitch)
    except ValueError as error:
        raise BundleError(str(error)) from error
    if meant.bit_depth != panel.bit_depth:
        raise BundleError(
            f"bit_depth must be {panel.bit_depth} on {panel.name}, got masks of {meant.bit_depth}. Export them again."
        )
    if phase_of_gray is None:
        if meant.gray_slope != panel.gray_slope:
            raise BundleError(
                f"gray_slope must be {panel.gray_slope} on {panel.name}, got {meant.gray_slope}: the masks would be "
                "conjugated."
            )
        return
    measured = np.asarray(phase_of_gray, dtype=float)
    if measured.shape != (2**panel.bit_depth,):
        raise BundleError(
            f"the LUT must have 2^{panel.bit_depth} = {2**panel.bit_depth} entries for {panel.name}, "
            f"got {measured.size}. Measure every gray value, or interpolate to all of them."
        )
    wanted, half_a_level = _phases(bundle, meant), np.pi / 2**panel.bit_depth
    off = _off(measured, wanted)
    if not off.max() <= half_a_level:
        if _off(-measured, wanted).max() <= half_a_level:
            raise BundleError(
                f"gray_slope must be {-meant.gray_slope} on {panel.name}, got {meant.gray_slope}: the masks would be "
                "conjugated."
            )
        raise BundleError(
            f"the LUT of {panel.name} must be the one that the masks were made for, got {off.max():.3g} rad between "
            f"them at gray value {int(off.argmax())}. State it as bench.slm.effects.lut and export again."
        )


def show(bundle: Bundle | str | Path, slm: Any, *, exposure: int = 0, device: str | None = None) -> NDArray:  # noqa: ANN401
    """Show one mask of a bundle on an SLM of slmsuite, simulated or real, after every check.

    Gray values go to the panel untouched. Only where slmsuite holds a wavefront correction (``slm.source["phase"]``)
    that the masks do not account for, the phase is sent and slmsuite adds the correction to it.

    Args:
        bundle: Bundle or its file.
        slm: ``slmsuite.hardware.slms.slm.SLM``.
        exposure: Number of the mask.
        device: Preset that the SLM must be, where that is known.

    Returns:
        The array that was sent, of the panel's shape.

    Raises:
        BundleError: The file is refused, or the bundle is not for this SLM; a wavelength, pitch or correction of the
            SLM that is no number.
    """
    bundle = bundle if isinstance(bundle, Bundle) else read_bundle(bundle)
    if not isinstance(exposure, int | np.integer) or not 0 <= exposure < len(bundle.levels):
        raise BundleError(f"exposure must be a whole number in 0 ... {len(bundle.levels) - 1}, got {exposure}.")
    panel = _panel_shown(slm, panel_of(bundle.specification).gray_slope)
    gray = np.arange(2**slm.bitdepth) / 2**slm.bitdepth
    turns = gray / slm.phase_scaling if slm.gamma is None else np.asarray(slm.gamma)
    check_panel(bundle, panel, device=device, phase_of_gray=2 * np.pi * _sense(slm) * turns)
    modulator = bundle.specification.build().slm
    levels = panel.centred(bundle.levels[exposure], around=level_around(modulator))
    if slm.source.get("phase") is not None and "flatness" not in modulator.active:
        _refuse_correction(np.asarray(slm.source["phase"]), panel)
        return slm.set_phase(level_phases(modulator)[levels], phase_correct=True)
    return slm.set_phase(panel.gray(levels))


def export_images(
    bundle: Bundle | str | Path, folder: str | Path, *, panel: Panel | None = None, device: str | None = None
) -> list[Path]:
    """Write each mask of a bundle as a gray PNG for a vendor's software: ``mask_000.png``, ``mask_001.png``, ...

    Args:
        bundle: Bundle or its file.
        folder: Where to write; it is made.
        panel: The panel with its mounting, checked against the bundle; by default the bundle's own.
        device: Preset that the panel must be.

    Returns:
        The files.

    Raises:
        BundleError: The file is refused, or the bundle is not for this panel.
        ValueError: One of the images would take the place of the bundle.
    """
    source, bundle = bundle, bundle if isinstance(bundle, Bundle) else read_bundle(bundle)
    panel = panel_of(bundle.specification) if panel is None else panel
    check_panel(bundle, panel, device=device)
    around = level_around(bundle.specification.build().slm)
    paths = [Path(folder) / f"mask_{number:03d}.png" for number in range(len(bundle.levels))]
    for path in paths:
        refuse_overwriting(path, *([] if isinstance(source, Bundle) else [Path(source)]))
    for path, levels in zip(paths, bundle.levels, strict=True):
        write_image(path, panel, panel.centred(levels, around=around))
    return paths


def _panel_shown(slm: Any, gray_slope: int) -> Panel:  # noqa: ANN401
    """The panel that an SLM of slmsuite says it is; the phases of its gray values are checked by themselves."""
    x, y = (float(pitch) * 1e-6 for pitch in slm.pitch_um)
    try:
        panel = Panel(tuple(slm.shape), x, float(slm.wav_um) * 1e-6, slm.bitdepth, gray_slope, name=slm.name)
    except ValueError as error:
        raise BundleError(str(error)) from error
    if not abs(x - y) <= 1e-3 * x:
        raise BundleError(f"pitch of {slm.name} must be square, got {engineering(x, 'm')} x {engineering(y, 'm')}.")
    return panel


def _sense(slm: Any) -> int:  # noqa: ANN401
    """-1 where more gray is less delay, as on most panels; +1 on TI's, whose mirrors move the other way."""
    sense = getattr(slm, "_gamma_sign", None)  # slmsuite has no public name for it
    if sense not in (-1, 1):
        raise BundleError(
            f"{slm.name} must say whether more gray is less delay, got _gamma_sign {sense}. Use slmsuite 0.5 or newer."
        )
    return sense


def _refuse_correction(correction: NDArray, panel: Panel) -> None:
    """What slmsuite holds is added to the phase, NaN as well."""
    what = 'the correction slm.source["phase"]'
    try:
        check_shape(correction.shape, panel.shape, what, panel.name)
    except ValueError as error:
        raise BundleError(str(error)) from error
    if correction.dtype.kind not in "iuf" or not np.isfinite(correction).all():
        raise BundleError(
            f"{what} must be finite numbers, got NaN, inf or no numbers in it. Calibrate {panel.name} again."
        )


def _off(measured: NDArray, wanted: NDArray) -> NDArray:
    """By how much phases differ round the circle [rad], whatever piston they have."""
    ratio = np.exp(1j * (measured - wanted))
    return np.abs(np.angle(ratio * np.exp(-1j * np.angle(ratio.mean()))))


def _phases(bundle: Bundle, panel: Panel) -> NDArray:
    """Phase [rad] of each gray value that the masks were made for."""
    return panel.by_gray(level_phases(bundle.specification.build().slm))
