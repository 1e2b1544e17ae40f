"""Faces spread over a track, against a plain loop."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from udfs.kernels.train.selection import spread_faces


@given(seed=st.integers(0, 10**6), lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6), n=st.integers(2, 9))
def test_first_last_and_even_steps_between(seed: int, lengths: list[int], n: int) -> None:
    rng = np.random.default_rng(seed)
    track = np.repeat(10 * np.arange(len(lengths)) + 3, lengths)
    frame = np.concatenate([np.sort(rng.permutation(1000)[:length]) for length in lengths])
    faces = rng.normal(size=(len(track), 4)).astype(np.float32) * 3
    order = rng.permutation(len(track))
    tracks, views = spread_faces(track[order], frame[order], faces[order], n)
    assert tracks.tolist() == sorted(set(track.tolist()))
    for number, found in zip(tracks, views, strict=True):
        own = faces[track == number]
        chosen = [own[round(step * (len(own) - 1) / (n - 1))] for step in range(n)]
        np.testing.assert_allclose(found, [face / np.linalg.norm(face) for face in chosen], rtol=1e-6)
    assert views.dtype == np.float32


def test_no_faces_give_no_tracks() -> None:
    tracks, views = spread_faces(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros((0, 5), np.float32), 3)
    assert (tracks.shape, views.shape) == ((0,), (0, 3, 5))
