"""mine: tracks -> cannot_links, must_links, tracklets, hard_negatives.

Free supervision from the films' own structure: tracks seen together are two people, like faces that return to one
place of one camera set-up are one person, and Algorithm 1 finds each track's mutually unlike groups of faces and the
nearest one of another person. Each title is mined alone; all constraints are kept.

  castmine mine --lake ./lake [--titles ID ...]
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import cli, runs, staged
from udfs import spark_udfs

CODE_VERSION = 1  # raise it when the rows of unchanged tracks change
TABLES = ("cannot_links", "must_links", "tracklets", "hard_negatives")


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: runs.Clock = runs.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine mine`."""
    args = cli.parser(__doc__ or "", "mine").parse_args(argv)
    with cli.opened(args, "mine", spark, clock, run_id) as job:
        settings = job.settings.mine
        run = job.begin("mine", settings.hash(), CODE_VERSION)
        harvested = runs.harvested(job.lake, args.titles)
        tasks = run.to_do((runs.Task(title, {"harvest": made}) for title, made in harvested.items()), args.force)
        counts: dict[str, int] = {}
        if tasks:
            rules = {
                "n_tracklets": settings.tracklets,
                "duplicate_iou": settings.duplicate_iou,
                "must_link_cosine": settings.must_link_cosine,
                "must_link_iou": settings.must_link_iou,
            }
            function = functools.partial(
                spark_udfs.mine_title, staging=str(job.lake.files / "_staging"), rules=rules, run_id=run.run_id
            )
            titles = [task.title_id for task in tasks]
            faces = job.lake.rows("faces", titles).where("detected")
            seen = faces.select("title_id", "track_id", "frame", "x", "y", "w", "h", "embedding").groupBy("title_id")
            made = seen.cogroup(_tracks(job, titles).groupBy("title_id")).applyInPandas(
                function, spark_udfs.STAGED_TABLES
            )
            counts = staged.write_titles(job, run, tasks, made, TABLES, "mining")
        listed = ", ".join(f"{n:,} {name}" for name, n in counts.items()) or "nothing to do"
        job.progress.say(f"mine: {len(tasks)} titles mined, {len(harvested) - len(tasks)} unchanged: {listed}")
        summary = {"job": "mine", "titles": [task.title_id for task in tasks], "rows": counts}
        return job.finish(run, summary, f"castmine train --lake {args.lake}, or castmine cluster --lake {args.lake}")


def _tracks(job: cli.Job, titles: list[str]) -> DataFrame:
    """title_id, track_id, shot_id, embedding of each track, its shot's thread and the time of one detection."""
    shots = job.lake.rows("shots", titles).select("title_id", "shot_id", "thread_id")
    per_detection = (F.col("detect_stride") / F.col("fps")).alias("seconds_per_detection")
    films = job.lake.rows("titles", titles).select("title_id", per_detection)
    tracks = job.lake.rows("tracks", titles).select("title_id", "track_id", "shot_id", "embedding")
    return tracks.join(shots, ["title_id", "shot_id"], "left").join(F.broadcast(films), "title_id", "left")


if __name__ == "__main__":
    cli.run(main)
