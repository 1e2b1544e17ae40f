"""Pieces put together: a film cut anywhere has the tracks of the uncut one.

The real tracker follows written-down detections here; `test_piece.py` does the same with a real film and real models.
"""

from __future__ import annotations

import functools
import itertools
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.kernels.boxes import BOX
from udfs.kernels.harvest import assemble, piece, quality
from udfs.kernels.harvest import tracker as track

N_FRAMES, OVERLAP, MAX_GAP, STRIDE, MIN_FACES = 240, 24, 18, 2, 3
TIMES = np.arange(N_FRAMES + 1) / 24
NORMS = 10.0, 14.0  # lengths of embeddings that are worth nothing and everything
BARE = ["track_id", "shot_id", "frame", "time_s", "detected", *BOX, "score", "quality"]


class Face(NamedTuple):
    """A written-down detection."""

    frame: int
    person: int
    x: float
    y: float
    size: float
    score: float


@functools.cache
def look_of(person: int) -> np.ndarray:
    look = np.random.default_rng(person).normal(size=192)
    return (look / np.linalg.norm(look)).astype(np.float32)


def walking(
    person: int, frames: range, x: float, y: float, speed: float = 0.0, size: float = 40.0, score: float = 0.8
) -> list[Face]:
    return [
        Face(frame, person, x + speed * (frame - frames.start), y, size, score)
        for frame in frames
        if frame % STRIDE == 0
    ]


def piece_of(faces: list[Face], shots: list[tuple[int, int]], cut: piece.Cut) -> pd.DataFrame:
    """What a piece would stage of these detections, by the real tracker."""
    start, end = np.array(shots).T
    tables, next_id = [_rows(track.ShotTracker(0.5, MAX_GAP).finish({}), [], 0, 0)], 0
    by_frame = {frame: list(group) for frame, group in itertools.groupby(sorted(faces), key=lambda face: face.frame)}
    for shot in piece.shots_in(cut, start, end):
        tracker = track.ShotTracker(0.5, MAX_GAP)
        seen, offsets = [], {}
        for frame in piece.frames_to_detect(shot, STRIDE).tolist():
            here = by_frame.get(frame, [])
            offsets[frame] = len(seen)
            seen += here
            tracker.step(
                frame,
                np.array([[f.x, f.y, f.size, f.size] for f in here], np.float32).reshape(-1, 4),
                np.array([f.score for f in here], np.float32),
                np.array([look_of(f.person) for f in here], np.float32).reshape(-1, 192),
            )
        found = tracker.finish(offsets)
        tables.append(_rows(found, seen, shot.shot_id, next_id))
        next_id += len(np.unique(found.track))
    filled = [rows for rows in tables if len(rows)]
    return pd.concat(filled) if filled else tables[0]


def _rows(found: track.Tracked, seen: list[Face], shot_id: int, first_id: int) -> pd.DataFrame:
    detected = found.detection >= 0
    by_row = [seen[d] if d >= 0 else None for d in found.detection]

    def column(value) -> np.ndarray:
        return np.array([np.nan if face is None else value(face) for face in by_row], np.float32)

    rows = pd.DataFrame(
        {
            "local_id": (found.track + first_id).astype(np.int32),
            "shot_id": np.int32(shot_id),
            "frame": found.frame,
            "detected": detected,
            **dict(zip(BOX, found.box.T, strict=True)),
            "score": column(lambda face: face.score),
            "quality": column(lambda face: (face.score * 7919 * (face.frame + 1)) % 1),
            "size_px": column(lambda face: face.size),
            "sharpness": column(lambda face: 2 + face.frame % 5),
            "light": column(lambda face: 30 + face.frame % 50),
            "yaw": column(lambda face: (face.frame % 9) / 9),
            "plausible": column(lambda face: 1.0),
            "glasses": column(lambda face: face.frame % 13),
            "foreign": column(lambda face: (face.frame % 11) / 40),
            "outside": column(lambda face: (face.frame % 7) / 50),
        }
    )
    rows["embedding"] = [look_of(face.person) if face and face.frame % 6 == 0 else None for face in by_row]
    rows["embedding_norm"] = np.where(rows.embedding.notna(), 8 + rows.frame % 7, np.nan).astype(np.float32)
    best = rows.loc[rows.groupby("local_id").quality.idxmax().dropna()].index if len(rows) else []
    rows["thumbnail"] = pd.Series(
        [f"{face}".encode() if i in best else None for i, face in enumerate(by_row)], dtype=object
    )
    return rows


def with_track_ids(pieces: list[pd.DataFrame], cuts: list[piece.Cut]) -> list[pd.DataFrame]:
    reduced = [assemble.piece_tracks(rows, cut.start, cut.end, OVERLAP) for rows, cut in zip(pieces, cuts, strict=True)]
    numbers = assemble.number_tracks(reduced, MIN_FACES)
    return list(assemble.track_faces(pieces, numbers, TIMES))


def assembled(
    faces: list[Face], shots: list[tuple[int, int]], cuts: list[piece.Cut]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    pieces = [piece_of(faces, shots, cut) for cut in cuts]
    made = with_track_ids(pieces, cuts)
    for rows in made:
        assert rows[["track_id", "frame"]].equals(rows.sort_values(["track_id", "frame"])[["track_id", "frame"]])
    tracks = [rows for rows in assemble.summarise_tracks(iter(made), TIMES, NORMS) if len(rows)]
    return (
        pd.concat(made).sort_values(["track_id", "frame"]).reset_index(drop=True),
        pd.concat(tracks).sort_values("track_id").reset_index(drop=True) if tracks else pd.DataFrame({"track_id": []}),
    )


def cuts_at(*at: int, shots: tuple[tuple[int, int], ...] = ((0, N_FRAMES),)) -> list[piece.Cut]:
    """Cuts at these frames and at the shots' ends."""
    ends = {end for _, end in shots}
    bounds = sorted({0, *at, *ends})
    return [
        piece.Cut(a, b, b if b in ends else min(b + OVERLAP, min(end for end in ends if end > b)))
        for a, b in itertools.pairwise(bounds)
    ]


def assert_same(one: tuple[pd.DataFrame, pd.DataFrame], other: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    pd.testing.assert_frame_equal(one[0][BARE], other[0][BARE], check_exact=True)
    pd.testing.assert_frame_equal(one[1], other[1], check_exact=True)


ONE_SHOT = [(0, N_FRAMES)]
WHOLE = cuts_at()


# --- cut anywhere ----------------------------------------------------------------------------------------------------


def calm(seed: int) -> list[Face]:
    """People who come, go, meet with room between them, turn away for a moment; their detector is a little unsure."""
    rng = np.random.default_rng(seed)
    faces = []
    for person in range(int(rng.integers(1, 5))):
        begin = int(rng.integers(-60, 200))
        whole = range(max(0, begin), min(N_FRAMES, begin + int(rng.integers(6, 300))))
        mine = walking(person, whole, rng.uniform(50, 100), 90.0 * person, rng.uniform(-1.5, 1.5))
        away = {f for start in rng.choice(N_FRAMES, 4) for f in range(start, start + int(rng.integers(1, 8)))}
        for face in mine:
            jitter = rng.normal(0, 0.4, 2)
            score = rng.uniform(0.35, 0.5) if rng.random() < 0.15 else rng.uniform(0.55, 0.95)
            if face.frame not in away:
                faces.append(face._replace(x=face.x + jitter[0], y=face.y + jitter[1], score=float(np.float32(score))))
    return sorted(faces)


@settings(max_examples=12)
@given(seed=st.integers(0, 100_000), length=st.sampled_from([36, 48, 60, 100]))
def test_a_film_cut_anywhere_has_the_tracks_of_the_uncut_one(seed, length):
    faces = calm(seed)
    at = list(range(length, N_FRAMES - OVERLAP, length))
    assert_same(assembled(faces, ONE_SHOT, cuts_at(*at)), assembled(faces, ONE_SHOT, WHOLE))


@settings(max_examples=6)
@given(seed=st.integers(0, 100_000))
def test_cuts_between_shots_and_inside_them(seed):
    faces, shots = calm(seed), ((0, 70), (70, 200), (200, N_FRAMES))
    cut = assembled(faces, list(shots), cuts_at(110, 150, shots=shots))
    uncut = assembled(faces, list(shots), WHOLE)
    assert_same(cut, uncut)
    assert_same(assembled(faces, list(shots), cuts_at(shots=shots)), uncut)


def wild(seed: int) -> list[Face]:
    """A crowd that runs through itself, with long absences: nobody could say who is who."""
    rng = np.random.default_rng(seed)
    faces = []
    for person in range(int(rng.integers(2, 7))):
        x, y = rng.uniform(0, 200, 2)
        for frame in range(0, N_FRAMES, STRIDE):
            x, y = x + rng.normal(0, 6), y + rng.normal(0, 4)
            if rng.random() < 0.7:
                faces.append(Face(frame, person, x, y, 40.0, float(np.float32(rng.uniform(0.3, 0.95)))))
    return sorted(faces)


@settings(max_examples=8)
@given(seed=st.integers(0, 100_000))
def test_even_in_a_crowd_tracks_are_whole_and_no_face_is_counted_twice(seed):
    faces = wild(seed)
    rows, tracks = assembled(faces, ONE_SHOT, cuts_at(36, 72, 120, 156, 200))
    assert not rows.duplicated(["track_id", "frame"]).any()
    assert tracks.track_id.tolist() == list(range(len(tracks)))
    assert tracks.track_id.tolist() == rows.track_id.unique().tolist()
    for _, mine in rows.groupby("track_id"):
        assert mine.frame.tolist() == list(range(mine.frame.iloc[0], mine.frame.iloc[-1] + 1)), "no hole"
        assert mine.detected.iloc[0]
        assert mine.detected.iloc[-1]
        assert mine.detected.sum() >= MIN_FACES
    seen = rows[rows.detected]
    twice = seen.duplicated(["frame", *BOX]).sum()
    assert twice <= 0.01 * len(seen)
    uncut = assembled(faces, ONE_SHOT, WHOLE)[0]
    assert abs(len(seen) - uncut.detected.sum()) <= 0.05 * len(seen) + 6


# --- what an overlap must get right, one by one ----------------------------------------------------------------------


@pytest.mark.parametrize("gap", [2, 8, MAX_GAP - 2])
@pytest.mark.parametrize("begin", [96, 100, 104, 112, 118, 124, 132, 140, 144])
def test_a_face_missed_around_the_seam_is_bridged_once(begin, gap):
    """The cut is at 120 and the overlap ends at 144."""
    faces = [face for face in walking(0, range(60, 220), 50, 50, 0.5) if not begin <= face.frame < begin + gap]
    rows, tracks = assembled(faces, ONE_SHOT, cuts_at(120))
    assert rows.frame.tolist() == list(range(60, 219))
    assert len(tracks) == 1
    assert_same((rows, tracks), assembled(faces, ONE_SHOT, WHOLE))


def test_a_track_ends_once_though_others_go_on():
    """One face is last seen shortly before the cut and comes back behind it, while another one never leaves."""
    faces = (
        walking(0, range(0, 240), 50, 50) + walking(1, range(0, 108), 50, 200) + walking(1, range(124, 240), 50, 200)
    )
    rows, tracks = assembled(faces, ONE_SHOT, cuts_at(120))
    assert tracks.track_id.tolist() == [0, 1]
    assert tracks.n_faces.tolist() == [120, 112]
    assert_same((rows, tracks), assembled(faces, ONE_SHOT, WHOLE))


@pytest.mark.parametrize("end", [124, 130, 143])
def test_a_face_that_is_only_weakly_seen_behind_the_cut_is_kept_to_its_end(end):
    faces = walking(0, range(60, 118), 50, 50) + walking(0, range(118, end), 50, 50, score=0.4)
    rows, _ = assembled(faces, ONE_SHOT, cuts_at(120))
    assert rows.frame.iloc[-1] == (end - 1) // 2 * 2
    assert_same(assembled(faces, ONE_SHOT, cuts_at(120)), assembled(faces, ONE_SHOT, WHOLE))


@pytest.mark.parametrize("begin", [110, 119, 120, 121, 126, 140, 143, 144, 150])
@pytest.mark.parametrize("n_faces", [1, 2, 3, 4])
def test_a_short_track_near_the_seam_is_noise_or_not_by_what_was_seen(begin, n_faces):
    faces = walking(0, range(0, 240), 50, 50) + walking(1, range(begin, begin + 2 * n_faces), 300, 50)
    rows, tracks = assembled(faces, ONE_SHOT, cuts_at(120))
    assert len(tracks) == 1 + (n_faces >= MIN_FACES)
    assert_same((rows, tracks), assembled(faces, ONE_SHOT, WHOLE))


def test_tracks_of_another_shot_behind_the_overlap_are_left_alone():
    shots = ((0, 130), (130, N_FRAMES))
    faces = walking(0, range(0, 130), 50, 50) + walking(1, range(130, 240), 50, 50)
    cut = assembled(faces, list(shots), cuts_at(120, shots=shots))
    assert cut[1].shot_id.tolist() == [0, 1]
    assert cut[1].start_frame.tolist() == [0, 130]
    assert_same(cut, assembled(faces, list(shots), WHOLE))


def test_tracks_are_numbered_by_first_frame_then_place():
    faces = (
        walking(0, range(40, 80), 300, 10) + walking(1, range(0, 200), 200, 90) + walking(2, range(0, 200), 100, 170)
    )
    faces += walking(3, range(40, 80), 300, 300)
    rows, tracks = assembled(faces, ONE_SHOT, cuts_at(60, 120))
    first = rows[rows.detected].drop_duplicates("track_id")
    assert list(zip(first.frame, first.x, first.y, strict=True)) == [
        (0, 100, 170),
        (0, 200, 90),
        (40, 300, 10),
        (40, 300, 300),
    ]
    assert tracks.track_id.tolist() == [0, 1, 2, 3]


def test_a_track_may_run_through_many_pieces():
    rows, tracks = assembled(walking(0, range(0, 240), 50, 50, 0.3), ONE_SHOT, cuts_at(*range(30, 210, 30)))
    assert (len(tracks), len(rows)) == (1, 239)
    assert tracks.end_frame.tolist() == [239]


def test_nobody_at_all():
    for cuts in ([], WHOLE, cuts_at(60, 120)):
        pieces = [piece_of([], ONE_SHOT, cut) for cut in cuts]
        made = with_track_ids(pieces, cuts)
        assert sum(map(len, made)) == 0
        assert sum(map(len, assemble.summarise_tracks(iter(made), TIMES, NORMS))) == 0


def test_pieces_with_nobody_between_pieces_with_somebody():
    faces = walking(0, range(0, 50), 50, 50) + walking(1, range(200, 240), 50, 50)
    rows, tracks = assembled(faces, ONE_SHOT, cuts_at(60, 120, 180))
    assert tracks.start_frame.tolist() == [0, 200]
    assert_same((rows, tracks), assembled(faces, ONE_SHOT, WHOLE))


def test_inputs_are_left_as_they_are():
    faces, cuts = calm(3), cuts_at(60, 120)
    pieces = [piece_of(faces, ONE_SHOT, cut) for cut in cuts]
    held = [rows.copy(deep=True) for rows in pieces]
    list(assemble.summarise_tracks(with_track_ids(pieces, cuts), TIMES, NORMS))
    for before, after in zip(held, pieces, strict=True):
        pd.testing.assert_frame_equal(before, after)


# --- summaries -------------------------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(seed=st.integers(0, 100_000), cut=st.booleans())
def test_summaries_against_a_slow_reading(seed, cut):
    rows, tracks = assembled(calm(seed), ONE_SHOT, cuts_at(60, 130, 190) if cut else WHOLE)
    assert tracks.track_id.tolist() == sorted(set(rows.track_id))
    for summary in tracks.itertuples():
        mine = rows[rows.track_id == summary.track_id]
        seen = mine[mine.detected]
        assert summary.start_frame == mine.frame.min()
        assert summary.end_frame == mine.frame.max() + 1
        assert summary.start_s == mine.frame.min() / 24
        assert summary.end_s == (mine.frame.max() + 1) / 24
        assert summary.n_faces == len(seen)
        assert summary.n_embedded == seen.embedding.notna().sum()
        assert summary.face_px == np.median(seen.size_px)
        there = seen[seen.embedding.notna()]
        worths = there.quality * ((there.embedding_norm - 10) / 4).clip(0.02, 1) if len(there) else seen.quality
        assert summary.quality == pytest.approx(np.sort(worths)[::-1][: -(-len(worths) // 2)].mean(), abs=1e-6)
        looks = quality.Measures(*(seen[name].to_numpy() for name in quality.Measures._fields))
        assert summary.flags == quality.track_flags(looks)
        assert summary.quality_labels == quality.give_quality_labels(looks)
        assert summary.thumbnail == seen.thumbnail[seen.quality.idxmax()]
        if summary.n_embedded:
            weighed = zip(there.embedding, there.quality, there.embedding_norm, strict=True)
            mean = sum(max(float(worth), 0.02) * norm * whole.astype(np.float64) for whole, worth, norm in weighed)
            assert np.allclose(summary.embedding, mean / np.linalg.norm(mean), atol=1e-6)
            assert summary.embedding.dtype == np.float32
        else:
            assert summary.embedding is None


def test_only_what_goes_on_is_held():
    """A track's row comes with the piece in which it ends, so that nothing of it need be kept."""
    faces = walking(0, range(0, 50), 50, 50) + walking(1, range(0, 110), 50, 200) + walking(2, range(150, 240), 50, 50)
    cuts = cuts_at(60, 120)
    made = with_track_ids([piece_of(faces, ONE_SHOT, cut) for cut in cuts], cuts)
    said = [rows.track_id.tolist() if len(rows) else [] for rows in assemble.summarise_tracks(made, TIMES, NORMS)]
    assert said == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("index", "wanted", "decoded", "said"),
    [
        (None, 10, 10, None),
        (None, 0, 0, None),
        (None, 10, 9, "1 of 10 frames looked at did not decode"),
        ("cut off", 10, 10, "cut off"),
        ("cut off", 10, 0, "cut off; 10 of 10 frames looked at did not decode"),
    ],
)
def test_warning(index, wanted, decoded, said):
    assert assemble.film_warning(index, wanted, decoded) == said


@pytest.mark.parametrize(
    ("of_film", "wanted", "decoded", "missing", "status"),
    [
        (0.0, 100, 100, 0.0, "ok"),
        (0.0, 100, 96, 0.04, "ok"),
        (0.03, 100, 97, 0.0591, "partial"),
        (0.5, 100, 100, 0.5, "partial"),
        (0.0, 0, 0, 0.0, "ok"),
        (0.05, 0, 0, 0.05, "ok"),
    ],
)
def test_how_much_is_missing(of_film, wanted, decoded, missing, status):
    assert assemble.missing_share(of_film, wanted, decoded) == pytest.approx(missing)
    assert assemble.film_status(missing, 0.05) == status
