"""Differentiable physical optics of a 4f system: from illumination to camera counts."""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

# Where each public name lives. Loaded on first use, so that `optics4f --help` and `devices` need not load torch.
_HOMES = {
    "Grid": "grid",
    "Field": "field",
    "propagate": "propagation",
    "Lens": "elements.lens",
    "SLM": "elements.slm",
    "AmplitudeSLM": "elements.slm",
    "Camera": "elements.camera",
    "Sensor": "elements.camera",
    "Illumination": "elements.source",
    "Pupil": "elements.aperture",
    "Misalignment": "misalignment",
    "PointSource": "light",
    "DiscSource": "light",
    "SelfLuminous": "light",
    "Spectrum": "light",
    "FourF": "fourf",
    "SamplingReport": "sampling",
    "SamplingError": "sampling",
    "AngularSpectrumRoute": "routes.angular_spectrum",
    "FourierLensRoute": "routes.fourier_lens",
    "PSFRoute": "routes.psf",
    "OpticalConv2d": "conv",
    "Bundle": "bundle",
    "read_bundle": "bundle",
    "write_bundle": "bundle",
    "verify_bundle": "bundle",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
