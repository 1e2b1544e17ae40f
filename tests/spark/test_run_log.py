"""What is done already is not done again, and why something is."""

from __future__ import annotations

import pytest

from conf.code_versions import CODE_VERSIONS
from conf.errors import UsageError
from jobs.lake import run_log
from tests.helpers.small import clock

TASK = run_log.Task("a", {"mine": "m1"})


CODE = CODE_VERSIONS["cluster"]
LAST = {"status": "ok", "error": None, "input_versions": '{"mine": "m1"}', "settings_hash": "s1", "code_version": CODE,
        "content_hash": None}  # fmt: skip


@pytest.fixture
def done(lake):
    """A lake whose log says that TASK was done with settings `s1`."""
    run = run_log.begin(lake, "cluster", "s1", clock)
    assert run.to_do([TASK]) == [TASK]
    run.commit([run_log.Done(TASK, rows=3)])
    return lake


def to_do(lake, settings="s1", **more):
    return run_log.begin(lake, "cluster", settings, clock).to_do([TASK, run_log.Task("b", {})], **more)


@pytest.mark.parametrize(
    ("task", "last", "why"),
    [
        (TASK, {}, None),
        (TASK, None, "not done yet"),
        (TASK, {"settings_hash": "s2"}, "made with other settings"),
        (TASK, {"code_version": CODE - 1}, "made by other code"),
        (run_log.Task("a", {"mine": "m2"}), {}, "its input changed"),
        (run_log.Task("a", {"mine": "m1"}, content_hash="c2"), {"content_hash": "c1"}, "its input changed"),
        (run_log.Task("a", {"mine": "m1"}, content_hash="c1"), {"content_hash": "c1"}, None),
        (TASK, {"status": "failed", "error": "no tracks"}, "no tracks"),
        (TASK, {"status": "failed", "error": "no film", "content_hash": "c1"}, None),
        (run_log.Task("a", {"mine": "m2"}), {"status": "failed", "content_hash": "c1"}, "its input changed"),
        (run_log.Task("a", {"mine": "m1", "harvest": "h1"}), {}, None),
        (run_log.Task("a", {"mine": "m1", "names": "n1"}), {}, "its input changed"),
        (run_log.Task("a", {}), {}, "its input changed"),
        (TASK, {"status": "writing"}, "stopped while it was written"),
    ],
)
def test_why_something_is_done_again(task, last, why):
    row = None if last is None else {**LAST, **last}
    assert run_log.why_again("cluster", task, row, "s1") == why


def test_what_is_done_is_not_done_again_and_what_changed_is(done):
    assert to_do(done) == [run_log.Task("b", {})]
    assert to_do(done, settings="s2")[0] == TASK


def test_force_does_it_again(done):
    assert to_do(done, force=True)[0] == TASK


def test_a_failed_title_is_tried_again(done):
    run = run_log.begin(done, "cluster", "s1", clock)
    run.commit([run_log.Done(TASK, error="no tracks")])
    assert [failed.error for failed in run.failures] == ["no tracks"]
    assert to_do(done)[0] == TASK


def test_a_title_that_was_left_half_written_is_done_again(done):
    run = run_log.begin(done, "cluster", "s1", clock)
    run.writes([TASK])
    assert to_do(done)[0] == TASK
    run.commit([run_log.Done(TASK)])
    assert to_do(done) == [run_log.Task("b", {})]


def test_of_one_moment_the_commit_is_newer_than_the_announcement(done):
    now = clock()
    run = run_log.begin(done, "cluster", "s1", lambda: now)
    run.writes([TASK])
    run.commit([run_log.Done(TASK)])
    assert run_log.latest(done, "cluster")["a"]["status"] == "ok"


def test_the_log_says_what_was_done_with_what(done):
    row = run_log.latest(done, "cluster")["a"]
    assert (row["status"], row["rows"], row["settings_hash"], row["code_version"]) == ("ok", 3, "s1", CODE)
    assert row["input_versions"] == '{"mine": "m1"}'
    assert row["seconds"] == 60.0
    assert row["run_id"].split("-")[1] == "cluster"


def test_a_title_that_is_not_there_is_named_with_those_that_are(done):
    run_log.begin(done, "harvest", "s", clock).commit([run_log.Done(run_log.Task("a", {}))])
    with pytest.raises(UsageError, match="--titles z: not harvested; there are: a"):
        run_log.list_harvested(done, ["z"])
    assert list(run_log.list_harvested(done, ["a"])) == ["a"]


def test_the_newest_of_harvest_and_import_is_what_is_there(lake):
    for job in ("harvest", "import"):
        run = run_log.begin(lake, job, "s", clock)
        run.commit([run_log.Done(run_log.Task("a", {"file": "f"} if job == "harvest" else {"tracks": "t"}))])
    assert run_log.list_harvested(lake) == {"a": run.run_id}
    again = run_log.begin(lake, "harvest", "s", clock)
    assert again.to_do([run_log.Task("a", {"file": "f"})])  # what the import replaced is to be harvested again
