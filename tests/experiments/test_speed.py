"""The speed benchmark measures what it says: its steps train masks, its floor is FFTs, its tables are complete."""

import json
from functools import partial

import pytest
import torch
from rich.console import Console

from experiments import benchmark_speed, speed_report, timing
from experiments.benchmark_peers import TIMED
from experiments.benchmark_speed import (
    Case,
    cases,
    matched_4f,
    measure,
    prebuilt_plane,
    propagation_4f,
    single_plane,
    transforms,
)
from experiments.timing import interleaved, peak_memory
from optics4f import propagation


def test_cases_take_turns_and_are_run_once_before():
    order = []
    found = interleaved({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 3)
    assert order == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert found["a"].repetitions == 3
    assert found["a"].low <= found["a"].median <= found["a"].high


def test_a_slow_case_runs_three_times_and_the_others_as_often_as_asked(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock) * (timing.SLOW / 2))  # 10 s between two looks
    runs = {"slow": 0, "fast": 0}

    def slow() -> None:
        runs["slow"] += 1
        next(clock)

    def fast() -> None:
        runs["fast"] += 1

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)  # wall time
    found = interleaved({"slow": slow, "fast": fast}, 7)
    assert runs == {"slow": 1 + 3, "fast": 1 + 7}
    assert (found["slow"].repetitions, found["fast"].repetitions) == (3, 7)


@pytest.mark.parametrize("build", [propagation_4f, matched_4f])
def test_a_step_leaves_a_gradient_in_the_masks(build, monkeypatch):
    routes = []
    original = benchmark_speed.training_step
    monkeypatch.setattr(
        benchmark_speed,
        "training_step",
        lambda route, *rest, **options: routes.append(route) or original(route, *rest, **options),
    )
    build(32, 2, 3)()
    gradient = routes[0].bench.slm.values.grad
    assert gradient.shape == (3, 32, 32)
    assert (gradient != 0).float().mean() > 0.9


def _allocate(megabytes: int):
    def step() -> None:
        torch.ones(megabytes, 2**18)

    return step


def test_peak_memory_is_that_of_what_a_step_allocates():
    assert peak_memory(_allocate, 200) == pytest.approx(200 * 2**20, rel=0.05)


@pytest.mark.parametrize(
    "build",
    [
        propagation_4f,
        matched_4f,
        lambda n, *rest, **options: single_plane(n, **options),
        lambda n, *rest, **options: prebuilt_plane(n, **options),
    ],
)
def test_a_forward_pass_leaves_no_graph_and_no_gradient(build, monkeypatch):
    """It is the step without its backward pass: nothing asks autograd for anything."""
    step, called, kept = build(16, 1, backward=False), [], []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda saved: saved):
        step()
    assert not kept
    monkeypatch.setattr(torch.Tensor, "backward", lambda *a, **k: called.append(a))
    step()
    assert not called
    build(16, 1)()
    assert len(called) == 1


def test_a_plane_is_propagated_by_propagate_and_a_new_distance_builds_its_transfer_function(monkeypatch):
    built = []
    original = propagation.angular_spectrum_transfer_function

    def build(*arguments, **options):
        built.append(arguments)
        return original(*arguments, **options)

    build.__name__ = original.__name__
    monkeypatch.setattr(propagation, "angular_spectrum_transfer_function", build)
    propagation.TRANSFER_FUNCTIONS.clear()
    known, new = single_plane(16), single_plane(16, new=True)
    for _ in range(3):
        known()
    assert len(built) == 1
    for _ in range(3):
        new()
    assert len(built) == 4


def _absent_step(n: int, batch: int, device: str = "cpu"):
    raise ImportError("no such library")


SMALL = [
    Case(
        "4f",
        propagation_4f,
        (16, 1),
        ("12 FFTs", partial(transforms, 12, 32)),
        1.15,
        forward=partial(propagation_4f, backward=False),
        forward_floor=("8 FFTs", partial(transforms, 8, 32)),
        others={"other": matched_4f, "other, forward": partial(matched_4f, backward=False)},
        accuracy=lambda n: {"optics4f": {"error": 1e-7, "power": 1.0}, "other": {"error": 3e-3, "power": 0.9}},
    ),
    Case("absent", propagation_4f, (16, 1), ("", None), others={"peer": _absent_step}),
]


def test_every_case_is_measured_against_its_floor_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(speed_report, "cases", lambda quick: SMALL)
    monkeypatch.setattr(speed_report, "measure", lambda c, n, d: measure(c, n, d, memory=False))
    console = Console(record=True, width=250)
    rows = speed_report.run_speed(console, "cpu", 1, 3, True, tmp_path / "speed.json", tmp_path / "speed.md")
    times = rows[0]["times"]
    assert rows[0]["ratio"] == times["optics4f"]["median"] / times["floor"]["median"]
    assert rows[0]["forward_ratio"] == times["optics4f, forward"]["median"] / times["floor, forward"]["median"]
    assert rows[0]["speed_up"]["other"] == times["other"]["median"] / times["optics4f"]["median"]
    forward = times["other, forward"]["median"] / times["optics4f, forward"]["median"]
    assert rows[0]["speed_up"]["other, forward"] == forward
    assert rows[1]["not_installed"] == {"peer": "no such library"}
    record = json.loads((tmp_path / "speed.json").read_text())
    made_with = record["provenance"]
    assert made_with["threads"] == 1
    assert set(TIMED) <= set(made_with)
    assert [row["case"] for row in record["rows"]] == ["4f", "absent"]
    page = (tmp_path / "speed.md").read_text()
    assert "| absent | peer | not measured |" in page
    assert "no such library" in page
    assert f"| {rows[0]['ratio']:.2f} | 1.15 |" in page
    assert f"| {rows[0]['forward_ratio']:.2f} |" in page
    assert "| 3.0e-03 (1.0e-07) |" in page
    assert "| 3 | 12 FFTs |" in page  # how many runs
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")
    assert "(speed.png)" in page


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="--device must be cpu or cuda, got 'tpu'"):
        speed_report.run_speed(Console(), "tpu", 1, 1, True, None, None)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="--device cuda needs a CUDA build of torch and a GPU"):
            speed_report.run_speed(Console(), "cuda", 1, 1, True, None, None)


def test_the_cases_of_the_table_are_there_with_their_floors_and_forward_passes():
    found = cases()
    names = [case.name for case in found]
    for words in (
        "propagate() of a plane, forward, N = 512",
        "propagate() of a plane, forward and backward, N = 1024",
        "angular-spectrum 4f step, N = 1024",
        "matched pitch",
        "K = 8 masks",
        "PSF step, K = 16",
    ):
        assert any(words in name for name in names), words
    for case in found:
        assert case.floor[1] is not None, case.name
        assert (case.forward is not None and case.forward_floor[1] is not None) or "propagate()" in case.name
    peers = {label for case in found for label in case.others}
    for library in ("torchoptics, complex64", "torchoptics, complex128", "waveprop, complex64"):
        assert library in peers


@pytest.mark.parametrize("index", range(6))
def test_the_floors_are_the_transforms_that_the_words_say(index, monkeypatch):
    """Of the cases at N = 512: their number and size."""
    wanted = [(4, 1024), (2, 1024), (48, 1024), (12, 512), (17, 512), (17, 512)][index]
    case, counted = cases(quick=True)[index], []
    monkeypatch.setattr("experiments.benchmark_speed.floor_step", lambda *arguments: counted.append(arguments[:2]))
    case.floor[1](*case.arguments, device="cpu")
    assert counted == [wanted]
    if case.forward_floor[1] is not None:
        case.forward_floor[1](*case.arguments, device="cpu")
        assert counted[1] == ({2: 32, 3: 8, 4: 9, 5: 9}[index], wanted[1])
