"""Inference on the device at hand: batch 1 and the best batch, several rounds apart, idle power on its own.

Where no device is at hand a roofline stands in, and says ``modelled``.
"""

from __future__ import annotations

import copy
import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from optics4f.devices import GPUDevice

from .gpu_cost import InferenceRecord, count_flops, energy_meter, measure_inference, nvml_device, roofline
from .runs import provenance
from .terms import Evidence, Term, documented

# How long a counter has to run to be read [s]: NVML's moves every 20 to 100 ms (petsc.org, PetscLogGpuEnergyMeter).
LEAST_ENERGY_TIME = {"cuda": 3.0}


@dataclass(frozen=True)
class Inference:
    """What inference costs on one electronic device.

    Attributes:
        model: Which network.
        device: Where it ran, or the data sheet of which GPU.
        latency: Time of one image alone [s].
        throughput: Images a second at ``best_batch`` [1/s].
        best_batch: Batch with the most images a second; 0 where a roofline has none.
        energy_single: Gross energy of an image alone [J], ``None`` where it is unknown.
        energy: Gross energy of an image in the best batch [J], ``None`` where it is unknown.
        idle_power: Power of the device doing nothing [W], ``None`` where it is unknown; in both energies.
        energy_source: What counted the energy, or why nothing did.
        flops: Floating-point operations of one image.
        kind: ``"measured"`` or ``"modelled"``.
    """

    model: str
    device: str
    latency: Term
    throughput: Term
    best_batch: int
    energy_single: Term | None
    energy: Term | None
    idle_power: float | None
    energy_source: str
    flops: int
    kind: Evidence

    def to_row(self) -> dict[str, Any]:
        """The figures as a plain dictionary for tables and JSON."""
        return asdict(self)


def measure_models(
    models: Mapping[str, nn.Module],
    images: Tensor,
    *,
    device: torch.device | str = "cpu",
    batch_sizes: Sequence[int] = (1, 16, 64, 256),
    rounds: int = 3,
    repetitions: int = 20,
    warmup: int = 3,
    seconds: float = math.inf,
    energy_time: float = 3.0,
) -> tuple[list[Inference], list[InferenceRecord]]:
    """Latency and throughput of each model, with the spread over rounds in which the models take turns.

    A round is minutes or seconds after the one before, so what else the machine does shows in the spread:
    bounds are the fastest p5 and the slowest p95 of all rounds, the value is the median of their medians.

    Args:
        models: What to run, by name; each takes a batch of images.
        images: Input ``(batch, ...)``.
        device: Where to measure.
        batch_sizes: Batches to try; 1 is measured in any case.
        rounds: How often each model is measured.
        repetitions: Timed runs of each batch in a round, at most.
        warmup: Runs before them.
        seconds: Time [s] that the runs of one batch may take in a round; three runs are made in any case.
        energy_time: How long to loop for the energy of each batch [s], unless the device's counter needs longer.

    Returns:
        One result a model, and all records that they are made of.
    """
    device = torch.device(device)
    sizes = sorted({1, *batch_sizes})
    if energy_time > 0:
        energy_time = max(energy_time, LEAST_ENERGY_TIME.get(device.type, 0.0))
    idle = idle_power(device, energy_time)
    records: dict[str, list[list[InferenceRecord]]] = {name: [] for name in models}
    runs = {
        (name, size): max(min(3, repetitions), min(repetitions, int(seconds / _one_run(model, images, device, size))))
        for name, model in models.items()
        for size in (sizes if math.isfinite(seconds) else ())
    }
    for _ in range(rounds):
        for name, model in models.items():
            one_round = []
            for size in sizes:
                one_round += measure_inference(
                    *(model, images),
                    device=device,
                    batch_sizes=(size,),
                    repetitions=runs.get((name, size), repetitions),
                    warmup=warmup,
                    energy_time=energy_time,
                )
            records[name].append([replace(record, model=name) for record in one_round])
    found = [_summary(name, per_round, idle) for name, per_round in records.items()]
    return found, [record for per_round in records.values() for one in per_round for record in one]


def _one_run(model: nn.Module, images: Tensor, device: torch.device, batch_size: int) -> float:
    """Seconds that one run takes, roughly."""
    settings = {"device": device, "batch_sizes": (batch_size,), "repetitions": 1, "warmup": 1, "energy_time": 0}
    return measure_inference(model, images, **settings)[0].median


def _summary(name: str, rounds: list[list[InferenceRecord]], idle: float | None) -> Inference:
    by_batch = {same[0].batch_size: same for same in zip(*rounds, strict=True)}
    best = min(by_batch, key=lambda size: statistics.median(r.median for r in by_batch[size]) / size)
    single, full = by_batch[1], by_batch[best]
    first = single[0]
    return Inference(
        model=name,
        device=first.device,
        latency=_time(single, "latency"),
        throughput=(best / _time(full, "time of a batch")).named("throughput", "1/s"),
        best_batch=best,
        energy_single=_energy(single),
        energy=_energy(full),
        idle_power=idle,
        energy_source=first.energy_source,
        flops=first.flops,
        kind="measured",
    )


def _time(records: Sequence[InferenceRecord], name: str) -> Term:
    first = records[0]
    source = (
        f"{first.device}, torch {first.torch_version}, {first.threads} threads, {first.dtype}, batch "
        f"{first.batch_size}, {len(records)} rounds of {first.repetitions} runs, least p5 to largest p95"
    )
    ends = (
        min(r.p5 for r in records),
        statistics.median(r.median for r in records),
        max(r.p95 for r in records),
    )
    return Term(name, *ends, "s", source, "measured")


def _energy(records: Sequence[InferenceRecord]) -> Term | None:
    images = [record.energy_per_image for record in records]
    if any(image is None for image in images):
        return None
    values = [image.nominal for image in images]
    return Term("energy", min(values), statistics.median(values), max(values), "J", images[0].source, "measured")


def idle_power(device: torch.device, seconds: float) -> float | None:
    """Power of the device while nothing of ours runs [W], its context alive; ``None`` where no counter can be read."""
    meter, _ = energy_meter(device)
    if meter is None or seconds <= 0:
        return None
    if device.type == "cuda":
        torch.zeros(1, device=device)  # the context draws power too
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    stop = meter()
    time.sleep(seconds)
    return stop() / (time.perf_counter() - start)


def modelled(name: str, model: nn.Module, images: Tensor, gpu: GPUDevice, *, precision: str = "fp32") -> Inference:
    """A GPU's data sheet as the bound of what it can do: no launch, no idle, every byte and operation at the peak.

    Its energy is the thermal design power for that time.

    Args:
        name: Name of the model.
        model: Counted, not timed.
        images: At least one image ``(batch, ...)``.
        gpu: Preset with the peak rates.
        precision: Which peak.
    """
    shadow, one = copy.deepcopy(model).to("meta").eval(), images[:1].to("meta")  # shapes without numbers
    flops, (weights, activations) = count_flops(shadow, one), count_bytes(shadow, one)
    latency = roofline(gpu, flops, weights + activations, precision=precision)
    per_image = roofline(gpu, flops, activations, precision=precision)  # the weights are shared by a large batch
    power = documented(gpu.tdp, "thermal design power") if gpu.tdp else None

    def energy(duration: Term) -> Term | None:
        return power and (power * duration).named("energy", "J")

    return Inference(
        model=name,
        device=f"{gpu.name}, {precision}",
        latency=latency,
        throughput=(1.0 / per_image).named("throughput", "1/s"),
        best_batch=0,
        energy_single=energy(latency),
        energy=energy(per_image),
        idle_power=None,
        energy_source="thermal design power for the time of the roofline",
        flops=flops,
        kind="modelled",
    )


def count_bytes(model: nn.Module, batch: Tensor) -> tuple[int, int]:
    """Bytes of weights, and bytes that layers read and write for a batch of any shape where none is fused."""
    moved = 0

    def count(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal moved
        moved += sum(t.numel() * t.element_size() for t in (*inputs, output) if isinstance(t, Tensor))

    leaves = [layer for layer in model.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(count) for layer in leaves]
    try:
        with torch.inference_mode():
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(p.numel() * p.element_size() for p in model.parameters()), moved


def machine(device: torch.device | str) -> dict[str, Any]:
    """Provenance of a measurement: commit and versions, and the driver, clocks and load of the device."""
    device = torch.device(device)
    found: dict[str, Any] = provenance() | {"cores": os.cpu_count(), "load_average": list(os.getloadavg())}
    found["cpu_clock_mhz"] = _cpu_clock()
    if device.type == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
        nvml, handle = nvml_device(device)
        if nvml is None:
            return found | {"gpu_driver": f"unknown: {handle}"}
        found["gpu_driver"] = nvml.nvmlSystemGetDriverVersion()
        found["gpu_clock_mhz"] = nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
        found["gpu_clock_most_mhz"] = nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM)
    return found


def _cpu_clock() -> float | None:
    """Mean clock of the cores at this moment [MHz], where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    clocks = [float(line.split(":", 1)[1]) for line in lines if line.startswith("cpu MHz")]
    return statistics.fmean(clocks) if clocks else None
