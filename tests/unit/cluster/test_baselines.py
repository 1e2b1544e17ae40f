"""k-means, affinity propagation, DBSCAN, HDBSCAN and FINCH, and every method's promises."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import AffinityPropagation, AgglomerativeClustering, KMeans
from sklearn.exceptions import ConvergenceWarning

from tests.helpers.faces_of import faces_of
from udfs.kernels.cluster.baselines import _first_neighbours, affinity_propagation, finch, k_means, mend_clusters
from udfs.kernels.cluster.characters import Evidence, Rules, find_characters
from udfs.kernels.cluster.interface import NO_LINKS, Bounds, Links
from udfs.kernels.cluster.methods import METHODS

NONE = np.zeros((0, 2), np.int64)
every = pytest.mark.parametrize("name", METHODS)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def clusterer(name):
    """It, with tracks of five faces that lie 0.2 apart where it goes by faces."""

    def cluster(x, *links, **rules):
        return METHODS[name].clusterer(faces_of(name, x, 0.2, 5))(x, Links(*links), Bounds(**rules))

    return cluster


def number(name, k):
    return {} if METHODS[name].number == "found" else {"exact_k": k}


def random_links(rng, tracks, links):
    a, b = rng.integers(0, tracks, size=(2, links))
    return np.column_stack([a, b])[a != b]


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_no_cannot_link_is_violated_and_must_links_hold_where_they_may(name, seed):
    rng = np.random.default_rng(seed)
    tracks = int(rng.integers(2, 25))
    x = unit(rng.normal(size=(tracks, 4)) + 0.5)
    apart, together = random_links(rng, tracks, 12), random_links(rng, tracks, 1)
    found = clusterer(name)(x, apart, together, cut=0.5, **number(name, 3))
    labels = found.labels
    known = (labels[apart[:, 0]] >= 0) & (labels[apart[:, 1]] >= 0)
    assert not (labels[apart[known, 0]] == labels[apart[known, 1]]).any()
    forbidden = {frozenset(pair) for pair in apart.tolist()}
    for a, b in together.tolist():
        assert labels[a] == labels[b] or frozenset((a, b)) in forbidden
    assert found.k_found == len(set(labels.tolist()) - {-1})
    assert (labels.shape, labels.dtype) == ((tracks,), np.int32)


@every
@pytest.mark.parametrize("tracks", [0, 1, 2])
def test_titles_with_almost_no_tracks(name, tracks):
    found = clusterer(name)(np.eye(tracks, 8, dtype=np.float32), NONE, NONE, cut=0.5, **number(name, 1))
    assert len(found.labels) == tracks
    assert found.k_found <= max(tracks, 0)


@every
def test_duplicates_and_one_person(name):
    x = unit(np.tile(np.eye(1, 8), (6, 1)))
    found = clusterer(name)(x, NONE, NONE, cut=0.5, **number(name, 1))
    assert found.labels.tolist() == [0] * 6


@every
def test_not_a_number_is_refused(name):
    x = np.eye(4, dtype=np.float32)
    x[2, 1] = np.nan
    with pytest.raises(ValueError, match="row 2"):
        clusterer(name)(x, NONE, NONE, cut=0.5, **number(name, 2))


@pytest.mark.parametrize("name", ["finch", "dbscan", "hdbscan", "k_means"])
def test_the_order_of_the_rows_does_not_matter(name):
    rng = np.random.default_rng(11)
    x = unit(np.repeat(np.eye(4, 16), 8, axis=0) + 0.1 * rng.normal(size=(32, 16)))
    order = rng.permutation(32)
    labels = clusterer(name)(x, NONE, NONE, **number(name, 4)).labels
    again = clusterer(name)(x[order], NONE, NONE, **number(name, 4)).labels[np.argsort(order)]
    assert len(set(zip(labels.tolist(), again.tolist(), strict=True))) == len(set(labels.tolist()))


@every
def test_two_separated_blobs_come_back(name):
    rng = np.random.default_rng(3)
    x = unit(np.repeat(np.eye(2, 16), 20, axis=0) + 0.05 * rng.normal(size=(40, 16)))
    found = clusterer(name)(x, NONE, NONE, cut=0.5, **number(name, 2)).labels
    if name == "dbscan":  # it leaves the outermost as noise, and may fall apart, but never mixes
        known = found >= 0
        assert known.sum() >= 30
        assert (
            len(set(zip(found[known].tolist(), np.repeat([0, 1], 20)[known].tolist(), strict=True))) == found.max() + 1
        )
    else:
        assert found.tolist() == [0] * 20 + [1] * 20


def test_a_thousand_people():
    rng = np.random.default_rng(2)
    looks = unit(rng.normal(size=(1000, 128)))
    x = unit(np.repeat(looks, 2, axis=0) + 0.01 * rng.normal(size=(2000, 128)))
    found = clusterer("castmine")(x, NONE, NONE, cut=0.5)
    assert found.labels.tolist() == np.repeat(np.arange(1000), 2).tolist()
    assert finch(x, NO_LINKS, Bounds(exact_k=1000)).k_found == 1000


def test_the_same_seed_gives_the_same_k_means():
    x = unit(np.random.default_rng(4).normal(size=(40, 6)))
    first = k_means(x, NO_LINKS, Bounds(exact_k=5)).labels
    assert first.tolist() == k_means(x, NO_LINKS, Bounds(exact_k=5)).labels.tolist()
    assert set(first.tolist()) == set(range(5))


def polygon(corners):
    angle = 2 * np.pi * np.arange(corners) / corners
    return np.column_stack([np.cos(angle), np.sin(angle)])


@pytest.mark.parametrize("corners", [8, 11])
def test_affinity_propagation_that_does_not_settle_is_damped_more(corners):
    x = polygon(corners)
    similarity = 2 * x @ x.T - 2
    once = AffinityPropagation(
        affinity="precomputed", preference=np.median(similarity[~np.eye(corners, dtype=bool)]), damping=0.5,
        max_iter=400, random_state=7,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        assert once.fit(similarity).n_iter_ == 400
        again = once.set_params(damping=0.9).fit(similarity)
    assert again.n_iter_ < 400
    found = affinity_propagation(x)
    assert len(set(zip(found.labels.tolist(), again.labels_.tolist(), strict=True))) == found.k_found > 1


def test_affinity_propagation_that_never_settles_has_no_result():
    found = affinity_propagation(polygon(5))
    assert (found.labels.tolist(), found.k_found) == ([-1] * 5, 0)


@pytest.mark.parametrize("seed", range(3))
def test_without_links_k_means_and_ward_are_scikit_learns(seed):
    x = unit(np.random.default_rng(seed).normal(size=(60, 8)) + 0.4)
    for name, theirs in {
        "k_means": KMeans(6, n_init=20, random_state=7), "hac_ward": AgglomerativeClustering(6, linkage="ward")
    }.items():  # fmt: skip
        ours = find_characters(
            Evidence(x, np.ones(60, np.int64), Links(np.array([[0, 1], [2, 3]]), np.array([[0, 5]]))),
            Rules(method=name, bounds=Bounds(exact_k=6), links=False),
        )
        expected = theirs.fit_predict(x.astype(np.float64))
        assert len(set(zip(ours.labels.tolist(), expected.tolist(), strict=True))) == 6
        assert not ours.doubted.any()
        assert ours.doubted.shape == (2,)


@given(st.integers(0, 10_000))
def test_finchs_first_level_is_the_graph_of_first_neighbours(seed):
    x = unit(np.random.default_rng(seed).normal(size=(20, 5))).astype(float)
    first = [max((j for j in range(20) if j != i), key=lambda j: (round(float(x[i] @ x[j]), 9), -j)) for i in range(20)]
    linked = [{j for j in range(20) if first[i] == j or first[j] == i or first[i] == first[j]} | {i} for i in range(20)]
    components = [{i} for i in range(20)]
    for i in range(20):
        reached = set().union(*(c for c in components if c & linked[i]))
        components = [c for c in components if not c & linked[i]] + [reached | linked[i]]
    found = _first_neighbours(x, np.zeros((20, 20), bool))
    assert {frozenset(np.flatnonzero(found == c).tolist()) for c in set(found.tolist())} == set(
        map(frozenset, components)
    )


@pytest.mark.parametrize("bounds", [{"exact_k": 3}, {"min_k": 5}, {"max_k": 2}, {"exact_k": 12}])
def test_finch_obeys_the_bounds(bounds):
    x = unit(np.random.default_rng(9).normal(size=(12, 4)))
    k = finch(x, NO_LINKS, Bounds(**bounds)).k_found
    assert bounds.get("exact_k", bounds.get("min_k", 1)) <= k <= bounds.get("exact_k", bounds.get("max_k", 12))


def test_of_a_forbidden_pair_the_nearer_one_stays():
    rows = unit(np.array([[1, 0, 0], [1, 0.1, 0], [1, 0.9, 0], [0, 1, 0], [0, 1, 0.1]])).astype(float)
    linked = np.zeros((5, 5), bool)
    linked[1, 2] = linked[2, 1] = True
    assert mend_clusters(rows, np.array([0, 0, 0, 1, 1]), linked).tolist() == [0, 0, 1, 1, 1]
    linked[2, [3, 4]] = linked[[3, 4], 2] = True  # nowhere left but a new one
    assert mend_clusters(rows, np.array([0, 0, 0, 1, 1]), linked).tolist() == [0, 0, 2, 1, 1]


@pytest.mark.parametrize("name", METHODS)
def test_what_a_method_needs_is_said(name):
    method = METHODS[name]
    if method.number == "given":
        with pytest.raises(ValueError, match="give it"):
            method.check(name, Bounds())
        method.check(name, Bounds(cut=0.4))
    if method.number == "found":
        with pytest.raises(ValueError, match="by itself"):
            method.check(name, Bounds(max_k=3))
    else:
        method.check(name, Bounds(exact_k=3))
