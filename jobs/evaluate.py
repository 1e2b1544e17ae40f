"""evaluate: characters against a truth file -> metrics, verdicts, errors, and a page of errors per title.

The truth is csv or Parquet: `label` and either `track_id`, or boxes on frames `frame, x, y, w, h` (pixels of the
displayed frame), which are matched to the tracks' boxes; with `title_id`, unless --titles names the one title it is
about. Also read, known by their content, each about the title that its name says:

  gt.txt         MOTChallenge (MOT), counted from 1: frame, id, left, top, width, height, flag; flag 0 is not counted
  TITLE.ids      labels of tracks of The Big Bang Theory and Buffy, released with Ball Cluster Learning
  TITLE.mat      boxes of tracks of the same episodes, released with StoryGraphs

  castmine evaluate --lake ./lake --truth truth.csv --titles my_film
  castmine evaluate --lake ./lake --truth data/ids/bbt_*.ids --protocol bbt

--protocol scores by the rules of a published benchmark, says what differs from it, and prints the paper's numbers below
castmine's. Its titles must have its title_ids in the lake:

  bbt, buffy                The Big Bang Theory S1, Buffy S5, episodes 1 to 6, all people (Ball Cluster Learning)
  bbt_named, buffy_named    the same, named characters only (VideoClusterNet)
  movie_face_cluster        MovieFaceCluster, nine films (VideoClusterNet)
  sail_mcb                  SAIL-MCB, five films and an episode, number of characters given (MvCorr)

The first four print the episodes as one set of tracks, too (`all six`), and bbt and buffy those of both series (`both
twelve`), of what the lake has, evaluated under its protocol now or before. The people of the view `people` are the
clusters then.

The last two papers do not say what their truth files look like: bring them to csv, Parquet or MOT. A title_id that
begins with `composite-` says that the faces are not the film's; the paper's numbers are left out then.

The page of errors, reports/ID.errors.html in the lake's files, shows which kinds of tracks go wrong, who is taken for
whom, what the cannot-links and must-links do and whether confidence can be trusted. The same as tables:

  castmine sql --lake ./lake "select person, taken_for, count(*) from verdicts where person <> taken_for group by all"
  castmine sql --lake ./lake "select * from error_rates order by title_id, property, place"

What the links do is found by clustering again without them, and what the adapter does by clustering the raw embeddings
again, both under the settings of castmine cluster: give evaluate the same --conf and --set (--characters 12 is --set
cluster.characters=12). Right tracks before and after by what makes the face hard (MvCorr's Figure 6), how likely chance
alone makes such a difference, and the gain of V-measure with its interval are on the page, in metrics and in

  castmine sql --lake ./lake "select value, n_tracks, n_right_without_adapter, n_right, p_value from error_rates
                              where title_id = 'my_film' and property in ('quality_label', 'pose', 'flag')"

With report.blur=true faces are blurred.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from conf.catalog import table
from conf.errors import UsageError
from conf.protocol import list_protocols
from jobs.cli import command, options, program
from jobs.evaluation import adapter_gains, combined, error_analysis, published
from jobs.inputs.truth import BY_BOXES, BY_TRACKS, read_truths
from jobs.lake import run_log, staging
from jobs.lake.adapters import NO_ADAPTER, adapters_of, add_adapted, maps_of, read_labels
from udfs import evaluate as udfs
from udfs.kernels.evaluate.intervals import interval

SHOWN = {"v_measure": "V", "wcp": "WCP", "bcubed_f": "B-cubed F", "unknown_share": "unknown"}


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine evaluate`."""
    parser = options.parser(__doc__ or "", "evaluate")
    parser.add_argument(
        "--truth", nargs="+", type=options.filled, required=True, metavar="FILE", help="truth files, see above"
    )
    parser.add_argument("--protocol", choices=list_protocols(), help="a published benchmark, see above")
    args = parser.parse_args(argv)
    truth = read_truths([Path(file) for file in args.truth], args.titles)
    truth = published.select_counted(truth, args.protocol) if args.protocol else truth
    with command.open_job(args, "evaluate", spark, clock, run_id) as job:
        run = job.begin("evaluate", job.settings.evaluate.hash())
        clustered = run_log.list_clustered(job.lake, sorted(set(truth.title_id)), "--truth: title_id")
        pages = {
            title: error_analysis.page(job, title) for title in clustered
        }  # a title that can have none ends it here
        labels = read_labels(job.lake, sorted(clustered)).select("title_id", "method", "adapter_id").distinct()
        made_by = {row["title_id"]: row.asDict() for row in labels.collect()}
        used = {title: made["adapter_id"] for title, made in made_by.items()}
        tasks = [run_log.Task(title, {"cluster": made}) for title, made in clustered.items()]
        run.claim(sorted(clustered), job.progress.say)
        rows = _scores(job, truth, sorted(clustered), used)
        _check_fit(rows, truth, made_by, job.progress.say)
        more, staged = error_analysis.analyse_errors(job, run, truth, clustered, used)
        rows += more
        nobody = {"method": "", "adapter_id": NO_ADAPTER}  # a title without tracks
        values = [{**row, **made_by.get(str(row["title_id"]), nobody), "run_id": run.run_id} for row in rows]
        job.lake.append(table("metrics"), values)
        staging.commit(job, run, tasks, staged, error_analysis.TABLES)
        figures = {title: {r["metric"]: r["value"] for r in rows if r["title_id"] == title} for title in clustered}
        for title, found in figures.items():
            job.progress.say(f"{title}: {say_scores(found)}")
            if gain := adapter_gains.say_gain(found):
                job.progress.say(f"  {gain}")
            job.progress.say(f"  where it goes wrong: {pages[title]}")
        if len(figures) > 1:
            job.progress.say(f"mean of {len(figures)} titles: {_mean_said(list(figures.values()))}")
        gains, shows = adapter_gains.sum_gains(job, figures), not (args.json or args.quiet)
        summary: dict[str, Any] = {"job": "evaluate", "figures": figures, "adapter_gains": gains}
        if gains and len(figures) > 1 and shows:
            adapter_gains.show(gains, sum("v_gain" in found for found in figures.values()))
        if args.protocol:
            together = combined.combine(job, args.protocol, figures)
            summary["protocol"] = published.compare(args.protocol, figures, together)
            if shows:
                published.show(summary["protocol"])
        return job.finish(run, summary)


def _check_fit(
    rows: Sequence[Mapping[str, Any]], truth: pd.DataFrame, with_tracks: Collection[str], say: Callable[[str], None]
) -> None:
    """Raises UsageError where nothing of a title's truth is there to be scored; says where tracks are not."""
    what = "tracks" if "track_id" in truth else "boxes"
    n_true = truth[truth.label.notna()].groupby("title_id").size()
    figures = {(row["title_id"], row["metric"]): row["value"] for row in rows}
    for title in sorted(set(n_true.index) & set(with_tracks)):
        if not figures[title, "n_true"]:
            raise UsageError(
                f"--truth: none of its {n_true[title]:,} {what} of {title} is among the tracks of that title: is it of "
                "another film, or of another harvest?"
            )
        if missing := int(figures.get((title, "missing_tracks"), 0)):
            say(f"  {title}: {missing:,} of {n_true[title]:,} true tracks are not there, and not scored")


def say_scores(figures: dict[str, float]) -> str:
    """One line a person reads: shares in percent, counts as they are."""
    shares = ", ".join(f"{shown} {100 * figures[name]:.1f} %" for name, shown in SHOWN.items())
    return f"{shares}; {figures['n_predicted']:.0f} characters found, {figures['n_true']:.0f} true"


def _mean_said(figures: Sequence[Mapping[str, float]]) -> str:
    """Means over titles, each with its 95 % interval: titles drawn with replacement."""
    parts = []
    for name, shown in SHOWN.items():
        values = np.array([found[name] for found in figures])
        low, high = interval(values)
        parts.append(f"{shown} {100 * values.mean():.1f} % ({100 * low:.1f} to {100 * high:.1f})")
    return ", ".join(parts)


def _scores(
    job: command.Job, truth: pd.DataFrame, titles: list[str], adapters: Mapping[str, str]
) -> list[dict[str, Any]]:
    by_tracks, used = "track_id" in truth, adapters_of(job.lake, adapters)
    seconds = (F.col("end_s") - F.col("start_s")).alias("seconds")
    tracks = job.lake.rows("tracks", titles).select("title_id", "track_id", seconds, "embedding")
    tracks = add_adapted(job.lake, tracks, used)
    labels = job.lake.rows("track_labels", titles).select("title_id", "track_id", "character_id")
    labels = tracks.join(labels, ["title_id", "track_id"], "left")
    boxes = job.lake.rows("faces", titles).select("title_id", "track_id", "frame", "x", "y", "w", "h")
    ours = labels if by_tracks else labels.unionByName(boxes, allowMissingColumns=True)
    columns = BY_TRACKS if by_tracks else BY_BOXES
    theirs = job.spark.createDataFrame(truth, ", ".join(f"{name} {kind}" for name, kind in columns.items()))
    function = functools.partial(
        udfs.score_title,
        match_iou=job.settings.evaluate.match_iou,
        adapt=maps_of(used),
        protocol=job.args.protocol,
    )
    grouped = ours.groupBy("title_id").cogroup(theirs.groupBy("title_id"))
    scored = grouped.applyInPandas(function, udfs.SCORED.schema).collect()
    return [row.asDict() for row in sorted(scored, key=lambda row: (row["title_id"], row["metric"]))]


if __name__ == "__main__":
    program.run(main)
