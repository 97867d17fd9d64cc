"""Where the planes of a bench really stand, as the routes need it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..fourf import FourF
from ..fourier import rotated
from ..grid import Grid
from ..misalignment import Misalignment
from ..modulation import phase_modulation
from ..sampling import SamplingError

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Geometry:
    """Displacements of SLM and camera [m, rad] as 0-d float64 tensors, zero where there are none.

    ``slm_shift`` is that of the SLM's samples: it takes back what their number moves the pixels by.
    """

    slm_shift: Pair
    slm_rotation: Tensor
    slm_tilt: Pair
    slm_axial: Tensor
    camera_shift: Pair
    camera_rotation: Tensor
    camera_axial: Tensor
    slm_turns: bool
    camera_turns: bool
    slm_moves_axially: bool
    slm_tilts: bool

    @classmethod
    def of(cls, bench: FourF) -> Geometry:
        """Read from a bench."""
        slm, camera, device = bench.slm_position, bench.camera_position, bench.slm.values.device
        zero = torch.zeros((), dtype=torch.float64, device=device)

        def active(position: Misalignment | None, name: str) -> bool:
            return position is not None and position.active(name)

        def one(position: Misalignment | None, name: str) -> Tensor:
            return zero if position is None else getattr(position, name)

        def pair(position: Misalignment | None, name: str) -> Pair:
            return (zero, zero) if position is None else tuple(getattr(position, name).unbind())

        rotation = one(slm, "rotation")
        return cls(
            slm_shift=_in_place(pair(slm, "shift"), rotation, bench.slm.off_axis),
            slm_rotation=rotation,
            slm_tilt=pair(slm, "tilt"),
            slm_axial=one(slm, "axial"),
            camera_shift=pair(camera, "shift"),
            camera_rotation=one(camera, "rotation"),
            camera_axial=one(camera, "axial"),
            slm_turns=active(slm, "rotation"),
            camera_turns=active(camera, "rotation"),
            slm_moves_axially=active(slm, "axial"),
            slm_tilts=active(slm, "tilt"),
        )

    @property
    def displaced(self) -> bool:
        """Whether SLM or camera stand anywhere but where they should; a tilt is the SLM's own matter."""
        moved = (*self.slm_shift, *self.camera_shift, self.slm_axial, self.camera_axial)
        return self.slm_turns or self.camera_turns or any(bool(v != 0) for v in moved)

    def in_slm_frame(self, vector: Pair) -> Pair:
        """Components of a laboratory vector ``(y, x)`` along the axes of the turned SLM."""
        y, x = vector
        cosine, sine = torch.cos(self.slm_rotation), torch.sin(self.slm_rotation)
        return cosine * y - sine * x, cosine * x + sine * y

    def slm_positions(self, samples: Grid, device: torch.device) -> Pair:
        """Laboratory positions of the SLM's samples, ``y`` and ``x`` that broadcast [m]."""
        y, x = samples.coordinates(device)
        if self.slm_turns:
            cosine, sine = torch.cos(self.slm_rotation), torch.sin(self.slm_rotation)
            y, x = sine * x + cosine * y, cosine * x - sine * y
        return y + self.slm_shift[0], x + self.slm_shift[1]


def _in_place(shift: Pair, rotation: Tensor, off_axis: tuple[float, float]) -> Pair:
    """The shift of the pixels as one of their samples, which turn with them."""
    if not any(off_axis):
        return shift
    (y, x), cosine, sine = off_axis, torch.cos(rotation), torch.sin(rotation)
    return shift[0] - (cosine * y + sine * x), shift[1] - (cosine * x - sine * y)


def collins_matrix(
    outputs: Tensor,
    inputs: Tensor,
    wavelength: float,
    focal_length: float,
    before: float | Tensor,
    behind: float | Tensor,
) -> Tensor:
    r"""One axis of the paraxial integral through a lens (Collins 1970), without its factor :math:`-i`.

    .. math:: K(u, x) = \frac{1}{\sqrt{\lambda B}} \exp\left[ \frac{i \pi}{\lambda B}
              \left( A x^2 - 2 x u + D u^2 \right) \right], \quad
              A = -\frac{c}{f}, \quad B = f + \frac{a c}{f}, \quad D = \frac{a}{f}

    for an input plane :math:`f - a` before the lens and an output plane :math:`f + c` behind it. With a = c = 0 it is
    the Fourier transform between the focal planes.

    Args:
        outputs: Positions ``u`` [m], float64.
        inputs: Positions ``x`` [m], float64.
        wavelength: Wavelength [m].
        focal_length: ``f`` [m].
        before: ``a`` [m].
        behind: ``c`` [m].

    Returns:
        complex128, shape ``(outputs, inputs)``.
    """
    b = focal_length + before * behind / focal_length
    u, x = outputs[:, None], inputs[None, :]
    squares = (before * u**2 - behind * x**2) / focal_length
    return phase_modulation(math.pi / (wavelength * b) * (squares - 2 * u * x)) / (wavelength * b) ** 0.5


def slm_factor(bench: FourF, place: Geometry, wavelength: float, like: Tensor) -> Tensor | None:
    """Pupil and tilt as a complex factor on the SLM's samples, shape of that grid, for a wavelength [m].

    ``None`` where there is neither.
    """
    factor = None
    if bench.pupil is not None:
        y, x = place.slm_positions(bench.slm.samples, like.device)
        factor = bench.pupil.transmission(y, x, bench.slm.samples.pitch, bench.wavelength / wavelength)
    if place.slm_tilts:
        y, x = bench.slm.samples.coordinates(like.device)
        tilt_y, tilt_x = place.slm_tilt
        # Reflection doubles the angle; the wave leaves along 2 sin(tilt).
        path = 2 * (torch.sin(tilt_y) * y + torch.sin(tilt_x) * x)
        wave = phase_modulation(2 * math.pi / wavelength * path)
        factor = wave if factor is None else factor * wave
    return None if factor is None else factor.to(like.dtype)


def extended(grid: Grid) -> Grid:
    """A window with room for a turn: twice as wide."""
    side = 2 * max(grid.shape)
    return Grid(tuple(side + n % 2 for n in grid.shape), grid.pitch)


def turned_middle(data: Tensor, angle: Tensor, shape: tuple[int, int]) -> Tensor:
    """The middle of an extended window, of this shape, read on axes turned by ``angle`` [rad].

    Index ``n // 2`` stays on the axis. The light is faded out towards the borders first: a turn by shears takes the
    window for periodic, and a field that is cut off there would ring across it.
    """
    height, width = data.shape[-2:]
    fade_y, fade_x = (
        (8 * (0.5 - ((torch.arange(n, dtype=torch.float64, device=data.device) - n // 2) / n).abs())).clamp(0, 1)
        for n in (height, width)
    )
    fade_y, fade_x = (torch.sin(math.pi / 2 * fade).square().to(data.dtype) for fade in (fade_y, fade_x))
    data = rotated(data * fade_y[:, None] * fade_x[None, :], angle)
    top, left = height // 2 - shape[0] // 2, width // 2 - shape[1] // 2
    return data[..., top : top + shape[0], left : left + shape[1]]


def refuse_lens_aberrations(bench: FourF) -> None:
    """A lens that bends light differently for each object point is not a Fourier transform."""
    for name, lens in (("lens1", bench.lens1), ("lens2", bench.lens2)):
        if lens.pupil is not None and lens.pupil.terms:
            raise SamplingError(
                f"{name} must have no aberrations of its own in this route, got {lens.pupil.extra_repr()}. Give them "
                "to the bench's pupil, or use the angular-spectrum route."
            )
