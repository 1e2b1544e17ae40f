"""Killed anywhere, run again: the tables of an undisturbed run. More moments in faults.py (`make faults`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import lakes
from tests.helpers.commands import PIECES, castmine
from tests.helpers.processes import run_and_kill

pytestmark = pytest.mark.long

HARVESTED = ("titles", "shots", "tracks", "faces")


def test_killed_while_harvest_writes_its_tables(finished: Path, clip: Path, nobody: Path, tmp_path):
    lake = tmp_path / "lake"
    command = ["harvest", clip, nobody, "--lake", lake, *PIECES]
    run_and_kill([*command, "--master", "local[1]"], lambda: lakes.version(lake, "tracks") > 0, tmp_path)
    assert lakes.rows(lake, "tracks").num_rows == 0  # they are written, but the title is not committed
    assert castmine(*command) == 0
    assert lakes.differences(lake, finished, [clip.stem, nobody.stem], HARVESTED) == []
    assert lakes.repeated_keys(lake) == []
    assert lakes.uncommitted(lake) == {}
