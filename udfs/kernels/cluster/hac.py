"""Agglomerative clustering that keeps cannot-linked tracks apart: average, complete and Ward linkage.

Average linkage on cosine is the baseline of the papers on video faces, complete linkage is BCL's (section 3.3), Ward's
is MvCorr's (section V-C); the cannot-links are those of MvCorr (section III-B).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from udfs.kernels.cluster.interface import (
    NO_LINKS,
    UNBOUNDED,
    Bounds,
    Clustering,
    Links,
    in_order_of_appearance,
    merge_down,
)
from udfs.kernels.cluster.nearest import EXACT
from udfs.kernels.cluster.sparse_hac import neighbour_pairs, on_graph
from udfs.kernels.rows import dot_by_group, sum_by_group

_GRID = 2.0**28
_ROUNDED = 1e-5  # of half a squared length: unit rows in single precision are so near to 1
_WEIGHED_APART = 20.0
Linkage = Literal["average", "complete", "ward"]


def average_linkage(
    embeddings: NDArray[np.floating], links: Links = NO_LINKS, bounds: Bounds = UNBOUNDED
) -> Clustering:
    """Merge the two clusters of least mean cosine distance, again and again, never across a cannot-link.

    Clusters merge while their distance is at most the cut (where there is none: at any distance) and more than the
    least number are left; above the cut, only while more than the greatest number are left. Where the cannot-links
    forbid so few clusters, more remain and `k_found` says so. Of equal distances, the pair of the first rows merges
    first.

    Args:
        embeddings: (T, D) unit rows, float32 or float64.
        links: must-linked rows merge before all else; a pair whose clusters are cannot-linked by then is passed over.
        bounds: the cut is a mean cosine distance, 0 to 2.

    Returns:
        T = 0 gives no labels and k_found 0. `heights` does not count the must-links.
        Up to 4,096 rows: memory 9 T^2 bytes, time O(T^2 D) and in practice about O(T^2) for the merges, 2 s at most.
        Above, only clusters that hold neighbours of each other merge (`graph.on_graph`): memory O(T D), time near O(T).

    Raises:
        ValueError: embeddings that are not (T, D) or not finite, links outside of the rows or of a row to itself,
            clashing bounds.
    """
    return _once("average", embeddings, links, bounds)


def complete_linkage(
    embeddings: NDArray[np.floating], links: Links = NO_LINKS, bounds: Bounds = UNBOUNDED
) -> Clustering:
    """As `average_linkage`, with the largest distance between members of two clusters as their distance.

    Rows need not be of unit length. Distances, and the cut, are half the squared Euclidean ones, which of unit rows are
    the cosine distances. Memory 9 T^2 bytes whatever T.
    """
    return _once("complete", embeddings, links, bounds)


def ward_linkage(embeddings: NDArray[np.floating], links: Links = NO_LINKS, bounds: Bounds = UNBOUNDED) -> Clustering:
    """As `average_linkage`, merging where the sum of squares around the clusters' means grows least.

    Rows need not be of unit length. The cut and `heights` are distances as scipy gives them for Ward's linkage: the
    root of twice that growth. Memory 9 T^2 bytes whatever T.
    """
    squared = None if bounds.cut is None else bounds.cut**2
    found = _once("ward", embeddings, links, replace(bounds, cut=squared))
    return found._replace(heights=np.sqrt(found.heights))


def average_linkage_twice(
    embeddings: NDArray[np.floating], links: Links = NO_LINKS, bounds: Bounds = UNBOUNDED
) -> Clustering:
    """`average_linkage` with second thoughts: the cannot-links weigh first, and forbid only then.

    If cannot-links forbid from the start, one misplaced track keeps the two halves of a character apart for good. So
    in a first pass a cannot-linked pair merely counts as 20 apart, ten times what a distance can be. The second pass
    forbids, and gathers each cluster of the first around its most central row: rows that are cannot-linked to one
    already in stay out. Then merging goes on as usual. `heights` are those of the second pass.

    Arguments, empty cases, ties and errors as in `average_linkage`; twice its cost.
    """
    least, greatest = bounds.of(len(embeddings))
    x = check_embeddings(embeddings, links)
    linked = _average(x, links.cannot)
    first = linked(links.must, _WEIGHED_APART, bounds.cut, least, greatest)
    return linked(np.concatenate([links.must, _spokes(x, first.labels)]), np.inf, bounds.cut, least, greatest)


def _average(x: NDArray[np.floating], cannot: NDArray[np.int64]) -> Callable[..., Clustering]:
    """Average linkage of these rows, by the matrix of their distances or, where they are many, on their neighbours."""
    if len(x) <= EXACT:
        return lambda together, penalty, *bounds: _agglomerate(_Clusters(x, cannot, penalty), together, *bounds)
    edges = neighbour_pairs(x, cannot)
    return lambda together, penalty, *bounds: on_graph(x, edges, Links(cannot, together), penalty, *bounds)


def _once(linkage: Linkage, embeddings: NDArray[np.floating], links: Links, bounds: Bounds) -> Clustering:
    least, greatest = bounds.of(len(embeddings))
    x = check_embeddings(embeddings, links)
    if linkage == "average":
        return _average(x, links.cannot)(links.must, np.inf, bounds.cut, least, greatest)
    return _agglomerate(_Clusters(x, links.cannot, linkage=linkage), links.must, bounds.cut, least, greatest)


def _agglomerate(
    clusters: _Clusters, must: NDArray[np.int64], cut: float | None, least: int, greatest: int
) -> Clustering:
    for row, other in must.tolist():
        clusters.join(row, other)
    clusters.look_again()
    heights = merge_down(clusters, cut, least, greatest)
    return Clustering(in_order_of_appearance(clusters.of_row), clusters.count, np.array(heights, np.float64))


def _spokes(x: NDArray[np.floating], labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """(Q, 2) links from each cluster's most central row to its others, the most central first; ties by row."""
    total = sum_by_group(x, labels, labels.max(initial=-1) + 1)
    others = np.maximum(np.bincount(labels) - 1, 1) if len(labels) else np.ones(0)
    closeness = (dot_by_group(total, labels, x) - 1.0) / others[labels]
    # rounded, as the last digits of the sums depend on the order of the rows
    by_closeness = np.lexsort((np.arange(len(x)), -np.round(closeness, 9), labels))
    hub = by_closeness[np.unique(labels[by_closeness], return_index=True)[1]]
    links = np.column_stack([hub[labels[by_closeness]], by_closeness])
    return links[links[:, 0] != links[:, 1]]


class _Clusters:
    """The clusters so far, each named by its first row, with what their distances follow from.

    Average linkage keeps the sums of the distances between members. They simply add when two clusters merge, and an
    infinite one stays infinite: a cannot-link passes on to everything its ends become part of. Distances are rounded to
    multiples of 2^-28, so that sums of up to 2^24 of them are exact: equal distances are found equal, whatever the
    order of the merges and the threads of the matrix product. Complete linkage keeps the largest, Ward's the squared
    distance that scipy's has, by the formula of Lance and Williams.

    Where the nearest two merge, the new cluster is never nearer to a third than both its parts were, so a row's least
    distance remains a lower bound after any merge; a row is searched again only when its bound has become the least.
    """

    def __init__(
        self, x: NDArray[np.floating], cannot: NDArray[np.int64], penalty: float = np.inf, linkage: Linkage = "average"
    ) -> None:
        self.count = len(x)
        self.of_row = np.arange(self.count)
        self._linkage = linkage
        self._size = np.ones(self.count)
        self._linked = np.zeros((self.count, self.count), bool)
        self._linked[cannot[:, 0], cannot[:, 1]] = self._linked[cannot[:, 1], cannot[:, 0]] = True
        x = np.asarray(x, np.float64)
        half = np.einsum("td,td->t", x, x) / 2
        half[np.abs(half - 0.5) < _ROUNDED] = 0.5  # unit rows: half the squared distance is the cosine distance
        self._total = x @ x.T
        self._total -= half  # in place, since this matrix is nearly all the memory
        self._total -= half[:, None]
        self._total *= -_GRID if linkage != "ward" else -2 * _GRID
        np.rint(self._total, out=self._total)
        self._total /= _GRID
        self._total[self._linked] = penalty
        np.fill_diagonal(self._total, np.inf)
        self.look_again()

    def look_again(self) -> None:
        """Find the nearest of every cluster anew."""
        rows = len(self.of_row)
        self._stale, self._nearest, self._bound = np.zeros(rows, bool), np.zeros(rows, np.int64), np.full(rows, np.inf)
        for a in np.unique(self.of_row):
            self._look(a)

    def closest(self) -> tuple[int, int, float]:
        """The two clusters of least distance, and that distance: infinite when no two may merge."""
        while self._stale[a := int(self._bound.argmin())]:
            self._look(a)
        return a, int(self._nearest[a]), float(self._bound[a])

    def _look(self, a: int) -> None:
        distance = self._total[a]
        if self._linkage == "average":
            distance = distance / (self._size[a] * self._size)
        self._nearest[a] = distance.argmin()
        self._bound[a] = distance[self._nearest[a]]
        self._stale[a] = False

    def merge(self, a: int, b: int) -> None:
        """Make one cluster of two; it is named by the smaller of their names."""
        a, b = min(a, b), max(a, b)
        self._total[a] = self._of_both(a, b)
        self._total[a, a] = np.inf
        self._total[:, a] = self._total[a]
        self._total[b] = np.inf
        self._total[:, b] = np.inf
        self._linked[a] |= self._linked[b]
        self._linked[:, a] = self._linked[a]
        self._size[a] += self._size[b]
        self._stale |= (self._nearest == a) | (self._nearest == b)
        self._stale[a], self._bound[a] = True, min(self._bound[a], self._bound[b])
        self._stale[b], self._bound[b] = False, np.inf
        self.of_row[self.of_row == b] = a
        self.count -= 1

    def _of_both(self, a: int, b: int) -> NDArray[np.float64]:
        """What row `a` of the matrix becomes when `b` joins it."""
        if self._linkage == "average":
            return np.asarray(self._total[a] + self._total[b])
        if self._linkage == "complete":
            return np.maximum(self._total[a], self._total[b])
        n, m, others = self._size[a], self._size[b], self._size
        grown = (n + others) * self._total[a] + (m + others) * self._total[b] - others * self._total[a, b]
        return np.asarray(grown / (n + m + others))

    def join(self, row: int, other: int) -> None:
        """Merge the clusters of two rows, unless they are one already or a cannot-link lies between them."""
        a, b = int(self.of_row[row]), int(self.of_row[other])
        if a != b and not self._linked[a, b]:
            self.merge(a, b)


def check_embeddings(embeddings: NDArray[np.floating], links: Links) -> NDArray[np.floating]:
    """The embeddings, as float64 where they are few. Raises as `average_linkage`."""
    if embeddings.ndim != 2:
        raise ValueError(f"embeddings must be (T, D), got {embeddings.shape}")
    bad = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if bad.size:
        raise ValueError(f"{bad.size} embedding(s) are not finite, the first in row {bad[0]}: leave such tracks out")
    links.check(len(embeddings))
    if (links.cannot[:, 0] == links.cannot[:, 1]).any():
        raise ValueError("cannot links a row to itself")
    return embeddings.astype(np.float64) if len(embeddings) <= EXACT else embeddings
