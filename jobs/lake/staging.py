"""Several small tables of a title made in one pass: computed once per title, staged, then written table by table."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from conf.catalog import table
from jobs.cli import command
from jobs.lake import run_log
from udfs.staging import table_file

COMMIT_TITLES = 64  # a commit costs seconds, whatever it holds

Counts = dict[tuple[str, str], int]  # rows by (title_id, table)


def folder(job: command.Job) -> str:
    """Where all runs stage their rows; every worker can write to it."""
    return str(job.lake.files / "_staging")


def compute(job: command.Job, run_id: str, made: DataFrame, titles: Sequence[str], first: str, what: str) -> Counts:
    """Run `made` (rows of STAGED_TABLES), which stages the tables of these titles, `first` before the others."""
    done = Path(folder(job), run_id, first)
    with job.progress.step(what, len(titles), "titles", lambda: len(list(done.glob("*.parquet")))):
        return {(row["title_id"], row["table"]): int(row["rows"]) for row in made.collect()}


def read_staged(job: command.Job, run_id: str, name: str, titles: Sequence[str]) -> DataFrame:
    """The rows of table `name` that a run has staged for these titles; none where nothing was."""
    files = (table_file(folder(job), run_id, name, title) for title in titles)
    there = [str(file) for file in files if file.exists()]
    schema = table(name).schema
    return job.spark.read.schema(schema).parquet(*there) if there else job.spark.createDataFrame([], schema)


def commit(
    job: command.Job,
    run: run_log.Run,
    tasks: Sequence[run_log.Task],
    counts: Counts,
    names: Sequence[str],
    added: Mapping[str, DataFrame] | None = None,
) -> dict[str, int]:
    """Replace the titles of `tasks` in the tables `names` by what is staged, and commit them.

    A title for which nothing was staged has no rows: its old ones go. Returns rows written by table.

    Args:
        added: by table, columns that were found after its rows were staged, with the columns of its key.
    """
    for start in range(0, len(tasks), COMMIT_TITLES):
        part = tasks[start : start + COMMIT_TITLES]
        titles = [task.title_id for task in part]
        run.writes(part)
        for name in names:
            with job.progress.step(f"writing {name}"):
                replace(job, run.run_id, name, titles, (added or {}).get(name))
        run.commit(run_log.Done(task, sum(counts.get((task.title_id, name), 0) for name in names)) for task in part)
    clear(job, run.run_id)
    return {name: sum(n for (_, made_name), n in counts.items() if made_name == name) for name in names}


def replace(job: command.Job, run_id: str, name: str, titles: Sequence[str], added: DataFrame | None = None) -> None:
    """Make the rows of `titles` in the table `name` those that the run has staged, with `added` as in `commit`."""
    rows, key = read_staged(job, run_id, name, titles), list(table(name).key)
    if added is not None:
        rows = rows.drop(*set(added.columns) - set(key)).join(F.broadcast(added), key, "left")
    job.lake.replace(table(name), rows, titles)


def clear(job: command.Job, run_id: str) -> None:
    """Remove what a run has staged."""
    shutil.rmtree(Path(folder(job), run_id), ignore_errors=True)
