"""Two commands on one lake at once, long, not part of `make test`: `make faults`.

The first command is held up right after it has written a table, the second one starts there; then the first goes on, or
is killed on the spot. Every pair of commands, every table.
"""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest

from conf.errors import CastmineError
from jobs import cluster, harvest, mine, name
from jobs.cli.progress import Progress
from jobs.lake.lake import Lake
from tests.helpers import lakes
from tests.helpers.commands import PIECES, castmine

pytestmark = pytest.mark.timeout(2 * 3600)

BOUNDARIES = {
    "harvest": ("shots", "tracks", "faces", "titles"),
    "mine": lakes.MINED,
    "cluster": ("track_labels", "characters"),
    "name": ("edits", "characters"),
}
WRITES = {job: [*names] for job, names in BOUNDARIES.items() if job != "name"}
PAIRS = [(first, at, second) for first, tables in BOUNDARIES.items() for at in tables for second in BOUNDARIES]
WAITS_S = 60.0


class Killed(BaseException):
    """As a kill: nothing that handles errors sees it; locks end as with the process."""


@pytest.fixture(scope="module")
def one(spark, clip, tmp_path_factory) -> Path:
    """The lake of the clip: harvested, mined, clustered, and its first character named."""
    lake = tmp_path_factory.mktemp("lakes") / "one"
    named = ["name", "--titles", "clip", "--character", 0, "Ada"]
    for words in (["harvest", clip, *PIECES], ["mine"], ["cluster"], named):
        assert castmine(*words, "--lake", lake) == 0
    return lake


class Interleaving:
    """One lake, two commands, each in a thread of its own, and what they said."""

    def __init__(self, spark, lake: Path, film: Path, monkeypatch: pytest.MonkeyPatch):
        self.spark, self.lake = spark, lake
        common = ["--lake", str(lake), "--titles", "clip"]
        self.commands = {
            "harvest": (harvest, [str(film), *common, "--force", *PIECES]),
            "mine": (mine, [*common, "--force"]),
            "cluster": (cluster, [*common, "--force"]),
            "name": (name, [*common, "--character", "0", "Bea"]),
        }
        self.said: dict[int, list[str]] = {}
        self.ended: dict[int, str] = {}
        self.there, self.go_on = threading.Event(), threading.Event()
        self.at: str | None = None
        monkeypatch.setattr("jobs.lake.locks.PATIENCE_S", 0.1)
        monkeypatch.setattr(Progress, "say", lambda _, text: self._note(text))
        for writer in ("replace", "append", "update"):
            monkeypatch.setattr(Lake, writer, self._watched(getattr(Lake, writer)))

    def start(self, job: str, at: str | None = None, kill: bool = False) -> threading.Thread:
        """Start a command; it is held up after it has written the table `at`."""
        module, words = self.commands[job]
        if at:
            self.at, self.kill = at, kill

        def run() -> None:
            try:
                code = module.main(words, spark=self.spark)
            except CastmineError as error:
                self.ended[threading.get_ident()] = str(error)
            except Killed:
                self.ended[threading.get_ident()] = "killed"
            else:
                self.ended[threading.get_ident()] = f"exit {code}"

        thread = threading.Thread(target=run, name=job)
        thread.start()
        return thread

    def _note(self, text: str) -> None:
        self.said.setdefault(threading.get_ident(), []).append(text)

    def _watched(self, write):
        def written(lake, made, *rows):
            write(lake, made, *rows)
            if made.name == self.at and not self.there.is_set():
                self.there.set()
                self.go_on.wait()
                if self.kill:
                    raise Killed

        return written

    def waits(self, thread: threading.Thread) -> bool:
        """Whether a command says that it waits; False where it ends without."""
        until = time.monotonic() + WAITS_S
        while thread.is_alive() and time.monotonic() < until:
            if any("waiting until" in line for line in self.said.get(thread.ident or 0, [])):
                return True
            time.sleep(0.05)
        return False


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=["-".join(pair) for pair in PAIRS])
def test_two_runs_leave_one_truth(spark, one, clip, tmp_path, monkeypatch, number):
    first, at, second = PAIRS[number]
    kill = number % 2 == 1  # so every second one of a pair's tables
    lake = Path(shutil.copytree(one, tmp_path / "lake"))
    run = Interleaving(spark, lake, clip, monkeypatch)
    one_thread = run.start(first, at, kill)
    assert run.there.wait(WAITS_S), run.ended
    other_thread = run.start(second)
    waited = run.waits(other_thread)
    assert waited or not other_thread.is_alive(), "it waits for the first one's commit, or says that there is nothing"
    run.go_on.set()
    for thread in (one_thread, other_thread):
        thread.join(WAITS_S * 2)
        assert not thread.is_alive()
    print(f"{first} held up after {at}{', killed' if kill else ''}: {run.ended[one_thread.ident]}")
    print(f"  {second}: {'waited; ' if waited else ''}{run.ended[other_thread.ident]}")
    assert run.ended[one_thread.ident] == ("killed" if kill else "exit 0")
    monkeypatch.undo()
    for job, names in WRITES.items():
        runs = {row["run_id"] for made in names for row in lakes.rows(lake, made).to_pylist()}
        assert len(runs) <= 1, f"the rows of {job} that count are of one run"
    for words in (["harvest", clip, *PIECES], ["mine"], ["cluster"]):
        assert castmine(*words, "--lake", lake) == 0
    names = [made for made in lakes.MADE if made not in ("runs", "characters")]
    assert lakes.differences(lake, one, names=names) == []
    assert lakes.differences(lake, one, names=["characters"], but=["characters.name"]) == []
    assert lakes.repeated_keys(lake) == []
    assert lakes.uncommitted(lake) == {}
    given = "Bea" if any("Bea" in row["payload"] for row in lakes.raw(lake, "edits").to_pylist()) else "Ada"
    assert [row["name"] for row in lakes.rows(lake, "characters").to_pylist() if row["name"]] == [given]
