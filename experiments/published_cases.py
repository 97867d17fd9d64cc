"""Costs that others published, computed by the model from the inputs that they state.

What a publication does not state is named in ``not_published`` and is set so that it plays no part; nothing is
filled in. A case says how well the model is built, not whether the published inputs are within reach of hardware.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from optics4f.devices import component
from optics4f.units import engineering

from .compare_cost import Workload
from .hardware_cost import OpticalCostSettings, optical_cost
from .terms import Term, documented

NTKD = "arXiv 2508.08421"
FATNET = "arXiv 2210.16914, through secondary notes"
DMD_4F = "Miscuglio et al., Optica 7, 1812 (2020)"
# Frames of a convolution are not stated. They are fitted to one published time, 3.815e-2 s x 64 x 2 MHz / 1 220 800;
# the other three follow from them.
FATNET_FRAMES = 4
FATNET_FITTED = ("ResNet-18 on optics", 64)
NOTHING = {"low": 0, "nominal": 0, "high": 0, "source": "not published: plays no part"}


@dataclass(frozen=True)
class PublishedCase:
    """One published cost.

    Attributes:
        name: What was published, on which system.
        source: Where.
        stated: Inputs that the publication states.
        not_published: What it leaves out, and the model therefore counts as nothing.
        published: The number.
        unit: Its SI unit.
        model: What the model makes of the stated inputs.
    """

    name: str
    source: str
    stated: str
    not_published: str
    published: float
    unit: str
    model: Callable[[], float]

    def to_row(self) -> dict[str, str]:
        """The case for a table."""
        found = self.model()
        return {
            "published": self.name,
            "source": self.source,
            "stated inputs": self.stated,
            "not published": self.not_published,
            "value": engineering(self.published, self.unit),
            "model": engineering(found, self.unit),
            "deviation": f"{100 * (found / self.published - 1):+.2f} %",
        }


def ntkd_workload() -> Workload:
    """The published hybrid and its digital twin: captures of 3.82 and 2.36 mJ, 65 and 239 M multiply-accumulates."""
    hybrid, plain = (component(f"image-capture-{which}") for which in ("hybrid", "plain"))
    return Workload(documented(hybrid, "hybrid capture"), documented(plain, "plain capture"), 65_000_000, 239_000_000)


def ntkd_price() -> Term:
    """Energy of one multiply-accumulate [J] that the same paper's U-Net implies: 2.03 J for 65.9 G.

    Neither the hybrid nor the digital twin is in it, so what it says of those two is a test.
    """
    price = 2.03 / 65.9e9
    return Term("digital multiply-accumulate", price, price, price, "J", f"{NTKD}: U-Net, 2.03 J / 65.9 G", "modelled")


def frame_limited(convolutions: int, *, frames: int, frame_rate: float, images_per_frame: int) -> float:
    """Seconds per image where frames alone limit: each convolution serves all images on its frames.

    Args:
        convolutions: Optical convolutions of the network.
        frames: Frames that one convolution takes.
        frame_rate: Frame rate of all devices [Hz].
        images_per_frame: Images that share a frame.
    """
    settings = OpticalCostSettings.model_validate(
        frames_alone(frame_rate) | {"masks": convolutions * frames, "images_per_frame": images_per_frame}
    )
    return optical_cost(settings).latency.nominal / images_per_frame


def display_limited_interval(pixels: tuple[int, int], frame_rate: float) -> float:
    """Time from one image to the next [s] behind a fixed mask, where the display's frame rate alone limits.

    It is not the latency of an image, which waits for exposure, readout and link as well.

    Args:
        pixels: Height and width of the display.
        frame_rate: Frames a second [Hz].
    """
    raw = frames_alone(frame_rate)
    display = raw["slm"] | {"shape": pixels}
    settings = raw | {"fixed_mask": True, "pipelined": True, "display": display}
    return 1 / optical_cost(OpticalCostSettings.model_validate(settings)).throughput.nominal


def frames_alone(frame_rate: float) -> dict[str, Any]:
    """A system whose frame rate [Hz] is all that is known of it."""
    return {
        "overlapped": True,
        "path_length": NOTHING,
        "slm": {
            "device": "generic-amplitude-display",
            "frame_rate": frame_rate,
            "settle_time": NOTHING,
            "shape": [1, 1],
            "stored": True,
            "power": NOTHING,
        },
        "camera": {
            "device": "generic-camera",
            "frame_rate": frame_rate,
            "exposure_time": NOTHING,
            "shape": [1, 1],
            "link_bandwidth": 8 * frame_rate,  # of its one pixel of 8 bit: never the limit
            "power": NOTHING,
        },
        "laser": {"power": NOTHING, "wall_plug_efficiency": 1},
        "host": {"power": NOTHING},
        "conversion": {"dac_energy": NOTHING, "adc_energy": NOTHING},
    }


def _ntkd_energy(which: int) -> Callable[[], float]:
    return lambda: ntkd_workload().energies(ntkd_price())[which].nominal


def _fatnet(convolutions: int, batch: int) -> Callable[[], float]:
    return lambda: frame_limited(convolutions, frames=FATNET_FRAMES, frame_rate=2e6, images_per_frame=batch)


_CAPTURES = "captures 3.82 and 2.36 mJ, 65 and 239 M MAC; J/MAC from the U-Net's 2.03 J for 65.9 G"
_FATNET_OPEN = "settling, exposure, links, readout, digital layers, every power"
_FATNET = {
    ("ResNet-18 on optics", 1_220_800): {64: 3.815e-2, 3136: 7.786e-4},
    ("FatNet on optics", 148_637): {64: 4.645e-3, 3136: 9.479e-5},
}

CASES: Mapping[str, PublishedCase] = {
    case.name: case
    for case in (
        PublishedCase("energy, NTK-KD hybrid", NTKD, _CAPTURES, "latency", 5.83e-3, "J", _ntkd_energy(0)),
        PublishedCase("energy, NTK-KD digital twin", NTKD, _CAPTURES, "latency", 9.73e-3, "J", _ntkd_energy(1)),
        PublishedCase(
            *("break-even, NTK-KD", NTKD, "captures 3.82 and 2.36 mJ, 65 and 239 M MAC", "latency", 8.4e-12, "J"),
            lambda: ntkd_workload().break_even().nominal,
        ),
        *(
            PublishedCase(
                f"time per image, {name}, batch {batch}",
                FATNET,
                f"{convolutions} convolutions, 2 MHz; {FATNET_FRAMES} frames each, not stated: fitted to {said}",
                _FATNET_OPEN,
                seconds,
                "s",
                _fatnet(convolutions, batch),
            )
            for (name, convolutions), by_batch in _FATNET.items()
            for batch, seconds in by_batch.items()
            for said in ("this entry" if (name, batch) == FATNET_FITTED else "the first of these entries alone",)
        ),
        PublishedCase(
            "interval between images, DMD 4f",
            DMD_4F,
            "2 Mpixel at 10 kHz: 100 us is one over it, so that the case tests the count of frames and no more",
            "latency, exposure, camera, links, every power",
            100e-6,
            "s",
            lambda: display_limited_interval((1080, 1920), 10e3),
        ),
    )
}
