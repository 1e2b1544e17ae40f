"""The commit: how every job replaces the rows of titles.

1. A run claims the titles that it is about to work on (`Run.take`); another one that would write the same tables of one
   of them is refused.
2. Workers compute, and stage whole files; each says how many rows it has staged (`staging`).
3. While the lake is locked (`Locks.commit`), so that one run at a time is here:
   a. what the work was begun with must still count: else the title failed, and keeps the rows that it had;
   b. `writing` rows go into `runs`: from here on the titles are there for nobody;
   c. the titles' rows are replaced, in all tables at once;
   d. one query counts the rows that are there now, by table, title and run: they must be the run's own, as many as were
      staged;
   e. `ok` or `failed` rows go into `runs`: from here on the titles' rows are the new ones.
   Killed anywhere, the titles' newest row is `writing` (c, d) or the old one (a, b), and the next run does them again.
4. Readers take rows whose run is the last one that wrote the title, and has ended (`last_runs`).

The lock keeps runs apart; (d) finds out where it could not: a file system without locks, another program, a disk that
lost something.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pyspark.sql import DataFrame

from conf.catalog import table
from conf.errors import LakeError
from jobs.cli import command
from jobs.lake import run_log
from jobs.lake.lake import Lake

Counts = Mapping[tuple[str, str], int]  # rows by (title_id, table); none where there is no entry
Frames = Mapping[str, DataFrame]  # by table, the rows of the titles


@dataclass(frozen=True)
class NewRows:
    """What replaces the rows of titles.

    Attributes:
        names: the tables.
        read: titles -> their new rows by table; called while the lake is locked.
        counts: how many rows that is.
    """

    names: Sequence[str]
    read: Callable[[Sequence[str]], Frames]
    counts: Counts


def commit_titles(
    job: command.Job, run: run_log.Run, done: Sequence[run_log.Done], new: NewRows, kept: Collection[str] = ()
) -> list[run_log.Done]:
    """Replace the rows of titles, but those of `kept`, and commit them all; returns those that were written.

    Args:
        kept: titles that failed, and keep the rows that they have.
    Raises:
        LakeError: the tables do not hold what was written. What was found right is committed before.
    """
    with job.lake.locked(job.progress.say):
        stale = _find_stale(job.lake, run.job, [d.task for d in done if not d.error])
        failed = [run_log.Done(d.task, error=stale[d.task.title_id]) for d in done if d.task.title_id in stale]
        written = [d for d in done if d.task.title_id not in {*kept, *stale}]
        titles = [d.task.title_id for d in written]
        wrong: dict[str, str] = {}
        if written:
            frames = new.read(titles)
            run.writes(d.task for d in written)
            with job.progress.step(f"writing {', '.join(new.names)}"):
                _replace_at_once(job.lake, {name: frames[name] for name in new.names}, titles)
            wrong = _find_wrong(job.lake, run.run_id, titles, new)
            run.writes(d.task for d in written if d.task.title_id in wrong)  # the last word, whoever else had one
        right = [d for d in done if d.task.title_id not in {*stale, *wrong}]
        run.commit([*right, *failed])
    if wrong:
        title, said = sorted(wrong.items())[0]
        raise LakeError(
            f"{len(wrong)} titles are not as they were written, such as {title}: {said}. They count for nobody until "
            "they are written again: run the same command again, alone"
        )
    return [d for d in written if d.task.title_id not in wrong]


def _replace_at_once(lake: Lake, frames: Frames, titles: Sequence[str]) -> None:
    """Replace the titles' rows in all these tables; side by side, as a Delta commit is mostly waiting."""
    with ThreadPoolExecutor(len(frames)) as pool:
        ended = [pool.submit(lake.replace, table(name), rows, titles) for name, rows in frames.items()]
    for one in ended:
        one.result()


def _find_stale(lake: Lake, job: str, tasks: Sequence[run_log.Task]) -> dict[str, str]:
    """title_id -> what has replaced the rows that a task was begun with."""
    stale: dict[str, str] = {}
    for source in ("harvest", "mine", "cluster"):
        now = lake.counted(source)
        for task in tasks:
            was, is_now = task.inputs.get(source), now.get(task.title_id)
            if was is not None and was != is_now:
                by = f"run {is_now} has" if is_now else "another run has"
                stale.setdefault(task.title_id, f"{by} replaced what it was made from; run castmine {job} again")
    return stale


def _find_wrong(lake: Lake, run_id: str, titles: Sequence[str], new: NewRows) -> dict[str, str]:
    """title_id -> what is wrong with its rows: another run's, or more or fewer than were staged."""
    rows: dict[tuple[str, str], int] = {}
    wrong: dict[str, str] = {}
    for name in new.names:
        for (title, run), n in lake.count_rows(name, titles).items():
            rows[title, name] = rows.get((title, name), 0) + n
            if run != run_id:
                wrong[title] = f"its {name} are those of run {run}"
    for title in titles:
        for name in new.names:
            n, staged = rows.get((title, name), 0), new.counts.get((title, name), 0)
            if n != staged and title not in wrong:
                wrong[title] = f"{n:,} {name} are there, and {staged:,} were made"
    return wrong
