"""Whitening by the characters found on the way: what varies inside them is made small, without a label or a gradient.

Not from the papers. The within-class covariance normalisation of speaker verification, with the classes found by
clustering: each title's tracks are grouped cautiously, the scatter inside the groups of all titles is pooled, the
embedding is divided by its root, and with the better distances all is done again. It moves what the losses of the
papers cannot see: how a person's tracks differ between scenes. Inside one track, light and pose hardly change.

`discriminant` then weighs the directions of the whitened space by how far the groups of one title lie apart along them:
linear discriminant analysis without a label, and without throwing a direction away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

LARGEST_TITLE = 4096  # tracks of a title that are clustered; of more, as many are drawn


def group_tracks(embeddings: NDArray[np.floating], cut: float) -> NDArray[np.int64]:
    """Average linkage on cosine distance, stopped early.

    It stops `cut` of the way from near to far: near is the 95 % quantile of the distances from each row to its nearest,
    far the 60 % quantile of all distances, most of which are between two people.

    Args:
        embeddings: (T, D) unit rows of one title.
        cut: 0 for pure and small groups, 1 for whole and mixed ones.
    Returns:
        (T,) group numbers from 0. T = 0 and T = 1 give no pairs, so nothing is joined.
    """
    if len(embeddings) < 2:
        return np.arange(len(embeddings))
    x = embeddings.astype(np.float64)
    distance = np.maximum(1.0 - x @ x.T, 0.0)
    np.fill_diagonal(distance, np.inf)
    near = np.quantile(distance.min(axis=1), 0.95)
    np.fill_diagonal(distance, 0.0)
    pairs = squareform(distance, checks=False)
    far = np.quantile(pairs, 0.6)
    return fcluster(linkage(pairs, "average"), near + cut * (far - near), "distance").astype(np.int64) - 1


def within_scatter(rows: NDArray[np.floating], group: NDArray[np.int64], least: int) -> tuple[NDArray[np.float64], int]:
    """Scatter of rows around the mean of their group, and of how many rows it is.

    Args:
        rows: (T, D). group: (T,) from 0.
        least: rows that a group must have to count.
    Returns:
        (D, D) sums of outer products, not divided; zeros and 0 where no group is large enough.
    """
    counted = (np.bincount(group, minlength=1) >= least)[group]
    x, group = rows[counted].astype(np.float64), group[counted]
    sums = np.zeros((group.max(initial=-1) + 1, rows.shape[1]))
    np.add.at(sums, group, x)
    away = x - sums[group] / np.bincount(group)[group, None] if len(x) else x
    return away.T @ away, len(x)


def between_scatter(
    rows: NDArray[np.floating], group: NDArray[np.int64], least: int
) -> tuple[NDArray[np.float64], int, float]:
    """Scatter of the means of one title's groups around the mean of them.

    Args: as `within_scatter`.
    Returns:
        (D, D) sum of outer products, of how many groups, and the sum of 1 / rows over these groups; zeros where fewer
        than two count.
    """
    size = np.bincount(group, minlength=1)
    counted = np.flatnonzero(size >= least)
    if len(counted) < 2:
        return np.zeros((rows.shape[1], rows.shape[1])), 0, 0.0
    sums = np.zeros((len(size), rows.shape[1]))
    np.add.at(sums, group, rows.astype(np.float64))
    means = sums[counted] / size[counted, None]
    away = means - means.mean(axis=0)
    return away.T @ away, len(counted), float((1 / size[counted]).sum())


def discriminant(
    within: NDArray[np.float64], between: NDArray[np.float64], inverse_size: float, floor: float
) -> NDArray[np.float64]:
    """(D, D) symmetric map of a whitened space: each direction by `sqrt(b / (b + w))`.

    There w is the variance inside groups, alike in all directions of a whitened space, and b that of the groups' true
    means: what noise of w adds to means of few rows is taken off. b / (b + w) is the share of a direction's variance
    that tells people apart.

    Args:
        within, between: (D, D) covariances inside groups, and of the groups' means.
        inverse_size: 1 / rows of a group, the mean over groups.
        floor: 0 to 1, how far b is drawn to its mean. At 0 directions in which the people at hand do not differ count
            for nothing, and people who are not among them may differ in just these.
    Returns:
        The identity where the means do not differ by more than noise does.
    """
    w = np.trace(within) / len(within)
    values, axes = np.linalg.eigh(between)
    b = np.maximum(values - w * inverse_size, 0.0)
    b = (1 - floor) * b + floor * b.mean()
    return (axes * np.sqrt(b / (b + w))) @ axes.T if b.any() else np.eye(len(within))


def whitener(scatter: NDArray[np.float64], n: int, caution: float) -> NDArray[np.float64]:
    """(D, D) symmetric map by which the pooled scatter becomes round, as far as n rows can tell its shape.

    The covariance is drawn to a multiple of the identity that weighs as `caution * D` rows do: with few rows the map
    stays close to the identity, in which it begins.

    Args:
        scatter: (D, D), sum over `n` rows.
    Returns:
        The identity for n = 0.
    """
    dim = len(scatter)
    if n == 0:
        return np.eye(dim)
    level = np.trace(scatter) / n / dim
    mixed = (scatter + caution * dim * level * np.eye(dim)) / (n + caution * dim) / level
    values, axes = np.linalg.eigh(mixed)
    return (axes / np.sqrt(values)) @ axes.T


def draw_pairs(rows: int, seed: int) -> NDArray[np.int64]:
    """Which rows of a title are clustered, ascending: all, or LARGEST_TITLE of them."""
    if rows <= LARGEST_TITLE:
        return np.arange(rows)
    return np.sort(np.random.default_rng(seed).choice(rows, LARGEST_TITLE, replace=False))
