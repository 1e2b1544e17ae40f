"""A synthetic corpus with the numbers of the paper's: a lake ready to be mined, of any share of the full size.

MvCorr paper, Table II: 240 films, 169,201 co-occurring tracks of a second or more (726 +- 704 a film), 10.2 million
faces (about 60 a track, a long tail), 5.2 +- 9.1 partners a track. Embeddings are 40 people a film, each with a look of
their own in every track and noise on every face. Shots, boxes and times are made up so that tracks of a shot overlap.

The Parquet files are written directly and become Delta tables by CONVERT TO DELTA, which rewrites nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from conf.catalog import table
from jobs.lake import run_log
from jobs.lake.lake import Lake

FILMS, TRACKS, FACES_A_TRACK = 240, 169_201, 60.3
DIM, PEOPLE, FPS = 512, 40, 24.0
EMBEDDER = "0" * 64
SHOT_SIZES = np.arange(2, 96)
SHOT_SHARES = SHOT_SIZES**-2.45 / np.sum(SHOT_SIZES**-2.45)  # partners of a track: 5.2 on average, as published


def build(spark: SparkSession, folder: Path, share: float, seed: int = 7) -> Lake:
    """A lake of `share` of the full corpus: whole films, the same ones whatever the share."""
    lake = Lake(spark, str(folder))
    films = max(1, round(FILMS * share))
    sizes = tracks_a_film(seed)[:films]
    for film, n_tracks in enumerate(sizes):
        _write_film(folder, film, int(n_tracks), seed)
    for name in ("titles", "shots", "tracks", "faces"):
        spark.sql(f"CONVERT TO DELTA parquet.`{folder / name}` PARTITIONED BY (title_id STRING)")
    lake.create()
    run = run_log.begin(lake, "import", "", run_id="bench")
    run.commit(run_log.Done(run_log.Task(title_id(film), {}), int(n)) for film, n in enumerate(sizes))
    return lake


def title_id(film: int) -> str:
    """Of a film of the corpus."""
    return f"film{film:03d}"


def tracks_a_film(seed: int) -> np.ndarray:
    """(FILMS,) tracks of every film: lognormal with the published mean and deviation, and the published sum."""
    mean, deviation = 726.2, 704.4
    spread = np.log1p((deviation / mean) ** 2)
    drawn = np.random.default_rng(seed).lognormal(np.log(mean) - spread / 2, spread**0.5, FILMS)
    return np.maximum(2, np.rint(drawn * TRACKS / drawn.sum())).astype(int)


def faces_of(film: int, n_tracks: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """A film's faces in memory, as `mine_title_tables` takes them: the frame of all but embeddings, and these."""
    faces, _, embedding = _film(film, n_tracks, seed)
    boxes = {name: np.float32(faces[name]) for name in "xywh"}
    columns = {"track_id": faces["track_id"], "frame": faces["frame"], **boxes}
    return pd.DataFrame({**columns, "embedded": True, "shot_id": np.nan, "thread_id": np.nan}), embedding


def _write_film(folder: Path, film: int, n_tracks: int, seed: int) -> None:
    faces, tracks, embedding = _film(film, n_tracks, seed)
    faces["embedding"] = _lists(embedding)
    titles = {"uri": [None], "fps": [FPS], "detect_stride": [1], "embedder_sha256": [EMBEDDER], "embedding_dim": [DIM]}
    for name, columns in (("faces", faces), ("tracks", tracks), ("titles", titles), ("shots", {"shot_id": []})):
        _write(folder, name, title_id(film), columns)


def _film(film: int, n_tracks: int, seed: int) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
    """Columns of a film's faces and tracks, and (F, DIM) embeddings of the faces."""
    rng = np.random.default_rng([seed, film])
    count = np.maximum(24, rng.lognormal(np.log(38.0), 0.95, n_tracks).astype(int))
    shot = _shots(rng, n_tracks)
    longest = np.zeros(shot[-1] + 1, int)
    np.maximum.at(longest, shot, count)
    first = (np.cumsum(longest + 30) - longest - 30)[shot]  # tracks of a shot start together
    track = np.repeat(np.arange(n_tracks), count)
    frame = first[track] + np.arange(len(track)) - np.repeat(np.cumsum(count) - count, count)
    place = np.arange(n_tracks) - np.searchsorted(shot, shot)  # in its shot: side by side
    embedding = _embeddings(rng, track, n_tracks)
    sums = np.add.reduceat(embedding, np.cumsum(count) - count, axis=0, dtype=np.float64)
    mean = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    faces = {
        "track_id": track,
        "frame": frame,
        "time_s": frame / FPS,
        "detected": np.ones(len(track), bool),
        "x": 100.0 * place[track],
        "y": np.full(len(track), 50.0),
        "w": np.full(len(track), 80.0),
        "h": np.full(len(track), 80.0),
        "score": np.full(len(track), 0.9),
    }
    tracks = {
        "track_id": np.arange(n_tracks),
        "shot_id": shot,
        "start_frame": first,
        "end_frame": first + count,
        "start_s": first / FPS,
        "end_s": (first + count) / FPS,
        "n_faces": count,
        "n_embedded": count,
        "embedding": _lists(mean.astype(np.float32)),
    }
    return faces, tracks, embedding


def _shots(rng: np.random.Generator, n_tracks: int) -> np.ndarray:
    sizes = rng.choice(SHOT_SIZES, n_tracks, p=SHOT_SHARES)
    return np.repeat(np.arange(n_tracks), sizes)[:n_tracks]


def _embeddings(rng: np.random.Generator, track: np.ndarray, n_tracks: int) -> np.ndarray:
    people = rng.standard_normal((PEOPLE, DIM), np.float32)
    looks = people[rng.integers(PEOPLE, size=n_tracks)] + 0.7 * rng.standard_normal((n_tracks, DIM), np.float32)
    rows = rng.standard_normal((len(track), DIM), np.float32)
    rows *= 0.7
    rows += looks[track]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _lists(rows: np.ndarray) -> pa.Array:
    offsets = np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(rows.ravel()))


def _write(folder: Path, name: str, title: str, columns: dict[str, object]) -> None:
    schema = pa.schema([field for field in table(name).arrow if field.name != "title_id"])
    n = len(next(iter(columns.values())))  # type: ignore[arg-type]
    given = {"run_id": pa.array(["bench"] * n), **columns}
    arrays = [pa.array(given[f.name], f.type) if f.name in given else pa.nulls(n, f.type) for f in schema]
    path = folder / name / f"title_id={title}" / "part-0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="none", use_dictionary=False)
