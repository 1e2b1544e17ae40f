"""Where clustering goes wrong: the part of `castmine evaluate` that writes verdicts, errors and the pages of errors."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pyspark.sql import DataFrame

from conf.code_versions import CODE_VERSIONS
from conf.errors import UsageError
from conf.settings import ClusterSettings
from jobs import cluster
from jobs.cli import command
from jobs.lake import run_log, staging
from jobs.lake.adapters import Registered, adapters_of, add_adapted, maps_of
from udfs import evaluate as udfs
from udfs.kernels.cluster.characters import Rules
from udfs.kernels.cluster.methods import METHODS

TABLES = ("verdicts", "error_rates")
OF_TRACKS = (
    *("shot_id", "start_s", "end_s", "n_faces", "face_px", "quality", "flags", "quality_labels"),
    *("embedding", "thumbnail"),
)


def analyse_errors(
    job: command.Job,
    run: run_log.Run,
    truth: pd.DataFrame,
    clustered: Mapping[str, str],
    adapter_ids: Mapping[str, str],
) -> tuple[list[dict[str, Any]], staging.Counts]:
    """Stage the tables of some titles, and write their pages.

    Args:
        truth: as `read_truth` gives it.
        clustered: title_id -> run_id of its clustering. adapter_ids: title_id -> its adapter.
    Returns:
        title_id, protocol, metric and value of the figures of links, adapter and calibration; and how many rows are
        staged.
    """
    titles, adapters = sorted(clustered), adapters_of(job.lake, adapter_ids)
    rules, raw_rules = _rules(job, titles, adapters)
    function = functools.partial(
        udfs.analyse_title,
        protocol=job.args.protocol or ("tracks" if "track_id" in truth else "boxes"),
        staging=staging.folder(job),
        run_id=run.run_id,
        folder=_folder(job),
        blur=job.settings.report.blur,
        rules=rules,
        raw_rules=raw_rules,
        adapt=maps_of(adapters),
    )
    names = job.lake.rows("titles", titles).select("title_id", "display_name")
    tracks = job.lake.rows("tracks", titles).select("title_id", "track_id", *OF_TRACKS)
    tracks = add_adapted(job.lake, tracks, adapters)
    labels = job.lake.rows("track_labels", titles).select(
        "title_id", "track_id", "character_id", "confidence", "status"
    )
    for more in (labels, name_people(job, truth, titles)):
        tracks = tracks.join(more, ["title_id", "track_id"], "left")
    whole = names.join(tracks, "title_id", "left")  # a title without faces has a page too
    grouped = whole.groupBy("title_id").cogroup(cluster.read_links(job.lake, titles).groupBy("title_id"))
    with job.progress.step("analysing errors", len(titles), "titles"):
        made = [row.asDict() for row in grouped.applyInPandas(function, udfs.ANALYSED.schema).collect()]
    counts = {(row["title_id"], row["table"]): row["rows"] for row in made if row["table"] is not None}
    figures = [{name: row[name] for name in udfs.SCORED.names} for row in made if row["table"] is None]
    return sorted(figures, key=lambda row: (row["title_id"], row["metric"])), counts


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


def _rules(
    job: command.Job, titles: list[str], adapters: Mapping[str, Registered]
) -> tuple[dict[str, Rules], dict[str, Rules]]:
    """The rules by which titles were clustered, of those whose settings are the ones at hand.

    And, of those of them that have an adapter, the rules without it.
    """
    settings, last = job.settings.cluster, run_log.latest(job.lake, "cluster")
    untried = "what links and adapters do is not tried"
    if METHODS[settings.method].by_faces:
        job.progress.say(f"cluster.method={settings.method} goes by faces: {untried}")
        return {}, {}
    same = (settings.hash(), CODE_VERSIONS["cluster"])
    known = [title for title in titles if (last[title]["settings_hash"], last[title]["code_version"]) == same]
    if len(known) < len(titles):
        job.progress.say(
            f"{len(titles) - len(known)} titles were clustered under other settings than these: {untried} there "
            "(see castmine evaluate --help)"
        )
    films = job.lake.rows("titles", known).select("title_id", "embedder_sha256").collect()
    of_title = {row["title_id"]: (row["embedder_sha256"], adapters.get(row["title_id"])) for row in films}
    made = {of: cluster.choose_rules(settings, *of) for of in set(of_title.values())}
    raw = {of: _without_adapter(settings, of[0]) for of in made if of[1] is not None}
    if None in raw.values():
        job.progress.say(
            f"cluster.method={settings.method} stops where the adapter says: raw embeddings cannot be clustered so, "
            "and what adapters do is not tried"
        )
    return (
        {title: made[of] for title, of in of_title.items()},
        {title: rules for title, of in of_title.items() if (rules := raw.get(of)) is not None},
    )


def _without_adapter(settings: ClusterSettings, embedder_sha256: str | None) -> Rules | None:
    """The rules of raw embeddings; None where the method needs what only an adapter knows."""
    try:
        return cluster.choose_rules(settings, embedder_sha256, None)
    except UsageError:
        return None
