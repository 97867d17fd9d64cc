"""What a mask bundle states of its bench. All of it follows from the configuration: it is written, and compared."""

from __future__ import annotations

from ..config import BenchSpecification
from ..devices import slm_device
from ..elements import SLM
from ..fourf import FourF
from .contents import calibrations, used_origin

PHASE = {"units": "rad", "sign": "exp(+i phase)", "increasing": "delay", "wrapped": "[0, 2 pi)"}
"""Attributes of every ``phase``."""


def header_of_bench(specification: BenchSpecification, bench: FourF) -> dict[str, object]:
    """Root attributes: numbers, text and lists."""
    device = slm_device(specification.slm.device)
    panel = list(device.shape.value) if device.shape is not None else list(specification.slm.shape)
    return {
        "device": device.name,
        "device_slug": device.slug,
        "wavelength_m": specification.wavelength,
        "design_wavelength_m": specification.wavelength,
        "medium": "air",
        "pixel_pitch_m": [bench.slm.grid.pitch] * 2,
        "shape": panel,
        "active_origin_px": used_origin(panel, specification.slm.shape),
        "active_shape_px": list(specification.slm.shape),
        "fill_factor": bench.slm.fill_factor,
        "axis_order": "row,column",
        "origin": "upper-left",
        "flip_ud": False,
        "flip_lr": False,
        "rotation_deg": 0.0,
        "fft_convention": "forward exp(-2 pi i x f), DC at (H//2, W//2)",
        "parity": "the 4f turns the image by 180 degrees",
        **calibrations(bench.slm),
        "exposures": specification.slm.masks,
    }


def display_statements(specification: BenchSpecification, slm: SLM) -> dict[str, object]:
    """Attributes of every ``display``: slmsuite's convention for slope -1, where phase 0 is the brightest gray."""
    at_zero = 2**slm.bit_depth - 1 if specification.slm.gray_slope < 0 else 0
    return {
        "units": "gray level",
        "bit_depth": slm.bit_depth,
        "gray_slope": specification.slm.gray_slope,
        "gray_at_zero_phase": at_zero,
        "gray_at_2pi": at_zero,  # the circle closes: 2 pi is level 0 again
        "rounding": "nearest",
    }


def group_statements(specification: BenchSpecification, bench: FourF) -> dict[str, dict[str, object]]:
    """Attributes of the groups beside the masks."""
    light = bench.illumination
    partly = "incoherent" if light.self_luminous else "partially coherent"
    return {
        "encoding": {"kind": "phase_only"},
        "optics": {
            "f1_m": bench.lens1.focal_length,
            "f2_m": bench.lens2.focal_length,
            "magnification": bench.magnification,
            "fourier_stop_m": list(bench.slm.grid.extent),
            "coherence": "coherent" if light.coherent else partly,
        },
        "expected": {
            "exposure": specification.camera.exposure,
            "camera_pitch_m": bench.camera.grid.pitch,
            "camera_binning": bench.camera.binning,
        },
    }
