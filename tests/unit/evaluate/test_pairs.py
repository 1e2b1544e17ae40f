"""Distances of pairs: against every pair looked at by itself."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.kernels.evaluate import pairs
from udfs.kernels.evaluate.pairs import STEPS, measure_pairs
from udfs.kernels.evaluate.verification import verify_tracks


def title(seed: int, tracks: int, dim: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 4, tracks)
    rows = np.eye(4, dim)[true] + 0.5 * rng.normal(size=(tracks, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), true


def distances(rows: np.ndarray, true: np.ndarray) -> tuple[list[float], list[float]]:
    """Of one person, and of two."""
    found: tuple[list[float], list[float]] = [], []
    for a, b in combinations(range(len(rows)), 2):
        x, y = rows[a].astype(float), rows[b].astype(float)
        if np.isfinite(x).all() and np.isfinite(y).all():
            found[int(true[a] != true[b])].append(round(1 - float(x @ y), 9))
    return found


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(0, 30), st.sampled_from([1, 7, 64, 2**22]))
def test_every_pair_is_counted_once_at_its_distance(seed, tracks, block):
    rows, true = title(seed, tracks)
    rows[np.random.default_rng(seed).random(tracks) < 0.1] = np.nan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "_BLOCK", block)
        found = measure_pairs(rows, true)
    for counts, expected in zip((found.same, found.different), distances(rows, true), strict=True):
        steps = np.bincount([max(int(d * STEPS), 0) for d in expected], minlength=2 * STEPS)
        assert counts.tolist() == steps.tolist()
    assert found.tracks == np.isfinite(rows).all(axis=1).sum()


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(3, 60))
def test_the_figures_are_those_of_all_pairs(seed, tracks):
    rows, true = title(seed, tracks)
    found, expected = measure_pairs(rows, true).figures(), verify_tracks(rows, true)
    assert found.keys() == expected.keys()
    one, two = (np.array(d) for d in distances(rows, true))
    # a pair of each kind in one step is a tie here and none there: what that can change at most
    ties = sum(int((np.floor(two * STEPS) == np.floor(d * STEPS)).sum()) for d in one)
    atol = 1e-9 if not ties else 2 * ties / max(min(len(one), len(two)), 1)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=atol, nan_ok=True)


@given(st.integers(0, 10_000), st.integers(2, 40))
def test_medians_and_bins(seed, tracks):
    rows, true = title(seed, tracks)
    found = measure_pairs(rows, true)
    for median, shares, of in zip(found.medians(), found.by_bins(50, 1.0), distances(rows, true), strict=True):
        expected = sorted(of)[(len(of) - 1) // 2] if of else np.nan
        assert median == pytest.approx(expected, abs=1 / STEPS, nan_ok=True)
        inside = np.histogram(of, 50, (0, 1))[0] / max(len(of), 1)
        assert shares == pytest.approx(inside, abs=1.01 / max(len(of), 1))
        assert shares.sum() <= 1 + 1e-9


def test_of_many_tracks_as_many_at_even_steps_stand_for_all(monkeypatch):
    rows, true = title(0, 40)
    monkeypatch.setattr(pairs, "MOST_TRACKS", 10)
    found = measure_pairs(rows, true)
    some = np.linspace(0, 39, 10).astype(int)
    alone = measure_pairs(rows[some], true[some])
    assert (found.tracks, found.of_tracks) == (10, 40)
    assert (alone.tracks, alone.of_tracks) == (10, 10)
    assert found.same.tolist() == alone.same.tolist()
    assert found.same.sum() + found.different.sum() == 45


def test_without_pairs_of_both_kinds_there_is_no_figure():
    for rows, true in ((np.zeros((0, 3), np.float32), []), (np.eye(3), ["a"] * 3), (np.eye(1, 3), ["a"])):
        found = measure_pairs(rows, np.array(true))
        assert np.isnan(list(found.figures().values())).all()
        assert np.isnan(found.medians()[1])
        assert found.by_bins(20)[1].tolist() == [0] * 20
