"""Inference measured in rounds, roofs from data sheets, and what is known of the machine."""

import dataclasses
import sys
import types

import pytest
import torch
from torch import nn

from experiments import measured_inference
from experiments.gpu_cost import InferenceRecord, nvml_device
from experiments.measured_inference import count_bytes, idle_power, machine, measure_models, modelled
from optics4f.devices import gpu_device


def record(batch_size, median, p5, p95, energy=None):
    return InferenceRecord(
        *("a device", "2.0", 1, "float32", (batch_size, 3), batch_size, 2, 10, median, p5, p95, energy),
        *("a counter" if energy else "unknown: none", 100),
    )


def test_the_best_batch_has_most_images_a_second_and_bounds_hold_all_rounds(monkeypatch):
    rounds = iter(
        [
            [record(1, 2.0, 1.8, 2.6, 4.0), record(4, 4.0, 3.9, 4.5, 8.0), record(8, 9.0, 8.8, 9.9, 20.0)],
            [record(1, 2.4, 2.2, 3.0, 5.0), record(4, 4.4, 4.0, 5.0, 9.0), record(8, 9.1, 8.0, 9.3, 21.0)],
            [record(1, 2.1, 1.9, 2.2, 4.5), record(4, 3.8, 3.5, 4.4, 8.4), record(8, 9.2, 8.9, 9.4, 22.0)],
        ]
    )
    measured = (one for one_round in rounds for one in one_round)
    monkeypatch.setattr(measured_inference, "measure_inference", lambda *args, **settings: [next(measured)])
    monkeypatch.setattr(measured_inference, "idle_power", lambda device, seconds: 7.0)
    (found,), records = measure_models({"net": nn.Identity()}, torch.ones(1, 3), batch_sizes=(4, 8), rounds=3)
    assert len(records) == 9
    assert found.best_batch == 4
    assert (found.latency.low, found.latency.nominal, found.latency.high) == (1.8, 2.1, 3.0)
    ends = (found.throughput.low, found.throughput.nominal, found.throughput.high)
    assert ends == pytest.approx((4 / 5.0, 4 / 4.0, 4 / 3.5))
    assert (found.energy.low, found.energy.nominal, found.energy.high) == (2.0, 2.1, 2.25)
    assert found.energy_single.nominal == 4.5
    assert (found.idle_power, found.kind, found.latency.kind) == (7.0, "measured", "measured")


def test_models_take_turns_and_batch_one_is_always_measured(monkeypatch):
    seen = []

    def measure(model, images, *, batch_sizes, **settings):
        seen.append((type(model).__name__, tuple(batch_sizes)))
        return [record(size, 1.0, 1.0, 1.0) for size in batch_sizes]

    monkeypatch.setattr(measured_inference, "measure_inference", measure)
    found, _ = measure_models(
        {"a": nn.Identity(), "b": nn.Flatten()}, torch.ones(1, 3), batch_sizes=(16,), rounds=2, energy_time=0
    )
    assert seen == [("Identity", (1,)), ("Identity", (16,)), ("Flatten", (1,)), ("Flatten", (16,))] * 2
    assert [one.energy for one in found] == [None, None]


def test_a_real_measurement_of_this_machine_is_complete():
    (found,), records = measure_models(
        {"conv": nn.Conv2d(1, 2, 3)},
        torch.ones(1, 1, 12, 9),
        batch_sizes=(1, 8),
        rounds=2,
        repetitions=3,
        energy_time=0,
    )
    assert len(records) == 4
    assert found.flops == 2 * (10 * 7) * 2 * 9
    assert 0 < found.latency.low <= found.latency.nominal <= found.latency.high
    assert "2 rounds of 3 runs" in found.latency.source
    assert found.device


def test_a_slow_batch_is_run_less_often_but_three_times_at_least(monkeypatch):
    asked = []

    def measure(model, images, *, batch_sizes, repetitions, **settings):
        asked.append((batch_sizes[0], repetitions))
        return [record(batch_sizes[0], 0.1 * batch_sizes[0], 0.1, 10.0)]

    monkeypatch.setattr(measured_inference, "measure_inference", measure)
    monkeypatch.setattr(measured_inference, "idle_power", lambda device, seconds: None)
    sizes = {"batch_sizes": (4, 64), "rounds": 1, "repetitions": 20, "seconds": 2.05}
    measure_models({"a": nn.Identity()}, torch.ones(1, 3), **sizes)
    assert asked == [(1, 1), (4, 1), (64, 1), (1, 20), (4, 5), (64, 3)]


def test_idle_power_is_energy_over_the_time_that_passed(monkeypatch):
    clock = iter([10.0, 14.0])
    monkeypatch.setattr(measured_inference, "energy_meter", lambda device: (lambda: lambda: 120.0, "fake"))
    monkeypatch.setattr(measured_inference.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(measured_inference.time, "sleep", lambda seconds: None)
    assert idle_power(torch.device("cpu"), 3.0) == 30.0


def test_idle_power_without_a_counter_is_unknown(monkeypatch):
    monkeypatch.setattr(measured_inference, "energy_meter", lambda device: (None, "unknown: none"))
    assert idle_power(torch.device("cpu"), 0.01) is None


def test_bytes_are_weights_once_and_every_layer_in_and_out():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 5 * 3, 4))
    weights, moved = count_bytes(model, torch.ones(1, 1, 7, 5))
    assert weights == 4 * (2 * 9 + 30 * 4 + 4)
    assert moved == 4 * ((35 + 30) + (30 + 30) + (30 + 30) + (30 + 4))


def test_a_roofline_is_labelled_and_needs_no_numbers():
    model, gpu = nn.Conv2d(1, 64, 9, bias=False), gpu_device("h100-sxm")
    found = modelled("conv", model, torch.ones(3, 1, 1032, 520), gpu)
    flops = 2 * 64 * 81 * 1024 * 512
    moved = 4 * (1032 * 520 + 64 * 1024 * 512)
    slower = max(flops / 66.9e12, (moved + 4 * 64 * 81) / 3350e9)
    assert (found.kind, found.latency.kind, found.best_batch) == ("modelled", "modelled", 0)
    assert found.flops == flops
    assert found.latency.nominal == pytest.approx(slower, rel=1e-12)
    assert found.energy_single.nominal == pytest.approx(700 * slower, rel=1e-12)
    assert found.throughput.nominal == pytest.approx(1 / max(flops / 66.9e12, moved / 3350e9), rel=1e-12)
    assert model.weight.device.type == "cpu"


def test_a_large_batch_shares_the_weights():
    """Bound by memory: alone an image waits for the weights, in company for its own activations only."""
    model, gpu = nn.Linear(1000, 1000, bias=False), gpu_device("h100-sxm")
    found = modelled("linear", model, torch.ones(1, 1000), gpu)
    assert found.latency.nominal == pytest.approx(4 * (1000**2 + 2000) / 3350e9, rel=1e-12)
    flops, moved = 2 * 1000**2, 4 * 2000
    assert found.throughput.nominal == pytest.approx(1 / max(flops / 66.9e12, moved / 3350e9), rel=1e-12)
    assert found.throughput.nominal > 30 / found.latency.nominal


@pytest.mark.parametrize(("device", "asked", "looped"), [("cuda", 0.4, 3.0), ("cuda", 5.0, 5.0), ("cpu", 0.4, 0.4)])
def test_a_counter_that_moves_slowly_is_read_over_seconds(monkeypatch, device, asked, looped):
    """NVML's moves every 20 to 100 ms: less than seconds would say nothing."""
    seen = []

    def measure(model, images, *, batch_sizes, energy_time, **settings):
        seen.append(energy_time)
        return [record(batch_sizes[0], 1.0, 1.0, 1.0)]

    monkeypatch.setattr(measured_inference, "measure_inference", measure)
    monkeypatch.setattr(measured_inference, "idle_power", lambda device, seconds: seen.append(seconds))
    _, records = measure_models(
        {"net": nn.Identity()}, torch.ones(1, 3), device=device, batch_sizes=(1,), rounds=1, energy_time=asked
    )
    assert seen == [looped, looped]
    assert [one.model for one in records] == ["net"]


class FakeNVML(types.ModuleType):
    """An NVML of one device."""

    NVML_CLOCK_SM = 1

    class NVMLError(Exception):
        pass

    def __init__(self, uuid="abc"):
        super().__init__("pynvml")
        self.uuid = f"GPU-{uuid}"

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):
        if uuid != self.uuid:
            raise self.NVMLError("not found")
        return "handle"

    def nvmlSystemGetDriverVersion(self):
        return "570.1"

    def nvmlDeviceGetClockInfo(self, handle, clock):
        return 1700

    def nvmlDeviceGetMaxClockInfo(self, handle, clock):
        return 1980


@pytest.fixture
def fake_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="abc"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Fake GPU")
    return monkeypatch


def test_provenance_of_a_gpu_names_driver_and_clocks(fake_gpu):
    fake_gpu.setitem(sys.modules, "pynvml", FakeNVML())
    found = machine("cuda")
    assert (found["gpu"], found["gpu_driver"], found["gpu_clock_mhz"], found["gpu_clock_most_mhz"]) == (
        *("Fake GPU", "570.1", 1700, 1980),
    )
    assert found["torch"] == torch.__version__


def test_a_gpu_that_nvml_does_not_know_is_unknown(fake_gpu):
    fake_gpu.setitem(sys.modules, "pynvml", FakeNVML(uuid="another"))
    nvml, reason = nvml_device(torch.device("cuda"))
    assert nvml is None
    assert "does not know this device" in reason
    assert machine("cuda")["gpu_driver"].startswith("unknown")


def test_provenance_of_a_cpu_names_its_clock_and_load():
    found = machine("cpu")
    assert {"commit", "processor", "threads", "cores", "load_average", "cpu_clock_mhz"} <= set(found)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_measures_time_energy_and_idle_power():
    (found,), _ = measure_models(
        {"conv": nn.Conv2d(1, 64, 7)}, torch.ones(1, 1, 256, 192), device="cuda", batch_sizes=(1, 64), rounds=2
    )
    assert found.kind == "measured"
    if found.energy is not None:
        assert found.energy.nominal > found.idle_power / found.throughput.nominal > 0


def test_rows_are_plain():
    (found,), _ = measure_models({"x": nn.Identity()}, torch.ones(1, 3), batch_sizes=(1,), rounds=1, energy_time=0)
    assert found.to_row() == dataclasses.asdict(found)
