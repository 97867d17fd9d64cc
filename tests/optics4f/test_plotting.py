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


def test_a_confusion_matrix_shows_counts_over_shares_of_the_true_class():
    counts = torch.tensor([[3, 1, 0], [0, 0, 0], [5, 0, 5]])
    ax = plotting.plot_confusion(counts, ["cat", "dog", "face"])
    np.testing.assert_allclose(ax.images[0].get_array(), [[0.75, 0.25, 0], [0, 0, 0], [0.5, 0, 0.5]])
    assert {text.get_position(): text.get_text() for text in ax.texts}[0, 2] == "5"  # column 0, row 2
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["cat", "dog", "face"]


def test_curves_skip_epochs_without_validation_and_mark_the_one_kept():
    history = [
        {"epoch": e, "loss": 1 / e, "train_accuracy": 0.2 * e, "validation_loss": v, "validation_accuracy": v}
        for e, v in ((1, None), (2, 0.5), (3, 0.75))
    ]
    history[1]["restored"] = True
    loss, accuracy = plotting.plot_curves(history).axes
    training, validation, kept = loss.lines
    assert list(training.get_ydata()) == [1, 1 / 2, 1 / 3]
    assert list(validation.get_xdata()) == [2, 3]
    assert kept.get_xdata()[0] == 2
    assert list(accuracy.lines[1].get_ydata()) == [50, 75]
    assert (loss.get_ylabel(), accuracy.get_ylabel(), loss.get_xlabel()) == ("loss [nat]", "accuracy [%]", "epoch")


def test_an_ablation_shows_mean_spread_seeds_and_the_unperturbed_value():
    rows = [
        {"effect": "crosstalk", "mean": 0.9, "seeds": [0.88, 0.93]},
        {"effect": "noise", "mean": 0.8, "low": 0.7, "high": 0.85},
        {"effect": "levels", "mean": 0.95},
    ]
    ax = plotting.plot_ablation(rows, reference=0.96)
    reference, *lines = sorted(ax.lines, key=lambda line: line.get_linestyle() != "--")
    assert list(reference.get_xdata()) == [96, 96]
    spreads, seeds, means = lines[::3], lines[1::3], lines[2::3]
    assert [list(line.get_xdata()) for line in spreads] == [[88, 93], [70, 85], [95, 95]]
    assert list(seeds[0].get_xdata()) == [88, 93]
    assert [line.get_xdata()[0] for line in means] == [90, 80, 95]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["crosstalk", "noise", "levels"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row at the top
    assert ax.get_xlabel() == "accuracy [%]"


def test_costs_are_bars_whose_pieces_add_up_to_the_total():
    rows = [
        {"system": "4f", "terms": {"laser": 2e-3, "camera": 3e-3, "host": 5e-3}},
        {"system": "GPU", "terms": {"GPU": 40e-6, "host": 10e-6}},
    ]
    ax = plotting.plot_costs(rows)
    ends = [max(bar[y].get_x() + bar[y].get_width() for bar in ax.containers) for y in (0, 1)]
    assert ends == pytest.approx([10, 0.05])
    assert ax.get_xlabel() == "energy per image [mJ]"
    assert [text.get_text() for text in ax.texts] == ["10 mJ", "50 µJ"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["laser", "camera", "host", "GPU"]
    latency = plotting.plot_costs([{"system": "4f", "terms": {"exposure": 2e-6}}], unit="s", label="latency")
    assert latency.get_xlabel() == "latency [µs]"


def test_many_terms_of_a_cost_are_told_apart():
    terms = {f"term {i}": 1.0 for i in range(20)}
    ax = plotting.plot_costs([{"system": "4f", "terms": terms}])
    styles = {(bar[0].get_facecolor(), bar[0].get_hatch()) for bar in ax.containers}
    assert len(styles) == 20


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
    with pytest.raises(ValueError, match="grid must be given"):
        plotting.plot_intensity(torch.ones(GRID.shape))
    with pytest.raises(ValueError, match=r"intensity must have the grid's shape \(6, 9\), got \(9, 6\)"):
        plotting.plot_intensity(torch.ones(9, 6), GRID)
    with pytest.raises(ValueError, match=r"field must have the grid's shape \(6, 9\), got \(2, 6, 9\)"):
        plotting.plot_intensity(field(GRID, 2))
    with pytest.raises(ValueError, match=r"phase must have shape \(masks, height, width\), got \(6, 9\)"):
        plotting.plot_masks(torch.zeros(GRID.shape), GRID)
    with pytest.raises(ValueError, match=r"phase_of must name planes of \['image'\], got \['behind SLM'\]"):
        plotting.plot_planes({"image": field()})
    with pytest.raises(ValueError, match=r"confusion must have shape \(2, 2\) for 2 classes, got \(3, 3\)"):
        plotting.plot_confusion(torch.eye(3), ["a", "b"])
    with pytest.raises(ValueError, match="history must have at least one record"):
        plotting.plot_curves([])
    with pytest.raises(ValueError, match="laser must not be negative, got -1 J"):
        plotting.plot_costs([{"system": "4f", "terms": {"laser": -1.0, "host": 2.0}}])


def test_spots_are_bars_against_what_is_wanted_and_a_map_where_they_are_many():
    power = torch.tensor([[1.0, 3.0, 9.0], [2.0, 2.0, 5.0]])
    wanted = torch.tensor([[1.0, 2.0, 0.0], [2.0, 1.0, 5.0]])  # ratios 1, 1.5, 1, 2, 1, of mean 1.3
    ax = plotting.plot_spots(power, wanted, total=26.0).axes[0]
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], np.array([1, 1.5, 1, 2, 1]) / 1.3, rtol=1e-6)
    # By hand: 13 of 26 in the five spots; 1 - (2 - 1) / (2 + 1).
    assert ax.get_title() == "efficiency 0.5000, uniformity 0.6667"
    many = torch.ones(9, 8)
    many[4, 2] = 2
    drawing = plotting.plot_spots(many).axes[0]
    assert np.unravel_index(drawing.images[0].get_array().argmax(), (9, 8)) == (4, 2)
    assert drawing.get_title() == "uniformity 0.6667"
    with pytest.raises(ValueError, match=r"one shape \(rows, columns\)"):
        plotting.plot_spots(power, wanted[:1])


def test_an_image_is_compared_at_the_best_brightness():
    wanted = torch.zeros(12, 16)
    wanted[3:9, 4:12] = 40.0
    bright = torch.where(torch.arange(16) % 2 == 0, 1.2, 0.8) * wanted  # even columns brighter
    figure = plotting.plot_image(7 * bright, wanted, title="mask 3")
    first, second, third = (ax.images[0].get_array() for ax in figure.axes[:3])
    # The factor 1 / (7 40) times sum(a w) / sum(a a) = 1 / 1.04: 1.2 and 0.8 become 1.1538 and 0.7692.
    assert first.max() == 1
    np.testing.assert_allclose(second[4, 4:6], [1.2 / 1.04, 0.8 / 1.04], rtol=1e-6)
    np.testing.assert_allclose(third, second - first, atol=1e-9)
    words = figure.get_suptitle()
    assert words.startswith("mask 3: RMS 0.196, PSNR ")  # sqrt(1 - 1 / 1.04)
    assert "SSIM" in words
    assert words.endswith("speckle 0.200")
    assert "SSIM" not in plotting.plot_image(wanted[:8], wanted[:8]).get_suptitle()
    with pytest.raises(ValueError, match="one shape"):
        plotting.plot_image(wanted, wanted[:8])


def test_kernels_are_compared_up_to_brightness_and_of_complex_ones_the_phase():
    wanted = torch.tensor([[[3.0, 0.0, 4.0], [0.0, 0.0, 0.0]], [[1.0, -1.0, 0.0], [0.0, 2.0, 0.0]]])
    made = torch.stack((torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), -wanted[1]))
    figure = plotting.plot_kernels(made, wanted, names=["x", "y"])
    below = [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()]
    assert below == ["cosine 0.6000\nerror 0.800", "cosine -1.0000\nerror 1.000"]  # a negative kernel is none
    turned = wanted * torch.polar(torch.tensor(5.0), torch.tensor(2.2))
    figure = plotting.plot_kernels(turned, wanted)
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_xlabel()] == ["cosine 1.0000\nerror 0.000"] * 2
    np.testing.assert_allclose(figure.axes[2].images[0].get_array(), wanted[0] / 4, atol=1e-6)  # second row: made
    with pytest.raises(ValueError, match="made and wanted must have one shape"):
        plotting.plot_kernels(made, wanted[:1])
