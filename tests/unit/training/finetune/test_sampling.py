"""Which faces train, against a walk over each track."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from training.finetune.sampling import sample_faces


def slow_sample(times: list[float], good: list[bool], every_s: float, most: int) -> list[int]:
    rows = [row for row, is_good in enumerate(good) if is_good]
    found: list[int] = []
    for row in rows:
        stretch = [int(np.floor((times[each] - times[rows[0]] + 1e-6) / every_s)) for each in (row, *found[-1:])]
        if len(stretch) == 1 or stretch[0] != stretch[1]:
            found.append(row)
    if len(found) == 1 and rows[-1] != found[0]:
        found.append(rows[-1])
    return found


tracks_of_faces = st.lists(st.lists(st.booleans(), min_size=1, max_size=12), min_size=1, max_size=5)


@given(tracks_of_faces, st.sampled_from([0.25, 0.5, 0.7]), st.integers(0, 99))
def test_the_first_good_face_of_each_stretch(good, every_s, seed):
    random = np.random.default_rng(seed)
    times = [np.cumsum(random.choice([0.25, 0.5], len(each))) for each in good]
    track = np.repeat(np.arange(len(good)), [len(each) for each in good])
    found = sample_faces(track, np.concatenate(times), np.concatenate(good), every_s, most=99)
    for number, (of_track, is_good) in enumerate(zip(times, good, strict=True)):
        expected = slow_sample(of_track.tolist(), is_good, every_s, 99) if any(is_good) else []
        assert np.flatnonzero(found[track == number]).tolist() == expected


def test_frames_0_12_24_of_a_track_of_25_frames_at_24_fps():
    found = sample_faces(np.zeros(25, int), np.arange(25) / 24, np.ones(25, bool), 0.5, 99)
    assert np.flatnonzero(found).tolist() == [0, 12, 24]


def test_too_many_are_spread_over_the_track():
    track, good = np.repeat([0, 1], [21, 3]), np.ones(24, bool)
    times = np.r_[np.arange(21), np.arange(3)].astype(float)
    found = sample_faces(track, times, good, 1.0, most=5)
    assert np.flatnonzero(found).tolist() == [0, 5, 10, 15, 20, 21, 22, 23]


@given(st.integers(2, 12), st.integers(2, 60))
def test_never_more_than_asked_for_and_always_first_and_last(most, n):
    found = np.flatnonzero(sample_faces(np.zeros(n, int), np.arange(n) * 1.0, np.ones(n, bool), 1.0, most))
    assert len(found) == min(most, n)
    assert {found[0], found[-1]} == {0, n - 1}


def test_no_good_face_no_sample():
    assert not sample_faces(np.array([0, 1]), np.zeros(2), np.zeros(2, bool), 0.5, 4).any()
    assert len(sample_faces(np.zeros(0, int), np.zeros(0), np.zeros(0, bool), 0.5, 4)) == 0
