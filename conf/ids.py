"""Names that depend on content alone: the same in every run, process and partition."""

from __future__ import annotations

import hashlib


def stable_id(*parts: str | int) -> str:
    """16 hex digits that depend on `parts` and their order alone."""
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:16]
