"""The cast of a title: labels and characters in the columns of their tables, for titles of any size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.catalog import table
from udfs.kernels.cluster import title
from udfs.kernels.cluster.characters import Rules
from udfs.kernels.cluster.interface import Bounds, Links
from udfs.kernels.cluster.methods import METHODS

RULES = Rules(min_quality=0.25)
NONE = np.zeros((0, 2), np.int64)


def unit_rows(people: list[int], seed: int = 0, noise: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.eye(16)[people] + noise * rng.normal(size=(len(people), 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32).reshape(-1, 16)


def tracks_of(n: int, **given_columns: object) -> pd.DataFrame:
    """Tracks 10, 11, ... of two seconds, one after the other."""
    columns = {
        "track_id": np.arange(10, 10 + n),
        "start_s": 2.0 * np.arange(n),
        "end_s": 2.0 * np.arange(n) + 2,
        "n_faces": np.full(n, 20),
        "quality": np.full(n, 0.9),
        "flags": [["frontal"]] * n,
    }
    return pd.DataFrame(columns | given_columns)


def cast(tracks: pd.DataFrame, embeddings: np.ndarray, cannot=NONE, must=NONE, **rules) -> dict[str, pd.DataFrame]:
    made = title.cluster_title(tracks, embeddings, embeddings, Links(cannot, must), replace(RULES, **rules))
    for name, rows in made.items():
        schema = table(name).arrow
        whole = rows.assign(title_id="t", run_id="r", adapter_id=None).reindex(columns=schema.names)
        whole = whole if len(whole) else whole.astype(object)
        pa.Table.from_pandas(whole, schema=schema, preserve_index=False).validate(full=True)
        assert set(rows.columns) <= set(schema.names)
    return made


def test_three_people():
    people = [0, 1, 0, 2, 1, 0, 0]
    made = cast(tracks_of(7), unit_rows(people))
    labels, characters = made["track_labels"], made["characters"]
    assert labels.track_id.tolist() == list(range(10, 17))
    assert labels.character_id.tolist() == [0, 1, 0, 2, 1, 0, 0], "the one with most faces is 0"
    assert characters.n_tracks.tolist() == [4, 2, 1]
    assert characters.n_faces.tolist() == [80, 40, 20]
    assert characters.screen_time_s.tolist() == [8, 4, 2]
    assert characters.first_s.tolist() == [0, 2, 6]
    assert characters.last_s.tolist() == [14, 10, 8]
    for character, row in enumerate(characters.itertuples()):
        assert labels.character_id[labels.track_id == row.exemplar_track_id].tolist() == [character]
    assert labels.method.eq("castmine").all()
    assert labels.confidence.between(0, 1).all()
    assert (labels.second_character_id != labels.character_id).all()


def test_no_track_one_track_and_none_with_an_embedding():
    none = cast(tracks_of(0), np.zeros((0, 16), np.float32))
    assert len(none["track_labels"]) == len(none["characters"]) == 0
    one = cast(tracks_of(1), unit_rows([0]))
    assert one["track_labels"].character_id.tolist() == [0]
    assert one["track_labels"].second_character_id.isna().all()
    assert one["characters"].n_tracks.tolist() == [1]
    blind = cast(tracks_of(3), np.full((3, 1), np.nan, np.float32))
    assert blind["track_labels"].status.tolist() == ["unknown"] * 3
    assert blind["track_labels"][["character_id", "confidence", "second_character_id", "margin"]].isna().all().all()
    assert len(blind["characters"]) == 0


def test_what_a_track_lacks_is_not_guessed():
    embeddings = unit_rows([0, 0, 1, 1, 0])
    embeddings[4] = np.nan
    tracks = tracks_of(5, quality=[np.nan] * 5, flags=[None, ["frontal"], None, ["not_a_face"], None])
    labels = cast(tracks, embeddings)["track_labels"]
    assert labels.status.tolist()[3:] == ["rejected", "unknown"]
    assert labels.character_id.isna().tolist() == [False, False, False, True, True]
    assert labels.character_id[0] == labels.character_id[1] != labels.character_id[2]


def test_links_are_of_track_ids_and_are_kept():
    embeddings = unit_rows([0, 0, 0, 0])
    parted = cast(tracks_of(4), embeddings, cannot=[[10, 13]])["track_labels"].character_id
    assert parted[0] != parted[3]
    joined = cast(tracks_of(2), unit_rows([0, 1]), must=[[10, 11]])["track_labels"].character_id
    assert joined[0] == joined[1]
    for given_links in ({"cannot": [[10, 99]]}, {"must": [[9, 10]]}):
        with pytest.raises(ValueError, match="not among the tracks"):
            cast(tracks_of(4), embeddings, **given_links)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.number != "found"])
def test_a_given_number_is_given(method):
    people = [0, 1, 2, 0, 1, 2]
    for k in (1, 2, 3, 4):
        made = cast(tracks_of(6), unit_rows(people), bounds=Bounds(exact_k=k), method=method)
        assert len(made["characters"]) == k


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 25))
def test_characters_add_up_their_tracks(seed, n):
    rng = np.random.default_rng(seed)
    start = np.round(rng.uniform(0, 100, n), 1)
    tracks = tracks_of(
        n, start_s=start, end_s=start + np.round(rng.uniform(0.1, 20, n), 1), n_faces=rng.integers(1, 50, n)
    )
    made = cast(tracks, unit_rows(rng.integers(0, 4, n).tolist(), seed, 0.3))
    labels, characters = made["track_labels"], made["characters"]
    assert len(labels) == n
    assert labels.character_id.dropna().nunique() == len(characters)
    if not n:
        return
    assert characters.character_id.tolist() == list(range(len(characters)))
    assert characters.n_faces.is_monotonic_decreasing
    for row in characters.itertuples():
        mine = tracks[(labels.character_id == row.character_id).to_numpy(bool)]
        assert row.n_tracks == len(mine) > 0
        assert row.n_faces == mine.n_faces.sum()
        assert (row.first_s, row.last_s) == (mine.start_s.min(), mine.end_s.max())
        assert 0 < row.screen_time_s <= row.last_s - row.first_s + 1e-9
        assert row.exemplar_track_id in mine.track_id.tolist()


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=12))
def test_covered_is_the_length_of_the_union(spans):
    seconds = {second for start, length in spans for second in range(start, start + length)}
    start, length = np.array(spans, float).reshape(-1, 2).T
    assert title.measure_union(start, start + length) == len(seconds)
