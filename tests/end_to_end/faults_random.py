"""Forty kills at random moments, long, not part of `make test`: `make faults`.

`castmine run` on four films, over and over: its driver is killed, or one of its Python workers; where the driver was,
the same command is started again. Each time a run comes to its end the lake must be that of an undisturbed run.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers import lakes
from tests.helpers.commands import PIECES, castmine
from tests.helpers.processes import started

pytestmark = pytest.mark.timeout(2 * 3600)
KILLS, SEED = 40, 7
LEAST_S, MOST_S = 4.0, 25.0  # between two kills


@pytest.fixture(scope="module")
def four(films: list[Path], clip: Path, tmp_path_factory) -> list[Path]:
    """The three films, and the clip once more as another film."""
    folder = tmp_path_factory.mktemp("four")
    again = folder / "again.mp4"
    again.write_bytes(clip.read_bytes() + b"\0\0\0\x08free")
    return [*films, again]


def test_forty_random_kills(spark, four, tmp_path):
    undisturbed, lake = tmp_path / "undisturbed", tmp_path / "lake"
    assert castmine("run", *four, "--lake", undisturbed, *PIECES) == 0
    chance, kills, ended = random.Random(SEED), {"driver": 0, "worker": 0}, 0
    command = [sys.executable, "-m", "jobs.cli", "run", *four, "--lake", lake, *PIECES]
    while sum(kills.values()) < KILLS:
        with started(command, tmp_path / "said.txt", tmp_path) as process:
            kills_driver = False
            while process.poll() is None and not kills_driver:
                _wait(process, chance.uniform(LEAST_S, MOST_S))
                if process.poll() is None and sum(kills.values()) < KILLS:
                    kills_driver = _kill(process.pid, chance, kills)
            code = process.wait()
        if kills_driver:
            continue
        assert code == 0, (tmp_path / "said.txt").read_text()
        ended += 1
        assert lakes.differences(lake, undisturbed) == []
        assert lakes.repeated_keys(lake) == []
        assert lakes.uncommitted(lake) == {}
        shutil.rmtree(lake)
    assert castmine("run", *four, "--lake", lake, *PIECES) == 0
    assert lakes.differences(lake, undisturbed) == []
    assert lakes.repeated_keys(lake) == []
    assert lakes.uncommitted(lake) == {}
    print(f"{kills['driver']} drivers and {kills['worker']} workers killed; {ended + 1} runs came to their end")


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.05)


def _kill(session: int, chance: random.Random, kills: dict[str, int]) -> bool:
    """Kill the session's driver, or one of its workers where there are some; whether it was the driver."""
    workers = _workers(session)
    if workers and chance.random() < 0.5:
        os.kill(chance.choice(workers), signal.SIGKILL)
        kills["worker"] += 1
        return False
    os.killpg(session, signal.SIGKILL)
    kills["driver"] += 1
    return True


def _workers(session: int) -> list[int]:
    """The processes of the session that run pyspark's workers, the daemon that forks them aside."""
    listed = subprocess.run(["ps", "-o", "pid=,ppid=,args=", "-s", str(session)], capture_output=True, text=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    daemons = {pid for pid, _, args in rows if "pyspark.daemon" in args}
    return [int(pid) for pid, parent, args in rows if "pyspark.daemon" in args and parent in daemons]
