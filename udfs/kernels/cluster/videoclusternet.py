"""VideoClusterNet's final clustering (section 3.7, algorithm 1): its own loss as the distance, no number to set.

`S(x, y) = (l(x, y) + l(y, x)) / 2` of two crops, `l(x, y) = -<p(x), ln q(y)>`: how badly the student guesses of one
what the teacher says of the other. A track's threshold is the mean of S over its own pairs of crops.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from udfs.kernels.cluster.hac import check_embeddings
from udfs.kernels.cluster.interface import (
    NO_LINKS,
    UNBOUNDED,
    Bounds,
    Clusterer,
    Clustering,
    Links,
    in_order_of_appearance,
)
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


class TrackAnswers(NamedTuple):
    """What distances by the loss need of T tracks, all linear in the crops' answers; NaN rows of a track without crops.

    Attributes:
        said, guessed: (T, D) means over a track's crops of p and of ln q.
        said_of_mean, guessed_of_mean: (T, D) p and ln q of the means of its crops' outputs.
        threshold: (T,) mean S over the pairs of its own crops.
    """

    said: NDArray[np.floating]
    guessed: NDArray[np.floating]
    said_of_mean: NDArray[np.floating]
    guessed_of_mean: NDArray[np.floating]
    threshold: NDArray[np.floating]

    def among(self, rows: NDArray[np.integer]) -> TrackAnswers:
        """Those of some tracks."""
        return TrackAnswers(*(part[rows] for part in self))

    def between_crops(self) -> NDArray[np.float64]:
        """(T, T) mean S over the pairs of two tracks' crops."""
        return _both_ways(self.said, self.guessed)

    def between_means(self) -> NDArray[np.float64]:
        """(T, T) S of the tracks' mean outputs."""
        return _both_ways(self.said_of_mean, self.guessed_of_mean)


def _both_ways(p: NDArray[np.floating], log_q: NDArray[np.floating]) -> NDArray[np.float64]:
    found = -(p.astype(np.float64) @ log_q.T.astype(np.float64))
    return (found + found.T) / 2


def mean_of_tracks(rows: NDArray[np.floating], track: NDArray[np.integer], n_tracks: int) -> NDArray[np.float64]:
    """(T, D) means of the (F, D) rows of each track; NaN where it has none."""
    total, counts = np.zeros((n_tracks, rows.shape[1])), np.bincount(track, minlength=n_tracks)
    np.add.at(total, track, rows)
    return total / np.where(counts > 0, counts, np.nan)[:, None]


def summarise_tracks(answers: Answers, mirrored: Answers, track: NDArray[np.integer], n_tracks: int) -> TrackAnswers:
    """What is to be kept of the answers to crops: exact, as S is linear in p and in ln q.

    Args:
        answers: to the crops.
        mirrored: to the mirror images of the crops that are their track's only one, in the order of the crops: the pair
            of such a track.
        track: (F,) the place of each crop's track.
    """
    p, log_q = answers.distributions()
    said, guessed = (mean_of_tracks(rows, track, n_tracks) for rows in (p, log_q))
    count = np.bincount(track, minlength=n_tracks)
    with_itself = -np.bincount(track, (p * log_q).sum(axis=1), minlength=n_tracks)
    among = -(said * guessed).sum(axis=1) * count**2 - with_itself
    threshold = np.where(count > 1, among / np.maximum(count * (count - 1), 1), np.nan)
    only = count[track] == 1
    p_mirror, q_mirror = mirrored.distributions()
    threshold[track[only]] = -((p[only] * q_mirror).sum(axis=1) + (p_mirror * log_q[only]).sum(axis=1)) / 2
    means = answers._replace(
        teacher=mean_of_tracks(answers.teacher, track, n_tracks),
        student=mean_of_tracks(answers.student, track, n_tracks),
    )
    return TrackAnswers(said, guessed, *means.distributions(), threshold)


def by_loss(answers: TrackAnswers) -> Clusterer:
    """`cluster_by_loss` of tracks with these answers."""
    return functools.partial(cluster_by_loss, answers)


def cluster_by_loss(
    answers: TrackAnswers, embeddings: NDArray[np.floating], links: Links = NO_LINKS, bounds: Bounds = UNBOUNDED
) -> Clustering:
    """The first round goes by the pairs of crops, later ones by the tracks' means, so that the work does not grow.

    What it means for cannot-links, which the paper does not know, see `match_clusters`.

    Args:
        answers: to the tracks' crops.
        embeddings: (T, D) of the tracks, checked alone. bounds: not heeded; the number is always found.
    Raises:
        ValueError: as `hac.average_linkage`.
    """
    check_embeddings(embeddings, links)
    found = match_clusters(answers.between_means(), answers.threshold, links, first=answers.between_crops())
    labels = in_order_of_appearance(found)
    return Clustering(labels, int(labels.max(initial=-1)) + 1, np.zeros(0))
