"""Every Python block of README and docs runs, in the order it is read; every configuration they name is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "page", [p for p in PAGES if PYTHON.search(p.read_text())], ids=lambda p: str(p.relative_to(ROOT))
)
def test_the_blocks_of_a_page_run(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {"__name__": "page"}
    text = page.read_text()
    for block in PYTHON.finditer(text):
        line = text[: block.start(1)].count("\n")
        exec(compile("\n" * line + block[1], str(page), "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    text = page.read_text()
    named = set(re.findall(r"(?:experiments/configs|docs|tests)/[\w./-]+\w", text))
    assert {name for name in named if not (ROOT / name).exists()} == set()
