"""README and docs: their code runs in the order it is read, prints what they say, and draws the pictures they show."""

import importlib.util
import io
import re
import sys
import tomllib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from experiments.fidelity_settings import load_fidelity
from experiments.sweep_command import load_sweep
from optics4f.config import bench_from
from optics4f.design_config import DesignSpecification
from optics4f.devices.reading import own_devices
from optics4f.twin import toml_text

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN = [ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "README.md"]
CONFIGS = ROOT / "experiments" / "configs"


def script(name):
    """A script of the docs, which are no package."""
    specification = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look there
    specification.loader.exec_module(module)
    return module


figures, shown = script("figures"), script("shown")

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


def test_the_methods_of_mask_design_are_those_of_a_configuration():
    text = (ROOT / "docs" / "explanation" / "mask_design.md").read_text()
    table = re.search(r"^\| method \|.*?\n\n", text, re.MULTILINE | re.DOTALL)[0]
    methods = get_args(DesignSpecification.model_fields["method"].annotation)
    assert tuple(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == methods


def test_a_sentence_in_the_table_of_commands_ends_at_its_end():
    first = script("command_line")._first_sentence
    assert first("For N = 256 ... 8192, one thread.\nThen more.") == "For N = 256 ... 8192, one thread."
    assert first("Does it fit? Then go.") == "Does it fit?" and first("No stop") == "No stop"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    text = page.read_text()
    named = set(re.findall(r"(?:experiments/configs|docs|tests)/[\w./-]+\w", text))
    assert {name for name in named if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("name", sorted(figures.drawings()))
def test_a_drawing_is_what_one_page_shows_and_describes(name):
    pages = [page.read_text() for page in PAGES if f"images/{name}.png" in page.read_text()]
    assert len(pages) == 1
    (described,) = re.findall(rf"!\[([^\]]*)\]\(../images/{name}.png\)", pages[0])
    assert len(described) > 100
    figure = figures.drawings()[name]()
    for ax in figure.axes:
        assert ax.get_xlabel() or ax.get_ylabel() or ax.get_title()  # of panels that share an axis one has the label
    content, committed = figures.drawn(figure), ROOT / "docs" / "images" / f"{name}.png"
    assert len(content) < figures.LARGEST and committed.stat().st_size < figures.LARGEST
    off = unlikeness(Image.open(io.BytesIO(content)), Image.open(committed), side=128)
    assert off < 0.004, f"{name}.png is not what docs/drawings.py draws: off by {off:.3f}; `make figures` mends it"


def test_commands_are_found_wherever_a_page_shows_them():
    page = "Say `optics4f devices NAME`, or:\n\n```bash\nA=1 .venv/bin/python -m kd data\n```\n\n"
    page += "    torchrun --nnodes 2 -m kd train a.toml  # two\n    optics4f schema > file\n\n"
    page += "```console\n$ optics4f verify a.h5\na.h5: verified.\n```\n\n```text\noptics4f fit \\\n  a b --out c\n```\n"
    found = {str(command): command.whole for command in shown.commands(page)}
    assert found == {
        "optics4f devices NAME": False,
        "python -m kd data": True,
        "python -m kd train a.toml": True,
        "optics4f schema": True,
        "optics4f verify a.h5": True,
        "optics4f fit a b --out c": True,
    }


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("optics4f samplin bench.toml", "no command 'samplin'"),
        ("optics4f sampling bench.toml --rout psf", "No such option: --rout"),
        ("optics4f sampling", "MissingParameter"),
        ("optics4f verify one.h5 two.h5", "extra argument"),
        ("python -m kd train a.toml --seed one", "one"),
        ("python -m experiments benchmark growt", "no command 'growt'"),
    ],
)
def test_a_command_that_does_not_exist_is_told(line, wrong):
    (command,) = shown.commands(f"```bash\n{line}\n```\n")
    with pytest.raises(ValueError, match=wrong):
        shown.parse(command)


def test_options_that_act_while_they_are_read_are_not_acted_upon(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    for line in ("optics4f --install-completion", "optics4f --show-completion", "optics4f sampling --help"):
        (command,) = shown.commands(f"```bash\n{line}\n```\n")
        shown.parse(command)
    assert not list(tmp_path.iterdir()) and not capsys.readouterr().out


@pytest.mark.parametrize("page", [*PAGES, *NOT_RUN], ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_that_a_page_shows_exist_with_their_options(page):
    for command in shown.commands(page.read_text()):
        shown.parse(command)


def test_many_commands_are_shown():
    found = [command for page in PAGES for command in shown.commands(page.read_text())]
    assert len(found) > 120 and sum(command.whole for command in found) > 50
    assert {command.program for command in found} == {"optics4f", "python -m kd", "python -m experiments"}


def merged(one, other):
    """One table with what another says besides or instead."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return other
    return {**one, **{key: merged(one.get(key), value) for key, value in other.items()}}


def read(text, folder):
    """A configuration, or tables of one put into an example, as the program that takes it reads it."""
    table, file = tomllib.loads(text), folder / "shown.toml"
    file.write_text(text)
    if "bench" in table:
        example = tomllib.loads((CONFIGS / "demo.toml").read_text())
        return bench_from(merged({"bench": example["bench"]}, table), source="this page")
    if "effects" in table:
        example = tomllib.loads((CONFIGS / "fidelity_demo.toml").read_text())
        file.write_text(toml_text(merged(example, table)))
        return load_fidelity(file)
    if "function" in table:
        example = tomllib.loads((CONFIGS / "sweep_demo.toml").read_text())
        file.write_text(toml_text(merged(example, table)))
        return load_sweep(file)
    if table.keys() <= {"slm", "camera"}:
        return own_devices(file)
    raise ValueError(f"no reader is known for {', '.join(table)}")


TABLES = [(page, text) for page in PAGES for text in shown.blocks(page.read_text(), "toml")]


@pytest.mark.parametrize(("page", "text"), TABLES, ids=lambda p: p.stem if isinstance(p, Path) else "")
def test_tables_that_a_page_shows_are_read_by_the_program_that_takes_them(page, text, tmp_path):
    assert read(text, tmp_path)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("quantization", "quantisation"),  # of [bench.slm.effects]
        ("strengths", "strength"),  # of a fidelity study
        ("paths", "path"),  # of a sweep
        ("full_well", "fullwell"),  # of a camera
    ],
)
def test_a_table_with_a_wrong_key_is_refused(right, wrong, tmp_path):
    text = next(text for _, text in TABLES if re.search(rf"^{right} =", text, re.MULTILINE))
    with pytest.raises(ValueError):
        read(re.sub(rf"^{right} =", f"{wrong} =", text, flags=re.MULTILINE), tmp_path)


def test_the_cluster_of_the_page_about_slurm_can_be_made(capsys):
    pytest.importorskip("dask_jobqueue")
    (code,) = shown.blocks((ROOT / "docs" / "how-to" / "run_a_sweep_on_slurm.md").read_text(), "py")
    until, loop = code.split("while True:\n")
    assert loop.strip() == "time.sleep(60)"
    names = {}
    try:
        exec(until, names)
    finally:
        if "cluster" in names:
            names["cluster"].close()
    printed = capsys.readouterr().out
    assert "#SBATCH -p cpu" in printed and "export OPTICS4F_DATA=/project/data" in printed


def test_installations_are_those_of_the_checkout():
    setup = (ROOT / "setup.cfg").read_text()
    texts = [page.read_text() for page in [*PAGES, *NOT_RUN, *sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))]]
    sources = [file for package in ("optics4f", "kd", "experiments") for file in (ROOT / package).rglob("*.py")]
    texts += [file.read_text() for file in sources]
    installed = [extras for text in texts for extras in re.findall(r"pip install[^`\n]*'\.\[([\w,]+)\]'", text)]
    assert len(installed) > 8
    for extra in {extra for extras in installed for extra in extras.split(",")}:
        assert re.search(rf"^{extra} =$", setup, re.MULTILINE), extra
    assert not [text for text in texts if re.search(r"pip install \W*optics4f", text)]  # nothing is published
