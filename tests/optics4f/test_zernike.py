"""Zernike polynomials against their definition in whole numbers, quadrature, and prysm where it is installed."""

import itertools
import math

import numpy as np
import pytest
import torch

from optics4f.grid import Grid
from optics4f.profiles import circle
from optics4f.zernike import nm_to_noll, nm_to_osa, noll_to_nm, osa_to_nm, zernike, zernike_modes, zernike_phase

GRID, RADIUS = Grid((48, 36), 8e-6), 120e-6


def positions(count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in the unit disc, its centre and rim among them."""
    rho = torch.linspace(0, 1, count, dtype=torch.float64)
    theta = torch.linspace(0, 20, count, dtype=torch.float64)
    return rho * torch.sin(theta), rho * torch.cos(theta)


def by_definition(n: int, m: int, y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Noll (1976), eqs. 1 and 2: the sum over factorials, in whole numbers of 10**-40 so that nothing cancels."""
    one = 10**40
    order, values = abs(m), []
    for rho in torch.hypot(y, x).tolist():
        fixed, total = round(rho * 2**60) * one // 2**60, 0
        for s in range((n - order) // 2 + 1):
            term = math.factorial(n - s) // (
                math.factorial(s) * math.factorial((n + order) // 2 - s) * math.factorial((n - order) // 2 - s)
            )
            total += (-1) ** s * term * fixed ** (n - 2 * s) // one ** (n - 2 * s - 1)
        values.append(total / one)
    theta = torch.atan2(y, x)
    turn = torch.sin(order * theta) if m < 0 else torch.cos(order * theta)
    return math.sqrt((n + 1) * (1 if m == 0 else 2)) * torch.tensor(values, dtype=torch.float64) * turn


@pytest.mark.parametrize(
    ("n", "m", "closed_form"),
    [
        (0, 0, lambda y, x: 1 + 0 * x),
        (1, 1, lambda y, x: 2 * x),
        (1, -1, lambda y, x: 2 * y),
        (2, 0, lambda y, x: math.sqrt(3) * (2 * (x**2 + y**2) - 1)),
        (2, -2, lambda y, x: math.sqrt(6) * 2 * x * y),
        (2, 2, lambda y, x: math.sqrt(6) * (x**2 - y**2)),
        (3, -1, lambda y, x: math.sqrt(8) * (3 * (x**2 + y**2) - 2) * y),
        (3, 3, lambda y, x: math.sqrt(8) * (x**3 - 3 * x * y**2)),
        (4, 0, lambda y, x: math.sqrt(5) * (6 * (x**2 + y**2) ** 2 - 6 * (x**2 + y**2) + 1)),
    ],
)
def test_low_orders_are_tilt_defocus_astigmatism_coma_trefoil_and_spherical(n, m, closed_form):
    y, x = positions()
    torch.testing.assert_close(zernike(n, m, y, x), closed_form(y, x), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("n", "m"), [(7, -3), (12, 0), (20, 2), (21, -21), (30, 0), (41, 17), (60, -2)])
def test_high_orders_keep_their_digits(n, m):
    y, x = positions()
    # The recurrence adds about one rounding a step; values reach sqrt(2 (n + 1)), the slope n^2 of them near the rim.
    torch.testing.assert_close(zernike(n, m, y, x), by_definition(n, m, y, x), rtol=0, atol=n**2 * 1e-14)


def test_the_polynomials_are_orthonormal_over_the_disc():
    modes = [noll_to_nm(j) for j in range(1, 67)]  # up to n = 10
    nodes, weights = np.polynomial.legendre.leggauss(12)  # exact for what a product of two holds in rho squared
    rho, weights = torch.from_numpy(np.sqrt((nodes + 1) / 2)), torch.from_numpy(weights / 2)
    theta = 2 * math.pi * torch.arange(24, dtype=torch.float64) / 24
    y, x = rho[:, None] * torch.sin(theta), rho[:, None] * torch.cos(theta)
    values = torch.stack([zernike(n, m, y, x) for n, m in modes])
    means = torch.einsum("ars,brs,r->ab", values, values, weights) / 24
    torch.testing.assert_close(means, torch.eye(66, dtype=torch.float64), rtol=0, atol=1e-12)


def test_noll_and_osa_count_in_their_published_order():
    # Noll (1976), table I; Thibos et al. (2002), table of the double index.
    noll = [(0, 0), (1, 1), (1, -1), (2, 0), (2, -2), (2, 2), (3, -1), (3, 1), (3, -3), (3, 3), (4, 0), (4, 2), (4, -2)]
    osa = [(0, 0), (1, -1), (1, 1), (2, -2), (2, 0), (2, 2), (3, -3), (3, -1), (3, 1), (3, 3), (4, -4), (4, -2)]
    assert [noll_to_nm(j) for j in range(1, 14)] == noll
    assert [osa_to_nm(j) for j in range(12)] == osa


def test_every_polynomial_has_one_index():
    wanted = {(n, m) for n in range(41) for m in range(-n, n + 1, 2)}
    assert {noll_to_nm(j) for j in range(1, len(wanted) + 1)} == {osa_to_nm(j) for j in range(len(wanted))} == wanted
    assert all(nm_to_noll(*noll_to_nm(j)) == j for j in range(1, 2000))
    assert all(nm_to_osa(*osa_to_nm(j)) == j for j in range(2000))


def test_a_coefficient_is_the_rms_phase_over_the_pupil():
    grid = Grid((400, 360), 1e-6)
    pupil = circle(grid, 160e-6)
    coefficients = {5: 0.4, 8: -0.3, 11: 1.2}
    phase = zernike_phase(grid, 160e-6, coefficients)
    mean = (phase * pupil).sum() / pupil.sum()
    variance = ((phase - mean) ** 2 * pupil).sum() / pupil.sum()
    # Samples of 1/160 of the radius: the rim's midpoint rule is good to about its square times the slope there.
    assert variance.sqrt().item() == pytest.approx(math.hypot(0.4, 0.3, 1.2), rel=2e-3)


def test_the_phase_stands_on_the_grid_in_units_of_the_radius():
    y, x = GRID.coordinates()
    torch.testing.assert_close(
        zernike_phase(GRID, RADIUS, {2: 0.5, 3: -0.25}), 2 * (0.5 * x - 0.25 * y) / RADIUS, rtol=0, atol=1e-14
    )
    corner = zernike_phase(GRID, RADIUS, {4: 1.0})[0, 0]  # beyond the circle: it continues
    rho_squared = (24**2 + 18**2) / 15**2
    assert corner.item() == pytest.approx(math.sqrt(3) * (2 * rho_squared - 1), rel=1e-12)


@pytest.mark.parametrize(("index", "nm", "first"), [("noll", noll_to_nm, 1), ("osa", osa_to_nm, 0)])
def test_a_tensor_of_coefficients_counts_from_the_first_index(index, nm, first, generator):
    coefficients = torch.randn(2, 9, generator=generator, dtype=torch.float64)
    y, x = (position / RADIUS for position in GRID.coordinates())
    wanted = sum(coefficients[:, k, None, None] * zernike(*nm(k + first), y, x) for k in range(9))
    actual = zernike_phase(GRID, RADIUS, coefficients, index=index)
    torch.testing.assert_close(actual, wanted, rtol=0, atol=1e-12)
    mapped = {k + first: coefficients[1, k].item() for k in reversed(range(9))}
    torch.testing.assert_close(zernike_phase(GRID, RADIUS, mapped, index=index), wanted[1], rtol=0, atol=1e-12)


def test_no_coefficients_are_no_aberration():
    assert torch.equal(zernike_phase(GRID, RADIUS, {}), torch.zeros(GRID.shape, dtype=torch.float64))


def test_gradients_reach_coefficients_and_positions_at_the_centre_too(generator):
    grid = Grid((5, 4), 1e-5)
    coefficients = torch.randn(8, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: zernike_phase(grid, 2e-5, c), coefficients)
    astigmatism = torch.tensor(0.3, requires_grad=True)
    zernike_phase(grid, 2e-5, {6: astigmatism, 11: 0.2}).square().sum().backward()
    assert astigmatism.grad.isfinite()
    assert astigmatism.grad != 0
    y, x = torch.zeros(2, 1, dtype=torch.float64, requires_grad=True).unbind()
    for n, m in itertools.chain.from_iterable([(n, m) for m in range(-n, n + 1, 2)] for n in range(5)):
        assert torch.autograd.gradcheck(lambda y, x, n=n, m=m: zernike(n, m, y, x), (y, x))


def test_polynomials_and_indices_agree_with_prysm():
    prysm = pytest.importorskip("prysm.polynomials")
    y, x = positions()
    rho, theta = torch.hypot(y, x).numpy(), torch.atan2(y, x).numpy()
    for n in range(31):
        for m in range(-n, n + 1, 2):
            theirs = torch.from_numpy(prysm.zernike_nm(n, m, rho, theta, norm=True))
            # Both by a recurrence: a rounding a step, of values up to sqrt(2 (n + 1)) with a slope of n^2 at the rim.
            torch.testing.assert_close(zernike(n, m, y, x), theirs, rtol=0, atol=(n + 1) ** 2 * 1e-14)
    assert [noll_to_nm(j) for j in range(1, 500)] == [prysm.noll_to_nm(j) for j in range(1, 500)]
    assert [osa_to_nm(j) for j in range(500)] == [prysm.ansi_j_to_nm(j) for j in range(500)]


def test_what_is_no_polynomial_is_refused():
    y, x = positions()
    with pytest.raises(ValueError, match=r"n - m even, got n = 3, m = 2"):
        zernike(3, 2, y, x)
    with pytest.raises(ValueError, match=r"n must be at least \|m\|.*got n = 1, m = -3"):
        nm_to_noll(1, -3)
    with pytest.raises(ValueError, match=r"at least 1 \(Noll\), got 0"):
        zernike_modes(GRID, RADIUS, [0])
    with pytest.raises(ValueError, match=r"at least 0 \(OSA\), got -1"):
        osa_to_nm(-1)
    with pytest.raises(ValueError, match="index must be one of noll, osa, got 'fringe'"):
        zernike_phase(GRID, RADIUS, {4: 1.0}, index="fringe")
    with pytest.raises(ValueError, match="radius must be positive, got 0 m"):
        zernike_phase(GRID, 0.0, {4: 1.0})
