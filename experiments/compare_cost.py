"""Optics beside electronics: ratios with bounds, and the price of a digital operation at which both cost the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optics4f.devices import component

from .gpu_cost import InferenceRecord
from .hardware_cost import CostTable
from .terms import Term, documented, total

Winner = Literal["optics", "electronics", "undecided", "unknown"]


@dataclass(frozen=True)
class SystemCost:
    """What one image costs on one system; ``None`` is unknown.

    Attributes:
        name: What ran.
        latency: Time of one image [s].
        throughput: Images per second [1/s].
        energy: Energy of one image [J].
    """

    name: str
    latency: Term | None
    throughput: Term | None
    energy: Term | None

    @classmethod
    def optical(cls, table: CostTable, name: str = "optics") -> SystemCost:
        """The modelled optical path."""
        return cls(name, table.latency, table.throughput, table.energy)

    @classmethod
    def measured(cls, record: InferenceRecord) -> SystemCost:
        """One measured batch size of an electronic device."""
        name = f"{record.device}, batch {record.batch_size}"
        return cls(name, record.latency, record.throughput, record.energy_per_image)


@dataclass(frozen=True)
class Ratio:
    """One quantity of the optics over that of the electronics, or unknown where either is.

    The winner is ``"undecided"`` where the bounds allow both.
    """

    quantity: str
    optics: Term | None
    electronics: Term | None
    ratio: Term | None
    winner: Winner

    def to_row(self) -> dict[str, Any]:
        """The comparison as a plain dictionary for tables and JSON."""
        return asdict(self)


def compare(optics: SystemCost, electronics: SystemCost) -> list[Ratio]:
    """Latency, throughput and energy of the optics over those of the electronics, with bounds."""
    rows = []
    for quantity in ("latency", "throughput", "energy"):
        ours, theirs = getattr(optics, quantity), getattr(electronics, quantity)
        if ours is None or theirs is None:
            rows.append(Ratio(quantity, ours, theirs, None, "unknown"))
            continue
        ratio = (ours / theirs).named(f"{quantity}: {optics.name} / {electronics.name}", "1")
        rows.append(Ratio(quantity, ours, theirs, ratio, _winner(ratio, more_is_better=quantity == "throughput")))
    return rows


def _winner(ratio: Term, *, more_is_better: bool) -> Winner:
    if ratio.low > 1:
        return "optics" if more_is_better else "electronics"
    if ratio.high < 1:
        return "electronics" if more_is_better else "optics"
    return "undecided"


@dataclass(frozen=True)
class Workload:
    """The same task done with and without optics, free of the price of a digital operation.

    Attributes:
        hybrid_fixed: Energy of one image with optics, its digital operations left out [J].
        digital_fixed: Energy of one image without optics, its digital operations left out: the plain capture [J].
        hybrid_macs: Multiply-accumulates behind the optics.
        digital_macs: Multiply-accumulates of the digital system that does as well.
    """

    hybrid_fixed: Term
    digital_fixed: Term
    hybrid_macs: int
    digital_macs: int

    def energies(self, energy_per_mac: Term) -> tuple[Term, Term]:
        """Energy of one image, hybrid and digital [J], at this price of a multiply-accumulate [J]."""
        hybrid = self.hybrid_fixed + (self.hybrid_macs * energy_per_mac).named("digital", "J")
        digital = self.digital_fixed + (self.digital_macs * energy_per_mac).named("digital", "J")
        return hybrid.named("hybrid", "J"), digital.named("digital", "J")

    def break_even(self) -> Term | None:
        r"""The price of a multiply-accumulate at which both cost the same [J].

        .. math:: e = \frac{E_\mathrm{hybrid} - E_\mathrm{digital}}{N_\mathrm{digital} - N_\mathrm{hybrid}}

        Below it the optics lose. Where it is negative they win at any price; ``None`` where they save no
        operation, so that no price makes up for what they cost.
        """
        saved = self.digital_macs - self.hybrid_macs
        if saved <= 0:
            return None
        more = self.hybrid_fixed - self.digital_fixed
        ends = (more.low / saved, more.nominal / saved, more.high / saved)
        return Term("break-even energy per MAC", *ends, "J", more.source, more.kind)


def workload(table: CostTable, *, digital_fixed: Term, digital_macs: int) -> Workload:
    """The break-even question for a modelled optical system.

    Args:
        table: Its cost, as :func:`~experiments.hardware_cost.optical_cost` gives it.
        digital_fixed: Energy of one image that the digital system spends besides its operations [J].
        digital_macs: Multiply-accumulates of the digital system.
    """
    fixed = total("optics", (term for term in table.energies if term.name != "digital readout"), "J")
    return Workload(fixed, digital_fixed, table.counts["digital MACs"], digital_macs)


# From a peak data-centre figure to what one published edge system implies: the verdict may turn in between.
PRICES = ("digital-mac-h100-int8", "digital-mac-tpu-v4", "digital-mac-h100-bf16-measured", "digital-mac-ntkd-edge")


def price_rows(task: Workload, prices: Sequence[str] = PRICES) -> list[dict[str, Any]]:
    """Hybrid and digital energy of one image at several documented prices of a digital operation.

    Args:
        task: The workload.
        prices: Slugs of components with an energy per multiply-accumulate.
    """
    rows = []
    for slug in prices:
        price = documented(component(slug), component(slug).name)
        hybrid, digital = task.energies(price)
        ratio = (hybrid / digital).named("energy: hybrid / digital", "1")
        winner = _winner(ratio, more_is_better=False)
        terms = {"price": price, "hybrid": hybrid, "digital": digital, "ratio": ratio}
        rows.append({key: asdict(term) for key, term in terms.items()} | {"winner": winner})
    return rows
