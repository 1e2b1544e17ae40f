"""Comma-separated values as spreadsheets and editors write them; a line that does not fit its head is refused."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from conf.errors import UsageError

SEPARATORS = ",;\t|"
LONGEST_CELL = 1 << 20  # letters
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*\r?\n?', re.IGNORECASE)  # what Excel may write before the head
SAVE_AS = "save it as UTF-8 (in a spreadsheet: CSV UTF-8)"
SHOWN = 10  # problems of one file


class Line(NamedTuple):
    """A line of values: where it begins in the file, counted from 1, and as many cells as the head has names."""

    number: int
    cells: list[str]


class Sheet(NamedTuple):
    """What a file holds: the names of its columns, and its lines without empty ones; cells without blanks around."""

    head: list[str]
    lines: list[Line]


def read_sheet(file: Path, known: Collection[str]) -> Sheet:
    """A file of comma-, semicolon- or tab-separated values.

    Args:
        known: names that its head has; which sign separates them is found by these.
    Raises:
        UsageError: no text, no head, quotes that do not close, lines with more cells than the head.
    """
    text = _decode(file.read_bytes())
    said = SEPARATOR_LINE.match(text)
    skipped = 1 if said else 0
    text = text[said.end() :] if said else text
    separator = said[1] if said else _find_separator(text, known)
    rows = list(_rows(text, separator, skipped))
    if not rows:
        raise UsageError("it is empty: a line of column names comes first")
    head = [_as_known(name, known) for name in _without_empty_end(rows[0].cells)]
    lines, problems = [], []
    for number, cells in rows[1:]:
        filled = _without_empty_end(cells)
        if len(filled) > len(head):
            problems.append(
                f"line {number} has {len(filled)} cells, the head has {len(head)}: quote names with {_say(separator)}"
            )
        lines.append(Line(number, filled + [""] * (len(head) - len(filled))))
    if twice := sorted({name for name in known if head.count(name) > 1}):
        problems.append(f"two columns are called {', '.join(twice)}")
    if problems:
        more = [f"and {len(problems) - SHOWN} more lines"] if len(problems) > SHOWN else []
        raise UsageError("; ".join([*problems[:SHOWN], *more]))
    return Sheet(head, lines)


def _decode(content: bytes) -> str:
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"line {line} is not {encoding[:6].upper().rstrip('-')}: {SAVE_AS}") from error
    if "\0" in text:
        raise UsageError(f"it holds NUL bytes, so it is no text, or UTF-16 that does not say so: {SAVE_AS}")
    return text


def _find_separator(text: str, known: Collection[str]) -> str:
    """The sign by which the head has most of the known names; a comma where it has none of them."""
    heads = {separator: next(_rows(text, separator), Line(1, [])).cells for separator in SEPARATORS}
    named = {separator: {_as_known(name, known) for name in head} for separator, head in heads.items()}
    return max(SEPARATORS, key=lambda separator: len(set(known) & named[separator]))


def _as_known(name: str, known: Collection[str]) -> str:
    """A column's name as castmine writes it, where only its capitals and blanks differ."""
    plain = "_".join(name.lower().split())
    return plain if plain in known else name


def _rows(text: str, separator: str, skipped: int = 0) -> Iterator[Line]:
    """The lines that hold anything."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    begins = 1
    csv.field_size_limit(LONGEST_CELL)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                yield Line(begins + skipped, [cell.strip() for cell in row])
            begins = reader.line_num + 1
    except csv.Error as error:
        raise UsageError(
            f"line {begins + skipped} has quotes that do not fit ({error}): a cell with quotes is quoted as a whole, "
            'and its own are doubled, as in "a ""b"" c"'
        ) from error


def _without_empty_end(cells: list[str]) -> list[str]:
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return cells[:end]


def _say(separator: str) -> str:
    return {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}.get(separator, separator)
