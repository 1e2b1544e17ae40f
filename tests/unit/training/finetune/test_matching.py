"""Coarse matching: copies match, what is far does not, and partners are drawn from matches alone."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.finetune.matching import draw_partners, match_tracks


def crops_of(counts: list[int], spread: float = 0.1, dim: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Crops of tracks whose means lie far apart."""
    random = np.random.default_rng(seed)
    track = np.repeat(np.arange(len(counts)), counts)
    return random.normal(size=(len(counts), dim))[track] * 5 + spread * random.normal(size=(len(track), dim)), track


def slow_match(crops: np.ndarray, track: np.ndarray, n_tracks: int) -> np.ndarray:
    found = np.zeros((n_tracks, n_tracks), bool)
    for i in range(n_tracks):
        own = crops[track == i].astype(np.longdouble)
        if len(own) < 3:
            continue
        mean, variance = own.mean(axis=0), own.var(axis=0)
        variance = 0.5 * variance + 0.5 * variance.mean()

        def density(x, mean=mean, variance=variance):
            return np.exp((-0.5 * ((x - mean) ** 2 / variance + np.log(2 * np.pi * variance))).sum())

        lowest = np.sort([density(x) for x in own])[: -(-len(own) // 4)].mean()
        for j in range(n_tracks):
            if j != i and (track == j).any():
                found[i, j] = density(crops[track == j].astype(np.longdouble).mean(axis=0)) >= lowest
    return found


@given(st.lists(st.integers(0, 9), min_size=2, max_size=7), st.integers(0, 1000), st.sampled_from([0.5, 3.0, 9.0]))
def test_as_a_plain_one_has_it(counts: list[int], seed: int, spread: float) -> None:
    crops, track = crops_of(counts, spread, dim=6, seed=seed)
    np.testing.assert_array_equal(match_tracks(crops, track, len(counts)), slow_match(crops, track, len(counts)))


def test_a_copy_matches_and_a_far_one_never() -> None:
    crops, track = crops_of([9, 9, 9])
    crops[track == 1] = crops[track == 0]
    found = match_tracks(crops, track, 3)
    np.testing.assert_array_equal(found, [[0, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_it_is_directed() -> None:
    """A wide track reaches a narrow one near it, not the other way round."""
    random = np.random.default_rng(0)
    wide, narrow = random.normal(size=(20, 64)), 0.6 + 0.01 * random.normal(size=(20, 64))
    found = match_tracks(np.concatenate([wide, narrow]), np.repeat([0, 1], 20), 2)
    assert (found[0, 1], found[1, 0]) == (True, False)


@pytest.mark.parametrize("spread", [0.0, 1e-9])
def test_three_crops_in_512_directions_give_finite_densities_and_no_warning(spread: float) -> None:
    crops, track = crops_of([3, 3, 3, 2, 1], spread, dim=512)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not match_tracks(crops, track, 5).any()


def test_partners_come_from_a_match_or_from_the_own_track() -> None:
    _, track = crops_of([4, 2, 3, 1])
    order = np.random.default_rng(1).permutation(len(track))
    track = track[order]
    matches = np.zeros((4, 4), bool)
    matches[0, [1, 2]] = True
    matches[3, 0] = True
    drawn = np.array([draw_partners(track, matches, np.random.default_rng(seed)) for seed in range(400)])
    for own, allowed in {0: {1, 2}, 1: {1}, 2: {2}, 3: {0}}.items():
        partners = drawn[:, track == own].ravel()
        assert set(track[partners]) == allowed
        assert set(partners) == set(np.flatnonzero(np.isin(track, list(allowed))))
    share = (track[drawn[:, track == 0]] == 1).mean()
    assert abs(share - 0.5) < 0.05  # tracks are drawn evenly, whatever their length
    np.testing.assert_array_equal(track[draw_partners(track, None, np.random.default_rng(0))], track)
