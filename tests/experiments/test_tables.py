"""Tables on terminals and in files: no number is broken, nothing is left out without a word."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from experiments.tables import print_table

ROWS = [
    {
        "row": "physical_linear_kd",
        "test accuracy [%]": "99.32 +- 0.05",
        "electronic parameters": "128338",
        "light [nat]": "2.09e+09 electrons",
        "what": "phase masks [of glass] in a simulated 4f, trained on the teacher's logits and on labels",
    },
    {
        "row": "teacher",
        "test accuracy [%]": "99.39",
        "electronic parameters": "",
        "light [nat]": "",
        "what": "CNN",
    },
]


def printed(width: int, *, terminal: bool) -> str:
    shown = io.StringIO()
    print_table(ROWS, "mnist", Console(file=shown, width=width, force_terminal=terminal, color_system=None))
    return shown.getvalue()


@pytest.mark.parametrize(
    ("width", "columns"),
    [(22, 1), (37, 1), (38, 2), (71, 3), (72, 4), (98, 4), (99, 5), (250, 5)],  # 18, 13, 10, 18, 24, 3 more each, and 1
)
def test_a_terminal_shows_the_columns_that_fit_and_names_the_others(width, columns):
    text = printed(width, terminal=True)
    lines = text.splitlines()
    grid = [line for line in lines if line.startswith("│")]
    assert grid[0].count("│") == columns + 1
    told = " ".join(line.split("For want", 1)[-1] for line in lines if "For want" in line)
    assert bool(told) == (columns < 5)
    if columns > 1:
        assert max(map(len, grid)) <= width
    for name in list(ROWS[0])[columns:]:
        assert name in " ".join(text.split())
    for value in list(ROWS[0].values())[: min(columns, 4)]:
        assert value in text, "a number stays whole"


def test_a_range_is_a_number_and_a_long_word_is_not_cut():
    shown = io.StringIO()
    rows = [
        {"row": "teacher", "latency": "39.7 ms (26.3 ms ... 69.9 ms)", "what": "set_default_dtype(torch.float64_or_32)"}
    ]
    print_table(rows, "one", Console(file=shown, width=72, force_terminal=True, color_system=None))
    assert rows[0]["latency"] in shown.getvalue() and "one" in shown.getvalue()
    told = "".join(line.split("│")[3].strip() for line in shown.getvalue().splitlines() if line.startswith("│"))
    assert told == rows[0]["what"]


def test_no_rows_are_no_table():
    shown = io.StringIO()
    print_table([], "nothing", Console(file=shown))
    assert shown.getvalue() == ""


@pytest.mark.parametrize("width", [20, 80, 400])
def test_what_is_no_terminal_gets_every_row_whole_on_one_line(width):
    lines = printed(width, terminal=False).splitlines()
    row = next(line for line in lines if "physical_linear_kd" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == list(ROWS[0].values())
    assert "For want" not in " ".join(lines) and "light [nat]" in " ".join(" ".join(lines).split())
