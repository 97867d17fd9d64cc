"""README and docs: their code runs in the order it is read, prints what they say, and draws the pictures they show."""

import importlib.util
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def script(name):
    """A script of the docs, which are no package."""
    specification = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look there
    specification.loader.exec_module(module)
    return module


figures = script("figures")


SLOW = ("distil.md",)  # 40 s of one core; the others at most 25


def runnable():
    """Pages with code."""
    for page in PAGES:
        if figures.steps_of(page.read_text()):
            marks = [pytest.mark.slow] if page.name in SLOW else []
            yield pytest.param(page, id=str(page.relative_to(ROOT)), marks=marks)


@pytest.mark.parametrize("page", list(runnable()))
def test_a_page_runs_prints_what_it_says_and_draws_what_it_shows(page):
    with figures.workplace():
        for outcome in figures.run_page(page):
            step = outcome.step
            if step.stated is not None:
                wrong = figures.differences(outcome.printed, step.stated, step.tolerance)
                assert not wrong, f"{page.name}, line {step.line}; `python docs/figures.py {page}` mends it: {wrong}"
            for name, content in outcome.pictures.items():
                committed = ROOT / "docs" / "images" / f"{name}.png"
                assert len(content) < figures.LARGEST and committed.stat().st_size < figures.LARGEST
                off = unlikeness(Image.open(io.BytesIO(content)), Image.open(committed))
                assert off < 0.03, f"{name}.png is not what {page.name} draws: off by {off:.3f}"


def unlikeness(one, other, side=64):
    """Mean difference of two pictures, drawn small, on a scale from black to white."""
    small = (np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.BOX)) for picture in (one, other))
    a, b = (picture.astype(float) / 255 for picture in small)
    return np.abs(a - b).mean()


def test_output_is_compared_number_by_number():
    same = figures.differences
    assert not same("loss  0.1234\n", "loss 0.1235")  # the last digit
    assert same("loss 0.1234", "loss 0.1334") and not same("loss 0.1234", "loss 0.1334", 0.1)
    assert same("12 images", "13 images") and same("a 1.0", "b 1.0") and same("1\n2", "1")
    assert not same("2.345e-05 m", "2.344e-05 m") and same("2.345e-05 m", "2.345e-04 m")
    assert not same("done in 1.3 s, 2024-01-02T03:04:05Z", "done in 12 s, 2025-01-02T03:04:05Z")


def test_a_page_is_cut_into_steps():
    text = "```python\nprint(1)\n```\n\n```text\n1\n```\n\n![a](../images/one.png)\n\n<!-- within 5 % -->\n"
    text += "```console\n$ optics4f devices\nslm:\n```\n\n```python\nx = 1\n```\n\nWords.\n\n```text\nno output\n```\n"
    first, second, third = figures.steps_of(text)
    assert (first.code, first.stated, first.line, first.pictures) == ("print(1)\n", "1\n", 1, ("one",))
    assert (second.kind, second.tolerance, text[slice(*second.span)]) == ("console", 0.05, second.stated)
    assert (third.stated, third.pictures) == (None, ())


def test_commands_of_a_page_are_run_and_their_failure_must_be_announced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```console\n$ optics4f sampling nowhere.toml  # exit code 2\n```\n")
    with figures.workplace():
        (outcome,) = figures.run_page(page)
        assert outcome.printed.splitlines()[1].startswith("error: nowhere.toml")
        page.write_text("```console\n$ optics4f sampling nowhere.toml\n```\n")
        with pytest.raises(RuntimeError, match="ended with 2"):
            list(figures.run_page(page))


def test_the_page_of_commands_is_what_the_commands_say():
    written = script("command_line")
    assert written.PAGE.read_text() == written.page(), "`python docs/command_line.py` brings it up to date"
    for program, commands in (
        ("optics4f", ("new", "verify")),
        ("python -m kd", ("train",)),
        ("python -m experiments", ("demo",)),
    ):
        assert all(f"### `{program} {command}`" in written.page() for command in commands)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    text = page.read_text()
    named = set(re.findall(r"(?:experiments/configs|docs|tests)/[\w./-]+\w", text))
    assert {name for name in named if not (ROOT / name).exists()} == set()
