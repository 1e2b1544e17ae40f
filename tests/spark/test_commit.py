"""The commit mark proves what it marks: whatever two runs, a kill, a lost file or a clock do, rows are right or none.

Where the lake is locked a second run cannot come between; so that the checks behind the lock are tried too, most tests
here take the lock away, as a file system without locks does.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from conf.catalog import table
from conf.errors import LakeError
from jobs import cluster, mine, name
from jobs.lake import run_log, staging
from jobs.lake.commit import NewRows, commit_titles
from jobs.lake.lake import Lake
from jobs.lake.locks import Locks
from tests.helpers.small import clock, collected, finished, frame

CLUSTERED = ("track_labels", "characters")
MINED = ("cannot_links", "must_links", "tracklets", "hard_negatives")


@pytest.fixture
def lake(spark, clustered, tmp_path) -> Lake:
    """A copy of the lake of alpha and beta, imported, mined and clustered."""
    return Lake(spark, str(shutil.copytree(clustered, tmp_path / "lake")))


@pytest.fixture
def unlocked(monkeypatch):
    """A file system without locks."""
    monkeypatch.setattr(Locks, "commit", lambda self, say: nullcontext())
    monkeypatch.setattr(Locks, "claim", lambda *_: None)


def call(lake: Lake, job, *words: str) -> int:
    return int(job.main(["--lake", lake.root, "--quiet", *words], spark=lake.spark))


def between(monkeypatch, table_name: str, happens: Callable[[], object]) -> None:
    """Let something happen once, right after a commit has replaced the rows of a table."""
    replace, left = Lake.replace, [happens]

    def replaced(self, made, rows, titles):
        replace(self, made, rows, titles)
        if made.name == table_name and left:
            left.pop()()

    monkeypatch.setattr(Lake, "replace", replaced)


def runs_of(lake: Lake, name: str, title: str) -> set[str]:
    """The runs whose rows of a title are in a table and count."""
    return {run for (run,) in collected(lake.rows(name, [title]), "run_id")}


class Killed(BaseException):
    """As a kill: nothing that handles errors sees it."""


def kill() -> None:
    raise Killed


# --- two runs at once ---------------------------------------------------------------------------------------


def test_a_second_run_on_a_title_is_refused_while_the_first_is_at_work(lake, monkeypatch):
    refused = []

    def second() -> None:
        other = Lake(lake.spark, lake.root)
        with pytest.raises(LakeError, match="is at work on alpha") as told:
            other.locks.claim("second", "cluster", ["alpha"], "now")
        refused.append(str(told.value))

    between(monkeypatch, "track_labels", second)
    assert call(lake, cluster, "--titles", "alpha", "--force") == 0
    assert len(refused) == 1
    assert runs_of(lake, "track_labels", "alpha") == runs_of(lake, "characters", "alpha")
    assert len(runs_of(lake, "characters", "alpha")) == 1


def test_what_two_runs_have_mixed_counts_for_nobody(lake, monkeypatch, unlocked):
    second = ["--titles", "alpha", "--characters", "3"]
    between(monkeypatch, "track_labels", lambda: call(lake, cluster, *second))
    with pytest.raises(LakeError, match="1 titles are not as they were written, such as alpha: its "):
        call(lake, cluster, "--force")
    assert (lake.rows("track_labels", ["alpha"]).count(), lake.rows("characters", ["alpha"]).count()) == (0, 0)
    assert lake.rows("characters", ["beta"]).count() > 0, "the other title of the commit is right, and counts"
    assert "alpha" not in run_log.list_clustered(lake)
    assert call(lake, cluster) == 0
    assert runs_of(lake, "track_labels", "alpha") == runs_of(lake, "characters", "alpha")
    assert len(runs_of(lake, "characters", "alpha")) == 1


def test_a_second_run_that_is_killed_on_the_way_hides_nothing_for_good(lake, monkeypatch, unlocked):
    def second() -> None:
        between(monkeypatch, "track_labels", kill)
        with pytest.raises(Killed):
            call(lake, cluster, "--titles", "alpha", "--force")

    between(monkeypatch, "track_labels", second)
    with pytest.raises(LakeError, match=r"such as alpha: its \w+ are those of run"):
        call(lake, cluster, "--titles", "alpha", "--force")
    assert call(lake, cluster) == 0
    assert lake.rows("track_labels", ["alpha"]).count() == lake.rows("tracks", ["alpha"]).count()


def test_rows_of_a_harvest_that_was_replaced_meanwhile_are_not_written(lake, monkeypatch, capsys):
    """mine is at work on tracks that are harvested anew before it commits."""
    again = []

    def harvested(self, say):
        if not again:
            rows = {
                made: [row.asDict() for row in lake.raw(made).where("title_id = 'alpha'").collect()]
                for made in ("titles", "tracks", "faces", "shots")
            }
            again.append("begun")
            again.append(finished(lake, "harvest", "alpha", rows))
        return commit(self, say)

    call(lake, mine, "--force")
    before = {made: runs_of(lake, made, "alpha") for made in MINED}
    commit = Locks.commit
    taken = run_log.Run.take

    def take(self, *words):
        due = taken(self, *words)
        monkeypatch.setattr(Locks, "commit", harvested)
        return due

    monkeypatch.setattr(run_log.Run, "take", take)
    assert mine.main(["--lake", lake.root, "--force"], spark=lake.spark) == 3
    assert (
        f"failed: alpha: run {again[1]} has replaced what it was made from; run castmine mine again"
        in capsys.readouterr().err
    )
    assert {
        made: {run for (run,) in collected(lake.raw(made).where("title_id = 'alpha'"), "run_id")} for made in MINED
    } == before
    assert list(run_log.list_mined(lake)) == ["beta"]
    monkeypatch.undo()
    assert call(lake, mine) == 0
    assert list(run_log.list_mined(lake)) == ["alpha", "beta"]


def test_a_name_that_is_given_while_a_title_is_clustered_is_shown(lake, monkeypatch):
    """`name` has written its edit when cluster, which had begun before, comes to its commit."""
    take = run_log.Run.take

    def taken(self, *words):
        due = take(self, *words)
        call(lake, name, "--titles", "alpha", "--character", "0", "Ada")
        return due

    monkeypatch.setattr(run_log.Run, "take", taken)
    assert call(lake, cluster, "--force") == 0
    assert collected(lake.rows("characters").where("name IS NOT NULL"), "title_id", "name") == [("alpha", "Ada")]


# --- what is lost, and clocks -------------------------------------------------------------------------------


def test_a_staged_file_that_is_lost_is_said_and_not_taken_for_no_rows(lake, monkeypatch):
    lost = "must_links"
    compute = staging.compute

    def computed(job, run_id, *words):
        counts = compute(job, run_id, *words)
        (Path(staging.folder(job)) / run_id / lost / "alpha.parquet").unlink()
        return counts

    monkeypatch.setattr(staging, "SEEN_S", 0.0)
    monkeypatch.setattr(staging, "compute", computed)
    before = {made: collected(lake.raw(made), "title_id", "run_id") for made in MINED}
    with pytest.raises(LakeError, match=f"{lost}/alpha.parquet: staged by another task, and not seen by this one"):
        call(lake, mine, "--force")
    assert run_log.latest(lake, "mine")["alpha"]["status"] == "writing"
    assert collected(lake.raw(lost), "title_id", "run_id") == before[lost]
    monkeypatch.undo()
    assert call(lake, mine) == 0
    assert list(run_log.list_mined(lake)) == ["alpha", "beta"]


def test_fewer_rows_than_were_made_are_found_out(two):
    run, task = run_log.begin(two, "harvest", "s", clock), run_log.Task("a", {})
    rows = [{"shot_id": 0, "title_id": "a", "run_id": run.run_id}]
    job = type("Job", (), {"lake": two, "progress": Silent()})
    with pytest.raises(LakeError, match="such as a: 1 shots are there, and 2 were made"):
        commit_titles(
            job,
            run,
            [run_log.Done(task)],
            NewRows(["shots"], lambda _: {"shots": frame(two, "shots", rows)}, {("a", "shots"): 2}),
        )
    assert run_log.list_harvested(two) == {"b": "harvest-b"}


def test_a_title_whose_faces_are_not_those_that_count_is_no_empty_one(lake, capsys):
    """Another program has put rows there: mining would find no faces, and say that all is well."""
    rows = lake.raw("faces").where("title_id = 'alpha'").withColumn("run_id", F.lit("stranger"))
    lake.replace(table("faces"), rows, ["alpha"])
    assert mine.main(["--lake", lake.root, "--force"], spark=lake.spark) == 3
    assert "failed: alpha: its rows are not all of the harvest that counts: harvest it again" in capsys.readouterr().err
    assert list(run_log.list_mined(lake)) == ["alpha", "beta"]  # as before


def test_no_clock_decides_which_run_was_last(two):
    """A run on a machine whose clock is a day ahead, then one whose clock is right."""
    ahead = run_log.begin(two, "harvest", "s", lambda: clock() + timedelta(days=1))
    task = run_log.Task("a", {})
    ahead.writes([task])
    two.replace(table("shots"), frame(two, "shots", [{"shot_id": 0, "title_id": "a", "run_id": ahead.run_id}]), ["a"])
    ahead.commit([run_log.Done(task)])
    right = finished(two, "harvest", "a", {"shots": [{"shot_id": 0}, {"shot_id": 1}]})
    assert run_log.list_harvested(two)["a"] == right
    assert runs_of(two, "shots", "a") == {right}
    numbers = [number for (number,) in collected(two.raw("runs").where("number IS NOT NULL"), "number")]
    assert len(set(numbers)) == len(numbers)


def test_a_film_that_cannot_be_read_tonight_keeps_its_rows_and_its_cast(two):
    run = run_log.begin(two, "harvest", "s", clock)
    run.commit([run_log.Done(run_log.Task("a", {}), error="the file cannot be read")])
    assert run_log.list_harvested(two) == {"a": "harvest-a", "b": "harvest-b"}
    assert run_log.list_clustered(two) == {"a": "cluster-a", "b": "cluster-b"}
    assert run_log.latest(two, "harvest")["a"]["status"] == "failed"


class Silent:
    """Progress that nobody watches."""

    def say(self, text: str) -> None: ...

    def step(self, *words: object):
        return nullcontext()
