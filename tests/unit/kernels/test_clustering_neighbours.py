"""Tracks drawn to the tracks that are likely the same person."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.kernels.clustering import drawn_to_neighbours, find_cut, neighbours
from udfs.kernels.clustering.cut import Cut

NONE = np.zeros((0, 2), np.int64)
CUT = Cut(distance=0.78, far=0.9, near=0.6, n_negatives=0)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def naive(x, cannot, cut):
    """One row, one neighbour at a time."""
    x = x.astype(np.float64)
    apart = {frozenset(pair) for pair in cannot.tolist()}
    drawn = []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i and frozenset((i, j)) not in apart]
        nearest = sorted((round(1 - float(x[i] @ x[j]), 9), j) for j in others)[:10]
        even = cut.near + 0.2 * (cut.far - cut.near)
        total, kept = x[i].copy(), []
        for distance, j in nearest:
            if any(frozenset((j, nearer)) in apart for nearer in kept):
                continue
            kept.append(j)
            total += x[j] / (1 + math.exp(-12 * (even - distance) / max(cut.far - cut.near, 1e-3)))
        drawn.append(total / np.linalg.norm(total))
    return np.array(drawn)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from([3, 16]), st.sampled_from([4, 1024]))
def test_equal_to_a_loop_over_rows(seed, tracks, dim, block):
    rng = np.random.default_rng(seed)
    x = unit(rng.normal(size=(tracks, dim)) + 1)
    x[rng.integers(0, tracks)] = x[0]  # a duplicate
    cannot = rng.integers(0, tracks, size=(tracks // 2, 2))
    cannot = cannot[cannot[:, 0] != cannot[:, 1]]
    cut = find_cut(x, cannot)
    before, neighbours._BLOCK = neighbours._BLOCK, block
    try:
        found = drawn_to_neighbours(x, cannot, cut)
    finally:
        neighbours._BLOCK = before
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, naive(x, cannot, cut), atol=2e-6)


@given(st.integers(0, 10_000))
def test_the_order_of_the_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    x, order = unit(rng.normal(size=(30, 8)) + 0.5), rng.permutation(30)
    cannot = np.array([(0, 1), (4, 9)])
    there = drawn_to_neighbours(x[order], np.argsort(order)[cannot], CUT)
    np.testing.assert_allclose(there, drawn_to_neighbours(x, cannot, CUT)[order], atol=1e-6)


def test_a_noisy_track_comes_nearer_to_its_person_and_a_stranger_stays():
    rng = np.random.default_rng(5)
    looks = unit(rng.normal(size=(2, 64)))
    x = unit(np.repeat(looks, [20, 1], axis=0) + 0.11 * rng.normal(size=(21, 64)))
    found = drawn_to_neighbours(x, NONE, CUT)
    assert ((found[:20] @ looks[0]) > (x[:20] @ looks[0])).all()
    assert found[20] @ x[20] > 0.99


def test_nobody_is_drawn_to_whom_a_cannot_link_names():
    x = unit(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    assert drawn_to_neighbours(x, np.array([[0, 1]]), CUT)[:2] == pytest.approx(x[:2], abs=1e-3)
    assert drawn_to_neighbours(x, NONE, CUT)[0, 1] > 0.04


def test_of_two_people_a_track_is_drawn_to_the_nearer_one():
    x = unit(np.array([[1.0, 0.0], [0.0, 1.0], [0.65, 0.76]]))  # the third looks like both, more like the second
    found = drawn_to_neighbours(x, np.array([[0, 1]]), CUT)
    assert found[2] @ found[1] > found[2] @ found[0]
    assert found[2] @ x[0] < x[2] @ x[0]


@pytest.mark.parametrize("tracks", [0, 1])
def test_without_neighbours_rows_stay(tracks):
    x = np.eye(tracks, 8, dtype=np.float32)
    assert drawn_to_neighbours(x, NONE, CUT).tolist() == x.tolist()


def test_links_outside_of_the_rows_are_refused():
    with pytest.raises(ValueError, match="there are 2 rows"):
        drawn_to_neighbours(np.eye(2, dtype=np.float32), np.array([[0, 2]]), CUT)
