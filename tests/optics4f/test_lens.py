"""A thin lens: where it focuses, and how sharply."""

import math

import pytest
import torch

from optics4f.elements import Lens
from optics4f.field import Field
from optics4f.grid import Grid
from optics4f.propagation import propagate
from tests.references import gaussian_beam, gaussian_behind_lens

WAVELENGTH = 532e-9
GRID = Grid((400, 448), 8e-6)


def beam(waist: float, distance: float) -> Field:
    y, x = (axis.numpy() for axis in GRID.coordinates())
    return Field(torch.from_numpy(gaussian_beam(y, x, WAVELENGTH, waist, distance)), GRID, WAVELENGTH)


def radii(field: Field) -> tuple[float, float]:
    """Beam radius along y and x [m]: twice the deviation of the intensity."""
    y, x = GRID.coordinates()
    light = field.intensity
    return tuple(2 * math.sqrt((light * axis**2).sum() / light.sum()) for axis in (y, x))


def test_a_lens_moves_the_waist_of_a_beam_to_where_theory_puts_it():
    distance, waist = gaussian_behind_lens(300e-6, WAVELENGTH, 0.1)
    assert (distance, waist) == pytest.approx((96.58076354763281e-3, 55.473532491905335e-6), rel=1e-12)
    behind = Lens("100 mm")(beam(300e-6, 0))
    assert radii(propagate(behind, distance)) == pytest.approx((waist, waist), rel=1e-6)
    for off in (-10e-3, -2e-3, 2e-3, 10e-3):  # wider before and behind, with the wavefront of either side
        out, wanted = propagate(behind, distance + off), beam(waist, off)
        overlap = (wanted.data.conj() * out.data).sum().abs() ** 2 * GRID.pitch**4 / (wanted.power * out.power)
        assert 1 - overlap.item() < 1e-8


def test_a_negative_lens_spreads_the_beam():
    # Ray optics and diffraction add in quadrature: w^2 = w0^2 (1 + z / |f|)^2 + (wavelength z / pi w0)^2.
    waist, z = 300e-6, 0.05
    wanted = math.hypot(waist * (1 + z / 0.1), WAVELENGTH * z / (math.pi * waist))
    # The formula is paraxial; the rim of the beam leaves at 4.5 mrad, squared 2e-5. Measured: 1.6e-6.
    assert radii(propagate(Lens(-0.1)(beam(waist, 0)), z)) == pytest.approx((wanted, wanted), rel=1e-5)


def test_a_lens_keeps_the_power_and_its_opposite_undoes_it():
    field = beam(200e-6, 0.1)
    behind = Lens("100 mm")(field)
    torch.testing.assert_close(behind.intensity, field.intensity, rtol=1e-12, atol=0)
    torch.testing.assert_close(Lens("-100 mm")(behind).data, field.data, rtol=0, atol=1e-12)


def test_single_precision_light_sees_the_phase_of_double_precision():
    field = beam(400e-6, 0)
    single = Lens(0.02)(Field(field.data.to(torch.complex64), GRID, WAVELENGTH))
    assert single.data.dtype == torch.complex64
    # The phase reaches 950 rad in the corner: built in float32 it would be off by 6e-5.
    torch.testing.assert_close(single.data.to(torch.complex128), Lens(0.02)(field).data, rtol=0, atol=2e-7)


def test_the_gradient_through_a_lens_is_right(generator):
    data = torch.randn(2, 5, 4, dtype=torch.complex128, generator=generator, requires_grad=True)
    grid = Grid((5, 4), 50e-6)
    assert torch.autograd.gradcheck(lambda d: Lens(0.1)(Field(d, grid, WAVELENGTH)).data, data)


@pytest.mark.parametrize("focal_length", [0, "0 mm"])
def test_a_lens_without_focal_length_is_refused(focal_length):
    with pytest.raises(ValueError, match="focal_length must be finite and not 0"):
        Lens(focal_length)


@pytest.mark.parametrize("focal_length", [math.nan, math.inf])
def test_a_focal_length_that_is_no_number_is_refused(focal_length):
    with pytest.raises(ValueError, match="focal_length must"):
        Lens(focal_length)


def test_a_focal_length_in_seconds_is_refused():
    with pytest.raises(ValueError, match=r"focal_length must be convertible to m, got 5 s\."):
        Lens("5 s")
