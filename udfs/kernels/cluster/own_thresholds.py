"""VideoClusterNet's final matching alone: every track brings the threshold at which others match it.

The paper's fine-tuning, its loss as the distance and its quality filter are no part of this.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from udfs.kernels.cluster.hac import check_embeddings
from udfs.kernels.cluster.interface import (
    NO_LINKS,
    UNBOUNDED,
    Bounds,
    Clusterer,
    Clustering,
    FaceSets,
    Links,
    in_order_of_appearance,
    join_must_links,
)


def measure_spread(faces: NDArray[np.floating]) -> float:
    """The mean cosine distance of the pairs of (n, D) unit rows; NaN for fewer than two."""
    n, total = len(faces), faces.sum(axis=0, dtype=np.float64)
    return float(1.0 - (total @ total - n) / (n * (n - 1))) if n > 1 else float("nan")


def own_thresholds(faces: FaceSets) -> Clusterer:
    """`cluster_by_faces` of tracks that have these faces."""
    return functools.partial(cluster_by_faces, faces)


def cluster_by_faces(
    faces: FaceSets, embeddings: NDArray[np.floating], links: Links = NO_LINKS, bounds: Bounds = UNBOUNDED
) -> Clustering:
    """The method of VideoClusterNet (section 3.7) on cosine distances in the place of its loss.

    The distance of two tracks is the mean over all pairs of their faces, which follows from their means and from how
    far their faces lie apart. A track of one face, whose threshold the paper leaves open, takes the median of the
    others. What it means for cannot-links, which the paper does not know, see `match_clusters`.

    Args:
        faces: of the tracks.
        embeddings: (T, D) their unit means.
        bounds: not heeded; the number is always found.

    Raises:
        ValueError: as `hac.average_linkage`.
    """
    x = check_embeddings(embeddings, links)
    spread = np.asarray(faces.intra_track, np.float64)
    known = np.isfinite(spread)
    threshold = np.where(known, spread, np.median(spread[known]) if known.any() else 0.0)
    count = np.maximum(faces.n, 1)
    length = np.sqrt(np.maximum(((1.0 - threshold) * (count - 1) + 1.0) / count, 0.0))  # of the mean before it is unit
    distance = np.round(1.0 - (x * length[:, None]) @ (x * length[:, None]).T, 9)
    labels = in_order_of_appearance(match_clusters(distance, threshold, links))
    return Clustering(labels, int(labels.max(initial=-1)) + 1, np.zeros(0))


def match_clusters(
    distance: NDArray[np.floating],
    threshold: NDArray[np.floating],
    links: Links,
    first: NDArray[np.floating] | None = None,
) -> NDArray[np.int64]:
    """(T,) clusters, each named by its first row, of VideoClusterNet's matching on any distance.

    Two clusters match where the mean distance of their tracks is below the threshold of either; chains of matches
    merge, round by round, until nothing matches. A cluster's threshold is the mean distance of its pairs of tracks, of
    a single track its own. Cannot-linked clusters do not match, and of a chain that would join such a pair the pair of
    greatest distance is left out.

    Args:
        distance: (T, T) symmetric, of tracks; its diagonal is not read.
        threshold: (T,) of tracks.
        links: must-linked rows start as one cluster.
        first: (T, T) symmetric, in the place of `distance` in the first round.
    """
    off, rounds = _without_diagonal(distance if first is None else first), 0
    label = join_must_links(len(off), links)
    while True:
        if rounds == 1 and first is not None:
            off = _without_diagonal(distance)
        rounds += 1
        names, cluster = np.unique(label, return_inverse=True)
        size = np.bincount(cluster)
        member = csr_array((np.ones(len(off)), (cluster, np.arange(len(off)))), shape=(len(names), len(off)))
        total = member @ (member @ off).T
        own = np.where(size > 1, total.diagonal() / np.maximum(size * (size - 1), 1), threshold[names])
        mean = np.round(total / np.outer(size, size), 9)
        a, b = np.nonzero(np.triu(mean < np.maximum.outer(own, own), 1))
        order = np.lexsort((b, a, mean[a, b]))
        group = join_must_links(len(names), Links(cluster[links.cannot], np.column_stack([a, b])[order]))
        if len(np.unique(group)) == len(names) and (rounds > 1 or first is None):
            return label
        label = names[group[cluster]]


def _without_diagonal(distance: NDArray[np.floating]) -> NDArray[np.float64]:
    off = np.array(distance, np.float64)
    np.fill_diagonal(off, 0.0)
    return off
