"""Pixels of the SLM stand where they stand, however many samples each of them has."""

import math

import pytest
import torch

from optics4f.design.planes import camera_plane, kernel_plane
from optics4f.elements.slm import SLM
from optics4f.grid import Grid
from optics4f.memory_counts import Planes
from optics4f.misalignment import Misalignment
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute
from optics4f.routes.geometry import Geometry
from tests.optics4f.benches import random_images, relative, small_bench, smooth_masks

SHAPES = [(48, 36), (47, 36), (47, 35)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("samples", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_middles_of_pixels_do_not_move_with_their_samples(shape, samples, turn):
    bench = small_bench(slm_shape=shape, samples_per_pixel=samples)
    bench.slm_position = Misalignment(shift=(3e-6, -5e-6), rotation=turn)
    place = Geometry.of(bench)
    y, x = (
        p.expand(bench.slm.samples.shape).unflatten(0, (-1, samples)).unflatten(2, (-1, samples)).mean((1, 3))
        for p in place.slm_positions(bench.slm.samples, torch.device("cpu"))
    )
    down, right = bench.slm.grid.coordinates()  # pixel n // 2 on the axis
    cosine, sine = math.cos(turn), math.sin(turn)
    torch.testing.assert_close(y, 3e-6 + cosine * down + sine * right, rtol=0, atol=1e-12)
    torch.testing.assert_close(x, -5e-6 + cosine * right - sine * down, rtol=0, atol=1e-12)


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_the_psf_route_and_a_modulator_tell_the_same_places(samples):
    bench = small_bench(samples_per_pixel=samples)
    for axis, middle in enumerate(bench.slm.grid.coordinates()):
        seen = PSFRoute(bench).slm_positions(axis).unflatten(0, (-1, samples)).mean(1)
        torch.testing.assert_close(seen, middle.flatten(), rtol=0, atol=1e-12)
    assert SLM(Grid((8, 9), 8e-6)).off_axis == (0.0, 0.0)
    assert SLM(Grid((8, 9), 8e-6), samples_per_pixel=2).off_axis == pytest.approx((2e-6, -2e-6))


@pytest.mark.parametrize("route", [FourierLensRoute, PSFRoute])
def test_finer_samples_come_to_an_end(route):
    """What samples leave out of a square falls with their number squared; nothing else changes with it.

    An even number of pixels: their middles would move by a quarter and then an eighth of a pixel.
    """
    values, images = smooth_masks(2, (48, 36)), random_images(1, (5, 7))

    def light(samples: int, **options: object) -> torch.Tensor:
        bench = small_bench(samples_per_pixel=samples, fill_factor=1.0, **options)
        bench.slm.set_values(values)
        with torch.no_grad():
            return route(bench)(images).intensity

    finest = light(12)
    errors = [relative(light(samples), finest) for samples in (1, 2, 4)]
    # (1/s^2 - 1/144) of what is left out by one.
    assert errors[1] / errors[0] == pytest.approx((1 / 4 - 1 / 144) / (1 - 1 / 144), rel=0.05)
    assert errors[2] / errors[0] == pytest.approx((1 / 16 - 1 / 144) / (1 - 1 / 144), rel=0.05)


@pytest.mark.parametrize("samples", [2, 3])
def test_routes_agree_where_pixels_have_several_samples(samples):
    options = {"samples_per_pixel": samples, "slm_shape": (24, 18), "object_pitch": 16e-6 / samples}
    bench = small_bench(**options, pixels_per_logical=3 * samples)
    bench.slm.set_values(smooth_masks(2, (24, 18)))
    images = random_images(1, (5, 7))
    with torch.no_grad():
        wanted = FourierLensRoute(bench)(images).intensity
        assert relative(PSFRoute(bench)(images).intensity, wanted) < 1e-10
        assert relative(AngularSpectrumRoute(bench)(images).intensity, wanted) < 0.03


def test_a_route_sees_that_pixels_were_exchanged_for_larger_ones_of_as_many_samples():
    """Constants are kept for a grid of samples: which pixels these belong to counts as well."""
    images = random_images(1, (5, 7))
    fine, coarse = (
        small_bench(slm_shape=(48, 36)),
        small_bench(slm_shape=(24, 18), slm_pitch=32e-6, samples_per_pixel=2),
    )
    assert fine.slm.samples == coarse.slm.samples
    values = smooth_masks(2, (24, 18))
    fine.slm.set_values(values.repeat_interleave(2, -2).repeat_interleave(2, -1))
    coarse.slm.set_values(values)
    for kind in (FourierLensRoute, PSFRoute):
        route = kind(fine)
        with torch.no_grad():
            before = route(images).intensity
            fine.slm, slm = coarse.slm, fine.slm
            after = route(images).intensity
            fine.slm = slm
            wanted = kind(coarse)(images).intensity
        assert relative(after, wanted) < 1e-12
        assert relative(before, wanted) > 1e-3


@pytest.mark.parametrize(("shape", "gaps"), [((47, 35), 2), ((48, 36), 4)])
def test_memory_is_counted_for_the_transforms_that_are_made(shape, gaps):
    """Of an even number of pixels with several samples each the samples stand beside the axis: each gap has its own."""
    assert Planes.of(FourierLensRoute(small_bench(slm_shape=shape, samples_per_pixel=3))).gaps == gaps


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_planes_of_a_design_have_the_pixels_there_as_well(shape, samples):
    """Light of one pixel has the phase of its middle, -2 pi u x / (lambda f2), at a node u near the axis."""
    bench = small_bench(slm_shape=shape, samples_per_pixel=samples)
    logical = -bench.magnification * bench.illumination.block * bench.illumination.grid.pitch
    for plane, pitch in ((camera_plane(bench, (9, 7), 24e-6), 24e-6), (kernel_plane(bench, (5, 7)), logical)):
        for axis, middle in zip((plane.rows, plane.columns), bench.slm.grid.coordinates(), strict=True):
            node = (torch.arange(axis.nodes, dtype=torch.float64) - axis.nodes // 2) * pitch
            wanted = torch.exp(-2j * math.pi * node[:, None] * middle.flatten() / (532e-9 * 0.15))
            light = axis.matrix.unflatten(1, (-1, samples)).sum(-1)
            torch.testing.assert_close(light / light.abs(), wanted, rtol=0, atol=1e-9)
