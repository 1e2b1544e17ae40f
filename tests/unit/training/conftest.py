"""Small synthetic corpora: people, and on every track a light of its own that is stronger than who they are."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from training.snapshot import Snapshot, write_rows

DIM = 24


def rows(seed: int, tracks: int, titles: int = 1, negatives: bool = True, dim: int = DIM) -> pa.Table:
    """Rows of a snapshot part: 6 people in the first 8 directions, light in the next 4, noise in all."""
    rng = np.random.default_rng(seed)
    people = np.zeros((6, dim))
    people[:, :8] = np.random.default_rng(0).normal(size=(6, 8))
    who = rng.integers(6, size=tracks)
    stranger = (who + rng.integers(1, 6, size=tracks)) % 6
    light = np.zeros((tracks, dim))
    light[:, 8:12] = rng.normal(size=(tracks, 4)) * 1.5

    def seen(person: np.ndarray, views: int) -> np.ndarray:
        wandering = np.zeros((tracks, views, dim))
        wandering[:, :, 8:12] = rng.normal(size=(tracks, views, 4))
        x = people[person][:, None] + light[:, None] + wandering + rng.normal(size=(tracks, views, dim)) * 0.3
        return (x / np.linalg.norm(x, axis=2, keepdims=True)).astype(np.float32)

    has = np.arange(tracks) % 4 != 0 if negatives else np.zeros(tracks, bool)
    negative = np.where(has[:, None], seen(stranger, 1)[:, 0], np.float32(0))
    return pa.table(
        {
            "title_id": [f"film{track * titles // tracks}" for track in range(tracks)],
            "track_id": np.arange(tracks),
            "row": np.arange(tracks),
            "views": list(seen(who, 3).reshape(tracks, -1)) if tracks else pa.array([], pa.list_(pa.float32())),
            "negative": list(negative) if tracks else pa.array([], pa.list_(pa.float32())),
            "has_negative": has,
        }
    )


def write(folder: Path, train: pa.Table, dev: pa.Table, files: int = 1, group: int = 64, **changes: object) -> Snapshot:
    for part, table in (("train", train), ("dev", dev)):
        bounds = np.linspace(0, len(table), files + 1).astype(int)
        for number, (start, stop) in enumerate(pairwise(bounds)):
            # later rows in files that sort first
            write_rows(folder / part / f"{files - number:03}.parquet", table.slice(start, stop - start), group)
    values = {
        "folder": folder,
        "fingerprint": "f" * 16,
        "n_tracklets": 3,
        "dim": DIM,
        "base_embedder_sha256": "a" * 64,
        "rows_train": len(train),
        "rows_dev": len(dev),
        "split": "shots",
        "titles_train": ("film0",),
        "titles_dev": ("film0",),
        "source_versions": {"tracklets": 3, "hard_negatives": 5},
    }
    Snapshot.model_validate({**values, **changes}).save()
    return Snapshot.open(folder)


@pytest.fixture(scope="session")
def corpus() -> Callable[..., pa.Table]:
    return rows


@pytest.fixture(scope="session")
def written() -> Callable[..., Snapshot]:
    return write


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """300 tracks to train and 100 held out, in three files a part."""
    return write(tmp_path_factory.mktemp("snapshot"), rows(1, 300), rows(2, 100), files=3)
