"""Permutation test and paired bootstrap: against coins tossed one by one, and selections of tracks written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from udfs.kernels.evaluate import scoring
from udfs.kernels.evaluate.significance import bootstrap_v_gain, swap_test, v_measures


def toss(before: np.ndarray, after: np.ndarray, draws: int, seed: int) -> float:
    """The share of draws whose difference is as large as the one found, every track's two verdicts swapped or not."""
    rng, n = np.random.default_rng(seed), 0
    found = abs(int(after.sum()) - int(before.sum()))
    for _ in range(draws):
        swapped = rng.random(len(before)) < 0.5
        one, other = np.where(swapped, after, before), np.where(swapped, before, after)
        n += abs(int(other.sum()) - int(one.sum())) >= found
    return n / draws


@pytest.mark.parametrize("seed", range(4))
def test_it_is_what_swapping_signs_gives(seed):
    rng = np.random.default_rng(seed)
    before, after = (rng.random((2, 80)) < np.array([[0.6], [0.75]])).astype(int)
    gained, lost = ((after > before).sum(), (after < before).sum())
    (p,) = swap_test(np.array([gained]), np.array([lost]))
    assert p == pytest.approx(toss(before, after, 4000, seed), abs=0.03)


@settings(max_examples=60)
@given(st.integers(0, 60), st.integers(0, 60))
def test_it_is_the_exact_binomial_test_up_to_chance(gained, lost):
    (p,) = swap_test(np.array([gained]), np.array([lost]))
    exact = binomtest(gained, gained + lost, 0.5).pvalue if gained + lost else 1.0
    assert p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 10_000) + 2e-4)
    assert 0 < p <= 1
    assert swap_test(np.array([lost]), np.array([gained])) == p, "two-sided"


def test_a_group_is_tested_by_itself():
    every = swap_test(np.array([3, 30, 0]), np.array([9, 10, 0]))
    assert every.tolist() == [swap_test(np.array([a]), np.array([b]))[0] for a, b in ((3, 9), (30, 10), (0, 0))]
    assert every[2] == 1
    assert len(swap_test(np.zeros(0, int), np.zeros(0, int))) == 0


@st.composite
def clusterings(draw):
    """(T,) labels and two clusterings, of which much may be unknown, and B selections of T tracks each."""
    tracks, selections = draw(st.integers(1, 30)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    k, c = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    label = np.unique(rng.integers(0, k, tracks), return_inverse=True)[1]
    before, after = rng.integers(-1, c, (2, tracks))
    return label, before, after, rng.integers(0, tracks, (selections, tracks))


@given(clusterings())
def test_v_of_weights_is_v_of_the_tracks_written_out(case):
    label, cluster, _, picked = case
    weight = np.stack([np.bincount(row, minlength=len(label)) for row in picked])
    found = v_measures(label, cluster, weight)
    assert found == pytest.approx([scoring.score(label[row], cluster[row])["v_measure"] for row in picked], abs=1e-9)


@settings(max_examples=25)
@given(clusterings())
def test_the_interval_is_that_of_selections_made_one_by_one(case):
    label, before, after, _ = case
    gain = bootstrap_v_gain(label, before, after, draws=40, seed=3)
    v = [scoring.score(label, clusters)["v_measure"] for clusters in (before, after)]
    assert gain.value == pytest.approx(v[1] - v[0], abs=1e-9)
    if len(label) < 2:
        assert np.isnan(gain[1:]).all()
        return
    picked = np.random.default_rng(3).integers(0, len(label), (40, len(label)))
    gains = [
        scoring.score(label[row], after[row])["v_measure"] - scoring.score(label[row], before[row])["v_measure"]
        for row in picked
    ]
    assert (gain.low, gain.high) == pytest.approx(np.quantile(gains, [0.025, 0.975]), abs=1e-8)
    assert gain.not_above_0 == np.mean(np.round(gains, 9) <= 0)


def test_a_gain_that_is_there_and_one_that_is_not():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 8, 400)
    worse, better = (np.where(rng.random(400) < wrong, rng.integers(0, 8, 400), true) for wrong in (0.4, 0.2))
    gain = bootstrap_v_gain(true, worse, better)
    assert 0 < gain.low < gain.value < gain.high
    assert gain.not_above_0 == 0
    same = bootstrap_v_gain(true, worse, worse.copy())
    assert same == (0, 0, 0, 1)
    assert bootstrap_v_gain(true, worse, better) == gain, "seeded"


def test_blocks_do_not_change_what_is_drawn(monkeypatch):
    rng = np.random.default_rng(1)
    true, before, after = rng.integers(0, 5, (3, 64))
    whole = bootstrap_v_gain(true, before, after, draws=50)
    monkeypatch.setattr("udfs.kernels.evaluate.significance._AT_ONCE", 64 * 7)
    assert bootstrap_v_gain(true, before, after, draws=50) == whole
