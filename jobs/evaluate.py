"""evaluate: characters against a truth file -> metrics.

The truth is csv or parquet: `label` and either `track_id`, or boxes on frames `frame, x, y, w, h` (pixels of the
displayed frame); with `title_id`, unless --titles names the one title it is about.

  castmine evaluate --lake ./lake --truth truth.csv --titles my_film
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession

from conf.tables import table
from jobs import cli, runs
from jobs.truth import read_truth
from udfs import spark_udfs

CODE_VERSION = 1
SHOWN = ("v_measure", "wcp", "bcubed_f", "n_predicted", "n_true", "unknown_share")


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: runs.Clock = runs.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine evaluate`."""
    parser = cli.parser(__doc__ or "", "evaluate")
    parser.add_argument("--truth", nargs="+", required=True, metavar="FILE", help="csv or parquet, see above")
    args = parser.parse_args(argv)
    truth = pd.concat([read_truth(Path(file), args.titles) for file in args.truth], ignore_index=True)
    with cli.opened(args, "evaluate", spark, clock, run_id) as job:
        run = job.begin("evaluate", job.settings.evaluate.hash(), CODE_VERSION)
        clustered = runs.clustered(job.lake, sorted(set(truth.title_id)))
        rows = _scores(job, truth, sorted(clustered))
        labels = job.lake.rows("track_labels", sorted(clustered)).select("title_id", "method", "adapter_id").distinct()
        made_by = {
            row["title_id"]: {"method": row["method"], "adapter_id": row["adapter_id"] or ""}
            for row in labels.collect()
        }
        values = [{**row, **made_by.get(str(row["title_id"]), {}), "run_id": run.run_id} for row in rows]
        job.lake.append(table("metrics"), values)
        run.commit(
            runs.Done(runs.Task(title, {"cluster": made}), sum(row["title_id"] == title for row in rows))
            for title, made in clustered.items()
        )
        figures = {title: {r["metric"]: r["value"] for r in rows if r["title_id"] == title} for title in clustered}
        for title, found in figures.items():
            job.progress.say(f"{title}: {said(found)}")
        return job.finish(run, {"job": "evaluate", "figures": figures})


def said(figures: dict[str, float]) -> str:
    """One line a person reads: shares in percent, counts as they are."""
    names = {"v_measure": "V", "wcp": "WCP", "bcubed_f": "B-cubed F", "unknown_share": "unknown"}
    shares = ", ".join(f"{shown} {100 * figures[name]:.1f} %" for name, shown in names.items())
    return f"{shares}; {figures['n_predicted']:.0f} characters found, {figures['n_true']:.0f} true"


def _scores(job: cli.Job, truth: pd.DataFrame, titles: list[str]) -> list[dict[str, Any]]:
    by_tracks = "track_id" in truth
    labels = job.lake.rows("track_labels", titles).select("title_id", "track_id", "character_id")
    boxes = job.lake.rows("faces", titles).select("title_id", "track_id", "frame", "x", "y", "w", "h")
    ours = labels if by_tracks else boxes.join(labels, ["title_id", "track_id"], "left")
    theirs = job.spark.createDataFrame(truth.assign(label=truth.label.astype(str)))
    function = functools.partial(spark_udfs.score_title, match_iou=job.settings.evaluate.match_iou)
    grouped = ours.groupBy("title_id").cogroup(theirs.groupBy("title_id"))
    scored = grouped.applyInPandas(function, spark_udfs.SCORED).collect()
    return [row.asDict() for row in sorted(scored, key=lambda row: (row["title_id"], row["metric"]))]


if __name__ == "__main__":
    cli.run(main)
