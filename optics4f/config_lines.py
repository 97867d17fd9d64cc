"""Where a key stands in the text of a TOML file, which ``tomllib`` does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Sequence

Location = tuple[str, ...]

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
    | (?P<string>\"\"\"(?:\\.|[^\\])*?\"{3,5} | '''.*?'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*')
    | (?P<newline>\n)
    | (?P<mark>[\[\]{}=,.])
    | (?P<word>[^\s\[\]{}=,."'\#]+)""",
    re.VERBOSE | re.DOTALL,
)


class Origin:
    """The file that a table was read from. All are equal: the same table of two files is the same."""

    def __init__(self, source: str = "", text: str = "") -> None:
        self.source, self.text = source, text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin)

    def __hash__(self) -> int:
        return hash(Origin)

    def place(self, location: Sequence[str | int]) -> str:
        """File, and line where it can be found."""
        line = line_of(location, self.text)
        return f"{self.source}:{line}" if line else self.source


def line_of(location: Sequence[str | int], text: str) -> int | None:
    """Line of a key, of an element of an array (by its index), or else of the table that it would be in.

    Args:
        location: Names of tables and keys, and indices, from outside to inside.
        text: Valid TOML.
    """
    lines: dict[Location, int] = {}
    for path, line in _places(text):
        lines.setdefault(path, line)
    wanted = tuple(map(str, location))
    return next((lines[wanted[:n]] for n in range(len(wanted), 0, -1) if wanted[:n] in lines), None)


def locations_of(name: str, text: str) -> list[Location]:
    """Every place at which a key of this name is given a value."""
    return list(dict.fromkeys(path for path, _ in _places(text) if path[-1] == name))


def _places(text: str) -> Iterator[tuple[Location, int]]:
    """Everything that has a name or an index, and its line."""
    try:
        yield from _Reader(text).statements()
    except (IndexError, tomllib.TOMLDecodeError):  # no TOML; the message names at least the file
        return


class _Reader:
    """Walks over the tokens of TOML that has been parsed already, so that its grammar need not be checked."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        line, end = 1, 0
        for found in _TOKEN.finditer(text):
            line += text.count("\n", end, found.start())
            if found.lastgroup != "comment":
                self.tokens.append((str(found.lastgroup), found[0], line))
            end = found.start()
        self.at = 0

    def statements(self) -> Iterator[tuple[Location, int]]:
        table: Location = ()
        rows: dict[Location, int] = {}  # of arrays of tables
        implied: list[tuple[Location, int]] = []  # tables without a header of their own
        while self.at < len(self.tokens):
            kind, word, line = self.tokens[self.at]
            if kind == "newline":
                self.at += 1
            elif word == "[":
                double = self.tokens[self.at + 1][1] == "["
                self.at += 1 + double
                table = ()
                *outer, last = self._key()
                for name in outer:  # a table inside an array of tables is inside its last row
                    table += (name,)
                    implied.append((table, line))
                    table += (str(rows[table]),) if table in rows else ()
                table += (last,)
                self.at += 1 + double
                yield table, line
                if double:
                    rows[table] = rows.get(table, -1) + 1
                    table += (str(rows[table]),)
                    yield table, line
            else:
                yield from self._pair(table)
        yield from implied

    def _key(self) -> Location:
        names = []
        while True:
            kind, word, _ = self.tokens[self.at]
            names.append(next(iter(tomllib.loads(f"{word} = 0"))) if kind == "string" else word)
            self.at += 1
            if self.tokens[self.at][1] != ".":
                return tuple(names)
            self.at += 1

    def _pair(self, table: Location) -> Iterator[tuple[Location, int]]:
        line = self.tokens[self.at][2]
        names = self._key()
        self.at += 1  # the equals sign
        for n in range(1, len(names) + 1):
            yield table + names[:n], line
        yield from self._value(table + names)

    def _value(self, path: Location) -> Iterator[tuple[Location, int]]:
        opened = self.tokens[self.at][1]
        self.at += 1
        if opened not in ("[", "{"):
            while self.at < len(self.tokens) and self.tokens[self.at][1] not in (",", "]", "}", "\n"):
                self.at += 1  # 1.5 is three tokens
            return
        index = 0
        while self.tokens[self.at][1] not in ("]", "}"):
            kind, word, line = self.tokens[self.at]
            if kind == "newline" or word == ",":
                self.at += 1
            elif opened == "{":
                yield from self._pair(path)
            else:
                yield (*path, str(index)), line
                yield from self._value((*path, str(index)))
                index += 1
        self.at += 1
