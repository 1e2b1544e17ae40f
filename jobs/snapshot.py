"""The training snapshot: a pinned version of the mined tables, written once as flat Parquet for Petastorm.

Spark selects, splits and numbers the rows; each file is written by one task. Embeddings never pass through the driver.
"""

from __future__ import annotations

import functools
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from conf.errors import TooLittleData, UsageError
from conf.ids import stable_id
from conf.settings import TrainSettings
from jobs.lake import Lake
from training.snapshot import Snapshot, write_rows
from udfs import spark_udfs

ROWS_PER_GROUP = 1024
ROWS_PER_FILE = 8 * ROWS_PER_GROUP
TITLES_TO_SPLIT = 4  # with fewer, whole titles cannot be held out and shots are
SOURCES = ("titles", "tracks", "cannot_links", "tracklets", "hard_negatives")


@dataclass(frozen=True)
class Selection:
    """What a snapshot is made of, before it is written."""

    rows: DataFrame  # part, title_id, track_id, views, negative, has_negative
    n_tracklets: int
    dim: int
    embedder_sha256: str
    split: str


def write(lake: Lake, titles: Sequence[str], settings: TrainSettings) -> Snapshot:
    """Write the snapshot of these titles, or find the one that is there with the same rows.

    Raises:
        TooLittleData: no track that can train. UsageError: the titles have more than one embedder.
    """
    versions: dict[str, int | str] = {name: lake.version(name) for name in SOURCES}
    selection = select(lake, titles, settings)
    selection.rows.persist()  # read three times: hashed, counted and written
    try:
        return _written(lake, selection, versions)
    finally:
        selection.rows.unpersist()


def _written(lake: Lake, selection: Selection, versions: dict[str, int | str]) -> Snapshot:
    counts = _counts(selection.rows)
    found = fingerprint(selection, counts)
    folder = lake.files / "_snapshots" / found
    if (folder / "snapshot.json").exists():
        return Snapshot.open(folder)
    shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
    numbered = _numbered(selection.rows, counts)
    writer = functools.partial(
        spark_udfs.write_files, folder=str(folder), write=functools.partial(write_rows, rows_per_group=ROWS_PER_GROUP)
    )
    numbered.groupBy("part", "file").applyInPandas(writer, "rows BIGINT").collect()
    total = {part: sum(n for (p, _), (n, _) in counts.items() if p == part) for part in ("train", "dev")}
    snapshot = Snapshot(
        folder=folder,
        fingerprint=found,
        n_tracklets=selection.n_tracklets,
        dim=selection.dim,
        base_embedder_sha256=selection.embedder_sha256,
        rows_train=total["train"],
        rows_dev=total["dev"],
        split=selection.split,
        titles_train=tuple(sorted(title for part, title in counts if part == "train")),
        titles_dev=tuple(sorted(title for part, title in counts if part == "dev")),
        source_versions=versions,
    )
    snapshot.save()
    return Snapshot.open(folder)


def select(lake: Lake, titles: Sequence[str], settings: TrainSettings) -> Selection:
    """The rows that may train: long enough tracks with M tracklets, with their hard negative where its link passes."""
    films = lake.rows("titles", titles)
    embedders = [row.asDict() for row in films.select("embedder_sha256", "embedding_dim").distinct().collect()]
    if len(embedders) > 1:
        raise UsageError(
            f"--titles: these titles have embeddings of {len(embedders)} embedders; train on those of one "
            f'(castmine sql "select title_id, embedder_sha256 from titles")'
        )
    if not embedders:
        raise TooLittleData("no title is mined")
    mined = lake.rows("tracklets", titles).where("role <> 'face'")
    n_tracklets = mined.agg(F.max("rank")).first()[0]
    if n_tracklets is None:
        raise TooLittleData("no track has enough embedded faces for Algorithm 1")
    ordered = F.expr("transform(array_sort(collect_list(struct(rank, embedding))), x -> x.embedding)")
    views = mined.groupBy("title_id", "track_id").agg(F.flatten(ordered).alias("views"), F.count("*").alias("n"))
    views = views.where(F.col("n") == n_tracklets + 1).drop("n")
    negatives = lake.rows("hard_negatives", titles).select(
        "title_id", "track_id", "negative_track_id", F.col("embedding").alias("found")
    )
    rows = views.join(_trainable(lake, titles, settings, films), ["title_id", "track_id"]).join(
        negatives, ["title_id", "track_id"], "left"
    )
    dim = int(embedders[0]["embedding_dim"])
    passes = F.coalesce(F.array_contains("partners", F.col("negative_track_id")), F.lit(False))
    rows = rows.withColumn("has_negative", passes)
    nothing = F.array_repeat(F.lit(0.0).cast("float"), dim)
    rows = rows.withColumn("negative", F.when(F.col("has_negative"), F.col("found")).otherwise(nothing))
    split, held_out = _held_out(titles, settings)
    columns = ("part", "title_id", "track_id", "views", "negative", "has_negative")
    return Selection(
        rows.withColumn("part", F.when(held_out, F.lit("dev")).otherwise(F.lit("train"))).select(*columns),
        int(n_tracklets) + 1,
        dim,
        str(embedders[0]["embedder_sha256"]),
        split,
    )


def fingerprint(selection: Selection, counts: dict[tuple[str, str], tuple[int, str]]) -> str:
    """Hash of the rows, whatever their order: a sum of row hashes per part and title, beside what they mean."""
    listed = [f"{part} {title} {n} {total}" for (part, title), (n, total) in sorted(counts.items())]
    return stable_id(selection.n_tracklets, selection.dim, selection.embedder_sha256, selection.split, *listed)


def _trainable(lake: Lake, titles: Sequence[str], settings: TrainSettings, films: DataFrame) -> DataFrame:
    """title_id, track_id, shot_id, partners of the tracks that the paper's rule lets train."""
    rate = (F.col("fps") / F.col("detect_stride")).alias("detections_per_s")
    tracks = lake.rows("tracks", titles).select("title_id", "track_id", "shot_id", "n_faces")
    tracks = tracks.join(F.broadcast(films.select("title_id", rate)), "title_id")
    links = lake.rows("cannot_links", titles).select("title_id", "track_a", "track_b", "shared_frames")
    function = functools.partial(
        spark_udfs.trainable_tracks,
        min_track_s=settings.min_track_s,
        min_shared_s=settings.min_shared_s,
        co_occurring=settings.co_occurring,
    )
    return tracks.groupBy("title_id").cogroup(links.groupBy("title_id")).applyInPandas(function, spark_udfs.TRAINABLE)


def _held_out(titles: Sequence[str], settings: TrainSettings) -> tuple[str, Column]:
    """Whole titles where there are enough, else shots; which ones depends on their names alone, never on tracks."""
    if len(titles) >= TITLES_TO_SPLIT:
        wanted = max(1, math.floor(settings.held_out * len(titles) + 0.5))
        chosen = sorted(titles, key=lambda title: stable_id(title, settings.seed))[:wanted]
        return "titles", F.col("title_id").isin(chosen)
    spread = F.pmod(F.xxhash64(F.col("title_id"), F.col("shot_id"), F.lit(settings.seed)), F.lit(1000))
    return "shots", spread < round(settings.held_out * 1000)


def _counts(rows: DataFrame) -> dict[tuple[str, str], tuple[int, str]]:
    """(part, title_id) -> rows, and the sum of their hashes."""
    of_row = F.xxhash64("track_id", "views", "negative", "has_negative").cast("decimal(38,0)")
    counted = rows.groupBy("part", "title_id").agg(F.count("*").alias("n"), F.sum(of_row).alias("total")).collect()
    return {(row["part"], row["title_id"]): (int(row["n"]), str(row["total"])) for row in counted}


def _numbered(rows: DataFrame, counts: dict[tuple[str, str], tuple[int, str]]) -> DataFrame:
    """Add each row's position in key order inside its part, and the file it goes to; no global sort is needed."""
    before = {"train": 0, "dev": 0}
    offsets = []
    for (part, title), (n, _) in sorted(counts.items()):
        offsets.append((part, title, before[part]))
        before[part] += n
    start = rows.sparkSession.createDataFrame(offsets, "part STRING, title_id STRING, start BIGINT")
    place = F.row_number().over(Window.partitionBy("part", "title_id").orderBy("track_id")) - 1
    placed = rows.join(F.broadcast(start), ["part", "title_id"]).withColumn("row", F.col("start") + place)
    return placed.withColumn("file", F.floor(F.col("row") / ROWS_PER_FILE).cast("int")).drop("start")
