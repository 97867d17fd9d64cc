"""Figures: every sample where the grid says, intensity as intensity, phase without a seam."""

import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from optics4f import plotting
from optics4f.field import Field
from optics4f.grid import Grid

GRID = Grid((6, 9), 8e-6)


def field(grid=GRID, *leading, seed=0):
    parts = torch.randn(2, *leading, *grid.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Field(torch.complex(*parts), grid, 532e-9)


def spot(grid, row, column):
    values = torch.zeros(grid.shape)
    values[row, column] = 1
    return values


def drawn(figure):
    """Rendered figure in [0, 1], row 0 at the top, and its height in pixels."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255


def brightest_place(ax):
    """Centre of the brightest pixels inside the axes, in the axes' own units."""
    picture = drawn(ax.figure)
    box = ax.get_window_extent()
    height = len(picture)
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]]
    # Two pixels less than the axes: their frame and the white around it are not data.
    inside = (columns > box.x0 + 2) & (columns < box.x1 - 3)
    inside &= (height - rows > box.y0 + 3) & (height - rows < box.y1 - 2)
    bright = inside & (picture.sum(axis=-1) > 0.9 * picture.sum(axis=-1)[inside].max())
    x, y = columns[bright].mean() + 0.5, height - rows[bright].mean() - 0.5
    return ax.transData.inverted().transform((x, y))


def gaussian(grid, sigma_y, sigma_x):
    y, x = grid.coordinates()
    return torch.exp(-(y**2) / (2 * sigma_y**2) - x**2 / (2 * sigma_x**2))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 7), (5, 8), (3, 4)])
def test_a_bright_sample_is_drawn_at_its_coordinates(row, column):
    ax = plotting.plot_intensity(spot(GRID, row, column), GRID)
    y, x = GRID.coordinates()
    expected = x[0, column].item() * 1e6, y[row, 0].item() * 1e6
    # A screen pixel is about 0.25 um here, and the frame hides two of them of an outer sample.
    assert brightest_place(ax) == pytest.approx(expected, abs=0.8)


@pytest.mark.parametrize(
    ("grid", "unit", "size"),
    [(GRID, "µm", 1e-6), (Grid((200, 300), 8e-6), "mm", 1e-3), (Grid((5, 4), 1e-3), "mm", 1e-3)],
)
def test_axes_span_the_grid_and_name_their_unit(grid, unit, size):
    for ax in (
        plotting.plot_intensity(field(grid)),
        plotting.plot_phase(field(grid).data.angle(), grid),
        *plotting.plot_field(field(grid)).axes[:2],
        plotting.plot_masks(torch.zeros(2, *grid.shape), grid).axes[0],
        plotting.plot_psfs(torch.ones(2, *grid.shape), grid.pitch).axes[0],
    ):
        left, right, bottom, top = ax.images[0].get_extent()
        assert (bottom - top, right - left) == pytest.approx([extent / size for extent in grid.extent])
        y, x = grid.coordinates()
        assert (left, top) == pytest.approx([(axis.min().item() - grid.pitch / 2) / size for axis in (x, y)])
        assert ax.get_xlabel() == f"x [{unit}]"
    assert plotting.plot_intensity(field(grid)).get_ylabel() == f"y [{unit}]"


def test_a_sample_is_as_high_as_it_is_wide():
    ax = plotting.plot_intensity(field())
    drawn(ax.figure)
    (x0, y0), (x1, y1) = ax.transData.transform([(0, 0), (8, 8)])
    assert x1 - x0 == pytest.approx(-(y1 - y0))  # and y runs downwards


def test_what_is_drawn_is_intensity_not_amplitude():
    light = field()
    for ax in (plotting.plot_intensity(light), plotting.plot_field(light).axes[0]):
        np.testing.assert_allclose(ax.images[0].get_array(), light.data.abs().numpy() ** 2, rtol=1e-12)
        assert ax.images[0].norm.vmin == 0


def test_a_tensor_of_intensities_is_drawn_as_it_is_and_labelled():
    intensity = torch.rand(1, *GRID.shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    ax = plotting.plot_intensity(intensity, GRID, title="image", label="irradiance [W/m²]")
    np.testing.assert_array_equal(ax.images[0].get_array(), intensity.detach().double()[0])
    assert ax.get_title() == "image"
    assert ax.figure.axes[1].get_ylabel() == "irradiance [W/m²]"


def test_a_logarithmic_scale_spans_four_decades_and_darkness_is_dark():
    intensity = spot(GRID, 2, 3) * 7
    image = plotting.plot_intensity(intensity, GRID, log=True).images[0]
    assert (image.norm.vmin, image.norm.vmax) == pytest.approx((7e-4, 7))
    colours = image.to_rgba(image.get_array())
    assert np.isfinite(colours).all()
    np.testing.assert_allclose(colours[0, 0], image.cmap(0.0))
    np.testing.assert_allclose(colours[2, 3], image.cmap(1.0))


@pytest.mark.parametrize("log", [False, True])
def test_a_dark_plane_can_be_drawn(log):
    assert len(plotting.png(plotting.plot_intensity(torch.zeros(GRID.shape), GRID, log=log).figure)) > 1000


def test_phase_colours_have_no_seam():
    phase = torch.zeros(GRID.shape, dtype=torch.float64)
    phase[0, :6] = torch.tensor([0, 2 * math.pi, -2 * math.pi, 1e-3, -1e-3, math.pi])
    image = plotting.plot_phase(phase, GRID).images[0]
    zero, one_turn, back, after, before, half = image.to_rgba(image.get_array())[0, :6]
    for same in (one_turn, back, after, before):
        np.testing.assert_allclose(same, zero, atol=1 / 255)  # the ends of the map differ by less than a screen does
    assert np.abs(zero - half).max() > 0.5


def test_a_phase_around_zero_is_not_averaged_to_pi_where_samples_outnumber_the_screen():
    grid = Grid((1500, 2000), 8e-6)
    phase = torch.full(grid.shape, 0.05)
    phase[::2] *= -1
    ax = plotting.plot_phase(phase, grid)
    picture, box = drawn(ax.figure), ax.get_window_extent()
    middle = picture[len(picture) - int((box.y0 + box.y1) / 2), int((box.x0 + box.x1) / 2)]
    expected = ax.images[0].cmap(0.0)[:3]
    np.testing.assert_allclose(middle, expected, atol=0.03)


def test_the_phase_of_darkness_is_not_drawn():
    light = field()
    light.data[2, 3] = 0
    shown = plotting.plot_field(light).axes[1].images[0].get_array()
    assert np.argwhere(np.ma.getmaskarray(shown)).tolist() == [[2, 3]]
    assert shown[0, 0] == pytest.approx(light.data[0, 0].angle().item() % (2 * math.pi))


def test_masks_share_one_phase_bar_and_stand_in_their_order():
    phase = torch.arange(5.0)[:, None, None].expand(5, *GRID.shape)
    figure = plotting.plot_masks(phase, GRID)
    *panels, bar = figure.axes
    assert [ax.get_title() for ax in panels] == [f"mask {k}" for k in range(5)]
    assert [ax.images[0].get_array()[0, 0] for ax in panels] == list(range(5))
    assert bar.get_ylabel() == "phase [rad]"
    assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", "π", "2π"]


def test_psfs_share_one_scale_with_the_axis_at_zero():
    psfs = torch.stack([spot(GRID, 3, 4), 0.5 * spot(GRID, 3, 4)])
    figure = plotting.plot_psfs(psfs, GRID.pitch, crop=24e-6)
    first, second, bar = figure.axes
    assert brightest_place(first) == pytest.approx((0, 0), abs=0.8)
    assert first.images[0].norm is second.images[0].norm
    assert first.get_xlim() == pytest.approx((-12, 12))
    assert first.get_ylim() == pytest.approx((12, -12))
    assert bar.get_ylabel() == "intensity [arb. units]"
    assert plotting.plot_psfs(psfs, GRID.pitch, log=False).axes[0].images[0].norm.vmin == 0


def test_planes_follow_the_light_with_the_phase_behind_the_slm():
    planes = {
        "object": field(GRID, 2, 1),
        "behind SLM": field(Grid((8, 4), 8e-6), 2, 3, seed=1),
        "image": field(GRID, 2, 3, seed=2),
    }
    figure = plotting.plot_planes(planes, image=1, mask=2)
    start, slm, phase, end, *bars = figure.axes
    assert [ax.get_title().split("\n")[0] for ax in (start, slm, phase, end)] == [
        "object",
        "behind SLM",
        "behind SLM",
        "image",
    ]
    assert {bars[0].get_ylabel(), bars[1].get_xlabel()} == {"intensity / maximum of the plane", "phase [rad]"}
    for ax, name, mask in ((start, "object", 0), (slm, "behind SLM", 2), (end, "image", 2)):
        intensity = planes[name].intensity[1, mask].numpy()
        shown = np.maximum(intensity / intensity.max(), 1e-4)
        np.testing.assert_allclose(ax.images[0].get_array(), shown, rtol=1e-12)
        assert f"peak {intensity.max():.3g}" in ax.get_title()
    angle = planes["behind SLM"].data[1, 2].angle().numpy() % (2 * math.pi)
    np.testing.assert_allclose(phase.images[0].get_array().data, angle, rtol=1e-12)


def test_planes_are_cropped_around_the_axis_and_small_ones_stay_whole():
    planes = {"object": field(), "image": field(Grid((400, 300), 8e-6))}
    small, large, _ = plotting.plot_planes(planes, crop=1.6e-3, phase_of=()).axes
    assert large.get_xlim() == pytest.approx((-0.8, 0.8))
    assert large.get_ylim() == pytest.approx((0.8, -0.8))
    assert small.get_xlim() == pytest.approx((-0.036, 0.036))
    assert small.get_xlabel() == large.get_xlabel() == "x [mm]"


def test_frames_show_the_object_and_each_masks_counts_on_one_scale():
    frames = torch.arange(3 * 54).reshape(3, *GRID.shape)
    image = torch.rand(4, 5, generator=torch.Generator().manual_seed(2))
    object_grid = Grid((4, 5), 20e-6)
    first, *cameras, bar = plotting.plot_frames(image, frames, GRID, object_grid=object_grid).axes
    np.testing.assert_array_equal(first.images[0].get_array(), image.double())
    assert first.images[0].get_extent() == pytest.approx([-50, 50, 30, -50])
    for k, ax in enumerate(cameras):
        np.testing.assert_array_equal(ax.images[0].get_array(), frames[k])
        assert (ax.images[0].norm.vmin, ax.images[0].norm.vmax) == (0, 161)
    assert bar.get_ylabel() == "camera signal [DN]"
    counted = plotting.plot_frames(image, frames, GRID).axes
    assert [ax.get_ylabel() for ax in counted[:3]] == ["y [pixel]", "y [µm]", ""]  # no unit is left out, none repeated


def test_a_figure_becomes_a_png_that_shows_something():
    figure = plotting.plot_intensity(field()).figure
    data = plotting.png(figure)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        assert np.asarray(picture.convert("L")).var() > 100
        width = picture.width
    with Image.open(io.BytesIO(plotting.png(figure, dpi=220))) as larger:
        assert larger.width == pytest.approx(2 * width, abs=4)


def test_a_given_axes_is_drawn_on_and_given_back():
    ax = plotting.plot_intensity(field()).figure.add_subplot(2, 2, 4)
    assert plotting.plot_phase(torch.zeros(GRID.shape), GRID, ax=ax, title="mask") is ax
    assert (len(ax.images), ax.get_title()) == (1, "mask")


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(TypeError, match=r"intensity must be real, got torch\.complex128"):
        plotting.plot_intensity(field().data, GRID)
    with pytest.raises(ValueError, match="grid must be given with a tensor of intensities"):
        plotting.plot_intensity(torch.ones(GRID.shape))
    with pytest.raises(ValueError, match="grid must be given with a tensor of phases"):
        plotting.plot_phase(torch.ones(GRID.shape))
    with pytest.raises(ValueError, match='quantity must be "intensity" or "amplitude", got \'phase\''):
        plotting.plot_field(field(), quantity="phase")
    with pytest.raises(ValueError, match="log must be False for the amplitude"):
        plotting.plot_field(field(), quantity="amplitude", log=True)
    with pytest.raises(ValueError, match=r"intensity must have the grid's shape \(6, 9\), got \(9, 6\)"):
        plotting.plot_intensity(torch.ones(9, 6), GRID)
    with pytest.raises(ValueError, match=r"field must have the grid's shape \(6, 9\), got \(2, 6, 9\)"):
        plotting.plot_intensity(field(GRID, 2))
    with pytest.raises(ValueError, match=r"phase must have shape \(masks, height, width\), got \(6, 9\)"):
        plotting.plot_masks(torch.zeros(GRID.shape), GRID)
    with pytest.raises(ValueError, match=r"phase_of must name planes of \['image'\], got \['behind SLM'\]"):
        plotting.plot_planes({"image": field()})


def test_amplitude_is_the_root_of_intensity_beside_the_same_phase():
    light = field()
    left, right = plotting.plot_field(light, quantity="amplitude").axes[:2]
    for ax in (left, plotting.plot_amplitude(light)):
        np.testing.assert_allclose(ax.images[0].get_array(), light.data.abs(), rtol=1e-12)
    assert (left.get_title(), right.get_title()) == ("amplitude", "phase")
    np.testing.assert_array_equal(right.images[0].get_array(), plotting.plot_field(light).axes[1].images[0].get_array())


@pytest.mark.parametrize(
    ("grid", "crop", "text", "length"),
    [  # the longest of 1, 2, 5 times a power of ten within a third: of 72 um, 2.4 mm, 0.9 mm and 24 um of 72
        (GRID, None, "20 µm", 20e-6),
        (Grid((200, 300), 8e-6), None, "500 µm", 0.5e-3),
        (Grid((200, 1200), 8e-6), None, "2 mm", 2e-3),
        (GRID, 24e-6, "5 µm", 5e-6),
    ],
)
def test_a_scale_bar_is_as_long_as_it_says_and_stands_for_the_axes(grid, crop, text, length):
    ax = plotting.plot_psf(torch.ones(grid.shape), grid.pitch, crop=crop, scale_bar=True)
    drawn(ax.figure)
    (bar,) = ax.artists
    assert bar.txt_label.get_text() == text
    (line,) = bar.size_bar.get_children()
    pixels = line.get_window_extent().width
    left, right, *_ = ax.images[0].get_extent()
    per_metre = (ax.transData.transform((right, 0)) - ax.transData.transform((left, 0)))[0] / grid.extent[1]
    assert pixels / per_metre == pytest.approx(length, rel=1e-6)
    assert not len(ax.get_xticks())
    assert not ax.get_xlabel()


def test_every_picture_of_a_plane_can_have_a_scale_bar():
    light, psfs = field(), field().intensity[None]
    planes = {"behind SLM": light}
    for drawing, count in (
        (plotting.plot_field(light, scale_bar=True), 2),
        (plotting.plot_masks(psfs, GRID, scale_bar=True), 1),
        (plotting.plot_psfs(psfs, GRID.pitch, scale_bar=True), 1),
        (plotting.plot_planes(planes, scale_bar=True), 2),
        (plotting.plot_amplitude(light, scale_bar=True).figure, 1),
        (plotting.plot_intensity(light, scale_bar=True).figure, 1),
        (plotting.plot_phase(light, scale_bar=True).figure, 1),
    ):
        assert sum(len(ax.artists) for ax in drawing.axes) == count


def test_the_contrast_of_a_gaussian_spot_is_the_gaussian_of_its_frequencies():
    grid = Grid((60, 90), 4e-6)
    sigma_y, sigma_x = 12e-6, 20e-6
    psf = gaussian(grid, sigma_y, sigma_x)
    ax = plotting.plot_otf(psf, grid.pitch)
    fy, fx = (torch.fft.fftshift(f.flatten()) for f in grid.frequencies())
    wanted = np.exp(-2 * math.pi**2 * ((sigma_y * fy[:, None]) ** 2 + (sigma_x * fx[None, :]) ** 2).numpy())
    # The window ends at 9 sigma, and the sampling aliases exp(-44): both far below rounding.
    np.testing.assert_allclose(ax.images[0].get_array(), wanted, atol=1e-13)
    left, right, bottom, top = ax.images[0].get_extent()
    step_y, step_x = 1e-3 / 240e-6, 1e-3 / 360e-6  # cycles/mm
    assert (left, top) == pytest.approx((1e-3 * fx.min().item() - step_x / 2, 1e-3 * fy.min().item() - step_y / 2))
    assert brightest_place(ax) == pytest.approx((0, 0), abs=0.6 * step_y)
    assert ax.get_xlabel() == "$f_x$ [cycles/mm]"
    near = plotting.plot_otf(psf, grid.pitch, cutoff=40e3)
    assert near.get_xlim() == pytest.approx((-46, 46))
    assert near.get_ylim() == pytest.approx((46, -46))

    along_x, along_y, cutoff = plotting.plot_mtf(psf, grid.pitch, cutoff=40e3).lines
    for line, sigma, label in ((along_x, sigma_x, "along x"), (along_y, sigma_y, "along y")):
        frequency, contrast = line.get_data()
        np.testing.assert_allclose(contrast, np.exp(-2 * (math.pi * sigma * 1e3 * frequency) ** 2), atol=1e-13)
        assert line.get_label() == label
    assert len(along_x.get_xdata()) == 45
    assert cutoff.get_xdata()[0] == pytest.approx(40)


def test_the_contrasts_of_several_masks_are_told_apart():
    grid = Grid((20, 30), 4e-6)
    psfs = torch.stack([gaussian(grid, 8e-6, 8e-6), gaussian(grid, 16e-6, 8e-6)])
    lines = plotting.plot_mtf(psfs, grid.pitch).lines
    assert [line.get_label() for line in lines] == ["mask 0, x", "mask 0, y", "mask 1, x", "mask 1, y"]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 4
    assert lines[3].get_ydata()[3] < lines[1].get_ydata()[3]  # the wider spot keeps less
    with pytest.raises(ValueError, match=r"psfs must have shape \(masks, height, width\)"):
        plotting.plot_mtf(psfs[None], grid.pitch)


def lightness(colours):
    """CIE L* of sRGB colours in [0, 1] (IEC 61966-2-1, CIE 15), all that is left where no colour is seen."""
    rgb = np.asarray(colours)[..., :3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > (6 / 29) ** 3, 116 * np.cbrt(y) - 16, (29 / 3) ** 3 * y)


def test_brightness_grows_with_the_value_for_any_colour_vision():
    for ax in (
        plotting.plot_intensity(field()),
        plotting.plot_amplitude(field()),
        plotting.plot_otf(field().intensity, GRID.pitch),
        plotting.plot_frames(torch.ones(4, 5), torch.ones(1, *GRID.shape), GRID).axes[1],
    ):
        assert (np.diff(lightness(ax.images[0].cmap(np.linspace(0, 1, 64)))) > 0).all()
    turn = lightness(plotting.plot_phase(field()).images[0].cmap(np.linspace(0, 1, 65)))
    assert turn[0] == pytest.approx(turn[-1], abs=2)
    assert (np.diff(turn[:33]) < 0).all()  # down to pi, and up again
    assert (np.diff(turn[33:]) > 0).all()


def test_a_png_is_made_of_an_axes_too():
    ax = plotting.plot_convergence(torch.tensor([1.0, 0.5]))
    assert plotting.png(ax) == plotting.png(ax.figure)


@pytest.fixture
def convolution():
    """Two kernels in front of a camera of 12 x 20 pixels of 50 um, and the figure of them."""
    frame = torch.arange(240.0).view(12, 20)
    windows = [(slice(1, 5), slice(2, 7)), (slice(8, 12), slice(15, 20))]
    measured, wanted = torch.randn(2, 2, 4, 5, generator=torch.Generator().manual_seed(3))
    figure = plotting.plot_convolution(frame, windows, measured, wanted, pitch=50e-6)
    return frame, windows, measured, wanted, figure


def test_windows_are_drawn_around_the_camera_pixels_they_hold(convolution):
    frame, windows, *_, figure = convolution
    ax = figure.axes[0]
    np.testing.assert_array_equal(ax.images[0].get_array(), frame)
    left, right, bottom, top = ax.images[0].get_extent()
    # Pixel 10 of 20 and pixel 6 of 12 are centred on the axis: 10.5 pixels to the left of it, 9.5 to the right.
    assert (left, right, bottom, top) == pytest.approx((-0.525, 0.475, 0.275, -0.325))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x [mm]", "y [mm]")
    for patch, (rows, columns) in zip(ax.patches, windows, strict=True):
        (x0, y0), (x1, y1) = patch.get_bbox().get_points()
        pixels = [(x0 - left) / 0.05, (x1 - left) / 0.05, (y0 - top) / 0.05, (y1 - top) / 0.05]
        assert pixels == pytest.approx([columns.start, columns.stop, rows.start, rows.stop], abs=1e-9)


def test_a_convolution_names_what_was_measured_and_what_conv2d_says(convolution):
    _, _, measured, wanted, figure = convolution
    panels = [ax for ax in figure.axes if ax.images and ax.images[0].get_array().shape == (4, 5)]
    assert len(panels) == 6
    rows = {panel.get_ylabel(): panel for panel in panels if panel.get_ylabel()}
    expected = {"measured": measured, "conv2d": wanted, "difference": measured - wanted}
    assert set(rows) == set(expected)
    for name, first in rows.items():
        top = first.get_position().y0
        row = sorted((ax for ax in panels if ax.get_position().y0 == top), key=lambda ax: ax.get_position().x0)
        for k, ax in enumerate(row):
            np.testing.assert_allclose(ax.images[0].get_array(), expected[name][k], rtol=1e-6)
            limit = wanted[k].abs().max().item()
            assert ax.images[0].get_clim() == pytest.approx((-limit, limit))
        assert len(row) == 2
    assert {"kernel 0", "kernel 1"} <= {ax.get_title() for ax in panels}


def test_the_colour_bar_of_a_convolution_is_as_high_as_its_frame(convolution):
    figure = convolution[-1]
    figure.canvas.draw()
    frame = figure.axes[0]
    (bar,) = frame.child_axes
    assert bar.get_window_extent().height == pytest.approx(frame.get_window_extent().height, rel=0.01)
    assert bar.get_ylabel() == "signal [white object pixel]"
