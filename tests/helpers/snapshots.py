"""Parts of training snapshots, written as castmine train writes them, without Spark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from training.snapshot import Kind, Snapshot, write_window


def write_part(folder: Path, rows: pa.Table, windows: int = 1) -> None:
    """All files of one part; `rows` has the columns of the schema, each row its number."""
    for number in range(windows):
        chosen = rows["row"].to_numpy() % windows == number
        write_window(folder / f"part-{number:05}.parquet", rows.filter(chosen), windows)


def write_snapshot(folder: Path, name: Kind, n_views: int, n_negatives: int, n_partners: int = 1) -> Snapshot:
    rng = np.random.default_rng(0)
    for part, n in (("train", 200), ("dev", 80)):
        who = np.arange(n) % 5
        track = np.random.default_rng(9).normal(size=(5, 20))[who] + 0.7 * rng.normal(size=(n, 20))
        views = track[:, None] + 0.7 * rng.normal(size=(n, n_views, 20))
        negative = track[:, None] * 0.3 + rng.normal(size=(n, n_partners * n_negatives, 20))
        table = pa.table(
            {
                "title_id": np.where(np.arange(n) < n // 2, "film0", "film1"),
                "track_id": np.arange(n),
                "row": np.arange(n),
                "views": list((views / np.linalg.norm(views, axis=2, keepdims=True)).reshape(n, -1)),
                "negative": list((negative / np.linalg.norm(negative, axis=2, keepdims=True)).reshape(n, -1)),
                "has_negative": np.arange(n) % 5 != 0,
                "label": who,
            }
        )
        write_part(folder / name / part, table)
    Snapshot(
        folder=folder / name,
        fingerprint="f" * 16,
        kind=name,
        n_views=n_views,
        n_partners=n_partners,
        n_negatives=n_negatives,
        dim=20,
        base_embedder_sha256="a" * 64,
        rows_train=200,
        rows_dev=80,
        split="shots",
        titles_train=("film0", "film1"),
        titles_dev=("film0", "film1"),
        source_versions={"tracklets": 1},
        labels=tuple("abcde"),
        labels_from="truth.csv 0123456789ab",
    ).save()
    return Snapshot.open(folder / name)
