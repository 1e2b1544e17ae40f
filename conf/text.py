"""Text that people read: nothing in it moves the cursor, colours a line or turns its order around."""

from __future__ import annotations

import re
import unicodedata

# which letters of a line are shown in another order than they stand in: LRE to RLO, LRI to PDI
REORDERS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
CONTROLS = ("Cc", "Cs", "Zl", "Zp")  # control characters, lone surrogates, line and paragraph separators
NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|inf|nan)", re.ASCII)
# also in full width, and behind what a spreadsheet strips
FORMULA = re.compile(r"[\t\r\n]|[\s\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def is_control(letter: str) -> bool:
    """Whether a letter does something to a line in the place of standing in it."""
    return letter in REORDERS or unicodedata.category(letter) in CONTROLS


def visible(text: str, keep: str = "") -> str:
    r"""`text` with control characters as Python writes them: \x1b, \n, \u202e, \udcff; those of `keep` stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c.encode("unicode_escape").decode() if is_control(c) and c not in keep else c for c in text)


def escape_formula(value: object) -> object:
    """A cell of csv: text that a spreadsheet takes for a formula gets a ' in front; numbers and all else stay."""
    is_formula = isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value)
    return f"'{value}" if is_formula else value
