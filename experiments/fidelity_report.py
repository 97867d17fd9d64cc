"""The tables of a fidelity study, and its three worst effects in words. No physics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .fidelity_effects import BENCH_EFFECTS, direction, sign
from .fidelity_ledger import CONFIDENCE, Interval, Ledger
from .fidelity_settings import FidelityConfiguration
from .tables import markdown

NAMED = 3  # effects in the verdict


def effect_rows(ledger: Ledger) -> list[dict[str, str]]:
    """One row an effect, the worst first: its cost alone and with trained masks, what its absence gains, tolerance."""
    rows = []
    for name in ledger.ranking():
        effect, table = BENCH_EFFECTS[name], ledger.study.effects[name]
        rows.append(
            {
                "effect": name,
                "nominal": effect.written(table.nominal),
                "cost alone [points]": _points(ledger.cost(name, table.nominal)),
                "cross entropy added [nat]": ledger.surprise(name, table.nominal).written(1.0, 3),
                "cost, masks trained with it": _when_trained(ledger, name),
                "regained without it": _points(ledger.regained(name)),
                f"costs {100 * ledger.study.loss:g} at": ledger.tolerance(name).written(effect),
                "times nominal": _times(ledger.margin(name)),
                "varies": effect.varies,
            }
        )
    return rows


def summary_rows(ledger: Ledger) -> list[dict[str, str]]:
    """Of :func:`effect_rows`, what a terminal has room for."""
    left_out = ("cross entropy added [nat]", "regained without it", "varies")
    return [{key: value for key, value in row.items() if key not in left_out} for row in effect_rows(ledger)]


def strength_rows(ledger: Ledger) -> list[dict[str, str]]:
    """One row an effect and strength."""
    rows = []
    for name, table in ledger.study.effects.items():
        effect = BENCH_EFFECTS[name]
        for strength in sorted(table.strengths, key=effect.severity):
            cost = ledger.cost(name, strength)
            if cost is None:
                continue
            rows.append(
                {
                    "effect": name,
                    "strength": effect.written(strength) + (" (nominal)" if strength == table.nominal else ""),
                    "accuracy, each seed [%]": _seeds(ledger.accuracies("alone", name, strength)),
                    "cost [points]": _points(cost),
                    "cost, masks trained with it": _points(ledger.cost_when_trained(name, strength)),
                }
            )
    return rows


def bench_rows(ledger: Ledger) -> list[dict[str, str]]:
    """Ideal and full bench, for masks that know neither, and for masks trained longer or with all effects."""
    lines = (
        ("ideal bench", "as they are", ledger.accuracies("ideal"), None),
        ("ideal bench", "trained as long as those below", ledger.accuracies("ideal", masks="control"), None),
        ("all effects, nominal", "as they are", ledger.accuracies("all"), ledger.cost_of_all()),
        (
            "all effects, nominal",
            "trained with all effects",
            ledger.accuracies("all", masks="with all"),
            ledger.cost_of_all_when_trained(),
        ),
    )
    return [
        {"bench": bench, "masks": masks, "accuracy, each seed [%]": _seeds(found), "cost [points]": _points(cost)}
        for bench, masks, found, cost in lines
        if found
    ]


def term_rows(ledger: Ledger) -> list[dict[str, str]]:
    """What each effect is, and where its nominal strength is from."""
    return [
        {
            "term": name,
            "what": BENCH_EFFECTS[name].about,
            "varies": BENCH_EFFECTS[name].varies,
            "direction, each seed": _directions(ledger, name),
            "nominal": BENCH_EFFECTS[name].written(table.nominal),
            "source of the nominal strength": table.source,
        }
        for name, table in ledger.study.effects.items()
    ]


def verdict(ledger: Ledger) -> str:
    """The three effects that matter most, and whether these seeds can tell them from the next."""
    ranked = ledger.ranking()
    worst, rest = ranked[:NAMED], ranked[NAMED:]
    tables = ledger.study.effects
    named = []
    for name in worst:
        cost = ledger.cost(name, tables[name].nominal)
        doubt = "" if cost.half is not None and cost.low > 0 else ", not told from none"
        named.append(f"{name} at {BENCH_EFFECTS[name].written(tables[name].nominal)} ({cost.written()} points{doubt})")
    text = f"At nominal strength, alone, these effects matter most: {'; '.join(named)}."
    if rest and not ledger.told_apart(worst[-1], rest[0]):
        text += f" These seeds do not tell the last of them from the next, {rest[0]}."
    if nearest := ledger.nearest()[:NAMED]:
        margins = "; ".join(f"{name} at {_times(ledger.margin(name))} times the nominal defect" for name in nearest)
        text += f" First to cost {100 * ledger.study.loss:g} points as all become worse: {margins}."
    return text


def report(configuration: FidelityConfiguration, ledger: Ledger, *, command: str, machine: Mapping) -> str:
    """The whole result as one Markdown page."""
    parts = [
        "# What each imperfection of the bench costs\n",
        f"Made by `{command}` on {machine['processor']}, torch {machine['torch']}, commit {machine['commit']}, "
        f"{machine['created_utc']}. Simulated.\n",
        verdict(ledger) + "\n",
        _method(configuration, ledger) + "\n",
        markdown(effect_rows(ledger)),
        "\n## Together\n",
        markdown(bench_rows(ledger)),
        "\n## Strengths\n\n![cost against strength](fidelity_curves.png)\n\n![heat map](fidelity_heatmap.png)\n",
        markdown(strength_rows(ledger)),
        "\n## Terms\n",
        _what_varies(ledger) + "\n",
        markdown(term_rows(ledger)),
    ]
    return "\n".join(parts)


def _what_varies(ledger: Ledger) -> str:
    study = ledger.study
    apart = [name for name in study.effects if name not in study.full]
    signs = (
        "a sign alternates from seed to seed, and the angles of a shift share out the circle, from a first one that is "
        "drawn for each effect: costs and tolerances are means over both signs."
    )
    if len(study.seeds) == 1:
        signs = "with one seed it is one sign, and one angle that is drawn for each effect."
    return (
        f"Static errors are the same in all frames of a run. Their direction is the same at all strengths; "
        f"{signs} What varies per frame is drawn anew for each "
        f"exposure (camera) or each batch of {study.batch} images (flicker: {study.flicker_frames} states of the panel "
        "in an exposure, whose intensities are averaged). All effects together have their nominal strengths"
        + (f"; {', '.join(apart)} is not among them." if apart else ".")
    )


def _method(configuration: FidelityConfiguration, ledger: Ledger) -> str:
    study = configuration.study
    images = ledger.lines[0]["images"]
    routes = ", ".join(sorted({line["route"] for line in ledger.lines}))
    if study.trained_here:
        paper = "" if study.paper is None else f" of `{study.paper}`, row {study.row}"
        count = "all training images" if study.images.train is None else f"{study.images.train} training images"
        epochs = (study.ideal or configuration.student.student).epochs
        start = (
            f"Masks were trained on the ideal bench{paper}: continuous phase, no gaps, nothing displaced, no noise; "
            f"{epochs} epochs of {count}."
        )
    else:
        start = (
            f"Masks are those of `{study.paper}`, row {study.row}, trained on the bench of that file with its levels, "
            "gaps and camera, and evaluated here as they are: a cost below zero means that they count on an effect."
        )
    seeds = f"with {CONFIDENCE:.0%} intervals over {len(study.seeds)} seeds (Student's t, paired by seed)."
    if len(study.seeds) == 1:
        seeds = "of one student: they have no interval, and what they say of other students is unknown."
    return (
        f"{start} Costs are differences of test accuracy on the same {images} images, in percentage points, {seeds} "
        f"The choice of images is not in them: one image is {100 / images:.2g} points. A strength `costs "
        f"{100 * study.loss:g}` where the "
        f"mean cost first reaches {100 * study.loss:g} points, interpolated between strengths, in brackets where the "
        f"ends of its interval do; `times nominal` is how many times larger the defect then is (of levels: their step; "
        f"of photons: their lack).{_how_trained(ledger)} Routes: {routes}."
    )


def _how_trained(ledger: Ledger) -> str:
    schedule = ledger.study.retraining
    if schedule is None:
        return ""
    epochs = "epoch" if schedule.epochs == 1 else "epochs"
    begin, control = "from the random start of the masks above", ""
    if schedule.start == "student":
        begin, control = "from the masks above", ", against a control that went on as long without any"
    return (
        f" Masks `trained with` an effect (or with all) learned {schedule.epochs} {epochs} {begin}, masks and readout, "
        f"with that strength, and are evaluated with it{control}; for {_trained_strengths(ledger)}."
    )


def _trained_strengths(ledger: Ledger) -> str:
    """``slm_bits at 2 bit, 1 bit; defocus at 40 mm``."""
    return "; ".join(
        f"{name} at {', '.join(BENCH_EFFECTS[name].written(strength) for strength in table.trained)}"
        for name, table in ledger.study.effects.items()
        if table.trained
    )


def _when_trained(ledger: Ledger, name: str) -> str:
    """At the worst strength that masks were trained with, beside what those lose there that do not know it."""
    effect = BENCH_EFFECTS[name]
    known = [s for s in ledger.study.effects[name].trained if ledger.cost_when_trained(name, s) is not None]
    if not known:
        return ""
    worst = max(known, key=effect.severity)
    cost, others = ledger.cost_when_trained(name, worst), ledger.cost(name, worst)
    return f"{_points(cost)} at {effect.written(worst)}, others {_points(others)}"


def _directions(ledger: Ledger, name: str) -> str:
    """Signs, or angles, in the order of the seeds."""
    seeds, kind = ledger.study.seeds, BENCH_EFFECTS[name].directed
    if kind == "angle":
        return " ".join(f"{math.degrees(direction(name, seed)):.0f} deg" for seed in seeds)
    return " ".join("+" if sign(name, seed) > 0 else "-" for seed in seeds) if kind == "sign" else ""


def _times(margin: float | None) -> str:
    if margin is None:
        return ""
    return f"{margin:.0f}" if margin >= 10 else f"{margin:.2g}"


def _points(cost: Interval | None) -> str:
    return "" if cost is None else cost.written()


def _seeds(accuracies: Mapping[int, float] | Sequence[float]) -> str:
    values = accuracies.values() if isinstance(accuracies, Mapping) else accuracies
    return " ".join(f"{100 * value:.2f}" for value in values)
