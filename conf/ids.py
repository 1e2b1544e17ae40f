"""Names that depend on content alone: the same in every run, process and partition."""

from __future__ import annotations

import hashlib
import unicodedata

LETTERS, BYTES = 100, 200  # of a title_id, at most: files are called after it, and their names hold 255 bytes
# of a name, letters and marks that nobody sees: fillers, joiners, and the signs that say how emoji are drawn
UNSEEN = frozenset("\u034f\u115f\u1160\u20e3\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))))


def stable_id(*parts: str | int) -> str:
    """16 hex digits that depend on `parts` and their order alone."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]


def safe_name(text: str) -> str:
    """`text` as a title_id: letters and digits of any script and, between them, dot, dash and underscore; at most
    LETTERS and BYTES of UTF-8, never none."""
    whole = "".join(c for c in unicodedata.normalize("NFC", text) if c not in UNSEEN)
    words = "".join(c if c in "._-" or unicodedata.category(c)[0] in "LMN" else " " for c in whole).split()
    name = "_".join(words).lstrip("._-")
    while name and unicodedata.category(name[0])[0] == "M":  # an accent without its letter
        name = name[1:].lstrip("._-")
    return cut_name(name, 0) or "film"


def cut_name(name: str, room: int) -> str:
    """As much of a safe name as leaves room for so many ASCII letters more."""
    short = name[: LETTERS - room].encode()[: BYTES - room].decode(errors="ignore")
    return short.rstrip("._-")
