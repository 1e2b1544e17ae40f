"""Tracks drawn to the tracks that are likely the same person, and links that these doubt."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.kernels.cluster import smoothing
from udfs.kernels.cluster.odds import UNMEASURED, Odds, Spread, fit_odds
from udfs.kernels.cluster.smoothing import find_doubted, smooth_by_neighbours

NONE = np.zeros((0, 2), np.int64)
ODDS = Odds(0.1, Spread(0.5, 0.16), Spread(0.95, 0.08))


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def naive(x, cannot, odds):
    """One row, one neighbour at a time."""
    x = x.astype(np.float64)
    apart = {frozenset(pair) for pair in cannot.tolist()}
    drawn, weights = [], []
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i and frozenset((i, j)) not in apart]
        nearest = sorted((round(1 - float(x[i] @ x[j]), 9), j) for j in others)[:10]
        total, kept, weight = x[i].copy(), [], 0.0
        for distance, j in nearest:
            if any(frozenset((j, nearer)) in apart for nearer in kept):
                continue
            kept.append(j)
            likely = 1 / (1 + math.exp(3.1 - 0.7 * float(odds.log_odds(distance))))
            total += likely * x[j]
            weight += likely
        drawn.append(total / np.linalg.norm(total))
        weights.append(weight)
    return np.array(drawn), np.array(weights)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from([3, 16]), st.sampled_from([4, 1024]))
def test_equal_to_a_loop_over_rows(seed, tracks, dim, block):
    rng = np.random.default_rng(seed)
    x = unit(rng.normal(size=(tracks, dim)) + 1)
    x[rng.integers(0, tracks)] = x[0]  # a duplicate
    cannot = rng.integers(0, tracks, size=(tracks // 2, 2))
    cannot = cannot[cannot[:, 0] != cannot[:, 1]]
    odds = fit_odds(x, cannot, UNMEASURED)
    before, smoothing._BLOCK = smoothing._BLOCK, block
    try:
        found = smooth_by_neighbours(x, cannot, odds)
    finally:
        smoothing._BLOCK = before
    rows, weight = naive(x, cannot, odds)
    assert found.rows.dtype == np.float32
    np.testing.assert_allclose(found.rows, rows, atol=2e-6)
    np.testing.assert_allclose(found.weight, weight, atol=2e-6)


@given(st.integers(0, 10_000))
def test_the_order_of_the_rows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    x, order = unit(rng.normal(size=(30, 8)) + 0.5), rng.permutation(30)
    cannot = np.array([(0, 1), (4, 9)])
    there = smooth_by_neighbours(x[order], np.argsort(order)[cannot], ODDS).rows
    np.testing.assert_allclose(there, smooth_by_neighbours(x, cannot, ODDS).rows[order], atol=1e-6)


def test_a_noisy_track_comes_nearer_to_its_person_and_a_stranger_stays():
    rng = np.random.default_rng(5)
    looks = unit(rng.normal(size=(2, 64)))
    x = unit(np.repeat(looks, [20, 1], axis=0) + 0.11 * rng.normal(size=(21, 64)))
    found = smooth_by_neighbours(x, NONE, ODDS).rows
    assert ((found[:20] @ looks[0]) > (x[:20] @ looks[0])).all()
    assert found[20] @ x[20] > 0.99


def test_nobody_is_drawn_to_whom_a_cannot_link_names():
    x = unit(np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    assert smooth_by_neighbours(x, np.array([[0, 1]]), ODDS).rows[:2] == pytest.approx(x[:2], abs=1e-3)
    assert smooth_by_neighbours(x, NONE, ODDS).rows[0, 1] > 0.04


def test_of_two_people_a_track_is_drawn_to_the_nearer_one():
    x = unit(np.array([[1.0, 0.0], [0.0, 1.0], [0.65, 0.76]]))  # the third looks like both, more like the second
    found = smooth_by_neighbours(x, np.array([[0, 1]]), ODDS).rows
    assert found[2] @ found[1] > found[2] @ found[0]
    assert found[2] @ x[0] < x[2] @ x[0]


@pytest.mark.parametrize("tracks", [0, 1])
def test_without_neighbours_rows_stay(tracks):
    x = np.eye(tracks, 8, dtype=np.float32)
    assert smooth_by_neighbours(x, NONE, ODDS).rows.tolist() == x.tolist()


def test_links_outside_of_the_rows_are_refused():
    with pytest.raises(ValueError, match="there are 2 rows"):
        smooth_by_neighbours(np.eye(2, dtype=np.float32), np.array([[0, 2]]), ODDS)


def two_people(tracks=20, dim=128):
    """The tracks of two people, one after the other: unit rows, who."""
    rng = np.random.default_rng(8)
    who = np.repeat([0, 1], tracks)
    return unit(unit(rng.normal(size=(2, dim)))[who] + 0.9 * unit(rng.normal(size=(2 * tracks, dim)))), who


def test_a_link_inside_one_person_is_doubted_and_those_between_two_are_not():
    x, _ = two_people()
    cannot = np.array([[0, 1], [0, 20], [3, 25], [21, 30], [5, 39]])
    found = find_doubted(x, cannot, fit_odds(x, cannot, UNMEASURED))
    assert found.tolist() == [True, False, False, True, False]


def test_two_alike_whom_nobody_else_knows_are_two():
    x, _ = two_people(tracks=2)
    cannot = np.array([[0, 1]])  # nearly one face, but no third track speaks for it: the frame counts
    x[1] = unit(x[:1] + 0.2 * x[1:2])[0]
    assert not find_doubted(x, cannot, fit_odds(x, cannot, UNMEASURED)).any()


def test_in_a_crowd_of_like_faces_links_are_obeyed():
    rng = np.random.default_rng(3)  # six small dark faces of six people, as like as faces of one person are
    x = unit(unit(rng.normal(size=(1, 128))) + unit(rng.normal(size=(6, 128))))
    cannot = np.array([(a, b) for a in range(6) for b in range(a)])
    assert not find_doubted(x, cannot, fit_odds(x, cannot, UNMEASURED)).any()


def test_without_links_nothing_is_doubted():
    x, _ = two_people()
    assert find_doubted(x, NONE, ODDS).shape == (0,)


@given(st.integers(0, 10_000))
def test_doubts_do_not_depend_on_the_order_of_rows(seed):
    rng = np.random.default_rng(seed)
    x, _ = two_people()
    cannot = rng.integers(0, 40, size=(30, 2))
    cannot = cannot[cannot[:, 0] != cannot[:, 1]]
    order = rng.permutation(40)
    odds = fit_odds(x, cannot, UNMEASURED)
    there = find_doubted(x[order], np.argsort(order)[cannot][:, ::-1], odds)
    assert there.tolist() == find_doubted(x, cannot, odds).tolist()
