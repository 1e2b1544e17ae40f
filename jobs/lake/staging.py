"""Several small tables of a title made in one pass: computed once per title, staged, then written table by table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.catalog import table
from conf.places import locate, remove_folder
from jobs.cli import command
from jobs.lake import run_log
from jobs.lake.commit import NewRows, commit_titles
from udfs import batches
from udfs.staging import table_file

COMMIT_TITLES = 64  # a commit costs seconds, whatever it holds
TASKS = 64  # that read what one commit writes
SEEN_S = 10.0  # within which one machine sees what another has written: network disks remember what was not there

Counts = dict[tuple[str, str], int]  # rows by (title_id, table)
Added = Callable[[Sequence[str]], Mapping[str, DataFrame]]


def folder(job: command.Job) -> str:
    """Where all runs stage their rows; every worker can write to it."""
    return str(job.lake.files / "_staging")


def compute(job: command.Job, run_id: str, made: DataFrame, titles: Sequence[str], first: str, what: str) -> Counts:
    """Run `made` (rows of STAGED_TABLES), which stages the tables of these titles, `first` before the others."""
    done = locate(folder(job)) / run_id / first
    with job.progress.step(what, len(titles), "titles", lambda: len(list(done.glob("*.parquet")))):
        return {(row["title_id"], row["table"]): int(row["rows"]) for row in made.collect()}


def find_unread(job: command.Job, titles: Sequence[str], counts: Counts) -> dict[str, str]:
    """title_id -> why nothing was made of it, of those that have tracks all the same; others have nothing to give."""
    nothing = sorted(set(titles) - {title for title, _ in counts})
    if not nothing:
        return {}
    tracks = job.lake.raw("tracks").where(F.col("title_id").isin(nothing)).select("title_id").distinct()
    why = "its rows are not all of the harvest that counts: harvest it again (castmine harvest FILM --force)"
    return {row["title_id"]: why for row in tracks.collect()}


def read_staged(job: command.Job, run_id: str, name: str, titles: Sequence[str], counts: Counts) -> DataFrame:
    """The rows of table `name` that a run has staged for these titles, of which `counts` tells.

    A title's rows come from one task, in the order in which they were staged. The task ends with a LakeError where it
    does not see what another one has staged.
    """
    there = [title for title in titles if (title, name) in counts]
    if not there:
        return job.spark.createDataFrame([], table(name).schema)
    largest_first = sorted(there, key=lambda title: (-counts[title, name], title))
    rows = [(n, str(table_file(folder(job), run_id, name, title))) for n, title in enumerate(largest_first)]
    files = job.spark.createDataFrame(rows, batches.STAGED_FILES.schema)
    files = files.repartitionByRange(min(len(rows), TASKS), "place")
    return files.mapInArrow(functools.partial(batches.rows_from_files, name=name, seen_s=SEEN_S), table(name).schema)


def commit(
    job: command.Job,
    run: run_log.Run,
    tasks: Sequence[run_log.Task],
    counts: Counts,
    names: Sequence[str],
    added: Added | None = None,
) -> dict[str, int]:
    """Replace the titles of `tasks` in the tables `names` by what is staged, and commit them, some at a time.

    A title for which nothing was staged has no rows: its old ones go. Returns rows written by table.

    Args:
        added: titles -> by table, columns to be laid beside the staged rows, with the columns of its key; called while
            the lake is locked.
    """
    written = dict.fromkeys(names, 0)

    def read(titles: Sequence[str]) -> dict[str, DataFrame]:
        frames = {name: read_staged(job, run.run_id, name, titles, counts) for name in names}
        for name, columns in (added(titles) if added else {}).items():
            key = list(table(name).key)
            rest = frames[name].drop(*set(columns.columns) - set(key))
            frames[name] = rest.join(F.broadcast(columns), key, "left")
        return frames

    unread, new = find_unread(job, [task.title_id for task in tasks], counts), NewRows(names, read, counts)
    for start in range(0, len(tasks), COMMIT_TITLES):
        part = [_done(task, counts, names, unread) for task in tasks[start : start + COMMIT_TITLES]]
        for done in commit_titles(job, run, part, new, kept=unread):
            for name in names:
                written[name] += counts.get((done.task.title_id, name), 0)
    clear(job, run.run_id)
    return written


def _done(task: run_log.Task, counts: Counts, names: Sequence[str], unread: Mapping[str, str]) -> run_log.Done:
    rows = sum(counts.get((task.title_id, name), 0) for name in names)
    return run_log.Done(task, rows, error=unread.get(task.title_id))


def clear(job: command.Job, run_id: str) -> None:
    """Remove what a run has staged."""
    remove_folder(locate(folder(job)) / run_id)
