"""The sampling conditions of a whole bench: what each plane must hold, and how finely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..band import band_limit
from ..elements import Pupil
from ..fourf import FourF
from ..grid import Grid
from ..light import DiscSource
from ..sampling import (
    Check,
    aberration_check,
    band_check,
    camera_check,
    diffraction_check,
    envelope_check,
    intensity_check,
    lens_check,
    order_check,
    replica_check,
    source_check,
    stop_check,
    window_check,
)
from .geometry import Geometry, Pair


@dataclass(frozen=True)
class Reach:
    """Widths ``(y, x)`` [m] that light takes on each plane of the bench as it stands, displacements included.

    Attributes:
        source: The object.
        slm: The SLM's used area, about the axis.
        camera: The camera, about the axis.
        spectrum: Of the object's spectrum, what the SLM sees: wider under slanted light and beside the Fourier plane.
        seen_source: The object as the SLM's samples must resolve it: wider where the SLM is turned by shears.
        seen_camera: The camera as the SLM's samples must reach it: wider beside the focus and behind a tilted SLM.
        at_lens1: Rays from the object to the SLM where they meet lens 1.
        at_lens2: Rays from the SLM to the camera where they meet lens 2.
        aperture: Widest part of the SLM that light passes [m]; wider where the image is turned by shears.
        wavelength: Shortest wavelength [m]: the strictest.
    """

    source: tuple[float, float]
    slm: tuple[float, float]
    camera: tuple[float, float]
    spectrum: tuple[float, float]
    seen_source: tuple[float, float]
    seen_camera: tuple[float, float]
    at_lens1: tuple[float, float]
    at_lens2: tuple[float, float]
    aperture: float
    wavelength: float

    @classmethod
    def of(cls, bench: FourF) -> Reach:
        """Read from a bench."""
        place, light = Geometry.of(bench), bench.illumination
        f1, f2 = bench.lens1.focal_length, bench.lens2.focal_length
        slm = _displaced(bench.slm.samples, place.slm_shift, place.slm_rotation)
        camera = _displaced(bench.camera.grid, place.camera_shift, place.camera_rotation)
        slm_axial, camera_axial = abs(place.slm_axial.item()), abs(place.camera_axial.item())
        slant = [f1 * max(abs(mode.frequency[axis]) * mode.wavelength for mode in light.modes()) for axis in (0, 1)]
        tilt = [2 * f2 * abs(math.sin(angle.item())) for angle in place.slm_tilt]  # reflection doubles the angle
        stop = math.inf if bench.pupil is None else bench.pupil.diameter
        source = light.grid.extent
        # A point of the object is a plane wave at the SLM wherever it stands; but the SLM beside the focal plane reads
        # the object's spectrum with a curvature, and the camera beside the focus that of the SLM.
        spectrum = tuple(min(s, stop) + 2 * d + slm_axial * o / f1 for s, d, o in zip(slm, slant, source, strict=True))
        curved = tuple(camera_axial * s / f2 for s in slm)
        opening = [min(n, stop) for n in bench.slm.samples.extent]
        turn = place.camera_rotation - place.slm_rotation
        return cls(
            source=source,
            slm=slm,
            camera=camera,
            spectrum=spectrum,
            seen_source=_sheared(source, place.slm_rotation),
            seen_camera=tuple(c + 2 * t + d for c, t, d in zip(camera, tilt, curved, strict=True)),
            at_lens1=tuple(o + s + slm_axial * o / f1 for o, s in zip(source, slm, strict=True)),
            at_lens2=tuple(c + s + d for c, s, d in zip(camera, slm, curved, strict=True)),
            # Intensity needs twice the samples of the field, which leaves a turned field that room.
            aperture=max(*opening, max(_sheared(opening, turn)) / 2),
            wavelength=min(light.spectrum.wavelengths),
        )


def _sheared(band: Sequence[float], rotation: Tensor) -> tuple[float, float]:
    """Widest band ``(y, x)`` that a field of this one has between the three shears of a turn."""
    shear, sine = abs(math.tan(rotation.item() / 2)), abs(math.sin(rotation.item()))
    along_y = band[0] + shear * band[1]
    return along_y, band[1] + sine * along_y


def _displaced(grid: Grid, shift: Pair, rotation: Tensor) -> tuple[float, float]:
    """Width of the box about the axis that holds a displaced plane."""
    (height, width), cosine, sine = grid.extent, abs(math.cos(rotation.item())), abs(math.sin(rotation.item()))
    box = (height * cosine + width * sine, width * cosine + height * sine)
    return tuple(b + 2 * abs(s.item()) for b, s in zip(box, shift, strict=True))


def plane_checks(bench: FourF) -> tuple[Check, ...]:
    """Conditions of object, SLM and camera, which hold whatever the route."""
    reach = Reach.of(bench)
    scale1, scale2 = (reach.wavelength * lens.focal_length for lens in (bench.lens1, bench.lens2))
    slm, image, light = bench.slm, bench.image, bench.illumination
    spectrum, samples = max(reach.spectrum), light.grid.pitch
    psf_window = max(c - bench.magnification * s for c, s in zip(reach.seen_camera, reach.source, strict=True))
    return (
        replica_check("object", "the object", max(reach.seen_source), slm.samples.pitch, scale1, "the SLM's samples"),
        replica_check("SLM", "the SLM's used area", spectrum, samples, scale1, "the object's samples"),
        envelope_check("object", spectrum, light.pixels.pitch, light.samples_per_pixel, scale1),
        order_check(psf_window, slm.grid.pitch, scale2),
        envelope_check("SLM", psf_window, slm.grid.pitch, slm.samples_per_pixel, scale2),
        replica_check(
            "camera", "the camera's window", max(reach.seen_camera), slm.samples.pitch, scale2, "the SLM's samples"
        ),
        intensity_check(image.pitch, reach.aperture, scale2),
        camera_check(bench.camera.grid.pitch, reach.aperture, scale2),
        *_source_checks(bench, reach),
        *_aberration_checks("the pupil", bench.pupil, slm.samples, reach.wavelength / bench.wavelength),
    )


def _source_checks(bench: FourF, reach: Reach) -> tuple[Check, ...]:
    source = bench.illumination.source
    if not isinstance(source, DiscSource) or source.angular_radius == 0:
        return ()
    return (source_check(max(reach.source), math.sin(source.angular_radius), source.points, reach.wavelength),)


@torch.no_grad()
def _aberration_checks(name: str, pupil: Pupil | None, samples: Grid, ratio: float) -> tuple[Check, ...]:
    if pupil is None or not pupil.terms:
        return ()
    y, x = samples.coordinates(pupil.aberrations.device)
    phase, inside = pupil.phase(y, x) / ratio, y**2 + x**2 <= (pupil.diameter / 2) ** 2
    step = 0.0
    for dim in (0, 1):
        n = phase.shape[dim] - 1
        both = inside.narrow(dim, 0, n) & inside.narrow(dim, 1, n)
        steps = torch.where(both, phase.diff(dim=dim).abs(), 0.0)
        step = max(step, steps.max().item() if steps.numel() else 0.0)
    return (aberration_check(name, step),)


def lens_checks(bench: FourF) -> tuple[Check, ...]:
    """Lenses must pass the light between object, SLM and camera where a route collapses them to a transform."""
    reach = Reach.of(bench)
    longest = max(bench.illumination.spectrum.wavelengths)
    return tuple(
        stop_check(name, math.hypot(*rays), longest * lens.focal_length, lens.pupil.diameter)
        for name, lens, rays in (("lens 1", bench.lens1, reach.at_lens1), ("lens 2", bench.lens2, reach.at_lens2))
        if lens.pupil is not None
    )


def propagation_checks(bench: FourF, window: Grid) -> tuple[Check, ...]:
    """Conditions of a window of propagation: both lenses, the width that rays need there, the band of every gap.

    A ray from the object at ``x_0`` to the SLM at ``x_f`` meets lens 1 at ``x_0 + x_f`` under the angle ``x_f / f_1``
    and leaves it under ``-x_0 / f_1``; behind the SLM, the same with the camera's ``x_1`` and ``f_2``.

    Args:
        bench: The 4f system.
        window: Samples of every plane, without padding.
    """
    reach = Reach.of(bench)
    checks = []
    longest = max(bench.illumination.spectrum.wavelengths)
    for n, lens, plane, rays in (
        (1, bench.lens1, reach.source, reach.at_lens1),
        (2, bench.lens2, reach.camera, reach.at_lens2),
    ):
        f, name = lens.focal_length, f"lens {n}"
        checks.append(lens_check(name, window, reach.wavelength, f))
        ratio = reach.wavelength / bench.wavelength
        checks += _aberration_checks(name, lens.pupil, window, ratio)
        # The axis with less room is the one to report.
        wide, room = max(zip(rays, window.extent, strict=True), key=lambda pair: pair[0] / pair[1])
        checks.append(window_check(name, wide, room, window.pitch))
        checks.append(diffraction_check(name, wide, room, longest * f, window.pitch))
        gaps = ((2 * n - 1, reach.slm), (2 * n, plane)) if n == 1 else ((2 * n - 1, plane), (2 * n, reach.slm))
        for gap, ends in gaps:
            needed, kept = max(
                (
                    (end / (2 * reach.wavelength * f), min(band_limit(2 * w, reach.wavelength, f), 0.5 / window.pitch))
                    for end, w in zip(ends, window.extent, strict=True)
                ),
                key=lambda pair: pair[0] / pair[1],
            )
            checks.append(band_check(gap, needed, kept, reach.wavelength, f))
    return tuple(checks)
