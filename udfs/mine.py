"""What `mine` runs in executors: a title's faces to its links and tracklets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from udfs.batches import matrix, titles_of
from udfs.kernels.mine.title import mine_title_tables
from udfs.staging import stage_tables


def mine_titles(
    batches: Iterator[pa.RecordBatch],
    *,
    staging: str,
    rules: dict[str, Any],
    run_id: str,
    seconds_per_detection: dict[str, float],
) -> Iterator[pa.RecordBatch]:
    """Titles' faces (with the shot_id and thread_id of their tracks) -> STAGED_TABLES; stages the four mined tables."""
    for title_id, faces in titles_of(batches):
        faces = faces.filter(faces["detected"])
        light = faces.drop_columns(["title_id", "detected", "embedding"]).to_pandas()
        light["embedded"] = faces["embedding"].is_valid().to_numpy()
        rate = seconds_per_detection.get(title_id, float("nan"))
        made = mine_title_tables(light, matrix(faces["embedding"]), seconds_per_detection=rate, **rules)
        yield pa.RecordBatch.from_pandas(stage_tables(title_id, made, staging, run_id), preserve_index=False)
