"""Average linkage without a matrix of distances: clusters are compared where their tracks are neighbours.

The mean cosine distance of two clusters of unit rows follows from the sums of their rows, so no distance between rows
is kept, and cost grows with the neighbours of a track, not with the tracks.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from udfs.kernels.cluster.interface import Clustering, Links, in_order_of_appearance, join_must_links, merge_down
from udfs.kernels.cluster.nearest import EXACT, nearest
from udfs.kernels.rows import sum_by_group

NEIGHBOURS, FEW = 20, 1024
_BLOCK = 8192  # pairs of clusters whose distances are computed at a time
_DIGITS = 9  # of distances: the last ones depend on the order of sums


def neighbour_pairs(x: NDArray[np.floating], cannot: NDArray[np.integer], exact: int = EXACT) -> NDArray[np.int64]:
    """(E, 2) each row with its 20 nearest that it is not cannot-linked to."""
    near = nearest(x, NEIGHBOURS, cannot, exact).row
    row = np.repeat(np.arange(len(x)), near.shape[1])
    return np.column_stack([row, near.ravel()])[near.ravel() >= 0]


def on_graph(
    x: NDArray[np.floating],
    edges: NDArray[np.integer],
    links: Links,
    cannot_distance: float,
    cut: float | None,
    least: int,
    greatest: int,
) -> Clustering:
    """As `hac.average_linkage`, where only clusters that an edge connects are compared, until few are left.

    Of 1,024 clusters or fewer all pairs are compared. A number that the edges do not reach is not reached.

    Args:
        x: (T, D) unit rows.
        edges: (E, 2) rows. With all pairs the result is that of `hac.average_linkage`, of equal distances aside.
        links: cannot-linked rows count as `cannot_distance` from each other (infinite: never merged); must-linked ones
            start as one cluster, see `join_must_links`.
        cut: the largest distance at which clusters merge. least, greatest: numbers of clusters.
    """
    farthest = np.inf if greatest < len(x) else cut
    clusters = _Neighbouring(x, join_must_links(len(x), links), links.cannot, cannot_distance, farthest)
    clusters.compare(edges)
    heights = merge_down(clusters, cut, least, greatest)
    if clusters.count <= FEW:
        clusters.compare(all_pairs(np.unique(clusters.of_row())))
        heights += merge_down(clusters, cut, least, greatest)
    return Clustering(in_order_of_appearance(clusters.of_row()), clusters.count, np.array(heights, np.float64))


def all_pairs(rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """(n (n - 1) / 2, 2) every pair of the rows."""
    a, b = np.triu_indices(len(rows), 1)
    return np.column_stack([rows[a], rows[b]])


class _Pair:
    """What is known of the distance of two clusters: its sum over `pairs` pairs of rows, and its place in line."""

    __slots__ = ("pairs", "queued", "total")

    def __init__(self, total: float, pairs: float) -> None:
        self.total, self.pairs, self.queued = total, pairs, np.inf

    def mean(self) -> float:
        return round(self.total / self.pairs, _DIGITS)


class _Neighbouring:
    """The clusters so far, each named by one of its rows, and those that are compared, the nearest pair first.

    When two clusters merge, only the neighbours of the one with fewer are touched. The distance to another neighbour
    stays in line as it was, and where two are known, their mean: lower bounds, since what is not known is above the
    cut. Only when a pair comes first, its distance is computed, from the sums of both clusters; above the cut it is
    dropped. That changes nothing: a merged cluster is within the cut of a third only if one of its parts was, and that
    pair is there still.
    """

    def __init__(
        self,
        x: NDArray[np.floating],
        cluster: NDArray[np.integer],
        cannot: NDArray[np.integer],
        cannot_distance: float,
        cut: float | None,
    ) -> None:
        self._root = cluster.tolist()
        self._cut = np.inf if cut is None else cut
        self._sums = sum_by_group(x, cluster, len(x))
        self._size = np.bincount(cluster, minlength=len(x)).astype(np.float64)
        self.count = len(np.unique(cluster))
        self._near: list[dict[int, _Pair]] = [{} for _ in self._root]
        self._excess: list[dict[int, float]] = [{} for _ in self._root]  # what cannot-links add to a sum of distances
        self._line: list[tuple[float, int, int]] = []
        self._link(x, cluster, cannot, cannot_distance)

    def of_row(self) -> NDArray[np.int64]:
        """(T,) the cluster of each row, named by its first row."""
        cluster = np.array([self._cluster(row) for row in range(len(self._root))], np.int64)
        return np.asarray(np.unique(cluster, return_index=True)[1][np.unique(cluster, return_inverse=True)[1]])

    def compare(self, edges: NDArray[np.integer]) -> None:
        """Put the clusters of these pairs of rows in line."""
        rows = len(self._root)
        cluster = np.array([self._cluster(row) for row in range(rows)], np.int64)
        ends = np.sort(cluster[edges], axis=1)
        a, b = np.divmod(np.unique(ends[:, 0] * rows + ends[:, 1]), max(rows, 1))
        a, b = a[a != b], b[a != b]
        for start in range(0, len(a), _BLOCK):
            one, other = a[start : start + _BLOCK], b[start : start + _BLOCK]
            pairs = self._size[one] * self._size[other]
            totals = pairs - np.einsum("pd,pd->p", self._sums[one], self._sums[other])
            for i, j, total, n in zip(one.tolist(), other.tolist(), totals.tolist(), pairs.tolist(), strict=True):
                self._put(i, j, _Pair(total + self._excess[i].get(j, 0.0), n))
        heapq.heapify(self._line)

    def closest(self) -> tuple[int, int, float]:
        """The two clusters of least distance, and that distance: infinite when no two are left that may merge."""
        while self._line:
            distance, a, b = self._line[0]
            pair = self._near[a].get(b)
            current = pair is not None and pair.queued == distance
            known = pair is not None and pair.pairs == self._size[a] * self._size[b]
            if pair is not None and current and known and pair.mean() == distance:
                return a, b, distance
            heapq.heappop(self._line)
            if pair is not None and current:
                self._measure(a, b, pair)
        return -1, -1, np.inf

    def merge(self, a: int, b: int) -> None:
        """Make one cluster of two."""
        if len(self._near[a]) < len(self._near[b]):
            a, b = b, a
        self._root[b] = a
        self._sums[a] += self._sums[b]
        self._size[a] += self._size[b]
        self.count -= 1
        for other, excess in self._excess[b].items():
            del self._excess[other][b]
            if other != a:
                self._excess[a][other] = self._excess[other][a] = self._excess[a].get(other, 0.0) + excess
        for other, pair in self._near[b].items():
            del self._near[other][b]
            if other != a:
                known = self._near[a].get(other)
                if known is None:
                    self._put(a, other, pair)
                    continue
                known.total, known.pairs = known.total + pair.total, known.pairs + pair.pairs
                if known.mean() < known.queued:  # else it is in line early enough
                    self._put(a, other, known)
        self._near[b], self._excess[b] = {}, {}

    def _put(self, a: int, b: int, pair: _Pair) -> None:
        """Compare two clusters, and put them in line where they belong, unless they are too far apart."""
        distance = pair.mean()
        if distance > self._cut or distance == np.inf:
            self._near[a].pop(b, None)
            self._near[b].pop(a, None)
            return
        self._near[a][b] = self._near[b][a] = pair
        pair.queued = distance
        heapq.heappush(self._line, (distance, a, b))

    def _measure(self, a: int, b: int, pair: _Pair) -> None:
        pair.pairs = float(self._size[a] * self._size[b])
        pair.total = pair.pairs - float(self._sums[a] @ self._sums[b]) + self._excess[a].get(b, 0.0)
        self._put(a, b, pair)

    def _cluster(self, row: int) -> int:
        while self._root[row] != row:
            self._root[row] = self._root[self._root[row]]
            row = self._root[row]
        return row

    def _link(
        self, x: NDArray[np.floating], cluster: NDArray[np.integer], cannot: NDArray[np.integer], cannot_distance: float
    ) -> None:
        pairs = np.unique(np.sort(cannot, axis=1), axis=0)
        for start in range(0, len(pairs), _BLOCK):
            one, other = pairs[start : start + _BLOCK].T
            likeness = np.einsum("pd,pd->p", x[one], x[other], dtype=np.float64).tolist()
            for a, b, alike in zip(cluster[one].tolist(), cluster[other].tolist(), likeness, strict=True):
                if a != b:
                    excess = self._excess[a].get(b, 0.0) + cannot_distance - 1.0 + alike
                    self._excess[a][b] = self._excess[b][a] = excess
