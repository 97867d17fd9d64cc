"""From the samples of an SLM to the places where light is wanted: linear maps, separable in y and x.

A plane has *nodes*, the crossings of its rows and columns: bins of a Fourier transform, pixels of a window, spots, or
the taps of a kernel. Only the nodes are computed, which for spots is far less than a whole transform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourf import FourF
from ..fourier import fourier_matrix


@dataclass(frozen=True, eq=False)
class MatrixAxis:
    """One axis by a matrix: any positions on either side.

    Attributes:
        matrix: complex128, shape ``(nodes, samples)``.
    """

    matrix: Tensor

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return self.matrix.shape[0]

    @property
    def samples(self) -> int:
        """Number of SLM samples."""
        return self.matrix.shape[1]

    @property
    def gain(self) -> float:
        """Square of the largest singular value."""
        return torch.linalg.matrix_norm(self.matrix, 2).item() ** 2

    @property
    def counts_spots(self) -> bool:
        """Whether a node is the light of one diffraction-limited spot, not of a pixel of some area."""
        return bool((torch.linalg.vector_norm(self.matrix, dim=1) - 1).abs().max() < 1e-6)

    def to(self, dtype: torch.dtype, device: torch.device) -> MatrixAxis:
        """The axis for data of this complex type and place."""
        return MatrixAxis(self.matrix.to(device, dtype))

    def forward(self, data: Tensor) -> Tensor:
        """``(..., samples)`` to ``(..., nodes)``."""
        return data @ self.matrix.mT

    def adjoint(self, data: Tensor) -> Tensor:
        """``(..., nodes)`` to ``(..., samples)``."""
        return data @ self.matrix.conj()

    def forward_rows(self, data: Tensor) -> Tensor:
        """``(..., samples, width)`` to ``(..., nodes, width)``."""
        return self.matrix @ data

    def adjoint_rows(self, data: Tensor) -> Tensor:
        """``(..., nodes, width)`` to ``(..., samples, width)``."""
        return self.matrix.mH @ data


@dataclass(frozen=True, eq=False)
class FourierAxis:
    """One axis by a unitary FFT of which some bins are kept.

    Attributes:
        samples: Number of SLM samples; index ``samples // 2`` is the axis.
        bins: Frequencies that are kept, in cycles over the SLM, int64, shape ``(nodes,)``, no two alike.
        centring: ``exp(2 pi i bin (samples // 2) / samples)``: the FFT takes index 0 for the axis.
    """

    samples: int
    bins: Tensor
    centring: Tensor

    @classmethod
    def window(cls, samples: int, first: int, count: int) -> FourierAxis:
        """``count`` neighbouring bins from ``first`` on, which is negative below the zero order."""
        bins = torch.arange(first, first + count)
        turns = (
            (bins * (samples // 2)) % samples
        ).double() / samples  # whole numbers: no rounding before the exponential
        return cls(samples, bins, torch.polar(torch.ones(1, dtype=torch.float64), 2 * math.pi * turns))

    @property
    def nodes(self) -> int:
        """Number of nodes."""
        return len(self.bins)

    @property
    def gain(self) -> float:
        """Square of the largest singular value, that of a unitary transform."""
        return 1.0

    counts_spots = True

    def to(self, dtype: torch.dtype, device: torch.device) -> FourierAxis:
        """The axis for data of this complex type and place."""
        return FourierAxis(self.samples, self.bins.to(device), self.centring.to(device, dtype))

    def forward(self, data: Tensor) -> Tensor:
        """``(..., samples)`` to ``(..., nodes)``."""
        spectrum = torch.fft.fft(data, norm="ortho")
        return spectrum.index_select(-1, self.bins % self.samples) * self.centring

    def adjoint(self, data: Tensor) -> Tensor:
        """``(..., nodes)`` to ``(..., samples)``."""
        spectrum = data.new_zeros(*data.shape[:-1], self.samples)
        spectrum = spectrum.index_copy(-1, self.bins % self.samples, data * self.centring.conj())
        return torch.fft.ifft(spectrum, norm="ortho")

    def forward_rows(self, data: Tensor) -> Tensor:
        """``(..., samples, width)`` to ``(..., nodes, width)``."""
        spectrum = torch.fft.fft(data, dim=-2, norm="ortho")
        return spectrum.index_select(-2, self.bins % self.samples) * self.centring[:, None]

    def adjoint_rows(self, data: Tensor) -> Tensor:
        """``(..., nodes, width)`` to ``(..., samples, width)``."""
        spectrum = data.new_zeros(*data.shape[:-2], self.samples, data.shape[-1])
        spectrum = spectrum.index_copy(-2, self.bins % self.samples, data * self.centring.conj()[:, None])
        return torch.fft.ifft(spectrum, dim=-2, norm="ortho")


@dataclass(frozen=True, eq=False)
class Plane:
    """Nodes where light is wanted, and the map to them from the SLM.

    The map is scaled so that ``|node|**2`` over the sum of ``|sample|**2`` is a share of the light: exactly the share
    that lands in the bin, pixel or diffraction-limited spot.

    Attributes:
        rows: The y axis.
        columns: The x axis.
    """

    rows: MatrixAxis | FourierAxis
    columns: MatrixAxis | FourierAxis

    @property
    def shape(self) -> tuple[int, int]:
        """Nodes ``(height, width)``."""
        return self.rows.nodes, self.columns.nodes

    @property
    def samples(self) -> tuple[int, int]:
        """SLM samples ``(height, width)``."""
        return self.rows.samples, self.columns.samples

    @property
    def gain(self) -> float:
        """Square of the map's largest singular value: 1 where no light is counted at two nodes."""
        return self.rows.gain * self.columns.gain

    @property
    def overlap(self) -> float:
        """How often light may be counted where nodes are spots (rows of norm 1) that stand too close; else 1."""
        return max(1.0, self.gain) if self.rows.counts_spots and self.columns.counts_spots else 1.0

    def to(self, dtype: torch.dtype, device: torch.device) -> Plane:
        """The plane for data of this complex type and place."""
        return Plane(self.rows.to(dtype, device), self.columns.to(dtype, device))

    def forward(self, field: Tensor) -> Tensor:
        """Field at the nodes, ``(..., *shape)``, of the field behind the SLM, ``(..., *samples)``; differentiable."""
        if tuple(field.shape[-2:]) != self.samples:
            raise ValueError(
                f"field must have the plane's {self.samples} SLM samples, got {tuple(field.shape[-2:])}. Make the "
                "plane for slm.samples.shape."
            )
        plane = self.to(field.dtype, field.device)
        return plane.rows.forward_rows(plane.columns.forward(field))

    def adjoint(self, nodes: Tensor) -> Tensor:
        """Field at the SLM, ``(..., *samples)``, that a field at the nodes, ``(..., *shape)``, came from."""
        plane = self.to(nodes.dtype, nodes.device)
        return plane.columns.adjoint(plane.rows.adjoint_rows(nodes))


def fourier_plane(
    shape: tuple[int, int], *, window: tuple[int, int] | None = None, centre: tuple[int, int] = (0, 0)
) -> Plane:
    """Bins of the unitary FFT of the SLM's samples.

    Args:
        shape: SLM samples ``(height, width)``; index ``n // 2`` is the axis.
        window: Bins ``(height, width)`` that are kept; all by default. Fewer bins take less time.
        centre: Bin ``(y, x)`` in the middle (index ``n // 2``) of the window, counted from the zero order; positive
            is where a phase that grows with y or x sends the light.
    """
    window = shape if window is None else window
    for name, n, count in zip(("height", "width"), shape, window, strict=True):
        if not 1 <= count <= n:
            raise ValueError(f"window must have a {name} of 1 ... {n} bins, got {count}. The SLM has {n} samples.")
    rows, columns = (
        FourierAxis.window(n, middle - count // 2, count)
        for n, count, middle in zip(shape, window, centre, strict=True)
    )
    return Plane(rows, columns)


def lattice_plane(shape: tuple[int, int], y: Sequence[float] | Tensor, x: Sequence[float] | Tensor) -> Plane:
    """Spots at the crossings of rows and columns that need not be bins of an FFT.

    Args:
        shape: SLM samples ``(height, width)``; index ``n // 2`` is the axis.
        y: Places of the rows [cycles over the SLM's height, as bins of its FFT], finite.
        x: Places of the columns [cycles over the SLM's width].
    """
    axes = []
    for name, n, places in zip("yx", shape, (y, x), strict=True):
        places = torch.as_tensor(places, dtype=torch.float64)
        if places.dim() != 1 or len(places) == 0 or not torch.isfinite(places).all():
            raise ValueError(f"{name} must be a list of finite places, got {places.tolist()}.")
        if places.abs().max() > n / 2:
            raise ValueError(
                f"{name} must lie within +-{n / 2:g} cycles over the SLM's {n} samples, got "
                f"{places.abs().max().item():g}. Beyond it lie the other diffraction orders."
            )
        samples = torch.arange(n, dtype=torch.float64) - n // 2
        axes.append(MatrixAxis(fourier_matrix(places, samples, n) / math.sqrt(n)))
    return Plane(*axes)


def camera_plane(bench: FourF, shape: tuple[int, int], pitch: float, *, wavelength: float | None = None) -> Plane:
    r"""A window of the camera plane of a bench, centred on its axis.

    .. math:: U(x) = \frac{p \, \Delta}{\lambda f_2} \sum_{x_f} M(x_f) \, e^{-2 \pi i \, x_f \cdot x / (\lambda f_2)}

    It is the field of a point of the object on the axis, of equal strength over the SLM, and :math:`|U|^2` the share
    of the light in a pixel of pitch :math:`\Delta`.

    Args:
        bench: The 4f system, its SLM in the Fourier plane.
        shape: Nodes ``(height, width)``; index ``n // 2`` lies on the axis.
        pitch: Their spacing at the camera [m].
        wavelength: Of the light [m]; that of the bench by default.

    Raises:
        ValueError: The window reaches beyond the zero-order replica of the SLM's samples.
    """
    scale = (bench.wavelength if wavelength is None else wavelength) * bench.lens2.focal_length
    replica = scale / bench.slm.samples.pitch
    if not pitch > 0 or max(shape) * pitch > replica * (1 + 1e-9):
        raise ValueError(
            f"pitch must be positive and the window at most {replica * 1e3:.4g} mm, got {max(shape)} nodes of "
            f"{pitch * 1e6:.4g} um. Beyond it lie the other diffraction orders of the SLM's samples."
        )
    share = bench.slm.samples.pitch * pitch / scale
    return Plane(*_camera_axes(bench, shape, pitch, scale, (share, share)))


def kernel_plane(bench: FourF, shape: tuple[int, int]) -> Plane:
    """The taps of a convolution kernel at the camera of a bench, one imaged logical pixel apart.

    Tap ``[n // 2]`` lies on the axis, and the taps stand as in :func:`optics4f.design.kinoform`.

    Args:
        bench: The 4f system.
        shape: Taps ``(height, width)``.
    """
    pitch = -bench.magnification * bench.illumination.block * bench.illumination.grid.pitch
    return Plane(*_camera_axes(bench, shape, pitch, bench.scales[1], tuple(1 / n for n in bench.slm.samples.shape)))


def _camera_axes(
    bench: FourF, shape: tuple[int, int], pitch: float, scale: float, shares: tuple[float, float]
) -> list[MatrixAxis]:
    slm = bench.slm  # whose pixels stand where the routes have them, however many samples they have
    positions = (there - off for there, off in zip(slm.samples.coordinates(), slm.off_axis, strict=True))
    return [
        MatrixAxis(
            fourier_matrix((torch.arange(n, dtype=torch.float64) - n // 2) * pitch, there, scale) * math.sqrt(share)
        )
        for n, there, share in zip(shape, positions, shares, strict=True)
    ]
