"""The run log: what was done to which title, with what, and so what need not be done again."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pyspark.sql import functions as F

from conf.code_versions import CODE_VERSIONS
from conf.errors import UsageError
from conf.tables import runs as runs_table
from jobs.lake.lake import Lake
from jobs.lake.last_runs import UNCHANGED, WRITING, Row, list_counted, read_inputs, writes
from jobs.lake.locks import Say

Clock = Callable[[], datetime]


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
    """How a title ended: well, with an error, or (`partial`, its reason) done as far as it is there."""

    task: Task
    rows: int = 0
    error: str | None = None
    partial: str | None = None


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
    partial: list[Done] = field(default_factory=list)

    def take(self, tasks: Iterable[Task], force: bool, say: Say) -> list[Task]:
        """The tasks that are to be done, claimed: until this run ends no other one writes these titles' tables.

        Raises:
            LakeError: another run is at work on one of them.
        """
        with self.lake.locked(say):
            due = self.to_do(tasks, force)
            self.claim([task.title_id for task in due], say)
        return due

    def claim(self, titles: Sequence[str], say: Say) -> None:
        """Claim titles, whatever was done to them before. Raises like `take`."""
        since = f"{self.started_at:%Y-%m-%d %H:%M} UTC"
        if titles:
            with self.lake.locked(say):
                self.lake.locks.claim(self.run_id, writes(self.job), titles, since)

    def give_back(self) -> None:
        """Let other runs work on the titles again."""
        self.lake.locks.give_back(self.run_id)

    def to_do(self, tasks: Iterable[Task], force: bool = False) -> list[Task]:
        """The tasks whose last run is not an `ok` one with the same inputs, settings and code."""
        last = {} if force else latest(self.lake, self.job)
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

        Until they are committed they count for nobody, whatever was committed before: a title of which one table is new
        and another old is half-written.
        """
        self._log([Done(task) for task in tasks], WRITING)

    def commit(self, done: Iterable[Done]) -> None:
        """Append a row for each title: from here on its rows count."""
        done = list(done)
        self.failures += [d for d in done if d.error]
        self.partial += [d for d in done if d.partial]
        self._log(done, "ok")

    def note_unchanged(self, tasks: Iterable[Task]) -> None:
        """Note that these titles are as they were, though their inputs are called otherwise now; their rows stay."""
        self._log([Done(task) for task in tasks], UNCHANGED)

    def _log(self, done: Iterable[Done], status: str) -> None:
        now, number = self.clock(), self.lake.next_number()
        self.lake.append(
            runs_table.TABLE,
            [
                {
                    "run_id": self.run_id,
                    "title_id": d.task.title_id,
                    "job": self.job,
                    "status": "failed" if d.error else status,
                    "number": number,
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
    if last["status"] == WRITING:
        return "stopped while it was written"
    if last["status"] == "failed" and last["content_hash"] is None:  # else these bytes fail, today as then
        return str(last["error"])
    before = read_inputs(last)
    if "harvest" in task.inputs:  # an older castmine did not note it beside `mine`, which is newer than it
        before.setdefault("harvest", task.inputs["harvest"])
    if before != dict(task.inputs):
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


def latest(lake: Lake, job: str) -> dict[str, Row]:
    """title_id -> the newest row of the jobs that write the same tables as `job`."""
    found = lake.last_runs().get(writes(job))
    return found.last if found else {}


def list_harvested(lake: Lake, titles: Sequence[str] | None = None) -> dict[str, str]:
    """title_id -> run_id of the titles that are harvested or imported, of `titles` only where given.

    A film that cannot be read any more keeps its rows, and counts.

    Raises:
        UsageError: a title was asked for that is not there.
    """
    return _list_ok(lake, "harvest", titles, "harvested")


def list_mined(lake: Lake, titles: Sequence[str] | None = None) -> dict[str, str]:
    """title_id -> run_id of the titles whose newest harvest is mined. Raises like `list_harvested`."""
    return _list_ok(lake, "mine", titles, "mined (run castmine mine)")


def list_sources(lake: Lake, titles: Sequence[str] | None = None) -> dict[str, dict[str, str]]:
    """title_id -> its runs of `harvest` and `mine`, of the titles of `list_mined`. Raises like it."""
    rows = list_counted(lake.last_runs(), "mine")
    return {title: {**read_inputs(rows[title]), "mine": made} for title, made in list_mined(lake, titles).items()}


def list_clustered(lake: Lake, titles: Sequence[str] | None = None, option: str = "--titles") -> dict[str, str]:
    """title_id -> run_id of the titles whose newest harvest is clustered. Raises like `list_harvested`.

    Args:
        option: of the command line, that named the titles.
    """
    return _list_ok(lake, "cluster", titles, "clustered (run castmine cluster)", option)


def list_evaluated(lake: Lake) -> dict[str, str]:
    """title_id -> run_id of the newest evaluation."""
    return {title: str(row["run_id"]) for title, row in latest(lake, "evaluate").items() if row["status"] == "ok"}


def _list_ok(lake: Lake, job: str, titles: Sequence[str] | None, what: str, option: str = "--titles") -> dict[str, str]:
    counted = list_counted(lake.last_runs(), job)
    found = {title: str(row["run_id"]) for title, row in counted.items() if row["status"] == "ok"}
    if titles is None:
        return dict(sorted(found.items()))
    if missing := [title for title in titles if title not in found]:
        there = ", ".join(sorted(found)[:20]) or "none"
        raise UsageError(f"{option} {' '.join(missing)}: not {what}; there are: {there}")
    return {title: found[title] for title in sorted(titles)}


def _as_json(inputs: Mapping[str, str]) -> str:
    return json.dumps(dict(inputs), sort_keys=True)
