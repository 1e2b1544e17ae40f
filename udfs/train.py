"""What `train` runs in executors: a title's tracks that may train, their faces, the files of a snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from conf.places import locate
from conf.settings import UNKNOWN_RATE
from conf.table import unwritten
from udfs.batches import matrix, titles_of
from udfs.kernels.mine.rule import training_rule
from udfs.kernels.train.selection import spread_faces as spread

TRAINABLE = unwritten(title_id="STRING", track_id="BIGINT", shot_id="INT", partners="ARRAY<BIGINT>")
SPREAD = unwritten(title_id="STRING", track_id="BIGINT", views="ARRAY<FLOAT>")


def trainable_tracks(
    key: tuple[str],
    tracks: pd.DataFrame,
    found: pd.DataFrame,
    *,
    min_track_s: float,
    min_shared_s: float,
    co_occurring: bool,
) -> pd.DataFrame:
    """A title's tracks and cannot-links -> TRAINABLE: tracks that may train, with the partners whose links may."""
    rate = float(tracks.detections_per_s.iloc[0]) if len(tracks) else float("nan")
    rule = training_rule(
        tracks.track_id.to_numpy(np.int64),
        tracks.n_faces.to_numpy(np.int64),
        found.track_a.to_numpy(np.int64),
        found.track_b.to_numpy(np.int64),
        found.shared_frames.to_numpy(np.int64),
        detections_per_s=rate if np.isfinite(rate) else UNKNOWN_RATE,
        min_track_s=min_track_s,
        min_shared_s=min_shared_s,
    )
    passing = found[rule.links]
    both = pd.concat([passing, passing.rename(columns={"track_a": "track_b", "track_b": "track_a"})])
    partners = both.sort_values(["track_a", "track_b"]).groupby("track_a").track_b.apply(list)
    chosen = tracks[rule.tracks if co_occurring else rule.long_enough]
    held = [partners.get(track_id, []) for track_id in chosen.track_id]
    held = pd.Series(held, chosen.index, dtype=object)  # of lists also where there is none
    return chosen[["title_id", "track_id", "shot_id"]].assign(partners=held)


def spread_faces(batches: Iterator[pa.RecordBatch], *, n: int) -> Iterator[pa.RecordBatch]:
    """Titles' faces (track_id, frame, embedding) -> SPREAD: n of each track, one after the other."""
    for title_id, faces in titles_of(batches):
        faces = faces.filter(faces["embedding"].is_valid())
        tracks, views = spread(faces["track_id"].to_numpy(), faces["frame"].to_numpy(), matrix(faces["embedding"]), n)
        flat = pa.FixedSizeListArray.from_arrays(views.ravel(), views[0].size).cast(pa.list_(pa.float32()))
        yield pa.RecordBatch.from_pydict({"title_id": [title_id] * len(tracks), "track_id": tracks, "views": flat})


def write_files(
    key: tuple[str, int], rows: pd.DataFrame, *, folder: str, writers: Mapping[str, Callable[[Path, pa.Table], None]]
) -> pd.DataFrame:
    """The rows of one file of a training snapshot -> how many; its part's writer puts them down whole."""
    part, number = key
    table = pa.Table.from_pandas(rows.drop(columns=["part", "file"]), preserve_index=False)
    writers[part](locate(folder) / part / f"part-{number:05d}.parquet", table)
    return pd.DataFrame({"rows": [len(rows)]})
