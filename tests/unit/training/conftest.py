"""Small synthetic corpora: people, and on every track a light of its own that is stronger than who they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers.snapshots import write_part
from training.snapshot import NOBODY, Kind, Snapshot

DIM = 24
SHAPES: dict[Kind, tuple[int, int, int]] = {"tracklets": (3, 1, 1), "faces": (5, 2, 3)}  # views, partners, negatives


def rows(
    seed: int, tracks: int, titles: int = 1, negatives: bool = True, dim: int = DIM, kind: Kind = "tracklets"
) -> pa.Table:
    """Rows of a snapshot part: 6 people in the first 8 directions, light in the next 4, noise in all.

    Of a snapshot of faces: 5 faces a row and 3 of each of 2 partners, every third track without a label.
    """
    n_views, n_partners, n_negatives = SHAPES[kind]
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
    strangers = seen(stranger, n_partners * n_negatives).reshape(tracks, n_partners * n_negatives * dim)
    negative = np.where(has[:, None], strangers, np.float32(0))
    return pa.table(
        {
            "title_id": [f"film{track * titles // tracks}" for track in range(tracks)],
            "track_id": np.arange(tracks),
            "row": np.arange(tracks),
            "views": list(seen(who, n_views).reshape(tracks, -1)) if tracks else pa.array([], pa.list_(pa.float32())),
            "negative": list(negative) if tracks else pa.array([], pa.list_(pa.float32())),
            "has_negative": has,
            "label": np.where(np.arange(tracks) % 3 == 0, NOBODY, who) if kind == "faces" else np.full(tracks, NOBODY),
        }
    )


def write(
    folder: Path,
    train: pa.Table,
    dev: pa.Table,
    windows: int = 1,
    kind: Kind = "tracklets",
    **changes: object,
) -> Snapshot:
    write_part(folder / "train", train, windows)
    write_part(folder / "dev", dev, windows)
    values = {
        "folder": folder,
        "fingerprint": "f" * 16,
        "kind": kind,
        "n_views": SHAPES[kind][0],
        "n_partners": SHAPES[kind][1],
        "n_negatives": SHAPES[kind][2],
        "labels": tuple("abcdef") if kind == "faces" else (),
        "labels_from": "truth.csv 0123456789ab" if kind == "faces" else None,
        "dim": DIM,
        "base_embedder_sha256": "a" * 64,
        "rows_train": len(train),
        "rows_dev": len(dev),
        "split": "shots",
        "titles_train": tuple(sorted(set(train["title_id"].to_pylist()))),
        "titles_dev": tuple(sorted(set(dev["title_id"].to_pylist()))),
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
    return write(tmp_path_factory.mktemp("snapshot"), rows(1, 300), rows(2, 100), windows=3)


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The same people by faces: 240 tracks to train and 90 held out."""
    train, dev = rows(1, 240, kind="faces"), rows(2, 90, kind="faces")
    return write(tmp_path_factory.mktemp("faces"), train, dev, kind="faces")
