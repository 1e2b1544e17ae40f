"""VideoClusterNet's clustering, where every track brings its own threshold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.kernels.cluster.interface import NO_LINKS, FaceSets, Links
from udfs.kernels.cluster.methods import METHODS
from udfs.kernels.cluster.own_thresholds import match_clusters, measure_spread

NONE = np.zeros((0, 2), np.int64)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def people(seed, tracks=30, who=5, faces=6, dim=32):
    """(T, F, D) faces and (T,) who."""
    rng = np.random.default_rng(seed)
    looks = np.linalg.qr(rng.normal(size=(dim, who)))[0].T
    true = rng.integers(0, who, tracks)
    return unit(looks[true, None] + 0.5 * unit(rng.normal(size=(tracks, faces, dim)))), true


def clustered(faces, cannot=NONE, must=NONE):
    sets = FaceSets(np.array([measure_spread(track) for track in faces]), np.full(len(faces), faces.shape[1]))
    rows = unit(faces.mean(axis=1)).astype(np.float32)
    return METHODS["own_thresholds"].clusterer(sets)(rows, Links(cannot, must)).labels


def naive(faces):
    """Every pair of faces, every pair of clusters; without links."""
    distance = [[np.mean([1 - a @ b for a in one for b in other]) for other in faces] for one in faces]
    own = [np.mean([1 - a @ b for i, a in enumerate(t) for j, b in enumerate(t) if i != j]) for t in faces]
    clusters = [[track] for track in range(len(faces))]
    while True:
        limit = [
            own[c[0]] if len(c) == 1 else np.mean([distance[i][j] for i in c for j in c if i != j]) for c in clusters
        ]
        group = list(range(len(clusters)))
        for a, one in enumerate(clusters):
            for b, other in enumerate(clusters):
                if a < b and np.mean([distance[i][j] for i in one for j in other]) < max(limit[a], limit[b]):
                    group = [group[a] if g == group[b] else g for g in group]
        if len(set(group)) == len(clusters):
            return {frozenset(c) for c in clusters}
        clusters = [
            [track for c, g in zip(clusters, group, strict=True) if g == name for track in c] for name in set(group)
        ]


def partition(labels):
    return {frozenset(np.flatnonzero(labels == name).tolist()) for name in set(labels.tolist())}


@given(st.integers(0, 10_000))
def test_equal_to_comparing_every_pair_of_faces(seed):
    faces, _ = people(seed, tracks=12, faces=4)
    assert partition(clustered(faces)) == naive(faces)


@given(st.integers(0, 10_000), st.integers(2, 8))
def test_within_is_the_mean_of_all_pairs(seed, n):
    faces = unit(np.random.default_rng(seed).normal(size=(n, 5)))
    pairs = [1 - a @ b for i, a in enumerate(faces) for j, b in enumerate(faces) if i != j]
    assert measure_spread(faces) == pytest.approx(np.mean(pairs), abs=1e-10)
    assert np.isnan(measure_spread(faces[:1]))


@given(st.integers(0, 10_000))
def test_the_order_of_the_tracks_does_not_matter(seed):
    faces, _ = people(seed)
    order = np.random.default_rng(seed).permutation(len(faces))
    assert partition(clustered(faces)) == partition(clustered(faces[order])[np.argsort(order)])


def test_people_far_apart_are_found():
    faces, true = people(3, tracks=60)
    assert partition(clustered(faces)) == partition(true)


def test_a_chain_of_matches_is_one_cluster_and_either_threshold_is_enough():
    chain = np.array([[0.0, 0.3, 0.9], [0.3, 0.0, 0.3], [0.9, 0.3, 0.0]])
    assert match_clusters(chain, np.array([0.1, 0.4, 0.1]), NO_LINKS).tolist() == [0, 0, 0]
    pair = np.array([[0.0, 0.3], [0.3, 0.0]])
    assert match_clusters(pair, np.array([0.1, 0.4]), NO_LINKS).tolist() == [0, 0]
    assert match_clusters(pair, np.array([0.1, 0.3]), NO_LINKS).tolist() == [0, 1]


def test_a_cannot_link_breaks_the_chain_where_it_is_longest():
    chain = np.array([[0.0, 0.2, 0.9], [0.2, 0.0, 0.3], [0.9, 0.3, 0.0]])
    assert match_clusters(chain, np.full(3, 0.4), Links(np.array([[0, 2]]), NONE)).tolist() == [0, 0, 2]


def test_single_faces_take_the_others_threshold():
    rows = np.eye(3, 8, dtype=np.float32)[[0, 0, 1]]
    sets = FaceSets(np.array([0.1, np.nan, np.nan]), np.array([4, 1, 1]))
    assert METHODS["own_thresholds"].clusterer(sets)(rows).labels.tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="not known"):
        METHODS["own_thresholds"].clusterer(None)
