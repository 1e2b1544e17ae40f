"""Tables for people: fitted to a terminal, plain aligned text where output goes elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from conf.text import visible

FOLDED = 12  # letters of a cell that stay on one line


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], out: TextIO | None = None) -> None:
    """Print rows of values under their column names. Numbers stand right, None is an empty cell.

    On a terminal too narrow for the columns, each row is printed as a list of names and values. Whatever a cell holds,
    it is shown as text on one line: control characters are made visible, and markup does nothing.
    """
    out = out or sys.stdout
    right = [_is_numeric([row[i] for row in rows]) for i in range(len(columns))]
    cells = [[_one_line(value) for value in row] for row in rows]
    names = [_one_line(name) for name in columns]
    console = Console(file=out, highlight=False)
    if console.is_terminal and _least_width(names, cells) > console.width:
        _list(console, names, cells)
    elif console.is_terminal:
        _draw(console, names, cells, right)
    else:
        _align(out, names, cells, right)


def _draw(console: Console, names: list[str], cells: list[list[str]], right: list[bool]) -> None:
    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for name, is_right in zip(names, right, strict=True):
        table.add_column(Text(name), justify="right" if is_right else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def _list(console: Console, names: list[str], cells: list[list[str]]) -> None:
    for number, row in enumerate(cells, start=1):
        listed = RichTable(box=None, pad_edge=False, show_header=False, title=f"row {number}", title_justify="left")
        listed.add_column(style="bold", no_wrap=True)
        listed.add_column(overflow="fold")
        for name, text in zip(names, row, strict=True):
            listed.add_row(Text(name), Text(text))
        console.print(listed)


def _least_width(names: list[str], cells: list[list[str]]) -> int:
    """Width at which no name is cut and no cell is folded into less than FOLDED letters."""
    widest = [max((len(row[i]) for row in cells), default=0) for i in range(len(names))]
    return sum(max(len(name), min(width, FOLDED)) + 1 for name, width in zip(names, widest, strict=True))


def _align(out: TextIO, names: list[str], cells: list[list[str]], right: list[bool]) -> None:
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    for row in [names, ["-" * width for width in widths], *cells]:
        padded = [
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(row, widths, right, strict=True)
        ]
        out.write("  ".join(padded).rstrip() + "\n")


def _is_numeric(values: list[object]) -> bool:
    there = [value for value in values if value is not None]
    return bool(there) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in there)


def _one_line(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return visible(text)
