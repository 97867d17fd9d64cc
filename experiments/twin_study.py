"""Twins of hidden benches: how often the truth lies in the stated intervals, and how like the frames become.

Each hidden bench differs from the configuration by what a bench differs by on the first day. Twenty noisy frames of it
are fitted; its true numbers and masks that the fit has not seen then judge the twin.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from pathlib import Path

import torch
from rich.console import Console
from scipy.stats import binom
from torch import Tensor
from torch.nn.functional import conv2d

from optics4f.config import BenchSpecification, bench_from, read_toml
from optics4f.console import spared_from_ctrl_c
from optics4f.twin import USUAL, TwinModel, fit
from optics4f.twin.fitting import pointwise, quantile
from optics4f.twin.parameters import level_table, prepared, put
from optics4f.twin.registration import correlation

from .processes import end_with_parent
from .progress import progress
from .runs import provenance, write_json, write_text
from .tables import markdown

CONFIG = Path(__file__).parent / "configs" / "twin_study.toml"
IMAGES = 4
CROSSTALK_OF_A_PIXEL = 5.1
"""Scale of the published kernel at which its full width at half maximum is 1 pixel (0.39 pixels at scale 1)."""
CONFIDENCE = 0.95
BLOCK = 20
"""Benches in a block: of each, a parameter should lie in its stated interval in 18 or more."""
WANTED = 18


@dataclass(frozen=True)
class Outcome:
    """One hidden bench and its twin.

    Attributes:
        seed: Of the bench, its masks, images and noise.
        parameters: Name -> ``true``, ``value``, ``deviation``.
        before: Mean correlation of held-out frames with those of the configuration.
        after: The same with those of the twin.
        worst_after: The lowest of them.
        held_out_frames: How many they are.
        reduced_chi2: Of the fit.
        seconds: That the fit took [s].
    """

    seed: int
    parameters: dict[str, dict[str, float]]
    before: float
    after: float
    worst_after: float
    held_out_frames: int
    reduced_chi2: float
    seconds: float

    def inside(self, name: str, *, joint: bool = True) -> bool:
        """Whether the truth lies in the interval that holds with those of all others, or in that of its own."""
        p, confidence = self.parameters[name], CONFIDENCE
        reach = quantile(pointwise(confidence, len(self.parameters)) if joint else confidence)
        return abs(p["value"] - p["true"]) <= reach * p["deviation"]

    def all_inside(self) -> bool:
        """Whether the truth lies in all joint intervals."""
        return all(self.inside(name) for name in self.parameters)


def hidden_values(specification: BenchSpecification, generator: torch.Generator) -> dict[str, float]:
    """What a hidden bench really is, by parameter of the twin.

    The SLM shifted by 3 pixels in some direction and turned by 1 degree, the camera defocused by 1 mm and shifted by up
    to a pixel, f2 2 % off, all to either side; gamma 1.2; crosstalk of 1 pixel; up to 10 % more or less light; 0 to 20
    DN of black level.
    """
    bench = specification.build()
    draws = torch.rand(6, generator=generator, dtype=torch.float64).tolist()
    signs = (2.0 * torch.randint(0, 2, (3,), generator=generator) - 1).tolist()
    angle, pixel = 2 * math.pi * draws[0], bench.camera.grid.pitch
    return {
        "slm_shift_y": 3 * bench.slm.grid.pitch * math.sin(angle),
        "slm_shift_x": 3 * bench.slm.grid.pitch * math.cos(angle),
        "slm_rotation": signs[0] * math.radians(1),
        "camera_shift_y": (2 * draws[1] - 1) * pixel,
        "camera_shift_x": (2 * draws[2] - 1) * pixel,
        "camera_axial": signs[1] * 1e-3,
        "f2": bench.lens2.focal_length * (1 + 0.02 * signs[2]),
        "lut_gamma": 1.2,
        "crosstalk": CROSSTALK_OF_A_PIXEL,
        "brightness": 0.9 + 0.2 * draws[4],
        "offset": 20 * draws[5],
    }


def random_masks(shape: tuple[int, int, int], bits: int, generator: torch.Generator, *, width: float = 2.0) -> Tensor:
    """Levels, of this shape, of smooth random phases: 2 rad rms, correlated over ``width`` pixels."""
    masks, height, columns = shape
    reach = math.ceil(4 * width)
    raw = torch.randn(masks, 1, height + 2 * reach, columns + 2 * reach, generator=generator, dtype=torch.float64)
    bell = torch.exp(-torch.arange(-reach, reach + 1, dtype=torch.float64).square() / (2 * width**2))
    smooth = conv2d(raw, (bell[:, None] * bell)[None, None])[:, 0]
    phase = 2 * smooth / smooth.std((-2, -1), keepdim=True)
    return torch.remainder(torch.round(phase * (2**bits / (2 * math.pi))), 2**bits).long()


def measured_frames(
    specification: BenchSpecification, hidden: Mapping[str, float], levels: Tensor, images: Tensor, seed: int
) -> Tensor:
    """Frames [DN] of the hidden bench, ``(N, masks, h, w)``, with shot and read noise, rounded and clipped, float32."""
    camera = specification.camera
    lit = camera.model_copy(update={"exposure": camera.exposure * hidden["brightness"], "offset": hidden["offset"]})
    stated = prepared(specification.model_copy(update={"camera": lit}), USUAL)
    bench = stated.build()
    bench.slm.load_levels(levels)
    put(bench, hidden, level_table(bench)[0].clone())
    with torch.no_grad():
        light = stated.build_route(bench)(images[:, None].float())
        return bench.camera.counts(light, torch.Generator().manual_seed(seed)).double()


def one_independent_bench(seed: int) -> Outcome:
    """As :func:`one_bench`, with frames by the angular-spectrum route, from plane to plane."""
    return one_bench(seed, route="angular_spectrum")


def one_bench(seed: int, *, route: str | None = None) -> Outcome:
    """Hide a bench, measure twenty frames, fit, judge by masks that were held out.

    Args:
        seed: Of the bench, its masks, images and noise.
        route: By which the measured frames are simulated; that of the fit by default.
    """
    torch.set_num_threads(1)
    content, _ = read_toml(CONFIG)
    specification = bench_from(content, source=str(CONFIG))
    real = specification if route is None else specification.model_copy(update={"route": route})
    generator = torch.Generator().manual_seed(seed)
    hidden = hidden_values(specification, generator)
    shape, bits = (specification.slm.masks, *specification.slm.shape), specification.build().slm.bit_depth
    images = torch.rand(IMAGES, *specification.object.shape, generator=generator, dtype=torch.float64)
    shown, unseen = (random_masks(shape, bits, generator) for _ in range(2))
    frames, new_frames = (
        measured_frames(real, hidden, levels, images, 1_000_003 * seed + number)
        for number, levels in enumerate((shown, unseen))
    )
    start = time.perf_counter()
    found = fit(TwinModel(specification, shown, images, USUAL), frames)
    seconds = time.perf_counter() - start
    judge = TwinModel(specification, unseen, images, USUAL)
    before, after = (correlation(new_frames, judge.frames(values)) for values in (judge.start, found.values))
    return Outcome(
        seed,
        {e.name: {"true": hidden[e.name], "value": e.value, "deviation": e.deviation} for e in found.estimates},
        before.mean().item(),
        after.mean().item(),
        after.min().item(),
        after.numel(),
        found.reduced_chi2,
        seconds,
    )


def run_study(
    out: Path,
    *,
    benches: int = 20,
    independent: int = 0,
    first_seed: int = 0,
    workers: int = 1,
    console: Console | None = None,
) -> dict:
    """Fit twins of random hidden benches; write ``twin.md`` and ``twin.json``.

    Args:
        out: Folder.
        benches: How many.
        independent: How many of them are fitted once more with frames simulated by another route, plane by plane.
        first_seed: Of the first; the others follow.
        workers: Processes at a time.
        console: For progress; none is told without.
    """
    seeds = range(first_seed, first_seed + benches)
    again = seeds[:independent]
    with progress(Console(quiet=True) if console is None else console) as bar:
        task = bar.add_task("benches", total=len(seeds) + len(again))
        same = _outcomes(one_bench, seeds, workers, lambda: bar.advance(task))
        other = _outcomes(one_independent_bench, again, workers, lambda: bar.advance(task))
    return write_study(out, same, other)


def write_study(
    out: Path, same: Sequence[Outcome], other: Sequence[Outcome] = (), *, made: Mapping | None = None
) -> dict:
    """Write ``twin.md`` and ``twin.json`` of benches that were fitted: by the same route, and by another.

    Args:
        out: Folder.
        same: Benches whose frames are made by the route of the fit.
        other: Benches whose frames are made by another.
        made: Where and when they were fitted, for outcomes that were read from a record.
    """
    record = {**summary(same), "independent": summary(other) if other else None, "provenance": made or provenance()}
    benches = {"benches": [vars(o) for o in same], "independent_benches": [vars(o) for o in other]}
    write_json(out / "twin.json", {**record, **benches})
    write_text(out / "twin.md", page(record))
    return record


def rewrite_study(record: Path, out: Path) -> dict:
    """Tables and page again from the benches of a record, which says when they were fitted.

    Args:
        record: A ``twin.json``.
        out: Folder.

    Raises:
        ValueError: No such record.
    """
    try:
        stored = json.loads(record.read_text())
        same, other = ([_stored(bench) for bench in stored[name]] for name in ("benches", "independent_benches"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record} must be a twin.json of this command: {error!r}.") from error
    return write_study(out, same, other, made=stored["provenance"])


def _stored(bench: Mapping) -> Outcome:
    kept = {name: {k: p[k] for k in ("true", "value", "deviation")} for name, p in bench["parameters"].items()}
    return Outcome(**{**bench, "parameters": kept})


def _outcomes(
    one: Callable[[int], Outcome], seeds: Sequence[int], workers: int, done: Callable[[], None]
) -> list[Outcome]:
    if workers == 1 or len(seeds) < 2:
        return list(_told(map(one, seeds), done))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=end_with_parent) as pool:
        try:
            with spared_from_ctrl_c():
                found = pool.map(one, seeds)
            return list(_told(found, done))
        except BaseException:  # the pool would wait for benches that take minutes
            for process in active_children():
                process.terminate()
            raise


def _told(outcomes: Iterable[Outcome], done: Callable[[], None]) -> Iterator[Outcome]:
    for outcome in outcomes:
        done()
        yield outcome


def summary(outcomes: Sequence[Outcome]) -> dict:
    """Coverage by parameter and by block of benches, errors in standard deviations, correlations."""
    rows, count = [], len(outcomes)
    blocks = [outcomes[first : first + BLOCK] for first in range(0, count, BLOCK)]
    for name in outcomes[0].parameters:
        errors = [(o.parameters[name]["value"] - o.parameters[name]["true"]) for o in outcomes]
        scaled = [e / o.parameters[name]["deviation"] for e, o in zip(errors, outcomes, strict=True)]
        rows.append(
            {
                "parameter": name,
                "joint": [sum(o.inside(name) for o in block) for block in blocks],
                "pointwise": [sum(o.inside(name, joint=False) for o in block) for block in blocks],
                "rms_error": math.sqrt(sum(e**2 for e in errors) / count),
                "mean_deviation": sum(o.parameters[name]["deviation"] for o in outcomes) / count,
                "rms_error_in_deviations": math.sqrt(sum(s**2 for s in scaled) / count),
            }
        )
    return {
        "count": count,
        "block": [len(block) for block in blocks],
        "held_out_frames": outcomes[0].held_out_frames,
        "coverage": rows,
        "all_inside": sum(o.all_inside() for o in outcomes),
        "pointwise_share": sum(sum(r["pointwise"]) for r in rows) / (count * len(rows)),
        "correlation_before": sum(o.before for o in outcomes) / count,
        "correlation_after": sum(o.after for o in outcomes) / count,
        "worst_correlation_after": min(o.worst_after for o in outcomes),
        "reduced_chi2": sum(o.reduced_chi2 for o in outcomes) / count,
        "seconds": sum(o.seconds for o in outcomes) / count,
    }


def _table(record: Mapping) -> str:
    units = {"slm_rotation": "rad", "slm_shift": "m", "camera": "m", "f2": "m", "offset": "DN"}
    blocks = " + ".join(map(str, record["block"]))
    rows = [
        {
            "parameter": r["parameter"],
            "unit": next((unit for name, unit in units.items() if r["parameter"].startswith(name)), "1"),
            f"inside its joint interval, of {blocks}": ", ".join(map(str, r["joint"])),
            "inside its interval alone": ", ".join(map(str, r["pointwise"])),
            "rms error": f"{r['rms_error']:.2g}",
            "stated deviation": f"{r['mean_deviation']:.2g}",
            "rms of error / deviation": f"{r['rms_error_in_deviations']:.2f}",
        }
        for r in record["coverage"]
    ]
    return markdown(rows)


def _judgement(record: Mapping) -> str:
    count, rows = record["count"], record["coverage"]
    fewest, lowest = (min(min(r[kind]) for r in rows) for kind in ("joint", "pointwise"))
    return f"""\
- All {len(rows)} truths lie in the joint intervals of {record["all_inside"]} of {count} benches (stated: 95 %).
- In each block each parameter lies in its joint interval in {fewest} or more of {min(record["block"])} benches
  (wanted: {WANTED} of {BLOCK}).
- Of the intervals for each number alone {100 * record["pointwise_share"]:.1f} % hold the truth (stated: 95 %), in the
  worst block {lowest}."""


def page(record: Mapping) -> str:
    """The result in words and tables."""
    one, parameters = float(binom.sf(WANTED - 1, BLOCK, CONFIDENCE)), len(record["coverage"])
    made, other = record["provenance"], record["independent"]
    benches = f"--benches {record['count']}" + (f" --independent {other['count']}" if other else "")
    return _PAGE.format(
        **{k: v for k, v in record.items() if not isinstance(v, dict | list)},
        table=_table(record),
        judgement=_judgement(record),
        width=CROSSTALK_OF_A_PIXEL,
        wanted=WANTED,
        block_size=BLOCK,
        factor=quantile(pointwise(CONFIDENCE, parameters)) / quantile(CONFIDENCE),
        one=one,
        all_of_them=one**parameters,
        parameters=parameters,
        frames=record["count"] * record["held_out_frames"],
        command=f"python -m experiments twin {benches}",
        made=f"{made['created_utc']}, commit {made['commit'][:12]}, {made['processor']}, torch {made['torch']}",
        independent_part=_independent(other),
    )


def _independent(record: Mapping | None) -> str:
    if record is None:
        return ""
    return f"""
## Frames by another route

{record["count"]} of these benches once more, their frames by the angular-spectrum route, from plane to plane. Reduced
chi squared {record["reduced_chi2"]:.3f}: the routes differ by a little that the noise does not hide. Held-out
correlation {record["correlation_after"]:.4f} (worst {record["worst_correlation_after"]:.4f}).

{_table(record)}
{_judgement(record)}
"""


_PAGE = """\
# Twins of hidden benches

{count} random benches, each off from `experiments/configs/twin_study.toml` by: SLM shifted by 3 pixels and turned by
1 degree, camera defocused by 1 mm and shifted by up to a pixel, f2 2 % off, LUT gamma 1.2, crosstalk of 1 pixel (full
width at half maximum; {width:g} times the published kernel), light and black level unknown; signs and directions at
random. Twenty frames (5 masks, 4 images) with shot and read noise are fitted, from the configuration as the start.

{table}
{judgement}

An interval that holds the truth with a probability of exactly 95 % does so in {wanted} or more of {block_size} benches
with a probability of {one:.2f}, and for all {parameters} parameters at once, were they independent, with
{all_of_them:.2f}. That is why `optics4f fit` states intervals that hold together, wider by a factor of {factor:.2f}
(Sidak); `--pointwise` gives the others.

Frames of masks that the fit has not seen: mean correlation {correlation_before:.3f} with the configuration,
{correlation_after:.4f} with the twin, {worst_correlation_after:.4f} in the worst of {frames} frames. Reduced chi
squared {reduced_chi2:.3f}; {seconds:.0f} s a fit on one thread of a shared machine.

The hidden benches are simulated by the route that fits them, in single precision and with noise.
{independent_part}
A real bench differs in more ways, which a reduced chi squared above 1 and structure in the maps of what is left show.

Made by `{command}` ({made}); `--record twin.json` makes this page again from
the record.
"""
