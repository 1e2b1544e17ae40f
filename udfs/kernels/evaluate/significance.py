"""Whether one clustering of some tracks is better than another of the same tracks, or only looks so by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import xlogy

from udfs.kernels.evaluate.scoring import UNKNOWN

DRAWS = 2_000
_AT_ONCE = 2**22  # tracks drawn at a time


def swap_test(gained: NDArray, lost: NDArray, draws: int = 10_000, seed: int = 7) -> NDArray[np.float64]:
    """Two-sided permutation test of paired correctness (MvCorr, section V-C: 10,000 draws).

    Were two clusterings equally good, then which of the two is right would be a coin's toss for each track. So a draw
    swaps the two verdicts of every track with probability 1/2, and p is how often a draw's difference is at least as
    large as the one found, itself counted as a draw. A track that is right in both, or in none, changes nothing when it
    is swapped; of n others the sum of the coins is binomial, and drawn as such.

    Args:
        gained, lost: (G,) counts by group, of tracks that are right only in the one and only in the other clustering.
    Returns:
        (G,) p, above 0 up to 1; 1 where there is no such track. A group's p does not depend on the other groups.
    """
    pairs = np.stack([np.asarray(gained, np.int64), np.asarray(lost, np.int64)], axis=1)
    return np.array([_swap(fixed, broke, draws, seed) for fixed, broke in pairs.tolist()], np.float64)


def _swap(gained: int, lost: int, draws: int, seed: int) -> float:
    n = gained + lost
    drawn = 2 * np.random.default_rng(seed).binomial(n, 0.5, draws) - n
    return float((1 + (np.abs(drawn) >= abs(gained - lost)).sum()) / (1 + draws))


class Gain(NamedTuple):
    """What one clustering has over another.

    Attributes:
        value: the difference as it was found.
        low, high: its 95 % interval; NaN where there are fewer than two tracks.
        not_above_0: share of the draws in which it is 0 or less; NaN likewise.
    """

    value: float
    low: float
    high: float
    not_above_0: float


def bootstrap_v_gain(
    true: Sequence | NDArray,
    before: NDArray[np.integer],
    after: NDArray[np.integer],
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 7,
) -> Gain:
    """V-measure after less V-measure before, with a paired bootstrap: tracks drawn with replacement, the same for both.

    Tracks of one scene are alike and are drawn as if they were not, so the interval is rather too narrow.

    Args:
        true: (T,) labels. before, after: (T,) clusters, -1 = unknown.
    Returns:
        Cost O(draws (T + K)) in blocks of 2^22 drawn tracks, K the cells of both tables.
    """
    label = np.unique(np.asarray(true), return_inverse=True)[1]
    tracks = len(label)
    once = np.ones((1, tracks))
    found = float((v_measures(label, after, once) - v_measures(label, before, once))[0])
    if tracks < 2:
        return Gain(found, float("nan"), float("nan"), float("nan"))
    rng, gains = np.random.default_rng(seed), np.empty(draws)
    at_once = max(1, _AT_ONCE // tracks)
    for start in range(0, draws, at_once):
        n = min(at_once, draws - start)
        place = rng.integers(0, tracks, (n, tracks)) + tracks * np.arange(n)[:, None]
        weight = np.bincount(place.ravel(), minlength=n * tracks).reshape(n, tracks)
        gains[start : start + n] = v_measures(label, after, weight) - v_measures(label, before, weight)
    gains = np.round(gains, 9)  # equal clusterings differ by nothing, not by the last digit
    low, high = np.quantile(gains, [(1 - level) / 2, (1 + level) / 2])
    return Gain(found, float(low), float(high), float((gains <= 0).mean()))


def v_measures(
    label: NDArray[np.integer], cluster: NDArray[np.integer], weight: NDArray[np.number]
) -> NDArray[np.float64]:
    """(B,) the V-measure (`scoring.compute_figures`) of B selections of tracks.

    Args:
        label: (T,) from 0. cluster: (T,), -1 = unknown: a cluster of its own, each time it is drawn.
        weight: (B, T) how often each track is in a selection.
    """
    known = cluster != UNKNOWN
    of_cluster = np.where(known, np.unique(cluster, return_inverse=True)[1], 0)
    of_cell = np.unique(label * (of_cluster.max(initial=0) + 1) + of_cluster, return_inverse=True)[1]
    everyone = np.ones(len(label), bool)
    cells, clusters, classes = (
        _sum_n_log_n(weight, group, member)
        for group, member in ((of_cell, known), (of_cluster, known), (label, everyone))
    )
    n = weight.sum(axis=1)
    total = xlogy(n, n)
    homogeneity = np.maximum(1 - _divide(clusters - cells, total - classes), 0)
    completeness = np.maximum(1 - _divide(classes - cells, total - clusters), 0)
    return _divide(2 * homogeneity * completeness, homogeneity + completeness)


def _sum_n_log_n(
    weight: NDArray[np.number], group: NDArray[np.integer], member: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(B,) sums of n ln n over the groups, n the weight of a group's members."""
    rows = np.flatnonzero(member)
    shape = (group.max(initial=0) + 1, len(group))
    n = csr_array((np.ones(len(rows)), (group[rows], rows)), shape=shape) @ weight.T.astype(np.float64)
    return np.asarray(xlogy(n, n).sum(axis=0))


def _divide(part: NDArray, whole: NDArray) -> NDArray[np.float64]:
    """part / whole; 0 where both are 0, up to the rounding of the sums."""
    return np.divide(part, whole, out=np.zeros_like(part), where=np.abs(whole) > 1e-9)
