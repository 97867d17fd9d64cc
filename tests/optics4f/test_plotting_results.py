"""Figures of results: what is drawn is what was given, on the axes that were given."""

import numpy as np
import pytest
import torch

from optics4f import plotting
from optics4f.photon_transfer import PhotonTransfer
from tests.optics4f.test_plotting import GRID, drawn, field


def transfer(**changed):
    """A camera of 2 e-/DN and 3 e- read noise: variance [DN^2] 9/4 + 1/12 in the dark, and half the mean on top."""
    mean = torch.tensor([0.0, 10.0, 100.0, 1000.0], dtype=torch.float64)
    numbers = {
        "gain": 2.0,
        "read_noise": 3.0,
        "rounding_hides_noise": False,
        "full_well": 2100.0,
        "saturation": 2000.0,
        "quantum_efficiency": None,
        "dsnu": 0.0,
        "prnu": 0.0,
        "mean": mean,
        "variance": 9 / 4 + 1 / 12 + mean / 2,
        "snr": mean,
    }
    return PhotonTransfer(**{**numbers, **changed})


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


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plotting.plot_intensity(field(), ax=ax),
        lambda ax: plotting.plot_amplitude(field(), ax=ax),
        lambda ax: plotting.plot_phase(field(), ax=ax),
        lambda ax: plotting.plot_psf(field().intensity, GRID.pitch, ax=ax),
        lambda ax: plotting.plot_otf(field().intensity, GRID.pitch, ax=ax),
        lambda ax: plotting.plot_mtf(field().intensity, GRID.pitch, ax=ax),
        lambda ax: plotting.plot_convergence(torch.tensor([1.0, 0.5]), ax=ax),
        lambda ax: plotting.plot_spots(torch.ones(2, 3), ax=ax),
        lambda ax: plotting.plot_spots(torch.ones(9, 8), ax=ax),
        lambda ax: plotting.plot_photon_transfer(transfer(), ax=ax),
        lambda ax: plotting.plot_confusion(torch.eye(2), "ab", ax=ax),
        lambda ax: plotting.plot_ablation([{"effect": "noise", "mean": 0.8}], ax=ax),
        lambda ax: plotting.plot_costs([{"system": "4f", "terms": {"laser": 1.0}}], ax=ax),
    ],
)
def test_what_has_one_panel_is_drawn_on_the_axes_that_are_given(draw):
    figure = plotting.plot_convergence(torch.tensor([1.0, 0.5])).figure
    ax = figure.add_subplot(2, 2, 4)
    assert draw(ax) is ax
    assert ax.has_data()
    assert ax.get_title() or ax.get_xlabel()
    assert len(figure.axes[0].lines) == 1  # what stood there before is untouched


def test_spots_are_bars_against_what_is_wanted_and_a_map_where_they_are_many():
    power = torch.tensor([[1.0, 3.0, 9.0], [2.0, 2.0, 5.0]])
    wanted = torch.tensor([[1.0, 2.0, 0.0], [2.0, 1.0, 5.0]])  # ratios 1, 1.5, 1, 2, 1, of mean 1.3
    ax = plotting.plot_spots(power, wanted, total=26.0)
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], np.array([1, 1.5, 1, 2, 1]) / 1.3, rtol=1e-6)
    # By hand: 13 of 26 in the five spots; 1 - (2 - 1) / (2 + 1).
    assert ax.get_title() == "efficiency 0.5000, uniformity 0.6667"
    many = torch.ones(9, 8)
    many[4, 2] = 2
    drawing = plotting.plot_spots(many)
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


def test_a_photon_transfer_is_the_line_of_its_gain_and_read_noise_through_what_was_measured():
    ax = plotting.plot_photon_transfer(transfer())
    measured, line, dark, saturation = ax.lines
    np.testing.assert_allclose(measured.get_xydata(), [[10, 22 / 3], [100, 157 / 3], [1000, 1507 / 3]], rtol=1e-12)
    x, y = line.get_data()
    np.testing.assert_allclose(y, 7 / 3 + x / 2, rtol=1e-12)
    assert dark.get_ydata()[0] == pytest.approx(7 / 3)
    assert saturation.get_xdata()[0] == pytest.approx(1000)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mean signal [DN]", "variance [DN²]")
    assert ax.get_title() == "gain 2 e-/DN, read noise 3 e-, full well 2100 e-"
    drawn(ax.figure)
    (electrons,) = ax.child_axes
    assert electrons.get_xlim() == pytest.approx([2 * end for end in ax.get_xlim()])
    hidden = plotting.plot_photon_transfer(transfer(rounding_hides_noise=True, full_well=None, saturation=None))
    assert hidden.get_title() == "gain 2 e-/DN, read noise at most 3 e-"
    assert len(hidden.lines) == 3


def test_convergence_has_a_curve_a_mask_and_is_logarithmic_where_it_can_be():
    losses = torch.tensor([[1.0, 2.0], [0.1, 0.5], [0.01, 0.3]])
    ax = plotting.plot_convergence(losses, title="retrieval")
    for k, line in enumerate(ax.lines):
        np.testing.assert_array_equal(line.get_ydata(), losses[:, k].double())
    assert (ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()) == ("log", "iteration", "loss")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["mask 0", "mask 1"]
    assert plotting.plot_convergence(torch.tensor([1.0, 0.0])).get_yscale() == "linear"


def test_results_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match=r"confusion must have shape \(2, 2\) for 2 classes, got \(3, 3\)"):
        plotting.plot_confusion(torch.eye(3), ["a", "b"])
    with pytest.raises(ValueError, match="history must have at least one record"):
        plotting.plot_curves([])
    with pytest.raises(ValueError, match="laser must not be negative, got -1 J"):
        plotting.plot_costs([{"system": "4f", "terms": {"laser": -1.0, "host": 2.0}}])
