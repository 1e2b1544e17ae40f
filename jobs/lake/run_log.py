"""The run log: what was done to which title, with what, and so what need not be done again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyspark.sql import functions as F
from pyspark.sql.window import Window

from conf.code_versions import CODE_VERSIONS
from conf.errors import UsageError
from conf.tables import runs as runs_table
from jobs.lake.lake import Lake

HARVESTS = ("harvest", "import")  # both write titles, shots, tracks and faces
WRITING = "writing"  # a run's row before it replaces a title's rows; `ok` or `failed` follows

Clock = Callable[[], datetime]
Newest = dict[str, dict[str, dict[str, object]]]  # job -> title_id -> its newest row of `runs`


def utc_now() -> datetime:
    """The wall clock; the one place that reads it."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Task:
    """What a job is to do for one title: `inputs` names the runs, the adapter or the file stamp that it reads."""

    title_id: str
    inputs: Mapping[str, str]
    content_hash: str | None = None


@dataclass(frozen=True)
class Done:
    """How a title ended."""

    task: Task
    rows: int = 0
    error: str | None = None


@dataclass
class Run:
    """One start of one job."""

    lake: Lake
    job: str
    run_id: str
    settings_hash: str
    code_version: int
    clock: Clock
    started_at: datetime
    failures: list[Done] = field(default_factory=list)
    before: Newest | None = None  # what was done when this run began: see `_done_before`

    def to_do(self, tasks: Iterable[Task], force: bool = False) -> list[Task]:
        """The tasks whose last run is not an `ok` one with the same inputs, settings and code."""
        last = {} if force else newest_of(self._done_before())
        return [task for task in tasks if why_again(self.job, task, last.get(task.title_id), self.settings_hash)]

    def did_before(self, task: Task) -> bool:
        """Whether any run, not only the last, ended well with the same inputs, settings and code."""
        rows = self.lake.raw("runs").where((F.col("job") == self.job) & (F.col("status") == "ok"))
        same = {
            "title_id": task.title_id,
            "input_versions": _as_json(task.inputs),
            "settings_hash": self.settings_hash,
            "code_version": self.code_version,
        }
        for name, value in same.items():
            rows = rows.where(F.col(name) == value)
        return not rows.isEmpty()

    def writes(self, tasks: Iterable[Task]) -> None:
        """Say that the rows of these titles are about to be replaced, table by table.

        Until they are committed no job takes them for finished, whatever was committed before: a title of which one
        table is new and another old is half-written. Titles that were never done have nothing old.
        """
        known = {title for of_job in self._done_before().values() for title in of_job}
        self._log([Done(task) for task in tasks if task.title_id in known], WRITING)

    def commit(self, done: Iterable[Done]) -> None:
        """Append a row for each title: from here on its rows count."""
        done = list(done)
        self.failures += [d for d in done if d.error]
        self._log(done, "ok")

    def _done_before(self) -> Newest:
        """Newest rows of the jobs that write the same tables as this one, read once."""
        if self.before is None:
            self.before = latest_of(self.lake, HARVESTS if self.job in HARVESTS else (self.job,))
        return self.before

    def _log(self, done: Iterable[Done], status: str) -> None:
        now = self.clock()
        self.lake.append(
            runs_table.TABLE,
            [
                {
                    "run_id": self.run_id,
                    "title_id": d.task.title_id,
                    "job": self.job,
                    "status": "failed" if d.error else status,
                    "error": d.error,
                    "started_at": self.started_at,
                    "ended_at": now,
                    "content_hash": d.task.content_hash,
                    "settings_hash": self.settings_hash,
                    "code_version": self.code_version,
                    "input_versions": _as_json(d.task.inputs),
                    "rows": d.rows,
                    "seconds": (now - self.started_at).total_seconds(),
                }
                for d in done
            ],
        )


def why_again(job: str, task: Task, last: Mapping[str, object] | None, settings_hash: str | None) -> str | None:
    """Why a job is to do a task, in the user's words; None where its last run (a row of `runs`) still stands.

    Where `settings_hash` is None, the job has no settings.
    """
    if last is None:
        return "not done yet"
    if last["status"] != "ok":
        return str(last["error"]) if last["status"] == "failed" else "stopped while it was written"
    if last["input_versions"] != _as_json(task.inputs):
        return "its input changed"
    if task.content_hash is not None and last["content_hash"] != task.content_hash:
        return "its input changed"
    if settings_hash is not None and last["settings_hash"] != settings_hash:
        return "made with other settings"
    return "made by other code" if last["code_version"] != CODE_VERSIONS[job] else None


def begin(lake: Lake, job: str, settings_hash: str, clock: Clock = utc_now, run_id: str | None = None) -> Run:
    """Start a run. Its id sorts by time and is new in every process, unless given."""
    started = clock()
    return Run(
        lake,
        job,
        run_id or f"{started:%Y%m%dT%H%M%S}-{job}-{secrets.token_hex(4)}",
        settings_hash,
        CODE_VERSIONS[job],
        clock,
        started,
    )


def latest(lake: Lake, job: str) -> dict[str, dict[str, object]]:
    """The newest row of a job for every title."""
    return latest_of(lake, [job])[job]


def latest_of(lake: Lake, jobs: Sequence[str]) -> Newest:
    """job -> title_id -> its newest row."""
    newest_first = F.col("ended_at").desc(), F.col("run_id").desc(), F.col("status")  # of a run, ok before writing
    by_age = Window.partitionBy("job", "title_id").orderBy(*newest_first)
    rows = lake.raw("runs").where(F.col("job").isin(list(jobs))).withColumn("age", F.row_number().over(by_age))
    found: Newest = {job: {} for job in jobs}
    for row in rows.where("age = 1").drop("age").collect():
        found[row["job"]][row["title_id"]] = row.asDict()
    return found


def list_harvested(lake: Lake, titles: Sequence[str] | None = None) -> dict[str, str]:
    """title_id -> run_id of the titles that are harvested or imported, of `titles` only where given.

    Raises:
        UsageError: a title was asked for that is not there.
    """
    return _list_finished(lake, HARVESTS, titles, "harvested")


def list_mined(lake: Lake, titles: Sequence[str] | None = None) -> dict[str, str]:
    """title_id -> run_id of the titles whose newest harvest is mined. Raises like `list_harvested`."""
    return _chosen(_list_current(lake, "mine"), titles, "mined (run castmine mine)")


def list_clustered(lake: Lake, titles: Sequence[str] | None = None) -> dict[str, str]:
    """title_id -> run_id of the titles whose newest harvest is clustered. Raises like `list_harvested`."""
    return _chosen(_list_current(lake, "cluster"), titles, "clustered (run castmine cluster)")


def list_evaluated(lake: Lake) -> dict[str, str]:
    """title_id -> run_id of the newest evaluation."""
    return _list_finished(lake, ("evaluate",), None, "evaluated")


def _list_current(lake: Lake, job: str) -> dict[str, str]:
    """The titles that a job finished, whose rows count (`Lake.counted`) and whose harvest is not being replaced."""
    counted = {(row["title_id"], row["run_id"]) for row in lake.counted(job).collect()}
    finished, harvested = _list_finished(lake, (job,), None, job), list_harvested(lake)
    return {title: made for title, made in finished.items() if title in harvested and (title, made) in counted}


def _list_finished(lake: Lake, made_by: Sequence[str], titles: Sequence[str] | None, what: str) -> dict[str, str]:
    rows = newest_of(latest_of(lake, made_by))
    return _chosen({t: str(row["run_id"]) for t, row in rows.items() if row["status"] == "ok"}, titles, what)


def newest_of(found: Newest) -> dict[str, dict[str, object]]:
    """title_id -> the newest of its rows, whichever job they are of."""
    rows: dict[str, dict[str, object]] = {}
    for of_job in found.values():
        for title, row in of_job.items():
            before = rows.get(title)
            if before is None or (row["ended_at"], row["run_id"]) > (before["ended_at"], before["run_id"]):
                rows[title] = row
    return rows


def _chosen(found: dict[str, str], titles: Sequence[str] | None, what: str) -> dict[str, str]:
    if titles is None:
        return dict(sorted(found.items()))
    if missing := [title for title in titles if title not in found]:
        there = ", ".join(sorted(found)[:20]) or "none"
        raise UsageError(f"--titles {' '.join(missing)}: not {what}; there are: {there}")
    return {title: found[title] for title in sorted(titles)}


def _as_json(inputs: Mapping[str, str]) -> str:
    return json.dumps(dict(inputs), sort_keys=True)
