"""The cut that a title finds by itself."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.kernels.clustering import average_linkage_twice, find_cut

NONE = np.zeros((0, 2), np.int64)


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def title(seed, people=6, tracks=120, dim=64, noise=0.7):
    """Tracks of a few people: unit (T, D) rows, who, and pairs seen together."""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, people, tracks)
    x = unit(unit(rng.normal(size=(people, dim)))[who] + noise * unit(rng.normal(size=(tracks, dim))))
    pairs = np.array([(a, b) for a, b in rng.integers(0, tracks, size=(200, 2)) if who[a] != who[b]])
    return x, who, pairs


def partition(labels):
    return {frozenset(np.flatnonzero(labels == c).tolist()) for c in set(labels.tolist())}


@pytest.mark.parametrize("dim", [32, 128, 512])
@pytest.mark.parametrize("noise", [0.3, 0.7])
def test_people_well_apart_are_found_in_any_embedding(dim, noise):
    x, who, pairs = title(seed=dim, dim=dim, noise=noise)
    for cannot in (pairs, pairs[:5], NONE):
        cut = find_cut(x, cannot)
        assert cut.near < cut.distance < cut.far
        assert partition(average_linkage_twice(x, cannot, NONE, cut=cut.distance).labels) == partition(who)


@pytest.mark.parametrize("common", [0.5, 1.0])
def test_the_cut_follows_an_embedding_whose_distances_are_smaller(common):
    x, who, pairs = title(seed=1)
    near = unit(x + np.full(x.shape[1], common / np.sqrt(x.shape[1]), np.float32))  # draws all faces together
    wide_cut, cut = find_cut(x, pairs), find_cut(near, pairs)
    assert cut.far < wide_cut.far
    assert cut.distance < wide_cut.distance
    assert partition(average_linkage_twice(near, pairs, NONE, cut=cut.distance).labels) == partition(who)


def test_pairs_count_once():
    x, _, pairs = title(seed=4)
    distinct = {tuple(sorted(pair)) for pair in pairs.tolist()}
    assert find_cut(x, np.concatenate([pairs, pairs[:, ::-1]])).n_negatives == len(distinct)


def test_the_cut_by_paper_and_pencil():
    # 4 tracks at right angles, one cannot-link twice: all pairs 1.0, the pair 1.0, the nearest 1.0
    cut = find_cut(np.eye(4, dtype=np.float32), np.array([[0, 1], [1, 0]]))
    far = (4 * 1.0 + 1 * 1.0 + 10 * 0.9) / 15
    near = (4 * 1.0 + 10 * 0.6) / 14
    assert (cut.far, cut.near) == pytest.approx((far, near), abs=1e-6)
    assert cut.distance == pytest.approx(0.6 * far + 0.4 * near, abs=1e-6)


def test_cannot_links_and_all_pairs_weigh_alike():
    # two bundles of three tracks at right angles, whose only known pairs, all nine, are 0.5 apart
    x = np.repeat(np.eye(2, 3), 3, axis=0)
    x[3:, 0], x[3:, 1] = 0.5, math.sqrt(0.75)
    cannot = np.array([(a, b) for a in range(3) for b in range(3, 6)])
    cut = find_cut(x, cannot)
    assert cut.far == pytest.approx((6 * 0.5 + 6 * 0.5 + 10 * 0.9) / 22, abs=1e-6)
    calm = find_cut(x, cannot[:2])
    assert calm.far == pytest.approx((6 * 0.5 + 2 * 0.5 + 10 * 0.9) / 18, abs=1e-6)


def test_titles_with_almost_no_tracks_have_the_default():
    for tracks in (0, 1):
        cut = find_cut(np.eye(tracks, 8, dtype=np.float32), NONE)
        assert (cut.distance, cut.far, cut.near) == (0.78, 0.9, 0.6)
        assert cut.n_negatives == 0


@pytest.mark.parametrize(("cosine", "people"), [(0.6, 1), (0.4, 1), (0.1, 2), (-0.2, 2)])
def test_two_tracks_are_judged_by_the_default(cosine, people):
    x = np.array([[1, 0], [cosine, math.sqrt(1 - cosine**2)]], np.float32)
    assert average_linkage_twice(x, NONE, NONE, cut=find_cut(x, NONE).distance).k_found == people


@given(st.integers(0, 1000))
def test_the_order_of_the_rows_does_not_matter(seed):
    x, _, pairs = title(seed, tracks=20, dim=8)
    order = np.random.default_rng(seed).permutation(len(x))
    there, here = find_cut(x[order], np.argsort(order)[pairs]), find_cut(x, pairs)
    assert there == pytest.approx(here, abs=2e-6)
    assert 0 < here.near <= here.distance <= here.far
