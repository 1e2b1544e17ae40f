"""Held-out verification against pairs counted one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from training.verification import measure_move, verify


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


def test_what_moved_equals_distances_counted_one_by_one() -> None:
    views, negative, has, title = example(3)
    after, far = unit(views + 0.5), unit(negative - 0.2)
    found = measure_move((views, negative), (after, far), has, title)
    rows = range(len(views))
    same = [np.array([1 - v[i, 0] @ v[i, m] for i in rows for m in (1, 2)]) for v in (views, after)]
    pairs = ((views, negative), (after, far))
    different = [np.array([1 - v[i, 0] @ n[i] for i in rows if has[i]]) for v, n in pairs]
    for change, (old, new) in ((found.same, same), (found.different, different)):
        assert change == pytest.approx((new.mean() - old.mean(), new.std() / old.std()), abs=1e-5)


def test_an_adapter_that_moves_nothing_moves_nothing() -> None:
    views, negative, has, title = example(4)
    for there in (has, np.zeros_like(has)):
        found = measure_move((views, negative), (views, negative), there, title)
        assert (found.same, found.different) == ((0.0, 1.0), (0.0, 1.0))


def test_pairs_that_are_not_there_move_nothing() -> None:
    views, negative, _, _ = example(5, n=1)
    found = measure_move((views, negative), (unit(views + 1), negative), np.zeros(1, bool), np.zeros(1, int))
    assert found.different == (0.0, 1.0)
