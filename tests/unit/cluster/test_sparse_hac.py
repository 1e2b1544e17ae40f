"""Average linkage on neighbour graphs, against the same by the matrix of all distances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from udfs.kernels.cluster import hac
from udfs.kernels.cluster import nearest as nearest_module
from udfs.kernels.cluster.characters import Evidence, Rules, find_characters
from udfs.kernels.cluster.hac import average_linkage, average_linkage_twice
from udfs.kernels.cluster.interface import Bounds, Links, join_must_links
from udfs.kernels.cluster.sparse_hac import all_pairs, neighbour_pairs, on_graph

NONE = np.zeros((0, 2), np.int64)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def random_links(rng, tracks, links):
    a, b = rng.integers(0, tracks, size=(2, links))
    return np.column_stack([a, b])[a != b]


def title(seed, tracks=40, dim=8):
    rng = np.random.default_rng(seed)
    looks = rng.normal(size=(6, dim))
    x = unit(looks[rng.integers(0, 6, tracks)] + 0.6 * rng.normal(size=(tracks, dim)))
    return x, random_links(rng, tracks, 12), random_links(rng, tracks, 3)


@given(
    st.integers(0, 10_000), st.sampled_from([0.3, 0.6, 2.0, None]), st.sampled_from([None, (1, 3), (12, 40), (7, 7)])
)
def test_with_all_pairs_it_is_average_linkage(seed, cut, bounds):
    x, cannot, must = title(seed)
    least, most = bounds or (1, len(x))
    exact = average_linkage(x, Links(cannot, must), Bounds(cut=cut, min_k=least, max_k=most))
    found = on_graph(x.astype(np.float64), all_pairs(np.arange(len(x))), Links(cannot, must), np.inf, cut, least, most)
    assert found.labels.tolist() == exact.labels.tolist()
    assert found.k_found == exact.k_found
    np.testing.assert_allclose(found.heights, exact.heights, atol=1e-7)


@given(st.integers(0, 10_000))
def test_all_pairs_of_what_is_left_join_what_no_neighbour_does(seed):
    x, cannot, _ = title(seed)
    found = on_graph(x.astype(np.float64), NONE, Links(cannot, NONE), np.inf, 0.6, 1, len(x))
    assert found.labels.tolist() == average_linkage(x, Links(cannot, NONE), Bounds(cut=0.6)).labels.tolist()


@pytest.mark.parametrize("cluster", [average_linkage, average_linkage_twice])
def test_neighbours_give_what_the_matrix_gives(cluster, monkeypatch):
    x, cannot, must = title(3, tracks=900, dim=64)
    exact = cluster(x, Links(cannot, must), Bounds(cut=0.6))
    monkeypatch.setattr(hac, "EXACT", 100)
    found = cluster(x, Links(cannot, must), Bounds(cut=0.6))
    assert adjusted_rand_score(exact.labels, found.labels) > 0.99
    assert not (found.labels[cannot[:, 0]] == found.labels[cannot[:, 1]]).any()


def test_a_large_title_finds_its_people_whatever_the_path(monkeypatch):
    x, cannot, _ = title(4, tracks=1200, dim=64)
    exact = find_characters(Evidence(x, np.ones(len(x), int), Links(cannot, NONE)), Rules(method="castmine"))
    for module in (hac, nearest_module):
        monkeypatch.setattr(module, "EXACT", 300)
    found = find_characters(Evidence(x, np.ones(len(x), int), Links(cannot, NONE)), Rules(method="castmine"))
    assert adjusted_rand_score(exact.labels, found.labels) > 0.99


def test_neighbours_are_pairs_once_they_exist():
    x, cannot, _ = title(5, tracks=10)
    pairs = neighbour_pairs(x, cannot)
    forbidden = {frozenset(pair) for pair in cannot.tolist()}
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert not any(frozenset(pair) in forbidden for pair in pairs.tolist())


@given(st.integers(0, 10_000))
def test_must_links_are_followed_in_order_and_never_across_a_cannot_link(seed):
    rng = np.random.default_rng(seed)
    cannot, must = random_links(rng, 12, 6), random_links(rng, 12, 10)
    groups = [{row} for row in range(12)]
    for a, b in must.tolist():
        one, other = (next(g for g in groups if row in g) for row in (a, b))
        if one is not other and not any(len({i, j} & one) == len({i, j} & other) == 1 for i, j in cannot.tolist()):
            groups = [g for g in groups if g is not one and g is not other] + [one | other]
    assert join_must_links(12, Links(cannot, must)).tolist() == [
        min(next(g for g in groups if row in g)) for row in range(12)
    ]
