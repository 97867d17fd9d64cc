"""What pages show and do not run: commands for a terminal, and tables of configurations.

``commands`` and ``blocks`` find them in a page, ``parse`` holds a command against the command line that it is for.
Blocks of ``bash``, ``text``, ``console`` and ``shell-session`` are read, indented blocks, and code within lines.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import typer.main

_FENCED = re.compile(r"^```([\w-]*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:\A|\n\n)((?: {4}.*\n|\n)+)")
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_PROGRAM = re.compile(r"\s*(?:\$ )?(?:\w+=\S* )*(?:\S*/)?(optics4f|python -m kd|python -m experiments|torchrun) (.*)")
_SHELLS = ("bash", "text", "console", "shell-session")


@dataclass(frozen=True)
class Command:
    """A command that a page shows.

    Attributes:
        program: ``optics4f``, ``python -m kd`` or ``python -m experiments``.
        words: What follows.
        whole: Whether it can be given as it stands; words within a line may name a command and no more.
    """

    program: str
    words: tuple[str, ...]
    whole: bool

    def __str__(self) -> str:
        return shlex.join((*self.program.split(), *self.words))


def commands(page: str) -> Iterator[Command]:
    """The commands of the three packages in the text of a page."""
    rest = _FENCED.sub("\n", page)
    blocks = [text for kind, text in _FENCED.findall(page) if kind in _SHELLS]
    blocks += [match[1] for match in _INDENTED.finditer(rest)]
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            yield from _command(line.strip(), whole=True)
    for span in _INLINE.finditer(_INDENTED.sub("\n\n", rest)):
        yield from _command(" ".join(span[1].split()), whole=False)


def _command(line: str, *, whole: bool) -> Iterator[Command]:
    found = _PROGRAM.fullmatch(line)
    if found is None or "[OPTIONS]" in line:  # usage
        return
    program, words = found[1], shlex.split(found[2], comments=True)
    words = list(itertools.takewhile(lambda word: word not in (">", "|", "&&"), words))
    if program == "torchrun":  # torchrun OPTIONS -m kd ...
        if "kd" not in words:
            return
        program, words = "python -m kd", words[words.index("kd") + 1 :]
    yield Command(program, tuple(words), whole)


def parse(command: Command) -> None:
    """Read a command as its program would, and run nothing.

    Raises:
        ValueError: No such command, option or choice; too many arguments, or too few where it is ``whole``.
    """
    from experiments.__main__ import app as experiments
    from kd.cli import app as kd
    from optics4f.cli import app as optics4f

    app = {"optics4f": optics4f, "python -m kd": kd, "python -m experiments": experiments}[command.program]
    level, words, context = typer.main.get_command(app), list(command.words), None
    while words or command.whole:
        at_once = (option for option in level.params if option.callback is not None)  # they act while they are read
        if {"--help", *(name for option in at_once for name in option.opts)}.intersection(words):
            return
        try:
            context = level.make_context(str(command), words, parent=context, resilient_parsing=not command.whole)
        except Exception as error:  # of typer's own command-line library, whose place differs by version
            raise ValueError(f"{command}: {getattr(error, 'message', '') or type(error).__name__}") from error
        if not hasattr(level, "commands"):
            return
        name, *words = (*context._protected_args, *context.args, "")
        if not name and level.invoke_without_command:
            return
        if name not in level.commands:
            raise ValueError(f"{command}: no command {name!r}, only {', '.join(level.commands)}.")
        level, words = level.commands[name], words[:-1]


def blocks(page: str, kind: str) -> list[str]:
    """The blocks of a page in one language, such as ``toml``."""
    return [text for found, text in _FENCED.findall(page) if found == kind]
