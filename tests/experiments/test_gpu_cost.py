"""Measured inference: counted operations, honest times, energy only where a counter runs."""

import math
import sys
import types

import pytest
import torch
from torch import nn

from experiments.gpu_cost import count_flops, energy_meter, measure_inference, rapl_meter, roofline
from optics4f.devices import gpu_device


class Calls(nn.Module):
    """Notes every batch size, and whether dropout was off."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen
        self.weight = nn.Parameter(torch.ones(()))

    def __deepcopy__(self, memo):
        return Calls(self.seen)

    def forward(self, x):
        self.seen.append((len(x), self.training))
        return self.weight * x


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def test_a_convolution_counts_two_operations_per_multiply_accumulate():
    model = nn.Conv2d(2, 3, (5, 3))
    assert count_flops(model, torch.ones(4, 2, 9, 7)) == 2 * 4 * 3 * (5 * 5) * (2 * 5 * 3)


@pytest.mark.parametrize(
    ("function", "complex_input", "share"),
    [
        (torch.fft.fft2, True, 1.0),
        (torch.fft.ifft2, True, 1.0),
        (torch.fft.rfft2, False, 0.5),
        (lambda x: torch.fft.irfft2(x, s=(8, 16)), "half", 0.5),
    ],
)
def test_a_fourier_transform_counts_5_n_log_n(function, complex_input, share):
    batch = torch.ones(3, 8, 9 if complex_input == "half" else 16)
    batch = batch.to(torch.complex64) if complex_input else batch
    assert count_flops(Apply(function), batch) == 3 * share * 5 * 128 * math.log2(128)


def test_a_transform_over_one_axis_counts_that_axis():
    batch = torch.ones(3, 8, 16, dtype=torch.complex64)
    assert count_flops(Apply(lambda x: torch.fft.fft(x, dim=-2)), batch) == 3 * 16 * 5 * 8 * 3


def test_a_complex_product_counts_six_and_a_real_one_nothing():
    real = torch.ones(3, 4)
    assert count_flops(Apply(lambda x: x * x), real.to(torch.complex64)) == 6 * 12
    assert count_flops(Apply(lambda x: x * x), real) == 0


def test_each_batch_size_is_warmed_up_timed_and_counted_in_eval_mode():
    seen = []
    model = Calls(seen).train()
    records = measure_inference(model, torch.ones(4, 3), batch_sizes=(1, 6), repetitions=5, warmup=2, energy_time=0)
    assert [record.batch_size for record in records] == [1, 6]
    assert [record.input_shape for record in records] == [(1, 3), (6, 3)]
    for record in records:
        assert sum(size == record.batch_size for size, _ in seen) >= 5 + 2
        assert 0 < record.p5 <= record.median <= record.p95
        assert (record.repetitions, record.warmup, record.threads) == (5, 2, torch.get_num_threads())
        assert record.torch_version == torch.__version__
        assert record.device
        assert record.throughput.nominal == pytest.approx(record.batch_size / record.median)
        assert record.latency.kind == "measured"
    assert not any(training for _, training in seen)
    assert model.training


def test_energy_without_a_counter_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr("experiments.gpu_cost.rapl_meter", lambda: rapl_meter(tmp_path))
    (record,) = measure_inference(nn.Identity(), torch.ones(1, 2), batch_sizes=(1,), repetitions=3, warmup=0)
    assert record.energy is None
    assert record.energy_per_image is None
    assert record.energy_source.startswith("unknown: no RAPL counter")


def test_an_unreadable_counter_is_unknown(tmp_path):
    (tmp_path / "intel-rapl:0").mkdir()
    meter, source = rapl_meter(tmp_path)
    assert meter is None
    assert source.startswith("unknown: RAPL cannot be read")


def test_rapl_adds_the_packages_and_survives_a_wrap(tmp_path):
    for package, start in ((0, 1_000_000), (1, 9_500_000)):
        folder = tmp_path / f"intel-rapl:{package}"
        folder.mkdir()
        (folder / "max_energy_range_uj").write_text("9999999\n")
        (folder / "energy_uj").write_text(f"{start}\n")
    meter, source = rapl_meter(tmp_path)
    stop = meter()
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("3000000\n")
    (tmp_path / "intel-rapl:1" / "energy_uj").write_text("500000\n")
    assert stop() == pytest.approx(2.0 + 1.0)
    assert source == "RAPL, 2 CPU packages, gross"


class FakeNVML(types.ModuleType):
    """An NVML whose counter, in millijoules since the driver was loaded, moves by 2 500 at each reading."""

    class NVMLError(Exception):
        pass

    def __init__(self):
        super().__init__("pynvml")
        self.counter = 7_000_000

    def nvmlInit(self):
        pass

    def nvmlDeviceGetHandleByUUID(self, uuid):
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        self.counter += 2_500
        return self.counter


def test_the_counter_of_a_gpu_is_in_millijoules(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNVML())
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="abc"))
    meter, source = energy_meter(torch.device("cuda"))
    assert meter()() == pytest.approx(2.5)  # joules, from one reading to the next
    assert source == "NVML total energy counter, gross"


def test_measured_energy_is_shared_among_the_images_of_a_batch(monkeypatch):
    monkeypatch.setattr("experiments.gpu_cost.energy_meter", lambda device: (lambda: lambda: 12.0, "fake counter"))
    (record,) = measure_inference(
        nn.Identity(), torch.ones(4, 2), batch_sizes=(4,), repetitions=3, warmup=0, energy_time=0
    )
    assert record.energy == 12.0  # one run, as no time was asked for
    assert record.energy_per_image.nominal == 3.0
    assert "fake counter" in record.energy_per_image.source


def test_nothing_can_be_measured_in_no_repetitions():
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        measure_inference(nn.Identity(), torch.ones(1, 2), repetitions=0)


@pytest.mark.parametrize(
    ("flops", "byte_count", "time"), [(66.9e12, 1.0, 1.0), (1.0, 3350e9, 1.0), (6.69e12, 335e9, 0.1)]
)
def test_the_roofline_is_the_slower_of_arithmetic_and_memory(flops, byte_count, time):
    bound = roofline(gpu_device("h100-sxm"), flops, byte_count)
    assert bound.nominal == pytest.approx(time)
    assert (bound.unit, bound.kind) == ("s", "modelled")


def test_a_roofline_needs_a_peak_and_a_bandwidth():
    with pytest.raises(ValueError, match="peak_fp32 of jetson-agx-orin-64gb must be known"):
        roofline(gpu_device("jetson-agx-orin-64gb"), 1, 1)
    with pytest.raises(ValueError, match="peak_int3 must be one of peak_fp32"):
        roofline(gpu_device("h100-sxm"), 1, 1, precision="int3")
