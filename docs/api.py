"""Writes a page for each module of the three packages that has public names into ``docs/reference/api``.

``docs/conf.py`` calls it before each build. The modules are found as files and read, not imported; what is public in
them is what they define without a leading underscore.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference" / "api"
PACKAGES = ("optics4f", "kd", "experiments")


@dataclass(frozen=True)
class Module:
    """A module with public names.

    Attributes:
        name: Dotted name.
        summary: First sentence of its docstring.
        public: Functions and classes that it defines.
    """

    name: str
    summary: str
    public: tuple[str, ...]

    @property
    def page(self) -> str:
        """What Sphinx makes the page of: outside the sidebar, which would be copied into each of hundreds of pages."""
        head = (":orphan:", "", self.name, "=" * len(self.name), "")
        return "\n".join((*head, f".. automodule:: {self.name}", "   :ignore-module-all:")) + "\n"


def modules(package: str) -> list[Module]:
    """The modules of a package that define a public function or class, by name."""
    found = []
    for file in (ROOT / package).rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        tree = ast.parse(file.read_text(encoding="utf-8"))
        definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        public = tuple(node.name for node in tree.body if isinstance(node, definitions) and node.name[0] != "_")
        if public and parts[-1] != "__main__":
            summary = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
            found.append(Module(name, summary, public))
    return sorted(found, key=lambda module: module.name)


def pages() -> dict[str, str]:
    """Text of each page by its name: one a module, and one a package that lists its modules."""
    written = {}
    for package in PACKAGES:
        found = modules(package)
        written |= {module.name: module.page for module in found}
        rows = (f"   * - :doc:`{module.name}`\n     - {module.summary}" for module in found)
        table = (".. list-table::", "   :widths: 35 65", "", *rows)
        written[f"all_of_{package}"] = "\n".join((package, "=" * len(package), "", *table)) + "\n"
    return written


def write() -> None:
    """Bring the folder up to date; a page that stays as it is keeps its time, so that Sphinx need not read it again."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = {FOLDER / f"{name}.rst": text for name, text in pages().items()}
    for file in set(FOLDER.glob("*.*")) - set(wanted):
        file.unlink()
    for file, text in wanted.items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
    print(FOLDER)
