"""One title's mined tables: what the kernels say, in the columns of the tables, for titles of any size."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conf.catalog import table
from udfs.kernels.mine import title as mining
from udfs.kernels.mine import tracklets
from udfs.kernels.mine.cannot_links import find_cannot_links
from udfs.kernels.rows import stack_rows

RULES = {
    **{"n_tracklets": 3, "duplicate_iou": 0.5, "must_link_cosine": 0.6, "must_link_iou": 0.2},
    **{"min_track_s": 0.5, "min_shared_s": 0.25},
}
DIM = 64
TRACK_COLUMNS = ["track_id", "shot_id", "thread_id", "seconds_per_detection"]


def unit(*seed: int) -> np.ndarray:
    row = np.random.default_rng(seed).normal(size=DIM)
    return (row / np.linalg.norm(row)).astype(np.float32)


def title(seed: int, n_tracks: int, *, embedded: float = 0.6) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Faces and tracks of a title of a few people in a few shots of two set-ups; rows in any order."""
    rng = np.random.default_rng(seed)
    faces, tracks = [], []
    for track_id in range(n_tracks):
        shot, person = int(rng.integers(4)), int(rng.integers(3))
        start, place = 40 * shot + int(rng.integers(10)), 200.0 * person + rng.uniform(0, 20)
        seen = range(start, start + 2 * int(rng.integers(1, 14)), 2)
        rows = [
            (track_id, f, place, 50.0, 40.0, 40.0, unit(person, 0) if rng.random() < embedded else None) for f in seen
        ]
        faces += [
            (*row[:6], None if row[6] is None else (row[6] + 0.2 * unit(track_id, row[1])).astype(np.float32))
            for row in rows
        ]
        tracks.append((track_id, shot, shot % 2, 2 / 24))
    faces_frame = pd.DataFrame(faces, columns=["track_id", "frame", "x", "y", "w", "h", "embedding"])
    tracks_frame = pd.DataFrame(tracks, columns=TRACK_COLUMNS)
    return shuffled(faces_frame, seed), shuffled(tracks_frame, seed)


def mine(faces: pd.DataFrame, tracks: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The faces as a job hands them over: with their track's shot and thread, and the embeddings in one matrix."""
    rate = float(tracks.seconds_per_detection.iloc[0]) if len(tracks) else float("nan")
    joined = faces.drop(columns="embedding").merge(tracks[["track_id", "shot_id", "thread_id"]], "left", "track_id")
    joined["embedded"] = faces.embedding.notna().to_numpy()
    embedding = stack_rows(faces.embedding[faces.embedding.notna()])
    return mining.mine_title_tables(joined, embedding, seconds_per_detection=rate, **RULES)


def shuffled(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
    return rows.iloc[np.random.default_rng(seed).permutation(len(rows))]


def as_stored(made: dict[str, pd.DataFrame]) -> dict[str, pa.Table]:
    """The rows in the types of their tables, which is where wrong columns show."""
    stored = {}
    for name, rows in made.items():
        schema = table(name).arrow
        whole = rows.assign(title_id="t", run_id="r")
        assert set(whole.columns) == set(schema.names)
        stored[name] = pa.Table.from_pandas(whole[schema.names], schema=schema, preserve_index=False)
    return stored


@settings(max_examples=30)
@given(seed=st.integers(0, 100_000), n_tracks=st.integers(0, 12), embedded=st.sampled_from([0.0, 0.3, 1.0]))
def test_tables_hold_what_the_kernels_say(seed, n_tracks, embedded):
    faces, tracks = title(seed, n_tracks, embedded=embedded)
    before = faces.copy(deep=True), tracks.copy(deep=True)
    made = mine(faces, tracks)
    stored = as_stored(made)
    pd.testing.assert_frame_equal(faces, before[0])
    pd.testing.assert_frame_equal(tracks, before[1])

    cannot = find_cannot_links(
        faces.track_id.to_numpy(), faces.frame.to_numpy(), faces[["x", "y", "w", "h"]].to_numpy(), duplicate_iou=0.5
    )
    rows = made["cannot_links"]
    assert list(zip(rows.track_a, rows.track_b, rows.shared_frames, strict=True)) == list(
        zip(cannot.track_a, cannot.track_b, cannot.shared_frames, strict=True)
    )
    assert np.allclose(rows.shared_s, cannot.shared_frames * 2 / 24)
    assert rows.reason.eq("co_occurrence").all()

    known, length = faces[faces.embedding.notna()], faces.groupby("track_id").size().to_dict()
    passing = [
        min(length[a], length[b]) >= 6 and shared >= 3  # at 12 detections a second
        for a, b, shared in zip(cannot.track_a, cannot.track_b, cannot.shared_frames, strict=True)
    ]
    expected, negatives = tracklets.mine_title(
        known.track_id.to_numpy(),
        known.frame.to_numpy(),
        stack_rows(known.embedding),
        cannot.track_a[np.array(passing, bool)],
        cannot.track_b[np.array(passing, bool)],
        3,
    )
    assert made["tracklets"].track_id.tolist() == expected.track_id.tolist()
    assert made["tracklets"].role.tolist() == expected.role.tolist()
    assert made["hard_negatives"].negative_track_id.tolist() == negatives.negative_track_id.tolist()
    assert all(map(np.array_equal, made["tracklets"].embedding, expected.embedding))
    for name in ("tracklets", "hard_negatives"):
        lengths = [np.linalg.norm(row) for row in stored[name]["embedding"].to_pylist()]
        assert np.allclose(lengths, 1, atol=1e-5)
    of_face = made["tracklets"][made["tracklets"].role == "face"]
    assert stored["tracklets"]["distance"].null_count == len(of_face), "no anchor, no distance: null"


@settings(max_examples=20)
@given(seed=st.integers(0, 100_000), n_tracks=st.integers(0, 12), other=st.integers(0, 1000))
def test_the_order_of_rows_has_no_effect(seed, n_tracks, other):
    faces, tracks = title(seed, n_tracks)
    ours = as_stored(mine(faces, tracks))
    theirs = as_stored(mine(shuffled(faces, other), shuffled(tracks, other + 1)))
    assert all(ours[name].equals(theirs[name]) for name in ours)


def test_a_hard_negative_is_sought_where_the_rule_lets_it_be_used():
    """Of three tracks seen with the first, the nearest is too short, the next shares too little; all are linked."""

    def track(track_id: int, frames: range, x: float, like: float) -> tuple[pd.DataFrame, pd.DataFrame]:
        row = unit(0) * like + unit(track_id)
        row = (row / np.linalg.norm(row)).astype(np.float32)
        faces = [(track_id, f, x, 50.0, 40.0, 40.0, row) for f in frames]
        columns = ["track_id", "frame", "x", "y", "w", "h", "embedding"]
        return pd.DataFrame(faces, columns=columns), pd.DataFrame([(track_id, 0, 0, 2 / 24)], columns=TRACK_COLUMNS)

    anchor = track(0, range(0, 48, 2), 0.0, 1.0)
    short, brief = track(1, range(0, 8, 2), 100.0, 3.0), track(2, range(44, 92, 2), 200.0, 2.0)
    long_together = track(3, range(0, 48, 2), 300.0, 0.5)
    made = mined(anchor, short, brief, long_together)
    links = made["cannot_links"]
    assert {(a, b) for a, b in zip(links.track_a, links.track_b, strict=True) if a == 0} == {(0, 1), (0, 2), (0, 3)}
    hard = made["hard_negatives"].set_index("track_id").negative_track_id
    assert hard[0] == 3
    assert sorted(hard.index) == [0, 3]


def one_track(
    track_id: int, shot: int, x: float, person: int, thread: int | None, n: int = 4
) -> tuple[pd.DataFrame, pd.DataFrame]:
    frames = range(40 * shot, 40 * shot + 2 * n, 2)
    faces = pd.DataFrame([(track_id, f, x, 50.0, 40.0, 40.0, unit(person)) for f in frames],
                         columns=["track_id", "frame", "x", "y", "w", "h", "embedding"])  # fmt: skip
    row = (track_id, shot, thread, 2 / 24)
    return faces, pd.DataFrame([row], columns=TRACK_COLUMNS)


def mined(*given_tracks: tuple[pd.DataFrame, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    faces, tracks = (pd.concat(parts) for parts in zip(*given_tracks, strict=True))
    made = mine(faces, tracks)
    as_stored(made)
    return made


def test_a_face_that_returns_to_its_place_is_linked():
    made = mined(one_track(0, 0, 100, 1, 0), one_track(1, 2, 110, 1, 0))
    rows = made["must_links"]
    assert rows[["track_a", "track_b", "contradicted", "reason"]].values.tolist() == [[0, 1, False, "shot_thread"]]
    assert rows.score.iloc[0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "second",
    [
        one_track(1, 2, 300, 1, 0),  # elsewhere in the frame
        one_track(1, 2, 110, 2, 0),  # another face
        one_track(1, 2, 110, 1, 1),  # another set-up
        one_track(1, 2, 110, 1, None),  # no set-up known
    ],
)
def test_others_are_not(second):
    assert len(mined(one_track(0, 0, 100, 1, 0), second)["must_links"]) == 0


def test_tracks_without_shots_link_nothing_and_mine_all_the_same():
    """As they come from another program: no shots, no frame rate."""
    faces, tracks = title(5, 8, embedded=1.0)
    bare = tracks.assign(shot_id=np.nan, thread_id=np.nan, seconds_per_detection=np.nan)
    ours, whole = mine(faces, bare), mine(faces, tracks)
    stored = as_stored(ours)
    assert len(ours["must_links"]) == 0
    assert len(whole["cannot_links"]) > 0
    assert stored["cannot_links"]["shared_s"].null_count == len(whole["cannot_links"])
    assert ours["tracklets"].equals(whole["tracklets"])


def test_no_track_one_track_and_a_track_whose_faces_are_gone():
    nothing = title(0, 0)
    assert all(len(rows) == 0 for rows in mined(nothing).values())
    made = mined(one_track(3, 0, 100, 1, 0))
    assert {name: len(rows) for name, rows in made.items()} == {
        "cannot_links": 0, "must_links": 0, "tracklets": 3, "hard_negatives": 0,
    }  # fmt: skip
    faces, track = one_track(4, 0, 100, 1, 0)
    assert len(mined(one_track(3, 0, 100, 1, 0), (faces[:0], track))["tracklets"]) == 3


def test_two_faces_in_one_frame_are_two_people():
    made = mined(one_track(0, 0, 100, 1, 0, n=6), one_track(1, 0, 300, 2, 0, n=6))
    assert made["cannot_links"][["track_a", "track_b", "shared_frames", "first_frame"]].values.tolist() == [
        [0, 1, 6, 0]
    ]
    assert made["cannot_links"].shared_s.iloc[0] == pytest.approx(6 * 2 / 24)
    assert made["hard_negatives"][["track_id", "negative_track_id"]].values.tolist() == [[0, 1], [1, 0]]
    twice = mined(one_track(0, 0, 100, 1, 0), one_track(1, 0, 104, 1, 0))
    assert len(twice["cannot_links"]) == 0, "one face detected twice"
