"""``[design]`` of a configuration: which masks are wanted, and how they are found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator
from torch import Tensor

from .config import BenchSpecification, errors_located
from .config_effects import Specification, quantity
from .design.planes import fourier_plane
from .design.targets import Target, image, kernels, make_target, point_spread_function, spot_array
from .fourf import FourF
from .images import read_image
from .number_files import read_array, read_kernels, refuse_oblong, refuse_zero

Count = Annotated[int, Field(ge=1)]
Weights = tuple[tuple[tuple[float, ...], ...], ...]


def _beside(path: Path, info: ValidationInfo) -> Path:
    """Where a path that a file states is: it starts at the folder of that file."""
    return (info.context or {}).get("folder", Path()) / path


Beside = Annotated[Path, AfterValidator(_beside)]

# What each kind of target needs and what else it takes; "weights" may come from a file instead.
NEEDED = {
    "spots": ("count", "spacing"),
    "image": ("file", "size"),
    "psf": ("file", "size"),
    "field": ("file",),
    "kernels": ("weights",),
    "tiles": ("weights",),
}
TAKEN = {
    "spots": {"centre", "free", "efficiency"},
    "image": {"centre", "free", "efficiency"},
    "psf": {"efficiency"},
    "field": {"centre", "free", "efficiency"},
    "kernels": {"file", "efficiency"},
    "tiles": {"file", "detection", "exposures", "padding", "picture", "rounds", "steps"},
}
FILE = ("design", "target", "file")
DESCENT = {"gradient": "adam", "lbfgs": "lbfgs"}


class TargetSpecification(Specification):
    """``[design.target]``: what the masks should make of light.

    Positions are bins of the SLM's Fourier transform: one bin is wavelength times ``f_2`` over the SLM's used width. A
    PSF has one value for each camera pixel. Tiles are kernels side by side in the PSF, off the zero order. A relative
    path starts at the folder of the TOML file.
    """

    kind: Literal["spots", "image", "psf", "field", "kernels", "tiles"]
    count: tuple[Count, Count] | None = None
    spacing: tuple[float, float] | None = None
    file: Beside | None = None
    size: tuple[Count, Count] | None = None
    weights: Weights | None = None
    centre: tuple[float, float] = (0.0, 0.0)
    free: bool = False
    efficiency: float | None = Field(None, gt=0, le=1)
    detection: Literal["differential", "intensity"] = "differential"
    exposures: Count | None = None
    padding: int = Field(0, ge=0)
    picture: Beside | None = None
    rounds: int = Field(4, ge=0)
    steps: int | None = Field(None, ge=0)

    @field_validator("weights")
    @classmethod
    def _kernels(cls, weights: Weights | None, info: ValidationInfo) -> Weights | None:
        sizes = list(dict.fromkeys((len(kernel), len(row)) for kernel in weights or () for row in kernel))
        if weights is not None and (len(sizes) != 1 or 0 in sizes[0] or len({len(kernel) for kernel in weights}) != 1):
            found = ", ".join(f"{rows} x {columns}" for rows, columns in sizes) or "none"
            raise ValueError(f"must be kernels of one size, with rows of one length, got {found}")
        if weights is not None:
            _usable(np.array(weights), info.data.get("kind"), "weights")
        return weights

    @model_validator(mode="after")
    def _complete(self) -> TargetSpecification:
        given = self.model_fields_set - {"kind"}
        for name in NEEDED[self.kind]:
            if name not in given and not (name == "weights" and "file" in given):
                raise ValueError(f'kind = "{self.kind}" needs {name}')
        if {"weights", "file"} <= given:
            raise ValueError("weights and file are both given: one of them holds the kernels")
        for name in sorted(given - TAKEN[self.kind] - set(NEEDED[self.kind])):
            reason = ": they stand on the axis, and what is beside is free" if name in ("centre", "free") else ""
            raise ValueError(f'{name} is not for kind = "{self.kind}"' + (reason if self.kind == "kernels" else ""))
        if self.kind == "spots" and self.efficiency is not None and not self.free:
            raise ValueError("efficiency is for free = true: spots with darkness around take all of the light")
        return self

    def build(self, bench: FourF, wavelength: float | None = None) -> Target:
        """The target for a bench, in light of a wavelength [m], that of the bench by default, which a PSF asks for."""
        with errors_located(self):
            return self._built(bench, wavelength)

    def _built(self, bench: FourF, wavelength: float | None) -> Target:
        shape, share = bench.slm.samples.shape, {} if self.efficiency is None else {"efficiency": self.efficiency}
        if self.kind == "spots":
            return spot_array(shape, self.count, self.spacing, centre=self.centre, free=self.free, **share)
        if self.kind == "kernels":
            return kernels(bench, self.wanted_kernels(), **share)
        if self.kind == "psf":
            picture = self._image()
            return point_spread_function(bench, picture, bench.camera.grid.pitch, wavelength=wavelength, **share)
        middle = tuple(round(c) for c in self.centre)
        if self.kind == "image":
            return image(shape, self._image(), centre=middle, free=self.free, **share)
        with errors_located(self, *FILE):
            field = torch.from_numpy(read_array(self.file, dimensions=(2, 3)))
        plane = fourier_plane(shape, window=tuple(field.shape[-2:]), centre=middle)
        return make_target(plane, field.to(torch.complex128), free=self.free, **share)

    def _image(self) -> Tensor:
        with errors_located(self, *FILE):
            return read_image(self.file, self.size)

    def wanted_kernels(self) -> Tensor:
        """The weights, shape ``(kernels, height, width)``, float64."""
        if self.weights is not None:
            return torch.tensor(self.weights, dtype=torch.float64)
        with errors_located(self, *FILE):
            kernels = read_kernels(self.file)
            _usable(kernels, self.kind, str(self.file))
        return torch.from_numpy(kernels)

    def shown_picture(self, shape: tuple[int, int]) -> Tensor | None:
        """What shows how tiles convolve, of ``shape``, where a file is named."""
        with errors_located(self, "design", "target", "picture"):
            return None if self.picture is None else read_image(self.picture, shape)


def _usable(kernels: NDArray[np.float64], kind: str | None, source: str) -> None:
    refuse_zero(kernels, source)
    if kind == "tiles":
        refuse_oblong(kernels, source)


class DesignSpecification(Specification):
    """``[design]``: how the masks are found. ``wavelengths`` that all see the same PSF need a gradient method."""

    target: TargetSpecification
    method: Literal["gs", "weighted_gs", "gradient", "lbfgs"] = "weighted_gs"
    iterations: Count = 200
    starts: Count = 1
    seed: int = Field(0, ge=0, lt=2**63)
    wavelengths: tuple[Annotated[float, quantity("m"), Field(gt=0, allow_inf_nan=False)], ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> DesignSpecification:
        if self.target.kind == "tiles" and (self.method != "weighted_gs" or self.starts != 1):
            raise ValueError('kind = "tiles" takes method = "weighted_gs" and starts = 1; descent follows by itself')
        if self.wavelengths and (self.target.kind != "psf" or self.method not in DESCENT):
            raise ValueError('wavelengths are for kind = "psf" with method = "gradient" or "lbfgs"')
        return self


class DesignedBench(Specification):
    """``[bench]`` and ``[design]`` together."""

    bench: BenchSpecification
    design: DesignSpecification
