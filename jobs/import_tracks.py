"""import: ready-made tracks and faces in Parquet -> titles, shots, tracks, faces.

For face tracks that another program made. Each P is a Parquet file or a folder of them, of any number of titles, with
the columns of castmine's own tables (castmine show tables tracks); of these it must have

  --tracks   title_id, track_id, start_s, end_s, n_faces, embedding
  --faces    title_id, track_id, frame, x, y, w, h, embedding
  --titles   title_id, embedder_sha256                                    may be left out: then give --embedder
  --shots    title_id, shot_id, start_frame, end_frame, start_s, end_s    may be left out: then from tracks.shot_id

What is not given is null, but for detected (true) and, read off the faces, fps and detect_stride. An embedding is of
unit length, or null. Everything is checked before anything is written; a title that the lake has is replaced.

  castmine import --lake ./lake --tracks tracks/ --faces faces/ --embedder SHA256
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F

from conf import settings as conf_settings
from conf.catalog import table
from conf.errors import UsageError
from conf.ids import safe_name
from conf.places import for_spark
from conf.table import Table
from jobs.cli import command, options, program
from jobs.lake import run_log
from jobs.lake.commit import NewRows, commit_titles
from jobs.lake.environment import keep_private
from jobs.lake.session import borrowed_or_started

COMMIT_TITLES = 16  # titles in one commit: a Delta commit costs seconds, whatever it holds
UNIT_TOLERANCE = 1e-3  # embeddings may have been rounded to half precision

NEEDED = {
    "tracks": ("title_id", "track_id", "start_s", "end_s", "n_faces", "embedding"),
    "faces": ("title_id", "track_id", "frame", "x", "y", "w", "h", "embedding"),
    "titles": ("title_id",),
    "shots": ("title_id", "shot_id", "start_frame", "end_frame", "start_s", "end_s"),
}
WHOLE = ("tinyint", "smallint", "int", "bigint")
NUMBER = (*WHOLE, "float", "double")
READ_FROM = {  # the type of a column -> the types that it is read from; others from their own alone
    **{"BIGINT": WHOLE, "INT": WHOLE, "DOUBLE": NUMBER, "FLOAT": NUMBER},
    "ARRAY<FLOAT>": ("array<float>", "array<double>"),
}
RULES = {  # what no row may be, beside null, NaN and too large
    "tracks": {"end_s <= start_s": "end_s is not after start_s", "n_faces < 1": "n_faces is below 1"},
    "faces": {"w <= 0 OR h <= 0": "the box is empty", "frame < 0": "frame is below 0"},
    "titles": {},
    "shots": {"end_s <= start_s": "end_s is not after start_s"},
}
LENGTH = "sqrt(aggregate(embedding, 0D, (total, x) -> total + double(x) * double(x)))"
NOT_UNIT = f"embedding IS NOT NULL AND NOT coalesce(abs({LENGTH} - 1) <= {UNIT_TOLERANCE}, false)"
HOW_MANY = ("count(*) AS n", "min(row) AS row")


@dataclass(frozen=True)
class GivenTitle:
    """A title and what its tracks and faces tell of it."""

    title_id: str
    embedder_sha256: str | None
    dims: tuple[int, ...]  # how many numbers its embeddings have: one length, where all is well
    fps: float | None = None
    detect_stride: int | None = None
    n_tracks: int = 0
    n_faces: int = 0


def main(
    argv: Sequence[str] | None = None,
    *,
    spark: SparkSession | None = None,
    clock: run_log.Clock = run_log.utc_now,
    run_id: str | None = None,
) -> int:
    """`castmine import`."""
    parser = options.parser(__doc__ or "", "import", titles=False)
    for name in NEEDED:
        needed = name in ("tracks", "faces")
        parser.add_argument(f"--{name}", metavar="P", required=needed, help=f"{name}: Parquet file, or folder of them")
    parser.add_argument("--embedder", metavar="SHA256", help="sha256 of the model file that made the embeddings")
    args = parser.parse_args(argv)
    settings = conf_settings.load(args.conf, args.set)
    paths = {name: getattr(args, name) for name in NEEDED if getattr(args, name) is not None}
    _raise(_wrong_arguments(paths, args))
    private, reached = keep_private(settings.lake.access), [args.lake, *paths.values()]
    with private, borrowed_or_started(spark, "import", reached, args.master, settings.spark) as session:
        given = read_given(session, paths)
        titles = check_rows(given, args.embedder)
        with command.open_job(args, "import", session, clock, run_id, create=True) as job:
            return _write(job, given, titles, paths)


# --- reading and checking -----------------------------------------------------------------------------------


def read_given(spark: SparkSession, paths: Mapping[str, str]) -> dict[str, DataFrame]:
    """The given files by table, with those columns of the table that they have.

    Raises:
        UsageError: unreadable files, missing columns, wrong types; all of them.
    """
    given: dict[str, DataFrame] = {}
    problems: list[str] = []
    for name, path in paths.items():
        try:
            frame = _reader(spark, path).parquet(_place(path))
        except (PySparkException, Py4JJavaError) as error:
            problems.append(f"--{name} {path}: cannot be read as Parquet: {str(error).strip().splitlines()[0]}")
            continue
        problems += [f"--{name} {path}: {problem}" for problem in _wrong_columns(table(name), dict(frame.dtypes))]
        given[name] = frame.select(*[c for c in table(name).names if c in frame.columns and c != "run_id"])
    _raise(problems)
    return given


def _reader(spark: SparkSession, path: str) -> DataFrameReader:
    reader = spark.read.option("mergeSchema", "true")
    # what lies on this machine is that path, whatever letters are in it
    return reader.option("__globPaths__", "false") if Path(path).exists() else reader


def _place(path: str) -> str:
    """What Spark calls it, whatever its default file system is."""
    return f"file://{Path(path).absolute()}" if Path(path).exists() else for_spark(path)


def check_rows(given: Mapping[str, DataFrame], embedder: str | None) -> list[GivenTitle]:
    """The titles that are given, by title_id; `embedder` is that of titles for which `titles` names none.

    Raises:
        UsageError: every kind of problem that the rows have, each with how many rows have it, and one of them.
    """
    problems = [
        said for name, rows in given.items() for said in (*_wrong_rows(name, rows), *_find_repeated(name, rows))
    ]
    problems += _find_unknown_keys(given)
    titles = given_titles(given, embedder)
    problems += _wrong_titles(titles, embedder)
    _raise(problems)
    return titles


def given_titles(given: Mapping[str, DataFrame], embedder: str | None) -> list[GivenTitle]:
    """The titles of the given rows, by title_id, with what is read off tracks and faces in Spark."""
    tracks, faces = _by_title(_tracks_of_titles(given["tracks"])), _by_title(_faces_of_titles(given["faces"]))
    named = _by_title(given["titles"]) if "titles" in given else {}
    titles = []
    for title_id in sorted({*tracks, *named} - {None}):
        track, face = tracks.get(title_id, {}), faces.get(title_id, {})
        ends = [part.get(end) for part in (track, face) for end in ("least_dim", "most_dim")]
        span_s = (face.get("last_s") or 0.0) - (face.get("first_s") or 0.0)
        titles.append(
            GivenTitle(
                title_id,
                named.get(title_id, {}).get("embedder_sha256") or embedder,
                tuple(sorted({n for n in ends if n is not None})),
                (face["last_frame"] - face["first_frame"]) / span_s if span_s > 0 else None,
                int(face["stride"]) if face.get("stride") else None,
                track.get("n_tracks", 0),
                face.get("n_faces", 0),
            )
        )
    return titles


def _raise(problems: Sequence[str]) -> None:
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise UsageError(f"nothing is imported: {len(problems)} problem(s)\n{listed}")


def _wrong_arguments(paths: Mapping[str, str], args: argparse.Namespace) -> list[str]:
    gone = [name for name, path in paths.items() if "://" not in path and not Path(path).exists()]
    problems = [f"--{name} {paths[name]}: no such file or folder" for name in gone]
    if args.embedder is not None and not _is_sha256(args.embedder):
        problems.append(f"--embedder {args.embedder}: not 64 hex digits")
    if args.embedder is None and args.titles is None:
        problems.append("--embedder SHA256, or --titles with embedder_sha256: adapters are made for one embedder")
    return problems


def _wrong_columns(made: Table, types: Mapping[str, str]) -> Iterator[str]:
    for column in made.columns:
        there = types.get(column.name, "void")
        if column.name not in types and column.name in NEEDED[made.name]:
            yield f"no column {column.name} ({column.type}: {column.meaning})"
        elif column.name != "run_id" and there not in ("void", *READ_FROM.get(column.type, (column.type.lower(),))):
            yield f"column {column.name} is {there}, not {column.type.lower()}"


def _wrong_rows(name: str, rows: DataFrame) -> Iterator[str]:
    rules = dict(_rules(table(name), dict(rows.dtypes)))
    marked = rows.select(_row(name), *[F.expr(wrong).alias(f"wrong_{i}") for i, wrong in enumerate(rules)])
    counted = [F.count_if(F.col(f"wrong_{i}")).alias(f"n_{i}") for i in range(len(rules))]
    example = [F.min(F.when(F.col(f"wrong_{i}"), F.col("row"))).alias(f"row_{i}") for i in range(len(rules))]
    found = marked.agg(*counted, *example).collect()[0]
    for i, said in enumerate(rules.values()):
        if found[f"n_{i}"]:
            yield f"--{name}: {said} in {found[f'n_{i}']:,} rows, such as {found[f'row_{i}']}"


def _rules(made: Table, types: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What no row may be, as SQL, and how it is said."""
    wanted = {column.name: column.type for column in made.columns}
    for name, kind in types.items():
        if name in NEEDED[made.name] and name != "embedding":
            yield f"{name} IS NULL", f"{name} is null"
        if kind in ("float", "double"):
            yield f"isnan({name}) OR abs({name}) = double('infinity')", f"{name} is NaN or infinite"
        if kind == "bigint" and wanted[name] == "INT":
            yield f"{name} NOT BETWEEN -2147483648 AND 2147483647", f"{name} is beyond 32 bits"
        if name == "embedding" and kind != "void":
            yield NOT_UNIT, "embedding is not of unit length, or holds NaN or null,"
    yield from RULES[made.name].items()


def _find_repeated(name: str, rows: DataFrame) -> Iterator[str]:
    key = table(name).key
    found = _how_many(rows.groupBy(*key).count().where("count > 1").select(_row(name)))
    if found["n"]:
        yield f"--{name}: {' '.join(key)} must be unique: {found['n']:,} repeated, such as {found['row']}"


def _find_unknown_keys(given: Mapping[str, DataFrame]) -> Iterator[str]:
    """Rows that name a track, a title or a shot which is not given."""
    for name, other, key in (("faces", "tracks", "track_id"), ("tracks", "titles", ""), ("tracks", "shots", "shot_id")):
        on = ["title_id", key] if key else ["title_id"]
        if other in given and set(on) <= set(given[name].columns):
            alone = given[name].select(*on).dropna().distinct().join(given[other], on, "left_anti")
            found = _how_many(alone.select(F.concat_ws(" ", *on).alias("row")))
            if found["n"]:
                yield f"--{name}: {found['n']:,} {' '.join(on)} not in --{other}, such as {found['row']}"


def _wrong_titles(titles: Sequence[GivenTitle], embedder: str | None) -> Iterator[str]:
    if not titles:
        yield "--tracks: no rows"
    dims: dict[str | None, set[int]] = {}
    for title in titles:
        dims.setdefault(title.embedder_sha256, set()).update(title.dims)
        if title.title_id != safe_name(title.title_id):
            yield f"title_id {title.title_id!r}: may hold letters, digits, dot, dash, underscore"
        if not _is_sha256(title.embedder_sha256):
            yield f"title {title.title_id}: embedder_sha256 {title.embedder_sha256}: not 64 hex digits"
        elif embedder not in (None, title.embedder_sha256):
            yield f"title {title.title_id}: --titles names another embedder_sha256 than --embedder"
    for sha256, lengths in dims.items():
        if len(lengths) > 1:
            listed = ", ".join(map(str, sorted(lengths)))
            yield f"embeddings of one embedder ({str(sha256)[:12]}) have different lengths: {listed}"


def _is_sha256(text: str | None) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text or "") is not None


def _row(name: str) -> Column:
    """The key of a row, for people."""
    return F.concat_ws(" ", *[F.col(column).cast("string") for column in table(name).key]).alias("row")


def _how_many(rows: DataFrame) -> Any:
    return rows.selectExpr(*HOW_MANY).collect()[0]


# --- what tracks and faces tell of their title -----------------------------------------------------------------


def _tracks_of_titles(tracks: DataFrame) -> DataFrame:
    return tracks.groupBy("title_id").agg(F.count("*").alias("n_tracks"), *_dims(tracks))


def _faces_of_titles(faces: DataFrame) -> DataFrame:
    """Per title: rows, embedding lengths, first and last frame and time, and the stride of detections.

    A track's detections lie on a grid; the track that was missed in no place of it shows how wide the grid is.
    """
    seen = faces.where("detected IS NOT FALSE") if "detected" in faces.columns else faces
    ends = F.min("frame").alias("first"), F.max("frame").alias("last"), F.count("*").alias("n")
    steps = seen.groupBy("title_id", "track_id").agg(*ends).where("n > 1")
    stride = steps.groupBy("title_id").agg(F.min((F.col("last") - F.col("first")) / (F.col("n") - 1)).alias("stride"))
    times = [F.min("time_s").alias("first_s"), F.max("time_s").alias("last_s")] if "time_s" in faces.columns else []
    frames = F.min("frame").alias("first_frame"), F.max("frame").alias("last_frame")
    found = faces.groupBy("title_id").agg(F.count("*").alias("n_faces"), *frames, *times, *_dims(faces))
    return found.join(stride, "title_id", "left")


def _dims(rows: DataFrame) -> list[Column]:
    dim = F.when(F.col("embedding").isNotNull(), F.size("embedding"))
    return [F.min(dim).alias("least_dim"), F.max(dim).alias("most_dim")]


def _by_title(rows: DataFrame) -> dict[str, dict[str, Any]]:
    return {row["title_id"]: row.asDict() for row in rows.collect()}


# --- writing ------------------------------------------------------------------------------------------------


def _write(
    job: command.Job, given: Mapping[str, DataFrame], titles: Sequence[GivenTitle], paths: Mapping[str, str]
) -> int:
    run = job.begin("import", "")
    frames = {
        "shots": given["shots"] if "shots" in given else _shots(given["tracks"]),
        "tracks": given["tracks"],
        "faces": given["faces"],
        "titles": _titles(job.spark, given.get("titles"), titles, run.started_at),
    }
    counts = _count_rows(frames, titles)
    done_with = [run_log.Done(run_log.Task(title.title_id, paths), title.n_faces) for title in titles]
    run.claim([title.title_id for title in titles], job.progress.say)
    new = NewRows(list(frames), lambda ids: _choose_rows(frames, ids, run.run_id), counts)
    with job.progress.step("writing the titles", len(titles), "titles") as done:
        for start in range(0, len(titles), COMMIT_TITLES):
            part = done_with[start : start + COMMIT_TITLES]
            commit_titles(job, run, part, new)
            done(start + len(part))
    n_tracks, n_faces = sum(title.n_tracks for title in titles), sum(title.n_faces for title in titles)
    job.progress.say(f"import: {len(titles):,} titles, {n_tracks:,} tracks, {n_faces:,} faces")
    rows = {"titles": len(titles), "tracks": n_tracks, "faces": n_faces}
    summary = {"job": "import", "titles": [title.title_id for title in titles], "rows": rows}
    return job.finish(run, summary, f"castmine mine --lake {job.args.lake}")


def _count_rows(frames: Mapping[str, DataFrame], titles: Sequence[GivenTitle]) -> dict[tuple[str, str], int]:
    """Rows by (title_id, table)."""
    shots = {(row["title_id"], "shots"): row["count"] for row in frames["shots"].groupBy("title_id").count().collect()}
    known = {"tracks": lambda title: title.n_tracks, "faces": lambda title: title.n_faces, "titles": lambda _: 1}
    return shots | {(title.title_id, name): count(title) for title in titles for name, count in known.items()}


def _choose_rows(frames: Mapping[str, DataFrame], titles: Sequence[str], run_id: str) -> dict[str, DataFrame]:
    """The rows of some titles, with all columns of their tables."""
    chosen = {}
    for name, rows in frames.items():
        made = table(name)
        mine = rows.where(F.col("title_id").isin(list(titles))).withColumn("run_id", F.lit(run_id))
        if name == "faces":
            given = F.col("detected") if "detected" in rows.columns else F.lit(None).cast("boolean")
            mine = mine.withColumn("detected", F.coalesce(given, F.lit(True)))
        whole = mine.select(*[F.col(c) if c in mine.columns else F.lit(None).alias(c) for c in made.names])
        chosen[name] = whole.repartition("title_id").sortWithinPartitions(*made.key)
    return chosen


def _shots(tracks: DataFrame) -> DataFrame:
    """A shot as far as its tracks show it: from its first track's start to its last one's end."""
    if "shot_id" not in tracks.columns:
        return tracks.select("title_id", F.lit(None).cast("int").alias("shot_id")).limit(0)
    ends = {"start_frame": F.min, "end_frame": F.max, "start_s": F.min, "end_s": F.max}
    seen = [end(name).alias(name) for name, end in ends.items() if name in tracks.columns]
    return tracks.where("shot_id IS NOT NULL").groupBy("title_id", "shot_id").agg(*seen)


def _titles(spark: SparkSession, given: DataFrame | None, titles: Sequence[GivenTitle], now: datetime) -> DataFrame:
    """The rows of `titles`: what is given, else what the tracks and faces tell, else null."""
    schema = "title_id STRING, embedder_sha256 STRING, embedding_dim INT, fps DOUBLE, detect_stride INT"
    rows = [(t.title_id, t.embedder_sha256, t.dims[0] if t.dims else None, t.fps, t.detect_stride) for t in titles]
    told = spark.createDataFrame(rows, schema).withColumn("display_name", F.col("title_id"))
    fixed = {"status": F.lit("ok"), "error": F.lit(None), "harvested_at": F.lit(now)}
    if given is None:
        return told.withColumns(fixed)
    others = [name for name in given.columns if name != "title_id"]
    said = given.select("title_id", *[F.col(name).alias(f"given_{name}") for name in others])
    both = told.join(said, "title_id", "left")
    chosen = {n: F.coalesce(f"given_{n}", n) if n in told.columns else F.col(f"given_{n}") for n in others}
    return both.withColumns(chosen).withColumns(fixed)


if __name__ == "__main__":
    program.run(main)
