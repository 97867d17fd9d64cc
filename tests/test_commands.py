"""Every command of the three packages, as a newcomer meets it: help, nothing, a wrong file, a wrong key, a wrong unit.

The commands are read from the applications, so that a new one is covered by itself.
"""

import inspect
import re
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

import experiments.__main__
import kd.cli
import optics4f.cli
import optics4f.files

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "experiments/configs"
APPS = {"optics4f": optics4f.cli.app, "kd": kd.cli.app, "experiments": experiments.__main__.app}

# A file that each command takes; the demo's for one that is not named.
FILES = {
    "optics4f design": "design_spots",
    "kd train": "train_digits",
    "experiments cost": "cost_demo",
    "experiments fidelity": "fidelity_demo",
    "experiments sweep": "sweep_demo",
    "experiments paper": "paper_digits",
    "experiments fabrication": "fabrication_digits",
}
# Options that name an input, of commands that ask for nothing.
INPUTS = {"experiments twin": "--record"}


def walk(command, name):
    """Groups and commands below ``command``, by their whole name."""
    yield name, command
    for word, below in getattr(command, "commands", {}).items():
        yield from walk(below, f"{name} {word}")


EVERYTHING = dict(pair for name, app in APPS.items() for pair in walk(typer.main.get_command(app), name))
COMMANDS = {name: command for name, command in EVERYTHING.items() if not hasattr(command, "commands")}
GROUPS = {name for name in EVERYTHING if name not in COMMANDS}


def arguments(name):
    return [param for param in COMMANDS[name].params if param.param_type_name == "argument"]


def takes_path(name, param):
    hints = get_type_hints(inspect.unwrap(COMMANDS[name].callback))
    return Path in (hints[param.name], *get_args(hints[param.name]))


def takes_toml(name):
    return any(param.name == "config" or param.metavar == "SET" for param in arguments(name))


ASKING = [name for name, command in COMMANDS.items() if any(param.required for param in command.params)]
TAKING_INPUT = [name for name in COMMANDS if arguments(name) or name in INPUTS]
TAKING_FILE = [name for name in TAKING_INPUT if name in INPUTS or takes_path(name, arguments(name)[0])]
TAKING_TOML = [name for name in COMMANDS if takes_toml(name)]


def called(name, *words):
    package, *path = name.split()
    return CliRunner().invoke(APPS[package], [*path, *map(str, words)], env={"COLUMNS": "300"})


def words_for(name, folder, first):
    """Values for all that a command needs, ``first`` for its first argument."""
    words = []
    for param in COMMANDS[name].params:
        if param.param_type_name == "argument":
            stands = takes_path(name, param) or param.metavar == "SET"
            words.append((first if not words else folder / "missing.file") if stands else "nothing-like-it")
        elif param.required or param.name in ("image", "out"):
            words += [param.opts[0], folder / ("image.png" if param.name == "image" else "out" / Path(param.name))]
    return words if arguments(name) else [*words, INPUTS[name], first]


def refused(result):
    """One line on stderr, the exit code of bad input, no traceback."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ") and len(lines[0]) > 30, result.stderr
    return lines[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a picture, so that nothing is written to the project."""
    Image.fromarray(np.eye(6, 5, dtype=np.uint8) * 255).save(tmp_path / "image.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_are_found():
    assert {"optics4f verify", "kd train", "experiments benchmark accuracy"} <= COMMANDS.keys()
    assert {"optics4f", "kd", "experiments", "experiments benchmark"} <= GROUPS
    # What can neither be asked wrongly nor take a wrong file has to be a list, or a measurement of this machine.
    free = set(COMMANDS) - set(ASKING) - set(TAKING_INPUT)
    assert {name for name in free if "benchmark" not in name} == {"optics4f schema", "kd data"}


@pytest.mark.parametrize("name", EVERYTHING)
def test_help_is_there_with_an_example(name):
    result = called(name, "--help")
    assert result.exit_code == 0 and not result.stderr
    if name in COMMANDS:
        lines = [line.strip() for line in result.stdout.splitlines()]
        program = name if name.startswith("optics4f") else f"python -m {name}"
        assert [line for line in lines if line.startswith(f"Example: {program}")], result.stdout
        told = " ".join(param.help or "" for param in COMMANDS[name].params).replace("\\[", "[")
        assert set(re.findall(r"\[\w+\]", told)) <= set(re.findall(r"\[\w+\]", result.stdout)), (
            "brackets of help are written \\\\["
        )


@pytest.mark.parametrize("name", [*APPS, *ASKING])
def test_without_arguments_it_says_how_it_is_used(name):
    result = called(name)
    assert result.exit_code == 2 and "Traceback" not in result.output
    assert "Usage" in result.output and ("Missing" in result.stderr or name in APPS)


@pytest.mark.parametrize("name", TAKING_INPUT)
def test_a_file_that_is_not_there_is_named(name, folder):
    line = refused(called(name, *words_for(name, folder, folder / "missing.toml")))
    assert "missing." in line or "nothing-like-it" in line
    assert not [path for path in folder.rglob("*") if path.is_file() and path.name != "image.png"]


@pytest.mark.parametrize("name", TAKING_FILE)
def test_a_file_of_another_kind_is_refused(name, folder):
    refused(called(name, *words_for(name, folder, folder / "image.png")))


@pytest.mark.parametrize(
    "words",
    [
        "simulate demo.toml --image missing.png",
        "simulate demo.toml --image demo.toml",
        "simulate demo.toml --image image.png --masks image.png",
        "fit demo.toml missing.h5 --out out/twin.toml",
        "fit demo.toml image.png --out out/twin.toml",
        "fit demo.toml demo.toml --out demo.toml",
        "sampling demo.toml --route psff",
        "new meadowlark-1920x1152 --for spot",
        "new meadowlark-1920x1152 --out demo.toml",
        "design demo.toml --out out",
    ],
)
def test_what_comes_after_the_first_file_is_looked_at_as_well(words, folder):
    text = (CONFIGS / "demo.toml").read_text()
    (folder / "demo.toml").write_text(text)
    refused(called("optics4f", *words.split()))
    assert (folder / "demo.toml").read_text() == text
    assert not (folder / "out").exists()


def with_file(name, folder, change):
    """Call ``name`` with its file after ``change`` to its text."""
    source = CONFIGS / f"{FILES.get(name, 'demo')}.toml"
    for other in CONFIGS.glob("paper_*.toml"):  # files that name others look beside themselves
        (folder / other.name).write_text(other.read_text())
    text = change(source.read_text())
    assert text != source.read_text()
    (folder / "wrong.toml").write_text(text)
    return called(name, *words_for(name, folder, folder / "wrong.toml"))


@pytest.mark.parametrize("name", TAKING_TOML)
def test_a_wrong_key_is_named_with_file_and_line(name, folder):
    def change(text):
        start = re.search(r"^(?=\w)", text, re.MULTILINE) or re.search(r"(?<=\n)(?=\w)", text)
        return text[: start.start()] + "mispelt_key = 1\n" + text[start.start() :]

    line = refused(with_file(name, folder, change))
    number = (folder / "wrong.toml").read_text().splitlines().index("mispelt_key = 1") + 1
    assert f"wrong.toml:{number}: unknown key" in line and "mispelt_key" in line


@pytest.mark.parametrize("name", [name for name in TAKING_TOML if name != "experiments sweep"])
def test_a_wrong_unit_is_told(name, folder):
    quantity = re.compile(r'(?<== )"[\d.]+ (nm|um|mm|m|ms|s|W|mW)"')
    line = refused(with_file(name, folder, lambda text: quantity.sub('"3 kg"', text, count=1)))
    assert "kg" in line and "wrong.toml:" in line


def test_what_prints_facts_prints_json_too():
    without = {name for name in COMMANDS if name.startswith(("optics4f", "kd")) and not prints_json(name)}
    assert without == {"optics4f new", "optics4f schema"}  # TOML to edit; JSON as it is


def prints_json(name):
    return any("--json" in param.opts for param in COMMANDS[name].params)


def test_the_help_of_fit_names_what_may_change():
    from optics4f.commands.measured import FREE
    from optics4f.twin import GROUPS

    assert FREE == GROUPS
