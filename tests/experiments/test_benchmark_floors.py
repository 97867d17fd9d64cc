"""Floors of the speed benchmark: the transforms, products and bytes that they say; and the accuracy of the peers."""

import math

import pytest
import torch

from experiments import benchmark_conv_speed
from experiments.benchmark_conv_speed import Setting, floor_of, step_rows, step_table
from experiments.benchmark_floors import (
    copy_bandwidth,
    elapsed,
    floor_step,
    median_time,
    moved_row,
    propagation_4f_bytes,
    psf_floor,
    transform_bytes,
)
from experiments.benchmark_peers import on_the_timed_input, our_light, plane_step, smooth_error, torchoptics_light
from experiments.speed_report import moved_rows, moved_table
from optics4f.filtering import _whole


@pytest.fixture
def transformed(monkeypatch):
    """Shapes that go through ``fft2`` and ``ifft2``, one entry a plane."""
    shapes = []
    for name in ("fft2", "ifft2"):
        original = getattr(torch.fft, name)

        def transform(x, *rest, original=original, **options):
            shapes.extend([tuple(x.shape[-2:])] * max(1, math.prod(x.shape[:-2])))
            return original(x, *rest, **options)

        monkeypatch.setattr(torch.fft, name, transform)
    return shapes


def test_the_floor_is_that_many_transforms_of_that_size(transformed):
    floor_step(5, 16)()
    assert transformed == [(16, 16)] * 5


@pytest.mark.parametrize(("backward", "count"), [(False, 3 + 2 + 6), (True, 3 + 2 + 6 + 6 + 2)])
def test_the_floor_of_a_psf_step_has_its_transforms_and_products(backward, count, transformed, monkeypatch):
    """3 images, 2 masks of 20 x 24, windows of 7: images, masks and pairs; back pairs and masks."""
    operations, original = [], torch.Tensor.__matmul__

    def product(a, b):
        operations.append(a.shape[0] * a.shape[1] * b.shape[1])
        return original(a, b)

    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    psf_floor(3, 2, (20, 24), 7, 12, backward=backward)()
    assert transformed == [(12, 12)] * count
    forth, back = 7 * 20 * 24 + 7 * 24 * 7, 20 * 7 * 7 + 20 * 7 * 24
    assert sum(operations) == 2 * (forth + back * backward)


def test_the_floor_of_a_convolution_is_that_of_its_routes(transformed):
    setting = Setting("resolved", masks=2, width=256)
    route = setting.layer("psf")._routes[0]
    transformed.clear()
    floor_of(3, setting, backward=False)()
    assert transformed == [(route.length[0],) * 2] * (3 + 2 + 6)


# --- bytes that must move ---


def test_the_bytes_of_a_transform_are_two_passes_that_read_and_write():
    """In numbers: 1024 x 1024 complex64 are 8 MiB; read and written along rows and along columns, 32 MiB."""
    assert transform_bytes(1, 1024) == 32 * 2**20
    assert transform_bytes(3, 1024, itemsize=16) == 3 * 64 * 2**20


def test_the_bytes_of_a_step_are_those_of_the_transforms_that_a_gpu_makes(transformed):
    """The filter of a GPU, run here: twice four gaps forward and twice two back, on windows of 2n."""
    n, batch = 8, 3
    data, transfer = torch.ones(batch, n, n, dtype=torch.complex64), torch.ones(2 * n, 2 * n, dtype=torch.complex64)
    for _ in range(4 + 2):
        _whole(data, transfer, (n, n))
    assert set(transformed) == {(2 * n, 2 * n)}
    moved = propagation_4f_bytes(n, batch)
    assert moved["transforms"] == transform_bytes(len(transformed), 2 * n)
    assert moved["transfer functions"] == 6 * batch * transfer.nbytes
    assert moved == {"transforms": 36 * 8192, "transfer functions": 18 * 2048}


def ticks(*seconds: float):
    """A clock that runs the step and says these seconds, one after the other."""
    found = iter(seconds)

    def clock(step, device):
        step()
        return next(found)

    return clock


def test_the_bandwidth_of_a_copy_counts_what_is_read_and_what_is_written():
    clock = ticks(99.0, 0.5, 0.25, 0.125)  # the first run is not counted
    assert copy_bandwidth("cpu", size=1000, repetitions=3, clock=clock) == 2 * 1000 / 0.25


def test_a_step_is_compared_with_the_time_in_which_its_bytes_move():
    """2 GB at 4 GB/s are half a second; the step takes 0.75 s."""
    calls = []
    row = moved_row(
        "a step",
        lambda: calls.append(0),
        {"transforms": 15 * 10**8, "transfer functions": 5 * 10**8},
        4e9,
        device="cpu",
        repetitions=3,
        clock=ticks(9.0, 0.75, 0.7, 0.8),
    )
    assert len(calls) == 4
    assert row["floor_seconds"] == pytest.approx(0.5)
    assert row["ratio"] == pytest.approx(1.5)
    (line,) = moved_table([row])
    assert (line["bytes that must move"], line["bandwidth of a copy"]) == ("2.00 GB", "4 GB/s")
    assert (line["floor"], line["time"], line["ratio"]) == ("500.00 ms", "750.00 ms", "1.50")


def test_on_a_gpu_the_events_of_the_stream_take_the_time(monkeypatch):
    """Recorded before and after the step, and waited for; torch gives milliseconds."""
    order = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing
            order.append(f"event {order.count('event')}")

        def record(self) -> None:
            order.append("record")

        def elapsed_time(self, other) -> float:
            order.append("read")
            return 12.5

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: order.append("wait"))
    assert elapsed(lambda: order.append("step"), "cuda") == pytest.approx(0.0125)
    assert [entry for entry in order if not entry.startswith("event")] == [
        *("wait", "record", "step", "record", "wait", "read"),
    ]


def test_the_rows_of_a_device_are_measured(monkeypatch):
    monkeypatch.setattr("experiments.speed_report.copy_bandwidth", lambda device, repetitions: 1e9)
    monkeypatch.setattr("experiments.speed_report.propagation_4f", lambda n, batch, device: lambda: None)
    (row,) = moved_rows("cpu", 3, quick=True)
    assert row["bytes"] == propagation_4f_bytes(512, 4)
    assert row["floor_seconds"] == sum(row["bytes"].values()) / 1e9
    assert len(moved_rows("cpu", 3)) == 3


def test_a_clock_on_the_cpu_measures_the_step():
    assert median_time(lambda: torch.ones(2**22).cos(), "cpu", 3) > median_time(lambda: None, "cpu", 3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a GPU is wanted")
def test_a_gpu_copies_faster_than_a_tenth_of_a_terabyte_a_second():
    assert 1e11 < copy_bandwidth("cuda", repetitions=3) < 1e14


# --- peers ---


def test_the_4f_images_a_gaussian_where_the_closed_form_says():
    found = smooth_error(our_light, 64, torch.float64, 32)
    assert found["error"] < 1e-8  # what exact propagation does to a thin lens: 2.8e-9
    assert found["power"] == pytest.approx(1, abs=1e-9)
    assert smooth_error(our_light, 64, torch.float32, 32)["error"] < 1e-6


def test_an_image_beside_its_place_is_an_error():
    """By one sample, of a Gaussian whose intensity has a standard deviation of n / 32: 0.25 of it at n = 128."""

    def shifted(phase):
        light = our_light(phase)
        return lambda images: light(images).roll(1, -1)

    deviation = 128 / 32
    wanted = math.sqrt(2 - 2 * math.exp(-1 / (4 * deviation**2)))
    # After the best factor the part along the wanted image is gone.
    wanted *= math.sqrt((1 + math.exp(-1 / (4 * deviation**2))) / 2)
    assert smooth_error(shifted, 128, torch.float64, 64)["error"] == pytest.approx(wanted, rel=0.02)


def test_torchoptics_is_right_in_double_precision_and_its_single_precision_is_not_ours():
    pytest.importorskip("torchoptics")
    double = smooth_error(torchoptics_light, 64, torch.float64, 31.5)
    single = smooth_error(torchoptics_light, 64, torch.float32, 31.5)
    assert double["error"] < 1e-8
    assert double["power"] == pytest.approx(1, abs=1e-9)
    assert single["error"] > 100 * smooth_error(our_light, 64, torch.float32, 32)["error"]


def test_on_random_pixels_torchoptics_computes_another_picture():
    pytest.importorskip("torchoptics")
    found = on_the_timed_input(64)
    assert found["power"] < 0.9
    assert found["correlation"] < 0.9


def test_a_library_that_does_not_run_is_left_out_with_the_reason(monkeypatch):
    def broken(*arguments):
        raise RuntimeError("operator\n  does not exist")

    monkeypatch.setattr("experiments.benchmark_peers._propagator", lambda *a: type("P", (), {"propagate": broken}))
    with pytest.raises(ImportError, match="waveprop does not run: RuntimeError: operator does not exist"):
        plane_step("waveprop", "complex64", 16)


# --- a convolution ---


def test_a_row_of_a_convolution_says_how_often_everything_ran(monkeypatch):
    monkeypatch.setattr(
        benchmark_conv_speed, "peak_memory", lambda build, name, *a, **k: {"psf": 10**6}.get(name, 10**7)
    )
    rows = step_rows(repetitions=2, chosen=[(Setting("resolved", 2, 256), 1, "fourier_lens")])
    times = rows[0]["times"]
    assert {timing["repetitions"] for timing in times.values()} == {2}
    assert rows[0]["ratio"] == times["psf"]["median"] / times["floor"]["median"]
    assert rows[0]["times_faster"] == times["fourier_lens"]["median"] / times["psf"]["median"]
    (line,) = step_table(rows)
    assert line["K masks"] == "2 of 256 x 256, 1 spot a logical pixel, B = 1"
    assert all(line[name].endswith("s (2)") for name in ("PSF route (runs)", "forward (runs)", "its step (runs)"))
    assert line["less memory (goal 20)"] == "10 x"
