"""The newcomer's path of the README: its commands run in order, say what the README says, and leave what it names."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from optics4f.cli import app

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SESSION = re.compile(r"^```shell-session\n(.*?)^```", re.MULTILINE | re.DOTALL)
INSTALLING = ("python3.11 -m venv .venv && . .venv/bin/activate", "pip install ")
MOST = 12


def docs_figures():
    """``docs/figures.py``, which compares outputs number by number."""
    specification = importlib.util.spec_from_file_location("docs_figures", ROOT / "docs" / "figures.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look there
    specification.loader.exec_module(module)
    return module


def commands(text):
    """Commands behind ``$`` and what the page says that they print."""
    found = []
    for line in "".join(block[1] for block in SESSION.finditer(text)).splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return [(command, "\n".join(stated)) for command, stated in found]


COMMANDS = commands(README)
AFTER_INSTALLING = [(command, stated) for command, stated in COMMANDS if not command.startswith(INSTALLING)]


def printed_by(command):
    """What a command prints: one of ``optics4f`` in this process, others by the shell."""
    words = shlex.split(command)
    if words[0] != "optics4f":
        return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout
    result = CliRunner().invoke(app, words[1:], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert result.exit_code == 0, result.output
    assert not result.stderr, "a newcomer is not warned on the way"
    return result.stdout


def test_a_newcomer_needs_few_commands_from_installation_to_report():
    assert len(COMMANDS) <= MOST
    assert [command.startswith(INSTALLING) for command, _ in COMMANDS[:3]] == [True, True, False]
    used = {shlex.split(command)[1] for command, _ in AFTER_INSTALLING if command.startswith("optics4f ")}
    assert {"simulate", "design", "verify", "export", "report"} <= used
    assert all(stated for command, stated in AFTER_INSTALLING if command.startswith("optics4f"))
    assert "[kd,bench]" in COMMANDS[1][0] and "constraints.txt" in COMMANDS[1][0]


def test_the_commands_say_what_the_readme_says(tmp_path, monkeypatch):
    """Equal but for times, sizes of pages, and the last digit of numbers, which processors round otherwise."""
    differences, threads = docs_figures().differences, torch.get_num_threads()
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)  # tests run side by side
    try:
        for command, stated in AFTER_INSTALLING:
            before = {path for path in tmp_path.rglob("*") if path.is_file()}
            printed = "\n".join(line.rstrip() for line in printed_by(command).splitlines())
            wrong = differences(printed, stated, 0.02)
            assert not wrong, f"{command}: {wrong}"
            made = {path for path in tmp_path.rglob("*") if path.is_file()} - before
            assert made or "sampling" in command or "verify" in command, f"{command} has written nothing"
    finally:
        torch.set_num_threads(threads)
    page = (tmp_path / "laplace" / "report.html").read_text(encoding="utf-8")
    assert "<html" in page and not re.search(r"""(?:src|href)=["']https?://""", page)
    image = re.search(r'<img src="(docs/[^"]+)"', README)[1]
    assert likeness(tmp_path / "laplace" / "convolution.png", ROOT / image) < 0.03, "the README shows another picture"


def likeness(one, other):
    """Mean difference of two pictures, drawn small, on a scale from black to white."""
    small = (np.asarray(Image.open(path).convert("RGB").resize((64, 64))) / 255 for path in (one, other))
    a, b = small
    return np.abs(a - b).mean()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", README))))
def test_what_the_readme_points_to_is_there(target):
    path = next(filter(None, target))
    assert path.startswith("http") or (ROOT / path).exists(), path
