"""Parts of a page that several of its sections are made of: tables, bars, and how numbers are said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

View = dict[str, Any]


def lay_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> View:
    """Numbers stand right, text left."""
    sides = ["n" if all(_is_number(row[i]) for row in rows) else "" for i in range(len(columns))]
    return {
        "columns": list(zip(columns, sides, strict=True)),
        "rows": [[value if isinstance(value, str) else f"{value:,}" for value in row] for row in rows],
    }


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) or not value or value[0].isdigit()


def lay_stretch(kind: str, start: float, length: float) -> View:
    """Part of a bar, both shares of its length."""
    start = min(max(start, 0.0), 1.0)
    return {"kind": kind, "start": f"{100 * start:.2f}", "length": f"{100 * min(length, 1 - start):.2f}"}


def say_percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %"


def say_share(share: float) -> str:
    return f"{100 * share:.1f} %"


def say_tracks(n: int) -> str:
    return f"{n:,} track{'s' if n != 1 else ''}"
