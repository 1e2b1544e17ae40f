"""Where clustering goes wrong: the part of `castmine evaluate` that writes verdicts, errors and the pages of errors."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame

from conf.code_versions import CODE_VERSIONS
from jobs import cluster
from jobs.cli import command
from jobs.lake import run_log, staging
from jobs.lake.adapters import Registered, adapters_of, maps_of
from udfs import evaluate as udfs
from udfs.kernels.cluster.characters import Rules
from udfs.kernels.cluster.methods import METHODS

TABLES = ("verdicts", "error_rates")
OF_TRACKS = ("shot_id", "start_s", "end_s", "n_faces", "face_px", "quality", "flags", "embedding", "thumbnail")


def analyse_errors(
    job: command.Job,
    run: run_log.Run,
    truth: pd.DataFrame,
    clustered: Mapping[str, str],
    adapter_ids: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Write the tables and pages of some titles; the rows count once `run` commits them.

    Args:
        truth: as `read_truth` gives it.
        clustered: title_id -> run_id of its clustering. adapter_ids: title_id -> its adapter.
    Returns:
        title_id, protocol, metric and value of the figures of links and calibration.
    """
    job.lake.create()  # a lake of an older castmine lacks the tables
    titles, adapters = sorted(clustered), adapters_of(job.lake, adapter_ids)
    function = functools.partial(
        udfs.analyse_title,
        protocol=job.args.protocol or ("tracks" if "track_id" in truth else "boxes"),
        staging=staging.folder(job),
        run_id=run.run_id,
        folder=_folder(job),
        blur=job.settings.report.blur,
        rules=_rules(job, titles, adapters),
        adapt=maps_of(adapters),
    )
    names = job.lake.rows("titles", titles).select("title_id", "display_name")
    tracks = job.lake.rows("tracks", titles).select("title_id", "track_id", *OF_TRACKS)
    labels = job.lake.rows("track_labels", titles).select(
        "title_id", "track_id", "character_id", "confidence", "status"
    )
    for more in (labels, name_people(job, truth, titles)):
        tracks = tracks.join(more, ["title_id", "track_id"], "left")
    whole = names.join(tracks, "title_id", "left")  # a title without faces has a page too
    grouped = whole.groupBy("title_id").cogroup(cluster.read_links(job.lake, titles).groupBy("title_id"))
    with job.progress.step("analysing errors", len(titles), "titles"):
        found = grouped.applyInPandas(function, udfs.SCORED.schema).collect()
    run.writes(run_log.Task(title, {"cluster": made}) for title, made in clustered.items())
    for name in TABLES:
        with job.progress.step(f"writing {name}"):
            staging.replace(job, run.run_id, name, titles)
    staging.clear(job, run.run_id)
    return [row.asDict() for row in sorted(found, key=lambda row: (row["title_id"], row["metric"]))]


def page(job: command.Job, title_id: str) -> Path:
    """Where a title's page of errors lies."""
    return udfs.error_page_file(_folder(job), title_id)


def _folder(job: command.Job) -> str:
    return str(job.lake.files / "reports")


def name_people(job: command.Job, truth: pd.DataFrame, titles: list[str]) -> DataFrame:
    """title_id, track_id, person of the tracks that show somebody of the truth."""
    known = truth[truth.title_id.isin(titles) & truth.label.notna()].astype({"label": str})
    if "track_id" not in truth:
        boxes = job.lake.rows("faces", titles).select("title_id", "track_id", "frame", "x", "y", "w", "h")
        theirs = job.spark.createDataFrame(known)
        function = functools.partial(udfs.label_tracks, match_iou=job.settings.evaluate.match_iou)
        grouped = boxes.groupBy("title_id").cogroup(theirs.groupBy("title_id"))
        return grouped.applyInPandas(function, udfs.LABELLED.schema)
    rows = known.sort_values(["title_id", "track_id", "label"]).drop_duplicates(["title_id", "track_id"])
    labelled = rows.rename(columns={"label": "person"})[["title_id", "track_id", "person"]]
    return job.spark.createDataFrame(labelled.astype({"track_id": "int64"}), udfs.LABELLED.schema)


def _rules(job: command.Job, titles: list[str], adapters: Mapping[str, Registered]) -> dict[str, Rules]:
    """The rules by which titles were clustered, of those whose settings are the ones at hand."""
    settings, last = job.settings.cluster, run_log.latest(job.lake, "cluster")
    if METHODS[settings.method].by_faces:
        job.progress.say(f"cluster.method={settings.method} goes by faces: what the links of titles do is not tried")
        return {}
    same = (settings.hash(), CODE_VERSIONS["cluster"])
    known = [title for title in titles if (last[title]["settings_hash"], last[title]["code_version"]) == same]
    if len(known) < len(titles):
        job.progress.say(
            f"{len(titles) - len(known)} titles were clustered under other settings than these: what their links do is "
            "not tried (see castmine evaluate --help)"
        )
    films = job.lake.rows("titles", known).select("title_id", "embedder_sha256").collect()
    of_title = {row["title_id"]: (row["embedder_sha256"], adapters.get(row["title_id"])) for row in films}
    made = {of: cluster.choose_rules(settings, *of) for of in set(of_title.values())}
    return {title: made[of] for title, of in of_title.items()}
