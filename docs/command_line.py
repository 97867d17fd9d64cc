"""Writes ``docs/reference/command_line.md`` from the commands themselves: ``python docs/command_line.py``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import typer
import typer.main
from typer.cli import get_docs_for_click

PAGE = Path(__file__).parent / "reference" / "command_line.md"

INTRODUCTION = """\
<!-- Written by docs/command_line.py from the commands themselves: change those, not this page. -->

# The command line

Three programs: `optics4f` for benches, masks and measurements, `python -m kd` for training, and
`python -m experiments` for the claims of this project. Every command explains itself with `--help`; what it says is
below.

**Machines.** Commands of `optics4f` and `python -m kd` with `--json` print JSON on standard output and nothing else
there. Those of `python -m experiments` write files: records of runs into `--out`, the numbers of `benchmark` into
`--json FILE`. Progress goes to standard error, and only where that is a terminal.

**Exit codes.** 0: done. 1: something that was asked to hold does not, such as a sampling condition, a checksum, two
files that differ, or a run of a study that failed. 2: bad input, told in one line. 130: Ctrl-C; nothing is
half-written. 141: nobody reads the output any more, as after `| head`.

**Environment.** `OPTICS4F_DEVICES` names files with devices of your own ([](../how-to/add_a_device.md)),
`OPTICS4F_DATA` the folder of the data sets, `OPTICS4F_DEVICE` what trains the rows of `python -m experiments paper`,
and `OPTICS4F_TRACEBACK=1` shows where in the code an error was raised.

## Shell completion

```bash
optics4f --install-completion    # for the shell that it is called from: bash, zsh, fish, PowerShell
```

In a new shell, the Tab key then completes commands and options of `optics4f`. `optics4f --show-completion` prints the
lines to put into a start-up file by hand. `python -m kd` and `python -m experiments` are programs of Python, for
which shells complete no further than file names.
"""


def page() -> str:
    """The whole page."""
    from experiments.__main__ import app as experiments
    from kd.cli import app as kd
    from optics4f.cli import app as optics4f

    programs = (("optics4f", optics4f), ("python -m kd", kd), ("python -m experiments", experiments))
    return "\n".join((INTRODUCTION, *(_program(name, app) for name, app in programs))).rstrip() + "\n"


def _program(name: str, app: typer.Typer) -> str:
    """One program: what it is, a table of its commands, and each of them."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name=name)
    written = get_docs_for_click(obj=command, ctx=context, name=name)
    first, *sections = re.split(r"^#{2,} `(.*)`\n", written, flags=re.MULTILINE)
    summary = re.split(r"\n\n", first.strip())[1]
    commands = dict(zip(sections[::2], map(_tidy, sections[1::2]), strict=True))
    texts = {title: text for title, text in commands.items() if "**Commands**" not in text}  # not a group of others
    rows = [f"| [`{title}`](#{_anchor(title)}) | {_first_sentence(text)} |" for title, text in texts.items()]
    parts = [f"## `{name}`", summary, "\n".join(("| command | what it does |", "|---|---|", *rows))]
    return "\n\n".join((*parts, *(f"### `{title}`\n\n{text}" for title, text in texts.items()))) + "\n"


def _tidy(text: str) -> str:
    """What typer writes, with examples set as commands, and without what every command has."""
    text = re.sub(r"^\* `--help`.*\n", "", text.strip() + "\n", flags=re.MULTILINE)
    text = re.sub(r"^\*\*Options\*\*:\n\n(?=\n|\Z)", "", text, flags=re.MULTILINE)
    text = re.sub(r"^Example: (.*)\n", r"```bash\n\1\n```\n", text, flags=re.MULTILINE)
    text = text.replace("```console\n", "```text\n")  # usage, which no test runs
    return "\n".join(_lines(text.replace("\\[", "["))).strip()


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith("$ "):  # usage
            line = re.sub(r"\{(\w+)\}", lambda name: name[1].upper(), line)
        yield line.rstrip()


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.match(r".*?(?<![ .])[.?](?= |$)|.*", paragraph)[0]  # the dots of 256 ... 8192 end none


def _anchor(title: str) -> str:
    """As MyST makes it of a heading, which is as GitHub does."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
