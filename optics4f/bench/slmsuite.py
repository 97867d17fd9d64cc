"""slmsuite's simulated SLM, camera and Fourier bench, set up as a mask bundle or a configuration says.

slmsuite (>= 0.5) is not part of the installation: ``pip install '.[bench]'`` in the checkout.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..bundle import Bundle, level_around, read_bundle
from ..config import BenchSpecification
from ..devices import camera_device, require
from ..vendors import Panel
from .far_field import CARRIED, camera_counts, far_field, panel_field, panel_of, used_area


@dataclass(frozen=True)
class SlmsuiteBench:
    """slmsuite's objects for one bench, and what our simulation says they must show.

    Attributes:
        slm: ``SimulatedSLM``: pitch, wavelength, bits, phase of each gray value, flatness, light on the used area.
        camera: ``SimulatedCamera`` behind lens 2, of the panel's shape: its pixel is one order, wavelength times focal
            length over the panel's width or height; the axis lies at index ``n // 2``.
        fourier: ``FourierSLM`` of the two, its calibration set.
        panel: The panel, for gray values and vendors' files.
        specification: The bench.
        not_carried: Effects of the configured SLM that slmsuite has no word for: its far field lacks them.
        around: Level beside the used area.
    """

    slm: Any
    camera: Any
    fourier: Any
    panel: Panel
    specification: BenchSpecification
    not_carried: tuple[str, ...]
    around: int

    def display(self, levels: Tensor) -> NDArray:
        """Gray values of the panel for the levels of one mask, shape of the used area."""
        return self.panel.gray(self.panel.centred(levels, around=self.around))

    def predicted(self, levels: Tensor) -> Tensor:
        """Counts that the camera must show for one mask, at the gain and exposure that it has now, int64."""
        intensity = far_field(panel_field(self.specification, levels[None]))[0]
        exposure = float(self.camera.get_exposure())
        counts = camera_counts(intensity, gain=self.camera.gain * exposure, bit_depth=self.camera.bitdepth)
        return torch.from_numpy(np.ascontiguousarray(self.camera.transform(counts.numpy())))

    def expose(self, levels: Tensor, *, share: float = 0.9) -> float:
        """Set the gain so that the brightest pixel of one mask reaches ``share`` of saturation; gain 1 saturates.

        Returns:
            The gain.
        """
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1, got {share:g}.")
        peak = far_field(panel_field(self.specification, levels[None])).max().item()
        self.camera.gain = share * (2**self.camera.bitdepth - 1) / (peak * float(self.camera.get_exposure()))
        return self.camera.gain


def to_slmsuite(
    source: Bundle | BenchSpecification | str | Path,
    *,
    camera_flip_lr: bool = False,
    camera_flip_ud: bool = False,
    camera_quarter_turns: int = 0,
) -> SlmsuiteBench:
    """Ready objects of slmsuite for a bench.

    A panel whose bundle accounts for its flatness gets ``phase_correct = False``: slmsuite would add the correction to
    every float phase a second time.

    Args:
        source: A bundle, its file, or a configured bench.
        camera_flip_lr: Whether the camera of the bench stands mirrored left-right.
        camera_flip_ud: Whether it stands upside down.
        camera_quarter_turns: Turns of its picture by 90 degrees, as in ``numpy.rot90``.

    Raises:
        ValueError: A device that is no phase panel; a number that no preset gives; a bundle that is refused.
        ImportError: slmsuite is not installed.
    """
    if isinstance(source, str | Path):
        source = read_bundle(source)
    specification = source.specification if isinstance(source, Bundle) else source
    panel, modulator = panel_of(specification), specification.build(dtype=torch.complex128).slm
    if "phase" not in modulator.kinds:
        raise ValueError(f"the SLM must be a phase panel for slmsuite's simulation, got {panel.name}.")
    camera_bits, focal_length = specification.camera.bit_depth, specification.lens2.focal_length
    if camera_bits is None:
        camera_bits = int(require(camera_device(specification.camera.device), "bit_depth", table="bench.camera"))
    with _quiet():
        slm = _module("hardware.slms.simulated").SimulatedSLM(
            panel.shape[::-1],
            pitch_um=(panel.pitch * 1e6, panel.pitch * 1e6),
            bitdepth=panel.bit_depth,
            name=panel.name,
            wav_um=panel.wavelength * 1e6,
        )
        slm.source["amplitude_sim"] = np.zeros(panel.shape, dtype=np.float32)
        inside = used_area(panel, specification.slm.shape)
        slm.source["amplitude_sim"][inside] = 1
        _set_phases(slm, panel, modulator)
        if (flatness := _effect(modulator, "flatness")) is not None:
            error = np.zeros(panel.shape)
            error[inside] = flatness.map(modulator.grid, modulator.values).detach().numpy()
            slm.source["phase_sim"], slm.source["phase"] = error.astype(np.float32), -error.astype(np.float32)
            slm.phase_correct = False
        camera = _module("hardware.cameras.simulated").SimulatedCamera(
            slm,
            bitdepth=camera_bits,
            pitch_um=[specification.wavelength * focal_length / (n * panel.pitch) * 1e6 for n in panel.shape[::-1]],
            name=camera_device(specification.camera.device).name,
        )
        camera.set_exposure(1.0)
        fourier = _module("hardware.cameraslms").FourierSLM(camera, slm)
        # A camera whose M is None is moved to the calibration and then resampled; one pixel an order needs none of it.
        height, width = panel.shape
        camera.M, camera.b = np.diag([width * slm.pitch[0], height * slm.pitch[1]]), np.array([width // 2, height // 2])
        fourier.fourier_calibrate_analytic(camera.M, camera.b)
        # Turned last: the calibration is kept for the sensor as it is, and follows.
        camera.transform = _module("holography.analysis").get_orientation_transformation(
            camera_quarter_turns % 4, camera_flip_lr, camera_flip_ud
        )
    lost = [name for name in modulator.active if name not in CARRIED]
    lut = _effect(modulator, "lut")
    if lut is not None and (lut.amplitude != 1).any():
        lost.append("lut.amplitude")
    return SlmsuiteBench(slm, camera, fourier, panel, specification, tuple(lost), level_around(modulator))


def _set_phases(slm: Any, panel: Panel, modulator: torch.nn.Module) -> None:  # noqa: ANN401
    """Tell slmsuite what each gray value shows, and what its driver believes, where that is not its own rule."""
    believed = actual = torch.arange(2**panel.bit_depth, dtype=torch.float64) * (2 * torch.pi / 2**panel.bit_depth)
    if (lut := _effect(modulator, "lut")) is not None:
        actual = lut.phase
        believed = actual if lut.calibrated else believed
    elif (limited := _effect(modulator, "phase_range")) is not None:
        believed = actual = limited.table(panel.bit_depth)
    elif panel.gray_slope < 0:
        return
    # Its sense is phase = -2 pi gamma, unwrapped over the gray values.
    gammas = [-np.unwrap(panel.by_gray(table.double().numpy())) / (2 * np.pi) for table in (believed, actual)]
    slm.set_gamma(gammas[0])
    slm.gamma_sim = gammas[1]


def _effect(modulator: torch.nn.Module, name: str) -> torch.nn.Module | None:
    return modulator.effects[name] if name in modulator.active else None


def _module(name: str) -> ModuleType:
    try:
        return import_module(f"slmsuite.{name}")
    except ImportError as error:
        raise ImportError(
            "slmsuite must be installed, got none. Run in the checkout: pip install '.[bench]'"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without slmsuite's word that cupy is missing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="cupy is not installed")
        yield
