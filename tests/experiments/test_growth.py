"""The growth benchmark: its fit finds exponents that are known, its points are measured or say why not."""

import json
import time

import pytest
import torch

from experiments import benchmark_growth
from experiments.benchmark_growth import (
    BATCHES,
    SIZES,
    Point,
    Series,
    exponent,
    exponent_table,
    growth_figure,
    growth_page,
    growth_rows,
    plane,
    plane_and_gradient,
    point_table,
    series,
    verdict,
)
from optics4f import memory, propagation


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


def test_a_point_that_was_refused_though_a_larger_one_ran_is_measured_again(monkeypatch):
    """The first time that 64 is asked for, something else takes the memory."""
    told, asked = [], []

    def refused_once(n: int):
        asked.append(n)
        return small(1) if asked != [64] else refused(1)

    monkeypatch.setattr(benchmark_growth, "point", benchmark_growth._point_here)
    one = Series("once", refused_once, ((64,), (256,)), (64, 256), "N")
    (row,) = growth_rows([one], seconds=0.01, pause=0.0, progress=told.append)
    assert [p["size"] for p in row["points"]] == [64, 256]
    assert all(p["seconds"] is not None and not p["refused"] for p in row["points"])
    assert told == ["once, N = 64", "once, N = 256", "once, N = 64, again"]


def test_a_point_that_is_refused_again_and_again_stays_refused_and_a_larger_one_is_not_asked_again(monkeypatch):
    asked = []

    def point(build, arguments, size, seconds):
        asked.append(size)
        return Point(size, seconds=1.0) if size == 128 else Point(size, refused="it needs 99 GiB")

    monkeypatch.setattr(benchmark_growth, "point", point)
    (row,) = growth_rows([Series("some", small, ((1,),) * 3, (64, 128, 256), "N")], pause=0.0)
    assert asked == [64, 128, 256, *[64] * benchmark_growth.RETRIES]
    assert [bool(p["refused"]) for p in row["points"]] == [True, False, True]


@pytest.mark.parametrize(
    ("exponent", "half_width", "words"),
    [
        (1.01, 0.05, "yes"),
        (1.146, 0.098, "yes, within the interval"),
        (1.184, 0.186, "missed, within the interval"),
        (1.3, 0.1, "missed"),
    ],
)
def test_a_goal_that_is_missed_is_said_to_be(exponent, half_width, words):
    fit = {"exponent": exponent, "half_width": half_width, "from": 512, "to": 8192}
    assert verdict(fit) == words
    row = {"case": "a plane", "grows": "N", "time": fit, "memory": None}
    assert exponent_table([row])[0]["met"] == words
    assert exponent_table([row | {"grows": "B"}])[0]["met"] == ""
    assert verdict(None) == "not measured"


def test_a_point_runs_three_times_at_least_and_ten_where_there_is_time():
    slow = benchmark_growth._point_here(waits, (0.2,), 1, seconds=0.1)
    assert slow.repetitions == 3
    assert benchmark_growth._point_here(waits, (0.01,), 1, seconds=1.0).repetitions == 10


def waits(seconds: float):
    def step() -> None:
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    return step


def test_a_plane_builds_its_transfer_function_at_every_call_at_all_sizes(monkeypatch):
    built, original = [], propagation.angular_spectrum_transfer_function

    def build(*arguments, **options):
        built.append(arguments)
        return original(*arguments, **options)

    build.__name__ = original.__name__
    monkeypatch.setattr(propagation, "angular_spectrum_transfer_function", build)
    step = plane(16)
    for _ in range(3):
        step()
    assert len(built) == 3


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


@pytest.mark.slow
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
