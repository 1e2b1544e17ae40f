"""castmine sql on a terminal: a prompt with a history."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)


def test_a_person_at_a_terminal(finished, tmp_path):
    ours, theirs = pty.openpty()
    environment = os.environ | {"CASTMINE_CACHE": _cache(tmp_path), "TERM": "dumb"}
    command = [sys.executable, "-m", "jobs.cli", "sql", "--lake", str(finished)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        assert "castmine> " in _until(ours, "castmine> ")
        os.write(ours, b"select count(*) as films\n")
        _until(ours, "       -> ")
        os.write(ours, b"from titles;\n")
        assert "3" in _until(ours, "castmine> ").split()
        os.write(ours, b"\\q\n")
        assert process.wait(timeout=60) == 0
    os.close(ours)
    history = Path(environment["CASTMINE_CACHE"], "sql_history").read_text()
    assert "from titles;" in history


def _cache(folder: Path) -> str:
    """A cache of one's own, so that nobody's history is written to, with the jars of the real one."""
    from conf.cache import cache_dir

    (folder / "cache").mkdir()
    (folder / "cache" / "jars").symlink_to(cache_dir() / "jars")
    return str(folder / "cache")


def _until(terminal: int, end: str, seconds: float = 120) -> str:
    said, deadline = "", time.monotonic() + seconds
    while not said.endswith(end):
        ready, _, _ = select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"waited for {end!r}, read {said!r}"
        said += os.read(terminal, 4096).decode(errors="replace")
    return said
