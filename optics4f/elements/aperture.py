"""The pupil: a stop and aberrations in the Fourier plane."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..modulation import phase_modulation
from ..units import engineering, to_si
from ..zernike import Index, noll_to_nm, osa_to_nm, zernike

if TYPE_CHECKING:
    from ..units import Quantity

SUBSAMPLES = 8  # points per sample and axis by which the covered area at the rim is counted


class Pupil(nn.Module):
    r"""A circular opening with Zernike aberrations.

    In a 4f both lenses' aberrations act, for a small object, as those of the pupil; a coherent 4f passes
    :math:`\nu \le R / (\lambda f_1)`.

    Args:
        diameter: Of the opening [m].
        aberrations: Zernike coefficients [rad rms over the opening] at ``wavelength`` by index; as optical path they
            scale with 1/wavelength.
        index: Numbering, ``"noll"`` or ``"osa"``.
        trainable: Whether the coefficients receive gradients.
    """

    def __init__(
        self,
        diameter: Quantity,
        *,
        aberrations: Mapping[int, float] | None = None,
        index: Index = "noll",
        trainable: bool = False,
    ) -> None:
        super().__init__()
        self.diameter = to_si(diameter, "m", "diameter")
        if not 0 < self.diameter < math.inf:
            raise ValueError(f"diameter must be positive, got {self.diameter:g} m.")
        aberrations = dict(aberrations or {})
        to_nm = {"noll": noll_to_nm, "osa": osa_to_nm}.get(index)
        if to_nm is None:
            raise ValueError(f"index must be one of noll, osa, got {index!r}.")
        self.index = index
        self.terms = tuple((j, to_nm(j)) for j in aberrations)
        values = torch.tensor(list(aberrations.values()), dtype=torch.float64)
        if not torch.isfinite(values).all():
            raise ValueError(f"aberrations must be finite, got {aberrations}.")
        self.aberrations = nn.Parameter(values, requires_grad=trainable)

    def transmission(self, y: Tensor, x: Tensor, pitch: float, wavelength_ratio: float = 1.0) -> Tensor:
        """Complex factor at positions ``y``, ``x`` [m] that broadcast, grey where the rim crosses a sample.

        Args:
            y: Positions along y.
            x: Positions along x.
            pitch: Width of the samples [m].
            wavelength_ratio: Wavelength that the aberrations are for over that of the light.

        Returns:
            complex128, broadcast shape.
        """
        # Distance to the rim in samples, counted over a fine lattice in the few samples that the rim may cross.
        offsets = ((torch.arange(SUBSAMPLES, dtype=torch.float64, device=y.device) + 0.5) / SUBSAMPLES - 0.5) * pitch
        with torch.no_grad():
            covered = torch.zeros(torch.broadcast_shapes(y.shape, x.shape), dtype=torch.float64, device=y.device)
            for dy in offsets:
                for dx in offsets:
                    covered += ((y + dy) ** 2 + (x + dx) ** 2 <= (self.diameter / 2) ** 2).double()
            covered /= SUBSAMPLES**2
        if not self.terms:
            return covered.to(torch.complex128)
        return covered * phase_modulation(self.phase(y, x) * wavelength_ratio)

    def phase(self, y: Tensor, x: Tensor) -> Tensor:
        """Phase of the aberrations [rad] at positions [m] whose shapes broadcast; of no meaning beyond the rim."""
        radius = self.diameter / 2
        # Beyond the rim the polynomials grow without bound; nothing passes there, so any bounded position serves.
        y, x = (y / radius).clamp(-1.5, 1.5), (x / radius).clamp(-1.5, 1.5)
        return sum(c * zernike(n, m, y, x) for c, (_, (n, m)) in zip(self.aberrations, self.terms, strict=True))

    def extra_repr(self) -> str:
        terms = ", ".join(
            f"Z{j}={value:.3g} rad" for value, (j, _) in zip(self.aberrations.tolist(), self.terms, strict=True)
        )
        return f"diameter={engineering(self.diameter, 'm')}" + (f", {self.index}: {terms}" if terms else "")
