"""What a page shows of a bundle's bench: hardware, masks, PSFs, light from plane to plane, camera frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..bench import summary
from ..bundle import Bundle
from ..compare import Comparison
from ..config import ROUTES, BenchSpecification
from ..fourf import FourF
from ..sampling import SamplingError
from ..units import engineering
from .layout import Report
from .markup import micro
from .pictures import Picture, grey_picture, intensity_picture, phase_picture, signed_picture
from .planes import Walk, spread, walk

MASKS, WALKED_MASKS, WAVELENGTHS, IMAGES = 16, 8, 3, 8  # shown at most
PIXELS = {"masks": 0.4e6, "psfs": 0.5e6, "planes": 1.8e6, "frames": 0.6e6}  # a byte each, at most


@dataclass(frozen=True)
class Subject:
    """What a page is about: a bundle, its bench with the masks on it, and what was measured of it."""

    bundle: Bundle
    specification: BenchSpecification
    bench: FourF
    comparison: Comparison | None = None

    @classmethod
    def of(cls, bundle: Bundle, comparison: Comparison | None = None) -> Subject:
        """The bench that a bundle describes, its levels on the SLM."""
        specification = bundle.specification
        bench = specification.build()
        bench.slm.load_levels(bundle.levels)
        return cls(bundle, specification, bench, comparison)

    @property
    def wavelengths(self) -> list[float]:
        """Those that are shown [m]: all lines of the light, or first, middle and last."""
        lines = sorted(set(self.bench.illumination.spectrum.wavelengths))
        if len(lines) <= WAVELENGTHS:
            return lines
        return [lines[round(k * (len(lines) - 1) / (WAVELENGTHS - 1))] for k in range(WAVELENGTHS)]


@torch.no_grad()
def bench_sections(page: Report, subject: Subject, *, image: int = 0) -> None:
    """Bench, masks, PSFs, light from plane to plane, camera frames.

    Args:
        page: Where to.
        subject: The bundle and its bench.
        image: Which of the bundle's images is followed through the planes.
    """
    _bench(page, subject)
    _masks(page, subject)
    _psfs(page, subject)
    _planes(page, subject, image)
    _frames(page, subject)


def _bench(page: Report, subject: Subject) -> None:
    page.section(
        "The bench", "The simulated hardware. Checksums of the bundle hold; optics4f verify proves its frames."
    )
    page.keyvalues(dict(summary(subject.bundle)))
    route = subject.specification.route
    try:
        checks = ROUTES[route].sampling(subject.bench).checks
    except SamplingError as error:
        page.paragraph(f"The {route} route refuses this bench: {error}")
    else:
        overridden = subject.specification.override
        rows = [
            {
                "plane": check.plane,
                "condition": check.quantity,
                "value": check.value_text,
                "at most": check.limit_text,
                "verdict": "overridden" if check.quantity in overridden and not check.valid else check.verdict,
            }
            for check in checks
        ]
        with page.details(f"Sampling conditions of the {route} route"):
            page.table(rows, caption="Sampling conditions")
    with page.details("Every effect with its strength"):
        page.code(micro(str(subject.bench)))


def _masks(page: Report, subject: Subject) -> None:
    slm = subject.bench.slm
    phase = slm.pixel_modulation().angle()
    shown = min(len(phase), MASKS)
    page.section("Masks", f"Phase of {_of(shown, len(phase), 'mask')} on the SLM's own pixels, levels as exported.")
    side = _side("masks", shown)
    pictures = [phase_picture(phase[k], slm.grid, f"Mask {k}", side=side) for k in range(shown)]
    page.pictures(pictures, large=shown == 1, wheel=True)


def _psfs(page: Report, subject: Subject) -> None:
    bench = subject.bench
    shown, wavelengths = min(bench.slm.masks, MASKS), subject.wavelengths
    page.section(
        "Point spread functions",
        "What the camera sees of one white object pixel: intensity over four decades, on one scale for all masks.",
    )
    side = _side("psfs", shown * len(wavelengths))
    with page.tabs("Wavelength", group="wavelength"):
        for wavelength in wavelengths:
            with page.tab(engineering(wavelength, "m")):
                try:
                    found = spread(bench, wavelength, override=subject.specification.override)
                except SamplingError as error:
                    page.paragraph(f"No route computes them: {error}")
                    continue
                light, peak = found.intensity[:shown], found.intensity.max().item()
                pictures = [
                    intensity_picture(light[k], found.grid, f"PSF of mask {k}", peak=peak, side=side)
                    for k in range(shown)
                ]
                page.pictures(pictures, large=shown == 1)
                shares = (
                    ""
                    if found.inside is None
                    else (
                        " Share of the light behind each mask inside this window: "
                        + ", ".join(f"{100 * share:.1f} %" for share in found.inside[:shown])
                        + "."
                    )
                )
                page.paragraph(f"Of {found.method}.{shares}")


def _planes(page: Report, subject: Subject, image: int) -> None:
    bench, bundle = subject.bench, subject.bundle
    override, masks = subject.specification.override, min(bench.slm.masks, WALKED_MASKS)
    picture = bundle.images[image].to(bench.slm.values.dtype)
    walks = {w: walk(bench, picture, w, masks=masks, override=override) for w in subject.wavelengths}
    first = next(iter(walks.values()))
    page.section(
        "Light through the bench",
        f"Image {image} from plane to plane, intensity over four decades of each plane and phase where there is light; "
        f"a plane is shown as far as its light reaches; 1 is a white pixel of the object. "
        f"Behind the SLM for {_of(masks, bench.slm.masks, 'mask')}.",
    )
    if bench.illumination.self_luminous:
        page.paragraph(
            "This object radiates by itself, each sample apart, so that no field stands for it. Shown is the same "
            "object in coherent light, one plane wave along the axis; the camera frames are those of the bench."
        )
    elif not bench.illumination.coherent:
        page.paragraph(
            "The light of this bench has several modes. Shown is one plane wave for each wavelength, along the axis; "
            "the camera sums the intensities of all."
        )
    count = sum(field.data.shape[1] for found in walks.values() for field in found.planes.values())
    side = _side("planes", 2 * max(count, 1))
    with page.tabs("Wavelength", group="wavelength"):
        for wavelength, found in walks.items():
            with page.tab(engineering(wavelength, "m")):
                _walk(page, found, side)
    if first.planes:
        page.paragraph(f"Computed by {first.method}.")
    if first.left_out:
        page.paragraph(f"Not possible here: {first.left_out}")


def _walk(page: Report, found: Walk, side: int) -> None:
    with page.tabs("Plane", group="plane"):
        for name, field in found.planes.items():
            with page.tab(name):
                light = field.intensity[0]
                pairs = [
                    [
                        intensity_picture(light[k], field.grid, f"Intensity, {name}{of}", side=side),
                        phase_picture(
                            field.data[0, k].angle(), field.grid, f"Phase, {name}{of}", intensity=light[k], side=side
                        ),
                    ]
                    for k, of in enumerate([""] if len(light) == 1 else [f", mask {k}" for k in range(len(light))])
                ]
                _by_mask(page, pairs)


def _frames(page: Report, subject: Subject) -> None:
    bench, bundle, found = subject.bench, subject.bundle, subject.comparison
    images, predicted = (bundle.images, bundle.frames) if found is None else (found.images, found.registered)
    shown, masks = min(len(images), IMAGES), min(predicted.shape[1], MASKS)
    page.section("Camera frames", f"What the camera delivers for {_of(shown, len(images), 'image')}.")
    if found is None:
        page.paragraph("Predicted, with shot and read noise of the sensor. No measured frames were given.")
    else:
        _registration(page, found)
    side = _side("frames", shown * (1 + masks * (1 if found is None else 3)))
    with page.tabs("Image", group="image"):
        for n in range(shown):
            with page.tab(f"image {n}"):
                pictures = [_object(bench, images[n], f"Object, image {n}", side)]
                if found is None:
                    pictures += _predicted(bench, predicted[n, :masks], side)
                page.pictures(pictures, large=len(pictures) == 2)
                if found is not None:
                    _by_mask(page, [_against(bench, found, n, k, side) for k in range(masks)])


def _object(bench: FourF, image: Tensor, title: str, side: int) -> Picture:
    light = bench.illumination
    spread_out = image.repeat_interleave(light.block, -2).repeat_interleave(light.block, -1)
    return grey_picture(spread_out, light.grid, title, peak=1.0, what="image value", side=side)


def _predicted(bench: FourF, frames: Tensor, side: int) -> list[Picture]:
    peak, grid = max(frames.max().item(), 1), bench.camera.grid
    return [
        grey_picture(frame, grid, f"Predicted, mask {k}", peak=peak, what="signal [DN]", side=side)
        for k, frame in enumerate(frames)
    ]


def _against(bench: FourF, found: Comparison, image: int, mask: int, side: int) -> list[Picture]:
    """Predicted, measured, and what is between them in standard deviations of the noise."""
    grid, row = bench.camera.grid, found.rows[image * found.measured.shape[1] + mask]
    pair = {"Predicted and registered": found.registered, "Measured": found.measured}
    peak = max(frames[image, mask].max().item() for frames in pair.values())
    likeness = row["correlation"]
    note = {"Measured": "" if likeness is None else f"correlation with the prediction {likeness:.4f}"}
    pictures = [
        grey_picture(
            *(frames[image, mask].clamp(min=0), grid, f"{name}, mask {mask}"),
            **{"peak": max(peak, 1), "what": "signal [DN]", "note": note.get(name, ""), "side": side},
        )
        for name, frames in pair.items()
    ]
    what = "measured less predicted [standard deviations of the noise]"
    left = signed_picture(
        found.residuals[image, mask], grid, f"Difference, mask {mask}", limit=5.0, what=what, side=side
    )
    return [*pictures, left]


def _registration(page: Report, found: Comparison) -> None:
    where = found.registration
    for doubt in found.warnings:
        page.paragraph(f"Warning: {doubt}")
    page.paragraph(
        "Measured, beside the predictions without noise, laid over them with one shift, brightness and offset for all."
    )
    page.keyvalues(
        {
            "mean correlation as predicted": f"{found.mean('correlation_before') or 0:.4f}",
            "mean correlation, registered": f"{found.mean('correlation') or 0:.4f}",
            "shift down, to the right [pixels]": ", ".join(f"{round(s, 2) + 0.0:.2f}" for s in where.shift),
            "brightness, offset": f"{where.gain:.4g} times, {where.offset:.4g} DN",
        }
    )


def _by_mask(page: Report, pictures: list[list[Picture]]) -> None:
    """One tab a mask, where there is more than one."""
    if len(pictures) == 1:
        page.pictures(pictures[0], large=True)
        return
    with page.tabs("Mask", group="mask"):
        for k, shown in enumerate(pictures):
            with page.tab(f"mask {k}"):
                page.pictures(shown, large=True)


def _of(shown: int, all_of_them: int, what: str) -> str:
    """``the mask``, ``the 4 masks``, ``the first 16 of 40 masks``."""
    if all_of_them == 1:
        return f"the {what}"
    return f"the {all_of_them} {what}s" if shown == all_of_them else f"the first {shown} of {all_of_them} {what}s"


def _side(part: str, pictures: int) -> int:
    """Pixels on a side, so that all pictures of a part stay within its share of the page."""
    return int(min(max(math.sqrt(PIXELS[part] / pictures), 48), 240))
