"""Scores of a clustering against the truth, and truth by boxes brought to tracks. Methods cards 6, 8 and 10.

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
FPR = (0.001, 0.01, 0.1)  # of verification


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


def figures(counts: Counts) -> dict[str, float]:
    """The figures of a title or, from added counts, of a corpus.

    Returns:
        homogeneity, completeness, v_measure (the NMI of card 8), wcp (weighted cluster purity), bcubed_precision,
        bcubed_recall, bcubed_f, adjusted_rand, accuracy (Hungarian), cluster_ratio (predicted / true number: the OCI
        of card 6 and PCR of card 10), operator_clicks (one to name each cluster, one for each track that is not of its
        cluster's majority or unknown), n_true, n_predicted, n_tracks, unknown_share. Shares are 0 to 1, adjusted_rand
        is -0.5 to 1. A share of nothing is 1, as there is no error in it; unknown_share is then 0.
    """
    n = counts.tracks
    total = float(xlogy(n, n))
    homogeneity = max(0.0, 1 - _share(counts.clusters - counts.cells, total - counts.classes, nothing=0))
    completeness = max(0.0, 1 - _share(counts.classes - counts.cells, total - counts.clusters, nothing=0))
    precision, recall = _share(counts.precision, n), _share(counts.recall, n)
    by_chance = _share(counts.class_pairs * counts.cluster_pairs, n * (n - 1) / 2, nothing=0)
    at_best = (counts.class_pairs + counts.cluster_pairs) / 2
    return {
        "homogeneity": homogeneity,
        "completeness": completeness,
        "v_measure": _harmonic(homogeneity, completeness),
        "wcp": _share(counts.majority, n),
        "bcubed_precision": precision,
        "bcubed_recall": recall,
        "bcubed_f": _harmonic(precision, recall),
        "adjusted_rand": _share(counts.cell_pairs - by_chance, at_best - by_chance),
        "accuracy": _share(counts.assigned, n),
        "cluster_ratio": _share(counts.predicted_k, counts.true_k),
        "operator_clicks": counts.predicted_k + n - counts.majority,
        "n_true": counts.true_k,
        "n_predicted": counts.predicted_k,
        "n_tracks": n,
        "unknown_share": _share(counts.unknown, n, nothing=0),
    }


def score(true: Sequence | NDArray, predicted: NDArray[np.integer]) -> dict[str, float]:
    """Both sets of figures of one title: over all tracks and, with `known_` before the name, without the unknown ones.

    The known set alone flatters a clustering that gives up often (with no known track at all it is 1 throughout), so
    `unknown_share` stands beside it always.

    Arguments and errors as in `count`, names as in `figures`.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    every = count(true, predicted)
    known = predicted != UNKNOWN
    return figures(every) | known_figures(count(true[known], predicted[known]))


def right(true: Sequence | NDArray, predicted: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(T,) whether a track's character is the one that its label gets by the best one-to-one assignment.

    The share of right tracks is the accuracy of `figures`. Arguments and errors as in `count`.
    """
    crossed = cross_table(true, predicted)
    label_of = np.full(len(crossed.characters) + 1, -2)  # -2: no label gets it; the last entry is for unknown tracks
    rows, columns = crossed.assigned()
    label_of[columns] = rows
    return np.asarray(label_of[crossed.character] == crossed.label)


def pure(true: Sequence | NDArray, predicted: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(T,) whether a track has the label of most of its character's tracks (of equally many, the smaller one).

    The share of pure tracks is the WCP of `figures`. Unknown tracks are not. Arguments and errors as in `count`.
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


def wilson(part: NDArray, whole: NDArray, z: float = 1.959964) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The score interval of a share (Wilson, Journal of the American Statistical Association 22, 1927), 95 % by
    default. Right for few tracks, too; it takes them for independent, which tracks of one scene are not quite.

    Args:
        part, whole: counts, 0 <= part <= whole, of one shape.

    Returns:
        (low, high), each of that shape; (0, 1) where `whole` is 0, of which nothing is known.
    """
    k, n = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    middle = (k + z**2 / 2) / (n + z**2)
    reach = z * np.sqrt(k * (n - k) / np.maximum(n, 1) + z**2 / 4) / (n + z**2)
    return np.where(k == 0, 0.0, middle - reach), np.where(k == n, 1.0, middle + reach)


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
        "time_purity": _share(float(table[:, names >= 0].max(axis=0, initial=0).sum()), total),
        "time_coverage": _share(float(table.max(axis=1).sum()), total),
    }


def verification(embeddings: NDArray[np.floating], true: Sequence | NDArray) -> dict[str, float]:
    """How well one distance tells the pairs of a title's tracks apart (card 6): all pairs, cosine of unit rows.

    Args:
        embeddings: (T, D) finite unit rows. true: (T,) labels.

    Returns:
        auc, and the true positive rate at a false positive rate of 0.1, 1 and 10 %, linear between the points of the
        ROC: tpr_at_fpr_0.001, tpr_at_fpr_0.01, tpr_at_fpr_0.1. NaN throughout where all pairs are of one kind. Memory
        and time O(T^2).
    """
    label = np.unique(np.asarray(true), return_inverse=True)[1]
    a, b = np.triu_indices(len(label), 1)
    x = np.asarray(embeddings, np.float64)
    cosine, same = np.round((x @ x.T)[a, b], 9), label[a] == label[b]
    names = ["auc", *(f"tpr_at_fpr_{fpr:g}" for fpr in FPR)]
    if same.all() or not same.any():
        return dict.fromkeys(names, float("nan"))
    order = np.argsort(-cosine, kind="stable")
    last = np.flatnonzero(np.diff(cosine[order], append=-np.inf))  # of each run of equal scores
    hits = np.concatenate([[0], np.cumsum(same[order])[last]]) / same.sum()
    false = np.concatenate([[0], np.cumsum(~same[order])[last]]) / (~same).sum()
    area = float((np.diff(false) * (hits[1:] + hits[:-1]) / 2).sum())
    return dict(zip(names, [area, *np.interp(FPR, false, hits).tolist()], strict=True))


def interval(
    by_title: NDArray[np.floating], level: float = 0.95, draws: int = 10_000, seed: int = 7
) -> tuple[float, float]:
    """Confidence interval of the mean over titles: percentiles of means of titles drawn with replacement.

    Args:
        by_title: (N,) a figure of each title; NaN ones are left out.

    Returns:
        (low, high); both NaN for fewer than two titles, of which nothing can be said.
    """
    values = np.asarray(by_title, np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return float("nan"), float("nan")
    means = np.random.default_rng(seed).choice(values, (draws, len(values))).mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def known_figures(counts: Counts) -> dict[str, float]:
    """`figures` of counts over the tracks with a character, each name with `known_` before it."""
    return {f"known_{name}": value for name, value in figures(counts).items() if name != "unknown_share"}


@dataclass(frozen=True)
class MatchedTracks:
    """What true boxes say about T tracks.

    Attributes:
        track_ids: (T,) ascending.
        labels: (T,) object, the label of most of a track's matched faces; None where none is matched.
        matched_faces: (T,) int64, the faces of a track that match a true box.
        purity: (T,) float32, the share of the matched faces that have the track's label; NaN where none is matched.
            A track below 1 mixes people.
        true_boxes, matched_boxes: counts over the whole title.
        pairs: (P, 2) int64, the matched rows: of the true boxes, and of the faces.
    """

    track_ids: NDArray[np.int64]
    labels: NDArray[np.object_]
    matched_faces: NDArray[np.int64]
    purity: NDArray[np.float32]
    true_boxes: int
    matched_boxes: int
    pairs: NDArray[np.int64]

    @property
    def detection_recall(self) -> float:
        """The share of the true boxes that some face matches; 1 where there is no true box."""
        return _share(self.matched_boxes, self.true_boxes)


def match_boxes(
    true_frame: NDArray[np.integer],
    true_box: NDArray[np.floating],
    true_label: Sequence | NDArray,
    track_id: NDArray[np.integer],
    frame: NDArray[np.integer],
    box: NDArray[np.floating],
    match_iou: float = 0.5,
) -> MatchedTracks:
    """Match true boxes to faces, one to one in each frame, and give each track its majority label.

    In a frame the pairs are chosen whose summed intersection over union is largest, each of at least `match_iou`. A
    track with equally many faces of two labels gets the smaller label.

    Args:
        true_frame, true_box, true_label: (M,), (M, 4) x, y, w, h in pixels, (M,) int or str.
        track_id, frame, box: (N,), (N,), (N, 4) of the tracks' faces.
        match_iou: above 0, up to 1.

    Returns:
        Every track of `track_id` once. M = 0 or N = 0 match nothing. Cost O((M + N) log N) and the pairs that share
        a frame; the assignment is solved only for frames in which a box has a choice.
    """
    label_names, label_code = np.unique(np.asarray(true_label), return_inverse=True)
    tracks, track_code = np.unique(np.asarray(track_id, np.int64), return_inverse=True)
    truth, face, overlap = overlapping(true_frame, true_box, frame, box, match_iou)
    chosen = _one_to_one(np.asarray(true_frame)[truth], truth, face, overlap)

    votes = np.zeros((len(tracks), max(len(label_names), 1)), np.int64)
    np.add.at(votes, (track_code[face[chosen]], label_code[truth[chosen]]), 1)
    matched = votes.sum(axis=1)
    labels = np.full(len(tracks), None, dtype=object)
    seen = matched > 0
    labels[seen] = label_names[votes[seen].argmax(axis=1)].tolist() if seen.any() else []
    purity = np.full(len(tracks), np.nan, np.float32)
    np.divide(votes.max(axis=1), matched, out=purity, where=seen, casting="unsafe")
    pairs = np.column_stack([truth[chosen], face[chosen]])
    return MatchedTracks(tracks, labels, matched, purity, len(label_code), len(pairs), pairs)


def box_accuracy(
    true_label: Sequence | NDArray, predicted: NDArray[np.integer], pairs: NDArray[np.int64], true_boxes: int
) -> float:
    """The share of all true boxes that are found and named right under the best one-to-one assignment.

    A box that no face matches is an error as one of a wrong or an unknown character is: what a viewer sees in the end.

    Args:
        true_label: (M,) labels of the true boxes. predicted: (N,) characters of the faces, -1 = unknown.
        pairs: (P, 2) rows of both, see `MatchedTracks`.
    """
    label, character = np.unique(np.asarray(true_label), return_inverse=True)[1][pairs[:, 0]], predicted[pairs[:, 1]]
    known = character != UNKNOWN
    if not known.any():
        return _share(0, true_boxes)
    _, column = np.unique(character[known], return_inverse=True)
    table = np.zeros((label.max() + 1, column.max() + 1))
    np.add.at(table, (label[known], column), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    return _share(float(table[rows, columns].sum()), true_boxes)


def overlapping(
    true_frame: NDArray[np.integer],
    true_box: NDArray[np.floating],
    frame: NDArray[np.integer],
    box: NDArray[np.floating],
    match_iou: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of a true box and a face of one frame that overlap enough: their rows and their overlap."""
    order = np.argsort(frame, kind="stable")
    start, end = (np.searchsorted(frame[order], true_frame, side=side) for side in ("left", "right"))
    truth = np.repeat(np.arange(len(true_frame)), end - start)
    place = np.arange(len(truth)) - np.repeat(np.cumsum(end - start) - (end - start), end - start)
    face = order[np.repeat(start, end - start) + place]
    a, b = true_box[truth].astype(np.float64), box[face].astype(np.float64)
    shared = np.clip(np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None)
    inside = shared.prod(axis=1)
    union = a[:, 2:].prod(axis=1) + b[:, 2:].prod(axis=1) - inside
    overlap = np.divide(inside, union, out=np.zeros(len(truth)), where=union > 0)
    enough = overlap >= match_iou
    return truth[enough], face[enough], overlap[enough]


def _one_to_one(
    frame: NDArray[np.integer], truth: NDArray[np.int64], face: NDArray[np.int64], overlap: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which of the candidate pairs are chosen, so that no box is in two."""
    _, truth_at, truth_uses = np.unique(truth, return_inverse=True, return_counts=True)
    _, face_at, face_uses = np.unique(face, return_inverse=True, return_counts=True)
    crowded = np.flatnonzero((truth_uses[truth_at] > 1) | (face_uses[face_at] > 1))
    crowded = crowded[np.argsort(frame[crowded], kind="stable")]
    chosen = np.ones(len(truth), bool)
    for pairs in np.split(crowded, np.flatnonzero(np.diff(frame[crowded])) + 1):
        (truths, row), (faces, column) = (np.unique(boxes[pairs], return_inverse=True) for boxes in (truth, face))
        weight, pair = np.zeros((len(truths), len(faces))), np.full((len(truths), len(faces)), -1)
        weight[row, column], pair[row, column] = overlap[pairs], pairs
        best = pair[linear_sum_assignment(weight, maximize=True)]
        chosen[pairs] = np.isin(pairs, best)
    return chosen


def _pairs(n: NDArray[np.floating]) -> float:
    return float((n * (n - 1) / 2).sum())


def _share(part: float, whole: float, nothing: float = 1) -> float:
    """part / whole; `nothing` where both are 0, up to the rounding of the sums."""
    return float(part / whole) if abs(whole) > 1e-9 else float(nothing)


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0
