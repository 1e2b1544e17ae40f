"""mine: tracks -> cannot_links, must_links, tracklets, hard_negatives.

Free supervision from the films' own structure: tracks seen together are two people, like faces that return to one
place of one camera set-up are one person, and Algorithm 1 finds each track's mutually unlike groups of faces and the
nearest one of another person: of tracks that last mine.min_track_s and were seen together for mine.min_shared_s. Each
title is mined alone; all constraints are kept. Must-links that contradict a cannot-link, one alone or a chain of them,
are marked (must_links.contradicted), and no job obeys them.

  castmine mine --lake ./lake [--titles ID ...]
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.cli import command, options, program
from jobs.lake import run_log, staging
from udfs.mine import mine_titles
from udfs.staging import STAGED_TABLES

FACES = ("track_id", "frame", "detected", "x", "y", "w", "h", "embedding")
TABLES = ("cannot_links", "must_links", "tracklets", "hard_negatives")


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine mine`."""
    args = options.parser(__doc__ or "", "mine").parse_args(argv)
    with command.open_job(args, "mine", spark, clock, run_id) as job:
        settings = job.settings.mine
        run = job.begin("mine", settings.hash())
        harvested = run_log.list_harvested(job.lake, args.titles)
        wanted = [run_log.Task(title, {"harvest": made}) for title, made in harvested.items()]
        tasks = run.take(wanted, args.force, job.progress.say)
        counts: dict[str, int] = {}
        if tasks:
            rules = {
                "n_tracklets": settings.tracklets,
                "duplicate_iou": settings.duplicate_iou,
                "must_link_cosine": settings.must_link_cosine,
                "must_link_iou": settings.must_link_iou,
                "min_track_s": settings.min_track_s,
                "min_shared_s": settings.min_shared_s,
            }
            titles = [task.title_id for task in tasks]
            function = functools.partial(
                mine_titles,
                staging=staging.folder(job),
                rules=rules,
                run_id=run.run_id,
                seconds_per_detection=_seconds_per_detection(job, titles),
            )
            made = job.lake.map_titles("faces", titles, FACES, function, STAGED_TABLES.schema, _tracks(job, titles))
            staged = staging.compute(job, run.run_id, made, titles, TABLES[0], "mining")
            counts = staging.commit(job, run, tasks, staged, TABLES)
        listed = ", ".join(f"{n:,} {name}" for name, n in counts.items()) or "nothing to do"
        job.progress.say(f"mine: {len(tasks)} titles mined, {len(harvested) - len(tasks)} unchanged: {listed}")
        if counts.get("must_links"):
            _say_contradicted(job, [task.title_id for task in tasks])
        summary = {"job": "mine", "titles": [task.title_id for task in tasks], "rows": counts}
        return job.finish(run, summary, f"castmine train --lake {args.lake}, or castmine cluster --lake {args.lake}")


def _tracks(job: command.Job, titles: list[str]) -> DataFrame:
    """title_id, track_id, and the shot and the thread of each track."""
    shots = job.lake.rows("shots", titles).select("title_id", "shot_id", "thread_id")
    tracks = job.lake.rows("tracks", titles).select("title_id", "track_id", "shot_id")
    return tracks.join(F.broadcast(shots), ["title_id", "shot_id"], "left")


def _seconds_per_detection(job: command.Job, titles: list[str]) -> dict[str, float]:
    films = job.lake.rows("titles", titles).select("title_id", (F.col("detect_stride") / F.col("fps")).alias("seconds"))
    return {row["title_id"]: row["seconds"] for row in films.collect() if row["seconds"] is not None}


def _say_contradicted(job: command.Job, titles: list[str]) -> None:
    n = job.lake.rows("must_links", titles).where("contradicted").count()
    if n:
        job.progress.say(
            f"mine: {n:,} must-links are on chains that join two tracks seen together; they are kept, and not obeyed: "
            f'castmine sql --lake {job.args.lake} "select * from must_links where contradicted"'
        )


if __name__ == "__main__":
    program.run(main)
