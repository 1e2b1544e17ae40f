"""What is done already is not done again, and why something is."""

from __future__ import annotations

import pytest

from conf.errors import UsageError
from jobs import runs
from tests.spark.small import clock

TASK = runs.Task("a", {"mine": "m1"})


@pytest.fixture
def done(lake):
    """A run that has finished TASK with settings `s1` and code 1."""
    run = runs.begin(lake, "cluster", "s1", 1, clock)
    assert run.to_do([TASK]) == [TASK]
    run.commit([runs.Done(TASK, rows=3)])
    return lake


def to_do(lake, task=TASK, settings="s1", code=1, job="cluster", **more):
    return runs.begin(lake, job, settings, code, clock).to_do([task], **more)


def test_nothing_changed_nothing_to_do(done):
    assert to_do(done) == []


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"settings": "s2"}, "made with other settings"),
        ({"code": 2}, "made by other code"),
        ({"task": runs.Task("a", {"mine": "m2"})}, "its input changed"),
        ({"task": runs.Task("a", {"mine": "m1"}, content_hash="c2")}, "its input changed"),
        ({"task": runs.Task("b", {"mine": "m1"})}, "not done yet"),
        ({"job": "mine"}, "not done yet"),
    ],
)
def test_what_changed_is_done_again(done, changed, why):
    task = changed.get("task", TASK)
    assert to_do(done, **changed) == [task]
    last = runs.latest(done, changed.get("job", "cluster")).get(task.title_id)
    assert runs.why_again(task, last, changed.get("settings", "s1"), changed.get("code", 1)) == why


def test_force_does_it_again(done):
    assert to_do(done, force=True) == [TASK]


def test_a_failed_title_is_tried_again(done):
    run = runs.begin(done, "cluster", "s1", 1, clock)
    run.commit([runs.Done(TASK, error="no tracks")])
    assert [failed.error for failed in run.failures] == ["no tracks"]
    assert to_do(done) == [TASK]
    assert runs.why_again(TASK, runs.latest(done, "cluster")["a"], "s1", 1) == "no tracks"


def test_a_title_that_was_left_half_written_is_done_again(done):
    run = runs.begin(done, "cluster", "s1", 1, clock)
    run.writes([TASK])
    assert to_do(done) == [TASK]
    assert runs.why_again(TASK, runs.latest(done, "cluster")["a"], "s1", 1) == "stopped while it was written"
    run.commit([runs.Done(TASK)])
    assert to_do(done) == []


def test_of_one_moment_the_commit_is_newer_than_the_announcement(lake):
    now = clock()
    run = runs.begin(lake, "cluster", "s1", 1, lambda: now)
    run.writes([TASK])
    run.commit([runs.Done(TASK)])
    assert runs.latest(lake, "cluster")["a"]["status"] == "ok"


def test_the_log_says_what_was_done_with_what(done):
    row = runs.latest(done, "cluster")["a"]
    assert (row["status"], row["rows"], row["settings_hash"], row["code_version"]) == ("ok", 3, "s1", 1)
    assert row["input_versions"] == '{"mine": "m1"}'
    assert row["seconds"] == 60.0
    assert row["run_id"].split("-")[1] == "cluster"


def test_a_title_that_is_not_there_is_named_with_those_that_are(done):
    runs.begin(done, "harvest", "s", 1, clock).commit([runs.Done(runs.Task("a", {}))])
    with pytest.raises(UsageError, match="--titles z: not harvested; there are: a"):
        runs.harvested(done, ["z"])
    assert list(runs.harvested(done, ["a"])) == ["a"]


def test_the_newest_of_harvest_and_import_is_what_is_there(lake):
    for job in ("harvest", "import"):
        run = runs.begin(lake, job, "s", 1, clock)
        run.commit([runs.Done(runs.Task("a", {}))])
    assert runs.harvested(lake) == {"a": run.run_id}
