"""The rows of a query, as a table for people, comma-separated values, JSON or Markdown."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from pyspark.sql import Row

from conf.errors import UsageError
from conf.text import escape_formula, visible
from jobs.cli.text_table import print_table

SHOWN_ROWS = 1000  # of a table for people
SHOWN_ITEMS = 3  # of an array, in a table

Show = Callable[[list[str], Iterator[Row], Callable[[str], None]], None]  # names, rows, where to say what is left out


def _show_table(names: list[str], rows: Iterator[Row], say: Callable[[str], None]) -> None:
    shown = [[_in_table(value) for value in row] for row in islice(rows, SHOWN_ROWS + 1)]
    print_table(names, shown[:SHOWN_ROWS])
    if len(shown) > SHOWN_ROWS:
        say(f"the first {SHOWN_ROWS:,} rows; --format csv and json give all")


def _show_json(names: list[str], rows: Iterator[Row], say: Callable[[str], None]) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"--format json: two columns are called {', '.join(twice)}; name them apart with AS")
    for row in rows:
        print(json.dumps(dict(zip(names, map(_plain, row), strict=True)), ensure_ascii=False))


def _show_csv(names: list[str], rows: Iterator[Row], say: Callable[[str], None]) -> None:
    print(csv_line(names))
    for row in rows:
        values = [_plain(value) for value in row]
        print(csv_line([json.dumps(v, ensure_ascii=False) if isinstance(v, list | dict) else v for v in values]))


def csv_line(values: Sequence[object]) -> str:
    """Comma-separated values, without a line's end behind them; no cell is a formula to a spreadsheet."""
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\r\n").writerow(map(escape_formula, values))  # so that \r is quoted as \n is
    return line.getvalue().removesuffix("\r\n")


def _in_table(value: Any) -> object:
    plain = _plain(value)
    if isinstance(plain, list) and len(plain) > 2 * SHOWN_ITEMS:
        first = ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in plain[:SHOWN_ITEMS])
        return f"[{first}, ... {len(plain):,} in all]"
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list | dict) else plain


def _plain(value: Any) -> Any:
    """A value as JSON knows it: NaN and infinity as text, bytes as how many there are."""
    if isinstance(value, bytes | bytearray):
        return f"<{len(value):,} bytes>"
    if isinstance(value, Row):
        return {name: _plain(v) for name, v in value.asDict().items()}
    if isinstance(value, dict):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _show_markdown(names: list[str], rows: Iterator[Row], say: Callable[[str], None]) -> None:
    def line(cells: list[str]) -> str:
        escaped = (cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
        return f"| {' | '.join(visible(' '.join(cell.split())) for cell in escaped)} |"

    print(line(names), "|" + "---|" * len(names), sep="\n")
    for row in islice(rows, SHOWN_ROWS):
        print(line(["" if value is None else str(_in_table(value)) for value in row]))
    if next(rows, None) is not None:
        say(f"the first {SHOWN_ROWS:,} rows; --format csv and json give all")


FORMATS: dict[str, Show] = {"table": _show_table, "csv": _show_csv, "json": _show_json, "markdown": _show_markdown}
