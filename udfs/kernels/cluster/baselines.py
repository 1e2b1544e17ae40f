"""The clusterers that castmine is compared with: k-means, affinity propagation, DBSCAN, HDBSCAN and FINCH.

scikit-learn's where it has them. None of them knows links, so all go the same way: must-linked rows are made one, their
mean, before; afterwards clusters that hold a cannot-linked pair are mended by `mend_clusters`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import DBSCAN, HDBSCAN, AffinityPropagation, KMeans
from sklearn.exceptions import ConvergenceWarning

from udfs.kernels.cluster.hac import check_embeddings
from udfs.kernels.cluster.interface import (
    NO_LINKS,
    UNBOUNDED,
    Bounds,
    Clusterer,
    Clustering,
    Links,
    in_order_of_appearance,
    join_must_links,
)
from udfs.kernels.rows import unit_means

NOISE = -1
STARTS, SEED, ROUNDS = 20, 7, 400
# (T, D) unit rows, least, greatest, whether rows are apart -> (T,) labels, NOISE where a method has it
Free = Callable[[NDArray[np.float64], int, int, NDArray[np.bool_]], NDArray[np.integer]]


def with_links(free: Free) -> Clusterer:
    """A clusterer out of one that knows no links."""

    def cluster(embeddings: NDArray[np.floating], links: Links = NO_LINKS, bounds: Bounds = UNBOUNDED) -> Clustering:
        x, cannot = check_embeddings(embeddings, links), links.cannot
        group = np.unique(join_must_links(len(x), links), return_inverse=True)[1]
        rows = unit_means(x, group, _groups(group))
        linked = np.zeros((len(rows), len(rows)), bool)
        linked[group[cannot[:, 0]], group[cannot[:, 1]]] = True
        linked |= linked.T
        least, greatest = bounds.of(len(rows))
        found = free(rows, least, greatest, linked) if len(rows) > 1 else np.zeros(len(rows), np.int64)
        labels = mend_clusters(rows, np.asarray(found, np.int64), linked)[group]
        named = np.full(len(x), NOISE, np.int32)
        named[labels >= 0] = in_order_of_appearance(labels[labels >= 0])
        return Clustering(named, int(named.max(initial=NOISE)) + 1, np.zeros(0))

    return cluster


def mend_clusters(rows: NDArray[np.float64], labels: NDArray[np.int64], linked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Labels without a cluster that holds a cannot-linked pair.

    Of such a pair the row nearer to the cluster's mean stays. The other goes to the nearest cluster, by its mean, where
    no cannot-link forbids it, or else into a new one. Rows are judged from the one nearest to its cluster's mean on;
    ties by row.

    Args:
        rows: (T, D) unit rows. labels: (T,) clusters; negative ones are left as they are. linked: (T, T) symmetric.
    """
    labels = labels.copy()
    inside = np.flatnonzero(labels >= 0)
    labels[inside] = np.unique(labels[inside], return_inverse=True)[1]
    means = unit_means(rows[inside], labels[inside], _groups(labels[inside]))
    likeness = np.round(rows @ means.T, 9)
    held = linked[np.ix_(inside, inside)] & (labels[inside, None] == labels[inside])
    if not held.any():
        return labels
    new = len(means)
    settled: dict[int, list[int]] = {}
    for row in inside[np.lexsort((inside, -likeness[inside, labels[inside]]))].tolist():
        wanted = [labels[row], *np.argsort(-likeness[row], kind="stable").tolist(), new]
        for cluster in wanted:
            others = settled.setdefault(int(cluster), [])
            if not linked[row, others].any() and not (
                cluster != labels[row] and _is_awaited(linked, labels, row, cluster)
            ):
                break
        others.append(row)
        labels[row] = cluster
        new += cluster == new
    return labels


def _is_awaited(linked: NDArray[np.bool_], labels: NDArray[np.int64], row: int, cluster: int) -> bool:
    """Whether a cluster has, or is still to get, a row that is cannot-linked to this one."""
    return bool((linked[row] & (labels == cluster)).any())


def _groups(group: NDArray[np.int64]) -> int:
    return int(group.max(initial=-1)) + 1


def _k_means(x: NDArray[np.float64], least: int, greatest: int, linked: NDArray[np.bool_]) -> NDArray[np.integer]:
    """20 starts, a fixed seed."""
    labels: NDArray[np.integer] = KMeans(least, n_init=STARTS, random_state=SEED).fit_predict(x)
    return labels


def _affinity_propagation(
    x: NDArray[np.float64], least: int, greatest: int, linked: NDArray[np.bool_]
) -> NDArray[np.integer]:
    """Minus squared Euclidean distance, its median as preference, damping 0.5, or 0.9 if that does not settle.

    Where neither does, what it is at is no result: every row is noise. Cannot-linked rows have the least similarity of
    all.
    """
    similarity = 2.0 * (x @ x.T) - 2.0
    preference = float(np.median(similarity[~np.eye(len(x), dtype=bool)]))
    similarity[linked] = 4 * similarity.min()
    for damping in (0.5, 0.9):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", UserWarning)  # where all rows are equally alike
            fitted: Any = AffinityPropagation(
                affinity="precomputed", preference=preference, damping=damping, max_iter=ROUNDS, random_state=SEED
            ).fit(similarity)
        if fitted.n_iter_ < ROUNDS and (fitted.labels_ >= 0).all():
            labels: NDArray[np.integer] = fitted.labels_
            return labels
    return np.full(len(x), NOISE)


def _dbscan(x: NDArray[np.float64], least: int, greatest: int, linked: NDArray[np.bool_]) -> NDArray[np.integer]:
    """Two rows make a core; its reach is the knee of the sorted distances to the nearest row."""
    distance = _distances(x, linked)
    nearest = np.sort((distance + 4 * np.eye(len(x))).min(axis=1))
    line = np.linspace(nearest[0], nearest[-1], len(nearest))
    eps = float(nearest[np.argmax(line - nearest)])  # where the curve is farthest below its chord
    labels: NDArray[np.integer] = DBSCAN(eps=max(eps, 1e-6), min_samples=2, metric="precomputed").fit_predict(distance)
    return labels


def _hdbscan(x: NDArray[np.float64], least: int, greatest: int, linked: NDArray[np.bool_]) -> NDArray[np.integer]:
    labels: NDArray[np.integer] = HDBSCAN(
        min_cluster_size=2, metric="precomputed", allow_single_cluster=True, copy=True
    ).fit_predict(_distances(x, linked))
    return labels


def _distances(x: NDArray[np.float64], linked: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(T, T) cosine distances; 2, the largest there is, between cannot-linked rows."""
    distance = np.clip(1.0 - x @ x.T, 0.0, 2.0)
    distance[linked] = 2.0
    np.fill_diagonal(distance, 0.0)
    return np.asarray((distance + distance.T) / 2)


def _finch(x: NDArray[np.float64], least: int, greatest: int, linked: NDArray[np.bool_]) -> NDArray[np.integer]:
    """FINCH (Sarfraz et al., CVPR 2019).

    Components of the first-neighbour graph, then of that of their means, until nothing merges.

    Of these levels the second to last, as the last is nearly always one cluster; if that has too few clusters, the last
    that has enough. One that has too many is merged down, the nearest means first.
    """
    levels = [np.arange(len(x))]
    while True:
        level = levels[-1]
        means = unit_means(x, level, _groups(level))
        merged = _first_neighbours(means, _between(level, linked))[level]
        if merged.max() == level.max():
            break
        levels.append(merged)
    enough = [level for level in levels if level.max() + 1 >= least]
    level = levels[-2] if len(levels) > 2 and len(enough) >= len(levels) - 1 else enough[-1]
    return _merge_nearest_means(x, level, linked, greatest)


def _first_neighbours(means: NDArray[np.float64], cannot: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(G,) components of the graph in which each row is joined to its nearest one, unless all are forbidden."""
    likeness = np.round(means @ means.T, 9)
    likeness[cannot] = -np.inf
    np.fill_diagonal(likeness, -np.inf)
    first = likeness.argmax(axis=1)
    joined = np.flatnonzero(np.isfinite(likeness[np.arange(len(means)), first]))
    graph = coo_array((np.ones(len(joined), bool), (joined, first[joined])), shape=(len(means), len(means)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _between(group: NDArray[np.int64], linked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(G, G) whether a cannot-link lies between two groups."""
    cannot = np.zeros((group.max() + 1, group.max() + 1), bool)
    a, b = np.nonzero(linked)
    cannot[group[a], group[b]] = True
    return cannot


def _merge_nearest_means(
    x: NDArray[np.float64], group: NDArray[np.int64], linked: NDArray[np.bool_], k: int
) -> NDArray[np.int64]:
    """The two nearest means made one again and again, until k groups are left or cannot-links forbid it."""
    group = group.copy()
    while group.max() + 1 > k:
        means = unit_means(x, group, _groups(group))
        likeness = np.round(means @ means.T, 9)
        likeness[_between(group, linked)] = -np.inf
        np.fill_diagonal(likeness, -np.inf)
        a, b = np.unravel_index(likeness.argmax(), likeness.shape)
        if not np.isfinite(likeness[a, b]):
            break
        group[group == max(a, b)] = min(a, b)
        group = np.unique(group, return_inverse=True)[1]
    return group


k_means = with_links(_k_means)
affinity_propagation = with_links(_affinity_propagation)
dbscan = with_links(_dbscan)
hdbscan = with_links(_hdbscan)
finch = with_links(_finch)
