"""Tables for people."""

from __future__ import annotations

import io
import re

import pytest

from jobs.cli.text_table import print_table


class Terminal(io.StringIO):
    """Output that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def drawn(monkeypatch):
    """What a terminal of some width shows, without its colours."""

    def on_terminal(columns, rows, width):
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        out = Terminal()
        print_table(columns, rows, out)
        return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in out.getvalue().splitlines()]

    return on_terminal


def test_plain_text_is_aligned():
    out = io.StringIO()
    print_table(["name", "n", "share"], [["a", 5, 0.123456789], ["long name", 1234, None]], out)
    assert out.getvalue() == (
        "name          n     share\n---------  ----  --------\na             5  0.123457\nlong name  1234\n"
    )


def test_no_rows_leave_the_names():
    out = io.StringIO()
    print_table(["a", "b"], [], out)
    assert out.getvalue() == "a  b\n-  -\n"


def test_a_cell_is_text_on_one_line():
    out = io.StringIO()
    print_table(["a\nb"], [["x\x1b[31m\ny"], ["[bold]z"]], out)
    assert out.getvalue().splitlines()[::2] == ["a\\nb", "x\\x1b[31m\\ny"]
    assert out.getvalue().splitlines()[3] == "[bold]z"


def test_a_terminal_shows_markup_as_it_is(drawn):
    lines = drawn(["name", "n"], [["[red]x[/red]", 1], ["\x1b[31my", 10]], 80)
    assert [line.split() for line in lines] == [["name", "n"], ["[red]x[/red]", "1"], ["\\x1b[31my", "10"]]


def test_a_narrow_terminal_folds_and_a_narrower_one_lists(drawn):
    columns, rows = ["title", "reason"], [["film", "made with other settings"]]
    assert len(drawn(columns, rows, 80)) == 2
    folded = drawn(columns, rows, 24)
    assert folded[0].split() == columns
    assert "".join("".join(line[5:].split()) for line in folded[1:]) == "madewithothersettings"
    listed = drawn(columns, rows, 16)
    assert listed[0] == "row 1"
    assert listed[1].split() == ["title", "film"]
