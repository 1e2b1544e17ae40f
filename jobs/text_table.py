"""Tables for people: drawn on a terminal, plain aligned text where output goes elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], out: TextIO | None = None) -> None:
    """Print rows of values under their column names. Numbers stand right, None is an empty cell.

    Whatever a cell holds, it is shown as text on one line: control characters and markup in it do nothing.
    """
    out = out or sys.stdout
    right = [_is_numeric([row[i] for row in rows]) for i in range(len(columns))]
    cells = [[_one_line(value) for value in row] for row in rows]
    names = [_one_line(name) for name in columns]
    console = Console(file=out, highlight=False)
    if console.is_terminal:
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
    return "".join(letter if letter.isprintable() else " " for letter in text)
