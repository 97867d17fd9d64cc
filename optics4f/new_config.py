"""A commented TOML file to start from, for devices that the presets know."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np
from numpy.typing import NDArray

from .devices import CameraDevice, Device, SLMDevice, camera_device, slm_device
from .number_files import read_kernels, refuse_oblong
from .units import engineering, to_si

FOCAL_LENGTHS = (0.125, 0.1, 0.075, 0.06, 0.05, 0.03, 0.02)  # m, of catalogue lenses
GREEN = 532e-9  # m
WINDOW = GREEN * 0.125 / 9.2e-6  # m, width of the SLM's window at the camera that the templates are laid out for
SLM_NUMBERS = ("bit_depth", "fill_factor")
CAMERA_NUMBERS = ("full_well", "read_noise", "bit_depth")
OPEN = "# To be filled in, for no source of the presets states it: "
PLM_NUMBER = "phase_of_last_level"
PLM_BLANK = f"""
[bench.slm.effects.lut]
# {PLM_NUMBER} = "... deg"    # no source gives it, nor how it depends on the wavelength: state yours
"""


@dataclass(frozen=True)
class Layout:
    """The numbers of a template that change with the devices.

    Attributes:
        slm: Pixels that are used.
        camera: Pixels after binning.
        camera_pitch: The largest that a binned pixel may be, in the window of the template [m].
        object_pitch: Of the object, in binned camera pixels.
    """

    slm: tuple[int, int]
    camera: tuple[int, int]
    camera_pitch: float
    object_pitch: float


LAYOUTS = {
    "bench": Layout((512, 512), (160, 200), 6.95e-6, 2),
    "spots": Layout((512, 512), (160, 160), 6.95e-6, 4 / 3),
    "kernels": Layout((192, 192), (96, 96), 13.85e-6, 2 / 3),
    "tiles": Layout((384, 512), (120, 160), 27.65e-6, 1 / 3),
}
PURPOSES = tuple(LAYOUTS)
TAKES_KERNELS, TAKES_PICTURE = ("kernels", "tiles"), ("tiles",)
SOBEL = np.array([[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]])


def new_configuration(
    slm: str,
    purpose: str = "bench",
    *,
    camera: str = "basler-aca2440-75um",
    kernels: Path | None = None,
    picture: Path | None = None,
    pitch: str | None = None,
    out: Path | None = None,
) -> str:
    """The text of a configuration that runs as it is, or that names the numbers which a preset does not know.

    Args:
        slm: Preset of the SLM.
        purpose: ``"bench"`` to simulate; ``"spots"``, ``"kernels"``, ``"tiles"`` to design.
        camera: Preset of the camera.
        kernels: File of the kernels to design (:func:`optics4f.number_files.read_kernels`), which are written out; two
            Sobel kernels without.
        picture: File that shows how ``"tiles"`` convolve.
        pitch: Of the SLM's pixels, a text with a unit, in place of the preset's.
        out: File that the text is for: a relative ``picture`` is stated from its folder on; without, from the root on.

    Returns:
        TOML with comments. Both lenses have 125 mm, or less where the image would not fit on the sensor; pitch of the
        object and binning of the camera scale with ``wavelength * focal_length / pitch`` of the SLM, so that the
        sampling is about the same with all devices.

    Raises:
        ValueError: An unknown preset or purpose, a device whose masks ``optics4f design`` cannot write, a pitch that
            nobody states, kernels or a picture that the purpose does not take, or that are none.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"purpose must be one of {', '.join(PURPOSES)}, got {purpose!r}.")
    for name, given, takers in (("kernels", kernels, TAKES_KERNELS), ("picture", picture, TAKES_PICTURE)):
        if given is not None and purpose not in takers:
            raise ValueError(f"{name} must be left out for {purpose}, got {given}. Ask for {' or '.join(takers)}.")
    if picture is not None:
        if not picture.is_file():
            raise ValueError(f"{picture} must be a picture, got no such file.")
        from .images import check_image  # Pillow is not waited for without a picture

        check_image(picture)
    weights = SOBEL if kernels is None else read_kernels(kernels)
    if purpose == "tiles":
        refuse_oblong(weights, str(kernels))
    panel, sensor = slm_device(slm), camera_device(camera)
    if purpose != "bench" and panel.kind != "phase":
        raise ValueError(
            f"{purpose} must be designed for a phase SLM, got {slm} of kind {panel.kind}. Ask for a bench."
        )
    layout, wavelength = LAYOUTS[purpose], _wavelength(panel)
    width = _pitch(panel, "State it with --pitch.") if pitch is None else _positive(pitch)
    sensor_pitch = _pitch(sensor, "Choose another with --camera.")
    for focal_length in FOCAL_LENGTHS:  # the longest for which the sensor is large enough
        scale = wavelength * focal_length / width / WINDOW
        binning = max(1, int(layout.camera_pitch * scale / sensor_pitch))
        if _fits(layout.camera, binning, sensor):
            break
    shape = layout.slm
    if panel.shape is not None:
        shape = tuple(min(n, int(m)) for n, m in zip(shape, panel.shape.value, strict=True))
    missing = {"slm": _unknown(panel, SLM_NUMBERS), "camera": _unknown(sensor, CAMERA_NUMBERS)}
    named = [f"bench.{table}.{name}" for table, names in missing.items() for name in names]
    named += [f"bench.slm.effects.lut.{PLM_NUMBER}"] if panel.kind == "plm" else []
    dark = sensor.dark_current
    text = Template((resources.files(__package__) / "templates" / f"{purpose}.toml").read_text(encoding="utf-8"))
    filled = text.substitute(
        slm=slm,
        camera=camera,
        missing=f"{OPEN}{', '.join(named)}.\n" if named else "",
        wavelength=_length(wavelength),
        focal_length=_length(focal_length),
        object_pitch=_length(layout.object_pitch * binning * sensor_pitch),
        slm_shape=list(shape),
        panel="" if panel.shape is None else " of {:.0f} x {:.0f}".format(*panel.shape.value),
        slm_blanks=("" if pitch is None else f"pitch = {_length(width)}\n") + _blanks(missing["slm"]),
        slm_effects=PLM_BLANK if panel.kind == "plm" else "",
        camera_blanks=_blanks(missing["camera"]),
        masks=len(weights),
        weights="".join(f"    {_nested(kernel)},\n" for kernel in weights),
        padding=weights.shape[1] // 2,
        picture="" if picture is None else f"picture = {json.dumps(_stated(picture, out), ensure_ascii=False)}\n",
        binning=binning,
        dark="" if dark is None else f"; the preset states {dark.value:g} {dark.unit}",
    )
    return re.sub(r"\n{3,}", "\n\n", filled).rstrip("\n") + "\n"


def to_be_filled_in(text: str) -> list[str]:
    """Names of the numbers that a text of :func:`new_configuration` leaves open."""
    found = re.search(rf"^{re.escape(OPEN)}(.*)\.$", text, flags=re.MULTILINE)
    return found[1].split(", ") if found else []


def to_be_stated(device: SLMDevice | CameraDevice) -> list[str]:
    """What a bench needs and the preset of its SLM or camera does not know."""
    names = SLM_NUMBERS if isinstance(device, SLMDevice) else CAMERA_NUMBERS
    return [*_unknown(device, ("pitch", *names)), *([PLM_NUMBER] if getattr(device, "kind", "") == "plm" else [])]


def _nested(kernel: NDArray) -> str:
    """Rows of a kernel in TOML, whole numbers without a point."""
    rows = (", ".join(str(int(w)) if w == int(w) else repr(float(w)) for w in row) for row in kernel)
    return "[" + ", ".join(f"[{row}]" for row in rows) + "]"


def _length(metres: float) -> str:
    return f'"{engineering(metres, "m", 6)}"'


def _wavelength(panel: SLMDevice) -> float:
    """Green where the device takes it, else the middle of its range [m]."""
    if panel.wavelength_range is None:
        return GREEN
    low, high = panel.wavelength_range.value
    return GREEN if low <= GREEN <= high else (low + high) / 2


def _pitch(device: SLMDevice | CameraDevice, advice: str) -> float:
    if device.pitch is None:
        raise ValueError(
            f"the pitch of {device.slug} must be known to lay out a bench, but no source gives it. {advice}"
        )
    return device.pitch.value


def _positive(pitch: str) -> float:
    width = to_si(pitch, "m", name="pitch")
    if not 0 < width < float("inf"):
        raise ValueError(f"pitch must be a length above 0, got {pitch!r}.")
    return width


def _fits(shape: tuple[int, int], binning: int, sensor: CameraDevice) -> bool:
    return sensor.shape is None or all(n * binning <= m for n, m in zip(shape, sensor.shape.value, strict=True))


def _unknown(device: Device, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if getattr(device, name) is None]


def _blanks(names: list[str]) -> str:
    """A line to fill in for each number that has to be stated."""
    return "".join(f"# {name} =                          # unknown for this preset: state yours\n" for name in names)


def _stated(picture: Path, out: Path | None) -> str:
    """The path of a picture as it reads in the file ``out``."""
    if out is None or picture.is_absolute():
        return str(picture.absolute())
    try:
        return os.path.relpath(picture.resolve(), out.parent.resolve())
    except ValueError:  # another drive of Windows
        return str(picture.resolve())
