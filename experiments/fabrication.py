"""``python -m experiments fabrication SET``: students on benches that are not as designed, and what wins them back."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from optics4f.files import made_folder

from .cluster import DaskWorkers
from .fabrication_bench import HiddenSettings
from .fabrication_run import BEFORE, FITTED, STATES
from .fabrication_settings import Compensation, FabricationConfiguration
from .local_pool import LocalPool
from .paper import RowsFailed, run_paper
from .paper_kept import read_results
from .paper_run import checkpoint
from .paper_settings import fingerprint
from .paper_statistics import confidence, spread
from .runs import provenance, write_jsonl, write_text
from .sweep import Run, Workers, sweep
from .tables import markdown, print_table

FUNCTION = "experiments.fabrication_run:fabrication_run"
WANTED = 0.8
"""Share of the loss that compensation should win back."""
TAUGHT = ("kd", "ntk")
"""States whose readout learns from labels and from something else: it must do better than ``labels``."""


def run_fabrication(
    configuration: FabricationConfiguration,
    out: Path,
    students: Path,
    console: Console,
    *,
    seeds: Sequence[int] = (),
    cluster: str | None = None,
    workers: int | None = None,
) -> list[dict]:
    """Run every seed that ``out`` does not hold yet; write ``fabrication_SET.md`` and ``.jsonl`` there.

    Args:
        configuration: From :func:`experiments.fabrication_settings.load_fabrication`.
        out: Folder of results and unfinished runs.
        students: Folder of ``python -m experiments paper``; students that are not there are trained into it.
        console: For progress and the table.
        seeds: Which; those of the file by default.
        cluster: Address of a Dask scheduler, whose workers see the same files.
        workers: Processes on this machine.

    Raises:
        RowsFailed: Some runs raised, after all others are done.
    """
    if cluster is not None and workers is not None:
        raise ValueError("workers must be left out with cluster: a cluster has its own.")
    place: Workers = LocalPool(workers) if cluster is None else DaskWorkers(cluster)
    settings = configuration.settings
    seeds = tuple(seeds) or settings.students.seeds
    trained = students / f"checkpoints-{fingerprint(configuration.paper.text)}"
    rows = ("teacher", settings.students.row)
    missing = [seed for seed in seeds if not all(checkpoint(trained, row, seed).exists() for row in rows)]
    if missing:
        run_paper(configuration.paper, students, console, rows=rows, seeds=missing, cluster=cluster, workers=workers)
    common = {"config": str(configuration.path.resolve()), "students": str(trained.resolve())}
    common |= {"folder": str((out / f"states-{configuration.mark}").resolve()), "settings": configuration.mark}
    made_folder(common["folder"])
    summary = sweep([Run(FUNCTION, {**common, "seed": seed}) for seed in seeds], out, place, console)
    results = sorted(read_results(out, configuration.mark, function=FUNCTION), key=lambda result: result["seed"])
    if results:
        name = f"fabrication_{configuration.name}"
        write_jsonl(out / f"{name}.jsonl", (line for result in results for line in lines_of(result, configuration)))
        write_text(out / f"{name}.md", page(configuration, results))
        print_table(table_rows(results), name, console)
    if summary.failed:
        reason = next(iter(summary.failed.values()))
        raise RowsFailed(f"{len(summary.failed)} of {len(seeds)} runs failed, one with: {reason}")
    return results


def lines_of(result: Mapping, configuration: FabricationConfiguration) -> list[dict]:
    """One line a state, each of which can be read alone."""
    shared = {key: value for key, value in result.items() if key != "states"}
    config = {"config": configuration.path.name}
    return [{**shared, "row": f"fabrication_{name}", **state, **config} for name, state in result["states"].items()]


def table_rows(results: Sequence[Mapping]) -> list[dict[str, str]]:
    """Accuracy and recovered share in each state, over the seeds."""
    rows = []
    for name, about in STATES.items():
        states = [result["states"][name] for result in results if name in result["states"]]
        if not states:  # a file without a fitted twin
            continue
        shares = [100 * state["recovered"] for state in states if state.get("recovered") is not None]
        rows.append(
            {
                "state": name,
                "test accuracy [%]": spread([100 * state["test_accuracy"] for state in states]),
                "seeds": " ".join(f"{100 * state['test_accuracy']:.2f}" for state in states),
                "recovered [%]": spread(shares) if shares else "",
                "less labels [points]": "" if name in (*BEFORE, "labels") else in_points(less_labels(results, name)),
                "images measured": "" if name in BEFORE else str(states[0]["images_measured"]),
                "what": about,
            }
        )
    return rows


def less_labels(results: Sequence[Mapping], name: str) -> tuple[float, float]:
    """Test accuracy of a state less that of ``labels``, seed by seed: mean and half of its interval [points].

    The interval is infinite for one seed.
    """
    states = [result["states"] for result in results]
    differences = [100 * (state[name]["test_accuracy"] - state["labels"]["test_accuracy"]) for state in states]
    return confidence(differences) if len(differences) > 1 else (differences[0], math.inf)


def in_points(found: tuple[float, float]) -> str:
    """A difference and its interval, where there is one."""
    mean, half = found
    return f"{mean:+.2f} +- {half:.2f}" if math.isfinite(half) else f"{mean:+.2f}"


def verdict(results: Sequence[Mapping]) -> str:
    """Which compensations reach what is wanted, in words; a teacher's only where it does better than labels."""
    lost = spread([100 * result["lost"] for result in results])
    recovered, compared = [], []
    for name in ("labels", "kd", "ntk", "masks", *(name for name in FITTED if name in results[0]["states"])):
        shares = [result["states"][name]["recovered"] for result in results]
        if None in shares:
            return f"The hidden bench costs {lost} points: on some benches nothing is lost, so nothing can be won back."
        mean, least = statistics.fmean(shares), min(shares)
        better, half = found = less_labels(results, name)
        if name in TAUGHT:
            own = better > half
            words = "" if own else f", not told from labels alone: its {mean:.1%} are not its own"
            compared.append(f"{name} {in_points(found)} points{words}")
            if not own:
                continue
        reached = "reached" if mean >= WANTED else "missed"
        recovered.append(f"{name} {mean:.1%} (least {least:.1%}, {reached})")
    control = ""
    without = [result["states"]["unfitted"]["recovered"] for result in results if "unfitted" in result["states"]]
    if len(without) == len(results):
        mean, most = statistics.fmean(without), max(without)
        control = f" The training of `fitted` without the fit recovers {mean:.1%} (most {most:.1%})."
    return (
        f"The hidden bench costs {lost} points. Recovered, wanted {WANTED:.0%}: {', '.join(recovered)}.{control} Both "
        f"`kd` and `ntk` learn from labels, too. Less `labels`, paired by seed, with 95 % intervals: "
        f"{'; '.join(compared)}."
    )


def described(hidden: HiddenSettings, pixel: float, camera: float) -> str:
    """The errors in words.

    Args:
        hidden: How far benches are off.
        pixel: Pitch of the SLM [m].
        camera: Pitch of the binned camera [m].
    """
    parts = [
        f"the SLM stands {hidden.slm_shift:g} x {pixel * 1e6:.3g} um beside its place",
        f"the camera {hidden.camera_shift:g} x {camera * 1e6:.3g} um",
        f"it is out of focus by {hidden.camera_axial * 1e3:g} mm",
    ]
    turned = ((hidden.slm_rotation, "the SLM"), (hidden.camera_rotation, "the camera"))
    parts += [f"{name} turned by {math.degrees(angle):.3g} degrees" for angle, name in turned if angle]
    parts += [
        f"there are aberrations of {hidden.aberration:g} rad rms that all masks share (Noll 4 to 11)",
        f"a phase error of {hidden.mask_error:g} rad rms in each mask, smooth over {hidden.correlation:g} pixels",
        f"the levels are bent by a gamma of {hidden.gamma:g} or its inverse",
        f"crosstalk of {hidden.crosstalk:g} times the published kernel",
        f"{hidden.brightness:.0%} more or less light",
        f"{hidden.read_noise:g} times the read noise, PRNU {hidden.prnu:.2g}, DSNU {hidden.dsnu:g} e-",
    ]
    return "; ".join(parts)


def _of_the_fit(how: Compensation, hidden: HiddenSettings, route: str, pixels: int, results: Sequence[Mapping]) -> str:
    """How the twin was fitted, how well, and what it cannot know, in words.

    Args:
        how: The settings.
        hidden: How far benches are off.
        route: By which the twin is computed.
        pixels: Along the longer side of a mask.
        results: Of the seeds.
    """
    if how.twin is None:
        return ""
    found = [result["states"]["fitted"]["unexplained"] for result in results]
    before, after = (max(one[when] for one in found) for when in ("before", "after"))
    beyond = {
        "rotation": hidden.slm_rotation or hidden.camera_rotation,
        "other route": hidden.route not in (None, route),
        "phase of a mask finer than these points": hidden.mask_error and how.twin.points * hidden.correlation < pixels,
    }
    unknown = [word for word, there in beyond.items() if there]
    own, shared = (
        how.twin.points,
        "place, gamma and crosstalk of the SLM, brightness, and Noll terms 2 to 11 of all masks",
    )
    known = (
        f"knows no {' and no '.join(unknown)}"
        if unknown
        else "has all errors that are drawn here but the fixed patterns and the noise of the sensor"
    )
    return f"""

For `fitted` the frames of the measured part, the same as those of `kd`, tell a twin what is off: {shared}; and for each
mask a phase that is interpolated between {own} x {own} points. {how.twin.epochs} epochs of Adam leave at most
{after:.2g} of the frames' variance unexplained, on held-out images and noise included; {before:.2g} before, at most.
Masks and readout then learn on that twin with all labels, which costs no measurement, and the new masks are shown on
the hidden bench, where each mask's own error stays as it was: as with a region of the panel for each mask, not with
masks that are made anew. The twin's model {known}; a real bench may have errors that no model here has."""


def page(configuration: FabricationConfiguration, results: Sequence[Mapping]) -> str:
    """The result in words and a table."""
    settings, paper = configuration.settings, configuration.paper.settings
    bench, one, route = paper.bench.build(), results[0], paper.bench.route
    measured, images, how = one["measured"], one["images"], settings.compensation
    sets = "two sets of " if how.crossed else ""
    probes = f"{sets}{how.probes} random direction{'s' if how.probes > 1 else ''}"
    method = f"""\
Simulated. Students `{settings.students.row}` of `experiments/configs/{configuration.paper.path.name}` on benches that
differ from what they were trained on, one bench a seed, directions and signs at random:
{described(settings.hidden, bench.slm.grid.pitch, bench.camera.grid.pitch)}. The hidden bench is computed by the
{settings.hidden.route or route} route, the twin by the {route} route; counts become signal by the twin's exposure.

Measured are {measured["train"]} of {images["train"]} training images and {measured["validation"]} of
{images["validation"]} validation images, which choose the epoch; the {images["test"]} test images are read once in each
state. The readout learns from frames that were recorded once. No gradient passes the hidden bench: for `masks` the
values are its frames and the gradient is the twin's (physics-aware training), from the readout of `kd`, and each epoch
shows the measured part anew. `recovered` is the share of the loss (`twin` less `hidden`), seed by seed. `less labels`
is the accuracy less that of `labels`, paired by seed, with its 95 % interval (Student's): over seeds, on one set of
test images. `ntk` adds tangent kernels to the labels, with weight {how.kernel_weight:g}, each estimated from {probes}
in each step.{_of_the_fit(how, settings.hidden, route, max(bench.slm.grid.shape), results)}"""
    made = "\n".join(f"- {key}: {value}" for key, value in provenance().items())
    title = f"# The fabrication gap: {configuration.name}"
    method = "\n\n".join(textwrap.fill(part, 120, break_long_words=False) for part in method.split("\n\n"))
    parts = (title, method, markdown(table_rows(results)).rstrip(), verdict(results), "## Made with", made)
    return "\n\n".join(parts) + "\n"
