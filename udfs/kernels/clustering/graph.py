"""Average linkage without a matrix of distances: clusters are compared with those that their tracks' neighbours are in.

The mean cosine distance of two clusters of unit rows follows from the sums of their rows, so no distance between rows
is kept, and average linkage is reducible (a merged cluster is never nearer to a third than both its parts were), so all
pairs of clusters that are each other's nearest may merge at once and in any order: the tree is that of merging the
nearest pair again and again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from udfs.kernels.clustering.nearest import EXACT, nearest, summed
from udfs.kernels.clustering.partition import Clustering, in_order_of_appearance, joined

NEIGHBOURS, FEW = 30, 1024
_BLOCK = 8192  # pairs of clusters whose distances are computed at a time
_DIGITS = 9  # of distances: the last ones depend on the order of sums


class Merges(NamedTuple):
    """The merges of a tree, in any order.

    Attributes:
        a, b: (M,) int64, a row of each of the two clusters. height: (M,) float64, their distance.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    height: NDArray[np.float64]


def neighbour_pairs(x: NDArray[np.floating], cannot: NDArray[np.integer], exact: int = EXACT) -> NDArray[np.int64]:
    """(E, 2) each row with its 30 nearest that it is not cannot-linked to."""
    near = nearest(x, NEIGHBOURS, cannot, exact).row
    row = np.repeat(np.arange(len(x)), near.shape[1])
    return np.column_stack([row, near.ravel()])[near.ravel() >= 0]


def on_graph(
    x: NDArray[np.floating],
    edges: NDArray[np.integer],
    cannot: NDArray[np.integer],
    must: NDArray[np.integer],
    apart: float,
    cut: float | None,
    least: int,
    greatest: int,
) -> Clustering:
    """As `hac.average_linkage`, where only clusters that an edge connects are compared, until few are left.

    Of 1,024 clusters or fewer all pairs are compared. A number that the edges do not reach is not reached.

    Args:
        edges: (E, 2) rows. least, greatest: numbers of clusters. The others: see `merged`.
    """
    cluster = start = joined(len(x), cannot, must)
    limit = cut if greatest >= len(x) else None
    merges = merged(x, cluster, edges, cannot, apart, limit)
    cluster = _after(cluster, merges)
    if len(names := np.unique(cluster)) <= FEW:
        rest = merged(x, cluster, all_pairs(names), cannot, apart, limit)
        merges = Merges(*(np.append(one, other) for one, other in zip(merges, rest, strict=True)))
    order = np.lexsort((merges.b, merges.a, merges.height))
    count = len(np.unique(start))
    within = len(order) if cut is None else int((merges.height <= cut).sum())
    kept = order[: max(min(max(within, count - greatest), count - least), 0)]
    labels = in_order_of_appearance(_after(start, Merges(*(part[kept] for part in merges))))
    return Clustering(labels, int(labels.max(initial=-1)) + 1, merges.height[kept])


def _after(cluster: NDArray[np.int64], merges: Merges) -> NDArray[np.int64]:
    """(T,) clusters after the merges, each named by its first row."""
    tie = np.concatenate([np.column_stack([np.arange(len(cluster)), cluster]), np.column_stack([merges.a, merges.b])])
    graph = coo_array((np.ones(len(tie), bool), (tie[:, 0], tie[:, 1])), shape=(len(cluster), len(cluster)))
    group = connected_components(graph, directed=False)[1]
    return np.asarray(np.unique(group, return_index=True)[1][group])


def merged(
    x: NDArray[np.floating],
    cluster: NDArray[np.integer],
    edges: NDArray[np.integer],
    cannot: NDArray[np.integer],
    apart: float,
    cut: float | None,
) -> Merges:
    """The merges of average linkage, as far as pairs of neighbouring clusters reach.

    Args:
        x: (T, D) unit rows.
        cluster: (T,) the cluster each is in at the start, named by its first row.
        edges: (E, 2) rows whose clusters are compared. With all pairs the result is that of `hac.average_linkage`, of
            equal distances aside.
        cannot: (P, 2) rows that count as `apart` from each other; infinite forbids.
        cut: the largest distance at which clusters merge; None: as long as there are edges.
    """
    clusters = _Neighbouring(x, cluster, edges, cannot, apart)
    made: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    while len((pairs := clusters.mutually_nearest(np.inf if cut is None else cut))[0]):
        made.append(pairs)
        clusters.merge(pairs[0], pairs[1])
    none = np.zeros(0, np.int64)
    a, b, height = (np.concatenate(part) for part in zip(*made, (none, none, np.zeros(0)), strict=True))
    return Merges(a, b, height)


def all_pairs(rows: NDArray[np.integer]) -> NDArray[np.int64]:
    """(n (n - 1) / 2, 2) every pair of the rows."""
    a, b = np.triu_indices(len(rows), 1)
    return np.column_stack([rows[a], rows[b]])


class _Neighbouring:
    """The clusters so far, each named by its first row, and the distances of those that are compared."""

    def __init__(
        self,
        x: NDArray[np.floating],
        cluster: NDArray[np.integer],
        edges: NDArray[np.integer],
        cannot: NDArray[np.integer],
        apart: float,
    ) -> None:
        self._rows = len(x)
        self._sums = summed(x, cluster, len(x))
        self._size = np.bincount(cluster, minlength=len(x)).astype(np.float64)
        self._linked, self._excess = self._links(x, cluster, cannot, apart)
        self._a, self._b = np.divmod(self._codes(cluster, edges), max(len(x), 1))
        self._distance = self._of(self._a, self._b)
        self._drop_forbidden()

    def mutually_nearest(self, cut: float) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """a < b and the distance of all clusters that are each other's nearest; of equally near ones the first."""
        a, b, distance = self._a, self._b, self._distance
        least = np.full(self._rows, np.inf)
        np.minimum.at(least, a, distance)
        np.minimum.at(least, b, distance)
        of_a, of_b = distance == least[a], distance == least[b]
        nearest = np.full(self._rows, self._rows)
        np.minimum.at(nearest, a[of_a], b[of_a])
        np.minimum.at(nearest, b[of_b], a[of_b])
        chosen = of_a & of_b & (nearest[a] == b) & (nearest[b] == a) & (distance <= cut)
        return a[chosen], b[chosen], distance[chosen]

    def merge(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> None:
        """Make one cluster of each a and its b; no cluster is named twice."""
        self._sums[a] += self._sums[b]
        self._size[a] += self._size[b]
        renamed = np.arange(self._rows)
        renamed[b] = a
        if len(self._linked):
            links = np.column_stack(np.divmod(self._linked, self._rows))
            self._linked, self._excess = self._added(self._between(renamed, links), self._excess)
        changed = np.zeros(self._rows, bool)
        changed[a] = changed[b] = True
        stale = changed[self._a] | changed[self._b]
        codes = self._codes(renamed, np.column_stack([self._a[stale], self._b[stale]]))
        new_a, new_b = np.divmod(codes, self._rows)
        self._a, self._b = np.append(self._a[~stale], new_a), np.append(self._b[~stale], new_b)
        self._distance = np.append(self._distance[~stale], self._of(new_a, new_b))
        self._drop_forbidden()

    def _links(
        self, x: NDArray[np.floating], cluster: NDArray[np.integer], cannot: NDArray[np.integer], apart: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Pairs of clusters with cannot-links between, and by how much these lengthen the sum of their distances."""
        pairs = np.unique(np.sort(cannot, axis=1), axis=0)
        pairs = pairs[cluster[pairs[:, 0]] != cluster[pairs[:, 1]]]
        excess = np.empty(len(pairs))
        for start in range(0, len(pairs), _BLOCK):
            one, other = pairs[start : start + _BLOCK].T
            excess[start : start + _BLOCK] = apart - 1.0 + np.einsum("pd,pd->p", x[one], x[other], dtype=np.float64)
        return self._added(self._between(cluster, pairs), excess)

    @staticmethod
    def _added(codes: NDArray[np.int64], excess: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        linked, place = np.unique(codes, return_inverse=True)
        return linked, np.asarray(np.bincount(place, excess, len(linked)), np.float64)

    def _between(self, renamed: NDArray[np.integer], pairs: NDArray[np.integer]) -> NDArray[np.int64]:
        """(P,) one number for each pair of clusters, whichever way round."""
        ends = np.sort(renamed[pairs], axis=1).astype(np.int64)
        return np.asarray(ends[:, 0] * self._rows + ends[:, 1])

    def _codes(self, renamed: NDArray[np.integer], pairs: NDArray[np.integer]) -> NDArray[np.int64]:
        """The pairs of different clusters, each once, as numbers."""
        codes = np.unique(self._between(renamed, pairs))
        return codes[codes // max(self._rows, 1) != codes % max(self._rows, 1)]

    def _of(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
        """Mean cosine distances of clusters."""
        pairs = self._size[a] * self._size[b]
        total = np.empty(len(a))
        for start in range(0, len(a), _BLOCK):
            block = slice(start, start + _BLOCK)
            total[block] = np.einsum("pd,pd->p", self._sums[a[block]], self._sums[b[block]])
        total = pairs - total
        if len(self._linked):
            codes = a * self._rows + b
            place = np.minimum(np.searchsorted(self._linked, codes), len(self._linked) - 1)
            total += np.where(self._linked[place] == codes, self._excess[place], 0.0)
        return np.round(total / pairs, _DIGITS)

    def _drop_forbidden(self) -> None:
        """An infinite distance stays infinite."""
        kept = np.isfinite(self._distance)
        self._a, self._b, self._distance = self._a[kept], self._b[kept], self._distance[kept]
