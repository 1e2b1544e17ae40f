"""Several small tables of a title made in one pass: computed once per title, staged, then written table by table."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from pyspark.sql import DataFrame

from conf.tables import table
from jobs.cli import command
from jobs.lake import run_log
from udfs import spark_udfs

COMMIT_TITLES = 64  # a commit costs seconds, whatever it holds


def write_titles(
    job: command.Job,
    run: run_log.Run,
    tasks: Sequence[run_log.Task],
    made: DataFrame,
    names: Sequence[str],
    what: str,
    finish: Callable[[str], None] | None = None,
) -> dict[str, int]:
    """Run `made` (rows of STAGED_TABLES), replace the titles of `tasks` in the tables `names`, and commit them.

    A title for which nothing was staged has no rows: its old ones go. Returns rows written by table.

    Args:
        finish: called with the folder of what is staged before any of it is written.
    """
    staging = str(job.lake.files / "_staging")
    with job.progress.step(what, len(tasks), "titles", lambda: _staged(staging, run.run_id, names[0])):
        counts = {(row["title_id"], row["table"]): int(row["rows"]) for row in made.collect()}
    if finish is not None:
        finish(staging)
    for start in range(0, len(tasks), COMMIT_TITLES):
        part = tasks[start : start + COMMIT_TITLES]
        titles = [task.title_id for task in part]
        run.writes(part)
        for name in names:
            with job.progress.step(f"writing {name}"):
                replace(job, run.run_id, name, titles)
        run.commit(run_log.Done(task, sum(counts.get((task.title_id, name), 0) for name in names)) for task in part)
    shutil.rmtree(Path(staging, run.run_id), ignore_errors=True)
    return {name: sum(n for (_, made_name), n in counts.items() if made_name == name) for name in names}


def replace(job: command.Job, run_id: str, name: str, titles: Sequence[str]) -> None:
    """Make the rows of `titles` in the table `name` those that the run has staged."""
    schema = table(name).schema
    staged = (spark_udfs.table_file(str(job.lake.files / "_staging"), run_id, name, title) for title in titles)
    files = [str(file) for file in staged if file.exists()]
    rows = job.spark.read.schema(schema).parquet(*files) if files else job.spark.createDataFrame([], schema)
    job.lake.replace(table(name), rows, titles)


def _staged(staging: str, run_id: str, name: str) -> int:
    folder = Path(staging, run_id, name)
    return len(list(folder.glob("*.parquet"))) if folder.is_dir() else 0
