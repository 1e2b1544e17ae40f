"""The distance at which average linkage stops, found in the title itself: no threshold to set, no labels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FAR, _NEAR = (0.9, 10), (0.6, 10)


class Cut(NamedTuple):
    """Where to stop merging, and what that rests on.

    Attributes:
        distance: the cut, a mean cosine distance of two clusters.
        far: the distance at which two people typically lie.
        near: the distance at which loose pairs of one person lie.
        n_negatives: cannot-linked pairs that were used.
        n_positives: within-track distances that were used.
        separation: how well known pairs are told apart by one distance: the chance, 0 to 1, that a random within-track
            distance is smaller than a random cannot-linked one; NaN where either is missing.
    """

    distance: float
    far: float
    near: float
    n_negatives: int
    n_positives: int
    separation: float


def find_cut(
    embeddings: NDArray[np.floating],
    cannot: NDArray[np.integer],
    within: NDArray[np.floating] | None = None,
) -> Cut:
    """The cut of a title: 60 % of the way from where loose pairs of one person lie to where two people lie.

    *Far* is the mean of two estimates: the median distance of the cannot-linked pairs, which are sure but often of the
    same few characters, and the 60 % quantile of all pairs, most of which are two people. The first is weighted by its
    number of pairs, up to T, the second by T.
    *Near* is the 90 % quantile of the within-track distances or that of the distances from each track to its nearest
    one, whichever is larger: a track in one piece says little about the same face in another scene.
    Titles of few tracks are drawn to far 0.9 and near 0.6, what raw face embeddings show, as if by 10 more tracks.

    Both ends are measured in the embedding at hand, so the cut follows when an adapter stretches it. The quantiles and
    the 60 % of the way were chosen by us on labelled titles in five embeddings; nearby values do as well.

    Args:
        embeddings: (T, D) finite unit rows.
        cannot: (P, 2) row indices of pairs that are two people.
        within: cosine distances inside tracks, see `within_track_distances`; NaN entries are left out.

    Returns:
        T = 0 and T = 1 give the cut of far 0.9 and near 0.6, or of `within` if there is any. Cost O(T^2 D).
    """
    x = embeddings.astype(np.float64)
    pairs = np.unique(np.sort(np.asarray(cannot, np.int64).reshape(-1, 2), axis=1), axis=0)
    distance = 1.0 - x @ x.T
    negatives = distance[pairs[:, 0], pairs[:, 1]]
    every = distance[np.tri(len(x), k=-1, dtype=bool)]
    np.fill_diagonal(distance, np.inf)
    distance[pairs[:, 0], pairs[:, 1]] = distance[pairs[:, 1], pairs[:, 0]] = np.inf
    nearest = distance.min(axis=1, initial=np.inf)
    nearest = nearest[np.isfinite(nearest)]
    positives = np.zeros(0) if within is None else within[np.isfinite(within)].astype(np.float64)

    of_all, of_known = (_quantile(every, 0.6), len(x)), (_quantile(negatives, 0.5), min(len(negatives), len(x)))
    far = _weighed(of_all, of_known, _FAR) if len(every) else _FAR[0]
    loosest = max(_quantile(nearest, 0.9), _quantile(positives, 0.9))
    near = min(far, _weighed((loosest, max(len(nearest), len(positives))), _NEAR))
    # six digits, as the last ones depend on the threads of the matrix product
    distance_cut, far, near = (round(value, 6) for value in (near + 0.6 * (far - near), far, near))
    return Cut(distance_cut, far, near, len(negatives), len(positives), _chance_smaller(positives, negatives))


def within_track_distances(faces: NDArray[np.floating], track: NDArray[np.integer], tracks: int) -> NDArray[np.float32]:
    """Cosine distance between the mean embeddings of the first and the second half of each track.

    Args:
        faces: (N, D) unit embeddings, those of a track in the order of their frames.
        track: (N,) the row of each face's track, 0 to `tracks` - 1, in any order.
        tracks: T, the number of tracks.

    Returns:
        (T,) float32, 0 to 2; NaN for tracks of fewer than two faces. An odd track's middle face is in the second half.
    """
    order = np.argsort(track, kind="stable")
    count = np.bincount(track, minlength=tracks)
    place = np.arange(len(track)) - np.repeat(np.cumsum(count) - count, count)
    half = (place >= np.repeat(count // 2, count)).astype(np.int64)
    sums = np.zeros((tracks, 2, faces.shape[1]))
    np.add.at(sums, (track[order], half), faces[order])
    lengths = np.linalg.norm(sums, axis=2)
    cosine = np.full(tracks, np.nan)
    np.divide((sums[:, 0] * sums[:, 1]).sum(axis=1), lengths.prod(axis=1), out=cosine, where=lengths.all(axis=1))
    return np.asarray(1.0 - cosine, np.float32)


def _quantile(values: NDArray[np.float64], share: float) -> float:
    return float(np.quantile(values, share)) if len(values) else 0.0


def _weighed(*measured: tuple[float, int]) -> float:
    """The mean of (value, weight) pairs."""
    return sum(value * weight for value, weight in measured) / sum(weight for _, weight in measured)


def _chance_smaller(positives: NDArray[np.float64], negatives: NDArray[np.float64]) -> float:
    """The area under the ROC curve of two samples, ties counted half; NaN where one is empty."""
    if not len(positives) or not len(negatives):
        return float("nan")
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, side="left") + np.searchsorted(ordered, positives, side="right")
    return float(1.0 - below.mean() / 2 / len(negatives))
