"""Scores of a clustering against the truth.

Everything is counted first and divided last, so the counts of titles add up to those of a corpus (where the same
character number in two titles is two clusters, and the same name two people).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import xlogy

UNKNOWN = -1


class CrossTable(NamedTuple):
    """T tracks of L true labels in C characters.

    Attributes:
        labels, characters: (L,) and (C,) their names, sorted.
        label, character: (T,) int64, where each track's stands among them; character -1 where it is unknown.
        counts: (L, C) int64, tracks. Unknown tracks are in no cell.
    """

    labels: NDArray
    characters: NDArray[np.integer]
    label: NDArray[np.int64]
    character: NDArray[np.int64]
    counts: NDArray[np.int64]

    def assigned(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The best one-to-one assignment: places of labels, and of the characters they get."""
        rows, columns = linear_sum_assignment(self.counts, maximize=True)
        return rows, columns

    def majority(self) -> NDArray[np.int64]:
        """(C + 1,) the label of most of a character's tracks, of equally many the first; -1, the last, for unknown."""
        return np.append(self.counts.argmax(axis=0) if len(self.labels) else [], -1).astype(np.int64)

    def home(self) -> NDArray[np.int64]:
        """(L,) the character with most of a label's tracks, of equally many the first; -1 where there are none."""
        found = self.counts.argmax(axis=1) if len(self.characters) else -1
        return np.where(self.counts.any(axis=1), found, -1)


def cross_table(true: Sequence | NDArray, predicted: NDArray[np.integer]) -> CrossTable:
    """Arguments and errors as in `count`; T = 0 gives empty arrays. Cost O(T log T + L C)."""
    true, predicted = np.asarray(true), np.asarray(predicted)
    if len(true) != len(predicted):
        raise ValueError(f"{len(true)} true labels for {len(predicted)} tracks")
    labels, label = np.unique(true, return_inverse=True)
    known = predicted != UNKNOWN
    characters, of_known = np.unique(predicted[known], return_inverse=True)
    character = np.full(len(predicted), UNKNOWN)
    character[known] = of_known
    counts = np.zeros((len(labels), len(characters)), np.int64)
    np.add.at(counts, (label[known], of_known), 1)
    return CrossTable(labels, characters, label, character, counts)


@dataclass(frozen=True)
class Counts:
    """Sums over the table of T tracks, true labels k and clusters c, with n_kc tracks in a cell. They add.

    Attributes:
        tracks: T.
        unknown: tracks without a character.
        true_k, predicted_k: true labels, and clusters without those of unknown tracks.
        cells, clusters, classes: sums of n ln n over n_kc, n_c and n_k.
        cell_pairs, cluster_pairs, class_pairs: pairs of tracks in one cell, cluster, true label.
        precision, recall: sums of n_kc^2 / n_c and of n_kc^2 / n_k.
        majority: tracks of their cluster's majority label.
        assigned: tracks that are right under the best one-to-one assignment of clusters to labels.
    """

    tracks: float = 0.0
    unknown: float = 0.0
    true_k: float = 0.0
    predicted_k: float = 0.0
    cells: float = 0.0
    clusters: float = 0.0
    classes: float = 0.0
    cell_pairs: float = 0.0
    cluster_pairs: float = 0.0
    class_pairs: float = 0.0
    precision: float = 0.0
    recall: float = 0.0
    majority: float = 0.0
    assigned: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def count(true: Sequence | NDArray, predicted: NDArray[np.integer]) -> Counts:
    """Count one title.

    An unknown track is a cluster of its own in the sums behind V, B-cubed and the Rand index, and wrong in `majority`
    and `assigned`; it is none of `predicted_k`.

    Args:
        true: (T,) int or str labels.
        predicted: (T,) int, the character; -1 = unknown or rejected.

    Returns:
        All zeros for T = 0. Cost: O(T) and a table of K_true x K_predicted, for the assignment O(K^3).

    Raises:
        ValueError: lengths that differ.
    """
    crossed = cross_table(true, predicted)
    if not len(crossed.label):
        return Counts()
    table = crossed.counts.astype(float)
    known = crossed.character != UNKNOWN
    alone = len(known) - known.sum()  # each a cell and a cluster of one: n ln n = 0 and no pairs
    of_label, of_cluster = np.bincount(crossed.label).astype(float), table.sum(axis=0)
    return Counts(
        tracks=len(known),
        unknown=float(alone),
        true_k=len(of_label),
        predicted_k=len(of_cluster),
        cells=xlogy(table, table).sum(),
        clusters=xlogy(of_cluster, of_cluster).sum(),
        classes=xlogy(of_label, of_label).sum(),
        cell_pairs=_pairs(table),
        cluster_pairs=_pairs(of_cluster),
        class_pairs=_pairs(of_label),
        precision=(table**2 / of_cluster).sum() + alone,
        recall=(table**2 / of_label[:, None]).sum() + (1 / of_label[crossed.label[~known]]).sum(),
        majority=table.max(axis=0).sum(),
        assigned=table[crossed.assigned()].sum(),
    )


def compute_figures(counts: Counts) -> dict[str, float]:
    """The figures of a title or, from added counts, of a corpus.

    Returns:
        homogeneity, completeness, v_measure (BCL's NMI), wcp (weighted cluster purity), bcubed_precision,
        bcubed_recall, bcubed_f, adjusted_rand, accuracy (Hungarian), cluster_ratio (predicted / true number: MvCorr's
        OCI, VideoClusterNet's PCR), operator_clicks (one to name each cluster, one for each track that is not of its
        cluster's majority or unknown), n_true, n_predicted, n_tracks, unknown_share. Shares are 0 to 1, adjusted_rand
        is -0.5 to 1. A share of nothing is 1, as there is no error in it; unknown_share is then 0.
    """
    n = counts.tracks
    total = float(xlogy(n, n))
    homogeneity = max(0.0, 1 - share(counts.clusters - counts.cells, total - counts.classes, nothing=0))
    completeness = max(0.0, 1 - share(counts.classes - counts.cells, total - counts.clusters, nothing=0))
    precision, recall = share(counts.precision, n), share(counts.recall, n)
    by_chance = share(counts.class_pairs * counts.cluster_pairs, n * (n - 1) / 2, nothing=0)
    at_best = (counts.class_pairs + counts.cluster_pairs) / 2
    return {
        "homogeneity": homogeneity,
        "completeness": completeness,
        "v_measure": _harmonic(homogeneity, completeness),
        "wcp": share(counts.majority, n),
        "bcubed_precision": precision,
        "bcubed_recall": recall,
        "bcubed_f": _harmonic(precision, recall),
        "adjusted_rand": share(counts.cell_pairs - by_chance, at_best - by_chance),
        "accuracy": share(counts.assigned, n),
        "cluster_ratio": share(counts.predicted_k, counts.true_k),
        "operator_clicks": counts.predicted_k + n - counts.majority,
        "n_true": counts.true_k,
        "n_predicted": counts.predicted_k,
        "n_tracks": n,
        "unknown_share": share(counts.unknown, n, nothing=0),
    }


def score(true: Sequence | NDArray, predicted: NDArray[np.integer]) -> dict[str, float]:
    """Both sets of figures of one title: over all tracks and, with `known_` before the name, without the unknown ones.

    The known set alone flatters a clustering that gives up often (with no known track at all it is 1 throughout), so
    `unknown_share` stands beside it always.

    Arguments and errors as in `count`, names as in `compute_figures`.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    every = count(true, predicted)
    known = predicted != UNKNOWN
    return compute_figures(every) | score_known(count(true[known], predicted[known]))


def mark_right(true: Sequence | NDArray, predicted: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(T,) whether a track's character is the one that its label gets by the best one-to-one assignment.

    The share of right tracks is the accuracy of `compute_figures`. Arguments and errors as in `count`.
    """
    crossed = cross_table(true, predicted)
    label_of = np.full(len(crossed.characters) + 1, -2)  # -2: no label gets it; the last entry is for unknown tracks
    rows, columns = crossed.assigned()
    label_of[columns] = rows
    return np.asarray(label_of[crossed.character] == crossed.label)


def mark_pure(true: Sequence | NDArray, predicted: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(T,) whether a track has the label of most of its character's tracks (of equally many, the smaller one).

    The share of pure tracks is the WCP of `compute_figures`. Unknown tracks are not pure. Arguments and errors as in
    `count`.
    """
    crossed = cross_table(true, predicted)
    return np.asarray(crossed.majority()[crossed.character] == crossed.label)


def calibration_error(confidence: NDArray[np.floating], correct: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error (Naeini, Cooper and Hauskrecht, AAAI 2015): how far confidence is from the share of
    right ones, mean over equal bins of confidence weighed by their tracks.

    Args:
        confidence: (T,) 0 to 1. correct: (T,).

    Returns:
        0 to 1; 0 for T = 0.
    """
    place = confidence_bin(confidence, bins)
    sums = (np.bincount(place, values, bins) for values in (confidence, correct.astype(float)))
    return float(np.abs(np.subtract(*sums)).sum() / max(len(confidence), 1))


def confidence_bin(confidence: NDArray[np.floating], bins: int = 10) -> NDArray[np.int64]:
    """(T,) the equal bin, 0 to bins - 1, in which a confidence of 0 to 1 lies; 1 is in the last one."""
    return np.minimum((np.asarray(confidence, np.float64) * bins).astype(np.int64), bins - 1)


def over_time(
    true: Sequence | NDArray, predicted: NDArray[np.integer], seconds: NDArray[np.floating]
) -> dict[str, float]:
    """Purity and coverage as diarisation has them: of time on screen instead of tracks.

    Args:
        true, predicted: as in `count`.
        seconds: (T,) how long each track lasts.

    Returns:
        time_purity: the share of all tracks' seconds that are of their character's longest label; unknown ones are not.
        time_coverage: the share that are in the character which holds most of their label; unknown tracks are
        characters of their own. Both 1 where there are no seconds.
    """
    if not len(predicted):
        return {"time_purity": 1.0, "time_coverage": 1.0}
    _, label = np.unique(np.asarray(true), return_inverse=True)
    alone = np.where(predicted == UNKNOWN, -1 - np.arange(len(predicted)), predicted)
    names, cluster = np.unique(alone, return_inverse=True)
    table = np.zeros((label.max() + 1, len(names)))
    np.add.at(table, (label, cluster), np.asarray(seconds, np.float64))
    total = float(table.sum())
    return {
        "time_purity": share(float(table[:, names >= 0].max(axis=0, initial=0).sum()), total),
        "time_coverage": share(float(table.max(axis=1).sum()), total),
    }


def score_known(counts: Counts) -> dict[str, float]:
    """`compute_figures` of counts over the tracks with a character, each name with `known_` before it."""
    return {f"known_{name}": value for name, value in compute_figures(counts).items() if name != "unknown_share"}


def _pairs(n: NDArray[np.floating]) -> float:
    return float((n * (n - 1) / 2).sum())


def share(part: float, whole: float, nothing: float = 1) -> float:
    """part / whole; `nothing` where both are 0, up to the rounding of the sums."""
    return float(part / whole) if abs(whole) > 1e-9 else float(nothing)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
