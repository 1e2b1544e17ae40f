"""A title that is judged: its tracks, embeddings and links, made by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from udfs.kernels.cluster.characters import Rules
from udfs.kernels.cluster.interface import NO_LINKS, Links
from udfs.kernels.cluster.title import cluster_title
from udfs.kernels.evaluate import errors

RULES = Rules(min_quality=0.25)


def title_of(person: list[str | None], character: list[float], **given_columns: object) -> pd.DataFrame:
    """Tracks 10, 11, ... of two seconds, one after the other; nothing is known of how they look."""
    n = len(person)
    columns = {
        "track_id": np.arange(10, 10 + n),
        "person": np.array(person, object),
        "character_id": np.array(character, float),
        "confidence": np.where(np.isnan(np.array(character, float)), np.nan, 0.75),
        "status": ["unknown" if np.isnan(c) else "core" for c in character],
        "start_s": 2.0 * np.arange(n),
        "end_s": 2.0 * np.arange(n) + 2,
        "n_faces": np.full(n, 20),
        "shot_id": np.full(n, np.nan),
        "face_px": np.full(n, np.nan, np.float32),
        "quality": np.full(n, np.nan, np.float32),
        "flags": pd.Series([None] * n, dtype=object),
        "quality_labels": pd.Series([None] * n, dtype=object),
    }
    return pd.DataFrame(columns | given_columns)


def unit_rows(seed: int, n: int, dim: int = 4) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def analysed(tracks: pd.DataFrame, embeddings=None, links=NO_LINKS, rules=None, raw=None) -> errors.Analysis:
    return errors.analyse(tracks, unit_rows(0, len(tracks)) if embeddings is None else embeddings, links, rules, raw)


@st.composite
def titles(draw):
    """A title of any tracks, of which much may be unknown."""
    n = draw(st.integers(0, 25))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    flags = [None, [], ["frontal"], ["profile", "dark"], ["small"], ["blurred", "dark", "small"]]
    labels = [None, [], ["frontal"], ["glasses", "frontal"], ["profile", "occluded", "dark"]]

    def some(values):
        return np.where(rng.random(n) < 0.3, np.nan, values)

    character = rng.choice([0, 1, 2, 3, np.nan], n)
    tracks = title_of(
        rng.choice(["ann", "bob", "cid", None], n).tolist(),
        character.tolist(),
        confidence=np.where(np.isnan(character), np.nan, rng.random(n)),
        end_s=2.0 * np.arange(n) + rng.choice([0.25, 0.5, 1.5, 6.0], n),
        shot_id=some(rng.integers(0, 14, n)),
        face_px=some(rng.choice([16, 32, 100, 200], n)).astype(np.float32),
        quality=some(rng.random(n)).astype(np.float32),
        flags=pd.Series([flags[i] for i in rng.integers(0, len(flags), n)], dtype=object),
        quality_labels=pd.Series([labels[i] for i in rng.integers(0, len(labels), n)], dtype=object),
    )
    embeddings = unit_rows(draw(st.integers(0, 100)), n)
    embeddings[rng.random(n) < 0.1] = np.nan
    return tracks, embeddings


def rows_of(tracks: pd.DataFrame) -> list:
    """One track at a time; character_id None where it is unknown."""
    return list(
        tracks.assign(
            character_id=tracks.character_id.astype(object).where(tracks.character_id.notna(), None)
        ).itertuples()
    )


def alike(person: str, seed: int = 0) -> np.ndarray:
    """Unit rows of people; ann and zoe look so much alike that they cannot be told apart."""
    axes = {"ann": 0, "zoe": 0, "bob": 1, "cid": 2}
    rows = np.eye(8)[[axes[p] for p in person]] + 0.05 * np.random.default_rng(seed).normal(size=(len(person), 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def cast(tracks: pd.DataFrame, embeddings: np.ndarray, links: Links) -> pd.DataFrame:
    """The tracks with the labels that clustering gives them."""
    labels = cluster_title(tracks, embeddings, embeddings, links, RULES)["track_labels"]
    return tracks.assign(character_id=labels.character_id, confidence=labels.confidence, status=labels.status)
