"""What a panel of liquid crystal does between its level and its phase: neighbours, flicker, unevenness, loss."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..grid import Grid
from ..zernike import noll_to_nm, zernike
from .base import Effect


class Crosstalk(Effect):
    r"""Fringing fields: the phase of a pixel leaks into its neighbours, and the edge of a wrap is smeared.

    The displayed (wrapped) phase on 3 x 3 cells a pixel is convolved with the 9 x 9 cells of

    .. math:: K = \left| F^{-1} \exp\left( -\frac{|k_x|^q + |k_y|^q}{\sigma^q} \right) \right|,

    of unit sum: q = 1.20, sigma = 2.03 cycles/pixel, the fit of Schroff et al. (2024), Opt. Express 32, 48957, with the
    frequencies of its discrete transform as in their hologradpy: -4.5/3 ... 3.5/3 cycles/pixel. The fit knows no
    frequency beyond 3/2 cycles/pixel, where the spectrum is still about 1/2, so that the kernel belongs to its cells:
    they stay 3 a pixel, and the light, constant over a cell, is averaged over whatever the samples of the field are.
    ``scale`` widens it, by a narrower spectrum: 0 is none, 1 as published.

    Args:
        scale: Width of the kernel over that of the fit.
        sigma: Width of its spectrum [cycles/pixel].
        order: Exponent ``q``.
        trainable: Whether ``scale`` receives gradients.
    """

    name = "crosstalk"
    CELLS = 3  # along each side of a pixel
    EXTENT = 3  # pixels

    def __init__(
        self,
        scale: float = 1.0,
        *,
        sigma: float = 2.03,
        order: float = 1.2,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= scale < math.inf:
            raise ValueError(f"scale must not be negative, got {scale:g}. 1 is the published kernel.")
        if not (0 < sigma < math.inf and 0 < order < math.inf):
            raise ValueError(f"sigma and order must be positive, got {sigma:g} and {order:g}.")
        self.sigma, self.order = sigma, order
        value = torch.tensor(float(scale), dtype=torch.float64)
        if trainable:
            self.scale = nn.Parameter(value)
        else:
            self.register_buffer("scale", value, persistent=False)

    def kernel(self, device: torch.device | None = None) -> Tensor:
        """The kernel along one axis, shape ``(9,)``, float64, sum 1; that of the plane is its product with itself.

        Args:
            device: Where to build it.
        """
        size = self.CELLS * self.EXTENT
        index = torch.arange(size, dtype=torch.float64, device=device)
        k = (index - size / 2) / self.EXTENT  # cycles/pixel
        x = (index - size // 2) / self.CELLS  # pixels
        spectrum = torch.exp(-((k.abs() * self.scale.to(k).abs() / self.sigma) ** self.order))
        # Each frequency has its negative; that of -3/2, without one, is real at the cells: the cosine is all there is.
        values = (spectrum * torch.cos(2 * math.pi * k * x[:, None])).sum(-1).abs()
        return values / values.sum()

    def smeared(self, phase: Tensor) -> Tensor:
        """Phase of the 3 x 3 cells of every pixel, convolved: ``(K, 3 H, 3 W)``.

        Args:
            phase: Displayed phase of the pixels [rad], shape ``(K, H, W)``; beyond the edge it goes on as at the edge.
        """
        weights = self._weights(phase)
        masks, height, width = phase.shape
        around = (weights.shape[1] // 2,) * 4
        padded = F.pad(phase[:, None], around, mode="replicate")
        rows = F.conv2d(
            padded, weights[:, None, :, None]
        )  # (K, cells, H, W + 4): pixels alone, no cell is computed twice
        rows = rows.transpose(1, 2).reshape(masks * self.CELLS * height, 1, -1)
        columns = F.conv1d(rows, weights[:, None])  # (K 3 H, cells, W)
        return columns.transpose(1, 2).reshape(masks, self.CELLS * height, self.CELLS * width)

    def _weights(self, like: Tensor) -> Tensor:
        """Weight of the pixels at -2 ... 2 in each of the three cells along an axis, ``(3, 5)``."""
        kernel = self.kernel(like.device).to(like)
        half = len(kernel) // 2
        cell = torch.arange(self.CELLS, device=like.device)[:, None]
        pixel = torch.div(cell + torch.arange(-half, half + 1, device=like.device), self.CELLS, rounding_mode="floor")
        weights = torch.zeros(self.CELLS, 5, dtype=like.dtype, device=like.device)
        return weights.scatter_add(1, pixel + 2, kernel.expand(self.CELLS, -1))

    def noise_share(self, shape: tuple[int, int], like: Tensor) -> Tensor:
        """Variance that each cell keeps of independent noise of unit variance in the pixels, ``(3 H, 3 W)``.

        A cell shows a mean over pixels, so it is at most 1.
        """
        y, x = (self._noise_share_along(n, like) for n in shape)
        return y[:, None] * x[None, :]

    def _noise_share_along(self, pixels: int, like: Tensor) -> Tensor:
        """Sum of the squared weights of the pixels in each cell of a row; all alike from the third pixel on."""
        n = min(pixels, 5)
        eye = torch.eye(n, dtype=like.dtype, device=like.device)[:, None]
        weights = F.conv1d(F.pad(eye, (2, 2), mode="replicate"), self._weights(like)[:, None])  # (pixels, cells, n)
        share = weights.square().sum(0).T
        if pixels > n:
            share = torch.cat((share[:2], share[2:3].expand(pixels - 4, -1), share[-2:]))
        return share.reshape(-1)

    @property
    def strength(self) -> str:
        return f"{self.scale.item():.3g} x published kernel (sigma={self.sigma:g} cycles/pixel, q={self.order:g})"


class Flicker(Effect):
    r"""Phase noise in time, averaged over the exposure: independent and Gaussian in each pixel.

    The mean field is lowered by :math:`e^{-s^2 / 2}`, so a pattern keeps :math:`e^{-s^2}` of its efficiency and the
    rest becomes a diffuse background. ``s`` is that at the design wavelength; at another the noise, a path, grows by
    the wavelength ratio as the phase does. Crosstalk averages the noise of neighbours and so takes some of it away.

    Args:
        deviation: rms ``s`` [rad].
        frames: States of the panel during one exposure whose intensities are averaged; 0 takes the mean field alone,
            in closed form and without its background.
        seed: Of the states: state ``n`` is the same each time.
    """

    name = "flicker"

    def __init__(self, deviation: float, *, frames: int = 0, seed: int = 0) -> None:
        super().__init__()
        if not 0 <= deviation < math.inf:
            raise ValueError(f"deviation must not be negative, got {deviation:g} rad.")
        if frames < 0:
            raise ValueError(f"frames must not be negative, got {frames}. 0 is the mean field.")
        if frames != int(frames):
            raise ValueError(f"frames must be a whole number, got {frames}.")
        self.deviation, self.frames, self.seed = float(deviation), int(frames), seed

    @property
    def background(self) -> float:
        """Share of the light that leaves the pattern, at the design wavelength and without crosstalk."""
        return 1 - math.exp(-(self.deviation**2))

    def mean_field(self, wavelength_ratio: float = 1.0, noise_share: Tensor | None = None) -> float | Tensor:
        """Factor on the field where frames are not drawn; 1 where they are.

        Args:
            wavelength_ratio: Design wavelength over that of the light.
            noise_share: Variance that crosstalk leaves of the noise, where there is some, shape ``(height, width)``.
        """
        if self.frames:
            return 1.0
        variance = (wavelength_ratio * self.deviation) ** 2
        return math.exp(-variance / 2) if noise_share is None else torch.exp(-variance / 2 * noise_share)

    def state(self, phase: Tensor, frame: int) -> Tensor:
        """The phase of every pixel in one state of the exposure [rad], shape of ``phase``."""
        if self.frames == 0:
            return phase
        generator = torch.Generator(phase.device).manual_seed(self.seed * 1_000_003 + frame)
        return phase + self.deviation * torch.randn(
            phase.shape, generator=generator, device=phase.device, dtype=phase.dtype
        )

    @property
    def strength(self) -> str:
        how = "mean field" if self.frames == 0 else f"{self.frames} frames"
        return f"{self.deviation:.3g} rad rms, {how}"


class AmplitudeCoupling(Effect):
    r"""Amplitude that falls with phase: :math:`a = 1 - d \phi / 2 \pi`, for a panel of which no table was measured.

    A model with one number; where the amplitude of each level is known, use :class:`~optics4f.effects.LUT`.

    Args:
        depth: ``d``, the amplitude lost at 2 pi, in [0, 1].
    """

    name = "amplitude_coupling"

    def __init__(self, depth: float) -> None:
        super().__init__()
        if not 0 <= depth <= 1:
            raise ValueError(f"depth must be in [0, 1], got {depth:g}.")
        self.depth = float(depth)

    def amplitude(self, phase: Tensor) -> Tensor:
        """Amplitude at a phase [rad] of any shape."""
        return 1 - self.depth / (2 * math.pi) * torch.remainder(phase, 2 * math.pi)

    @property
    def strength(self) -> str:
        return f"amplitude {1 - self.depth:.3g} at 2 pi"


class _Map(Effect):
    """A smooth map over the used area: given as such, or by Noll coefficients over the circle around it."""

    def __init__(self, values: Tensor | Sequence | Mapping[int, float], *, trainable: bool = False) -> None:
        super().__init__()
        self.terms: tuple[tuple[int, tuple[int, int]], ...] = ()
        if isinstance(values, Mapping):
            self.terms = tuple((j, noll_to_nm(j)) for j in values)
            values = list(values.values())
        tensor = torch.as_tensor(values, dtype=torch.float64).detach().clone()
        if not tensor.numel():
            raise ValueError(f"{self.name} must have a map or at least one Noll term, got none. Leave the effect out.")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{self.name} must be finite, got NaN or inf in it.")
        if trainable:
            self.values = nn.Parameter(tensor)
        else:
            self.register_buffer("values", tensor, persistent=False)

    def map(self, grid: Grid, like: Tensor) -> Tensor:
        """Its values on the pixels of a panel, of the type of ``like``."""
        if not self.terms:
            if self.values.shape != grid.shape:
                raise ValueError(
                    f"{self.name} must have the shape {grid.shape} of the mask, got {tuple(self.values.shape)}."
                )
            return self.values.to(like)
        y, x = grid.coordinates(like.device)
        radius = math.hypot(*grid.extent) / 2
        terms = zip(self.values, self.terms, strict=True)
        total = sum(value * zernike(n, m, y / radius, x / radius) for value, (_, (n, m)) in terms)
        return total.expand(grid.shape).to(like)

    @property
    def strength(self) -> str:
        values = self.values.detach()
        if self.terms:
            return ", ".join(f"Z{j}={v:.3g}" for (j, _), v in zip(self.terms, values.tolist(), strict=True))
        return f"{values.std().item():.3g} rms"


class Flatness(_Map):
    """Curvature of the panel: a phase [rad] at the design wavelength that is added to every pattern.

    Args:
        values: Map of the shape of the mask [rad], or Noll index -> coefficient [rad rms over the circle around it].
        trainable: Whether it receives gradients, as when a twin is fitted.
    """

    name = "flatness"

    @property
    def strength(self) -> str:
        return f"{super().strength} rad"


class NonUniformity(_Map):
    """Phase per level that differs over the panel: each pixel shows ``1 + map`` times its phase.

    Args:
        values: Map of the shape of the mask, or Noll index -> coefficient; relative, 0 is even.
        trainable: Whether it receives gradients.
    """

    name = "non_uniformity"
