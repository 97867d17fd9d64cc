"""The growth benchmark: its fit finds exponents that are known, its points are measured or say why not."""

import json

import pytest
import torch

from experiments import benchmark_growth
from experiments.benchmark_growth import (
    BATCHES,
    SIZES,
    Point,
    Series,
    exponent,
    growth_figure,
    growth_page,
    growth_rows,
    plane,
    plane_and_gradient,
    point_table,
    series,
)
from optics4f import memory


def test_the_exponent_of_a_power_law_is_found_and_small_planes_are_left_out():
    points = [Point(n, seconds=3e-9 * (n * n) ** 1.1, peak_bytes=8 * n * n) for n in (512, 1024, 2048, 4096)]
    fit = exponent([Point(256, seconds=1.0, peak_bytes=1), *points], "seconds", "N")
    assert fit["exponent"] == pytest.approx(1.1, abs=1e-9)
    assert fit["half_width"] < 1e-6
    assert (fit["from"], fit["to"]) == (512, 4096)
    assert exponent(points, "peak_bytes", "N")["exponent"] == pytest.approx(1, abs=1e-9)
    batches = [Point(b, seconds=2.0 * b) for b in (1, 4, 16)]
    assert exponent(batches, "seconds", "B")["exponent"] == pytest.approx(1, abs=1e-9)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """2000 scattered power laws; of 95 %, the count has a standard deviation of 0.5 %."""
    noise = torch.randn(2000, 5, generator=torch.Generator().manual_seed(0)).mul(0.1).exp().double()
    inside = 0
    for factors in noise:
        points = [Point(n, seconds=(n * n) ** 1.05 * f) for n, f in zip(SIZES[1:], factors.tolist(), strict=True)]
        fit = exponent(points, "seconds", "N")
        inside += abs(fit["exponent"] - 1.05) < fit["half_width"]
    assert 0.93 < inside / 2000 < 0.97


def test_a_refused_point_takes_no_part_and_two_points_are_no_fit():
    points = [Point(n, seconds=float(n * n)) for n in (512, 1024)]
    assert exponent(points, "seconds", "N") is None
    points += [Point(2048, seconds=2048.0**2), Point(4096, refused="it needs 99 GiB")]
    assert exponent(points, "seconds", "N")["to"] == 2048


def test_the_series_are_those_of_the_issue():
    assert (min(SIZES), max(SIZES), min(BATCHES), max(BATCHES)) == (256, 8192, 1, 256)
    for one in series():
        assert len(one.arguments) == len(one.sizes)
        assert one.sizes == (SIZES if one.grows == "N" else BATCHES)


def test_the_steps_propagate_the_whole_plane(monkeypatch):
    seen = []
    original = benchmark_growth.propagate
    monkeypatch.setattr(
        benchmark_growth, "propagate", lambda field, *a, **k: seen.append(field.data) or original(field, *a, **k)
    )
    plane(64)()
    plane_and_gradient(64)()
    assert [tuple(data.shape) for data in seen] == [(64, 64)] * 2
    assert seen[0].grad is None
    assert (seen[1].grad != 0).all()


def small(n: int):
    def step() -> None:
        torch.ones(n, 2**18).sum()

    return step


def refused(n: int):
    def step() -> None:
        raise memory.TooLargeError("it needs 99 GiB, got 1 GiB")

    return step


def killed(n: int):
    import os
    import signal

    return lambda: os.kill(os.getpid(), signal.SIGKILL)


def test_points_are_measured_in_processes_of_their_own_and_the_page_tells_all(tmp_path):
    found = growth_rows([Series("ones", small, ((64,), (256,)), (64, 256), "B")], seconds=0.1)
    (row,) = found
    assert [p["size"] for p in row["points"]] == [64, 256]
    for p in row["points"]:
        assert p["peak_bytes"] == pytest.approx(p["size"] * 2**20, rel=0.1)
        assert 0 < p["low"] <= p["seconds"] <= p["high"]
    assert growth_rows([Series("no", refused, ((1,),), (1,), "N")])[0]["points"][0]["refused"].startswith("it needs 99")
    assert "ended before" in growth_rows([Series("no", killed, ((1,),), (1,), "N")])[0]["points"][0]["refused"]
    row["points"].append(vars(Point(512, refused="it needs 99 GiB")))
    page = growth_page([row], {"torch": "x"})
    assert "| 512 | refused |" in page
    assert "it needs 99 GiB" in page
    assert point_table(row)[0]["memory"].endswith("MiB")
    assert growth_figure([row]).startswith(b"\x89PNG")
    json.dumps(found, allow_nan=False)
