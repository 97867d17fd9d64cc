"""Free-space propagation of a sampled field by optics4f and by other libraries, each through one small adapter.

Every adapter takes the same samples over the same window, pads them to twice the window, keeps the pitch, and returns
the field in the window. What a library does otherwise (its frequencies, its precision) is what is being compared.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Literal

import numpy as np
import torch

from optics4f.field import Field
from optics4f.grid import Grid
from optics4f.propagation import propagate

Propagate = Callable[[np.ndarray, float, float, float], np.ndarray]


@dataclass(frozen=True)
class Propagator:
    """One way to propagate a field.

    Attributes:
        library: Its name on PyPI.
        precision: Of the field that it is given.
        equation: What its transfer function solves: ``"Helmholtz"`` exactly, or its ``"paraxial"`` approximation.
        call: What is called, in words.
        propagate: ``(data, wavelength, pitch, distance)`` to the field there, shape of ``data``.
    """

    library: str
    precision: Literal["complex64", "complex128"]
    equation: Literal["Helmholtz", "paraxial"]
    call: str
    propagate: Propagate

    @property
    def version(self) -> str | None:
        """Installed version, or ``None``."""
        try:
            return version(self.library)
        except PackageNotFoundError:
            return None


def _optics4f(method: Literal["angular_spectrum"] | None) -> Propagate:
    def run(data: np.ndarray, wavelength: float, pitch: float, distance: float) -> np.ndarray:
        field = Field(torch.from_numpy(data), Grid(data.shape, pitch), wavelength)
        return propagate(field, distance, method=method).data.numpy()

    return run


def _torchoptics(data: np.ndarray, wavelength: float, pitch: float, distance: float) -> np.ndarray:
    import torchoptics

    default = torchoptics.get_default_dtype()
    # It makes spacing, wavelength and distance of this type, so they decide the precision of the kernel.
    torchoptics.set_default_dtype(torch.float32 if data.dtype == np.complex64 else torch.float64)
    try:
        field = torchoptics.Field(torch.from_numpy(data), wavelength, z=0, spacing=pitch)
        padding = tuple(n // 2 for n in data.shape)  # on each side
        return field.propagate_to_z(distance, propagation_method="ASM", asm_pad=padding).data.numpy()
    finally:
        torchoptics.set_default_dtype(default)


def _odak(data: np.ndarray, wavelength: float, pitch: float, distance: float) -> np.ndarray:
    # Its first import opens odak.log in the current folder.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, chdir(folder):
        from odak.learn.wave import propagate_beam, wavenumber

    return propagate_beam(
        torch.from_numpy(data),
        wavenumber(wavelength),
        distance,
        pitch,
        wavelength,
        propagation_type="Bandlimited Angular Spectrum",
        zero_padding=[True, False, True],
    ).numpy()


def _waveprop(data: np.ndarray, wavelength: float, pitch: float, distance: float) -> np.ndarray:
    with _torchvision_or_nothing():
        rs = importlib.import_module("waveprop.rs")
    return rs.angular_spectrum(data, wavelength, pitch, distance)[0]


@contextmanager
def _torchvision_or_nothing() -> Iterator[None]:
    """Let an import of torchvision pass where it cannot be loaded.

    waveprop takes from it the cropping and resizing of tensors, which a numpy array does not need; and the build on
    PyPI does not load beside a CPU-only torch.
    """
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        names = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
        empty = {name: ModuleType(name) for name in names}
        empty[names[-1]].crop = empty[names[-1]].resize = None
        sys.modules.update(empty)
        try:
            yield
        finally:
            for name in names:
                del sys.modules[name]
    else:
        yield


def _diffractsim(data: np.ndarray, wavelength: float, pitch: float, distance: float) -> np.ndarray:
    from diffractsim import MonochromaticField

    padded, window = _padded(data)
    rows, columns = padded.shape
    field = MonochromaticField(wavelength, columns * pitch, rows * pitch, columns, rows)
    field.E = padded
    field.propagate(distance)
    return np.asarray(field.E)[window]


def _prysm(data: np.ndarray, wavelength: float, pitch: float, distance: float) -> np.ndarray:
    from prysm.conf import config
    from prysm.propagation import angular_spectrum

    padded, window = _padded(data)
    before = 8 * np.dtype(config.precision).itemsize
    config.precision = 32 if data.dtype == np.complex64 else 64
    try:  # wavelength in um, lengths in mm
        return angular_spectrum(padded, 1e6 * wavelength, 1e3 * pitch, 1e3 * distance, Q=1)[window]
    finally:
        config.precision = before


def _lightpipes(data: np.ndarray, wavelength: float, pitch: float, distance: float) -> np.ndarray:
    from LightPipes import Begin, Forvard

    padded, window = _padded(data)
    field = Begin(len(padded) * pitch, wavelength, len(padded))
    field.field = padded
    return Forvard(field, distance).field[window]


def _lightridge(data: np.ndarray, wavelength: float, pitch: float, distance: float) -> np.ndarray:
    from lightridge.layers import DiffractLayer_Raw

    n = len(data)
    layer = DiffractLayer_Raw(wavelength, pitch, n, pad=n // 2, distance=distance, approx="Fresnel", phase_mod=False)
    return layer(torch.from_numpy(data)[None])[0].detach().numpy()


def _padded(data: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
    """``data`` in twice the window, centre on centre, and where it lies."""
    margins = [n // 2 for n in data.shape]
    window = tuple(slice(m, m + n) for m, n in zip(margins, data.shape, strict=True))
    return np.pad(data, [(m, n - m) for m, n in zip(margins, data.shape, strict=True)]), window


PROPAGATORS = (
    Propagator("optics4f", "complex64", "Helmholtz", "propagate(field, distance)", _optics4f(None)),
    Propagator("optics4f", "complex128", "Helmholtz", "propagate(field, distance)", _optics4f(None)),
    *(
        Propagator(
            "optics4f",
            precision,
            "Helmholtz",
            'propagate(field, distance, method="angular_spectrum")',
            _optics4f("angular_spectrum"),
        )
        for precision in ("complex64", "complex128")
    ),
    Propagator(
        "torchoptics", "complex128", "Helmholtz", "propagate_to_z, ASM, in its default double precision", _torchoptics
    ),
    Propagator(
        "torchoptics",
        "complex64",
        "Helmholtz",
        "propagate_to_z, ASM, after set_default_dtype(torch.float32)",
        _torchoptics,
    ),
    Propagator("odak", "complex64", "Helmholtz", "learn.wave.propagate_beam, Bandlimited Angular Spectrum", _odak),
    Propagator("odak", "complex128", "Helmholtz", "learn.wave.propagate_beam, Bandlimited Angular Spectrum", _odak),
    Propagator("waveprop", "complex64", "Helmholtz", "rs.angular_spectrum on a numpy array", _waveprop),
    Propagator("waveprop", "complex128", "Helmholtz", "rs.angular_spectrum on a numpy array", _waveprop),
    Propagator("diffractsim", "complex128", "Helmholtz", "MonochromaticField.propagate, padded by hand", _diffractsim),
    Propagator("prysm", "complex64", "paraxial", "propagation.angular_spectrum with config.precision = 32", _prysm),
    Propagator("prysm", "complex128", "paraxial", "propagation.angular_spectrum", _prysm),
    Propagator("LightPipes", "complex128", "paraxial", "Forvard, padded by hand", _lightpipes),
    Propagator("lightridge", "complex64", "paraxial", "layers.DiffractLayer_Raw, Fresnel", _lightridge),
    Propagator("lightridge", "complex128", "paraxial", "layers.DiffractLayer_Raw, Fresnel", _lightridge),
)
