"""The distance at which average linkage stops, found in the title itself: no threshold to set, no labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udfs.kernels.clustering.nearest import EXACT, along

SAMPLED, _BLOCK = 1024, 256
_FAR, _NEAR = (0.9, 10), (0.6, 10)


class Cut(NamedTuple):
    """Where to stop merging, and what that rests on.

    Attributes:
        distance: the cut, a mean cosine distance of two clusters.
        far: the distance at which two people typically lie.
        near: the distance at which loose pairs of one person lie.
        n_negatives: cannot-linked pairs that were used.
    """

    distance: float
    far: float
    near: float
    n_negatives: int


def find_cut(embeddings: NDArray[np.floating], cannot: NDArray[np.integer]) -> Cut:
    """The cut of a title: 60 % of the way from where loose pairs of one person lie to where two people lie.

    *Far* is the mean of two estimates: the median distance of the cannot-linked pairs, which are sure but often of the
    same few characters, and the 60 % quantile of all pairs, most of which are two people. The first is weighted by its
    number of pairs, up to T, the second by T.
    *Near* is the 90 % quantile of the distances from each track to its nearest one. (How far the two halves of a track
    lie apart says less: a track in one piece is one scene, one light and one pose.)
    Titles of few tracks are drawn to far 0.9 and near 0.6, what raw face embeddings show, as if by 10 more tracks.

    Both ends are measured in the embedding at hand, so the cut follows when an adapter stretches it. The quantiles and
    the 60 % of the way were chosen by us on labelled titles in five embeddings; nearby values do as well.

    Args:
        embeddings: (T, D) finite unit rows.
        cannot: (P, 2) row indices of pairs that are two people.

    Returns:
        T = 0 and T = 1 give the cut of far 0.9 and near 0.6. Of more than 4,096 rows, 1,024 at even steps stand for
        all: their pairs, and their distances to the nearest of all rows. Cost O(T^2 D) up to there, then O(T D).
    """
    few = len(embeddings) <= EXACT
    x: NDArray[np.floating] = np.asarray(embeddings, np.float64 if few else np.float32)
    pairs = np.unique(np.sort(np.asarray(cannot, np.int64).reshape(-1, 2), axis=1), axis=0)
    negatives = np.concatenate(
        [np.zeros(0), *(_of_pairs(x, pairs[i : i + SAMPLED]) for i in range(0, len(pairs), SAMPLED))]
    )
    some = np.arange(len(x)) if len(x) <= EXACT else np.linspace(0, len(x) - 1, SAMPLED).astype(np.int64)
    every, nearest = _sampled(x, some, pairs)
    of_all, of_known = (_quantile(every, 0.6), len(x)), (_quantile(negatives, 0.5), min(len(negatives), len(x)))
    far = _weighed(of_all, of_known, _FAR) if len(every) else _FAR[0]
    near = min(far, _weighed((_quantile(nearest, 0.9), len(nearest)), _NEAR))
    # six digits, as the last ones depend on the threads of the matrix product
    distance_cut, far, near = (round(value, 6) for value in (near + 0.6 * (far - near), far, near))
    return Cut(distance_cut, far, near, len(negatives))


def _of_pairs(x: NDArray[np.floating], pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    return 1.0 - along(x, pairs[:, 0], x[pairs[:, 1]])


def _sampled(
    x: NDArray[np.floating], some: NDArray[np.int64], cannot: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances of the pairs of some rows, and from each of them to the nearest row that it is not cannot-linked to."""
    digits = 9 if x.dtype == np.float64 else 6  # the last ones depend on the threads of the matrix product
    among, to_nearest = np.empty((len(some), len(some))), np.empty(len(some))
    row = np.full(len(x), -1)
    row[some] = np.arange(len(some))
    never = np.concatenate([cannot, cannot[:, ::-1], np.column_stack([some, some])])
    for start in range(0, len(some), _BLOCK):
        block = slice(start, start + _BLOCK)
        distance = np.round(1.0 - (x[some[block]] @ x.T).astype(np.float64), digits)
        among[block] = distance[:, some]
        here = never[(row[never[:, 0]] >= start) & (row[never[:, 0]] < block.stop)]
        distance[row[here[:, 0]] - start, here[:, 1]] = np.inf
        to_nearest[block] = distance.min(axis=1)
    return among[np.tri(len(some), k=-1, dtype=bool)], to_nearest[np.isfinite(to_nearest)]


def _quantile(values: NDArray[np.float64], share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else 0.0


def _weighed(*measured: tuple[float, int]) -> float:
    """The mean of (value, weight) pairs."""
    return sum(value * weight for value, weight in measured) / sum(weight for _, weight in measured)
