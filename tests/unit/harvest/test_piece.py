"""Pieces of a film: where it is cut, and the faces of a real film through real models."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.demo_film import camera
from jobs.demo_film import film as demo
from jobs.demo_film.screenplay import alone, together
from udfs.kernels.boxes import BOX
from udfs.kernels.harvest import assemble, piece, quality, video
from udfs.kernels.harvest.video import Frame

RULES = piece.Rules(
    stride=2, low_score=0.3, min_score=0.5, min_face_px=16, max_gap=18, embed_every=6.0, thumbnail_px=64, batch=8
)
OVERLAP = 24
EXACT = ["track_id", "shot_id", "frame", "time_s", "detected", *BOX, "score", "quality", "size_px", "yaw"]


# --- where a film is cut ---------------------------------------------------------------------------------------------


@st.composite
def films(draw) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Starts and ends of shots, and key frames."""
    lengths = draw(st.lists(st.integers(1, 400), min_size=1, max_size=12))
    bounds = np.cumsum([0, *lengths])
    keys = draw(st.lists(st.integers(0, int(bounds[-1]) - 1), max_size=60))
    return bounds[:-1].astype(np.int32), bounds[1:].astype(np.int32), np.unique([0, *keys]).astype(np.int32)


@settings(max_examples=200)
@given(film=films(), length=st.integers(10, 100), longer=st.integers(0, 200), overlap=st.integers(1, 30))
def test_cuts_cover_the_film_once_and_part_no_shot_that_is_short(film, length, longer, overlap):
    start, end, keys = film
    longest = length + longer
    cuts = piece.cut_pieces(start, end, keys, length, longest, overlap)
    assert cuts == piece.cut_pieces(start.copy(), end.copy(), keys.copy(), length, longest, overlap)
    assert [cut.start for cut in cuts] == [0, *(cut.end for cut in cuts[:-1])]
    assert cuts[-1].end == end[-1]
    shot_ends = set(end.tolist())
    for cut in cuts:
        assert cut.end > cut.start
        if cut.end in shot_ends:
            assert cut.overlap_end == cut.end
        else:
            inside = int(np.searchsorted(end, cut.end, side="right"))
            assert cut.end in keys.tolist(), "no frame is decoded twice but those of the overlap"
            assert end[inside] - start[inside] > longest
            assert cut.overlap_end == min(cut.end + overlap, end[inside])
            assert end[inside] - cut.end >= length // 2, "no splinter is left of a shot"
        if cut.start not in start.tolist():
            assert cut.end <= end[np.searchsorted(end, cut.start, side="right")], "a part of a shot is a piece alone"


@settings(max_examples=100)
@given(film=films(), length=st.integers(10, 100), stride=st.integers(1, 7))
def test_neighbours_agree_on_the_frames_that_are_looked_at(film, length, stride):
    start, end, keys = film
    n_frames, overlap = int(end[-1]), length // 2
    whole = looked_at([piece.Cut(0, n_frames, n_frames)], start, end, stride)
    cuts = piece.cut_pieces(start, end, keys, length, length, overlap)
    parts = looked_at(cuts, start, end, stride)
    (everything,) = whole
    for cut, frames in zip(cuts, parts, strict=True):
        inside = (everything >= cut.start) & (everything < cut.overlap_end)
        assert np.array_equal(frames, everything[inside])
    assert np.array_equal(np.unique(np.concatenate(parts)), everything)
    for first, last in zip(start, end, strict=True):  # each shot from its first frame on, and its last one
        mine = everything[(everything >= first) & (everything < last)]
        assert mine.tolist() == sorted({*range(first, last, stride), last - 1})


def looked_at(cuts: list[piece.Cut], start: np.ndarray, end: np.ndarray, stride: int) -> list[np.ndarray]:
    return [
        np.concatenate([piece.frames_to_detect(shot, stride) for shot in piece.shots_in(cut, start, end)])
        for cut in cuts
    ]


def test_no_shots_no_pieces():
    nothing = np.zeros(0, np.int32)
    assert piece.cut_pieces(nothing, nothing, np.zeros(1, np.int32), 10, 20, 5) == []


def test_cuts_of_a_film_by_hand():
    start, end = np.array([0, 40, 100, 400]), np.array([40, 100, 400, 420])
    keys = np.arange(0, 420, 24)
    cuts = piece.cut_pieces(start, end, keys, 60, 150, 24)
    assert cuts == [
        (0, 100, 100),  # two shots
        (100, 168, 192),  # the long one, at key frames
        (168, 240, 264),
        (240, 312, 336),
        (312, 400, 400),  # a cut at 384 would leave less than half a piece
        (400, 420, 420),
    ]
    assert piece.cut_pieces(start, end, np.array([0]), 60, 150, 24)[1] == (100, 400, 400), "no key frame, no cut"


# --- a real film -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_film(cast, tmp_path_factory) -> Path:
    """Five seconds of two people, then two of another one: 168 frames, key frames at 0, 48, 96 and 144."""
    path = tmp_path_factory.mktemp("long") / "film.mp4"
    demo.encode(camera.render([together(cast, [1, 5], 5.0), alone(cast, 20, "pan", 2.0)]), path)
    return path


SHOTS = np.array([0, 120]), np.array([120, 168])


def decoded(path: Path, cut: piece.Cut) -> list[Frame]:
    (wanted,) = looked_at([cut], *SHOTS, RULES.stride)
    return list(video.decode_frames(path, video.probe(path), cut.start, cut.overlap_end, wanted))


Harvest = Callable[[list[piece.Cut]], tuple[pd.DataFrame, pd.DataFrame]]


@pytest.fixture(scope="module")
def harvest(long_film, models) -> Harvest:
    """Faces and tracks of the film cut so, in the way a harvest makes them."""

    @functools.cache
    def faces_of(cut: piece.Cut) -> pd.DataFrame:
        frames, shots = decoded(long_film, cut), piece.shots_in(cut, *SHOTS)
        return piece.piece_faces(frames, shots, models, RULES).to_pandas()

    def run(cuts: list[piece.Cut]) -> tuple[pd.DataFrame, pd.DataFrame]:
        pieces = [faces_of(cut) for cut in cuts]
        reduced = [assemble.piece_tracks(rows, c.start, c.end, OVERLAP) for rows, c in zip(pieces, cuts, strict=True)]
        times = video.probe(long_film).times
        numbers = assemble.number_tracks(reduced, 3)
        faces = list(assemble.track_faces(pieces, numbers, times))
        return pd.concat(faces), pd.concat(list(assemble.summarise_tracks(iter(faces), times, None)))

    return run


@pytest.fixture(scope="module")
def whole(harvest) -> tuple[pd.DataFrame, pd.DataFrame]:
    return harvest([piece.Cut(0, 168, 168)])


def ordered(rows: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    return rows.sort_values(["track_id", "frame"] if "frame" in rows else ["track_id"])[columns].reset_index(drop=True)


def test_the_real_film_has_its_three_tracks(whole):
    tracks = whole[1]
    assert tracks.track_id.tolist() == [0, 1, 2]
    assert tracks.shot_id.tolist() == [0, 0, 1]
    assert tracks.start_frame.tolist() == [0, 0, 120]
    assert tracks.end_frame.tolist() == [120, 120, 168]
    assert tracks.embedding.map(lambda e: len(e) == 512 and abs(np.linalg.norm(e) - 1) < 1e-5).all()
    same = tracks.embedding.iloc[0] @ tracks.embedding.iloc[1]
    assert same < 0.3, "two people"


def test_a_cut_between_shots_changes_nothing_at_all(harvest, whole):
    faces, tracks = harvest([piece.Cut(0, 120, 120), piece.Cut(120, 168, 168)])
    columns = [name for name in faces.columns if name != "last_piece"]
    for ours, theirs, names in ((faces, whole[0], columns), (tracks, whole[1], list(tracks.columns))):
        a, b = (pa.Table.from_pandas(ordered(rows, names), preserve_index=False) for rows in (ours, theirs))
        assert a.equals(b)


@pytest.mark.parametrize("at", [[48], [96], [48, 96]])
def test_a_cut_through_a_shot_changes_neither_faces_nor_tracks(harvest, whole, at):
    cuts = [piece.Cut(a, b, b if b == 120 else b + OVERLAP) for a, b in itertools.pairwise([0, *at, 120])]
    faces, tracks = harvest([*cuts, piece.Cut(120, 168, 168)])
    pd.testing.assert_frame_equal(ordered(faces, EXACT), ordered(whole[0], EXACT), check_exact=True)
    names = [name for name in tracks.columns if name not in ("n_embedded", "embedding")]
    pd.testing.assert_frame_equal(ordered(tracks, names), ordered(whole[1], names), check_exact=True)
    ours, theirs = (set(zip(rows.track_id, rows.frame, strict=True)) for rows in map(embedded, (faces, whole[0])))
    ends = {int(cut.overlap_end / RULES.embed_every) for cut in cuts}
    assert {int(frame / RULES.embed_every) for _, frame in ours ^ theirs} <= ends, "but a sample where an overlap ends"
    both = embedded(faces).merge(embedded(whole[0]), on=["track_id", "frame"])
    assert all(np.array_equal(a, b) for a, b in zip(both.embedding_x, both.embedding_y, strict=True))
    assert all(a @ b > 0.999 for a, b in zip(tracks.embedding, whole[1].embedding, strict=True))


def embedded(faces: pd.DataFrame) -> pd.DataFrame:
    return faces[faces.embedding.notna()]


def test_rows_of_a_piece(long_film, models):
    cut = piece.Cut(0, 120, 120)
    frames, shots = decoded(long_film, cut), piece.shots_in(cut, *SHOTS)
    table = piece.piece_faces(iter(frames), shots, models, RULES)
    assert table.schema.equals(piece.SCHEMA)
    rows = table.to_pandas()
    assert rows[["local_id", "frame"]].equals(rows.sort_values(["local_id", "frame"])[["local_id", "frame"]])
    bridged = rows[~rows.detected]
    assert len(bridged)
    assert (bridged.frame % 2 == 1).all(), "the face is found in every frame that is looked at"
    for name in ("score", "landmarks", "embedding", "quality", "thumbnail", *quality.Measures._fields):
        assert bridged[name].isna().all(), f"{name} of a face that was not seen"
    seen = rows[rows.detected]
    assert seen[["score", "quality", "sharpness", "light"]].notna().all().all()
    assert seen.landmarks.map(len).eq(10).all()
    per_window = embedded(rows).groupby(["local_id", (embedded(rows).frame / 6).astype(int)]).size()
    assert per_window.eq(1).all()
    assert len(per_window) == seen.groupby(["local_id", (seen.frame / 6).astype(int)]).ngroups
    best = seen.loc[seen.groupby("local_id").quality.idxmax()]
    assert best.thumbnail.notna().all(), "the picture of a track is its best face"
    assert rows.thumbnail.notna().sum() == rows.local_id.nunique()
    assert all(content[:2] == b"\xff\xd8" for content in best.thumbnail)


@pytest.mark.parametrize("batch", [1, 3, 100])
def test_the_batch_has_no_effect(long_film, models, batch):
    cut = piece.Cut(120, 168, 168)
    frames, shots = decoded(long_film, cut), piece.shots_in(cut, *SHOTS)
    rules = piece.Rules(**{**RULES.__dict__, "batch": batch})
    assert piece.piece_faces(frames, shots, models, rules).equals(piece.piece_faces(frames, shots, models, RULES))


def test_faces_too_small_or_too_weak_are_not_there(long_film, models):
    cut = piece.Cut(120, 168, 168)
    frames, shots = decoded(long_film, cut), piece.shots_in(cut, *SHOTS)
    for change in ({"min_face_px": 1000.0}, {"min_score": 0.99, "low_score": 0.98}):
        assert len(piece.piece_faces(frames, shots, models, piece.Rules(**{**RULES.__dict__, **change}))) == 0


def test_a_piece_without_frames_or_faces(models):
    shots = [piece.Shot(0, 0, 0, 10, True)]
    nothing = piece.piece_faces([], shots, models, RULES)
    assert (len(nothing), nothing.schema) == (0, piece.SCHEMA)
    grey = [Frame(number, np.full((360, 640, 3), 90, np.uint8)) for number in (0, 2, 4, 6, 8, 9)]
    assert piece.piece_faces(grey, shots, models, RULES).equals(piece.SCHEMA.empty_table())


def test_missing_frames_are_bridged(long_film, models):
    cut = piece.Cut(120, 168, 168)
    frames, shots = decoded(long_film, cut), piece.shots_in(cut, *SHOTS)
    rows = piece.piece_faces([f for f in frames if not 130 <= f.number < 140], shots, models, RULES).to_pandas()
    assert rows.local_id.unique().tolist() == [0]
    assert rows.frame.tolist() == list(range(120, 168))
    assert not rows.detected[(rows.frame >= 129) & (rows.frame < 140)].any()


@pytest.mark.parametrize(
    ("size", "most", "lengths"),
    [
        ((10, 10), 8, [8, 8, 4]),
        ((100, 100), 8, [3, 3, 3, 3, 3, 3, 2]),
        ((200, 200), 8, [1] * 20),
        ((10, 10), 100, [20]),
    ],
)
def test_frames_wait_in_batches_of_so_many_bytes(monkeypatch, size, most, lengths):
    monkeypatch.setattr(piece, "BATCH_BYTES", 100_000)
    frames = [video.Frame(number, np.zeros((*size, 3), np.uint8)) for number in range(20)]
    batches = list(piece.batch_frames(iter(frames), most))
    assert [len(batch) for batch in batches] == lengths
    assert [frame.number for batch in batches for frame in batch] == list(range(20))
