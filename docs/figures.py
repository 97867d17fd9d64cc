"""Runs the pages of the docs: writes what their code prints under it, and what it draws into ``docs/images``.

The ``python`` and ``console`` blocks of a page are one script, run from top to bottom in a folder of its own.

- A ``text`` block right below a ``python`` block holds what that block prints.
- A ``console`` block holds commands behind ``$`` and what they print. They are those of ``optics4f``,
  ``python -m kd`` and ``python -m experiments``; one that shall fail says ``# exit code 1``.
- A picture ``images/NAME.png`` below a block shows ``figure``, as the page's code has left it.
- A picture whose name is that of a function of ``drawings.py`` shows what that returns, wherever it stands.
- ``<!-- within 5 % -->`` above a block allows its numbers to differ by so much on another processor.

``python docs/figures.py`` makes them anew, ``python docs/figures.py docs/tutorials/distil.md`` those of one page.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from typer.testing import CliRunner

from optics4f.plotting import png

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
LARGEST = 150_000  # bytes of a picture
_WIDTH = "100"  # columns of the terminal that commands believe in
_BLOCK = re.compile(
    r"(?:^<!-- within (?P<percent>[\d.]+) % -->\n\n?)?^```(?P<kind>python|console)\n(?P<code>.*?)^```\n"
    r"(?:\n(?:<!-- within (?P<percent_of_text>[\d.]+) % -->\n)?```text\n(?P<printed>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
_PICTURE = re.compile(r"!\[[^\]]*\]\((?:[\w./-]*/)?images/(?P<name>[\w-]+)\.png\)")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.(?P<decimals>\d+))?(?:e(?P<power>[-+]?\d+))?")
_RULE = re.compile("[━─]+")  # of a table, as wide as its numbers
_OF_THE_RUN = re.compile(  # what no two runs share: identities, times of day, seconds taken
    r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:]+Z|\b[\d.]+ s\b"
)


def script(name: str) -> ModuleType:
    """Another script of the docs, which are no package."""
    specification = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look there
    specification.loader.exec_module(module)
    return module


def drawings() -> dict[str, Callable[[], Figure]]:
    """What draws pictures that no page's code draws, by their names."""
    found = inspect.getmembers(_DRAWINGS, inspect.isfunction)
    return {name: draw for name, draw in found if draw.__module__ == _DRAWINGS.__name__}


_DRAWINGS = script("drawings")


@dataclass(frozen=True)
class Step:
    """One block of a page.

    Attributes:
        kind: ``python`` or ``console``.
        code: What is run; of a console, commands and what they print.
        line: Of the page, before the code.
        stated: What the page says that it prints; ``None`` where it says nothing.
        span: Where in the page ``stated`` stands.
        tolerance: Relative difference that its numbers may have.
        pictures: Names of the pictures that follow.
    """

    kind: str
    code: str
    line: int
    stated: str | None
    span: tuple[int, int]
    tolerance: float
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """What a step printed and drew, pictures as PNG files by name."""

    step: Step
    printed: str
    pictures: dict[str, bytes]


def steps_of(text: str) -> list[Step]:
    """The blocks of a page in the order they are read."""
    found = list(_BLOCK.finditer(text))
    ends = [block.start() for block in found[1:]] + [len(text)]
    steps = []
    for block, end in zip(found, ends, strict=False):
        output = "code" if block["kind"] == "console" else "printed"
        shown = (picture["name"] for picture in _PICTURE.finditer(text, block.end(), end))
        pictures = tuple(name for name in shown if name not in drawings())
        percent = float(block["percent_of_text"] or block["percent"] or 0)
        line = text[: block.start("code")].count("\n")
        stated, span = block[output], block.span(output)
        steps.append(Step(block["kind"], block["code"], line, stated, span, percent / 100, pictures))
    return steps


def run_page(page: Path) -> Iterator[Outcome]:
    """Run a page, block by block, in the folder that is current."""
    names: dict[str, object] = {"__name__": "page"}
    for step in steps_of(page.read_text(encoding="utf-8")):
        if step.kind == "console":
            printed = _commands_run(step.code)
        else:
            with redirect_stdout(io.StringIO()) as out:
                exec(compile("\n" * step.line + step.code, str(page), "exec"), names)
            printed = out.getvalue()
        pictures = {}
        for name in step.pictures:
            if "figure" not in names:
                raise NameError(f"{page}: {name}.png must be drawn by a block above, as `figure`.")
            pictures[name] = drawn(names.pop("figure"))
        yield Outcome(step, "\n".join(line.rstrip() for line in printed.splitlines()), pictures)


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder for what a page writes, from which it reads the repository's files by their usual names."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for shared in ("docs", "experiments", "tests"):
            (folder / shared).symlink_to(ROOT / shared)
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def differences(printed: str, stated: str, tolerance: float = 0.0) -> list[str]:
    """Lines that differ by more than formatting.

    Spaces and the rules of tables do not count, nor what no two runs share (UUIDs, times). A number with a decimal
    point may differ by one unit of its last digit or a thousandth, for processors round otherwise; a whole number must
    be the same.

    Args:
        printed: What the code has printed.
        stated: What the page says.
        tolerance: Relative difference that every number may have beyond that.
    """
    found, lines = [], (printed.strip("\n").splitlines(), stated.strip("\n").splitlines())
    if len(lines[0]) != len(lines[1]):
        found.append(f"{len(lines[0])} lines, {len(lines[1])} in the page")
    for one, other in zip(*lines, strict=False):
        a, b = (_OF_THE_RUN.sub("#", _RULE.sub("-", " ".join(line.split()))) for line in (one, other))
        alike = _NUMBER.sub("0", a) == _NUMBER.sub("0", b) and all(
            _close(m, n, tolerance) for m, n in zip(_NUMBER.finditer(a), _NUMBER.finditer(b), strict=True)
        )
        if not alike:
            found.append(f"{one!r}, {other!r} in the page")
    return found


def _close(one: re.Match, other: re.Match, tolerance: float) -> bool:
    a, b = float(one[0]), float(other[0])
    allowed = tolerance * abs(b)
    if other["decimals"] or other["power"]:
        unit = 10.0 ** (int(other["power"] or 0) - len(other["decimals"] or ""))
        allowed = max(allowed, unit, 1e-3 * abs(b))
    return abs(a - b) <= allowed * (1 + 1e-9)


def _commands_run(block: str) -> str:
    """The commands of a console block, each with what it prints."""
    lines = []
    for line in block.splitlines():
        if line.startswith("$ "):
            code = re.search(r"# exit code (\d+)$", line)
            lines.append(line)
            lines += _command_run(shlex.split(line[2:], comments=True), int(code[1]) if code else 0).splitlines()
    return "\n".join(lines)


def _command_run(words: list[str], exit_code: int) -> str:
    if words[0] == "optics4f":
        from optics4f.cli import app
    elif words[:3] == ["python", "-m", "kd"]:
        from kd.cli import app
    elif words[:3] == ["python", "-m", "experiments"]:
        from experiments.__main__ import app
    else:
        raise ValueError(f"a console block must hold commands of the three packages, got {words[0]}.")
    arguments = words[1 if words[0] == "optics4f" else 3 :]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": _WIDTH, "TERMINAL_WIDTH": _WIDTH})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    if result.exit_code != exit_code:
        raise RuntimeError(f"{shlex.join(words)} ended with {result.exit_code}: {result.output}")
    return result.output


def drawn(figure: Figure | Axes) -> bytes:
    """A PNG without transparency, as fine as :data:`LARGEST` allows."""
    for dpi in (90, 75, 60):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(png(figure, dpi=dpi))).convert("RGB").save(buffer, format="PNG", optimize=True)
        if buffer.tell() <= LARGEST:
            break
    return buffer.getvalue()


def main(names: list[str]) -> int:
    """Bring pages up to date: what they print and show."""
    pages = [Path(name).resolve() for name in names] or sorted((ROOT / "docs").rglob("*.md"))
    too_large = []

    def save(name: str, content: bytes) -> None:
        (IMAGES / f"{name}.png").write_bytes(content)
        print(f"  {name}.png, {len(content) / 1e3:.0f} kB")
        too_large.extend([name] if len(content) > LARGEST else [])

    for page in pages:
        text = page.read_text(encoding="utf-8")
        for picture in _PICTURE.finditer(text):
            if picture["name"] in drawings():
                print(page.relative_to(ROOT), flush=True)
                save(picture["name"], drawn(drawings()[picture["name"]]()))
        if not any(step.stated is not None or step.pictures for step in steps_of(text)):
            continue
        print(page.relative_to(ROOT), flush=True)
        with workplace():
            outcomes = list(run_page(page))
        for outcome in reversed(outcomes):  # from the end: spans before it stay where they are
            step = outcome.step
            if step.stated is not None and differences(outcome.printed, step.stated):  # else it stays as it is
                first, last = step.span
                text = text[:first] + outcome.printed.strip("\n") + "\n" + text[last:]
            for name, content in outcome.pictures.items():
                save(name, content)
        page.write_text(text, encoding="utf-8")
    if too_large:
        print(f"more than {LARGEST / 1e3:.0f} kB: {', '.join(too_large)}", file=sys.stderr)
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
