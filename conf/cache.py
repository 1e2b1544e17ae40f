"""Where castmine keeps what it fetches or makes once for all lakes."""

from __future__ import annotations

import functools
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from conf.errors import UsageError

KEPT_LOGS = 20


def cache_dir() -> Path:
    """Where models and assets are kept: $CASTMINE_CACHE, else `castmine` in the user's cache folder (XDG); for a user
    without a home, as in some containers, a folder for temporary files."""
    own, of_user = os.environ.get("CASTMINE_CACHE"), os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = os.path.expanduser(own or os.path.join(of_user, "castmine"))
    return _temporary() if folder.startswith("~") else Path(folder).absolute()


def make_cache(folder: Path) -> Path:
    """Make a folder of the cache.

    Raises:
        UsageError: it cannot be made, as where the shell's HOME is none.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be made ({error.strerror}): set CASTMINE_CACHE to a folder for models and jars, or HOME"
        ) from error
    return folder


def _temporary() -> Path:
    return Path(tempfile.gettempdir(), f"castmine-{os.getuid()}")


@functools.cache
def log_file() -> Path:
    """Where this process writes what is not for a terminal: what the JVM says, and the trace of an error that nobody
    expected. In the cache, or where that cannot be written to (no home), in the machine's temporary folder."""
    folder = cache_dir() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.log"))[:-KEPT_LOGS]:
            old.unlink(missing_ok=True)
        usable = os.access(folder, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        folder = _temporary()
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
