"""Held-out verification against pairs counted one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.verification import verify


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def slow_auc(higher: list[float], lower: list[float]) -> float:
    won = sum(1.0 if h > x else 0.5 if h == x else 0.0 for h in higher for x in lower)
    return won / (len(higher) * len(lower))


def example(seed: int, n: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return unit(rng.normal(size=(n, 3, 5))), unit(rng.normal(size=(n, 5))), rng.random(n) < 0.6, np.arange(n) // 11


@pytest.mark.parametrize("seed", range(5))
def test_equals_pairs_counted_one_by_one(seed: int) -> None:
    views, negative, has, title = example(seed)
    n = len(views)
    positives = [float(views[i, 0] @ views[i, m]) for i in range(n) for m in (1, 2)]
    negatives = [float(views[i, 0] @ negative[i]) for i in range(n) if has[i]]
    pairs = [float(views[i, 0] @ views[j, 0]) for i in range(n) for j in range(i) if title[i] == title[j]]
    close = sorted(pairs)[-math.ceil(0.15 * len(pairs)) :]
    found = verify(views, negative, has, title)
    assert found.auc == pytest.approx(slow_auc(positives, negatives), abs=1e-12)
    assert found.close_auc == pytest.approx(slow_auc(close, negatives), abs=1e-12)
    assert found.negatives == has.sum()


def test_rows_without_a_negative_do_not_count_as_one() -> None:
    views, negative, has, title = example(7)
    changed = np.where(has[:, None], negative, 0.0)
    assert verify(views, changed, has, title) == verify(views, negative, has, title)


def test_other_tracks_stand_in_where_nobody_has_a_negative() -> None:
    views, negative, has, title = example(8)
    found = verify(views, negative, np.zeros_like(has), title)
    positives = [float(views[i, 0] @ views[i, m]) for i in range(len(views)) for m in (1, 2)]
    pairs = [float(views[i, 0] @ views[j, 0]) for i in range(30) for j in range(i) if title[i] == title[j]]
    assert found.auc == pytest.approx(slow_auc(positives, pairs), abs=1e-12)
    assert (found.close_auc, found.negatives) == (None, 0)


def test_nothing_to_compare_is_an_error() -> None:
    views, negative, has, title = example(9, n=1)
    with pytest.raises(ValueError, match=r"1 row\(s\) make no pair"):
        verify(views, negative, has, title)


def test_titles_of_one_track_each_are_compared_with_each_other() -> None:
    views, negative, has, _ = example(9, n=6)
    assert verify(views, negative, has, np.arange(6)) == verify(views, negative, has, np.zeros(6, int))


def test_a_space_of_lonely_tracks_is_seen_through() -> None:
    """People in the first directions, each track's own light in the last: light alone holds every track together."""
    rng = np.random.default_rng(0)
    person, light = rng.integers(4, size=80), rng.normal(size=(80, 6))
    views = np.zeros((80, 3, 10))
    views[np.arange(80), :, person] = 2
    views[:, :, 4:] = light[:, None]
    views += rng.normal(size=views.shape) * 0.2
    negative = np.zeros((80, 10))
    negative[np.arange(80), (person + 1) % 4] = 2
    negative[:, 4:] = light * 0.5 + rng.normal(size=(80, 6)) * 0.5  # seen in the same light
    lonely = verify(unit(views[:, :, 4:]), unit(negative[:, 4:]), np.ones(80, bool), np.zeros(80))
    people = verify(unit(views[:, :, :4]), unit(negative[:, :4]), np.ones(80, bool), np.zeros(80))
    assert people.close_auc is not None
    assert lonely.close_auc is not None
    assert lonely.auc > 0.9
    assert people.close_auc > 0.99 > 0.7 > lonely.close_auc
