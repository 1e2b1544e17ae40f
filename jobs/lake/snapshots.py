"""The training snapshot: a pinned version of the mined tables, written once as flat Parquet for Petastorm.

Spark selects, splits and numbers the rows; each file is written by one task. Embeddings never pass through the driver.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.window import Window

from conf.errors import TooLittleData, UsageError
from conf.ids import stable_id
from conf.places import remove_folder
from conf.settings import MineSettings, TrainSettings
from jobs.lake.lake import Lake
from training.methods.registry import kind
from training.snapshot import NOBODY, Kind, Snapshot, count_windows, write_window
from udfs import train as udfs

LAYOUT = 4  # raise it when the same rows are written another way
TITLES_TO_SPLIT = 4  # with fewer, whole titles cannot be held out and shots are
PEOPLE_TO_SPLIT = 4  # with fewer, people cannot be held out
SOURCES = ("titles", "tracks", "faces", "cannot_links", "tracklets", "hard_negatives")

# Of a snapshot of faces: faces of a track, tracks that it is cannot-linked to, faces of each of these. Of composite
# titles' tracks with a partner half have several, 4 % more than four.
FACES, PARTNERS, NEGATIVES = 8, 4, 4


@dataclass(frozen=True)
class Labels:
    """Identities from a truth file: whose file it is, and (title_id, track_id, label) rows."""

    source: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class Selection:
    """What a snapshot is made of, before it is written."""

    rows: DataFrame  # part, title_id, track_id, views, negative, has_negative, label
    kind: Kind
    n_views: int
    n_partners: int
    n_negatives: int
    dim: int
    embedder_sha256: str
    split: str
    labels: Labels | None


def write(
    lake: Lake, titles: Sequence[str], settings: TrainSettings, rule: MineSettings, labels: Labels | None = None
) -> Snapshot:
    """Write the snapshot of these titles, or find the one that is there with the same rows.

    Args:
        rule: how long tracks and co-occurrences must be to train; hard negatives were sought by it.
    Raises:
        TooLittleData: no track that can train. UsageError: the titles have more than one embedder.
    """
    versions: dict[str, int | str] = {name: lake.version(name) for name in SOURCES}
    selection = select(lake, titles, settings, rule, labels)
    selection.rows.persist()  # read three times: hashed, counted and written
    try:
        return write_selection(lake, selection, versions)
    finally:
        selection.rows.unpersist()


def write_selection(lake: Lake, selection: Selection, versions: dict[str, int | str]) -> Snapshot:
    counts = _counts(selection.rows)
    found = fingerprint(selection, counts)
    folder = lake.files / "_snapshots" / found
    if (folder / "snapshot.json").exists():
        return Snapshot.open(folder)
    remove_folder(folder)  # left by a run that was killed
    total = {part: sum(n for (p, _), (n, _) in counts.items() if p == part) for part in ("train", "dev")}
    views = selection.n_views + selection.n_partners * selection.n_negatives
    files = {part: count_windows(n, views, selection.dim) for part, n in total.items()}
    writers = {part: functools.partial(write_window, windows=n) for part, n in files.items()}
    writer = functools.partial(udfs.write_files, folder=str(folder), writers=writers)
    numbered = _number_rows(selection.rows, counts, files)
    numbered.groupBy("part", "file").applyInPandas(writer, "rows BIGINT").collect()
    snapshot = Snapshot(
        folder=folder,
        fingerprint=found,
        kind=selection.kind,
        n_views=selection.n_views,
        n_partners=selection.n_partners,
        n_negatives=selection.n_negatives,
        dim=selection.dim,
        base_embedder_sha256=selection.embedder_sha256,
        rows_train=total["train"],
        rows_dev=total["dev"],
        split=selection.split,
        titles_train=tuple(sorted(title for part, title in counts if part == "train")),
        titles_dev=tuple(sorted(title for part, title in counts if part == "dev")),
        source_versions=versions,
        labels=_names(selection.labels),
        labels_from=selection.labels.source if selection.labels else None,
    )
    snapshot.save()
    return Snapshot.open(folder)


def select(
    lake: Lake, titles: Sequence[str], settings: TrainSettings, rule: MineSettings, labels: Labels | None = None
) -> Selection:
    """The rows that may train: long enough tracks with their views, their negative where its link passes, their label.

    Args and raises: as `write`.
    """
    films = lake.rows("titles", titles)
    embedders = [row.asDict() for row in films.select("embedder_sha256", "embedding_dim").distinct().collect()]
    if len(embedders) > 1:
        raise UsageError(
            f"--titles: these titles have embeddings of {len(embedders)} embedders; train on those of one "
            f'(castmine sql "select title_id, embedder_sha256 from titles")'
        )
    if not embedders:
        raise TooLittleData("no title is mined")
    dim, wanted = int(embedders[0]["embedding_dim"]), kind(settings.method)
    tracks = _trainable(lake, titles, settings.co_occurring, rule, films)
    if wanted == "tracklets":
        rows, n_views = _of_tracklets(lake, titles, tracks)
        n_partners = n_negatives = 1
    else:
        rows = _of_faces(lake, titles, tracks, dim, settings.seed)
        n_views, n_partners, n_negatives = FACES, PARTNERS, NEGATIVES
    nothing = F.array_repeat(F.lit(0.0).cast("float"), n_partners * n_negatives * dim)
    rows = rows.withColumn("has_negative", F.col("negative").isNotNull())
    rows = rows.withColumn("negative", F.coalesce("negative", nothing))
    split, held_out = _held_out(titles, settings)
    n_tracks = labels.rows.label.astype(str).value_counts().to_dict() if labels else {}
    if strangers := hold_out_people(n_tracks, settings.held_out, settings.seed):
        places = [_names(labels).index(name) for name in strangers]
        named = F.col("label") != NOBODY
        split, held_out = "people", F.when(named, F.col("label").isin(places)).otherwise(held_out)
    columns = ("part", "title_id", "track_id", "views", "negative", "has_negative", "label")
    return Selection(
        rows=_label_rows(rows, labels)
        .withColumn("part", F.when(held_out, F.lit("dev")).otherwise(F.lit("train")))
        .select(*columns),
        kind=wanted,
        n_views=n_views,
        n_partners=n_partners,
        n_negatives=n_negatives,
        dim=dim,
        embedder_sha256=str(embedders[0]["embedder_sha256"]),
        split=split,
        labels=labels,
    )


def _of_tracklets(lake: Lake, titles: Sequence[str], tracks: DataFrame) -> tuple[DataFrame, int]:
    """title_id, track_id, shot_id, views, negative (or null) of the tracks with all M tracklets; and M."""
    mined = lake.rows("tracklets", titles).where("role <> 'face'")
    last = mined.agg(F.max("rank")).first()[0]
    if last is None:
        raise TooLittleData("no track has enough embedded faces for Algorithm 1")
    ordered = F.expr("transform(array_sort(collect_list(struct(rank, embedding))), x -> x.embedding)")
    views = mined.groupBy("title_id", "track_id").agg(F.flatten(ordered).alias("views"), F.count("*").alias("n"))
    views = views.where(F.col("n") == last + 1).drop("n")
    negatives = lake.rows("hard_negatives", titles).select(
        "title_id", "track_id", "negative_track_id", F.col("embedding").alias("negative")
    )
    rows = views.join(tracks, ["title_id", "track_id"]).join(negatives, ["title_id", "track_id"], "left")
    passes = F.array_contains("partners", F.col("negative_track_id"))
    return rows.withColumn("negative", F.when(passes, F.col("negative"))), int(last) + 1


def _of_faces(lake: Lake, titles: Sequence[str], tracks: DataFrame, dim: int, seed: int) -> DataFrame:
    """title_id, track_id, shot_id, views, negative (or null): faces of each track, and of some of its partners."""
    spread = functools.partial(udfs.spread_faces, n=FACES)
    sampled = lake.map_titles("faces", titles, ["track_id", "frame", "embedding"], spread, udfs.SPREAD.schema)
    # any partners will do, but the same ones in every run
    hashed = (
        f"array_sort(transform(partners, p -> struct(xxhash64(title_id, track_id, p, {seed}) AS hash, p AS track)))"
    )
    partner = F.posexplode(F.slice(F.expr(hashed), 1, PARTNERS)).alias("place", "partner")
    pairs = tracks.select("title_id", "track_id", partner).withColumn("partner", F.col("partner.track"))
    few = F.flatten(F.array(*(F.slice("views", face * dim + 1, dim) for face in range(0, FACES, FACES // NEGATIVES))))
    pairs = pairs.join(
        sampled.select("title_id", F.col("track_id").alias("partner"), few.alias("few")), ["title_id", "partner"]
    )
    held = F.sort_array(F.collect_list(F.struct("place", "few")))["few"]  # again from the first where there are fewer
    cycled = F.slice(F.flatten(F.array_repeat(F.flatten(held), PARTNERS)), 1, PARTNERS * NEGATIVES * dim)
    negatives = pairs.groupBy("title_id", "track_id").agg(cycled.alias("negative"))
    return sampled.join(tracks, ["title_id", "track_id"]).join(negatives, ["title_id", "track_id"], "left")


def _label_rows(rows: DataFrame, labels: Labels | None) -> DataFrame:
    if labels is None:
        return rows.withColumn("label", F.lit(NOBODY).cast("bigint"))
    number = {name: place for place, name in enumerate(_names(labels))}
    listed = labels.rows.assign(label=labels.rows.label.astype(str).map(number))
    listed = rows.sparkSession.createDataFrame(listed[["title_id", "track_id", "label"]])
    return rows.join(F.broadcast(listed), ["title_id", "track_id"], "left").fillna(NOBODY, ["label"])


def _names(labels: Labels | None) -> tuple[str, ...]:
    return tuple(sorted(set(labels.rows.label.astype(str)))) if labels else ()


def fingerprint(selection: Selection, counts: dict[tuple[str, str], tuple[int, str]]) -> str:
    """Hash of the rows, whatever their order: a sum of row hashes per part and title, beside what they mean."""
    listed = [f"{part} {title} {n} {total}" for (part, title), (n, total) in sorted(counts.items())]
    meaning = (LAYOUT, selection.kind, selection.n_views, selection.dim, selection.embedder_sha256, selection.split)
    return stable_id(*meaning, *_names(selection.labels), *listed)


def _trainable(
    lake: Lake, titles: Sequence[str], co_occurring: bool, rule: MineSettings, films: DataFrame
) -> DataFrame:
    """title_id, track_id, shot_id, partners of the tracks that the paper's rule lets train."""
    rate = (F.col("fps") / F.col("detect_stride")).alias("detections_per_s")
    tracks = lake.rows("tracks", titles).select("title_id", "track_id", "shot_id", "n_faces")
    tracks = tracks.join(F.broadcast(films.select("title_id", rate)), "title_id")
    links = lake.rows("cannot_links", titles).select("title_id", "track_a", "track_b", "shared_frames")
    function = functools.partial(
        udfs.trainable_tracks,
        min_track_s=rule.min_track_s,
        min_shared_s=rule.min_shared_s,
        co_occurring=co_occurring,
    )
    return tracks.groupBy("title_id").cogroup(links.groupBy("title_id")).applyInPandas(function, udfs.TRAINABLE.schema)


def _held_out(titles: Sequence[str], settings: TrainSettings) -> tuple[str, Column]:
    """Whole titles where there are enough, else shots; which ones depends on their names alone, never on tracks."""
    if len(titles) >= TITLES_TO_SPLIT:
        wanted = max(1, math.floor(settings.held_out * len(titles) + 0.5))
        chosen = sorted(titles, key=lambda title: stable_id(title, settings.seed))[:wanted]
        return "titles", F.col("title_id").isin(chosen)
    spread = F.pmod(F.xxhash64(F.col("title_id"), F.col("shot_id"), F.lit(settings.seed)), F.lit(1000))
    return "shots", spread < round(settings.held_out * 1000)


def hold_out_people(n_tracks: Mapping[str, int], share: float, seed: int) -> list[str]:
    """The people that are held out, sorted: a threshold is to hold for those nobody has seen.

    One of every so many, in the order of their tracks, so that leads and bit parts are in both parts; which one of them
    depends on their names alone. None where there are too few. (BCL, section 4: 66 actors of 1,280.)

    Args:
        n_tracks: of each person. share: of the people that is held out, two at least.
    """
    if len(n_tracks) < PEOPLE_TO_SPLIT:
        return []
    wanted = max(2, math.floor(share * len(n_tracks) + 0.5))
    ranked = sorted(n_tracks, key=lambda name: (-n_tracks[name], name))
    groups = (ranked[len(ranked) * part // wanted : len(ranked) * (part + 1) // wanted] for part in range(wanted))
    return sorted(min(group, key=lambda name: stable_id(name, seed)) for group in groups)


def _counts(rows: DataFrame) -> dict[tuple[str, str], tuple[int, str]]:
    """(part, title_id) -> rows, and the sum of their hashes."""
    of_row = F.xxhash64("track_id", "views", "negative", "has_negative", "label").cast("decimal(38,0)")
    counted = rows.groupBy("part", "title_id").agg(F.count("*").alias("n"), F.sum(of_row).alias("total")).collect()
    return {(row["part"], row["title_id"]): (int(row["n"]), str(row["total"])) for row in counted}


def _number_rows(rows: DataFrame, counts: dict[tuple[str, str], tuple[int, str]], files: dict[str, int]) -> DataFrame:
    """Add each row's position in key order inside its part, and the file it goes to; no global sort is needed."""
    before = dict.fromkeys(files, 0)
    offsets = []
    for (part, title), (n, _) in sorted(counts.items()):
        offsets.append((part, title, before[part], files[part]))
        before[part] += n
    start = rows.sparkSession.createDataFrame(offsets, "part STRING, title_id STRING, start BIGINT, files BIGINT")
    place = F.row_number().over(Window.partitionBy("part", "title_id").orderBy("track_id")) - 1
    placed = rows.join(F.broadcast(start), ["part", "title_id"]).withColumn("row", F.col("start") + place)
    return placed.withColumn("file", (F.col("row") % F.col("files")).cast("int")).drop("start", "files")
