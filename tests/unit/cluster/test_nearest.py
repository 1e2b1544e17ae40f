"""The nearest rows of every row, by all pairs and by cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.kernels.cluster import nearest as module
from udfs.kernels.cluster.nearest import nearest
from udfs.kernels.rows import dot_by_group, sum_by_group

NONE = np.zeros((0, 2), np.int64)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def random_links(rng, tracks, links):
    a, b = rng.integers(0, tracks, size=(2, links))
    return np.column_stack([a, b])[a != b]


def naive(x, k, cannot, among=None):
    apart = {frozenset(pair) for pair in cannot.tolist()}
    x = x.astype(np.float64)
    rows = np.full((len(x), k), -1)
    for i in range(len(x)):
        others = [j for j in range(len(x)) if j != i and frozenset((i, j)) not in apart and (among is None or among[j])]
        found = sorted((round(1 - float(x[i] @ x[j]), 9), j) for j in others)[:k]
        rows[i, : len(found)] = [j for _, j in found]
    return rows


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 8))
def test_equal_to_sorting_all_distances(seed, tracks, k):
    rng = np.random.default_rng(seed)
    x = unit(rng.normal(size=(tracks, 5)) + 0.2)
    x[rng.integers(0, tracks)] = x[0]  # a duplicate
    cannot = random_links(rng, tracks, tracks // 2)
    found = nearest(x, k, cannot)
    assert found.row.tolist() == naive(x, k, cannot).tolist()
    assert ((found.row < 0) == np.isinf(found.distance)).all()


@given(st.integers(0, 10_000), st.integers(1, 40), st.floats(0, 1), st.booleans())
def test_only_some_rows_can_be_neighbours(seed, tracks, share, by_cell):
    rng = np.random.default_rng(seed)
    x, among, cannot = unit(rng.normal(size=(tracks, 5))), rng.random(tracks) < share, random_links(rng, tracks, tracks)
    found = nearest(x, 3, cannot, exact=0 if by_cell else tracks, among=among)
    expected = naive(x, 3, cannot, among)
    assert (found.row >= 0).sum() == (expected >= 0).sum()
    if not by_cell:
        assert found.row.tolist() == expected.tolist()


@given(st.integers(0, 1000))
def test_a_cell_for_all_is_as_good_as_all_pairs(seed):
    rng = np.random.default_rng(seed)
    x = unit(rng.normal(size=(150, 16)))
    cannot = random_links(rng, 150, 40)
    exact, by_cell = nearest(x, 5, cannot), nearest(x, 5, cannot, exact=10)
    np.testing.assert_allclose(by_cell.distance, exact.distance, atol=2e-6)


def test_cells_find_most_neighbours_and_never_a_forbidden_one(monkeypatch):
    monkeypatch.setattr(module, "_CELL", 20)
    monkeypatch.setattr(module, "_PROBED", 12)
    rng = np.random.default_rng(5)
    looks = rng.normal(size=(60, 32))
    x = unit(looks[rng.integers(0, 60, 3000)] + 0.8 * rng.normal(size=(3000, 32)))
    cannot = random_links(rng, 3000, 3000)
    exact, by_cell = nearest(x, 10, cannot), nearest(x, 10, cannot, exact=100)
    recall = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(exact.row, by_cell.row, strict=True)])
    assert recall > 0.9
    pairs = {frozenset(pair) for pair in cannot.tolist()}
    assert not any(frozenset((i, j)) in pairs or i == j for i, row in enumerate(by_cell.row) for j in row)
    assert nearest(x, 10, cannot, exact=100).row.tolist() == by_cell.row.tolist()


def test_no_rows_and_links_outside():
    assert nearest(np.zeros((0, 4), np.float32), 3, NONE).row.shape == (0, 3)
    with pytest.raises(ValueError, match="cannot links rows 0 to 9, but there are 2 rows"):
        nearest(np.eye(2, 4, dtype=np.float32), 1, np.array([[0, 9]]))


@given(st.integers(0, 10_000), st.integers(0, 60), st.integers(1, 9))
def test_sums_by_group_and_products_with_them(seed, tracks, groups):
    rng = np.random.default_rng(seed)
    x, group = rng.normal(size=(tracks, 3)), rng.integers(0, groups, tracks)
    before, module._BLOCK = module._BLOCK, 4
    try:
        sums, products = sum_by_group(x, group, groups), dot_by_group(np.eye(9, 3)[:groups], group, x)
    finally:
        module._BLOCK = before
    np.testing.assert_allclose(sums, [x[group == g].sum(axis=0) for g in range(groups)], atol=1e-12)
    np.testing.assert_allclose(products, (np.eye(9, 3)[group] * x).sum(axis=1), atol=1e-12)
