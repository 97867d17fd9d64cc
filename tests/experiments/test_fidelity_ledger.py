"""Costs, intervals, tolerances and the verdict of a fidelity study, from accuracies made up by hand."""

import math

import pytest

from experiments.fidelity_effects import BENCH_EFFECTS
from experiments.fidelity_ledger import Interval, Ledger, tolerance
from experiments.fidelity_report import effect_rows, verdict
from experiments.fidelity_settings import EffectSettings, FidelityStudy

SEEDS = (0, 1, 2)


def study(**effects) -> FidelityStudy:
    """Effects by name: ``(nominal, strengths)``."""
    tables = {
        name: EffectSettings(nominal=nominal, strengths=strengths, source="made up")
        for name, (nominal, strengths) in effects.items()
    }
    return FidelityStudy.model_construct(effects=tables, loss=0.01, seeds=SEEDS, retraining=None)


def lines(part, accuracies, effect=None, strength=None, masks="base"):
    place = {"part": part, "effect": effect, "strength": strength, "masks": masks}
    return [{**place, "seed": seed, "accuracy": a, "loss": 1 - a} for seed, a in zip(SEEDS, accuracies, strict=True)]


def test_an_interval_is_that_of_student():
    found = Interval.of([0.0, 0.01, 0.02])
    assert found.mean == pytest.approx(0.01)
    assert found.half == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)  # t of 97.5 %, 2 degrees of freedom
    assert Interval.of([0.3]).half is None


def test_costs_are_paired_by_seed():
    # Seeds differ by far more than the effect costs; each loses the same.
    ledger = Ledger(
        lines("ideal", (0.9, 0.8, 0.7)) + lines("alone", (0.89, 0.79, 0.69), "defocus", 1e-3),
        study(defocus=(1e-3, (1e-3, 2e-3))),
    )
    cost = ledger.cost("defocus", 1e-3)
    assert cost.mean == pytest.approx(0.01)
    assert cost.half == pytest.approx(0, abs=1e-12)
    assert ledger.cost("defocus", 2e-3) is None


def test_masks_trained_with_an_effect_are_compared_with_the_control():
    ledger = Ledger(
        lines("ideal", (0.9, 0.9, 0.9))
        + lines("ideal", (0.94, 0.95, 0.96), masks="control")
        + lines("alone", (0.93, 0.94, 0.95), "defocus", 1e-3, masks="with the effect"),
        study(defocus=(1e-3, (1e-3, 2e-3))),
    )
    assert ledger.cost_when_trained("defocus", 1e-3).mean == pytest.approx(0.01)


def test_the_table_tells_of_the_worst_strength_that_masks_were_trained_with():
    table = EffectSettings(nominal=8, strengths=(8, 4, 2, 1), retrained=(4, 2), source="made up")
    made = FidelityStudy.model_construct(effects={"slm_bits": table}, loss=0.01, seeds=SEEDS, retraining=None)
    alone = {8: 0.9, 4: 0.89, 2: 0.7, 1: 0.2}
    base = [line for bits, accuracy in alone.items() for line in lines("alone", (accuracy,) * 3, "slm_bits", bits)]
    trained = [
        line
        for bits, accuracy in ((4, 0.905), (2, 0.86))
        for line in lines("alone", (accuracy,) * 3, "slm_bits", bits, masks="with the effect")
    ]
    ledger = Ledger(
        lines("ideal", (0.9,) * 3) + lines("ideal", (0.91,) * 3, masks="control") + base + trained,
        made,
    )
    (row,) = effect_rows(ledger)
    assert row["cost, masks trained with it"] == "5.00 +- 0.00 at 2 bit, others 20.00 +- 0.00"


def test_margins_compare_effects_of_all_units():
    def alone(name, *points):
        return [line for s, accuracy in points for line in lines("alone", (accuracy,) * 3, name, s)]

    ledger = Ledger(
        lines("ideal", (0.9,) * 3)
        + alone("slm_shift", (1e-5, 0.9), (3e-5, 0.88))  # 1 point at 20 um: twice 10 um
        + alone("slm_bits", (8, 0.9), (4, 0.89))  # at 4 bit: steps 16 times as large
        + alone("fill_factor", (0.9, 0.895), (0.6, 0.88))  # at 0.8: gaps twice as large
        + alone("photons", (0.5, 0.9), (0.005, 0.89))  # 100 times less light
        + alone("defocus", (1e-3, 0.88), (2e-3, 0.8))  # at half of its nominal strength
        + alone("wavelength", (1e-9, 0.9), (2e-9, 0.895)),  # not reached
        study(
            slm_shift=(1e-5, (1e-5, 3e-5)),
            slm_bits=(8, (8, 4)),
            fill_factor=(0.9, (0.9, 0.6)),
            photons=(0.5, (0.5, 0.005)),
            defocus=(1e-3, (1e-3, 2e-3)),
            wavelength=(1e-9, (1e-9, 2e-9)),
        ),
    )
    wanted = {"defocus": 0.5, "fill_factor": 2.0, "slm_shift": 2.0, "slm_bits": 16.0, "photons": 100.0}
    assert {name: ledger.margin(name) for name in wanted} == pytest.approx(wanted)
    assert ledger.margin("wavelength") is None
    assert ledger.nearest()[0] == "defocus" and ledger.nearest()[3:] == ["slm_bits", "photons"]
    assert "First to cost 1 points as all become worse: defocus at 0.5 times the nominal defect" in verdict(ledger)


def curve(*points, half=0.0):
    return [(strength, Interval(cost, half)) for strength, cost in points]


def test_a_tolerance_is_interpolated_from_no_effect_at_all():
    # 0.2 points a um: 1 point at 5 um, between 4 and 8 um; with 0.4 points either way at 3 and 7 um.
    found = tolerance(BENCH_EFFECTS["slm_shift"], curve((8e-6, 0.016), (4e-6, 0.008), half=0.004), 0.01)
    assert found.strength == pytest.approx(5e-6)
    assert found.strict == pytest.approx(4e-6 * 0.01 / 0.012)
    assert found.lax == pytest.approx(7e-6)
    alone = tolerance(BENCH_EFFECTS["slm_shift"], curve((4e-6, 0.02), (8e-6, 0.03)), 0.01)
    assert alone.strength == pytest.approx(2e-6)


def test_a_tolerance_of_light_is_interpolated_on_decades():
    found = tolerance(BENCH_EFFECTS["photons"], curve((1e-1, 0.0), (1e-2, 0.0), (1e-4, 0.02)), 0.01)
    assert found.strength == pytest.approx(1e-3)


def test_a_tolerance_of_levels_and_gaps_goes_downwards():
    assert tolerance(BENCH_EFFECTS["slm_bits"], curve((8, 0), (3, 0.0), (2, 0.02)), 0.01).strength == pytest.approx(2.5)
    gaps = tolerance(BENCH_EFFECTS["fill_factor"], curve((0.8, 0.04)), 0.01)  # no effect at 1
    assert gaps.strength == pytest.approx(0.95)


def test_the_first_crossing_counts_and_a_curve_that_never_crosses_says_so():
    found = tolerance(BENCH_EFFECTS["defocus"], curve((1e-3, 0.02), (2e-3, 0.0), (3e-3, 0.02)), 0.01)
    assert found.strength == pytest.approx(0.5e-3)
    effect = BENCH_EFFECTS["defocus"]
    never = tolerance(effect, curve((1e-3, 0.001), (2e-3, 0.002)), 0.01)
    assert never.strength is None
    assert never.written(effect) == "not reached up to 2 mm"
    bits = BENCH_EFFECTS["slm_bits"]
    assert tolerance(bits, curve((8, 0.05), (2, 0.5)), 0.01).written(bits) == "stricter than 8 bit"


def test_the_verdict_names_the_three_worst_and_doubts_what_seeds_do_not_tell():
    effects = {"defocus": 0.001, "slm_shift": 0.05, "slm_bits": 0.03, "crosstalk": 0.02, "flicker": 0.019}
    rows = lines("ideal", (0.9, 0.9, 0.9))
    for name, cost in effects.items():
        spread = 0.004 if name == "flicker" else 0.001
        rows += lines("alone", (0.9 - cost - spread, 0.9 - cost, 0.9 - cost + spread), name, 1)
    ledger = Ledger(rows, study(**dict.fromkeys(effects, (1, (1, 2)))))
    assert ledger.ranking() == ["slm_shift", "slm_bits", "crosstalk", "flicker", "defocus"]
    words = verdict(ledger)
    assert "slm_shift at 1 m (5.00 +- 0.25 points); slm_bits at 1 bit (3.00" in words
    assert "These seeds do not tell the last of them from the next, flicker." in words
    assert ledger.told_apart("slm_shift", "defocus")
    rows = effect_rows(ledger)
    assert [row["effect"] for row in rows] == ledger.ranking()
    assert rows[0]["cost, masks trained with it"] == ""


def test_what_an_absent_effect_regains_is_counted_on_the_full_bench():
    ledger = Ledger(
        lines("ideal", (0.9, 0.9, 0.9))
        + lines("all", (0.6, 0.7, 0.8))
        + lines("all but one", (0.65, 0.75, 0.85), "defocus")
        + lines("alone", (0.9, 0.9, 0.9), "defocus", 1e-3),
        study(defocus=(1e-3, (1e-3, 2e-3))),
    )
    assert ledger.regained("defocus").mean == pytest.approx(0.05)
    assert ledger.cost_of_all().mean == pytest.approx(0.2)
    assert ledger.cost("defocus", 1e-3).mean == 0


def test_one_student_has_costs_without_intervals_and_doubts_all():
    asked = study(slm_shift=(2e-5, (2e-5, 4e-5)), slm_bits=(8, (8, 1))).model_copy(update={"seeds": (0,)})
    found = lines("ideal", (0.9, 0.9, 0.9)) + lines("alone", (0.8, 0.8, 0.8), "slm_shift", 2e-5)
    ledger = Ledger([line for line in found + lines("alone", (0.9,) * 3, "slm_bits", 8) if line["seed"] == 0], asked)
    assert ledger.cost("slm_shift", 2e-5).written() == "10.00"
    assert ledger.tolerance("slm_shift").written(BENCH_EFFECTS["slm_shift"]) == "2 um"
    assert "slm_shift at 20 um (10.00 points, not told from none)" in verdict(ledger)
    FidelityStudy.model_validate(
        {
            "paper": "paper_cifar10.toml",
            "seeds": [0],
            "checkpoints": "runs",
            "effects": {
                "slm_shift": {"nominal": "20 um", "strengths": ["20 um", "40 um"], "source": "made up"},
                "slm_bits": {"nominal": 8, "strengths": [8, 1], "source": "made up"},
            },
        }
    )
