"""What a mask bundle holds, and what its masks do: phases of levels, calibrations, and the frames of a camera."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import BenchSpecification, bench_from
from ..elements import SLM
from ..fourf import FourF
from .checksums import array_sha256


class BundleError(ValueError):
    """A bundle that must not be used; the message says what differs."""


def first_line(error: Exception) -> str:
    """What an error says, in one line; its kind where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@dataclass(frozen=True)
class Bundle:
    """A mask bundle in memory.

    Attributes:
        levels: Levels of the used area, shape ``(masks, height, width)``; level k is phase ``2 pi k / 2**bits``.
        config: TOML that made it, with at least ``[bench]``.
        images: Test images in [0, 1], shape ``(N, height, width)``, float32.
        frames: Camera frames predicted for them [DN], noise on, shape ``(N, masks, h, w)``, int64.
        frames_noise_free: The same without noise.
        noise_seed: Seed of the noise in ``frames``.
        attributes: Root attributes of the file; empty before it is written.
    """

    levels: Tensor
    config: str
    images: Tensor
    frames: Tensor
    frames_noise_free: Tensor
    noise_seed: int
    attributes: dict = field(default_factory=dict)

    @property
    def specification(self) -> BenchSpecification:
        """The bench that the masks are for."""
        return bench_from(tomllib.loads(self.config), source="the bundle's configuration")


def predict_frames(
    specification: BenchSpecification, levels: Tensor, images: Tensor, noise_seed: int
) -> tuple[Tensor, Tensor]:
    """Camera frames that a bench with these levels on its SLM delivers: from the levels alone.

    Args:
        specification: The bench.
        levels: Integer levels, shape ``(masks, height, width)``.
        images: Images in [0, 1], shape ``(N, height, width)``.
        noise_seed: Seed of the camera noise.

    Returns:
        Frames [DN] with noise and without, int64, shape ``(N, masks, h, w)``.
    """
    bench = specification.build()
    bench.slm.load_levels(levels)
    return frames_of(bench, specification, images, noise_seed)


@torch.no_grad()
def frames_of(
    bench: FourF, specification: BenchSpecification, images: Tensor, noise_seed: int
) -> tuple[Tensor, Tensor]:
    """As :func:`predict_frames`, for a bench in memory and the masks that are on it; ``(N, masks, h, w)`` both."""
    light = specification.build_route(bench)(images[:, None])
    noisy = bench.camera.counts(light, torch.Generator(images.device).manual_seed(noise_seed))
    return noisy.long(), bench.camera.counts(light).long()


def level_phases(slm: SLM) -> NDArray:
    """Phase of each level by which levels are chosen [rad], in [0, 2 pi), float64, ``(2**b,)``: nominal or a LUT's."""
    lut, limited = (slm.effects[name] if name in slm.active else None for name in ("lut", "phase_range"))
    if lut is not None and lut.calibrated:
        return np.mod(lut.phase.numpy(), 2 * np.pi)
    if limited is not None and lut is None:
        return np.mod(limited.table(slm.bit_depth).numpy(), 2 * np.pi)
    return np.arange(2**slm.bit_depth) * (2 * np.pi / 2**slm.bit_depth)


def level_around(slm: SLM) -> int:
    """The level of phase 0, or the nearest, which the panel shows around the used area."""
    return int(np.abs(np.angle(np.exp(1j * level_phases(slm)))).argmin())


def used_origin(panel: Sequence[int], used: Sequence[int]) -> list[int]:
    """Upper left pixel of the used area, which lies in the middle."""
    return [(n - m) // 2 for n, m in zip(panel, used, strict=True)]


def calibrations(slm: SLM) -> dict[str, object]:
    """What the masks account for already, so that nobody applies it twice."""
    lut = slm.effects["lut"] if "lut" in slm.active else None
    name = next((n for n in ("lut", "phase_range") if n in slm.active), "none")
    applied = name != "none" and (lut is None or lut.calibrated)
    flat = "flatness" in slm.active
    return {
        "lut_applied": applied,
        "lut_name": name if applied else "none",
        "lut_sha256": array_sha256(level_phases(slm)) if applied else "none",
        "flatness_correction_included": flat,
        "flatness_sha256": array_sha256(
            slm.effects["flatness"].map(slm.grid, torch.zeros((), dtype=torch.float64)).detach().numpy()
        )
        if flat
        else "none",
    }
