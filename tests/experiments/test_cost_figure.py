"""The figure of costs against size: what is drawn is what was given."""

import numpy as np
import pytest

from optics4f.plotting import plot_scaling

OPTICS = {"name": "optics", "x": [32, 64, 128], "values": [(1e-3, 2e-3, 4e-3), None, (2e-3, 3e-3, 8e-3)]}
DIGITAL = {"name": "digital", "x": [32, 64, 128], "values": [(1e-6,) * 3, (4e-6,) * 3, (16e-6,) * 3], "reference": True}
EMPTY = {"name": "nothing", "x": [32, 64], "values": [None, None]}


@pytest.fixture
def axes():
    return plot_scaling([OPTICS, DIGITAL, EMPTY], unit="s", label="latency", x_label="side [pixels]")


def test_lines_go_through_the_middle_values_and_leave_out_what_is_unknown(axes):
    lines = {line.get_label(): line for line in axes.lines}
    assert set(lines) == {"optics", "digital"}
    np.testing.assert_array_equal(lines["optics"].get_xydata(), [[32, 2e-3], [128, 3e-3]])
    np.testing.assert_array_equal(lines["digital"].get_ydata(), [1e-6, 4e-6, 16e-6])


def test_bands_reach_from_end_to_end(axes):
    vertices = axes.collections[0].get_paths()[0].vertices
    assert {tuple(vertex) for vertex in vertices} >= {(32, 1e-3), (32, 4e-3), (128, 2e-3), (128, 8e-3)}


def test_both_axes_are_logarithmic_and_named_in_units(axes):
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.xaxis.get_major_formatter()(128) == "128"
    assert axes.yaxis.get_major_formatter()(2e-6) == "2 µs"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("side [pixels]", "latency")


def test_references_are_grey_and_behind(axes):
    optics, digital = axes.lines
    assert digital.get_color() == "0.3"
    assert digital.get_zorder() < optics.get_zorder()
    assert digital.is_dashed()
    assert not optics.is_dashed()


def test_no_two_references_look_alike():
    many = [DIGITAL | {"name": str(i)} for i in range(10)]
    lines = plot_scaling(many, unit="s", label="latency", x_label="side").lines
    assert len({(line.get_color(), str(line._dash_pattern)) for line in lines}) == 10
