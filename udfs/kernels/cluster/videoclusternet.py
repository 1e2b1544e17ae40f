"""VideoClusterNet's final clustering (section 3.7, algorithm 1): its own loss as the distance, no number to set.

`S(x, y) = (l(x, y) + l(y, x)) / 2` of two crops, `l(x, y) = -<p(x), ln q(y)>`: how badly the student guesses of one
what the teacher says of the other. A track's threshold is the mean of S over its own pairs of crops.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from udfs.kernels.cluster.interface import NO_LINKS, Clustering, Links, in_order_of_appearance
from udfs.kernels.cluster.own_thresholds import match_clusters


class Answers(NamedTuple):
    """What teacher and student of a fine-tuned network say of some crops.

    Attributes:
        teacher, student: (F, D) outputs of their heads, unnormalised.
        centre: (D,) of the teacher's outputs. temperatures: the teacher's and the student's.
    """

    teacher: NDArray[np.floating]
    student: NDArray[np.floating]
    centre: NDArray[np.floating]
    temperatures: tuple[float, float]

    def distributions(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(F, D) p, and (F, D) ln q."""
        teacher, student = np.asarray(self.teacher, np.float64), np.asarray(self.student, np.float64)
        said, guessed = self.temperatures
        return softmax((teacher - self.centre) / said, axis=1), log_softmax(student / guessed, axis=1)

    def means(self, track: NDArray[np.integer], n_tracks: int) -> Answers:
        """Of tracks: the means of their crops' outputs."""
        return self._replace(
            teacher=mean_of_tracks(self.teacher, track, n_tracks), student=mean_of_tracks(self.student, track, n_tracks)
        )


class Spaces(NamedTuple):
    """Distances of T tracks by the loss.

    Attributes:
        by_crops: (T, T) mean S over the pairs of two tracks' crops.
        by_means: (T, T) S of the tracks' mean outputs.
        threshold: (T,) mean S over the pairs of a track's own crops.
    """

    by_crops: NDArray[np.float64]
    by_means: NDArray[np.float64]
    threshold: NDArray[np.float64]


def mean_of_tracks(rows: NDArray[np.floating], track: NDArray[np.integer], n_tracks: int) -> NDArray[np.float64]:
    """(T, D) means of the (F, D) rows of each track; 0 where it has none."""
    total = np.zeros((n_tracks, rows.shape[1]))
    np.add.at(total, track, rows)
    return total / np.maximum(np.bincount(track, minlength=n_tracks), 1)[:, None]


def measure_tracks(answers: Answers, mirrored: Answers, track: NDArray[np.integer], n_tracks: int) -> Spaces:
    """Distances of all pairs of tracks, exact, by two matrix products: S is linear in p and in ln q.

    Args:
        answers: to the crops. mirrored: to their mirror images, in the same order: a single crop's own pair.
        track: (F,) the place of each crop's track; every track has one at least.
    """
    p, log_q = answers.distributions()
    mean_p, mean_q = (mean_of_tracks(rows, track, n_tracks) for rows in (p, log_q))
    count = np.bincount(track, minlength=n_tracks)
    with_itself = -np.bincount(track, (p * log_q).sum(axis=1), minlength=n_tracks)
    among = -(mean_p * mean_q).sum(axis=1) * count**2 - with_itself
    p_mirror, q_mirror = mirrored.distributions()
    with_mirror = -((p * q_mirror).sum(axis=1) + (p_mirror * log_q).sum(axis=1)) / 2
    alone = np.bincount(track, with_mirror, minlength=n_tracks) / np.maximum(count, 1)
    threshold = np.where(count > 1, among / np.maximum(count * (count - 1), 1), alone)
    return Spaces(_both_ways(mean_p, mean_q), _both_ways(*answers.means(track, n_tracks).distributions()), threshold)


def _both_ways(p: NDArray[np.float64], log_q: NDArray[np.float64]) -> NDArray[np.float64]:
    found = -(p @ log_q.T)
    return (found + found.T) / 2


def cluster_by_loss(spaces: Spaces, links: Links = NO_LINKS) -> Clustering:
    """The first round goes by the pairs of crops, later ones by the tracks' means, so that the work does not grow.

    What it means for cannot-links, which the paper does not know, see `match_clusters`.
    """
    labels = match_clusters(spaces.by_means, spaces.threshold, links, first=spaces.by_crops)
    labels = in_order_of_appearance(labels)
    return Clustering(labels, int(labels.max(initial=-1)) + 1, np.zeros(0))
