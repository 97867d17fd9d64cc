"""Latency and energy of electronic inference: measured on the device at hand, a roofline where there is none.

Energy is gross: all that the counter of the device saw while the loop ran, idle power included.
A counter that cannot be read leaves the energy ``None``; nothing is estimated in its place.
"""

from __future__ import annotations

import copy
import math
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from optics4f.devices import GPUDevice, require

from .terms import Term, documented

RAPL_FOLDER = Path("/sys/class/powercap")
EnergyMeter = Callable[[], Callable[[], float]]  # start() gives stop(), which gives joules


@dataclass(frozen=True)
class InferenceRecord:
    """One measured batch size, with all that is needed to measure it again.

    Times [s] and ``energy`` [J] are per batch. ``energy`` is ``None`` where it is unknown, and
    ``energy_source`` says why, or what counted it. ``model`` is the name of what ran, where it has one.
    """

    device: str
    torch_version: str
    threads: int
    dtype: str
    input_shape: tuple[int, ...]
    batch_size: int
    warmup: int
    repetitions: int
    median: float
    p5: float
    p95: float
    energy: float | None
    energy_source: str
    flops: int
    model: str = ""

    @property
    def source(self) -> str:
        """Provenance in one line."""
        return (
            f"{self.device}, torch {self.torch_version}, {self.threads} threads, {self.dtype}, "
            f"batch {self.batch_size}, median of {self.repetitions}, bounds p5 and p95"
        )

    @property
    def latency(self) -> Term:
        """Time of one batch: an image waits for its whole batch."""
        return Term("latency", self.p5, self.median, self.p95, "s", self.source, "measured")

    @property
    def throughput(self) -> Term:
        """Images per second."""
        return (self.batch_size / self.latency).named("throughput", "1/s")

    @property
    def energy_per_image(self) -> Term | None:
        """Gross energy of one image, or ``None`` where no counter could be read."""
        if self.energy is None:
            return None
        image = self.energy / self.batch_size
        return Term("energy", image, image, image, "J", f"{self.energy_source}; {self.source}", "measured")

    def to_row(self) -> dict[str, Any]:
        """The record as a plain dictionary for tables and JSON."""
        return asdict(self)


def measure_inference(
    model: nn.Module,
    example_batch: Tensor,
    *,
    device: torch.device | str = "cpu",
    batch_sizes: Sequence[int] = (1, 256),
    repetitions: int = 100,
    warmup: int = 10,
    energy_time: float = 3.0,
) -> list[InferenceRecord]:
    """Time, energy and operations of inference, one record per batch size.

    A copy of the model runs in eval mode; the model itself stays where and as it is. CUDA is timed
    by its own events, the CPU by a monotonic clock.

    Args:
        model: Takes the batch as its only argument.
        example_batch: Input ``(batch, ...)``, repeated or cut to each batch size.
        device: Where to measure.
        batch_sizes: Batch 1 is bound by launches, a large batch by arithmetic: report both.
        repetitions: Timed runs.
        warmup: Runs before them, not counted.
        energy_time: How long to loop for the energy [s]: counters move every 20 to 100 ms, so one run shows nothing.

    Raises:
        ValueError: Less than one repetition, batch or image.
    """
    if repetitions < 1 or warmup < 0 or not batch_sizes or min(batch_sizes) < 1 or len(example_batch) < 1:
        raise ValueError(
            f"repetitions, batch_sizes and example_batch must be at least 1, got {repetitions}, "
            f"{tuple(batch_sizes)} and {len(example_batch)}."
        )
    device = torch.device(device)
    model = copy.deepcopy(model).to(device).eval()
    meter, energy_source = energy_meter(device)
    records = []
    for batch_size in batch_sizes:
        copies = -(-batch_size // len(example_batch))
        batch = example_batch.repeat(copies, *[1] * (example_batch.ndim - 1))[:batch_size].to(device)
        with torch.inference_mode():
            times = _times(model, batch, repetitions=repetitions, warmup=warmup)
            energy = _energy(model, batch, meter, runs=max(1, math.ceil(energy_time / statistics.median(times))))
        records.append(
            InferenceRecord(
                device=device_name(device),
                torch_version=torch.__version__,
                threads=torch.get_num_threads(),
                dtype=str(batch.dtype).removeprefix("torch."),
                input_shape=tuple(batch.shape),
                batch_size=batch_size,
                warmup=warmup,
                repetitions=repetitions,
                median=statistics.median(times),
                p5=_quantile(times, 0.05),
                p95=_quantile(times, 0.95),
                energy=energy,
                energy_source=energy_source,
                flops=count_flops(model, batch),
            )
        )
    return records


def _times(model: nn.Module, batch: Tensor, *, repetitions: int, warmup: int) -> list[float]:
    for _ in range(warmup):
        model(batch)
    if batch.device.type == "cuda":
        events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(repetitions)]
        torch.cuda.synchronize(batch.device)
        with torch.cuda.device(batch.device):
            for start, end in events:
                start.record()
                model(batch)
                end.record()
        torch.cuda.synchronize(batch.device)
        return [start.elapsed_time(end) * 1e-3 for start, end in events]
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        model(batch)
        times.append(time.perf_counter() - start)
    return times


def _energy(model: nn.Module, batch: Tensor, meter: EnergyMeter | None, *, runs: int) -> float | None:
    if meter is None:
        return None
    _synchronize(batch.device)
    stop = meter()
    for _ in range(runs):
        model(batch)
    _synchronize(batch.device)
    return stop() / runs


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _quantile(times: Sequence[float], q: float) -> float:
    return torch.tensor(times, dtype=torch.float64).quantile(q).item()


def device_name(device: torch.device) -> str:
    """The model name of the device, as its driver or the kernel gives it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def energy_meter(device: torch.device) -> tuple[EnergyMeter | None, str]:
    """The energy counter of a device, or ``None``; and what it is, or why there is none."""
    if device.type == "cuda":
        return _nvml_meter(device)
    if device.type == "cpu":
        return rapl_meter()
    return None, f"unknown: no energy counter for {device.type}"


def _nvml_meter(device: torch.device) -> tuple[EnergyMeter | None, str]:
    nvml, handle = nvml_device(device)
    if nvml is None:
        return None, f"unknown: {handle}"
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError as error:
        return None, f"unknown: NVML has no energy counter here ({error})"

    def start() -> Callable[[], float]:
        before = nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        return lambda: (nvml.nvmlDeviceGetTotalEnergyConsumption(handle) - before) * 1e-3  # the counter is in mJ

    return start, "NVML total energy counter, gross"


def nvml_device(device: torch.device) -> tuple[Any, Any]:
    """The NVML library and its handle of a CUDA device, or ``None`` and the reason why not."""
    try:
        import pynvml
    except ImportError:
        return None, "pynvml is not installed. Run: pip install nvidia-ml-py"
    try:
        pynvml.nvmlInit()
        # The CUDA index counts only the visible GPUs, the NVML index all of them: the UUID is common.
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid)
    except pynvml.NVMLError as error:
        return None, f"NVML does not know this device ({error})"


def rapl_meter(folder: Path = RAPL_FOLDER) -> tuple[EnergyMeter | None, str]:
    """The energy of all CPU packages by RAPL; readable by root only since Linux 5.10, often masked in containers."""
    packages = sorted(folder.glob("intel-rapl:?")) if folder.exists() else []
    if not packages:
        return None, "unknown: no RAPL counter on this machine"
    try:
        ranges = [_microjoules(package / "max_energy_range_uj") for package in packages]
        for package in packages:
            _microjoules(package / "energy_uj")
    except OSError as error:
        return None, f"unknown: RAPL cannot be read ({error.strerror})"

    def start() -> Callable[[], float]:
        before = [_microjoules(package / "energy_uj") for package in packages]

        def stop() -> float:
            after = [_microjoules(package / "energy_uj") for package in packages]
            spent = ((b - a) % (span + 1) for a, b, span in zip(before, after, ranges, strict=True))  # counters wrap
            return sum(spent) * 1e-6

        return stop

    return start, f"RAPL, {len(packages)} CPU packages, gross"


def _microjoules(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def count_flops(model: nn.Module, batch: Tensor) -> int:
    r"""Floating-point operations of one forward pass of a batch of any shape, Fourier transforms included.

    Convolutions and matrix products count as torch counts them, two for each multiply-accumulate,
    also where they are complex. A complex transform of :math:`N` points counts
    :math:`5 N \log_2 N`, one with a real side half of that, a complex product 6. Other
    element-wise operations count nothing.
    """
    formulas = {
        torch.ops.aten._fft_c2c: _complex_fft_flops,
        torch.ops.aten._fft_r2c: _real_to_complex_fft_flops,
        torch.ops.aten._fft_c2r: _complex_to_real_fft_flops,
        torch.ops.aten.mul: _product_flops,
    }
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        model(batch)
    return int(counter.get_total_flops())


def fft_flops(shape: Sequence[int], dims: Sequence[int]) -> float:
    r"""Operations of complex transforms over ``dims``: :math:`5 N \log_2 N` each, for every other index."""
    points = math.prod(shape[dim] for dim in dims)
    return 5 * math.prod(shape) * math.log2(points) if points > 1 else 0.0


def _complex_fft_flops(shape: Sequence[int], dims: Sequence[int], *args: Any, **kwargs: Any) -> float:
    return fft_flops(shape, dims)


def _real_to_complex_fft_flops(shape: Sequence[int], dims: Sequence[int], *args: Any, **kwargs: Any) -> float:
    return fft_flops(shape, dims) / 2


def _complex_to_real_fft_flops(
    shape: Sequence[int], dims: Sequence[int], *args: Any, out_shape: Sequence[int], **kwargs: Any
) -> float:
    return fft_flops(out_shape, dims) / 2


def _product_flops(left: Any, right: Any, *args: Any, out_val: Tensor, **kwargs: Any) -> int:
    both = all(isinstance(side, Tensor) and side.is_complex() for side in (left, right))
    return 6 * out_val.numel() if both else 0


_product_flops._get_raw = True  # torch then hands over the tensors: a shape does not say that it is complex


def roofline(gpu_device: GPUDevice, flops: float, byte_count: float, *, precision: str = "fp32") -> Term:
    r"""The time that a GPU cannot beat, :math:`\max(F / F_\mathrm{peak}, B / B_\mathrm{peak})`.

    A bound from the data sheet, not a forecast: small networks at batch 1 are bound by launches.

    Args:
        gpu_device: Preset of the GPU.
        flops: Floating-point operations.
        byte_count: Bytes moved to and from its memory.
        precision: ``"fp32"``, ``"tf32"``, ``"bf16"`` or ``"fp16"``.
    """
    times = []
    for name, work in ((f"peak_{precision}", flops), ("bandwidth", byte_count)):
        require(gpu_device, name)
        times.append(work / documented(getattr(gpu_device, name), name))
    slowest = max(times, key=lambda term: term.nominal)
    return slowest.named("latency", "s", source=f"roofline of {gpu_device.name}, {precision}: {slowest.source}")
