"""Gerchberg-Saxton: spots, images, kernels and point spread functions, and what the planes are made of."""

import math

import numpy as np
import pytest
import torch

from optics4f.design import (
    AmplitudeOnly,
    PhaseOnly,
    gerchberg_saxton,
    image,
    kernels,
    kinoform,
    make_target,
    point_spread_function,
    spot_array,
    spots,
)
from optics4f.design.gerchberg_saxton import _Apart
from optics4f.design.planes import camera_plane, fourier_plane, kernel_plane, lattice_plane
from optics4f.metrics import kernel_cosine
from optics4f.routes import PSFRoute
from tests.optics4f.benches import small_bench

SHAPE = (96, 80)


def fourier_by_sum(field: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Unitary Fourier sum at any places [cycles over the field], index n // 2 of the samples on the axis."""
    rows, columns = (
        np.exp(-2j * np.pi * np.outer(places, np.arange(n) - n // 2) / n) / math.sqrt(n)
        for places, n in zip((y, x), field.shape, strict=True)
    )
    return rows @ field @ columns.T


def random_field(shape: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def picture(shape: tuple[int, int]) -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape), indexing="ij")
    return 0.3 + 0.2 * x + 0.5 * ((y - 0.2) ** 2 + x**2 < 0.3)


PLANES = {
    "whole": fourier_plane((9, 14)),
    "window across the border": fourier_plane((9, 14), window=(4, 5), centre=(4, -6)),
    "lattice": lattice_plane((9, 14), [-2.3, 0.0, 1.7], [0.4, 5.0]),
}


@pytest.mark.parametrize("name", PLANES)
def test_nodes_are_the_fourier_sum_and_the_adjoint_is_the_adjoint(name):
    plane, field = PLANES[name], random_field((9, 14))
    if name == "lattice":
        y, x = np.array([-2.3, 0.0, 1.7]), np.array([0.4, 5.0])
    else:
        y, x = plane.rows.bins.numpy(), plane.columns.bins.numpy()
    np.testing.assert_allclose(plane.forward(field).numpy(), fourier_by_sum(field.numpy(), y, x), atol=1e-12)
    nodes = random_field(plane.shape, seed=1)
    left = torch.vdot(nodes.flatten(), plane.forward(field).flatten())
    right = torch.vdot(plane.adjoint(nodes).flatten(), field.flatten())
    torch.testing.assert_close(left, right)
    assert torch.autograd.gradcheck(lambda f: torch.view_as_real(plane.forward(f)), field.requires_grad_())


def test_a_window_of_the_camera_holds_the_share_of_the_light_that_falls_on_it():
    bench = small_bench(masks=1, fill_factor=1.0)
    n = bench.slm.samples.shape
    cell = 532e-9 * 0.15 / 16e-6  # one zero order of the SLM's pixels, at the camera
    plane = camera_plane(bench, (48, 48), cell / 48)
    field = random_field(n)
    assert plane.forward(field).abs().square().sum().item() == pytest.approx(field.abs().square().sum().item())
    with pytest.raises(ValueError, match=r"window at most 4.988 mm"):
        camera_plane(bench, (49, 48), cell / 48)


@pytest.mark.parametrize("count", [(8, 8), (6, 10)])
def test_weighted_spots_are_uniform_and_keep_nine_tenths_of_the_light(count):
    # Di Leonardo et al. (2007) give an efficiency of 0.93 and a uniformity of 0.99 for their weighted algorithm.
    target = spot_array((160, 192), count, (11, 13), centre=(5.5, 6.5))
    found = gerchberg_saxton(target, constraint=PhaseOnly(256), iterations=60, seed=1)
    field = torch.exp(1j * found.chosen[0].double()).numpy()
    y = (np.arange(count[0]) - (count[0] - 1) / 2) * 11 + 5.5
    x = (np.arange(count[1]) - (count[1] - 1) / 2) * 13 + 6.5
    power = np.abs(fourier_by_sum(field, y, x)) ** 2 / field.size
    assert 1 - (power.max() - power.min()) / (power.max() + power.min()) > 0.98
    assert power.sum() > 0.88
    # And so says the result itself.
    assert found.metrics["efficiency"].item() == pytest.approx(power.sum(), rel=1e-5)
    assert found.metrics["uniformity"].item() > 0.98


def test_spots_stand_where_they_are_wanted_with_the_power_that_is_wanted():
    places = torch.tensor([[3.0, -7.5], [-12.25, 4.0], [20.0, 11.0]])
    found = gerchberg_saxton(spots(SHAPE, places, power=[1, 2, 4]), iterations=60)
    field = torch.exp(1j * found.chosen[0].double()).numpy()
    power = [abs(fourier_by_sum(field, np.array([y]), np.array([x])).item()) ** 2 for y, x in places.tolist()]
    np.testing.assert_allclose(np.array(power) / power[0], [1, 2, 4], rtol=1e-3)


def test_weights_make_the_spots_more_uniform_than_plain_iteration():
    target = spot_array(SHAPE, (6, 10), (7, 5), centre=(3.5, 2.5))
    plain, weighted = (gerchberg_saxton(target, weighted=w, iterations=60) for w in (False, True))
    assert plain.metrics["uniformity"].item() < 0.9 < 0.995 < weighted.metrics["uniformity"].item()


@pytest.mark.parametrize(
    ("target", "constraint"),
    [
        (image(SHAPE, picture((24, 20)), centre=(20, -15)), PhaseOnly()),
        (image(SHAPE, picture((24, 20)), centre=(20, -15)), PhaseOnly(4)),
        (image(SHAPE, picture((24, 20)), centre=(20, -15)), PhaseOnly(torch.tensor([0.0, 1.0, 2.5, 4.0]))),
        (image(SHAPE, picture((24, 20)), centre=(20, -15), free=True), PhaseOnly()),
        (spot_array(SHAPE, (6, 10), (6.5, 5.2)), PhaseOnly()),
        (image(SHAPE, picture((24, 20)), centre=(20, -15), free=True, efficiency=0.03), AmplitudeOnly()),
    ],
)
def test_the_error_of_plain_iteration_never_increases(target, constraint):
    found = gerchberg_saxton(
        target, constraint=constraint, weighted=False, iterations=25, starts=2, dtype=torch.float64
    )
    steps = found.losses.diff(dim=0)[1 if constraint.count < math.inf else 0 :]  # the start is not rounded
    assert steps.max() <= 1e-12
    assert (found.losses[-1] < 0.9 * found.losses[1]).all()


def test_the_error_is_the_distance_to_the_nearest_light_that_the_target_allows():
    goal = image(SHAPE, picture((24, 20)), centre=(20, -15))
    found = gerchberg_saxton(goal, weighted=False, iterations=3, dtype=torch.float64)
    light = np.exp(1j * found.values[0, 0].numpy()) / math.sqrt(SHAPE[0] * SHAPE[1])
    y, x = (np.arange(n) - n // 2 for n in SHAPE)
    whole = np.abs(fourier_by_sum(light, y, x))
    wanted = np.zeros(SHAPE)
    wanted[48 + 20 - 12 : 48 + 20 + 12, 40 - 15 - 10 : 40 - 15 + 10] = picture((24, 20)).sqrt().numpy()
    wanted /= np.linalg.norm(wanted)
    assert found.final.item() == pytest.approx(((whole - wanted) ** 2).sum(), rel=1e-9)


def test_an_image_with_a_free_border_is_more_accurate_and_has_the_light_that_was_asked_for():
    dark, free = (
        gerchberg_saxton(image(SHAPE, picture((70, 60)), free=free, efficiency=share), iterations=80)
        for free, share in ((False, 1.0), (True, 0.7))
    )
    assert free.metrics["rms_error"].item() < 0.5 * dark.metrics["rms_error"].item()
    assert free.metrics["efficiency"].item() == pytest.approx(0.7, abs=0.02)
    assert dark.metrics["efficiency"].item() > 0.85


@pytest.mark.parametrize("levels", [2, 4, torch.tensor([0.1, 0.9, 2.2, 3.0, 4.4])])
def test_levels_in_the_iteration_beat_rounding_at_the_end(levels):
    target = spot_array(SHAPE, (6, 10), (7, 5), centre=(3.5, 2.5))
    inside, after = (
        gerchberg_saxton(target, constraint=PhaseOnly(levels), iterations=80, rounded_iterations=rounded, seed=3)
        for rounded in (None, 0)
    )
    shown = inside.values.unique()
    table = levels if isinstance(levels, torch.Tensor) else torch.arange(levels) * 2 * math.pi / levels
    assert torch.isclose(shown[:, None], table.float(), atol=1e-6).any(1).all()
    assert inside.metrics["uniformity"].item() > after.metrics["uniformity"].item() + 0.1


@pytest.mark.parametrize("turn", [0.0, 1.0, -2.5])
def test_a_table_of_phases_is_rounded_on_the_circle(turn):
    table = torch.tensor([5.9, 0.5, 2.0, 3.1], dtype=torch.float64) + turn
    phase = torch.linspace(-7, 7, 501, dtype=torch.float64)
    shown = PhaseOnly(table).values(torch.exp(1j * phase))
    distance = torch.exp(1j * phase)[:, None] - torch.exp(1j * table)
    torch.testing.assert_close(shown, table[distance.abs().argmin(1)])


@pytest.mark.parametrize("levels", [None, 2, 16])
def test_an_amplitude_mask_makes_spots_that_are_uniform(levels):
    target = spot_array(SHAPE, (3, 4), (6, 5), centre=(22, 12), free=True, efficiency=0.05)
    found = gerchberg_saxton(target, constraint=AmplitudeOnly(levels), iterations=80, weighted=False)
    values = found.values
    assert values.min() >= 0
    assert values.max() <= 1
    if levels:
        assert len(values.unique()) <= levels
    assert found.metrics["uniformity"].item() > 0.95
    assert found.metrics["efficiency"].item() == pytest.approx(0.05, rel=0.05)


def test_the_first_start_of_kernels_is_the_kinoform():
    bench = small_bench(masks=1, fill_factor=1.0)
    weights = torch.tensor([[[0.0, 1, -2], [1, 0.5, 3], [0, -1, 1]]])
    found = gerchberg_saxton(kernels(bench, weights), iterations=1, dtype=torch.float64)
    goal, field = kernels(bench, weights), torch.exp(1j * kinoform(bench, weights.to(torch.complex128)))
    nodes = goal.plane.forward(field)
    cosine = torch.vdot(goal.wanted.flatten(), nodes.flatten()).abs() / nodes.norm() / goal.wanted.norm()
    assert found.losses[0].item() == pytest.approx(math.sqrt(1 - cosine**2), rel=1e-5)


def test_a_set_of_signed_kernels_arrives_at_the_camera():
    bench = small_bench(masks=2, fill_factor=1.0, slm_shape=(96, 80), pixels_per_logical=3, camera_shape=(12, 18))
    sobel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
    weights = torch.stack((sobel, torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]])))
    # A logical pixel of 48 um, three samples, lights the SLM with its own diffraction pattern.
    turns = (16e-6 * x.numpy() / (532e-9 * 0.1) for x in bench.slm.samples.coordinates())
    beam = [np.sinc(3 * u) / np.sinc(u) for u in turns]
    found = gerchberg_saxton(
        kernels(bench, weights),
        illumination=torch.from_numpy(beam[0] * beam[1]),
        iterations=100,
        starts=3,
        dtype=torch.float64,
    )
    assert found.values.shape == (3, 2, 96, 80)
    assert (found.metrics["rms_error"].min(0).values < 1e-3).all()
    # The bench's own PSF, on the taps: every imaged logical pixel, in the orientation of the image.
    bench.slm.set_values(found.chosen)
    psf = PSFRoute(bench).point_spread_functions().detach()
    step = round(1.5 * 3 * 16e-6 / bench.image.pitch)
    middle = [n // 2 for n in psf.shape[-2:]]
    taps = psf[:, middle[0] - step : middle[0] + step + 1 : step, middle[1] - step : middle[1] + step + 1 : step]
    phase = torch.sgn((taps.conj() * weights).sum((-2, -1), keepdim=True))
    assert (kernel_cosine(taps * phase, weights.to(torch.complex128)) > 0.999).all()


def test_a_point_spread_function_is_retrieved_at_the_camera():
    bench = small_bench(masks=1, fill_factor=1.0, slm_shape=(96, 80))
    y, x = torch.meshgrid(torch.arange(-6, 7), torch.arange(-8, 9), indexing="ij")
    ring = torch.exp(-((torch.hypot(y.double(), x.double()) - 4) ** 2) / 2)
    found = gerchberg_saxton(point_spread_function(bench, ring, 80e-6, efficiency=0.6), iterations=100)
    assert found.metrics["rms_error"].item() < 0.02
    assert found.metrics["efficiency"].item() == pytest.approx(0.6, abs=0.03)


def test_uneven_light_is_taken_into_account():
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in SHAPE)
    beam = torch.exp(-(y[:, None] ** 2) - 2 * x**2)
    target = spot_array(SHAPE, (4, 5), (9, 8))
    found = gerchberg_saxton(target, illumination=beam, iterations=60, dtype=torch.float64)
    light = (beam * torch.exp(1j * found.chosen[0])).numpy()
    places = ((np.arange(n) - (n - 1) / 2) * s for n, s in ((4, 9), (5, 8)))
    power = np.abs(fourier_by_sum(light, *places)) ** 2
    assert power.min() / power.max() > 0.99
    assert found.metrics["efficiency"].item() == pytest.approx(power.sum() / (np.abs(light) ** 2).sum(), rel=1e-6)


def test_starts_in_a_batch_are_independent_and_the_best_is_chosen():
    target = spot_array(SHAPE, (5, 4), (7, 9))
    many = gerchberg_saxton(target, iterations=12, starts=4, seed=5)
    for start in (0, 3):
        alone = gerchberg_saxton(target, iterations=12, start=many_start(5, 4)[start])
        torch.testing.assert_close(alone.losses[:, 0], many.losses[:, start], rtol=1e-3, atol=1e-5)
    assert many.values.shape == (4, 1, *SHAPE)
    best = many.final[:, 0].argmin()
    assert torch.equal(many.chosen[0], many.values[best, 0])
    assert many.seed == 5
    again = gerchberg_saxton(target, iterations=12, starts=4, seed=5)
    assert torch.equal(many.values, again.values)


def many_start(seed: int, starts: int) -> torch.Tensor:
    return 2 * math.pi * torch.rand(starts, 1, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_it_stops_when_nothing_gets_better_or_the_time_is_up():
    target = spot_array(SHAPE, (5, 4), (7, 9))
    stalled = gerchberg_saxton(target, weighted=False, iterations=500, patience=5, tolerance=1e-3)
    assert "no better by 0.001 in 5 iterations" in stalled.reason
    assert 5 < stalled.iterations < 200
    assert len(stalled.losses) == stalled.iterations + 1
    late = gerchberg_saxton(target, iterations=10**6, time_limit=0.2)
    assert "time limit of 0.2 s" in late.reason
    assert late.seconds < 1.5
    done = gerchberg_saxton(target, iterations=7)
    assert (done.reason, done.iterations) == ("7 iterations done", 7)


def test_refusals():
    good = spot_array(SHAPE, (2, 3), (5, 5))
    nan = torch.ones(8, 8)
    nan[2, 3] = math.nan
    with pytest.raises(ValueError, match="an image must be finite, got NaN"):
        image(SHAPE, nan)
    with pytest.raises(ValueError, match="a target must be finite, got NaN"):
        make_target(fourier_plane((8, 8)), nan)
    with pytest.raises(ValueError, match="an image must not be negative, got -1"):
        image(SHAPE, -torch.ones(8, 8))
    with pytest.raises(ValueError, match="zeros only"):
        image(SHAPE, torch.zeros(8, 8))
    with pytest.raises(ValueError, match=r"window must have a height of 1 ... 96 bins, got 97"):
        image(SHAPE, torch.ones(97, 8))
    with pytest.raises(ValueError, match="places must all be different"):
        spots(SHAPE, torch.tensor([[1.0, 2.0], [1.0, 2.0]]))
    with pytest.raises(ValueError, match=r"y must lie within \+-48 cycles"):
        spots(SHAPE, torch.tensor([[60.0, 2.0]]))
    with pytest.raises(ValueError, match="must have free=True"):
        gerchberg_saxton(good, constraint=AmplitudeOnly())
    with pytest.raises(ValueError, match="levels must be at least 2, got 1"):
        PhaseOnly(1)
    with pytest.raises(ValueError, match="levels must be a power of 2, got 3"):
        AmplitudeOnly(3)
    with pytest.raises(ValueError, match=r"start must have shape \(1, 96, 80\)"):
        gerchberg_saxton(good, start=torch.zeros(80, 96)[None])
    with pytest.raises(ValueError, match="illumination must be positive"):
        gerchberg_saxton(good, illumination=torch.zeros(SHAPE))
    with pytest.raises(ValueError, match="iterations must be a whole number of at least 1, got 0"):
        gerchberg_saxton(good, iterations=0)


def test_a_kernel_plane_stands_on_the_imaged_logical_pixels():
    bench = small_bench()
    plane = kernel_plane(bench, (3, 5))
    y, x = bench.slm.samples.coordinates()
    ramp = torch.exp(2j * math.pi * (1 * y + 2 * x) * 48e-6 / (532e-9 * 0.15))  # one tap down, two to the right
    nodes = plane.forward(ramp).abs().square() / ramp.numel()
    assert nodes[0 + 2, 2 + 2].item() == pytest.approx(1)


def test_taps_closer_than_the_diffraction_limit_do_not_share_more_light_than_there_is():
    """Kernel taps half a resolved spot apart: each counts the light of its neighbours, and the sum would exceed 1."""
    target = spots(SHAPE, torch.cartesian_prod(torch.arange(5) / 2 - 1, torch.arange(5) / 2 - 1))
    assert target.plane.gain > 1.5
    found = gerchberg_saxton(target, iterations=30)
    assert 0.3 < found.metrics["efficiency"].item() <= 1


def test_a_complex_target_with_a_dark_border_is_never_left_worse_than_its_start():
    # 28 x 20 of 36 x 28 bins hold random light, dark around them: more than phase alone can show, so the corrections
    # of the weights run away from it. Two starts and two masks, which have their best iterates at different times.
    plane = fourier_plane((36, 28))
    generator = torch.Generator().manual_seed(3)
    wanted = torch.zeros(2, *plane.shape, dtype=torch.complex128)
    wanted[:, 4:-4, 4:-4] = torch.randn(2, 28, 20, dtype=torch.complex128, generator=generator)
    found = gerchberg_saxton(make_target(plane, wanted), iterations=60, starts=2, dtype=torch.float64)
    assert (found.losses[-1] > 1.2 * found.losses[0]).any()  # else nothing is tested
    torch.testing.assert_close(found.final, found.losses.amin(0), rtol=1e-9, atol=0)
    assert "kept" in found.reason
    y, x = (np.arange(n) - n // 2 for n in plane.shape)
    for start in range(2):
        for mask in range(2):
            field = fourier_by_sum(np.exp(1j * found.values[start, mask].numpy()), y, x)
            cosine = abs(np.vdot(wanted[mask].numpy(), field)) / (np.linalg.norm(wanted[mask]) * np.linalg.norm(field))
            assert found.final[start, mask] == pytest.approx(math.sqrt(1 - cosine**2), rel=1e-6)


GAUSS = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0])
KERNELS = {
    "box": torch.ones(3, 3),
    "wide box": torch.ones(3, 5),
    "binomial": GAUSS[:, None] * GAUSS,
    "sobel": torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]),
    "laplace": torch.tensor([[0.0, -1, 0], [-1, 4, -1], [0, -1, 0]]),
    "random": torch.randn(5, 7, generator=torch.Generator().manual_seed(0)),
}


@pytest.mark.parametrize(
    ("name", "error", "light"),
    [
        ("box", 0.01, 0.99),
        ("wide box", 0.01, 0.99),
        ("binomial", 0.01, 0.99),
        ("sobel", 0.01, 0.99),
        ("laplace", 0.01, 0.1),
        ("random", 0.15, 0.045),
    ],
)
def test_any_kernel_comes_out_where_its_taps_stand_closer_than_the_light_resolves(name, error, light):
    # Taps 0.73 of a resolved spot apart: equal neighbours hold light together, and a change of one moves the others.
    # Of the light that is wanted there, kernels of one sign take all. Taps that cancel between two samples of the
    # spot cost light: what these take was measured, and is held at a third of it.
    places = [(torch.arange(n, dtype=torch.float64) - n // 2) * 0.73 for n in KERNELS[name].shape]
    plane = lattice_plane(SHAPE, *places)
    target = make_target(plane, KERNELS[name].to(torch.complex128), free=True, efficiency=0.3)
    found = gerchberg_saxton(target, iterations=100, starts=2, seed=1)
    field = fourier_by_sum(np.exp(1j * found.chosen[0].double().numpy()), *(p.numpy() for p in places)) / math.sqrt(
        math.prod(SHAPE)
    )
    wanted = KERNELS[name].numpy()
    cosine = abs(np.vdot(wanted, field)) / (np.linalg.norm(wanted) * np.linalg.norm(field))
    assert max(0, 1 - cosine**2) ** 0.5 < error
    assert np.linalg.norm(field) ** 2 / 0.3 > light


def test_nodes_that_share_light_are_told_apart_as_by_the_dense_inverse():
    # Off the axis and unevenly apart, 3 x 5 nodes of 24 x 18 samples: the Gram matrix is complex, and its transpose
    # another one. The oracle is the whole matrix of the plane, solved by LU.
    plane = lattice_plane((24, 18), torch.tensor([3.0, 3.6, 4.1]), torch.tensor([-2.0, -1.2, -0.5, 0.4, 1.0]))
    missing = random_field((3, 5), 4)
    whole = torch.kron(plane.rows.matrix, plane.columns.matrix)
    gram = whole @ whole.mH
    assert gram.imag.abs().max() > 0.01
    share = 0.1 * torch.linalg.eigvalsh(gram).max()
    wanted = torch.linalg.solve(gram + share * torch.eye(15, dtype=gram.dtype), missing.flatten())
    found = _Apart(plane, torch.complex128, torch.device("cpu"))(missing)
    torch.testing.assert_close(found.flatten(), wanted, rtol=1e-9, atol=1e-9)
