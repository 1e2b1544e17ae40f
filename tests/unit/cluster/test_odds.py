"""How likely two tracks are one person: fitted to the title, drawn to what is known of the embedding."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.kernels.cluster import odds
from udfs.kernels.cluster.hac import average_linkage_twice
from udfs.kernels.cluster.interface import NO_LINKS, Bounds, Links
from udfs.kernels.cluster.odds import UNMEASURED, Distances, Odds, Spread, fit_odds

NONE = np.zeros((0, 2), np.int64)
KNOWN = Distances(Spread(0.52, 0.16), Spread(0.98, 0.07))


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def title(seed, people=6, tracks=120, dim=256, noise=1.0):
    """Tracks of a few people: unit (T, D) rows, who, and pairs seen together."""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, people, tracks)
    x = unit(unit(rng.normal(size=(people, dim)))[who] + noise * unit(rng.normal(size=(tracks, dim))))
    pairs = np.array([(a, b) for a, b in rng.integers(0, tracks, size=(200, 2)) if who[a] != who[b]])
    return x, who, pairs


def strangers(seed, tracks=40, dim=256):
    return unit(np.random.default_rng(seed).normal(size=(tracks, dim)))


def naive(x, cannot, known, rounds=400):
    """The same fit, pair by pair instead of by histogram."""
    tracks = len(x)
    linked = {tuple(sorted(pair)) for pair in cannot.tolist()}
    pairs = [(a, b) for a in range(tracks) for b in range(a + 1, tracks)]
    distance = {pair: 1 - float(x[pair[0]].astype(float) @ x[pair[1]].astype(float)) for pair in pairs}
    free = np.array([distance[pair] for pair in pairs if pair not in linked])
    apart = np.array([distance[pair] for pair in pairs if pair in linked])
    weight, link_weight = tracks / max(len(free), 1), min(1, 0.25 * tracks / max(len(apart), 1))
    quantiles = (
        np.sort(free)[[int(0.03 * len(free)), min(int(0.6 * len(free)), len(free) - 1)]] if len(free) else (0, 0)
    )
    starts = [(known.same, known.different)]
    if len(free) and quantiles[0] < quantiles[1]:
        starts.append((Spread(float(quantiles[0]), known.same.sd), Spread(float(quantiles[1]), known.different.sd)))
    fits = [naive_fit(free, apart, weight, link_weight, known, *start, rounds) for start in starts]
    return [Odds(*fit) for fit in fits]


def naive_fit(free, apart, weight, link_weight, known, same, different, rounds):
    share = 1 / 11

    def likely(d, share):
        if d <= same.mean:
            return 1.0
        if d >= different.mean:
            return 0.0
        one = share / same.sd * math.exp(-((d - same.mean) ** 2) / (2 * same.sd**2))
        two = (1 - share) / different.sd * math.exp(-((d - different.mean) ** 2) / (2 * different.sd**2))
        return one / (one + two)

    for _ in range(rounds):
        p = np.array([likely(d, share) for d in free])
        q = np.array([1 - likely(d, 0.02) for d in apart])
        weights = (
            (known.same, weight * p, free),
            (known.different, np.append(weight * (1 - p), link_weight * q), np.append(free, apart)),
        )
        spreads = []
        for before, w, d in weights:
            mean = (20 * before.mean + (w * d).sum()) / (20 + w.sum())
            square = 20 * (before.sd**2 + (before.mean - mean) ** 2) + (w * (d - mean) ** 2).sum()
            spreads.append(Spread(mean, math.sqrt(square / (20 + w.sum()))))
        share = (1 + weight * p.sum()) / (11 + weight * len(free))
        same, different = spreads
    return share, same, different


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(2, 25), st.sampled_from([3, 32]), st.integers(0, 12))
def test_equal_to_a_loop_over_pairs(seed, tracks, dim, links):
    x, _, _ = title(seed, people=3, tracks=tracks, dim=dim)
    cannot = np.random.default_rng(seed).integers(0, tracks, size=(links, 2))
    cannot = cannot[cannot[:, 0] != cannot[:, 1]]
    found = fit_odds(x, cannot, KNOWN)

    def off(expected):
        numbers = ((of.share, *of.same, *of.different) for of in (found, expected))
        return np.abs(np.subtract(*numbers)).max()

    assert min(map(off, naive(x, cannot, KNOWN))) < 5e-3  # from one of the two starts


@pytest.mark.parametrize("dim", [64, 256, 512])
@pytest.mark.parametrize("known", [KNOWN, UNMEASURED])
def test_a_cast_that_returns_is_found_with_and_without_links(dim, known):
    x, who, pairs = title(seed=dim, dim=dim)
    truth = np.equal.outer(who, who)[np.triu_indices(len(who), 1)].mean()
    for cannot in (pairs, pairs[:5], NONE):
        found = fit_odds(x, cannot, known)
        assert found.share == pytest.approx(truth, abs=0.04)
        assert found.same.mean == pytest.approx(0.5, abs=0.03)
        assert found.different.mean == pytest.approx(1.0, abs=0.05)
        labels = average_linkage_twice(x, Links(cannot, NONE), Bounds(cut=found.threshold)).labels
        assert (np.equal.outer(labels, labels) == np.equal.outer(who, who)).all()


@pytest.mark.parametrize("tracks", [2, 5, 20, 60, 200])
def test_where_nobody_returns_nobody_is_taken_for_another(tracks):
    for seed in range(5):
        x = strangers(seed, tracks)
        found = fit_odds(x, NONE, KNOWN)
        assert found.share < 1 / 11
        assert found.same.mean == pytest.approx(KNOWN.same.mean, abs=0.02)  # nothing was seen that could move it
        assert average_linkage_twice(x, NO_LINKS, Bounds(cut=found.threshold)).k_found >= 0.99 * tracks


def test_one_person_in_nearly_all_tracks_is_no_reason_to_cut_her_in_pieces():
    x, who, _ = title(3, people=2, tracks=200)
    kept = np.concatenate([np.flatnonzero(who == 0), np.flatnonzero(who == 1)[:12]])
    found = fit_odds(x[kept], NONE, KNOWN)
    assert found.share > 0.7
    assert average_linkage_twice(x[kept], NO_LINKS, Bounds(cut=found.threshold)).k_found == 2


def test_the_fit_follows_an_embedding_whose_distances_are_smaller():
    x, _, pairs = title(1)
    near = unit(x + np.full(x.shape[1], 0.6 / np.sqrt(x.shape[1]), np.float32))  # draws all faces together
    wide, narrow = fit_odds(x, pairs, KNOWN), fit_odds(near, pairs, KNOWN)
    assert narrow.different.mean < wide.different.mean - 0.1
    assert narrow.threshold < wide.threshold


@pytest.mark.parametrize(("tracks", "people"), [(120, 6), (400, 10), (1200, 15)])
@pytest.mark.parametrize("noise", [0.3, 0.7])
def test_an_embedding_that_nobody_has_measured_may_draw_all_faces_together(tracks, people, noise):
    """One person at 0.04 or 0.15, two people at 0.5: far nearer than in any embedding that is known."""
    x, who, _ = title(7, people=people, tracks=tracks, noise=noise)
    near = unit(x + np.full(x.shape[1], 1 / np.sqrt(x.shape[1]), np.float32))
    found = fit_odds(near, NONE, UNMEASURED)
    labels = average_linkage_twice(near, NO_LINKS, Bounds(cut=found.threshold)).labels
    assert (np.equal.outer(labels, labels) == np.equal.outer(who, who)).all()


def test_links_of_one_person_are_not_taken_at_their_word():
    x, who, pairs = title(2)
    alike = np.array([(a, b) for a in range(40) for b in range(a) if who[a] == who[b]])[: len(pairs) // 10]
    clean, with_wrong = fit_odds(x, pairs, KNOWN), fit_odds(x, np.concatenate([pairs, alike]), KNOWN)
    assert with_wrong.different == pytest.approx(clean.different, abs=0.01)


def test_titles_with_almost_no_tracks_have_what_is_known():
    for tracks in (0, 1):
        found = fit_odds(np.eye(tracks, 8, dtype=np.float32), NONE, KNOWN)
        assert (found.same, found.different) == (KNOWN.same, KNOWN.different)
        assert found.share == pytest.approx(1 / 11, abs=1e-6)


@pytest.mark.parametrize(("cosine", "people"), [(0.5, 1), (0.33, 1), (0.2, 2), (-0.2, 2)])
def test_two_tracks_are_judged_by_what_is_known(cosine, people):
    x = np.array([[1, 0], [cosine, math.sqrt(1 - cosine**2)]], np.float32)
    assert average_linkage_twice(x, NO_LINKS, Bounds(cut=fit_odds(x, NONE, KNOWN).threshold)).k_found == people


def test_odds_by_paper_and_pencil():
    found = Odds(0.2, Spread(0.5, 0.2), Spread(0.9, 0.1))
    at = 0.7
    one = 0.2 / 0.2 * math.exp(-((at - 0.5) ** 2) / (2 * 0.2**2))
    two = 0.8 / 0.1 * math.exp(-((at - 0.9) ** 2) / (2 * 0.1**2))
    assert found.log_odds(at) == pytest.approx(math.log(one / two))
    assert found.log_odds(0.1) == found.log_odds(0.5)
    assert found.log_odds(1.4) == found.log_odds(0.9)
    assert found.log_odds(found.threshold) == pytest.approx(0, abs=1e-4)
    assert (np.diff(found.log_odds(np.linspace(0, 2, 200))) <= 0).all()


@pytest.mark.parametrize(("share", "end"), [(1e-9, "same"), (1 - 1e-9, "different")])
def test_where_one_is_always_likelier_the_threshold_is_an_end(share, end):
    found = Odds(share, Spread(0.5, 0.3), Spread(0.6, 0.3))
    assert found.threshold == getattr(found, end).mean


def test_an_adapter_moves_what_is_known():
    moved = KNOWN.shift_by((-0.1, 1.5), (0.05, 2.0))
    assert (*moved.same, *moved.different) == pytest.approx((0.42, 0.24, 1.03, 0.14))


@pytest.mark.parametrize("change", [((-0.5, 0.0), (-0.97, 0.0)), ((0.5, 1.0), (-0.1, 1.0)), ((-0.6, 1.0), (0.0, 1.0))])
def test_an_adapter_that_tells_nobody_apart_moves_nothing(change):
    assert KNOWN.shift_by(*change) == KNOWN


def test_an_adapter_whose_distances_hardly_vary_leaves_numbers_to_count_with():
    x, _, pairs = title(1)
    moved = KNOWN.shift_by((0.0, 0.0), (0.0, 0.0))
    assert moved.same.sd == moved.different.sd == odds.LEAST_SD
    assert np.isfinite(fit_odds(x, pairs, moved).threshold)


@given(st.integers(0, 1000))
def test_the_order_of_rows_and_links_does_not_matter(seed):
    x, _, pairs = title(seed, tracks=20, dim=8)
    order = np.random.default_rng(seed).permutation(len(x))
    there = fit_odds(x[order], np.argsort(order)[pairs][::-1, ::-1], KNOWN)
    assert there == fit_odds(x, np.concatenate([pairs, pairs]), KNOWN)


def test_of_many_rows_some_stand_for_all(monkeypatch):
    x, _, pairs = title(5, tracks=600, people=12)
    whole = fit_odds(x, pairs, KNOWN)
    monkeypatch.setattr(odds, "EXACT", 500)
    monkeypatch.setattr(odds, "SAMPLED", 300)
    found = fit_odds(x, pairs, KNOWN)
    assert found.share == pytest.approx(whole.share, abs=0.02)
    assert (*found.same, *found.different) == pytest.approx((*whole.same, *whole.different), abs=0.02)
