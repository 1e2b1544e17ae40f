"""report: a contact sheet per title -> PNG pictures in the lake's reports/ folder.

One row a character, the most seen first, with faces of different tracks spread over the film; unknown tracks last.

  castmine report --lake ./lake
  castmine report --lake ./lake --set report.blur=true       faces blurred, for pictures that leave the house
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from pyspark.sql import SparkSession

from conf.ids import stable_id
from jobs.cli import command, options, program
from jobs.lake import run_log
from udfs import report as udfs


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine report`."""
    args = options.parser(__doc__ or "", "report").parse_args(argv)
    with command.open_job(args, "report", spark, clock, run_id) as job:
        settings = job.settings.report
        run = job.begin("report", settings.hash())
        clustered = run_log.list_clustered(job.lake, args.titles)
        named = _name_titles(job, list(clustered))
        every = [run_log.Task(title, {"cluster": made, **named.get(title, {})}) for title, made in clustered.items()]
        undrawn = [task for task in every if not udfs.sheet_file(_folder(job), task.title_id).exists()]
        tasks = run.to_do(every, args.force)
        tasks += [task for task in undrawn if task not in tasks]
        if tasks:
            titles = [task.title_id for task in tasks]
            function = functools.partial(
                udfs.draw_title,
                folder=_folder(job),
                columns=settings.faces_per_character,
                blur=settings.blur,
            )
            labels = job.lake.rows("track_labels", titles).select("title_id", "track_id", "character_id", "status")
            tracks = job.lake.rows("tracks", titles).select("title_id", "track_id", "start_s", "quality", "thumbnail")
            names = job.lake.rows("titles", titles).select("title_id", "display_name", "duration_s")
            labelled = tracks.join(labels, ["title_id", "track_id"])
            left = names.join(labelled, "title_id", "left").groupBy("title_id")  # a title without faces has a sheet too
            characters = job.lake.rows("characters", titles).groupBy("title_id")
            with job.progress.step("drawing contact sheets", len(tasks), "titles"):
                sheets = left.cogroup(characters).applyInPandas(function, "title_id STRING, rows INT").collect()
            rows = {row["title_id"]: row["rows"] for row in sheets}
            with job.lake.locked(job.progress.say):
                run.commit(run_log.Done(task, rows.get(task.title_id, 0)) for task in tasks)
        for title in sorted(clustered):
            if (file := udfs.sheet_file(_folder(job), title)).exists():
                job.progress.say(f"  {file}")
        job.progress.say(f"report: {len(tasks)} contact sheets drawn, {len(clustered) - len(tasks)} unchanged")
        return job.finish(run, {"job": "report", "folder": _folder(job), "titles": sorted(clustered)})


def _name_titles(job: command.Job, titles: list[str]) -> dict[str, dict[str, str]]:
    """title_id -> a hash of its characters' names, which change without a new clustering; of titles with names."""
    rows = job.lake.rows("characters", titles).where("name IS NOT NULL").select("title_id", "character_id", "name")
    names: dict[str, list[str | int]] = {}
    for row in rows.orderBy("title_id", "character_id").collect():
        names.setdefault(row["title_id"], []).extend((row["character_id"], row["name"]))
    return {title: {"names": stable_id(*said)} for title, said in names.items()}


def _folder(job: command.Job) -> str:
    return str(job.lake.files / "reports")


if __name__ == "__main__":
    program.run(main)
