"""Constrained linkage against scipy, a naive form, and its promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from udfs.kernels.cluster.hac import average_linkage, average_linkage_twice, complete_linkage, ward_linkage
from udfs.kernels.cluster.interface import NO_LINKS, Bounds, Links, in_order_of_appearance

NONE = np.zeros((0, 2), np.int64)
both = pytest.mark.parametrize("method", [average_linkage, average_linkage_twice])
every = pytest.mark.parametrize("method", [average_linkage, average_linkage_twice, complete_linkage, ward_linkage])


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def random_tracks(seed, tracks=None, dim=4):
    rng = np.random.default_rng(seed)
    tracks = int(rng.integers(2, 30)) if tracks is None else tracks
    return unit(rng.normal(size=(tracks, dim)) + rng.integers(0, 2) * 0.7)


def random_links(seed, tracks, links):
    a, b = np.random.default_rng(seed + 1000).integers(0, tracks, size=(2, links))
    return np.column_stack([a, b])[a != b]


def naive(x, cannot, must, cut, least, greatest):
    """Every pair of clusters looked at before every merge, one pair of rows at a time."""
    clusters = [[i] for i in range(len(x))]
    forbidden = {frozenset(pair) for pair in cannot.tolist()}

    def mean_distance(a, b):
        return sum(1 - float(x[i].astype(float) @ x[j].astype(float)) for i in a for j in b) / (len(a) * len(b))

    def allowed(a, b):
        return not any(frozenset((i, j)) in forbidden for i in a for j in b)

    def merge(a, b):
        clusters.remove(a)
        clusters.remove(b)
        clusters.append(sorted(a + b))
        clusters.sort()

    for i, j in must.tolist():
        a, b = (next(c for c in clusters if row in c) for row in (i, j))
        if a != b and allowed(a, b):
            merge(a, b)
    while len(clusters) > least:
        pairs = [(a, b) for n, a in enumerate(clusters) for b in clusters[n + 1 :] if allowed(a, b)]
        if not pairs:
            break
        a, b = min(pairs, key=lambda pair: round(mean_distance(*pair), 7))
        if mean_distance(a, b) > cut and len(clusters) <= greatest:
            break
        merge(a, b)
    return {frozenset(c) for c in clusters}


def partition(labels):
    return {frozenset(np.flatnonzero(labels == c).tolist()) for c in set(labels.tolist())}


@given(st.integers(0, 10_000), st.floats(0.1, 1.5))
def test_without_links_it_is_scipys_average_linkage(seed, cut):
    x = random_tracks(seed)
    tree = linkage(pdist(x.astype(float), "cosine"), "average")
    found = average_linkage(x)
    assert found.heights == pytest.approx(tree[:, 2], abs=1e-6)
    expected = fcluster(tree, cut, "distance")
    at_cut = average_linkage(x, NO_LINKS, Bounds(cut=cut))
    assert partition(at_cut.labels) == partition(expected)
    for k in {1, 2, len(x)}:
        exactly = average_linkage(x, NO_LINKS, Bounds(cut=cut, exact_k=k))
        assert partition(exactly.labels) == partition(fcluster(tree, k, "maxclust"))


@given(st.integers(0, 10_000), st.integers(0, 25), st.integers(0, 6), st.floats(0.2, 1.4), st.integers(1, 4))
def test_it_is_the_naive_form(seed, cannot, must, cut, least):
    x = random_tracks(seed, tracks=12)
    apart, together = random_links(seed, 12, cannot), random_links(seed + 1, 12, must)
    found = average_linkage(x, Links(apart, together), Bounds(cut=cut, min_k=least, max_k=least + 4))
    assert partition(found.labels) == naive(x, apart, together, cut, least, least + 4)
    assert found.k_found == len(set(found.labels.tolist()))


@every
@given(seed=st.integers(0, 10_000), links=st.integers(0, 60), cut=st.floats(0, 2))
def test_no_cannot_link_is_ever_broken(method, seed, links, cut):
    x = random_tracks(seed)
    apart = random_links(seed, len(x), links)
    together = random_links(seed + 1, len(x), links)
    for bounds in ({"cut": cut}, {"exact_k": 1}, {"cut": cut, "min_k": 2, "max_k": 3}):
        labels = method(x, Links(apart, together), Bounds(**bounds)).labels
        assert not (labels[apart[:, 0]] == labels[apart[:, 1]]).any()


@every
@given(seed=st.integers(0, 10_000), cut=st.floats(0.2, 1.4))
def test_the_order_of_the_rows_does_not_matter(method, seed, cut):
    x = random_tracks(seed)
    apart, together = random_links(seed, len(x), 10), random_links(seed + 1, len(x), 3)
    labels = method(x, Links(apart, together), Bounds(cut=cut)).labels
    order = np.random.default_rng(seed).permutation(len(x))
    where = np.argsort(order)
    again = method(x[order], Links(where[apart], where[together]), Bounds(cut=cut)).labels
    assert partition(again[where]) == partition(labels)


@every
def test_two_separated_blobs_come_back(method):
    rng = np.random.default_rng(3)
    x = unit(np.repeat(np.eye(2, 16), 20, axis=0) + 0.05 * rng.normal(size=(40, 16)))
    for bounds in ({"cut": 0.5}, {"exact_k": 2}):
        found = method(x, NO_LINKS, Bounds(**bounds))
        assert found.labels.tolist() == [0] * 20 + [1] * 20
        assert found.labels.dtype == np.int32


@every
@pytest.mark.parametrize(
    ("tracks", "bounds", "labels"),
    [
        (0, {}, []),
        (0, {"exact_k": 2}, []),
        (1, {}, [0]),
        (1, {"exact_k": 3}, [0]),  # one track cannot make three characters; k_found says 1
        (1, {"min_k": 2, "max_k": 5}, [0]),
        (2, {}, [0, 1]),
        (2, {"exact_k": 1}, [0, 0]),
        (2, {"exact_k": 2}, [0, 1]),
        (2, {"max_k": 1}, [0, 0]),
    ],
)
def test_titles_with_almost_no_tracks(method, tracks, bounds, labels):
    found = method(np.eye(tracks, 8, dtype=np.float32), NO_LINKS, Bounds(cut=0.5, **bounds))
    assert (found.labels.tolist(), found.k_found) == (labels, len(set(labels)))


@both
def test_the_bounds_go_before_the_cut(method):
    x = unit(np.array([[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.1]]))
    assert method(x, NO_LINKS, Bounds(cut=0.1)).labels.tolist() == [0, 0, 1, 1]
    assert method(x, NO_LINKS, Bounds(cut=0.1, min_k=3)).k_found == 3
    assert method(x, NO_LINKS, Bounds(cut=0.1, max_k=1)).k_found == 1
    assert method(x, NO_LINKS, Bounds(cut=0.1, min_k=1, max_k=3)).k_found == 2
    assert method(x).k_found == 1


@both
def test_links_that_forbid_k_are_told_by_k_found(method):
    x = unit(np.ones((4, 3)))
    apart = np.array([[0, 1], [1, 2], [2, 0], [0, 0 + 1], [1, 0]])
    found = method(x, Links(apart, NONE), Bounds(exact_k=2))
    assert found.k_found == 3
    assert found.labels.tolist() == [0, 1, 2, 0]  # the fourth, as near to all, goes to the first


@both
def test_must_links_merge_first_and_give_way_to_cannot_links(method):
    x = np.eye(4, dtype=np.float32)
    chain = np.array([[0, 1], [1, 2], [2, 3]])
    assert method(x, Links(NONE, chain), Bounds(cut=0.5)).labels.tolist() == [0, 0, 0, 0]
    assert method(x, Links(np.array([[0, 2]]), chain), Bounds(cut=0.5)).labels.tolist() == [0, 0, 1, 1]
    assert len(method(x, Links(NONE, chain), Bounds(cut=0.5)).heights) == 0


def test_a_misplaced_track_does_not_keep_a_character_in_two():
    # one person from two sides, twelve rows each; the last row is someone else who looks like the second side and was
    # seen together with row 0
    x = unit(np.array([[1, 0, 0]] * 12 + [[1, 1, 0]] * 12 + [[1, 1, 0.3]], dtype=float))
    apart = np.array([[0, 24]])
    assert average_linkage(x, Links(apart, NONE), Bounds(cut=0.5)).labels.tolist() == [0] * 12 + [1] * 13
    assert average_linkage_twice(x, Links(apart, NONE), Bounds(cut=0.5)).labels.tolist() == [0] * 24 + [1]


def test_what_must_links_brought_together_is_compared_anew():
    # rows 0-1 and 2-3 are linked; 1 and 3 are one point, all else is at right angles but for 4 and 5: the two pairs
    # lie 0.75 apart, nearer than 4 and 5, though neither 0 nor 2 had anything so near
    x = np.zeros((6, 6), np.float32)
    x[[0, 1, 2, 3, 4], [0, 1, 2, 1, 3]] = 1
    x[5, 3:5] = 0.1, np.sqrt(1 - 0.1**2)
    found = average_linkage(x, Links(NONE, np.array([[0, 1], [2, 3]])), Bounds(exact_k=3))
    assert found.labels.tolist() == [0, 0, 0, 0, 1, 2]
    assert found.heights == pytest.approx([0.75])


@both
def test_duplicates_merge_at_no_distance(method):
    x = np.repeat(unit(np.eye(3)), [3, 1, 2], axis=0)
    found = method(x, NO_LINKS, Bounds(cut=0.0))
    assert found.labels.tolist() == [0, 0, 0, 1, 2, 2]


@given(st.integers(0, 10_000), st.sampled_from([(complete_linkage, "complete"), (ward_linkage, "ward")]))
def test_without_links_the_others_are_scipys(seed, which):
    (method, name), x = which, random_tracks(seed, dim=6)
    euclidean = x.astype(float) / np.linalg.norm(x.astype(float), axis=1, keepdims=True)
    distance = pdist(euclidean, "cosine") if name == "complete" else euclidean
    tree = linkage(distance, name)
    assert method(x).heights == pytest.approx(tree[:, 2], abs=1e-5)
    for k in {1, 2, len(x) // 2 + 1}:
        assert partition(method(x, NO_LINKS, Bounds(exact_k=k)).labels) == partition(fcluster(tree, k, "maxclust"))


@given(st.integers(0, 10_000))
def test_complete_linkage_with_links_is_the_naive_form(seed):
    x = random_tracks(seed, tracks=10)
    apart, together = random_links(seed, 10, 6), random_links(seed + 1, 10, 2)
    found = complete_linkage(x, Links(apart, together), Bounds(cut=0.8))
    for cluster in partition(found.labels):
        rows = sorted(cluster)
        linked = {frozenset(pair) for pair in together.tolist()}
        wide = [(i, j) for i in rows for j in rows if i < j and 1 - float(x[i] @ x[j]) > 0.8 + 1e-5]
        assert not wide or any(pair <= cluster for pair in linked)  # only a must-link makes a wider one


@given(st.integers(0, 10_000))
def test_ward_after_must_links_merges_where_the_squares_grow_least(seed):
    x = random_tracks(seed, tracks=9).astype(float)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    together = random_links(seed, 9, 3)
    clusters = [set(c) for c in partition(average_linkage(x, Links(NONE, together), Bounds(cut=-1.0)).labels)]

    def squares(rows):
        mine = x[sorted(rows)]
        return ((mine - mine.mean(axis=0)) ** 2).sum()

    while len(clusters) > 3:
        pairs = [(a, b) for n, a in enumerate(clusters) for b in clusters[n + 1 :]]
        a, b = min(pairs, key=lambda pair: squares(pair[0] | pair[1]) - squares(pair[0]) - squares(pair[1]))
        clusters = [c for c in clusters if c not in (a, b)] + [a | b]
    found = ward_linkage(x, Links(NONE, together), Bounds(exact_k=3))
    assert partition(found.labels) == {frozenset(c) for c in clusters} or len(clusters) < 3


@given(st.integers(0, 10_000))
def test_ties_go_to_the_first_rows(seed):
    rng = np.random.default_rng(seed)
    x = rng.choice([-0.5, 0.5], size=(9, 4))  # distances 0, 0.5, ... 2,
    x = x @ np.linalg.qr(rng.normal(size=(4, 4)))[0]  # and turned, so that they are equal only up to rounding
    apart = random_links(seed, 9, 6)
    for k in (2, 4):
        found = average_linkage(x, Links(apart, NONE), Bounds(exact_k=k))
        assert partition(found.labels) == naive(x, apart, NONE, 0.0, k, k)


@both
def test_the_arguments_are_left_as_they_were(method):
    x, apart, together = random_tracks(5, 10), np.array([[0, 1], [2, 3]]), np.array([[4, 5]])
    before = x.copy(), apart.copy(), together.copy()
    method(x, Links(apart, together), Bounds(cut=0.7))
    for now, then in zip((x, apart, together), before, strict=True):
        assert np.array_equal(now, then)


@both
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(method, bad):
    x = random_tracks(1, 4)
    x[2, 1] = bad
    with pytest.raises(ValueError, match="row 2"):
        method(x, NO_LINKS, Bounds(cut=0.5))


@both
@pytest.mark.parametrize(
    "bounds",
    [{"exact_k": 0}, {"min_k": 3, "max_k": 2}, {"exact_k": 2, "min_k": 3}, {"exact_k": 4, "max_k": 3}, {"max_k": -1}],
)
def test_clashing_bounds_are_refused(method, bounds):
    with pytest.raises(ValueError, match=r"number of clusters"):
        method(random_tracks(1, 5), NO_LINKS, Bounds(**bounds))


@both
@pytest.mark.parametrize(
    ("apart", "together", "message"),
    [([[0, 4]], [], "cannot links"), ([], [[-1, 2]], "must links"), ([[1, 1]], [], "itself")],
)
def test_wrong_links_are_refused(method, apart, together, message):
    with pytest.raises(ValueError, match=message):
        method(random_tracks(1, 4), Links(np.array(apart, int), np.array(together, int)))


def test_embeddings_must_be_a_table():
    with pytest.raises(ValueError, match=r"\(T, D\)"):
        average_linkage(np.zeros(3, np.float32))


def test_bounds_are_clamped_to_the_tracks():
    assert Bounds().of(0) == (0, 0)
    assert Bounds().of(5) == (1, 5)
    assert Bounds(exact_k=9).of(5) == (5, 5)
    assert Bounds(min_k=2, max_k=9).of(5) == (2, 5)
    assert Bounds(exact_k=3, min_k=2, max_k=4).of(5) == (3, 3)


def test_labels_are_numbered_as_they_appear():
    assert in_order_of_appearance(np.array([7, 3, 7, 9])).tolist() == [0, 1, 0, 2]
    assert in_order_of_appearance(np.zeros(0, int)).tolist() == []
