"""Where castmine keeps what it fetches or makes once for all lakes."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """Where models and assets are kept: $CASTMINE_CACHE, else `castmine` in the user's cache folder (XDG)."""
    if own := os.environ.get("CASTMINE_CACHE"):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "castmine"


def spark_log() -> Path:
    """Where the JVM that castmine starts writes what it has to say; a terminal shows castmine's own words only."""
    return cache_dir() / "spark.log"
