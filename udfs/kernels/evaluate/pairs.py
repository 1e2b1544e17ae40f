"""How far apart the tracks of one person and of two people lie in a title (MvCorr, Figure 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udfs.kernels.evaluate.verification import read_roc

STEPS = 10_000  # of a histogram per unit of cosine distance: what is read off it is off by less than one step
MOST_TRACKS = 8192  # whose pairs are counted, 34 million; of a title with more, as many at even steps
_BLOCK = 2**22  # pairs held at a time


class PairDistances(NamedTuple):
    """The pairs of some tracks by their cosine distance.

    Attributes:
        same, different: (2 STEPS,) int64, pairs of one person and of two people, by steps of 1 / STEPS from 0 to 2.
        tracks: of how many tracks; of_tracks: how many there are.
    """

    same: NDArray[np.int64]
    different: NDArray[np.int64]
    tracks: int
    of_tracks: int

    def figures(self) -> dict[str, float]:
        """As `verify_tracks`, up to the width of a step."""
        return read_roc(np.cumsum(self.same), np.cumsum(self.different))

    def medians(self) -> tuple[float, float]:
        """Of one person and of two people, to the middle of a step; NaN where there is no pair."""
        return _median(self.same), _median(self.different)

    def by_bins(self, bins: int, up_to: float = 2.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(bins,) shares of the pairs of one person, and of two, by equal bins from 0 to `up_to`, a multiple of
        `bins` steps; what lies beyond is left out. All 0 where there is no pair.
        """
        steps = round(up_to * STEPS)
        found = (counts[:steps].reshape(bins, -1).sum(axis=1) for counts in (self.same, self.different))
        one, two = (
            counts / max(int(every.sum()), 1) for counts, every in zip(found, (self.same, self.different), strict=True)
        )
        return one, two


def measure_pairs(embeddings: NDArray[np.floating], true: Sequence | NDArray) -> PairDistances:
    """The distances of all pairs of a title's tracks.

    Args:
        embeddings: (T, D) unit rows; those that are not finite are left out. true: (T,) labels.
    Returns:
        Of more than MOST_TRACKS as many at even steps. Cost O(T^2 D) in blocks of rows, up to that bound; memory
        O(T D) and a block of 2^22 pairs.
    """
    every = there = np.flatnonzero(np.isfinite(embeddings).all(axis=1))
    if len(every) > MOST_TRACKS:
        there = every[np.linspace(0, len(every) - 1, MOST_TRACKS).astype(np.int64)]
    x, label = np.asarray(embeddings[there], np.float64), np.unique(np.asarray(true)[there], return_inverse=True)[1]
    counts = np.zeros((2, 2 * STEPS), np.int64)
    rows = max(1, _BLOCK // max(len(x), 1))
    for start in range(0, len(x), rows):
        block = slice(start, start + rows)
        distance = np.round(1.0 - x[block] @ x[start:].T, 9)
        a, b = np.triu_indices(len(distance), 1, distance.shape[1])
        step = np.clip((distance[a, b] * STEPS).astype(np.int64), 0, 2 * STEPS - 1)
        same = (label[block][a] == label[start:][b]).astype(np.int64)
        counts += np.bincount(step + 2 * STEPS * same, minlength=4 * STEPS).reshape(2, -1)
    return PairDistances(counts[1], counts[0], len(x), len(every))


def _median(counts: NDArray[np.int64]) -> float:
    total = np.cumsum(counts)
    return float((np.searchsorted(total, total[-1] / 2) + 0.5) / STEPS) if total[-1] else float("nan")
