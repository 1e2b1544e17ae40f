"""VideoClusterNet's coarse track matching (section 3.5): whose crops may stand for whose. No threshold is set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

LOWEST = 0.25  # of a track's own densities make its threshold
FEWEST = 3  # crops of a track that a normal is fitted to
SHARED = 0.5  # of each variance that is the mean over all directions


def match_tracks(crops: NDArray[np.floating], track: NDArray[np.integer], n_tracks: int) -> NDArray[np.bool_]:
    """(T, T): whether track j matches track i: its mean is as likely under i's normal as i's own unlikeliest crops.

    The paper fits a full covariance, which does not exist for ten crops in 512 directions. Here it is diagonal, and
    half of each variance is the mean of all. Nothing matches itself, or a track of fewer than three crops.

    Args:
        crops: (F, D) embeddings. track: (F,) the place of each crop's track among n_tracks.
    """
    x = np.asarray(crops, np.float64)
    means, variances, counts = _moments(x, track, n_tracks)
    fitted = counts >= FEWEST
    variances = np.where(fitted[:, None], variances, 1.0)
    own = _log_density(x - means[track], variances[track])
    matches = np.zeros((n_tracks, n_tracks), bool)
    for i in np.flatnonzero(fitted):
        matches[i] = _log_density(means - means[i], variances[i]) >= _lowest(own[track == i])
    matches[:, counts == 0] = False
    np.fill_diagonal(matches, False)
    return matches


def match_by_cosine(
    crops: NDArray[np.floating], track: NDArray[np.integer], n_tracks: int, least: float
) -> NDArray[np.bool_]:
    """(T, T): whether two tracks' means have this cosine at least; the paper's own thresholds are measured against it.

    Arguments as of `match_tracks`; crops are unit rows.
    """
    means, _, counts = _moments(np.asarray(crops, np.float64), track, n_tracks)
    unit = means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    matches = (unit @ unit.T >= least) & (counts > 0)[:, None] & (counts > 0)
    np.fill_diagonal(matches, False)
    return matches


def _moments(
    x: NDArray[np.float64], track: NDArray[np.integer], n_tracks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """(T, D) means, (T, D) variances drawn to their mean, never 0, (T,) numbers of crops."""
    counts = np.bincount(track, minlength=n_tracks)
    at_least_one = np.maximum(counts, 1)[:, None]
    means, squares = np.zeros((n_tracks, x.shape[1])), np.zeros((n_tracks, x.shape[1]))
    np.add.at(means, track, x)
    means /= at_least_one
    np.add.at(squares, track, (x - means[track]) ** 2)
    squares /= at_least_one
    drawn = (1 - SHARED) * squares + SHARED * squares.mean(axis=1, keepdims=True)
    return means, np.maximum(drawn, np.finfo(np.float64).tiny), counts


def _log_density(away: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) of (N, D) rows, of a normal around 0; less a constant that all have."""
    return -0.5 * (away**2 / variance + np.log(variance)).sum(axis=-1)


def _lowest(own: NDArray[np.float64]) -> float:
    """The log of the mean of the lowest quarter of densities."""
    n = int(np.ceil(LOWEST * len(own)))
    return float(logsumexp(np.sort(own)[:n]) - np.log(n))


def draw_partners(
    track: NDArray[np.integer], matches: NDArray[np.bool_] | None, random: np.random.Generator
) -> NDArray[np.int64]:
    """(F,) for each crop a random crop of a random track that its own one matches; of its own one where there is none.

    Args:
        track: (F,) the place of each crop's track. matches: (T, T), as `match_tracks`; None for no matches at all.
    """
    order = np.argsort(track, kind="stable")
    counts = np.bincount(track, minlength=0 if matches is None else len(matches))
    first = np.cumsum(counts) - counts
    of = np.asarray(track).copy()
    if matches is not None:
        n_matches = matches.sum(axis=1)
        rank = (random.random(len(track)) * n_matches[track]).astype(np.int64)
        places = np.argsort(~matches, axis=1, kind="stable")  # a track's matches first
        of = np.where(n_matches[track] > 0, places[track, np.minimum(rank, len(matches) - 1)], track)
    place = first[of] + (random.random(len(track)) * counts[of]).astype(np.int64)
    return order[place]
